"""Promises of the whole governor, its lanes, timers and cancellation, on an event loop in virtual time."""

from __future__ import annotations

import asyncio
import random
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.virtual_loop import Server, VirtualLoop, busiest, govern, run
from hl_async import wire
from hl_async.config import Lane
from hl_async.errors import ClientClosed, DeadlineExceeded, QuotaExhausted
from hl_async.governor import Governor, GovernorPolicy, Permit, Scope
from hl_async.sandbox.rate_limits import SlidingLog, make_window
from lengths import long

EXACT = ("fixed", "sliding", "bucket")


@pytest.mark.parametrize(
    ("kind", "rtt", "bar"),
    [
        ("sliding", 0.01, 99.0),
        ("fixed", 0.05, 99.0),
        ("bucket", 0.3, 96.0),
        *(
            long(kind, rtt, bar)
            for kind in EXACT
            for rtt, bar in ((0.01, 99.0), (0.05, 99.0), (0.1, 98.5), (0.3, 96.0))
        ),
    ],
)
@pytest.mark.untraced
def test_bulk_fills_the_budget_and_is_never_refused(kind: str, rtt: float, bar: float) -> None:
    server = Server(make_window(kind, 100, 10.0), rtt=rtt, count_from=20)
    run(lambda loop: govern(loop, server, GovernorPolicy(), 420))
    assert server.refused == 0
    assert server.used(400) >= bar


@pytest.mark.parametrize(
    ("limit", "interval", "rtt", "bar"),
    [(100, 1.0, 0.05, 93.0), long(1000, 10.0, 0.3, 96.0), (25, 10.0, 0.1, 98.0), (100, 10.0, 2.0, 80.0)],
)
@pytest.mark.untraced
def test_the_limit_in_flight_never_holds_a_healthy_server_back(
    limit: int, interval: float, rtt: float, bar: float
) -> None:
    server = Server(SlidingLog(limit, interval), limit=limit, interval=interval, rtt=rtt, count_from=40)
    run(lambda loop: govern(loop, server, GovernorPolicy(), 100, workers=150))
    assert server.refused == 0
    assert server.used(60) >= bar


@pytest.mark.untraced
def test_a_sliding_counter_refuses_two_per_thousand_at_most() -> None:
    server = Server(make_window("counter", 100, 10.0), rtt=0.1, count_from=20)
    run(lambda loop: govern(loop, server, GovernorPolicy(), 1220))
    assert server.refusals <= 2.0
    assert server.used(1200) >= 94


@pytest.mark.untraced
def test_interactive_calls_among_endless_bulk_hardly_wait() -> None:
    server = Server(SlidingLog(100, 10.0), rtt=0.1, count_from=20)
    waits = run(lambda loop: govern(loop, server, GovernorPolicy(), 820, interactive=0.5))
    assert len(waits) > 300
    assert waits[int(len(waits) * 0.99)] <= 0.05
    assert server.refused == 0
    assert server.used(800) >= 97


@pytest.mark.untraced
def test_a_stranger_and_we_leave_each_other_room() -> None:
    server = Server(make_window("fixed", 100, 10.0), rtt=0.1, count_from=20)
    run(lambda loop: govern(loop, server, GovernorPolicy(), 620, external_use=3.0))
    assert server.refusals <= 10
    assert 1000 * server.others_refused / server.others <= 50
    assert server.used(600) >= 50


def test_bulk_waits_at_most_two_intervals_and_a_round_trip_behind_endless_interactive_calls() -> None:
    server = Server(SlidingLog(20, 10.0), limit=20, rtt=0.1)
    admitted: list[float] = []

    async def play(loop: VirtualLoop) -> None:
        scope = Governor(GovernorPolicy(max=20), clock=loop.time, wall=loop.wall).scope(("token", "loc"))

        async def endless(lane: Lane) -> None:
            while True:
                permit = await scope.acquire(lane)
                if lane is Lane.BULK:
                    admitted.append(loop.time())
                permit.answered(*await server.request())

        tasks = [asyncio.create_task(endless(Lane.INTERACTIVE)) for _ in range(60)]
        tasks.append(asyncio.create_task(endless(Lane.BULK)))
        await asyncio.sleep(300)
        for task in tasks:
            task.cancel()

    run(play)
    gaps = [after - before for before, after in zip([0.0, *admitted], [*admitted, 300.0], strict=False)]
    assert max(gaps) <= 2 * 10 + 0.2
    assert server.refused == 0


