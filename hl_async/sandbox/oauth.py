"""Internal. Forms, key cases and lists of the OAuth routes."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any
from urllib.parse import parse_qsl

from hl_async.sandbox.refusals import unprocessable


def form_fields(content_type: str, raw: bytes, decode: Callable[[bytes], dict[str, Any]]) -> dict[str, str]:
    """Return the fields of a form or JSON body in snake case."""
    if "json" in content_type:
        fields = {name: str(value) for name, value in decode(raw).items()}
    else:
        fields = dict(parse_qsl(raw.decode("utf-8", "replace"), keep_blank_values=True))
    # v3 spells the same keys in camel case: docs/api-facts.md#api-oauth-v3
    return {_snake(name): value for name, value in fields.items()}


def camel_case(answer: dict[str, Any]) -> dict[str, Any]:
    """Return an answer with every key in camel case, the form of v3."""
    return {_camel(name): value for name, value in answer.items()}


def installed_locations(
    places: Collection[str], installed: Collection[str], query: dict[str, str], version: str
) -> dict[str, Any]:
    """Return one page of an agency's locations, in the form of an API version.

    Args:
        places: The ids of all locations.
        installed: The ids of locations with the app.
        query: The request's query.
        version: The request's Version header.
    """
    found: list[dict[str, Any]] = [
        {"_id": one, "name": f"Location {one}", "address": "1 Main Street", "isInstalled": one in installed}
        for one in places
        if query.get("isInstalled", "") not in ("true", "false")
        or (query["isInstalled"] == "true") == (one in installed)
    ]
    # The versions page and wrap differently: docs/api-facts.md#api-installed-locations
    if version == "v3":
        size, start = min(_count(query, "pageSize", 20), 100), _count(query, "pageToken", 0)
        shown = found[start : start + size]
        more = start + size < len(found)
        paging: dict[str, Any] = {
            "totalRecords": len(found),
            "hasNextPage": more,
            "hasPrevPage": start > 0,
            "currentPageSize": len(shown),
        }
        if more:
            paging["nextPageToken"] = str(start + size)
        return {"items": shown, "pagination": paging}
    start, size = _count(query, "skip", 0), _count(query, "limit", 20)
    return {
        "locations": found[start : start + size],
        "count": len(found),
        "installToFutureLocations": False,
    }


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def _count(query: dict[str, str], name: str, default: int) -> int:
    """Return a whole number from a query.

    Raises:
        Refusal: The text is not a number, or has more than nine digits.
    """
    text = query.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdecimal() or len(text) > 9:
        raise unprocessable([f"{name} must be a number string"])
    return int(text)
