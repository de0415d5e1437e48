"""Internal. The steps of the stages in Postgres, under the lease of their lane.

The tables are made when the first step is planned. A process that may only read a journal without them finds no steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol

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
from hl_async.errors import JournalError, LaneLost
from hl_async.storage.postgres import Database, Tables, plain_text

_TABLES: Final = """
create table hl_async.step (
  number bigint generated always as identity primary key,
  run bigint not null references hl_async.run on delete cascade,
  stage text not null,
  location text not null,
  key text not null,
  state text not null default 'planned',
  attempt integer not null default 0,
  possible integer not null default 0,
  body bytea not null,
  digest bytea not null,
  facts bytea not null,
  subject text not null default '',
  result text not null default '',
  how text not null default '',
  reason text,
  first_sent float8,
  sent_at float8,
  unique (run, stage, location, key)
);
create index step_by_state on hl_async.step (run, stage, location, state, number);
create table hl_async.step_item (
  step bigint not null references hl_async.step on delete cascade,
  ordinal bigint not null,
  primary key (step, ordinal)
);
create table hl_async.stage_lane (
  run bigint not null references hl_async.run on delete cascade,
  stage text not null,
  location text not null,
  ambiguous_at float8,
  swept_at float8,
  primary key (run, stage, location)
);
"""

STEPS: Final = Tables("steps", (_TABLES,), JournalError)
"""What the stages of runs do."""

_ROWS: Final = (
    f"select {STEP_COLUMNS}, i.ordinal, i.document from hl_async.step s left join hl_async.item i"  # noqa: S608
    " on i.run = s.run and i.ordinal = (select min(ordinal) from hl_async.step_item where step = s.number)"
    " where s.run = $1 and s.stage = $2 and "
)

_AGAIN: Final = (
    "update hl_async.step set possible = case when state = 'deleted' then 0 else possible end,"
    " state = 'planned', reason = null, result = '', how = ''"
)

_MINE: Final = (
    "select 1 from hl_async.lane"
    " where run = $1 and location = $2 and epoch = $3 and until > clock_timestamp()"
)

_CHANGE: Final = """
update hl_async.step
  set possible = possible + ($5::float8 is not null and state = 'planned')::int4 - $11::int4,
      state = $4, attempt = attempt + ($5::float8 is not null)::int4, sent_at = coalesce($5, sent_at),
      first_sent = coalesce(first_sent, $5), result = coalesce($6, result), how = coalesce($7, how),
      reason = case when $4 = 'done' or $5::float8 is not null then $8 else coalesce($8, reason) end,
      subject = coalesce($9, subject), facts = coalesce($10, facts)
  where number = $1 and state = $2 and attempt = $3
