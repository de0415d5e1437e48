"""Internal. The worker: takes slices from an engine and works on leased lanes."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import os
import secrets
import socket
from collections import Counter
from typing import TYPE_CHECKING, Final

from hl_async.bulk.engine import LaneEngine, Slice
from hl_async.bulk.journals.postgres import LEASE, PostgresJournals
from hl_async.bulk.protocol import SEND_GUARD, AttemptOutcome, Timing
from hl_async.bulk.run import Run
from hl_async.bulk.workers.dispatcher import Dispatcher
from hl_async.errors import CanaryFailed, ConfigurationError, HighLevelError, LaneLost
from hl_async.storage.postgres import Database

if TYPE_CHECKING:
    from hl_async.client import HighLevel

_log = logging.getLogger(__name__)

_PUMP_EVERY: Final = 1.0
_SIGN_EVERY: Final = 5.0
_LONGEST_PAUSE: Final = 10.0


def worker_name() -> str:
    """Return a name for this process that no other process ever has."""
    # A restarted container may have the same host name and process id.
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """Settings of a worker.

    Attributes:
        lanes: Locations at once.
        slice: Seconds for one location before others have their turn.
        in_flight: Concurrent requests per location.
        lease: Seconds after a worker's death until others take over its lanes.
        until_idle: Whether to end when no run has work left.
    """

    lanes: int = 20
    slice: float = 60.0
    in_flight: int = 64
    lease: float = LEASE
    until_idle: bool = False

    def __post_init__(self) -> None:
        for name in ("lanes", "in_flight"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"worker.{name}", f"{getattr(self, name)} is below 1")
        if not self.slice > 0:
            raise ConfigurationError("worker.slice", f"{self.slice} is not a positive number of seconds")
        if not self.lease >= 1:
            raise ConfigurationError("worker.lease", f"{self.lease} seconds is below 1")


class Worker:
    """A worker on all runs dispatched in a database, until ``stop`` is set.

    Then requests in flight finish, every lane is released, and :meth:`run` returns.

    Args:
        database: The journal's database.
        engine: Hands out slices.
        hl: The client.
        stop: Ends the worker.
        name: See ``worker_name()``.
        settings: Defaults to `WorkerSettings()`.
    """

    def __init__(
        self,
        database: Database,
        engine: LaneEngine,
        hl: HighLevel,
        stop: asyncio.Event,
        *,
        name: str,
        settings: WorkerSettings | None = None,
    ) -> None:
        self.name = name
        self.settings: WorkerSettings = settings or WorkerSettings()
        self.stop = stop
        self.counts: Counter[str] = Counter[str]()
        """Counts of items by outcome (created, rejected, ambiguous, not_executed), and of slices."""
        self.ready: bool = False
        self.held: dict[tuple[str, str], Slice] = {}
        """Lanes that this worker leases, by run and location."""
        self._database = database
        self._engine = engine
        self._hl = hl
        self._dispatch = Dispatcher(database, server=hl.base_url)
        self._runs: dict[tuple[str, int], Run] = {}
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Work until ``stop`` is set.

        Failures of items and lanes are logged. If the engine fails, its exception is raised.
        """
        # Creates missing tables, and fails before the engine takes a slice if the database is out of reach.
        await self._dispatch.workers()
        serving = asyncio.create_task(self._engine.serve(self._work, at_once=self.settings.lanes))
        keeping = [asyncio.create_task(keep) for keep in (self._pump(), self._sign(), self._end())]
        try:
            await serving
        finally:
            self.ready = False
            for task in (serving, *keeping):
                task.cancel()
            await asyncio.gather(serving, *keeping, return_exceptions=True)
            with contextlib.suppress(HighLevelError):
                await self._dispatch.deregister(self.name)
            for run in self._runs.values():
                await run.aclose()

    # ------------------------------------------------------------------------------------- slices

    async def _work(self, slice_: Slice) -> Slice | None:
        """Work on a slice, and on the lane's next ones while no other lane is due."""
        if self.stop.is_set():
            # Otherwise the lane would wait until its slice counts as lost.
            with contextlib.suppress(HighLevelError):
                await self._dispatch.give_back(slice_)
            return None
        current: Slice | None = slice_
        while current is not None and not self.stop.is_set():
            following = None
            try:
                following = await self._slice(current)
                if following is not None and await self._dispatch.others_wait():
                    following = None
            except LaneLost:
                self.counts["slices_lost"] += 1
                _log.warning("%s of %s was taken over by another worker", current.location, current.run)
            except CanaryFailed as error:
                _log.error("%s of %s waits for a person: %s", current.location, current.run, error)
            except HighLevelError as error:
                self.counts["slices_failed"] += 1
                _log.error("%s of %s could not go on: %s", current.location, current.run, error)
            current = following
        self._wake.set()
        return None

    async def _slice(self, slice_: Slice) -> Slice | None:
        """Work on a lane until its time is up. Return the next slice if due at once."""
        run = await self._run_of(slice_)
        lane = await run.journal.lease(slice_.location, epoch=slice_.epoch)
        if lane is None:
            return None
        settings = await self._dispatch.settings(slice_.run)
        # A request leaves only while the lease lasts longer than the guard, so a short lease needs a smaller guard.
        guard = min(SEND_GUARD, self.settings.lease / 4)
        working = run.lane(
            run.target(self._hl, slice_.location, attempt_timeout=settings.attempt_timeout),
            Timing(settings.settle, settings.attempt_timeout, guard),
            name=slice_.location,
            workers=self.settings.in_flight,
            on_done=self._count,
        )
        at = (slice_.run, slice_.location)
        self.held[at] = slice_
        try:
            end = await working.work(lane, self.settings.slice)
        finally:
            del self.held[at]
        self.counts["slices"] += 1
        if end.reason:
            _log.warning("%s of %s pauses: %s", slice_.location, slice_.run, end.reason)
        if end.done or end.again or end.reason or run.stop.is_set():
            return None
        return slice_._replace(epoch=slice_.epoch + 1)

    async def _run_of(self, slice_: Slice) -> Run:
        # A run that was deleted and created again under its name is a different run with a different number.
        key = (slice_.run, slice_.number)
        run = self._runs.get(key)
        if run is None:
            place = PostgresJournals(self._database, slice_.run, holder=self.name, lease=self.settings.lease)
            run = self._runs[key] = await Run.open(place)
            if self.stop.is_set():
                run.stop.set()
        return run

    def _count(self, outcome: AttemptOutcome | None) -> None:
        self.counts["created" if outcome is None else outcome.value] += 1

    # ------------------------------------------------------------------------------------- supply

    async def _pump(self) -> None:
        """Keep the engine supplied, also while the database fails."""
        pause = _PUMP_EVERY
        while not self.stop.is_set():
            try:
                await self._dispatch.pump(self._engine)
                await self._apply_pauses()
                self.ready = True
                pause = _PUMP_EVERY
                if self.settings.until_idle and not self.held and await self._dispatch.is_idle():
                    self.stop.set()
            except Exception as error:  # noqa: BLE001 - an engine may raise anything; the next round may succeed
                if self.stop.is_set():
                    return
                self.ready = False
                pause = min(pause * 2, _LONGEST_PAUSE)
                _log.warning("no look at the lanes: %s", error)
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()

    async def _apply_pauses(self) -> None:
        """Stop the lanes of paused runs, and let the others go on."""
        withdrawn = await self._dispatch.withdrawn([name for name, _ in self._runs])
        for (name, _), run in self._runs.items():
            if name in withdrawn or self.stop.is_set():
                run.stop.set()
            else:
                run.stop.clear()

    async def _end(self) -> None:
        """Stop every lane after the worker was asked to stop."""
        await self.stop.wait()
        for run in self._runs.values():
            run.stop.set()

    async def _sign(self) -> None:
        """Send heartbeats."""
        while True:
            with contextlib.suppress(HighLevelError):
                await self._dispatch.heartbeat(self.name, len(self.held), draining=self.stop.is_set())
            await asyncio.sleep(_SIGN_EVERY)
