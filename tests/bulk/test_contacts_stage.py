"""Promises about customers of a migration: matched or created once, before the first document."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from collections import Counter
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from hl_async import HighLevel, PrivateToken, bulk
from hl_async.bulk.reports import RunReport
from hl_async.bulk.sources.document import (
    Document,
    DocumentAddress,
    DocumentCustomer,
    DocumentLine,
    encode_document,
)
from hl_async.bulk.stages.customers import ContactPolicy
from hl_async.errors import InvalidRequest, SourceError
from hl_async.models import ContactDetails, ContactDraft, EstimateDraft, LineItem
from hl_async.sandbox import Fault, Sandbox
from lengths import long

POLICY = ContactPolicy(index_delay=0.3)


def document(n: int, **customer: Any) -> Document:
    return Document(
        source_id=f"Q-{n}",
        name=f"Quote {n}",
        currency="USD",
        customer=DocumentCustomer(**customer),
        lines=[DocumentLine(name="Door", amount=Decimal("10.00"))],
    )


def source(folder: Path, documents: Iterable[Document], name: str = "quotes.ndjson") -> Path:
    path = folder / name
    path.write_bytes(b"".join(encode_document(one) + b"\n" for one in documents))
    return path


def held(box: Sandbox) -> list[dict[str, Any]]:
    return list(box.neighbours.of(box.location_id).contacts.values())


def used(box: Sandbox) -> dict[str, str]:
    """The contact of every estimate, by the estimate's name."""
    return {one["name"]: one["contactDetails"]["id"] for one in box.ledger.estimates()}


def asked(box: Sandbox) -> Counter[str]:
    return Counter(one.operation for one in box.requests)


async def know(hl: HighLevel, **fields: Any) -> str:
    return (await hl.location().contacts.create(ContactDraft(**fields))).id


async def go(hl: HighLevel, path: Path | None, **options: Any) -> RunReport:
    given: dict[str, Any] = {"contacts": POLICY, "settle": 0.3, "attempt_timeout": 1.0, "max_rejects": "100%"}
    return await bulk.migrate(hl, path, **(given | options))


async def test_one_customer_of_several_documents_becomes_one_contact(
    hl: HighLevel, box: Sandbox, tmp_path: Path
) -> None:
    address = DocumentAddress(line1="4 Mole Street", city="Baltimore", country="us")
    documents = [
        document(1, name="Ada Bell", email=" Ada@Example.com ", address=address),
        document(2, name="Ada Bell", email="ada@example.com", phone="+12145596993"),
        document(3, name="Cy", email="cy@example.com", company="Cy Ltd"),
    ]
    report = await go(hl, source(tmp_path, documents))
    assert (report.state, report.created) == ("done", 3)
    assert report.contacts is not None
    assert (report.contacts.customers, report.contacts.made, report.contacts.matched) == (2, 2, 0)
    ada, cy = held(box)
    assert (ada["name"], ada["email"], ada["phone"]) == ("Ada Bell", "ada@example.com", "+12145596993")
    assert (ada["address1"], ada["city"], ada["country"]) == ("4 Mole Street", "Baltimore", "US")
    assert cy["companyName"] == "Cy Ltd"
    assert used(box) == {"Quote 1": ada["id"], "Quote 2": ada["id"], "Quote 3": cy["id"]}


async def test_known_people_are_matched_by_mail_or_phone_and_stay_as_they_are(
    hl: HighLevel, box: Sandbox, tmp_path: Path
) -> None:
    ada = await know(hl, email="ada@example.com", first_name="Ada", tags=["vip"])
    ben = await know(hl, phone="+12145596993", name="Ben")
    before = [dict(one) for one in held(box)]
    documents = [
        document(1, name="Adele Bell", email="ADA@example.com", phone="+12145550000"),
        document(2, name="Ben", phone="(214) 559-6993", region="US"),
    ]
    report = await go(hl, source(tmp_path, documents))
    assert report.contacts is not None
    assert (report.contacts.matched, report.contacts.by) == (2, {"email": 1, "phone": 1})
    assert used(box) == {"Quote 1": ada, "Quote 2": ben}
    assert held(box) == before


