"""Internal. The embedded journal: one SQLite file with one writer.

WAL and ``synchronous=FULL``: an awaited write is on disk. Writers that wait at the same time share one commit. The
file belongs to one process at a time, so its lanes need no leases: the file's lock is the lease of them all.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from hl_async.bulk.journals.clock import SteadyClock
from hl_async.bulk.journals.protocol import LaneJournal, LaneStatus
from hl_async.bulk.journals.rows import columns_of
from hl_async.bulk.journals.sqlite_file import (
    RULES,
    STATEMENTS,
    check_run,
    check_schema,
    correct_future,
    is_locked,
    lock_file,
    make_file,
    remove_file,
    rename_file,
)
from hl_async.bulk.journals.sqlite_lane import SqliteLane, lane_statuses
from hl_async.bulk.journals.sqlite_run import SENDING, SqliteRun
from hl_async.bulk.journals.sqlite_steps import SqliteSteps, correct_future_steps, plan_steps_again
from hl_async.bulk.journals.store import JournalStore
from hl_async.bulk.journals.stored import text_of
from hl_async.bulk.protocol import RunState, State
from hl_async.bulk.sources.records import Reject, SourceItem
from hl_async.errors import JournalCorrupt, JournalError, JournalMissing
from hl_async.storage.locks import unlock
from hl_async.storage.sqlite import SqliteFile


class SqliteJournals(NamedTuple):
    """A journal in the file ``path``."""

    path: Path

    async def create(self, header: dict[str, str]) -> SqliteJournal:
        """See :meth:`JournalStore.create`; also raises JournalLocked and JournalCorrupt."""
        return await SqliteJournal.open_file(self.path, header)

    async def open(self, *, watch: bool = False) -> SqliteJournal:
        """See :meth:`JournalStore.open`. A watched journal may belong to another process."""
        return await SqliteJournal.open_file(self.path, None, watch=watch)

    @property
    def reference(self) -> str:
        """The absolute path."""
        return str(self.path.absolute())

    def sibling(self, reference: str) -> SqliteJournals:
        """Return the journal of another file."""
        return SqliteJournals(Path(reference))

    async def exists(self) -> bool:
        return await asyncio.to_thread(self.path.exists)

    async def remove(self) -> None:
        await asyncio.to_thread(remove_file, self.path)

    async def set_aside(self, word: str) -> str:
        return str(await asyncio.to_thread(rename_file, self.path, word))


class SqliteJournal(SqliteRun):
    """A run in one file; see :class:`Journal`. :class:`SqliteJournals` opens it."""

    def __init__(self, file: SqliteFile, lock: int | None, clock: SteadyClock, sending: str) -> None:
        super().__init__(file, clock, sending)
        self.steps: SqliteSteps = SqliteSteps(self)
        self._lock = lock

    @property
    def name(self) -> str:
        return str(self.path)

    @classmethod
    async def open_file(
        cls, path: Path, header: dict[str, str] | None, *, watch: bool = False
    ) -> SqliteJournal:
        """Open a journal.

        Args:
            path: The file.
            header: The facts of a new run, for which a missing file is made; None for an earlier run.
            watch: Only read; another process may work on it.

        Raises:
            JournalError: The file is missing, in use, damaged, or of another run.
        """
        if header is None and not await asyncio.to_thread(path.is_file):
            raise JournalMissing(f"the journal {path} is missing")
        clock = SteadyClock()

        def prepare(_: Path) -> None:
            if header is not None:
                make_file(path)
            # SQLite takes an empty file for a new database, and would hide that the journal lost its contents
            elif path.stat().st_size == 0:
                raise JournalCorrupt(f"{path} is empty: it does not say which run it belonged to; restore it")

        def check(db: sqlite3.Connection, _: Path) -> None:
            check_schema(db, path, upgrade=not watch)
            if header is not None:
                check_run(db, path, header)
            # a watcher writes nothing: the process that works on the journal has its own clock
            if not watch:
                correct_future(db, clock.now())
                correct_future_steps(db, clock.now())

        lock = None if watch else await asyncio.to_thread(lock_file, path)
        file = SqliteFile(path, RULES, prepare=prepare, check=check)
        try:
            facts = await file.read(lambda db: dict(db.execute(STATEMENTS["header"])))
        except BaseException:
            # the file first: another process may take the lock as soon as it is free
            await file.aclose()
            unlock(lock)
            raise
        return cls(file, lock, clock, "" if watch else facts.get(SENDING, ""))

    async def aclose(self) -> None:
        """Finish queued writes, close the file and release its lock."""
        # the checkpoint moves this note with the writes before it: a main file that says "drained" is complete
        if self._announced and not self._file.is_closed and not self._file.has_failed:
            with contextlib.suppress(JournalError):
                await self.note(**{SENDING: "drained"})
                await self.checkpoint()
        await self._file.aclose()
        unlock(self._lock)
        self._lock = None

    async def plan(self, records: Iterable[tuple[SourceItem, str, bytes] | Reject]) -> None:
        rows = [columns_of(record) for record in records]
        await self.run(lambda db: db.executemany(STATEMENTS["plan"], rows).rowcount)

    async def lease(
        self, location: str, *, epoch: int | None = None, state: RunState = RunState.RUNNING
    ) -> LaneJournal | None:
        # no lease to take: the file's lock keeps other processes out
        if await self.run_state() is not state:
            return None
        return SqliteLane(self, location)

    async def _plan_again(self, *states: State) -> int:
        values = {"states": text_of(states)}

        def write(db: sqlite3.Connection) -> int:
            # a document whose customer was rejected waits for that customer
            plan_steps_again(db, *states)
            return db.execute(STATEMENTS["plan_again"], values).rowcount

        return await self.run(write)

    async def withdraw(self) -> list[str]:
        """Do nothing: no other process works on the file while this one holds its lock."""
        return []

    async def lanes(self) -> list[LaneStatus]:
        is_held = self._lock is not None or await asyncio.to_thread(is_locked, self.path)
        return lane_statuses(await self.lane_counts(), await self.header(), self.now(), is_held=is_held)

    def __repr__(self) -> str:
        return f"<SqliteJournal {self.path}>"


def store_at(place: Path | JournalStore) -> JournalStore:
    """Return the store of a place: a path is an embedded journal."""
    return SqliteJournals(place) if isinstance(place, Path) else place
