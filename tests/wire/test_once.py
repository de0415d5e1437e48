"""Create once: two clicks, two processes, a lost answer, a crash: one document."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import samples
from hl_async import HighLevel, Location, MemoryStore, PostgresTokenStore, SqliteStore
from hl_async.auth.stores.base import Stored
from hl_async.errors import (
    InvalidRequest,
    KeyReused,
    NotFound,
    OnceUndecided,
    OutcomeUnknown,
    ScopeMissing,
    TokenStoreError,
    ValidationFailed,
)
from hl_async.models import EstimateDraft, EstimateSend
from hl_async.resources.once import Once
from hl_async.sandbox import Fault, Sandbox

LOST = [Fault.RESET_AFTER_COMMIT, Fault.RESET_BEFORE_COMMIT, Fault.LATE_COMMIT, Fault.ERROR_500_AFTER]


def client(box: Sandbox, **settings: Any) -> HighLevel:
    once = Once(**{"settle": 0.6, "patience": 5.0, **settings})
    return HighLevel(box.token, base_url=box.url, location_id=box.location_id, once=once)


@pytest.fixture
async def shop(box: Sandbox) -> AsyncIterator[Location]:
    box.faults.times = dataclasses.replace(box.faults.times, late=0.2)
    async with client(box) as hl:
        yield hl.location()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "once.db"


async def test_two_clicks_make_one_estimate(shop: Location, box: Sandbox) -> None:
    draft = samples.estimate(meta={"form": 7})
    made = await asyncio.gather(*(shop.estimates.create(draft, once="form-7f3a") for _ in range(5)))
    assert len({one.id for one in made}) == len(box.ledger.estimates()) == 1
    assert box.ledger.estimates()[0]["meta"]["form"] == 7
    other = await shop.estimates.create(draft, once="form-8")
    assert other.id != made[0].id


async def test_another_process_without_a_store_finds_the_key_in_meta(box: Sandbox) -> None:
    async with client(box) as first, client(box) as second:
        made = await first.location().estimates.create(samples.estimate(), once="form-7")
        again = await second.location().estimates.create(samples.estimate(), once="form-7")
    assert again.id == made.id
    assert len(box.ledger.estimates()) == 1


async def test_two_processes_with_a_store_click_at_once(box: Sandbox, store: Path) -> None:
    async with (
        client(box, store=SqliteStore(store)) as first,
        client(box, store=SqliteStore(store)) as second,
    ):
        shops = [first.location(), second.location()] * 4
        made = await asyncio.gather(
            *(one.estimates.create(samples.estimate(), once="form-7") for one in shops)
        )
    assert len({one.id for one in made}) == len(box.ledger.estimates()) == 1


@pytest.mark.parametrize("fault", LOST)
async def test_a_lost_answer_makes_no_second_estimate(shop: Location, box: Sandbox, fault: Fault) -> None:
    box.faults.script("create-new-estimate", fault)
    made = await shop.estimates.create(samples.estimate(), once="form-7")
    assert [one["_id"] for one in box.ledger.estimates()] == [made.id]


async def test_a_call_after_doubt_goes_on_where_it_ended(box: Sandbox, store: Path) -> None:
    """The process that sent the request is gone; the next one waits until the request can't take effect."""
    async with client(box, store=SqliteStore(store), patience=0.05) as hl:
        box.faults.script("create-new-estimate", Fault.RESET_BEFORE_COMMIT)
        with pytest.raises(OutcomeUnknown, match="call again with the same key"):
            await hl.location().estimates.create(samples.estimate(), once="form-7")
    async with client(box, store=SqliteStore(store)) as hl:
        made = await hl.location().estimates.create(samples.estimate(), once="form-7")
    assert [one["_id"] for one in box.ledger.estimates()] == [made.id]


async def test_the_same_key_with_another_content_is_refused(box: Sandbox, store: Path) -> None:
    async with client(box, store=SqliteStore(store)) as hl, client(box) as stranger:
        made = await hl.location().estimates.create(samples.estimate(), once="form-7")
        for one in (hl, stranger):
            with pytest.raises(KeyReused) as caught:
                await one.location().estimates.create(samples.estimate(name="Bath"), once="form-7")
            assert caught.value.document == made.id
    assert len(box.ledger.estimates()) == 1


