"""Time in the sandbox: real, or moved by a test."""

from __future__ import annotations

import time
from datetime import UTC, datetime


class Clock:
    """The real clock, with an offset that a test may move. Seconds."""

    def __init__(self) -> None:
        self._offset = 0.0

    def monotonic(self) -> float:
        """For windows and latencies."""
        return time.monotonic() + self._offset

    def wall(self) -> float:
        """Seconds since the epoch, for timestamps and expiry."""
        return time.time() + self._offset

    def advance(self, seconds: float) -> None:
        """Move both clocks."""
        self._offset += seconds

    def timestamp(self) -> str:
        """Now, as the API writes it: RFC 3339 with milliseconds and Z."""
        moment = datetime.fromtimestamp(self.wall(), UTC)
        return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"

    def today(self) -> str:
        """The day in UTC, ``YYYY-MM-DD``."""
        return datetime.fromtimestamp(self.wall(), UTC).strftime("%Y-%m-%d")
