"""Promises of the canonical document: exact totals in the API's arithmetic, or a reject that names the figures."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hl_async.bulk.sources.compiler import compile_document
from hl_async.bulk.sources.document import (
    Document,
    DocumentCharge,
    DocumentCustomer,
    DocumentDiscount,
    DocumentLine,
    DocumentTax,
    decode_document,
    document_schema,
    encode_document,
)
from hl_async.bulk.sources.readers import read_source
from hl_async.bulk.sources.records import SourceItem
from hl_async.bulk.sources.settings import SourceSettings
from hl_async.errors import InvalidRequest
from hl_async.models import EstimateDraft, InvoiceDraft, document_total

SETTINGS = SourceSettings(currency="USD", contact_id="c1")


def line(amount: str, qty: str = "1", **more: Any) -> DocumentLine:
    return DocumentLine(name="Door", amount=Decimal(amount), qty=Decimal(qty), **more)


def tax(rate: str | None = None, amount: str | None = None, name: str = "VAT") -> DocumentTax:
    return DocumentTax(
        name=name,
        rate=None if rate is None else Decimal(rate),
        amount=None if amount is None else Decimal(amount),
    )


def off(value: str, kind: Any = "percentage", **more: Any) -> DocumentDiscount:
    return DocumentDiscount(value=Decimal(value), type=kind, **more)


def document(*lines: DocumentLine, **more: Any) -> Document:
    base = {"source_id": "A-1", "issue_date": date(2024, 3, 1), "expiry_date": date(2024, 4, 1)}
    return Document(**{**base, "lines": list(lines), **more})


def compiled(one: Document, settings: SourceSettings = SETTINGS) -> SourceItem:
    return compile_document(one, settings, ordinal=0, latest=date(2026, 1, 1))


def draft(item: SourceItem) -> EstimateDraft:
    return msgspec.json.decode(item.body, type=EstimateDraft, strict=False)


@pytest.mark.parametrize(
    ("one", "total"),
    [
        (document(line("9.99", "3")), "29.97"),
        # the three totals that the live API was seen to compute
        (document(line("15500", "24", taxes=[tax("13")]), discount=off("5")), "399342.00"),
        (document(line("333", taxes=[tax("13")])), "376.29"),
        (document(line("372000"), line("45942"), discount=off("5")), "397044.90"),
        # discounts of a line
        (document(line("100", "3", discount=off("10"))), "270.00"),
        (document(line("33.33", "7", discount=off("12.5"), taxes=[tax("8.25")])), "220.99"),
        (document(line("10", "3", discount=off("0.01", "fixed"))), "29.99"),
        # taxes as amounts, of a line and of the document
        (document(line("10", taxes=[tax(amount="0.83")])), "10.83"),
        (document(line("10"), line("20", taxable=False), taxes=[tax(amount="0.83")]), "30.83"),
        (document(line("0.33"), line("0.33"), line("0.33"), taxes=[tax("8.25", "0.08")]), "1.07"),
        (document(line("19.99"), line("5"), discount=off("10"), taxes=[tax("7", "1.57")]), "24.06"),
        # charges are lines of their own
        (document(line("50"), charges=[DocumentCharge(name="Shipping", amount=Decimal("7.50"))]), "57.50"),
        (document(line("50"), charges=[DocumentCharge(name="Round off", amount=Decimal("-0.50"))]), "49.50"),
        # prices with tax inside
        (document(line("19.99", "3", taxes=[tax("20")], tax_inclusive=True)), "59.97"),
        (document(line("9.99", tax_inclusive=True), line("5.01", tax_inclusive=True), taxes=[tax(amount="2.50")]), "15.00"),
        (document(line("20", tax_inclusive=True, taxes=[tax("19")]), discount=off("3", "fixed")), "17.00"),
        # what the total of the source says is compared
        (document(line("9.99", "3"), total=Decimal("29.97")), "29.97"),
    ],
)  # fmt: skip
def test_a_document_is_priced_to_the_cent(one: Document, total: str) -> None:
    item = compiled(one)
    body = draft(item)
    assert str(item.total) == total
    assert document_total(body.items, "USD", body.discount) == item.total
    assert item.is_compared is (one.total is not None)


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (document(line("10"), total=Decimal("10.01")), "total: the source says 10.01 USD, the lines give 10.00 USD"),
        (document(line("10", taxes=[tax("10", "2")])), "the source says 2.00, its rate of 10 % gives 1.00"),
        (document(line("10"), taxes=[tax("10", "2")]), "the source says 2.00, its rate of 10 % gives 1.00"),
        (document(line("0"), line("5", taxable=False), taxes=[tax(amount="1")]), "no line of it is taxable"),
        (document(line("10", taxes=[tax()])), "has neither rate nor amount"),
        (document(line("10", taxes=[tax("-1")])), "-1 is negative"),
        (document(line("10", discount=off("11", "fixed"))), "11 is not a fixed discount of 10.00"),
        (document(line("10"), discount=off("101")), "101 is not a percentage discount"),
        (document(line("10", taxes=[tax("10")]), discount=off("1", "fixed", after_tax=True)), "taken after tax"),
        (document(line("10", taxes=[tax("10")]), charges=[DocumentCharge(name="x", amount=Decimal(-1))]), "charge 'x': -1 is negative, and no line that is taxed alike"),
        (document(line("10", total=Decimal(11))), "the source says 11, its price gives 10.00"),
        (document(line("-1")), "line 1 amount: -1 is negative"),
        (document(line("1", "-2")), "line 1 qty: -2 is negative"),
        (document(line("1e20")), "line 1 amount: is not finite, has more than 28 digits"),
        (document(DocumentLine(name=" ", amount=Decimal(1))), "line 1 name: is empty"),
        (document(), "the document has no lines"),
        (document(line("0")), "total: is zero"),
        (document(line("1"), currency="usd"), "must be in capitals: 'USD'"),
        (document(line("1"), currency="ZZZ"), "not an ISO 4217"),
        (document(line("1"), source_id=" "), "belong to no document"),
        (document(line("1"), issue_date=date(2027, 1, 1)), "2027-01-01 is in the future"),
        (document(line("1"), location=".."), "location"),
        (document(line("9.99", tax_inclusive=True), line("5"), taxes=[tax("10")]), "others do not"),
    ],
)  # fmt: skip
def test_what_cannot_be_priced_is_refused_with_its_figures(one: Document, reason: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        compiled(one)
    assert reason in str(caught.value)


def test_a_customer_without_a_contact_id_is_left_to_the_contacts_stage() -> None:
    customer = DocumentCustomer(email="alex@example.com", phone="(214) 559-6993", region="US")
    item = compiled(document(line("1"), customer=customer), SourceSettings(currency="USD"))
    assert b'"contactDetails":{"id":""' in item.body
    assert item.customer is not None
    assert (item.customer.contact_id, item.customer.phone) == ("", "+12145596993")


def test_a_contact_id_of_the_run_says_nothing_about_names() -> None:
    settings = SourceSettings(currency="USD", contact_id="c6tZWq1n0uEh8Rk2Lm4p")
    item = compiled(document(line("1"), customer=DocumentCustomer(name="Alex")), settings)
    assert item.customer == DocumentCustomer(contact_id="c6tZWq1n0uEh8Rk2Lm4p")


def test_an_unreadable_phone_costs_the_phone_not_the_document() -> None:
    for written, region, read in (
        ("+1 (214) 555-0100", "", "+12145550100"),
        ("0171 1234567", "DE", "+491711234567"),
        ("call me", "US", ""),
        ("555-0100", "", ""),
    ):
        item = compiled(document(line("1"), customer=DocumentCustomer(phone=written, region=region)))
        assert (draft(item).contact_details.phone_no or "") == read
        assert bool(read) is not any("phone" in note for note in item.notes)


def test_numbers_and_names_go_where_the_api_takes_them() -> None:
    item = compiled(document(line("1"), number="1042", name="x" * 40, status="Approved", po_number="PO 7"))
    body = draft(item)
    assert (body.estimate_number, len(body.name), body.title) == (1042, 40, "Estimate")
    assert body.meta == {"source": {"status": "Approved", "number": "1042", "po_number": "PO 7"}}
    padded = draft(compiled(document(line("1"), number="0042", title="Kitchen")))
    assert (padded.estimate_number, padded.name) == (msgspec.UNSET, "0042 Kitchen")


def test_a_name_that_the_plan_composes_is_cut_and_noted() -> None:
    numbered = compiled(document(line("1"), number="Q-2024-0001", title="K" * 38))
    assert draft(numbered).name == "Q-2024-0001 " + "K" * 27 + "…"
    assert "name is cut to 40 characters" in numbered.notes
    unnamed = compiled(msgspec.structs.replace(document(line("1")), source_id="d" * 60))
    assert len(draft(unnamed).name) == 40


def test_an_invoice_is_made_of_the_same_document() -> None:
    one = document(line("5", "2"), kind="invoice", number="INV-7", due_date=date(2024, 5, 1))
    item = compiled(one, msgspec.structs.replace(SETTINGS, kind="invoice"))
    body = msgspec.json.decode(item.body, type=InvoiceDraft, strict=False)
    assert (item.kind, body.invoice_number, body.due_date, body.live_mode) == (
        "invoice",
        "INV-7",
        date(2024, 5, 1),
        True,
    )
    # an invoice that is created is sent to nobody
    assert body.sent_to.email == []


def test_what_was_added_is_noted() -> None:
    item = compiled(document(line("1"), issue_date=None, expiry_date=None))
    assert item.notes == (
        "issue_date is missing: today",
        "expiry_date is missing: 30 days after issue_date",
    )


def test_a_document_survives_json_and_errors_name_the_field() -> None:
    one = document(line("12345678901234567.89", taxes=[tax("8.25")]), total=Decimal("1.10"))
    assert decode_document(encode_document(one)) == one
    assert decode_document(b'{"source_id":"1","lines":[{"name":"a","amount":"9.99"}]}').lines[
        0
    ].amount == Decimal("9.99")
    for text, reason in (
        (b'{"source_id":"1","totl":1}', "totl"),
        (b'{"source_id":"1","lines":[{"name":"a","amount":"x"}]}', r"lines\[0\].amount"),
        (b'{"source_id":"1","issue_date":"03/04/2024"}', "issue_date"),
    ):
        with pytest.raises(InvalidRequest, match=reason):
            decode_document(text)


def test_the_schema_describes_every_field() -> None:
    schema = document_schema()
    assert schema["$ref"] == "#/$defs/Document"
    assert set(schema["$defs"]["Document"]["properties"]) == set(Document.__struct_fields__)
    assert "Attributes:" in schema["$defs"]["DocumentLine"]["description"]


cents = st.integers(1, 999_999).map(lambda n: Decimal(n).scaleb(-2))
rates = st.sampled_from([None, "5", "7", "8.25", "19", "20", "9.975"])


@settings(deadline=None, max_examples=300, derandomize=True)
@given(
    st.lists(
        st.tuples(cents, st.integers(1, 40), rates, st.sampled_from([None, "10", "12.5"])),
        min_size=1,
        max_size=5,
    ),
    st.sampled_from([None, "5", "33.3"]),
    st.booleans(),
)
@pytest.mark.untraced
def test_any_mixture_keeps_its_sum_to_the_cent(
    rows: list[tuple[Decimal, int, str | None, str | None]], discount: str | None, inside: bool
) -> None:
    lines = [
        line(
            str(price), str(qty), tax_inclusive=inside,
            taxes=[] if rate is None else [tax(rate)], discount=None if less is None else off(less),
        )
        for price, qty, rate, less in rows
    ]  # fmt: skip
    one = document(*lines, discount=None if discount is None else off(discount))
    try:
        item = compiled(one)
    except InvalidRequest as error:
        assert inside and "cannot be converted" in str(error)
        return
    body = draft(item)
    assert document_total(body.items, "USD", body.discount) == item.total
    if inside:
        gross = sum(
            (
                document_total([line(str(price), str(qty))], "USD", None if less is None else off(less))
                for price, qty, _, less in rows
            ),
            Decimal(0),
        )
        assert item.total == document_total([line(str(gross))], "USD", one.discount)


def test_documents_as_ndjson_are_a_source(tmp_path: Path) -> None:
    path = tmp_path / "documents.ndjson"
    good = document(line("9.99", "3"), total=Decimal("29.97"))
    wrong = document(line("9.99", "3"), source_id="A-2", total=Decimal(30))
    path.write_bytes(
        encode_document(good)
        + b"\n"
        + encode_document(wrong)
        + b'\n{"source_id":"A-3","lnes":[]}\n'
        + encode_document(good)[:-1]
        + b',"reject_reason":"an older one"}\n'
    )
    first, second, third, fourth = read_source(path, None, settings=SETTINGS)
    assert isinstance(first, SourceItem)
    assert (first.source_id, first.total, first.is_compared, first.place) == (
        "A-1",
        Decimal("29.97"),
        True,
        "line 1",
    )
    assert "the source says 30.00 USD, the lines give 29.97 USD" in getattr(second, "reason", "")
    assert "lnes" in getattr(third, "reason", "")
    assert (getattr(second, "source_id", ""), getattr(third, "source_id", "")) == ("A-2", "A-3")
    assert isinstance(fourth, SourceItem)
