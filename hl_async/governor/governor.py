"""Scopes, lanes and waiting: the thin asynchronous shell around the slots.

A call takes the synchronous path when a slot is free and nobody waits before it. Otherwise it queues in its
lane, first come first served; interactive calls are admitted before bulk, except that bulk which got nothing for
a whole interval takes the next slot. One timer per waiting scope, no task per waiter.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from hl_async import telemetry as events
from hl_async import wire
from hl_async.config import Lane
from hl_async.errors import ClientClosed, DeadlineExceeded, QuotaExhausted
from hl_async.governor.budget import Budget
from hl_async.governor.concurrency import ConcurrencyLimit
from hl_async.governor.headers import parse_count, parse_retry_after
from hl_async.governor.policy import GovernorPolicy
from hl_async.telemetry import Telemetry

_TOO_MANY: Final = 429
_TIMER_SLACK: Final = 0.0005


class ScopeSnapshot(msgspec.Struct, frozen=True):
    """What a scope looks like at one moment; ``free`` and ``cooling`` count slots, times in seconds."""

    max: int
    interval: float
    free: int
    cooling: int
    in_flight: int
    waiting_interactive: int
    waiting_bulk: int
    foreign: int
    daily_remaining: int | None
    braked: bool


class Permit:
    """The right to send one request. Settle it exactly once; a second settlement does nothing."""

    __slots__ = ("_bulk", "_open", "_scope")

    def __init__(self, scope: Scope, bulk: bool) -> None:
        self._scope = scope
        self._bulk = bulk
        self._open = True

    def answered(self, status: int, headers: Mapping[str, str], elapsed: float = 0.0) -> None:
        """An answer of any status is complete; ``elapsed`` is its round trip in seconds."""
        if self._open:
            self._open = False
            self._scope._answered(status, headers, elapsed, self._bulk)

    def failed(self) -> None:
        """No answer, but bytes may have left: the slot returns after the interval and the linger time."""
        if self._open:
            self._open = False
            self._scope._abandoned(self._bulk)

    def unused(self) -> None:
        """Nothing was sent: the slot is back at once."""
        if self._open:
            self._open = False
            self._scope._returned(self._bulk)

    def connect_failed(self) -> None:
        """Nothing was sent because the server could not be reached: the slot is back, the brake takes note."""
        if self._open:
            self._open = False
            self._scope._unreachable(self._bulk)

    def resent(self, requests: int) -> None:
        """``requests`` more than one went out under this permit: each is charged a slot."""
        if requests > 0:
            self._scope._charge(requests)


class _Waiter:
    __slots__ = ("future", "since", "timer")

    def __init__(self, future: asyncio.Future[Permit], since: float) -> None:
        self.future = future
        self.since = since
        self.timer: asyncio.TimerHandle | None = None


class Scope:
    """One rate budget: of one app or token, for one location. Get it from :meth:`Governor.scope`."""

    __slots__ = (
        "_budget",
        "_bulk",
        "_daily_until",
        "_governor",
        "_interactive",
        "_low_until",
        "_timer",
        "_timer_at",
        "key",
    )

    def __init__(self, governor: Governor, key: tuple[str, str]) -> None:
        self._governor = governor
        self.key = key
        self._budget = Budget(governor.policy)
        self._interactive: deque[_Waiter] = deque()
        self._bulk: deque[_Waiter] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self._daily_until = 0.0
        self._low_until = math.inf

    # ------------------------------------------------------------------------------------------ taking

    def try_acquire(self, lane: Lane) -> Permit | None:
        """A permit when a slot is free and nobody waits before this call, else None. Never suspends."""
        governor = self._governor
        if governor.closed or self._daily_until:
            return None
        if lane is Lane.INTERACTIVE:
            if (
                not self._interactive
                and not self._bulk
                and self._budget.try_take_interactive(governor.clock())
            ):
                return Permit(self, False)
            return None
        if self._bulk or self._interactive:
            return None
        return self._try_bulk(governor.clock(), math.inf)

    async def acquire(self, lane: Lane, timeout: float | None = None) -> Permit:
        """Wait for a permit, at most ``timeout`` seconds.

        Raises :class:`DeadlineExceeded` at once when the wait is known to be longer, with the seconds it would
        take as ``needed``; :class:`QuotaExhausted` when the day's budget is spent; :class:`ClientClosed`. A
        cancelled wait leaves no trace.
        """
        self._check(lane)
        now = self._governor.clock()
        bulk = lane is Lane.BULK
        queue = self._bulk if bulk else self._interactive
        if timeout is not None:
            needed = self._budget.earliest(now, len(queue), bulk=bulk) - now
            if needed > timeout:
                raise DeadlineExceeded(
                    f"the rate budget has no room within {timeout:.1f} s; it would take {needed:.1f} s",
                    needed=needed,
                )
        waiter = _Waiter(asyncio.get_running_loop().create_future(), now)
        if timeout is not None:
            waiter.timer = asyncio.get_running_loop().call_later(timeout, self._expire, waiter, timeout, bulk)
        queue.append(waiter)
        self._pump()
        try:
            return await waiter.future
        except asyncio.CancelledError:
            if waiter.future.done() and not waiter.future.cancelled() and waiter.future.exception() is None:
                waiter.future.result().unused()  # admitted in the same turn in which it was cancelled
            raise
        finally:
            if waiter.timer is not None:
                waiter.timer.cancel()
            if not waiter.future.done() or waiter.future.cancelled():
                self._forget(waiter, queue)

    def snapshot(self) -> ScopeSnapshot:
        """The scope as it is now."""
        now = self._governor.clock()
        budget = self._budget
        return ScopeSnapshot(
            max=budget.max,
            interval=budget.interval,
            free=budget.free(now),
            cooling=budget.cooling,
            in_flight=budget.held,
            waiting_interactive=len(self._interactive),
            waiting_bulk=len(self._bulk),
            foreign=budget.foreign(now),
            daily_remaining=budget.daily_remaining,
            braked=budget.braked,
        )

    # --------------------------------------------------------------------------------------- settling

    def _answered(self, status: int, headers: Mapping[str, str], elapsed: float, bulk: bool) -> None:
        governor = self._governor
        budget = self._budget
        now = governor.clock()
        before = budget.max
        budget.answered(now, status, headers)
        if status == _TOO_MANY:
            asked = parse_retry_after(headers.get(wire.RETRY_AFTER), governor.wall())
            length = budget.pause(now, asked)
            if governor.telemetry.active:
                governor.telemetry.emit(events.Throttled(self.key[1], length))
        if budget.max != before and governor.telemetry.active:
            governor.telemetry.emit(events.RateLimitLearned(self.key[1], budget.max, budget.interval))
        if budget.daily_remaining == 0:
            self._close_the_day(headers)
        if bulk:
            governor._left(now, elapsed if status < 500 and status != _TOO_MANY else 0.0, status >= 500)
        if self._interactive or self._bulk:
            self._pump()

    def _abandoned(self, bulk: bool) -> None:
        now = self._governor.clock()
        self._budget.abandoned(now)
        if bulk:
            self._governor._left(now, 0.0, True)
        self._pump()

    def _returned(self, bulk: bool) -> None:
        self._budget.returned()
        if bulk:
            self._governor._left(self._governor.clock(), 0.0, False)
        self._pump()

    def _unreachable(self, bulk: bool) -> None:
        now = self._governor.clock()
        self._budget.refused_connection(now)
        if bulk:
            self._governor._left(now, 0.0, True)
        self._pump()

    def _charge(self, requests: int) -> None:
        self._budget.charge(self._governor.clock(), requests)

    # ---------------------------------------------------------------------------------------- waiting

    def _try_bulk(self, now: float, since: float) -> Permit | None:
        concurrency = self._governor.concurrency
        if not concurrency.try_enter():
            self._governor._wants_place(self)
            return None
        if self._daily_is_low() or not self._budget.try_take_bulk(now, min(since, now)):
            concurrency.leave()
            return None
        return Permit(self, True)

    def _pump(self) -> None:
        """Admit every waiter that may go now, in order, and set the timer for the next."""
        now = self._governor.clock()
        interactive, bulk = self._interactive, self._bulk
        budget = self._budget
        if self._daily_until or (bulk and self._daily_is_low()):
            self._fail_waiters_of_the_day()
        while interactive or bulk:
            if interactive and not (bulk and budget.is_bulk_overdue(now, bulk[0].since)):
                if not budget.try_take_interactive(now):
                    break
                self._admit(interactive, False)
                continue
            if not bulk:
                break
            permit = self._try_bulk(now, bulk[0].since)
            if permit is None:
                if interactive and budget.try_take_interactive(now):
                    self._admit(interactive, False)
                    continue
                break
            self._hand_over(bulk, permit)
        self._set_timer(now)

    def _admit(self, queue: deque[_Waiter], bulk: bool) -> None:
        self._hand_over(queue, Permit(self, bulk))

    @staticmethod
    def _hand_over(queue: deque[_Waiter], permit: Permit) -> None:
        waiter = queue.popleft()
        if waiter.future.done():  # cancelled or expired, not cleaned up yet
            permit.unused()
        else:
            waiter.future.set_result(permit)

    def _set_timer(self, now: float) -> None:
        if not self._interactive and not self._bulk:
            when = math.inf
        else:
            when = self._budget.next_change(now, bulk=not self._interactive)
            if self._interactive and self._bulk:
                when = min(when, self._budget.next_change(now, bulk=True))
        if when == self._timer_at:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timer_at = when
        if when < math.inf:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(0.0, when - now) + _TIMER_SLACK, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._timer_at = math.inf
        self._pump()

    def _expire(self, waiter: _Waiter, timeout: float, bulk: bool) -> None:
        if not waiter.future.done():
            queue = self._bulk if bulk else self._interactive
            needed = self._budget.earliest(self._governor.clock(), 0, bulk=bulk) - self._governor.clock()
            waiter.future.set_exception(
                DeadlineExceeded(
                    f"the rate budget had no room within {timeout:.1f} s", needed=timeout + max(0.0, needed)
                )
            )
            self._forget(waiter, queue)

    def _forget(self, waiter: _Waiter, queue: deque[_Waiter]) -> None:
        try:
            queue.remove(waiter)
        except ValueError:
            return
        if not self._interactive and not self._bulk:
            self._set_timer(self._governor.clock())

    def _fail_all(self, error: Callable[[], Exception]) -> None:
        for queue in (self._interactive, self._bulk):
            while queue:
                waiter = queue.popleft()
                if not waiter.future.done():
                    waiter.future.set_exception(error())
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._timer_at = math.inf

    # ----------------------------------------------------------------------------------------- the day

    def _check(self, lane: Lane) -> None:
        if self._governor.closed:
            raise ClientClosed("the client is closed; calls belong inside its 'async with' block")
        if self._daily_until and self._governor.wall() >= self._daily_until:
            self._open_the_day()
        if self._daily_until or (lane is Lane.BULK and self._daily_is_low()):
            raise self._quota_exhausted()

    def _daily_is_low(self) -> bool:
        budget = self._budget
        remaining, limit = budget.daily_remaining, budget.daily_limit
        if remaining is None or limit is None or remaining > limit * self._governor.policy.daily_reserve:
            return False
        if not self._daily_until and self._governor.wall() >= self._low_until:
            self._open_the_day()
            return False
        self._low_until = min(self._low_until, self._next_day())
        return True

    def _close_the_day(self, headers: Mapping[str, str]) -> None:
        wall = self._governor.wall()
        asked = parse_count(headers.get(wire.DAILY_RESET_MS), 86_400_000)
        self._daily_until = wall + asked / 1000 if asked else self._next_day()

    def _open_the_day(self) -> None:
        self._daily_until = 0.0
        self._budget.daily_remaining = None
        self._low_until = math.inf

    def _next_day(self) -> float:
        # when the API's day begins is not documented; the calendar day in UTC is the usual one
        today = datetime.fromtimestamp(self._governor.wall(), UTC)
        return (today.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)).timestamp()

    def _quota_exhausted(self) -> QuotaExhausted:
        until = self._daily_until or self._low_until
        left = max(0.0, until - self._governor.wall())
        remaining = self._budget.daily_remaining
        text = (
            "is spent"
            if not remaining
            else f"is down to {remaining} calls, which are kept for interactive use"
        )
        return QuotaExhausted(f"the budget of the day for {self.key[1]} {text}", resets_in=left)

    def _fail_waiters_of_the_day(self) -> None:
        queues = (self._interactive, self._bulk) if self._daily_until else (self._bulk,)
        for queue in queues:
            while queue:
                waiter = queue.popleft()
                if not waiter.future.done():
                    waiter.future.set_exception(self._quota_exhausted())

    def __repr__(self) -> str:
        budget = self._budget
        waiting = len(self._interactive) + len(self._bulk)
        return (
            f"<Scope {self.key[1]}: {budget.held} of {budget.max} per {budget.interval:g} s, {waiting} wait>"
        )


class Governor:
    """All scopes of one client, and the limit of bulk requests in flight that they share.

    ``clock`` is monotonic, ``wall`` the time of day; both in seconds.
    """

    def __init__(
        self,
        policy: GovernorPolicy | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        telemetry: Telemetry | None = None,
        max_in_flight: int = 100,
    ) -> None:
        self.policy = policy or GovernorPolicy()
        self.clock = clock
        self.wall = wall
        self.telemetry = telemetry or Telemetry()
        self.concurrency = ConcurrencyLimit(max_in_flight)
        self.closed = False
        self._scopes: dict[tuple[str, str], Scope] = {}
        self._want_place: dict[Scope, None] = {}

    def scope(self, key: tuple[str, str]) -> Scope:
        """The scope of (principal, location); the same object for the same key."""
        scope = self._scopes.get(key)
        if scope is None:
            scope = self._scopes[key] = Scope(self, key)
        return scope

    def close(self) -> None:
        """Admit nobody any more; everybody who waits gets :class:`ClientClosed`."""
        self.closed = True
        for scope in self._scopes.values():
            scope._fail_all(
                lambda: ClientClosed("the client was closed while the call waited; nothing was sent")
            )
        self._want_place.clear()

    @property
    def waiting(self) -> int:
        """Calls that wait in any lane of any scope."""
        return sum(len(scope._interactive) + len(scope._bulk) for scope in self._scopes.values())

    def _wants_place(self, scope: Scope) -> None:
        self._want_place[scope] = None

    def _left(self, now: float, elapsed: float, overloaded: bool) -> None:
        """A bulk request ended: learn from it, and let scopes that waited for a place try, in turn."""
        limit = self.concurrency
        if overloaded:
            changed = limit.overloaded(now)
        elif elapsed:
            changed = limit.succeeded(now, elapsed)
        else:
            limit.leave()
            changed = False
        if changed and self.telemetry.active:
            self.telemetry.emit(events.ConcurrencyChanged(limit.limit, limit.in_flight))
        for _ in range(len(self._want_place)):
            if limit.in_flight >= limit.limit:
                return
            scope = next(iter(self._want_place))
            del self._want_place[scope]
            if scope._bulk:
                scope._pump()

    def __repr__(self) -> str:
        return f"<Governor of {len(self._scopes)} scopes, {self.waiting} waiting, {self.concurrency!r}>"
