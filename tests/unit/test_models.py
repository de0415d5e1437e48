"""Promises of the models: strict requests, tolerant answers, exact money."""

from __future__ import annotations

import dataclasses
import inspect
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from random import Random
from types import MappingProxyType
from typing import Any, get_type_hints

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec import UNSET

import samples
from hl_async.client import ClientSettings, HighLevel
from hl_async.config import CallChanges, CallOptions
from hl_async.errors import DecodeError, InvalidRequest
from hl_async.models import (
    AutoPayment,
    BusinessDetails,
    Contact,
    ContactDetails,
    Discount,
    Estimate,
    EstimateDraft,
    EstimateList,
    EstimateNumber,
    EstimateTemplate,
    EstimateUpdate,
    Invoice,
    InvoiceFromEstimateResult,
    InvoiceNumber,
    InvoiceSchedule,
    InvoiceSettings,
    InvoiceTemplate,
    InvoiceUpdate,
    Item,
    ItemTax,
    LateFeesConfiguration,
    LineItem,
    RecordPayment,
    RecurrenceRule,
    ScheduleStart,
    SentTo,
    TipsConfiguration,
    TokenGrant,
    changed,
    document_total,
    minor_units,
)
from hl_async.models.codec import alt_prefix, decoder, encode, encode_body, json_object, json_page
from hl_async.models.estimates import EstimateChanges, EstimateDraftChanges
from hl_async.models.invoices import InvoiceChanges
from hl_async.models.lines import LineChanges
from hl_async.models.validation import check_names
from hl_async.operations import OPERATIONS
from lengths import long


@settings(deadline=None, max_examples=500, derandomize=True)
@pytest.mark.untraced
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
        ({"amount": float("nan")}, "amount", "is not a number"),
        ({"amount": float("inf")}, "amount", "is not a number"),
        ({"amount": "ten"}, "amount", "'ten' is not a number; pass a finite one"),
        ({"amount": "9,99"}, "amount", r"'9,99' is not a number \(use a point: 9.99\)"),
        ({"amount": Decimal("1e30")}, "amount", "is not a number"),
        ({"amount": True}, "amount", "takes a number"),
        ({"amount": None}, "amount", "takes a number"),
        ({"qty": -1}, "qty", "negative"),
        ({"currency": "usd"}, "currency", "capitals"),
        ({"currency": "BTC"}, "currency", "ISO 4217"),
        ({"currency": 7}, "currency", "takes text"),
        ({"name": "  "}, "name", "empty"),
        ({"name": None}, "name", "takes text"),
        ({"taxes": "none"}, "taxes", "takes a list"),
        ({"taxes": [1]}, "taxes[0]", "takes an ItemTax"),
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
        ({"expiry_date": "31.12.2030"}, "expiry_date", "is not a date"),
        ({"expiry_date": 7}, "expiry_date", "takes a date"),
        ({"items": [{"name": "x"}]}, "items[0]", "takes a LineItem"),
        ({"contact_details": None}, "contact_details", "takes a ContactDetails"),
        ({"estimate_number": "7"}, "estimate_number", "whole number"),
        ({"meta": "x"}, "meta", "takes a mapping"),
        ({"business_details": BusinessDetails(name=7)}, "business_details.name", "takes text"),
        ({"discount": Discount(value="a lot")}, "discount.value", "is not a number"),  # type: ignore[arg-type]
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
    with pytest.raises(InvalidRequest, match="is not a field"):
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


@dataclasses.dataclass
class Amounts:
    one: Any


class Words(str):
    __slots__ = ()


def holding_itself() -> dict[str, Any]:
    found: dict[str, Any] = {}
    found["a"] = [found]
    return found