async def test_an_update_fills_only_what_is_empty(hl: HighLevel, box: Sandbox, tmp_path: Path) -> None:
    await know(hl, email="ada@example.com", name="Ada", city="Boston")
    address = DocumentAddress(line1="4 Mole Street", city="Baltimore")
    path = source(
        tmp_path, [document(1, name="Ada", email="ada@example.com", phone="+12145596993", address=address)]
    )
    await go(hl, path, contacts=ContactPolicy(update=True))
    [ada] = held(box)
    assert (ada["phone"], ada["address1"], ada["city"]) == ("+12145596993", "4 Mole Street", "Boston")
    assert "source" not in ada


async def test_documents_of_a_customer_who_may_be_two_contacts_are_rejects(
    hl: HighLevel, box: Sandbox, tmp_path: Path
) -> None:
    ada = await know(hl, email="ada@example.com", name="Ada")
    ben = await know(hl, phone="+12145596993", name="Ben")
    documents = [
        document(1, name="Ada", email="ada@example.com", phone="+12145596993"),
        document(2, name="Cy", email="cy@example.com"),
    ]
    report = await go(hl, source(tmp_path, documents))
    assert (report.state, report.created, report.rejected) == ("done", 1, 1)
    [reason] = report.reasons
    assert f"{ada} (Ada) has the email" in reason
    assert f"{ben} (Ben) has the phone" in reason
    rejected = Path(report.reject_file).read_bytes()
    assert b'"source_id":"Q-1"' in rejected
    assert b"may be several contacts" in rejected


async def test_a_customer_without_a_key_goes_to_the_fallback_or_is_a_reject(
    hl: HighLevel, box: Sandbox, tmp_path: Path
) -> None:
    house = await know(hl, name="House account")
    documents = [
        document(1, name="Ada"),
        document(2, name="Ben"),
        document(3, name="Cy", email="cy@example.com"),
    ]
    path = source(tmp_path, documents)
    plan = await bulk.plan(path, location=box.location_id, max_rejects="100%")
    assert (plan.forecast.items, plan.forecast.rejected) == (1, 2)
    assert any("Ada has no contact id, e-mail address or phone" in reason for reason in plan.reasons)
    report = await go(hl, path, contacts=ContactPolicy(fallback=house))
    assert report.created == 3
    assert report.contacts is not None
    assert (report.contacts.by, report.contacts.made) == ({"fallback": 1}, 1)
    assert used(box)["Quote 1"] == used(box)["Quote 2"] == house


async def test_names_count_only_where_they_are_asked_for(hl: HighLevel, box: Sandbox, tmp_path: Path) -> None:
    ada = await know(hl, name="Ada  Bell")
    await know(hl, name="Cy", email="other@example.com")
    documents = [
        document(1, name="ada bell"),
        document(2, name="Cy", email="cy@example.com"),
        document(3, name="Di"),
    ]
    report = await go(hl, source(tmp_path, documents), contacts=ContactPolicy(match_name=True))
    assert report.contacts is not None
    assert (report.contacts.by, report.contacts.made) == ({"name": 1}, 2)
    assert used(box)["Quote 1"] == ada
    assert len(held(box)) == 4


async def test_an_old_id_in_a_custom_field_goes_first_and_is_written(
    hl: HighLevel, box: Sandbox, tmp_path: Path
) -> None:
    field = "field0000000000000001"
    policy = ContactPolicy(external_field=field)
    await go(
        hl,
        source(tmp_path, [document(1, name="Ada", email="ada@example.com", external_id="A-17")]),
        contacts=policy,
    )
    [ada] = held(box)
    assert ada["customFields"] == [{"id": field, "value": "A-17"}]
    moved = source(
        tmp_path, [document(2, name="Ada", email="new@example.com", external_id="A-17")], "b.ndjson"
    )
    report = await go(hl, moved, contacts=policy)
    assert report.contacts is not None
    assert report.contacts.by == {"external": 1}
    assert used(box)["Quote 2"] == ada["id"]


