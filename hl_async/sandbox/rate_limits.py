"""Internal. Rate limits: four kinds of window, exact, with the clock passed in.

The API's kind is unknown (docs/api-facts.md#api-rate-window), so the sandbox offers all of them.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final, Protocol


class Window(Protocol):
    """Counts the requests of one budget. Times are in seconds."""

    def admit(self, now: float) -> bool:
        """Count a request that arrives now.

        Return False to refuse it; refused requests are not counted.
        """
        ...

    def remaining(self, now: float) -> int:
        """Return how many more requests would be admitted now."""
        ...

    def wait(self, now: float) -> float:
        """Return the seconds until at least one would be admitted."""
        ...


class FixedWindow:
    """``limit`` requests per interval.

    Intervals begin at multiples of the interval plus a phase.
    """

    def __init__(self, limit: int, interval: float, phase: float = 0.0) -> None:
        self._limit = limit
        self._interval = interval
        self._phase = phase
        self._index = -math.inf
        self._count = 0

    def _roll(self, now: float) -> None:
        # The phase is a test's choice: a client cannot know where a server's windows begin.
        index = math.floor((now - self._phase) / self._interval)
        if index != self._index:
            self._index = index
            self._count = 0

    def admit(self, now: float) -> bool:
        self._roll(now)
        if self._count >= self._limit:
            return False
        self._count += 1
        return True

    def remaining(self, now: float) -> int:
        self._roll(now)
        return self._limit - self._count

    def wait(self, now: float) -> float:
        self._roll(now)
        if self._count < self._limit:
            return 0.0
        return (self._index + 1) * self._interval + self._phase - now


class SlidingLog:
    """At most ``limit`` requests in any interval that ends now."""

    def __init__(self, limit: int, interval: float) -> None:
        self._limit = limit
        self._interval = interval
        self._log: deque[float] = deque()

    def _roll(self, now: float) -> None:
        while self._log and self._log[0] <= now - self._interval:
            self._log.popleft()

    def admit(self, now: float) -> bool:
        self._roll(now)
        if len(self._log) >= self._limit:
            return False
        self._log.append(now)
        return True

    def remaining(self, now: float) -> int:
        self._roll(now)
        return self._limit - len(self._log)

    def wait(self, now: float) -> float:
        self._roll(now)
        return 0.0 if len(self._log) < self._limit else self._log[0] + self._interval - now


class SlidingCounter:
    """The count of this window plus a part of the previous one.

    The part is that which the interval still covers.
    """

    def __init__(self, limit: int, interval: float) -> None:
        self._limit = limit
        self._interval = interval
        self._index = -math.inf
        self._count = 0
        self._before = 0

    def _roll(self, now: float) -> float:
        index = math.floor(now / self._interval)
        if index != self._index:
            # A window without any request in between counts nothing.
            self._before = self._count if index == self._index + 1 else 0
            self._count = 0
            self._index = index
        weight = 1 - (now / self._interval - index)
        return self._count + self._before * weight

    def admit(self, now: float) -> bool:
        if self._roll(now) + 1 > self._limit:
            return False
        self._count += 1
        return True

    def remaining(self, now: float) -> int:
        return max(0, math.floor(self._limit - self._roll(now)))

    def wait(self, now: float) -> float:
        if self._roll(now) + 1 <= self._limit:
            return 0.0
        # The weight falls evenly, so one place becomes free after about this time. A caller asks again then.
        return self._interval / max(1, self._limit)


class TokenBucket:
    """Holds ``limit`` tokens, refilled evenly over the interval."""

    def __init__(self, limit: int, interval: float) -> None:
        self._limit = limit
        self._rate = limit / interval
        self._tokens = float(limit)
        self._at: float | None = None

    def _roll(self, now: float) -> None:
        if self._at is not None:
            # A full bucket allows a burst of the whole limit, whatever the rate is.
            self._tokens = min(self._limit, self._tokens + (now - self._at) * self._rate)
        self._at = now

    def admit(self, now: float) -> bool:
        self._roll(now)
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def remaining(self, now: float) -> int:
        self._roll(now)
        return math.floor(self._tokens)

    def wait(self, now: float) -> float:
        self._roll(now)
        return max(0.0, (1 - self._tokens) / self._rate)


WINDOWS: Final[Mapping[str, Callable[[int, float], Window]]] = {
    "fixed": FixedWindow,
    "sliding": SlidingLog,
    "counter": SlidingCounter,
    "bucket": TokenBucket,
}
"""The kinds by their names on the command line and the control surface."""


def make_window(kind: str, limit: int, interval: float) -> Window:
    """Return a window of a kind.

    Raises:
        ValueError: The kind is unknown.
    """
    if kind not in WINDOWS:
        raise ValueError(f"unknown kind of window {kind!r}; there are {', '.join(WINDOWS)}")
    window: Window = WINDOWS[kind](limit, interval)
    return window