@pytest.mark.parametrize(
    ("value", "place", "problem"),
    [
        ({"a": float("nan")}, "meta.a", "nan has no form in JSON"),
        ({"a": [1, {"b": float("inf")}]}, "meta.a[1].b", "inf has no form"),
        ({"a": Decimal("NaN")}, "meta.a", "not finite"),
        ({"a": (Decimal("1e999"),)}, "meta.a[0]", "out of range"),
        ({"a": {Decimal("NaN")}}, "meta.a[0]", "not finite"),
        ({"a": Amounts(Decimal("NaN"))}, "meta.a.one", "not finite"),
        ({"a": Amounts("cut \ud83d")}, "meta.a.one", "lone surrogate"),
        ({"a": {"b": "cut \ud83d"}}, "meta.a.b", "lone surrogate"),
        ({"\ud83d": 1}, "meta", "lone surrogate"),
        ({"a": {7: 1}}, "meta.a", "has the key 7, which is not text"),
        ({"a": 1j}, "meta.a", "type complex have no form"),
        (holding_itself(), "meta", "nested more than 100 deep, or holds itself"),
        ([1], "meta", "takes a mapping, got list"),
    ],
    ids=str,
)
def test_what_json_has_no_form_for_is_refused_by_its_place(value: Any, place: str, problem: str) -> None:
    for make in (lambda: samples.estimate(meta=value), lambda: samples.estimate(extra=value)):
        with pytest.raises(InvalidRequest, match=problem) as caught:
            make()
        assert caught.value.field in (place, place.replace("meta", "extra"))
    if isinstance(value, dict):
        with pytest.raises(InvalidRequest, match=problem):
            encode_body(value, b"")


def test_a_mapping_that_was_changed_after_it_was_checked_is_refused_before_it_is_sent() -> None:
    for change in ({"a": "cut \ud83d"}, {"a": 1j}, holding_itself()):
        draft = samples.estimate(meta={})
        assert isinstance(draft.meta, dict)
        draft.meta.update(change)
        with pytest.raises(InvalidRequest, match="body"):
            encode_body(draft, alt_prefix("loc"))


def test_entries_of_any_kind_are_looked_at_too() -> None:
    with pytest.raises(InvalidRequest, match=r"custom_fields\[0\]: NaN is not finite"):
        samples.estimate(contact_details=samples.contact(custom_fields=[Decimal("NaN")]))


def test_subclasses_and_mappings_are_sent_as_what_they_stand_for() -> None:
    meta = MappingProxyType({"a": Words("x"), "b": MappingProxyType({"c": Decimal("1e-30")})})
    body = json.loads(encode_body(samples.estimate(name=Words("n"), meta=meta), b""))
    assert (body["name"], body["meta"]) == ("n", {"a": "x", "b": {"c": 1e-30}})
    assert encode_body(meta, b"") == encode(meta)


@pytest.mark.parametrize(("name", "value"), [("createdAt", "253402300800"), ("name", "1e99999999")])
def test_a_value_beyond_all_measure_is_left_out_or_told(name: str, value: str) -> None:
    body = b'{"_id":"a","%s":%s}' % (name.encode(), value.encode())
    try:
        assert decoder(Estimate)(body).created_at is None
    except DecodeError as error:
        assert error.path == f"$.{name}"


@pytest.mark.parametrize("page", ["[1]", "[null]", '{"a":1}', '"abc"', "5", "true"])
def test_a_page_that_is_no_list_of_documents_is_a_decode_error(page: str) -> None:
    with pytest.raises(DecodeError, match="no list of documents") as caught:
        json_page(b'{"estimates":%s}' % page.encode(), "estimates")
    assert caught.value.path == "$.estimates"
    assert json_page(b'{"estimates":null}', "estimates") == json_page(b"{}", "estimates") == []


@pytest.mark.parametrize("value", [1e-30, 1e99, 2**70, True, None, date(2026, 1, 2), ["x", {"é": "😀"}]])
def test_what_json_can_hold_goes_into_meta(value: Any) -> None:
    body = json.loads(encode_body(samples.estimate(meta={"a": value}), b""))
    assert body["meta"] == {"a": "2026-01-02" if isinstance(value, date) else value}