async def test_contact_ids_of_the_source_are_checked_before_the_first_document(
    hl: HighLevel, box: Sandbox, tmp_path: Path
) -> None:
    ada = await know(hl, name="Ada")
    documents = [
        document(1, name="Ada", contact_id=ada),
        document(2, name="Ben", contact_id="c6tZWq1n0uEh8Rk2Lm4p"),
    ]
    report = await go(hl, source(tmp_path, documents))
    assert (report.created, report.rejected) == (1, 1)
    assert "contact c6tZWq1n0uEh8Rk2Lm4p of Ben is not in location" in next(iter(report.reasons))
    operations = [one.operation for one in box.requests]
    assert operations.index("get-contact") < operations.index("create-new-estimate")


async def test_a_token_that_may_not_read_contacts_leaves_ids_unchecked_and_stops_at_a_look_up(
    hl: HighLevel, box: Sandbox, tmp_path: Path
) -> None:
    await know(hl, name="Ada")
    scopes = ["invoices/estimate.readonly", "invoices/estimate.write"]
    token = PrivateToken(box.add_token(box.location_id, scopes))
    async with HighLevel(token, base_url=box.url, location_id=box.location_id) as limited:
        given = source(tmp_path, [document(1, name="Ben", contact_id="c6tZWq1n0uEh8Rk2Lm4p")])
        report = await go(limited, given)
        assert report.created == 1
        assert report.contacts is not None
        assert report.contacts.by == {"unchecked": 1}
        path = source(tmp_path, [document(2, name="Cy", email="cy@example.com")], "b.ndjson")
        report = await go(limited, path)
    assert (report.state, report.created) == ("stopped", 0)
    assert "contacts.readonly" in report.reason
    assert (await go(hl, path)).created == 1


async def test_one_contact_id_under_several_names_is_an_error_unless_it_is_the_fallback(
    hl: HighLevel, box: Sandbox, tmp_path: Path
) -> None:
    known = await know(hl, name="House account")
    documents = [document(1, name="Ada", contact_id=known), document(2, name="Ben", contact_id=known)]
    report = await go(hl, source(tmp_path, documents))
    assert report.rejected == 2
    assert "stands for several customers: 'Ada', 'Ben'" in next(iter(report.reasons))
    again = await go(
        hl, None, journal=Path(report.journal), retry_rejected=True, contacts=ContactPolicy(fallback=known)
    )
    assert (again.created, again.rejected) == (2, 0)


async def test_two_customers_found_as_one_contact_are_told_apart_by_name(
    hl: HighLevel, box: Sandbox, tmp_path: Path
) -> None:
    documents = [
        document(1, name="Ada", email="ada@example.com", phone="+12145596993"),
        document(2, name="Ben", email="ben@example.com", phone="+12145596993"),
    ]
    report = await go(hl, source(tmp_path, documents), max_in_flight=1)
    assert (report.created, report.rejected, len(held(box))) == (1, 1, 1)
    assert "found by duplicate, stands for 'Ada' already, not for 'Ben'" in next(iter(report.reasons))


@pytest.mark.parametrize("allowed", [True, False])
@pytest.mark.parametrize(
    "fault",
    [
        Fault.RESET_BEFORE_COMMIT,
        Fault.RESET_AFTER_COMMIT,
        Fault.LATE_ANSWER,
        Fault.ERROR_500_BEFORE,
        Fault.ERROR_500_AFTER,
        Fault.TRUNCATED,
        Fault.THROTTLE,
    ],
)
async def test_a_fault_at_any_moment_neither_loses_nor_doubles_a_contact(
    hl: HighLevel, box: Sandbox, tmp_path: Path, fault: Fault, allowed: bool
) -> None:
    box.contact_quirks.duplicates_allowed = allowed
    box.contact_quirks.index_lag = 0.2
    box.contact_quirks.lookup_lags = True
    box.faults.times.late = 1.5
    box.faults.script("create-contact", fault, times=2)
    documents = [document(n, name=f"P {n}", email=f"p{n}@example.com") for n in range(5)]
    report = await go(hl, source(tmp_path, documents))
    assert (report.state, report.created) == ("done", 5)
    assert Counter(one["email"] for one in held(box)) == {f"p{n}@example.com": 1 for n in range(5)}
    assert report.contacts is not None
    assert (report.contacts.made, report.contacts.open) == (5, 0)


