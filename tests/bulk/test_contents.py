"""Promises of the comparison of a document with what was sent."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

import samples
from hl_async.bulk.contents import compare
from hl_async.models import Estimate, Invoice
from hl_async.models.codec import decoder, encode

TOTAL = Decimal("29.97")


def stored(**changes: Any) -> Estimate:
    """The estimate of `samples` as a list answers it, with changes in the wire's spelling."""
    sent = msgspec.json.decode(encode(samples.estimate(terms_notes="Net 30", title="Offer")))
    answer = sent | {"_id": "e1", "total": 29.97, "expiryDate": "2040-12-31T00:00:00.000Z"} | changes
    return decoder(Estimate)(msgspec.json.encode(answer))


def changed(**changes: Any) -> list[str]:
    body = encode(samples.estimate(terms_notes="Net 30", title="Offer"))
    return [str(one) for one in compare(body, stored(**changes), TOTAL)]


def test_a_document_that_is_as_it_was_sent_has_no_changes() -> None:
    assert changed() == []
    assert changed(termsNotes="Net  30 ", updatedAt="2040-01-01T00:00:00.000Z") == []


CONTACT = {
    "id": "c6tZWq1n0uEh8Rk2Lm4p",
    "name": "Alex",
    "phoneNo": "+1 (214) 559-6993",
    "email": "ALEX@example.com",
}
LINE = {"name": "Cabinets", "currency": "USD", "amount": 9.99, "qty": 3}


def test_spelling_of_phone_email_and_numbers_is_no_change() -> None:
    assert changed(contactDetails=CONTACT, items=[LINE | {"amount": "9.990", "qty": 3.0}]) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"name": "Other"}, "name: 'Kitchen' → 'Other'"),
        ({"title": None}, "title: 'Offer' → ''"),
        ({"termsNotes": "Net 10"}, "terms: 'Net 30' → 'Net 10'"),
        ({"expiryDate": "2040-12-30T00:00:00.000Z"}, "expiry date: '2040-12-31' → '2040-12-30'"),
        ({"contactDetails": CONTACT | {"name": "Sam"}}, "contact name: 'Alex' → 'Sam'"),
        ({"contactDetails": CONTACT | {"email": "sam@example.com"}}, "contact e-mail: "),
        ({"contactDetails": CONTACT | {"phoneNo": "+12145596994"}}, "contact phone: "),
        ({"items": [LINE, LINE]}, "lines: '1' → '2'"),
        ({"items": [LINE | {"qty": 4}]}, "line 1 qty: '3' → '4'"),
        ({"items": [LINE | {"name": "Door"}]}, "line 1 name: 'Cabinets' → 'Door'"),
        ({"discount": {"value": 5, "type": "fixed"}}, "discount: '0 percentage' → '5 fixed'"),
        ({"total": 30}, "total: '29.97' → '30'"),
    ],
)
def test_a_change_names_the_field_and_both_values(change: dict[str, Any], expected: str) -> None:
    found = changed(**change)
    assert len(found) == 1
    assert found[0].startswith(expected)


def test_taxes_are_compared_by_their_rates() -> None:
    body = b'{"items":[{"name":"A","amount":1,"qty":1,"taxes":[{"_id":"t","rate":8.25}]}]}'
    same = {"items": [{"name": "A", "amount": 1, "qty": 1, "taxes": [{"_id": "u", "rate": 8.25}]}]}
    assert compare(body, stored(**same), None) == []
    other = {"items": [{"name": "A", "amount": 1, "qty": 1}]}
    assert [str(one) for one in compare(body, stored(**other), None)] == ["line 1 taxes: '8.25 %' → 'none'"]


def test_a_total_under_automatic_taxes_and_lines_that_a_list_leaves_out_are_not_compared() -> None:
    body = encode(samples.estimate(title="Offer", automatic_taxes_enabled=True))
    assert compare(body, stored(total=31, items=None), TOTAL) == []


def test_an_invoice_is_compared_by_its_own_fields() -> None:
    sent = encode(samples.invoice(invoice_number="7"))
    answer = msgspec.json.decode(sent)
    answer |= {"_id": "i1", "invoiceItems": answer.pop("items"), "invoiceNumber": "8", "total": 29.97}
    found = compare(sent, decoder(Invoice)(msgspec.json.encode(answer)), TOTAL)
    assert [str(one) for one in found] == ["number: '7' → '8'"]
