"""The embedded journal: SQLite in one file, durable, one writer, group commit.

WAL and ``synchronous=FULL``: what is awaited is on disk. Many writers that wait at the same time share one commit. The
file belongs to one process at a time, so its lanes need no leases: the file's lock is the lease of them all.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from hl_async.bulk.journals.protocol import (
    BATCH,
    Counts,
    ItemRow,
    LaneJournal,
    LaneRelease,
    LaneStatus,
    PlannedItem,
    add_up,
    columns_of,
    ids_of,
    lane_status,
)
from hl_async.bulk.journals.sqlite_file import connect, lock_file, prepare, remove_file, unlock
from hl_async.bulk.protocol import LaneFacts, State
from hl_async.bulk.sources.records import Item, Reject
from hl_async.errors import JournalCorrupt, JournalError, JournalMissing

T = TypeVar("T")

_RENEW_EVERY: Final = 5.0
_LANE_FACT: Final = "lane "


class SqliteJournals(NamedTuple):
    """A journal in the file ``path``."""

    path: Path

    async def create(self, header: dict[str, str]) -> SqliteJournal:
        """See :meth:`JournalStore.create`; also raises :class:`JournalLocked` and :class:`JournalCorrupt`."""
        return await asyncio.to_thread(SqliteJournal.open_file, self.path, header)

    async def open(self, *, watch: bool = False) -> SqliteJournal:
        """See :meth:`JournalStore.open`; watched, it may belong to another process."""
        return await asyncio.to_thread(SqliteJournal.open_file, self.path, None, watch)

    async def exists(self) -> bool:
        return await asyncio.to_thread(self.path.exists)

    async def remove(self) -> None:
        await asyncio.to_thread(remove_file, self.path)


class SqliteJournal:
    """A journal in one file; see :class:`~hl_async.bulk.journals.protocol.Journal`. Open it through
    :class:`SqliteJournals`."""

    def __init__(self, path: Path, connection: sqlite3.Connection, lock: int | None) -> None:
        self.path = path
        self._connection = connection
        self._lock = lock
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._failed: JournalError | None = None
        self._thread = threading.Thread(target=self._work, name="hl-journal", daemon=True)
        self._thread.start()

    @property
    def name(self) -> str:
        return str(self.path)

    @classmethod
    def open_file(cls, path: Path, header: dict[str, str] | None, watch: bool = False) -> SqliteJournal:
        """Blocking; see :class:`SqliteJournals`."""
        if header is None and not path.is_file():
            raise JournalMissing(f"there is no journal at {path}")
        lock = None if watch else lock_file(path)
        problem: JournalError
        try:
            connection = connect(path)
            try:
                prepare(connection, path, header)
            except BaseException:
                connection.close()
                raise
            return cls(path, connection, lock)
        except sqlite3.DatabaseError as error:
            unreadable = "not a database" in str(error) or "malformed" in str(error)
            kind = JournalCorrupt if unreadable else JournalError
            problem = kind(f"the journal {path} cannot be used: {error}")
        except JournalError as error:
            problem = error
        unlock(lock)
        raise problem

    async def aclose(self) -> None:
        """Write what is queued, close the file and let others have it."""
        if self._thread.is_alive():
            self._jobs.put(None)
            await asyncio.to_thread(self._thread.join)
        unlock(self._lock)
        self._lock = None

    # ------------------------------------------------------------------------------------- planning

    async def plan(self, records: Iterable[tuple[Item, str, bytes] | Reject]) -> None:
        rows = [columns_of(record) for record in records]

        def write(db: sqlite3.Connection) -> None:
            db.executemany(
                "insert or ignore into item (ordinal, source_id, key, location, ids, body, raw, total, currency,"
                " place, state, reason) values (?,?,?,?,?,?,?,?,?,?,?,?)",
                rows,
            )

        await self.run(write)

    async def header(self) -> dict[str, str]:
        return await self.run(lambda db: dict(db.execute("select name, value from run")))

    async def note(self, **facts: str) -> None:
        def write(db: sqlite3.Connection) -> None:
            db.executemany("insert or replace into run values (?,?)", facts.items())

        await self.run(write)

    async def lease(self, location: str, *, epoch: int | None = None) -> LaneJournal:
        """The lane; nobody else can have it while the file is ours."""
        return SqliteLane(self, location)

    # ------------------------------------------------------------------------------------- changing

    async def rolled_back(self, ordinal: int) -> bool:
        return await self.change(
            "update item set state = 'rejected', reason = 'rolled back', document = null"
            " where ordinal = ? and state = 'created'",
            (ordinal,),
        )

    async def withdraw(self) -> list[str]:
        """Nobody else can work on it while the file is ours."""
        return []

    async def retry_rejected(self) -> int:
        return await self.run(
            lambda db: (
                db.execute(
                    "update item set state = 'planned', reason = null where state = 'rejected' and body is not null"
                ).rowcount
            )
        )

    # ------------------------------------------------------------------------------------- looking

    async def known(self, location: str) -> dict[str, tuple[int, str | None]]:
        def read(db: sqlite3.Connection) -> dict[str, tuple[int, str | None]]:
            rows = db.execute(
                "select key, ordinal, document from item where location = ? and key is not null", (location,)
            )
            return {key: (ordinal, document) for key, ordinal, document in rows}

        return await self.run(read)

    async def locations(self) -> list[str]:
        return await self.run(_locations)

    async def counts(self, *, totals: bool = True) -> Counts:
        def read(db: sqlite3.Connection) -> Counts:
            by_state: dict[str, int] = dict(db.execute("select state, count(*) from item group by state"))
            sums: Iterable[tuple[str, str, str, int]] = ()
            if totals:
                sums = db.execute(
                    "select state, currency, total, count(*) from item where total is not null group by 1, 2, 3"
                )
            return Counts(by_state, add_up(sums))

        return await self.run(read)

    async def lanes(self) -> list[LaneStatus]:
        def read(db: sqlite3.Connection) -> list[LaneStatus]:
            counts: dict[str, dict[str, int]] = {location: {} for location in _locations(db)}
            rows = db.execute(
                "select location, state, count(*) from item where key is not null group by location, state"
            )
            for location, state, number in rows:
                counts[location][state] = number
            notes = {
                name.removeprefix(_LANE_FACT): msgspec.json.decode(value, type=_LaneNote)
                for name, value in db.execute(
                    "select name, value from run where name >= ? and name < ?", (_LANE_FACT, "lane!")
                )
            }
            return [_status(location, found, notes.get(location)) for location, found in counts.items()]

        return await self.run(read)

    async def rows(self, *states: State, after: int = -1, limit: int = BATCH) -> list[ItemRow]:
        marks = ",".join("?" for _ in states)

        def read(db: sqlite3.Connection) -> list[ItemRow]:
            rows = db.execute(
                "select ordinal, source_id, key, location, state, total, currency, place, document, reason, raw"  # noqa: S608
                f" from item where state in ({marks}) and ordinal > ? order by ordinal limit ?",
                (*[state.value for state in states], after, limit),
            )
            return [
                ItemRow(o, s, k, at, State(st), Decimal(t) if t else None, c, p, d, r, raw)
                for o, s, k, at, st, t, c, p, d, r, raw in rows
            ]

        return await self.run(read)

    # ------------------------------------------------------------------------------- the writer thread

    async def change(self, statement: str, values: tuple[Any, ...]) -> bool:
        """Whether the statement changed its one row."""
        return await self.run(lambda db: db.execute(statement, values).rowcount == 1)

    async def run(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """What ``job`` returns, once it is on disk."""
        if self._failed is not None:
            raise JournalError(str(self._failed))
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._jobs.put(_Job(job, future, loop))
        # what is queued will be written: a caller that is cancelled must not undo that
        return await asyncio.shield(future)

    def _work(self) -> None:
        db = self._connection
        while True:
            first = self._jobs.get()
            if first is None:
                break
            batch = [first, *self._more()]
            stop = None in batch
            jobs = [job for job in batch if job is not None]
            self._commit(db, jobs)
            if stop:
                break
        with contextlib.suppress(sqlite3.Error):
            db.close()

    def _more(self) -> Iterator[_Job | None]:
        for _ in range(BATCH):
            try:
                yield self._jobs.get_nowait()
            except queue.Empty:
                return

    def _commit(self, db: sqlite3.Connection, jobs: list[_Job]) -> None:
        """All jobs in one transaction; when it fails, none of them happened."""
        results: list[Any] = []
        try:
            db.execute("begin immediate")
            results.extend(job.work(db) for job in jobs)
            db.execute("commit")
        except Exception as error:  # noqa: BLE001 - whatever it was, every waiter has to hear of it
            with contextlib.suppress(sqlite3.Error):
                db.execute("rollback")
            problem = JournalError(f"the journal {self.path} could not be written: {error}")
            if isinstance(error, sqlite3.Error):
                self._failed = problem
            answers: list[tuple[_Job, Any, Exception | None]] = [(job, None, problem) for job in jobs]
        else:
            answers = [(job, result, None) for job, result in zip(jobs, results, strict=True)]
        with contextlib.suppress(RuntimeError):  # the loop is gone: nobody waits any more
            jobs[0].loop.call_soon_threadsafe(_resolve, answers)

    def __repr__(self) -> str:
        return f"<SqliteJournal {self.path}>"


class SqliteLane:
    """The items of one location of a :class:`SqliteJournal`; see
    :class:`~hl_async.bulk.journals.protocol.LaneJournal`."""

    renew_every = _RENEW_EVERY

    def __init__(self, journal: SqliteJournal, location: str) -> None:
        self.location = location
        self._journal = journal

    def now(self) -> float:
        return time.time()

    def lasts(self, seconds: float) -> bool:
        """As long as the file is ours."""
        return True

    async def renew(self, rate: float) -> bool:
        await self._note(_LaneNote(rate, self.now() + 2 * _RENEW_EVERY, os.getpid()))
        return True

    async def release(self, release: LaneRelease) -> None:
        # slices end every few seconds: only what somebody may wonder about is worth a write
        if release.done or release.reason or release.wake_in:
            await self._note(_LaneNote(reason=release.reason, wake_at=self.now() + release.wake_in))

    async def facts(self) -> LaneFacts:
        def read(db: sqlite3.Connection) -> LaneFacts:
            counts = dict(
                db.execute(
                    "select state, count(*) from item where location = ? group by state", (self.location,)
                )
            )
            (last,) = db.execute(
                "select max(sent_at) from item where location = ? and state = 'sent'", (self.location,)
            ).fetchone()
            lane = db.execute(
                "select proven, swept_at, ambiguous_at from lane where location = ?", (self.location,)
            ).fetchone()
            proven, swept_at, noted = lane or (0, None, None)
            ever = max((moment for moment in (last, noted) if moment is not None), default=None)
            return LaneFacts(
                counts.get("planned", 0), counts.get("sent", 0), bool(proven), last, ever, swept_at
            )

        return await self._journal.run(read)

    async def take(self, after: int, limit: int) -> list[PlannedItem]:
        def read(db: sqlite3.Connection) -> list[PlannedItem]:
            rows = db.execute(
                "select ordinal, key, ids, body, attempt from item"
                " where location = ? and state = 'planned' and ordinal > ? order by ordinal limit ?",
                (self.location, after, limit),
            )
            return [PlannedItem(o, k, ids_of(ids), body, n) for o, k, ids, body, n in rows]

        return await self._journal.run(read)

    async def intend(self, ordinal: int, attempt: int, at: float) -> bool:
        return await self._journal.change(
            "update item set state = 'sent', attempt = attempt + 1, sent_at = ?, ambiguous = 1"
            " where ordinal = ? and attempt = ? and state in ('planned', 'sent')",
            (at, ordinal, attempt),
        )

    async def created(self, ordinal: int, attempt: int, document: str) -> bool:
        return await self._journal.change(
            "update item set state = 'created', document = ?, ambiguous = 0"
            " where ordinal = ? and attempt = ? and state = 'sent'",
            (document, ordinal, attempt),
        )

    async def rejected(self, ordinal: int, attempt: int, reason: str) -> bool:
        return await self._journal.change(
            "update item set state = 'rejected', reason = ?, ambiguous = 0"
            " where ordinal = ? and attempt = ? and state in ('planned', 'sent')",
            (reason, ordinal, attempt),
        )

    async def mark_planned(self, ordinal: int, attempt: int) -> bool:
        return await self._journal.change(
            "update item set state = 'planned', ambiguous = 0 where ordinal = ? and attempt = ? and state = 'sent'",
            (ordinal, attempt),
        )

    async def mark_unknown(self, ordinal: int, attempt: int, reason: str) -> bool:
        return await self._journal.change(
            "update item set state = 'unknown', reason = ?, ambiguous = 0"
            " where ordinal = ? and attempt = ? and state = 'sent'",
            (reason, ordinal, attempt),
        )

    async def adopt(self, ordinal: int, document: str) -> bool:
        return await self._journal.change(
            "update item set state = 'created', document = ?, reason = null, ambiguous = 0"
            " where ordinal = ? and state in ('rejected', 'unknown', 'planned') and key is not null",
            (document, ordinal),
        )

    async def note_ambiguous(self, at: float) -> None:
        await self._latest("ambiguous_at", at)

    async def prove(self) -> None:
        def write(db: sqlite3.Connection) -> None:
            db.execute(
                "insert into lane (location, proven) values (?, 1) on conflict (location) do update set proven = 1",
                (self.location,),
            )

        await self._journal.run(write)

    async def swept(self, at: float) -> None:
        await self._latest("swept_at", at)

    async def ambiguous(self) -> list[tuple[int, str, int, float]]:
        def read(db: sqlite3.Connection) -> list[tuple[int, str, int, float]]:
            return db.execute(
                "select ordinal, key, attempt, sent_at from item where location = ? and state = 'sent'",
                (self.location,),
            ).fetchall()

        return await self._journal.run(read)

    async def known(self) -> dict[str, tuple[int, str | None]]:
        return await self._journal.known(self.location)

    async def _latest(self, column: str, at: float) -> None:
        def write(db: sqlite3.Connection) -> None:
            db.execute(
                f"insert into lane (location, {column}) values (?, ?)"  # noqa: S608
                f" on conflict (location) do update set {column} = max(coalesce({column}, 0), excluded.{column})",
                (self.location, at),
            )

        await self._journal.run(write)

    async def _note(self, note: _LaneNote) -> None:
        await self._journal.note(**{_LANE_FACT + self.location: msgspec.json.encode(note).decode()})


class _LaneNote(msgspec.Struct, omit_defaults=True):
    """What the last holder said of a lane; ``until`` and ``wake_at`` are times of day."""

    rate: float = 0.0
    until: float = 0.0
    process: int = 0
    reason: str = ""
    wake_at: float = 0.0


def _status(location: str, counts: dict[str, int], note: _LaneNote | None) -> LaneStatus:
    note = note or _LaneNote()
    now = time.time()
    working = note.until > now
    return lane_status(
        location,
        counts,
        rate=note.rate if working else 0.0,
        holder=f"process {note.process}" if working else "",
        wakes_in=max(0.0, note.wake_at - now),
        reason=note.reason,
    )


def _locations(db: sqlite3.Connection) -> list[str]:
    rows = db.execute(
        "select location from item where key is not null group by location order by min(ordinal)"
    )
    return [location for (location,) in rows]


class _Job(NamedTuple):
    work: Callable[[sqlite3.Connection], Any]
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop


def _resolve(answers: list[tuple[_Job, Any, Exception | None]]) -> None:
    for job, result, error in answers:
        if job.future.done():
            continue
        if error is None:
            job.future.set_result(result)
        else:
            job.future.set_exception(error)
