"""The rules of a shared budget: who gets which slot when. Pure, the store's clock passed in; every store runs these.

The slots are those of :mod:`~hl_async.governor.budget`, but each use is *booked*: it begins at a moment the book
names, and until its holder has told the end of it, the slot is taken for as long as the request could possibly be on
its way. So what holds for one process holds for all: two uses of one slot reach the server at least an interval apart.

- A booking begins at ``start`` by the book's clock. Its holder knows of it later, so it begins later, never earlier;
  how much time has passed since it asked bounds from below how long the booking is still good.
- The end of a use is told as the rest of its interval, counted from when that is received: later again.
- A holder that is never heard of again: its slots come back when nothing of its can be under way any more, that is
  after the window in which it may send, the lease, and the interval.
- A store that was made anew, after it was lost, knows nothing of an interval that others remember: it books no bulk
  until that is over, and whoever comes from its former life gives up what that had booked and tells what it used.
- Pace, reserve and the margin beside strangers are applied to bookings, so they hold over all processes.
"""

from __future__ import annotations

import math
from bisect import bisect_right, insort
from typing import Final

import msgspec

from hl_async.governor import pacing
from hl_async.governor.shared.messages import ExchangeReply, ExchangeRequest, Observation, Reservation, Terms

WINDOW: Final = 0.1
"""In which part of an interval after its start a booked slot has to be used."""

REACH_ALONE: Final = 0.5
REACH_TOGETHER: Final = 0.1
REACH_BESIDE_CALLS: Final = 0.05
"""For which part of an interval bulk books ahead: alone, all processes together, while there are interactive calls."""

_FREE: Final = -math.inf
_MOST_PER_EXCHANGE: Final = 4096


class Lease(msgspec.Struct, array_like=True):
    """A booked slot. ``before`` is when it was ready, ``until`` when it comes back if nobody speaks of it again."""

    holder: str
    id: int
    start: float
    before: float
    until: float
    bulk: bool
    used: bool = False


class Use(msgspec.Struct, array_like=True, order=True):
    """A slot that was used and comes back at ``ready``; ``before`` is when it came back from the use before.

    ``holder`` is known of those who have a share of the slots only.
    """

    ready: float
    start: float
    before: float
    holder: str = ""


class Holder(msgspec.Struct, array_like=True):
    """When a process was last heard of, and when it last wanted bulk."""

    seen: float
    bulk: float


