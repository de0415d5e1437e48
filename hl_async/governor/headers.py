"""Reading what the server says about limits: total functions, junk is None."""

from __future__ import annotations

import math
from email.utils import parsedate_to_datetime
from typing import Final

LARGEST_MAX: Final = 10_000_000
_LARGEST_INTERVAL_MS: Final = 86_400_000
_LONGEST: Final = 10 * 366 * 86_400.0


def parse_retry_after(value: str | None, now_wall: float) -> float | None:
    """Seconds to wait by a ``Retry-After`` header: delta seconds or an HTTP date; None when it says nothing.

    ``now_wall`` is the wall clock in seconds since the epoch. A date in the past, and a negative number, are 0.
    """
    if not value:
        return None
    text = value.strip()
    # proxies send fractions although RFC 9110 allows whole seconds only
    try:
        seconds = float(text)
    except ValueError:
        pass
    else:
        return min(max(seconds, 0.0), _LONGEST) if math.isfinite(seconds) else None
    try:
        moment = parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return min(max(moment - now_wall, 0.0), _LONGEST)


def parse_count(value: str | None, largest: int) -> int | None:
    """A whole number from 0 to ``largest``, or None."""
    if value is None:
        return None
    if not value.isdigit():
        value = value.strip()
        if not value.isdigit():
            return None
    # int() of a hostile header with a million digits would block the event loop
    if len(value) > 15 or not value.isascii():
        return None
    number = int(value)
    return number if number <= largest else None


def parse_limits(max_text: str | None, interval_text: str | None) -> tuple[int | None, float | None]:
    """Return the requests per interval and the interval in seconds; None for a value that is not sensible."""
    milliseconds = parse_count(interval_text, _LARGEST_INTERVAL_MS)
    return parse_count(max_text, LARGEST_MAX) or None, milliseconds / 1000 if milliseconds else None
