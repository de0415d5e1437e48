"""Internal. Operations on contacts: look-up, search, creation, upsert and tags.

The look-up is exact, the search lags behind changes, and creation follows the location's rule about duplicates.
"""

from __future__ import annotations

import copy
from decimal import Decimal
from typing import Any, Final

from hl_async.sandbox.neighbours import checks
from hl_async.sandbox.neighbours.calls import NeighbourCall
from hl_async.sandbox.neighbours.state import Entry, Neighbours, NeighbourState
from hl_async.sandbox.refusals import Refusal, bad_request, unprocessable

_UPDATE: Final[dict[str, checks.Check]] = {
    **dict.fromkeys(
        ("firstName", "lastName", "name", "address1", "city", "state", "postalCode", "website", "timezone"),
        checks.text,
    ),
    **dict.fromkeys(("source", "assignedTo"), checks.text),
    "country": checks.country,
    "email": checks.email,
    "phone": checks.phone,
    "dnd": checks.truth,
    "dndSettings": checks.mapping,
    "inboundDndSettings": checks.mapping,
    "tags": checks.texts,
    "customFields": checks.entries,
    "dateOfBirth": checks.anything,
}
_CREATE: Final = {**_UPDATE, "gender": checks.text, "companyName": checks.text}
_UPSERT: Final = {**_CREATE, "createNewIfDuplicateAllowed": checks.truth}
_LOCATED: Final[dict[str, checks.Check]] = {"locationId": checks.filled}
_MOST_BY_PAGE: Final = 10_000


def find(call: NeighbourCall) -> Entry:
    """Return the contact with an e-mail address, else that with a phone number.

    Unknown parameters, such as `phone`, are ignored.
    """
    lagging = call.all.quirks.lookup_lags
    # The e-mail address decides if both are given.
    for field, name in (("email", "email"), ("phone", "number")):
        wanted = call.query.get(name)
        if wanted:
            entries = call.all.visible(call.state, lagging=lagging)
            found = next((one for one in entries if _matches(one, field, wanted)), None)
            if found is not None:
                return {"contact": found}
    return {"contact": None}


def search(call: NeighbourCall) -> Entry:
    """Return contacts from the index, by page number or after a contact."""
    body = call.body
    checks.check_body(
        body,
        {**_LOCATED, "pageLimit": checks.number},
        {
            "page": checks.number,
            "searchAfter": checks.anything,
            "query": checks.text,
            "filters": checks.entries,
            "sort": checks.entries,
        },
    )
    limit = int(body["pageLimit"])
    if not 1 <= limit <= 500:
        raise unprocessable(["pageLimit must not be greater than 500"])
    found = [one for one in call.all.visible(call.state, lagging=True) if _fits(one, body)]
    found.reverse()  # the newest first
    total = len(found)
    if body.get("searchAfter") is not None:
        if body.get("page") is not None:
            raise unprocessable(["page should not exist with searchAfter"])
        after = body["searchAfter"][-1]
        ids = [one["id"] for one in found]
        # If that contact was deleted since, the page is empty.
        start = ids.index(after) + 1 if after in ids else total
    else:
        start = (int(body.get("page") or 1) - 1) * limit
        if start < 0 or start + limit > _MOST_BY_PAGE:
            raise bad_request("page * pageLimit must not be more than 10000; use searchAfter")
    shown = [one | {"searchAfter": [Decimal(start), one["id"]]} for one in found[start : start + limit]]
    return {"contacts": shown, "total": total}


def get(call: NeighbourCall) -> Entry:
    return {"contact": _held(call)}


def create(call: NeighbourCall) -> Entry:
    """Create a contact. A known person is refused if the location forbids duplicates."""
    _check(call, _LOCATED, _CREATE)
    if not any(call.body.get(name) for name in ("email", "phone", "name", "firstName", "lastName")):
        raise unprocessable(["email, phone or name must be given"])
    # the location's setting decides: docs/api-facts.md#api-contacts
    if not call.all.quirks.duplicates_allowed:
        _refuse_duplicate(call, None)
    contact = _new(call.all, call.state, call.body)
    if call.all.quirks.created_despite_422 > 0:
        # One refused creation was seen to create the contact: docs/api-facts.md#api-contacts
        call.all.quirks.created_despite_422 -= 1
        raise unprocessable(["Something went wrong while creating the contact"])
    return {"contact": contact}


