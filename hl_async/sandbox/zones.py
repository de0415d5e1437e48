"""Internal. Days and instants in a location's time zone."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from hl_async.errors import ConfigurationError

DEFAULT: Final = "America/Chicago"
_LAST: Final = time(23, 59, 59, 999_000)
# Read at import, so that a sandbox of this zone opens without reading a file.
_DEFAULT_ZONE: Final = ZoneInfo(DEFAULT)


def zone_of(name: str) -> ZoneInfo:
    """Return the time zone of an IANA name.

    Raises:
        ConfigurationError: The name is unknown.
    """
    if name == DEFAULT:
        return _DEFAULT_ZONE
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError, TypeError):
        problem = f"unknown time zone {name!r}; pass an IANA name such as 'Europe/Lisbon'"
    raise ConfigurationError("timezone", problem)


def instant(moment: datetime) -> str:
    """Return a moment in the API's form: UTC with milliseconds and Z."""
    moment = moment.astimezone(UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


# Where the clock is changed at midnight, fold=0 is the first instant of the day and fold=1 the last one,
# for gaps and repeated hours alike.


def day_begins(day: str, zone: ZoneInfo) -> str:
    """Return the first instant of a local day."""
    return instant(datetime.combine(date.fromisoformat(day), time(), zone))


def day_ends(day: str, zone: ZoneInfo) -> str:
    """Return the last millisecond of a local day."""
    return instant(datetime.combine(date.fromisoformat(day), _LAST.replace(fold=1), zone))


def day_at(text: str, zone: ZoneInfo) -> str:
    """Return the local day of an instant. A plain day stays unchanged."""
    if len(text) == 10:
        return text
    return datetime.fromisoformat(text).astimezone(zone).date().isoformat()


def day_after(day: str, days: int) -> str:
    """Return the day some days later."""
    return (date.fromisoformat(day) + timedelta(days=days)).isoformat()
