"""Promises about sources with estimates and invoices: one run, one journal, each document once."""

from __future__ import annotations

import asyncio
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
from hl_async.errors import AlreadyMigrated
from hl_async.sandbox import Fault, Sandbox


def document(source_id: str, kind: Kind, who: str = "Ada", **more: Any) -> Document:
    return Document(
        source_id=source_id,
        kind=kind,
        name=f"{kind.capitalize()} {source_id}",
        currency="USD",
        issue_date=date(2026, 1, 15),
        due_date=date(2026, 3, 15),
        customer=DocumentCustomer(name=who, email=f"{who.lower()}@example.com"),
        lines=[DocumentLine(name="Door", amount=Decimal("10.00"))],
        **more,
    )


def paid(source_id: str, *amounts: str, who: str = "Ada") -> Document:
    payments = [DocumentPayment(amount=Decimal(one), reference=f"T{n}") for n, one in enumerate(amounts)]
    return document(source_id, "invoice", who, payments=payments)


def source(folder: Path, *documents: Document, name: str = "books.ndjson") -> Path:
    path = folder / name
    path.write_bytes(b"".join(encode_document(one) + b"\n" for one in documents))
    return path


async def go(hl: HighLevel, path: Any, **options: Any) -> RunReport:
    return await bulk.migrate(
        hl, path, contacts=ContactPolicy(index_delay=0.1), payments=PaymentPolicy(allow_receipts=True), settle=0.3,
        attempt_timeout=1.0, source_name="books", **options,
    )  # fmt: skip


def held(box: Sandbox) -> list[dict[str, Any]]:
    return list(box.neighbours.of(box.location_id).contacts.values())


def journal(path: Path) -> Path:
    return path.with_name(path.name + ".hl.db")


async def test_one_run_creates_the_estimates_and_the_invoices_of_a_source(
    hl: HighLevel, box: Sandbox, tmp_path: Path
) -> None:
    path = source(tmp_path, document("1", "estimate"), paid("1", "4.00"), paid("2", "10.00", who="Bo"))
    report = await go(hl, path)
    assert (report.state, report.created, report.kinds) == ("done", 3, {"estimate": 1, "invoice": 2})
    assert [one["name"] for one in box.ledger.estimates()] == ["Estimate 1"]
    assert sorted((one["name"], one["status"]) for one in box.ledger.invoices()) == [
        ("Invoice 1", "partially_paid"),
        ("Invoice 2", "paid"),
    ]
    found = await bulk.verify(hl, journal(path))
    assert (found.differences, found.documents, found.paid) == ([], 3, 2)


async def test_both_kinds_share_one_contact_per_customer(hl: HighLevel, box: Sandbox, tmp_path: Path) -> None:
    await go(hl, source(tmp_path, document("1", "estimate"), paid("1"), paid("2")))
    documents = [*box.ledger.estimates(), *box.ledger.invoices()]
    assert len({one["contactDetails"]["id"] for one in documents}) == 1
    assert len(held(box)) == 1


async def test_a_run_of_invoices_only_needs_no_choice_of_kind(
    hl: HighLevel, box: Sandbox, tmp_path: Path
) -> None:
    report = await go(hl, source(tmp_path, paid("1", "10.00")))
    assert (report.state, report.created, report.payments and report.payments.recorded) == ("done", 1, 1)
    assert not box.ledger.estimates()


async def test_a_lost_answer_of_either_kind_creates_nothing_twice(
    hl: HighLevel, box: Sandbox, tmp_path: Path
) -> None:
    kinds: tuple[Kind, ...] = ("estimate", "invoice")
    path = source(tmp_path, *(document(f"{n}", kind) for n in range(6) for kind in kinds))
    for operation in ("create-new-estimate", "create-invoice"):
        box.faults.script(operation, Fault.RESET_AFTER_COMMIT, times=2)
    report = await go(hl, path)
    assert (report.state, report.created) == ("done", 12)
    assert (len(box.ledger.estimates()), len(box.ledger.invoices())) == (6, 6)


async def test_a_rollback_takes_both_kinds_and_their_contacts_back(
    hl: HighLevel, box: Sandbox, tmp_path: Path
) -> None:
    path = source(tmp_path, document("1", "estimate"), document("2", "invoice"))
    await go(hl, path)
    found = await bulk.rollback(hl, journal(path))
    assert (found.state, found.deleted, found.contacts_deleted, found.kept) == ("rolled_back", 2, 1, [])
    assert not box.ledger.estimates() and not box.ledger.invoices() and not held(box)


async def test_a_trial_of_both_kinds_is_continued_by_the_whole_source(
    hl: HighLevel, box: Sandbox, tmp_path: Path
) -> None:
    path = source(tmp_path, document("1", "invoice"), document("1", "estimate"), document("2", "invoice"))
    assert (await go(hl, path, limit=1)).created == 1
    report = await go(hl, path)
    assert (report.state, report.created, report.kinds) == ("done", 3, {"invoice": 2, "estimate": 1})
    assert len(held(box)) == 1


