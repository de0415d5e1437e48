"""Internal. Scopes, lanes and waiting: the asynchronous shell around the slots.

A call takes the synchronous path if a slot is free and no other call waits. Otherwise it queues in its lane, first
come, first served. Interactive calls go before bulk, with one exception: bulk that got no slot for a whole interval
takes the next one. Even if interactive calls use every slot, bulk gets one per interval, after at most two intervals
and a round trip. There is one timer per waiting scope and no task per waiter. Admission, expiry and cancellation of a
waiter are O(1).
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from multidict import istr

from hl_async import telemetry as events
from hl_async import wire
from hl_async.config import Lane
from hl_async.errors import ClientClosed, DeadlineExceeded, QuotaExhausted
from hl_async.governor.budget import Budget
from hl_async.governor.concurrency import ConcurrencyLimit
from hl_async.governor.daily_quota import DailyQuota
from hl_async.governor.headers import parse_retry_after
from hl_async.governor.policy import GovernorPolicy
from hl_async.governor.slots import Slots
from hl_async.governor.snapshot import ScopeSnapshot
from hl_async.governor.waiters import Waiter, WaitQueue, fail, first_of
from hl_async.telemetry import Telemetry

_TOO_MANY: Final = 429
_INTERACTIVE: Final = Lane.INTERACTIVE  # a look-up through the enumeration costs as much as three calls
_DAILY_REMAINING: Final = istr(wire.DAILY_REMAINING)
_TIMER_SLACK: Final = 0.0005  # event loops may wake a timer slightly early


class Permit:
    """The right to send one request. The first settlement counts, later ones do not."""

    __slots__ = ("_bulk", "_open", "_scope", "_ticket")

    def __init__(self, scope: Scope, bulk: bool, ticket: int) -> None:
        self._scope = scope
        self._bulk = bulk
        self._ticket = ticket
        self._open = True

    def answered(self, status: int, headers: Mapping[str, str], elapsed: float = 0.0) -> None:
        """Settle with a complete answer of any status, ``elapsed`` seconds after sending."""
        if self._open:
            self._open = False
            self._scope._answered(self, status, headers, elapsed)

    def failed(self) -> None:
        """Settle without an answer. The slot returns after the interval and the linger."""
        if self._open:
            self._open = False
            self._scope._abandoned(self)

    def unused(self) -> None:
        """Settle without a request. The slot returns at once."""
        if self._open:
            self._open = False
            self._scope._returned(self)

    def connect_failed(self) -> None:
        """Settle after a failed connection. The slot returns now; the brake counts it."""
        if self._open:
            self._open = False
            self._scope._unreachable(self)


class Scope:
    """The rate budget of one app or token for a location; see :meth:`Governor.scope`."""

    __slots__ = (
        "_budget",
        "_bulk",
        "_daily_quota",
        "_governor",
        "_interactive",
        "_timer",
        "_timer_at",
        "key",
    )

    def __init__(self, governor: Governor, key: tuple[str, str], slots: Slots | None = None) -> None:
        self._governor = governor
        self.key: tuple[str, str] = key
        self._budget: Slots = Budget(governor.policy) if slots is None else slots
        self._daily_quota = DailyQuota(governor.policy.daily_reserve)
        self._interactive: WaitQueue = OrderedDict()
        self._bulk: WaitQueue = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf

    def try_acquire(self, lane: Lane) -> Permit | None:
        """Return a permit if a slot is free and no other call waits, else None, at once."""
        governor = self._governor
        if governor.closed or self._daily_quota.spent:
            return None
        if lane is _INTERACTIVE:
            if not self._interactive and not self._bulk:  # a new call must not pass those that wait
                ticket = self._budget.try_take_interactive(governor.clock())
                if ticket:
                    return Permit(self, False, ticket)
            return None
        if self._bulk or self._interactive:  # bulk stays behind interactive calls
            return None
        return self._try_bulk(governor.clock(), math.inf)

    async def acquire(self, lane: Lane, timeout: float | None = None, owner: object = None) -> Permit:
        """Wait for a permit, ``timeout`` seconds at most. A cancelled wait has no effect.

        `Governor.release` ends the waits of an ``owner``.

        Raises:
            DeadlineExceeded: The wait takes longer, raised at once if that is known. ``needed`` is in seconds.
            QuotaExhausted: The daily quota is exhausted, or, for bulk, down to its reserve.
            ClientClosed: The client is closed, or closes during the wait.
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
        future: asyncio.Future[Permit] = asyncio.get_running_loop().create_future()
        waiter = Waiter(future, now, bulk, owner)
        queue[waiter] = None
        self._admit_waiters()
        if timeout is not None and not future.done():
            waiter.timer = asyncio.get_running_loop().call_later(timeout, self._expire, waiter, timeout)
        try:
            return await future
        except BaseException:
            # The loop turn that cancels the wait may also grant the permit. Its caller is gone, so it returns here.
            if future.done() and not future.cancelled() and future.exception() is None:
                future.result().unused()
            raise
        finally:
            if waiter.timer is not None:
                waiter.timer.cancel()
            self._forget(waiter)

    def snapshot(self) -> ScopeSnapshot:
        """Return the present state of the scope."""
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
            external_use=budget.external_use(now),
            daily_remaining=self._daily_quota.remaining,
            braked=budget.braked,
            pace=budget.spacing(now),
        )

    # --------------------------------------------------------------------------------------- settling

    def _answered(self, permit: Permit, status: int, headers: Mapping[str, str], elapsed: float) -> None:
        governor = self._governor
        budget = self._budget
        now = governor.clock()
        limit, interval = budget.max, budget.interval
        budget.answered(now, status, headers, permit._ticket)
        if status == _TOO_MANY:
            asked = parse_retry_after(headers.get(wire.RETRY_AFTER), governor.wall())
            length = budget.pause(now, asked)
            governor.telemetry.emit(events.Throttled(self.key[1], length))
        if budget.max != limit or budget.interval != interval:
            governor.telemetry.emit(events.RateLimitLearned(self.key[1], budget.max, budget.interval))
        text = headers.get(_DAILY_REMAINING)
        if text is not None and (text != self._daily_quota.text or self._daily_quota.spent):
            self._daily_quota.note(text, headers, now, governor.wall, budget.held + budget.cooling)
        if permit._bulk:
            governor._bulk_finished(
                now, elapsed if status < 500 and status != _TOO_MANY else 0.0, status >= 500
            )
        if self._interactive or self._bulk:
            self._admit_waiters()

    def _abandoned(self, permit: Permit) -> None:
        now = self._governor.clock()
        self._budget.abandoned(now, permit._ticket)
        if permit._bulk:
            self._governor._bulk_finished(now, 0.0, True)
        self._admit_waiters()

    def _returned(self, permit: Permit) -> None:
        self._budget.returned(permit._ticket)
        if permit._bulk:
            self._governor._bulk_finished(self._governor.clock(), 0.0, False)
        self._admit_waiters()

    def _unreachable(self, permit: Permit) -> None:
        now = self._governor.clock()
        self._budget.refused_connection(now, permit._ticket)
        if permit._bulk:
            self._governor._bulk_finished(now, 0.0, True)
        self._admit_waiters()

    # ---------------------------------------------------------------------------------------- waiting

    def _try_bulk(self, now: float, since: float) -> Permit | None:
        concurrency = self._governor.concurrency
        # Concurrency comes first: a slot that is taken and given back would have moved the pace.
        if not concurrency.try_enter():
            self._governor._await_concurrency(self)
            return None
        ticket = 0 if self._is_day_closed(True) else self._budget.try_take_bulk(now, min(since, now))
        if not ticket:
            concurrency.leave()
            return None
        return Permit(self, True, ticket)

    def _admit_waiters(self) -> None:
        """Admit all waiters that have a slot now, in order; set the timer for the next."""
        now = self._governor.clock()
        interactive, bulk = self._interactive, self._bulk
        budget = self._budget
        if interactive and self._is_day_closed(False):
            fail(interactive, self._quota_exhausted)
        if bulk and self._is_day_closed(True):
            fail(bulk, self._quota_exhausted)
        while True:
            first = first_of(interactive)
            bulk_first = first_of(bulk)
            if bulk_first and (first is None or budget.is_bulk_overdue(now, bulk_first.since)):
                permit = self._try_bulk(now, bulk_first.since)
                if permit is not None:
                    del bulk[bulk_first]
                    bulk_first.future.set_result(permit)
                    continue
            ticket = 0 if first is None else budget.try_take_interactive(now)
            if first is None or not ticket:
                break
            del interactive[first]
            first.future.set_result(Permit(self, False, ticket))
        self._set_timer(now)

    def _set_timer(self, now: float) -> None:
        if not self._interactive and not self._bulk:
            when = math.inf
        else:
            when = self._budget.next_change(now, bulk=not self._interactive)
            if self._interactive and self._bulk:
                when = min(when, self._budget.next_change(now, bulk=True))
        if when == self._timer_at:  # most calls leave it unchanged, and timers are not free
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timer_at = when
        if when < math.inf:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(0.0, when - now) + _TIMER_SLACK, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._timer_at = math.inf
        self._admit_waiters()

    def _expire(self, waiter: Waiter, timeout: float) -> None:
        if not waiter.future.done():
            now = self._governor.clock()
            needed = timeout + max(0.0, self._budget.earliest(now, 0, bulk=waiter.bulk) - now)
            waiter.future.set_exception(
                DeadlineExceeded(f"the rate budget had no room within {timeout:.1f} s", needed=needed)
            )
            self._forget(waiter)

    def _forget(self, waiter: Waiter) -> None:
        queue = self._bulk if waiter.bulk else self._interactive
        if waiter in queue:
            del queue[waiter]
            if not self._interactive and not self._bulk:
                self._set_timer(self._governor.clock())

    def _end_waits(self, owner: object = None) -> None:
        for queue in (self._interactive, self._bulk):
            fail(
                queue,
                lambda: ClientClosed("the client was closed while the call waited; nothing was sent"),
                owner,
            )

    def _close(self) -> None:
        self._end_waits()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._timer_at = math.inf

    def _check(self, lane: Lane) -> None:
        if self._governor.closed:
            raise ClientClosed("the client is closed; calls belong inside its 'async with' block")
        if self._is_day_closed(lane is Lane.BULK):
            raise self._quota_exhausted()

    def _is_day_closed(self, bulk: bool) -> bool:
        day = self._daily_quota
        if not day.spent and not (bulk and day.low):
            return False
        return day.is_closed(self._governor.clock(), self._governor.wall(), bulk=bulk)

    def _quota_exhausted(self) -> QuotaExhausted:
        day = self._daily_quota
        left = day.opens_in(self._governor.clock(), self._governor.wall())
        low = f"is down to {day.remaining} calls, which are kept for interactive use"
        text = "is exhausted" if day.spent else low
        return QuotaExhausted(f"the daily quota of {self.key[1]} {text}", resets_in=left)

    def __repr__(self) -> str:
        budget = self._budget
        waiting = len(self._interactive) + len(self._bulk)
        return (
            f"<Scope {self.key[1]}: {budget.held} of {budget.max} per {budget.interval:g} s, {waiting} wait>"
        )


