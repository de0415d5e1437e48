"""Internal. Documents whose dates need the location's time zone."""

from __future__ import annotations

from datetime import date
from typing import Any, Final

import msgspec
from msgspec import field

from hl_async.errors import InvalidRequest
from hl_async.models.dates import offset_of, readings
from hl_async.models.structs import Answer

# The times of day with two readings, and the minutes before them, in which a day ends: see `hl_async.models.dates`.
_TWICE: Final = frozenset(("09:59", "10:00", "10:59", "11:00"))


class Located(Answer, kw_only=True):
    """A document of one location.

    `timezone` is the location's, or None if the client does not know it. The API does not send it: the client adds
    it, and an export stores it as ``locationTimezone``.
    """

    timezone: str | None = field(name="locationTimezone", default=None)

    def _day(self, field: str, day: date | None, text: str) -> date:
        """Return `day`; raise if it is unknown, because a guess might be wrong."""
        if day is not None:
            return day
        several = readings(text)
        if several:
            problem = (
                f"{text!r} begins or ends a day at {several}; pass the location's time zone, as in "
                "hl.location(id, timezone='Pacific/Auckland'), or the new date"
            )
        else:
            problem = f"{text!r} is not a date; pass the new date"
        raise InvalidRequest(field, problem)


def has_unread_date(document: Located) -> bool:
    """Return whether a date of a document has a text, but no day yet."""
    return any(
        getattr(document, f"{name}_date_text", None) and getattr(document, f"{name}_date", None) is None
        for name in ("issue", "expiry", "due")
    )


def learn_offset(answer: Located, *days: tuple[object, str | None]) -> str | None:
    """Return the location's offset from UTC if the answer to a creation reveals it.

    A text with two readings reveals it, because the request sent the day that the text means. The answer's `timezone`
    is set to the offset.

    Args:
        answer: The created document.
        days: Pairs of a day that was sent, and the API's text for it.

    Returns:
        An offset such as ``+13:00``, or None.
    """
    for day, text in days:
        # Every creation passes here, and the time of day rules out most texts cheaply.
        if not text or text[11:16] not in _TWICE or not isinstance(day, date):
            continue
        if readings(text) and (offset := offset_of(day, text)):
            answer.timezone = offset
            return offset
    return None


def with_timezone(answer: Any, timezone: str) -> None:
    """Set the location's time zone on every document in an answer."""
    if isinstance(answer, Located):
        answer.timezone = timezone
        return
    # Answers wrap documents in lists and envelopes: docs/api-facts.md#api-envelopes
    for name in ("entries", "estimate", "invoice", "invoices"):
        found = getattr(answer, name, None)
        for document in found if isinstance(found, list) else (found,):
            if isinstance(document, msgspec.Struct):
                with_timezone(document, timezone)
