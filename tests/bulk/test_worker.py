"""Promises of workers that share runs: against a real Postgres and the sandbox, with an engine of this process."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import date
from decimal import Decimal

import aiohttp
import asyncpg
import pytest

import samples
from bulk.engines import QueueEngine, SharedQueue
from hl_async import ClientConfig, GovernorPolicy, HighLevel, Timeouts
from hl_async.bulk.journals.postgres import PostgresJournal, PostgresJournals
from hl_async.bulk.lane import LaneRunner
from hl_async.bulk.protocol import Copy, State, Timing
from hl_async.bulk.reports import RunReport
from hl_async.bulk.run import Run
from hl_async.bulk.sources.document import Document, DocumentCustomer, DocumentLine, DocumentPayment
from hl_async.bulk.sources.readers import read_documents
from hl_async.bulk.sources.records import SourceItem
from hl_async.bulk.sources.settings import SourceSettings
from hl_async.bulk.stages.customers import ContactPolicy
from hl_async.bulk.stages.payments import PaymentPolicy
from hl_async.bulk.stages.states import StatePolicy
from hl_async.bulk.target import LocationTarget
from hl_async.bulk.workers import Worker, WorkerSettings
from hl_async.bulk.workers.dispatcher import Dispatcher, RunSettings
from hl_async.bulk.workers.health import HealthPage
from hl_async.errors import BulkError, ConfigurationError, LaneLost
from hl_async.models.codec import encode
from hl_async.sandbox import Fault, Quirks, Sandbox
from hl_async.storage.postgres import Database

_names = (f"worker-{os.getpid()}-{n}" for n in itertools.count())
CONFIG = ClientConfig(timeouts=Timeouts(attempt=2.0))
POLICY = GovernorPolicy(interval=1.0, max=10_000, linger=0.5, pace=None)
QUICK = WorkerSettings(lanes=4, slice=0.5, lease=2.0, until_idle=True)


@pytest.fixture
async def database(dsn: str) -> AsyncIterator[Database]:
    opened = Database(dsn)
    yield opened
    await opened.aclose()


async def hand_over(database: Database, box: Sandbox, locations: list[str], each: int) -> str:
    """A planned run with ``each`` documents for each location, left to workers."""
    body = encode(samples.estimate())
    name = next(_names)
    async with await Run.create(PostgresJournals(database, name), fingerprint="f", location="") as run:
        await run.plan(
            SourceItem(n, f"d{n}", body, (), locations[n % len(locations)], Decimal("29.97"), "USD")
            for n in range(each * len(locations))
        )
    await Dispatcher(database, server=box.url).dispatch(name, RunSettings(settle=0.2, attempt_timeout=2.0))
    return name


@asynccontextmanager
async def workers(
    database: Database, box: Sandbox, count: int, settings: WorkerSettings = QUICK, token: str | None = None
) -> AsyncIterator[list[Worker]]:
    """So many workers, each with a client and a stop of its own, on one queue."""
    shared = SharedQueue()
    made: list[Worker] = []
    async with asyncio.TaskGroup() as group:
        for n in range(count):
            hl = HighLevel(token or box.token, base_url=box.url, config=CONFIG, governor=POLICY)
            stop = asyncio.Event()
            made.append(
                Worker(database, QueueEngine(shared, stop), hl, stop, name=f"w{n}", settings=settings)
            )
            group.create_task(_run(made[-1], hl))
        yield made


async def _run(worker: Worker, hl: HighLevel) -> None:
    async with hl:
        await worker.run()


async def report_of(database: Database, name: str) -> RunReport:
    async with await Run.open(PostgresJournals(database, name), watch=True) as run:
        return await run.report()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await condition():
            await asyncio.sleep(0.02)


async def test_workers_share_a_run_and_create_every_document_once(database: Database, box: Sandbox) -> None:
    locations = [box.location_id, *(box.add_location() for _ in range(5))]
    box.faults.times.late = 2.5
    for fault in (Fault.RESET_BEFORE_COMMIT, Fault.RESET_AFTER_COMMIT, Fault.LATE_ANSWER, Fault.HTML_502):
        box.faults.script("create-new-estimate", fault, times=2)
    name = await hand_over(database, box, locations, 10)
    async with workers(database, box, 3) as made:
        pass
    report = await report_of(database, name)
    assert (report.created, report.unknown, report.state) == (60, 0, "done")
    assert all(len(box.ledger.estimates(place)) == 10 for place in locations)
    assert all(worker.counts["slices"] for worker in made), "each had a part of it"


async def test_copies_that_people_make_while_workers_run_are_kept_and_named_in_the_report(
    database: Database, box: Sandbox
) -> None:
    name = await hand_over(database, box, [box.location_id], 6)
    box.latency = 0.05
    box.faults.script("create-new-estimate", Fault.HTML_502, times=1)
    async with workers(database, box, 2) as made:

        async def begun() -> bool:
            return sum(worker.counts["created"] for worker in made) > 1

        await until(begun)
        documents = box.ledger.places[box.location_id].estimates
        original = list(documents.values())[1]
        documents["copied"] = {**original, "_id": "copied"}
    report = await report_of(database, name)
    assert (report.created, report.state, report.foreign_copies) == (6, "done", ["copied"])
    assert report.second_copies == []
    assert len(box.ledger.estimates()) == 7


async def test_a_worker_that_is_told_to_stop_gives_its_lanes_back_at_once(
    database: Database, box: Sandbox
) -> None:
    box.latency = 0.02
    name = await hand_over(database, box, [box.location_id], 150)
    patient = WorkerSettings(lanes=1, slice=60.0, lease=60.0, in_flight=2)
    async with workers(database, box, 1, patient) as (first,):

        async def begun() -> bool:
            return first.counts["created"] > 5

        await until(begun)
        first.stop.set()
    between = await report_of(database, name)
    assert 5 < between.created < 150
    assert between.ambiguous == 0, "what was in flight was finished"
    async with workers(database, box, 1), asyncio.timeout(20):  # far less than the first one's lease
        pass
    assert (await report_of(database, name)).created == 150
    assert len(box.ledger.estimates()) == 150


async def test_a_run_that_is_paused_rests_until_it_is_handed_over_again(
    database: Database, box: Sandbox
) -> None:
    box.latency = 0.02
    name = await hand_over(database, box, [box.location_id], 150)
    dispatch = Dispatcher(database, server=box.url)
    async with workers(database, box, 1, WorkerSettings(slice=60.0, in_flight=2)) as (worker,):

        async def begun() -> bool:
            return worker.counts["created"] > 5

        async def resting() -> bool:
            return not worker.held

        await until(begun)
        await dispatch.pause(name)
        await until(resting)
        seen = box.count
        await asyncio.sleep(0.3)
        assert box.count == seen
        await dispatch.dispatch(name, RunSettings(settle=0.2, attempt_timeout=2.0))

        async def complete() -> bool:
            return (await report_of(database, name)).complete

        await until(complete)
        worker.stop.set()
    assert len(box.ledger.estimates()) == 150


async def test_a_token_that_is_refused_rests_the_lane_and_says_why(database: Database, box: Sandbox) -> None:
    name = await hand_over(database, box, [box.location_id], 3)
    settings = WorkerSettings(slice=60.0)
    async with workers(database, box, 1, settings, token="pit-5ent1nel-wrong") as (worker,):

        async def told() -> bool:
            async with await Run.open(PostgresJournals(database, name), watch=True) as run:
                (lane,) = await run.journal.lanes()
            return bool(lane.reason) and 50 < lane.wakes_in <= 60

        await until(told)
        worker.stop.set()
    report = await report_of(database, name)
    assert (report.planned, report.created) == (3, 0)
    await Dispatcher(database).pause(name)


async def test_a_canary_that_does_not_come_back_stops_its_lane_for_a_person(database: Database) -> None:
    async with Sandbox(rate_max=10_000, rate_interval=1.0, quirks=Quirks(meta_in_lists=False)) as box:
        name = await hand_over(database, box, [box.location_id], 3)
        async with workers(database, box, 1):
            pass
        report = await report_of(database, name)
        assert (report.created, report.planned) == (1, 2)
        async with await Run.open(PostgresJournals(database, name), watch=True) as run:
            (lane,) = await run.journal.lanes()
        assert "does not give its key back" in lane.reason
        assert len(box.ledger.estimates()) == 1


async def test_a_run_that_is_worked_on_is_not_rolled_back(database: Database, box: Sandbox) -> None:
    box.latency = 0.02
    name = await hand_over(database, box, [box.location_id], 100)
    async with (
        workers(database, box, 1, WorkerSettings(slice=60.0, in_flight=2)) as (worker,),
        HighLevel(box.token, base_url=box.url, config=CONFIG, governor=POLICY) as hl,
        await Run.open(PostgresJournals(database, name)) as run,
    ):

        async def begun() -> bool:
            return worker.counts["created"] > 5

        async def rolled_back() -> bool:
            try:
                await run.rollback(hl)
            except BulkError:
                return False
            return True

        await until(begun)
        with pytest.raises(BulkError, match="w0 still creates documents of this run"):
            await run.rollback(hl)
        await until(rolled_back)
        worker.stop.set()
    assert len(box.ledger.estimates()) == 0


async def test_two_processes_may_resume_one_run_without_workers(database: Database, box: Sandbox) -> None:
    """The embedded engine with the shared journal: lanes that another process has are left to it."""
    locations = [box.location_id, *(box.add_location() for _ in range(3))]
    name = await hand_over(database, box, locations, 12)
    await Dispatcher(database).pause(name)

    async def resume() -> RunReport:
        async with (
            HighLevel(box.token, base_url=box.url, config=CONFIG, governor=POLICY) as hl,
            await Run.open(PostgresJournals(database, name)) as run,
        ):
            return await run.execute(
                lambda one: LocationTarget(hl.location(one), run.operation, run.keys),
                settle=0.2,
                attempt_timeout=2.0,
            )

    first, second = await asyncio.gather(resume(), resume())
    assert first.complete
    assert second.complete
    assert all(len(box.ledger.estimates(place)) == 12 for place in locations)


# -------------------------------------------------------------------------------------------- a lane that is lost


class SlowTarget:
    """Takes as long as the test wants."""

    answerable = True

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.started = asyncio.Event()
        self.sent: list[bytes] = []

    async def perform(self, ids: tuple[str, ...], body: bytes, intend: Callable[[], Awaitable[None]]) -> str:
        await intend()
        self.sent.append(body)
        self.started.set()
        await self.go_on.wait()
        return "document"

    async def listing(self) -> AsyncIterator[tuple[str | None, Copy]]:
        for found in ():
            yield found

    async def delete(self, document_id: str) -> None:
        raise AssertionError("nothing is to be deleted")


@pytest.fixture
async def journal(database: Database) -> AsyncIterator[PostgresJournal]:
    opened = await PostgresJournals(database, next(_names), lease=60.0).create({})
    await opened.plan([(SourceItem(n, f"d{n}", b"", (), "loc"), f"k{n}", b"%d" % n) for n in range(3)])
    yield opened
    await opened.aclose()


def lane_run(target: SlowTarget, stop: asyncio.Event, guard: float = 0.1) -> LaneRunner:
    return LaneRunner(target, Timing(0.1, 1.0, guard), idempotent=False, workers=2, stop=stop)


async def test_an_answer_after_the_lane_was_lost_is_not_written(journal: PostgresJournal) -> None:
    """The process stood still, another one took over: what it learns later is left to reconciliation."""
    target = SlowTarget()
    lane = await journal.lease("loc")
    assert lane is not None
    await lane.prove()
    working = asyncio.create_task(lane_run(target, asyncio.Event()).work(lane, 60.0))
    await asyncio.wait_for(target.started.wait(), 30)
    await journal.execute("update hl_async.lane set until = clock_timestamp() where run = $1")
    assert await journal.lease("loc") is not None
    target.go_on.set()
    with pytest.raises(LaneLost):
        await working
    counts = await journal.counts()
    assert counts.of(State.CREATED) == 0
    assert counts.of(State.SENT) >= 1


async def test_a_process_that_may_have_lost_its_lane_sends_nothing_more(journal: PostgresJournal) -> None:
    target = SlowTarget()
    lane = await journal.lease("loc")
    assert lane is not None
    await lane.prove()
    end = await lane_run(target, asyncio.Event(), guard=120.0).work(lane, 60.0)
    assert (end.done, target.sent) == (False, [])


# -------------------------------------------------------------------------------------------- settings and health


async def test_the_health_page_tells_what_an_orchestrator_asks(database: Database, box: Sandbox) -> None:
    pytest.importorskip("prometheus_client")
    settings = WorkerSettings(lanes=2, slice=60.0, lease=60.0)
    name = await hand_over(database, box, [box.location_id], 5)
    async with workers(database, box, 1, settings) as (worker,):
        async with HealthPage(worker, "127.0.0.1:0") as page, aiohttp.ClientSession() as session:

            async def ask(path: str) -> tuple[int, str]:
                async with session.get(page.url + path) as answer:
                    return answer.status, await answer.text()

            async def complete() -> bool:
                return (await report_of(database, name)).complete

            await until(complete)
            assert await ask("/live") == (200, "alive\n")
            assert await ask("/ready") == (200, "ready\n")
            status, figures = await ask("/metrics")
            assert status == 200
            assert 'hl_async_items_total{outcome="created"} 5.0' in figures.splitlines()
            assert "# TYPE hl_async_items_total counter" in figures.splitlines()
            names = re.findall(r"^# TYPE (\w+)", figures, re.MULTILINE)
            assert names == [
                "hl_async_items_total",
                "hl_async_slices_total",
                "hl_async_requests_total",
                "hl_async_refused_total",
                "hl_async_lanes",
                "hl_async_draining",
            ]
            worker.stop.set()
            assert await ask("/ready") == (503, "draining\n")
            worker.ready = False


@pytest.mark.parametrize(
    ("setting", "value"),
    [("lanes", 0), ("in_flight", 0), ("slice", 0.0), ("lease", 0.5), ("slice", float("nan"))],
)
def test_settings_that_make_no_sense_are_refused(setting: str, value: float) -> None:
    with pytest.raises(ConfigurationError, match=setting):
        WorkerSettings(**{setting: value})


async def test_a_health_address_needs_a_port(database: Database, box: Sandbox) -> None:
    async with HighLevel(box.token, base_url=box.url) as hl:
        stop = asyncio.Event()
        worker = Worker(database, QueueEngine(SharedQueue(), stop), hl, stop, name="w")
        for address in ("localhost", "127.0.0.1:http", "127.0.0.1:70000"):
            with pytest.raises(ConfigurationError, match="HOST:PORT"):
                HealthPage(worker, address)


# -------------------------------------------------------------------------------------------- a database in trouble


async def test_what_cannot_be_written_down_is_not_sent(dsn: str, database: Database, box: Sandbox) -> None:
    """The database takes no writes: nothing leaves, and the run goes on when it does again."""
    name = await hand_over(database, box, [box.location_id], 5)
    await Dispatcher(database).pause(name)
    impatient = Database(dsn, statement_timeout=0.3)

    async def resume(with_it: Database) -> RunReport:
        async with (
            HighLevel(box.token, base_url=box.url, config=CONFIG, governor=POLICY) as hl,
            await Run.open(PostgresJournals(with_it, name)) as run,
        ):
            return await run.execute(
                lambda one: LocationTarget(hl.location(one), run.operation, run.keys),
                settle=0.2,
                attempt_timeout=2.0,
            )

    blocker = await asyncpg.connect(dsn)
    async with blocker.transaction():
        await blocker.execute("lock table hl_async.item in exclusive mode")
        report = await resume(impatient)
        assert (report.state, report.planned) == ("stopped", 5)
        assert "took longer than" in report.reason
    await blocker.close()
    assert box.count == 0
    assert (await resume(database)).created == 5
    assert len(box.ledger.estimates()) == 5
    await impatient.aclose()


async def test_a_worker_outlives_a_database_that_is_away_for_a_while(
    dsn: str, database: Database, box: Sandbox
) -> None:
    """Every connection dies in the middle of the work, again and again."""
    box.latency = 0.01
    name = await hand_over(database, box, [box.location_id, box.add_location()], 60)
    separator = "&" if "?" in dsn else "?"
    mine = f"hl-worker-{os.getpid()}"
    fragile = Database(f"{dsn}{separator}application_name={mine}")
    killer = await asyncpg.connect(dsn)
    async with workers(fragile, box, 2):

        async def complete() -> bool:
            await killer.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where application_name = $1", mine
            )
            await asyncio.sleep(0.2)
            return (await report_of(database, name)).complete

        await until(complete)
    await killer.close()
    await fragile.aclose()
    assert [len(box.ledger.estimates(place)) for place in box.ledger.places] == [60, 60]


async def test_a_stop_does_not_wait_for_what_waits_for_the_budget(database: Database) -> None:
    """Sixty items wait for a budget of one a second: nothing of theirs was sent, so nobody waits for them."""
    async with Sandbox(rate_max=5, rate_interval=5.0) as box:
        name = await hand_over(database, box, [box.location_id], 80)
        settings = WorkerSettings(lanes=1, slice=60.0, lease=60.0)
        policy = GovernorPolicy(max=5, interval=5.0)
        shared, stop = SharedQueue(), asyncio.Event()
        async with HighLevel(box.token, base_url=box.url, config=CONFIG, governor=policy) as hl:
            worker = Worker(database, QueueEngine(shared, stop), hl, stop, name="w", settings=settings)
            running = asyncio.create_task(worker.run())

            async def begun() -> bool:
                return worker.counts["created"] >= 2

            await until(begun)
            async with asyncio.timeout(30):
                stop.set()
                await running
        report = await report_of(database, name)
        assert report.ambiguous == 0
        assert report.created == len(box.ledger.estimates())
        await Dispatcher(database).pause(name)


async def test_a_run_that_was_deleted_and_made_again_is_another_one(database: Database, box: Sandbox) -> None:
    """The same worker sees both; the second one's documents are its own."""
    body = encode(samples.estimate())
    place = PostgresJournals(database, next(_names))

    async def again() -> None:
        async with await Run.create(place, fingerprint="f", location=box.location_id) as run:
            await run.plan([SourceItem(0, "d0", body, (), "", Decimal("29.97"), "USD")])
        await Dispatcher(database, server=box.url).dispatch(place.name, RunSettings(0.2, 0.4))

    await again()
    async with workers(database, box, 1, WorkerSettings(slice=60.0)) as (worker,):

        async def complete() -> bool:
            return (await report_of(database, place.name)).complete

        await until(complete)
        await place.remove()
        await again()
        await until(complete)
        worker.stop.set()
    assert len(box.ledger.estimates()) == 2