class ScopeFactory(Protocol):
    """Creates scopes whose slots are shared with other processes."""

    def scope(self, key: tuple[str, str]) -> Scope:
        """Return a new scope of (principal, location)."""
        ...

    async def aclose(self) -> None:
        """Return the unused reservations and close the store."""
        ...


class Governor:
    """All scopes of one client, and their common limit of bulk requests in flight.

    Args:
        policy: How the rate budget of each scope is spent.
        clock: A monotonic clock in seconds.
        wall: The time of day in seconds since the epoch.
        telemetry: The observers of throttling and of learned limits.
        max_in_flight: The ceiling of concurrent bulk requests.
        scopes: Makes the factory of scopes that share a budget with other processes, such as
            ``hl_async.governor.shared.shared_scopes``. Without it, every scope has slots of its own.
    """

    def __init__(
        self,
        policy: GovernorPolicy | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        telemetry: Telemetry | None = None,
        max_in_flight: int = 100,
        scopes: Callable[[Governor], ScopeFactory] | None = None,
    ) -> None:
        self.policy: GovernorPolicy = policy or GovernorPolicy()
        self.clock = clock
        self.wall = wall
        self.telemetry: Telemetry = telemetry or Telemetry()
        self.concurrency: ConcurrencyLimit = ConcurrencyLimit(max_in_flight)
        self.closed: bool = False
        self._scopes: dict[tuple[str, str], Scope] = {}
        self._want_concurrency: OrderedDict[Scope, None] = OrderedDict()
        self._shared = None if scopes is None else scopes(self)

    def scope(self, key: tuple[str, str]) -> Scope:
        """Return the scope of (principal, location), the same object for the same key."""
        scope = self._scopes.get(key)
        if scope is None:
            shared = self._shared
            scope = self._scopes[key] = Scope(self, key) if shared is None else shared.scope(key)
        return scope

    def close(self) -> None:
        """Stop admitting calls. Waiting calls raise :class:`ClientClosed`."""
        self.closed = True
        for scope in self._scopes.values():
            scope._close()
        self._want_concurrency.clear()

    def release(self, owner: object) -> None:
        """End the waits of one client's calls with :class:`ClientClosed`.

        Calls of other clients wait on.
        """
        for scope in self._scopes.values():
            scope._end_waits(owner)

    async def aclose(self) -> None:
        """Close, return the reservations of a shared budget, and close its store."""
        self.close()
        if self._shared is not None:
            await self._shared.aclose()

    @property
    def waiting(self) -> int:
        """Calls that wait in any lane of any scope."""
        return sum(len(scope._interactive) + len(scope._bulk) for scope in self._scopes.values())

    def _await_concurrency(self, scope: Scope) -> None:
        self._want_concurrency[scope] = None

    def _bulk_finished(self, now: float, elapsed: float, overloaded: bool) -> None:
        """Learn from a bulk request; let scopes that wait for concurrency try in turn."""
        limit = self.concurrency
        if overloaded:
            changed = limit.overloaded(now)
        elif elapsed:
            changed = limit.succeeded(now, elapsed)
        else:
            limit.leave()
            changed = False
        if changed and self.telemetry.wants_calls():
            self.telemetry.emit(events.ConcurrencyChanged(limit.limit, limit.in_flight))
        for _ in range(len(self._want_concurrency)):  # each scope once: some queue up again
            if limit.in_flight >= limit.limit:
                return
            scope, _ = self._want_concurrency.popitem(last=False)
            if scope._bulk:
                scope._admit_waiters()

    def __repr__(self) -> str:
        return f"<Governor of {len(self._scopes)} scopes, {self.waiting} waiting, {self.concurrency!r}>"
