"""Where a feed stands and what it saw last: in memory, or in a file that survives restarts."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

import msgspec

from hl_async.changes.detection import Seen
from hl_async.changes.passes import FeedState
from hl_async.errors import CursorError
from hl_async.storage.private_files import create_private
from hl_async.storage.sqlite import SqliteFile, SqliteRules, apply_steps

_RULES: Final = SqliteRules("the cursor file", CursorError, is_wal=True)
_SCHEMA: Final = """
create table feed (name text primary key, state blob not null, holder text, until real) strict;
create table seen (
  feed text not null, id text not null, passed integer not null, row blob not null, primary key (feed, id)
) strict, without rowid;
create index unseen on seen (feed, passed, id);
"""

_encode = msgspec.msgpack.Encoder().encode
_state = msgspec.msgpack.Decoder(FeedState).decode
_seen = msgspec.msgpack.Decoder(Seen).decode


@runtime_checkable
class CursorStore(Protocol):
    """Keeps the states of feeds. A feed's name holds its location, so no cursor serves another one.

    Errors are :class:`~hl_async.errors.CursorError`. Every method may be repeated.
    """

    async def lease(self, feed: str, holder: str, seconds: float) -> bool:
        """Hold or renew the feed for `seconds`; False while another holder has it."""
        ...

    async def release(self, feed: str, holder: str) -> None:
        """Give the feed up, so that another holder need not wait for the lease to end."""
        ...

    async def state(self, feed: str) -> FeedState | None:
        """Return where the feed stands; None before its first page."""
        ...

    async def load(self, feed: str, ids: Sequence[str]) -> dict[str, Seen]:
        """Return what is remembered of these documents; unknown ones are left out."""
        ...

    async def unseen(self, feed: str, before: int, limit: int) -> dict[str, Seen]:
        """Return up to `limit` documents whose last pass is older than `before`."""
        ...

    async def save(
        self, feed: str, state: FeedState, rows: Mapping[str, Seen], gone: Sequence[str] = ()
    ) -> None:
        """Store state and rows and forget `gone`, all in one transaction."""
        ...

    async def aclose(self) -> None:
        """Close what the store opened."""
        ...


class MemoryCursors:
    """Feeds of this process, forgotten with it: for tests, and for jobs that only look while they run.

    Args:
        wall: The time of day in seconds, by which leases end.
    """

    def __init__(self, *, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._leases: dict[str, tuple[str, float]] = {}
        self._states: dict[str, FeedState] = {}
        self._rows: dict[str, dict[str, Seen]] = {}

    async def lease(self, feed: str, holder: str, seconds: float) -> bool:
        """See :meth:`CursorStore.lease`."""
        owner, until = self._leases.get(feed, (holder, 0.0))
        if owner != holder and until > self._wall():
            return False
        self._leases[feed] = (holder, self._wall() + seconds)
        return True

    async def release(self, feed: str, holder: str) -> None:
        """See :meth:`CursorStore.release`."""
        if self._leases.get(feed, ("", 0.0))[0] == holder:
            del self._leases[feed]

    async def state(self, feed: str) -> FeedState | None:
        """See :meth:`CursorStore.state`."""
        return self._states.get(feed)

    async def load(self, feed: str, ids: Sequence[str]) -> dict[str, Seen]:
        """See :meth:`CursorStore.load`."""
        rows = self._rows.get(feed, {})
        return {name: rows[name] for name in ids if name in rows}

    async def unseen(self, feed: str, before: int, limit: int) -> dict[str, Seen]:
        """See :meth:`CursorStore.unseen`."""
        rows = self._rows.get(feed, {})
        found = sorted((row.passed, name) for name, row in rows.items() if row.passed < before)
        return {name: rows[name] for _, name in found[:limit]}

    async def save(
        self, feed: str, state: FeedState, rows: Mapping[str, Seen], gone: Sequence[str] = ()
    ) -> None:
        """See :meth:`CursorStore.save`."""
        self._states[feed] = state
        kept = self._rows.setdefault(feed, {})
        kept.update(rows)
        for name in gone:
            kept.pop(name, None)

    async def aclose(self) -> None:
        """See :meth:`CursorStore.aclose`."""


class SqliteCursors:
    """Feeds in one SQLite file, which several processes of one host may share.

    Args:
        path: The file; made with mode 0600.
        wall: The time of day in seconds, by which leases end.

    Raises:
        CursorError: The file is not one of this package, or cannot be used.
    """

    def __init__(self, path: str | Path, *, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._file = SqliteFile(Path(path), _RULES, prepare=create_private, check=_check_tables)

    async def lease(self, feed: str, holder: str, seconds: float) -> bool:
        """See :meth:`CursorStore.lease`."""

        def take(connection: sqlite3.Connection) -> bool:
            now = self._wall()
            changed = connection.execute(
                "insert into feed values (?, x'', ?, ?) on conflict (name) do update"
                " set holder = excluded.holder, until = excluded.until"
                " where feed.holder is null or feed.holder = excluded.holder or feed.until <= ?",
                (feed, holder, now + seconds, now),
            )
            return changed.rowcount == 1

        return await self._file.write(take)

    async def release(self, feed: str, holder: str) -> None:
        """See :meth:`CursorStore.release`."""

        def free(connection: sqlite3.Connection) -> None:
            connection.execute("update feed set holder = null where name = ? and holder = ?", (feed, holder))

        await self._file.write(free)

    async def state(self, feed: str) -> FeedState | None:
        """See :meth:`CursorStore.state`."""

        def read(connection: sqlite3.Connection) -> FeedState | None:
            row = connection.execute("select state from feed where name = ?", (feed,)).fetchone()
            return _state(row[0]) if row and row[0] else None

        return await self._file.read(read)

    async def load(self, feed: str, ids: Sequence[str]) -> dict[str, Seen]:
        """See :meth:`CursorStore.load`."""

        def read(connection: sqlite3.Connection) -> dict[str, Seen]:
            marks = ",".join("?" * len(ids))
            query = f"select id, row from seen where feed = ? and id in ({marks})"  # noqa: S608 - marks only
            return {name: _seen(row) for name, row in connection.execute(query, (feed, *ids))}

        return await self._file.read(read)

    async def unseen(self, feed: str, before: int, limit: int) -> dict[str, Seen]:
        """See :meth:`CursorStore.unseen`."""

        def read(connection: sqlite3.Connection) -> dict[str, Seen]:
            query = "select id, row from seen where feed = ? and passed < ? order by passed, id limit ?"
            return {name: _seen(row) for name, row in connection.execute(query, (feed, before, limit))}

        return await self._file.read(read)

    async def save(
        self, feed: str, state: FeedState, rows: Mapping[str, Seen], gone: Sequence[str] = ()
    ) -> None:
        """See :meth:`CursorStore.save`."""

        def write(connection: sqlite3.Connection) -> None:
            connection.execute(
                "insert into feed values (?, ?, null, null)"
                " on conflict (name) do update set state = excluded.state",
                (feed, _encode(state)),
            )
            connection.executemany(
                "insert into seen values (?, ?, ?, ?) on conflict (feed, id)"
                " do update set passed = excluded.passed, row = excluded.row",
                [(feed, name, row.passed, _encode(row)) for name, row in rows.items()],
            )
            connection.executemany(
                "delete from seen where feed = ? and id = ?", [(feed, name) for name in gone]
            )

        await self._file.write(write)

    async def aclose(self) -> None:
        """See :meth:`CursorStore.aclose`."""
        await self._file.aclose()


def _check_tables(connection: sqlite3.Connection, path: Path) -> None:
    apply_steps(connection, path, (_SCHEMA,), CursorError)
