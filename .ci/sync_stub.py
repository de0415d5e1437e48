"""Write hl_async/sync/__init__.pyi: the signatures of the asynchronous surface with ``await`` taken away.

Run it with ``make stubs`` after a change to the client or its resources. A test compares what it makes with the file.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
STUB = ROOT / "hl_async/sync/__init__.pyi"
CLIENT = ROOT / "hl_async/client.py"

_HEAD = """# Made by .ci/sync_stub.py from the asynchronous classes (make stubs): do not edit.

from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Generic, Self, TypeVar
from types import TracebackType

from hl_async.client import HighLevel as AsyncHighLevel
from hl_async.pagination import Page
"""
_PAGER = """
_T = TypeVar("_T")

class SyncPager(Generic[_T]):
    def __iter__(self) -> Iterator[_T]: ...
    def first(self) -> Page[_T]: ...
    def pages(self) -> Iterator[Page[_T]]: ...
    def collect(self, at_most: int | None = None) -> list[_T]: ...
    def count(self) -> int: ...
"""
_CLIENT_TAIL = """
    def open(self) -> Self: ...
    def close(self) -> None: ...
    def run(self, function: Callable[[AsyncHighLevel], Coroutine[Any, Any, _T]]) -> _T: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
"""
_HIDDEN = {"aclose", "aopen", "open", "close", "run"}


class _Blocking(ast.NodeTransformer):
    """Turns what is awaited into what is returned."""

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        self.generic_visit(node)
        name = ast.unparse(node.value)
        if name in ("Coroutine", "Awaitable", "AsyncIterator", "AsyncGenerator", "Pager"):
            parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            if name in ("Coroutine", "Awaitable"):
                return parts[-1]
            kind = "SyncPager" if name == "Pager" else "Iterator"
            return ast.Subscript(ast.Name(kind, ast.Load()), parts[0], ast.Load())
        return node


def _method(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    arguments = ast.unparse(node.args)
    returned = node.returns and ast.unparse(
        _Blocking().visit(ast.parse(ast.unparse(node.returns), mode="eval").body)
    )
    marks = [ast.unparse(mark) for mark in node.decorator_list]
    lines = [
        f"    @{mark}" for mark in marks if mark in ("property", "classmethod", "staticmethod", "overload")
    ]
    return "\n".join([*lines, f"    def {node.name}({arguments}) -> {returned or 'Any'}: ..."])


def _class(node: ast.ClassDef, tail: str = "") -> str:
    found: dict[str, list[str]] = {}
    for member in node.body:
        if not isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if member.name in _HIDDEN or (member.name.startswith("_") and member.name != "__init__"):
            continue
        if member.name == "__init__" and node.name != "HighLevel":
            continue
        is_overloaded = any("overload" in ast.unparse(mark) for mark in member.decorator_list)
        if not is_overloaded and any("overload" in text for text in found.get(member.name, ())):
            continue
        found[member.name] = [*(found.get(member.name, []) if is_overloaded else []), _method(member)]
    body = "\n".join(text for texts in found.values() for text in texts) or "    ..."
    return f"class {node.name}:\n{body}{tail}\n"


def _imports(tree: ast.Module) -> list[str]:
    """Every import of a module, those for type checkers among them; the resources themselves are in the stub."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom | ast.Import) or node.col_offset > 4:
            continue
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hl_async.resources"):
            stem = (node.module or "").rpartition(".")[2].replace("_", "")
            node.names = [one for one in node.names if one.name.lower() != stem]
        if node.names:
            found.append(ast.unparse(node))
    return found


def made() -> str:
    """Return the text of the stub."""
    client = ast.parse(CLIENT.read_text("utf-8"))
    classes = {node.name: node for node in client.body if isinstance(node, ast.ClassDef)}
    imports = _imports(client)
    imports += [
        f"from hl_async.client import {name}" for name in classes
        if name[0] != "_" and name not in ("HighLevel", "Location")
    ]  # fmt: skip
    resources = []
    for path in sorted((ROOT / "hl_async/resources").glob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        kinds = [
            node for node in tree.body
            if isinstance(node, ast.ClassDef) and node.name.lower() == path.stem.replace("_", "")
        ]  # fmt: skip
        if kinds:
            imports += _imports(tree)
            named = [node.targets[0].id for node in tree.body if isinstance(node, ast.Assign)
                     and isinstance(node.targets[0], ast.Name)] + [
                node.target.id for node in tree.body if isinstance(node, ast.AnnAssign)
                and isinstance(node.target, ast.Name)] + [
                node.name for node in tree.body if isinstance(node, ast.ClassDef) and node not in kinds]  # fmt: skip
            imports += [
                f"from hl_async.resources.{path.stem} import {name}" for name in named if name[0] != "_"
            ]
            resources += [_class(kind) for kind in kinds]
    body = [
        *resources,
        _class(classes["Location"]),
        _class(classes["HighLevel"], _CLIENT_TAIL),
    ]
    return _tidy("\n".join([_HEAD, *dict.fromkeys(imports), _PAGER, *body]))


def _tidy(text: str) -> str:
    ruff = [sys.executable, "-m", "ruff"]
    name = ["--stdin-filename", str(STUB)]
    chosen = "F401,F811,I"
    fixed = subprocess.run(
        [*ruff, "check", "--quiet", "--fix", "--exit-zero", "--isolated", "--select", chosen, *name, "-"],
        input=text, capture_output=True, text=True, check=True, cwd=ROOT,
    ).stdout  # fmt: skip
    return subprocess.run(
        [*ruff, "format", "--quiet", "--line-length", "110", "--isolated", *name, "-"],
        input=fixed, capture_output=True, text=True, check=True, cwd=ROOT,
    ).stdout  # fmt: skip


if __name__ == "__main__":
    STUB.write_text(made(), "utf-8")