async def test_workers_make_contacts_within_the_lane_of_their_location(
    database: Database, box: Sandbox
) -> None:
    """A worker stops in the middle; others go on with its lanes. Each location has its own contacts, once."""
    locations = [box.location_id, *(box.add_location() for _ in range(2))]
    box.contact_quirks.duplicates_allowed = True
    box.faults.times.late = 2.5
    for fault in (Fault.RESET_BEFORE_COMMIT, Fault.RESET_AFTER_COMMIT, Fault.LATE_ANSWER):
        box.faults.script("create-contact", fault)
    documents = [
        Document(
            source_id=f"Q-{n}",
            title=f"Quote {n}",
            location=locations[n % 3],
            customer=DocumentCustomer(name=f"P {n % 4}", email=f"p{n % 4}@example.com"),
            lines=[DocumentLine(name="Door", amount=Decimal(10))],
        )
        for n in range(36)
    ]
    name = next(_names)
    async with await Run.create(PostgresJournals(database, name), fingerprint="f", location="") as run:
        await run.plan(
            read_documents(documents, SourceSettings(currency="USD")), contacts=ContactPolicy(index_delay=0.2)
        )
    await Dispatcher(database, server=box.url).dispatch(name, RunSettings(settle=0.2, attempt_timeout=2.0))
    async with workers(database, box, 3) as made:
        while not any(box.neighbours.of(place).contacts for place in locations):
            await asyncio.sleep(0.01)
        made[0].stop.set()
    report = await report_of(database, name)
    assert (report.created, report.state) == (36, "done")
    assert report.contacts is not None
    assert (report.contacts.customers, report.contacts.made) == (12, 12)
    for place in locations:
        held = box.neighbours.of(place).contacts
        assert Counter(one["email"] for one in held.values()) == {f"p{n}@example.com": 1 for n in range(4)}
        assert {one["contactDetails"]["id"] for one in box.ledger.estimates(place)} <= set(held)


