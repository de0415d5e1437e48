"""The documentation site: ``make docs`` builds it into ``build/docs``, with warnings as errors."""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
from pathlib import Path
from typing import Any, get_type_hints

import click
import msgspec
from sphinx.util.nodes import make_refnode

sys.path.insert(0, str(Path(__file__).parents[1]))

import hl_async.models
from hl_async import __version__
from hl_async.cli.app import app as commands

project = "hl-async"
author = "the hl-async contributors"
version = release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc"]
html_theme = "furo"
html_title = f"hl-async {release}"
html_copy_source = False
html_show_sphinx = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0b6e4f", "color-brand-content": "#0b6e4f"},
    "dark_css_variables": {"color-brand-primary": "#5fd3a5", "color-brand-content": "#5fd3a5"},
}
myst_heading_anchors = 3
suppress_warnings = ["ref.python"]  # "type" in a signature is the builtin, not one of the fields of that name
nitpicky = True  # a name that a docstring refers to exists; those of other packages are not looked up
nitpick_ignore_regex = [
    (
        "py:.*",
        r"(aiohttp|asyncio|collections|contextlib|datetime|decimal|enum|logging|msgspec|os|pathlib|ssl|ssl_module|typing)\b.*",
    ),
    (
        "py:.*",
        r"KeyCarrier|TokenRepository|SqliteJournal\.create|LaneRunner|LOST_AFTER",
    ),  # the inside of a run
    ("py:.*", r"hl_async\..*\.(_?[A-Z]|[TRE])\w*"),  # types in signatures that have no page of their own
]
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
maximum_signature_line_length = 90
python_use_unqualified_type_names = True
toc_object_entries = False


def _plain(text: str) -> str:
    return text.replace("UnsetType", "UNSET").replace("NoneType", "None")


def show_fields_once(
    app: Any, what: str, name: str, value: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str | None, str | None] | None:
    """A struct's fields stand below it one by one: its signature would only repeat them."""
    if what == "class" and hasattr(value, "__struct_fields__"):
        return "(…)", None
    if signature is None:
        return None
    return _plain(signature), None if returns is None else _plain(returns)


def drop_marks(app: Any) -> None:
    """The checks that annotations of models carry (``Annotated``) are for machines: fields are shown without."""
    for name in (found.name for found in pkgutil.iter_modules(hl_async.models.__path__)):
        module = importlib.import_module(f"hl_async.models.{name}")
        for kind in vars(module).values():
            if (
                isinstance(kind, type)
                and issubclass(kind, msgspec.Struct)
                and kind.__module__ == module.__name__
            ):
                plain = get_type_hints(kind)
                kind.__annotations__ = {field: plain[field] for field in kind.__annotations__}


def place_the_rest(app: Any, page: str, source: list[str]) -> None:
    """Every top-level page that the index names nowhere else is a how-to: a new one needs no entry."""
    if page == "index":
        rest = [path.stem for path in sorted(Path(__file__).parent.glob("*.md"))]
        rest = [
            name for name in rest if name != "index" and not re.search(rf"^{name}$", source[0], re.MULTILINE)
        ]
        source[0] = source[0].replace("<the-rest>", "\n".join(rest))


def find_short_names(app: Any, env: Any, node: Any, contnode: Any) -> Any:
    """Docstrings name a class of another module without the module: find the only one of that name."""
    if node.get("refdomain") != "py":
        return None
    python = env.domains["py"]
    found = [name for name in python.objects if name.endswith(f".{node['reftarget'].lstrip('.')}")]
    classes = [
        name for name in found if python.objects[name].objtype in ("class", "exception", "method", "function")
    ]
    if not classes:
        return None
    target = min(classes, key=len)
    return make_refnode(app.builder, node["refdoc"], python.objects[target].docname, target, contnode, target)


def show_commands(app: Any, page: str, source: list[str]) -> None:
    """The help of every command, as the terminal shows it."""
    if page != "reference/cli":
        return
    found: list[str] = []
    todo: list[tuple[str, click.Command, click.Context | None]] = [("hl-async", commands, None)]
    while todo:
        name, command, parent = todo.pop(0)
        context = click.Context(command, info_name=name, parent=parent, terminal_width=80)
        found += [
            f"## {context.command_path}",
            "",
            "```text",
            command.get_help(context).replace("\b\n", ""),
            "```",
            "",
        ]
        if isinstance(command, click.Group):
            inside = [(one, command.get_command(context, one)) for one in command.list_commands(context)]
            todo = [(one, child, context) for one, child in inside if child is not None] + todo
    source[0] = source[0].replace("<the-commands>", "\n".join(found))


def setup(app: Any) -> None:
    app.connect("autodoc-process-signature", show_fields_once)
    app.connect("builder-inited", drop_marks)
    app.connect("missing-reference", find_short_names)
    app.connect("source-read", place_the_rest)
    app.connect("source-read", show_commands)
