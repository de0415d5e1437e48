"""Several governors that share one budget, in virtual time: what several processes do, without their noise."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from benchmarks.virtual_loop import Server, VirtualLoop
from hl_async.config import Lane
from hl_async.errors import BudgetStoreError
from hl_async.governor import Governor, GovernorPolicy, Permit, Scope
from hl_async.governor.shared import BudgetStore, MemoryBudget, shared_scopes
from hl_async.governor.shared.messages import ExchangeReply, ExchangeRequest

LAG = 0.003
"""Seconds that one way to the store takes, on average."""


class Distant:
    """A store somewhere else: both ways take time, and sometimes it is ``away``."""

    def __init__(self, store: BudgetStore, *, lag: float = LAG, seed: int = 3) -> None:
        self.store = store
        self.lag = lag
        self.dice = random.Random(seed)
        self.away = False
        self.exchanges = 0

    async def exchange(self, scope: str, request: ExchangeRequest) -> ExchangeReply:
        await asyncio.sleep(2 * self.lag * self.dice.random())
        if self.away:
            raise BudgetStoreError("it is away")
        self.exchanges += 1
        grant = await self.store.exchange(scope, request)
        await asyncio.sleep(2 * self.lag * self.dice.random())
        return grant

    async def aclose(self) -> None:
        """Nothing to close."""


class Process:
    """One governor and its tasks, as a process of its own would be."""

    def __init__(self, loop: VirtualLoop, server: Server, store: BudgetStore, policy: GovernorPolicy) -> None:
        self.loop, self.server = loop, server
        self.governor = Governor(policy, clock=loop.time, wall=loop.wall, scopes=shared_scopes(store))
        self.scope: Scope = self.governor.scope(("token", "location"))
        self.waits: list[float] = []
        self.tasks: set[asyncio.Task[None]] = set()

    async def send(self, permit: Permit) -> None:
        """One request under ``permit``."""
        began = self.loop.time()
        status, headers = await self.server.request()
        permit.answered(status, headers, self.loop.time() - began)

    async def call(self) -> None:
        """One interactive call; how long it waited goes to :attr:`waits`."""
        began = self.loop.time()
        permit = self.scope.try_acquire(Lane.INTERACTIVE) or await self.scope.acquire(Lane.INTERACTIVE)
        self.waits.append(self.loop.time() - began)
        await self.send(permit)

    def start(self, *, workers: int = 0, calls: float = 0.0) -> Process:
        """Endless bulk by ``workers``, and ``calls`` interactive ones per second."""

        async def work() -> None:
            while True:
                await self.send(self.scope.try_acquire(Lane.BULK) or await self.scope.acquire(Lane.BULK))

        async def people() -> None:
            while True:
                await asyncio.sleep(self.server.dice.expovariate(calls))
                self.spawn(self.call)

        for _ in range(workers):
            self.spawn(work)
        if calls:
            self.spawn(people)
        return self

    def spawn(self, work: Callable[[], object]) -> None:
        """Run ``work`` as a task of this process."""
        task = self.loop.create_task(work())  # type: ignore[arg-type]
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def die(self) -> None:
        """End as SIGKILL would: nothing is told to anybody."""
        self.governor.closed = True  # its timers do nothing any more
        for task in self.tasks:
            task.cancel()

    async def end(self) -> None:
        """End in order."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.governor.aclose()


async def together(
    loop: VirtualLoop,
    server: Server,
    seconds: float,
    *,
    bulk: int = 4,
    interactive: int = 0,
    calls: float = 0.5,
    policy: GovernorPolicy | None = None,
) -> tuple[list[float], float]:
    """Endless ``bulk`` processes beside ``interactive`` ones; the sorted waits of calls, and exchanges per interval and process."""
    store = Distant(MemoryBudget(clock=loop.time))
    settings = policy or GovernorPolicy(max=server.limit, interval=server.interval)
    processes = [Process(loop, server, store, settings).start(workers=30) for _ in range(bulk)]
    processes += [Process(loop, server, store, settings).start(calls=calls) for _ in range(interactive)]
    await asyncio.sleep(seconds)
    exchanges = store.exchanges / (seconds / server.interval) / len(processes)
    for process in processes:
        await process.end()
    return sorted(wait for process in processes for wait in process.waits), exchanges
