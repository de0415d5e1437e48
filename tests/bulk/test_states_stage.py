"""Promises about states of the old system: reached with a proof, kept where a person chose, never a mail unasked."""

from __future__ import annotations

import asyncio
from collections import Counter
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
from hl_async.bulk.stages.states import StatePolicy
from hl_async.errors import BulkError
from hl_async.models import ContactDraft
from hl_async.sandbox import Fault, Sandbox

SENDER = "u1"


def document(source_id: str, kind: Kind, status: str, **more: Any) -> Document:
    return Document(
        source_id=source_id,
        kind=kind,
        name=f"{kind.capitalize()} {source_id}",
        currency="USD",
        issue_date=date(2026, 1, 15),
        due_date=date(2026, 3, 15),
        customer=DocumentCustomer(name="Ada", email="ada@example.com"),
        lines=[DocumentLine(name="Door", amount=Decimal("10.00"))],
        status=status,
        **more,
    )


def source(folder: Path, *documents: Document) -> Path:
    path = folder / "books.ndjson"
    path.write_bytes(b"".join(encode_document(one) + b"\n" for one in documents))
    return path


async def go(hl: HighLevel, path: Path, *pairs: str, sender: str = "", **options: Any) -> RunReport:
    marks = ("marks_sent=true",) if sender else ()
    opened = await asyncio.to_thread(open_source, [path], pairs=[*pairs, *marks])
    return await bulk.migrate(
        hl, opened, contacts=ContactPolicy(index_delay=0.1), payments=PaymentPolicy(allow_receipts=True),
        states=StatePolicy(sender=sender) if sender else None, settle=0.3, attempt_timeout=1.0, source_name="books",
        **options,
    )  # fmt: skip


def asked(box: Sandbox) -> Counter[str]:
    return Counter(one.operation for one in box.requests)


def statuses(box: Sandbox) -> dict[str, str]:
    return {one["name"]: one["status"] for one in box.ledger.invoices()}


def tags(box: Sandbox) -> list[str]:
    [contact] = box.neighbours.of(box.location_id).contacts.values()
    return list(contact.get("tags") or ())


async def test_without_a_sender_no_invoice_is_sent_or_voided(
    hl: HighLevel, box: Sandbox, tmp_path: Path
) -> None:
    path = source(tmp_path, document("1", "invoice", "sent"), document("2", "invoice", "void"))
    report = await go(hl, path)
    assert (report.state, report.states) == ("done", None)
    assert set(statuses(box).values()) == {"draft"}
    assert not asked(box)["send-invoice"] and not asked(box)["void-invoice"]


async def test_invoices_are_marked_as_sent_and_voided_in_the_name_of_a_user(
    hl: HighLevel, box: Sandbox, tmp_path: Path
) -> None:
    path = source(
        tmp_path,
        document("1", "invoice", "Overdue"),
        document("2", "invoice", "voided"),
        document("3", "invoice", "paid", payments=[DocumentPayment(amount=Decimal(10))]),
        document("4", "invoice", "draft"),
    )
    report = await go(hl, path, sender=SENDER)
    assert report.states is not None
    assert (report.state, report.states.states, report.states.reached) == ("done", 2, {"sent": 1, "void": 1})
    assert statuses(box) == {
        "Invoice 1": "sent",
        "Invoice 2": "void",
        "Invoice 3": "paid",
        "Invoice 4": "draft",
    }
    assert asked(box)["send-invoice"] == 2
    sent = [one for one in box.ledger.invoices() if one["name"] == "Invoice 1"]
    assert [one["sentBy"] for one in sent] == [SENDER]


@pytest.mark.parametrize(
    "fault", [Fault.RESET_AFTER_COMMIT, Fault.RESET_BEFORE_COMMIT, Fault.ERROR_500_AFTER]
)
@pytest.mark.parametrize("operation", ["send-invoice", "void-invoice"])
async def test_a_lost_answer_marks_no_invoice_twice(
    hl: HighLevel, box: Sandbox, tmp_path: Path, fault: Fault, operation: str
) -> None:
    path = source(tmp_path, document("1", "invoice", "void"))
    box.faults.script(operation, fault)
    report = await go(hl, path, sender=SENDER)
    assert (report.state, statuses(box)) == ("done", {"Invoice 1": "void"})
    [invoice] = box.ledger.invoices()
    assert invoice["sentCount"] == 1


