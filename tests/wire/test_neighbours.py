"""Contacts, users, products, payments and opportunities against the sandbox on a real socket."""

from __future__ import annotations

import re
from decimal import Decimal

import aiohttp
import pytest

import samples
from hl_async import HighLevel, Location
from hl_async.errors import BadRequest, InvalidRequest, NotFound, ScopeMissing, ValidationFailed
from hl_async.models import (
    ContactDraft,
    ContactFilter,
    ContactUpdate,
    ContactUpsert,
    CustomFieldInput,
    EstimateSend,
    InvoiceSend,
    OpportunityDraft,
    OpportunityUpdate,
    PriceDraft,
    ProductDraft,
    RecordPayment,
)
from hl_async.operations import UPDATE_CONTACT
from hl_async.sandbox import Fault, Sandbox


@pytest.fixture
def shop(hl: HighLevel) -> Location:
    return hl.location()


async def test_the_life_of_a_contact(shop: Location) -> None:
    made = await shop.contacts.create(
        ContactDraft(
            first_name="Ada",
            last_name="Bell",
            email="Ada@Example.com",
            phone="+12145596993",
            tags=["Lead"],
            custom_fields=[CustomFieldInput(id="cf1", field_value="A-17")],
        )
    )
    assert (made.full_name, made.email, made.tags) == ("Ada Bell", "ada@example.com", ["lead"])
    assert await shop.contacts.find(email="ADA@example.com") == made
    assert await shop.contacts.find(phone="+1 214 559-6993") == made
    assert await shop.contacts.find(email="nobody@example.com") is None
    changed = await shop.contacts.update(made.id, ContactUpdate(city="Dallas"))
    assert (changed.city, changed.email, changed.tags) == ("Dallas", "ada@example.com", ["lead"])
    assert await shop.contacts.add_tags(made.id, "vip", "lead") == ["lead", "vip"]
    assert (await shop.contacts.get(made.id)).tags == ["lead", "vip"]
    customer = made.for_document()
    assert (customer.id, customer.name, customer.phone_no) == (made.id, "Ada Bell", "+12145596993")
    assert await shop.contacts.delete(made.id)
    with pytest.raises(NotFound):
        await shop.contacts.get(made.id)


async def test_a_known_person_is_refused_with_the_id_of_the_contact(shop: Location) -> None:
    made = await shop.contacts.create(ContactDraft(email="a@example.com"))
    with pytest.raises(BadRequest, match="does not allow duplicated contacts") as caught:
        await shop.contacts.create(ContactDraft(email="A@example.com"))
    assert made.id in caught.value.body


async def test_an_upsert_replaces_tags_and_loses_the_first_of_two_addresses(
    shop: Location, box: Sandbox
) -> None:
    made = await shop.contacts.create(ContactDraft(email="old@example.com", tags=["a", "b"]))
    held = box.neighbours.of(box.location_id).contacts[made.id]
    held["additionalEmails"] = [{"email": "new@example.com"}]
    answer = await shop.contacts.upsert(ContactUpsert(email="new@example.com", tags=["c"], gender="f"))
    assert (answer.new, answer.contact.id if answer.contact else None) == (False, made.id)
    assert (held["tags"], held["email"], held["additionalEmails"]) == (["c"], "new@example.com", [])
    assert "gender" not in held
    with pytest.raises(InvalidRequest, match="matches by email or phone"):
        ContactUpsert(name="Ada")
    with pytest.raises(InvalidRequest, match="create another contact"):
        ContactUpsert(email="a@b.co", extra={"createNewIfDuplicateAllowed": True})


async def test_an_upsert_of_two_peoples_fields_updates_the_first_match_only(shop: Location) -> None:
    first = await shop.contacts.create(ContactDraft(email="a@example.com"))
    second = await shop.contacts.create(ContactDraft(phone="+12145596993"))
    answer = await shop.contacts.upsert(ContactUpsert(email="a@example.com", phone="+12145596993"))
    assert answer.contact is not None
    assert (answer.contact.id, answer.contact.phone) == (first.id, None)
    assert (await shop.contacts.get(second.id)).phone == "+12145596993"


