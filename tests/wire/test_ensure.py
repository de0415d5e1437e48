"""``contacts.ensure`` against the sandbox: one person, one contact, and nothing lost."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator

import pytest

from hl_async import HighLevel, Location
from hl_async.errors import (
    AmbiguousContact,
    ContactIncomplete,
    OutcomeUnknown,
    ScopeMissing,
    ValidationFailed,
)
from hl_async.models import ContactDraft, ContactUpdate, CustomFieldInput
from hl_async.resources.once import Once
from hl_async.sandbox import Fault, Sandbox


@pytest.fixture
async def shop(box: Sandbox) -> AsyncIterator[Location]:
    settings = Once(settle=0.5, patience=5.0)
    async with HighLevel(box.token, base_url=box.url, location_id=box.location_id, once=settings) as hl:
        yield hl.location()


def held(box: Sandbox) -> list[dict[str, object]]:
    return list(box.neighbours.of(box.location_id).contacts.values())


async def test_an_unknown_person_is_created_with_everything(shop: Location, box: Sandbox) -> None:
    made = await shop.contacts.ensure(
        email="Ada@Example.com", phone="(214) 559-6993", region="US", first_name="Ada", tags=["web"]
    )
    assert (made.created, made.matched_by, made.contact.phone) == (True, (), "+12145596993")
    again = await shop.contacts.ensure(email="ada@example.com", phone="+12145596993")
    assert (again.created, again.matched_by, again.contact) == (False, ("email", "phone"), made.contact)
    assert len(held(box)) == 1


async def test_a_known_person_keeps_tags_addresses_and_names(shop: Location, box: Sandbox) -> None:
    known = await shop.contacts.create(
        ContactDraft(email="ada@example.com", first_name="Ada", last_name="Bell", tags=["vip"])
    )
    box.neighbours.of(box.location_id).contacts[known.id]["additionalEmails"] = [{"email": "old@example.com"}]
    found = await shop.contacts.ensure(
        email="OLD@example.com", phone="+12145596993", first_name="Adele", tags=["web"], city="Dallas"
    )
    assert (found.created, found.matched_by) == (False, ("email",))
    assert set(found.filled) == {"phone", "city", "tags"}
    assert found.kept == {"first_name": "Ada"}
    [contact] = held(box)
    assert contact["tags"] == ["vip", "web"]
    assert (contact["email"], contact["firstName"]) == ("ada@example.com", "Ada")
    assert contact["additionalEmails"] == [{"email": "old@example.com"}]


async def test_nothing_is_written_when_nothing_is_empty(shop: Location, box: Sandbox) -> None:
    await shop.contacts.ensure(email="ada@example.com", first_name="Ada")
    before = box.count
    await shop.contacts.ensure(email="ada@example.com", first_name="Ada")
    assert [one.operation for one in list(box.requests)[before:]] == ["get-duplicate-contact"]


async def test_two_candidates_are_listed_and_nothing_is_written(shop: Location, box: Sandbox) -> None:
    first = await shop.contacts.create(ContactDraft(email="ada@example.com"))
    second = await shop.contacts.create(ContactDraft(phone="+12145596993"))
    with pytest.raises(AmbiguousContact) as caught:
        await shop.contacts.ensure(email="ada@example.com", phone="+12145596993", city="Dallas")
    assert set(caught.value.candidates) == {first.id, second.id}
    assert all("city" not in one for one in held(box))


async def test_an_external_id_goes_before_the_address(shop: Location, box: Sandbox) -> None:
    number = CustomFieldInput(id="cf1", field_value="A-17")
    made = await shop.contacts.ensure(email="ada@example.com", external_id=number)
    moved = await shop.contacts.ensure(email="new@example.com", external_id=number, replace={"email"})
    assert (moved.matched_by, moved.contact.id) == (("external_id",), made.contact.id)
    assert moved.contact.email == "new@example.com"
    assert len(held(box)) == 1


async def test_a_refused_duplicate_is_a_match(shop: Location, box: Sandbox) -> None:
    known = await shop.contacts.create(ContactDraft(email="ada@example.com"))
    box.contact_quirks.index_lag = 60.0
    box.contact_quirks.lookup_lags = True
    box.neighbours.of(box.location_id).indexed.clear()  # the look-up has not seen it yet
    found = await shop.contacts.ensure(email="ada@example.com", city="Dallas")
    assert (found.created, found.matched_by, found.contact.id) == (False, ("duplicate",), known.id)
    assert found.contact.city == "Dallas"


@pytest.mark.parametrize("allowed", [True, False])
@pytest.mark.parametrize("fault", [Fault.RESET_AFTER_COMMIT, Fault.RESET_BEFORE_COMMIT, Fault.LATE_COMMIT])
async def test_a_lost_answer_is_looked_up_before_anything_is_repeated(
    shop: Location, box: Sandbox, fault: Fault, allowed: bool
) -> None:
    box.contact_quirks.duplicates_allowed = allowed
    box.faults.times = dataclasses.replace(box.faults.times, late=0.2)
    box.faults.script("create-contact", fault)
    found = await shop.contacts.ensure(email="ada@example.com", tags=["web"])
    assert found.contact.email == "ada@example.com"
    assert len(held(box)) == 1
    assert held(box)[0]["tags"] == ["web"]


async def test_a_key_that_the_location_does_not_match_by_is_not_repeated_at_once(
    shop: Location, box: Sandbox
) -> None:
    """Duplicates are refused, but only by e-mail: two creations by phone number would both go through."""
    box.contact_quirks.match_order = ("email",)
    box.faults.times = dataclasses.replace(box.faults.times, late=0.3)
    box.faults.script("create-contact", Fault.LATE_COMMIT)
    found = await shop.contacts.ensure(phone="+12145596993")
    assert found.contact.phone == "+12145596993"
    assert len(held(box)) == 1


async def test_an_address_that_changed_hands_is_another_person(box: Sandbox) -> None:
    settings = Once(settle=0.001)  # a look-up that lags no longer than a request takes
    async with HighLevel(box.token, base_url=box.url, location_id=box.location_id, once=settings) as hl:
        contacts = hl.location().contacts
        first = await contacts.ensure(email="office@example.com")
        await contacts.update(first.contact.id, ContactUpdate(email="moved@example.com"))
        await asyncio.sleep(0.05)  # the record of the first is then older than any look-up that lags
        second = await contacts.ensure(email="office@example.com")
    assert second.created
    assert second.contact.id != first.contact.id


async def test_a_refusal_that_created_is_found(shop: Location, box: Sandbox) -> None:
    box.contact_quirks.created_despite_422 = 1
    found = await shop.contacts.ensure(email="ada@example.com")
    assert (found.created, found.matched_by) == (False, ("email",))
    assert len(held(box)) == 1


async def test_a_plain_refusal_is_raised_and_can_be_corrected(shop: Location, box: Sandbox) -> None:
    with pytest.raises(ValidationFailed):
        await shop.contacts.ensure(email="ada@example.com", country="Texas")
    assert (await shop.contacts.ensure(email="ada@example.com")).created


async def test_clicks_at_once_make_one_contact(shop: Location, box: Sandbox) -> None:
    box.contact_quirks.duplicates_allowed = True
    keys = [{"email": "ada@example.com"}, {"email": "ada@example.com", "phone": "+12145596993"}] * 5
    found = await asyncio.gather(*(shop.contacts.ensure(**one) for one in keys))
    assert sum(one.created for one in found) == 1
    assert len(held(box)) == 1


async def test_a_new_contact_is_known_while_the_look_up_lags(shop: Location, box: Sandbox) -> None:
    box.contact_quirks.duplicates_allowed = True
    box.contact_quirks.index_lag = 60.0
    box.contact_quirks.lookup_lags = True
    made = await shop.contacts.ensure(email="ada@example.com")
    again = await shop.contacts.ensure(email="ada@example.com", city="Dallas")
    assert (again.created, again.contact.id, again.contact.city) == (False, made.contact.id, "Dallas")
    assert len(held(box)) == 1


async def test_patience_ends_with_an_error_and_the_next_call_goes_on(box: Sandbox) -> None:
    box.contact_quirks.duplicates_allowed = True
    settings = Once(settle=0.8, patience=0.1)
    async with HighLevel(box.token, base_url=box.url, location_id=box.location_id, once=settings) as hl:
        contacts = hl.location().contacts
        box.faults.script("create-contact", Fault.RESET_BEFORE_COMMIT)
        with pytest.raises(OutcomeUnknown, match="call again with the same keys"):
            await contacts.ensure(email="ada@example.com")
        while True:
            try:
                found = await contacts.ensure(email="ada@example.com")
                break
            except OutcomeUnknown:
                continue
    assert found.created
    assert len(held(box)) == 1


async def test_half_a_job_says_which_half(box: Sandbox) -> None:
    async with HighLevel(box.token, base_url=box.url, location_id=box.location_id) as hl:
        known = await hl.location().contacts.create(ContactDraft(email="ada@example.com"))
    reading = box.add_token(scopes=["contacts.readonly"])
    async with HighLevel(reading, base_url=box.url, location_id=box.location_id) as hl:
        contacts = hl.location().contacts
        with pytest.raises(
            ContactIncomplete, match=r"city, tags could not be written.*contacts\.write"
        ) as caught:
            await contacts.ensure(email="ada@example.com", city="Dallas", tags=["web"])
        assert (caught.value.contact_id, caught.value.missing) == (known.id, ("city", "tags"))
        with pytest.raises(ScopeMissing, match=r"contacts\.write"):
            await contacts.ensure(email="bob@example.com")
