"""Tokens in Postgres, shared by the processes of many hosts.

The lock around a refresh is an advisory lock of a session: it ends with the connection, and so with the process that
holds it, however that ends; no time to live has to be guessed. Locks have connections of their own, so that those
who hold one can always read and write. Needs the extra ``postgres`` (asyncpg).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from hl_async.auth.stores import Stored
from hl_async.errors import ConfigurationError, TokenStoreError

T = TypeVar("T")

_FORMAT: Final = 1
_SETUP_LOCK: Final = 0x686C5F61  # "hl_a": processes that start at once set the schema up one after the other

_SCHEMA: Final = """
create schema if not exists hl_async;
create table if not exists hl_async.format (room text primary key, version integer not null);
create table if not exists hl_async.token (name text primary key, version bigint not null, data bytea not null);
insert into hl_async.format values ('token', 1) on conflict do nothing;
"""


class PostgresTokenStore:
    """Keeps tokens in the database ``dsn``, in the schema ``hl_async``, which it creates.

    ``connections`` and ``locks`` bound the connections for entries and for locks, which are opened when needed.
    ``lock_timeout`` is how many seconds to wait for another process's refresh. A connection that was lost is made
    again, once per operation. Opens when it is first used, and again after :meth:`aclose`. The database must be
    reached directly or through a pooler in session mode, for the locks. Tokens are in the clear unless it is wrapped
    in a ``SealedStore``. Raises :class:`ConfigurationError` without asyncpg.
    """

    __slots__ = ("_connections", "_driver", "_dsn", "_lock_timeout", "_locks", "_opening", "_pools")

    def __init__(
        self, dsn: str, *, connections: int = 4, locks: int = 16, lock_timeout: float = 90.0
    ) -> None:
        try:
            import asyncpg
        except ImportError:
            asyncpg = None
        if asyncpg is None:
            raise ConfigurationError("dsn", "needs a driver: pip install 'hl-async[postgres]'")
        if urlsplit(dsn).scheme not in ("postgres", "postgresql"):
            raise ConfigurationError("dsn", "is no postgresql:// address")
        self._driver: Any = asyncpg
        self._dsn = dsn
        self._connections = connections
        self._locks = locks
        self._lock_timeout = lock_timeout
        self._pools: tuple[Any, Any] | None = None
        self._opening = asyncio.Lock()

    async def load(self, name: str) -> Stored | None:
        """See :meth:`TokenStore.load`."""
        query = "select version, data from hl_async.token where name = $1"
        row = await self._run(lambda connection: connection.fetchrow(query, name))
        return None if row is None else Stored(row["version"], row["data"])

    async def save(self, name: str, data: bytes, version: int) -> bool:
        """See :meth:`TokenStore.save`."""
        if version == 0:
            query = "insert into hl_async.token values ($1, 1, $2) on conflict do nothing"
            done = await self._changed(query, name, data)
        else:
            query = (
                "update hl_async.token set version = version + 1, data = $2 where name = $1 and version = $3"
            )
            done = await self._changed(query, name, data, version)
        # repeated after a lost connection, a write can find that it was done the first time
        return done or await self.load(name) == Stored(version + 1, data)

    async def delete(self, name: str, version: int) -> bool:
        """See :meth:`TokenStore.delete`."""
        return await self._changed(
            "delete from hl_async.token where name = $1 and version = $2", name, version
        )

    async def names(self, prefix: str) -> list[str]:
        """See :meth:`TokenStore.names`."""
        query = 'select name from hl_async.token where starts_with(name, $1) order by name collate "C"'
        rows = await self._run(lambda connection: connection.fetch(query, prefix))
        return [row["name"] for row in rows]

    @asynccontextmanager
    async def locked(self, name: str) -> AsyncIterator[None]:
        """See :meth:`TokenStore.locked`. Raises :class:`TokenStoreError` after ``lock_timeout`` seconds."""
        _, locks = await self._open()
        key = f"hl_async token {name}"
        async with locks.acquire() as connection:
            try:
                async with asyncio.timeout(self._lock_timeout):
                    await connection.execute("select pg_advisory_lock(hashtextextended($1, 0))", key)
            except TimeoutError:
                problem = f"another process has held the lock of {name} for {self._lock_timeout:.0f} s"
            else:
                try:
                    yield
                finally:
                    # a connection that died has given its lock back already
                    if not connection.is_closed():
                        unlock = connection.execute("select pg_advisory_unlock(hashtextextended($1, 0))", key)
                        await asyncio.shield(unlock)
                return
        raise TokenStoreError(problem)

    async def aclose(self) -> None:
        """Close all connections."""
        pools, self._pools = self._pools, None
        for pool in pools or ():
            await pool.close()

    async def _changed(self, query: str, *values: Any) -> bool:
        done: str = await self._run(lambda connection: connection.execute(query, *values))
        return done.endswith(" 1")

    async def _run(self, act: Callable[[Any], Awaitable[T]]) -> T:
        """Run ``act`` on a connection, and once more when the one at hand turns out to be dead."""
        pool, _ = await self._open()
        lost = (self._driver.PostgresConnectionError, self._driver.InterfaceError, OSError)
        try:
            async with pool.acquire() as connection:
                return await act(connection)
        except lost:
            pass  # every operation here may be repeated: reads change nothing, writes name the version they replace
        async with pool.acquire() as connection:
            return await act(connection)

    async def _open(self) -> tuple[Any, Any]:
        if self._pools is not None:
            return self._pools
        async with self._opening:
            if self._pools is None:
                pool = await self._new_pool(self._connections)
                try:
                    async with pool.acquire() as connection:
                        await self._prepare(connection)
                except BaseException:
                    await pool.close()
                    raise
                self._pools = pool, await self._new_pool(self._locks)
            return self._pools

    async def _new_pool(self, size: int) -> Any:
        return await self._driver.create_pool(self._dsn, min_size=0, max_size=size)

    async def _prepare(self, connection: Any) -> None:
        async with connection.transaction():
            await connection.execute("select pg_advisory_xact_lock($1)", _SETUP_LOCK)
            await connection.execute(_SCHEMA)
            found = await connection.fetchval("select version from hl_async.format where room = 'token'")
        if found != _FORMAT:
            raise TokenStoreError("the token table was written by a later version of hl_async; upgrade it")

    def __repr__(self) -> str:
        parts = urlsplit(self._dsn)
        return f"<PostgresTokenStore {parts.hostname or 'local'}{parts.path}>"
