"""Internal. The old system's words for kinds and states of documents.

A run creates drafts. Payments make an invoice paid or partially paid. Only the customer's page sets accepted and
declined (docs/api-facts.md#api-estimate-status), so these states stay text. Marking an invoice as sent may reach the
customer, so a run does it only by request.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final, Literal

import msgspec

from hl_async.bulk.sources.document import Document, Kind
from hl_async.errors import InvalidRequest

_ESTIMATES: Final = frozenset(("estimate", "quote", "quotation", "proposal", "offer"))
_INVOICES: Final = frozenset(("invoice", "tax invoice", "sales invoice"))
_DRAFT: Final = re.compile(
    r"(?:draft|new|open|pending|unsent|not sent|awaiting.*|unscheduled)?", re.IGNORECASE
)
_SENT: Final = re.compile(r"sent|e-?mailed|viewed|seen|overdue|past due|late", re.IGNORECASE)
_VOID: Final = re.compile(r"void(?:ed)?|cancell?ed|annulled", re.IGNORECASE)
_PAID: Final = re.compile(r"(?:partially |partly |part )?(?:paid|closed|settled)|partial", re.IGNORECASE)


def kind_of(word: object) -> Kind:
    """Return the kind of document that a source's word means.

    Raises:
        InvalidRequest: The word means neither an estimate nor an invoice.
    """
    plain = " ".join(str(word).split()).lower()
    if plain in _ESTIMATES:
        return "estimate"
    if plain in _INVOICES:
        return "invoice"
    raise InvalidRequest(
        "kind", f"{word!r} is neither estimate nor invoice; leave such documents out with a rule"
    )


def is_invoiced(document: Document, statuses: Collection[str]) -> bool:
    """Return whether an invoice is created beside an estimate.

    Args:
        document: The estimate.
        statuses: The statuses of estimates that the old system had invoiced, in small letters.
    """
    if document.to_invoice is not None:
        return document.to_invoice
    return bool(statuses) and " ".join(document.status.split()).lower() in statuses


def invoice_of(document: Document) -> Document:
    """Return an estimate as an invoice, without its number and a title like Quote."""
    is_named_so = " ".join(document.title.split()).lower() in _ESTIMATES
    return msgspec.structs.replace(
        document,
        kind="invoice",
        name=document.name or f"Invoice {document.number or document.source_id}",
        title="" if is_named_so else document.title,
        number="",
        number_prefix="",
        status="",
        deposit=None,
        schedule=[],
    )


def invoice_goal(document: Document) -> Literal["sent", "void"] | None:
    """Return the status that an old invoice has beyond draft and payments, or None."""
    status = " ".join(document.status.split())
    if _VOID.fullmatch(status):
        return "void"
    return "sent" if _SENT.fullmatch(status) else None


def unreached_state(document: Document, kind: str, *, marks_sent: bool) -> str:
    """Return the status that the run does not set, or an empty text.

    Args:
        document: The document.
        kind: What it becomes.
        marks_sent: The run marks invoices as sent and voids them.
    """
    status = " ".join(document.status.split())
    if _DRAFT.fullmatch(status):
        return ""
    if kind == "estimate":
        return status
    has_payments = bool(document.payments or document.amount_paid or document.amount_due is not None)
    is_paid = _PAID.fullmatch(status) and has_payments
    is_set = marks_sent and invoice_goal(document) is not None
    return "" if is_paid or is_set else status


def state_note(status: str, kind: str, place: str) -> str:
    """Return the fate of a status that the run does not set, for the notes of a plan.

    Args:
        status: The status of the old system.
        kind: What the document becomes.
        place: ``meta``, ``notes`` or ``tag``.
    """
    if place == "notes":
        return f"the status {status!r} is kept in the notes"
    if place == "tag":
        return f"the status {status!r} becomes a tag of the contact"
    if kind == "estimate":
        return f"the status {status!r} is kept as text in meta: the estimate becomes a draft"
    return (
        f"the status {status!r} is left out: the invoice becomes a draft, or paid by its payments "
        "(--states keeps it, --allow-sending sets it)"
    )
