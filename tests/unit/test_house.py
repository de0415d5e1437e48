"""The measurements of the source, on small trees made for one finding each."""

from __future__ import annotations

import ast
from pathlib import Path

from benchmarks import house

PACKAGE = Path(__file__).parents[2] / "hl_async"

# The limits of the house. The goals are those of benchmarks.house; the exceptions below may only become fewer and smaller.
LONG_FILES: dict[str, int] = {}
LONG_FUNCTIONS: dict[str, int] = {}
FEWEST_COMMENTS = 0.03
MOST_BANNED = {"docstrings": 0.5, "comments": 0, "messages": 0, "docs": 1}
TYPING_CIRCLES: set[tuple[str, ...]] = set()
DEFERRED_CIRCLES: set[tuple[str, ...]] = set()
NAMES_TWICE: set[str] = set()
MIRRORS = {"HighLevel"}
"""Classes of ``hl_async.sync``, which have the names of the asynchronous ones."""
SIDEWAYS: set[tuple[str, str]] = set()
ROOT_FILES = 8
PUBLIC = {
    "", "__main__", "_version", "auth", "bulk", "bulk.engine", "bulk.export", "bulk.journals.postgres",
    "bulk.workers", "changes", "cli.exits", "client", "config", "errors", "models", "models.webhooks",
    "operations", "pagination", "reports", "resources.contacts", "resources.estimate_templates",
    "resources.estimates", "resources.invoice_schedules", "resources.invoice_templates", "resources.invoices",
    "resources.oauth", "resources.once", "resources.opportunities", "resources.products", "resources.taxes",
    "resources.transactions", "resources.users", "sandbox", "sandbox.deliveries", "secret", "storage.postgres",
    "sync", "telemetry", "telemetry.otel", "testing", "testing.builders", "testing.deliveries",
    "testing.faults", "testing.stores",
    "webhooks", "wire",
}  # fmt: skip
"""Modules that users import or the reference shows; all others say "Internal." first."""


