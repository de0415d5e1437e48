"""The journal in Postgres, for runs that many processes work on.

A lane belongs to whoever holds its *lease*: every lease counts the lane's *epoch* up, ends by itself when it is not
renewed, and every change names the epoch it was made under, so that a process that was believed dead changes nothing
when it comes back. Times are the database's. Changes that wait at the same time share one statement. Needs the extra
``postgres`` (asyncpg).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final, NamedTuple

from hl_async.bulk.journal import (
    BATCH,
    Counts,
    ItemColumns,
    LaneStatus,
    Planned,
    Release,
    Row,
    add_up,
    check_header,
    columns_of,
    ids_of,
    lane_status,
)
from hl_async.bulk.postgres_schema import JOURNAL
from hl_async.bulk.protocol import LaneFacts, State
from hl_async.bulk.records import Item, Reject
from hl_async.errors import JournalError, LaneLost
from hl_async.postgres import Database, database_of
from hl_async.secret import Secret

LEASE: Final = 20.0
"""Seconds a lane stays with a holder that is not heard of."""

_RENEWALS: Final = 4


class PostgresPlace:
    """The run ``name`` in a database, an address or a :class:`~hl_async.postgres.Database`.

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
        """See :meth:`JournalPlace.create`."""

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
        """See :meth:`JournalPlace.open`; others may work on it, watched or not."""

        async def find(connection: Any) -> int:
            run: int | None = await connection.fetchval(
                "select id from hl_async.run where name = $1", self.name
            )
            if run is None:
                raise JournalError(f"there is no run {self.name!r} in {self._database.name}")
            return run

        return await self._journal(find)

    async def exists(self) -> bool:
        query = "select exists (select 1 from hl_async.run where name = $1)"
        found: bool = await self._once(lambda connection: connection.fetchval(query, self.name))
        return found

    async def remove(self) -> None:
        query = "delete from hl_async.run where name = $1"
        await self._once(lambda connection: connection.execute(query, self.name))

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
    """A run in a database; see :class:`~hl_async.bulk.journal.Journal`. Open it through :class:`PostgresPlace`."""

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
        self._waiting: list[tuple[Change, asyncio.Future[bool]]] = []
        self._writer: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        return self._name

    async def aclose(self) -> None:
        """Write what is queued."""
        while self._writer is not None:
            await asyncio.wait((self._writer,))
        if self._owns:
            await self._database.aclose()

    # ------------------------------------------------------------------------------------- planning

    async def plan(self, records: Iterable[tuple[Item, str, bytes] | Reject]) -> None:
        rows = [ItemColumns(*map(_plain, columns_of(record))) for record in records]
        if not rows:
            return
        locations = list(dict.fromkeys(row.location for row in rows if row.key is not None))

        async def write(connection: Any) -> None:
            async with connection.transaction():
                await connection.execute(
                    "insert into hl_async.item"
                    " (run, ordinal, source_id, key, location, ids, body, raw, total, currency, place, state, reason)"
                    " select $1, * from unnest($2::int8[], $3::text[], $4::text[], $5::text[],"
                    " $6::text[], $7::bytea[], $8::bytea[], $9::text[], $10::text[], $11::text[], $12::text[],"
                    " $13::text[]) on conflict (run, ordinal) do nothing",
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
                [(self.run, name, _plain(value)) for name, value in facts.items()],
            )

        await self._database.run(JOURNAL, write)

    async def lease(self, location: str, *, epoch: int | None = None) -> PostgresLane | None:
        asked, asked_wall = time.monotonic(), time.time()
        rows = await self.fetch(
            "update hl_async.lane set epoch = epoch + 1, until = clock_timestamp() + make_interval(secs => $4),"
            " holder = $5, reason = '', rate = 0 where run = $1 and location = $2 and until <= clock_timestamp()"
            " and epoch = coalesce($3::int8, epoch) returning epoch, extract(epoch from clock_timestamp())::float8 at",
            location,
            epoch,
            self._lease,
            self._holder,
        )
        if not rows:
            return None
        self.clock.set(rows[0]["at"], asked_wall, time.time())
        return PostgresLane(self, location, rows[0]["epoch"], self._lease, asked, asked_wall)

    # ------------------------------------------------------------------------------------- changing

    async def rolled_back(self, ordinal: int) -> bool:
        done = await self.execute(
            "update hl_async.item set state = 'rejected', reason = 'rolled back', document = null"
            " where run = $1 and ordinal = $2 and state = 'created'",
            ordinal,
        )
        return done == 1

    async def retry_rejected(self) -> int:
        rows = await self.fetch(
            "with again as (update hl_async.item set state = 'planned', reason = null"
            " where run = $1 and state = 'rejected' and body is not null returning location),"
            " open as (update hl_async.lane l set done = false"
            " where l.run = $1 and l.location in (select location from again))"
            " select count(*) as number from again"
        )
        number: int = rows[0]["number"]
        return number

    # ------------------------------------------------------------------------------------- looking

    async def known(self, location: str) -> dict[str, tuple[int, str | None]]:
        rows = await self.fetch(
            "select key, ordinal, document from hl_async.item where run = $1 and location = $2 and key is not null",
            location,
        )
        return {row["key"]: (row["ordinal"], row["document"]) for row in rows}

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

    async def rows(self, *states: State, after: int = -1, limit: int = BATCH) -> list[Row]:
        rows = await self.fetch(
            "select ordinal, source_id, key, location, state, total, currency, place, document, reason, raw"
            " from hl_async.item where run = $1 and state = any($2::text[]) and ordinal > $3 order by ordinal limit $4",
            [state.value for state in states],
            after,
            limit,
        )
        return [
            Row(o, s, k, at, State(st), Decimal(t) if t else None, c, p, d, r, raw)
            for o, s, k, at, st, t, c, p, d, r, raw in rows
        ]

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

    async def change(self, change: Change) -> bool:
        """Carry out a change together with others that wait; :class:`LaneLost` when the lane is somebody else's."""
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((change, future))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())
        # what is queued will be written: a caller that is cancelled must not undo that
        return await asyncio.shield(future)

    async def _write(self) -> None:
        """Write what waits, and what came meanwhile, until nothing does."""
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
                columns = [list(column) for column in zip(*(change for change, _ in batch), strict=True)]
                try:
                    rows = await self.fetch(_CHANGE, list(range(len(batch))), *columns)
                except JournalError as error:
                    _fail(batch, error)
                else:
                    _answer(batch, {row["n"]: row["done"] for row in rows})
        finally:
            self._writer = None

    def __repr__(self) -> str:
        return f"<PostgresJournal {self._name} in {self._database.name}>"


