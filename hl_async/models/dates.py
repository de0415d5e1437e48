"""Internal. Calendar days of a location, read from the instants in answers.

Answers give a day by its bounds in the location's time zone, written in UTC: an issue date is a local midnight, an
expiry or due date the last local millisecond of a day (docs/api-facts.md#api-dates). The day follows from the zone,
or without one from the time of day: midnight at UTC-6 is 06:00 in UTC. Two times of day have two readings, one on
each side of the date line: 10:00 is midnight at UTC-10 and at UTC+14, 11:00 at UTC-11 and at UTC+13. Such a day is
unknown until a zone is known; it is never guessed.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Final

from hl_async.errors import InvalidRequest

_DAY: Final = timedelta(days=1)
_HOUR: Final = timedelta(hours=1)
_QUARTER: Final = 15 * 60
_TICK: Final = timedelta(milliseconds=1)
_OFFSET: Final = re.compile(r"([+-])(\d\d):([0-5]\d)")

# Minutes east of UTC that clocks on land show, summer time included
_MINUTES: Final = (
    -660, -600, -570, -540, -480, -420, -360, -300, -240, -210, -180, -150, -120, -60, 0,
    60, 120, 180, 210, 240, 270, 300, 330, 345, 360, 390, 420, 480, 525, 540, 570, 600, 630, 660, 720, 765, 780,
    825, 840,
)  # fmt: skip
_BY_TIME: Final[dict[int, tuple[timedelta, ...]]] = {}
for _minutes in _MINUTES:
    _offset = timedelta(minutes=_minutes)
    _BY_TIME[-_minutes * 60 % 86_400] = (*_BY_TIME.get(-_minutes * 60 % 86_400, ()), _offset)

# The widest offsets of land: UTC-12 and UTC+14.
_WEST: Final = timedelta(hours=12)
_EAST: Final = timedelta(hours=14)


def check_zone(name: str) -> None:
    """Check a time zone: an IANA name, or an offset such as ``-06:00``.

    Raises:
        InvalidRequest: The zone is unknown.
    """
    if not isinstance(name, str) or _zone(name) is None:
        raise InvalidRequest(
            "timezone",
            f"{name!r} is not a time zone; pass an IANA name such as America/Denver, or an offset such as -06:00",
        )


def is_zone(name: str) -> bool:
    """Return whether `name` is a known time zone."""
    return _zone(name) is not None


@lru_cache(maxsize=1024)
def _zone(name: str) -> tzinfo | None:
    if fixed := _OFFSET.fullmatch(name):
        offset = timedelta(hours=int(fixed[2]), minutes=int(fixed[3]))
        return timezone(-offset if fixed[1] == "-" else offset) if offset <= _EAST else None
    from zoneinfo import ZoneInfo  # most clients use no zone, and save the import

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # ZoneInfoNotFoundError is a KeyError
        return None


def instant_of(text: str | None) -> datetime | None:
    """Return the moment in a date-time of the API; None for any other text.

    A plain day is not a moment.
    """
    # A plain day has no zone, so it stays a day and is not turned into midnight in UTC.
    if not text or len(text) <= len("2026-01-01"):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


@lru_cache(maxsize=4096)
def day_of(text: str | None, other: str | None = None, timezone: str | None = None) -> date | None:
    """Return the location's calendar day that a date of an answer stands for.

    Args:
        text: The date as the API wrote it.
        other: The document's other date. Its offset, at most an hour away, helps to read `text`.
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
        return None  # the first and the last day of the calendar have no neighbours


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
    # A moment inside a day. Only the document's other date can reveal the offset.
    neighbour = _day_start(other.astimezone(UTC)) if other is not None else None
    around = _offsets(neighbour[0], None, None) if neighbour is not None else ()
    days = {(utc + offset).date() for offset in around}
    return days.pop() if len(days) == 1 else None


def _day_start(utc: datetime) -> tuple[datetime, bool] | None:
    """Return the midnight that `utc` is, or ends a day before, and which of the two.

    None if it is neither.
    """
    # The end of a day was measured with .999 milliseconds. A whole second before midnight is read as well.
    for ends, edge in ((False, utc), (True, utc + _TICK), (True, utc + timedelta(seconds=1))):
        edge = edge.replace(microsecond=edge.microsecond // 1000 * 1000)
        if not edge.microsecond and (edge.minute * 60 + edge.second) % _QUARTER == 0:
            return edge, ends
    return None


def _offsets(edge: datetime, other: datetime | None, known: tzinfo | None) -> tuple[timedelta, ...]:
    """Return the offsets at which `edge` is a midnight, narrowed by the known facts."""
    offsets = _BY_TIME.get(edge.hour * 3600 + edge.minute * 60, ())
    if len(offsets) < 2:
        return offsets
    if known is not None:
        # The zone's rules changed since. The location is still on the same side of the date line.
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

    A day may begin at 01:00.
    """
    step = timedelta(seconds=1)
    day = local.date()
    return (utc - _TICK).astimezone(known).date() != day or (utc + step).astimezone(known).date() != day


def readings(text: str) -> str:
    """Return the offsets an answer's date may have; an empty text for one reading."""
    moment = instant_of(text)
    start = _day_start(moment.astimezone(UTC)) if moment is not None else None
    offsets = _offsets(start[0], None, None) if start is not None else ()
    if len(offsets) < 2:
        return ""
    return " or ".join(f"UTC{offset // _HOUR:+d}" for offset in offsets)


def offset_of(day: date, text: str | None) -> str | None:
    """Return the offset at which a date of an answer is the `day` that was sent.

    It looks like ``+13:00``.
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
    """Return the location's today.

    Without a time zone, it is the latest day that has begun everywhere.
    """
    known = _zone(timezone) if timezone else None
    # The API refuses an issue date in the future at the location: docs/api-facts.md#api-issue-date
    return now.astimezone(known).date() if known is not None else (now - _WEST).astimezone(UTC).date()


def latest_today(timezone: str | None, now: datetime) -> date:
    """Return the location's today.

    Without a time zone, it is the latest day that has begun anywhere.
    """
    known = _zone(timezone) if timezone else None
    # A check that knew only UTC would refuse days that have begun in the east.
    return now.astimezone(known).date() if known is not None else (now + _EAST).astimezone(UTC).date()
