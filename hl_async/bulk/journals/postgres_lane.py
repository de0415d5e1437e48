"""Internal. A lane in Postgres: one location's items, under a lease that expires."""

from __future__ import annotations

import time
from typing import Any, Final

from hl_async.bulk.journals.postgres_changes import ItemChange
from hl_async.bulk.journals.postgres_run import PostgresRun
from hl_async.bulk.journals.postgres_steps import PostgresLaneSteps
from hl_async.bulk.journals.protocol import LaneRelease
from hl_async.bulk.journals.rows import lane_facts
from hl_async.bulk.journals.stored import StoredLane
from hl_async.bulk.protocol import LaneFacts, State
from hl_async.errors import LaneLost
from hl_async.storage.postgres import plain_text

# the lane is lost when three renewals in a row fail
_RENEWALS: Final = 4
"""Renewals within the time of one lease."""


class PostgresLane(StoredLane):
    """The items of one location under a lease; see :class:`LaneJournal`.

    Args:
        run: The run.
        location: The location.
        epoch: The number of the lease.
        lease: Seconds that the lease lasts.
        leased: The monotonic time at which it was asked for.
        leased_wall: The time of day of the same moment.
    """

    def __init__(
        self, run: PostgresRun, location: str, epoch: int, lease: float, leased: float, leased_wall: float
    ) -> None:
        super().__init__(run, location)
        self.epoch = epoch
        self.renew_every: float = lease / _RENEWALS
        self._run = run
        self._lease = lease
        self._leased = leased
        self._leased_wall = leased_wall

    def lasts(self, seconds: float) -> bool:
        """See :meth:`LaneJournal.lasts`."""
        # the monotonic clock may stand still while the machine sleeps, and the other may be set: the later one counts
        held = max(time.monotonic() - self._leased, time.time() - self._leased_wall)
        return held + seconds < self._lease

    async def renew(self, rate: float) -> bool:
        # read before the request: the lease counts from the database's moment, which is later
        asked, asked_wall = time.monotonic(), time.time()
        clock = self._run.clock
        began = clock.steady()
        rows = await self._run.query("renew", seconds=self._lease, rate=rate, **self._mine)
        if not rows:
            return False
        clock.set(rows[0][0], began, clock.steady())
        self._leased, self._leased_wall = asked, asked_wall
        return True

    async def release(self, release: LaneRelease) -> None:
        # a lane that was lost has another epoch, so this changes nothing
        await self._run.change("release", **release._asdict(), **self._mine)

    async def facts(self) -> LaneFacts:
        rows = await self._run.query("lane_facts", location=self.location)
        if not rows:
            # without its row the run was removed, and its items with it
            raise self._lost()
        return lane_facts(rows[0])

    # The origins are text: the statement looks the item's state up in it, so one statement serves all changes.

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
        # one statement: the lease must not end between its check and the change
        ((is_mine, is_done),) = await self._run.query(
            "adopt", ordinal=ordinal, document=document, **self._mine
        )
        if not is_mine:
            raise self._lost()
        return bool(is_done)

    async def listed(self) -> None:
        await self._note("note_listed")

    async def delete_intended(self, document: str, key: str, reason: str) -> int:
        rows = await self._run.query(
            "deletion_intent_of_lane", document=document, key=key, reason=reason, **self._mine
        )
        if not rows:
            raise self._lost()
        return int(rows[0][0])

    def steps(self, stage: str) -> PostgresLaneSteps:
        return PostgresLaneSteps(self._run, stage, self.location, self.epoch)

    @property
    def _mine(self) -> dict[str, Any]:
        return {"location": self.location, "epoch": self.epoch}

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
            # the changes of a statement are arrays, which the run does not clean
            plain_text(reason),
            listed,
        )
        return await self._run.changes.make(change)

    async def _note(self, name: str, **values: Any) -> None:
        if not await self._run.change(name, **values, **self._mine):
            raise self._lost()

    def _lost(self) -> LaneLost:
        return LaneLost(f"another process works on {self.location} by now")
