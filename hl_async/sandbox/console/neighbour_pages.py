"""Internal. Pages of a location's contacts, users, products, payments and deals."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from hl_async.sandbox.console.document_view import document_counts, money
from hl_async.sandbox.console.rendering import PREFIX, page

if TYPE_CHECKING:
    from hl_async.sandbox.ledger import LocationState
    from hl_async.sandbox.neighbours.state import NeighbourState
    from hl_async.sandbox.state import SandboxState

Entry = Mapping[str, Any]

NEIGHBOURS: Final = ("contacts", "users", "products", "payments", "opportunities")
PAGE: Final = 50
_FACTS: Final = {
    "E-mail": "email", "Phone": "phone", "Company": "companyName", "Address": "address1", "City": "city",
    "State": "state", "Postal code": "postalCode", "Country": "country", "Source": "source", "Added": "dateAdded",
    "Changed": "dateUpdated",
}  # fmt: skip


def counts(box: SandboxState, place: LocationState) -> dict[str, int]:
    """Return the number of entries on each of a location's pages."""
    state = _state(box, place)
    return {
        "contacts": len(state.contacts),
        "users": len(state.users),
        "products": len(state.products),
        "payments": sum(len(one) for one in place.payments.values()),
        "opportunities": len(state.opportunities),
    }


def listing(box: SandboxState, place_id: str, kind: str, query: Mapping[str, str]) -> str | None:
    """Return the page of one kind, newest entries first; None if it is unknown."""
    place = box.ledger.places.get(place_id)
    if place is None or kind not in NEIGHBOURS:
        return None
    state = _state(box, place)
    wanted = query.get("q", "").lower()
    entries = [one for one in _ROWS[kind](state, place) if wanted in one["text"].lower()]
    # A person may edit the address: any text but digits means the first page.
    start = int(query["start"]) if query.get("start", "").isdecimal() else 0
    steps = {}
    if start:
        steps["Newer"] = {"q": wanted, "start": str(max(0, start - PAGE))}
    if start + PAGE < len(entries):
        steps["Older"] = {"q": wanted, "start": str(start + PAGE)}
    return page(
        f"{kind}.html",
        f"{kind.capitalize()} of {place_id}",
        base=_base(place_id),
        kinds=document_counts(place),
        neighbours=counts(box, place),
        kind=kind,
        wanted=wanted,
        count=len(entries),
        entries=entries[start : start + PAGE],
        steps=steps,
    )


def contact(box: SandboxState, place_id: str, contact_id: str) -> str | None:
    """Return the page of a contact and its documents; None if it is unknown."""
    place = box.ledger.places.get(place_id)
    found = None if place is None else _state(box, place).contacts.get(contact_id)
    if place is None or found is None:
        return None
    state = _state(box, place)
    opportunities = [one for one in state.opportunities.values() if one.get("contactId") == contact_id]
    fields = ((one.get("id"), one.get("value")) for one in found.get("customFields") or ())
    return page(
        "contact.html",
        str(found.get("name") or found.get("email") or contact_id),
        back=f"{_base(place_id)}/contacts",
        base=_base(place_id),
        facts={
            name: _time(found[field]) if field.startswith("date") else found[field]
            for name, field in _FACTS.items()
            if found.get(field)
        },
        tags=found.get("tags") or (),
        emails=[one.get("email") for one in found.get("additionalEmails") or ()],
        fields=list(fields),
        documents={
            "estimates": [_document(one) for one in _of_contact(place.estimates, contact_id)],
            "invoices": [_document(one) for one in _of_contact(place.invoices, contact_id)],
        },
        payments=[one for one in _payments(state, place) if one["contact"] == contact_id],
        opportunities=[_opportunity(state, one) for one in opportunities],
        json=json.dumps(found, indent=2, ensure_ascii=False, default=_plain),
    )


def contact_link(box: SandboxState, place: LocationState, document: Entry) -> dict[str, str] | None:
    """Return the link from a document to its contact; None if the contact is unknown."""
    contact_id = str((document.get("contactDetails") or {}).get("id"))
    found = _state(box, place).contacts.get(contact_id)
    if found is None:
        return None
    name = found.get("name") or found.get("email") or contact_id
    return {"href": f"{_base(place.id)}/contacts/{quote(contact_id)}", "text": f"Contact {name}"}


def _state(box: SandboxState, place: LocationState) -> NeighbourState:
    return box.neighbours.of(place.id, place.timezone)


def _base(place_id: str) -> str:
    return f"{PREFIX}/location/{quote(place_id)}"