async def test_a_contact_that_a_late_request_made_twice_is_deleted_by_the_sweep(
    hl: HighLevel, box: Sandbox, tmp_path: Path
) -> None:
    box.contact_quirks.duplicates_allowed = True
    box.faults.times.late = 1.6
    box.faults.script("create-contact", Fault.LATE_COMMIT)
    path = source(tmp_path, [document(1, name="Ada", email="ada@example.com")])
    report = await go(hl, path, contacts=ContactPolicy(index_delay=0.0), settle=0.9, attempt_timeout=0.3)
    assert report.state == "done"
    [ada] = held(box)
    assert used(box) == {"Quote 1": ada["id"]}
    assert asked(box)["create-contact"] == 2
    assert asked(box)["delete-contact"] == 1


async def test_a_refused_creation_that_created_is_found(hl: HighLevel, box: Sandbox, tmp_path: Path) -> None:
    box.contact_quirks.created_despite_422 = 1
    report = await go(hl, source(tmp_path, [document(1, name="Ada", email="ada@example.com")]))
    assert (report.created, len(held(box))) == (1, 1)
    assert report.contacts is not None
    assert report.contacts.made == 1


async def test_a_refused_contact_rejects_its_documents_with_the_words_of_the_api(
    hl: HighLevel, box: Sandbox, tmp_path: Path
) -> None:
    box.contact_quirks.created_despite_422 = 1
    documents = [
        document(1, name="Ada", email="ada@example.com"),
        document(2, name="Ben", email="ben@example.com"),
    ]
    task = asyncio.create_task(go(hl, source(tmp_path, documents), max_in_flight=1))
    while not held(box):
        await asyncio.sleep(0.005)
    box.neighbours.of(box.location_id).contacts.clear()  # the refusal was one
    report = await task
    assert (report.created, report.rejected) == (1, 1)
    assert "the contact of Ada was refused: Something went wrong" in next(iter(report.reasons))


async def test_a_killed_stage_goes_on_where_it_was(hl: HighLevel, box: Sandbox, tmp_path: Path) -> None:
    documents = [document(n, name=f"P {n}", email=f"p{n}@example.com") for n in range(30)]
    path = source(tmp_path, documents)
    box.latency = 0.02
    for limit in (5, 12, 20):
        task = asyncio.create_task(go(hl, path, max_in_flight=3))
        while len(held(box)) < limit and not task.done():
            await asyncio.sleep(0.005)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    report = await go(hl, path)
    assert (report.state, report.created, len(held(box))) == ("done", 30, 30)
    assert len({one["email"] for one in held(box)}) == 30


async def test_a_trial_that_is_continued_gives_later_documents_the_same_contact(
    hl: HighLevel, box: Sandbox, tmp_path: Path
) -> None:
    path = source(tmp_path, [document(n, name="Ada", email="ada@example.com") for n in range(4)])
    await go(hl, path, limit=1)
    report = await go(hl, path)
    assert (report.created, len(held(box)), len(set(used(box).values()))) == (4, 1, 1)


async def test_many_customers_are_compared_with_one_list_and_few_are_looked_up(
    hl: HighLevel, box: Sandbox, tmp_path: Path
) -> None:
    for n in range(3):
        await know(hl, name=f"P {n}", email=f"p{n}@example.com")
    documents = [document(n, name=f"P {n}", email=f"p{n}@example.com") for n in range(20)]
    await go(hl, source(tmp_path, documents))
    assert asked(box)["search-contacts-advanced"] == 2
    assert asked(box)["get-duplicate-contact"] == 0
    box.requests.clear()
    await go(hl, source(tmp_path, [document(90, name="P 1", email="p1@example.com")], "one.ndjson"))
    assert (asked(box)["search-contacts-advanced"], asked(box)["get-duplicate-contact"]) == (0, 1)


