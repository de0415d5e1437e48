"""Internal. Calendar days of a location, read from the date-times in answers.

Answers state a day by one of its ends in the location's time zone, written in UTC. An issue date is the first local
moment of the day, an expiry or due date its last local millisecond (docs/api-facts.md#api-dates). A known time zone
gives the day. Without one, the time of day reveals the offset: midnight at UTC-6 is 06:00 in UTC.

Two times of day have two readings, one on each side of the date line. 10:00 is midnight at UTC-10 and at UTC+14,
11:00 at UTC-11 and at UTC+13. Such a day stays unknown until the zone is known. It is never guessed.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Final

from hl_async.errors import InvalidRequest

_DAY: Final = timedelta(days=1)
_HOUR: Final = timedelta(hours=1)
# Seconds: offsets of land are multiples of a quarter of an hour, so a local midnight falls on one in UTC.
_QUARTER: Final = 15 * 60
_TICK: Final = timedelta(milliseconds=1)
_OFFSET: Final = re.compile(r"([+-])(\d\d):([0-5]\d)")

# The offsets from UTC that are in use on land, in minutes to the east, summer time included.
_MINUTES: Final = (
    -660, -600, -570, -540, -480, -420, -360, -300, -240, -210, -180, -150, -120, -60, 0,
    60, 120, 180, 210, 240, 270, 300, 330, 345, 360, 390, 420, 480, 525, 540, 570, 600, 630, 660, 720, 765, 780,
    825, 840,
)  # fmt: skip
_BY_TIME: Final[dict[int, tuple[timedelta, ...]]] = {}
# Midnight at an offset east of UTC is as much earlier in UTC: 06:00 belongs to UTC-6.
for _minutes in _MINUTES:
    _offset = timedelta(minutes=_minutes)
    _BY_TIME[-_minutes * 60 % 86_400] = (*_BY_TIME.get(-_minutes * 60 % 86_400, ()), _offset)

# The widest offsets of land: UTC-12 and UTC+14.
_WEST: Final = timedelta(hours=12)
_EAST: Final = timedelta(hours=14)


def check_zone(name: str) -> None:
    """Raise unless `name` is an IANA time zone, or an offset such as ``-06:00``.

    Raises:
        InvalidRequest: The zone is unknown, or the offset is above 14 hours.
    """
    if not isinstance(name, str) or _zone(name) is None:
        raise InvalidRequest(
            "timezone",
            f"{name!r} is not a time zone; pass an IANA name such as America/Denver, or an offset such as -06:00",
        )


def is_zone(name: str) -> bool:
    """Return whether `name` is an IANA time zone, or an offset such as ``-06:00``."""
    return _zone(name) is not None


@lru_cache(maxsize=1024)
def _zone(name: str) -> tzinfo | None:
    if fixed := _OFFSET.fullmatch(name):
        offset = timedelta(hours=int(fixed[2]), minutes=int(fixed[3]))
        return timezone(-offset if fixed[1] == "-" else offset) if offset <= _EAST else None
    from zoneinfo import ZoneInfo  # imported here, because most clients never name a zone

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # ZoneInfoNotFoundError is a KeyError
        return None


def instant_of(text: str | None) -> datetime | None:
    """Return the date-time in a text of the API; None for any other text.

    A date-time without a zone counts as UTC. A date without a time gives None.
    """
    # A date has no zone: as midnight in UTC it would become the day before for a location in the west.
    if not text or len(text) <= len("2026-01-01"):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


# Cached, because the properties of a document read the same texts again and again.
@lru_cache(maxsize=4096)
def day_of(text: str | None, other: str | None = None, timezone: str | None = None) -> date | None:
    """Return the location's calendar day that a date of an answer means.

    Args:
        text: The date as the API wrote it.
        other: The document's other date. The offsets of the two differ by at most an hour of summer time, so it can
            decide between two readings of `text`.
        timezone: The location's time zone, if it is known; see `check_zone`.

    Returns:
        The day, or None if `text` is missing, is not a date, or has several readings.
    """
    if not text:
        return None
    moment = instant_of(text)
    if moment is None:
        return _plain(text)
    known = _zone(timezone) if timezone else None
    try:
        return _local_day(moment, instant_of(other), known)
    except (OverflowError, ValueError):
        return None  # a conversion left the years 1 to 9999


def _plain(text: str) -> date | None:
    try:
        return date.fromisoformat(text[:10]) if len(text) == len("2026-01-01") else None
    except ValueError:
        return None


def _local_day(moment: datetime, other: datetime | None, known: tzinfo | None) -> date | None:
    if moment.utcoffset():
        return moment.date()  # the text is local time already
    utc = moment.astimezone(UTC)
    if known is not None:
        local = utc.astimezone(known)
        if _bounds_a_day(local, utc, known):
            return local.date()
    start = _day_start(utc)
    offsets = _offsets(start[0], other, known) if start is not None else ()
    if start is not None and offsets:
        edge, ends = start
        day = (edge + offsets[0]).date()
        return None if len(offsets) > 1 else day - _DAY if ends else day
    if known is not None:
        return utc.astimezone(known).date()
    # Neither the start nor the end of a day. Only the document's other date can reveal the offset.
    neighbour = _day_start(other.astimezone(UTC)) if other is not None else None
    around = _offsets(neighbour[0], None, None) if neighbour is not None else ()
    days = {(utc + offset).date() for offset in around}
    return days.pop() if len(days) == 1 else None


def _day_start(utc: datetime) -> tuple[datetime, bool] | None:
    """Return the midnight that `utc` marks, and whether `utc` ends the day before it.

    A day starts at midnight and ends a millisecond or a second before it. None if `utc` is neither.
    """
    # The measured ends of days are .999 of a second; whole seconds are accepted too. docs/api-facts.md#api-dates
    for ends, edge in ((False, utc), (True, utc + _TICK), (True, utc + timedelta(seconds=1))):
        edge = edge.replace(microsecond=edge.microsecond // 1000 * 1000)
        if not edge.microsecond and (edge.minute * 60 + edge.second) % _QUARTER == 0:
            return edge, ends
    return None


def _offsets(edge: datetime, other: datetime | None, known: tzinfo | None) -> tuple[timedelta, ...]:
    """Return the offsets from UTC at which `edge` is midnight.

    The other date of the document, or a known zone, excludes offsets if there are several.
    """
    offsets = _BY_TIME.get(edge.hour * 3600 + edge.minute * 60, ())
    if len(offsets) < 2:
        return offsets
    if known is not None:
        # The zone's rules have changed since the API wrote the date, else the day would be known by now. The location
        # is still on the same side of the date line.
        near = known.utcoffset(edge.astimezone(known).replace(tzinfo=None)) or timedelta()
        return (min(offsets, key=lambda offset: abs(offset - near)),)
    neighbour = _day_start(other.astimezone(UTC)) if other is not None else None
    if neighbour is None:
        return offsets
    around = _BY_TIME.get(neighbour[0].hour * 3600 + neighbour[0].minute * 60, ())
    narrowed = tuple(offset for offset in offsets if any(abs(offset - one) <= _HOUR for one in around))
    return narrowed or offsets


def _bounds_a_day(local: datetime, utc: datetime, known: tzinfo) -> bool:
    """Return whether a moment is the first or the last one of a local day.

    The neighbouring moments decide, not the clock: where summer time starts at midnight, the day begins at 01:00.
    """
    step = timedelta(seconds=1)
    day = local.date()
    return (utc - _TICK).astimezone(known).date() != day or (utc + step).astimezone(known).date() != day


def readings(text: str) -> str:
    """Return the readings of an ambiguous date, such as ``UTC-10 or UTC+14``.

    The text is empty if the date has one reading or none.
    """
    moment = instant_of(text)
    start = _day_start(moment.astimezone(UTC)) if moment is not None else None
    offsets = _offsets(start[0], None, None) if start is not None else ()
    if len(offsets) < 2:
        return ""
    return " or ".join(f"UTC{offset // _HOUR:+d}" for offset in offsets)


def offset_of(day: date, text: str | None) -> str | None:
    """Return the offset from UTC, such as ``+13:00``, at which `text` means `day`.

    Args:
        day: The day that a request sent.
        text: The same date in the answer.

    Returns:
        The offset, or None if `text` is neither the start nor the end of a day, or no offset of land fits.
    """
    moment = instant_of(text)
    bound = _day_start(moment.astimezone(UTC)) if moment is not None else None
    if bound is None or day == date.max:
        return None
    edge, ends = bound
    first = day + _DAY if ends else day
    offset = datetime(first.year, first.month, first.day, tzinfo=UTC) - edge
    if not -_WEST <= offset <= _EAST:
        return None
    minutes = int(offset.total_seconds()) // 60
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"


def today(timezone: str | None, now: datetime) -> date:
    """Return the current day at the location.

    Without a time zone, it is the latest day that has begun everywhere on earth.
    """
    known = _zone(timezone) if timezone else None
    # The API refuses an issue date in the future at the location: docs/api-facts.md#api-issue-date
    return now.astimezone(known).date() if known is not None else (now - _WEST).astimezone(UTC).date()


def latest_today(timezone: str | None, now: datetime) -> date:
    """Return the current day at the location.

    Without a time zone, it is the latest day that has begun anywhere on earth.
    """
    known = _zone(timezone) if timezone else None
    # Today in UTC would be too early: a check against it would refuse days that have begun in the east.
    return now.astimezone(known).date() if known is not None else (now + _EAST).astimezone(UTC).date()