class PostgresLane:
    """The items of one location under a lease; see :class:`~hl_async.bulk.journal.LaneJournal`."""

    def __init__(
        self,
        journal: PostgresJournal,
        location: str,
        epoch: int,
        lease: float,
        leased: float,
        leased_wall: float,
    ) -> None:
        self.location = location
        self.epoch = epoch
        self.renew_every = lease / _RENEWALS
        self._journal = journal
        self._lease = lease
        self._leased = leased
        self._leased_wall = leased_wall

    def now(self) -> float:
        return self._journal.clock.now()

    def lasts(self, seconds: float) -> bool:
        """By both clocks: the monotonic one may stand still while the machine sleeps, the other may be set."""
        held = max(time.monotonic() - self._leased, time.time() - self._leased_wall)
        return held + seconds < self._lease

    async def renew(self, rate: float) -> bool:
        asked, asked_wall = time.monotonic(), time.time()
        rows = await self._journal.fetch(
            "update hl_async.lane set until = clock_timestamp() + make_interval(secs => $4), rate = $5"
            " where run = $1 and location = $2 and epoch = $3 and until > clock_timestamp()"
            " returning extract(epoch from clock_timestamp())::float8 as at",
            self.location,
            self.epoch,
            self._lease,
            rate,
        )
        if not rows:
            return False
        self._journal.clock.set(rows[0]["at"], asked_wall, time.time())
        self._leased, self._leased_wall = asked, asked_wall
        return True

    async def release(self, release: Release) -> None:
        await self._journal.execute(
            "update hl_async.lane set until = clock_timestamp(), holder = '', rate = 0, done = $4, stopped = $5,"
            " wake_at = clock_timestamp() + make_interval(secs => $6), reason = $7"
            " where run = $1 and location = $2 and epoch = $3",
            self.location,
            self.epoch,
            release.done,
            release.stopped,
            release.wake_in,
            _plain(release.reason),
        )

    async def facts(self) -> LaneFacts:
        counts = {
            row["state"]: row["number"]
            for row in await self._journal.fetch(
                "select state, count(*) as number from hl_async.item where run = $1 and location = $2 group by state",
                self.location,
            )
        }
        (lane,) = await self._journal.fetch(
            "select proven, swept_at, ambiguous_at, (select max(sent_at) from hl_async.item i"
            " where i.run = $1 and i.location = $2 and i.state = 'sent') as last"
            " from hl_async.lane where run = $1 and location = $2",
            self.location,
        )
        last = lane["last"]
        ever = max((moment for moment in (last, lane["ambiguous_at"]) if moment is not None), default=None)
        return LaneFacts(
            counts.get("planned", 0), counts.get("sent", 0), lane["proven"], last, ever, lane["swept_at"]
        )

    async def take(self, after: int, limit: int) -> list[Planned]:
        rows = await self._journal.fetch(
            "select ordinal, key, ids, body, attempt from hl_async.item"
            " where run = $1 and location = $2 and state = 'planned' and ordinal > $3 order by ordinal limit $4",
            self.location,
            after,
            limit,
        )
        return [Planned(o, k, ids_of(ids), body, n) for o, k, ids, body, n in rows]

    async def intend(self, ordinal: int, attempt: int, at: float) -> bool:
        return await self._change(ordinal, attempt, "planned sent", State.SENT, sent_at=at)

    async def created(self, ordinal: int, attempt: int, document: str) -> bool:
        return await self._change(ordinal, attempt, "sent", State.CREATED, document=document)

    async def rejected(self, ordinal: int, attempt: int, reason: str) -> bool:
        return await self._change(ordinal, attempt, "planned sent", State.REJECTED, reason=reason)

    async def replan(self, ordinal: int, attempt: int) -> bool:
        return await self._change(ordinal, attempt, "sent", State.PLANNED)

    async def hold(self, ordinal: int, attempt: int, reason: str) -> bool:
        return await self._change(ordinal, attempt, "sent", State.UNKNOWN, reason=reason)

    async def adopt(self, ordinal: int, document: str) -> bool:
        (found,) = await self._journal.fetch(
            "with mine as (select 1 from hl_async.lane where run = $1 and location = $2 and epoch = $3"
            " and until > clock_timestamp()), done as (update hl_async.item set state = 'created', document = $5,"
            " reason = null where run = $1 and ordinal = $4 and key is not null"
            " and state in ('rejected', 'unknown', 'planned') and exists (select 1 from mine) returning 1)"
            " select exists (select 1 from mine) as mine, exists (select 1 from done) as done",
            self.location,
            self.epoch,
            ordinal,
            document,
        )
        if not found["mine"]:
            raise self._lost()
        changed: bool = found["done"]
        return changed

    async def note_ambiguous(self, at: float) -> None:
        await self._note("ambiguous_at = greatest(ambiguous_at, $4)", at)

    async def prove(self) -> None:
        await self._note("proven = $4", True)

    async def swept(self, at: float) -> None:
        await self._note("swept_at = greatest(swept_at, $4)", at)

    async def ambiguous(self) -> list[tuple[int, str, int, float]]:
        rows = await self._journal.fetch(
            "select ordinal, key, attempt, sent_at from hl_async.item"
            " where run = $1 and location = $2 and state = 'sent'",
            self.location,
        )
        return [(row["ordinal"], row["key"], row["attempt"], row["sent_at"]) for row in rows]

    async def known(self) -> dict[str, tuple[int, str | None]]:
        return await self._journal.known(self.location)

    async def _change(
        self,
        ordinal: int,
        attempt: int,
        origin: str,
        state: State,
        *,
        sent_at: float | None = None,
        document: str | None = None,
        reason: str | None = None,
    ) -> bool:
        change = Change(
            self.location,
            self.epoch,
            ordinal,
            attempt,
            origin,
            state.value,
            sent_at,
            document,
            _plain(reason),
        )
        return await self._journal.change(change)

    async def _note(self, assignment: str, value: float | bool) -> None:
        done = await self._journal.execute(
            f"update hl_async.lane set {assignment} where run = $1 and location = $2 and epoch = $3"  # noqa: S608
            " and until > clock_timestamp()",
            self.location,
            self.epoch,
            value,
        )
        if not done:
            raise self._lost()

    def _lost(self) -> LaneLost:
        return LaneLost(f"another process works on {self.location} by now")


