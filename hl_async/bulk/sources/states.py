"""Internal. States of documents in the old system, and the states that a migration can reach. Pure.

A run creates drafts. Payments make an invoice paid or partially paid. Only the customer's page sets accepted and
declined (docs/api-facts.md#api-estimate-status), and sending would reach the customer, so these states stay text.
"""

from __future__ import annotations

import re
from typing import Final

from hl_async.bulk.sources.document import Document

_DRAFT: Final = re.compile(
    r"(?:draft|new|open|pending|unsent|not sent|awaiting.*|unscheduled)?", re.IGNORECASE
)
_PAID: Final = re.compile(r"(?:partially |partly |part )?(?:paid|closed|settled)|partial", re.IGNORECASE)


def state_note(document: Document, kind: str) -> str:
    """Return the fate of a document's state, for the notes of a plan. It is empty for a draft."""
    status = " ".join(document.status.split())
    if _DRAFT.fullmatch(status):
        return ""
    if kind == "estimate":
        return f"the status {status!r} is kept as text in meta: the estimate becomes a draft"
    has_payments = bool(document.payments or document.amount_paid or document.amount_due is not None)
    if _PAID.fullmatch(status) and has_payments:
        return ""
    return f"the status {status!r} is left out: the invoice becomes a draft, or paid by its payments"
