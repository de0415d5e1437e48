"""The embedded journal: SQLite in one file, durable, one writer, group commit.

WAL and ``synchronous=FULL``: what is awaited is on disk. Many writers that wait at the same time share one commit. The
file belongs to one process at a time, so its lanes need no leases: the file's lock is the lease of them all.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from hl_async.bulk.journals.clock import SteadyClock
from hl_async.bulk.journals.protocol import BATCH, Counts, Deletion, ItemRow, LaneJournal, LaneStatus
from hl_async.bulk.journals.rows import ROW_COLUMNS, add_up, columns_of, item_row
from hl_async.bulk.journals.sqlite_file import (
    RULES,
    check_run,
    check_schema,
    correct_future,
    is_locked,
    lock_file,
    make_file,
    remove_file,
    rename_file,
)
from hl_async.bulk.journals.sqlite_lane import SqliteLane, lane_statuses, locations_of
from hl_async.bulk.journals.sqlite_steps import SqliteSteps, correct_future_steps
from hl_async.bulk.protocol import KnownItem, RunState, State
from hl_async.bulk.sources.records import Reject, SourceItem
from hl_async.errors import JournalCorrupt, JournalError, JournalMissing
from hl_async.storage.locks import unlock
from hl_async.storage.sqlite import SqliteFile

T = TypeVar("T")

_SENDING: Final = "sending"
"""The fact that says whether a process may have sent items: ``yes`` while it works, ``drained`` after its end."""


class SqliteJournals(NamedTuple):
    """A journal in the file ``path``."""

    path: Path

    async def create(self, header: dict[str, str]) -> SqliteJournal:
        """See :meth:`JournalStore.create`; also raises :class:`JournalLocked` and :class:`JournalCorrupt`."""
        return await SqliteJournal.open_file(self.path, header)

    async def open(self, *, watch: bool = False) -> SqliteJournal:
        """See :meth:`JournalStore.open`; watched, it may belong to another process."""
        return await SqliteJournal.open_file(self.path, None, watch=watch)

    async def exists(self) -> bool:
        return await asyncio.to_thread(self.path.exists)

    async def remove(self) -> None:
        await asyncio.to_thread(remove_file, self.path)

    async def set_aside(self, word: str) -> str:
        return str(await asyncio.to_thread(rename_file, self.path, word))


class SqliteJournal:
    """A journal in one file; see :class:`~hl_async.bulk.journals.protocol.Journal`. Open it through
    :class:`SqliteJournals`."""

    def __init__(self, file: SqliteFile, lock: int | None, clock: SteadyClock, sending: str) -> None:
        self.path = file.path
        self.clock = clock
        self.unclean = sending == "yes"
        """Whether the process before this one did not end in order: its last writes may be missing."""
        self._resumed = bool(sending)
        self.steps = SqliteSteps(self)
        self._listed: set[str] = set()
        self._announced = False
        self._announcing = asyncio.Lock()
        self._file = file
        self._lock = lock

    @property
    def name(self) -> str:
        return str(self.path)

    @classmethod
    async def open_file(
        cls, path: Path, header: dict[str, str] | None, *, watch: bool = False
    ) -> SqliteJournal:
        """See :class:`SqliteJournals`."""
        if header is None and not await asyncio.to_thread(path.is_file):
            raise JournalMissing(f"there is no journal at {path}")
        clock = SteadyClock()

        def prepare(_: Path) -> None:
            if header is not None:
                make_file(path)
            elif path.stat().st_size == 0:
                raise JournalCorrupt(f"{path} is empty: it does not say which run it belonged to; restore it")

        def check(db: sqlite3.Connection, _: Path) -> None:
            check_schema(db, path, upgrade=not watch)
            if header is not None:
                check_run(db, path, header)
            if not watch:
                correct_future(db, clock.now())
                correct_future_steps(db, clock.now())

        lock = None if watch else await asyncio.to_thread(lock_file, path)
        file = SqliteFile(path, RULES, prepare=prepare, check=check)
        query = "select value from run where name = ?"
        try:
            found = await file.read(lambda db: db.execute(query, (_SENDING,)).fetchone())
        except BaseException:
            # the file first: another process may take the lock as soon as it is free
            await file.aclose()
            unlock(lock)
            raise
        return cls(file, lock, clock, "" if watch or found is None else found[0])

    async def aclose(self) -> None:
        """Write what is queued, close the file and let others have it."""
        if self._announced and not self._file.is_closed and not self._file.has_failed:
            with contextlib.suppress(JournalError):
                await self.note(**{_SENDING: "drained"})
                await self.checkpoint()
        await self._file.aclose()
        unlock(self._lock)
        self._lock = None

    # ------------------------------------------------------------------------------------- planning

    async def plan(self, records: Iterable[tuple[SourceItem, str, bytes] | Reject]) -> None:
        rows = [columns_of(record) for record in records]

        def write(db: sqlite3.Connection) -> None:
            db.executemany(
                "insert or ignore into item (ordinal, source_id, key, location, ids, body, raw, total, currency,"
                " place, state, reason, digest) values (?,?,?,?,?,?,?,?,?,?,?,?,?)",
                rows,
            )

        await self.run(write)

    async def header(self) -> dict[str, str]:
        return await self.read(lambda db: dict(db.execute("select name, value from run")))

    async def note(self, **facts: str) -> None:
        def write(db: sqlite3.Connection) -> None:
            db.executemany("insert or replace into run values (?,?)", facts.items())

        await self.run(write)
        if "planned" in facts:
            # the main file names the run and holds its items, also when the -wal beside it is lost
            await self.checkpoint()

    async def lease(
        self, location: str, *, epoch: int | None = None, state: RunState = RunState.RUNNING
    ) -> LaneJournal | None:
        if await self.run_state() is not state:
            return None
        return SqliteLane(self, location)

    async def announce(self) -> None:
        """Note in the main file that this process sends items, before the first one."""
        if self._announced:
            return
        async with self._announcing:
            if not self._announced:
                await self.note(**{_SENDING: "yes"})
                await self.checkpoint()
                self._announced = True

    # ---------------------------------------------------------------------------------- state and evidence

    async def run_state(self) -> RunState:
        return RunState((await self.header()).get("state", RunState.RUNNING.value))

    async def set_run_state(self, state: RunState) -> None:
        await self.note(state=state.value)
        await self.checkpoint()

    def is_resumed(self, location: str) -> bool:
        """Whether items may have been sent by an earlier process, and the location was not listed since."""
        return self._resumed and location not in self._listed

    def note_listed(self, location: str) -> None:
        """Note that the location was listed by this process."""
        self._listed.add(location)

    async def withdraw_planned(self) -> int:
        return await self.run(
            lambda db: db.execute("update item set state = 'withdrawn' where state = 'planned'").rowcount
        )

    async def items_to_settle(self) -> list[ItemRow]:
        return await self.rows(State.SENT, limit=-1)

    async def record_deletion_intent(self, location: str, document: str, key: str, reason: str) -> int:
        values = (location, document, key, reason, self.clock.now())

        def write(db: sqlite3.Connection) -> int:
            statement = "insert into deletion (location, document, key, reason, at) values (?,?,?,?,?)"
            number = db.execute(statement, values).lastrowid
            assert number is not None
            return number

        return await self.run(write)

    async def record_deletion_result(self, deletion: int, outcome: str) -> None:
        await self.change(
            "update deletion set outcome = ?, ended_at = ? where id = ?",
            (outcome, self.clock.now(), deletion),
        )

    async def deletions(self, *, after: int = 0, limit: int = BATCH) -> list[Deletion]:
        def read(db: sqlite3.Connection) -> list[Deletion]:
            rows = db.execute(
                "select id, location, document, key, reason, at, outcome, ended_at from deletion"
                " where id > ? order by id limit ?",
                (after, limit),
            )
            return [Deletion(*row) for row in rows]

        return await self.read(read)

    # ------------------------------------------------------------------------------------- changing

    async def rolled_back(self, ordinal: int, document: str | None = None) -> bool:
        return await self.change(
            "update item set state = 'deleted', document = coalesce(?, document), reason = 'rolled back'"
            " where ordinal = ? and key is not null and state != 'deleted'",
            (document, ordinal),
        )

    async def withdraw(self) -> list[str]:
        """Nobody else can work on it while the file is ours."""
        return []

    async def retry_rejected(self) -> int:
        return await self._plan_again("rejected", "deleted", "withdrawn")

    async def reopen(self) -> int:
        number = await self._plan_again("deleted", "withdrawn")
        await self.set_run_state(RunState.RUNNING)
        return number

    async def _plan_again(self, *states: str) -> int:
        marks = ",".join("?" for _ in states)
        statement = (
            "update item set state = 'planned', reason = null, failures = 0, document = null,"  # noqa: S608
            " possible = case when state = 'deleted' then 0 else possible end"
            f" where (state in ({marks}) or state = 'unknown' and failures > 0) and body is not null"
        )
        return await self.run(lambda db: db.execute(statement, states).rowcount)

    # ------------------------------------------------------------------------------------- looking

    async def known(self, location: str) -> dict[str, KnownItem]:
        def read(db: sqlite3.Connection) -> dict[str, KnownItem]:
            rows = db.execute(
                "select key, ordinal, document, state, possible, first_sent, sent_at from item"
                " where location = ? and key is not null",
                (location,),
            )
            return {
                key: KnownItem(n, document, State(state), *rest) for key, n, document, state, *rest in rows
            }

        return await self.read(read)

    async def locations(self) -> list[str]:
        return await self.read(locations_of)

    async def counts(self, *, totals: bool = True) -> Counts:
        def read(db: sqlite3.Connection) -> Counts:
            by_state: dict[str, int] = dict(db.execute("select state, count(*) from item group by state"))
            sums: Iterable[tuple[str, str, str, int]] = ()
            if totals:
                sums = db.execute(
                    "select state, currency, total, count(*) from item where total is not null group by 1, 2, 3"
                )
            return Counts(by_state, add_up(sums))

        return await self.read(read)

    async def unswept(self) -> list[str]:
        query = "select location from lane where ambiguous_at > coalesce(swept_at, 0) order by location"
        return await self.read(lambda db: [location for (location,) in db.execute(query)])

    async def lanes(self) -> list[LaneStatus]:
        now = self.clock.now()
        is_held = self._lock is not None or await asyncio.to_thread(is_locked, self.path)
        return await self.read(lambda db: lane_statuses(db, now, is_held=is_held))

    async def rows(
        self, *states: State, after: int = -1, limit: int = BATCH, bodies: bool = False
    ) -> list[ItemRow]:
        marks = ",".join("?" for _ in states)
        body = "body" if bodies else "null"

        def read(db: sqlite3.Connection) -> list[ItemRow]:
            rows = db.execute(
                f"select {ROW_COLUMNS}, {body} from item"  # noqa: S608
                f" where state in ({marks}) and ordinal > ? order by ordinal limit ?",
                (*[state.value for state in states], after, limit),
            )
            return [item_row(row) for row in rows]

        return await self.read(read)

    # ------------------------------------------------------------------------------------- statements

    async def change(self, statement: str, values: tuple[Any, ...]) -> bool:
        """Whether the statement changed its one row."""
        return await self.run(lambda db: db.execute(statement, values).rowcount == 1)

    async def run(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``job`` in a transaction, and return its result once it is on disk."""
        return await self._file.write(job)

    async def read(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Run a job that only reads. It works also after a write has failed."""
        return await self._file.read(job)

    async def checkpoint(self) -> None:
        """Move what was written into the main file, and empty the ``-wal`` beside it."""
        await self._file.checkpoint()

    def __repr__(self) -> str:
        return f"<SqliteJournal {self.path}>"
