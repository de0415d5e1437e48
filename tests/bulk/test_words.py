"""Promises about the words of old systems: kinds are read, and each state that a run cannot reach is named."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from hl_async.bulk.sources.document import Document, DocumentPayment
from hl_async.bulk.sources.words import (
    invoice_goal,
    invoice_of,
    is_invoiced,
    kind_of,
    state_note,
    unreached_state,
)
from hl_async.errors import InvalidRequest

PAID = [DocumentPayment(amount=Decimal(5))]


def document(status: str = "", **more: Any) -> Document:
    return Document(source_id="1", status=status, **more)


@pytest.mark.parametrize("status", ["", "Draft", "open", "Awaiting response"])
def test_a_state_that_a_draft_has_is_reached(status: str) -> None:
    assert unreached_state(document(status), "estimate", marks_sent=False) == ""


@pytest.mark.parametrize(
    ("status", "kind", "more", "marks_sent", "unreached"),
    [
        ("Accepted", "estimate", {}, False, "Accepted"),
        ("Accepted", "estimate", {}, True, "Accepted"),
        ("Paid", "invoice", {"payments": PAID}, False, ""),
        ("Paid", "invoice", {}, False, "Paid"),
        ("Void", "invoice", {}, False, "Void"),
        ("Void", "invoice", {}, True, ""),
        ("Over due", "invoice", {}, True, "Over due"),
    ],
)
def test_a_state_is_reached_by_payments_or_by_marking_only(
    status: str, kind: str, more: dict[str, Any], marks_sent: bool, unreached: str
) -> None:
    assert unreached_state(document(status, **more), kind, marks_sent=marks_sent) == unreached


@pytest.mark.parametrize(
    ("kind", "place", "words"),
    [
        ("estimate", "meta", "is kept as text in meta: the estimate becomes a draft"),
        (
            "invoice",
            "meta",
            "is left out: the invoice becomes a draft, or paid by its payments (--states keeps it, --allow-sending sets it)",
        ),
        ("estimate", "notes", "is kept in the notes"),
        ("invoice", "tag", "becomes a tag of the contact"),
    ],
)
def test_the_plan_says_where_a_status_goes(kind: str, place: str, words: str) -> None:
    assert state_note("Accepted", kind, place) == f"the status 'Accepted' {words}"


@pytest.mark.parametrize(
    ("status", "goal"),
    [("Sent", "sent"), ("E-mailed", "sent"), ("past  due", "sent"), ("Cancelled", "void"), ("voided", "void"),
     ("paid", None), ("draft", None), ("not sent", None)],
)  # fmt: skip
def test_an_invoice_is_marked_only_for_words_that_are_clear(status: str, goal: str | None) -> None:
    assert invoice_goal(document(status)) == goal


@pytest.mark.parametrize(
    ("word", "kind"),
    [("Estimate", "estimate"), (" quote ", "estimate"), ("INVOICE", "invoice"), ("Tax  Invoice", "invoice")],
)
def test_common_words_for_a_kind_are_read(word: str, kind: str) -> None:
    assert kind_of(word) == kind


@pytest.mark.parametrize("word", ["bill", "credit note", "", "Q"])
def test_another_kind_of_document_is_refused_with_its_word(word: str) -> None:
    with pytest.raises(InvalidRequest, match=f"kind: '{word}' is neither estimate nor invoice"):
        kind_of(word)


def test_an_estimate_is_invoiced_by_its_own_word_before_its_status() -> None:
    statuses = frozenset(["converted"])
    assert is_invoiced(document(" Converted"), statuses)
    assert not is_invoiced(document("Converted", to_invoice=False), statuses)
    assert is_invoiced(document("draft", to_invoice=True), frozenset())
    assert not is_invoiced(document("Converted"), frozenset())


def test_the_invoice_of_an_estimate_has_its_lines_and_not_its_number() -> None:
    made = invoice_of(document("Converted", number="77", title="Quote", payments=PAID))
    assert (made.kind, made.name, made.number, made.title, made.status) == (
        "invoice",
        "Invoice 77",
        "",
        "",
        "",
    )
    assert made.payments == PAID
