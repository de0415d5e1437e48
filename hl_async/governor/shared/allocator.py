"""Internal. Rules of a shared budget: which process gets which slot, and when.

The code is pure: the store's clock is passed in, and every store runs the same rules. Slots behave as in
:mod:`~hl_async.governor.budget`, but each use is *reserved* first. A reservation starts at a moment that the
allocator chooses. The slot stays taken until its holder reports the end of the request, or until the request can no
longer be on its way. The proof of one process therefore holds for all: two uses of one slot reach the server at least
one interval apart.

- A reservation starts at ``start`` on the store's clock. The holder learns of it later, so it sends later, never
  earlier. A reservation is younger than the request for it, and the holder counts the window's end from that request.
  So it stops early, never late.
- The end of a use is reported as the remaining part of its interval. The store counts that part from the moment it
  receives the report, so the slot returns later, never earlier.
- A holder that falls silent loses its slots once none of its requests can be on the way. That is after the window in
  which it may send, the lease and one interval.
- A store that was recreated after a loss knows no use of the last interval. It reserves no bulk slots until one
  interval has passed. Holders of the lost store drop their reservations and report the slots they used.
- Pace, reserve and the margin for other clients apply to reservations, so they hold over all processes.
"""

from __future__ import annotations

import math
from bisect import bisect_right, insort
from typing import Final

import msgspec

from hl_async.governor import pacing
from hl_async.governor.shared.messages import ExchangeReply, ExchangeRequest, Observation, Reservation, Terms

WINDOW: Final = 0.1
"""Time in which a reserved slot must be used after its start, as a fraction of the interval."""

REACH_ALONE: Final = 0.5
REACH_TOGETHER: Final = 0.1
REACH_BESIDE_CALLS: Final = 0.05
"""How far ahead bulk reserves, as fractions of the interval: one process alone, all processes together, and all
processes together while interactive calls are seen."""

_FREE: Final = -math.inf
_MOST_PER_EXCHANGE: Final = 4096  # a lease's id has 12 bits for its number within the exchange


class Lease(msgspec.Struct, array_like=True):
    """A reserved slot.

    ``before`` is the moment at which the slot became ready. ``until`` is the moment at which it returns if its holder
    never reports it. ``used`` says that the holder has reported the request as under way.
    """

    holder: str
    id: int
    start: float
    before: float
    until: float
    bulk: bool
    used: bool = False


class Use(msgspec.Struct, array_like=True, order=True):
    """A used slot that returns at ``ready``.

    ``before`` is when it returned from its previous use. ``holder`` is recorded only for processes that own a share
    of the slots.
    """

    ready: float
    start: float
    before: float
    holder: str = ""


class Holder(msgspec.Struct, array_like=True):
    """Moments at which a process last made an exchange and last asked for bulk."""

    seen: float
    bulk: float


