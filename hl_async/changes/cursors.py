"""Internal. Stores of feeds' positions and documents' states: memory, SQLite."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

from hl_async.changes.detection import Seen
from hl_async.changes.passes import FeedState
from hl_async.changes.stored import SeenRow, StoredCursors
from hl_async.errors import CursorError
from hl_async.storage.private_files import create_private
from hl_async.storage.queries import Queries
from hl_async.storage.sqlite import SqliteFile, SqliteRules, apply_steps

_RULES: Final = SqliteRules("the cursor file", CursorError, is_wal=True)
_STATEMENTS: Final = Queries(__name__, "sqlite.sql")


@runtime_checkable
class CursorStore(Protocol):
    """A store of the states of feeds.

    The name of a feed contains its location, so two locations never share a cursor. Every method may be repeated, and
    raises :class:`~hl_async.errors.CursorError` if the store cannot be used.
    """

    async def lease(self, feed: str, holder: str, seconds: float) -> bool:
        """Hold the feed for `seconds` from now. Return False while another holder has it."""
        ...

    async def release(self, feed: str, holder: str) -> None:
        """Release the feed, so that another holder need not wait for the lease to end."""
        ...

    async def state(self, feed: str) -> FeedState | None:
        """Return the state of the feed; None before its first page."""
        ...

    async def load(self, feed: str, ids: Sequence[str]) -> dict[str, Seen]:
        """Return the last states of these documents, by id; unknown ones are left out."""
        ...

    async def unseen(self, feed: str, before: int, limit: int) -> dict[str, Seen]:
        """Return up to `limit` documents whose last pass is below `before`, oldest first."""
        ...

    async def save(
        self, feed: str, state: FeedState, rows: Mapping[str, Seen], gone: Sequence[str] = ()
    ) -> None:
        """Store the state and the rows and forget `gone`, in one transaction."""
        ...

    async def aclose(self) -> None:
        """Close what the store opened."""
        ...


class MemoryCursors:
    """Keeps the states of feeds in memory, until the process ends.

    It is for tests, and for programs that watch only while they run.

    Args:
        wall: Reads the epoch time in seconds, by which leases end.
    """

    def __init__(self, *, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._leases: dict[str, tuple[str, float]] = {}
        self._states: dict[str, FeedState] = {}
        self._rows: dict[str, dict[str, Seen]] = {}

    async def lease(self, feed: str, holder: str, seconds: float) -> bool:
        """See :meth:`CursorStore.lease`."""
        # An expired lease that no other holder took is still its owner's.
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
        # the oldest first, as in the databases
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


class SqliteCursors(StoredCursors):
    """Keeps the states of feeds in a SQLite file.

    Processes of one host may share it.

    Args:
        path: The file, created with mode 0600.
        wall: Reads the epoch time in seconds, by which leases end.

    Raises:
        CursorError: The file is not one of this package, or cannot be used.
    """

    __slots__ = ("_file", "_wall")

    def __init__(self, path: str | Path, *, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._file = SqliteFile(Path(path), _RULES, prepare=create_private, check=_check_tables)

    async def aclose(self) -> None:
        """See :meth:`CursorStore.aclose`."""
        await self._file.aclose()

    async def _query(self, name: str, /, **values: Any) -> Sequence[Any]:
        return await self._file.read(lambda db: db.execute(_STATEMENTS[name], values).fetchall())

    async def _change(self, name: str, /, **values: Any) -> int:
        # The time is read in the file's thread: a job may wait there, and a lease counts from its write.
        return await self._file.write(
            lambda db: db.execute(_STATEMENTS[name], {**values, "now": self._wall()}).rowcount
        )

    async def _load(self, feed: str, ids: Sequence[str]) -> Sequence[Any]:
        def read(db: sqlite3.Connection) -> list[Any]:
            # One look-up per id: SQLite limits the number of values in a statement.
            found = (db.execute(_STATEMENTS["load"], {"feed": feed, "id": one}).fetchone() for one in ids)
            return [row for row in found if row is not None]

        return await self._file.read(read)

    async def _save(self, feed: str, state: bytes, rows: Sequence[SeenRow], gone: Sequence[str]) -> None:
        def write(db: sqlite3.Connection) -> None:
            db.execute(_STATEMENTS["save_state"], {"feed": feed, "state": state})
            db.executemany(_STATEMENTS["save_row"], [{"feed": feed, **row._asdict()} for row in rows])
            db.executemany(_STATEMENTS["forget"], [{"feed": feed, "id": one} for one in gone])

        await self._file.write(write)

    def __repr__(self) -> str:
        return f"<SqliteCursors {self._file.path}>"


def _check_tables(connection: sqlite3.Connection, path: Path) -> None:
    apply_steps(connection, path, (_STATEMENTS["tables"],), CursorError)
