"""The journal in Postgres, for runs that many processes work on.

A lane belongs to whoever holds its *lease*: every lease counts the lane's *epoch* up, ends by itself when it is not
renewed, and every change names the epoch it was made under, so that a process that was believed dead changes nothing
when it comes back. Times are the database's. Changes that wait at the same time share one statement. Needs the extra
``postgres`` (asyncpg).
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, Final

from hl_async.bulk.journals.postgres_changes import Changes, plain_text
from hl_async.bulk.journals.postgres_lane import DatabaseClock, PostgresLane
from hl_async.bulk.journals.postgres_schema import JOURNAL
from hl_async.bulk.journals.postgres_steps import PostgresSteps
from hl_async.bulk.journals.protocol import BATCH, Counts, Deletion, ItemRow, LaneStatus, check_header
from hl_async.bulk.journals.rows import ROW_COLUMNS, ItemColumns, add_up, columns_of, item_row, lane_status
from hl_async.bulk.protocol import KnownItem, RunState, State
from hl_async.bulk.sources.records import Reject, SourceItem
from hl_async.errors import JournalMissing
from hl_async.secret import Secret
from hl_async.storage.postgres import Database, database_of

LEASE: Final = 20.0
"""Seconds a lane stays with a holder that is not heard of."""


class PostgresJournals:
    """The run ``name`` in a database, an address or a :class:`~hl_async.storage.postgres.Database`.

    ``holder`` is how others see this process, ``lease`` how many seconds after its death they wait before they take
    its lanes over. A database that was passed in is not closed with the journal.
    """

    def __init__(
        self, database: Database | Secret | str, name: str, *, holder: str = "", lease: float = LEASE
    ) -> None:
        self._database, self._owns = database_of(database)
        self.name = name
        self._holder = holder
        self._lease = lease

    async def create(self, header: dict[str, str]) -> PostgresJournal:
        """See :meth:`JournalStore.create`."""

        async def make(connection: Any) -> int:
            run: int = await connection.fetchval(
                "insert into hl_async.run (name) values ($1)"
                " on conflict (name) do update set name = excluded.name returning id",
                self.name,
            )
            rows = await connection.fetch("select name, value from hl_async.run_fact where run = $1", run)
            check_header(self.name, {row["name"]: row["value"] for row in rows}, header)
            await connection.executemany(
                "insert into hl_async.run_fact values ($1, $2, $3) on conflict do nothing",
                [(run, name, value) for name, value in header.items()],
            )
            return run

        return await self._journal(make)

    async def open(self, *, watch: bool = False) -> PostgresJournal:
        """See :meth:`JournalStore.open`; others may work on it, watched or not."""

        async def find(connection: Any) -> int:
            run: int | None = await connection.fetchval(
                "select id from hl_async.run where name = $1", self.name
            )
            if run is None:
                raise JournalMissing(f"there is no run {self.name!r} in {self._database.name}")
            return run

        return await self._journal(find)

    async def exists(self) -> bool:
        query = "select exists (select 1 from hl_async.run where name = $1)"
        found: bool = await self._once(lambda connection: connection.fetchval(query, self.name))
        return found

    async def remove(self) -> None:
        query = "delete from hl_async.run where name = $1"
        await self._once(lambda connection: connection.execute(query, self.name))

    async def set_aside(self, word: str) -> str:
        async def rename(connection: Any) -> str:
            async with connection.transaction():
                names = await connection.fetch(
                    "select name from hl_async.run where starts_with(name, $1) for update", self.name
                )
                taken = {row["name"] for row in names}
                number = 1
                while (name := f"{self.name}.{word}-{number}") in taken:
                    number += 1
                await connection.execute("update hl_async.run set name = $2 where name = $1", self.name, name)
            return name

        new: str = await self._once(rename)
        return new

    async def _once(self, act: Any) -> Any:
        try:
            return await self._database.run(JOURNAL, act)
        finally:
            if self._owns:
                await self._database.aclose()

    async def _journal(self, find: Any) -> PostgresJournal:
        try:
            run = await self._database.run(JOURNAL, find)
        except BaseException:
            if self._owns:
                await self._database.aclose()
            raise
        return PostgresJournal(self._database, run, self.name, self._holder, self._lease, owns=self._owns)


class PostgresJournal:
    """A run in a database; see :class:`~hl_async.bulk.journals.protocol.Journal`. Open it through
    :class:`PostgresJournals`."""

    def __init__(
        self, database: Database, run: int, name: str, holder: str, lease: float, *, owns: bool
    ) -> None:
        self._database = database
        self._name = name
        self._holder = holder
        self._lease = lease
        self._owns = owns
        self.run = run
        self.clock = DatabaseClock()
        self.changes = Changes(self.fetch)
        self.steps = PostgresSteps(self)

    @property
    def database(self) -> Database:
        """The database that holds it."""
        return self._database

    @property
    def name(self) -> str:
        return self._name

    async def aclose(self) -> None:
        """Write what is queued."""
        await self.changes.written()
        if self._owns:
            await self._database.aclose()

    # ------------------------------------------------------------------------------------- planning

    async def plan(self, records: Iterable[tuple[SourceItem, str, bytes] | Reject]) -> None:
        rows = [ItemColumns(*map(plain_text, columns_of(record))) for record in records]
        if not rows:
            return
        locations = list(dict.fromkeys(row.location for row in rows if row.key is not None))

        async def write(connection: Any) -> None:
            async with connection.transaction():
                await connection.execute(
                    "insert into hl_async.item"
                    " (run, ordinal, source_id, key, location, ids, body, raw, total, currency, place, state, reason,"
                    " digest) select $1, * from unnest($2::int8[], $3::text[], $4::text[], $5::text[],"
                    " $6::text[], $7::bytea[], $8::bytea[], $9::text[], $10::text[], $11::text[], $12::text[],"
                    " $13::text[], $14::bytea[]) on conflict (run, ordinal) do nothing",
                    self.run,
                    *(list(column) for column in zip(*rows, strict=True)),
                )
                await connection.execute(
                    "insert into hl_async.lane (run, location) select $1, * from unnest($2::text[])"
                    " on conflict (run, location) do update set done = false",
                    self.run,
                    locations,
                )

        await self._database.run(JOURNAL, write)

    async def header(self) -> dict[str, str]:
        rows = await self.fetch("select name, value from hl_async.run_fact where run = $1")
        return {row["name"]: row["value"] for row in rows}

    async def note(self, **facts: str) -> None:
        async def write(connection: Any) -> None:
            await connection.executemany(
                "insert into hl_async.run_fact values ($1, $2, $3)"
                " on conflict (run, name) do update set value = excluded.value",
                [(self.run, name, plain_text(value)) for name, value in facts.items()],
            )

        await self._database.run(JOURNAL, write)

    async def lease(
        self, location: str, *, epoch: int | None = None, state: RunState = RunState.RUNNING
    ) -> PostgresLane | None:
        asked, asked_wall, began = time.monotonic(), time.time(), self.clock.steady()
        rows = await self.fetch(
            "update hl_async.lane set epoch = epoch + 1, turns = turns + 1, holder = $5, reason = '', rate = 0,"
            " until = clock_timestamp() + make_interval(secs => $4),"
            " resumed = resumed or held, unclean = unclean or held, held = true"
            " where run = $1 and location = $2 and until <= clock_timestamp() and epoch = coalesce($3::int8, epoch)"
            " and coalesce((select value from hl_async.run_fact where run = $1 and name = 'state'), 'running') = $6"
            " returning epoch, extract(epoch from clock_timestamp())::float8 as at",
            location,
            epoch,
            self._lease,
            self._holder,
            state.value,
        )
        if not rows:
            return None
        self.clock.set(rows[0]["at"], began, self.clock.steady())
        return PostgresLane(self, location, rows[0]["epoch"], self._lease, asked, asked_wall)

    async def checkpoint(self) -> None:
        """Nothing to do: what was committed is in the database."""

    # ---------------------------------------------------------------------------------- state and evidence

    async def run_state(self) -> RunState:
        return RunState((await self.header()).get("state", RunState.RUNNING.value))

    async def set_run_state(self, state: RunState) -> None:
        await self.note(state=state.value)

    async def withdraw_planned(self) -> int:
        return await self.execute(
            "update hl_async.item set state = 'withdrawn' where run = $1 and state = 'planned'"
        )

    async def items_to_settle(self) -> list[ItemRow]:
        return await self.rows(State.SENT, limit=None)

    async def record_deletion_intent(self, location: str, document: str, key: str, reason: str) -> int:
        rows = await self.fetch(
            "insert into hl_async.deletion (run, location, document, key, reason) values ($1, $2, $3, $4, $5)"
            " returning id",
            location,
            document,
            key,
            plain_text(reason),
        )
        number: int = rows[0]["id"]
        return number

    async def record_deletion_result(self, deletion: int, outcome: str) -> None:
        await self.execute(
            "update hl_async.deletion set outcome = $3, ended_at = clock_timestamp() where run = $1 and id = $2",
            deletion,
            plain_text(outcome),
        )

    async def deletions(self, *, after: int = 0, limit: int = BATCH) -> list[Deletion]:
        rows = await self.fetch(
            "select id, location, document, key, reason, extract(epoch from at)::float8 as at, outcome,"
            " extract(epoch from ended_at)::float8 as ended_at from hl_async.deletion"
            " where run = $1 and id > $2 order by id limit $3",
            after,
            limit,
        )
        return [Deletion(*row) for row in rows]

    # ------------------------------------------------------------------------------------- changing

    async def rolled_back(self, ordinal: int, document: str | None = None) -> bool:
        done = await self.execute(
            "update hl_async.item set state = 'deleted', document = coalesce($3, document), reason = 'rolled back'"
            " where run = $1 and ordinal = $2 and key is not null and state <> 'deleted'",
            ordinal,
            document,
        )
        return done == 1

    async def withdraw(self) -> list[str]:
        await self.execute("update hl_async.run set dispatched = null where id = $1")
        rows = await self.fetch(
            "select distinct holder from hl_async.lane where run = $1 and until > clock_timestamp() order by holder"
        )
        return [row["holder"] for row in rows]

    async def retry_rejected(self) -> int:
        return await self._plan_again("rejected", "deleted", "withdrawn")

    async def reopen(self) -> int:
        number = await self._plan_again("deleted", "withdrawn")
        await self.set_run_state(RunState.RUNNING)
        return number

    async def _plan_again(self, *states: str) -> int:
        rows = await self.fetch(
            "with again as (update hl_async.item set state = 'planned', reason = null, failures = 0, document = null,"
            " possible = case when state = 'deleted' then 0 else possible end"
            " where run = $1 and (state = any($2::text[]) or state = 'unknown' and failures > 0)"
            " and body is not null returning location),"
            " open as (update hl_async.lane l set done = false"
            " where l.run = $1 and l.location in (select location from again))"
            " select count(*) as number from again",
            list(states),
        )
        number: int = rows[0]["number"]
        return number

    # ------------------------------------------------------------------------------------- looking

    async def known(self, location: str) -> dict[str, KnownItem]:
        rows = await self.fetch(
            "select key, ordinal, document, state, possible, first_sent, sent_at from hl_async.item"
            " where run = $1 and location = $2 and key is not null",
            location,
        )
        return {key: KnownItem(n, document, State(state), *rest) for key, n, document, state, *rest in rows}

    async def locations(self) -> list[str]:
        rows = await self.fetch(
            "select location from hl_async.item where run = $1 and key is not null"
            " group by location order by min(ordinal)"
        )
        return [row["location"] for row in rows]

    async def counts(self, *, totals: bool = True) -> Counts:
        rows = await self.fetch(
            "select state, count(*) as number from hl_async.item where run = $1 group by state"
        )
        sums: list[Any] = []
        if totals:
            sums = await self.fetch(
                "select state, currency, total, count(*) as number from hl_async.item"
                " where run = $1 and total is not null group by 1, 2, 3"
            )
        return Counts(
            {row["state"]: row["number"] for row in rows},
            add_up((row["state"], row["currency"], row["total"], row["number"]) for row in sums),
        )

    async def unswept(self) -> list[str]:
        rows = await self.fetch(
            "select location from hl_async.lane where run = $1 and ambiguous_at > coalesce(swept_at, 0)"
            " order by location"
        )
        return [row["location"] for row in rows]

    async def lanes(self) -> list[LaneStatus]:
        counts: dict[str, dict[str, int]] = {}
        rows = await self.fetch(
            "select location, state, count(*) as number from hl_async.item where run = $1 and key is not null"
            " group by location, state order by min(ordinal)"
        )
        for row in rows:
            counts.setdefault(row["location"], {})[row["state"]] = row["number"]
        lanes = await self.fetch(
            "select location, rate, holder, until > clock_timestamp() as held, reason, done,"
            " case when wake_at > clock_timestamp() then extract(epoch from wake_at - clock_timestamp())::float8"
            " else 0 end as wakes_in from hl_async.lane where run = $1"
        )
        found = {row["location"]: row for row in lanes}
        return [_status(location, numbers, found.get(location)) for location, numbers in counts.items()]

    async def rows(
        self, *states: State, after: int = -1, limit: int | None = BATCH, bodies: bool = False
    ) -> list[ItemRow]:
        body = "body" if bodies else "null::bytea"
        rows = await self.fetch(
            f"select {ROW_COLUMNS}, {body} from hl_async.item"  # noqa: S608
            " where run = $1 and state = any($2::text[]) and ordinal > $3 order by ordinal limit $4",
            [state.value for state in states],
            after,
            limit,
        )
        return [item_row(tuple(row)) for row in rows]

    # ------------------------------------------------------------------------------------- statements

    async def fetch(self, statement: str, *values: Any) -> list[Any]:
        """The rows of a statement whose first value is the run."""
        rows: list[Any] = await self._database.run(
            JOURNAL, lambda connection: connection.fetch(statement, self.run, *values)
        )
        return rows

    async def execute(self, statement: str, *values: Any) -> int:
        """How many rows a statement changed whose first value is the run."""
        done: str = await self._database.run(
            JOURNAL, lambda connection: connection.execute(statement, self.run, *values)
        )
        return int(done.rsplit(" ", 1)[-1])

    def __repr__(self) -> str:
        return f"<PostgresJournal {self._name} in {self._database.name}>"


def _status(location: str, counts: dict[str, int], lane: Any) -> LaneStatus:
    if lane is None:
        return lane_status(location, counts)
    held = lane["held"]
    return lane_status(
        location,
        counts,
        rate=lane["rate"] if held else 0.0,
        holder=lane["holder"] if held else "",
        wakes_in=0.0 if held or lane["done"] else lane["wakes_in"],
        reason=lane["reason"],
    )
