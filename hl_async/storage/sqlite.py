"""Internal. A SQLite file and the thread that works on it.

Token stores, journals and the cursors of change feeds open files, write and report failures in the same way. They
differ in their tables and in their :class:`SqliteRules`. Each file has a thread of its own, so the event loop never
waits for a disk. Jobs that are queued at the same time share one transaction and one fsync.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from enum import Enum
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from hl_async.errors import HighLevelError

T = TypeVar("T")

BUSY_TIMEOUT: Final = 10.0
"""Seconds that a statement waits for another program to release its lock."""

_LARGEST_BATCH: Final = 2000
"""The largest number of jobs in one transaction."""


class Access(Enum):
    """How a job uses the file. The value completes "could not be …" in an error."""

    READ = "read"
    WRITE = "written"
    OUTSIDE = "flushed"
    """The job runs outside a transaction, as a checkpoint has to."""


class SqliteTrouble(Enum):
    """The kinds of failures that have different remedies.

    The value completes "it …" in an error.
    """

    LOCKED = f"has been locked by another program for {BUSY_TIMEOUT:.0f} s"
    READ_ONLY = "is read-only"
    DAMAGED = "is damaged or not a database"
    FULL = "cannot grow: the disk is full"
    OTHER = "failed"


_BY_CODE: Final = {
    sqlite3.SQLITE_BUSY: SqliteTrouble.LOCKED,
    sqlite3.SQLITE_LOCKED: SqliteTrouble.LOCKED,
    sqlite3.SQLITE_READONLY: SqliteTrouble.READ_ONLY,
    sqlite3.SQLITE_CORRUPT: SqliteTrouble.DAMAGED,
    sqlite3.SQLITE_NOTADB: SqliteTrouble.DAMAGED,
    sqlite3.SQLITE_FULL: SqliteTrouble.FULL,
}
_ADVICE: Final = {
    SqliteTrouble.LOCKED: "close that program",
    SqliteTrouble.READ_ONLY: "check its permissions",
    SqliteTrouble.DAMAGED: "restore it from a backup",
    SqliteTrouble.FULL: "free some space",
    SqliteTrouble.OTHER: "check the path, its permissions and the disk",
}


@dataclasses.dataclass(frozen=True, slots=True)
class SqliteRules:
    """How one kind of file is opened, and how its failures read.

    Attributes:
        noun: The kind of file, for messages, such as "the journal".
        problem: The type of the error that a failure raises. Its only argument is the message.
        damaged: The type of the error for a damaged file; None for `problem`.
        advice: Advice that replaces the usual one, by kind of failure.
        is_wal: Whether the file uses write-ahead logging: others can read while one process writes, and a ``-wal``
            file lies beside it.
        overwrites: Whether SQLite overwrites deleted content with zeros.
        reopens: Whether the next job opens the file again after a failure and after closing. If not, closing is
            final, and the first failed write ends all writing: a later write must not be stored when an earlier one
            is missing.
    """

    noun: str
    problem: type[HighLevelError]
    damaged: type[HighLevelError] | None = None
    advice: Mapping[SqliteTrouble, str] = dataclasses.field(default_factory=dict)
    is_wal: bool = False
    overwrites: bool = False
    reopens: bool = True

    def failure(self, path: Path, verb: str, error: Exception) -> HighLevelError:
        """Return the error for a failed job.

        An error of this package is returned unchanged.

        Args:
            path: The file.
            verb: Completes "could not be …".
            error: The exception that the job raised.
        """
        if isinstance(error, HighLevelError):
            return error
        kind = self.problem
        if isinstance(error, sqlite3.Error):
            words = self.explain(error)
            if self.damaged is not None and trouble_of(error) is SqliteTrouble.DAMAGED:
                kind = self.damaged
        elif isinstance(error, OSError):
            words = f"failed: {error.strerror}; check the path and its permissions"
        else:
            words = f"failed: {error!r}"
        return kind(f"{self.noun} {path} could not be {verb}: it {words}")

    def explain(self, error: sqlite3.Error) -> str:
        """Return a failure's meaning and advice, as text that follows "it"."""
        trouble = trouble_of(error)
        words = f"{trouble.value}: {error}" if trouble is SqliteTrouble.OTHER else trouble.value
        return f"{words}; {self.advice.get(trouble, _ADVICE[trouble])}"


def trouble_of(error: sqlite3.Error) -> SqliteTrouble:
    """Return the kind of a failure."""
    # an extended code keeps the primary one in its low byte
    return _BY_CODE.get(getattr(error, "sqlite_errorcode", 0) & 0xFF, SqliteTrouble.OTHER)


