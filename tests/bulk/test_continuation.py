"""Promises about a newer export of a source: only what is new is created, and what changed is named."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from hl_async import HighLevel, bulk
from hl_async.bulk.reports import RunReport
from hl_async.bulk.sources.document import (
    Document,
    DocumentCustomer,
    DocumentLine,
    DocumentPayment,
    Kind,
    encode_document,
)
from hl_async.bulk.sources.opening import open_source
from hl_async.bulk.stages.customers import ContactPolicy
from hl_async.bulk.stages.payments import PaymentPolicy
from hl_async.errors import JournalMismatch
from hl_async.models import RecordPayment
from hl_async.sandbox import Sandbox


def document(n: int, price: str = "10.00", kind: Kind = "estimate", **more: Any) -> Document:
    return Document(
        source_id=f"Q-{n}",
        kind=kind,
        name=f"Quote {n}",
        currency="USD",
        issue_date=date(2026, 1, 15),
        due_date=date(2026, 3, 15) if kind == "invoice" else None,
        customer=DocumentCustomer(name="Ada", email="ada@example.com"),
        lines=[DocumentLine(name="Door", amount=Decimal(price))],
        **more,
    )


def source(folder: Path, name: str, documents: Iterable[Document]) -> Path:
    path = folder / name
    path.write_bytes(b"".join(encode_document(one) + b"\n" for one in documents))
    return path


async def go(hl: HighLevel, path: Path, kind: Kind = "estimate", **options: Any) -> RunReport:
    opened = await asyncio.to_thread(open_source, [path], kind=kind)
    return await bulk.migrate(
        hl, opened, contacts=ContactPolicy(index_delay=0.1), payments=PaymentPolicy(allow_receipts=True),
        settle=0.3, attempt_timeout=1.0, source_name="crm", **options,
    )  # fmt: skip


def journal(path: Path) -> Path:
    return path.with_name(path.name + ".hl.db")


async def test_a_newer_export_creates_only_its_new_documents(
    hl: HighLevel, box: Sandbox, tmp_path: Path
) -> None:
    old = source(tmp_path, "old.ndjson", [document(1), document(2)])
    new = source(tmp_path, "new.ndjson", [document(1), document(2), document(3)])
    await go(hl, old)
    report = await go(hl, new, continues=journal(old))
    assert (report.state, report.created, report.skipped) == ("done", 1, 2)
    assert sorted(one["name"] for one in box.ledger.estimates()) == ["Quote 1", "Quote 2", "Quote 3"]


async def test_a_document_that_changed_in_the_source_is_named_and_not_created_again(
    hl: HighLevel, box: Sandbox, tmp_path: Path
) -> None:
    old = source(tmp_path, "old.ndjson", [document(1), document(2)])
    new = source(tmp_path, "new.ndjson", [document(1, "12.00"), document(2)])
    await go(hl, old)
    [made] = [one["_id"] for one in box.ledger.estimates() if one["name"] == "Quote 1"]
    plan = await bulk.plan(
        await asyncio.to_thread(open_source, [new]), location=box.location_id, continues=journal(old)
    )
    assert plan.forecast.items == 0
    report = await go(hl, new, continues=journal(old))
    assert (report.created, report.skipped) == (0, 2)
    text = Path(report.skipped_file).read_text("utf-8")
    assert f"created {made}; change that document in HighLevel" in text
    assert len(box.ledger.estimates()) == 2


async def test_the_journals_before_the_one_that_is_continued_count_too(
    hl: HighLevel, box: Sandbox, tmp_path: Path
) -> None:
    names = ("one.ndjson", "two.ndjson", "three.ndjson")
    paths = [source(tmp_path, name, [document(m) for m in range(n + 1)]) for n, name in enumerate(names)]
    await go(hl, paths[0])
    await go(hl, paths[1], continues=journal(paths[0]))
    report = await go(hl, paths[2], continues=journal(paths[1]))
    assert (report.created, report.skipped) == (1, 2)
    assert len(box.ledger.estimates()) == 3


async def paid_and_paid_again(
    hl: HighLevel, box: Sandbox, folder: Path, before: dict[str, Any], after: dict[str, Any]
) -> tuple[RunReport, Any]:
    """Migrate an invoice, then its newer export; return the second report and the sum that the invoice shows."""
    old = source(folder, "old.ndjson", [document(1, kind="invoice", **before)])
    new = source(folder, "new.ndjson", [document(1, kind="invoice", **after)])
    await go(hl, old, "invoice")
    report = await go(hl, new, "invoice", continues=journal(old))
    [invoice] = box.ledger.invoices()
    return report, invoice["amountPaid"]


FOUR = DocumentPayment(amount=Decimal(4), date=date(2026, 2, 1), reference="T1")
SIX = DocumentPayment(amount=Decimal(6), date=date(2026, 2, 9), reference="T2")


@pytest.mark.parametrize(
    ("before", "after", "more"),
    [
        ({}, {"payments": [FOUR]}, 4),
        ({"payments": [FOUR]}, {"payments": [FOUR, SIX]}, 6),
        ({"payments": [FOUR]}, {"payments": [SIX, FOUR]}, 6),
        ({"payments": [FOUR]}, {"payments": [FOUR, FOUR]}, 4),
        ({"amount_paid": Decimal(4)}, {"amount_paid": Decimal(10)}, 6),
    ],
)
async def test_payments_that_came_since_are_recorded_on_the_invoice_that_is_there(
    hl: HighLevel, box: Sandbox, tmp_path: Path, before: dict[str, Any], after: dict[str, Any], more: int
) -> None:
    report, shown = await paid_and_paid_again(hl, box, tmp_path, before, after)
    assert (report.state, report.created, report.skipped) == ("done", 0, 1)
    assert report.payments is not None and report.payments.sums == {"USD": more}
    assert shown == sum(one.amount for one in after.get("payments", ())) or shown == after["amount_paid"]
    found = await bulk.verify(hl, journal(tmp_path / "new.ndjson"))
    assert (found.differences, found.paid) == ([], 1)


async def test_a_rollback_names_the_payments_that_stay_on_invoices_of_an_earlier_run(
    hl: HighLevel, box: Sandbox, tmp_path: Path
) -> None:
    await paid_and_paid_again(hl, box, tmp_path, {"payments": [FOUR]}, {"payments": [FOUR, SIX]})
    found = await bulk.rollback(hl, journal(tmp_path / "new.ndjson"))
    [invoice] = box.ledger.invoices()
    assert [(one.kind, one.document, one.detail) for one in found.kept] == [
        ("payment", invoice["_id"], "a payment of 6.00 USD stays recorded: the API removes none")
    ]


async def test_payments_of_a_third_export_count_those_of_both_runs_before(
    hl: HighLevel, box: Sandbox, tmp_path: Path
) -> None:
    two = DocumentPayment(amount=Decimal("1.5"), reference="T3")
    await paid_and_paid_again(hl, box, tmp_path, {"payments": [FOUR]}, {"payments": [FOUR, two]})
    last = source(tmp_path, "last.ndjson", [document(1, kind="invoice", payments=[FOUR, two, SIX])])
    report = await go(hl, last, "invoice", continues=journal(tmp_path / "new.ndjson"))
    # 4.00 and 1.50 are recorded, so 6.00 exceed the rest and no request is made.
    assert report.payments is not None and (report.payments.recorded, report.payments.rejected) == (0, 1)
    [invoice] = box.ledger.invoices()
    assert invoice["amountPaid"] == 5.5


async def test_a_source_that_states_one_paid_sum_can_be_continued_again_and_again(
    hl: HighLevel, box: Sandbox, tmp_path: Path
) -> None:
    before, after = {"amount_paid": Decimal(2)}, {"amount_paid": Decimal(5)}
    await paid_and_paid_again(hl, box, tmp_path, before, after)
    for name, paid, words in (("same", 5, "created already"), ("more", 9, "payments to record since: 1")):
        path = source(tmp_path, f"{name}.ndjson", [document(1, kind="invoice", amount_paid=Decimal(paid))])
        report = await go(hl, path, "invoice", continues=journal(tmp_path / "new.ndjson"))
        assert words in Path(report.skipped_file).read_text("utf-8")
        [invoice] = box.ledger.invoices()
        assert invoice["amountPaid"] == paid


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"payments": [FOUR]}, {"payments": [SIX]}),
        ({"payments": [FOUR]}, {}),
        ({"payments": [DocumentPayment(amount=Decimal(11))]}, {"payments": [SIX]}),
    ],
)
async def test_payments_that_changed_or_were_never_recorded_are_named_and_left_to_a_person(
    hl: HighLevel, box: Sandbox, tmp_path: Path, before: dict[str, Any], after: dict[str, Any]
) -> None:
    paid = sum((one.amount for one in before["payments"] if one.amount <= 10), Decimal(0))
    report, shown = await paid_and_paid_again(hl, box, tmp_path, before, after)
    assert (report.created, report.payments, shown) == (0, None, paid)
    assert "its payments have changed since" in Path(report.skipped_file).read_text("utf-8")


async def test_a_payment_that_another_client_recorded_meanwhile_is_held(
    hl: HighLevel, box: Sandbox, tmp_path: Path
) -> None:
    old = source(tmp_path, "old.ndjson", [document(1, kind="invoice", payments=[FOUR])])
    new = source(tmp_path, "new.ndjson", [document(1, kind="invoice", payments=[FOUR, SIX])])
    await go(hl, old, "invoice")
    [invoice] = box.ledger.invoices()
    await hl.location().invoices.record_payment(
        invoice["_id"], RecordPayment(mode="cash", amount=Decimal(1), notes="by hand")
    )
    report = await go(hl, new, "invoice", continues=journal(old))
    assert report.payments is not None and (report.payments.recorded, report.payments.unknown) == (0, 1)


async def test_a_run_of_another_kind_cannot_be_continued(hl: HighLevel, box: Sandbox, tmp_path: Path) -> None:
    old = source(tmp_path, "old.ndjson", [document(1)])
    new = source(tmp_path, "new.ndjson", [document(1, kind="invoice")])
    await go(hl, old)
    with pytest.raises(JournalMismatch, match="the same kind of document"):
        await go(hl, new, "invoice", continues=journal(old))
    assert not journal(new).exists()
