"""Internal. Scopes that reserve their slots from a store.

This is the asynchronous shell around :mod:`~hl_async.governor.shared.reservations`. Each scope has at most one timer,
and at most one exchange under way, which carries all its reports. While the store is unreachable, one scope at a time
probes it on behalf of all.
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
"""Seconds that one exchange may take before interactive calls continue without the store."""

_AT_ONCE: Final = 16
"""Most exchanges of one client under way."""

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 2.0
"""Seconds between two probes of an unreachable store. The first pause doubles up to the longest."""

_TIMER_SLACK: Final = 0.0005  # seconds; event loops may wake a timer slightly early


class SharedScope(Scope):
    """A scope that starts an exchange when it has something to report or to ask for."""

    __slots__ = ("_ask_at", "_ask_timer", "_exchanges", "asking", "name", "slots")

    def __init__(self, governor: Governor, key: tuple[str, str], name: str, exchanges: SharedScopes) -> None:
        self.slots: ReservedBudget = ReservedBudget(
            governor.policy, holder=exchanges.holder, lease=exchanges.lease
        )
        super().__init__(governor, key, self.slots)
        self.name: str = name
        self.asking: bool = False
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
        """Return the next exchange: the scope's reports, and the slots it asks for."""
        bulk = self._bulk
        since = next(iter(bulk)).since if bulk else now
        return self.slots.request(now, len(self._interactive), len(bulk), since)

    def look(self) -> None:
        """Start an exchange if one is due, or set the timer for it."""
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
        """Cancel the timer of the next exchange."""
        self._ask_at = math.inf
        if self._ask_timer is not None:
            self._ask_timer.cancel()
            self._ask_timer = None

    def pump(self) -> None:
        """Admit the waiters that have a slot now."""
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
    """The exchanges of all scopes of one governor with one store.

    Args:
        governor: The governor of the scopes.
        store: The slots of all processes.
        lease: Seconds for which a request may be on its way after it is sent.
        patience: Seconds that one exchange may take before interactive calls continue without the store.
    """

    def __init__(
        self, governor: Governor, store: BudgetStore, *, lease: float, patience: float = PATIENCE
    ) -> None:
        self.holder: str = secrets.token_hex(6)
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
        """Return a new scope of (principal, location).

        Its name in the store is the same in every process and reveals nothing of the token.
        """
        principal, location = key
        # The name is stored in the database, so a token must not be part of it.
        who = hashlib.blake2b(principal.encode(), digest_size=8).hexdigest()
        scope = SharedScope(self._governor, key, f"{who}/{location}", self)
        self._scopes.append(scope)
        return scope

    def ask(self, scope: SharedScope) -> None:
        """Start an exchange now, or when the store is reachable again."""
        if self._away_since is not None:
            if self._prober is not None or self._timer is not None:
                self._wait(scope)
                return
            self._prober = scope  # no probe is under way, and the last pause is over
        scope.asking = True
        task = asyncio.get_running_loop().create_task(self._exchange(scope))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def aclose(self) -> None:
        """Return the unused reservations, and close the store."""
        try:
            # Exchanges under way come first: their replies may hold reservations to give back.
            if self._tasks:
                await asyncio.wait(self._tasks)
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if self._away_since is None:
                requests = [
                    (scope, scope.slots.closing_request(self._governor.clock())) for scope in self._scopes
                ]
                farewells = [
                    self._send_last(scope, request) for scope, request in requests if request is not None
                ]
                # Closing must not hang on a slow store. Leases that are not returned expire by themselves.
                try:
                    async with asyncio.timeout(2 * self._patience):
                        await asyncio.gather(*farewells)
                except TimeoutError:
                    pass
        finally:
            await self._store.aclose()

    async def _send_last(self, scope: SharedScope, request: ExchangeRequest) -> None:
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
                # The store failed while this scope waited for its turn, and one prober is enough.
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
            except Exception as error:  # noqa: BLE001 - a store of the user's own may raise anything
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
        """Let ``scope`` ask when the store is back. Until then, interactive calls go on."""
        self._waiting[scope] = None
        if not scope.slots.is_store_down:
            scope.slots.failed()
            # Not at once: this is called in the middle of an admission.
            asyncio.get_running_loop().call_soon(scope.pump)

    def _store_failed(self, problem: str) -> None:
        now = self._governor.clock()
        if self._away_since is None:
            self._away_since = now
            self._pause = _FIRST_PAUSE
            self._governor.telemetry.emit(events.BudgetStoreLost(problem))
        self._prober = None
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._pause, self._probe)
            # A store that is down for long is asked rarely, but one that restarts is found within two seconds.
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    def _probe(self) -> None:
        """Let one waiting scope probe the store."""
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
        self._governor.telemetry.emit(events.BudgetStoreBack(away))
        waiting, self._waiting = self._waiting, {}
        for scope in waiting:
            scope.look()


def shared_scopes(store: BudgetStore, *, attempt_timeout: float = 30.0) -> Callable[[Governor], SharedScopes]:
    """Return the ``scopes`` of a :class:`Governor` whose budgets ``store`` shares.

    Args:
        store: The slots of all processes; closed with the governor.
        attempt_timeout: The longest time one request may take, in seconds. With the policy's ``linger`` it bounds how
            long a process that died may still have a request on its way.
    """
    return lambda governor: SharedScopes(governor, store, lease=attempt_timeout + governor.policy.linger)
