"""Statements in files: how they are read, and that code and files name the same ones."""

from __future__ import annotations

import ast
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import hl_async.bulk.journals
from hl_async.bulk.journals import postgres_schema, sqlite_file
from hl_async.storage.queries import NumberedQueries, Queries

JOURNALS = Path(hl_async.bulk.journals.__file__).parent
OF_SQLITE = {"sqlite_file.py", "sqlite_run.py", "sqlite.py", "sqlite_lane.py", "stored.py"}
OF_POSTGRES = {
    "postgres_changes.py", "postgres_lane.py", "postgres_run.py", "postgres.py", "stored.py",
}  # fmt: skip


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "statements").mkdir()
    (tmp_path / "statements/__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    yield "statements"
    sys.modules.pop("statements", None)


def write(package: str, text: str) -> str:
    folder = next(Path(place) / package for place in sys.path if (Path(place) / package).is_dir())
    (folder / "some.sql").write_text(text, "utf-8")
    return "some.sql"


def test_statements_are_found_by_name_without_their_comments(package: str) -> None:
    file = write(
        package,
        "-- about: all\n\n-- name: one\n-- why\nselect 1,\n  -- more\n  2\n\n-- name: two\nselect 3\n",
    )
    queries = Queries(f"{package}.beside", file)
    assert (queries["one"], queries["two"]) == ("select 1,\n  2", "select 3")
    assert queries.names == {"one", "two"}
    with pytest.raises(KeyError):
        queries["three"]


@pytest.mark.parametrize("text", ["select 1", "-- name: a\nselect 1\n-- name: a\nselect 2"])
def test_a_statement_without_a_name_of_its_own_is_refused(package: str, text: str) -> None:
    with pytest.raises(ValueError, match=r"some\.sql"):
        Queries(f"{package}.beside", write(package, text))


def test_named_values_become_numbers_and_casts_stay(package: str) -> None:
    text = "-- name: a\nselect :x::text, :long_name, :x, '5'::int8[] -- :x in a remark is a value too\n"
    queries = NumberedQueries(f"{package}.beside", write(package, text))
    assert queries["a"].startswith("select $1::text, $2, $1, '5'::int8[]")
    assert queries.bind("a", long_name=2, x=1, unused=3)[1:] == (1, 2)
    with pytest.raises(KeyError):
        queries.bind("a", x=1)


@pytest.mark.parametrize(
    ("queries", "files"),
    [(sqlite_file.STATEMENTS, OF_SQLITE), (postgres_schema.STATEMENTS, OF_POSTGRES)],
    ids=["sqlite", "postgres"],
)
def test_every_statement_of_a_journal_is_used_and_every_used_one_is_there(
    queries: Queries, files: set[str]
) -> None:
    texts: set[str] = set()
    for name in files:
        for node in ast.walk(ast.parse((JOURNALS / name).read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.add(node.value)
    assert queries.names <= texts
    shared = ast.parse((JOURNALS / "stored.py").read_text("utf-8"))
    asked = {
        call.args[0].value
        for call in ast.walk(shared)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr in ("query", "change", "insert", "_note")
        and isinstance(call.args[0], ast.Constant)
    }
    assert len(asked) > 15
    assert asked <= queries.names


def test_sqlite_accepts_every_statement_of_the_journal(tmp_path: Path) -> None:
    sqlite_file.make_file(tmp_path / "a.db")
    with closing(sqlite3.connect(tmp_path / "a.db")) as db:
        for name in sqlite_file.STATEMENTS.names - {"plan"}:
            values = dict.fromkeys(
                ("name", "value", "states", "document", "ordinal", "now", "bodies", "after", "limit", "location", "key",
                 "reason", "at", "outcome", "deletion", "since", "attempt", "words", "listed"), 0,
            )  # fmt: skip
            db.execute(f"explain {sqlite_file.STATEMENTS[name]}", values)