def tree(root: Path, **files: str) -> Path:
    """Write modules, named with ``__`` for the dots between rooms, into a package."""
    package = root / "pack"
    for name, text in {"__init__": "", **files}.items():
        path = package.joinpath(*name.split("__")) if name != "__init__" else package / "__init__"
        path = path.with_name(path.name + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return package


def test_modules_that_import_each_other_are_a_circle(tmp_path: Path) -> None:
    root = tree(tmp_path, wire="from pack import secret\n", secret="from pack.wire import x\n")
    assert house.circles(root) == [["pack.secret", "pack.wire"]]


def test_an_import_for_type_checkers_is_a_circle_apart(tmp_path: Path) -> None:
    guarded = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from pack.wire import x\n"
    root = tree(tmp_path, wire="from pack.secret import y\n", secret=guarded)
    assert house.circles(root) == []
    assert house.circles(root, house.When.TYPING) == [["pack.secret", "pack.wire"]]


def test_an_import_inside_a_function_runs_up_too(tmp_path: Path) -> None:
    root = tree(tmp_path, wire="def f():\n    from pack import client\n", client="import pack.wire\n")
    assert [(one.source, one.target) for one in house.upward(root)] == [("pack.wire", "pack.client")]


def test_relative_imports_are_followed(tmp_path: Path) -> None:
    root = tree(tmp_path, auth__oauth="from ..transport.session import x\n", transport__session="")
    assert [(one.source, one.target) for one in house.arrows(root)] == [
        ("pack.auth.oauth", "pack.transport.session")
    ]


def test_rooms_of_one_layer_may_not_import_each_other(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        client="from pack.bulk import run\n",
        bulk__run="",
        governor="import pack.telemetry\n",
        telemetry="",
    )
    assert [one.source for one in house.sideways(root)] == ["pack.client"]


def test_a_class_name_of_two_modules_is_found_unless_it_is_private(tmp_path: Path) -> None:
    root = tree(tmp_path, wire="class A: ...\nclass _B: ...\n", secret="class A: ...\nclass _B: ...\n")
    assert house.class_names_twice(root) == {"A": ["pack.secret", "pack.wire"]}


def test_banned_words_are_counted_in_prose_and_not_in_code() -> None:
    found = house.judge(["Nobody was told what came back.", "The name ``nobody`` is no word of prose"])
    assert {name: count for name, count in found.found.items() if count} == {
        "what as a noun": 1, "nobody": 1, "told": 1, "is no <noun>": 1,
    }  # fmt: skip


def test_directives_are_no_comments(tmp_path: Path) -> None:
    root = tree(tmp_path, wire="x = 1  # noqa: E1\n# why it is one\ny = 2\n")
    assert house.comment_share(root) == 1 / 3


def test_a_first_line_that_is_long_or_no_sentence_is_found(tmp_path: Path) -> None:
    package = tree(
        tmp_path, a=f'"""{"Long " * 16}."""', b='"""Return the\ntotal."""', c='"""Return the total."""\nx = 1'
    )
    assert [one.partition(":")[0] for one in house.long_first_lines(package)] == ["pack.a", "pack.b"]


def test_complexity_counts_branches_handlers_and_cases() -> None:
    source = "def f(x):\n if x:\n  pass\n elif x:\n  pass\n try:\n  pass\n except E:\n  pass\n match x:\n  case 1: pass\n  case _: pass\n"
    function = ast.parse(source).body[0]
    assert isinstance(function, ast.FunctionDef)
    assert house.complexity(function) == 5


def test_every_module_of_the_package_has_a_layer() -> None:
    assert house.unplaced(PACKAGE) == []


# ------------------------------------------------------------------------------------------- the limits


def test_no_file_is_longer_than_the_limit() -> None:
    found = {name: lines for name, lines in house.sizes(PACKAGE).items() if lines > house.LONGEST_FILE}
    assert {name: lines for name, lines in found.items() if lines > LONG_FILES.get(name, 0)} == {}


def test_no_function_is_longer_or_more_complex_than_the_limit() -> None:
    for one in house.functions(PACKAGE):
        name = f"{one.module}.{one.name}"
        assert one.lines <= max(house.LONGEST_FUNCTION, LONG_FUNCTIONS.get(name, 0)), name
        assert one.complexity <= house.MOST_COMPLEX, name


def test_comments_do_not_become_rarer() -> None:
    assert house.comment_share(PACKAGE) >= FEWEST_COMMENTS


def test_every_docstring_begins_with_a_short_sentence() -> None:
    assert house.long_first_lines(PACKAGE) == []


def test_banned_constructions_do_not_become_more() -> None:
    for kind, found in house.wording(PACKAGE).items():
        assert found.rate <= MOST_BANNED[kind], (kind, found.found)


def test_modules_do_not_import_each_other() -> None:
    assert house.circles(PACKAGE) == []
    assert {tuple(group) for group in house.circles(PACKAGE, house.When.DEFERRED)} <= DEFERRED_CIRCLES
    assert {tuple(group) for group in house.circles(PACKAGE, house.When.TYPING)} <= TYPING_CIRCLES


def test_no_import_runs_up_or_sideways() -> None:
    assert house.upward(PACKAGE) == []
    assert {(one.source, one.target) for one in house.sideways(PACKAGE)} <= SIDEWAYS


def test_class_names_are_used_once() -> None:
    assert set(house.class_names_twice(PACKAGE)) <= NAMES_TWICE | MIRRORS


def test_few_files_lie_in_no_room() -> None:
    assert len(house.root_files(PACKAGE)) <= ROOT_FILES


def test_every_module_that_users_do_not_import_says_so_first() -> None:
    silent = []
    for name, path in house.modules(PACKAGE).items():
        words = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
        if name.partition(".")[2] not in PUBLIC and not words.startswith("Internal."):
            silent.append(name)
    assert silent == [], 'begin their docstrings with "Internal."'
