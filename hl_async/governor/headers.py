"""Internal. Parsers of rate-limit headers. Invalid values become None."""

from __future__ import annotations

import math
from email.utils import parsedate_to_datetime
from typing import Final

LARGEST_MAX: Final = 10_000_000
_LARGEST_INTERVAL_MS: Final = 86_400_000
_LONGEST: Final = 10 * 366 * 86_400.0


def parse_retry_after(value: str | None, now_wall: float) -> float | None:
    """Return the seconds of a ``Retry-After`` header, or None if it is invalid.

    It holds delta seconds or an HTTP date. ``now_wall`` is the epoch time in seconds. Past dates and negative
    numbers give 0.
    """
    if not value:
        return None
    text = value.strip()
    # Proxies send fractions although RFC 9110 allows whole seconds only.
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
    """Parse a whole number from 0 to ``largest``, else return None."""
    if value is None:
        return None
    if not value.isdigit():
        value = value.strip()
        if not value.isdigit():
            return None
    # int() of a hostile header with a million digits would block the event loop. isdigit() accepts characters such as
    # a superscript two, at which int() raises.
    if len(value) > 15 or not value.isascii():
        return None
    number = int(value)
    return number if number <= largest else None


def parse_limits(max_text: str | None, interval_text: str | None) -> tuple[int | None, float | None]:
    """Return the requests per interval and the interval in seconds.

    None stands for a header that is missing, zero, not a number or too large.
    """
    milliseconds = parse_count(interval_text, _LARGEST_INTERVAL_MS)
    return parse_count(max_text, LARGEST_MAX) or None, milliseconds / 1000 if milliseconds else None
