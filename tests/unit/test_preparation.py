"""Promises about requests: completed where the live API needs more, refused by field where it would refuse."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET

import samples
from hl_async.bulk.sources.planning_rules import planning_context
from hl_async.config import ClientConfig
from hl_async.errors import ConfigurationError, InvalidRequest
from hl_async.models import (
    Attachment,
    AutoInvoicing,
    BusinessDetails,
    Charge,
    ContactDetails,
    Discount,
    EstimateDraft,
    EstimateSend,
    EstimateUpdate,
    InvoiceSend,
    ItemTax,
    MiscellaneousCharges,
    PaymentSchedule,
    SentTo,
)
from hl_async.models.codec import alt_prefix, encode_body
from hl_async.models.preparation import RequestContext, prepared
from hl_async.models.rules import CLIENT_RULES, RULE_NAMES, rules_without

NOON = datetime(2026, 11, 29, 12, 30, tzinfo=UTC)


def context(zone: str | None = None, *, off: tuple[str, ...] = (), now: datetime = NOON) -> RequestContext:
    return RequestContext("loc", rules_without(off), zone, clock=now.timestamp)


def estimate(**changes: Any) -> EstimateDraft:
    """An estimate without title and issue date, unless they are given."""
    return samples.estimate(**({"title": UNSET, "issue_date": UNSET} | changes))


def sent(body: Any, at: RequestContext | None = None) -> dict[str, Any]:
    """What goes out."""
    text = encode_body(prepared(body, at or context()), alt_prefix("loc"))
    pairs = json.loads(text, object_pairs_hook=lambda found: found)
    names = [name for name, _ in pairs]
    assert len(names) == len(set(names)), f"a key stands there twice: {names}"
    found: dict[str, Any] = json.loads(text)
    return found


def update(**changes: Any) -> EstimateUpdate:
    values = {name: getattr(estimate(), name) for name in EstimateDraft.__struct_fields__}
    return EstimateUpdate(**{**values, **changes})


# ------------------------------------------------------------------------------------------- completing


def test_an_estimate_always_has_a_title_an_issue_date_and_types() -> None:
    for draft in (estimate(), update(), estimate(title=""), estimate(title=None)):
        body = sent(draft)
        assert body["title"] == "Kitchen"
        assert body["issueDate"] == "2026-11-29"
        assert [line["type"] for line in body["items"]] == ["one_time"]


def test_what_the_caller_gives_is_sent_as_it_is() -> None:
    draft = estimate(title="Offer", issue_date=date(2026, 1, 2), items=[samples.line(type="recurring")])
    body = sent(draft)
    assert (body["title"], body["issueDate"], body["items"][0]["type"]) == (
        "Offer",
        "2026-01-02",
        "recurring",
    )
    assert prepared(draft, context()) is draft


@pytest.mark.parametrize(
    ("zone", "now", "day"),
    [
        ("America/Denver", NOON, "2026-11-29"),
        ("Pacific/Auckland", NOON, "2026-11-30"),
        ("America/Denver", datetime(2026, 11, 29, 6, 59, tzinfo=UTC), "2026-11-28"),
        (None, datetime(2026, 11, 29, 11, 59, tzinfo=UTC), "2026-11-28"),
        (None, datetime(2026, 11, 29, 12, 0, tzinfo=UTC), "2026-11-29"),
    ],
)
def test_a_missing_issue_date_is_the_locations_today_or_a_day_that_has_begun_everywhere(
    zone: str | None, now: datetime, day: str
) -> None:
    assert sent(estimate(), context(zone, now=now))["issueDate"] == day


@pytest.mark.parametrize(
    ("zone", "day", "good"),
    [
        ("America/Denver", date(2026, 11, 29), True),
        ("America/Denver", date(2026, 11, 30), False),
        ("Pacific/Auckland", date(2026, 11, 30), True),
        (None, date(2026, 11, 30), True),  # it has begun in New Zealand
        (None, date(2026, 12, 1), False),
    ],
)
def test_a_new_estimate_of_a_day_to_come_is_refused(zone: str | None, day: date, good: bool) -> None:
    draft = estimate(issue_date=day)
    if good:
        assert sent(draft, context(zone))["issueDate"] == day.isoformat()
        return
    with pytest.raises(InvalidRequest, match="in the future: today is 2026-11-.* leave it out") as caught:
        sent(draft, context(zone))
    assert caught.value.field == "issue_date"
    assert sent(draft, context(zone, off=("issue_date_not_future",)))["issueDate"] == day.isoformat()
    assert sent(update(issue_date=day), context(zone))["issueDate"] == day.isoformat()


@pytest.mark.untraced
@settings(deadline=None, max_examples=100, derandomize=True)
@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1).filter(str.strip))
def test_the_title_made_from_a_name_is_never_longer_than_the_api_takes(name: str) -> None:
    body = sent(estimate(name=name), context(off=("name_at_most_40",)))
    assert len(body["title"]) <= 40
    assert body["title"] == name[:40].strip() or not name[:40].strip()


def test_the_same_tax_has_the_same_id_in_every_line_and_every_process() -> None:
    def of(name: str | None, rate: Any, **more: Any) -> Any:
        (tax,) = samples.line(taxes=[ItemTax(name=name, rate=rate, **more)]).taxes
        return tax

    assert of("VAT", Decimal("13.0")).id == of("VAT", Decimal(13)).id == "eb99c755b6a41b1f7bb0c63d"
    assert len({of("VAT", Decimal(13)).id, of("VAT", Decimal(12)).id, of("GST", Decimal(13)).id}) == 3
    assert of(None, Decimal(5)).name == "Tax"
    assert of("VAT", Decimal(13), id="given").id == "given"


def test_a_contact_of_an_estimate_may_go_without_phone_and_email_and_one_of_an_invoice_gets_empty_ones() -> (
    None
):
    bare = ContactDetails(id="c", name="Alex")
    assert sent(estimate(contact_details=bare))["contactDetails"] == {"id": "c", "name": "Alex"}
    filled = {"id": "c", "name": "Alex", "phoneNo": "", "email": ""}
    for body in (
        samples.invoice(contact_details=bare),
        samples.text2pay(contact_details=bare),
        samples.schedule(contact_details=bare),
    ):
        assert sent(body)["contactDetails"] == filled
    off = context(off=("invoice_contact_complete",))
    assert sent(samples.invoice(contact_details=bare), off)["contactDetails"] == {"id": "c", "name": "Alex"}


def test_parts_that_say_nothing_are_left_out() -> None:
    body = sent(samples.invoice(payment_schedule=PaymentSchedule(), sent_to=SentTo(email=["a@example.com"])))
    assert "paymentSchedule" not in body
    body = sent(estimate(auto_invoice=AutoInvoicing(), sent_to=SentTo(), business_details=BusinessDetails()))
    assert not {"autoInvoice", "sentTo"} & set(body)
    assert body["businessDetails"] == {}  # required


def test_the_location_is_bound_where_it_is_nested() -> None:
    send = EstimateSend(action="email", user_id="u1")
    for own in ({}, {"alt_id": "loc", "alt_type": "location"}):
        details = sent(estimate(send_estimate_details=EstimateSend(action="email", user_id="u1", **own)))
        assert details["sendEstimateDetails"] == {
            "action": "email", "userId": "u1", "liveMode": True, "altId": "loc", "altType": "location",
        }  # fmt: skip
    assert sent(EstimateSend(action="email", user_id="u1", alt_id="loc"))["altId"] == "loc"
    assert send.alt_id is UNSET
    with pytest.raises(InvalidRequest, match=r"body.altId: 'other' is not this request's 'loc'"):
        sent(EstimateSend(action="email", user_id="u1", alt_id="other"))
    with pytest.raises(InvalidRequest, match="'other' is not this request's"):
        sent(estimate(send_estimate_details=EstimateSend(action="email", user_id="u1", alt_id="other")))


def test_undeclared_keys_of_nested_details_stand_beside_the_declared_ones() -> None:
    def details(**extra: Any) -> Any:
        nested = EstimateSend(action="email", user_id="u1", extra=extra)
        return sent(estimate(send_estimate_details=nested))["sendEstimateDetails"]

    known = {"action": "email", "userId": "u1", "liveMode": True, "altId": "loc", "altType": "location"}
    assert details(altId="loc", replyTo="a@example.com") == {**known, "replyTo": "a@example.com"}
    assert details(userId="u1") == known
    for refused in ({"altId": "other"}, {"userId": "u2"}):
        with pytest.raises(InvalidRequest, match=f"extra.{next(iter(refused))}"):
            details(**refused)


# --------------------------------------------------------------------------------------------- refusing

LONG = "x" * 41
FILE = Attachment(id="a", name="a.pdf", url="https://example.com/a.pdf", type="pdf", size=Decimal(1))


@pytest.mark.parametrize(
    ("changes", "field", "rule"),
    [
        ({"name": LONG, "title": "t"}, "name", "name_at_most_40"),
        ({"title": LONG}, "title", "title_at_most_40"),
        ({"expiry_date": UNSET}, "expiry_date", "expiry_date_required"),
        ({"contact_details": ContactDetails(id="c", name="A", phone_no="(214) 559-6993")}, "contact_details.phone_no", "phone_e164"),
        ({"discount": Discount(value=Decimal(30), type="fixed")}, "discount.value", "discount_within_subtotal"),
        ({"attachments": [FILE] * 11}, "attachments", "attachments_at_most_10"),
    ],
)  # fmt: skip
def test_what_the_live_api_refuses_is_refused_by_field_and_rule_unless_the_rule_is_off(
    changes: dict[str, Any], field: str, rule: str
) -> None:
    for draft in (estimate(**changes), update(**changes)):
        with pytest.raises(InvalidRequest) as caught:
            sent(draft)
        assert caught.value.field == field
        assert f"(rule {rule})" in caught.value.problem
        sent(draft, context(off=(rule,)))


def test_a_status_is_not_written() -> None:
    with pytest.raises(InvalidRequest, match="Only the customer's page accepts") as caught:
        sent(update(estimate_status="accepted"))
    assert caught.value.field == "estimate_status"
    body = sent(update(estimate_status="accepted"), context(off=("status_read_only",)))
    assert body["estimateStatus"] == "accepted"


@pytest.mark.parametrize("rule", ["title_required", "issue_date_required", "item_type_required"])
def test_completing_can_be_switched_off_rule_by_rule(rule: str) -> None:
    draft = estimate(items=[samples.line(type=UNSET)])
    body, full = sent(draft, context(off=(rule,))), sent(draft)
    missing = {"title_required": "title", "issue_date_required": "issueDate"}.get(rule)
    if missing:
        assert set(full) - set(body) == {missing}
    else:
        assert ("type" in body["items"][0], "type" in full["items"][0]) == (False, True)


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda line: samples.invoice(items=[line]), "items[0].attachments"),
        (lambda line: samples.schedule(items=[line]), "items[0].attachments"),
        (lambda line: samples.text2pay(items=[line]), "items[0].attachments"),
        (lambda line: samples.invoice_template(items=[line]), "items[0].attachments"),
    ],
)
def test_attachments_of_a_line_are_for_estimates_only(make: Any, field: str) -> None:
    line = samples.line(attachments=["https://example.com/a.jpg"])
    with pytest.raises(InvalidRequest, match="estimates only") as caught:
        make(line)
    assert caught.value.field == field
    assert sent(estimate(items=[line]))["items"][0]["attachments"] == ["https://example.com/a.jpg"]


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (
            lambda: EstimateSend(action="mail", user_id="u"),
            "action: 'mail' is not one of .* did you mean 'email'",
        ),
        (lambda: samples.line(type="weekly"), "type: 'weekly' is not one of one_time, recurring"),
        (lambda: samples.text2pay(action="later"), "action: 'later' is not one of draft, send"),
    ],
)
def test_words_that_the_api_does_not_know_are_refused_with_the_nearest(make: Any, problem: str) -> None:
    with pytest.raises(InvalidRequest, match=problem):
        make()


# ------------------------------------------------------------------------------------- another location

OTHER = {"altId": "other", "altType": "location"}
OWN = {"altId": "loc", "altType": "location"}


def test_a_body_that_names_its_own_location_is_sent_and_names_it_once() -> None:
    for body in (
        {**OWN, "name": "x"},
        json.dumps({"name": "x", **OWN}).encode(),
        b'{"alt\\u0049d":"loc","name":"x","locationId":"loc"}',
    ):
        assert sent(body) == {**OWN, "name": "x"}
    kept = prepared({**OWN, "name": "x"}, context(), keep=True)
    assert kept == {**OWN, "name": "x"}
    exact = prepared(b'{"altId":"loc","amount":1.10,"big":12345678901234567890.123}', context())
    assert exact == b'{"amount":1.10,"big":12345678901234567890.123}'
    assert sent(estimate(extra={**OWN, "opportunityId": "o"}))["opportunityId"] == "o"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({**OTHER, "name": "x"}, "body.altId"),
        ({"altId": "loc", "altType": "company"}, "body.altType"),
        ({"locationId": "other"}, "body.locationId"),
        ({"sendEstimateDetails": OTHER}, "body.sendEstimateDetails.altId"),
        (json.dumps(OTHER).encode(), "body.altId"),
        (b'{"alt\\u0049d":"other"}', "body.altId"),
        (b'{"sendEstimateDetails":{"altId":"other"}}', "body.sendEstimateDetails.altId"),
    ],
)
def test_a_body_that_names_another_location_is_refused(body: Any, field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        prepared(body, context())
    assert caught.value.field == field
    if "altType" not in field:
        assert "'other' is not this request's 'loc'" in caught.value.problem


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b'{"name":"a","name":"b"}', "has the key 'name' twice"),
        (b'{"a":{"b":1,"b":1}}', "has the key 'b' twice"),
        (b'{"altId":"loc","altId":"other"}', "has the key 'altId' twice"),
        (b'{"a":NaN}', "NaN has no form in JSON"),
        (b"{", "not the text of a JSON object"),
        (b"[1]", "must be the text of a JSON object"),
        (b'{"a":"\x01"}', "not the text of a JSON object"),
    ],
)
def test_bytes_that_are_not_one_clean_object_are_refused(body: bytes, problem: str) -> None:
    with pytest.raises(InvalidRequest, match=problem):
        prepared(body, context())


def test_extra_never_beats_a_declared_field() -> None:
    assert sent(estimate(extra={"name": "Kitchen", "x": 1}))["x"] == 1
    for extra, field in (({"name": "dup"}, "name"), ({"termsNotes": "n"}, "terms_notes")):
        with pytest.raises(InvalidRequest, match=rf"is a field of EstimateDraft; pass {field}=") as caught:
            sent(estimate(extra=extra))
        assert caught.value.field == f"extra.{next(iter(extra))}"
    with pytest.raises(InvalidRequest, match="'other' is not this request's"):
        sent(estimate(extra=OTHER))
    for empty in ({}, OWN):
        assert "extra" not in sent(estimate(extra=empty))
    with pytest.raises(InvalidRequest, match="the client adds the location"):
        prepared(estimate(extra=OTHER), planning_context())


# ------------------------------------------------------------------------------------------------ rules


def test_every_rule_has_evidence_and_a_place_in_the_facts() -> None:
    facts = (Path(__file__).parents[2] / "docs/api-facts.md").read_text("utf-8")
    for rule in CLIENT_RULES:
        assert rule.says and rule.evidence
        assert f"({rule.anchor})=" in facts, rule
    assert len(RULE_NAMES) == len(CLIENT_RULES)


def test_every_rule_is_in_the_documentation_with_its_evidence() -> None:
    page = (Path(__file__).parents[2] / "docs/unknowns.md").read_text("utf-8")
    for rule in CLIENT_RULES:
        assert (
            f"| `{rule.name}` | {rule.says} | {rule.evidence} | [fact](api-facts.md#{rule.anchor}) |" in page
        )


def test_the_sandbox_knows_the_rules_of_the_client_by_the_same_names() -> None:
    from hl_async.sandbox.rules import RULES

    assert {rule.name for rule in RULES} >= RULE_NAMES


def test_an_unknown_rule_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match="unknown rule 'name_40'; known are .*name_at_most_40"):
        rules_without(["name_40"])
    assert rules_without("name_at_most_40") == RULE_NAMES - {"name_at_most_40"}
    assert ClientConfig(rules_off=frozenset({"phone_e164"})).rules_off == {"phone_e164"}


def test_planning_leaves_the_judgement_of_issue_dates_to_the_source() -> None:
    far = date.today() + timedelta(days=900)
    assert prepared(estimate(issue_date=far), planning_context()).issue_date == far


def test_charges_of_a_request_are_objects() -> None:
    charges = MiscellaneousCharges(charges=[Charge(name="Fee", charge=Decimal("2.5"), enabled=True)])
    assert sent(estimate(miscellaneous_charges=charges))["miscellaneousCharges"] == {
        "charges": [{"name": "Fee", "charge": 2.5, "enabled": True}]
    }


@pytest.mark.parametrize("given", ["dana@example.com", "Dana Reyes"])
def test_a_name_or_an_address_is_not_a_users_id(given: str) -> None:
    for make in (
        lambda: EstimateSend(action="email", user_id=given),
        lambda: InvoiceSend(action="email", user_id=given, live_mode=True),
        lambda: samples.text2pay(user_id=given),
    ):
        with pytest.raises(InvalidRequest, match=rf"user_id: '{given}' is not a user's id; shop.users.named"):
            make()