class SlotAllocator(msgspec.Struct, array_like=True):
    """The slots of one scope. All moments are of the clock that :meth:`exchange` is given."""

    max: int
    interval: float
    learned: bool = False
    warm: bool = False
    uses: list[Use] = []
    leases: list[Lease] = []
    holders: dict[str, Holder] = {}
    external_use: list[tuple[float, int]] = []
    next_bulk: float = _FREE
    interactive_at: float = _FREE
    blocked_until: float = _FREE
    slowdown: int = 0
    slowed_at: float = _FREE
    quiet_until: float = _FREE
    generation: float = _FREE

    @classmethod
    def opened(cls, terms: Terms, born: float, now: float, *, lost: bool = False) -> SlotAllocator:
        """The book of a scope that the store, made at ``born``, has never seen.

        What was sent before the store was made is unknown: its slots come back one after the other, over one interval.
        ``lost``: there was a store before it, so bulk waits for all of them.
        """
        book = cls(terms.max, terms.interval, generation=born)
        step = terms.interval / terms.max
        moments = (
            (born + step * (place + 1) for place in range(terms.max)) if born + terms.interval > now else ()
        )
        book.uses = [Use(moment, _FREE, _FREE) for moment in moments if moment > now]
        if lost:
            book.quiet_until = born + terms.interval
        return book

    def exchange(self, now: float, request: ExchangeRequest) -> ExchangeReply:
        """Apply one process's wish: first what it tells, then what it wants."""
        self._learn(request.terms)
        self._settle(now, request)
        self._hear(now, request)
        self._forget(now)
        reservations: list[Reservation] = []
        retry = [0.0, 0.0]
        lookahead = self._lookahead(now, request)
        self._book(now, request, lookahead, reservations, retry)
        return ExchangeReply(
            max=self.max,
            interval=self.interval,
            window=WINDOW * self.interval,
            reservations=tuple(reservations),
            retry_interactive=retry[0],
            retry_bulk=retry[1],
            blocked=max(0.0, self.blocked_until - now),
            lookahead=lookahead,
            others=len(self.holders) - (request.holder in self.holders),
            external_use=self._external_use(now),
            free=max(0, self.max - self._out(now)),
            gap=self._gap(request.terms, sum(self._withheld(now, request.terms))),
            warm=self.warm,
            generation=self.generation,
            lost=request.generation is not None and request.generation != self.generation,
        )

    # ------------------------------------------------------------------------------------------ telling

    def _learn(self, terms: Terms) -> None:
        if self.learned and not terms.learned:
            return
        self.learned = terms.learned
        self.max = terms.max
        difference = terms.interval - self.interval
        if difference:
            self.interval = terms.interval
            self.quiet_until += difference
            for use in self.uses:
                use.ready += difference
            for lease in self.leases:
                lease.until += difference

    def _settle(self, now: float, request: ExchangeRequest) -> None:
        """Take back what came back, and what the holder doesn't know it has."""
        ends = dict(request.releases)
        in_use, unused = set(request.in_use), set(request.unused)
        kept = []
        rewound = False
        for lease in self.leases:
            cool: float | None = None
            if lease.holder == request.holder:
                if lease.id in in_use:
                    # a request may take longer than any lease, as long as its holder is heard of
                    lease.used = True
                    lease.until = max(lease.until, now + request.terms.lease + self.interval)
                    kept.append(lease)
                    continue
                if lease.id in ends:
                    cool = ends[lease.id]
                elif lease.id in unused or lease.id >> 12 > request.serial:
                    # a later exchange than this one, which was overtaken, booked it
                    kept.append(lease)
                    continue
            elif lease.until > now:
                kept.append(lease)
                continue
            else:
                cool = lease.until - now  # its holder is gone, and so is whatever it had sent
            if cool is not None:
                holder = request.holder if request.terms.share < 1 and lease.holder == request.holder else ""
                insort(self.uses, Use(now + cool, lease.start, lease.before, holder))
            else:
                rewound = rewound or lease.bulk
                if lease.before > _FREE:
                    insort(self.uses, Use(lease.before, _FREE, _FREE))
        self.leases = kept
        for cool in request.unreserved_uses:
            insort(self.uses, Use(now + cool, now, _FREE))
        if rewound:
            self._rewind(now, request.terms)

    def _rewind(self, now: float, terms: Terms) -> None:
        """Bulk that was booked ahead will not be sent: what comes next need not keep its distance from it."""
        last = max((lease.start for lease in self.leases if lease.bulk), default=_FREE)
        gap = self._gap(terms, sum(self._withheld(now, terms)))
        self.next_bulk = min(self.next_bulk, max(now, last + gap))

    def _hear(self, now: float, request: ExchangeRequest) -> None:
        self.warm = self.warm or request.warm
        if request.since_interactive is not None:
            self.interactive_at = max(self.interactive_at, now - request.since_interactive)
        if request.interactive:
            self.interactive_at = now
        if request.pause:
            self.blocked_until = max(self.blocked_until, now + request.pause)
        if request.refused:
            self.slowdown, self.slowed_at = pacing.slowed(now, self.slowdown, self.slowed_at, self.interval)
        if request.seen is not None:
            self._compare(now, request.seen)
        if request.leaving:
            self.holders.pop(request.holder, None)
        else:
            known = self.holders.get(request.holder)
            bulk = now if request.bulk or request.ahead else known.bulk if known else _FREE
            self.holders[request.holder] = Holder(now, bulk)

    def _compare(self, now: float, seen: Observation) -> None:
        """What the server counted beyond all of ours that it may have counted is somebody else's."""
        latest = now - seen.age
        earliest = latest - seen.trip - 0.02 * self.interval
        ours = sum(
            (use.start <= latest and use.ready > earliest) or use.before > earliest for use in self.uses
        ) + sum(lease.start <= latest or lease.before > earliest for lease in self.leases)
        pacing.note_external_use(self.external_use, latest, self.max - seen.remaining - ours)

    def _forget(self, now: float) -> None:
        # a slot that is back still tells for a while what the server may have counted when an answer left it
        del self.uses[: bisect_right(self.uses, now - self.interval / 2, key=_ready)]
        pacing.largest_external_use(self.external_use, now, self.interval)
        gone = [name for name, holder in self.holders.items() if holder.seen < now - 2 * self.interval]
        for name in gone:
            del self.holders[name]
        self.slowdown, self.slowed_at = pacing.relaxed(now, self.slowdown, self.slowed_at, self.interval)

    # ------------------------------------------------------------------------------------------ wanting

    def _book(
        self,
        now: float,
        request: ExchangeRequest,
        lookahead: int,
        reservations: list[Reservation],
        retry: list[float],
    ) -> None:
        blocked = self.blocked_until - now
        if blocked > 0:
            retry[:] = [blocked, blocked]
            return
        calls = min(request.interactive, _MOST_PER_EXCHANGE // 2)
        bulk = min(request.bulk, lookahead - request.ahead, _MOST_PER_EXCHANGE // 2)
        if (
            bulk > 0
            and request.bulk_waited >= self.interval
            and self._book_bulk(now, request, reservations, due=True)
        ):
            bulk -= 1
        for _ in range(calls):
            if not self._book_call(now, request, reservations):
                retry[0] = self.interval / 40
                break
        for _ in range(bulk):
            if not self._book_bulk(now, request, reservations):
                retry[1] = max(self.interval / 20, self.quiet_until - now)
                break

    def _book_call(self, now: float, request: ExchangeRequest, reservations: list[Reservation]) -> bool:
        """Book the slot that is ready first for an interactive call."""
        if not self.warm and len(self.leases) >= request.terms.cold_interactive:
            return False
        allowed = self._allowed(now, request)
        ready = None if allowed is None else self._pick(now, self._external_use(now))
        if allowed is None or ready is None:
            return False
        self._lease(request, reservations, max(now, ready, allowed), ready, bulk=False, now=now)
        return True

    def _book_bulk(
        self, now: float, request: ExchangeRequest, reservations: list[Reservation], *, due: bool = False
    ) -> bool:
        """Book a slot for bulk, at its pace. Leaves the reserve unless it is ``due``, having got nothing for long."""
        if (not self.warm and self.leases) or now < self.quiet_until:
            return False
        terms = request.terms
        external_use, margin = self._withheld(now, terms)
        allowed = self._allowed(now, request)
        if allowed is None:
            return False
        ready = self._pick(
            now, external_use if due else external_use + margin + self._kept_back(now, request)
        )
        if ready is None:
            return False
        start = max(now, ready, self.next_bulk)
        gap = self._gap(terms, external_use + margin)
        self.next_bulk = pacing.next_start(self.next_bulk, start, gap)
        self._lease(request, reservations, max(start, allowed), ready, bulk=True, now=now)
        return True

    def _allowed(self, now: float, request: ExchangeRequest) -> float | None:
        """When the holder's share of the slots has room for one more; None when that takes news from it."""
        if request.terms.share >= 1:
            return now
        limit = max(1, math.floor(request.terms.share * self.max))
        cooling = [use.ready for use in self.uses if use.holder == request.holder and use.ready > now]
        leased = sum(lease.holder == request.holder for lease in self.leases)
        surplus = len(cooling) + leased - limit
        if surplus < 0:
            return now
        return cooling[surplus] if surplus < len(cooling) else None

    def _kept_back(self, now: float, request: ExchangeRequest) -> int:
        if not request.terms.reserve or not self._are_calls_seen(now):
            return 0
        # What callers have at hand is a reserve too. One more than alone: a reserve that was used is made good
        # only by bulk that is not booked yet.
        kept = request.terms.reserve + self._is_shared(request)
        return max(0, kept - sum(not lease.bulk and not lease.used for lease in self.leases))

    def _are_calls_seen(self, now: float) -> bool:
        return now - self.interactive_at < 2 * self.interval

    def _is_shared(self, request: ExchangeRequest) -> bool:
        return len(self.holders) > (request.holder in self.holders)

    def _pick(self, now: float, skip: int) -> float | None:
        """Take the slot that is ready first, or after ``skip`` others; when it is ready, or None."""
        back = bisect_right(self.uses, now, key=_ready)
        waiting = len(self.uses) - back
        free = self.max - waiting - len(self.leases)
        if free > skip:
            return _FREE
        place = skip - free  # with fewer slots than are out, the first to come back are surplus
        if place >= waiting:
            return None
        return self.uses.pop(back + place).ready

    def _lease(
        self,
        request: ExchangeRequest,
        reservations: list[Reservation],
        start: float,
        before: float,
        *,
        bulk: bool,
        now: float,
    ) -> None:
        # unlike any other, in whatever life of the store: no late release can meet a lease it doesn't mean
        lease = request.serial << 12 | len(reservations)
        until = start + WINDOW * self.interval + request.terms.lease + self.interval
        self.leases.append(Lease(request.holder, lease, start, before, until, bulk))
        reservations.append(Reservation(lease, start - now, bulk))

    # ------------------------------------------------------------------------------------------ looking

    def _lookahead(self, now: float, request: ExchangeRequest) -> int:
        """How many bulk bookings a process should have at hand: far ahead alone, a short way together."""
        others = [holder for name, holder in self.holders.items() if name != request.holder]
        if not others:
            return max(1, math.ceil(REACH_ALONE * self.max))
        bulk = 1 + sum(holder.bulk > now - self.interval for holder in others)
        part = REACH_BESIDE_CALLS if self._are_calls_seen(now) else REACH_TOGETHER
        return max(1, math.ceil(part * self.max / bulk))

    def _out(self, now: float) -> int:
        return len(self.leases) + len(self.uses) - bisect_right(self.uses, now, key=_ready)

    def _external_use(self, now: float) -> int:
        return pacing.largest_external_use(self.external_use, now, self.interval)

    def _withheld(self, now: float, terms: Terms) -> tuple[int, int]:
        external_use = self._external_use(now)
        return external_use, pacing.margin(external_use, terms.external_margin)

    def _gap(self, terms: Terms, withheld: int) -> float:
        return pacing.gap(terms.pace, self.interval, self.max - withheld, self.slowdown)


def _ready(use: Use) -> float:
    return use.ready