def update(call: NeighbourCall) -> Entry:
    """Change a contact; missing fields keep their values."""
    contact = _held(call)
    _check(call, {}, _UPDATE)
    if not call.all.quirks.duplicates_allowed:
        _refuse_duplicate(call, contact["id"])
    _write(call.all, call.state, contact, call.body)
    return {"succeded": True, "contact": contact}


def upsert(call: NeighbourCall) -> Entry:
    """Change the contact that matches, or create one."""
    _check(call, _LOCATED, _UPSERT)
    body, quirks = call.body, call.all.quirks
    if not body.get("email") and not body.get("phone"):
        raise bad_request("email or phone is required")
    # without the key, an upsert matches even if the location allows duplicates
    always_new = quirks.duplicates_allowed and body.get("createNewIfDuplicateAllowed") is True
    found = None if always_new else _match(call.all, call.state, body)
    if found is None:
        return {"new": True, "contact": _new(call.all, call.state, body)}
    changes = {name: value for name, value in body.items() if name not in ("locationId", "gender")}
    if not quirks.tags_replaced:
        # For a server that adds tags. The live API replaces them: docs/api-facts.md#api-contacts
        changes["tags"] = [*found.get("tags", ()), *changes.get("tags", ())]
    for field in ("email", "phone"):
        other = next(
            (one for one in call.state.contacts.values() if _matches(one, field, changes.get(field))), None
        )
        if other is not None and other is not found:
            del changes[field]  # the value belongs to another contact: the field is ignored without an error
    if changes.get("email") and changes["email"].lower() != str(found.get("email", "")).lower():
        # the matched further address becomes the first one, and the first is lost: docs/api-facts.md#api-contacts
        kept = [one for one in found.get("additionalEmails", ()) if one["email"] != changes["email"]]
        found["additionalEmails"] = kept
    _write(call.all, call.state, found, changes)
    return {"new": False, "contact": found}


def add_tags(call: NeighbourCall) -> Entry:
    """Add tags to a contact, and return all its tags."""
    contact = _held(call)
    _check(call, {"tags": checks.texts}, {})
    added = [tag.lower() for tag in call.body["tags"]]
    fresh = [tag for tag in dict.fromkeys(added) if tag not in contact["tags"]]
    _write(call.all, call.state, contact, {"tags": [*contact["tags"], *fresh]})
    return {"tags": contact["tags"], "tagsAdded": fresh}


def delete(call: NeighbourCall) -> Entry:
    contact = _held(call)
    del call.state.contacts[contact["id"]]
    call.all.index(call.state, contact["id"])
    return {"succeded": True}


def check_contact(neighbours: Neighbours, location: str, operation: str, body: Any) -> None:
    """Raise for a document with an unknown contact, if `contacts_looked_up` is on."""
    if not neighbours.quirks.contacts_looked_up or operation not in ("create-new-estimate", "create-invoice"):
        return
    details = body.get("contactDetails") if isinstance(body, dict) else None
    contact_id = details.get("id") if isinstance(details, dict) else None
    state = neighbours.places.get(location)
    # The live API was measured for estimates, and looked no contact up: docs/api-facts.md#api-required-fields
    if contact_id and (state is None or contact_id not in state.contacts):
        raise bad_request(f"Contact with id {contact_id} not found")


# --------------------------------------------------------------------------------------------- internals


def _check(call: NeighbourCall, needed: dict[str, checks.Check], known: dict[str, checks.Check]) -> None:
    checks.check_body(call.body, needed, known, strict=call.all.quirks.unknown_keys_refused)


def _held(call: NeighbourCall) -> Entry:
    contact = call.state.contacts.get(call.ids[0])
    if contact is None:
        raise bad_request(f"Contact with id {call.ids[0]} not found")
    return contact


