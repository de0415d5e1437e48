"""Promises of the decisions behind ``contacts.ensure``: who it is, and what may be written."""

from __future__ import annotations

from typing import Any

import pytest

from hl_async.errors import AmbiguousContact, InvalidRequest
from hl_async.models import AdditionalEmail, ContactDraft, ContactRecord, CustomFieldInput, CustomFieldValue
from hl_async.resources.contact_ensuring import person
from hl_async.resources.contact_matching import check_replace, decide_match, plan_fill

ADA = ContactRecord(id="c1", first_name="Ada", last_name="Bell", email="ada@example.com", tags=["vip"])
BOB = ContactRecord(id="c2", name="Bob", phone="+12145596993")


def test_keys_of_one_contact_are_a_match() -> None:
    match = decide_match({"external_id": None, "email": ADA, "phone": ADA})
    assert match == (ADA, ("email", "phone"))
    assert decide_match({"email": None, "phone": None}) is None


def test_keys_of_two_contacts_list_both() -> None:
    with pytest.raises(
        AmbiguousContact, match=r"c1 \(Ada Bell\) has the email; c2 \(Bob\) has the phone"
    ) as caught:
        decide_match({"email": ADA, "phone": BOB})
    assert caught.value.candidates == {"c1": ("email",), "c2": ("phone",)}


def test_only_what_is_empty_is_filled() -> None:
    wanted = ContactDraft(email="ADA@example.com", phone="+12145596993", city="Dallas", last_name="Bell")
    plan = plan_fill(ADA, wanted, ())
    assert plan.changes == {"phone": "+12145596993", "city": "Dallas"}
    assert plan.kept == {}


def test_another_value_is_kept_and_reported() -> None:
    plan = plan_fill(ADA, ContactDraft(email="a.bell@example.com", first_name="Adele"), ())
    assert (plan.changes, plan.kept) == ({}, {"email": "ada@example.com", "first_name": "Ada"})


def test_a_further_address_of_the_contact_is_no_change() -> None:
    contact = ContactRecord(id="c", email="a@b.co", additional_emails=[AdditionalEmail(email="Old@b.co")])
    assert plan_fill(contact, ContactDraft(email="old@b.co"), ()).kept == {}


def test_parts_of_two_names_are_not_mixed() -> None:
    contact = ContactRecord(id="c", first_name="Ada")
    assert plan_fill(contact, ContactDraft(first_name="Bob", last_name="Cole"), ()).changes == {}
    assert plan_fill(contact, ContactDraft(first_name="ada", last_name="Bell"), ()).changes == {
        "last_name": "Bell"
    }
    assert plan_fill(contact, ContactDraft(name="Bob Cole"), ()).changes == {}
    assert plan_fill(BOB, ContactDraft(first_name="Ada"), ()).changes == {}


def test_tags_are_added_unless_they_are_to_be_replaced() -> None:
    wanted = ContactDraft(tags=["VIP", "lead"])
    assert plan_fill(ADA, wanted, ()).tags == ("lead",)
    plan = plan_fill(ADA, wanted, {"tags"})
    assert (plan.changes, plan.tags) == ({"tags": ["VIP", "lead"]}, ())
    assert plan_fill(ADA, ContactDraft(tags=["vip"]), {"tags"}).changes == {}


def test_replacing_is_by_name() -> None:
    wanted = ContactDraft(email="new@example.com", first_name="Adele")
    assert plan_fill(ADA, wanted, {"email"}).changes == {"email": "new@example.com"}
    assert check_replace(["email"]) == {"email"}
    with pytest.raises(InvalidRequest, match="unknown field 'mail'"):
        check_replace({"mail"})
    with pytest.raises(InvalidRequest, match="not text"):
        check_replace("email")


def test_a_company_name_cannot_be_written_later_and_is_reported() -> None:
    plan = plan_fill(ADA, ContactDraft(company_name="Bell Ltd"), {"email"})
    assert (plan.changes, plan.kept) == ({}, {"company_name": None})


def test_custom_fields_are_filled_one_by_one() -> None:
    contact = ContactRecord(id="c", custom_fields=[CustomFieldValue(id="a", value="1")])
    wanted = [CustomFieldInput(id="a", field_value="2"), CustomFieldInput(id="b", field_value="3")]
    plan = plan_fill(contact, ContactDraft(custom_fields=wanted), ())
    assert plan.changes == {"custom_fields": [wanted[1]]}
    assert plan.kept == {"custom_fields[a]": "1"}
    assert plan_fill(contact, ContactDraft(custom_fields=wanted), {"custom_fields"}).changes == {
        "custom_fields": wanted
    }


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "email: is missing; give email, phone or external_id"),
        ({"email": "ada"}, "not an e-mail address"),
        ({"email": 5}, "email: takes text, got int"),
        ({"phone": "0711 123"}, "no country code"),
        ({"external_id": CustomFieldInput(id="cf")}, "external_id: needs the id"),
        ({"external_id": CustomFieldInput(id="cf", field_value="x" * 76)}, "more than 75 characters"),
        ({"email": "a@b.co", "details": {"nickname": "x"}}, "nickname: is not a field of a contact"),
        ({"email": "a@b.co", "details": {"tags": "vip"}}, "tags: takes a list"),
    ],
)
def test_bad_input_is_refused_before_any_request(given: dict[str, Any], says: str) -> None:
    values: dict[str, Any] = {
        "email": None,
        "phone": None,
        "region": None,
        "external_id": None,
        "details": {},
    }
    with pytest.raises(InvalidRequest, match=says):
        person(**{**values, **given})
