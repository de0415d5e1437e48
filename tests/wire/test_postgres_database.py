"""The database room: tables are made and upgraded once, lost connections are borne, troubles are told."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import AsyncIterator

import pytest

from hl_async.errors import ConfigurationError, JournalError, TokenStoreError
from hl_async.secret import Secret
from hl_async.storage.postgres import Database, Tables

_names = (f"test{os.getpid()}x{n}" for n in itertools.count())


@pytest.fixture
async def database(dsn: str) -> AsyncIterator[Database]:
    opened = Database(dsn, patience=0.2)
    yield opened
    await opened.aclose()


def room(name: str, *steps: str) -> Tables:
    return Tables(name, (f"create table hl_async.{name} (n integer)", *steps), JournalError)


async def test_tables_are_made_by_whoever_comes_first(dsn: str) -> None:
    made = room(next(_names))
    crowd = [Database(dsn) for _ in range(5)]
    found = await asyncio.gather(
        *(one.run(made, lambda c: c.fetchval(f"select count(*) from hl_async.{made.name}")) for one in crowd)
    )
    assert found == [0] * 5
    await asyncio.gather(*(one.aclose() for one in crowd))


async def test_a_later_version_upgrades_the_tables_and_keeps_what_is_in_them(
    dsn: str, database: Database
) -> None:
    old = room(next(_names))
    new = room(old.name, f"alter table hl_async.{old.name} add column extra text not null default 'kept'")
    await database.run(old, lambda c: c.execute(f"insert into hl_async.{old.name} values (7)"))
    later = Database(dsn)
    row = await later.run(new, lambda c: c.fetchrow(f"select n, extra from hl_async.{old.name}"))
    assert tuple(row) == (7, "kept")
    await later.aclose()


async def test_an_earlier_version_does_not_touch_tables_of_a_later_one(dsn: str, database: Database) -> None:
    new = room(next(_names), "select 1")
    await database.run(new, lambda c: c.fetchval("select 1"))
    earlier = Database(dsn)
    with pytest.raises(JournalError, match="later version of hl_async; upgrade it"):
        await earlier.run(room(new.name), lambda c: c.fetchval("select 1"))
    await earlier.aclose()


async def test_an_upgrade_that_fails_leaves_the_version_before(database: Database) -> None:
    name = next(_names)
    broken = room(name, "select nothing from nowhere")
    with pytest.raises(JournalError, match="refused"):
        await database.run(broken, lambda c: c.fetchval("select 1"))
    assert await database.run(room(name), lambda c: c.fetchval("select 1")) == 1


async def test_a_statement_that_takes_too_long_is_told_in_the_words_of_its_room(dsn: str) -> None:
    slow = Tables(next(_names), (), TokenStoreError)
    hurried = Database(dsn, statement_timeout=1.0)
    began = time.monotonic()
    with pytest.raises(TokenStoreError, match="took longer than 1 s"):
        await hurried.run(slow, lambda c: c.fetchval("select pg_sleep(60)"))
    assert time.monotonic() - began < 30
    await hurried.aclose()


async def test_a_database_that_is_away_is_waited_for_no_longer_than_allowed() -> None:
    away = Database(Secret("postgresql://127.0.0.1:1/none"), patience=0.3)
    began = time.monotonic()
    with pytest.raises(JournalError, match="can't be reached: no server listens there"):
        await away.run(room("r"), lambda c: c.fetchval("select 1"))
    assert 0.1 < time.monotonic() - began < 30
    await away.aclose()
    patient = Database(Secret("postgresql://127.0.0.1:1/none"), patience=60.0)
    began = time.monotonic()
    with pytest.raises(JournalError):
        await patient.run(room("r"), lambda c: c.fetchval("select 1"), patience=0.0)
    assert time.monotonic() - began < 30, "what this one statement may take"
    await patient.aclose()


def test_an_address_shows_neither_user_nor_password() -> None:
    assert repr(Database("postgresql://u:s3ntinel-access@db.example/app")) == "<Database db.example/app>"
    assert "s3ntinel" not in str(Database("postgresql://u:s3ntinel-access@db.example/app").dsn)
    with pytest.raises(ConfigurationError, match="postgresql://"):
        Database("sqlite:///x")