def test_bodies_of_every_kind_are_joined_with_the_location() -> None:
    prefix = alt_prefix("loc")
    assert encode_body(None, prefix) == b'{"altId":"loc","altType":"location"}'
    assert encode_body(None, b"") == b"{}"
    assert encode_body({}, prefix) == b'{"altId":"loc","altType":"location"}'
    assert encode_body({"a": [Decimal("1.50")]}, b"") == b'{"a":[1.50]}'
    assert encode_body(b' {"a":1} ', prefix) == b'{"altId":"loc","altType":"location","a":1}'
    assert encode_body(ScheduleStart(live_mode=True), b"") == b'{"liveMode":true}'


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
    ("escaped", "text"),
    [
        (rb"cut \ud83d", "cut \ufffd"),
        (rb"\uDE00 cut", "\ufffd cut"),
        (rb"\ud83d\ud83d\ude00\ude00", "\ufffd\U0001f600\ufffd"),
        (rb"\ud83d\n", "\ufffd\n"),
        (rb"\\ud83d \ud83d", "\\ud83d \ufffd"),
        (rb"\\\ud83d", "\\\ufffd"),
    ],
)
def test_text_that_was_cut_inside_an_emoji_costs_half_a_character_and_not_the_page(
    escaped: bytes, text: str
) -> None:
    body = b'{"_id":"e","name":"' + escaped + b'","total":10.10}'
    answer = decoder(Estimate)(body)
    assert (answer.name, answer.total) == (text, Decimal("10.10"))
    assert json_object(body) == {"_id": "e", "name": text, "total": Decimal("10.10")}


