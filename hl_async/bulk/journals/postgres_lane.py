"""A lane in Postgres: the items of one location, under a lease that ends by itself."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from hl_async.bulk.journals.clock import boot_time
from hl_async.bulk.journals.postgres_changes import ItemChange, plain_text
from hl_async.bulk.journals.postgres_steps import PostgresLaneSteps
from hl_async.bulk.journals.protocol import LaneRelease, PlannedItem, SentItem
from hl_async.bulk.journals.rows import DAMAGED, intact
from hl_async.bulk.protocol import Control, KnownItem, LaneFacts, State
from hl_async.errors import LaneLost

if TYPE_CHECKING:
    from hl_async.bulk.journals.postgres import PostgresJournal

_DRIFT: Final = 1e-4
"""Seconds per second by which two clocks may run apart."""

_RENEWALS: Final = 4
"""How often a lease is renewed before it would end."""


class PostgresLane:
    """The items of one location under a lease; see :class:`~hl_async.bulk.journals.protocol.LaneJournal`."""

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
        clock = self._journal.clock
        began = clock.steady()
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
        clock.set(rows[0]["at"], began, clock.steady())
        self._leased, self._leased_wall = asked, asked_wall
        return True

    async def release(self, release: LaneRelease) -> None:
        await self._journal.execute(
            "update hl_async.lane set until = clock_timestamp(), holder = '', held = false, rate = 0, done = $4,"
            " stopped = $5,"
            " wake_at = clock_timestamp() + make_interval(secs => $6), reason = $7"
            " where run = $1 and location = $2 and epoch = $3",
            self.location,
            self.epoch,
            release.done,
            release.stopped,
            release.wake_in,
            plain_text(release.reason),
        )

    async def facts(self) -> LaneFacts:
        counts = {
            row["state"]: row["number"]
            for row in await self._journal.fetch(
                "select state, count(*) as number from hl_async.item where run = $1 and location = $2 group by state",
                self.location,
            )
        }
        rows = await self._journal.fetch(
            "select proven, swept_at, ambiguous_at, resumed, unclean, (select max(sent_at) from hl_async.item i"
            " where i.run = $1 and i.location = $2 and i.state = 'sent') as last"
            " from hl_async.lane where run = $1 and location = $2",
            self.location,
        )
        if not rows:
            raise self._lost()  # the run was removed
        lane = rows[0]
        last = lane["last"]
        ever = max((moment for moment in (last, lane["ambiguous_at"]) if moment is not None), default=None)
        return LaneFacts(
            counts.get("planned", 0), counts.get("sent", 0), lane["proven"], last, ever, lane["swept_at"],
            lane["resumed"], lane["unclean"],
        )  # fmt: skip

    async def take(self, after: int, limit: int) -> list[PlannedItem]:
        query = (
            "select ordinal, key, ids, body, attempt, location, digest from hl_async.item"
            " where run = $1 and location = $2 and state = 'planned' and ordinal > $3 order by ordinal limit $4"
        )
        while rows := await self._journal.fetch(query, self.location, after, limit):
            items, damaged = intact(rows)
            attempts = {row["ordinal"]: row["attempt"] for row in rows}
            for ordinal in damaged:
                await self._change(ordinal, attempts[ordinal], "planned", State.REJECTED, reason=DAMAGED)
            if items:
                return items
        return []

    async def intend(self, ordinal: int, attempt: int, at: float) -> bool:
        return await self._change(ordinal, attempt, "planned sent", State.SENT, sent_at=at)

    async def created(self, ordinal: int, attempt: int, document: str) -> bool:
        return await self._change(ordinal, attempt, "sent", State.CREATED, document=document)

    async def rejected(self, ordinal: int, attempt: int, reason: str) -> bool:
        return await self._change(ordinal, attempt, "planned sent", State.REJECTED, reason=reason)

    async def unanswered(self, ordinal: int, attempt: int, words: str) -> bool:
        return await self._change(ordinal, attempt, "sent", State.SENT, reason=words)

    async def mark_planned(self, ordinal: int, attempt: int, *, listed: bool = False) -> bool:
        return await self._change(ordinal, attempt, "sent", State.PLANNED, listed=listed)

    async def mark_unknown(self, ordinal: int, attempt: int, reason: str) -> bool:
        return await self._change(ordinal, attempt, "sent", State.UNKNOWN, reason=reason)

    async def adopt(self, ordinal: int, document: str) -> bool:
        (found,) = await self._journal.fetch(
            "with mine as (select 1 from hl_async.lane where run = $1 and location = $2 and epoch = $3"
            " and until > clock_timestamp()), done as (update hl_async.item set state = 'created', document = $5,"
            " reason = null, possible = greatest(possible, 1) where run = $1 and ordinal = $4 and key is not null"
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

    async def listed(self) -> None:
        await self._note("resumed = $4, unclean = $4", False)

    async def controls(self, since: float | None, limit: int) -> list[Control]:
        rows = await self._journal.fetch(
            "select key, document, coalesce(sent_at, 0) from hl_async.item where run = $1 and location = $2"
            " and state = 'created' and document is not null and coalesce(sent_at, 0) >= $3"
            " order by sent_at desc nulls last, ordinal desc limit $4",
            self.location,
            since or 0.0,
            limit,
        )
        return [Control(*row) for row in rows]

    async def delete_intended(self, document: str, key: str, reason: str) -> int:
        rows = await self._journal.fetch(
            "insert into hl_async.deletion (run, location, document, key, reason) select $1, $2, $4, $5, $6"
            " where exists (select 1 from hl_async.lane where run = $1 and location = $2 and epoch = $3"
            " and until > clock_timestamp()) returning id",
            self.location,
            self.epoch,
            document,
            key,
            plain_text(reason),
        )
        if not rows:
            raise self._lost()
        number: int = rows[0]["id"]
        return number

    async def delete_ended(self, deletion: int, outcome: str) -> None:
        await self._journal.record_deletion_result(deletion, outcome)

    async def ambiguous(self) -> list[SentItem]:
        rows = await self._journal.fetch(
            "select ordinal, key, attempt, sent_at, failures, reason from hl_async.item"
            " where run = $1 and location = $2 and state = 'sent'",
            self.location,
        )
        return [SentItem(*row) for row in rows]

    def steps(self, stage: str) -> PostgresLaneSteps:
        return PostgresLaneSteps(self._journal, stage, self.location, self.epoch)

    async def known(self) -> dict[str, KnownItem]:
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
        listed: bool = False,
    ) -> bool:
        change = ItemChange(
            self.location,
            self.epoch,
            ordinal,
            attempt,
            origin,
            state.value,
            sent_at,
            document,
            plain_text(reason),
            listed,
        )
        return await self._journal.changes.make(change)

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
    """The database's time of day, as far as it is known here.

    Each answer bounds it by the moments of asking and of hearing; the best answer is kept, so that a slow one, or an
    event loop that was busy meanwhile, doesn't make it jump. Setting this machine's clock does not move it.
    """

    def __init__(self, steady: Callable[[], float] = boot_time) -> None:
        self.steady = steady
        """Seconds of a clock that is never set."""
        self._ahead = time.time() - steady()
        self._unsure = math.inf
        self._set_at = 0.0

    def set(self, database: float, asked: float, answered: float) -> None:
        """The database said its time somewhere between these two moments of :attr:`steady`."""
        ahead = database - (asked + answered) / 2
        unsure = (answered - asked) / 2
        known = self._unsure + _DRIFT * (answered - self._set_at)
        # outside of what both allow, the database's clock was set
        if unsure <= known or abs(ahead - self._ahead) > unsure + known:
            self._ahead, self._unsure, self._set_at = ahead, unsure, answered

    def now(self) -> float:
        """Seconds."""
        return self.steady() + self._ahead
