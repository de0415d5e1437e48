"""Internal. The dispatcher, which submits due lanes and replaces lost slices.

It finds the lanes in one database and submits them to an engine. Any number of workers may do this at the same time:
a slice submitted twice is one, and a lane is leased once per epoch. A slice that an engine lost, or that died with
its worker, is found by its age. It is submitted again under the next epoch, which makes the old one void.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from hl_async.bulk.engine import LaneEngine, Slice, SliceState
from hl_async.bulk.journals.postgres_schema import JOURNAL
from hl_async.errors import JournalMissing
from hl_async.storage.postgres import Database

LOST_AFTER: Final = 3.0
"""Seconds without a lease after which the dispatcher asks the engine about a submitted slice.

After the same time again, a slice that is not in the engine's queue counts as lost.
"""

_AT_ONCE: Final = 50
_TOGETHER: Final = 10
_WORKER_GONE: Final = 15.0

_OPEN: Final = (
    "from hl_async.lane l join hl_async.run r on r.id = l.run and r.dispatched is not null"
    " where r.server = $1 and not l.done and not l.stopped"
    " and l.until <= clock_timestamp() and l.wake_at <= clock_timestamp()"
)


class RunStatus(msgspec.Struct, frozen=True):
    """A run in the database.

    Attributes:
        name: The run's name.
        dispatched: Whether workers may take its lanes.
        lanes: Lanes that are not done.
        worked_on: Lanes that a worker leases.
        stopped: Lanes that wait for a person.
    """

    name: str
    dispatched: bool
    lanes: int
    worked_on: int
    stopped: int


class WorkerStatus(msgspec.Struct, frozen=True):
    """A worker that sent a heartbeat in the last seconds.

    Attributes:
        name: The worker's name.
        lanes: Lanes it works on.
        draining: Whether it was asked to stop.
    """

    name: str
    lanes: int
    draining: bool


class RunSettings(msgspec.Struct, frozen=True):
    """Settings of a run that workers follow.

    Attributes:
        settle: Seconds until a request without an answer can no longer be executed.
        attempt_timeout: Seconds for one request.
    """

    settle: float
    attempt_timeout: float


class Dispatcher:
    """The lanes of all runs in one database.

    Args:
        database: The journal's database.
        server: Base URL of the API. Runs dispatched for another server are not submitted, so that no worker creates
            documents in the wrong place.
        lost_after: See :data:`LOST_AFTER`.
    """

    def __init__(self, database: Database, *, server: str = "", lost_after: float = LOST_AFTER) -> None:
        self._database = database
        self._server = server.rstrip("/")
        self._lost_after = lost_after
        self._suspects: dict[Slice, float] = {}

    async def dispatch(self, run: str, settings: RunSettings) -> None:
        """Let workers take the lanes of a run, also those that stopped for a person."""
        await self._change(
            "with mine as (update hl_async.run set dispatched = clock_timestamp(), settle = $2, attempt_timeout = $3,"
            " server = $4 where name = $1 returning id) update hl_async.lane set stopped = false,"
            " wake_at = '-infinity', resumed = resumed or turns > 0"
            " where run in (select id from mine) and not done",
            run,
            settings.settle,
            settings.attempt_timeout,
            self._server,
        )

    async def pause(self, run: str) -> None:
        """Let workers begin no further slice of a run."""
        await self._change("update hl_async.run set dispatched = null where name = $1", run)

    async def settings(self, run: str) -> RunSettings:
        """Return the settings that a run was dispatched with.

        Raises:
            JournalMissing: The run is missing.
        """
        rows = await self._rows("select settle, attempt_timeout from hl_async.run where name = $1", run)
        if not rows:
            raise JournalMissing(f"the run {run!r} is missing in {self._database.name}")
        return RunSettings(rows[0]["settle"], rows[0]["attempt_timeout"])

    async def pump(self, engine: LaneEngine) -> int:
        """Submit every slice that is due, and lost ones again. Return how many were due.

        The slice that has waited longest comes first, so that lanes take turns evenly.
        """
        submitted = 0
        # Small batches: concurrent dispatchers then hardly change the order.
        while due := await self._claim():
            for batch in (due[at : at + _TOGETHER] for at in range(0, len(due), _TOGETHER)):
                await asyncio.gather(*(engine.submit(slice_) for slice_ in batch))
            submitted += len(due)
            if len(due) < _AT_ONCE:
                break
        # The engine's queue is first in, first out, so lost slices are among the oldest.
        old = await self._slices(
            f"{_OPEN} and l.submitted = l.epoch and l.submitted_at < clock_timestamp() - make_interval(secs => $3)"
            " order by l.submitted_at limit $2",
            self._server,
            _AT_ONCE,
            self._lost_after,
        )
        states = await engine.overview(old) if old else {}
        now = time.monotonic()
        # A slice that was just taken leases its lane a moment later. Only one that stays without a lease is lost.
        self._suspects = {
            slice_: self._suspects.get(slice_, now)
            for slice_, state in states.items()
            if state is not SliceState.QUEUED
        }
        lost = [slice_ for slice_, since in self._suspects.items() if now - since >= self._lost_after]
        await self._mark("epoch = l.epoch + 1", lost)
        return submitted

    async def _claim(self) -> list[Slice]:
        """Mark due lanes as submitted. Each lane goes to one dispatcher.

        If the dispatcher dies before it submits them, they are found as lost.
        """
        # Locked rows are skipped: two dispatchers take different lanes instead of waiting for each other.
        rows = await self._rows(
            f"with due as (select l.run, l.location {_OPEN} and l.submitted < l.epoch order by l.wake_at limit $2"  # noqa: S608
            " for update of l skip locked) update hl_async.lane l"
            " set submitted = l.epoch, submitted_at = clock_timestamp() from due, hl_async.run r"
            " where l.run = due.run and l.location = due.location and r.id = l.run"
            " returning r.name, l.location, l.epoch, r.id, extract(epoch from l.wake_at)::float8 as since",
            self._server,
            _AT_ONCE,
        )
        # An update returns its rows in no order, and the longest wait comes first.
        rows.sort(key=lambda row: row["since"])
        return [Slice(row["name"], row["location"], row["epoch"], row["id"]) for row in rows]

    async def give_back(self, slice_: Slice) -> None:
        """Let a slice that was taken but not begun be submitted again at once."""
        await self._mark("epoch = l.epoch + 1", [slice_])

    async def others_wait(self) -> bool:
        """Return whether a lane is due that no worker leases."""
        return bool(await self._rows(f"select 1 {_OPEN} limit 1", self._server))

    async def is_idle(self) -> bool:
        """Return whether every lane of the dispatched runs is done or waits for a person."""
        rows = await self._rows(
            "select 1 from hl_async.lane l join hl_async.run r on r.id = l.run and r.dispatched is not null"
            " where r.server = $1 and not l.done and not l.stopped limit 1",
            self._server,
        )
        return not rows

    async def is_open(self, run: str) -> bool:
        """Return whether workers may still work on any lane of a run."""
        return bool(
            await self._rows(
                "select 1 from hl_async.lane l join hl_async.run r on r.id = l.run and r.dispatched is not null"
                " where r.name = $1 and not l.done and not l.stopped limit 1",
                run,
            )
        )

    async def withdrawn(self, runs: Sequence[str]) -> set[str]:
        """Return those of ``runs`` that are paused."""
        rows = await self._rows(
            "select name from hl_async.run where name = any($1::text[]) and dispatched is null", list(runs)
        )
        return {row["name"] for row in rows}

    async def runs(self) -> list[RunStatus]:
        """Return all runs, the latest first."""
        rows = await self._rows(
            "select r.name, r.dispatched is not null as dispatched, count(l.*) filter (where not l.done) as lanes,"
            " count(l.*) filter (where l.until > clock_timestamp()) as worked_on,"
            " count(l.*) filter (where l.stopped) as stopped"
            " from hl_async.run r left join hl_async.lane l on l.run = r.id group by r.id order by r.id desc"
        )
        return [RunStatus(*row) for row in rows]

    # ------------------------------------------------------------------------------------- workers

    async def heartbeat(self, worker: str, lanes: int, *, draining: bool) -> None:
        """Record that a worker is alive."""
        await self._change(
            "insert into hl_async.worker values ($1, clock_timestamp(), $2, $3)"
            " on conflict (name) do update"
            " set seen = excluded.seen, lanes = excluded.lanes, draining = excluded.draining",
            worker,
            lanes,
            draining,
        )

    async def deregister(self, worker: str) -> None:
        """Remove a worker, and those that have sent no heartbeat for a day."""
        await self._change(
            "delete from hl_async.worker where name = $1 or seen < clock_timestamp() - interval '1 day'",
            worker,
        )

    async def workers(self) -> list[WorkerStatus]:
        """Return the workers with a recent heartbeat."""
        rows = await self._rows(
            "select name, lanes, draining from hl_async.worker"
            " where seen > clock_timestamp() - make_interval(secs => $1) order by name",
            _WORKER_GONE,
        )
        return [WorkerStatus(*row) for row in rows]

    # ------------------------------------------------------------------------------------- statements

    async def _slices(self, condition: str, *values: Any) -> list[Slice]:
        rows = await self._rows(f"select r.name, l.location, l.epoch, r.id {condition}", *values)
        return [Slice(*row) for row in rows]

    async def _mark(self, assignment: str, slices: Sequence[Slice]) -> None:
        """Change lanes that are still in the epoch of these slices and not leased."""
        if slices:
            await self._change(
                # The epoch fences this write: a slice of an older epoch must not change the lane of its successor.
                f"update hl_async.lane l set {assignment} from hl_async.run r,"  # noqa: S608
                " unnest($1::text[], $2::text[], $3::int8[], $4::int8[]) as p (run, location, epoch, number)"
                " where r.id = p.number and l.run = r.id and l.location = p.location and l.epoch = p.epoch"
                " and l.until <= clock_timestamp()",
                *(list(column) for column in zip(*slices, strict=True)),
            )

    async def _rows(self, statement: str, *values: Any) -> list[Any]:
        rows: list[Any] = await self._database.run(
            JOURNAL, lambda connection: connection.fetch(statement, *values)
        )
        return rows

    async def _change(self, statement: str, *values: Any) -> None:
        await self._database.run(JOURNAL, lambda connection: connection.execute(statement, *values))