async def test_the_search_lags_and_the_look_up_does_not(shop: Location, box: Sandbox) -> None:
    box.contact_quirks.index_lag = 5.0
    made = await shop.contacts.create(ContactDraft(email="a@example.com", name="Ada"))
    assert await shop.contacts.search("ada").collect() == []
    assert await shop.contacts.find(email="a@example.com") == made
    box.clock.advance(5.0)
    assert [one.id async for one in shop.contacts.search("ada")] == [made.id]


async def test_a_search_goes_beyond_what_pages_reach(shop: Location, box: Sandbox) -> None:
    for number in range(25):
        await shop.contacts.create(ContactDraft(email=f"p{number}@example.com", name="Person"))
    found = [one.email async for one in shop.contacts.search("person", limit=10)]
    assert len(set(found)) == 25
    pages = [one for one in box.requests if one.operation == "search-contacts-advanced"]
    assert len(pages) == 3
    condition = ContactFilter(field="email", operator="eq", value="p7@example.com")
    assert [one.email async for one in shop.contacts.search(filters=[condition])] == ["p7@example.com"]
    with pytest.raises(InvalidRequest, match="above 500"):
        shop.contacts.search(limit=501)


async def test_a_search_reads_more_than_ten_thousand_contacts(shop: Location, box: Sandbox) -> None:
    state = box.neighbours.of(box.location_id)
    for number in range(10_250):
        entry = {"id": f"c{number}", "email": f"p{number}@example.com", "customFields": [], "tags": []}
        state.contacts[entry["id"]] = entry
    ids = [one.id async for one in shop.contacts.search(limit=500)]
    assert len(ids) == len(set(ids)) == 10_250
    assert len([one for one in box.requests if one.operation == "search-contacts-advanced"]) == 21


async def test_unknown_keys_of_a_contact_are_refused(shop: Location) -> None:
    made = await shop.contacts.create(ContactDraft(email="a@example.com"))
    with pytest.raises(ValidationFailed, match="property companyName should not exist"):
        await shop._at.call(UPDATE_CONTACT, made.id, body={"companyName": "Bell"})


async def test_a_refused_creation_may_have_created_the_contact(shop: Location, box: Sandbox) -> None:
    box.contact_quirks.created_despite_422 = 1
    with pytest.raises(ValidationFailed):
        await shop.contacts.create(ContactDraft(email="a@example.com"))
    assert await shop.contacts.find(email="a@example.com") is not None


async def test_documents_for_unknown_contacts_are_refused_where_the_switch_says_so(
    shop: Location, box: Sandbox
) -> None:
    await shop.estimates.create(samples.estimate())
    box.contact_quirks.contacts_looked_up = True
    with pytest.raises(NotFound, match="Contact with id"):
        await shop.estimates.create(samples.estimate())
    made = await shop.contacts.create(ContactDraft(name="Ada", email="a@example.com", phone="+12145596993"))
    await shop.estimates.create(samples.estimate(contact_details=made.for_document()))


async def test_documents_of_unknown_users_are_not_sent_where_the_switch_says_so(
    shop: Location, box: Sandbox
) -> None:
    made = await shop.estimates.create(samples.estimate())
    invoice = await shop.invoices.create(samples.invoice())
    box.contact_quirks.users_looked_up = True
    with pytest.raises(NotFound, match="User with id nobody"):
        await shop.estimates.send(made.id, EstimateSend(action="email", user_id="nobody"))
    with pytest.raises(NotFound, match="User with id nobody"):
        await shop.invoices.send(invoice.id, InvoiceSend(action="email", user_id="nobody", live_mode=False))
    with pytest.raises(NotFound, match="User with id nobody"):
        await shop.invoices.text2pay(samples.text2pay(user_id="nobody"))
    assert not box.recorder.messages
    user = await shop.users.named("Dana Reyes")
    sent = await shop.estimates.send(made.id, EstimateSend(action="email", user_id=user.id))
    assert sent.status == "sent"


