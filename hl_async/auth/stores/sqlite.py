"""Tokens in one SQLite file, shared by the processes of one host.

All work happens in one thread of the store's own, so the event loop never waits for a disk. The lock around a
refresh is a lock on one of 64 empty files in a directory beside the database: it is the kernel's, so it ends
with the process that holds it, however that ends, and refreshes of different locations don't wait for one another,
as they would behind a transaction that is held open. POSIX only.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sqlite3
import stat
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TypeVar

from hl_async.auth.stores.base import Stored
from hl_async.errors import TokenStoreError
from hl_async.secret import MaskedBytes
from hl_async.storage import locks
from hl_async.storage.private_files import create_private, make_private_folder

T = TypeVar("T")

_FORMAT: Final = 1
_STRIPES: Final = 64
_BUSY: Final = 10.0
_FIRST_POLL: Final = 0.004
_LAST_POLL: Final = 0.05

_SCHEMA: Final = """
create table entry (name text primary key, version integer not null, data blob not null) without rowid;
"""


class SqliteStore:
    """Keeps tokens in the file ``path``, created with mode 0600; missing folders above it get mode 0700.

    A file that others may read or write is refused. Writes are synced to the disk before they count; what they
    replace is overwritten in the file. ``lock_timeout`` is how many seconds to wait for another process's refresh.
    Opens when it is first used, and again after :meth:`aclose`. Raises :class:`TokenStoreError`, with advice,
    for a file that is locked, read-only, corrupt, no token store or of a later version. Tokens are in the
    clear unless it is wrapped in a ``EncryptedStore``.
    """

    __slots__ = ("_connection", "_lock_timeout", "_mutex", "_path", "_threads")

    def __init__(self, path: str | os.PathLike[str], *, lock_timeout: float = 60.0) -> None:
        self._path = Path(path)
        self._lock_timeout = lock_timeout
        self._connection: sqlite3.Connection | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._mutex = threading.Lock()

    @property
    def path(self) -> Path:
        """The database file."""
        return self._path

    async def load(self, name: str) -> Stored | None:
        """See :meth:`TokenStore.load`."""

        def act(connection: sqlite3.Connection) -> Stored | None:
            row = connection.execute("select version, data from entry where name = ?", (name,)).fetchone()
            return None if row is None else Stored(row[0], row[1])

        return await self._run(act)

    async def save(self, name: str, data: bytes, version: int) -> bool:
        """See :meth:`TokenStore.save`."""
        data = MaskedBytes(data)  # this frame awaits and may raise

        def act(connection: sqlite3.Connection) -> bool:
            if version == 0:
                cursor = connection.execute("insert or ignore into entry values (?, 1, ?)", (name, data))
            else:
                cursor = connection.execute(
                    "update entry set version = version + 1, data = ? where name = ? and version = ?",
                    (data, name, version),
                )
            return cursor.rowcount == 1

        return await self._run(act)

    async def delete(self, name: str, version: int) -> bool:
        """See :meth:`TokenStore.delete`."""

        def act(connection: sqlite3.Connection) -> bool:
            cursor = connection.execute("delete from entry where name = ? and version = ?", (name, version))
            return cursor.rowcount == 1

        return await self._run(act)

    async def names(self, prefix: str) -> list[str]:
        """See :meth:`TokenStore.names`."""

        def act(connection: sqlite3.Connection) -> list[str]:
            rows = connection.execute(
                "select name from entry where substr(name, 1, ?) = ? order by name", (len(prefix), prefix)
            )
            return [row[0] for row in rows]

        return await self._run(act)

    @asynccontextmanager
    async def locked(self, name: str) -> AsyncIterator[None]:
        """See :meth:`TokenStore.locked`. Raises :class:`TokenStoreError` after ``lock_timeout`` seconds."""
        held = await self._take_lock(name)
        try:
            yield
        finally:
            locks.unlock(held)

    async def aclose(self) -> None:
        """Close the file and end the thread."""
        with self._mutex:
            threads, self._threads = self._threads, None
        if threads is None:
            return
        await asyncio.shield(asyncio.wrap_future(threads.submit(self._close)))
        threads.shutdown(wait=False)

    # ------------------------------------------------------------------------------ in the loop's thread

    async def _run(self, act: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``act`` in the thread; it finishes there even when the caller is cancelled."""
        return await asyncio.shield(asyncio.wrap_future(self._submit(lambda: self._guarded(act))))

    def _submit(self, act: Callable[[], T]) -> Future[T]:
        with self._mutex:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(1, thread_name_prefix="hl_async-tokens")
            return self._threads.submit(act)

    async def _take_lock(self, name: str) -> int:
        """The descriptor that holds the lock. Polls, so that a wait occupies no thread and can be cancelled."""
        stripe = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=2).digest(), "big") % _STRIPES
        path = self._path.with_name(f"{self._path.name}.locks") / f"{stripe:02d}"
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._lock_timeout
        pause = _FIRST_POLL
        while True:
            attempt = asyncio.wrap_future(self._submit(lambda: self._try_lock(path)))
            try:
                held = await asyncio.shield(attempt)
            except asyncio.CancelledError:
                attempt.add_done_callback(_drop)
                raise
            if held is not None:
                return held
            if loop.time() >= deadline:
                raise TokenStoreError(
                    f"another process has held the lock {path} for {self._lock_timeout:.0f} s; "
                    "is it stopped in a debugger?"
                )
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LAST_POLL)

    # ------------------------------------------------------------------------------ in the store's thread

    def _guarded(self, act: Callable[[sqlite3.Connection], T]) -> T:
        """Open if need be and run ``act``; every failure becomes a :class:`TokenStoreError` with advice."""
        try:
            if self._connection is None:
                self._connection = self._open()
            return act(self._connection)
        except sqlite3.Error as error:
            problem = explain(error)
        except OSError as error:
            problem = f"cannot be used: {error.strerror}; check the path and its permissions"
        self._close()
        raise TokenStoreError(f"the token store {self._path} {problem}")

    def _open(self) -> sqlite3.Connection:
        self._prepare_file()
        connection = sqlite3.connect(self._path, timeout=_BUSY, isolation_level=None, check_same_thread=False)
        try:
            # secure_delete: a spent or forgotten token must not stay behind in a free page
            connection.execute("pragma secure_delete = on")
            connection.execute("pragma synchronous = full")
            self._check_format(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _check_format(self, connection: sqlite3.Connection) -> None:
        found = connection.execute("pragma user_version").fetchone()[0]
        if found == 0:
            connection.execute("begin immediate")
            found = connection.execute("pragma user_version").fetchone()[0]
            if found == 0:
                if connection.execute("select count(*) from sqlite_master").fetchone()[0]:
                    raise TokenStoreError(f"{self._path} is another program's database; choose another file")
                connection.execute(_SCHEMA)
                connection.execute(f"pragma user_version = {_FORMAT}")
                found = _FORMAT
            connection.execute("commit")
        if found != _FORMAT:
            raise TokenStoreError(f"{self._path} was written by a later version of hl_async; upgrade it")

    def _prepare_file(self) -> None:
        """Make the file with its mode from the start, and refuse one that others could read."""
        make_private_folder(self._path.parent)
        create_private(self._path)
        mode = stat.S_IMODE(self._path.stat().st_mode)
        if mode & 0o077:
            raise TokenStoreError(
                f"{self._path} has mode {mode:04o}, so others may use it; run: chmod 600 {self._path}"
            )

    def _try_lock(self, path: Path) -> int | None:
        """Return a descriptor that holds the lock, or None while another process has it."""
        try:
            make_private_folder(path.parent)
            return locks.try_lock(path, tries=1)
        except OSError as error:
            problem = error.strerror
        raise TokenStoreError(
            f"the lock {path} cannot be opened: {problem}; check the directory's permissions"
        )

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def __repr__(self) -> str:
        return f"<SqliteStore {self._path}>"


def _drop(attempt: asyncio.Future[int | None]) -> None:
    """Let go of a lock that was got for somebody who no longer waits."""
    if not attempt.cancelled() and attempt.exception() is None:
        held = attempt.result()
        if held is not None:
            locks.unlock(held)


def explain(error: sqlite3.Error) -> str:
    """What a failure of SQLite means for the person who has to mend it."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return f"has been locked by another program for {_BUSY:.0f} s; close that program"
    if code == sqlite3.SQLITE_READONLY:
        return "is read-only; nothing was refreshed, because a new token could not have been kept"
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return "is damaged or no database; restore it from a backup, or remove it and install the app again"
    if code == sqlite3.SQLITE_FULL:
        return "cannot grow: the disk is full; nothing was refreshed"
    return f"failed: {error}; check the path, its permissions and the disk"