async def test_a_refused_draft_can_be_corrected_under_the_same_key(shop: Location, box: Sandbox) -> None:
    box.contact_quirks.contacts_looked_up = True
    with pytest.raises(NotFound):
        await shop.estimates.create(samples.estimate(), once="form-7")
    contact = (await shop.contacts.ensure(email="a@example.com", phone="+12145596993")).contact
    draft = samples.estimate(contact_details=contact.for_document())
    assert await shop.estimates.create(draft, once="form-7")
    assert len(box.ledger.estimates()) == 1


async def test_without_meta_in_lists_the_store_knows_the_document(box: Sandbox, store: Path) -> None:
    box.quirks.meta_in_lists = False
    async with client(box, store=SqliteStore(store)) as hl:
        made = await hl.location().estimates.create(samples.estimate(), once="form-7")
    async with client(box, store=SqliteStore(store)) as hl:
        again = await hl.location().estimates.create(samples.estimate(), once="form-7")
    assert (again.id, len(box.ledger.estimates())) == (made.id, 1)


async def test_without_meta_and_without_an_answer_the_candidates_are_listed(
    box: Sandbox, store: Path
) -> None:
    box.quirks.meta_in_lists = False
    box.faults.script("create-new-estimate", Fault.RESET_AFTER_COMMIT)
    async with client(box, store=SqliteStore(store), patience=0.2) as hl:
        with pytest.raises(OnceUndecided, match="returned no meta") as caught:
            await hl.location().estimates.create(samples.estimate(), once="form-7")
    assert caught.value.candidates == (box.ledger.estimates()[0]["_id"],)
    async with client(box, patience=0.2) as stranger:
        with pytest.raises(OnceUndecided):
            await stranger.location().estimates.create(samples.estimate(), once="form-7")
    assert len(box.ledger.estimates()) == 1


async def test_a_known_document_is_found_however_many_came_later(box: Sandbox, store: Path) -> None:
    async with client(box, store=SqliteStore(store), depth=2) as hl:
        shop = hl.location()
        made = await shop.estimates.create(samples.estimate(), once="form-7")
        for number in range(5):
            await shop.estimates.create(samples.estimate(name=f"Later {number}"))
        assert (await shop.estimates.create(samples.estimate(), once="form-7")).id == made.id
    assert len(box.ledger.estimates()) == 6


async def test_processes_on_several_hosts_share_a_postgres(box: Sandbox, dsn: str) -> None:
    stores = [PostgresTokenStore(dsn) for _ in range(2)]
    async with client(box, store=stores[0]) as first, client(box, store=stores[1]) as second:
        box.faults.script("create-new-estimate", Fault.RESET_AFTER_COMMIT)
        shops = [first.location(), second.location()] * 3
        made = await asyncio.gather(*(one.estimates.create(samples.estimate(), once="pg-7") for one in shops))
        box.contact_quirks.duplicates_allowed = True
        found = await asyncio.gather(*(one.contacts.ensure(email="pg@example.com") for one in shops))
    assert len({one.id for one in made}) == len(box.ledger.estimates()) == 1
    assert len({one.contact.id for one in found}) == len(box.neighbours.of(box.location_id).contacts) == 1


async def test_an_equal_document_without_a_key_is_another_one_where_lists_return_meta(
    shop: Location, box: Sandbox
) -> None:
    await shop.estimates.create(samples.estimate(meta={"from": "somewhere"}))
    plain = await shop.estimates.create(samples.estimate())
    made = await shop.estimates.create(samples.estimate(), once="form-7")
    assert made.id != plain.id
    assert len(box.ledger.estimates()) == 3


async def test_a_call_that_was_cancelled_on_the_wire_is_taken_up_by_the_next(
    shop: Location, box: Sandbox
) -> None:
    box.latency = 0.3
    asked = asyncio.create_task(shop.estimates.create(samples.estimate(), once="form-7"))
    async with asyncio.timeout(30):
        while not any(
            one.operation in ("", "create-new-estimate") and one.method == "POST" for one in box.requests
        ):
            await asyncio.sleep(0.01)
    asked.cancel()
    await asyncio.wait([asked])
    box.latency = 0.0
    made = await shop.estimates.create(samples.estimate(), once="form-7")
    assert [one["_id"] for one in box.ledger.estimates()] == [made.id]