def _matches(contact: Entry, field: str, wanted: Any) -> bool:
    if not wanted:
        return False
    if field == "phone":
        return bool(contact.get("phone") == wanted)
    own = [contact.get("email"), *(one.get("email") for one in contact.get("additionalEmails", ()))]
    return str(wanted).lower() in [str(one).lower() for one in own if one]


def _match(neighbours: Neighbours, state: NeighbourState, body: Entry) -> Entry | None:
    """Return the contact that the first match field finds, or the next one, or None."""
    for field in neighbours.quirks.match_order:
        for contact in state.contacts.values():
            if _matches(contact, field, body.get(field)):
                return contact
    return None


def _refuse_duplicate(call: NeighbourCall, own: str | None) -> None:
    for field in call.all.quirks.match_order:
        for contact in call.state.contacts.values():
            if contact["id"] != own and _matches(contact, field, call.body.get(field)):
                meta = {
                    "contactId": contact["id"],
                    "contactName": contact.get("name", ""),
                    "matchingField": field,
                }
                raise Refusal(400, "This location does not allow duplicated contacts.", None, meta=meta)


def _new(neighbours: Neighbours, state: NeighbourState, body: Entry) -> Entry:
    contact = {
        "id": neighbours.new_id("contact"),
        "dateAdded": neighbours.clock.timestamp(),
        "tags": [],
        "customFields": [],
        "additionalEmails": [],
        "type": "lead",
        "locationId": body["locationId"],
    }
    state.contacts[contact["id"]] = contact
    _write(neighbours, state, contact, body)
    return contact


def _write(neighbours: Neighbours, state: NeighbourState, contact: Entry, changes: Entry) -> None:
    # A copy, because the request log shows the body that was sent.
    given = copy.deepcopy(changes)
    given.pop("locationId", None)
    given.pop("createNewIfDuplicateAllowed", None)
    if "tags" in given:
        given["tags"] = list(dict.fromkeys(tag.lower() for tag in given["tags"]))
    if "email" in given:
        given["email"] = given["email"].lower()
    if "customFields" in given:
        fields = {one["id"]: one for one in contact.get("customFields", ())}
        fields |= {
            one.get("id") or one.get("key"): {
                "id": one.get("id") or one.get("key"),
                "value": one.get("field_value"),
            }
            for one in given["customFields"]
        }
        given["customFields"] = list(fields.values())
    contact |= given
    names = [contact.get("firstName"), contact.get("lastName")]
    if "name" not in given and any(names) and ("firstName" in given or "lastName" in given):
        contact["name"] = " ".join(part for part in names if part)
    contact["dateUpdated"] = neighbours.clock.timestamp()
    neighbours.index(state, contact["id"])


def _fits(contact: Entry, body: Entry) -> bool:
    query = str(body.get("query") or "").lower()
    if query:
        fields = (contact.get("name"), contact.get("email"), contact.get("phone"), contact["id"])
        if not any(query in str(field or "").lower() for field in fields):
            return False
    return all(_passes(contact, condition) for condition in body.get("filters") or ())


def _passes(contact: Entry, condition: Entry) -> bool:
    field, operator, value = condition.get("field", ""), condition.get("operator"), condition.get("value")
    if len(str(value)) > 75:
        raise unprocessable(["filters value must be shorter than or equal to 75 characters"])
    if field.startswith("customFields."):
        wanted = field.removeprefix("customFields.")
        own = next((one.get("value") for one in contact["customFields"] if one["id"] == wanted), None)
    else:
        own = contact.get(field)
    match operator:
        case "eq":
            # A list, such as tags, matches if it has the value.
            return value in own if isinstance(own, list) else bool(own == value)
        case "not_eq":
            return bool(own != value)
        case "contains":
            return str(value).lower() in str(own or "").lower()
        case "exists":
            return own not in (None, "", [])
        case "not_exists":
            return own in (None, "", [])
    raise unprocessable([f"filters operator {operator} is not supported"])
