"""Which slices are submitted, when, and how often; the engine is a queue of this process."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator

import pytest

from bulk.engines import QueueEngine, SharedQueue
from hl_async.bulk.engine import LocalEngine, Slice
from hl_async.bulk.journals.postgres import PostgresJournal, PostgresJournals
from hl_async.bulk.journals.protocol import LaneRelease
from hl_async.bulk.sources.records import SourceItem
from hl_async.bulk.workers.dispatcher import Dispatcher, RunSettings
from hl_async.errors import JournalError
from hl_async.storage.postgres import Database

_names = (f"dispatch-{os.getpid()}-{n}" for n in itertools.count())
SETTINGS = RunSettings(settle=1.0, attempt_timeout=2.0)


@pytest.fixture
async def database(dsn: str) -> AsyncIterator[Database]:
    opened = Database(dsn)
    yield opened
    await opened.aclose()


@pytest.fixture
async def journal(database: Database) -> AsyncIterator[PostgresJournal]:
    """Three locations with an item each; nobody else's run is handed over meanwhile."""
    opened = await PostgresJournals(database, next(_names), lease=5.0).create({})
    await opened.plan(
        [(SourceItem(n, f"d{n}", b"", (), f"loc{n}"), f"k{n}", b"{}") for n in range(3)],
    )
    yield opened
    await Dispatcher(database).pause(opened.name)
    await opened.aclose()


@pytest.fixture
def engine() -> QueueEngine:
    return QueueEngine(SharedQueue(), asyncio.Event())


async def test_a_run_that_was_not_handed_over_is_left_alone(
    database: Database, journal: PostgresJournal, engine: QueueEngine
) -> None:
    await Dispatcher(database).pump(engine)
    assert [slice_ for slice_ in engine.shared.submitted if slice_.run == journal.name] == []
    with pytest.raises(JournalError, match="the run 'nobody' is missing"):
        await Dispatcher(database).settings("nobody")


async def test_every_lane_is_submitted_once_per_epoch_whoever_looks(
    database: Database, journal: PostgresJournal, engine: QueueEngine
) -> None:
    first, second = Dispatcher(database), Dispatcher(database)
    await first.dispatch(journal.name, SETTINGS)
    assert await first.settings(journal.name) == SETTINGS
    await asyncio.gather(first.pump(engine), second.pump(engine))
    await second.pump(engine)
    assert sorted(engine.shared.submitted) == [
        Slice(journal.name, f"loc{n}", 0, journal.run) for n in range(3)
    ]
    lane = await journal.lease("loc1", epoch=0)
    assert lane is not None
    assert not await first.pump(engine), "it is worked on"
    await lane.release(LaneRelease())
    assert await first.others_wait()
    assert await first.pump(engine) == 1
    assert engine.shared.submitted[-1] == Slice(journal.name, "loc1", 1, journal.run)


async def test_lanes_that_wait_are_done_or_stopped_are_not_submitted(
    database: Database, journal: PostgresJournal, engine: QueueEngine
) -> None:
    dispatch = Dispatcher(database)
    await dispatch.dispatch(journal.name, SETTINGS)
    for location, release in (
        ("loc0", LaneRelease(done=True)), ("loc1", LaneRelease(wake_in=3600.0)), ("loc2", LaneRelease(stopped=True, reason="canary")),
    ):  # fmt: skip
        lane = await journal.lease(location)
        assert lane is not None
        await lane.release(release)
    assert await dispatch.pump(engine) == 0
    assert not await dispatch.others_wait()
    assert await dispatch.is_open(journal.name)
    await journal.execute(
        "update hl_async.lane set wake_at = clock_timestamp() where run = $1 and wake_at is not null"
    )
    assert await dispatch.pump(engine) == 1
    assert engine.shared.submitted == [Slice(journal.name, "loc1", 1, journal.run)]
    await dispatch.dispatch(journal.name, SETTINGS)
    assert await dispatch.pump(engine) == 1, "handing it over again lets the stopped one try again"
    assert engine.shared.submitted[-1] == Slice(journal.name, "loc2", 1, journal.run)


async def test_a_slice_that_was_lost_comes_back_under_the_next_epoch(
    database: Database, journal: PostgresJournal, engine: QueueEngine
) -> None:
    """A worker took it and died before it leased the lane; the engine believes that it runs."""
    dispatch = Dispatcher(database, lost_after=0.2)
    await dispatch.dispatch(journal.name, SETTINGS)
    await dispatch.pump(engine)
    taken = engine.shared.queued.popleft()
    engine.shared.running.add(taken)
    await asyncio.sleep(0.25)
    await dispatch.pump(engine)
    assert len(engine.shared.submitted) == 3, "seen once: it may have been taken a moment ago"
    await asyncio.sleep(0.25)
    await dispatch.pump(engine)
    await dispatch.pump(engine)
    assert engine.shared.submitted[3:] == [taken._replace(epoch=1)], (
        "those that wait in the queue are not lost"
    )
    assert await journal.lease(taken.location, epoch=taken.epoch) is None, (
        "the old slice is worth nothing now"
    )


