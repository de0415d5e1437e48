"""Internal. The steps of the stages in an embedded journal.

The tables are made when the first step is planned, so that a journal of an earlier version stays as it is.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Protocol, TypeVar

from hl_async.bulk.journals.rows import digest_of
from hl_async.bulk.stages.steps import (
    STEP_COLUMNS,
    DocumentChange,
    PlannedStep,
    StageFacts,
    StageStep,
    StepChange,
    StepChanges,
    StepCount,
    StepDocument,
    StepState,
    step_digest,
    step_of,
)

T = TypeVar("T")

_TABLES: Final = """
create table if not exists step (
  number integer primary key,
  stage text not null,
  location text not null,
  key text not null,
  state text not null default 'planned',
  attempt integer not null default 0,
  possible integer not null default 0,
  body blob not null,
  digest blob not null,
  facts blob not null,
  subject text not null default '',
  result text not null default '',
  how text not null default '',
  reason text,
  first_sent real,
  sent_at real
);
create unique index if not exists step_by_key on step (stage, location, key);
create index if not exists step_by_state on step (stage, location, state, number);
create table if not exists step_item (
  step integer not null,
  ordinal integer not null,
  primary key (step, ordinal)
) without rowid;
create table if not exists stage_lane (
  stage text not null,
  location text not null,
  ambiguous_at real,
  swept_at real,
  primary key (stage, location)
) without rowid;
"""

_ROWS: Final = (
    f"select {STEP_COLUMNS}, i.ordinal, i.document from step s left join item i"  # noqa: S608
    " on i.ordinal = (select min(ordinal) from step_item where step = s.number)"
)


_AGAIN: Final = (
    "update step set possible = case when state = 'deleted' then 0 else possible end,"
    " state = 'planned', reason = null, result = '', how = ''"
)


class StepFile(Protocol):
    """The part of an embedded journal that steps are written through."""

    async def run(self, job: Callable[[sqlite3.Connection], T]) -> T: ...

    async def read(self, job: Callable[[sqlite3.Connection], T]) -> T: ...

    async def announce(self) -> None: ...


class SqliteSteps:
    """See :class:`~hl_async.bulk.stages.steps.RunSteps`."""

    def __init__(self, file: StepFile) -> None:
        self._file = file

    async def plan(self, steps: Iterable[PlannedStep]) -> None:
        chosen = list(steps)
        if not chosen:
            return

        def write(db: sqlite3.Connection) -> None:
            _make_tables(db)
            for step in chosen:
                digest = step_digest(step.location, step.stage, step.key, step.body)
                db.execute(
                    "insert into step (stage, location, key, body, digest, facts) values (?,?,?,?,?,?)"
                    " on conflict (stage, location, key) do update set body = excluded.body,"
                    " digest = excluded.digest, facts = excluded.facts where state = 'planned' and possible = 0",
                    (step.stage, step.location, step.key, step.body, digest, step.facts),
                )
                where = (step.stage, step.location, step.key)
                linked = db.executemany(
                    "insert or ignore into step_item select number, ?4 from step"
                    " where stage = ?1 and location = ?2 and key = ?3",
                    [(*where, ordinal) for ordinal in step.documents],
                ).rowcount
                if linked > 0:
                    db.execute(
                        "update step set state = 'planned' where stage = ? and location = ? and key = ?"
                        " and state in ('done', 'rejected')",
                        where,
                    )

        await self._file.run(write)

    async def rows(
        self, stage: str, *states: StepState, location: str | None = None, after: int = -1, limit: int = 2000
    ) -> list[StageStep]:
        marks = ",".join("?" for _ in states)
        where = "s.stage = ?1 and s.number > ?2 and (?3 is null or s.location = ?3)"
        if states:
            where += f" and s.state in ({marks})"
        values = (stage, after, location, *[state.value for state in states])

        def read(db: sqlite3.Connection) -> list[StageStep]:
            found = db.execute(f"{_ROWS} where {where} order by s.number limit {int(limit)}", values)
            return [step_of(row) for row in found]

        return await self._read(read, [])

    async def counts(self, stage: str) -> list[StepCount]:
        def read(db: sqlite3.Connection) -> list[StepCount]:
            found = db.execute(
                "select location, state, how, count(*) from step where stage = ? group by 1, 2, 3 order by min(number)",
                (stage,),
            )
            return [StepCount(location, StepState(state), how, n) for location, state, how, n in found]

        return await self._read(read, [])

    async def stages(self) -> list[str]:
        query = "select stage from step group by stage order by min(number)"
        return await self._read(lambda db: [stage for (stage,) in db.execute(query)], [])

    async def unfinished(self) -> int:
        query = (
            "select (select count(*) from step where state in ('planned', 'sent'))"
            " + (select count(*) from stage_lane where ambiguous_at > coalesce(swept_at, 0))"
        )
        return await self._read(lambda db: int(db.execute(query).fetchone()[0]), 0)

    async def documents(self, step: StageStep) -> list[int]:
        query = "select ordinal from step_item where step = ? order by ordinal"
        return await self._read(lambda db: [ordinal for (ordinal,) in db.execute(query, (step.number,))], [])

    async def withdraw(self, stage: str) -> int:
        statement = "update step set state = 'withdrawn' where stage = ? and state = 'planned'"
        return await self._write(lambda db: db.execute(statement, (stage,)).rowcount)

    async def undone(self, step: StageStep, reason: str) -> bool:
        statement = "update step set state = 'deleted', reason = ? where number = ? and state != 'deleted'"
        return await self._write(lambda db: db.execute(statement, (reason, step.number)).rowcount) == 1

    async def plan_again(self, stage: str, *states: StepState) -> int:
        marks = ",".join("?" for _ in states)
        statement = f"{_AGAIN} where stage = ? and state in ({marks})"
        values = (stage, *[state.value for state in states])
        return await self._write(lambda db: db.execute(statement, values).rowcount)

    async def _read(self, job: Callable[[sqlite3.Connection], T], nothing: T) -> T:
        return await self._file.read(lambda db: job(db) if _has_tables(db) else nothing)

    async def _write(self, job: Callable[[sqlite3.Connection], int]) -> int:
        return await self._file.run(lambda db: job(db) if _has_tables(db) else 0)


class SqliteLaneSteps(StepChanges):
    """See :class:`~hl_async.bulk.stages.steps.LaneSteps`. The file's lock is the lease."""

    def __init__(self, file: StepFile, stage: str, location: str) -> None:
        self._file = file
        self._at = (stage, location)

    async def facts(self) -> StageFacts:
        def read(db: sqlite3.Connection) -> StageFacts:
            if not _has_tables(db):
                return StageFacts(0, 0, None, None, None)
            counts = dict(
                db.execute(
                    "select state, count(*) from step where stage = ? and location = ? group by state",
                    self._at,
                )
            )
            (last,) = db.execute(
                "select max(sent_at) from step where stage = ? and location = ? and state = 'sent'", self._at
            ).fetchone()
            lane = db.execute(
                "select ambiguous_at, swept_at from stage_lane where stage = ? and location = ?", self._at
            ).fetchone()
            noted, swept = lane or (None, None)
            ever = max((at for at in (last, noted) if at is not None), default=None)
            return StageFacts(counts.get("planned", 0), counts.get("sent", 0), last, ever, swept)

        return await self._file.read(read)

    async def take(self, after: int, limit: int, *, of_created: bool = False) -> list[StageStep]:
        created = " and i.state = 'created'" if of_created else ""
        return await self._rows(f"s.state = 'planned' and s.number > ?3{created}", after, limit=limit)

    async def ambiguous(self) -> list[StageStep]:
        return await self._rows("s.state = 'sent'")

    async def suspects(self) -> list[StageStep]:
        return await self._rows("s.possible > (s.how = 'made')")

    async def _rows(self, where: str, *values: Any, limit: int = -1) -> list[StageStep]:
        query = (
            f"{_ROWS} where s.stage = ?1 and s.location = ?2 and {where} order by s.number limit {int(limit)}"
        )

        def read(db: sqlite3.Connection) -> list[StageStep]:
            if not _has_tables(db):
                return []
            return [step_of(row) for row in db.execute(query, (*self._at, *values))]

        return await self._file.read(read)

    async def documents(self, step: StageStep) -> list[StepDocument]:
        def read(db: sqlite3.Connection) -> list[StepDocument]:
            found = db.execute(
                "select ordinal, body from item join step_item using (ordinal)"
                " where step = ? and state = 'planned' and body is not null order by ordinal",
                (step.number,),
            )
            return [StepDocument(*row) for row in found]

        return await self._file.read(read)

    async def change(self, change: StepChange, documents: Sequence[DocumentChange] = ()) -> bool:
        if change.sent_at is not None:
            await self._file.announce()
        step = change.step
        refused = step.state is StepState.SENT and not change.executed
        values = (
            change.state.value,
            change.sent_at,
            change.result,
            change.how,
            change.reason,
            change.subject,
            change.facts,
            refused,
            step.number,
            step.state.value,
            step.attempt,
        )

        def write(db: sqlite3.Connection) -> bool:
            done = db.execute(
                "update step set possible = possible + (?2 is not null and state = 'planned') - ?8, state = ?1,"
                " attempt = attempt + (?2 is not null), sent_at = coalesce(?2, sent_at),"
                " first_sent = coalesce(first_sent, ?2), result = coalesce(?3, result), how = coalesce(?4, how),"
                " reason = case when ?1 = 'done' or ?2 is not null then ?5 else coalesce(?5, reason) end,"
                " subject = coalesce(?6, subject), facts = coalesce(?7, facts)"
                " where number = ?9 and state = ?10 and attempt = ?11",
                values,
            ).rowcount
            if done == 1:
                for document in documents:
                    _change_document(db, document)
            return done == 1

        return await self._file.run(write)

    async def note_ambiguous(self, at: float) -> None:
        await self._latest("ambiguous_at", at)

    async def swept(self, at: float) -> None:
        await self._latest("swept_at", at)

    async def _latest(self, column: str, at: float) -> None:
        statement = (
            f"insert into stage_lane (stage, location, {column}) values (?,?,?)"  # noqa: S608
            f" on conflict (stage, location) do update set {column} = max(coalesce({column}, 0), excluded.{column})"
        )
        await self._file.run(lambda db: db.execute(statement, (*self._at, at)).rowcount)


