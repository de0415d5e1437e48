"""Internal. The time of the sandbox, which a test can move."""

from __future__ import annotations

import time
from datetime import UTC, datetime, tzinfo

from hl_async.sandbox.zones import instant


class Clock:
    """The real clock plus an offset, which a test can change. Times are in seconds."""

    def __init__(self) -> None:
        self._offset = 0.0

    def monotonic(self) -> float:
        """Return monotonic seconds, for rate limits, durations and retries."""
        return time.monotonic() + self._offset

    def wall(self) -> float:
        """Return the seconds since 1970, for timestamps and the expiry of tokens."""
        # Both clocks have the same offset, so that tokens and rate limits see the same time pass.
        return time.time() + self._offset

    def advance(self, seconds: float) -> None:
        """Move both clocks forward by some seconds, or back by negative ones."""
        self._offset += seconds

    def timestamp(self) -> str:
        """Return the current time in the API's form: RFC 3339, UTC with milliseconds."""
        return instant(datetime.fromtimestamp(self.wall(), UTC))

    def today(self, zone: tzinfo = UTC) -> str:
        """Return the current day in a zone, as `YYYY-MM-DD`."""
        return datetime.fromtimestamp(self.wall(), zone).strftime("%Y-%m-%d")

    def local(self, zone: tzinfo) -> str:
        """Return the current local time without a zone, the form of action histories."""
        return datetime.fromtimestamp(self.wall(), zone).strftime("%Y-%m-%dT%H:%M:%S")
