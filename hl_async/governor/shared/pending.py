"""What one process has to tell the store about its slots and has not yet. Pure, the clock passed in."""

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
    """Ends of requests. They are kept until the store has answered: an exchange that failed is told again."""

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
        """Whether others could use what is told, or should know of it, soon."""
        return bool(self._unused or self._unreserved_uses)

    def since(self, now: float) -> float:
        """When the first of it came up; it is noticed by asking."""
        self._since = min(self._since, now)
        return self._since

    def ended(self, lease: int, now: float, linger: float) -> None:
        """A request that used a booking may have been received until ``linger`` seconds from now."""
        self._ended.append(_Ended(lease, now, linger))

    def unused(self, *leases: int) -> None:
        """Bookings that no request used, and none will."""
        self._unused += leases

    def unreserved_uses(self, until: float) -> None:
        """A request without a booking: the slot it took, any one, returns at ``until``."""
        self._unreserved_uses.append(until)

    def releases(self, now: float, interval: float) -> tuple[Release, ...]:
        """All slots that come back, to be told now."""
        self._sent = (len(self._ended), len(self._unused), len(self._unreserved_uses))
        ended = [Release(one.lease, one.at + interval + one.linger - now) for one in self._ended]
        return (*ended, *(Release(lease, None) for lease in self._unused))

    def cooling(self, now: float) -> tuple[float, ...]:
        """For how long slots that nobody booked are taken."""
        return tuple(max(0.0, until - now) for until in self._unreserved_uses)

    def retell(self, cooling: Iterable[float]) -> None:
        """The store lost all bookings, and knows but what it was told last: tell it of every use that is not back."""
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
        """The store knows what was told last."""
        ended, unused, unreserved_uses = self._sent
        del self._ended[:ended], self._unused[:unused], self._unreserved_uses[:unreserved_uses]
        self._sent = (0, 0, 0)
        self._since = math.inf
