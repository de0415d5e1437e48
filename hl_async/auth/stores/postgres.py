"""Internal. Tokens in Postgres, shared by the processes of many hosts.

The lock around a refresh is an advisory lock of a session. It ends with the connection, and so with its process. No
time to live has to be guessed. Locks have connections of their own, so that their holders can always read and write.
Needs the extra ``postgres`` (asyncpg).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from hl_async.auth.stores.base import Stored
from hl_async.errors import TokenStoreError
from hl_async.secret import MaskedBytes, Secret
from hl_async.storage.postgres import Database, Tables, database_of

_TABLES: Final = """
create table if not exists hl_async.token (name text primary key, version bigint not null, data bytea not null);
"""
_TOKENS: Final = Tables("token", (_TABLES,), TokenStoreError)


class PostgresTokenStore:
    """Keeps tokens in a Postgres database, in the schema ``hl_async``.

    The locks need a direct connection, or a pooler in session mode. Tokens are in the clear unless the store is inside
    an :class:`EncryptedStore`.

    Args:
        database: An address, or a :class:`~hl_async.storage.postgres.Database`, which stays open when the store closes.
        locks: The most connections for locks. They are opened when they are needed.
        lock_timeout: Seconds to wait for another process's refresh.

    Raises:
        ConfigurationError: The extra ``postgres`` is missing, or the address is not a ``postgresql://`` address.
    """

    __slots__ = ("_database", "_lock_pool", "_lock_timeout", "_locks", "_opening", "_owns")

    def __init__(
        self, database: Database | Secret | str, *, locks: int = 16, lock_timeout: float = 90.0
    ) -> None:
        self._database, self._owns = database_of(database)
        self._locks = locks
        self._lock_timeout = lock_timeout
        self._lock_pool: Any = None
        self._opening = asyncio.Lock()

    async def load(self, name: str) -> Stored | None:
        """See :meth:`TokenStore.load`."""
        query = "select version, data from hl_async.token where name = $1"
        row = await self._database.run(_TOKENS, lambda connection: connection.fetchrow(query, name))
        return None if row is None else Stored(row["version"], row["data"])

    async def save(self, name: str, data: bytes, version: int) -> bool:
        """See :meth:`TokenStore.save`."""
        data = MaskedBytes(data)  # this frame awaits and may raise
        if version == 0:
            query = "insert into hl_async.token values ($1, 1, $2) on conflict do nothing"
            done = await self._changed(query, name, data)
        else:
            query = (
                "update hl_async.token set version = version + 1, data = $2 where name = $1 and version = $3"
            )
            done = await self._changed(query, name, data, version)
        # The database repeats work after a lost connection, so this write may find its own first execution.
        return done or await self.load(name) == Stored(version + 1, data)

    async def delete(self, name: str, version: int) -> bool:
        """See :meth:`TokenStore.delete`."""
        return await self._changed(
            "delete from hl_async.token where name = $1 and version = $2", name, version
        )

    async def names(self, prefix: str) -> list[str]:
        """See :meth:`TokenStore.names`."""
        query = 'select name from hl_async.token where starts_with(name, $1) order by name collate "C"'
        rows = await self._database.run(_TOKENS, lambda connection: connection.fetch(query, prefix))
        return [row["name"] for row in rows]

    @asynccontextmanager
    async def locked(self, name: str) -> AsyncIterator[None]:
        """See :meth:`TokenStore.locked`.

        Raises :class:`TokenStoreError` after ``lock_timeout`` seconds.
        """
        locks = await self._open_locks()
        key = f"hl_async token {name}"
        async with locks.acquire() as connection:
            try:
                async with asyncio.timeout(self._lock_timeout):
                    await connection.execute(
                        "select pg_advisory_lock(hashtextextended($1, 0))", key, timeout=self._lock_timeout
                    )
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
        """Close the connections that the store opened."""
        pool, self._lock_pool = self._lock_pool, None
        if pool is not None:
            await pool.close()
        if self._owns:
            await self._database.aclose()

    async def _changed(self, query: str, *values: Any) -> bool:
        # repeatable: each write names the version that it replaces
        done: str = await self._database.run(_TOKENS, lambda connection: connection.execute(query, *values))
        return done.endswith(" 1")

    async def _open_locks(self) -> Any:
        async with self._opening:
            if self._lock_pool is None:
                self._lock_pool = await self._database.side_pool(_TOKENS, self._locks)
        return self._lock_pool

    def __repr__(self) -> str:
        return f"<PostgresTokenStore {self._database.name}>"
