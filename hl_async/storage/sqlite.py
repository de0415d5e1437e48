"""Internal. A SQLite file and the thread that works on it.

There is one way to open, one way to write, one way to fail. Token stores, journals and the cursors of change feeds
differ in their tables only. Each file has a thread of its own, so the event loop never waits for a disk. Jobs that
wait at the same time share one transaction and one sync.
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
"""Seconds that a statement waits for a lock of another program."""

_LARGEST_BATCH: Final = 2000
"""The most jobs of one transaction."""


class Access(Enum):
    """How a job uses the file; the value is the verb of its failure."""

    READ = "read"
    WRITE = "written"
    OUTSIDE = "flushed"
    """The job runs outside a transaction."""


class SqliteTrouble(Enum):
    """Kinds of failures that ask for different remedies."""

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
        noun: The name of the file's kind in messages.
        problem: The error of a failure; takes the message alone.
        damaged: The error of a damaged file; None for `problem`.
        advice: Advice that differs from the usual one, by trouble.
        is_wal: Readers go on while another process writes, and the file has a ``-wal`` beside it.
        overwrites: Deleted content is overwritten in the file.
        reopens: A failure, and closing, make the next job open the file again. Otherwise the first failed write ends
            all writing, so that later writes do not stand behind a gap, and closing is final.
    """

    noun: str
    problem: type[HighLevelError]
    damaged: type[HighLevelError] | None = None
    advice: Mapping[SqliteTrouble, str] = dataclasses.field(default_factory=dict)
    is_wal: bool = False
    overwrites: bool = False
    reopens: bool = True

    def failure(self, path: Path, verb: str, error: Exception) -> HighLevelError:
        """Return the error for a failed job; errors of this package stay as they are."""
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
        """Return what a failure of SQLite means, and what to do about it."""
        trouble = trouble_of(error)
        words = f"{trouble.value}: {error}" if trouble is SqliteTrouble.OTHER else trouble.value
        return f"{words}; {self.advice.get(trouble, _ADVICE[trouble])}"


def trouble_of(error: sqlite3.Error) -> SqliteTrouble:
    """Return the kind of a failure."""
    # the low byte is the primary code, the others say more about it
    return _BY_CODE.get(getattr(error, "sqlite_errorcode", 0) & 0xFF, SqliteTrouble.OTHER)


class SqliteFile:
    """A file and its thread. It opens with the first job.

    Args:
        path: The file.
        rules: The rules of its kind.
        prepare: Called in the thread before the file is opened, to make it or to refuse it.
        check: Called with the new connection, to make, upgrade or refuse its tables.
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
        """Whether no job opens the file any more."""

    async def read(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Run a job that only reads."""
        return await self._queue(job, Access.READ)

    async def write(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Run a job in a transaction, and return its result once it is on disk."""
        return await self._queue(job, Access.WRITE)

    async def checkpoint(self) -> None:
        """Move the content of the ``-wal`` into the file, and empty it."""
        statement = "pragma wal_checkpoint(truncate)"
        await self._queue(lambda db: db.execute(statement).fetchone(), Access.OUTSIDE)

    def submit(self, act: Callable[[], T]) -> Future[T]:
        """Call a function without the connection in the file's thread.

        It runs behind the jobs that wait.
        """
        with self._mutex:
            return self._running().threads.submit(act)

    @property
    def has_failed(self) -> bool:
        """Whether a failed write ended all writing."""
        return bool(self._failed)

    async def aclose(self) -> None:
        """Finish the jobs that wait, close the file and end the thread."""
        with self._mutex:
            worker, self._worker = self._worker, None
            self.is_closed = not self.rules.reopens
        if worker is not None:
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
        # A queued job is executed in any case: a caller that is cancelled must not undo a write.
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
            for outside in (False, True):
                if jobs := [job for job in batch if (job.access is Access.OUTSIDE) is outside]:
                    self._commit(worker, jobs)

    def _next_batch(self, worker: _Worker) -> list[_Job]:
        with self._mutex:
            batch = [worker.jobs.popleft() for _ in range(min(len(worker.jobs), _LARGEST_BATCH))]
            worker.is_draining = bool(batch)
        return batch

    def _commit(self, worker: _Worker, jobs: Sequence[_Job]) -> None:
        """Run all jobs in one transaction; when it fails, none of them happened."""
        if self._failed:
            # these were queued before the failure was known, and must not be written behind the gap
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
                connection.execute("begin immediate" if Access.WRITE in accesses else "begin")
            results.extend(job.work(connection) for job in jobs)
            if connection.in_transaction:
                connection.execute("commit")
        except Exception as error:  # noqa: BLE001 - every waiting job has to hear of it
            problem = self.rules.failure(self.path, verb, error)
            worker.undo(is_final=self.rules.reopens)
            if not self.rules.reopens and isinstance(error, sqlite3.Error) and Access.WRITE in accesses:
                self._failed = str(problem)
        _answer(jobs, results, problem)

    def _open(self) -> sqlite3.Connection:
        self._prepare(self.path)
        connection = connect(self.path)
        try:
            # before anything is written: it holds for this connection from here on
            if self.rules.overwrites:
                connection.execute("pragma secure_delete = on")
            self._check(connection, self.path)
            # after the check: a file of another program keeps its mode
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
        # an executor finishes its jobs before the interpreter exits; a daemon thread would drop them
        self.threads = ThreadPoolExecutor(1, thread_name_prefix=f"hl_async-{name}")
        self.connection: sqlite3.Connection | None = None
        self.jobs: deque[_Job] = deque()
        self.is_draining = False

    def undo(self, *, is_final: bool) -> None:
        """Roll back, and close the connection if it is not to be used again."""
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
    """Give each loop the results of its jobs."""
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
            # each waiter gets an error of its own: raising one adds frames to it
            future.set_exception(type(problem)(str(problem)))


# ------------------------------------------------------------------------------ opening


def connect(path: Path) -> sqlite3.Connection:
    """Open a file for durable writes; the caller, not the driver, makes transactions."""
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None)
    try:
        connection.execute("pragma synchronous = full")
    except BaseException:  # the first statement shows that a file is not a database
        connection.close()
        raise
    return connection


def peek(path: Path, query: str) -> list[tuple[Any, ...]]:
    """Read rows of a file that another process may use.

    They are empty if it is not a readable database.
    """
    try:
        # as a URI, so that a name may contain any character
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
    """Make the tables of a new file, or bring those of an older version up to date.

    Args:
        connection: The file, outside a transaction.
        path: Its name for messages.
        steps: Step ``n`` takes the tables from version ``n`` to ``n + 1``.
        problem: The error to raise.
        application: The mark of the file's kind in its header.

    Raises:
        HighLevelError: `problem`: another program, or a later version, wrote the file.
    """
    if version_of(connection) == len(steps):
        return
    connection.execute("begin immediate")
    version = version_of(connection)  # another process may have made the tables in the meantime
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
    """Return the version of the tables; 0 for a file without any."""
    (version,) = connection.execute("pragma user_version").fetchone()
    return int(version)


def table_count(connection: sqlite3.Connection) -> int:
    """Return the number of tables and indexes."""
    (number,) = connection.execute("select count(*) from sqlite_master").fetchone()
    return int(number)


def _statements(script: str) -> Iterator[str]:
    """Split a script: `executescript` would commit the transaction that surrounds it."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
