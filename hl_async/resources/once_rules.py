"""Internal. Pure decisions about the next step of creating a document once."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from enum import Enum
from typing import Any, Final

import msgspec

from hl_async.errors import InvalidRequest

MARK: Final = "hl_async"
"""The member of `meta` that holds our key; other members belong to the caller."""

_CLOCK_SKEW: Final = 60.0
"""Seconds by which the API's clock may be behind ours."""


class OnceRecord(msgspec.Struct, frozen=True):
    """The record of one key in a store.

    `content` is the digest of the caller's document. `sent_at` is the time of the last request in epoch seconds, None
    before the first one. `document` is the id of the created document, None until an answer or a list names it.
    `number` is the invoice number that was generated for the key.
    """

    content: str
    sent_at: float | None = None
    document: str | None = None
    number: str | None = None


class OnceStep(Enum):
    """The next step under a key."""

    RETURN = "return"
    """The document exists."""
    CREATE = "create"
    """No request can have created it."""
    WAIT = "wait"
    """A request may still create it; look again."""
    UNDECIDED = "undecided"
    """A document with the same content exists and carries no key."""
    GONE = "gone"
    """It was created and no longer exists."""


def next_step(
    record: OnceRecord | None, *, found: bool, suspects: bool, now: float, settle: float
) -> OnceStep:
    """Decide the next step.

    Args:
        record: The key's record in the store, if there is one.
        found: The look found the document.
        suspects: The look found documents of the same content without any key.
        now: The epoch time in seconds.
        settle: Seconds after which a request without an answer can no longer create the document.
    """
    if found:
        return OnceStep.RETURN
    # A person may have deleted it, so it is not created again.
    if record is not None and record.document is not None:
        return OnceStep.GONE
    if suspects:
        return OnceStep.UNDECIDED
    # Before the settle time is over, a slow proxy may still deliver the last request.
    if record is None or record.sent_at is None or now >= record.sent_at + settle:
        return OnceStep.CREATE
    return OnceStep.WAIT


def suspicious_since(record: OnceRecord | None, now: float, settle: float) -> float:
    """Return the earliest creation time of a document that could be this key's."""
    begun = now - settle if record is None or record.sent_at is None else record.sent_at
    # The time of creation is on the API's clock, the other time on ours.
    return begun - _CLOCK_SKEW


def check_key(key: str) -> str:
    """Return the key. Raises :class:`InvalidRequest` if it is not valid."""
    if not isinstance(key, str):
        raise InvalidRequest("once", f"takes text, got {type(key).__name__}")
    if not key.strip() or len(key) > 128 or not key.isprintable():
        raise InvalidRequest("once", f"{key[:40]!r} is not a key of 1 to 128 printable characters")
    return key


def fingerprint(body: bytes) -> str:
    """Return a short digest of an encoded body: equal bodies, equal digests."""
    return hashlib.blake2b(body, digest_size=12).hexdigest()


def marked(meta: Any, key: str, content: str) -> dict[str, Any]:
    """Return `meta` with the key in it; the caller's members stay."""
    given = meta if isinstance(meta, dict) else {}
    own = given.get(MARK)
    return {**given, MARK: {**(own if isinstance(own, dict) else {}), "once": key, "content": content}}


def mark_of(meta: Any) -> tuple[str, str] | None:
    """Return the key and the digest that a document's `meta` carries."""
    own = meta.get(MARK) if isinstance(meta, dict) else None
    if not isinstance(own, dict) or not isinstance(own.get("once"), str):
        return None
    return own["once"], str(own.get("content", ""))


def number_after(number: str) -> str:
    """Return the number that follows, as wide as this one."""
    digits = re.search(r"\d+$", number)
    if digits is None:
        return f"{number}-2"
    # The width stays, because invoice numbers are text with leading zeros.
    return f"{number[: digits.start()]}{int(digits[0]) + 1:0{len(digits[0])}d}"


def lines_of(items: Sequence[Any] | None) -> list[tuple[Any, Any, Any]]:
    """Return name, unit price and quantity of each line, which identify the lines."""
    return [(one.name, one.amount, one.qty) for one in items or ()]


def looks_like(document: Any, draft: Any) -> bool:
    """Return whether a document has a draft's name, currency, contact and lines."""
    contact = document.contact_details
    lines = getattr(document, "items", None) or getattr(document, "invoice_items", None)
    # The total is left out, because the API rounds and adds automatic taxes: docs/api-facts.md#api-totals
    return bool(
        document.name == draft.name
        and document.currency == draft.currency
        and contact is not None
        and contact.id == draft.contact_details.id
        and lines_of(lines) == lines_of(draft.items)
    )
