"""Internal. Locations and their users."""

from __future__ import annotations

from typing import Any, Final

from hl_async.sandbox.ledger import LocationState
from hl_async.sandbox.neighbours import checks
from hl_async.sandbox.neighbours.calls import NeighbourCall
from hl_async.sandbox.neighbours.state import Entry, Neighbours
from hl_async.sandbox.refusals import Refusal, bad_request, unprocessable

_SENDING: Final = ("send-estimate", "send-invoice", "text2pay-invoice")


def details(call: NeighbourCall) -> Entry:
    settings = {
        "allowDuplicateContact": call.all.quirks.duplicates_allowed,
        "allowDuplicateOpportunity": False,
        "allowFacebookNameMerge": False,
        "disableContactTimezone": False,
    }
    return {"location": call.state.details | {"settings": settings}}


def search_users(call: NeighbourCall) -> Entry:
    """Return a page of one location's users."""
    # companyId is required, although the token already implies it
    if not call.query.get("companyId"):
        raise unprocessable(["companyId must be a string", "companyId should not be empty"])
    if call.query["companyId"] != call.all.company_id:
        raise Refusal(403, "The token does not have access to this company.")
    query = call.query.get("query", "").lower()
    role = call.query.get("role")
    found = [
        one
        for one in call.state.users
        if any(query in str(one.get(name, "")).lower() for name in ("name", "email", "phone"))
        and (not role or one["roles"]["role"] == role)
    ]
    start, limit = checks.count(call.query, "skip", 0), checks.count(call.query, "limit", 25)
    return {"users": found[start : start + limit], "count": len(found)}


def check_user(neighbours: Neighbours, place: LocationState, operation: str, body: Any) -> None:
    """Raise for a sender who is an unknown user, if `users_looked_up` is set."""
    if not neighbours.quirks.users_looked_up or operation not in _SENDING or not isinstance(body, dict):
        return
    user_id = body.get("userId")
    # It is unknown whether the live API looks the user up, so this is a switch.
    if user_id and not any(one["id"] == user_id for one in neighbours.of(place.id, place.timezone).users):
        raise bad_request(f"User with id {user_id} not found")


def locations(neighbours: Neighbours, known: list[str], query: dict[str, str]) -> Entry:
    """Return a page of an agency's locations."""
    start, limit = checks.count(query, "skip", 0), checks.count(query, "limit", 10)
    entries = [neighbours.of(one).details for one in known]
    email = query.get("email")
    found = [one for one in entries if not email or one["email"] == email]
    return {"locations": found[start : start + limit]}