async def test_the_one_user_of_a_name_is_found_and_another_one_is_an_error_that_lists_them(
    shop: Location, box: Sandbox
) -> None:
    users = box.neighbours.of(box.location_id).users
    assert (await shop.users.named(" dana REYES ")).id == users[0]["id"]
    assert (await shop.users.named("dana@joinery.example")).id == users[0]["id"]
    for name in ("dana", ""):
        with pytest.raises(
            InvalidRequest, match="is not a user of this location; there are: Dana Reyes <dana@"
        ):
            await shop.users.named(name)
    users.append(users[0] | {"id": "user2", "email": "dr@joinery.example"})
    with pytest.raises(InvalidRequest, match="several users; there are: .*dana@.*dr@"):
        await shop.users.named("Dana Reyes")
    users[0]["deleted"] = True
    assert (await shop.users.named("Dana Reyes")).id == "user2"


READS = (
    "invoices/estimate.readonly", "invoices.readonly", "invoices/template.readonly", "invoices/schedule.readonly",
    "contacts.readonly", "locations.readonly", "users.readonly", "products.readonly", "products/prices.readonly",
    "payments/transactions.readonly", "payments/orders.readonly", "opportunities.readonly",
)  # fmt: skip


@pytest.mark.parametrize("missing", READS)
async def test_a_missing_scope_is_named_before_any_work(box: Sandbox, missing: str) -> None:
    token = box.add_token(scopes=[one for one in READS if one != missing])
    async with HighLevel(token, base_url=box.url, location_id=box.location_id) as hl:
        shop = hl.location()
        await shop.check_scopes(*(one for one in READS if one not in (missing, "users.readonly")))
        with pytest.raises(ScopeMissing, match=re.escape(missing)):
            await shop.check_scopes(*READS)


async def test_a_scope_that_can_not_be_checked_is_refused_before_any_request(
    shop: Location, box: Sandbox
) -> None:
    before = box.count
    for scope, hint in (("contacts.write", "only a write would show it"), ("contacts", "unknown scope")):
        with pytest.raises(InvalidRequest, match=f"'{scope}' can't be checked: {hint}"):
            await shop.check_scopes("contacts.readonly", scope)
    assert box.count == before


async def test_details_are_asked_for_once(shop: Location, hl: HighLevel, box: Sandbox) -> None:
    details = await shop.details()
    assert (details.timezone, details.company_id) == ("America/Chicago", box.company_id)
    assert details.business is not None
    assert details.logo_url
    assert await hl.location().details() is details
    asked = [one for one in box.requests if one.operation == "get-location"]
    assert len(asked) == 1
    await shop.details(fresh=True)
    assert len([one for one in box.requests if one.operation == "get-location"]) == 2


async def test_a_user_is_found_by_name(shop: Location) -> None:
    [user] = await shop.users.search("dana").collect()
    assert (user.email, user.roles.role if user.roles else "") == ("dana@joinery.example", "admin")
    assert await shop.users.search("unknown").collect() == []


async def test_products_and_prices(shop: Location) -> None:
    product = await shop.products.create(ProductDraft(name="Cabinet", product_type="PHYSICAL"))
    price = await shop.products.create_price(
        product.id, PriceDraft(name="Standard", type="one_time", currency="USD", amount=Decimal("199.50"))
    )
    page = await shop.products.list(search="cab")
    assert ([one.id for one in page], page.total) == ([product.id], 1)
    assert [(one.id, one.amount) async for one in shop.products.prices(product.id)] == [
        (price.id, Decimal("199.50"))
    ]
    with pytest.raises(NotFound):
        await shop.products.prices("65b000000000000000000000").collect()
    with pytest.raises(ValidationFailed, match="productType"):
        await shop.products.create(ProductDraft(name="x", product_type="HOUSE"))


