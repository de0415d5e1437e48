"""Internal. The daily quota of one scope, read from headers.

Pure, the clocks are passed in.

The moment at which the API's day begins is unknown (docs/api-facts.md#api-daily-quota). It is the moment of the reset
header, or else midnight in UTC. An exhausted day ends at the earliest of three events: that moment on the wall clock,
the same span on the monotonic clock, or a header that shows a fresh quota. The monotonic clock guards against a wall
clock that is set back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from hl_async import wire
from hl_async.governor.headers import parse_count

_LARGEST: Final = 10**12
_DAY: Final = 86_400.0


class DailyQuota:
    """The rest of today's quota.

    ``now`` is a monotonic clock and ``wall`` the epoch time, both in seconds.
    """

    __slots__ = (
        "_monotonic_until",
        "_reserve",
        "_wall_until",
        "limit",
        "low",
        "remaining",
        "spent",
        "text",
    )

    def __init__(self, reserve: float) -> None:
        self._reserve = reserve
        self.text: str | None = None
        """Text of the last header, so that an unchanged one costs one comparison."""
        self.limit: int | None = None
        self.remaining: int | None = None
        self.spent: bool = False
        """Whether the quota is exhausted."""
        self.low: bool = False
        """Whether the rest is reserved for interactive calls."""
        self._wall_until = self._monotonic_until = math.inf

    def note(
        self, text: str, headers: Mapping[str, str], now: float, wall: Callable[[], float], in_flight: int
    ) -> None:
        """Learn from the headers of one answer. Values that are not numbers are ignored.

        Args:
            text: The header of the remaining quota.
            headers: All headers of the answer.
            now: The monotonic clock.
            wall: Reads the epoch time.
            in_flight: Slots in use or cooling. An exhausted day is reopened only by a larger number, because answers
                may overtake each other.
        """
        self.text = text
        remaining = parse_count(text, _LARGEST)
        if remaining is None:
            return
        limit = self.limit
        # The second header is read only when it may have changed or when its value decides.
        if limit is None or remaining > limit or remaining <= limit * self._reserve:
            limit = self.limit = parse_count(headers.get(wire.DAILY_LIMIT), _LARGEST) or limit
        if remaining == 0:
            self.spent = self.low = True
            self.remaining = 0
            moment = wall()
            self._sleep(now, moment, _reset_in(headers.get(wire.DAILY_RESET_MS), moment))
        # Answers arrive out of order: one counted before the quota ran out names a small rest. Only a rest larger
        # than the requests under way proves a new day.
        elif not self.spent or remaining > in_flight:
            self.spent = False
            self.remaining = remaining
            self.low = limit is not None and remaining <= limit * self._reserve
            if not self.low:
                self._wall_until = self._monotonic_until = math.inf

    def is_closed(self, now: float, wall: float, *, bulk: bool) -> bool:
        """Return whether a call of this lane must wait for the next day.

        Bulk does not use the reserve.
        """
        if not self.spent and not (bulk and self.low):
            return False
        if self._wall_until == math.inf:
            # The reserve was reached, and no header named a reset.
            self._sleep(now, wall, None)
        # One clock that passed the reset is enough: the wall clock may be set back, and the monotonic one stops while
        # a host sleeps.
        if wall < self._wall_until and now < self._monotonic_until:
            return True
        self.spent = self.low = False
        self.remaining = self.text = None
        self._wall_until = self._monotonic_until = math.inf
        return False

    def opens_in(self, now: float, wall: float) -> float:
        """Return the seconds until an exhausted day ends."""
        return max(0.0, min(self._wall_until - wall, self._monotonic_until - now))

    def _sleep(self, now: float, wall: float, reset_in: float | None) -> None:
        if reset_in is None:
            if self._wall_until < math.inf:
                return  # keep the reset that an earlier header named
            reset_in = _until_midnight(wall)
        self._wall_until = wall + reset_in
        self._monotonic_until = now + reset_in


def _until_midnight(wall: float) -> float:
    today = datetime.fromtimestamp(wall, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return (today + timedelta(days=1)).timestamp() - wall


def _reset_in(text: str | None, wall: float) -> float | None:
    """Return the seconds until the reset that a header names, or None."""
    milliseconds = parse_count(text, 10**14)
    if not milliseconds:
        return None
    seconds = milliseconds / 1000
    # No source tells whether the header holds a span or a moment (docs/api-facts.md#api-rate-headers). A span is at
    # most a day, and a moment is the epoch time in milliseconds.
    if seconds <= _DAY:
        return seconds
    return seconds - wall if 0 < seconds - wall <= 2 * _DAY else None
