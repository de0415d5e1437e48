"""Internal. The rate budget of one scope as *slots*.

Pure and synchronous; the clock is passed in.

Everything that changes the state of slots lives in this file.

Theory
------
A scope (one app or token, one location) owns ``M`` slots. A request takes one when it is sent, at ``s``; the
server receives it at ``a``; its answer is complete at ``e``, so ``s <= a <= e``. The slot may be used again at
``e + I``. The next request in that slot is therefore received at ``a' >= s' >= e + I >= a + I``: two uses of one slot
reach the server at least ``I`` apart, whatever the network does in between. Hence no window of length ``I``, of any
phase, ever receives more than one request per slot, that is ``M`` in all. This covers fixed windows, sliding
logs, and token buckets of capacity ``M`` refilled at ``M / I`` (any time ``t`` sees at most ``M * ceil(t / I)``).

Logs of *send* times have no such property: with jitter, a late old request and an early new one meet in one
window of the server.

Two cases need care. An abandoned attempt (timeout, cancellation) may still be on its way, so its slot returns after
``I + linger``. A *sliding counter*, the approximation that weights the count of the previous window, may refuse a
burst that no window of length ``I`` contains. Bulk work is therefore also *paced*: two bulk requests are at least
``pace * I / M`` apart. Slots alone never draw a refusal from the other kinds of server. A refusal is thus evidence of
a sliding counter or of another client: it slows the pace to 1.02, each further one by 0.01. A hundred quiet intervals
undo one step.

Utilisation is ``I / (I + R)`` for a round trip ``R``: 99 % at 100 ms and ten seconds.

Headers only lower the number of slots believed to be left, or replace ``M`` and ``I``. If the server counted more
requests than all of ours it may have seen, another client spends from the same budget. The difference is withheld for
one interval. A 429 was not executed; it empties the scope for ``Retry-After``, or for one interval.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Mapping
from typing import Final

from multidict import istr

from hl_async import wire
from hl_async.governor import pacing
from hl_async.governor.headers import LARGEST_MAX, parse_count, parse_limits
from hl_async.governor.policy import GovernorPolicy

# A multidict folds the case of every plain ``str`` key at each look-up. ``istr`` keys are folded once.
_RATE_LIMIT: Final = istr(wire.RATE_LIMIT)
_RATE_INTERVAL_MS: Final = istr(wire.RATE_INTERVAL_MS)
_RATE_REMAINING: Final = istr(wire.RATE_REMAINING)


class Budget:
    """Slots of one scope. ``now`` is always a monotonic clock in seconds."""

    __slots__ = (
        "_blocked_until",
        "_brake",
        "_cooling",
        "_external_use",
        "_interval_text",
        "_last_bulk",
        "_last_interactive",
        "_late",
        "_max_text",
        "_next_bulk",
        "_policy",
        "_slowdown",
        "_slowed_at",
        "expired",
        "held",
        "interval",
        "max",
        "warm",
    )  # fmt: skip

    def __init__(self, policy: GovernorPolicy) -> None:
        self._policy = policy
        self.max: int = max(1, math.floor(policy.max * policy.share))
        self.interval: float = policy.interval
        self.held: int = 0
        self.warm: bool = False
        self.expired: int = 1
        """Slots that have returned so far, plus one: it serves as ticket, and ticket 0 means that no slot is free.

        The difference of two values is the number of slots that returned in between.
        """
        # Times at which used slots return. Answered ones return in order, abandoned ones need a heap.
        self._cooling: deque[float] = deque()
        self._late: list[float] = []
        self._blocked_until = -math.inf
        self._next_bulk = -math.inf
        self._last_bulk = -math.inf
        self._last_interactive = -math.inf
        self._external_use: pacing.ExternalUse = []
        self._brake = pacing.Brake()
        self._slowdown = 0
        self._slowed_at = -math.inf
        self._max_text: str | None = None
        self._interval_text: str | None = None

    # ------------------------------------------------------------------------------------------ taking

    def try_take_interactive(self, now: float) -> int:
        """Take a slot for an interactive call; return its ticket, or 0 if none is free."""
        self._last_interactive = now
        if now < self._blocked_until:
            return 0
        if self._cooling or self._late:
            self._advance(now)
        # Before the first answer the real limit is unknown, and a burst of the default size may exceed it.
        if not self.warm and self.held >= self._policy.cold_interactive:
            return 0
        free = self.max - self.held - len(self._cooling) - len(self._late)
        if self._external_use:
            free -= self.external_use(now)
        if free <= 0:
            return 0
        self.held += 1
        return self.expired

    def try_take_bulk(self, now: float, since: float) -> int:
        """Take a slot for bulk at its pace. Return its ticket, or 0 if bulk has to wait.

        The reserve for interactive calls stays free, unless bulk has waited a whole interval.

        Args:
            now: The current time.
            since: Arrival of the oldest bulk waiter, on the same clock.
        """
        if now < self._blocked_until or now < self._next_bulk:
            return 0
        if self._brake.holds(now):
            return 0
        self._advance(now)
        # Bulk sends one request to learn the limits before it relies on the default ones.
        if not self.warm and self.held > 0:
            return 0
        external_use, withheld = self._withheld(now)
        free = self.max - self.held - len(self._cooling) - len(self._late) - external_use
        # A kept slot is lent to bulk that got none for an interval, or endless interactive calls would starve it.
        if free - withheld <= self._kept_back(now) and not (free > 0 and self.is_bulk_overdue(now, since)):
            return 0
        if self._slowdown:
            self._slowdown, self._slowed_at = pacing.relaxed(
                now, self._slowdown, self._slowed_at, self.interval
            )
        self.held += 1
        self._last_bulk = now
        self._next_bulk = pacing.next_start(self._next_bulk, now, self._gap(external_use + withheld))
        self._brake.probed(now)
        return self.expired

    def is_bulk_overdue(self, now: float, since: float) -> bool:
        """Return whether bulk goes first, as it got no slot for a whole interval."""
        return now - max(self._last_bulk, since) >= self.interval

    def earliest(self, now: float, ahead: int, *, bulk: bool) -> float:
        """Return the earliest admission time of a lane's ``ahead``-th waiter (from 0).

        The waiter is admitted earlier only if one before it gives up, or a held slot returns unused.
        """
        self._advance(now)
        when = max(now, self._blocked_until)
        need = ahead - (self.max - self.held - len(self._cooling) - len(self._late))
        if need >= 0:
            # The waiters in front may use every slot more than once before it is this one's turn.
            cycles, place = divmod(need, self.max)
            returning = sorted((*self._cooling, *self._late)) if self._late else self._cooling
            # A slot whose request is still under way returns one interval after its answer, at the earliest.
            back = returning[place] if place < len(returning) else now + self.interval
            when = max(when, back) + cycles * self.interval
        if bulk:
            when = max(when, self._next_bulk + ahead * self._gap(0))
            if self.braked:
                when = max(when, self._brake.next_probe)
        return when

    def next_change(self, now: float, *, bulk: bool) -> float:
        """Return when a retry may succeed before another answer arrives, or infinity."""
        self._advance(now)
        floor = self._blocked_until
        returning = [slots[0] for slots in (self._cooling, self._late) if slots]
        if bulk:
            floor = max(floor, self._next_bulk, self._brake.next_probe if self.braked else floor)
        if floor > now:
            # Nothing returns before the pause is over, so a free slot waits for its end only.
            if self.max > self.held + len(self._cooling) + len(self._late):
                return floor
            return max(floor, min(returning, default=math.inf))
        if self._external_use:
            returning.append(self._external_use[0][0] + self.interval)
        if bulk:
            # Two moments let bulk go without the return of a slot: the reserve ends, and bulk becomes overdue.
            returning += (self._last_interactive + 2 * self.interval, self._last_bulk + self.interval)
        return min((moment for moment in returning if moment > now), default=math.inf)

    # ---------------------------------------------------------------------------------------- settling

    def answered(self, now: float, status: int, headers: Mapping[str, str], ticket: int = 0) -> None:
        """Record a complete answer. The slot returns after one interval.

        The ``ticket`` shows which slots returned during the round trip. Without it, one of them may be taken for a
        request of another client.
        """
        self.held -= 1
        # A gateway's error page carries no limits, so after it the server's limits are still unknown.
        self.warm = self.warm or status < 300 or _RATE_LIMIT in headers
        # The interval starts with the end of the answer: the server received the request before it, never after.
        self._cooling.append(now + self.interval)
        if status >= 500:
            self._brake.failed(now)
        elif self._brake.failures:
            self._brake.failures = 0  # any answer below 500 shows a working server
        text = headers.get(_RATE_LIMIT)
        if text is not None:
            if text != self._max_text or headers.get(_RATE_INTERVAL_MS) != self._interval_text:
                self._learn(text, headers.get(_RATE_INTERVAL_MS))
            self._note_remaining(now, headers.get(_RATE_REMAINING), ticket)

    def abandoned(self, now: float, ticket: int = 0) -> None:
        """Record an attempt without an answer. Its request may still reach the server."""
        self.held -= 1
        # The request may still be on its way, so the slot stays taken for the linger as well.
        heapq.heappush(self._late, now + self.interval + self._policy.linger)
        self._brake.failed(now)

    def returned(self, ticket: int = 0) -> None:
        """Take back a slot whose request was never sent."""
        self.held -= 1

    def refused_connection(self, now: float, ticket: int = 0) -> None:
        """Take back a slot after a failed connection."""
        # A request without a connection was not counted by the server.
        self.held -= 1
        self._brake.failed(now)

    def pause(self, now: float, seconds: float | None) -> float:
        """Record a 429: stop for ``seconds``, or for one interval. Return that time."""
        self._slowdown, self._slowed_at = pacing.slowed(now, self._slowdown, self._slowed_at, self.interval)
        # No public capture of a 429 shows a Retry-After (docs/api-facts.md#api-rate-window). One interval is enough
        # without it: no window of the server is longer.
        length = self.interval if seconds is None else seconds
        self._blocked_until = max(self._blocked_until, now + length)
        return length

    # ---------------------------------------------------------------------------------------- looking

    def external_use(self, now: float) -> int:
        """Return the most slots other clients were seen to use, over the last interval."""
        return pacing.largest_external_use(self._external_use, now, self.interval)

    def free(self, now: float) -> int:
        """Return the slots that could be taken now, before deducting other clients' use."""
        self._advance(now)
        return max(0, self.max - self.held - len(self._cooling) - len(self._late))

    def spacing(self, now: float) -> float:
        """Return the seconds between two bulk requests, or 0 if bulk may burst."""
        return self._gap(sum(self._withheld(now)))

    @property
    def cooling(self) -> int:
        """Slots that were used and have not returned yet."""
        return len(self._cooling) + len(self._late)

    @property
    def braked(self) -> bool:
        """Whether bulk sends probes only, because the server failed repeatedly."""
        return self._brake.is_on

    # --------------------------------------------------------------------------------------- internals

    def _advance(self, now: float) -> None:
        cooling = self._cooling
        while cooling and cooling[0] <= now:
            cooling.popleft()
            self.expired += 1
        late = self._late
        while late and late[0] <= now:
            heapq.heappop(late)
            self.expired += 1

    def _kept_back(self, now: float) -> int:
        return self._policy.reserve if now - self._last_interactive < 2 * self.interval else 0

    def _withheld(self, now: float) -> tuple[int, int]:
        """Return the use by other clients, and the margin that bulk leaves beyond it."""
        external_use = self.external_use(now) if self._external_use else 0
        return external_use, pacing.margin(external_use, self._policy.external_margin)

    def _gap(self, withheld: int) -> float:
        return pacing.gap(self._policy.pace, self.interval, self.max - withheld, self._slowdown)

    def _learn(self, max_text: str, interval_text: str | None) -> None:
        """Adopt Max and Interval of the headers. Invalid values are ignored."""
        # Kept even if it is not valid, so that the same header is not parsed again with each answer.
        self._max_text = max_text
        self._interval_text = interval_text
        limit, interval = parse_limits(max_text, interval_text)
        if limit:
            self.max = max(1, math.floor(limit * self._policy.share))
        if interval:
            difference = interval - self.interval
            if difference:
                self.interval = interval
                # Slots in use were timed with the old interval; with a longer one they must return later.
                self._cooling = deque(moment + difference for moment in self._cooling)
                self._late = [moment + difference for moment in self._late]

    def _note_remaining(self, now: float, text: str | None, ticket: int) -> None:
        remaining = parse_count(text, LARGEST_MAX)
        if remaining is None:
            return
        # The server may have counted our slots in use, and those that returned while this request was on its way.
        # Everything it counted beyond these, and beyond our share of the budget, belongs to other clients.
        came_back = self.expired - ticket if ticket else 0
        theirs = self.max - remaining - self.held - len(self._cooling) - len(self._late) - came_back
        if theirs > 0:
            pacing.note_external_use(self._external_use, now, theirs)
