"""Internal. The common part of cursors in SQLite and Postgres."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec

from hl_async.changes.detection import Seen
from hl_async.changes.passes import FeedState
from hl_async.errors import CursorError

T = TypeVar("T")

_encode = msgspec.msgpack.Encoder().encode
_state = msgspec.msgpack.Decoder(FeedState).decode
_seen = msgspec.msgpack.Decoder(Seen).decode


class SeenRow(NamedTuple):
    """A document as it is stored."""

    id: str
    passed: int
    row: bytes


class StoredCursors(ABC):
    """See :class:`~hl_async.changes.cursors.CursorStore`."""

    __slots__ = ()

    @abstractmethod
    async def _query(self, name: str, /, **values: Any) -> Sequence[Any]:
        """Return the rows of a statement."""

    @abstractmethod
    async def _change(self, name: str, /, **values: Any) -> int:
        """Execute a statement. Return the number of rows it changed."""

    @abstractmethod
    async def _load(self, feed: str, ids: Sequence[str]) -> Sequence[Any]:
        """Return id and stored row of the documents that have one."""

    @abstractmethod
    async def _save(self, feed: str, state: bytes, rows: Sequence[SeenRow], gone: Sequence[str]) -> None:
        """Store a state and rows, and forget ids, in one transaction."""

    async def lease(self, feed: str, holder: str, seconds: float) -> bool:
        """See :meth:`CursorStore.lease`."""
        return await self._change("lease", feed=feed, holder=holder, seconds=seconds) == 1

    async def release(self, feed: str, holder: str) -> None:
        """See :meth:`CursorStore.release`."""
        await self._change("release", feed=feed, holder=holder)

    async def state(self, feed: str) -> FeedState | None:
        """See :meth:`CursorStore.state`."""
        rows = await self._query("state", feed=feed)
        # A feed that was leased before its first page has a row without a state.
        return _read(_state, rows[0][0]) if rows and rows[0][0] else None

    async def load(self, feed: str, ids: Sequence[str]) -> dict[str, Seen]:
        """See :meth:`CursorStore.load`."""
        return _by_id(await self._load(feed, ids))

    async def unseen(self, feed: str, before: int, limit: int) -> dict[str, Seen]:
        """See :meth:`CursorStore.unseen`."""
        return _by_id(await self._query("unseen", feed=feed, before=before, limit=limit))

    async def save(
        self, feed: str, state: FeedState, rows: Mapping[str, Seen], gone: Sequence[str] = ()
    ) -> None:
        """See :meth:`CursorStore.save`."""
        stored = [SeenRow(name, row.passed, _encode(row)) for name, row in rows.items()]
        # In one transaction: a state ahead of its rows would skip changes, one behind them would repeat changes.
        await self._save(feed, _encode(state), stored, gone)


def _by_id(rows: Sequence[Any]) -> dict[str, Seen]:
    return {name: _read(_seen, row) for name, row in rows}


def _read(decode: Callable[[bytes], T], stored: bytes) -> T:
    """Decode a stored value.

    An unreadable one is an error: an empty cursor in its place would silently lose changes.
    """
    try:
        return decode(stored)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    raise CursorError("the cursor was not written by this version of hl_async; use the version that wrote it")