class DatabaseClock:
    """The database's time of day, as far as it is known here."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def set(self, database: float, asked: float, answered: float) -> None:
        """The database said its time somewhere between these two moments of our own."""
        self._ahead = database - (asked + answered) / 2

    def now(self) -> float:
        """Seconds."""
        return time.time() + self._ahead


class Change(NamedTuple):
    """One item from a state in ``origin`` to ``state``, after ``attempt`` requests; ``sent_at`` is one more."""

    location: str
    epoch: int
    ordinal: int
    attempt: int
    origin: str
    state: str
    sent_at: float | None
    document: str | None
    reason: str | None


_CHANGE: Final = """
with c as (
  select * from unnest($2::int4[], $3::text[], $4::int8[], $5::int8[], $6::int4[], $7::text[], $8::text[],
                       $9::float8[], $10::text[], $11::text[])
    as c (n, location, epoch, ordinal, attempt, origin, state, sent_at, document, reason)
), mine as (
  select c.n from c join hl_async.lane l
    on l.run = $1 and l.location = c.location and l.epoch = c.epoch and l.until > clock_timestamp()
), done as (
  update hl_async.item i
    set state = c.state, attempt = i.attempt + (c.sent_at is not null)::int4, sent_at = coalesce(c.sent_at, i.sent_at),
        document = coalesce(c.document, i.document), reason = coalesce(c.reason, i.reason)
    from c join mine using (n)
    where i.run = $1 and i.ordinal = c.ordinal and i.attempt = c.attempt and position(i.state in c.origin) > 0
    returning c.n
)
select n, n in (select n from done) as done from mine
"""


def _answer(batch: list[tuple[Change, asyncio.Future[bool]]], done: dict[int, bool]) -> None:
    for n, (change, future) in enumerate(batch):
        if future.done():
            continue
        if n in done:
            future.set_result(done[n])
        else:
            future.set_exception(LaneLost(f"another process works on {change.location} by now"))


def _fail(batch: list[tuple[Change, asyncio.Future[bool]]], error: JournalError) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(type(error)(str(error)))


def _plain(value: Any) -> Any:
    """Text as Postgres can hold it: no NUL, no half of a surrogate pair."""
    if isinstance(value, str) and ("\x00" in value or not value.isprintable()):
        return value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
    return value


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
