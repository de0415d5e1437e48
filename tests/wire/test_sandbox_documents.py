"""What the sandbox answers and refuses beyond its rules, seen with a client that is not ours."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import aiohttp
import pytest
from yarl import URL

from hl_async.errors import ConfigurationError, InvalidRequest
from hl_async.sandbox import Quirks, Sandbox
from plain_client import SEND, Shop, estimate, invoice, line


@pytest.fixture
async def shop(box: Sandbox) -> AsyncIterator[Shop]:
    async with aiohttp.ClientSession() as session:
        yield Shop(box, session)


async def sent(shop: Shop, **changes: Any) -> Any:
    made = await shop.made(body=estimate(**changes))
    status, answer = await shop.post(f"/invoices/estimate/{made['_id']}/send", SEND)
    assert status == 201
    return answer


async def test_a_new_estimate_shows_what_was_measured(shop: Shop) -> None:
    made = await shop.made()
    assert not {"meta", "sentTo", "lastVisitedAt", "automaticTaxesEnabled"} & set(made)
    assert (made["estimateActionHistory"], made["configuration"]) == ([], {"precision": 4})
    assert (made["estimateStatus"], made["estimateNumber"], made["liveMode"]) == ("draft", 1, True)
    first = made["items"][0]
    assert (first["taxes"], first["taxInclusive"], first["attachments"]) == ([], False, [])
    assert len(first["_id"]) == 24


async def test_the_history_of_an_estimate_is_in_local_time_without_a_zone(shop: Shop) -> None:
    place = shop.box.add_location("kolkata", timezone="Asia/Kolkata")
    shop.alt["altId"] = place
    found = await sent(shop)
    entry = found["estimateActionHistory"][0]
    assert entry["estimateStatus"] == "sent"
    local, moment = datetime.fromisoformat(entry["updatedAt"]), datetime.fromisoformat(found["updatedAt"])
    assert local.tzinfo is None
    assert abs(local.replace(tzinfo=UTC) - moment - timedelta(hours=5, minutes=30)) < timedelta(seconds=2)


@pytest.mark.parametrize(
    ("zone", "day", "begins", "ends"),
    [
        ("America/Denver", "2026-03-08", "2026-03-08T07:00:00.000Z", "2026-03-09T05:59:59.999Z"),
        ("America/Denver", "2026-11-01", "2026-11-01T06:00:00.000Z", "2026-11-02T06:59:59.999Z"),
        ("Asia/Kolkata", "2026-01-15", "2026-01-14T18:30:00.000Z", "2026-01-15T18:29:59.999Z"),
        ("Pacific/Kiritimati", "2026-01-15", "2026-01-14T10:00:00.000Z", "2026-01-15T09:59:59.999Z"),
        ("Australia/Lord_Howe", "2026-01-15", "2026-01-14T13:00:00.000Z", "2026-01-15T12:59:59.999Z"),
        # clocks are changed at midnight: the day begins at 01:00, or has its first hour twice
        ("Asia/Beirut", "2026-03-29", "2026-03-28T22:00:00.000Z", "2026-03-29T20:59:59.999Z"),
        ("America/Havana", "2026-11-01", "2026-11-01T04:00:00.000Z", "2026-11-02T04:59:59.999Z"),
        ("UTC", "2026-01-15", "2026-01-15T00:00:00.000Z", "2026-01-15T23:59:59.999Z"),
    ],
)
async def test_answers_hold_the_instants_at_which_a_local_day_begins_and_ends(
    shop: Shop, zone: str, day: str, begins: str, ends: str
) -> None:
    shop.box.rules.switch("issue_date_not_future", on=False)
    shop.alt["altId"] = shop.box.add_location(timezone=zone)
    made = await shop.made(body=estimate(issueDate=day, expiryDate=day))
    bill = await shop.made("/invoices/", invoice(issueDate=day, dueDate=day))
    assert (made["issueDate"], made["expiryDate"]) == (begins, ends)
    assert (bill["issueDate"], bill["dueDate"]) == (begins, ends)
    listed = await shop.list("/invoices/estimate/list", startAt=day, endAt=day)
    assert len(listed["estimates"]) == 1


async def test_invoices_can_answer_plain_days(shop: Shop) -> None:
    shop.box.quirks.invoice_instants = False
    shop.box.quirks.default_due_date = False
    bill = await shop.made("/invoices/", invoice(issueDate="2026-01-15", dueDate=None))
    assert (bill["issueDate"], bill.get("dueDate")) == ("2026-01-15", None)
    shop.box.quirks.default_due_date = True
    assert (await shop.made("/invoices/", invoice(issueDate="2026-01-15", dueDate=None)))[
        "dueDate"
    ] == "2026-01-29"


async def test_today_is_the_locations_own(shop: Shop) -> None:
    """At 03:00 UTC it is still yesterday in Denver."""
    clock = shop.box.clock
    clock.advance((27 * 3600 - clock.wall() % 86_400) % 86_400)
    west = shop.box.add_location(timezone="America/Denver")
    today = clock.today()
    shop.alt["altId"] = shop.box.add_location(timezone="UTC")
    assert (await shop.post("/invoices/estimate", estimate(issueDate=today)))[0] == 201
    shop.alt["altId"] = west
    assert (await shop.post("/invoices/estimate", estimate(issueDate=today)))[0] == 400


def test_an_unknown_time_zone_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="unknown time zone 'Mars/Base'"):
        Sandbox(timezone="Mars/Base")
    with pytest.raises(ConfigurationError, match="IANA"):
        Sandbox().add_location(timezone="x/../y")


@pytest.mark.parametrize(
    ("path", "changes", "message"),
    [
        ("estimate", {"attachments": [1, "x"]}, "attachments.0 must be an object"),
        ("estimate", {"attachments": [{"id": "a"}]}, "attachments.0.name must be a string"),
        ("estimate", {"frequencySettings": {"enabled": "yes"}}, "frequencySettings.enabled must be a boolean value"),
        ("estimate", {"items": [line(type="weekly")]}, "items.0.type must be a valid enum value"),
        ("estimate", {"items": [line(taxes=[{"_id": "t", "name": "t", "rate": 1, "calculation": "inclusive"}])]},
         "items.0.taxes.0.calculation must be one of the following values: exclusive"),
        ("estimate", {"items": [line(taxes="x")]}, "items.0.taxes must be an array"),
        ("estimate", {"items": [line(attachments=[1])]}, "items.0.attachments.0 must be a string"),
        ("estimate", {"discount": {"value": 1, "type": "percentage", "validOnProductIds": "[ 'a' ]"}},
         "discount.validOnProductIds must be an array"),
        ("estimate", {"discount": {"value": 1, "type": "fixed", "validOnProductIds": [5]}},
         "discount.validOnProductIds.0 must be a string"),
        ("estimate", {"businessDetails": {"address": "9931 Beechwood"}}, "businessDetails.address must be an object"),
        ("estimate", {"paymentScheduleConfig": {"type": "percentage", "schedules": [50, 50]}},
         "paymentScheduleConfig.schedules.0 must be an object"),
        ("estimate", {"autoInvoice": {"enabled": 1}}, "autoInvoice.enabled must be a boolean value"),
        ("estimate", {"issueDate": "2026-02-30"}, "issueDate must be in YYYY-MM-DD format"),
        ("estimate", {"sentTo": {}}, "sentTo.email must be an array"),
        ("", {"sentTo": {}}, "sentTo.email must be an array"),
        ("", {"tipsConfiguration": "x"}, "tipsConfiguration must be an object"),
        ("", {"lateFeesConfiguration": []}, "lateFeesConfiguration must be an object"),
        ("", {"paymentMethods": 7}, "paymentMethods must be an object"),
        ("", {"paymentSchedule": {"type": "half", "schedules": []}}, "paymentSchedule.type must be one of"),
        ("", {"items": [line(amount=True)]}, "items.0.amount must be a number"),
        ("", {"miscellaneousCharges": {"charges": ["<array>"]}}, "miscellaneousCharges.charges.0 must be an object"),
    ],
)  # fmt: skip
async def test_nested_values_are_checked(shop: Shop, path: str, changes: Any, message: str) -> None:
    body = estimate(**changes) if path else invoice(**changes)
    status, answer = await shop.post(f"/invoices/{path}", body)
    assert status == 422
    assert any(message in one for one in answer["message"]), answer


async def test_no_wrong_value_needs_the_emergency_exit(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    wrong: tuple[Any, ...] = (7, "x", [], {}, [1], True, {"value": {}}, [{}], [[]], 1e300, "2026-13-01")
    with caplog.at_level(logging.WARNING, "hl_async.sandbox"):
        for body, path in ((estimate(), "/invoices/estimate"), (invoice(), "/invoices/")):
            for name in body:
                for value in wrong:
                    status, _ = await shop.post(path, {**body, name: value})
                    assert status in (200, 201, 400, 422, 500), (name, value)
                    for inner in body["items"][0] if name == "items" else ():
                        assert (await shop.post(path, {**body, "items": [line(**{inner: value})]}))[0] < 501
    assert caplog.records == []


async def test_a_location_is_read_where_the_specification_says_and_nowhere_else(shop: Shop) -> None:
    other = shop.box.add_location("other")
    status, _, _ = await shop("POST", "/invoices/", params=shop.alt, json=invoice())
    assert status == 401, "a query is not a body"
    body = {**invoice(), **shop.alt}
    status, made, _ = await shop("POST", "/invoices/", params={**shop.alt, "altId": other}, json=body)
    assert (status, made["altId"]) == (201, shop.box.location_id)
    status, _, _ = await shop("GET", f"/invoices/{made['_id']}", json=shop.alt)
    assert status == 401, "a body is not a query"
    estimate_id = (await shop.made())["_id"]
    for options in ({"params": shop.alt}, {"json": shop.alt}):
        body = {**options.get("json", {}), "estimateId": estimate_id}
        status, _, _ = await shop(
            "PATCH", "/invoices/estimate/stats/last-visited-at", params=options.get("params"), json=body
        )
        assert status == 200


async def test_an_invoice_from_an_estimate_looks_like_the_documented_one(shop: Shop) -> None:
    found = await sent(
        shop,
        automaticTaxesEnabled=True,
        termsNotes="<p>Net</p>",
        paymentScheduleConfig={"type": "percentage", "schedules": [{"value": 33.3333}, {"value": 66.6667}]},
    )
    shop.box.customer.accept(found["_id"])
    status, answer = await shop.post(
        f"/invoices/estimate/{found['_id']}/invoice", {"markAsInvoiced": True, "version": "v2"}
    )
    bill = answer["invoice"]
    assert (status, bill["title"], bill["status"]) == (200, "INVOICE", "draft")
    assert (bill["source"], bill["sourceId"]) == ("estimate", found["_id"])
    assert bill["automaticTaxesEnabled"] is True
    assert bill["paymentSchedule"]["schedules"] == [{"value": 33.3333}, {"value": 66.6667}]
    assert bill["dueDate"] > bill["issueDate"]
    assert "termsNotes" not in bill
    assert set(bill["invoiceItems"][0]) >= {"_id", "taxes", "name", "qty", "amount", "currency"}
    shop.box.quirks.carried_over = ("termsNotes",)
    _, answer = await shop.post(f"/invoices/estimate/{found['_id']}/invoice", {"markAsInvoiced": True})
    assert answer["invoice"]["termsNotes"] == "<p>Net</p>"


async def test_lists_are_sorted_and_filtered_by_mode(shop: Shop) -> None:
    for day, live in (("2026-03-01", True), ("2026-01-01", False), ("2026-02-01", True)):
        await shop.made("/invoices/", invoice(issueDate=day, liveMode=live))

    async def days(**query: str) -> list[str]:
        return [one["issueDate"][5:7] for one in (await shop.list("/invoices/", **query))["invoices"]]

    assert await days(sortField="issueDate", sortOrder="ascend") == ["01", "02", "03"]
    assert await days(sortField="issueDate", sortOrder="descend") == ["03", "02", "01"]
    assert sorted(await days(paymentMode="live")) == ["02", "03"]
    assert await days(paymentMode="test") == ["01"]
    assert len(await days(paymentMode="default")) == 3
    shop.box.quirks.default_mode = "live"
    assert len(await days(paymentMode="default")) == 2
    for wrong in ({"sortOrder": "up"}, {"sortField": "name"}, {"paymentMode": "both"}, {"startAt": "today"}):
        assert (await shop.get("/invoices/", limit="5", offset="0", **wrong))[0] == 422


async def test_the_estimate_filter_knows_six_states_and_perhaps_all(shop: Shop) -> None:
    await shop.made()
    for state in ("draft", "sent", "viewed", "accepted", "declined", "invoiced"):
        assert "estimates" in await shop.list("/invoices/estimate/list", status=state)
    assert len((await shop.list("/invoices/estimate/list", status="all"))["estimates"]) == 1
    shop.box.quirks.status_all = False
    assert (await shop.get("/invoices/estimate/list", limit="5", offset="0", status="all"))[0] == 422


async def test_a_number_is_never_given_twice(shop: Shop) -> None:
    numbers = [(await shop.made("/invoices/", invoice(invoiceNumber=number)))["invoiceNumber"]
               for number in (None, "000003", None, None)]  # fmt: skip
    assert numbers == ["000001", "000003", "000002", "000004"]
    assert (await shop.get("/invoices/generate-invoice-number"))[1]["invoiceNumber"] == "000005"
    made = [await shop.made(body=estimate(estimateNumber=number)) for number in (3, None, 2, None)]
    assert [one["estimateNumber"] for one in made] == [3, 4, 2, 5]
    await shop("DELETE", f"/invoices/estimate/{made[3]['_id']}", json=shop.alt)
    assert (await shop.made())["estimateNumber"] == 6
    status, answer = await shop.put(f"/invoices/estimate/{made[0]['_id']}", estimate(estimateNumber=4))
    assert (status, answer["message"]) == (400, "Estimate number already exists")
    assert (await shop.put(f"/invoices/estimate/{made[0]['_id']}", estimate(estimateNumber=3)))[0] == 200


async def test_replacing_keeps_what_answers_need(shop: Shop) -> None:
    schedule = invoice(
        schedule={"rrule": {"intervalType": "monthly", "interval": 1, "startDate": "2030-01-01"}}
    )
    made = await shop.made("/invoices/schedule", schedule)
    path = f"/invoices/schedule/{made['_id']}"
    changed = (await shop.put(path, {**schedule, "termsNotes": "<p>Net</p>"}))[1]
    assert (changed["compiledTermsNotes"], changed["status"], changed["invoices"]) == (
        "<p>Net</p>",
        "draft",
        [],
    )
    template = estimate(contactDetails=None, frequencySettings=None, issueDate=None, expiryDate=None)
    made = await shop.made("/invoices/estimate/template", template)
    replaced = (await shop.put(f"/invoices/estimate/template/{made['_id']}", template))[1]
    for one in (made, replaced):
        assert (one["liveMode"], one["deleted"], one["automaticTaxesEnabled"]) == (True, False, False)
    assert (made["__v"], replaced["__v"]) == (0, 1)
    renamed = (await shop.post(f"{path}/updateAndSchedule", {**schedule, "name": "Other"}))[1]
    assert (renamed["name"], renamed["status"]) == ("Other", "scheduled")
    status, _ = await shop.post(f"{path}/updateAndSchedule", {"name": "Other"})
    assert status == 422


@pytest.mark.parametrize("path", ["/invoices/%0A", "/%0A", "/invoices/estimate/%0A/x", "/nowhere", "/%2e%2e"])
async def test_every_404_and_400_is_json_and_counted(shop: Shop, path: str) -> None:
    url = URL(shop.box.url + path + f"?altId={shop.box.location_id}&altType=location", encoded=True)
    async with shop.session.get(url, headers=shop.headers) as answer:
        assert answer.status in (400, 404)
        assert (await answer.json())["statusCode"] == answer.status
    assert shop.box.count == len(shop.box.requests) == 1


async def test_undeclared_keys_are_ignored_kept_or_refused(shop: Shop) -> None:
    assert "terms" not in await shop.made(body=estimate(terms="x"))
    shop.box.quirks.unknown_keys = "kept"
    assert (await shop.made(body=estimate(terms="x")))["terms"] == "x"
    shop.box.quirks.unknown_keys = "refused"
    status, answer = await shop.post("/invoices/estimate", estimate(terms="x", items=[line(shade="oak")]))
    assert (status, answer["message"]) == (
        422,
        ["items.0.property shade should not exist", "property terms should not exist"],
    )


async def test_a_null_is_kept_or_counts_as_absent(shop: Shop) -> None:
    assert (await shop.made(body=estimate() | {"termsNotes": None}))["termsNotes"] is None
    shop.box.quirks.keep_nulls = False
    assert "termsNotes" not in await shop.made(body=estimate() | {"termsNotes": None})


async def test_a_put_without_its_parties_loses_or_keeps_them(shop: Shop) -> None:
    made = await shop.made("/invoices/", invoice())
    body = invoice(invoiceItems=[line()], items=None, sentTo=None, contactDetails=None, businessDetails=None)
    assert "contactDetails" not in (await shop.put(f"/invoices/{made['_id']}", body))[1]
    made = await shop.made("/invoices/", invoice())
    shop.box.quirks.put_keeps_parties = True
    assert (await shop.put(f"/invoices/{made['_id']}", body))[1]["contactDetails"]["name"] == "Alex"


async def test_a_visit_is_answered_without_a_body_or_with_an_empty_object(shop: Shop) -> None:
    body = {"estimateId": (await shop.made())["_id"]}
    path = "/invoices/estimate/stats/last-visited-at"
    assert await shop.post(path, body, "PATCH") == (200, "")
    shop.box.quirks.empty_last_visited = False
    assert await shop.post(path, body, "PATCH") == (200, {})


async def test_the_customer_sees_answers_and_pays_only_what_was_sent(shop: Shop) -> None:
    customer = shop.box.customer
    draft = (await shop.made())["_id"]
    for act in (customer.view, customer.accept, customer.decline):
        with pytest.raises(InvalidRequest, match="send it first"):
            act(draft)
    await shop.post(f"/invoices/estimate/{draft}/send", SEND)
    customer.view(draft)
    found = (await shop.list("/invoices/estimate/list", status="viewed"))["estimates"][0]
    assert "lastVisitedAt" in found
    customer.accept(draft, location_id=shop.box.location_id)
    with pytest.raises(InvalidRequest, match="is accepted already"):
        customer.decline(draft)
    status, again = await shop.post(f"/invoices/estimate/{draft}/send", SEND)
    assert (status, again["estimateStatus"]) == (201, "accepted")
    declined = (await sent(shop))["_id"]
    customer.decline(declined)
    status, answer = await shop.post(f"/invoices/estimate/{declined}/invoice", {"markAsInvoiced": True})
    assert (status, answer["code"]) == (400, "estimate_not_accepted")

    bill = (await shop.made("/invoices/", invoice()))["_id"]
    await shop.post(f"/invoices/{bill}/send", SEND)
    customer.view(bill)
    for wrong in (Decimal(0), Decimal("29.98"), Decimal("0.001"), Decimal("nan"), "much"):
        with pytest.raises(InvalidRequest, match="amount"):
            customer.pay(bill, wrong)  # type: ignore[arg-type]
    customer.pay(bill, Decimal(10))
    assert (await shop.get(f"/invoices/{bill}"))[1]["status"] == "partially_paid"
    customer.pay(bill)
    paid = (await shop.get(f"/invoices/{bill}"))[1]
    assert (paid["status"], paid["amountDue"]) == ("paid", 0)
    with pytest.raises(InvalidRequest, match="is paid"):
        customer.pay(bill)
    status, answer = await shop.post(f"/invoices/{bill}/void", {})
    assert (status, "refunded first" in answer["message"]) == (400, True)
    for act, wrong in ((customer.accept, bill), (customer.pay, draft), (customer.view, "none")):
        with pytest.raises(InvalidRequest, match=r"is not an|unknown"):
            act(wrong)  # type: ignore[operator]
    with pytest.raises(InvalidRequest, match="unknown location"):
        customer.view(bill, location_id="none")
    with pytest.raises(InvalidRequest, match="unknown action 'steal'"):
        customer.act("steal", bill)


async def test_acceptance_makes_and_sends_the_invoice_if_the_estimate_says_so(shop: Shop) -> None:
    found = await sent(shop, autoInvoice={"enabled": True})
    shop.box.customer.accept(found["_id"])
    bill = shop.box.ledger.invoices()[0]
    assert (bill["status"], bill["sourceId"]) == ("sent", found["_id"])
    states = [one["estimateStatus"] for one in shop.box.ledger.estimates()[0]["estimateActionHistory"]]
    assert states == ["sent", "accepted", "invoiced"]


async def test_a_customer_that_accepts_everything_does_so_after_the_sending(shop: Shop) -> None:
    async with Sandbox(customer_accepts=True) as box:
        other = Shop(box, shop.session)
        assert (await sent(other))["estimateStatus"] == "sent"
        assert box.ledger.estimates()[0]["estimateStatus"] == "accepted"


async def test_other_processes_act_as_the_customer(shop: Shop) -> None:
    found = await sent(shop)
    status, answer, _ = await shop("POST", "/_sandbox/customer/accept", json={"id": found["_id"]})
    assert (status, answer["estimateStatus"]) == (200, "accepted")
    status, answer, _ = await shop("POST", "/_sandbox/customer/accept", json={"id": found["_id"]})
    assert (status, "is accepted already" in answer["error"]) == (400, True)
    bill = (await shop.made("/invoices/", invoice()))["_id"]
    await shop.post(f"/invoices/{bill}/send", SEND)
    body = {"id": bill, "amount": 9.97}
    assert (await shop("POST", "/_sandbox/customer/pay", json=body))[1]["amountDue"] == 20


@pytest.mark.parametrize(
    "path", ["/_sandbox/state", "/invoices/settings", "/v2/oauth/chooselocation", "/_console/"]
)
async def test_a_name_that_leads_here_from_elsewhere_is_refused(shop: Shop, path: str) -> None:
    for name in ("rebound.example", "127.0.0.1.rebound.example", "[::1", "sandbox"):
        status, answer, _ = await shop("GET", path, params=shop.alt, headers={"Host": name})
        assert (status, "is not a name of this sandbox" in str(answer)) == (403, True)
    status, _, _ = await shop("GET", path, params=shop.alt, headers={"Host": "localhost:1"})
    assert status != 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_a_page_of_another_site_changes_nothing(shop: Shop, headers: dict[str, str]) -> None:
    await shop.made()
    for path in (
        "/_sandbox/reset",
        "/_sandbox/clock",
        "/_sandbox/webhooks",
        "/invoices/estimate",
        "/oauth/token",
    ):
        assert (await shop("POST", path, json={}, headers=headers))[0] == 403
    assert len(shop.box.ledger.estimates()) == 1


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
async def test_the_control_surface_reads_json_alone(shop: Shop, kind: str) -> None:
    await shop.made()
    status, answer, _ = await shop("POST", "/_sandbox/reset", data=b"{}", headers={"Content-Type": kind})
    assert (status, "send application/json" in answer["error"]) == (415, True)
    assert len(shop.box.ledger.estimates()) == 1
    assert (await shop("POST", "/_sandbox/reset"))[0] == 200


async def test_a_sandbox_that_may_be_remote_answers_to_addresses_and_plain_names(shop: Shop) -> None:
    async with Sandbox(host="0.0.0.0", allow_remote=True) as box:
        url = box.url.replace("0.0.0.0", "127.0.0.1")
        for name, expected in (
            ("192.0.2.7:80", 200),
            ("sandbox", 200),
            ("[2001:db8::1]", 200),
            ("evil.example", 403),
        ):
            async with shop.session.get(f"{url}/_sandbox/state", headers={"Host": name}) as answer:
                assert answer.status == expected, name


def test_a_quirk_with_an_unknown_value_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'never' is not one of ignored, kept, refused"):
        Quirks(unknown_keys="never")


async def test_the_refresh_token_returns_its_successor_within_the_grace(box: Sandbox) -> None:
    app = box.add_app()
    form = {"client_id": app.client_id, "client_secret": app.client_secret}
    first = box.tokens.exchange(
        {**form, "grant_type": "authorization_code", "code": box.authorise(app.client_id, box.location_id)}
    )
    again = {**form, "grant_type": "refresh_token", "refresh_token": first["refresh_token"]}
    box.quirks.refresh_grace = 30.0
    second = box.tokens.exchange(again)
    assert box.tokens.exchange(again) == second
    assert (box.tokens.refreshes, box.tokens.spent_presented) == (1, 0)
    box.clock.advance(31)
    with pytest.raises(Exception, match="401"):
        box.tokens.exchange(again)
