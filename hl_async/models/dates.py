"""Days and moments as the API really sends them."""

from __future__ import annotations

from datetime import date


def day_of(text: str | None) -> date | None:
    """The calendar day that a date or a date-time of the API begins with; None when it is neither.

    Requests take ``YYYY-MM-DD``, answers give that or a date-time (docs/api-facts.md#api-dates): the first ten
    characters are the day either way.
    """
    if not text:
        return None
    try:
        return date.fromisoformat(text[:10])
    except ValueError:
        return None