class DyingStore(MemoryStore):
    """A store whose disk fills up: writes fail from the n-th on."""

    def __init__(self, writes: int) -> None:
        super().__init__()
        self.writes = writes

    async def save(self, name: str, data: bytes, version: int) -> bool:
        if self.writes <= 0:
            raise OSError("No space left on device")
        self.writes -= 1
        return await super().save(name, data, version)


async def test_a_store_that_fails_before_sending_stops_the_call(box: Sandbox) -> None:
    async with client(box, store=DyingStore(0)) as hl:
        with pytest.raises(TokenStoreError, match="No space left on device"):
            await hl.location().estimates.create(samples.estimate(), once="form-7")
        with pytest.raises(TokenStoreError, match="No space left on device"):
            await hl.location().contacts.ensure(email="ada@example.com")
    assert box.ledger.estimates() == []
    assert box.neighbours.of(box.location_id).contacts == {}


async def test_a_store_that_fails_after_the_answer_hides_no_document(box: Sandbox) -> None:
    async with client(box, store=DyingStore(1)) as hl:
        made = await hl.location().estimates.create(samples.estimate(), once="form-7")
        assert (await hl.location().estimates.create(samples.estimate(), once="form-7")).id == made.id
    async with client(box, store=DyingStore(1)) as hl:
        assert (await hl.location().contacts.ensure(email="ada@example.com")).created
    assert len(box.ledger.estimates()) == 1


class BrokenStore(MemoryStore):
    """A store whose named method fails, as that of a server that is away does."""

    def __init__(self, broken: str) -> None:
        super().__init__()
        self.broken = broken

    async def load(self, name: str) -> Stored | None:
        if self.broken == "load":
            raise ConnectionRefusedError("connect to 10.0.0.7")
        return await super().load(name)

    @asynccontextmanager
    async def locked(self, name: str) -> AsyncIterator[None]:
        if self.broken == "lock":
            raise ConnectionRefusedError("connect to 10.0.0.7")
        async with super().locked(name):
            yield
        if self.broken == "unlock":
            raise ConnectionResetError("the server closed the connection")


@pytest.mark.parametrize("broken", ["lock", "load"])
async def test_a_store_that_can_not_be_reached_is_named_before_anything_is_created(
    box: Sandbox, broken: str
) -> None:
    async with client(box, store=BrokenStore(broken)) as hl:
        with pytest.raises(TokenStoreError, match="the store of keys failed: ConnectionRefusedError"):
            await hl.location().estimates.create(samples.estimate(), once="form-7")
        with pytest.raises(TokenStoreError, match="the store of keys failed"):
            await hl.location().contacts.ensure(email="ada@example.com")
    assert box.ledger.estimates() == []
    assert box.neighbours.of(box.location_id).contacts == {}


async def test_a_database_that_is_away_is_named_before_anything_is_created(box: Sandbox) -> None:
    async with client(box, store=PostgresTokenStore("postgresql://u@127.0.0.1:9/none")) as hl:
        with pytest.raises(TokenStoreError):
            await hl.location().estimates.create(samples.estimate(), once="form-7")
    assert box.count == 0


async def test_a_lock_that_can_not_be_returned_hides_no_document(box: Sandbox) -> None:
    async with client(box, store=BrokenStore("unlock")) as hl:
        made = await hl.location().estimates.create(samples.estimate(), once="form-7")
        assert (await hl.location().estimates.create(samples.estimate(), once="form-7")).id == made.id
    assert len(box.ledger.estimates()) == 1