async def test_a_dry_run_says_what_customers_cost_and_makes_no_request(
    hl: HighLevel, box: Sandbox, tmp_path: Path
) -> None:
    documents = [document(n, name=f"P {n % 3}", email=f"p{n % 3}@example.com") for n in range(9)]
    plan = await bulk.plan(source(tmp_path, documents), location=box.location_id)
    assert (plan.forecast.contacts.customers, plan.forecast.contacts.searched) == (3, 3)
    assert plan.forecast.contacts.requests == 6
    assert plan.forecast.requests == 9 + 1 + 6
    assert box.count == 0


async def test_a_checked_dry_run_only_reads_and_writes_a_file_that_is_an_input_again(
    hl: HighLevel, box: Sandbox, tmp_path: Path
) -> None:
    ada = await know(hl, email="ada@example.com", name="Ada")
    ben = await know(hl, phone="+12145596993", name="Ben")
    documents = [
        document(1, name="Ada", email="ada@example.com"),
        document(2, name="Ben B", email="ada@example.com", phone="+12145596993"),
        document(3, name="Cy", email="cy@example.com"),
        document(4, name="Di"),
        document(5, name="Ed", email="ed@example.com", phone="+12145596993"),
    ]
    documents[1] = document(2, name="Eve", email="eve@example.com", phone="+12145596993")
    path = source(tmp_path, documents)
    box.requests.clear()
    plan = await bulk.plan(path, location=box.location_id, check_contacts=hl, max_rejects="100%")
    assert plan.contacts is not None
    found = plan.contacts
    assert (found.customers, found.matched, found.new, found.ambiguous, found.without_key) == (5, 3, 1, 0, 1)
    assert set(asked(box)) <= {"get-duplicate-contact", "search-contacts-advanced", "get-contact"}
    file = Path(found.file)
    assert (file.name, stat.S_IMODE(file.stat().st_mode)) == ("quotes.contacts.csv", 0o600)
    rows = file.read_text().splitlines()
    assert rows[0].startswith(
        "location,customer,name,company,email,phone,documents,status,contact_id,found_by"
    )
    assert any(
        row.startswith(f"{box.location_id},email:ada@example.com,Ada,,ada@example.com,,1,matched,{ada},email")
        for row in rows
    )
    assert any(",Di," in row and "without a key" in row for row in rows)

    text = file.read_text().replace(",1,without a key,", f",1,without a key,{ben}").replace("Di,,,", "Ben,,,")
    text = "\n".join(line for line in text.splitlines() if "eve@" not in line and "ed@" not in line) + "\n"
    file.write_text(text)
    report = await go(hl, path, contacts_file=file)
    assert used(box)["Quote 4"] == ben
    assert report.created == 3
    assert report.rejected == 2


@pytest.mark.parametrize(
    ("text", "error", "problem"),
    [
        ("name\nAda\n", SourceError, "has no column 'location'"),
        (
            "location,customer,contact_id\n,email:a@b.co,x\n",
            InvalidRequest,
            "row 2 of c.csv names no location",
        ),
        (
            "location,customer,contact_id\nL,c,x\nL,c,y\n",
            InvalidRequest,
            "row 3 of c.csv names customer 'c' again",
        ),
        (
            "location,customer,contact_id,email\nL,c,,nope\n",
            InvalidRequest,
            "row 2 of c.csv: 'nope' is not an e-mail",
        ),
        ("location,customer,contact_id,phone\nL,c,,12\n", InvalidRequest, "row 2 of c.csv: '12' is not like"),
        ("location,customer,contact_id\nL,c,a/b\n", InvalidRequest, "contact_id in row 2 of c.csv"),
    ],
)
async def test_a_contacts_file_with_a_mistake_is_refused_before_any_request(
    hl: HighLevel, box: Sandbox, tmp_path: Path, text: str, error: type[Exception], problem: str
) -> None:
    file = tmp_path / "c.csv"
    file.write_text(text)
    with pytest.raises(error, match=problem):
        await go(hl, source(tmp_path, [document(1, name="A", email="a@b.co")]), contacts_file=file)
    assert box.count == 0