async def test_the_payments_of_an_invoice(shop: Location) -> None:
    invoice = await shop.invoices.create(samples.invoice())
    other = await shop.invoices.create(samples.invoice())
    for one in (invoice, other):
        await shop.invoices.record_payment(one.id, RecordPayment(mode="cash", amount=Decimal("9.97")))
    [payment] = await shop.transactions.list(invoice_id=invoice.id).collect()
    assert (payment.entity_id, payment.amount, payment.status) == (invoice.id, Decimal("9.97"), "succeeded")
    assert len(await shop.transactions.list().collect()) == 2
    assert await shop.transactions.orders().collect() == []


async def test_an_unknown_stage_lands_in_the_first_one(shop: Location) -> None:
    contact = await shop.contacts.create(ContactDraft(email="a@example.com"))
    [pipeline] = await shop.opportunities.pipelines()
    assert pipeline.stages is not None
    first, second = (stage.id for stage in pipeline.stages)
    made = await shop.opportunities.create(
        OpportunityDraft(
            pipeline_id=pipeline.id, name="Kitchen", contact_id=contact.id, pipeline_stage_id="unknown"
        )
    )
    assert made.pipeline_stage_id == first
    moved = await shop.opportunities.update(
        made.id, OpportunityUpdate(pipeline_stage_id=str(second), monetary_value=Decimal("1200.50"))
    )
    assert (moved.pipeline_stage_id, moved.monetary_value) == (second, Decimal("1200.50"))
    assert [one.id async for one in shop.opportunities.search(contact_id=contact.id)] == [made.id]
    assert await shop.opportunities.search(status="won").collect() == []


async def test_an_agency_lists_its_locations(box: Sandbox) -> None:
    other = box.add_location()
    app = box.add_app()
    grant = box.tokens.exchange(
        {
            "client_id": app.client_id,
            "client_secret": app.client_secret,
            "grant_type": "authorization_code",
            "code": box.authorise(app.client_id),
        }
    )
    async with HighLevel(grant["access_token"], base_url=box.url) as agency:
        found = [one.id async for one in agency.locations(box.company_id)]
    assert found == [box.location_id, other]


async def test_a_missing_scope_is_named(box: Sandbox) -> None:
    token = box.add_token(scopes=["invoices/estimate.write"])
    async with HighLevel(token, base_url=box.url, location_id=box.location_id) as hl:
        with pytest.raises(ScopeMissing, match=r"contacts\.readonly"):
            await hl.location().contacts.find(email="a@example.com")


async def test_a_deletion_whose_answer_was_lost_counts(shop: Location, box: Sandbox) -> None:
    made = await shop.contacts.create(ContactDraft(email="a@example.com"))
    box.faults.script("delete-contact", Fault.RESET_AFTER_COMMIT)
    assert await shop.contacts.delete(made.id)


async def test_a_look_up_wants_one_key(shop: Location) -> None:
    with pytest.raises(InvalidRequest, match="either email or phone"):
        await shop.contacts.find()
    with pytest.raises(InvalidRequest, match="not an e-mail address"):
        await shop.contacts.find(email="ada")
    with pytest.raises(InvalidRequest, match="has no country code"):
        await shop.contacts.find(phone="0214 559 6993")


async def test_other_processes_see_contacts_and_turn_their_switches(shop: Location, box: Sandbox) -> None:
    made = await shop.contacts.create(ContactDraft(email="a@example.com"))
    async with aiohttp.ClientSession(box.url) as session:
        async with session.get("/_sandbox/contacts") as answer:
            assert [one["id"] for one in await answer.json()] == [made.id]
        change = {"duplicates_allowed": True, "index_lag": 5, "match_order": ["phone"]}
        async with session.put("/_sandbox/contact-quirks", json=change) as answer:
            assert (await answer.json())["match_order"] == ["phone"]
        assert (await shop.contacts.create(ContactDraft(email="a@example.com"))).id != made.id
        for wrong in (
            {"lag": 1},
            {"index_lag": -1},
            {"duplicates_allowed": "yes"},
            {"match_order": ["name"]},
        ):
            async with session.put("/_sandbox/contact-quirks", json=wrong) as answer:
                assert answer.status == 400
    assert box.contact_quirks.index_lag == 5
