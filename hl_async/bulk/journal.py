"""The journal: what a run intends, did, and does not know. SQLite, durable, one writer, group commit.

Everything awaited here is on disk when it returns (WAL, ``synchronous=FULL``). Many writers that wait at the same
time share one commit. The file belongs to one source, one operation and one set of locations, and to one
process at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol, TypeVar

import msgspec

from hl_async.bulk.protocol import LaneFacts, State
from hl_async.bulk.records import Item, Reject
from hl_async.errors import JournalCorrupt, JournalError, JournalLocked, JournalMismatch

T = TypeVar("T")

SCHEMA_VERSION: Final = 1
_APPLICATION_ID: Final = 0x686C6A31  # "hlj1"
_BATCH: Final = 2000

_SCHEMA: Final = """
create table run (name text primary key, value text not null) without rowid;
create table item (
  ordinal integer primary key,
  source_id text not null,
  key text,
  location text not null,
  ids text not null default '[]',
  body blob,
  raw blob,
  total text,
  currency text not null default '',
  place text not null default '',
  state text not null,
  attempt integer not null default 0,
  sent_at real,
  ambiguous integer not null default 0,
  document text,
  reason text
);
create index item_by_state on item (location, state, ordinal);
create unique index item_by_key on item (location, key);
create table lane (
  location text primary key,
  proven integer not null default 0,
  swept_at real,
  ambiguous_at real
) without rowid;
"""


class Planned(NamedTuple):
    """One item that is to be sent."""

    ordinal: int
    key: str
    location: str
    ids: tuple[str, ...]
    body: bytes
    attempt: int


class Row(NamedTuple):
    """One item as it stands, for reports and verification."""

    ordinal: int
    source_id: str
    key: str | None
    location: str
    state: State
    total: Decimal | None
    currency: str
    place: str
    document: str | None
    reason: str | None
    ambiguous: bool
    raw: bytes | None


class Counts(NamedTuple):
    """How many items are in which state, and what their totals add up to by currency."""

    by_state: dict[str, int]
    totals: dict[str, dict[str, Decimal]]
    ambiguous: int

    def of(self, state: State) -> int:
        """Items in a state."""
        return self.by_state.get(state.value, 0)

    @property
    def all(self) -> int:
        """Items of the source."""
        return sum(self.by_state.values())


class Journal(Protocol):
    """What a lane needs; another store fulfils the same (and passes the same tests)."""

    async def take(self, location: str, after: int, limit: int) -> list[Planned]: ...

    async def intend(self, ordinal: int, attempt: int, at: float) -> bool: ...

    async def created(self, ordinal: int, attempt: int, document: str) -> bool: ...

    async def rejected(self, ordinal: int, attempt: int, reason: str) -> bool: ...

    async def replan(self, ordinal: int, attempt: int) -> bool: ...

    async def hold(self, ordinal: int, attempt: int, reason: str) -> bool: ...

    async def facts(self, location: str) -> LaneFacts: ...


class SqliteJournal:
    """A journal in one file. Open it with :meth:`create` or :meth:`open`, close it with :meth:`aclose`."""

    def __init__(self, path: Path, connection: sqlite3.Connection, lock: int | None) -> None:
        self.path = path
        self._connection = connection
        self._lock = lock
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._failed: JournalError | None = None
        self._thread = threading.Thread(target=self._work, name="hl-journal", daemon=True)
        self._thread.start()

    # ------------------------------------------------------------------------------------- opening

    @classmethod
    async def create(cls, path: Path, header: dict[str, str]) -> SqliteJournal:
        """A journal for a new run, or the one that is there if it belongs to the same run.

        ``header`` names the run: fingerprint of the source, operation, key place. Raises
        :class:`JournalMismatch` when the file belongs to another one, :class:`JournalLocked`,
        :class:`JournalCorrupt`, :class:`JournalError` when it cannot be written.
        """
        return await asyncio.to_thread(cls._open, path, header)

    @classmethod
    async def open(cls, path: Path, *, watch: bool = False) -> SqliteJournal:
        """The journal of an earlier run; :class:`JournalError` when there is none.

        With ``watch`` it is only read, also while another process works on it.
        """
        return await asyncio.to_thread(cls._open, path, None, watch)

    @classmethod
    def _open(cls, path: Path, header: dict[str, str] | None, watch: bool = False) -> SqliteJournal:
        if header is None and not path.is_file():
            raise JournalError(f"there is no journal at {path}")
        lock = None if watch else _lock(path)
        problem: JournalError
        try:
            connection = _connect(path)
            try:
                _prepare(connection, path, header)
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
        _unlock(lock)
        raise problem

    async def aclose(self) -> None:
        """Write what is queued, close the file and let others have it."""
        if self._thread.is_alive():
            self._jobs.put(None)
            await asyncio.to_thread(self._thread.join)
        _unlock(self._lock)
        self._lock = None

    # ------------------------------------------------------------------------------------- planning

    async def plan(self, records: Iterable[tuple[Item, str, bytes] | Reject]) -> None:
        """Add items (with key and final body) and rejects; those that are there already stay as they are."""
        rows = [_row_of(record) for record in records]

        def write(db: sqlite3.Connection) -> None:
            db.executemany(
                "insert or ignore into item (ordinal, source_id, key, location, ids, body, raw, total, currency,"
                " place, state, reason) values (?,?,?,?,?,?,?,?,?,?,?,?)",
                rows,
            )

        await self._run(write)

    async def header(self) -> dict[str, str]:
        """The facts about the run."""
        return await self._run(lambda db: dict(db.execute("select name, value from run")))

    async def note(self, **facts: str) -> None:
        """Write facts about the run."""

        def write(db: sqlite3.Connection) -> None:
            db.executemany("insert or replace into run values (?,?)", facts.items())

        await self._run(write)

    # -------------------------------------------------------------------------------------- sending

    async def take(self, location: str, after: int, limit: int) -> list[Planned]:
        """The next planned items of a location, by their place in the source, from ``after`` on."""

        def read(db: sqlite3.Connection) -> list[Planned]:
            rows = db.execute(
                "select ordinal, key, location, ids, body, attempt from item"
                " where location = ? and state = 'planned' and ordinal > ? order by ordinal limit ?",
                (location, after, limit),
            )
            return [
                Planned(o, k, at, tuple(msgspec.json.decode(ids)), body, n) for o, k, at, ids, body, n in rows
            ]

        return await self._run(read)

    async def intend(self, ordinal: int, attempt: int, at: float) -> bool:
        """Planned (or a sent item's next request) becomes sent. False when somebody else moved it."""
        return await self._change(
            "update item set state = 'sent', attempt = attempt + 1, sent_at = ?, ambiguous = 1"
            " where ordinal = ? and attempt = ? and state in ('planned', 'sent')",
            (at, ordinal, attempt),
        )

    async def created(self, ordinal: int, attempt: int, document: str) -> bool:
        """The answer came, or the listing found it."""
        return await self._change(
            "update item set state = 'created', document = ?, ambiguous = 0"
            " where ordinal = ? and attempt = ? and state = 'sent'",
            (document, ordinal, attempt),
        )

    async def rejected(self, ordinal: int, attempt: int, reason: str) -> bool:
        """The API will never take it."""
        return await self._change(
            "update item set state = 'rejected', reason = ?, ambiguous = 0"
            " where ordinal = ? and attempt = ? and state in ('planned', 'sent')",
            (reason, ordinal, attempt),
        )

    async def replan(self, ordinal: int, attempt: int) -> bool:
        """Provably nothing happened: to be sent again."""
        return await self._change(
            "update item set state = 'planned', ambiguous = 0 where ordinal = ? and attempt = ? and state = 'sent'",
            (ordinal, attempt),
        )

    async def hold(self, ordinal: int, attempt: int, reason: str) -> bool:
        """Nobody can tell what happened: left to a person, never sent again."""
        return await self._change(
            "update item set state = 'unknown', reason = ?, ambiguous = 0"
            " where ordinal = ? and attempt = ? and state = 'sent'",
            (reason, ordinal, attempt),
        )

    async def rolled_back(self, ordinal: int) -> bool:
        """The document this item made was deleted again; it can be planned once more with ``--retry-rejected``."""
        return await self._change(
            "update item set state = 'rejected', reason = 'rolled back', document = null"
            " where ordinal = ? and state = 'created'",
            (ordinal,),
        )

    async def retry_rejected(self) -> int:
        """Plan again what the API rejected, or a rollback deleted; what never became a request stays rejected."""
        return await self._run(
            lambda db: (
                db.execute(
                    "update item set state = 'planned', reason = null where state = 'rejected' and body is not null"
                ).rowcount
            )
        )

    async def adopt(self, ordinal: int, document: str) -> bool:
        """The sweep found the item's document although the journal thought that it had been refused."""
        return await self._change(
            "update item set state = 'created', document = ?, reason = null, ambiguous = 0"
            " where ordinal = ? and state in ('rejected', 'unknown', 'planned') and key is not null",
            (document, ordinal),
        )

    async def note_ambiguous(self, location: str, at: float) -> None:
        """Remember that the lane had an ambiguous send, so that it is swept at the end."""
        await self._lane(location, "ambiguous_at", at)

    async def prove(self, location: str) -> None:
        """The canary came back with its key."""

        def write(db: sqlite3.Connection) -> None:
            db.execute(
                "insert into lane (location, proven) values (?, 1) on conflict (location) do update set proven = 1",
                (location,),
            )

        await self._run(write)

    async def swept(self, location: str, at: float) -> None:
        """The sweep that began at ``at`` is complete."""
        await self._lane(location, "swept_at", at)

    async def ambiguous(self, location: str) -> list[tuple[int, str, int, float]]:
        """(ordinal, key, attempt, sent_at) of every item that was sent and not answered."""

        def read(db: sqlite3.Connection) -> list[tuple[int, str, int, float]]:
            return db.execute(
                "select ordinal, key, attempt, sent_at from item where location = ? and state = 'sent'",
                (location,),
            ).fetchall()

        return await self._run(read)

    async def known(self, location: str) -> dict[str, tuple[int, str | None]]:
        """Every key of the run in a location, with its ordinal and, once created, its document's id."""

        def read(db: sqlite3.Connection) -> dict[str, tuple[int, str | None]]:
            rows = db.execute(
                "select key, ordinal, document from item where location = ? and key is not null", (location,)
            )
            return {key: (ordinal, document) for key, ordinal, document in rows}

        return await self._run(read)

    async def facts(self, location: str) -> LaneFacts:
        """What decides about the lane's next step."""

        def read(db: sqlite3.Connection) -> LaneFacts:
            counts = dict(
                db.execute("select state, count(*) from item where location = ? group by state", (location,))
            )
            (last,) = db.execute(
                "select max(sent_at) from item where location = ? and state = 'sent'", (location,)
            ).fetchone()
            lane = db.execute(
                "select proven, swept_at, ambiguous_at from lane where location = ?", (location,)
            ).fetchone()
            proven, swept_at, noted = lane or (0, None, None)
            ever = max((moment for moment in (last, noted) if moment is not None), default=None)
            return LaneFacts(
                counts.get("planned", 0), counts.get("sent", 0), bool(proven), last, ever, swept_at
            )

        return await self._run(read)

    # ------------------------------------------------------------------------------------- looking

    async def locations(self) -> list[str]:
        """Locations that have items to send, or had."""
        return await self._run(
            lambda db: [
                location
                for (location,) in db.execute(
                    "select location from item where key is not null group by location order by min(ordinal)"
                )
            ]
        )

    async def counts(self) -> Counts:
        """Numbers and totals over the whole run; totals are exact."""

        def read(db: sqlite3.Connection) -> Counts:
            by_state: dict[str, int] = dict(db.execute("select state, count(*) from item group by state"))
            totals: dict[str, dict[str, Decimal]] = {}
            rows = db.execute(
                "select state, currency, total, count(*) from item where total is not null group by 1, 2, 3"
            )
            for state, currency, total, number in rows:
                sums = totals.setdefault(state, {})
                sums[currency] = sums.get(currency, Decimal(0)) + Decimal(total) * number
            (ambiguous,) = db.execute("select count(*) from item where state = 'sent'").fetchone()
            return Counts(by_state, totals, ambiguous)

        return await self._run(read)

    async def rows(self, *states: State, after: int = -1, limit: int = _BATCH) -> list[Row]:
        """A batch of items in these states, in the order of the source, from ``after`` on."""
        marks = ",".join("?" for _ in states)

        def read(db: sqlite3.Connection) -> list[Row]:
            rows = db.execute(
                "select ordinal, source_id, key, location, state, total, currency, place, document, reason, ambiguous,"  # noqa: S608
                f" raw from item where state in ({marks}) and ordinal > ? order by ordinal limit ?",
                (*[state.value for state in states], after, limit),
            )
            return [
                Row(o, s, k, at, State(st), Decimal(t) if t else None, c, p, d, r, bool(a), raw)
                for o, s, k, at, st, t, c, p, d, r, a, raw in rows
            ]

        return await self._run(read)

    # ------------------------------------------------------------------------------- the writer thread

    async def _lane(self, location: str, column: str, at: float) -> None:
        def write(db: sqlite3.Connection) -> None:
            db.execute(
                f"insert into lane (location, {column}) values (?, ?)"  # noqa: S608
                f" on conflict (location) do update set {column} = max(coalesce({column}, 0), excluded.{column})",
                (location, at),
            )

        await self._run(write)

    async def _change(self, statement: str, values: tuple[Any, ...]) -> bool:
        return await self._run(lambda db: db.execute(statement, values).rowcount == 1)

    async def _run(self, job: Callable[[sqlite3.Connection], T]) -> T:
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
        for _ in range(_BATCH):
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


def _row_of(record: tuple[Item, str, bytes] | Reject) -> tuple[Any, ...]:
    if isinstance(record, Reject):
        total = None if record.total is None else str(record.total)
        state = State.SKIPPED if record.skipped else State.REJECTED
        return (
            record.ordinal, record.source_id, None, "", "[]", None, record.raw, total, "", record.place,
            state.value, record.reason,
        )  # fmt: skip
    item, key, body = record
    total = None if item.total is None else str(item.total)
    ids = msgspec.json.encode(item.ids).decode()
    return (
        item.ordinal, item.source_id, key, item.location, ids, body, item.raw, total, item.currency, item.place,
        State.PLANNED.value, None,
    )  # fmt: skip


def _connect(path: Path) -> sqlite3.Connection:
    # created with the mode it is to have: other people's money is in it
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = full")
    return connection


def _prepare(connection: sqlite3.Connection, path: Path, header: dict[str, str] | None) -> None:
    (application,) = connection.execute("pragma application_id").fetchone()
    (version,) = connection.execute("pragma user_version").fetchone()
    (tables,) = connection.execute("select count(*) from sqlite_master").fetchone()
    if tables == 0 and header is not None:
        connection.executescript(f"begin immediate; {_SCHEMA} commit;")
        connection.execute(f"pragma application_id = {_APPLICATION_ID}")
        connection.execute(f"pragma user_version = {SCHEMA_VERSION}")
    elif application != _APPLICATION_ID:
        raise JournalCorrupt(f"{path} is a database, but no journal of this program")
    elif version != SCHEMA_VERSION:
        raise JournalCorrupt(f"{path} has schema {version}; this version reads schema {SCHEMA_VERSION}")
    if header is None:
        return
    found = dict(connection.execute("select name, value from run"))
    for name, value in header.items():
        if name in found and found[name] != value:
            raise JournalMismatch(
                f"{path} belongs to another run: its {name} is {found[name]!r}, not {value!r}; choose another journal"
            )
    connection.executemany("insert or ignore into run values (?,?)", header.items())


def _lock(path: Path) -> int | None:
    name = path.with_name(path.name + ".lock")
    problem = ""
    descriptor = -1
    try:
        descriptor = os.open(name, os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        problem = f"the journal {path} cannot be written: {error.strerror}"
    if problem:
        raise JournalError(problem)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.read(descriptor, 20).decode("ascii", "replace").strip()
        os.close(descriptor)
    else:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        return descriptor
    raise JournalLocked(f"process {holder or 'unknown'} works on the journal {path}")


def _unlock(lock: int | None) -> None:
    if lock is not None:
        os.close(lock)
