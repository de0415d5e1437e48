"""Promises of the models: strict requests, tolerant answers, exact money."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec import UNSET

import samples
from hl_async.errors import DecodeError, InvalidRequest
from hl_async.models import (
    AutoPayment,
    BusinessDetails,
    ContactDetails,
    Discount,
    Estimate,
    EstimateDraft,
    EstimateList,
    EstimateNumber,
    EstimateSend,
    EstimateTemplate,
    Invoice,
    InvoiceFromEstimateResult,
    InvoiceNumber,
    InvoiceSchedule,
    InvoiceSettings,
    InvoiceTemplate,
    LateFeesConfiguration,
    LineItem,
    RecordPayment,
    ScheduleStart,
    SentTo,
    TipsConfiguration,
    TokenGrant,
    changed,
    document_total,
    minor_units,
)
from hl_async.models.codec import alt_prefix, bind, decoder, encode, encode_body
from hl_async.operations import OPERATIONS


@settings(deadline=None, max_examples=500, derandomize=True)
@given(st.integers(-(10**28) + 1, 10**28 - 1), st.integers(-12, 0))
def test_any_decimal_of_28_digits_survives_and_travels_as_a_number(digits: int, exponent: int) -> None:
    value = Decimal(digits).scaleb(exponent)
    assume(value == 0 or -12 <= value.adjusted() <= 15)
    text = encode({"amount": value})
    assert b'"' not in text.split(b":", 1)[1]
    answer = decoder(Invoice)(b'{"_id":"x","total":' + text.split(b":", 1)[1])
    assert answer.total == value
    assert encode({"amount": answer.total}) == text


@pytest.mark.parametrize("text", ["1e999999", "1e16", "1e-13", '"NaN"', '"Infinity"', "0." + "1" * 40])
def test_a_number_that_is_no_amount_is_told_with_its_place(text: str) -> None:
    body = f'{{"estimates":[{{"_id":"a","items":[{{"amount":{text}}}]}}]}}'
    with pytest.raises(DecodeError) as caught:
        decoder(EstimateList)(body.encode())
    assert "estimates[" in caught.value.path
    assert "items" in caught.value.path


@pytest.mark.parametrize(
    ("given_", "kept"),
    [(9.99, "9.99"), (0.1, "0.1"), (3, "3"), ("12.50", "12.50"), (Decimal("1.230"), "1.230")],
)
def test_amounts_are_taken_exactly_as_they_print(given_: Any, kept: str) -> None:
    assert str(samples.line(amount=given_).amount) == kept


@pytest.mark.parametrize(
    ("changes", "field", "problem"),
    [
        ({"amount": float("nan")}, "amount", "no amount"),
        ({"amount": float("inf")}, "amount", "no amount"),
        ({"amount": "ten"}, "amount", "no amount"),
        ({"amount": Decimal("1e30")}, "amount", "no amount"),
        ({"amount": True}, "amount", "takes a number"),
        ({"amount": None}, "amount", "takes a number"),
        ({"qty": -1}, "qty", "negative"),
        ({"currency": "usd"}, "currency", "capitals"),
        ({"currency": "BTC"}, "currency", "ISO 4217"),
        ({"currency": 7}, "currency", "takes text"),
        ({"name": "  "}, "name", "empty"),
        ({"name": None}, "name", "takes text"),
        ({"taxes": "none"}, "taxes", "takes a list"),
        ({"taxes": [1]}, "taxes[0]", "takes a ItemTax"),
        ({"tax_inclusive": "yes"}, "tax_inclusive", "True or False"),
    ],
)
def test_a_bad_line_names_the_field_and_the_problem(
    changes: dict[str, Any], field: str, problem: str
) -> None:
    with pytest.raises(InvalidRequest, match=problem) as caught:
        samples.line(**changes)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("changes", "field", "problem"),
    [
        ({"expiry_date": datetime(2030, 1, 1)}, "expiry_date", "not a datetime"),
        ({"expiry_date": "31.12.2030"}, "expiry_date", "no day"),
        ({"expiry_date": 7}, "expiry_date", "takes a date"),
        ({"items": [{"name": "x"}]}, "items[0]", "takes a LineItem"),
        ({"contact_details": None}, "contact_details", "takes a ContactDetails"),
        ({"estimate_number": "7"}, "estimate_number", "whole number"),
        ({"meta": "x"}, "meta", "takes a mapping"),
        ({"business_details": BusinessDetails(name=7)}, "business_details.name", "takes text"),
        ({"discount": Discount(value="a lot")}, "discount.value", "no amount"),  # type: ignore[arg-type]
        ({"sent_to": SentTo(email=["ok", 3])}, "sent_to.email[1]", "takes text"),  # type: ignore[list-item]
    ],
)
def test_a_bad_estimate_names_the_path(changes: dict[str, Any], field: str, problem: str) -> None:
    with pytest.raises((InvalidRequest, TypeError, AttributeError)) as caught:
        samples.estimate(**changes)
    if isinstance(caught.value, InvalidRequest):
        assert caught.value.field == field
        assert problem in caught.value.problem


def test_naive_datetimes_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="time zone"):
        RecordPayment(mode="cash", fulfilled_at=datetime(2026, 1, 1))
    with pytest.raises(InvalidRequest, match="takes a datetime"):
        RecordPayment(mode="cash", fulfilled_at=date(2026, 1, 1))  # type: ignore[arg-type]
    assert b'"fulfilledAt":"2026-01-01T00:00:00Z"' in encode(
        RecordPayment(mode="cash", fulfilled_at=datetime(2026, 1, 1, tzinfo=UTC))
    )


def test_required_fields_have_no_default_and_requests_don_t_change() -> None:
    with pytest.raises(TypeError, match="Missing required argument"):
        EstimateDraft(name="x")  # type: ignore[call-arg]
    draft = samples.estimate()
    with pytest.raises(AttributeError):
        draft.name = "other"
    assert changed(draft, name="other").name == "other"
    with pytest.raises(InvalidRequest, match="did you mean currency"):
        changed(draft, curency="EUR")
    with pytest.raises(InvalidRequest, match="is no field"):
        changed(draft, zzzzz=1)


def test_what_is_unset_is_not_sent_and_none_is_null() -> None:
    body = json.loads(encode_body(samples.estimate(title=None), alt_prefix("loc")))
    assert body["altId"] == "loc"
    assert body["title"] is None
    assert "termsNotes" not in body
    assert body["frequencySettings"] == {"enabled": False}
    assert body["discount"] == {"value": 0, "type": "percentage"}
    assert body["expiryDate"] == "2040-12-31"


def test_undeclared_keys_go_through_extra() -> None:
    body = json.loads(encode_body(samples.estimate(extra={"opportunityId": "o1"}), alt_prefix("loc")))
    assert body["opportunityId"] == "o1"
    assert "extra" not in body
    with pytest.raises(InvalidRequest, match=r"extra\.x"):
        encode_body(samples.estimate(extra={"x": float("nan")}), b"")


def test_bodies_of_every_kind_are_joined_with_the_location() -> None:
    prefix = alt_prefix("loc")
    assert encode_body(None, prefix) == b'{"altId":"loc","altType":"location"}'
    assert encode_body(None, b"") == b"{}"
    assert encode_body({}, prefix) == b'{"altId":"loc","altType":"location"}'
    assert encode_body({"a": [Decimal("1.50")]}, b"") == b'{"a":[1.50]}'
    assert encode_body(b' {"a":1} ', prefix) == b'{"altId":"loc","altType":"location","a":1}'
    assert encode_body(ScheduleStart(live_mode=True), b"") == b'{"liveMode":true}'


def test_the_location_is_bound_where_it_is_nested() -> None:
    send = EstimateSend(action="email", user_id="u1")
    bound = bind(samples.estimate(send_estimate_details=send), "loc")
    assert json.loads(encode(bound))["sendEstimateDetails"] == {
        "action": "email", "userId": "u1", "liveMode": True, "altId": "loc", "altType": "location",
    }  # fmt: skip
    draft = samples.estimate()
    assert bind(draft, "loc") is draft


@pytest.mark.parametrize(
    ("wire", "text"), [("19", "19"), ("19.0", "19"), ('"000117"', "000117"), ("null", None), ("19.5", "19.5")]
)
def test_an_invoice_number_is_text_whatever_arrives(wire: str, text: str | None) -> None:
    assert decoder(InvoiceNumber)(b'{"invoiceNumber":' + wire.encode() + b"}").invoice_number == text
    assert decoder(Invoice)(b'{"_id":"i","invoiceNumber":' + wire.encode() + b"}").invoice_number == text


@pytest.mark.parametrize(("wire", "number"), [("0", 0), ('"22"', "22"), ("null", None)])
def test_an_estimate_number_may_be_either(wire: str, number: Any) -> None:
    assert decoder(EstimateNumber)(b'{"estimateNumber":' + wire.encode() + b"}").estimate_number == number


@pytest.mark.parametrize(
    ("document", "check"),
    [
        ({"businessDetails": {"address": "9931 Beechwood"}}, lambda e: e.business_details.address == "9931 Beechwood"),
        ({"businessDetails": {"address": {"city": "X"}}}, lambda e: e.business_details.address.city == "X"),
        ({"discount": {"value": "5", "type": "fixed", "validOnProductIds": "[ '6579751d56f60276e5bd4154' ]"}}, lambda e: e.discount.value == 5),
        ({"estimateActionHistory": [{"estimateStatus": "sent", "updatedAt": "2026-07-25T10:00:00"}]}, lambda e: e.estimate_action_history),
        ({"contactDetails": {"customFields": [{"id": 1}, "x"]}}, lambda e: len(e.contact_details.custom_fields) == 2),
        ({"__v": 3, "totalamountInUSD": "12.30"}, lambda e: (e.document_version, e.total_amount_in_usd) == (3, Decimal("12.30"))),
        ({"estimateStatus": "brand_new"}, lambda e: e.status == "brand_new"),
        ({"updatedAt": "yesterday", "createdAt": "2026-01-01T00:00:00.000Z"}, lambda e: e.updated_at is None and e.created_at),
        ({"name": 123, "title": 1.5}, lambda e: (e.name, e.title) == ("123", "1.5")),
        ({"liveMode": "true"}, lambda e: e.live_mode is True),
        ({"meta": "none", "attachments": {}}, lambda e: e.meta is None and e.attachments is None),
        ({"items": None, "discount": None, "businessDetails": "x"}, lambda e: e.business_details is None),
        ({"frequencySettings": {"enabled": False, "schedule": {}}}, lambda e: e.frequency_settings.enabled is False),
        ({"frequencySettings": {"enabled": True, "schedule": {"rrule": {"count": "5", "numOfWeek": 0}}}},
         lambda e: e.frequency_settings.schedule.rrule.count == 5),
        ({"issueDate": "2026-03-01T00:00:00.000Z", "expiryDate": "2026-04-01"}, lambda e: (e.issue_date, e.expiry_date) == (date(2026, 3, 1), date(2026, 4, 1))),
        ({"issueDate": "soon"}, lambda e: e.issue_date is None),
        ({"brandNewKey": [1, {"x": None}]}, lambda e: e.id == "e1"),
    ],
)  # fmt: skip
def test_what_the_live_api_really_sends_decodes(document: dict[str, Any], check: Any) -> None:
    answer = decoder(Estimate)(json.dumps({"_id": "e1", **document}).encode())
    assert check(answer)


def test_the_same_for_settings_fees_and_tips() -> None:
    settings_ = decoder(InvoiceSettings)(
        b'{"tipsConfiguration":{"tipsPercentage":[5,"10"]},"lateFeesConfiguration":{"maxLateFees":{"type":"fixed","value":"10"}},'
        b'"dueAfterXDays":"7","reminderSettings":{"reminders":[{"reminderNumber":1}]}}'
    )
    assert isinstance(settings_.tips_configuration, TipsConfiguration)
    assert settings_.tips_configuration.tips_percentage == [5, 10]
    assert isinstance(settings_.late_fees_configuration, LateFeesConfiguration)
    assert settings_.late_fees_configuration.max_late_fees is not None
    assert settings_.due_after_x_days == 7
    schedule = decoder(InvoiceSchedule)(
        b'{"_id":"s","autoPayment":{"provider":{"x":1},"usBankAccount":{"bank_name":"B"}}}'
    )
    assert isinstance(schedule.auto_payment, AutoPayment)
    assert schedule.auto_payment.us_bank_account is not None
    assert (schedule.auto_payment.provider, schedule.auto_payment.us_bank_account.bank_name) == (
        {"x": 1},
        "B",
    )


def test_raw_control_characters_and_a_byte_order_mark_are_forgiven() -> None:
    answer = decoder(Estimate)(b'\xef\xbb\xbf{"_id":"e","name":"a\x0bb\nc"}')
    assert answer.name == "a b c"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'{"_id":',
        b"<html>",
        b'{"name":"x"}',
        b'"\xff"',
        b"[" * 100_000,
        b'{"_id":"\xed\xa0\x80"}',
        b"null",
    ],
)
def test_what_is_no_document_is_a_decode_error(body: bytes) -> None:
    with pytest.raises(DecodeError) as caught:
        decoder(Estimate)(body)
    assert "Estimate" in str(caught.value)
    assert len(caught.value.body) <= 2048


def test_an_answer_without_a_promise_is_anything() -> None:
    assert decoder(None)(b"whatever") is None


@pytest.mark.parametrize(
    ("body", "has"),
    [
        ({"estimate": {"_id": "e"}, "invoice": {"_id": "i"}}, ("e", "i")),
        ({"estimate": {"_id": "e"}}, ("e", None)),
        ({"_id": "i", "invoiceNumber": 7}, (None, "i")),
        ({"_id": "i", "invoiceItems": []}, (None, "i")),
        ({}, (None, None)),
        ({"estimate": None, "invoice": None}, (None, None)),
    ],
)
def test_an_invoice_from_an_estimate_is_read_in_every_shape(body: Any, has: Any) -> None:
    answer = decoder(InvoiceFromEstimateResult)(json.dumps(body).encode())
    assert (answer.estimate and answer.estimate.id, answer.invoice and answer.invoice.id) == has


@pytest.mark.parametrize("body", [b"[]", b"{", b""])
def test_its_decoder_refuses_what_is_no_object(body: bytes) -> None:
    with pytest.raises(DecodeError):
        decoder(InvoiceFromEstimateResult)(body)


def test_tokens_are_read_in_both_key_cases() -> None:
    old = decoder(TokenGrant)(
        b'{"access_token":"a","expires_in":86399,"userType":"Location","refreshTokenId":"r"}'
    )
    new = decoder(TokenGrant)(
        b'{"accessToken":"a","expiresIn":86399,"userType":"Location","refreshTokenId":"r"}'
    )
    assert (
        (old.access_token, old.expires_in, old.refresh_token_id)
        == (new.access_token, new.expires_in, new.refresh_token_id)
        == ("a", 86399, "r")
    )


FULL = {
    "_id": "d1", "name": "K", "currency": "EUR", "total": 10, "createdAt": "2026-01-02T00:00:00.000Z",
    "businessDetails": {"name": "B", "address": "1 Road"},
    "items": [{"_id": "i1", "name": "x", "amount": 1.5, "qty": 2, "taxes": [{"_id": "t", "name": "VAT", "rate": 20}], "isSetupFeeItem": False}],
    "discount": {"value": 3, "type": "percentage", "validOnProductIds": "['6579751d56f60276e5bd4154']"},
    "contactDetails": {"id": "c", "name": "A", "phoneNo": "+1", "address": "2 Road", "companyName": "C", "additionalEmails": [{"email": "x@y"}], "customFields": []},
    "termsNotes": "t", "title": "T", "liveMode": False, "attachments": [], "automaticTaxesEnabled": True,
    "issueDate": "2026-01-02T00:00:00.000Z", "expiryDate": "2026-02-02T00:00:00.000Z", "dueDate": "2026-02-02",
    "estimateNumber": "7", "estimateStatus": "sent", "meta": {"k": 1}, "invoiceNumber": 9,
    "miscellaneousCharges": {"charges": []},
}  # fmt: skip


def test_read_change_write_of_an_estimate_carries_every_field() -> None:
    update = json.loads(encode(decoder(Estimate)(json.dumps(FULL).encode()).to_update()))
    assert update["issueDate"] == "2026-01-02"
    assert update["expiryDate"] == "2026-02-02"
    assert update["discount"] == {
        "value": 3,
        "type": "percentage",
        "validOnProductIds": ["6579751d56f60276e5bd4154"],
    }
    assert update["businessDetails"]["address"] == {"addressLine1": "1 Road"}
    assert update["contactDetails"]["address"] == {"addressLine1": "2 Road"}
    assert (update["estimateNumber"], update["estimateStatus"], update["meta"]) == (7, "sent", {"k": 1})
    assert update["items"] == [
        {
            "name": "x",
            "currency": "EUR",
            "amount": 1.5,
            "qty": 2,
            "taxes": FULL["items"][0]["taxes"],
            "isSetupFeeItem": False,
        }
    ]  # type: ignore[index]
    assert {
        "termsNotes",
        "title",
        "liveMode",
        "attachments",
        "automaticTaxesEnabled",
        "miscellaneousCharges",
    } <= set(update)


def test_read_change_write_of_an_invoice_uses_its_own_key_for_lines() -> None:
    document = {**FULL, "invoiceItems": FULL["items"]}
    update = json.loads(encode(decoder(Invoice)(json.dumps(document).encode()).to_update()))
    assert [item["name"] for item in update["invoiceItems"]] == ["x"]
    assert (update["dueDate"], update["invoiceNumber"], update["contactId"]) == ("2026-02-02", "9", "c")
    assert "items" not in update


@pytest.mark.parametrize("kind", [Estimate, Invoice, EstimateTemplate, InvoiceTemplate, InvoiceSchedule])
def test_a_document_with_next_to_nothing_can_still_be_written_back(kind: Any) -> None:
    update = decoder(kind)(b'{"_id":"x","items":[{}],"invoiceItems":[{}]}').to_update()
    body = json.loads(encode(update))
    assert body["discount"] == {"value": 0, "type": "percentage"}
    assert body["name"] == "-"


@pytest.mark.parametrize("kind", [EstimateTemplate, InvoiceTemplate, InvoiceSchedule])
def test_templates_and_schedules_carry_their_fields(kind: Any) -> None:
    body = json.loads(encode(decoder(kind)(json.dumps(FULL).encode()).to_update()))
    assert (body["name"], body["title"], body["termsNotes"]) == ("K", "T", "t")


def test_totals_follow_the_written_rule() -> None:
    lines = [
        LineItem(name="a", currency="USD", amount=Decimal("0.333"), qty=Decimal(3)),
        LineItem(name="b", currency="USD", amount=Decimal("10.005"), qty=Decimal(1)),
    ]
    assert document_total(lines, "USD") == Decimal("11.01")
    assert document_total(lines, "USD", Discount(value=Decimal(10))) == Decimal("9.91")
    assert document_total(lines, "USD", Discount(value=Decimal(20), type="fixed")) == Decimal("0.00")
    assert document_total(lines, "JPY") == Decimal(11)
    assert (minor_units("USD"), minor_units("JPY"), minor_units("KWD"), minor_units("???")) == (2, 0, 3, 2)
    inclusive = LineItem(
        name="a", currency="USD", amount=Decimal(10), qty=Decimal(1), tax_inclusive=True, taxes=[]
    )
    assert document_total([inclusive], "USD") == Decimal("10.00")


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 99999),
    st.text(max_size=8),
    st.floats(0, 1000).map(lambda f: round(f, 2)),
)


@st.composite
def documents(draw: Any, kind: Any, depth: int = 0) -> dict[str, Any]:
    """A document of a kind with random keys missing, extra keys, nulls, and numbers and text swapped."""
    found: dict[str, Any] = {}
    for field in msgspec.inspect.type_info(kind).fields:  # type: ignore[union-attr]
        if field.encode_name != "_id" and draw(st.booleans()):
            continue
        value = draw(values(field.type, depth))
        if value is not UNSET:
            found[field.encode_name] = value
    if "_id" in {field.encode_name for field in msgspec.structs.fields(kind)}:
        found["_id"] = draw(st.one_of(st.just("abc"), st.integers(1, 9)))
    if draw(st.booleans()):
        found[draw(st.sampled_from(["zzz", "new_key", "$x"]))] = draw(SCALARS)
    return found


def values(kind: Any, depth: int) -> Any:
    i = msgspec.inspect
    if isinstance(kind, i.UnionType):
        return st.one_of(
            *[values(one, depth) for one in kind.types if not isinstance(one, i.NoneType)], st.none()
        )
    if isinstance(kind, i.StructType):
        return documents(kind.cls, depth + 1) if depth < 3 else st.just(UNSET)
    if isinstance(kind, i.ListType):
        return st.lists(values(kind.item_type, depth), max_size=2).map(
            lambda found: [one for one in found if one is not UNSET and one is not None]
        )
    if isinstance(kind, i.StrType):
        return st.one_of(st.text(max_size=6), st.integers(0, 999))
    if isinstance(kind, i.DecimalType | i.FloatType):
        return st.one_of(st.integers(0, 999), st.integers(0, 999).map(str), st.just(9.99), st.just("9.99"))
    if isinstance(kind, i.IntType):
        return st.one_of(st.integers(0, 999), st.integers(0, 999).map(str))
    if isinstance(kind, i.BoolType):
        return st.sampled_from([True, False, "true", "false"])
    if isinstance(kind, i.DateTimeType):
        return st.sampled_from(["2026-01-01T00:00:00.000Z", "2026-01-01", "garbage", ""])
    if isinstance(kind, i.DictType):
        return st.dictionaries(st.text(max_size=3), SCALARS, max_size=2)
    if isinstance(kind, i.AnyType):
        return SCALARS
    return st.just(UNSET)


@pytest.mark.parametrize(
    "row", [row for row in OPERATIONS.values() if row.response is not None], ids=lambda row: row.name
)
@settings(deadline=None, max_examples=15, derandomize=True)
@given(data=st.data())
@pytest.mark.untraced
def test_every_answer_decodes_with_keys_missing_added_and_swapped(row: Any, data: Any) -> None:
    row.decode(json.dumps(data.draw(documents(row.response))).encode())


def test_contacts_need_their_four_fields() -> None:
    with pytest.raises(TypeError):
        ContactDetails(id="c")  # type: ignore[call-arg]