# ------------------------------------------------------------------------------------------- rollback


async def test_a_rollback_deletes_the_contacts_that_the_run_made_and_no_others(
    hl: HighLevel, box: Sandbox, tmp_path: Path
) -> None:
    ada = await know(hl, email="ada@example.com", name="Ada")
    before = [dict(one) for one in held(box)]
    documents = [
        document(1, name="Ada", email="ada@example.com"),
        document(2, name="Ben", email="ben@example.com"),
        document(3, name="Cy", email="cy@example.com"),
    ]
    report = await go(hl, source(tmp_path, documents))
    assert (report.created, len(held(box))) == (3, 3)
    undone = await bulk.rollback(hl, Path(report.journal))
    assert (undone.state, undone.deleted, undone.contacts_deleted, undone.kept) == ("rolled_back", 3, 2, [])
    assert [one["id"] for one in held(box)] == [ada]
    assert held(box) == before
    deletions = [one.operation for one in box.requests if "delete" in one.operation]
    assert deletions.index("delete-contact") > max(n for n, one in enumerate(deletions) if "estimate" in one)


async def test_a_rollback_keeps_contacts_that_people_changed_or_documents_use(
    hl: HighLevel, box: Sandbox, tmp_path: Path
) -> None:
    names = ("Ada", "Ben", "Cy", "Di")
    documents = [document(n, name=name, email=f"{name}@example.com") for n, name in enumerate(names)]
    report = await go(hl, source(tmp_path, documents))
    by_name = {one["name"]: one for one in held(box)}
    by_name["Ada"]["tags"] = ["vip"]
    await hl.location().estimates.create(
        EstimateDraft(
            name="By hand",
            currency="USD",
            expiry_date=date(2040, 1, 1),
            contact_details=ContactDetails(id=by_name["Ben"]["id"], name="Ben"),
            items=[LineItem(name="Door", currency="USD", amount=Decimal(1), qty=Decimal(1))],
        )
    )
    [third] = [one for one in box.ledger.estimates() if one["name"] == "Quote 2"]
    third["estimateStatus"] = "accepted"
    undone = await bulk.rollback(hl, Path(report.journal))
    assert undone.state == "rolled_back"
    kept = {one.source_id: one.kind for one in undone.kept}
    assert kept == {"Ada": "contact_changed", "Ben": "contact_used", "Q-2": "not_draft", "Cy": "contact_used"}
    assert undone.contacts_deleted == 1
    assert {one["name"] for one in held(box)} == {"Ada", "Ben", "Cy"}


async def test_a_rollback_waits_for_a_lost_creation_and_deletes_what_it_made(
    hl: HighLevel, box: Sandbox, tmp_path: Path
) -> None:
    box.contact_quirks.duplicates_allowed = True
    box.faults.times.late = 1.0
    box.faults.script("create-contact", Fault.LATE_COMMIT)
    path = source(tmp_path, [document(1, name="Ada", email="ada@example.com")])
    stop = asyncio.Event()
    task = asyncio.create_task(go(hl, path, settle=0.5, attempt_timeout=0.3, stop=stop))
    while not box.requests or box.requests[-1].operation != "create-contact":
        await asyncio.sleep(0.01)
    stop.set()
    report = await task
    assert (report.state, held(box)) == ("stopped", [])
    undone = await bulk.rollback(hl, Path(report.journal))
    assert (undone.state, held(box)) == ("rolled_back", [])
    assert asked(box)["delete-contact"] == 1