def _of_contact(documents: Mapping[str, Entry], contact_id: str) -> list[Entry]:
    found = [one for one in documents.values() if (one.get("contactDetails") or {}).get("id") == contact_id]
    # The ledger has the order of creation, and the page shows the newest first.
    return found[::-1]


def _document(one: Entry) -> dict[str, str]:
    return {
        "id": str(one["_id"]),
        "name": str(one.get("name") or one["_id"]),
        "number": str(one.get("estimateNumber") or one.get("invoiceNumber") or ""),
        "status": str(one.get("estimateStatus") or one.get("status") or ""),
        "total": money(one.get("total"), str(one.get("currency") or "USD")),
    }


def _contacts(state: NeighbourState, place: LocationState) -> list[dict[str, Any]]:
    # Counted in one pass over the documents: a pass per contact would be quadratic.
    number: dict[str, int] = {}
    for one in (*place.estimates.values(), *place.invoices.values()):
        contact_id = str((one.get("contactDetails") or {}).get("id"))
        number[contact_id] = number.get(contact_id, 0) + 1
    return [
        {
            "id": one["id"],
            "name": one.get("name") or one.get("email") or one["id"],
            "email": one.get("email", ""),
            "phone": one.get("phone", ""),
            "tags": ", ".join(one.get("tags") or ()),
            "documents": number.get(one["id"], 0),
            "added": _time(one.get("dateAdded")),
            "text": _text(one, ("name", "email", "phone", "id")),
        }
        for one in reversed(state.contacts.values())
    ]


def _users(state: NeighbourState, place: LocationState) -> list[dict[str, Any]]:
    return [
        {
            "id": one["id"],
            "name": one.get("name", ""),
            "email": one.get("email", ""),
            "role": (one.get("roles") or {}).get("role", ""),
            "text": _text(one, ("name", "email", "id")),
        }
        for one in reversed(state.users)
    ]


def _products(state: NeighbourState, place: LocationState) -> list[dict[str, Any]]:
    return [
        {
            "id": one["_id"],
            "name": one["name"],
            "type": one.get("productType", ""),
            "prices": [
                f"{price['name']}: {money(price['amount'], price['currency'])}"
                for price in state.prices.get(one["_id"], {}).values()
            ],
            "text": _text(one, ("name", "_id")),
        }
        for one in reversed(state.products.values())
    ]


def _payments(state: NeighbourState, place: LocationState) -> list[dict[str, Any]]:
    taken = [
        (place.invoices.get(invoice_id, {"_id": invoice_id}), one)
        for invoice_id, payments in place.payments.items()
        for one in payments
    ]
    return [_payment(state, invoice, one) for invoice, one in reversed(taken)]


def _payment(state: NeighbourState, invoice: Entry, one: Entry) -> dict[str, Any]:
    customer = invoice.get("contactDetails") or {}
    contact_id = str(customer.get("id") or "")
    return {
        "time": _time(one.get("fulfilledAt") or invoice.get("updatedAt")),
        "invoice": str(invoice["_id"]),
        "number": str(invoice.get("invoiceNumber") or invoice["_id"]),
        # Empty for a contact that the sandbox does not hold, because its link would be a 404.
        "contact": contact_id if contact_id in state.contacts else "",
        "name": customer.get("name") or "",
        "amount": money(one["amount"], str(invoice.get("currency") or "USD")),
        "mode": one.get("mode") or one.get("provider") or "",
        "text": _text(invoice, ("name", "invoiceNumber", "_id")),
    }


def _opportunities(state: NeighbourState, place: LocationState) -> list[dict[str, Any]]:
    return [_opportunity(state, one) for one in reversed(state.opportunities.values())]


def _opportunity(state: NeighbourState, one: Entry) -> dict[str, Any]:
    stages = {stage["id"]: stage["name"] for line in state.pipelines for stage in line["stages"]}
    contact_id = str(one.get("contactId") or "")
    return {
        "id": one["id"],
        "name": one.get("name", ""),
        "stage": stages.get(one.get("pipelineStageId"), one.get("pipelineStageId") or ""),
        "status": one.get("status", ""),
        "value": one.get("monetaryValue") or "",
        "contact": contact_id if contact_id in state.contacts else "",
        "text": _text(one, ("name", "id")),
    }


_ROWS: Final = {
    "contacts": _contacts,
    "users": _users,
    "products": _products,
    "payments": _payments,
    "opportunities": _opportunities,
}


def _text(one: Entry, names: Sequence[str]) -> str:
    """Return the text that the filter of a page searches."""
    values: Iterable[Any] = (one.get(name) for name in names)
    return " ".join(str(value) for value in values if value)


def _time(value: Any) -> str:
    return str(value or "")[:19].replace("T", " ")


def _plain(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal) else str(value)
