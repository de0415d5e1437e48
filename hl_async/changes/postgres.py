"""Internal. Cursors in Postgres, shared by the workers of many hosts.

Needs the extra ``postgres`` (asyncpg).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from hl_async.changes.stored import SeenRow, StoredCursors
from hl_async.errors import CursorError
from hl_async.secret import Secret
from hl_async.storage.postgres import Database, Tables, changed_rows, database_of
from hl_async.storage.queries import NumberedQueries

_STATEMENTS: Final = NumberedQueries(__name__, "postgres.sql")
_CURSORS: Final = Tables("changes", (_STATEMENTS["tables"],), CursorError)


class PostgresCursors(StoredCursors):
    """Keeps the states of feeds in a Postgres database.

    Workers that share it take over a feed when the lease of another one ends.

    Args:
        database: An address, or a :class:`~hl_async.storage.postgres.Database`, which stays open when the store closes.

    Raises:
        ConfigurationError: The extra ``postgres`` is missing, or the address is not a ``postgresql://`` address.
        CursorError: On use: the database is unreachable or refuses.
    """

    __slots__ = ("_database", "_owns")

    def __init__(self, database: Database | Secret | str) -> None:
        self._database, self._owns = database_of(database)

    async def aclose(self) -> None:
        """See :meth:`CursorStore.aclose`."""
        if self._owns:
            await self._database.aclose()

    async def _query(self, name: str, /, **values: Any) -> Sequence[Any]:
        rows: Sequence[Any] = await self._database.run(
            _CURSORS, lambda connection: connection.fetch(*_STATEMENTS.bind(name, **values))
        )
        return rows

    async def _change(self, name: str, /, **values: Any) -> int:
        done: str = await self._database.run(
            _CURSORS, lambda connection: connection.execute(*_STATEMENTS.bind(name, **values))
        )
        return changed_rows(done)

    async def _load(self, feed: str, ids: Sequence[str]) -> Sequence[Any]:
        return await self._query("load", feed=feed, ids=list(ids))

    async def _save(self, feed: str, state: bytes, rows: Sequence[SeenRow], gone: Sequence[str]) -> None:
        ids, passed, contents = [list(column) for column in zip(*rows, strict=True)] or ([], [], [])

        async def write(connection: Any) -> None:
            async with connection.transaction():
                for statement in (
                    _STATEMENTS.bind("save_state", feed=feed, state=state),
                    _STATEMENTS.bind("save_rows", feed=feed, ids=ids, passed=passed, rows=contents),
                    _STATEMENTS.bind("forget", feed=feed, ids=list(gone)),
                ):
                    await connection.execute(*statement)

        await self._database.run(_CURSORS, write)

    def __repr__(self) -> str:
        return f"<PostgresCursors in {self._database.name}>"
