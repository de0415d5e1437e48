"""A world in virtual time: a server that counts, a network that jitters, and the pure budget between them."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from typing import Any

from hl_async import wire
from hl_async.governor.budget import Budget
from hl_async.governor.concurrency import ConcurrencyLimit
from hl_async.governor.policy import GovernorPolicy
from hl_async.sandbox.rate_limits import Window


class World:
    """Endless bulk work, and interactive calls now and then, through one budget against one server.

    ``window`` is an exact reference server; ``rtt`` the mean round trip in seconds, ``jitter`` its relative spread.
    """

    def __init__(
        self,
        window: Window,
        policy: GovernorPolicy,
        *,
        rtt: float,
        jitter: float = 0.3,
        seed: int = 0,
        headers: bool = True,
        external_use: float = 0.0,
        interactive: float = 0.0,
        lost: float = 0.0,
        limit: int = 100,
        interval: float = 10.0,
    ) -> None:
        self.window = window
        self.budget = Budget(policy)
        self.dice = random.Random(seed)
        self.now = 1000.0
        self.rtt, self.jitter, self.headers, self.lost = rtt, jitter, headers, lost
        self.limit, self.interval = limit, interval
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.serial = 0
        self.admitted = self.refused = self.foreign_sent = self.foreign_refused = 0
        self.waits: list[float] = []
        self.waiting: list[float] = []
        self.bulk_since = self.now
        if external_use:
            self.after(self.dice.expovariate(external_use), lambda: self._external_use(external_use))
        if interactive:
            self.after(self.dice.expovariate(interactive), lambda: self._interactive(interactive))

    def after(self, delay: float, action: Callable[[], None]) -> None:
        self.serial += 1
        heapq.heappush(self.events, (self.now + delay, self.serial, action))

    def run(self, seconds: float) -> World:
        end = self.now + seconds
        while self.now < end:
            self._admit()
            wake = self.budget.next_change(self.now, bulk=True)
            if self.waiting:
                wake = min(wake, self.budget.next_change(self.now, bulk=False))
            upcoming = self.events[0][0] if self.events else end
            step = min(wake + 0.001, upcoming, end)
            self.now = max(step, self.now)
            while self.events and self.events[0][0] <= self.now:
                heapq.heappop(self.events)[2]()
        return self

    def _admit(self) -> None:
        while self.waiting and self.budget.try_take_interactive(self.now):
            self.waits.append(self.now - self.waiting.pop(0))
            self._send()
        while self.budget.try_take_bulk(self.now, self.bulk_since):
            self.bulk_since = self.now
            self._send()

    def _send(self) -> None:
        half = self.rtt / 2
        there = half * (1 + self.jitter * (2 * self.dice.random() - 1))
        back = half * (1 + self.jitter * (2 * self.dice.random() - 1))
        expired = self.budget.expired
        if self.lost and self.dice.random() < self.lost:
            # abandoned by us after a while; the server receives it all the same, late
            late = self.dice.random() * 3.0
            self.after(late, self._arrive_unseen)
            self.after(self.dice.random(), lambda: self.budget.abandoned(self.now))
            return
        self.after(there, lambda: self._arrive(back, expired))

    def _arrive(self, back: float, expired: int) -> None:
        fits = self.window.admit(self.now)
        self.admitted += fits
        self.refused += not fits
        headers: dict[str, str] = {}
        if self.headers:
            headers = {
                wire.RATE_LIMIT: str(self.limit),
                wire.RATE_INTERVAL_MS: str(int(self.interval * 1000)),
                wire.RATE_REMAINING: str(self.window.remaining(self.now)),
            }
        self.after(back, lambda: self._answer(200 if fits else 429, headers, expired))

    def _arrive_unseen(self) -> None:
        fits = self.window.admit(self.now)
        self.admitted += fits
        self.refused += not fits

    def _answer(self, status: int, headers: dict[str, Any], expired: int) -> None:
        self.budget.answered(self.now, status, headers, expired)
        if status == 429:
            self.budget.pause(self.now, None)

    def _external_use(self, rate: float) -> None:
        self.foreign_sent += 1
        self.foreign_refused += not self.window.admit(self.now)
        self.after(self.dice.expovariate(rate), lambda: self._external_use(rate))

    def _interactive(self, rate: float) -> None:
        self.waiting.append(self.now)
        self.after(self.dice.expovariate(rate), lambda: self._interactive(rate))

    def share(self, seconds: float) -> float:
        """Part of the budget that was used."""
        return self.admitted / (self.limit * seconds / self.interval)


def simulate(
    limit: ConcurrencyLimit,
    capacity: int,
    seconds: float,
    *,
    start: float = 0.0,
    base: Callable[[float], float] = lambda now: 0.1,
) -> list[tuple[float, int]]:
    """Endless bulk against a server that does ``capacity`` requests at once in ``base`` seconds and queues the rest."""
    dice = random.Random(1)
    now = start
    running: list[tuple[float, float]] = []
    history = []
    free_at = [start] * capacity
    end = start + seconds
    while now < end:
        while limit.try_enter():
            slot = heapq.heappop(free_at)
            begin = max(slot, now)
            finish = begin + base(now) * (0.9 + 0.2 * dice.random())
            heapq.heappush(free_at, finish)
            heapq.heappush(running, (finish, now))
        finish, sent = heapq.heappop(running)
        now = max(now, finish)
        limit.succeeded(now, finish - sent)
        history.append((now, limit.limit))
    for _ in running:
        limit.leave()
    return history
