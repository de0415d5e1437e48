"""Internal. Adaptive limit of bulk requests in flight, learned from round trips.

Pure, the clock is passed in.

The signal is the mean round trip of a window of answers, compared with the best such mean of the last one to two
minutes. Means are used because bulk mixes quick and slow operations.

- Near the best mean, the limit grows if it holds bulk back.
- Above it, requests queue at the server and more of them gain nothing, so the limit shrinks.
- Under overload (timeouts, lost connections, 5xx) the limit halves.
- A 429 says nothing about the server's load. It is left to the slots.

Two rules keep the best mean correct. Once a minute, if the limit holds bulk back, it is halved for two windows, so that
the best is measured without our own queue. If the round trip stays long for 15 seconds although the limit fell to a
quarter, the queue is not ours, and the longer round trip becomes the new best.
"""

from __future__ import annotations

import math
from typing import Final

_FLOOR: Final = 4
_SLACK: Final = 0.025
"""Seconds of inflation that count as noise."""

_GROW_BELOW: Final = 1.4
_SHRINK_ABOVE: Final = 1.8
_HALVE_ABOVE: Final = 4.0
"""Ratios of a mean round trip to the best one. Between the first two, the limit stays."""

_WINDOW: Final = 20
"""Answers per mean. A small limit uses fewer, but at least those of one round trip."""

_BEST_FOR: Final = 60.0
"""Seconds after which a best mean is measured again."""

_ACCEPT_AFTER: Final = 15.0
"""Seconds after which a long round trip at a low limit becomes the new best."""

_DIP_WINDOWS: Final = 2


class ConcurrencyLimit:
    """An adaptive limit of requests in flight, up to ``ceiling``. Times in seconds."""

    __slots__ = (
        "_answers", "_best_now", "_best_old", "_best_since", "_dips", "_halved_at", "_inflated_from",
        "_inflated_since", "_limit", "_pressed", "_resume_at", "_round_trip", "_sum", "_window_since", "ceiling",
        "in_flight",
    )  # fmt: skip

    def __init__(self, ceiling: int, *, start: int = 16) -> None:
        self.ceiling: int = max(1, ceiling)
        self._limit = float(min(start, self.ceiling))
        self.in_flight: int = 0
        self._best_now = self._best_old = math.inf
        self._best_since = -math.inf
        self._answers = 0
        self._sum = 0.0
        self._round_trip = 0.0
        self._window_since = -math.inf
        self._halved_at = -math.inf
        self._pressed = False
        self._inflated_since = math.inf
        self._inflated_from = 0.0
        self._dips = 0
        self._resume_at = 0.0

    @property
    def limit(self) -> int:
        """Requests that may be in flight now."""
        return int(self._limit)

    @property
    def best(self) -> float:
        """The best mean round trip in seconds, infinity before the first."""
        return min(self._best_now, self._best_old)

    def try_enter(self) -> bool:
        """Enter if the limit allows it. Return False if it is reached."""
        if self.in_flight >= int(self._limit):
            # Only a limit that was reached may grow: the measurements say nothing about a higher one.
            self._pressed = True
            return False
        self.in_flight += 1
        return True

    def leave(self) -> None:
        """Leave without a measurement."""
        self.in_flight -= 1

    def succeeded(self, now: float, elapsed: float) -> bool:
        """Leave after an answer of ``elapsed`` seconds; return whether the limit changed."""
        self.in_flight -= 1
        if elapsed <= 0:
            return False
        self._answers += 1
        self._sum += elapsed
        if self._answers < _WINDOW and self._answers < 2 * self._limit:
            return False
        # A window shorter than a round trip would judge a limit before its effect is seen.
        if now - self._window_since < max(self._round_trip, 0.05):
            return False
        self._round_trip = self._sum / self._answers
        self._forget_window(now)
        return self._step(now, self._round_trip)

    def overloaded(self, now: float) -> bool:
        """Leave after a timeout, a lost connection or a 5xx.

        Halve the limit, at most once per round trip. Return whether it changed.
        """
        self.in_flight -= 1
        # The failures of one round trip have one cause. Halving for each of them would end at the floor.
        if now - self._halved_at < max(self._round_trip, 0.5):
            return False
        self._halved_at = now
        self._dips = 0
        self._forget_window(now)
        return self._set(self._limit / 2)

    def _forget_window(self, now: float) -> None:
        self._answers = 0
        self._sum = 0.0
        self._window_since = now

    def _step(self, now: float, mean: float) -> bool:
        """Adjust the limit at the end of a window of answers."""
        # Two bests of a minute each: an outdated one is forgotten at the latest after two minutes.
        aged = now - self._best_since > _BEST_FOR
        if aged:
            self._best_old, self._best_now, self._best_since = self._best_now, mean, now
        elif mean < self._best_now:
            self._best_now = mean
        pressed, self._pressed = self._pressed, False
        if self._dips:
            self._dips -= 1
            return self._set(self._resume_at) if not self._dips else False
        inflation = (mean - _SLACK) / self.best
        if inflation > _SHRINK_ABOVE:
            if self._is_not_our_queue(now):
                # The longer round trip is the new normal. Otherwise the limit would stay at its floor for good.
                self._best_now = self._best_old = mean
                self._inflated_since = math.inf
                return False
            return self._set(self._limit * (0.5 if inflation > _HALVE_ABOVE else 0.85))
        self._inflated_since = math.inf
        if aged and pressed and self._best_old < math.inf:
            # Under constant pressure every measurement includes our own queue, so measure once without it.
            self._dips, self._resume_at = _DIP_WINDOWS, self._limit
            return self._set(self._limit / 2)
        if inflation < _GROW_BELOW and pressed:
            return self._set(self._limit + max(1.0, math.sqrt(self._limit) / 2))
        return False

    def _is_not_our_queue(self, now: float) -> bool:
        """Return whether the round trip stayed long although the limit fell to a quarter."""
        if self._inflated_since == math.inf:
            self._inflated_since, self._inflated_from = now, self._limit
        fell = self._limit <= max(self._inflated_from / 4, min(_FLOOR, self.ceiling))
        return fell and now - self._inflated_since >= _ACCEPT_AFTER

    def _set(self, limit: float) -> bool:
        before = int(self._limit)
        self._limit = min(max(limit, min(_FLOOR, self.ceiling)), self.ceiling)
        return int(self._limit) != before

    def __repr__(self) -> str:
        return f"<ConcurrencyLimit {self.in_flight} of {self.limit}, at most {self.ceiling}>"