async def test_a_lane_whose_holder_died_is_submitted_when_its_lease_ends(
    database: Database, journal: PostgresJournal, engine: QueueEngine
) -> None:
    dispatch = Dispatcher(database)
    await dispatch.dispatch(journal.name, SETTINGS)
    await dispatch.pump(engine)
    dying = await PostgresJournals(database, journal.name, lease=60.0).open()
    assert await dying.lease("loc0", epoch=0) is not None
    assert await dispatch.pump(engine) == 0
    await journal.execute(
        "update hl_async.lane set until = clock_timestamp() where run = $1 and location = 'loc0'"
    )
    assert await dispatch.pump(engine) == 1
    assert engine.shared.submitted[-1] == Slice(journal.name, "loc0", 1, journal.run)


async def test_runs_and_workers_are_listed(database: Database, journal: PostgresJournal) -> None:
    dispatch = Dispatcher(database)
    (mine,) = [run for run in await dispatch.runs() if run.name == journal.name]
    assert (mine.dispatched, mine.lanes, mine.worked_on, mine.stopped) == (False, 3, 0, 0)
    await dispatch.dispatch(journal.name, SETTINGS)
    assert await dispatch.withdrawn([journal.name]) == set()
    assert not await dispatch.is_idle()
    await dispatch.pause(journal.name)
    assert await dispatch.withdrawn([journal.name]) == {journal.name}
    name = next(_names)
    await dispatch.heartbeat(name, 2, draining=False)
    await dispatch.heartbeat(name, 3, draining=True)
    assert [(w.lanes, w.draining) for w in await dispatch.workers() if w.name == name] == [(3, True)]
    await dispatch.deregister(name)
    assert name not in [worker.name for worker in await dispatch.workers()]


# ------------------------------------------------------------------------------------------- the embedded engine


async def test_the_ring_gives_every_lane_its_turn() -> None:
    engine = LocalEngine(asyncio.Event())
    turns: list[str] = []

    async def work(slice_: Slice) -> Slice | None:
        turns.append(slice_.location)
        return slice_ if turns.count(slice_.location) < 3 else None

    for location in "abc":
        await engine.submit(Slice("run", location))
        await engine.submit(Slice("run", location))
    await engine.serve(work, at_once=1)
    assert "".join(turns) == "abcabcabc"


async def test_a_later_turn_waits_and_the_stop_ends_waiting() -> None:
    stop = asyncio.Event()
    engine = LocalEngine(stop)
    slice_, never = Slice("run", "a"), Slice("run", "b")
    engine.submit_later(slice_, 0.02)
    engine.submit_later(never, 3600.0)
    seen: list[str] = []

    async def work(one: Slice) -> None:
        seen.append(one.location)
        assert [state.value for state in (await engine.overview([slice_, never, Slice("x", "y")])).values()] == [
            "running", "queued", "over",
        ]  # fmt: skip
        stop.set()

    async with asyncio.timeout(30):
        await engine.serve(work, at_once=2)
    assert seen == ["a"]


async def test_what_a_turn_raises_ends_the_others() -> None:
    engine = LocalEngine(asyncio.Event())
    ended: list[str] = []

    async def work(slice_: Slice) -> None:
        if slice_.location == "bad":
            raise JournalError("away")
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(slice_.location)

    await engine.submit(Slice("run", "good"))
    await engine.submit(Slice("run", "bad"))
    with pytest.raises(JournalError, match="away"):
        await engine.serve(work, at_once=2)
    assert ended == ["good"]


async def test_workers_of_another_server_leave_a_run_alone(
    database: Database, journal: PostgresJournal, engine: QueueEngine
) -> None:
    """One that calls a test server must not create what belongs into the real one."""
    real, test = (
        Dispatcher(database, server="https://a.example/"),
        Dispatcher(database, server="http://127.0.0.1:1"),
    )
    await real.dispatch(journal.name, SETTINGS)
    assert await test.pump(engine) == 0
    assert await test.is_idle()
    assert not await test.others_wait()
    assert await Dispatcher(database, server="https://a.example").pump(engine) == 3


async def test_a_slice_that_was_not_begun_is_given_back(
    database: Database, journal: PostgresJournal, engine: QueueEngine
) -> None:
    dispatch = Dispatcher(database)
    await dispatch.dispatch(journal.name, SETTINGS)
    await dispatch.pump(engine)
    slice_ = engine.shared.queued.popleft()
    await dispatch.give_back(slice_)
    assert await dispatch.pump(engine) == 1
    assert engine.shared.submitted[-1] == slice_._replace(epoch=1)
