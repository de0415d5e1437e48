"""What docstrings of public names owe their readers: a short first line, and the sections Args, Returns and Raises.

Callables with two keywords or an error of their own have the sections.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Callable, Iterator
from types import FunctionType

import pytest

import hl_async.errors
import hl_async.resources
from hl_async.errors import HighLevelError, InvalidRequest

LONGEST_FIRST_LINE = 79
PLACES = ("", "auth", "bulk", "errors", "models", "sandbox", "telemetry", "testing", "webhooks")


def public() -> Iterator[tuple[str, object]]:
    """Yield the public names of the rooms and the classes that locations hold, with their values."""
    rooms = [f"hl_async.{place}".rstrip(".") for place in PLACES]
    for room in map(importlib.import_module, rooms):
        for name in getattr(room, "__all__", ()) or [n for n in vars(room) if not n.startswith("_")]:
            yield f"{room.__name__}.{name}", getattr(room, name)
    for found in pkgutil.iter_modules(hl_async.resources.__path__):
        module = importlib.import_module(f"hl_async.resources.{found.name}")
        if not (module.__doc__ or "").startswith("Internal."):
            for name, value in vars(module).items():
                if not name.startswith("_") and getattr(value, "__module__", "") == module.__name__:
                    yield f"{module.__name__}.{name}", value


def callables() -> dict[FunctionType, tuple[str, str]]:
    """Return public functions and methods, each with its name and docstring."""
    found: dict[FunctionType, tuple[str, str]] = {}
    for name, value in public():
        if inspect.isfunction(value):
            found.setdefault(value, (name, inspect.getdoc(value) or ""))
        elif inspect.isclass(value) and value.__module__.startswith("hl_async"):
            for method, member in vars(value).items():
                function = getattr(member, "__func__", member)
                if not inspect.isfunction(function) or (method.startswith("_") and method != "__init__"):
                    continue
                if method == "__init__" and dataclasses.is_dataclass(value):
                    continue  # its fields are documented one by one
                words = inspect.getdoc(function) or ""
                if method == "__init__":
                    words = "\n".join(inspect.getdoc(kind) or "" for kind in value.__mro__)
                found.setdefault(function, (f"{name}.{method}", words))
    return found


def first_lines(name: str, value: object) -> Iterator[tuple[str, str]]:
    """Yield the first lines of a function's docstring, or of those of a class, its methods and properties."""
    kinds = [kind for kind in getattr(value, "__mro__", ()) if kind.__module__.startswith("hl_async")]
    owners = [(name, value)] if inspect.isfunction(value) else [(name, kind) for kind in kinds[:1]]
    for kind in kinds:
        for member, found in vars(kind).items():
            function = getattr(found, "__func__", getattr(found, "fget", getattr(found, "func", found)))
            if inspect.isfunction(function) and not member.startswith("_"):
                owners.append((f"{kind.__name__}.{member}", function))
    for owner, documented in owners:
        yield owner, (inspect.cleandoc(documented.__doc__ or "")).partition("\n")[0]


def keywords(function: FunctionType) -> list[str]:
    """Return the parameters that only a keyword gives."""
    kinds = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD)
    return [one.name for one in inspect.signature(function).parameters.values() if one.kind in kinds]


def own_errors(function: FunctionType) -> set[str]:
    """Return the errors of the package that the function itself raises."""
    body = ast.parse(textwrap.dedent(inspect.getsource(function)))
    named = {
        ast.unparse(node.exc.func if isinstance(node.exc, ast.Call) else node.exc).rpartition(".")[2]
        for node in ast.walk(body)
        if isinstance(node, ast.Raise) and node.exc is not None
    }
    return {name for name in named if hasattr(hl_async.errors, name)}


def lacking(function: FunctionType, words: str) -> list[str]:
    """Return the sections, arguments and errors that a docstring owes its reader."""
    names, errors = keywords(function), own_errors(function)
    if words.startswith(("See ", "Internal.")) or (len(names) < 2 and not errors):
        return []
    sections = re.findall(r"^(?:Args|Attributes):\n((?: .*\n?)+)", words, re.MULTILINE)
    named = set(
        re.findall(r"\w+", " ".join(re.findall(r"^ {4}([\w, ]+):", "\n".join(sections), re.MULTILINE)))
    )
    owed = [name for name in names if name not in named]
    returned = inspect.signature(function).return_annotation
    if returned not in ("None", "NoReturn", inspect.Signature.empty, None):
        owed += ["Returns:"] * (
            not re.match(r"Return|Yield", words) and not re.search(r"Returns:|Yields:", words)
        )
    raised = words.partition("Raises:")[2]
    return owed + [error for error in sorted(errors) if not re.search(rf"\b({families(error)})\b", raised)]


def families(error: str) -> str:
    """Return the names of an error and of its bases, as alternatives of a pattern."""
    kinds = getattr(hl_async.errors, error).__mro__
    return "|".join(kind.__name__ for kind in kinds if issubclass(kind, HighLevelError))


CALLABLES = callables()


@pytest.mark.parametrize(
    ("function", "words"),
    [pytest.param(function, words, id=name) for function, (name, words) in CALLABLES.items()],
)
def test_a_callable_with_two_keywords_or_an_own_error_has_sections(
    function: FunctionType, words: str
) -> None:
    assert lacking(function, words) == []


def test_public_docstrings_begin_with_a_short_line() -> None:
    lines = {line for name, value in public() for line in first_lines(name, value)}
    assert len(lines) > 600
    assert [line for line in sorted(lines) if len(line[1]) > LONGEST_FIRST_LINE] == []


def test_first_lines_are_found_in_methods_properties_and_functions() -> None:
    class Shop:
        """A shop.

        It sells.
        """

        def sell(self) -> None:
            """Sell."""

        @property
        def name(self) -> str:
            """The name."""
            return ""

        @classmethod
        def _hidden(cls) -> None:
            """Hide."""

    Shop.__module__ = "hl_async"
    assert list(first_lines("Shop", Shop)) == [
        ("Shop", "A shop."),
        ("Shop.sell", "Sell."),
        ("Shop.name", "The name."),
    ]


def _asks(first: int, *, second: int, third: int) -> int:
    if first:
        raise InvalidRequest("first", "")
    return second + third


@pytest.mark.parametrize(
    ("words", "owed"),
    [
        ("Add.", ["second", "third", "Returns:", "InvalidRequest"]),
        ("Add.\n\nArgs:\n    second: One.\n    third: Two.\n\nReturns:\n    Sum.\n", ["InvalidRequest"]),
        ("Return it.\n\nArgs:\n    second, third: Both.\n\nRaises:\n    InvalidRequest: No.\n", []),
    ],
)
def test_sections_that_are_missing_are_named(words: str, owed: list[str]) -> None:
    function: Callable[..., int] = _asks
    assert isinstance(function, FunctionType)
    assert lacking(function, words) == owed
