"""Internal. Clocks of journals, which setting the machine's clock does not move."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Final

_DRIFT: Final = 1e-4
"""Seconds per second by which two clocks may run apart."""


class SteadyClock:
    """The time of day in seconds, unmoved by later settings of the machine's clock.

    Waits and intents of one process use it: a clock that is set forward shortens no wait, and one that is set back
    lengthens none.
    """

    def __init__(
        self, wall: Callable[[], float] = time.time, steady: Callable[[], float] | None = None
    ) -> None:
        self._steady = steady or boot_time
        # the wall is read once; from here on only the steady clock counts
        self._offset = wall() - self._steady()

    def now(self) -> float:
        """Return the time in seconds."""
        return self._steady() + self._offset


def boot_time() -> float:
    """Return seconds since boot, time asleep included where the system counts it."""
    # Linux stops the monotonic clock while the machine sleeps; a request that was under way may still arrive meanwhile
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


class DatabaseClock:
    """The database's time of day, as this process estimates it.

    Each answer of the database bounds its time by the moments of the question and of the answer. The clock keeps the
    tightest bound. Setting this machine's clock does not move it.

    Args:
        steady: A clock in seconds that is never set.
    """

    def __init__(self, steady: Callable[[], float] = boot_time) -> None:
        self.steady = steady
        """Seconds of a clock that is never set."""
        self._ahead = time.time() - steady()
        self._unsure = math.inf
        self._set_at = 0.0

    def set(self, database: float, asked: float, answered: float) -> None:
        """Take an answer of the database into account.

        Args:
            database: Its time of day in seconds.
            asked: The moment of :attr:`steady` before the question.
            answered: The moment of :attr:`steady` after the answer.
        """
        ahead = database - (asked + answered) / 2
        unsure = (answered - asked) / 2
        known = self._unsure + _DRIFT * (answered - self._set_at)
        # A slow answer, or an event loop that was busy meanwhile, gives a wide bound and must not make the clock jump.
        # An answer outside of both bounds means that the database's clock was set.
        if unsure <= known or abs(ahead - self._ahead) > unsure + known:
            self._ahead, self._unsure, self._set_at = ahead, unsure, answered

    def now(self) -> float:
        """Return the time in seconds."""
        return self.steady() + self._ahead