class SlotAllocator(msgspec.Struct, array_like=True):
    """Slots of one scope.

    All moments belong to the clock whose time is passed to :meth:`exchange`.
    """

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
        """Return the allocator of a scope that is new to the store created at ``born``.

        Requests sent before that moment are unknown, so the slots become free one by one over one interval.

        Args:
            terms: Policy and known limits of the process that asks.
            born: Creation time of the store.
            now: The current time.
            lost: A previous store was lost, so bulk waits until all slots are free.
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
        """Apply the reports of one process, then reserve the slots it asks for."""
        # The order matters: the limits decide how long slots cool, and reported slots can be reserved again at once.
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

    # ---------------------------------------------------------------------------------------- reporting

    def _learn(self, terms: Terms) -> None:
        # Limits that a process read from headers win over the mere configuration of another one.
        if self.learned and not terms.learned:
            return
        self.learned = terms.learned
        self.max = terms.max
        difference = terms.interval - self.interval
        # Slots in use were timed with the old interval; they move by the difference, or two uses could come too close.
        if difference:
            self.interval = terms.interval
            self.quiet_until += difference
            for use in self.uses:
                use.ready += difference
            for lease in self.leases:
                lease.until += difference

    def _settle(self, now: float, request: ExchangeRequest) -> None:
        """Take back released slots, and reservations that never reached their holder."""
        ends = dict(request.releases)
        in_use, unused = set(request.in_use), set(request.unused)
        kept = []
        rewound = False
        for lease in self.leases:
            cool: float | None = None
            if lease.holder == request.holder:
                if lease.id in in_use:
                    # A request may outlast its lease while its holder keeps reporting it.
                    lease.used = True
                    lease.until = max(lease.until, now + request.terms.lease + self.interval)
                    kept.append(lease)
                    continue
                if lease.id in ends:
                    cool = ends[lease.id]
                elif lease.id in unused or lease.id >> 12 > request.serial:
                    # This exchange was overtaken: a later one made the reservation.
                    kept.append(lease)
                    continue
            elif lease.until > now:
                kept.append(lease)
                continue
            else:
                # The holder has been silent for so long that none of its requests can still arrive.
                cool = lease.until - now
            if cool is not None:
                # Only a process with a share has an account of its own uses.
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
        """Move the next bulk start back after reservations were dropped unused.

        Later bulk requests need not keep a distance from requests that are never sent.
        """
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
            # A process with bulk reservations is a bulk user, even if it asks for none now.
            bulk = now if request.bulk or request.ahead else known.bulk if known else _FREE
            self.holders[request.holder] = Holder(now, bulk)

    def _compare(self, now: float, seen: Observation) -> None:
        """Attribute to other clients the requests that the server counted beyond ours."""
        latest = now - seen.age
        # The server counted somewhere within the round trip. Two percent cover the drift of the window's edge.
        earliest = latest - seen.trip - 0.02 * self.interval
        # A slot counts once, for its last use or the one before it. Two uses of a slot are an interval apart, so no
        # window of the server holds both.
        ours = sum(
            (use.start <= latest and use.ready > earliest) or use.before > earliest for use in self.uses
        ) + sum(lease.start <= latest or lease.before > earliest for lease in self.leases)
        pacing.note_external_use(self.external_use, latest, self.max - seen.remaining - ours)

    def _forget(self, now: float) -> None:
        # A returned slot stays listed for half an interval: _compare needs to know which of ours the server counted.
        del self.uses[: bisect_right(self.uses, now - self.interval / 2, key=_ready)]
        pacing.largest_external_use(self.external_use, now, self.interval)
        # A process that was silent for two intervals must not shorten the lookahead of the others.
        gone = [name for name, holder in self.holders.items() if holder.seen < now - 2 * self.interval]
        for name in gone:
            del self.holders[name]
        self.slowdown, self.slowed_at = pacing.relaxed(now, self.slowdown, self.slowed_at, self.interval)

    # ---------------------------------------------------------------------------------------- reserving

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
        # Interactive calls go first, except before bulk that got no slot for an interval: bulk must not starve.
        if (
            bulk > 0
            and request.bulk_waited >= self.interval
            and self._book_bulk(now, request, reservations, due=True)
        ):
            bulk -= 1
        for _ in range(calls):
            if not self._book_call(now, request, reservations):
                # No return is known, but a release of another process may make room at any moment.
                retry[0] = self.interval / 40
                break
        for _ in range(bulk):
            if not self._book_bulk(now, request, reservations):
                retry[1] = max(self.interval / 20, self.quiet_until - now)
                break

    def _book_call(self, now: float, request: ExchangeRequest, reservations: list[Reservation]) -> bool:
        """Reserve the slot that is ready first for an interactive call."""
        # As in `Budget`: before the first answer, a burst of the default size may exceed the real limit.
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
        """Reserve a slot for bulk at its pace.

        The reserve for interactive calls stays free, unless bulk is ``due`` because it got no slot for an interval.
        """
        # As in `Budget`: before the first answer, one request learns the limits. After a loss, unknown requests may
        # still count.
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
        """Return when the holder's share has room for one more slot.

        None means that it depends on the holder's next report.
        """
        if request.terms.share >= 1:
            return now
        limit = max(1, math.floor(request.terms.share * self.max))
        cooling = [use.ready for use in self.uses if use.holder == request.holder and use.ready > now]
        leased = sum(lease.holder == request.holder for lease in self.leases)
        surplus = len(cooling) + leased - limit
        if surplus < 0:
            return now
        # The share is full. It has room when this many cooling slots and one more have returned; `uses` is sorted.
        return cooling[surplus] if surplus < len(cooling) else None

    def _kept_back(self, now: float, request: ExchangeRequest) -> int:
        if not request.terms.reserve or not self._are_calls_seen(now):
            return 0
        # Unused interactive reservations count as reserve. Several processes keep one slot more: a used reserve can
        # only be refilled from bulk slots that are not reserved yet.
        kept = request.terms.reserve + self._is_shared(request)
        return max(0, kept - sum(not lease.bulk and not lease.used for lease in self.leases))

    def _are_calls_seen(self, now: float) -> bool:
        return now - self.interactive_at < 2 * self.interval

    def _is_shared(self, request: ExchangeRequest) -> bool:
        return len(self.holders) > (request.holder in self.holders)

    def _pick(self, now: float, skip: int) -> float | None:
        """Take the slot that is ready first after ``skip`` others.

        Return when it is ready: minus infinity for a free slot, None if too few slots are known to return.
        """
        back = bisect_right(self.uses, now, key=_ready)
        waiting = len(self.uses) - back
        free = self.max - waiting - len(self.leases)
        if free > skip:
            return _FREE
        # ``free`` is negative after Max fell: the first slots to return are surplus and stay unused.
        place = skip - free
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
        # The id is unique over all generations of the store, so a late release never hits another reservation.
        lease = request.serial << 12 | len(reservations)
        # The server receives nothing under this lease later than its window, one long attempt and one interval.
        until = start + WINDOW * self.interval + request.terms.lease + self.interval
        self.leases.append(Lease(request.holder, lease, start, before, until, bulk))
        reservations.append(Reservation(lease, start - now, bulk))

    # ---------------------------------------------------------------------------------------- measuring

    def _lookahead(self, now: float, request: ExchangeRequest) -> int:
        """Return how many bulk reservations a process should hold.

        A process alone reserves far ahead and makes few exchanges. Beside others, it leaves slots to them.
        """
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
