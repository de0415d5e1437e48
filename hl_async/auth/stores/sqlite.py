"""Internal. Tokens in one SQLite file, shared by the processes of one host.

The lock around a refresh is a lock on one of 64 empty files in a directory beside the database. The kernel holds it, so
it ends with its process. Refreshes of different locations do not wait for one another, as they would behind a
transaction that stays open.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sqlite3
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from hl_async.auth.stores.base import Stored
from hl_async.errors import TokenStoreError
from hl_async.secret import MaskedBytes
from hl_async.storage import locks
from hl_async.storage.private_files import create_private, make_private_folder
from hl_async.storage.sqlite import SqliteFile, SqliteRules, SqliteTrouble, apply_steps

# few enough to be files that stay, many enough that two locations rarely share one
_STRIPES: Final = 64
_FIRST_POLL: Final = 0.004
_LAST_POLL: Final = 0.05

_SCHEMA: Final = """
create table entry (name text primary key, version integer not null, data blob not null) without rowid;
"""

RULES: Final = SqliteRules(
    "the token store",
    TokenStoreError,
    advice={
        SqliteTrouble.READ_ONLY: "nothing was refreshed, because a new token could not have been kept",
        SqliteTrouble.DAMAGED: "restore it from a backup, or remove it and install the app again",
        SqliteTrouble.FULL: "nothing was refreshed",
    },
    overwrites=True,  # a spent or forgotten token must not stay behind in a free page
)
"""The words and the opening of a token store."""


class SqliteStore:
    """Keeps tokens in a SQLite file.

    Writes are synced to the disk before they count, and replaced content is overwritten in the file. The store opens at
    its first use, and again after :meth:`aclose`. Tokens are in the clear unless the store is inside an
    :class:`EncryptedStore`.

    Args:
        path: The file, created with mode 0600; missing folders above it get mode 0700.
        lock_timeout: Seconds to wait for another process's refresh.

    Raises:
        TokenStoreError: On use: the file is locked, read-only, damaged, readable for others, of another program or of
            a later version.
    """

    __slots__ = ("_file", "_lock_timeout", "_path")

    def __init__(self, path: str | os.PathLike[str], *, lock_timeout: float = 60.0) -> None:
        self._path = Path(path)
        self._lock_timeout = lock_timeout
        self._file = SqliteFile(self._path, RULES, prepare=_prepare_file, check=_check_tables)

    @property
    def path(self) -> Path:
        """The database file."""
        return self._path

    async def load(self, name: str) -> Stored | None:
        """See :meth:`TokenStore.load`."""

        def act(connection: sqlite3.Connection) -> Stored | None:
            row = connection.execute("select version, data from entry where name = ?", (name,)).fetchone()
            return None if row is None else Stored(row[0], row[1])

        return await self._file.read(act)

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

        return await self._file.write(act)

    async def delete(self, name: str, version: int) -> bool:
        """See :meth:`TokenStore.delete`."""

        def act(connection: sqlite3.Connection) -> bool:
            cursor = connection.execute("delete from entry where name = ? and version = ?", (name, version))
            return cursor.rowcount == 1

        return await self._file.write(act)

    async def names(self, prefix: str) -> list[str]:
        """See :meth:`TokenStore.names`."""

        def act(connection: sqlite3.Connection) -> list[str]:
            rows = connection.execute(
                "select name from entry where substr(name, 1, ?) = ? order by name", (len(prefix), prefix)
            )
            return [row[0] for row in rows]

        return await self._file.read(act)

    @asynccontextmanager
    async def locked(self, name: str) -> AsyncIterator[None]:
        """See :meth:`TokenStore.locked`.

        Raises :class:`TokenStoreError` after ``lock_timeout`` seconds.
        """
        held = await self._take_lock(name)
        try:
            yield
        finally:
            locks.unlock(held)

    async def aclose(self) -> None:
        """Close the file and end the thread."""
        await self._file.aclose()

    async def _take_lock(self, name: str) -> int:
        """Return the descriptor that holds the lock."""
        # hashed: a name holds ids of accounts, and characters that a file name must not have
        stripe = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=2).digest(), "big") % _STRIPES
        path = self._path.with_name(f"{self._path.name}.locks") / f"{stripe:02d}"
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._lock_timeout
        pause = _FIRST_POLL
        # polled: a wait in the kernel would occupy the thread and could not be cancelled
        while True:
            attempt = asyncio.wrap_future(self._file.submit(lambda: _try_lock(path)))
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

    def __repr__(self) -> str:
        return f"<SqliteStore {self._path}>"


def _prepare_file(path: Path) -> None:
    """Create the file with its mode, and refuse one that others can read."""
    make_private_folder(path.parent)
    create_private(path)
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise TokenStoreError(f"{path} has mode {mode:04o}, so others may use it; run: chmod 600 {path}")


def _check_tables(connection: sqlite3.Connection, path: Path) -> None:
    apply_steps(connection, path, (_SCHEMA,), TokenStoreError)


def _try_lock(path: Path) -> int | None:
    """Return a descriptor that holds the lock, or None while another process has it."""
    try:
        make_private_folder(path.parent)
        return locks.try_lock(path, tries=1)
    except OSError as error:
        problem = error.strerror
    raise TokenStoreError(f"the lock {path} cannot be opened: {problem}; check the directory's permissions")


def _drop(attempt: asyncio.Future[int | None]) -> None:
    """Release a lock whose waiter was cancelled meanwhile."""
    if not attempt.cancelled() and attempt.exception() is None:
        locks.unlock(attempt.result())
