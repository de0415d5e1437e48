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
    """Slot releases the store has not acknowledged.

    The exchange after a failed one reports them again.
    """

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
        """Whether other processes need the reports early.

        They can use the unused slots, and must not use slots that are in use without a reservation.
        """
        return bool(self._unused or self._unreserved_uses)

    def since(self, now: float) -> float:
        """Return since when reports are pending, in seconds of the caller's clock.

        It is the time of the first call since the last acknowledgement.
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
        # Reports recorded while the exchange is under way follow these in the lists, so `acknowledged` keeps them.
        self._sent = (len(self._ended), len(self._unused), len(self._unreserved_uses))
        # Remaining times instead of moments: the store has a clock of its own.
        ended = [Release(one.lease, one.at + interval + one.linger - now) for one in self._ended]
        return (*ended, *(Release(lease, None) for lease in self._unused))

    def cooling(self, now: float) -> tuple[float, ...]:
        """Return, for each use without a reservation, the seconds until its slot returns."""
        return tuple(max(0.0, until - now) for until in self._unreserved_uses)

    def retell(self, cooling: Iterable[float]) -> None:
        """Replace all reports by the cooling slots, because the store lost its data.

        Args:
            cooling: Moments at which the used slots return.
        """
        # The last exchange carried these uses to the new store already: it is the one that showed the loss.
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
        """Drop the reports of the last exchange: the store has applied them."""
        ended, unused, unreserved_uses = self._sent
        del self._ended[:ended], self._unused[:unused], self._unreserved_uses[:unreserved_uses]
        self._sent = (0, 0, 0)
        self._since = math.inf
