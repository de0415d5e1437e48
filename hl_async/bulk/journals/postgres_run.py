"""Internal. The rows of a run in Postgres."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hl_async.bulk.journals.clock import DatabaseClock
from hl_async.bulk.journals.postgres_changes import Changes
from hl_async.bulk.journals.postgres_schema import JOURNAL, STATEMENTS
from hl_async.bulk.journals.stored import StoredRun
from hl_async.storage.postgres import Database, changed_rows, plain_text


class PostgresRun(StoredRun):
    """The statements of a run in a database.

    Args:
        database: The database.
        run: The id of the run.
    """

    def __init__(self, database: Database, run: int) -> None:
        self.database = database
        self.run = run
        self.clock: DatabaseClock = DatabaseClock()
        # one queue for all lanes of the process: their changes share statements
        self.changes: Changes = Changes(self.query)

    def now(self) -> float:
        return self.clock.now()

    async def query(self, name: str, /, **values: Any) -> Sequence[Any]:
        rows: Sequence[Any] = await self.database.run(
            JOURNAL, lambda connection: connection.fetch(*self._bind(name, values))
        )
        return rows

    async def change(self, name: str, /, **values: Any) -> int:
        done: str = await self.database.run(
            JOURNAL, lambda connection: connection.execute(*self._bind(name, values))
        )
        return changed_rows(done)

    async def insert(self, name: str, /, **values: Any) -> int:
        ((number,),) = await self.query(name, **values)
        return int(number)

    async def note(self, **facts: str) -> None:
        # it may run twice: Database.run repeats it after a lost connection
        async def write(connection: Any) -> None:
            # together or not at all, as in a file
            async with connection.transaction():
                for name, value in facts.items():
                    await connection.execute(*self._bind("note", {"name": name, "value": value}))

        await self.database.run(JOURNAL, write)

    async def fetch(self, statement: str, *values: Any) -> list[Any]:
        """Return the rows of a statement whose first value is the run."""
        rows: list[Any] = await self.database.run(
            JOURNAL, lambda connection: connection.fetch(statement, self.run, *values)
        )
        return rows

    async def execute(self, statement: str, *values: Any) -> int:
        """Return how many rows a statement changed whose first value is the run."""
        done: str = await self.database.run(
            JOURNAL, lambda connection: connection.execute(statement, self.run, *values)
        )
        return changed_rows(done)

    def _bind(self, name: str, values: dict[str, Any]) -> tuple[Any, ...]:
        # Postgres holds neither NUL nor half a surrogate pair, and file names and error texts may have both
        texts = {value: plain_text(content) for value, content in values.items()}
        return STATEMENTS.bind(name, run=self.run, **texts)
