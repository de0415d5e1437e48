"""Internal. Records of a source: items that can become requests, and rejects."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from hl_async.bulk.sources.document import Document, DocumentCustomer


class SourceItem(msgspec.Struct, frozen=True):
    """One request to make: a body as on the wire, without ``altId``/``altType``.

    ``ordinal`` counts documents of the source from 0. ``source_id`` is the source's key of the document, never
    assumed unique. ``ids`` fill the operation's path. ``location`` is empty when the run has one location. ``total``
    is the document's total under the documented rounding rule. ``place`` says where in the source it stands
    (``lines 12-14``). ``raw`` is its original text, for the reject file. ``kind`` is estimate or invoice, or empty
    for the run's own kind. ``is_compared`` is True if the source states a total of its own, which equals ``total``.
    ``notes`` names additions and conversions. ``document`` is the origin of the body. ``contradictions`` names
    figures about payments that do not fit together: (what, the figures). ``customer`` is whom the contacts stage
    finds a contact for, or whose contact id it checks; None leaves the body as it is. ``invoice`` is created beside
    an estimate that the old system had invoiced. ``state`` is a status that becomes a tag of the contact.
    """

    # bytes, not a struct: a journal of a million documents is read without decoding one
    ordinal: int
    source_id: str
    body: bytes
    ids: tuple[str, ...] = ()
    location: str = ""
    total: Decimal | None = None
    currency: str = ""
    place: str = ""
    raw: bytes = b""
    kind: str = ""
    is_compared: bool = False
    notes: tuple[str, ...] = ()
    document: Document | None = None
    contradictions: tuple[tuple[str, str], ...] = ()
    customer: DocumentCustomer | None = None
    invoice: SourceItem | None = None
    state: str = ""


# reprs, and scripts that look at the kind of a record, call it by the short name; models have an Item of their own
SourceItem.__name__ = "Item"


class Reject(msgspec.Struct, frozen=True):
    """One document of the source that cannot become a request, with the reason.

    ``raw`` is the document exactly as it stood in the input, so that a corrected reject file is a valid next input.
    ``skipped`` marks documents left out on purpose by the mapping (not errors). ``by_rule`` marks those that the
    mapping itself rejects.
    """

    ordinal: int
    source_id: str
    reason: str
    raw: bytes
    place: str = ""
    skipped: bool = False
    by_rule: bool = False
    total: Decimal | None = None