async def test_a_run_after_a_rollback_makes_its_contacts_again(
    hl: HighLevel, box: Sandbox, tmp_path: Path
) -> None:
    path = source(tmp_path, [document(1, name="Ada", email="ada@example.com")])
    report = await go(hl, path)
    await bulk.rollback(hl, Path(report.journal))
    again = await go(hl, path)
    assert (again.created, len(held(box))) == (1, 1)
    assert used(box) == {"Quote 1": held(box)[0]["id"]}


async def test_a_verification_names_contacts_that_are_gone(
    hl: HighLevel, box: Sandbox, tmp_path: Path
) -> None:
    documents = [document(n, name=f"P {n}", email=f"p{n}@example.com") for n in range(3)]
    report = await go(hl, source(tmp_path, documents))
    assert report.state == "done"
    found = await bulk.verify(hl, Path(report.journal))
    assert (found.contacts, found.differences) == (3, [])
    gone = held(box)[1]["id"]
    del box.neighbours.of(box.location_id).contacts[gone]
    found = await bulk.verify(hl, Path(report.journal))
    assert [(one.kind, one.document, one.detail) for one in found.differences] == [
        ("contact", gone, "contact of P 1 is gone")
    ]


# ------------------------------------------------------------------------------------- the whole, in small

MIGRATE = """
import asyncio, sys
from pathlib import Path
from hl_async import HighLevel, PrivateToken, bulk
from hl_async.bulk import ContactPolicy

async def main():
    async with HighLevel.from_env() as hl:
        await bulk.migrate(hl, Path(sys.argv[1]), contacts=ContactPolicy(index_delay=1.2), settle=0.8,
                           attempt_timeout=0.6, max_rejects="100%")

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("allowed", "kills"), [(True, (8,)), *(long(one, (3, 8, 14, 18)) for one in (True, False))]
)
@pytest.mark.untraced
async def test_killed_runs_with_faults_and_a_late_index_make_each_new_contact_once(
    hl: HighLevel, box: Sandbox, tmp_path: Path, allowed: bool, kills: tuple[int, ...]
) -> None:
    """Of 30 customers 10 are there and 2 may be two contacts each; 18 are created, and a rollback leaves the others."""
    box.contact_quirks.duplicates_allowed = allowed
    box.contact_quirks.index_lag = 1.0
    for n in range(10):
        await know(hl, name=f"P {n}", email=f"p{n}@example.com")
    for n in (10, 11):
        await know(hl, name=f"First {n}", email=f"p{n}@example.com")
        await know(hl, name=f"Second {n}", phone=f"+121455500{n}")
    await asyncio.sleep(1.1)
    before = [dict(one) for one in held(box)]
    documents = [
        document(n, name=f"P {n % 30}", email=f"p{n % 30}@example.com", phone=f"+121455500{n % 30:02}")
        for n in range(60)
    ]
    path = source(tmp_path, documents)
    box.faults.times.late = 0.9
    box.faults.use("migration", seed=3)
    environment = {
        **os.environ,
        "HL_BASE_URL": box.url,
        "HL_TOKEN": box.token,
        "HL_LOCATION_ID": box.location_id,
    }
    for wanted in kills:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", MIGRATE, str(path), env=environment
        )
        while len(held(box)) < len(before) + wanted and process.returncode is None:
            await asyncio.sleep(0.01)
        if process.returncode is None:
            process.kill()
        await process.wait()
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", MIGRATE, str(path), env=environment)
    assert await process.wait() == 0
    box.faults.use("none")
    async with await bulk.Run.open(path.with_name("quotes.ndjson.hl.db"), watch=True) as run:
        report = await run.report()
    assert (report.state, report.created, report.rejected) == ("done", 56, 4)
    assert report.contacts is not None
    assert (report.contacts.made, report.contacts.matched, report.contacts.rejected) == (18, 10, 2)
    made = [one for one in held(box) if one["id"] not in {old["id"] for old in before}]
    assert Counter(one["email"] for one in made) == {f"p{n}@example.com": 1 for n in range(12, 30)}
    undone = await bulk.rollback(hl, Path(report.journal))
    assert (undone.state, undone.contacts_deleted) == ("rolled_back", 18)
    assert held(box) == before