async def test_the_plan_counts_both_kinds(tmp_path: Path) -> None:
    path = source(tmp_path, document("1", "estimate"), paid("1", "4.00"), paid("2"))
    plan = await bulk.plan(path, location="somewhere")
    assert (plan.forecast.items, plan.forecast.kinds) == (3, {"estimate": 1, "invoice": 2})
    assert (plan.forecast.locations, plan.forecast.payments.payments) == (1, 1)


async def test_a_newer_export_of_both_kinds_creates_what_is_new(
    hl: HighLevel, box: Sandbox, tmp_path: Path
) -> None:
    old = source(tmp_path, document("1", "estimate"), paid("1", "4.00"), name="old.ndjson")
    await go(hl, old)
    new = source(
        tmp_path, document("1", "estimate"), paid("1", "4.00", "6.00"), document("2", "estimate"), name="new.ndjson"
    )  # fmt: skip
    report = await go(hl, new, continues=journal(old))
    assert (report.state, report.created, report.skipped) == ("done", 1, 2)
    [invoice] = box.ledger.invoices()
    assert (invoice["status"], invoice["amountPaid"]) == ("paid", 10)
    assert len(box.ledger.estimates()) == 2


def converted(source_id: str, **more: Any) -> Document:
    payments = [DocumentPayment(amount=Decimal(4), reference="T0")]
    return document(source_id, "estimate", number="77", status=" Converted", payments=payments, **more)


def when(path: Path) -> Any:
    return open_source([path], pairs=["invoice_when=invoiced,converted"])


async def test_an_invoice_is_created_beside_an_estimate_that_was_invoiced(
    hl: HighLevel, box: Sandbox, tmp_path: Path
) -> None:
    path = source(tmp_path, converted("1"), document("2", "estimate", status="accepted"))
    report = await go(hl, await asyncio.to_thread(when, path))
    assert (report.state, report.kinds) == ("done", {"estimate": 2, "invoice": 1})
    assert (report.source, report.created) == (2, 3), "the source has no invoice"
    [invoice] = box.ledger.invoices()
    assert (invoice["name"], invoice["total"], invoice["amountPaid"]) == ("Estimate 1", 10, 4)
    found = await bulk.verify(hl, journal(path))
    assert (found.differences, found.documents, found.paid) == ([], 3, 1)


@pytest.mark.parametrize(("to_invoice", "invoices"), [(True, 1), (False, 0)])
async def test_a_document_says_itself_whether_it_was_invoiced(
    hl: HighLevel, box: Sandbox, tmp_path: Path, to_invoice: bool, invoices: int
) -> None:
    path = source(tmp_path, converted("1", to_invoice=to_invoice))
    await go(hl, await asyncio.to_thread(when, path))
    assert (len(box.ledger.estimates()), len(box.ledger.invoices())) == (1, invoices)


async def test_an_invoice_that_is_wanted_later_is_created_beside_the_estimate_that_is_there(
    hl: HighLevel, box: Sandbox, tmp_path: Path
) -> None:
    old, new = (source(tmp_path, converted("1"), name=name) for name in ("old.ndjson", "new.ndjson"))
    await go(hl, old)
    opened = await asyncio.to_thread(when, new)
    for _ in range(2):
        await go(hl, opened, continues=journal(old))
    assert (len(box.ledger.estimates()), len(box.ledger.invoices())) == (1, 1)


async def test_a_rollback_takes_estimate_and_invoice_back(
    hl: HighLevel, box: Sandbox, tmp_path: Path
) -> None:
    path = source(tmp_path, document("1", "estimate", to_invoice=True))
    await go(hl, path)
    found = await bulk.rollback(hl, journal(path))
    assert (found.state, found.deleted) == ("rolled_back", 2)
    assert not box.ledger.estimates() and not box.ledger.invoices()


async def test_the_same_source_under_another_journal_creates_nothing_of_either_kind(
    hl: HighLevel, box: Sandbox, tmp_path: Path
) -> None:
    path = source(tmp_path, document("1", "estimate"), document("1", "invoice"), document("2", "invoice"))
    await go(hl, path)
    with pytest.raises(AlreadyMigrated, match="3 of these 3 documents"):
        await go(hl, path, journal=tmp_path / "other.db")
    assert (len(box.ledger.estimates()), len(box.ledger.invoices())) == (1, 2)


async def test_customers_who_cannot_be_resolved_keep_the_invoices_waiting_and_the_run_ends(
    hl: HighLevel, box: Sandbox, tmp_path: Path
) -> None:
    path = source(tmp_path, document("1", "estimate"), document("1", "invoice"))
    box.faults.script("create-contact", Fault.UNAUTHORISED, times=50)
    async with asyncio.timeout(20):
        report = await go(hl, path)
    assert (report.state, report.created) == ("stopped", 0)
    box.faults.clear()
    assert (await go(hl, path)).created == 2
