"""Promises of a budget that several governors share, in virtual time, against exact servers."""

from __future__ import annotations

import asyncio
import logging
import random

import pytest

from benchmarks.virtual_loop import Server, VirtualLoop, busiest, run
from benchmarks.virtual_shared import Distant, Process, together
from contract.budgets import BudgetStoreContract
from hl_async import wire
from hl_async.config import Lane
from hl_async.errors import BudgetStoreError, ClientClosed, DeadlineExceeded
from hl_async.governor import Governor, GovernorPolicy, Scope
from hl_async.governor.shared import MemoryBudget, shared_scopes
from hl_async.governor.shared.messages import ExchangeReply, ExchangeRequest
from hl_async.governor.shared.scopes import SharedScope
from hl_async.sandbox.rate_limits import make_window
from hl_async.telemetry import BudgetStoreBack, BudgetStoreLost, Event, Telemetry
from lengths import long, short_of


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class TestMemoryBudget(BudgetStoreContract):
    async def open_store(self) -> MemoryBudget:
        self.clock = Clock()
        self.store = MemoryBudget(clock=self.clock)
        return self.store

    async def open_again(self) -> MemoryBudget:
        return self.store

    async def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds


def server(kind: str = "sliding", *, rtt: float = 0.05, limit: int = 100, interval: float = 10.0) -> Server:
    window = make_window(kind, limit, interval)
    return Server(window, limit=limit, interval=interval, rtt=rtt, count_from=2 * interval)


@pytest.mark.parametrize(
    ("kind", "processes", "most_exchanges"),
    [
        ("sliding", 1, 4),
        ("fixed", 4, 16),
        *(long(kind, *rest) for kind in ("fixed", "sliding", "bucket") for rest in ((1, 4), (4, 16))),
    ],
)
@pytest.mark.untraced
def test_processes_that_share_fill_the_budget_and_are_never_refused(
    kind: str, processes: int, most_exchanges: float
) -> None:
    one = server(kind)
    _, exchanges = run(lambda loop: together(loop, one, 170, bulk=processes))
    assert one.refused == 0
    assert one.used(150) >= 99.0
    assert exchanges <= most_exchanges


@pytest.mark.parametrize(("limit", "interval", "rtt", "bar"), [(25, 5.0, 0.05, 97.0), (100, 10.0, 1.0, 88.0)])
@pytest.mark.untraced
def test_few_slots_and_long_round_trips_are_shared_too(
    limit: int, interval: float, rtt: float, bar: float
) -> None:
    one = server(limit=limit, interval=interval, rtt=rtt)
    run(lambda loop: together(loop, one, 150))
    assert one.refused == 0
    assert one.used(150 - 2 * interval) >= bar


@pytest.mark.untraced
def test_a_sliding_counter_refuses_few() -> None:
    one = server("counter")
    run(lambda loop: together(loop, one, 320))
    assert one.refusals <= 2.0
    assert one.used(300) >= 94


