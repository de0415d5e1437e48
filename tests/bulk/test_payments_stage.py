"""Promises about payments of a migration: recorded once, and done only when the invoice shows it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from hl_async import HighLevel, bulk
from hl_async.bulk.journals.postgres import PostgresJournals
from hl_async.bulk.reports import RunReport
from hl_async.bulk.sources.document import (
    Document,
    DocumentCustomer,
    DocumentLine,
    DocumentPayment,
    encode_document,
)
from hl_async.bulk.sources.opening import open_source
from hl_async.bulk.sources.records import SourceItem
from hl_async.bulk.stages.customers import ContactPolicy
from hl_async.bulk.stages.payments import (
    PaymentFacts,
    PaymentPolicy,
    payment_steps,
    payments_of,
    refusal_of,
)
from hl_async.models import RecordPayment
from hl_async.sandbox import Fault, Sandbox

ALLOWED = PaymentPolicy(allow_receipts=True)


def invoice(n: int, *payments: Any, **more: Any) -> Document:
    return Document(
        source_id=f"I-{n}",
        kind="invoice",
        number=f"OLD-{n}",
        name=f"Invoice {n}",
        currency="USD",
        issue_date=date(2026, 1, 15),
        due_date=date(2026, 2, 15),
        customer=DocumentCustomer(name="Ada", email="ada@example.com", phone="+12145596993"),
        lines=[DocumentLine(name="Door", amount=Decimal("100.00"))],
        payments=[DocumentPayment(amount=Decimal(str(one))) for one in payments],
        **more,
    )


def source(folder: Path, documents: Iterable[Document]) -> Path:
    path = folder / "invoices.ndjson"
    path.write_bytes(b"".join(encode_document(one) + b"\n" for one in documents))
    return path


async def go(hl: HighLevel, path: Path | None, **options: Any) -> RunReport:
    given: dict[str, Any] = {
        "contacts": ContactPolicy(index_delay=0.2),
        "payments": ALLOWED,
        "settle": 0.3,
        "attempt_timeout": 1.0,
        "max_rejects": "100%",
    }
    opened = None if path is None else await asyncio.to_thread(open_source, [path], kind="invoice")
    return await bulk.migrate(hl, opened, **(given | options))


def paid(box: Sandbox) -> dict[str, tuple[str, str]]:
    """What every invoice shows as paid, with its status."""
    return {one["name"]: (str(one["amountPaid"]), one["status"]) for one in box.ledger.invoices()}


def recorded(box: Sandbox) -> int:
    return sum(one.operation == "record-invoice" and one.status < 300 for one in box.requests)


async def test_payments_are_recorded_and_the_invoices_show_them(
    hl: HighLevel, box: Sandbox, tmp_path: Path
) -> None:
    path = source(tmp_path, [invoice(1, 30, 70), invoice(2, "12.34"), invoice(3)])
    report = await go(hl, path)
    assert (report.state, report.created) == ("done", 3)
    assert report.payments is not None
    assert (report.payments.payments, report.payments.recorded, report.payments.open) == (3, 3, 0)
    assert report.payments.sums == {"USD": Decimal("112.34")}
    assert paid(box) == {
        "Invoice 1": ("100.00", "paid"),
        "Invoice 2": ("12.34", "partially_paid"),
        "Invoice 3": ("0", "draft"),
    }


async def test_the_same_run_again_records_nothing(hl: HighLevel, box: Sandbox, tmp_path: Path) -> None:
    path = source(tmp_path, [invoice(1, 30, 70)])
    await go(hl, path)
    before = recorded(box)
    report = await go(hl, path)
    assert report.state == "done"
    assert recorded(box) == before == 2


async def test_a_paid_sum_without_payments_becomes_one_payment(
    hl: HighLevel, box: Sandbox, tmp_path: Path
) -> None:
    await go(hl, source(tmp_path, [invoice(1, amount_paid=Decimal(40), amount_due=Decimal(60))]))
    assert paid(box) == {"Invoice 1": ("40.00", "partially_paid")}


async def test_a_lost_answer_is_asked_about_and_not_repeated(
    hl: HighLevel, box: Sandbox, tmp_path: Path
) -> None:
    box.faults.script("record-invoice", Fault.RESET_AFTER_COMMIT, times=2)
    report = await go(hl, source(tmp_path, [invoice(n, 30, 70) for n in range(4)]))
    assert report.state == "done"
    assert {one for one, _ in paid(box).values()} == {"100.00"}
    assert report.payments is not None and report.payments.recorded == 8


async def test_a_request_that_was_lost_is_sent_again(hl: HighLevel, box: Sandbox, tmp_path: Path) -> None:
    box.faults.script("record-invoice", Fault.RESET_BEFORE_COMMIT, times=2)
    report = await go(hl, source(tmp_path, [invoice(n, 100) for n in range(3)]))
    assert report.state == "done"
    assert {one for one, _ in paid(box).values()} == {"100.00"}


async def test_an_invoice_that_another_client_paid_is_left_to_a_person(
    hl: HighLevel, box: Sandbox, tmp_path: Path
) -> None:
    path = source(tmp_path, [invoice(1, 30)])
    await go(hl, path, payments=PaymentPolicy())
    [made] = box.ledger.invoices()
    await hl.location().invoices.record_payment(
        made["_id"], RecordPayment(mode="cash", amount=Decimal(5), notes="by hand")
    )
    report = await go(hl, path)
    assert report.payments is not None and report.payments.unknown == 1
    [reason] = report.payments.reasons
    assert "shows 5 USD as paid, and this run expected 0" in reason
    assert paid(box) == {"Invoice 1": ("5", "partially_paid")}


async def test_a_location_that_sends_receipts_gets_no_payment_unless_allowed(
    hl: HighLevel, box: Sandbox, tmp_path: Path
) -> None:
    path = source(tmp_path, [invoice(1, 30)])
    report = await go(hl, path, payments=PaymentPolicy())
    assert report.state == "stopped"
    assert "may send its customers a receipt" in report.reason
    assert recorded(box) == 0
    settings = box.ledger.places[box.location_id].settings
    settings["customNotification"]["customerPaymentSuccess"]["enabled"] = False
    report = await go(hl, path, payments=PaymentPolicy())
    assert report.state == "done"
    assert recorded(box) == 1


async def test_payments_can_be_left_out(hl: HighLevel, box: Sandbox, tmp_path: Path) -> None:
    report = await go(hl, source(tmp_path, [invoice(1, 30)]), payments=PaymentPolicy(record=False))
    assert report.state == "done"
    assert report.payments is None
    assert recorded(box) == 0


async def test_a_payment_above_the_due_sum_and_a_refund_are_named(
    hl: HighLevel, box: Sandbox, tmp_path: Path
) -> None:
    report = await go(hl, source(tmp_path, [invoice(1, 60, 60), invoice(2, -5)]))
    assert report.payments is not None
    assert (report.payments.recorded, report.payments.rejected) == (1, 2)
    reasons = "\n".join(report.payments.reasons)
    assert "payment 2 of I-1 is 60.00 USD, and 40.00 USD are due" in reasons
    assert "the API records no refunds" in reasons


async def test_verify_names_an_invoice_whose_paid_sum_differs(
    hl: HighLevel, box: Sandbox, tmp_path: Path
) -> None:
    path = source(tmp_path, [invoice(1, 30)])
    await go(hl, path)
    same = await bulk.verify(hl, path.with_name("invoices.ndjson.hl.db"))
    assert (same.paid, same.differences) == (1, [])
    [made] = box.ledger.invoices()
    await hl.location().invoices.record_payment(
        made["_id"], RecordPayment(mode="cash", amount=Decimal(5), notes="by hand")
    )
    other = await bulk.verify(hl, path.with_name("invoices.ndjson.hl.db"))
    [finding] = [one for one in other.differences if one.kind == "unpaid"]
    assert "shows 35.00 USD as paid, and the run recorded 30.00" in finding.detail


def test_a_due_sum_stands_for_a_missing_paid_sum() -> None:
    [payment] = payments_of(invoice(1, amount_due=Decimal(25)), Decimal(100))
    assert payment.amount == 75
    assert payments_of(invoice(1, amount_due=Decimal(100)), Decimal(100)) == []


def test_a_payment_of_exactly_the_due_sum_is_not_refused() -> None:
    facts = PaymentFacts(amount=Decimal("40.00"), currency="USD", position=1, source_id="I-1")
    assert refusal_of(facts, Decimal(40)) == ""


def test_a_payment_keeps_its_day_its_cheque_and_the_words_of_the_source() -> None:
    cheque = DocumentPayment(
        amount=Decimal(30), date=date(2026, 3, 9), mode="Business check", reference="1042"
    )
    card = DocumentPayment(amount=Decimal(20), mode="Visa", reference="ch_1")
    document = msgspec.structs.replace(invoice(1), payments=[cheque, card])
    item = SourceItem(
        7, "I-1", b"{}", total=Decimal(100), currency="USD", kind="invoice", location="loc", document=document
    )
    first, second = payment_steps(item, "key")
    assert (first.key, second.key, first.documents) == ("key/1", "key/2", (7,))
    assert msgspec.json.decode(first.body) == {
        "mode": "cheque",
        "cheque": {"number": "1042"},
        "notes": "2026-03-09, Business check, 1042",
        "fulfilledAt": "2026-03-09T12:00:00Z",
        "amount": 30,
        "meta": {"hl_async": {"payment": "key/1"}},
    }
    other = msgspec.json.decode(second.body)
    assert (other["mode"], other["notes"]) == ("other", "Visa, ch_1")


async def test_a_journal_in_postgres_records_each_payment_once_too(
    hl: HighLevel, box: Sandbox, tmp_path: Path, dsn: str
) -> None:
    box.faults.script("record-invoice", Fault.RESET_AFTER_COMMIT, Fault.RESET_BEFORE_COMMIT)
    place = PostgresJournals(dsn, f"payments-{tmp_path.name}", holder="here")
    path = source(tmp_path, [invoice(n, 30, 70) for n in range(3)])
    report = await go(hl, path, journal=place)
    assert report.state == "done"
    assert report.payments is not None and report.payments.recorded == 6
    assert {one for one, _ in paid(box).values()} == {"100.00"}
    again = await go(hl, path, journal=place)
    assert again.payments == report.payments
