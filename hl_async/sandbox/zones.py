"""Internal. Days and date-times in a location's time zone."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from hl_async.errors import ConfigurationError

DEFAULT: Final = "America/Chicago"
_LAST: Final = time(23, 59, 59, 999_000)
# Read at import, so that a sandbox of this zone reads no file in the event loop.
_DEFAULT_ZONE: Final = ZoneInfo(DEFAULT)


def zone_of(name: str) -> ZoneInfo:
    """Return the time zone with an IANA name.

    Raises:
        ConfigurationError: The name is unknown.
    """
    if name == DEFAULT:
        return _DEFAULT_ZONE
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError, TypeError):
        problem = f"unknown time zone {name!r}; pass an IANA name such as 'Europe/Lisbon'"
    # Outside the handler, so that the traceback shows this error alone.
    raise ConfigurationError("timezone", problem)


def instant(moment: datetime) -> str:
    """Return a date-time in the API's form: UTC with milliseconds and Z."""
    moment = moment.astimezone(UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


# If a clock change skips or repeats the end of a day, fold=0 gives its first instant and fold=1 its last one.


def day_begins(day: str, zone: ZoneInfo) -> str:
    """Return the first instant of a local day, in the API's form."""
    return instant(datetime.combine(date.fromisoformat(day), time(), zone))


def day_ends(day: str, zone: ZoneInfo) -> str:
    """Return the last millisecond of a local day, in the API's form."""
    return instant(datetime.combine(date.fromisoformat(day), _LAST.replace(fold=1), zone))


def day_at(text: str, zone: ZoneInfo) -> str:
    """Return the local day of a date-time; a plain day is returned unchanged."""
    if len(text) == 10:
        return text
    return datetime.fromisoformat(text).astimezone(zone).date().isoformat()


def day_after(day: str, days: int) -> str:
    """Return the day that is `days` days after another."""
    return (date.fromisoformat(day) + timedelta(days=days)).isoformat()
