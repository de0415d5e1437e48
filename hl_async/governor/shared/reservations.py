"""Internal. Slots of one scope that a process reserves ahead from a shared store.

Pure, the clock is passed in. Each reservation is good for one request between its start and its end. This module
decides how many to ask for, and which lane uses them: an interactive call takes a bulk reservation rather than
wait. The store decides who gets them (:mod:`~hl_async.governor.shared.allocator`).

While the store is down, bulk waits. Interactive calls use an eighth of the slots, which are reported afterwards.
"""

from __future__ import annotations

import heapq
import math
from bisect import insort
from collections import deque
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from hl_async import wire
from hl_async.governor.budget import Budget
from hl_async.governor.headers import LARGEST_MAX, parse_count, parse_limits
from hl_async.governor.pacing import Brake
from hl_async.governor.policy import GovernorPolicy
from hl_async.governor.shared.messages import ExchangeReply, ExchangeRequest, Observation, Terms
from hl_async.governor.shared.pending import PendingReports

PART_WITHOUT_STORE: Final = 8
"""Divisor of the slots that interactive calls may use while the store is down."""

# Parts of the interval after which an exchange is due, although no slot is needed:
_FLUSH: Final = 0.1  # reports that other processes need
_FLUSH_ALONE: Final = 0.4  # reports that no other process needs
_IDLE: Final = 0.05  # bulk reservations without a waiter, to give them back
_REFRESH: Final = 0.4  # unused reservations, to notice that the store lost them
_VOID: Final = -1


class _Reserved(NamedTuple):
    start: float
    end: float
    lease: int


