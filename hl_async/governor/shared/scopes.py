"""Scopes whose slots are booked from a store: the thin asynchronous shell around
:mod:`~hl_async.governor.shared.reservations`.

Per scope at most one exchange is under way, which carries everything there is to tell and to ask; one timer, and none
while there is nothing. While the store can't be used, one scope at a time asks whether it is back, for all.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import secrets
from collections.abc import Callable, Mapping
from typing import Final

from hl_async import telemetry as events
from hl_async.config import Lane
from hl_async.errors import BudgetStoreError
from hl_async.governor.governor import Governor, Permit, Scope
from hl_async.governor.shared.messages import BudgetStore, ExchangeReply, ExchangeRequest
from hl_async.governor.shared.reservations import ReservedBudget

PATIENCE: Final = 1.0
"""Seconds that one exchange may take before interactive calls go on without it."""

_AT_ONCE: Final = 16
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 2.0
_TIMER_SLACK: Final = 0.0005


class SharedScope(Scope):
    """A scope that tells its exchanges when there may be something to tell or to ask."""

    __slots__ = ("_ask_at", "_ask_timer", "_exchanges", "asking", "name", "slots")

    def __init__(self, governor: Governor, key: tuple[str, str], name: str, exchanges: SharedScopes) -> None:
        self.slots = ReservedBudget(governor.policy, holder=exchanges.holder, lease=exchanges.lease)
        super().__init__(governor, key, self.slots)
        self.name = name
        self.asking = False
        self._exchanges = exchanges
        self._ask_timer: asyncio.TimerHandle | None = None
        self._ask_at = math.inf

    def try_acquire(self, lane: Lane) -> Permit | None:
        """See :meth:`Scope.try_acquire`."""
        permit = super().try_acquire(lane)
        if permit is not None:
            self.look()
        return permit

    def request(self, now: float) -> ExchangeRequest:
        """What this scope has to tell and to ask."""
        bulk = self._bulk
        since = next(iter(bulk)).since if bulk else now
        return self.slots.request(now, len(self._interactive), len(bulk), since)

    def look(self) -> None:
        """Ask the store when that is due, or set the timer for it."""
        if self.asking or self._governor.closed:
            return
        now = self._governor.clock()
        when = self.slots.next_exchange_at(now, len(self._interactive), len(self._bulk))
        if when <= now:
            self.forget_timer()
            self._exchanges.ask(self)
        elif when != self._ask_at:
            self.forget_timer()
            if when < math.inf:
                self._ask_at = when
                loop = asyncio.get_running_loop()
                self._ask_timer = loop.call_later(when - now + _TIMER_SLACK, self._rung)

    def forget_timer(self) -> None:
        """Ask nothing by itself."""
        self._ask_at = math.inf
        if self._ask_timer is not None:
            self._ask_timer.cancel()
            self._ask_timer = None

    def pump(self) -> None:
        """Admit whoever may go now."""
        self._admit_waiters()

    def _rung(self) -> None:
        self._ask_timer = None
        self._ask_at = math.inf
        self.look()

    def _answered(self, permit: Permit, status: int, headers: Mapping[str, str], elapsed: float) -> None:
        super()._answered(permit, status, headers, elapsed)
        self.look()

    def _admit_waiters(self) -> None:
        if not self._governor.closed:
            super()._admit_waiters()
            self.look()

    def _close(self) -> None:
        super()._close()
        self.forget_timer()


class SharedScopes:
    """The exchanges of all scopes of one governor with one store."""

    def __init__(
        self, governor: Governor, store: BudgetStore, *, lease: float, patience: float = PATIENCE
    ) -> None:
        self.holder = secrets.token_hex(6)
        self.lease = lease
        self._governor = governor
        self._store = store
        self._patience = patience
        self._scopes: list[SharedScope] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._at_once = asyncio.Semaphore(_AT_ONCE)
        self._away_since: float | None = None
        self._pause = _FIRST_PAUSE
        self._prober: SharedScope | None = None
        self._waiting: dict[SharedScope, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def scope(self, key: tuple[str, str]) -> SharedScope:
        """A new scope, under a name that tells nothing of the token and is the same in every process."""
        principal, location = key
        who = hashlib.blake2b(principal.encode(), digest_size=8).hexdigest()
        scope = SharedScope(self._governor, key, f"{who}/{location}", self)
        self._scopes.append(scope)
        return scope

    def ask(self, scope: SharedScope) -> None:
        """Exchange with the store, now, or when it is back."""
        if self._away_since is not None:
            if self._prober is not None or self._timer is not None:
                self._wait(scope)
                return
            self._prober = scope  # nobody asks, and the last pause is over
        scope.asking = True
        task = asyncio.get_running_loop().create_task(self._exchange(scope))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def aclose(self) -> None:
        """Give back what is at hand, and close the store."""
        try:
            if self._tasks:
                await asyncio.wait(self._tasks)
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if self._away_since is None:
                wishes = [
                    (scope, scope.slots.closing_request(self._governor.clock())) for scope in self._scopes
                ]
                acknowledged = [self._say(scope, request) for scope, request in wishes if request is not None]
                try:
                    async with asyncio.timeout(2 * self._patience):
                        await asyncio.gather(*acknowledged)
                except TimeoutError:
                    pass  # their leases end by themselves
        finally:
            await self._store.aclose()

    async def _say(self, scope: SharedScope, request: ExchangeRequest) -> None:
        async with self._at_once:
            try:
                await self._store.exchange(scope.name, request)
            except BudgetStoreError:
                return

    async def _exchange(self, scope: SharedScope) -> None:
        clock = self._governor.clock
        async with self._at_once:
            if self._governor.closed:
                return
            if self._away_since is not None and self._prober is not scope:
                scope.asking = False
                self._wait(scope)
                return
            sent = clock()
            request = scope.request(sent)
            problem = ""
            reply: ExchangeReply | None = None
            try:
                async with asyncio.timeout(self._patience):
                    reply = await self._store.exchange(scope.name, request)
            except TimeoutError:
                problem = f"no answer within {self._patience:g} s"
            except BudgetStoreError as error:
                problem = str(error)
            except Exception as error:  # noqa: BLE001 - a store of the user's own: whatever it raises, it can't be used
                problem = f"{type(error).__name__}: {error}"
            finally:
                scope.asking = False
        if reply is None:
            scope.slots.failed()
            self._store_failed(problem)
        else:
            scope.slots.apply_reply(sent, clock(), request, reply)
            self._store_recovered()
        scope.pump()

    def _wait(self, scope: SharedScope) -> None:
        """``scope`` asks when the store is back; until then its interactive calls go on without it."""
        self._waiting[scope] = None
        if not scope.slots.is_store_down:
            scope.slots.failed()
            asyncio.get_running_loop().call_soon(scope.pump)

    def _store_failed(self, problem: str) -> None:
        now = self._governor.clock()
        if self._away_since is None:
            self._away_since = now
            self._pause = _FIRST_PAUSE
            if self._governor.telemetry.active:
                self._governor.telemetry.emit(events.BudgetStoreLost(problem))
            else:  # bulk stands still: nobody should have to guess why
                events.logger.warning("the shared rate budget can't be used: %s", problem)
        self._prober = None
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._pause, self._probe)
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    def _probe(self) -> None:
        """One of those who wait asks whether the store is back."""
        self._timer = None
        while self._waiting and self._prober is None:
            scope = next(iter(self._waiting))
            del self._waiting[scope]
            scope.look()

    def _store_recovered(self) -> None:
        if self._away_since is None:
            return
        away = self._governor.clock() - self._away_since
        self._away_since = None
        self._prober = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._governor.telemetry.active:
            self._governor.telemetry.emit(events.BudgetStoreBack(away))
        waiting, self._waiting = self._waiting, {}
        for scope in waiting:
            scope.look()


def shared_scopes(store: BudgetStore, *, attempt_timeout: float = 30.0) -> Callable[[Governor], SharedScopes]:
    """Return the ``scopes`` argument of a :class:`Governor` whose budgets are shared through ``store``.

    Args:
        store: The slots of all processes; closed with the governor.
        attempt_timeout: The longest time one request may take, in seconds. With the policy's ``linger`` it bounds how
            long a process that died may still have a request on its way.
    """
    return lambda governor: SharedScopes(governor, store, lease=attempt_timeout + governor.policy.linger)