@pytest.mark.untraced
def test_interactive_calls_of_one_process_pass_the_bulk_of_others() -> None:
    one = server()
    waits, _ = run(lambda loop: together(loop, one, 320, bulk=3, interactive=1))
    assert one.refused == 0
    assert one.used(300) >= 96.5
    assert waits[len(waits) // 2] <= 0.01
    assert waits[int(len(waits) * 0.98)] <= 0.25


@pytest.mark.untraced
def test_the_slots_of_a_process_that_died_come_back_and_nobody_is_refused() -> None:
    one = server()
    one.count_from = 60.0

    async def play(loop: VirtualLoop) -> None:
        store = Distant(MemoryBudget(clock=loop.time))
        policy = GovernorPolicy(linger=2.0)
        dying, *living = [Process(loop, one, store, policy).start(workers=20) for _ in range(3)]
        await asyncio.sleep(12.3)
        dying.die()
        await asyncio.sleep(147.7)
        for process in living:
            await process.end()

    run(play)
    assert one.refused == 0
    assert one.used(100) >= 99.0


class Recorder:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def on_event(self, event: Event) -> None:
        self.events.append(event)


def test_without_its_store_bulk_waits_and_calls_have_an_eighth_and_all_is_told_when_it_is_back() -> None:
    one = server()
    recorder = Recorder()

    async def play(loop: VirtualLoop) -> None:
        store = Distant(MemoryBudget(clock=loop.time))
        process = Process(loop, one, store, GovernorPolicy(reserve=0))
        process.governor.telemetry = Telemetry([recorder])
        process.start(workers=20)
        await asyncio.sleep(20)
        store.away = True
        await asyncio.sleep(15)
        before = one.admitted
        for _ in range(40):
            process.spawn(process.call)
        await asyncio.sleep(5)
        assert one.admitted - before == 100 // 8, "calls have an eighth of the slots"
        assert sorted(process.waits)[11] <= 1.5
        store.away = False
        await asyncio.sleep(3)
        assert len(process.waits) == 40
        before = one.admitted
        await asyncio.sleep(30)
        assert one.admitted - before >= 255
        await process.end()

    run(play)
    assert one.refused == 0
    assert [type(event) for event in recorder.events if "Store" in type(event).__name__] == [
        BudgetStoreLost, BudgetStoreBack,
    ]  # fmt: skip


def test_a_store_that_is_too_slow_is_as_good_as_away(caplog: pytest.LogCaptureFixture) -> None:
    one = server()

    async def play(loop: VirtualLoop) -> None:
        store = Distant(MemoryBudget(clock=loop.time), lag=5.0)
        process = Process(loop, one, store, GovernorPolicy())
        process.spawn(process.call)
        await asyncio.sleep(3)
        assert process.waits == [pytest.approx(1.0, abs=0.1)]
        store.lag = 0.001
        process.spawn(process.call)
        await asyncio.sleep(3)
        scope = process.scope
        assert isinstance(scope, SharedScope)
        assert not scope.slots.is_store_down
        await process.end()

    with caplog.at_level(logging.WARNING):
        run(play)
    assert "no answer within 1 s" in caplog.text


def test_a_store_that_raises_anything_at_all_is_as_good_as_away(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        async def exchange(self, scope: str, request: ExchangeRequest) -> ExchangeReply:
            raise LookupError("a bug")

        async def aclose(self) -> None: ...

    async def play(loop: VirtualLoop) -> None:
        governor = Governor(clock=loop.time, wall=loop.wall, scopes=shared_scopes(Broken()))
        permit = await governor.scope(("token", "location")).acquire(Lane.INTERACTIVE)
        permit.unused()
        waiting = asyncio.create_task(governor.scope(("token", "location")).acquire(Lane.BULK))
        await asyncio.sleep(1.0)
        await governor.aclose()
        with pytest.raises(ClientClosed):
            await waiting
        assert all(timer.cancelled() for timer in loop._scheduled)  # type: ignore[attr-defined]

    with caplog.at_level(logging.WARNING):
        run(play)
    assert "LookupError: a bug" in caplog.text


def test_of_many_scopes_one_asks_whether_the_store_is_back() -> None:
    async def play(loop: VirtualLoop) -> None:
        store = Distant(MemoryBudget(clock=loop.time))
        store.away = True
        tries = 0
        inner = store.exchange

        class Counting(Distant):
            async def exchange(self, scope: str, request: object) -> object:  # type: ignore[override]
                nonlocal tries
                tries += 1
                return await inner(scope, request)  # type: ignore[arg-type]

        governor = Governor(clock=loop.time, wall=loop.wall, scopes=shared_scopes(Counting(store)))
        scopes = [governor.scope(("token", str(n))) for n in range(200)]

        async def work(scope: Scope) -> None:
            (await scope.acquire(Lane.BULK)).unused()

        tasks = [asyncio.create_task(work(scope)) for scope in scopes]
        await asyncio.sleep(1)
        tries = 0
        await asyncio.sleep(20)
        assert tries <= 12
        store.away = False
        await asyncio.gather(*tasks)
        await governor.aclose()

    run(play)


def test_idle_scopes_cost_nothing() -> None:
    async def play(loop: VirtualLoop) -> None:
        store = Distant(MemoryBudget(clock=loop.time))
        governor = Governor(clock=loop.time, wall=loop.wall, scopes=shared_scopes(store))
        for n in range(300):
            permit = await governor.scope(("token", str(n))).acquire(Lane.INTERACTIVE)
            permit.answered(200, {})
        await asyncio.sleep(20)
        count = store.exchanges
        assert not [timer for timer in loop._scheduled if not timer.cancelled()][1:]  # type: ignore[attr-defined]
        await asyncio.sleep(600)
        assert store.exchanges == count <= 3 * 300
        await governor.aclose()

    run(play)


def test_closing_gives_everything_back_at_once() -> None:
    one = server()

    async def play(loop: VirtualLoop) -> None:
        memory = MemoryBudget(clock=loop.time)
        process = Process(loop, one, Distant(memory), GovernorPolicy()).start(workers=30)
        await asyncio.sleep(20)
        await process.end()
        used = one.admitted
        assert asyncio.all_tasks() == {asyncio.current_task()}
        with pytest.raises(ClientClosed):
            await process.scope.acquire(Lane.BULK)
        other = Process(loop, one, Distant(memory), GovernorPolicy(reserve=0, pace=None)).start(workers=30)
        await asyncio.sleep(10)
        assert one.admitted - used >= 96, "bookings that were given back delay nobody"
        await other.end()

    run(play)
    assert one.refused == 0


@pytest.mark.untraced
def test_a_run_that_joins_gets_its_part_within_an_interval() -> None:
    one = server()

    async def play(loop: VirtualLoop) -> None:
        store = Distant(MemoryBudget(clock=loop.time))
        first = Process(loop, one, store, GovernorPolicy()).start(workers=30)
        await asyncio.sleep(30)
        counts = []
        second = Process(loop, one, store, GovernorPolicy())
        send = second.send

        async def counting(permit: object) -> None:
            counts.append(loop.time())
            await send(permit)  # type: ignore[arg-type]

        second.send = counting  # type: ignore[method-assign]
        second.start(workers=30)
        await asyncio.sleep(30)
        assert counts[0] - 30 <= 7
        assert sum(45 <= moment < 55 for moment in counts) == pytest.approx(50, abs=8)
        await first.end()
        await second.end()

    run(play)
    assert one.refused == 0


@pytest.mark.untraced
@pytest.mark.parametrize(
    ("kind", "limit", "seeds"),
    [
        ("fixed", 100, 1),
        ("sliding", 8, 3),
        *(long(kind, limit, 6) for kind in ("fixed", "sliding") for limit in (8, 100)),
    ],
)
def test_when_the_store_loses_everything_and_a_process_dies_nobody_is_refused(
    kind: str, limit: int, seeds: int
) -> None:
    for seed in range(seeds):
        one = server(kind, limit=limit)
        dice = random.Random(seed)

        async def play(loop: VirtualLoop, one: Server = one, dice: random.Random = dice) -> None:
            store = Distant(MemoryBudget(clock=loop.time), seed=dice.randrange(1000))
            policy = GovernorPolicy(max=limit)
            workers = dice.choice((2, 8, 30))
            processes = [Process(loop, one, store, policy).start(workers=workers) for _ in range(3)]
            await asyncio.sleep(33 + 10 * dice.random())
            store.away = True
            processes.pop().die()
            await asyncio.sleep(dice.choice((0.0, 0.5, 2.0)))
            store.store, store.away = MemoryBudget(clock=loop.time, born=loop.time()), False
            processes.append(Process(loop, one, store, policy).start(workers=workers))
            await asyncio.sleep(40)
            for process in processes:
                await process.end()

        run(play)
        assert one.refused == 0
        assert one.admitted >= 5 * limit, "it rests for an interval, and goes on"


def test_a_429_seen_by_one_process_stops_the_other() -> None:
    async def play(loop: VirtualLoop) -> None:
        store = MemoryBudget(clock=loop.time)
        policy = GovernorPolicy(reserve=0)
        one, two = (
            Governor(policy, clock=loop.time, wall=loop.wall, scopes=shared_scopes(store)) for _ in range(2)
        )
        scopes = [governor.scope(("token", "location")) for governor in (one, two)]
        permit = await scopes[0].acquire(Lane.INTERACTIVE)
        permit.answered(429, {wire.RETRY_AFTER: "7"})
        await asyncio.sleep(0.1)
        began = loop.time()
        with pytest.raises(DeadlineExceeded):
            await scopes[1].acquire(Lane.INTERACTIVE, 2.0)
        with pytest.raises(DeadlineExceeded) as caught:
            await scopes[1].acquire(Lane.INTERACTIVE, 2.0)
        assert caught.value.needed == pytest.approx(4.9, abs=0.1), "by now it knows"
        (await scopes[1].acquire(Lane.INTERACTIVE, 10.0)).unused()
        assert loop.time() - began == pytest.approx(6.9, abs=0.1)
        snapshot = scopes[1].snapshot()
        assert (snapshot.max, snapshot.in_flight, snapshot.braked) == (100, 0, False)
        assert snapshot.pace > 0.1
        for governor in (one, two):
            await governor.aclose()

    run(play)


def test_a_share_of_the_budget_is_all_that_is_used() -> None:
    one = server()
    policy = GovernorPolicy(share=0.3, reserve=0)
    run(lambda loop: together(loop, one, 120, bulk=1, policy=policy))
    assert one.used(100) == pytest.approx(30, abs=1)
    assert one.refused == 0


@pytest.mark.untraced
def test_strangers_beside_several_processes_are_left_room() -> None:
    one = server("fixed")

    async def play(loop: VirtualLoop) -> None:
        stranger = asyncio.create_task(one.stranger(3.0))
        await together(loop, one, 220, bulk=3)
        stranger.cancel()

    run(play)
    assert one.refusals <= 10
    assert 1000 * one.others_refused / one.others <= 50
    assert one.used(200) >= 45


class Lossy(Distant):
    """A store behind a network that loses wishes and answers, and hears some wishes long after they were given up."""

    async def exchange(self, scope: str, request: ExchangeRequest) -> ExchangeReply:
        await asyncio.sleep(self.dice.expovariate(10.0))
        fate = self.dice.random()
        if fate < 0.05:
            asyncio.get_running_loop().call_later(self.dice.uniform(0, 4), self.hear, scope, request)
            raise BudgetStoreError("it was not heard, or not yet")
        grant = self.hear(scope, request)
        if fate < 0.1:
            raise BudgetStoreError("the answer was lost")
        if fate < 0.15:
            grant = self.hear(scope, request)  # repeated, as after a lost connection
        await asyncio.sleep(self.dice.expovariate(10.0))
        return grant

    def hear(self, scope: str, request: ExchangeRequest) -> ExchangeReply:
        coroutine = self.store.exchange(scope, request)
        try:
            coroutine.send(None)
        except StopIteration as done:
            grant: ExchangeReply = done.value
            return grant
        raise AssertionError


@pytest.mark.parametrize("seed", short_of(range(8), range(3)))
@pytest.mark.untraced
def test_whatever_is_lost_and_whoever_dies_no_window_holds_too_many(seed: int) -> None:
    received: list[float] = []
    dice = random.Random(seed)

    async def play(loop: VirtualLoop) -> None:
        memory = MemoryBudget(clock=lambda: loop.time() + 1e6)
        policy = GovernorPolicy(max=5, interval=5.0, linger=2.0, reserve=0, pace=None)

        def receive() -> None:
            received.append(loop.time())

        async def work(scope: Scope) -> None:
            while True:
                permit = await scope.acquire(Lane.BULK)
                there, fate = dice.expovariate(3.0), dice.random()
                if fate < 0.1:
                    permit.unused()
                elif fate < 0.25:  # given up after a while, and received by then or in the linger time
                    waited = dice.uniform(0, 2)
                    loop.call_later(waited + dice.uniform(0, 2), receive)
                    await asyncio.sleep(waited)
                    permit.failed()
                else:
                    loop.call_later(min(there, 2.0), receive)
                    await asyncio.sleep(min(there, 2.0) + dice.expovariate(3.0))
                    permit.answered(200, {}, there)

        def born() -> tuple[Governor, list[asyncio.Task[None]]]:
            store = Lossy(memory, seed=dice.randrange(1000))
            governor = Governor(
                policy, clock=loop.time, wall=loop.wall, scopes=shared_scopes(store, attempt_timeout=2.0)
            )
            scope = governor.scope(("token", "location"))
            return governor, [asyncio.create_task(work(scope)) for _ in range(8)]

        living = [born() for _ in range(3)]
        for _ in range(12):
            await asyncio.sleep(dice.uniform(5, 40))
            governor, tasks = living.pop(0)
            governor.closed = True  # SIGKILL: it says nothing any more, and what is on its way gets there
            for task in tasks:
                task.cancel()
            living.append(born())
        for governor, tasks in living:
            governor.closed = True
            for task in tasks:
                task.cancel()

    run(play)
    assert len(received) >= 100
    assert busiest(received, 5.0) <= 5


class Gateway(Server):
    """A server whose first answers are a gateway's pages, which tell no limits."""

    pages = 2

    async def request(self) -> tuple[int, dict[str, str]]:
        if self.pages:
            self.pages -= 1
            await asyncio.sleep(self.rtt)
            return 502, {}
        return await super().request()


@pytest.mark.untraced
@pytest.mark.parametrize("rtt", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("kind", ["fixed", "sliding"])
def test_an_answer_that_tells_no_limits_opens_no_slots_of_a_location_whose_limit_is_unknown(
    kind: str, rtt: float
) -> None:
    one = Gateway(make_window(kind, 8, 10.0), limit=8, interval=10.0, rtt=rtt)

    async def play(loop: VirtualLoop) -> None:
        store = Distant(MemoryBudget(clock=loop.time))
        processes = [Process(loop, one, store, GovernorPolicy()).start(workers=30) for _ in range(2)]
        await asyncio.sleep(40)
        for process in processes:
            await process.end()

    run(play)
    assert one.refused == 0
    assert one.admitted >= 24
