"""The blocking client through the wire tests: the tests of the asynchronous one, with ``await`` taken out.

Each test of the files below is rewritten and run with the blocking client, and so is the walk through all operations
that the documentation shows. Tests that are about the event loop itself are left out, and counted.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hl_async import sync
from hl_async.operations import OPERATIONS
from hl_async.resources.once import Once
from hl_async.sandbox import Sandbox
from hl_async.sync.blocking import SyncPager
from hl_async.testing.serving import served

WIRE = Path(__file__).parent
DOCS = WIRE.parents[1] / "docs"
FILES = ("test_resources.py", "test_neighbours.py", "test_ensure.py", "test_helpers.py", "test_requests.py")
LEFT_OUT = ("asyncio.", "scripted(", "accepted(", "Sandbox(", "stern", "._at", "ClientSession", "callable(")
"""Words of tests that need the caller's own event loop, a server in it, or the inside of the client."""


def now(value: Any) -> Any:
    """What ``await`` gives: of a pager the first page, of everything else the value itself."""
    return value.first() if isinstance(value, SyncPager) else value


class WithoutAwait(ast.NodeTransformer):
    """Turns asynchronous source into the same source for the blocking client."""

    def visit_Await(self, node: ast.Await) -> ast.AST:
        self.generic_visit(node)
        return ast.Call(ast.Name("now", ast.Load()), [node.value], [])

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        self.generic_visit(node)
        return ast.FunctionDef(**{name: getattr(node, name) for name in node._fields})

    def visit_AsyncWith(self, node: ast.AsyncWith) -> ast.AST:
        self.generic_visit(node)
        return ast.With(**{name: getattr(node, name) for name in node._fields})

    def visit_AsyncFor(self, node: ast.AsyncFor) -> ast.AST:
        self.generic_visit(node)
        return ast.For(**{name: getattr(node, name) for name in node._fields})

    def visit_comprehension(self, node: ast.comprehension) -> ast.AST:
        self.generic_visit(node)
        node.is_async = 0
        return node


def blocking(path: Path, wanted: Callable[[str], bool] = lambda source: True) -> dict[str, Any]:
    """The names of a module whose functions block, without the functions whose source is not wanted."""
    source = path.read_text("utf-8")
    tree = ast.parse(source)
    tree.body = [
        node
        for node in tree.body
        if not isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef)
        or wanted(ast.get_source_segment(source, node) or "")
    ]
    names: dict[str, Any] = {"__name__": f"blocking_{path.stem}", "now": now}
    code = compile(ast.fix_missing_locations(WithoutAwait().visit(tree)), str(path), "exec")
    exec(code, names)
    names["HighLevel"] = sync.HighLevel  # looked up when a test runs
    return names


def suits(source: str) -> bool:
    return not any(word in source for word in LEFT_OUT)


RUN = {
    f"{path.removesuffix('.py')}_{name.removeprefix('test_')}": value
    for path in FILES
    for name, value in blocking(WIRE / path, suits).items()
    if name.startswith("test_") and callable(value)
}
globals().update(RUN)


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with served(timezone="America/Chicago") as box:
        yield box


@pytest.fixture
def hl(box: Sandbox) -> Iterator[sync.HighLevel]:
    once = Once(settle=0.5, patience=5.0)
    with sync.HighLevel(box.token, base_url=box.url, location_id=box.location_id, once=once) as hl:
        yield hl


@pytest.fixture
def shop(hl: sync.HighLevel) -> sync.Location:
    return hl.location()


def test_the_blocking_client_calls_every_operation(hl: sync.HighLevel, box: Sandbox) -> None:
    sys.path.insert(0, str(DOCS))
    try:
        walk = blocking(DOCS / "operation_walk.py")["walk"]
    finally:
        sys.path.remove(str(DOCS))
    walk(hl, box)
    assert [(one.operation, one.status) for one in box.requests if one.status >= 300] == []
    assert {one.operation for one in box.requests} == set(OPERATIONS)


def test_most_wire_tests_of_resources_run_with_the_blocking_client() -> None:
    assert len(RUN) >= 60
