"""Internal. The rows of an embedded journal, through the thread of its file."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from typing import Any, Final, TypeVar

from hl_async.bulk.journals.clock import SteadyClock
from hl_async.bulk.journals.sqlite_file import STATEMENTS
from hl_async.bulk.journals.stored import StoredRun
from hl_async.bulk.protocol import RunState
from hl_async.storage.sqlite import SqliteFile

T = TypeVar("T")

SENDING: Final = "sending"
"""The fact whether a process may have sent items: ``yes`` while it works, ``drained`` after its end."""


class SqliteRun(StoredRun):
    """The statements of a run in one file.

    Args:
        file: The open file.
        clock: The clock of the run.
        sending: The fact :data:`SENDING` as the process before this one left it; empty if it sent nothing.
    """

    def __init__(self, file: SqliteFile, clock: SteadyClock, sending: str) -> None:
        self.path = file.path
        self.clock = clock
        self.unclean: bool = sending == "yes"
        """Whether the process before this one ended without closing the journal: its last writes may be missing."""
        self._file = file
        self._resumed = bool(sending)
        self._listed: set[str] = set()
        # a process that only plans or watches never announces itself, and leaves the main file as it is
        self._announced = False
        self._announcing = asyncio.Lock()

    def now(self) -> float:
        return self.clock.now()

    async def query(self, name: str, /, **values: Any) -> list[Any]:
        # fetched in the thread: a cursor must not leave it, and its rows would be read outside the transaction
        statement = STATEMENTS[name]
        return await self._file.read(lambda db: db.execute(statement, values).fetchall())

    async def change(self, name: str, /, **values: Any) -> int:
        statement = STATEMENTS[name]
        return await self._file.write(lambda db: db.execute(statement, values).rowcount)

    async def insert(self, name: str, /, **values: Any) -> int:
        statement = STATEMENTS[name]
        # not by "returning": SQLite knows it from 3.35 on, and some systems with Python 3.11 have an older one
        return await self._file.write(lambda db: db.execute(statement, values).lastrowid or 0)

    async def run(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Run `job` in a transaction, and return its result once it is on disk."""
        return await self._file.write(job)

    async def read(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Run a job that only reads. This works after a failed write, too."""
        return await self._file.read(job)

    async def checkpoint(self) -> None:
        """Move all writes into the main file, and empty the ``-wal`` beside it."""
        await self._file.checkpoint()

    async def note(self, **facts: str) -> None:
        # many facts in one statement and one commit
        rows = [{"name": name, "value": value} for name, value in facts.items()]
        await self.run(lambda db: db.executemany(STATEMENTS["note"], rows).rowcount)
        if "planned" in facts:
            # the main file names the run and holds its items, also when the -wal beside it is lost
            await self.checkpoint()

    async def set_run_state(self, state: RunState) -> None:
        await super().set_run_state(state)
        # a rollback must not begin while a lost -wal could turn the run back to running
        await self.checkpoint()

    async def announce(self) -> None:
        """Record in the main file that this process sends items, before the first one."""
        if self._announced:
            return
        # many items are sent at once, and all of them have to wait for the one checkpoint
        async with self._announcing:
            if not self._announced:
                await self.note(**{SENDING: "yes"})
                await self.checkpoint()
                self._announced = True

    def is_resumed(self, location: str) -> bool:
        """Return whether an earlier process may have sent items, with no listing since."""
        return self._resumed and location not in self._listed

    def note_listed(self, location: str) -> None:
        """Record that this process listed the location."""
        self._listed.add(location)