async def test_without_a_store_a_location_whose_lists_return_no_meta_is_refused_once_it_is_known(
    shop: Location, box: Sandbox, store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    box.quirks.meta_in_lists = False
    assert await shop.estimates.create(samples.estimate(), once="form-7")
    assert "return no meta: create(once=) needs a store" in caplog.text
    count = box.count
    with pytest.raises(InvalidRequest, match="once: lists of this location return no meta"):
        await shop.estimates.create(samples.estimate(), once="form-8")
    assert (box.count, len(box.ledger.estimates())) == (count, 1)
    async with client(box, store=SqliteStore(store)) as hl:
        assert await hl.location().estimates.create(samples.estimate(), once="form-8")


async def test_whether_lists_return_meta_is_looked_up_once_per_location(shop: Location, box: Sandbox) -> None:
    used = []
    for number in range(3):
        before = box.count
        await shop.estimates.create(samples.estimate(), once=f"form-{number}")
        used.append(box.count - before)
    assert used == [3, 2, 2]


async def test_a_token_that_may_not_list_estimates_creates_none(box: Sandbox) -> None:
    token = box.add_token(scopes=["invoices/estimate.write"])
    async with HighLevel(token, base_url=box.url, location_id=box.location_id) as hl:
        with pytest.raises(ScopeMissing, match=r"invoices/estimate\.readonly"):
            await hl.location().estimates.create(samples.estimate(), once="form-7")
    assert box.ledger.estimates() == []


async def test_a_document_that_was_deleted_is_not_made_again(shop: Location, box: Sandbox) -> None:
    made = await shop.estimates.create(samples.estimate(), once="form-7")
    await shop.estimates.delete(made.id)
    with pytest.raises(NotFound, match="is gone"):
        await shop.estimates.create(samples.estimate(), once="form-7")
    assert box.ledger.estimates() == []


async def test_a_sandbox_that_is_started_again_knows_no_old_keys(store: Path) -> None:
    for _ in range(2):
        async with Sandbox() as box, client(box, store=SqliteStore(store)) as hl:
            assert (await hl.location().estimates.create(samples.estimate(), once="form-7")).id


async def test_an_invoice_with_a_number_needs_no_store(shop: Location, box: Sandbox) -> None:
    draft = samples.invoice(invoice_number="F-7")
    box.faults.script("create-invoice", Fault.RESET_AFTER_COMMIT)
    made = [await shop.invoices.create(draft, once="form-7") for _ in range(2)]
    assert len({one.id for one in made}) == len(box.ledger.invoices()) == 1
    with pytest.raises(KeyReused, match="'F-7' belongs to another invoice"):
        await shop.invoices.create(samples.invoice(invoice_number="F-7", name="Bath"), once="form-8")


async def test_a_number_of_yours_is_one_keys_as_long_as_its_request_is_not_refused(
    box: Sandbox, store: Path
) -> None:
    same = samples.invoice(invoice_number="F-7")
    async with client(box, store=SqliteStore(store)) as hl:
        shop = hl.location()
        box.rules.switch("invoice_names_at_most_40", on=True)
        with pytest.raises(ValidationFailed):
            await shop.invoices.create(samples.invoice(invoice_number="F-7", name="K" * 41), once="form-7")
        made = await shop.invoices.create(same, once="form-8")
        with pytest.raises(KeyReused):
            await shop.invoices.create(samples.invoice(invoice_number="F-7", name="Bath"), once="form-9")
        assert (await shop.invoices.create(same, once="form-8")).id == made.id
    assert len(box.ledger.invoices()) == 1


async def test_a_number_of_yours_that_another_key_is_using_is_refused_before_it_is_sent(
    box: Sandbox, store: Path
) -> None:
    draft = samples.invoice(invoice_number="F-7")
    async with client(box, store=SqliteStore(store), patience=0.05) as hl:
        shop = hl.location()
        box.faults.script("create-invoice", Fault.RESET_BEFORE_COMMIT)
        with pytest.raises(OutcomeUnknown):
            await shop.invoices.create(draft, once="form-7")
        with pytest.raises(KeyReused, match="the invoice number 'F-7' belongs to another key"):
            await shop.invoices.create(draft, once="form-8")
    assert box.ledger.invoices() == []


async def test_an_invoice_without_a_number_and_without_a_store_is_refused(
    shop: Location, box: Sandbox
) -> None:
    with pytest.raises(InvalidRequest, match="set invoice_number, or give the client a store"):
        await shop.invoices.create(samples.invoice(), once="form-7")
    assert box.count == 0


@pytest.mark.parametrize("fault", LOST)
async def test_an_invoice_without_a_number_is_known_by_the_one_it_was_given(
    box: Sandbox, store: Path, fault: Fault
) -> None:
    box.faults.times = dataclasses.replace(box.faults.times, late=0.2)
    async with client(box, store=SqliteStore(store)) as hl:
        box.faults.script("create-invoice", fault)
        shop = hl.location()
        made = await asyncio.gather(
            *(shop.invoices.create(samples.invoice(), once="form-7") for _ in range(3))
        )
        others = await asyncio.gather(
            *(shop.invoices.create(samples.invoice(), once=f"other-{number}") for number in range(4))
        )
    assert len({one.id for one in made}) == 1
    assert len({one.id for one in others}) == 4
    assert len(box.ledger.invoices()) == 5


async def accepted(shop: Location, box: Sandbox) -> str:
    """An estimate that its customer has accepted, as far as the sandbox asks for it."""
    made = await shop.estimates.create(samples.estimate())
    box.ledger.places[box.location_id].estimates[made.id]["estimateStatus"] = "accepted"
    return made.id


@pytest.mark.parametrize("fault", [Fault.RESET_AFTER_COMMIT, Fault.LATE_COMMIT, Fault.NO_INVOICE_KEY])
async def test_an_estimate_makes_one_invoice(shop: Location, box: Sandbox, fault: Fault) -> None:
    estimate_id = await accepted(shop, box)
    box.faults.script("create-invoice-from-estimate", fault)
    made = await asyncio.gather(
        *(shop.estimates.create_invoice(estimate_id, mark_as_invoiced=False, once=True) for _ in range(3))
    )
    assert len({one.invoice.id for one in made if one.invoice}) == len(box.ledger.invoices()) == 1
    with pytest.raises(NotFound):
        await shop.estimates.create_invoice("0" * 24, mark_as_invoiced=True, once=True)


@pytest.mark.parametrize("fault", [Fault.RESET_AFTER_COMMIT, Fault.RESET_BEFORE_COMMIT, Fault.LATE_COMMIT])
async def test_an_estimate_is_sent_once(shop: Location, box: Sandbox, fault: Fault) -> None:
    made = await shop.estimates.create(samples.estimate())
    message = EstimateSend(action="email", user_id="u1")
    box.faults.script("send-estimate", fault)
    sent = await asyncio.gather(
        *(
            shop.estimates.send(made.id, message, once=True, contact_id="c6tZWq1n0uEh8Rk2Lm4p")
            for _ in range(3)
        )
    )
    assert {one.status for one in sent} == {"sent"}
    assert box.ledger.commits[f"send-estimate:{made.id}"] == 1


async def test_a_second_message_or_other_arguments_are_refused_with_what_to_do(
    shop: Location, box: Sandbox
) -> None:
    estimate_id = await accepted(shop, box)
    await shop.estimates.create_invoice(estimate_id, mark_as_invoiced=False, once=True)
    with pytest.raises(
        KeyReused, match="became an invoice with other arguments; leave out once to make another"
    ):
        await shop.estimates.create_invoice(estimate_id, mark_as_invoiced=True, once=True)
    made = await shop.estimates.create(samples.estimate())
    contact = "c6tZWq1n0uEh8Rk2Lm4p"
    await shop.estimates.send(
        made.id, EstimateSend(action="email", user_id="u1"), once=True, contact_id=contact
    )
    again = EstimateSend(action="sms", user_id="u1")
    with pytest.raises(KeyReused, match="was sent with another message; leave out once to send it again"):
        await shop.estimates.send(made.id, again, once=True, contact_id=contact)


async def test_a_key_is_checked_before_any_request(shop: Location, box: Sandbox) -> None:
    for key in ("", " ", "a\nb"):
        with pytest.raises(InvalidRequest, match="is not a key"):
            await shop.estimates.create(samples.estimate(), once=key)
    assert box.count == 0


async def test_drafts_without_a_key_are_created_as_before(shop: Location, box: Sandbox) -> None:
    draft: EstimateDraft = samples.estimate()
    assert (await shop.estimates.create(draft)).id != (await shop.estimates.create(draft)).id
    with pytest.raises(ValidationFailed):
        await shop._at.call(__import__("hl_async").OPERATIONS["create-new-estimate"], body={})
