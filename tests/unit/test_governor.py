"""Promises of scopes, lanes and waiting."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from benchmarks.virtual_loop import VirtualLoop, run
from hl_async import wire
from hl_async.config import Lane
from hl_async.errors import ClientClosed, DeadlineExceeded, QuotaExhausted
from hl_async.governor import Governor, GovernorPolicy, Permit, Scope
from hl_async.telemetry import Event, Telemetry

FAST = GovernorPolicy(max=4, interval=0.1, pace=None, linger=0.0, reserve=0)
SLOW = GovernorPolicy(max=4, interval=3600.0, pace=None, linger=0.0, reserve=0)
"""Nothing comes back by itself while a test runs."""


class Recorder:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def on_event(self, event: Event) -> None:
        self.events.append(event)


def warm(policy: GovernorPolicy = SLOW, **settings: Any) -> tuple[Governor, Scope]:
    governor = Governor(policy, **settings)
    scope = governor.scope(("me", "loc"))
    permit = scope.try_acquire(Lane.INTERACTIVE)
    assert permit is not None
    permit.answered(200, {})
    return governor, scope


def take(scope: Scope, lane: Lane = Lane.INTERACTIVE) -> list[Permit]:
    found = []
    while (permit := scope.try_acquire(lane)) is not None:
        found.append(permit)
    return found


async def test_a_free_slot_is_taken_without_waiting_and_a_taken_one_is_waited_for() -> None:
    _, scope = warm()
    held = take(scope)
    assert len(held) == 3
    waiting = asyncio.create_task(scope.acquire(Lane.INTERACTIVE))
    await asyncio.sleep(0.01)
    assert scope.snapshot().waiting_interactive == 1
    held[0].unused()
    assert (await waiting) is not None
    assert "loc" in repr(scope)


async def test_a_permit_is_settled_once() -> None:
    _, scope = warm()
    permit = take(scope)[0]
    for settle in (permit.unused, permit.failed, permit.connect_failed, lambda: permit.answered(200, {})):
        settle()
    assert scope.snapshot().in_flight == 2


async def test_waiters_are_served_in_order_and_interactive_ones_first() -> None:
    _, scope = warm(msgspec.structs.replace(SLOW, max=5))
    held = take(scope)
    order: list[str] = []

    async def wait(name: str, lane: Lane) -> None:
        await scope.acquire(lane)
        order.append(name)

    names = [("b1", Lane.BULK), ("b2", Lane.BULK), ("i1", Lane.INTERACTIVE), ("i2", Lane.INTERACTIVE)]
    tasks = []
    for name, lane in names:
        tasks.append(asyncio.create_task(wait(name, lane)))
        await asyncio.sleep(0)
    for permit in held:
        permit.unused()
        await asyncio.sleep(0)
    await asyncio.wait_for(asyncio.gather(*tasks), 30.0)
    assert order == ["i1", "i2", "b1", "b2"]


@pytest.mark.untraced
async def test_an_interactive_call_passes_ten_thousand_bulk_calls() -> None:
    policy = GovernorPolicy(max=50, interval=3600.0, pace=None, reserve=0)
    governor, scope = warm(policy)
    held = take(scope)
    bulk = [asyncio.create_task(scope.acquire(Lane.BULK)) for _ in range(10_000)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert governor.waiting == 10_000
    call = asyncio.create_task(scope.acquire(Lane.INTERACTIVE))
    await asyncio.sleep(0)
    held[0].unused()
    await asyncio.wait_for(call, 30.0)
    assert governor.waiting == 10_000
    governor.close()
    assert all(isinstance(one, ClientClosed) for one in await asyncio.gather(*bulk, return_exceptions=True))


def test_bulk_is_never_starved_for_more_than_an_interval() -> None:
    async def play(loop: VirtualLoop) -> None:
        policy = GovernorPolicy(max=2, interval=10.0, pace=None, reserve=1)
        _, scope = warm(policy, clock=loop.time, wall=loop.wall)
        bulk = asyncio.create_task(scope.acquire(Lane.BULK))
        began = loop.time()
        while not bulk.done():
            permit = await scope.acquire(Lane.INTERACTIVE)
            permit.answered(200, {})
        assert loop.time() - began <= 20

    run(play)


async def test_a_wait_beyond_the_deadline_fails_at_once_with_what_it_needs() -> None:
    _, scope = warm(GovernorPolicy(max=1, interval=3600.0))
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(DeadlineExceeded) as caught:
        await scope.acquire(Lane.INTERACTIVE, 60.0)
    assert loop.time() - began < 30
    assert 3500 < (caught.value.needed or 0) <= 3600


def test_a_wait_that_turned_out_too_long_ends_in_time() -> None:
    async def play(loop: VirtualLoop) -> None:
        _, scope = warm(FAST, clock=loop.time, wall=loop.wall)
        take(scope)
        waiting = asyncio.create_task(scope.acquire(Lane.INTERACTIVE, 0.15))
        blocker = asyncio.create_task(scope.acquire(Lane.INTERACTIVE))
        with pytest.raises(DeadlineExceeded):
            await asyncio.wait_for(asyncio.gather(waiting, scope.acquire(Lane.INTERACTIVE, 0.15)), 1.0)
        blocker.cancel()
        await asyncio.wait([blocker])

    run(play)


async def test_a_cancelled_waiter_leaves_no_trace() -> None:
    _, scope = warm()
    held = take(scope)
    tasks = [asyncio.create_task(scope.acquire(Lane.BULK)) for _ in range(20)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert scope.snapshot().waiting_bulk == 0
    # admitted and cancelled in the same turn of the loop
    late = asyncio.create_task(scope.acquire(Lane.INTERACTIVE))
    await asyncio.sleep(0)
    held[0].unused()
    late.cancel()
    await asyncio.gather(late, return_exceptions=True)
    assert scope.snapshot().in_flight == len(held) - 1


def test_a_timer_wakes_the_next_waiter() -> None:
    async def play(loop: VirtualLoop) -> None:
        _, scope = warm(FAST, clock=loop.time, wall=loop.wall)
        for permit in take(scope):
            permit.answered(200, {})
        began = loop.time()
        await asyncio.wait_for(scope.acquire(Lane.INTERACTIVE), 1.0)
        assert loop.time() - began == pytest.approx(0.1, abs=0.01)

    run(play)


async def test_a_429_pauses_the_scope_and_is_announced() -> None:
    recorder = Recorder()
    _, scope = warm(telemetry=Telemetry([recorder]))
    permit = scope.try_acquire(Lane.INTERACTIVE)
    assert permit is not None
    permit.answered(429, {wire.RETRY_AFTER: "600"})
    assert scope.try_acquire(Lane.INTERACTIVE) is None
    with pytest.raises(DeadlineExceeded):
        await scope.acquire(Lane.INTERACTIVE, 60.0)
    assert [type(event).__name__ for event in recorder.events] == ["Throttled"]


async def test_a_learned_budget_is_announced() -> None:
    recorder = Recorder()
    _, scope = warm(telemetry=Telemetry([recorder]))
    permit = scope.try_acquire(Lane.INTERACTIVE)
    assert permit is not None
    permit.answered(200, {wire.RATE_LIMIT: "25", wire.RATE_INTERVAL_MS: "10000", wire.RATE_REMAINING: "24"})
    assert [type(event).__name__ for event in recorder.events] == ["RateLimitLearned"]
    assert scope.snapshot().max == 25


class Wall:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


DAY = {wire.DAILY_LIMIT: "200000", wire.DAILY_REMAINING: "0"}


async def test_a_spent_day_fails_at_once_until_the_next_one() -> None:
    wall = Wall()
    _, scope = warm(wall=wall)
    held = take(scope)
    waiting = asyncio.create_task(scope.acquire(Lane.INTERACTIVE))
    await asyncio.sleep(0)
    held[0].answered(200, DAY)
    with pytest.raises(QuotaExhausted):
        await waiting
    with pytest.raises(QuotaExhausted, match="is exhausted") as caught:
        await scope.acquire(Lane.INTERACTIVE)
    assert 0 < (caught.value.resets_in or 0) <= 86_400
    wall.now += 86_400
    held[1].unused()
    assert await scope.acquire(Lane.INTERACTIVE, 60.0)


async def test_the_server_may_say_when_the_day_ends() -> None:
    wall = Wall()
    _, scope = warm(wall=wall)
    permit = scope.try_acquire(Lane.INTERACTIVE)
    assert permit is not None
    permit.answered(200, {**DAY, wire.DAILY_RESET_MS: "60000"})
    with pytest.raises(QuotaExhausted) as caught:
        await scope.acquire(Lane.INTERACTIVE)
    assert caught.value.resets_in == pytest.approx(60, abs=1)


async def test_bulk_leaves_the_end_of_the_day_to_interactive_calls() -> None:
    wall = Wall()
    _, scope = warm(wall=wall)
    permit = scope.try_acquire(Lane.INTERACTIVE)
    assert permit is not None
    permit.answered(200, {wire.DAILY_LIMIT: "1000", wire.DAILY_REMAINING: "40"})
    with pytest.raises(QuotaExhausted, match="down to 40"):
        await scope.acquire(Lane.BULK)
    assert scope.try_acquire(Lane.BULK) is None
    assert scope.try_acquire(Lane.INTERACTIVE) is not None
    wall.now += 86_400
    assert await scope.acquire(Lane.BULK, 60.0)


async def test_the_clock_on_the_wall_may_jump() -> None:
    wall = Wall()
    _, scope = warm(wall=wall)
    for jump in (86_400, -2 * 86_400):
        wall.now += jump
        permit = await scope.acquire(Lane.INTERACTIVE, 60.0)
        permit.answered(200, {})


async def test_bulk_is_bounded_in_flight_over_all_scopes_and_places_go_round() -> None:
    governor = Governor(GovernorPolicy(max=1000, interval=3600.0, pace=None, reserve=0), max_in_flight=4)
    scopes = [governor.scope(("me", f"loc{n}")) for n in range(3)]
    for scope in scopes:
        permit = scope.try_acquire(Lane.INTERACTIVE)
        assert permit is not None
        permit.answered(200, {})
    held = take(scopes[0], Lane.BULK)
    assert len(held) == 4
    assert scopes[1].try_acquire(Lane.INTERACTIVE) is not None
    tasks = [asyncio.create_task(scope.acquire(Lane.BULK)) for scope in scopes[1:]]
    await asyncio.sleep(0)
    assert not any(task.done() for task in tasks)
    for permit in held[:2]:
        permit.answered(200, {}, 0.01)
    await asyncio.wait_for(asyncio.gather(*tasks), 30.0)
    held[2].failed()
    held[3].connect_failed()
    assert "Governor of 3 scopes" in repr(governor)


async def test_a_closed_governor_admits_nobody() -> None:
    governor, scope = warm()
    take(scope)
    waiting = asyncio.create_task(scope.acquire(Lane.INTERACTIVE))
    await asyncio.sleep(0)
    governor.close()
    with pytest.raises(ClientClosed):
        await waiting
    with pytest.raises(ClientClosed):
        await scope.acquire(Lane.INTERACTIVE)
    assert scope.try_acquire(Lane.INTERACTIVE) is None


@pytest.mark.untraced
def test_ten_thousand_idle_scopes_are_cheap() -> None:
    import tracemalloc

    governor = Governor()
    tracemalloc.start()
    for n in range(10_000):
        governor.scope(("me", f"loc{n}"))
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size / 10_000 < 2_048
    assert governor.scope(("me", "loc5")) is governor.scope(("me", "loc5"))
