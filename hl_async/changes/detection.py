"""Internal. Differences between two looks at one document.

Pure: no clock, no network, no store.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum, StrEnum, unique
from typing import Any, Final

import msgspec

from hl_async.models import Estimate, Invoice

_CONTENT: Final = (
    "name", "title", "currency", "items", "invoice_items", "discount", "total", "business_details",
    "contact_details", "issue_date_text", "expiry_date_text", "due_date_text", "terms_notes", "estimate_number",
    "estimate_number_prefix", "invoice_number", "invoice_number_prefix", "attachments", "miscellaneous_charges",
    "payment_schedule", "payment_schedule_config", "automatic_taxes_enabled", "description",
)  # fmt: skip
"""Fields that a person edits. Times, counters and the fields that the API adds are left out."""


@unique
class ChangeKind(StrEnum):
    """The kinds of changes."""

    CREATED = "created"
    SENT = "sent"
    VIEWED = "viewed"
    ACCEPTED = "accepted"
    DECLINED = "declined"
    INVOICED = "invoiced"
    PARTIALLY_PAID = "partially_paid"
    """The amount paid grew and an amount is still due. Each further payment is reported."""
    PAID = "paid"
    VOID = "void"
    EDITED = "edited"
    DELETED = "deleted"
    STATUS = "status"
    """A status that this version has no kind for, or a step back to draft; see ``Change.status``."""


_KINDS: Final = {
    "sent": ChangeKind.SENT,
    "viewed": ChangeKind.VIEWED,
    "accepted": ChangeKind.ACCEPTED,
    "declined": ChangeKind.DECLINED,
    "invoiced": ChangeKind.INVOICED,
    "partially_paid": ChangeKind.PARTIALLY_PAID,
    "paid": ChangeKind.PAID,
    "void": ChangeKind.VOID,
}


class Seen(msgspec.Struct, array_like=True, frozen=True):
    """The last state of a document, enough to see the next difference.

    Attributes:
        status: The status on the wire, or empty.
        paid: The amount paid, as text; empty for estimates.
        updated: The server's time of the last update, ISO 8601 in UTC; empty if unknown.
        digest: A digest of the fields that people edit.
        contact: The contact's id, which narrows a second look.
        passed: The number of the last complete pass that met the document.
        missing: The number of complete passes since then without it.
        older: Epoch time in seconds at which a copy with an older time was first read; 0 without such a copy.
    """

    status: str
    paid: str
    updated: str
    digest: str
    contact: str
    passed: int = 0
    missing: int = 0
    older: float = 0.0


class Change(msgspec.Struct, frozen=True):
    """One difference between two looks at a document.

    Attributes:
        id: The same in a repetition of the change: drop repetitions by it.
        kind: The kind of the change.
        location: The location's id.
        document_id: The document's id.
        previous_status: The status at the last look; None for a document that was not known.
        status: The status now.
        at: The server's time of the document's last update, in UTC; None if unknown.
        document: The document as it was read; None when it is deleted.
    """

    id: str
    kind: ChangeKind
    location: str
    document_id: str
    previous_status: str | None
    status: str | None
    at: datetime | None
    document: Estimate | Invoice | None

    def to_dict(self) -> dict[str, Any]:
        """Return the change without its document, for JSON lines and webhooks."""
        found: dict[str, Any] = msgspec.to_builtins(self, builtin_types=(Decimal,))
        found.pop("document")
        document = self.document
        if document is not None:
            contact = document.contact_details
            found["name"] = document.name
            found["total"] = None if document.total is None else str(document.total)
            found["currency"] = document.currency
            found["contact_id"] = contact.id if contact else None
        return found


def observe(document: Estimate | Invoice, passed: int) -> Seen:
    """Return the state of a document, as read in the pass with the number ``passed``."""
    contact = document.contact_details
    paid = getattr(document, "amount_paid", None)
    return Seen(
        status=str(document.status or ""),
        paid="" if paid is None else _plain(paid),
        updated="" if document.updated_at is None else document.updated_at.astimezone(UTC).isoformat(),
        digest=content_digest(document),
        contact=(contact.id if contact is not None else None) or "",
        passed=passed,
    )


def is_stale(previous: Seen, current: Seen) -> bool:
    """Return whether ``current`` was read from a copy older than ``previous``.

    Lists may lag behind writes.
    """
    return bool(previous.updated and current.updated and current.updated < previous.updated)


def differences(previous: Seen | None, current: Seen) -> tuple[ChangeKind, ...]:
    """Return the changes between two looks, in the order in which they are reported.

    A status between two looks is not guessed: draft, then accepted, is ``ACCEPTED`` alone.
    """
    if previous is None:
        # A document that is beyond draft when it is first seen was created and changed since the last look.
        started = current.status in ("", "draft")
        return (ChangeKind.CREATED,) if started else (ChangeKind.CREATED, _kind_of(current.status))
    found = []
    if current.digest != previous.digest:
        found.append(ChangeKind.EDITED)
    if current.status != previous.status:
        found.append(_kind_of(current.status))
    # A change of status is reported alone: the status names the payment already.
    elif current.paid and Decimal(current.paid) > Decimal(previous.paid or 0):
        found.append(ChangeKind.PARTIALLY_PAID)
    return tuple(found)


def change_of(
    feed: str,
    kind: ChangeKind,
    document_id: str,
    previous: Seen | None,
    current: Seen | None,
    document: Estimate | Invoice | None,
) -> Change:
    """Describe one difference under an id that a repetition shares."""
    look = current or previous
    assert look is not None
    # Made from the content, without a clock or a counter: a repetition after a crash must have the same id.
    parts = (feed, document_id, kind.value, look.updated, look.digest, look.status, look.paid)
    name = hashlib.blake2b("\x1f".join(parts).encode(), digest_size=12).hexdigest()
    return Change(
        id=name,
        kind=kind,
        location=feed.partition("/")[0],
        document_id=document_id,
        previous_status=None if previous is None else previous.status or None,
        status=None if current is None else current.status or None,
        at=datetime.fromisoformat(look.updated) if look.updated else None,
        document=document,
    )


def content_digest(document: Estimate | Invoice) -> str:
    """Digest the fields people edit; equal amounts give one digest in any spelling."""
    content = [_canonical(getattr(document, name, None)) for name in _CONTENT]
    return hashlib.blake2b(msgspec.json.encode(content), digest_size=12).hexdigest()


def _kind_of(status: str) -> ChangeKind:
    # The API has statuses beyond the declared ones: docs/api-facts.md#api-enums
    return _KINDS.get(status, ChangeKind.STATUS)


def _plain(amount: Decimal) -> str:
    return format(amount.normalize(), "f")


def _canonical(value: Any) -> Any:
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, Decimal):
        return _plain(value)
    if isinstance(value, msgspec.Struct):
        # Missing, null and empty are one content: a field that changes from one to another is not an edit.
        fields = ((name, _canonical(getattr(value, name))) for name in value.__struct_fields__)
        return {name: found for name, found in fields if found not in (None, [], {})}
    if isinstance(value, dict):
        # sorted: a map has no order on the wire
        return {str(name): _canonical(entry) for name, entry in sorted(value.items(), key=str)}
    if isinstance(value, list | tuple):
        return [_canonical(entry) for entry in value]
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Enum):
        return str(value.value)
    return repr(value) if isinstance(value, float) else None
