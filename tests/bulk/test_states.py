"""Promises about states of the old system: each one that a run cannot reach is named in its plan."""

from __future__ import annotations

from decimal import Decimal

import pytest

from hl_async.bulk.sources.document import Document, DocumentPayment
from hl_async.bulk.sources.words import state_note


@pytest.mark.parametrize("status", ["", "Draft", "open", "Awaiting response"])
def test_a_state_that_a_draft_has_needs_no_word(status: str) -> None:
    assert state_note(Document(source_id="1", status=status), "estimate") == ""


def test_an_accepted_estimate_becomes_a_draft_that_keeps_the_word() -> None:
    note = state_note(Document(source_id="1", status="Accepted"), "estimate")
    assert note == "the status 'Accepted' is kept as text in meta: the estimate becomes a draft"


def test_a_paid_invoice_gets_its_state_from_its_payments() -> None:
    paid = Document(source_id="1", status="Paid", payments=[DocumentPayment(amount=Decimal(5))])
    assert state_note(paid, "invoice") == ""
    assert "'Paid' is left out" in state_note(Document(source_id="1", status="Paid"), "invoice")


def test_a_void_invoice_is_named() -> None:
    assert "'Void' is left out" in state_note(Document(source_id="1", status="Void"), "invoice")