"""


class StepDatabase(Protocol):
    """The part of a journal in Postgres that steps are written through."""

    run: int

    @property
    def database(self) -> Database: ...

    async def fetch(self, statement: str, *values: Any) -> list[Any]: ...


class PostgresSteps:
    """See :class:`~hl_async.bulk.stages.steps.RunSteps`."""

    def __init__(self, journal: StepDatabase) -> None:
        self._journal = journal

    async def plan(self, steps: Iterable[PlannedStep]) -> None:
        chosen = list(steps)
        if not chosen:
            return
        rows = [
            (
                step.stage, step.location, plain_text(step.key), step.body,
                step_digest(step.location, step.stage, plain_text(step.key), step.body), step.facts,
            )
            for step in chosen
        ]  # fmt: skip
        run = self._journal.run

        async def write(connection: Any) -> None:
            async with connection.transaction():
                # one statement per step: a batch may name a step twice, and then the later one counts
                for row, step in zip(rows, chosen, strict=True):
                    await connection.execute(
                        "insert into hl_async.step (run, stage, location, key, body, digest, facts)"
                        " values ($1, $2, $3, $4, $5, $6, $7) on conflict (run, stage, location, key) do update"
                        " set body = excluded.body, digest = excluded.digest, facts = excluded.facts"
                        " where step.state = 'planned' and step.possible = 0",
                        run,
                        *row,
                    )
                    linked = await connection.execute(
                        "insert into hl_async.step_item select number, unnest($5::int8[]) from hl_async.step"
                        " where run = $1 and stage = $2 and location = $3 and key = $4 on conflict do nothing",
                        run,
                        *row[:3],
                        list(step.documents),
                    )
                    if linked != "INSERT 0 0":
                        await connection.execute(
                            "update hl_async.step set state = 'planned' where run = $1 and stage = $2"
                            " and location = $3 and key = $4 and state in ('done', 'rejected')",
                            run,
                            *row[:3],
                        )
                places = list(dict.fromkeys(step.location for step in chosen))
                await connection.execute(
                    "insert into hl_async.lane (run, location) select $1, * from unnest($2::text[])"
                    " on conflict (run, location) do update set done = false",
                    run,
                    places,
                )

        await self._journal.database.run(STEPS, write)

    async def rows(
        self, stage: str, *states: StepState, location: str | None = None, after: int = -1, limit: int = 2000
    ) -> list[StageStep]:
        found = await self._fetch(
            f"{_ROWS} ($3::text[] = '{{}}' or s.state = any($3::text[])) and s.number > $4"
            " and ($5::text is null or s.location = $5) order by s.number limit $6",
            stage,
            [state.value for state in states],
            after,
            location,
            limit,
        )
        return [step_of(tuple(row)) for row in found]

    async def counts(self, stage: str) -> list[StepCount]:
        found = await self._fetch(
            "select location, state, how, count(*) from hl_async.step where run = $1 and stage = $2"
            " group by 1, 2, 3 order by min(number)",
            stage,
        )
        return [StepCount(location, StepState(state), how, n) for location, state, how, n in found]

    async def stages(self) -> list[str]:
        found = await self._fetch(
            "select stage from hl_async.step where run = $1 group by stage order by min(number)"
        )
        return [stage for (stage,) in found]

    async def unfinished(self) -> int:
        found = await self._fetch(
            "select (select count(*) from hl_async.step where run = $1 and state in ('planned', 'sent'))"
            " + (select count(*) from hl_async.stage_lane where run = $1 and ambiguous_at > coalesce(swept_at, 0))"
        )
        return int(found[0][0]) if found else 0

    async def documents(self, step: StageStep) -> list[int]:
        found = await self._fetch(
            "select ordinal from hl_async.step_item join hl_async.step on number = step"
            " where run = $1 and step = $2 order by ordinal",
            step.number,
        )
        return [ordinal for (ordinal,) in found]

    async def withdraw(self, stage: str) -> int:
        return await self._change(
            "update hl_async.step set state = 'withdrawn' where run = $1 and stage = $2 and state = 'planned'"
            " returning 1",
            stage,
        )

    async def undone(self, step: StageStep, reason: str) -> bool:
        return (
            await self._change(
                "update hl_async.step set state = 'deleted', reason = $3"
                " where run = $1 and number = $2 and state <> 'deleted' returning 1",
                step.number,
                plain_text(reason),
            )
            == 1
        )

    async def plan_again(self, stage: str, *states: StepState) -> int:
        return await self._change(
            f"with again as ({_AGAIN}"  # noqa: S608
            " where run = $1 and stage = $2 and state = any($3::text[]) returning location),"
            " open as (update hl_async.lane l set done = false"
            " where l.run = $1 and l.location in (select location from again))"
            " select 1 from again",
            stage,
            [state.value for state in states],
        )

    async def _fetch(self, statement: str, *values: Any) -> list[Any]:
        return await self._journal.fetch(statement, *values) if await has_steps(self._journal) else []

    async def _change(self, statement: str, *values: Any) -> int:
        return len(await self._fetch(statement, *values))


class PostgresLaneSteps(StepChanges):
    """See :class:`~hl_async.bulk.stages.steps.LaneSteps`."""

    def __init__(self, journal: StepDatabase, stage: str, location: str, epoch: int) -> None:
        self._journal = journal
        self._stage = stage
        self._location = location
        self._epoch = epoch

    async def facts(self) -> StageFacts:
        if not await has_steps(self._journal):
            return StageFacts(0, 0, None, None, None)
        [row] = await self._journal.fetch(
            "select count(*) filter (where state = 'planned') as planned,"
            " count(*) filter (where state = 'sent') as sent, max(sent_at) filter (where state = 'sent') as last,"
            " (select ambiguous_at from hl_async.stage_lane where run = $1 and stage = $2 and location = $3) as noted,"
            " (select swept_at from hl_async.stage_lane where run = $1 and stage = $2 and location = $3) as swept"
            " from hl_async.step where run = $1 and stage = $2 and location = $3",
            self._stage,
            self._location,
        )
        ever = max((at for at in (row["last"], row["noted"]) if at is not None), default=None)
        return StageFacts(row["planned"], row["sent"], row["last"], ever, row["swept"])

    async def take(self, after: int, limit: int, *, of_created: bool = False) -> list[StageStep]:
        created = " and i.state = 'created'" if of_created else ""
        return await self._rows(
            f"s.state = 'planned' and s.number > $4{created} order by s.number limit $5", after, limit
        )

    async def ambiguous(self) -> list[StageStep]:
        return await self._rows("s.state = 'sent' order by s.number")

    async def suspects(self) -> list[StageStep]:
        return await self._rows("s.possible > (s.how = 'made')::int4 order by s.number")

    async def _rows(self, where: str, *values: Any) -> list[StageStep]:
        if not await has_steps(self._journal):
            return []
        query = f"{_ROWS} s.location = $3 and {where}"
        found = await self._journal.fetch(query, self._stage, self._location, *values)
        return [step_of(tuple(row)) for row in found]

    async def documents(self, step: StageStep) -> list[StepDocument]:
        found = await self._journal.fetch(
            "select i.ordinal, i.body from hl_async.item i join hl_async.step_item t using (ordinal)"
            " where i.run = $1 and t.step = $2 and i.state = 'planned' and i.body is not null order by i.ordinal",
            step.number,
        )
        return [StepDocument(*row) for row in found]

    async def change(self, change: StepChange, documents: Sequence[DocumentChange] = ()) -> bool:
        step, run = change.step, self._journal.run
        refused = step.state is StepState.SENT and not change.executed
        lane = (run, self._location, self._epoch)

        async def write(connection: Any) -> bool:
            async with connection.transaction():
                # the lock on the lane's row keeps the lease until this transaction ends
                if await connection.fetchval(f"{_MINE} for share", *lane) is None:
                    raise LaneLost(f"another process works on {self._location} by now")
                done = await connection.execute(
                    _CHANGE, step.number, step.state.value, step.attempt, change.state.value, change.sent_at,
                    change.result, change.how, plain_text(change.reason), change.subject, change.facts, int(refused),
                )  # fmt: skip
                if done != "UPDATE 1":
                    return False
                for document in documents:
                    await _change_document(connection, run, document)
            return True

        return await self._journal.database.run(STEPS, write)

    async def note_ambiguous(self, at: float) -> None:
        await self._latest("ambiguous_at", at)

    async def swept(self, at: float) -> None:
        await self._latest("swept_at", at)

    async def _latest(self, column: str, at: float) -> None:
        rows = await self._journal.fetch(
            f"insert into hl_async.stage_lane (run, location, stage, {column})"
            f" select $1, $2, $4, $5 where exists ({_MINE}) on conflict (run, stage, location)"
            f" do update set {column} = greatest(stage_lane.{column}, excluded.{column}) returning 1",
            self._location,
            self._epoch,
            self._stage,
            at,
        )
        if not rows:
            raise LaneLost(f"another process works on {self._location} by now")


async def plan_steps_again(connection: Any, run: int, states: Sequence[str]) -> None:
    """Plan the steps of every stage in these states again, within a transaction of the journal."""
    if await connection.fetchval("select to_regclass('hl_async.step')") is not None:
        await connection.execute(f"{_AGAIN} where run = $1 and state = any($2::text[])", run, list(states))


async def has_steps(journal: StepDatabase) -> bool:
    """Return whether the tables are there."""
    [row] = await journal.fetch("select to_regclass('hl_async.step') is not null as found, $1::int8")
    found: bool = row["found"]
    return found


async def _change_document(connection: Any, run: int, change: DocumentChange) -> None:
    """Give a planned document another body with a new digest, or reject it."""
    if change.body is None:
        await connection.execute(
            "update hl_async.item set state = 'rejected', reason = $3"
            " where run = $1 and ordinal = $2 and state = 'planned'",
            run,
            change.ordinal,
            plain_text(change.reason),
        )
        return
    found = await connection.fetchrow(
        "select key, location, ids from hl_async.item where run = $1 and ordinal = $2 and state = 'planned'"
        " for update",
        run,
        change.ordinal,
    )
    if found is not None:
        key, location, ids = found
        await connection.execute(
            "update hl_async.item set body = $3, digest = $4 where run = $1 and ordinal = $2",
            run,
            change.ordinal,
            change.body,
            digest_of(key, location, ids, change.body),
        )
