"""An event loop in virtual time, and traffic on it: whole governors and limiters against exact servers.

Nothing is simulated but the clock: timers, futures, tasks and their order are asyncio's own. Ten minutes of traffic
take a fraction of a second, and a seed always gives the same run.
"""

from __future__ import annotations

import asyncio
import heapq
import random
import selectors
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from hl_async import wire
from hl_async.config import Lane
from hl_async.governor import Governor, GovernorPolicy, Permit
from hl_async.sandbox.rate_limits import Window

T = TypeVar("T")


_TURN = 1e-6
"""Seconds that one turn of the loop takes at least: without it, a timer that is due "in no time" never gets there."""


class _Skipping(selectors.SelectSelector):
    """Does not wait for the next timer but moves the clock there."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("every task waits, and no timer will ever ring: a deadlock")
        self.now += max(_TURN, timeout)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock, ``loop.time``, jumps to the next timer when nothing is ready."""

    def __init__(self) -> None:
        self._virtual = _Skipping()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now

    def wall(self) -> float:
        """The time of day that goes with it."""
        return 1_800_000_000 + self._virtual.now

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        """At once, in this thread: a thread lives in real time, and the clock would run away from it."""
        future = self.create_future()
        future.set_result(func(*args))
        return future


def run(work: Callable[[VirtualLoop], Coroutine[Any, Any, T]]) -> T:
    """Run ``work(loop)`` to its end in virtual time; what it leaves running is cancelled."""
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(work(loop))
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left))
        loop.close()


class Server:
    """A rate-limited server behind a jittering network: ``rtt`` on average, each way off by up to ``jitter`` of it."""

    def __init__(
        self,
        window: Window,
        *,
        limit: int = 100,
        interval: float = 10.0,
        rtt: float = 0.1,
        jitter: float = 0.3,
        seed: int = 11,
        count_from: float = 0.0,
        late: float = 0.0,
    ) -> None:
        self.window, self.limit, self.interval = window, limit, interval
        self.rtt, self.jitter, self.dice = rtt, jitter, random.Random(seed)
        self.count_from = count_from
        self.late = late
        self.admitted = self.early = self.refused = self.others = self.others_refused = 0

    def leg(self) -> float:
        """Seconds of one way; the part ``late`` of all takes half a second more, on average."""
        way = self.rtt / 2 * (1 + self.jitter * (2 * self.dice.random() - 1))
        if self.late and self.dice.random() < self.late:
            way += self.dice.expovariate(2.0)
        return way

    async def request(self) -> tuple[int, dict[str, str]]:
        """One request there and back."""
        await asyncio.sleep(self.leg())
        now = asyncio.get_running_loop().time()
        fits = self.window.admit(now)
        self.admitted += fits
        self.refused += not fits
        self.early += fits and now < self.count_from
        headers = {
            wire.RATE_LIMIT: str(self.limit),
            wire.RATE_INTERVAL_MS: str(round(self.interval * 1000)),
            wire.RATE_REMAINING: str(self.window.remaining(now)),
        }
        await asyncio.sleep(self.leg())
        return (200 if fits else 429), headers

    async def stranger(self, rate: float) -> None:
        """Somebody else's calls, Poisson, ``rate`` per second, until cancelled; counts into :attr:`others`."""
        while True:
            await asyncio.sleep(self.dice.expovariate(rate))
            fits = self.window.admit(asyncio.get_running_loop().time())
            self.others += 1
            self.others_refused += not fits

    @property
    def refusals(self) -> float:
        """Of our requests, per 1,000."""
        return 1000 * self.refused / max(1, self.admitted + self.refused)

    def used(self, seconds: float) -> float:
        """Part of the budget that our admitted requests used in the ``seconds`` since ``count_from``, per cent."""
        return 100 * (self.admitted - self.early) / (self.limit * seconds / self.interval)


async def govern(
    loop: VirtualLoop,
    server: Server,
    policy: GovernorPolicy,
    seconds: float,
    *,
    workers: int = 120,
    interactive: float = 0.0,
    external_use: float = 0.0,
    bursts: bool = False,
) -> list[float]:
    """Endless bulk through a whole governor until ``seconds``; returns the waits of interactive calls, sorted.

    ``bursts``: not endless, but for random spans between random breaks.
    """
    governor = Governor(policy, clock=loop.time, wall=loop.wall)
    scope = governor.scope(("token", "location"))
    waits: list[float] = []

    async def send(permit: Permit) -> None:
        began = loop.time()
        status, headers = await server.request()
        permit.answered(status, headers, loop.time() - began)

    gate = asyncio.Event()
    gate.set()

    async def work() -> None:
        while True:
            await gate.wait()
            await send(scope.try_acquire(Lane.BULK) or await scope.acquire(Lane.BULK))

    async def call() -> None:
        began = loop.time()
        permit = scope.try_acquire(Lane.INTERACTIVE) or await scope.acquire(Lane.INTERACTIVE)
        waits.append(loop.time() - began)
        await send(permit)

    async def people() -> None:
        calls: set[asyncio.Task[None]] = set()
        while True:
            await asyncio.sleep(server.dice.expovariate(interactive))
            task = asyncio.create_task(call())
            calls.add(task)
            task.add_done_callback(calls.discard)

    tasks = [asyncio.create_task(work()) for _ in range(workers)]
    if bursts:
        tasks.append(asyncio.create_task(open_and_close(gate, server.dice)))
    if interactive:
        tasks.append(asyncio.create_task(people()))
    if external_use:
        tasks.append(asyncio.create_task(server.stranger(external_use)))
    await asyncio.sleep(seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return sorted(waits)


async def open_and_close(gate: asyncio.Event, dice: random.Random) -> None:
    """Six seconds of work and six of rest on average, until cancelled."""
    while True:
        await asyncio.sleep(dice.expovariate(1 / 6))
        gate.clear()
        await asyncio.sleep(dice.expovariate(1 / 6))
        gate.set()


async def limited(
    server: Server,
    acquire: Callable[[], Awaitable[object]],
    seconds: float,
    *,
    workers: int = 120,
    bursts: bool = False,
) -> None:
    """Endless work behind somebody else's limiter until ``seconds``, or in ``bursts``."""
    gate = asyncio.Event()
    gate.set()

    async def work() -> None:
        while True:
            await gate.wait()
            await acquire()
            await server.request()

    tasks = [asyncio.create_task(work()) for _ in range(workers)]
    if bursts:
        tasks.append(asyncio.create_task(open_and_close(gate, server.dice)))
    await asyncio.sleep(seconds)
    ended = [task for task in tasks if task.done()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for task in ended:
        task.result()  # a limiter that raised is not measured as an idle one


def busiest(moments: list[float], interval: float) -> int:
    """The most of ``moments`` that any half-open window of ``interval`` holds, of any phase."""
    window: list[float] = []
    most = 0
    for moment in sorted(moments):
        while window and window[0] <= moment - interval:
            heapq.heappop(window)
        heapq.heappush(window, moment)
        most = max(most, len(window))
    return most