class SqliteFile:
    """A file and its thread. The first job opens it.

    Args:
        path: The file.
        rules: The rules of its kind.
        prepare: Called in the thread before the file is opened. It creates the file, or raises to refuse it.
        check: Called in the thread with the new connection. It creates or upgrades the tables, or raises to refuse
            them.
    """

    __slots__ = ("_check", "_failed", "_mutex", "_prepare", "_worker", "is_closed", "path", "rules")

    def __init__(
        self,
        path: Path,
        rules: SqliteRules,
        *,
        prepare: Callable[[Path], None],
        check: Callable[[sqlite3.Connection, Path], None],
    ) -> None:
        self.path: Path = path
        self.rules: SqliteRules = rules
        self._prepare = prepare
        self._check = check
        self._mutex = threading.Lock()
        self._worker: _Worker | None = None
        self._failed = ""
        self.is_closed: bool = False
        """Whether the file was closed for good: a further job raises."""

    async def read(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Run a job that only reads, in the file's thread, and return its result.

        Raises:
            HighLevelError: The file could not be opened or read; see `SqliteRules.problem`.
        """
        return await self._queue(job, Access.READ)

    async def write(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Run a job in a transaction, and return its result once it is on disk.

        A cancelled caller does not stop the job.

        Raises:
            HighLevelError: Nothing was written; see `SqliteRules.problem`.
        """
        return await self._queue(job, Access.WRITE)

    async def checkpoint(self) -> None:
        """Move the content of the ``-wal`` file into the database, and empty it."""
        statement = "pragma wal_checkpoint(truncate)"
        await self._queue(lambda db: db.execute(statement).fetchone(), Access.OUTSIDE)

    def submit(self, act: Callable[[], T]) -> Future[T]:
        """Call a function in the file's thread, after the queued jobs.

        The function does not get the connection.
        """
        with self._mutex:
            return self._running().threads.submit(act)

    @property
    def has_failed(self) -> bool:
        """Whether a failed write ended all writing."""
        return bool(self._failed)

    async def aclose(self) -> None:
        """Finish the queued jobs, close the file and end the thread."""
        with self._mutex:
            worker, self._worker = self._worker, None
            self.is_closed = not self.rules.reopens
        if worker is not None:
            # Shielded: a cancelled caller must not stop the thread from closing the connection.
            await asyncio.shield(asyncio.wrap_future(worker.threads.submit(worker.close)))
            worker.threads.shutdown(wait=False)

    async def _queue(self, job: Callable[[sqlite3.Connection], T], access: Access) -> T:
        if self._failed and access is not Access.READ:
            raise self.rules.problem(self._failed)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        with self._mutex:
            worker = self._running()
            worker.jobs.append(_Job(job, access, future, loop))
            if not worker.is_draining:
                worker.is_draining = True
                worker.threads.submit(self._drain, worker)
        # A queued job runs even if its caller is cancelled: it may share a transaction with the jobs of others.
        return await asyncio.shield(future)

    def _running(self) -> _Worker:
        if self._worker is None:
            if self.is_closed:
                raise self.rules.problem(f"{self.rules.noun} {self.path} is closed")
            self._worker = _Worker(self.path.name)
        return self._worker

    # ------------------------------------------------------------------------------ in the thread

    def _drain(self, worker: _Worker) -> None:
        while batch := self._next_batch(worker):
            # a checkpoint cannot run inside a transaction, so it follows the transaction of its batch
            for outside in (False, True):
                if jobs := [job for job in batch if (job.access is Access.OUTSIDE) is outside]:
                    self._commit(worker, jobs)

    def _next_batch(self, worker: _Worker) -> list[_Job]:
        with self._mutex:
            batch = [worker.jobs.popleft() for _ in range(min(len(worker.jobs), _LARGEST_BATCH))]
            worker.is_draining = bool(batch)
        return batch

    def _commit(self, worker: _Worker, jobs: Sequence[_Job]) -> None:
        """Run the jobs in one transaction; if one of them fails, none is stored."""
        if self._failed:
            # These were queued before the failure was known. An earlier write is missing, so they must not be stored.
            refused = [job for job in jobs if job.access is not Access.READ]
            _answer(refused, [], self.rules.problem(self._failed))
            jobs = [job for job in jobs if job.access is Access.READ]
            if not jobs:
                return
        accesses = {job.access for job in jobs}
        results: list[Any] = []
        problem: HighLevelError | None = None
        verb = "opened"
        try:
            if worker.connection is None:
                worker.connection = self._open()
            connection = worker.connection
            verb = next(one for one in (Access.WRITE, Access.OUTSIDE, Access.READ) if one in accesses).value
            if Access.OUTSIDE not in accesses:
                # Immediate: a transaction that reads first fails at once with SQLITE_BUSY if another program writes
                # before it does, and does not wait for the lock.
                connection.execute("begin immediate" if Access.WRITE in accesses else "begin")
            results.extend(job.work(connection) for job in jobs)
            if connection.in_transaction:
                connection.execute("commit")
        except Exception as error:  # noqa: BLE001 - every waiting job gets the error
            problem = self.rules.failure(self.path, verb, error)
            # a file that reopens gets a new connection for the next job, which may find the trouble gone
            worker.undo(is_final=self.rules.reopens)
            if not self.rules.reopens and isinstance(error, sqlite3.Error) and Access.WRITE in accesses:
                self._failed = str(problem)
        _answer(jobs, results, problem)

    def _open(self) -> sqlite3.Connection:
        self._prepare(self.path)
        connection = connect(self.path)
        try:
            # before the first write, because it applies to later writes of this connection only
            if self.rules.overwrites:
                connection.execute("pragma secure_delete = on")
            self._check(connection, self.path)
            # after the check, because the journal mode is stored in the file, and another program's stays unchanged
            if self.rules.is_wal:
                connection.execute("pragma journal_mode = wal")
        except BaseException:
            connection.close()
            raise
        return connection

    def __repr__(self) -> str:
        return f"<SqliteFile {self.path}>"


class _Job(NamedTuple):
    work: Callable[[sqlite3.Connection], Any]
    access: Access
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop


class _Worker:
    """The thread of a file, its connection and the jobs that wait for it."""

    __slots__ = ("connection", "is_draining", "jobs", "threads")

    def __init__(self, name: str) -> None:
        # the interpreter waits for an executor's jobs before it exits; it would stop a daemon thread amid a write
        self.threads = ThreadPoolExecutor(1, thread_name_prefix=f"hl_async-{name}")
        self.connection: sqlite3.Connection | None = None
        self.jobs: deque[_Job] = deque()
        self.is_draining = False

    def undo(self, *, is_final: bool) -> None:
        """Roll the transaction back, and close the connection if `is_final`."""
        if self.connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self.connection.execute("rollback")
        if is_final:
            self.close()

    def close(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()


def _answer(jobs: Sequence[_Job], results: Sequence[Any], problem: HighLevelError | None) -> None:
    """Pass the results, or the error, to the event loops that wait for them."""
    # one wake-up per loop, not per job: waking a loop writes to a socket
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = {}
    for number, job in enumerate(jobs):
        by_loop.setdefault(job.loop, []).append((job.future, None if problem else results[number]))
    for loop, answers in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the loop is closed, and its callers with it
            loop.call_soon_threadsafe(_resolve, answers, problem)


def _resolve(answers: Sequence[tuple[asyncio.Future[Any], Any]], problem: HighLevelError | None) -> None:
    for future, result in answers:
        if future.done():
            continue
        if problem is None:
            future.set_result(result)
        else:
            # each waiter gets a copy: raising an exception appends to its traceback
            future.set_exception(type(problem)(str(problem)))


# ------------------------------------------------------------------------------ opening


def connect(path: Path) -> sqlite3.Connection:
    """Return a connection with durable writes, which begins no transactions itself."""
    # Without an isolation level, the sqlite3 module begins no transaction of its own before a write.
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None)
    try:
        # a commit returns after the fsync, so that it survives a power failure
        connection.execute("pragma synchronous = full")
    except BaseException:  # SQLite opens any file; the first statement fails if it is not a database
        connection.close()
        raise
    return connection


def peek(path: Path, query: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query, from a file that another process may be using.

    The list is empty if the file is not a readable database.
    """
    try:
        # Read-only, so that it never creates or changes the file. That needs a URI, in which the name is escaped.
        with contextlib.closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        ) as connection:
            return connection.execute(query).fetchall()
    except sqlite3.Error:
        return []


def apply_steps(
    connection: sqlite3.Connection,
    path: Path,
    steps: Sequence[str],
    problem: type[HighLevelError],
    *,
    application: int = 0,
) -> None:
    """Create the tables of a new file, or upgrade those of an older version.

    Args:
        connection: The file, outside a transaction.
        path: The name of the file, for messages.
        steps: Step ``n`` upgrades the tables from version ``n`` to ``n + 1``.
        problem: The type of the error to raise.
        application: SQLite's ``application_id`` for this kind of file; 0 sets none.

    Raises:
        HighLevelError: An error of the type `problem`: another program, or a later version of this package, wrote
            the file.
    """
    if version_of(connection) == len(steps):
        return
    connection.execute("begin immediate")
    version = version_of(connection)  # read again under the lock: another process may have created the tables
    if version > len(steps):
        raise problem(f"{path} was written by a later version of hl_async; upgrade it")
    if version == 0 and table_count(connection):
        raise problem(f"{path} is another program's database; choose another file")
    for step in steps[version:]:
        for statement in _statements(step):
            connection.execute(statement)
    if application:
        connection.execute(f"pragma application_id = {application}")
    connection.execute(f"pragma user_version = {len(steps)}")
    connection.execute("commit")


def version_of(connection: sqlite3.Connection) -> int:
    """Return the version of the tables; 0 for a file without tables."""
    (version,) = connection.execute("pragma user_version").fetchone()
    return int(version)


def table_count(connection: sqlite3.Connection) -> int:
    """Return the number of tables, indexes, views and triggers."""
    (number,) = connection.execute("select count(*) from sqlite_master").fetchone()
    return int(number)


def _statements(script: str) -> Iterator[str]:
    """Yield the statements of a script.

    `executescript` would commit the surrounding transaction.
    """
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
