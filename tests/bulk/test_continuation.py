"""Promises about a newer export of a source: only what is new is created, and what changed is named."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
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


@pytest.fixture
async def hl(box: Sandbox) -> AsyncIterator[HighLevel]:
    async with HighLevel(box.token, base_url=box.url, location_id=box.location_id) as client:
        yield client


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


async def test_payments_that_came_since_are_named(hl: HighLevel, box: Sandbox, tmp_path: Path) -> None:
    paid = [DocumentPayment(amount=Decimal(4))]
    old = source(tmp_path, "old.ndjson", [document(1, kind="invoice")])
    new = source(tmp_path, "new.ndjson", [document(1, kind="invoice", payments=paid)])
    await go(hl, old, "invoice")
    report = await go(hl, new, "invoice", continues=journal(old))
    assert report.created == 0
    assert "its payments have changed since" in Path(report.skipped_file).read_text("utf-8")


async def test_a_run_of_another_kind_cannot_be_continued(hl: HighLevel, box: Sandbox, tmp_path: Path) -> None:
    old = source(tmp_path, "old.ndjson", [document(1)])
    new = source(tmp_path, "new.ndjson", [document(1, kind="invoice")])
    await go(hl, old)
    with pytest.raises(JournalMismatch, match="the same kind of document"):
        await go(hl, new, "invoice", continues=journal(old))
    assert not journal(new).exists()