def test_a_page_is_read_whole_when_some_of_its_documents_need_bending() -> None:
    good = {"_id": "a", "total": 0.1, "items": [{"name": "x", "qty": 2, "amount": 0.05}]}
    bent = {"_id": 7, "name": 5, "total": "0.30", "items": [{"name": 1, "qty": "2", "amount": 0.15}, {}]}
    page = decoder(EstimateList)(json.dumps({"estimates": [good, bent, good], "total": "3"}).encode())
    assert [(one.id, one.name, one.total) for one in page.entries] == [
        ("a", None, Decimal("0.1")), ("7", "5", Decimal("0.30")), ("a", None, Decimal("0.1")),
    ]  # fmt: skip
    assert [item.qty for one in page.entries for item in one.items or ()] == [2, 2, None, 2]
    with pytest.raises(DecodeError, match="EstimateList") as caught:
        decoder(EstimateList)(b'{"estimates":[{"_id":"a"},{"_id":"b","total":1e99}]}')
    assert caught.value.path.startswith("$.estimates[1]")


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b'{"a":', b"[" * 100_000, b'{"a":"\xff"}'])
def test_an_answer_without_a_model_is_an_object_or_a_decode_error(body: bytes) -> None:
    with pytest.raises(DecodeError, match="the answer is not a JSON object"):
        json_object(body)


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
    assert (update["estimateNumber"], update["meta"]) == (7, {"k": 1})
    assert "estimateStatus" not in update
    assert update["items"] == [
        {
            "name": "x",
            "currency": "EUR",
            "amount": 1.5,
            "qty": 2,
            "taxes": FULL["items"][0]["taxes"],
            "isSetupFeeItem": False,
            "type": "one_time",
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


def text(dice: Random) -> str:
    return "".join(
        chr(dice.choice((dice.randint(1, 126), dice.randint(0xA0, 0x10FFF))))
        for _ in range(dice.randint(0, 8))
    )


def scalar(dice: Random) -> Any:
    return dice.choice(
        (None, True, False, dice.randint(-5, 99999), text(dice), round(dice.uniform(0, 1000), 2))
    )


@cache
def fields(kind: Any) -> Any:
    return msgspec.inspect.type_info(kind).fields  # type: ignore[union-attr]


def document(dice: Random, kind: Any, depth: int = 0) -> dict[str, Any]:
    """A document of a kind with random keys missing, extra keys, nulls, and numbers and text swapped."""
    found: dict[str, Any] = {}
    for field in fields(kind):
        if dice.random() < 0.5 or (field.required and field.encode_name != "_id"):
            value = value_of(dice, field.type, depth)
            if value is not UNSET:
                found[field.encode_name] = value
    if "_id" in {field.encode_name for field in msgspec.structs.fields(kind)}:
        found["_id"] = dice.choice(("abc", dice.randint(1, 9)))
    if dice.random() < 0.5:
        found[dice.choice(("zzz", "new_key", "$x"))] = scalar(dice)
    return found


def value_of(dice: Random, kind: Any, depth: int) -> Any:
    i = msgspec.inspect
    number = dice.randint(0, 999)
    match kind:
        case i.UnionType():
            members = [one for one in kind.types if not isinstance(one, i.NoneType)]
            return None if dice.random() < 0.25 else value_of(dice, dice.choice(members), depth)
        case i.StructType():
            return document(dice, kind.cls, depth + 1) if depth < 3 else UNSET
        case i.ListType():
            found = [value_of(dice, kind.item_type, depth) for _ in range(dice.randint(0, 2))]
            return [one for one in found if one is not UNSET and one is not None]
        case i.StrType():
            return dice.choice((text(dice), number))
        case i.DecimalType() | i.FloatType():
            return dice.choice((number, str(number), 9.99, "9.99"))
        case i.IntType():
            return dice.choice((number, str(number)))
        case i.BoolType():
            return dice.choice((True, False, "true", "false"))
        case i.DateTimeType():
            return dice.choice(("2026-01-01T00:00:00.000Z", "2026-01-01", "garbage", ""))
        case i.DictType():
            return {text(dice): scalar(dice) for _ in range(dice.randint(0, 2))}
        case i.AnyType():
            return scalar(dice)
    return UNSET


@pytest.mark.parametrize(
    "row", [row for row in OPERATIONS.values() if row.response is not None], ids=lambda row: row.name
)
@pytest.mark.parametrize("answers", [10, long(50)])
@pytest.mark.untraced
def test_every_answer_decodes_with_keys_missing_added_and_swapped(row: Any, answers: int) -> None:
    dice = Random(row.name)  # not hypothesis: forty times as many documents in the same time
    for _ in range(answers):
        assert isinstance(row.decode(json.dumps(document(dice, row.response)).encode()), row.response)


def test_contacts_need_their_four_fields() -> None:
    with pytest.raises(TypeError):
        ContactDetails(id="c")  # type: ignore[call-arg]


def test_keywords_that_change_something_are_the_fields_of_what_they_change() -> None:
    estimate_fields = set(EstimateUpdate.__struct_fields__)
    assert set(get_type_hints(EstimateChanges)) == estimate_fields
    assert set(get_type_hints(EstimateDraftChanges)) == {*EstimateDraft.__struct_fields__} - {"expiry_date"}
    assert set(get_type_hints(InvoiceChanges)) == set(InvoiceUpdate.__struct_fields__)
    assert set(get_type_hints(LineChanges)) == {*LineItem.__struct_fields__} - {
        "qty",
        "product_id",
        "price_id",
    }
    assert set(get_type_hints(CallChanges)) == set(CallOptions.__struct_fields__)
    keywords = set(inspect.signature(HighLevel.__init__).parameters) - {"self", "credentials"}
    assert ClientSettings.__optional_keys__ == keywords


def test_a_request_holds_decimals_and_dates_whatever_was_given() -> None:
    line = LineItem(
        name="Door", currency="USD", amount="9.99", qty=3, taxes=[ItemTax(name="VAT", rate="7.7")]
    )
    assert (line.amount, line.qty) == (Decimal("9.99"), Decimal(3))
    assert type(line.qty) is Decimal
    assert isinstance(line.taxes, list)
    assert line.taxes[0].rate == Decimal("7.7")
    draft = samples.estimate(items=[line], expiry_date="2040-12-31", discount=Discount(value=5))
    assert draft.expiry_date == date(2040, 12, 31)
    assert type(draft.discount.value) is Decimal


@pytest.mark.parametrize("documents", [samples.estimate, samples.invoice], ids=["estimate", "invoice"])
def test_an_answered_line_goes_into_a_request(documents: Any) -> None:
    answered = msgspec.json.decode(
        b'{"_id":"l","name":"Door","currency":"USD","amount":1,"qty":2}', type=Item
    )
    (line,) = documents(items=(answered,)).items
    assert line == LineItem(name="Door", currency="USD", amount=1, qty=2)


def test_an_answered_line_without_a_currency_gets_the_one_of_the_document_it_replaces() -> None:
    bare = msgspec.json.decode(b'{"name":"Door","amount":1,"qty":2}', type=Item)
    estimate = decoder(Estimate)(b'{"_id":"e","currency":"EUR"}').to_update(
        expiry_date="2040-12-31", items=[bare]
    )
    assert estimate.items == [LineItem(name="Door", currency="EUR", amount=1, qty=2)]
    changed_invoice = decoder(Invoice)(b'{"_id":"i","currency":"EUR"}').to_update(
        currency="CHF", invoice_items=[bare], issue_date="2040-01-01", due_date="2040-01-31"
    )
    assert changed_invoice.invoice_items[0].currency == "CHF"
    with pytest.raises(InvalidRequest, match=r"items\[0\]\.currency: is missing .*for_request"):
        samples.estimate(items=[bare])
    with pytest.raises(InvalidRequest, match=r"items: takes a list"):
        decoder(Estimate)(b'{"_id":"e"}').to_update(expiry_date="2040-12-31", items=None)  # type: ignore[typeddict-item]


def test_a_status_in_an_update_is_refused_with_the_way_it_changes() -> None:
    with pytest.raises(
        InvalidRequest, match="status: is not a field of EstimateUpdate; it changes by sending"
    ):
        check_names(EstimateUpdate, ["status"])


@pytest.mark.parametrize(
    "make",
    [
        samples.estimate, samples.invoice, samples.schedule, samples.text2pay, samples.invoice_template,
        samples.estimate_template,
    ],
)  # fmt: skip
def test_a_line_without_a_currency_gets_the_one_of_its_document(make: Any) -> None:
    bare = LineItem(name="Oak", amount="9.99", qty=3)
    draft = make(items=[bare, bare.replace(currency="EUR")])
    assert [line["currency"] for line in draft.to_dict()["items"]] == ["USD", "EUR"]
    assert bare.currency is UNSET
    with pytest.raises(InvalidRequest, match="currency"):
        LineItem(name="Oak", currency="usd", amount=1, qty=1)


def test_a_changed_document_gives_its_currency_to_new_lines() -> None:
    bare = LineItem(name="Oak", amount=1, qty=1)
    assert (
        Estimate(id="e", name="Oak", currency="CHF", contact_details=Contact(id="c"))
        .to_update(items=[bare], expiry_date="2040-12-31", issue_date="2040-01-01")
        .items[0]
        .currency
        == "CHF"
    )
    invoice = Invoice(id="i", name="Oak", currency="CHF")
    update = invoice.to_update(invoice_items=[bare], issue_date="2040-01-01", due_date="2040-12-31")
    assert update.invoice_items[0].currency == "CHF"


def test_a_recurrence_rule_takes_dates_and_whole_numbers() -> None:
    rule = RecurrenceRule(
        interval_type="monthly",
        interval=1,
        start_date=date(2027, 1, 1),
        end_date="2028-01-01",
        day_of_month=15,
    )
    assert (rule.start_date, rule.end_date, rule.day_of_month) == ("2027-01-01", "2028-01-01", Decimal(15))
    assert msgspec.json.decode(encode(rule), type=RecurrenceRule) == rule
    with pytest.raises(InvalidRequest, match="start_date: takes a date, not a datetime"):
        RecurrenceRule(start_date=datetime(2027, 1, 1))
