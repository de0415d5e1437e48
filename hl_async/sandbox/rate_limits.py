"""Internal. Rate limits: four ways to count requests, with the clock passed in.

The API's way is unknown (docs/api-facts.md#api-rate-window), so the sandbox offers all of them.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final, Protocol


class Window(Protocol):
    """A counter of the requests of one budget. Times are in seconds."""

    def admit(self, now: float) -> bool:
        """Count a request that arrives now, and return True; False refuses it.

        Refused requests are not counted.
        """
        ...

    def remaining(self, now: float) -> int:
        """Return the number of further requests that would be admitted now."""
        ...

    def wait(self, now: float) -> float:
        """Return the seconds until at least one request would be admitted."""
        ...


class FixedWindow:
    """At most ``limit`` requests per interval; intervals begin at fixed times.

    They begin at multiples of ``interval`` plus ``phase``, in seconds of the monotonic clock.
    """

    def __init__(self, limit: int, interval: float, phase: float = 0.0) -> None:
        self._limit = limit
        self._interval = interval
        self._phase = phase
        self._index = -math.inf
        self._count = 0

    def _roll(self, now: float) -> None:
        # A test chooses the phase, because a client cannot know when a server's windows begin.
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
    """An estimate of the last interval's requests from two fixed windows.

    It is the count of this window, plus that of the previous one times the part of it that lies in the last interval.
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
            # A whole window without requests lies between, so the previous count is 0.
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
        # An approximation: the weight of the previous window falls evenly, so about one place is freed in this time.
        return self._interval / max(1, self._limit)


class TokenBucket:
    """A bucket of ``limit`` tokens, refilled evenly over the interval."""

    def __init__(self, limit: int, interval: float) -> None:
        self._limit = limit
        self._rate = limit / interval
        self._tokens = float(limit)
        self._at: float | None = None

    def _roll(self, now: float) -> None:
        if self._at is not None:
            # Never more than the limit: a full bucket already allows a burst of that size.
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
"""The ways to count, by their names in settings and on the command line."""


def make_window(kind: str, limit: int, interval: float) -> Window:
    """Return a window of a kind.

    Args:
        kind: A name in ``WINDOWS``.
        limit: Requests per interval.
        interval: Its length in seconds.

    Raises:
        ValueError: The kind is unknown.
    """
    if kind not in WINDOWS:
        raise ValueError(f"unknown kind of window {kind!r}; choose {', '.join(WINDOWS)}")
    window: Window = WINDOWS[kind](limit, interval)
    return window