def test_in_an_outage_bulk_probes_once_a_second_and_comes_back_at_once() -> None:
    server = Server(SlidingLog(100, 10.0), rtt=0.1)
    sent: list[float] = []

    async def play(loop: VirtualLoop) -> None:
        scope = Governor(clock=loop.time, wall=loop.wall).scope(("token", "loc"))

        async def endless() -> None:
            while True:
                permit = await scope.acquire(Lane.BULK)
                sent.append(loop.time())
                _, headers = await server.request()
                permit.answered(503 if 30 < loop.time() < 90 else 200, headers, 0.1)

        tasks = [asyncio.create_task(endless()) for _ in range(20)]
        await asyncio.sleep(120)
        for task in tasks:
            task.cancel()

    run(play)
    in_outage = sum(35 < moment < 90 for moment in sent)
    assert 40 <= in_outage <= 65
    assert sum(100 < moment < 120 for moment in sent) >= 180


@pytest.mark.parametrize(("locations", "ceiling", "bar"), [long(15, 50, 95.0), (6, 20, 95.0), (30, 10, 28.0)])
@pytest.mark.untraced
def test_locations_share_the_places_in_flight_evenly(locations: int, ceiling: int, bar: float) -> None:
    servers = [Server(SlidingLog(100, 10.0), rtt=0.1, seed=n, count_from=30) for n in range(locations)]

    async def play(loop: VirtualLoop) -> None:
        governor = Governor(clock=loop.time, wall=loop.wall, max_in_flight=ceiling)

        async def endless(server: Server, scope: Scope) -> None:
            while True:
                permit = await scope.acquire(Lane.BULK)
                assert governor.concurrency.in_flight <= ceiling
                permit.answered(*await server.request(), server.rtt)

        tasks = [
            asyncio.create_task(endless(server, governor.scope(("token", str(n)))))
            for n, server in enumerate(servers)
            for _ in range(5)
        ]
        await asyncio.sleep(70)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    run(play)
    shares = sorted(server.used(40) for server in servers)
    assert sum(server.refused for server in servers) == 0
    assert shares[0] >= bar
    assert shares[0] >= 0.85 * shares[-1]


def test_bulk_that_waits_when_the_day_runs_low_is_told_and_interactive_calls_go_on_waiting() -> None:
    async def play(loop: VirtualLoop) -> None:
        scope, held = full(loop)
        bulk = asyncio.create_task(scope.acquire(Lane.BULK))
        call = asyncio.create_task(scope.acquire(Lane.INTERACTIVE))
        await asyncio.sleep(0)
        held.pop().answered(200, {wire.DAILY_LIMIT: "1000", wire.DAILY_REMAINING: "50"})
        with pytest.raises(QuotaExhausted, match="kept for interactive use"):
            await bulk
        assert isinstance(await call, Permit)

    run(play)


# ------------------------------------------------------------------------------- arbitrary schedules


class Call(NamedTuple):
    """One call: when it comes, how long each way takes, and when it is given up."""

    start: float
    bulk: bool
    there: float
    back: float
    gives_up_after: float | None
    deadline: float | None
    fate: str


FATES = ("answered", "answered", "answered", "answered", "lost", "never sent", "unreachable")


def schedule(dice: random.Random) -> list[Call]:
    """Sixty calls within half a minute, for five slots per ten seconds: most of them have to wait."""
    return [
        Call(
            start=dice.uniform(0, 30),
            bulk=dice.random() < 0.5,
            there=dice.choice((0.0, 0.1, dice.uniform(0, 3))),
            back=dice.choice((0.0, 0.1, dice.uniform(0, 3))),
            gives_up_after=dice.uniform(0, 40) if dice.random() < 0.3 else None,
            deadline=dice.uniform(0.1, 60) if dice.random() < 0.3 else None,
            fate=dice.choice(FATES),
        )
        for _ in range(60)
    ]


@settings(deadline=None, max_examples=100, derandomize=True)
@given(dice=st.randoms(use_true_random=True), pace=st.sampled_from([None, 0.95]), reserve=st.integers(0, 2))
@pytest.mark.untraced
def test_whatever_calls_do_no_window_holds_too_many_and_nothing_leaks(
    dice: random.Random, pace: float | None, reserve: int
) -> None:
    calls = schedule(dice)
    received: list[float] = []
    policy = GovernorPolicy(max=5, interval=10.0, pace=pace, reserve=reserve, linger=3.0)

    async def play(loop: VirtualLoop) -> None:
        governor = Governor(policy, clock=loop.time, wall=loop.wall)
        scope = governor.scope(("token", "loc"))
        tasks = [asyncio.create_task(live(loop, scope, call, received)) for call in calls]
        for task, call in zip(tasks, calls, strict=True):
            if call.gives_up_after is not None:
                loop.call_later(call.start + call.gives_up_after, task.cancel)
        await asyncio.sleep(600)
        assert all(task.done() for task in tasks)
        for task in tasks:
            if not task.cancelled():
                task.result()
        state = scope.snapshot()
        assert (state.in_flight, state.waiting_bulk, state.waiting_interactive, state.cooling) == (0, 0, 0, 0)
        assert governor.concurrency.in_flight == 0

    run(play)
    assert busiest(received, 10.0) <= 5


