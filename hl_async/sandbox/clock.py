"""Internal. The time of the sandbox: real, or moved by a test."""

from __future__ import annotations

import time
from datetime import UTC, datetime, tzinfo

from hl_async.sandbox.zones import instant


class Clock:
    """The real clock, with an offset that a test may move. Seconds."""

    def __init__(self) -> None:
        self._offset = 0.0

    def monotonic(self) -> float:
        """Return the seconds that windows and latencies use."""
        return time.monotonic() + self._offset

    def wall(self) -> float:
        """Return the seconds since the epoch, for timestamps and expiry."""
        # The offset is common to both clocks, so that a moved token expires when its window has moved on too.
        return time.time() + self._offset

    def advance(self, seconds: float) -> None:
        """Move both clocks."""
        self._offset += seconds

    def timestamp(self) -> str:
        """Return the moment in the API's form: RFC 3339 with milliseconds and Z."""
        return instant(datetime.fromtimestamp(self.wall(), UTC))

    def today(self, zone: tzinfo = UTC) -> str:
        """Return the day in a zone, `YYYY-MM-DD`."""
        return datetime.fromtimestamp(self.wall(), zone).strftime("%Y-%m-%d")

    def local(self, zone: tzinfo) -> str:
        """Return the local time without a zone, the form of action histories."""
        return datetime.fromtimestamp(self.wall(), zone).strftime("%Y-%m-%dT%H:%M:%S")