async def test_states_of_a_planned_run_are_not_changed_in_silence(
    hl: HighLevel, box: Sandbox, tmp_path: Path
) -> None:
    path = source(tmp_path, document("1", "invoice", "sent"))
    await go(hl, path)
    again = tmp_path / "books.ndjson.hl.db"
    with pytest.raises(BulkError, match="is planned, and its states with it"):
        await bulk.migrate(hl, None, journal=again, states=StatePolicy(sender=SENDER))
    assert (await bulk.migrate(hl, None, journal=again, states=StatePolicy())).state == "done"
    assert not asked(box)["send-invoice"]


async def test_a_state_that_cannot_be_reached_becomes_a_tag_beside_those_that_are_there(
    hl: HighLevel, box: Sandbox, tmp_path: Path
) -> None:
    await hl.location().contacts.create(ContactDraft(name="Ada", email="ada@example.com", tags=["vip"]))
    path = source(tmp_path, document("1", "estimate", "Accepted"), document("2", "estimate", "draft"))
    report = await go(hl, path, "states=tag")
    assert report.states is not None and report.states.reached == {"tag": 1}
    assert tags(box) == ["vip", "estimate accepted"]
    await go(hl, path, "states=tag")
    assert tags(box) == ["vip", "estimate accepted"]


async def test_a_status_is_kept_in_the_notes_by_choice(hl: HighLevel, box: Sandbox, tmp_path: Path) -> None:
    path = source(tmp_path, document("1", "estimate", "Accepted", terms_notes="Thanks"))
    report = await go(hl, path, "states=notes")
    assert report.states is None
    [estimate] = box.ledger.estimates()
    assert estimate["termsNotes"] == "Thanks\nStatus in the old system: Accepted"


async def test_states_of_documents_that_were_not_created_are_rejected_and_said(
    hl: HighLevel, box: Sandbox, tmp_path: Path
) -> None:
    path = source(
        tmp_path, document("1", "invoice", "sent", number="1"), document("2", "invoice", "sent", number="1")
    )
    report = await go(hl, path, sender=SENDER)
    assert report.states is not None
    assert (report.created, report.rejected, report.states.reached) == (1, 1, {"sent": 1})
    assert report.states.reasons == {"its document was not created": 1}


async def test_a_rollback_names_the_tags_that_stay_on_contacts_that_were_there(
    hl: HighLevel, box: Sandbox, tmp_path: Path
) -> None:
    await hl.location().contacts.create(ContactDraft(name="Ada", email="ada@example.com"))
    path = source(tmp_path, document("1", "estimate", "Accepted"))
    await go(hl, path, "states=tag")
    found = await bulk.rollback(hl, path.with_name("books.ndjson.hl.db"))
    assert [(one.kind, one.source_id, one.detail) for one in found.kept] == [
        ("tag", "1", "the tag 'estimate accepted' stays on the contact")
    ]


async def test_a_rollback_is_silent_about_tags_of_contacts_that_it_deletes(
    hl: HighLevel, box: Sandbox, tmp_path: Path
) -> None:
    path = source(tmp_path, document("1", "estimate", "Accepted"))
    await go(hl, path, "states=tag")
    found = await bulk.rollback(hl, path.with_name("books.ndjson.hl.db"))
    assert (found.contacts_deleted, found.kept) == (1, [])


async def test_a_rollback_keeps_and_names_invoices_that_are_no_longer_drafts(
    hl: HighLevel, box: Sandbox, tmp_path: Path
) -> None:
    path = source(tmp_path, document("1", "invoice", "sent"), document("2", "invoice", "draft"))
    await go(hl, path, sender=SENDER)
    found = await bulk.rollback(hl, path.with_name("books.ndjson.hl.db"))
    assert (found.deleted, [one.kind for one in found.kept][:1]) == (1, ["not_draft"])
