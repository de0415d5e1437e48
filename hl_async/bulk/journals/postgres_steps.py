"""Internal. The steps of the stages in Postgres, under the lease of their lane.

The tables are made when the first step is planned. A process that may only read a journal without them finds no steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol

from hl_async.bulk.journals.rows import digest_of
from hl_async.bulk.journals.stored_steps import StepStatements, StoredLaneSteps, StoredSteps
from hl_async.bulk.stages.steps import (
    DocumentChange,
    PlannedStep,
    StepChange,
    change_values,
    step_digest,
)
from hl_async.errors import JournalError, LaneLost
from hl_async.storage.postgres import Database, Tables, changed_rows, plain_text
from hl_async.storage.queries import NumberedQueries

_SQL: Final = NumberedQueries(__name__, "postgres_steps.sql")

STEPS: Final = Tables("steps", (_SQL["tables"],), JournalError)
"""What the stages of runs do."""


class StepDatabase(Protocol):
    """The part of a journal in Postgres that steps are written through."""

    run: int

    @property
    def database(self) -> Database: ...

    async def fetch(self, statement: str, *values: Any) -> list[Any]: ...


class _Statements(StepStatements):
    """Named statements of one run. Without the tables, they find and change nothing."""

    def __init__(self, journal: StepDatabase) -> None:
        self._journal = journal

    def bind(self, name: str, **values: Any) -> tuple[Any, ...]:
        """Return a statement of the run with its values."""
        texts = {value: plain_text(content) for value, content in values.items()}
        return _SQL.bind(name, run=self._journal.run, **texts)

    async def query(self, name: str, **values: Any) -> list[Any]:
        """Return the rows of a statement."""
        if not await has_steps(self._journal):
            return []
        bound = self.bind(name, **values)
        rows: list[Any] = await self._journal.database.run(STEPS, lambda connection: connection.fetch(*bound))
        return rows

    async def change(self, name: str, **values: Any) -> int:
        """Execute a statement; returns how many rows it changed."""
        if not await has_steps(self._journal):
            return 0
        bound = self.bind(name, **values)
        return changed_rows(
            await self._journal.database.run(STEPS, lambda connection: connection.execute(*bound))
        )


class PostgresSteps(_Statements, StoredSteps):
    """See :class:`~hl_async.bulk.stages.steps.RunSteps`."""

    async def plan(self, steps: Iterable[PlannedStep]) -> None:
        chosen = [step._replace(key=plain_text(step.key)) for step in steps]
        if not chosen:
            return
        places = list(dict.fromkeys(step.location for step in chosen))

        async def write(connection: Any) -> None:
            async with connection.transaction():
                # one by one: a batch may name a step twice, and then the later one counts
                for step in chosen:
                    where = {"stage": step.stage, "location": step.location, "key": step.key}
                    digest = step_digest(step.location, step.stage, step.key, step.body)
                    await connection.execute(
                        *self.bind(
                            "plan",
                            **where,
                            body=step.body,
                            digest=digest,
                            facts=step.facts,
                            subject=step.subject,
                        )
                    )
                    linked = await connection.execute(
                        *self.bind("link", **where, ordinals=list(step.documents))
                    )
                    if changed_rows(linked):
                        await connection.execute(*self.bind("plan_linked", **where))
                await connection.execute(*self.bind("open_lanes", locations=places))

        await self._journal.database.run(STEPS, write)


class PostgresLaneSteps(_Statements, StoredLaneSteps):
    """See :class:`~hl_async.bulk.stages.steps.LaneSteps`."""

    def __init__(self, journal: StepDatabase, stage: str, location: str, epoch: int) -> None:
        _Statements.__init__(self, journal)
        StoredLaneSteps.__init__(self, stage, location)
        self._lease = {"location": location, "epoch": epoch}

    async def write_change(self, change: StepChange, documents: Sequence[DocumentChange] = ()) -> bool:
        async def write(connection: Any) -> bool:
            async with connection.transaction():
                if await connection.fetchval(*self.bind("mine", **self._lease)) is None:
                    raise self._lost()
                done = await connection.execute(*self.bind("change", **change_values(change)))
                if not changed_rows(done):
                    return False
                for document in documents:
                    await self._change_document(connection, document)
            return True

        return await self._journal.database.run(STEPS, write)

    async def note_ambiguous(self, at: float) -> None:
        await self._note("note_ambiguous", at)

    async def swept(self, at: float) -> None:
        await self._note("note_swept", at)

    async def _note(self, name: str, at: float) -> None:
        if not await self.query(name, **self._at, epoch=self._lease["epoch"], at=at):
            raise self._lost()

    async def _change_document(self, connection: Any, change: DocumentChange) -> None:
        """Give a planned document another body with a new digest, or reject it."""
        at = {"ordinal": change.ordinal}
        if change.body is None:
            await connection.execute(*self.bind("reject_document", **at, reason=change.reason))
            return
        found = await connection.fetchrow(*self.bind("document_identity", **at))
        if found is not None:
            key, location, ids = found
            digest = digest_of(key, location, ids, change.body)
            await connection.execute(*self.bind("rewrite_document", **at, body=change.body, digest=digest))

    def _lost(self) -> LaneLost:
        return LaneLost(f"another process works on {self._at['location']} by now")


async def plan_steps_again(connection: Any, run: int, states: Sequence[str]) -> None:
    """Plan every stage's steps in these states again, in the journal's transaction."""
    if await connection.fetchval(_SQL["has_steps"]):
        await connection.execute(*_SQL.bind("plan_again", run=run, stage=None, states=" ".join(states)))


async def has_steps(journal: StepDatabase) -> bool:
    """Return whether the tables are there."""
    # the journal's statements have the run as their first value
    [(found,)] = await journal.fetch(f"{_SQL['has_steps']} from (select $1::int8) run")
    return bool(found)
