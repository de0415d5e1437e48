"""Builders and faults for other people's tests: realistic, repeatable, and gone when their block ends."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from hl_async import HighLevel
from hl_async.errors import ConnectionLost, InvalidRequest, OutcomeUnknown, ServerError, Unauthorized
from hl_async.models import Estimate, Invoice, LineItem, document_total
from hl_async.sandbox import Sandbox
from hl_async.testing import faults
from hl_async.testing.builders import Builder

CREATE = "create-new-estimate"


@pytest.mark.parametrize("currency", ["USD", "JPY", "KWD"])
async def test_what_is_built_is_accepted_and_adds_up(hl: HighLevel, currency: str) -> None:
    build = Builder(seed=3)
    shop = hl.location()
    for n in range(1, 6):
        draft = build.estimate(currency=currency, lines=n, tax=Decimal(20), discount=Decimal(5))
        made = await shop.estimates.create(draft)
        assert made.total == document_total(draft.items, currency, draft.discount)
        bill = build.invoice(currency=currency, lines=n)
        assert (await shop.invoices.create(bill)).total == document_total(bill.items, currency, bill.discount)


async def test_contacts_and_products_are_built_too(hl: HighLevel) -> None:
    build, shop = Builder(seed=3), hl.location()
    made = await shop.contacts.create(build.contact_draft(tags=["vip"]))
    assert (made.tags, bool(made.full_name)) == (["vip"], True)
    product = await shop.products.create(build.product())
    price = await shop.products.create_price(product.id, build.price("GBP"))
    assert LineItem.of(product, price).currency == "GBP"
    record = build.contact_record(city="Bristol")
    assert (record.city, record.for_document().email) == ("Bristol", record.email)
    assert Builder(seed=3).contact_draft() == Builder(seed=3).contact_draft()


def test_the_same_seed_builds_the_same_documents() -> None:
    day = date(2026, 1, 15)
    first, second, other = (Builder(seed, today=day) for seed in (1, 1, 2))
    assert first.estimate() == second.estimate()
    assert first.invoice() == second.invoice() != other.invoice()


def test_answers_are_built_as_a_list_would_hold_them() -> None:
    build = Builder(seed=5)
    estimate = build.estimate_answer(status="accepted")
    assert isinstance(estimate, Estimate)
    assert (estimate.status, estimate.estimate_number) == ("accepted", 1)
    assert estimate.items and estimate.total == document_total(estimate.items, "USD", estimate.discount)
    assert estimate.to_update().items[0].amount == estimate.items[0].amount
    invoice = build.invoice_answer(build.invoice(name="Loft 7"))
    assert isinstance(invoice, Invoice)
    assert (invoice.name, invoice.amount_due, invoice.invoice_number) == ("Loft 7", invoice.total, "2")


def test_keywords_replace_fields() -> None:
    build = Builder()
    contact = build.contact(name="Ada Byron")
    draft = build.estimate(
        name="Own name", contact_details=contact, items=[build.line(amount=Decimal("9.99"))]
    )
    assert (draft.name, draft.contact_details.name, draft.items[0].amount) == (
        "Own name",
        "Ada Byron",
        Decimal("9.99"),
    )


async def test_faults_last_as_long_as_their_block(hl: HighLevel, box: Sandbox) -> None:
    build, shop = Builder(), hl.location()
    once = shop.with_options(max_attempts=1)
    with faults.outage(box):
        for _ in range(3):
            with pytest.raises(ServerError):
                await once.estimates.generate_number()
    for spelling in (CREATE, "estimates.create", "CREATE_ESTIMATE"):
        with faults.lost_answers(box, spelling), pytest.raises(OutcomeUnknown):
            await shop.estimates.create(build.estimate())
    with faults.unreachable_next(box), pytest.raises(ConnectionLost):
        await once.estimates.generate_number()
    with faults.refused_tokens(box), pytest.raises(Unauthorized):
        await shop.estimates.generate_number()
    with faults.throttled(box, times=2):
        assert await shop.estimates.generate_number()
    with faults.slow(box, 0.05):
        assert (await shop.raw("generate-estimate-number")).elapsed >= 0.05
    with faults.lost_answers(box, CREATE, times=5):
        pass  # announced and never met
    assert (await shop.estimates.create(build.estimate())).id
    assert len(box.ledger.places[box.location_id].estimates) == 4


def test_a_fault_for_an_operation_that_does_not_exist_is_refused() -> None:
    box = Sandbox()
    with pytest.raises(InvalidRequest, match="operation"), faults.lost_answers(box, "create-estimate"):
        pass
    with pytest.raises(InvalidRequest, match="times"), faults.lost_answers(box, times=0):
        pass


@pytest.mark.parametrize("executed", [True, False])
async def test_a_gateways_time_out_hides_whether_a_creation_was_executed(
    box: Sandbox, hl: HighLevel, executed: bool
) -> None:
    with faults.gateway_timeouts(box, "create-new-estimate", executed=executed):
        with pytest.raises(OutcomeUnknown):
            await hl.location().estimates.create(Builder(seed=3).estimate())
    assert len(box.ledger.estimates()) == int(executed)
