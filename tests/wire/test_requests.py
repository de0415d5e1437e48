"""Promises about requests on the wire: nothing wrong leaves, and what leaves passes the sternest sandbox."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec import UNSET

import samples
from hl_async import ClientConfig, HighLevel, Location
from hl_async.bulk import migrate
from hl_async.errors import BadRequest, InvalidRequest
from hl_async.models import (
    ContactDetails,
    Discount,
    EstimateDraft,
    EstimateSend,
    InvoiceSettings,
    ItemTax,
    LineItem,
    deposit,
)
from hl_async.models.codec import encode_body
from hl_async.models.preparation import RequestContext, prepared
from hl_async.sandbox import RULES, Quirks, Sandbox


@pytest.fixture
async def stern() -> AsyncIterator[Sandbox]:
    """A sandbox with every rule on and every choice against the client, west of Greenwich."""
    async with Sandbox(
        rate_max=10_000,
        timezone="America/Los_Angeles",
        quirks=Quirks.sternest(),
        rules_on=[rule.name for rule in RULES],
    ) as box:
        yield box


@pytest.fixture
async def shop(stern: Sandbox) -> AsyncIterator[Location]:
    async with HighLevel(stern.token, base_url=stern.url, location_id=stern.location_id) as hl:
        yield hl.location()


def bare(**changes: Any) -> EstimateDraft:
    """The first example of the documentation."""
    values: dict[str, Any] = {
        "name": "Kitchen",
        "currency": "USD",
        "expiry_date": date(2040, 12, 31),
        "contact_details": ContactDetails(
            id="c6tZWq1n0uEh8Rk2Lm4p", name="Alex", phone_no="+12145596993", email="alex@example.com"
        ),
        "items": [LineItem(name="Cabinets", currency="USD", amount=Decimal("9.99"), qty=3)],  # type: ignore[arg-type]
    }
    return EstimateDraft(**(values | changes))


async def test_the_first_example_passes_the_sternest_sandbox(stern: Sandbox, shop: Location) -> None:
    made = await shop.estimates.create(bare())
    assert (made.title, made.total, made.expiry_date) == ("Kitchen", Decimal("29.97"), date(2040, 12, 31))
    assert made.issue_date is not None
    assert made.issue_date <= datetime.now(UTC).date()
    await shop.estimates.send(made.id, EstimateSend(action="email", user_id="3HIpOF9NIc5ltriQWPqr"))
    with pytest.raises(BadRequest) as caught:
        await shop.estimates.create_invoice(made.id, mark_as_invoiced=True)
    assert "accept" in str(caught.value)
    stern.customer.accept(made.id)
    async for accepted in shop.estimates.list(status="accepted"):
        await shop.estimates.create_invoice(accepted.id, mark_as_invoiced=True)
    assert await shop.estimates.find_invoice(made.id) is not None


@pytest.mark.parametrize(
    "zone", ["Pacific/Pago_Pago", "America/Denver", "Asia/Kolkata", "Pacific/Kiritimati"]
)
@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("hour", [0, 9, 13, 23])
async def test_an_issue_date_that_is_left_out_is_never_in_the_locations_future(
    zone: str, known: bool, hour: int
) -> None:
    async with Sandbox(rate_max=10_000, timezone=zone) as box, HighLevel(box.token, base_url=box.url) as hl:
        now = datetime.now(UTC)
        # the sandbox lives at this hour of today; the client's clock is at most a day behind it
        box.clock.advance(
            (now.replace(hour=hour, minute=30) - now) % timedelta(days=1) / timedelta(seconds=1)
        )
        shop = hl.location(box.location_id, **({"timezone": zone} if known else {}))
        made = await shop.estimates.create(bare())
        assert made.id


@pytest.mark.parametrize(
    "changes",
    [
        {"items": [samples.line(taxes=[ItemTax(name="VAT", rate=Decimal(20))])]},
        {"payment_schedule_config": deposit(30)},
        {"discount": Discount(value=Decimal(10))},
        {"send_estimate_details": EstimateSend(action="email", user_id="u1")},
        {"extra": {"altType": "location"}},
    ],
)
async def test_whole_estimates_pass_the_sternest_sandbox_and_their_update_too(
    stern: Sandbox, shop: Location, changes: dict[str, Any]
) -> None:
    # the sternest sandbox refuses undeclared keys, and the location's name where it is already
    made = await shop.estimates.create(bare(**changes))
    again = await shop.estimates.update(made.id, made.to_update())
    assert (again.total, again.issue_date, again.expiry_date) == (
        made.total,
        made.issue_date,
        made.expiry_date,
    )


async def test_nested_details_of_mappings_text_and_plans_name_the_location_too(
    stern: Sandbox, shop: Location, tmp_path: Path
) -> None:
    draft = bare(send_estimate_details=EstimateSend(action="email", user_id="u1"))
    body = json.loads(encode_body(prepared(draft, RequestContext()), b""))
    assert "altId" not in body["sendEstimateDetails"]
    for form in (body, json.dumps(body).encode()):
        assert (await shop.raw("create-new-estimate", body=form)).status == 201
    path = tmp_path / "drafts.ndjson"
    path.write_text(json.dumps(body))
    async with HighLevel(stern.token, base_url=stern.url, location_id=shop.id) as hl:
        report = await migrate(hl, path, key="name")  # the sternest lists return no meta
    assert (report.created, report.rejected) == (1, 0)


async def test_another_location_is_never_written_to(stern: Sandbox, shop: Location) -> None:
    other = stern.add_location()
    body = {"altId": other, "altType": "location", "name": "x"}
    for refused in (
        lambda: shop.raw("create-new-estimate", body=body),
        lambda: shop.raw("create-new-estimate", body=json.dumps(body).encode()),
        lambda: shop.raw("list-estimates", query={"altId": other, "limit": 1, "offset": 0}),
        lambda: shop.raw("delete-estimate", "64f0a1b2c3d4e5f6a7b8c9d0", query={"altId": other}),
        lambda: shop.raw("delete-estimate", "64f0a1b2c3d4e5f6a7b8c9d0", body={"altId": other}),
    ):
        with pytest.raises(InvalidRequest, match=f"'{other}' is not this request's"):
            await refused()
    with pytest.raises(InvalidRequest, match=r"extra\.altId"):
        await shop.estimates.create(bare(extra={"altId": other}))
    assert not stern.requests
    assert stern.ledger.estimates(other) == []


async def test_an_example_that_names_the_right_location_works_as_it_was_pasted(
    stern: Sandbox, shop: Location
) -> None:
    own = {"altId": shop.id, "altType": "location"}
    answer = await shop.raw("list-estimates", query={**own, "limit": 1, "offset": 0})
    assert answer.status == 200
    await shop.raw("delete-estimate", (await shop.estimates.create(bare())).id, body=own)


async def test_a_rule_that_is_off_leaves_the_judgement_to_the_api(stern: Sandbox) -> None:
    config = ClientConfig(rules_off=frozenset({"name_at_most_40", "status_read_only"}))
    async with HighLevel(stern.token, base_url=stern.url, config=config) as hl:
        shop = hl.location(stern.location_id)
        with pytest.raises(Exception, match="40") as caught:
            await shop.estimates.create(bare(name="x" * 41, title="t"))
        assert not isinstance(caught.value, InvalidRequest)
        made = await shop.estimates.create(bare())
        changed = await shop.estimates.patch(made.id, estimate_status="accepted")
        assert changed.status == "draft"  # the API ignores it


async def test_a_status_is_refused_before_anything_is_read(stern: Sandbox, shop: Location) -> None:
    with pytest.raises(InvalidRequest, match="Only the customer's page"):
        await shop.estimates.patch("64f0a1b2c3d4e5f6a7b8c9d0", estimate_status="accepted")
    assert not stern.requests


async def test_a_contact_without_phone_and_email_makes_an_estimate() -> None:
    async with Sandbox(rate_max=10_000) as box, HighLevel(box.token, base_url=box.url) as hl:
        made = await hl.location(box.location_id).estimates.create(
            bare(contact_details=ContactDetails(id="c1", name="Alex"))
        )
        assert made.contact_details is not None
        assert made.contact_details.name == "Alex"
        assert made.to_update().contact_details.email is UNSET


def test_a_tips_percentage_that_is_no_number_costs_itself() -> None:
    from hl_async.models.codec import decoder

    found = decoder(InvoiceSettings)(
        b'{"title":"x","tipsConfiguration":{"tipsPercentage":["10%",5,"some",null,"7.5"]}}'
    )
    assert found.title == "x"
    assert found.tips_configuration is not None
    assert found.tips_configuration.tips_percentage == [Decimal(10), Decimal(5), Decimal("7.5")]
