"""Promises about what stands beside the lines: discounts and charges, deposits, schedules, payments."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from hl_async.bulk.sources.compiler import compile_document
from hl_async.bulk.sources.document import (
    Document,
    DocumentCharge,
    DocumentCustomer,
    DocumentDiscount,
    DocumentInstallment,
    DocumentLine,
    DocumentPayment,
    DocumentTax,
)
from hl_async.bulk.sources.emails import emails_in
from hl_async.bulk.sources.readers import read_documents
from hl_async.bulk.sources.records import SourceItem
from hl_async.bulk.sources.settings import SourceSettings
from hl_async.errors import InvalidRequest
from hl_async.models import EstimateDraft, InvoiceDraft, document_total

SETTINGS = SourceSettings(currency="USD", contact_id="c1")
FIVE = DocumentCharge(name="Shipping", amount=Decimal(5))


def line(amount: str, qty: str = "1", **more: Any) -> DocumentLine:
    return DocumentLine(name="Door", amount=Decimal(amount), qty=Decimal(qty), **more)


def vat(rate: str | None = None, amount: str | None = None) -> DocumentTax:
    return DocumentTax(rate=rate and Decimal(rate), amount=amount and Decimal(amount))  # type: ignore[arg-type]


def off(value: str, kind: Any = "percentage") -> DocumentDiscount:
    return DocumentDiscount(value=Decimal(value), type=kind)


def part(value: str, kind: Any = "percentage", due: date | None = None) -> DocumentInstallment:
    return DocumentInstallment(value=Decimal(value), type=kind, due=due)


def document(*lines: DocumentLine, **more: Any) -> Document:
    return Document(source_id="A-1", issue_date=date(2024, 3, 1), lines=list(lines), **more)


def compiled(one: Document, settings: SourceSettings = SETTINGS) -> SourceItem:
    return compile_document(one, settings, ordinal=0, latest=date(2026, 1, 1))


@pytest.mark.parametrize(
    ("one", "total"),
    [
        (document(line("100"), discount=off("10"), charges=[FIVE]), "95.00"),
        (document(line("100"), discount=off("10", "fixed"), charges=[FIVE]), "95.00"),
        # the rate meets 90.00, not 90.48
        (document(line("100", taxes=[vat("20")]), discount=off("10"), charges=[FIVE]), "113.00"),
        (document(line("33.33", "3"), line("0.07", "3"), taxes=[vat("8.25")], discount=off("12.5"), charges=[FIVE]), "99.90"),
        (document(line("100"), taxes=[vat(amount="18")], discount=off("10"), charges=[FIVE]), "113.00"),
        (document(line("120", taxes=[vat("20")], tax_inclusive=True), discount=off("10"), charges=[FIVE]), "113.00"),
    ],
)  # fmt: skip
def test_a_discount_leaves_shipping_alone(one: Document, total: str) -> None:
    item = compiled(one)
    body = msgspec.json.decode(item.body, type=EstimateDraft, strict=False)
    assert str(item.total) == total
    assert document_total(body.items, "USD", body.discount) == item.total


def test_a_discount_beyond_the_lines_is_refused_even_if_shipping_would_cover_it() -> None:
    with pytest.raises(InvalidRequest, match=r"102.* is more than the lines come to, 100"):
        compiled(document(line("100"), discount=off("102", "fixed"), charges=[FIVE]))


@pytest.mark.parametrize(
    ("more", "kind", "values"),
    [
        ({"deposit": part("25")}, "percentage", ["25.0000", "75.0000"]),
        ({"deposit": part("30", "fixed")}, "fixed", ["30.00", "69.99"]),
        ({"schedule": [part("50"), part("30"), part("20")]}, "percentage", None),
        ({"schedule": [part("60", "fixed"), part("39.99", "fixed")]}, "fixed", ["60.00", "39.99"]),
        ({"schedule": [part("100")]}, None, None),
        ({"deposit": part("0")}, None, None),
    ],
)
def test_a_deposit_or_schedule_becomes_instalments_that_add_up(
    more: dict[str, Any], kind: str | None, values: list[str] | None
) -> None:
    body = msgspec.json.decode(
        compiled(document(line("99.99"), **more)).body, type=EstimateDraft, strict=False
    )
    config = body.payment_schedule_config
    if kind is None:
        assert config is msgspec.UNSET
        return
    assert isinstance(config, msgspec.Struct)
    assert config.type == kind  # type: ignore[attr-defined]
    shares = [one.value for one in config.schedules]  # type: ignore[attr-defined]
    if values is not None:
        assert [Decimal(one) for one in values] == pytest.approx(shares, abs=Decimal("0.01"))
    assert sum(shares) == (Decimal(100) if kind == "percentage" else Decimal("99.99"))


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"deposit": part("100", "fixed")}, "deposit: 100.00 is not above 0 and below the total of 99.99"),
        ({"deposit": part("101")}, "101 is not above 0 and below 100"),
        ({"deposit": part("5"), "schedule": [part("50"), part("50")]}, "the document has a schedule too"),
        ({"schedule": [part("50"), part("40")]}, "its percentages add up to 90, not to 100"),
        ({"schedule": [part("50"), part("40", "fixed")]}, "mixes percentages and amounts"),
        ({"schedule": [part("50", "fixed"), part("40", "fixed")]}, "50.00 + 40.00 is not the total of 99.99"),
    ],
)  # fmt: skip
def test_instalments_that_do_not_add_up_are_refused(more: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        compiled(document(line("99.99"), **more))
    assert reason in str(caught.value)


def test_what_the_api_cannot_keep_of_instalments_is_named() -> None:
    one = document(line("99.99"), deposit=part("25", due=date(2024, 3, 9)))
    assert "due dates of instalments are left out: the API has no field for them" in compiled(one).notes
    invoice = compiled(one, SourceSettings(currency="USD", contact_id="c1", kind="invoice"))
    assert any("the deposit or schedule of an invoice is left out" in note for note in invoice.notes)
    body = msgspec.json.decode(invoice.body, type=InvoiceDraft, strict=False)
    assert not body.payment_schedule


def paid(amount: str) -> DocumentPayment:
    return DocumentPayment(amount=Decimal(amount))


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ({"amount_paid": "40", "amount_due": "60"}, []),
        ({"amount_due": "60", "payments": ["40"]}, []),
        ({"amount_paid": "40", "amount_due": "70"}, ["amount_due is not the total less amount_paid"]),
        ({"amount_due": "70", "payments": ["40"]}, ["amount_due is not the total less amount_paid"]),
        ({"amount_paid": "40", "payments": ["40", "5"]}, ["amount_paid is not the sum of the payments"]),
        ({"amount_paid": "140"}, ["more was paid than the total"]),
        ({"amount_due": "140"}, ["more is due than the total"]),
    ],
)
def test_figures_about_payments_that_contradict_each_other_are_named(
    more: dict[str, Any], what: list[str]
) -> None:
    given = {name: Decimal(value) for name, value in more.items() if name != "payments"}
    one = document(line("100"), payments=[paid(value) for value in more.get("payments", ())], **given)
    reading = read_documents([one, one], SETTINGS)
    assert all(isinstance(found, SourceItem) for found in reading)
    assert {name: count for name, (count, _) in reading.facts.contradictions.items()} == dict.fromkeys(
        what, 2
    )
    for _, first in reading.facts.contradictions.values():
        assert first.startswith("A-1: ")


@pytest.mark.parametrize(
    ("one", "total", "note"),
    [
        (document(line("100"), line("-30")), "70.00", "are a discount"),
        (document(line("100"), line("30", "-1")), "70.00", "are a discount"),
        (document(line("100"), line("-30"), discount=off("10")), "63.00", "are a discount"),
        (document(line("100"), line("-30"), discount=off("7", "fixed"), charges=[FIVE]), "68.00", "are a discount"),
        (document(line("100"), line("-30"), taxes=[vat(amount="7")]), "77.00", "are a discount"),
        # a rate has to meet the lower price
        (document(line("100", taxes=[vat("10")]), line("50"), line("-30", taxes=[vat("10")])), "127.00", "taxed alike"),
        (document(line("100"), line("50", taxable=False), line("-30"), taxes=[vat("10")]), "127.00", "taxed alike"),
        (document(line("100", taxes=[vat("10")]), line("-30", taxes=[vat("10")]), discount=off("10")), "69.30", "taxed alike"),
        (document(line("100", taxes=[vat(amount="8.25")]), line("-30", taxes=[vat(amount="-2.48")])), "75.77", "taxed alike"),
        (document(line("110", taxes=[vat("10")], tax_inclusive=True), line("-11", taxes=[vat("10")], tax_inclusive=True)), "99.00", "taxed alike"),
        # a rounding moves the price and leaves the tax
        (document(line("89.99", taxes=[vat("18", "16.20")]), charges=[DocumentCharge(name="Round off", amount=Decimal("-0.19"))]),
         "106.00", "taxed alike"),
    ],
)  # fmt: skip
def test_lines_below_zero_keep_the_total(one: Document, total: str, note: str) -> None:
    item = compiled(one)
    body = msgspec.json.decode(item.body, type=EstimateDraft, strict=False)
    assert str(item.total) == total
    assert document_total(body.items, "USD", body.discount) == item.total
    assert any(note in found for found in item.notes)


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (document(line("-1")), "line 1 amount: -1 is negative"),
        (document(line("-1", "-1")), "qty: -1 is negative, and so is the amount of -1"),
        (document(line("10"), line("-10")), "lines of -10.00 leave nothing to pay: a credit note is not an estimate"),
        (document(line("10", taxes=[vat("10")]), line("90"), line("-20", taxes=[vat("10")])),
         "line 'Door': -20.00 is negative, and no line that is taxed alike can take it"),
        (document(line("10", taxes=[vat("10")]), line("-2")), "no line that is taxed alike can take it"),
    ],
)  # fmt: skip
def test_lines_below_zero_that_no_line_can_take_are_refused(one: Document, reason: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        compiled(one)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("cell", "first", "others"),
    [
        ("a@example.com", "a@example.com", []),
        ("a@example.com; b@example.com,a@example.com", "a@example.com", ["b@example.com"]),
        ('"Ash, Alex" <a@example.com>', "a@example.com", []),
        ("none given", "none given", []),
        ("", "", []),
    ],
)
def test_a_cell_with_several_addresses_gives_each_of_them(cell: str, first: str, others: list[str]) -> None:
    assert emails_in(cell) == (first, others)


def test_an_address_that_cannot_be_read_costs_the_address_and_is_named() -> None:
    item = compiled(document(line("1"), customer=DocumentCustomer(name="Robin", email="none given")))
    assert "email" not in msgspec.json.decode(item.body)["contactDetails"]
    assert "e-mail addresses that cannot be read are left out" in item.notes