def _has_tables(db: sqlite3.Connection) -> bool:
    return db.execute("select 1 from sqlite_master where name = 'step'").fetchone() is not None


def _make_tables(db: sqlite3.Connection) -> None:
    if _has_tables(db):
        return
    # executescript would commit the transaction that the writer thread has begun
    for statement in _TABLES.split(";"):
        if statement.strip():
            db.execute(statement)


def plan_steps_again(db: sqlite3.Connection, *states: str) -> None:
    """Plan the steps of every stage in these states again, within a transaction of the journal."""
    if _has_tables(db):
        marks = ",".join("?" for _ in states)
        db.execute(f"{_AGAIN} where state in ({marks})", states)


def correct_future_steps(db: sqlite3.Connection, now: float) -> None:
    """Move times that are still to come to ``now``: the clock was set back since they were written."""
    if not _has_tables(db):
        return
    db.execute("update step set sent_at = ?1 where sent_at > ?1", (now,))
    db.execute("update step set first_sent = sent_at where first_sent > sent_at")
    db.execute("update stage_lane set ambiguous_at = ?1 where ambiguous_at > ?1", (now,))
    db.execute("update stage_lane set swept_at = null where swept_at > ?1", (now,))


def _change_document(db: sqlite3.Connection, change: DocumentChange) -> None:
    """Give a planned document another body with a new digest, or reject it."""
    if change.body is None:
        db.execute(
            "update item set state = 'rejected', reason = ? where ordinal = ? and state = 'planned'",
            (change.reason, change.ordinal),
        )
        return
    found = db.execute(
        "select key, location, ids from item where ordinal = ? and state = 'planned'", (change.ordinal,)
    ).fetchone()
    if found is not None:
        key, location, ids = found
        db.execute(
            "update item set body = ?, digest = ? where ordinal = ?",
            (change.body, digest_of(key, location, ids, change.body), change.ordinal),
        )