async def test_workers_create_both_kinds_with_shared_customers_payments_and_states(
    database: Database, box: Sandbox
) -> None:
    locations = [box.location_id, box.add_location()]
    box.faults.script("create-invoice", Fault.RESET_AFTER_COMMIT, times=2)
    box.faults.script("record-invoice", Fault.RESET_AFTER_COMMIT, times=2)
    documents = [
        Document(
            source_id=f"{n}",
            kind="invoice" if n % 2 else "estimate",
            location=locations[n // 2 % 2],
            status="void" if n % 8 == 7 else "",
            due_date=date(2030, 1, 1),
            customer=DocumentCustomer(name=f"P {n % 3}", email=f"p{n % 3}@example.com"),
            lines=[DocumentLine(name="Door", amount=Decimal(10))],
            payments=[DocumentPayment(amount=Decimal(4))] if n % 8 == 3 else [],
        )
        for n in range(32)
    ]
    name = next(_names)
    async with await Run.create(PostgresJournals(database, name), fingerprint="f", location="") as run:
        await run.plan(
            read_documents(documents, SourceSettings(currency="USD", marks_sent=True)),
            contacts=ContactPolicy(index_delay=0.2),
            payments=PaymentPolicy(allow_receipts=True),
            states=StatePolicy(sender="u1"),
        )
    await Dispatcher(database, server=box.url).dispatch(name, RunSettings(settle=0.2, attempt_timeout=2.0))
    async with workers(database, box, 3) as made:
        while not any(box.ledger.invoices(place) for place in locations):
            await asyncio.sleep(0.01)
        made[0].stop.set()
    report = await report_of(database, name)
    assert (report.created, report.state, report.kinds) == (32, "done", {"estimate": 16, "invoice": 16})
    assert report.payments is not None and report.payments.recorded == 4
    assert report.states is not None and report.states.reached == {"void": 4}
    for place in locations:
        people = box.neighbours.of(place).contacts
        assert len(people) == 3
        documents_there = [*box.ledger.estimates(place), *box.ledger.invoices(place)]
        assert {one["contactDetails"]["id"] for one in documents_there} <= set(people)
    assert sum(one["amountPaid"] for place in locations for one in box.ledger.invoices(place)) == 16