class ReservedBudget:
    """Slots of one scope from a store: :class:`~hl_async.governor.slots.Slots`."""

    __slots__ = (
        "_blocked_until", "_brake", "_bulk", "_bulk_at", "_calls", "_cap", "_cooling", "_exchanged_at",
        "_external_use", "_full", "_gap", "_generation", "_held", "_holder", "_interactive_at",
        "_interval_text", "_late", "_lease", "_limits_revision", "_max_text", "_pending", "_policy",
        "_refusal", "_reply", "_reported_revision", "_reported_warm", "_retry_bulk", "_retry_calls",
        "_seen", "_serial", "_substitute", "_takes", "_ticket", "interval", "warm",
    )  # fmt: skip

    def __init__(self, policy: GovernorPolicy, *, holder: str, lease: float) -> None:
        self._policy = policy
        self._holder = holder
        self._lease = lease
        self._full = policy.max
        self.interval: float = policy.interval
        self.warm: bool = False
        # reservations to be used, sorted by start
        self._calls: list[_Reserved] = []
        self._bulk: list[_Reserved] = []
        self._held: dict[int, tuple[int, float]] = {}
        """Ticket → lease and time of use. Lease 0 was taken without the store, -1 is one that the store lost."""
        self._ticket = 0
        # reports for the next exchange
        self._pending = PendingReports()
        self._seen: tuple[int, float, float] | None = None
        self._refusal: float | None = None
        self._limits_revision = self._reported_revision = 0
        self._reported_warm = False
        # the last exchange
        self._serial = 0
        self._exchanged_at = -math.inf
        self._reply: ExchangeReply | None = None
        self._generation: float | None = None
        self._retry_calls = self._retry_bulk = -math.inf
        self._blocked_until = -math.inf
        self._external_use: tuple[float, int] = (-math.inf, 0)
        self._gap = 0.0
        # recent use by this process
        self._cooling: deque[float] = deque()
        self._late: list[float] = []
        self._takes: deque[float] = deque()
        self._cap = 1_000_000
        """Most bulk reservations to hold. It halves when one ends unused, and grows again with each reply."""
        self._bulk_at = -math.inf
        self._interactive_at = -math.inf
        self._brake = Brake()
        self._substitute: Budget | None = None
        self._max_text: str | None = None
        self._interval_text: str | None = None

    # ------------------------------------------------------------------------------------------- taking

    def try_take_interactive(self, now: float) -> int:
        """Use a reservation of either lane. Return its ticket, or 0."""
        self._interactive_at = now
        if now < self._blocked_until:
            return 0
        for queue in (self._calls, self._bulk):
            if queue and queue[0].start <= now:
                self._expire(now)
                if queue and queue[0].start <= now:
                    return self._take(queue, now)
        if self._substitute is not None and self._substitute.try_take_interactive(now):
            return self._hold(0, now)
        return 0

    def try_take_bulk(self, now: float, since: float) -> int:
        """Use a bulk reservation; return its ticket, or 0 if none may start now."""
        self._bulk_at = max(self._bulk_at, now)
        queue = self._bulk
        if not queue or queue[0].start > now or now < self._blocked_until:
            return 0
        if self._brake.holds(now):
            return 0
        self._expire(now)
        if not queue or queue[0].start > now:
            return 0
        self._brake.probed(now)
        self._takes.append(now)
        return self._take(queue, now)

    def _take(self, queue: list[_Reserved], now: float) -> int:
        return self._hold(queue.pop(0).lease, now)

    def _hold(self, lease: int, now: float) -> int:
        self._ticket += 1
        self._held[self._ticket] = (lease, now)
        return self._ticket

    def is_bulk_overdue(self, now: float, since: float) -> bool:
        """Return whether the next slot is bulk's, as it got none for a whole interval."""
        return self._bulk_waited(now, since) >= self.interval

    def _bulk_waited(self, now: float, since: float) -> float:
        return now - max(self._takes[-1] if self._takes else -math.inf, since)

    def earliest(self, now: float, ahead: int, *, bulk: bool) -> float:
        """Return the earliest known admission time of the ``ahead``-th waiter."""
        queue = self._bulk if bulk else self._calls
        when = max(now, self._blocked_until)
        if ahead < len(queue):
            return max(when, queue[ahead].start)
        return when + (ahead - len(queue)) // self._full * self.interval

    def next_change(self, now: float, *, bulk: bool) -> float:
        """Return when a retry may succeed without a new exchange, or infinity."""
        floor = max(self._blocked_until, self._brake.next_probe if bulk and self.braked else -math.inf)
        starts = [one.start for one in self._bulk[:1]]
        if not bulk:
            starts += [one.start for one in self._calls[:1]]
        when = max(floor, min(starts, default=math.inf))
        if when <= now:
            when = math.inf if floor <= now else floor
        if self._substitute is not None and not bulk:
            when = min(when, self._substitute.next_change(now, bulk=False))
        return when

    # ----------------------------------------------------------------------------------------- settling

    def answered(self, now: float, status: int, headers: Mapping[str, str], ticket: int) -> None:
        """Record a complete answer. The slot returns after one interval."""
        lease, taken = self._held.pop(ticket)
        # A gateway's error page carries no limits, so after it the server's limits are still unknown.
        self.warm = self.warm or status < 300 or wire.RATE_LIMIT in headers
        if status >= 500:
            self._brake.failed(now)
        elif self._brake.failures:
            self._brake.failures = 0
        text = headers.get(wire.RATE_LIMIT)
        if text is not None:
            interval_text = headers.get(wire.RATE_INTERVAL_MS)
            if text != self._max_text or interval_text != self._interval_text:
                self._learn(text, interval_text)
            remaining = parse_count(headers.get(wire.RATE_REMAINING), LARGEST_MAX)
            # The lowest value reveals most of what other clients use.
            if remaining is not None and (self._seen is None or remaining <= self._seen[0]):
                self._seen = (remaining, now, now - taken)
        self._cooling.append(now + self.interval)
        if lease > 0:
            self._pending.ended(lease, now, 0.0)
            return
        self._pending.unreserved_uses(now + self.interval)
        if self._substitute is not None and not lease:
            # Without headers: they describe all slots, and the substitute has a part of them.
            self._substitute.answered(now, status, {})

    def abandoned(self, now: float, ticket: int) -> None:
        """Record an attempt without an answer. The request may still be on its way."""
        lease, _ = self._held.pop(ticket)
        self._brake.failed(now)
        linger = self._policy.linger
        heapq.heappush(self._late, now + self.interval + linger)
        if lease > 0:
            self._pending.ended(lease, now, linger)
            return
        self._pending.unreserved_uses(now + self.interval + linger)
        if self._substitute is not None and not lease:
            self._substitute.abandoned(now)

    def returned(self, ticket: int) -> None:
        """Take back a slot whose request was never sent."""
        lease, _ = self._held.pop(ticket)
        if lease > 0:
            self._pending.unused(lease)
        elif self._substitute is not None and not lease:
            self._substitute.returned()

    def refused_connection(self, now: float, ticket: int) -> None:
        """Take back a slot after a failed connection."""
        self.returned(ticket)
        self._brake.failed(now)

    def pause(self, now: float, seconds: float | None) -> float:
        """Record a 429: stop for ``seconds``, or for one interval. Return that time."""
        length = self.interval if seconds is None else seconds
        self._refusal = self._blocked_until = max(self._blocked_until, now + length)
        return length

    # ------------------------------------------------------------------------------------------ looking

    @property
    def max(self) -> int:
        """Slots that this process may use."""
        return max(1, math.floor(self._full * self._policy.share))

    @property
    def held(self) -> int:
        """Requests on their way."""
        return len(self._held)

    @property
    def cooling(self) -> int:
        """Slots that this process used and that have not returned yet."""
        return len(self._cooling) + len(self._late)

    @property
    def braked(self) -> bool:
        """Whether bulk sends probes only, because the server failed repeatedly."""
        return self._brake.is_on

    @property
    def is_store_down(self) -> bool:
        """Whether the last exchange with the store failed."""
        return self._substitute is not None

    def external_use(self, now: float) -> int:
        """Return the requests of other clients in the last interval."""
        until, count = self._external_use
        return count if now < until else 0

    def free(self, now: float) -> int:
        """Return slots reserved here plus slots the store last reported as free."""
        self._advance(now)
        unknown = self._full if self._reply is None else self._reply.free
        return min(self.max, unknown + len(self._calls) + len(self._bulk))

    def spacing(self, now: float) -> float:
        """Return the seconds between two bulk requests, over all processes."""
        return self._gap

    # -------------------------------------------------------------------------------- towards the store

    def next_exchange_at(self, now: float, calls: int, bulk: int) -> float:
        """Return when an exchange is due for these numbers of waiters, or infinity."""
        if bulk:
            self._bulk_at = now
        if (
            self._refusal is not None
            or self._limits_revision != self._reported_revision
            or self.warm != self._reported_warm
        ):
            return now
        lookahead = self._lookahead()
        if len(self._bulk) > lookahead:
            return now
        when = math.inf
        if calls > len(self._calls):
            when = self._retry_calls
        if bulk and len(self._bulk) <= min(lookahead - 1, max(1, lookahead // 8)) and self._wanted(bulk) > 0:
            when = min(when, self._retry_bulk)
        if self._pending:
            hurry = self._pending.is_urgent or self._reply is None or self._reply.others
            when = min(when, self._pending.since(now) + (_FLUSH if hurry else _FLUSH_ALONE) * self.interval)
        if self._bulk:
            when = min(when, self._bulk[0].end if bulk else self._bulk_at + _IDLE * self.interval)
        if self._calls:
            when = min(when, self._calls[0].end)
        if self._bulk or self._calls:
            # A recreated store gives the same slots to others one interval after its creation.
            when = min(when, self._exchanged_at + _REFRESH * self.interval)
        if self._held:
            # An exchange renews the lease of a request that takes long.
            first = next(iter(self._held.values()))[1]
            when = min(when, max(first, self._exchanged_at) + self._lease / 2)
        return max(when, now)

    def request(self, now: float, calls: int, bulk: int, since: float) -> ExchangeRequest:
        """Return the next request. ``since`` is the arrival of the oldest bulk waiter."""
        self._expire(now)
        self._advance(now)
        self._give_up(now, calls, bulk)
        self._serial += 1
        seen = self._seen
        return ExchangeRequest(
            holder=self._holder,
            serial=self._serial,
            terms=Terms.of(
                self._policy,
                limit=self._full,
                interval=self.interval,
                learned=self._limits_revision != self._reported_revision,
                lease=self._lease,
            ),
            interactive=max(0, calls - len(self._calls)),
            bulk=max(0, self._wanted(bulk)) if bulk else 0,
            bulk_waited=max(0.0, self._bulk_waited(now, since)) if bulk else 0.0,
            ahead=len(self._bulk),
            in_use=tuple(lease for lease, _ in self._held.values() if lease > 0),
            unused=tuple(one.lease for queue in (self._calls, self._bulk) for one in queue),
            releases=self._pending.releases(now, self.interval),
            unreserved_uses=self._pending.cooling(now),
            seen=None if seen is None else Observation(seen[0], now - seen[1], seen[2]),
            pause=0.0 if self._refusal is None else max(0.0, self._refusal - now),
            refused=self._refusal is not None,
            since_interactive=None if self._interactive_at == -math.inf else now - self._interactive_at,
            warm=self.warm,
            limits_revision=self._limits_revision,
            generation=self._generation,
        )

    def apply_reply(self, sent: float, now: float, request: ExchangeRequest, reply: ExchangeReply) -> None:
        """Apply the store's reply to the request made at ``sent``."""
        self._exchanged_at = sent
        self._reply = reply
        self._substitute = None
        if self._seen is not None and self._seen[1] <= sent:
            self._seen = None
        if self._refusal is not None and self._refusal - sent <= request.pause:
            self._refusal = None
        self._reported_revision, self._reported_warm = request.limits_revision, request.warm
        self._generation = reply.generation
        if reply.lost:
            self._start_over()
        else:
            self._pending.acknowledged()
        if self._limits_revision == request.limits_revision and not (reply.lost and self._limits_revision):
            self._full, self.interval = reply.max, reply.interval
        if reply.warm and not self.warm:
            self.warm = self._reported_warm = True
        if reply.blocked:
            self._blocked_until = max(self._blocked_until, now + reply.blocked)
        self._external_use = (now + self.interval, reply.external_use)
        self._gap = reply.gap
        self._retry_calls, self._retry_bulk = now + reply.retry_interactive, now + reply.retry_bulk
        self._cap = min(self._cap + max(1, self._cap // 4), 1_000_000)  # grows back slowly after a halving
        for lease, delay, bulk in reply.reservations:
            if self._limits_revision != request.limits_revision:  # reserved under limits that changed since
                self._pending.unused(lease)
                continue
            # The store chose the window between request and reply. Counting its start from the reply and its end
            # from the request keeps every use inside it, however long the exchange took.
            reserved = _Reserved(now + delay, sent + delay + reply.window, lease)
            insort(self._bulk if bulk else self._calls, reserved)

    def failed(self) -> None:
        """Continue without the store, on a part of the slots."""
        if self._substitute is None:
            part = max(1, self.max // PART_WITHOUT_STORE)
            self._substitute = Budget(
                msgspec.structs.replace(
                    self._policy, max=part, interval=self.interval, share=1.0, cold_interactive=part
                )
            )

    def _start_over(self) -> None:
        """Drop all reservations: the store lost them. Report the used slots again."""
        self._calls.clear()
        self._bulk.clear()
        for ticket, (lease, taken) in self._held.items():
            if lease:
                self._held[ticket] = (_VOID, taken)
        self._pending.retell([*self._cooling, *self._late])
        self._reported_revision = -1 if self._limits_revision else 0

    def closing_request(self, now: float) -> ExchangeRequest | None:
        """Return the last exchange, which gives back every reservation; None if needless."""
        self._drop(self._calls, 0)
        self._drop(self._bulk, 0)
        if self._reply is None and not self._pending:
            return None
        return msgspec.structs.replace(self.request(now, 0, 0, now), leaving=True)

    # ---------------------------------------------------------------------------------------- internals

    def _lookahead(self) -> int:
        return 1 if self._reply is None else max(1, min(self._reply.lookahead, self._cap))

    def _wanted(self, bulk: int) -> int:
        """Return how many bulk reservations to add, by waiters and by recent uses."""
        if self.braked:
            return 1 - len(self._bulk)
        return min(self._lookahead(), bulk + len(self._takes)) - len(self._bulk)

    def _advance(self, now: float) -> None:
        cooling, late, takes = self._cooling, self._late, self._takes
        while cooling and cooling[0] <= now:
            cooling.popleft()
        while late and late[0] <= now:
            heapq.heappop(late)
        while len(takes) > 1 and takes[0] <= now - self.interval / 2:
            takes.popleft()

    def _expire(self, now: float) -> None:
        """Give back reservations whose end has passed."""
        for queue in (self._calls, self._bulk):
            while queue and queue[0].end < now:
                self._pending.unused(queue.pop(0).lease)
                if queue is self._bulk:
                    self._cap = max(1, min(self._cap, self._lookahead()) // 2)

    def _give_up(self, now: float, calls: int, bulk: int) -> None:
        """Give back reservations beyond the present need."""
        if not bulk and now >= self._bulk_at + _IDLE * self.interval:
            self._drop(self._bulk, 0)
        self._drop(self._bulk, self._lookahead())
        self._drop(self._calls, calls + 1)  # one spare: the next interactive call starts without an exchange

    def _drop(self, queue: list[_Reserved], keep: int) -> None:
        self._pending.unused(*(one.lease for one in queue[keep:]))
        del queue[keep:]

    def _learn(self, max_text: str, interval_text: str | None) -> None:
        """Adopt valid Max and Interval headers for the next exchange."""
        self._max_text, self._interval_text = max_text, interval_text
        found, seconds = parse_limits(max_text, interval_text)
        limit, interval = found or self._full, seconds or self.interval
        if limit == self._full and interval == self.interval:
            return
        if interval > self.interval:  # reservations made with the shorter interval may start too early
            self._drop(self._calls, 0)
            self._drop(self._bulk, 0)
        self._full, self.interval = limit, interval
        self._limits_revision += 1
