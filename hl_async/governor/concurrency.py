"""How many bulk requests may be in flight: learned from the round trip, pure, the clock passed in.

The limit grows while the round trip stays near its best and the limit is what holds bulk back, shrinks when the
round trip inflates (requests queue at the server then, and more of them make nothing faster), and halves under
overload: timeouts, lost connections, 5xx. Rate-limit refusals say nothing about the server's load and are left
to the slots. The best round trip is the smallest of the last one to two minutes, so that a route that became
slower for good is accepted in time.
"""

from __future__ import annotations

import math
from typing import Final

_FLOOR: Final = 4
_SLACK: Final = 0.025
"""Seconds of inflation that are noise on any machine."""

_GROW_BELOW: Final = 1.5
_SHRINK_ABOVE: Final = 2.0
_BEST_FOR: Final = 60.0
_SMOOTHING: Final = 0.2


class ConcurrencyLimit:
    """An adaptive ceiling of requests in flight, never above ``ceiling``. Times in seconds."""

    __slots__ = (
        "_best_now", "_best_old", "_best_since", "_halved_at", "_limit", "_pressed", "_smooth",
        "_stepped_at", "ceiling", "in_flight",
    )  # fmt: skip

    def __init__(self, ceiling: int, *, start: int = 16) -> None:
        self.ceiling = max(1, ceiling)
        self._limit = float(min(start, self.ceiling))
        self.in_flight = 0
        self._best_now = self._best_old = math.inf
        self._best_since = -math.inf
        self._smooth = 0.0
        self._stepped_at = -math.inf
        self._halved_at = -math.inf
        self._pressed = False

    @property
    def limit(self) -> int:
        """Requests that may be in flight now."""
        return int(self._limit)

    def try_enter(self) -> bool:
        """Take a place; False when all are taken."""
        if self.in_flight >= int(self._limit):
            self._pressed = True
            return False
        self.in_flight += 1
        return True

    def leave(self) -> None:
        """Give a place back without having learned anything."""
        self.in_flight -= 1

    def succeeded(self, now: float, elapsed: float) -> bool:
        """A request came back after ``elapsed`` seconds; gives its place back. True when the limit changed."""
        self.in_flight -= 1
        if elapsed <= 0:
            return False
        self._smooth = elapsed if not self._smooth else self._smooth + _SMOOTHING * (elapsed - self._smooth)
        if now - self._best_since > _BEST_FOR:
            self._best_old, self._best_now, self._best_since = self._best_now, elapsed, now
        elif elapsed < self._best_now:
            self._best_now = elapsed
        if now - self._stepped_at < max(self._smooth, 0.05):
            return False
        self._stepped_at = now
        return self._step()

    def overloaded(self, now: float) -> bool:
        """A timeout, a lost connection or a 5xx; gives the place back. Halves at most once per round trip."""
        self.in_flight -= 1
        if now - self._halved_at < max(self._smooth, 0.5):
            return False
        self._halved_at = self._stepped_at = now
        return self._set(self._limit / 2)

    @property
    def best(self) -> float:
        """The best round trip known, in seconds; infinity before the first."""
        return min(self._best_now, self._best_old)

    def _step(self) -> bool:
        best = self.best
        inflation = (self._smooth - _SLACK) / best if self._smooth > _SLACK else 0.0
        pressed, self._pressed = self._pressed, False
        if inflation > 2 * _SHRINK_ABOVE:
            return self._set(self._limit / 2)
        if inflation > _SHRINK_ABOVE:
            return self._set(self._limit * 0.85)
        if inflation < _GROW_BELOW and pressed:
            return self._set(self._limit + max(1.0, math.sqrt(self._limit) / 2))
        return False

    def _set(self, limit: float) -> bool:
        before = int(self._limit)
        self._limit = min(max(limit, min(_FLOOR, self.ceiling)), self.ceiling)
        return int(self._limit) != before

    def __repr__(self) -> str:
        return f"<ConcurrencyLimit {self.in_flight} of {self.limit}, at most {self.ceiling}>"