async def live(loop: VirtualLoop, scope: Scope, call: Call, received: list[float]) -> None:
    await asyncio.sleep(call.start)
    lane = Lane.BULK if call.bulk else Lane.INTERACTIVE
    began = loop.time()
    try:
        permit = scope.try_acquire(lane) or await scope.acquire(lane, call.deadline)
    except DeadlineExceeded as error:
        assert call.deadline is not None
        assert error.needed is None or error.needed >= call.deadline
        assert loop.time() - began <= call.deadline + 0.001
        return
    if call.fate == "never sent":
        permit.unused()
        return
    if call.fate == "unreachable":
        permit.connect_failed()
        return
    loop.call_later(call.there, lambda: received.append(loop.time()))  # it gets there whatever becomes of us
    try:
        await asyncio.sleep(call.there if call.fate == "lost" else call.there + call.back)
    except BaseException:
        permit.failed()
        raise
    if call.fate == "lost":
        permit.failed()
    else:
        permit.answered(200, {}, call.there + call.back)


# ------------------------------------------------------------------------ cancellation, driven by hand


def full(loop: VirtualLoop) -> tuple[Scope, list[Permit]]:
    """A scope of four slots, all taken."""
    scope = Governor(GovernorPolicy(max=4, reserve=0, pace=None), clock=loop.time).scope(("token", "loc"))
    held = [scope.try_acquire(Lane.INTERACTIVE) for _ in range(4)]
    assert None not in held
    return scope, [permit for permit in held if permit is not None]


@pytest.mark.parametrize("lane", list(Lane))
@pytest.mark.parametrize("admitted_first", [False, True])
@pytest.mark.parametrize("how", ["close", "cancel"])
def test_a_wait_that_is_given_up_at_its_await_leaves_no_trace(
    lane: Lane, admitted_first: bool, how: str
) -> None:
    async def play(loop: VirtualLoop) -> None:
        scope, held = full(loop)
        scope._budget.warm = True
        waiting = scope.acquire(lane, 60.0)
        waiting.send(None)  # up to its only await
        if admitted_first:
            held.pop().unused()  # the permit is on its way when the caller goes
        if how == "close":
            waiting.close()
        else:
            with pytest.raises(asyncio.CancelledError):
                waiting.throw(asyncio.CancelledError())
        state = scope.snapshot()
        assert state.in_flight == len(held)
        assert (state.waiting_bulk, state.waiting_interactive) == (0, 0)
        assert scope._governor.concurrency.in_flight == 0
        assert len(loop._scheduled) == sum(timer.cancelled() for timer in loop._scheduled)  # type: ignore[attr-defined]

    run(play)


@pytest.mark.untraced
def test_a_slot_passes_over_waiters_that_were_cancelled_in_the_same_turn() -> None:
    async def play(loop: VirtualLoop) -> None:
        scope, held = full(loop)
        tasks = [asyncio.create_task(scope.acquire(Lane.INTERACTIVE)) for _ in range(10_000)]
        await asyncio.sleep(0)
        for task in reversed(tasks[:-1]):
            task.cancel()
        held.pop().unused()
        assert isinstance(await tasks[-1], Permit)
        await asyncio.wait(tasks)
        assert scope.snapshot().waiting_interactive == 0
        assert scope.snapshot().in_flight == 4

    run(play)


def test_closing_fails_everybody_who_waits_and_leaves_no_timer() -> None:
    async def play(loop: VirtualLoop) -> None:
        scope, held = full(loop)
        scope._budget.warm = True
        for permit in held:
            permit.answered(200, {})
        tasks = [asyncio.create_task(scope.acquire(lane)) for lane in (*Lane, *Lane)]
        await asyncio.sleep(0)
        scope._governor.close()
        for task in tasks:
            with pytest.raises(ClientClosed):
                await task
        assert all(timer.cancelled() for timer in loop._scheduled)  # type: ignore[attr-defined]
        tasks[0] = asyncio.create_task(scope.acquire(Lane.BULK))
        with pytest.raises(ClientClosed):
            await tasks[0]

    run(play)


def test_one_timer_serves_all_who_wait_in_a_scope() -> None:
    async def play(loop: VirtualLoop) -> None:
        scope, held = full(loop)
        for permit in held:
            permit.answered(200, {})
        tasks = [asyncio.create_task(scope.acquire(Lane.INTERACTIVE)) for _ in range(1000)]
        await asyncio.sleep(0)
        assert len([timer for timer in loop._scheduled if not timer.cancelled()]) == 1  # type: ignore[attr-defined]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    run(play)


def test_the_virtual_loop_says_so_when_nothing_can_happen_any_more() -> None:
    async def play(loop: VirtualLoop) -> None:
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="deadlock"):
        run(play)
