"""What every SQLite file of the package promises: one thread, shared commits, plain errors, and no foreign file touched."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from hl_async.errors import CursorError, JournalCorrupt, JournalError, TokenStoreError
from hl_async.storage.sqlite import SqliteFile, SqliteRules, apply_steps, connect, peek

TABLE = "create table number (n integer primary key);\n"
JOURNAL = SqliteRules("the journal", JournalError, JournalCorrupt, is_wal=True, reopens=False)
TOKENS = SqliteRules("the token store", TokenStoreError, overwrites=True)


def file_at(path: Path, rules: SqliteRules) -> SqliteFile:
    return SqliteFile(
        path,
        rules,
        prepare=lambda _: None,
        check=lambda db, name: apply_steps(db, name, (TABLE,), rules.problem),
    )


def insert(number: int) -> Callable[[sqlite3.Connection], int]:
    return lambda db: db.execute("insert into number values (?)", (number,)).rowcount


def numbers(db: sqlite3.Connection) -> list[int]:
    return [number for (number,) in db.execute("select n from number order by n")]


@pytest.fixture(params=[JOURNAL, TOKENS], ids=["stays open", "opens again"])
async def file(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SqliteFile]:
    opened = file_at(tmp_path / "a.db", request.param)
    yield opened
    await opened.aclose()


async def test_writes_that_wait_at_the_same_time_share_a_commit(file: SqliteFile) -> None:
    await file.read(numbers)
    counted: list[bool] = []

    def watched(number: int) -> Callable[[sqlite3.Connection], int]:
        def job(db: sqlite3.Connection) -> int:
            # the first job of a transaction finds nothing that is not committed yet
            with closing(connect(file.path)) as other:
                counted.append(numbers(other) == numbers(db))
            return insert(number)(db)

        return job

    assert await asyncio.gather(*(file.write(watched(n)) for n in range(20))) == [1] * 20
    assert counted.count(True) < 20
    assert await file.read(numbers) == list(range(20))


async def test_jobs_of_a_failed_commit_did_not_happen(file: SqliteFile) -> None:
    await file.write(insert(1))
    outcomes = await asyncio.gather(*(file.write(insert(n)) for n in (2, 1, 3)), return_exceptions=True)
    failed = [one for one in outcomes if isinstance(one, Exception)]
    assert failed
    assert "could not be written: it failed: UNIQUE" in str(failed[0])
    assert len(await file.read(numbers)) == 1 + len([one for one in outcomes if one == 1])


async def test_a_file_that_stays_open_takes_no_write_after_a_failed_one(tmp_path: Path) -> None:
    file = file_at(tmp_path / "a.db", JOURNAL)
    await file.write(insert(1))
    outcomes = await asyncio.gather(
        *(file.write(insert(n)) for n in (1, *range(2, 5000))), return_exceptions=True
    )
    assert isinstance(outcomes[0], JournalError)
    assert all(isinstance(one, JournalError) for one in outcomes), "also those behind the failed commit"
    assert file.has_failed
    with pytest.raises(JournalError, match="UNIQUE"):
        await file.write(insert(9))
    assert await file.read(numbers) == [1]
    await file.aclose()
    with pytest.raises(JournalError, match=r"a\.db is closed"):
        await file.read(numbers)


async def test_a_file_that_opens_again_does_so_after_a_failure_and_after_closing(tmp_path: Path) -> None:
    file = file_at(tmp_path / "a.db", TOKENS)
    await file.write(insert(1))
    with pytest.raises(TokenStoreError):
        await file.write(insert(1))
    assert await file.write(insert(2)) == 1
    await file.aclose()
    await file.aclose()
    assert await file.read(numbers) == [1, 2]
    await file.aclose()


async def test_closing_finishes_what_waits(file: SqliteFile) -> None:
    await file.read(numbers)
    writes = [asyncio.create_task(file.write(insert(n))) for n in range(5)]
    await asyncio.sleep(0)
    await file.aclose()
    assert await asyncio.gather(*writes) == [1] * 5
    rows = await asyncio.to_thread(peek, file.path, "select n from number order by n")
    assert rows == [(n,) for n in range(5)]


def test_each_event_loop_gets_the_results_of_its_own_jobs(tmp_path: Path) -> None:
    file = file_at(tmp_path / "a.db", TOKENS)

    def in_a_loop(first: int) -> list[int]:
        async def play() -> list[int]:
            await asyncio.gather(*(file.write(insert(first + n)) for n in range(50)))
            return await file.read(lambda db: [n for n in numbers(db) if first <= n < first + 50])

        return asyncio.run(play())

    async def both() -> list[list[int]]:
        found = await asyncio.gather(asyncio.to_thread(in_a_loop, 0), asyncio.to_thread(in_a_loop, 100))
        await file.aclose()
        return found

    assert asyncio.run(both()) == [list(range(50)), list(range(100, 150))]


async def test_a_job_with_a_fault_of_its_own_is_reported_as_a_failure_of_the_file(file: SqliteFile) -> None:
    def fault(_: sqlite3.Connection) -> Any:
        raise ValueError("not what was expected")

    with pytest.raises(file.rules.problem, match="could not be read: it failed: ValueError"):
        await file.read(fault)
    assert await file.write(insert(1)) == 1


def test_a_file_of_another_program_or_a_later_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    for name, script, problem in (
        ("theirs.db", "create table theirs (x)", "another program's database"),
        ("later.db", "pragma user_version = 9", "later version"),
    ):
        path = tmp_path / name
        with closing(sqlite3.connect(path)) as db:
            db.execute(script)
        before = path.read_bytes()

        async def read(place: Path) -> None:
            file = file_at(place, SqliteRules("the cursor file", CursorError, is_wal=True))
            try:
                await file.read(numbers)
            finally:
                await file.aclose()

        with pytest.raises(CursorError, match=problem):
            asyncio.run(read(path))
        assert path.read_bytes() == before


async def test_processes_that_start_at_the_same_time_make_the_tables_once(tmp_path: Path) -> None:
    files = [file_at(tmp_path / "a.db", TOKENS) for _ in range(8)]
    assert await asyncio.gather(*(one.read(numbers) for one in files)) == [[]] * 8
    await asyncio.gather(*(one.aclose() for one in files))


def test_a_look_into_a_file_bears_any_name_and_any_content(tmp_path: Path) -> None:
    path = tmp_path / "50%20?mode=rw#a.db"
    with closing(connect(path)) as db:
        apply_steps(db, path, (TABLE,), CursorError)
        insert(7)(db)
    assert peek(path, "select n from number") == [(7,)]
    path.write_text("not a database" * 500)
    assert peek(path, "select n from number") == []
    assert peek(tmp_path / "missing.db", "select 1") == []
    assert not (tmp_path / "missing.db").exists()
