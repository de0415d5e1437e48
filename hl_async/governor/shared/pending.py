"""Internal. Slot releases that a process has still to report to the store.

Pure, the clock is passed in.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from hl_async.governor.shared.messages import Release


class _Ended(NamedTuple):
    lease: int
    at: float
    linger: float


class PendingReports:
    """Slot releases the store has not acknowledged; a failed exchange repeats them."""

    __slots__ = ("_ended", "_sent", "_since", "_unreserved_uses", "_unused")

    def __init__(self) -> None:
        self._ended: list[_Ended] = []
        self._unused: list[int] = []
        self._unreserved_uses: list[float] = []
        self._sent = (0, 0, 0)
        self._since = math.inf

    def __bool__(self) -> bool:
        return bool(self._ended or self._unused or self._unreserved_uses)

    @property
    def is_urgent(self) -> bool:
        """Whether an early report helps other processes: slots to use, uses to respect."""
        return bool(self._unused or self._unreserved_uses)

    def since(self, now: float) -> float:
        """Return when the first pending report was noticed.

        The first call after a report notices it.
        """
        self._since = min(self._since, now)
        return self._since

    def ended(self, lease: int, now: float, linger: float) -> None:
        """Record the end of a reserved request.

        The server may receive it until ``linger`` seconds from now.
        """
        self._ended.append(_Ended(lease, now, linger))

    def unused(self, *leases: int) -> None:
        """Record reservations that are dropped unused."""
        self._unused += leases

    def unreserved_uses(self, until: float) -> None:
        """Record a request without a reservation, which holds some slot until ``until``."""
        self._unreserved_uses.append(until)

    def releases(self, now: float, interval: float) -> tuple[Release, ...]:
        """Return all slot releases for the next exchange."""
        self._sent = (len(self._ended), len(self._unused), len(self._unreserved_uses))
        # Remaining times instead of moments: the store has a clock of its own.
        ended = [Release(one.lease, one.at + interval + one.linger - now) for one in self._ended]
        return (*ended, *(Release(lease, None) for lease in self._unused))

    def cooling(self, now: float) -> tuple[float, ...]:
        """Return the remaining seconds of slots that were used without a reservation."""
        return tuple(max(0.0, until - now) for until in self._unreserved_uses)

    def retell(self, cooling: Iterable[float]) -> None:
        """Report every slot still in use again, because the store lost its reservations.

        Uses that the last exchange already carried are known to the new store and are left out.

        Args:
            cooling: Moments at which the used slots return.
        """
        # The last exchange reported these to the new store already.
        known = Counter(self._unreserved_uses[: self._sent[2]])
        self._ended, self._unused, self._unreserved_uses = [], [], []
        for until in cooling:
            if known[until]:
                known[until] -= 1
            else:
                self._unreserved_uses.append(until)
        self._sent = (0, 0, 0)
        self._since = math.inf

    def acknowledged(self) -> None:
        """Drop the reports of the last exchange: the store has them."""
        ended, unused, unreserved_uses = self._sent
        del self._ended[:ended], self._unused[:unused], self._unreserved_uses[:unreserved_uses]
        self._sent = (0, 0, 0)
        self._since = math.inf
