"""Routes, scopes, examples and answers of operations, for the docstrings of the reference.

The statements come from ``operation_walk``, the answers from a sandbox in which the walk runs.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import logging
import textwrap
from typing import Any, Final, NamedTuple

import operation_walk

from hl_async import HighLevel
from hl_async.operations import OPERATIONS, Operation, Replay, find_operation
from hl_async.sandbox import Sandbox
from hl_async.sandbox.console.exchange_view import mask

_ELSEWHERE: Final = {"shop.details": "location.details", "hl.locations": "agency.locations"}
"""Coroutines that stand on the location or the client itself."""

_MOST_LINES: Final = 45
_REPEATS: Final = {
    Replay.SAFE: "reads only",
    Replay.IDEMPOTENT: "safe to repeat",
    Replay.UNSAFE: "never sent twice",
}


class Example(NamedTuple):
    """An operation as it was called, and the bodies of the request and the answer as JSON."""

    code: str
    body: str
    answer: str


def statements() -> dict[str, str]:
    """Return the first statement of the walk for each operation, with the assignments that only it needs."""
    source = inspect.getsource(operation_walk)
    found: dict[str, str] = {}
    for node in ast.walk(ast.parse(source)):
        for block in (getattr(node, "body", None),):
            if not isinstance(block, list):
                continue
            pending: list[ast.stmt] = []
            for statement in block:
                called = [] if hasattr(statement, "body") else _called(statement)
                if not called:
                    pending = [*pending, statement] if isinstance(statement, ast.Assign) else []
                    continue
                used = {name.id for name in ast.walk(statement) if isinstance(name, ast.Name)}
                needed = [one for one in pending if _assigned(one) & used]
                text = "\n".join(_text(source, one) for one in (*needed, statement))
                for operation in called:
                    found.setdefault(operation, text)
                pending = []
    return found


def _called(statement: ast.stmt) -> list[str]:
    calls = [node.func for node in ast.walk(statement) if isinstance(node, ast.Call)]
    texts = [ast.unparse(func) for func in calls]
    names = [_ELSEWHERE.get(text, text.partition(".")[2]) for text in texts]
    return [name for name in names if find_operation(name) is not None]


def _assigned(statement: ast.stmt) -> set[str]:
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _text(source: str, statement: ast.stmt) -> str:
    lines = source.splitlines()[statement.lineno - 1 : statement.end_lineno]
    return textwrap.dedent("\n".join(lines))


async def _exchanges() -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    logging.getLogger("hl_async").setLevel(logging.WARNING)  # Sphinx prints everything from INFO on
    async with (
        Sandbox(rate_max=1000) as box,
        HighLevel(box.token, base_url=box.url, location_id=box.location_id) as hl,
    ):
        await operation_walk.walk(hl, box)
        for record in box.requests:
            exchange = box.recorder.find(record.number)
            if exchange is not None and 200 <= record.status < 300:
                shown = (_json(exchange.body), _json(exchange.answer_body))
                found.setdefault(record.operation, shown)
    return found


def _json(body: bytes) -> str:
    try:
        document = json.loads(body)
    except ValueError:
        return ""  # no body, or a form with secrets
    lines = mask(json.dumps(_first_of_lists(document), indent=2, ensure_ascii=False)).splitlines()
    if len(lines) > _MOST_LINES:
        lines = [*lines[:_MOST_LINES], f"… and {len(lines) - _MOST_LINES} lines more"]
    return "\n".join(lines)


def _first_of_lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _first_of_lists(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_first_of_lists(one) for one in value[:1]] + (["…"] if len(value) > 1 else [])
    return value


def examples() -> dict[str, Example]:
    """Return the example of every operation that the walk calls, by the operation's short name."""
    code = statements()
    bodies = asyncio.run(_exchanges())
    return {
        row.at: Example(code[row.at], *bodies[row.name])
        for row in OPERATIONS.values()
        if row.at in code and row.name in bodies
    }


def row_of(documented: str) -> Operation[Any] | None:
    """Return the operation of a coroutine by its full name, such as ``hl_async.resources.estimates.Estimates.send``."""
    module, _, rest = documented.rpartition(".")[0].rpartition(".")
    name = documented.rpartition(".")[2]
    if module == "hl_async.client":
        holder = "shop" if rest == "Location" else "hl"
        return find_operation(_ELSEWHERE.get(f"{holder}.{name}", ""))
    return find_operation(f"{module.rpartition('.')[2]}.{name}")


def lines_of(row: Operation[Any], example: Example | None) -> list[str]:
    """Return what stands below a coroutine's docstring, as reStructuredText."""
    facts = [
        f"``{row.method} {row.path}``",
        f"scope ``{row.scope}``" if row.scope else "",
        _REPEATS[row.replay],
    ]
    lines = ["", " · ".join(filter(None, facts)) + f" · ``hl-async call {row.at}``", ""]
    if example is None:
        return lines
    lines += _block("python", example.code)
    for title, text in (("Request body", example.body), ("Answer", example.answer)):
        if text:
            lines += [".. raw:: html", "", f"   <details><summary>{title}</summary>", ""]
            lines += [
                *_block("none" if "…" in text else "json", text),
                ".. raw:: html",
                "",
                "   </details>",
                "",
            ]
    return lines


def _block(language: str, text: str) -> list[str]:
    return [f".. code-block:: {language}", "", *(f"   {line}" for line in text.splitlines()), ""]
