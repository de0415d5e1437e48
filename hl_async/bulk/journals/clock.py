"""The time of day for journals, which setting the machine's clock does not move. Internal."""

from __future__ import annotations

import time
from collections.abc import Callable


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
