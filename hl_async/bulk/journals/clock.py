"""The time of day for journals, which setting the machine's clock does not move. Internal."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Final

_DRIFT: Final = 1e-4
"""Seconds per second by which two clocks may run apart."""


class SteadyClock:
    """The time of day in seconds, which setting the machine's clock does not move while the process runs.

    Waits and intents of one process are measured with it, so that a clock that is set forward shortens no wait, and
    one that is set back lengthens none.
    """

    def __init__(
        self, wall: Callable[[], float] = time.time, steady: Callable[[], float] | None = None
    ) -> None:
        self._steady = steady or boot_time
        self._offset = wall() - self._steady()

    def now(self) -> float:
        """Return the time in seconds."""
        return self._steady() + self._offset


def boot_time() -> float:
    """Return seconds since the start of the machine, time asleep included where the system counts it."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


class DatabaseClock:
    """The database's time of day, as far as it is known here.

    Each answer bounds it by the moments of asking and of hearing; the best answer is kept, so that a slow one, or an
    event loop that was busy meanwhile, doesn't make it jump. Setting this machine's clock does not move it.
    """

    def __init__(self, steady: Callable[[], float] = boot_time) -> None:
        self.steady = steady
        """Seconds of a clock that is never set."""
        self._ahead = time.time() - steady()
        self._unsure = math.inf
        self._set_at = 0.0

    def set(self, database: float, asked: float, answered: float) -> None:
        """The database said its time somewhere between these two moments of :attr:`steady`."""
        ahead = database - (asked + answered) / 2
        unsure = (answered - asked) / 2
        known = self._unsure + _DRIFT * (answered - self._set_at)
        # outside of what both allow, the database's clock was set
        if unsure <= known or abs(ahead - self._ahead) > unsure + known:
            self._ahead, self._unsure, self._set_at = ahead, unsure, answered

    def now(self) -> float:
        """Seconds."""
        return self.steady() + self._ahead
