"""Cursors in Postgres: one watch for the workers of many hosts. Needs the extra ``postgres`` (asyncpg)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from hl_async.changes.detection import Seen
from hl_async.changes.passes import FeedState
from hl_async.errors import CursorError
from hl_async.secret import Secret
from hl_async.storage.postgres import Database, Tables, database_of

_TABLES: Final = """
create table hl_async.feed (
  name text primary key, state bytea, holder text, until timestamptz
);
create table hl_async.seen (
  feed text not null, id text not null, passed bigint not null, row bytea not null, primary key (feed, id)
);
create index seen_passed on hl_async.seen (feed, passed, id);
"""
_CURSORS: Final = Tables("changes", (_TABLES,), CursorError)

_encode = msgspec.msgpack.Encoder().encode
_state = msgspec.msgpack.Decoder(FeedState).decode
_seen = msgspec.msgpack.Decoder(Seen).decode


class PostgresCursors:
    """Feeds in a database, whose workers take over from each other when a lease ends.

    Args:
        database: An address (``postgresql://…``) or a :class:`~hl_async.storage.postgres.Database`, which is then not
            closed with the store.

    Raises:
        ConfigurationError: The extra ``postgres`` is not installed, or the address is not one.
        CursorError: The database stays out of reach or refuses.
    """

    __slots__ = ("_database", "_owns")

    def __init__(self, database: Database | Secret | str) -> None:
        self._database, self._owns = database_of(database)

    async def lease(self, feed: str, holder: str, seconds: float) -> bool:
        """See :meth:`CursorStore.lease`; leases end by the database's clock."""
        query = (
            "insert into hl_async.feed values ($1, null, $2, clock_timestamp() + make_interval(secs => $3))"
            " on conflict (name) do update set holder = excluded.holder, until = excluded.until"
            " where feed.holder is null or feed.holder = excluded.holder or feed.until <= clock_timestamp()"
            " returning 1"
        )
        return bool(await self._rows(query, feed, holder, seconds))

    async def release(self, feed: str, holder: str) -> None:
        """See :meth:`CursorStore.release`."""
        await self._rows(
            "update hl_async.feed set holder = null where name = $1 and holder = $2", feed, holder
        )

    async def state(self, feed: str) -> FeedState | None:
        """See :meth:`CursorStore.state`."""
        rows = await self._rows("select state from hl_async.feed where name = $1", feed)
        return _state(rows[0]["state"]) if rows and rows[0]["state"] else None

    async def load(self, feed: str, ids: Sequence[str]) -> dict[str, Seen]:
        """See :meth:`CursorStore.load`."""
        query = "select id, row from hl_async.seen where feed = $1 and id = any($2::text[])"
        return {row["id"]: _seen(row["row"]) for row in await self._rows(query, feed, list(ids))}

    async def unseen(self, feed: str, before: int, limit: int) -> dict[str, Seen]:
        """See :meth:`CursorStore.unseen`."""
        query = (
            "select id, row from hl_async.seen where feed = $1 and passed < $2 order by passed, id limit $3"
        )
        return {row["id"]: _seen(row["row"]) for row in await self._rows(query, feed, before, limit)}

    async def save(
        self, feed: str, state: FeedState, rows: Mapping[str, Seen], gone: Sequence[str] = ()
    ) -> None:
        """See :meth:`CursorStore.save`."""

        async def write(connection: Any) -> None:
            async with connection.transaction():
                await connection.execute(
                    "insert into hl_async.feed values ($1, $2, null, null)"
                    " on conflict (name) do update set state = excluded.state",
                    feed,
                    _encode(state),
                )
                await connection.execute(
                    "insert into hl_async.seen select $1, u.id, u.passed, u.row"
                    " from unnest($2::text[], $3::bigint[], $4::bytea[]) as u (id, passed, row)"
                    " on conflict (feed, id) do update set passed = excluded.passed, row = excluded.row",
                    feed,
                    list(rows),
                    [row.passed for row in rows.values()],
                    [_encode(row) for row in rows.values()],
                )
                if gone:
                    await connection.execute(
                        "delete from hl_async.seen where feed = $1 and id = any($2::text[])", feed, list(gone)
                    )

        await self._database.run(_CURSORS, write)

    async def aclose(self) -> None:
        """See :meth:`CursorStore.aclose`."""
        if self._owns:
            await self._database.aclose()

    async def _rows(self, query: str, *values: Any) -> Sequence[Any]:
        rows: Sequence[Any] = await self._database.run(
            _CURSORS, lambda connection: connection.fetch(query, *values)
        )
        return rows

    def __repr__(self) -> str:
        return f"<PostgresCursors in {self._database.name}>"
