"""Internal. The steps of the stages in an embedded journal.

The tables are made when the first step is planned, so that a journal of an earlier version stays as it is.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Protocol, TypeVar

from hl_async.bulk.journals.rows import digest_of
from hl_async.bulk.journals.stored_steps import StepStatements, StoredLaneSteps, StoredSteps
from hl_async.bulk.stages.steps import (
    DocumentChange,
    PlannedStep,
    StepChange,
    change_values,
    step_digest,
)
from hl_async.storage.queries import Queries

T = TypeVar("T")

_SQL: Final = Queries(__name__, "sqlite_steps.sql")


class StepFile(Protocol):
    """The part of an embedded journal that steps are written through."""

    async def run(self, job: Callable[[sqlite3.Connection], T]) -> T: ...

    async def read(self, job: Callable[[sqlite3.Connection], T]) -> T: ...

    async def announce(self) -> None: ...


class _Statements(StepStatements):
    """Named statements. Without the tables, they find and change nothing."""

    def __init__(self, file: StepFile) -> None:
        self._file = file

    async def query(self, name: str, **values: Any) -> list[Any]:
        return await self._file.read(
            lambda db: db.execute(_SQL[name], values).fetchall() if _has_tables(db) else []
        )

    async def change(self, name: str, **values: Any) -> int:
        return await self._file.run(
            lambda db: db.execute(_SQL[name], values).rowcount if _has_tables(db) else 0
        )


class SqliteSteps(_Statements, StoredSteps):
    """See :class:`~hl_async.bulk.stages.steps.RunSteps`."""

    async def plan(self, steps: Iterable[PlannedStep]) -> None:
        chosen = list(steps)
        if not chosen:
            return

        def write(db: sqlite3.Connection) -> None:
            _make_tables(db)
            for step in chosen:
                where = {"stage": step.stage, "location": step.location, "key": step.key}
                digest = step_digest(step.location, step.stage, step.key, step.body)
                values = {"body": step.body, "digest": digest, "facts": step.facts, "subject": step.subject}
                db.execute(_SQL["plan"], {**where, **values})
                links = [{**where, "ordinal": ordinal} for ordinal in step.documents]
                if db.executemany(_SQL["link"], links).rowcount > 0:
                    db.execute(_SQL["plan_linked"], where)

        await self._file.run(write)


class SqliteLaneSteps(_Statements, StoredLaneSteps):
    """See :class:`LaneSteps`. The file's lock is the lease."""

    def __init__(self, file: StepFile, stage: str, location: str) -> None:
        _Statements.__init__(self, file)
        StoredLaneSteps.__init__(self, stage, location)

    async def write_change(self, change: StepChange, documents: Sequence[DocumentChange] = ()) -> bool:
        if change.sent_at is not None:
            await self._file.announce()
        values = change_values(change)

        def write(db: sqlite3.Connection) -> bool:
            done = db.execute(_SQL["change"], values).rowcount == 1
            for document in documents if done else ():
                _change_document(db, document)
            return done

        return await self._file.run(write)

    async def note_ambiguous(self, at: float) -> None:
        await self.change("note_ambiguous", **self._at, at=at)

    async def swept(self, at: float) -> None:
        await self.change("note_swept", **self._at, at=at)


def _has_tables(db: sqlite3.Connection) -> bool:
    return db.execute(_SQL["has_steps"]).fetchone() is not None


def _make_tables(db: sqlite3.Connection) -> None:
    if not _has_tables(db):
        # one by one: a script would commit the transaction that the writer has begun
        for name in ("step", "step_by_key", "step_by_state", "step_item", "stage_lane"):
            db.execute(_SQL[f"make_{name}"])


def plan_steps_again(db: sqlite3.Connection, *states: str) -> None:
    """Plan every stage's steps in these states again, in the journal's transaction."""
    if _has_tables(db):
        db.execute(_SQL["plan_again"], {"stage": None, "states": f" {' '.join(states)} "})


def correct_future_steps(db: sqlite3.Connection, now: float) -> None:
    """Set future times to ``now``: the clock was set back since they were written."""
    if _has_tables(db):
        for name in ("correct_sent", "correct_first_sent", "correct_ambiguous", "correct_swept"):
            db.execute(_SQL[name], {"now": now})


def _change_document(db: sqlite3.Connection, change: DocumentChange) -> None:
    """Give a planned document another body with a new digest, or reject it."""
    at = {"ordinal": change.ordinal}
    if change.body is None:
        db.execute(_SQL["reject_document"], {**at, "reason": change.reason})
        return
    found = db.execute(_SQL["document_identity"], at).fetchone()
    if found is not None:
        key, location, ids = found
        digest = digest_of(key, location, ids, change.body)
        db.execute(_SQL["rewrite_document"], {**at, "body": change.body, "digest": digest})
