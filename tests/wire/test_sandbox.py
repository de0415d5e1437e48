"""The sandbox's own promises: what the API is known to do, seen with a client that is not ours."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import aiohttp
import msgspec
import pytest

import samples
from hl_async.errors import ConfigurationError
from hl_async.models.codec import encode
from hl_async.models.settings import Notifications
from hl_async.sandbox import Clock, Fault, Quirks, Sandbox
from plain_client import Plain


@pytest.fixture
async def plain(box: Sandbox) -> AsyncIterator[Plain]:
    async with aiohttp.ClientSession() as session:
        yield Plain(box, session)


NUMBER = "/invoices/estimate/number/generate"


async def test_the_five_headers_are_on_every_answer(plain: Plain) -> None:
    for alt in (plain.alt, {**plain.alt, "altId": "elsewhere"}):
        _, _, headers = await plain("GET", NUMBER, params=alt)
        assert headers["X-RateLimit-Max"] == "10000"
        assert headers["X-RateLimit-Interval-Milliseconds"] == "1000"
        assert int(headers["X-RateLimit-Remaining"]) >= 9990
        assert headers["X-RateLimit-Limit-Daily"] == "200000"
        assert int(headers["X-RateLimit-Daily-Remaining"]) < 200000


@pytest.mark.parametrize(
    ("headers", "status", "message"),
    [
        ({"Authorization": None}, 401, "Invalid token"),
        ({"Authorization": "Basic x"}, 401, "Invalid token"),
        ({"Authorization": "Bearer pit-wrong"}, 401, "Invalid Private Integration token"),
        ({"Authorization": "Bearer eyJ.x.y"}, 401, "Invalid JWT"),
        ({"Version": None}, 401, "version header was not found."),
        ({"Version": "2019-01-01"}, 401, "version header is invalid"),
        ({"Version": "four"}, 400, "Invalid API version segment 'four'"),
        ({"Version": "v3", "Content-Type": "application/json"}, 200, None),
    ],
)
async def test_headers_are_checked_in_the_apis_own_words(
    plain: Plain, headers: Any, status: int, message: str | None
) -> None:
    found, body, _ = await plain("GET", NUMBER, params=plain.alt, headers=headers)
    assert found == status
    assert message is None or message in body["message"]


async def test_the_location_is_checked(plain: Plain) -> None:
    assert (await plain("GET", NUMBER))[0] == 401
    assert (await plain("GET", NUMBER, params={"altId": "x", "altType": "shop"}))[0] == 422
    assert (await plain("GET", NUMBER, params={"altId": "x", "altType": "location"}))[0] == 403
    assert (await plain("GET", "/invoices/nowhere/at/all", params=plain.alt))[1]["message"].startswith(
        "Cannot GET"
    )
    assert (await plain("GET", "/oauth/location-token"))[0] == 404


async def test_lists_want_their_page_and_routes_their_order(plain: Plain) -> None:
    status, body, _ = await plain("GET", "/invoices/estimate/list", params=plain.alt)
    assert (status, body["message"]) == (
        422,
        ["limit must be a number string", "offset must be a number string"],
    )
    assert (await plain("GET", "/invoices/estimate/list", params={**plain.alt, "limit": "0", "offset": "0"}))[
        0
    ] == 422
    for path in ("/invoices/", "/invoices"):
        assert (await plain("GET", path, params={**plain.alt, "limit": "5", "offset": "0"}))[1] == {
            "invoices": [],
            "total": 0,
        }
    settings = (await plain("GET", "/invoices/settings", params=plain.alt))[1]
    assert "termsNote" in settings
    known = {field.encode_name for field in msgspec.structs.fields(Notifications)}
    assert set(settings["customNotification"]) == known
    assert len(known) == 17


async def test_an_estimates_deletion_reads_its_location_from_the_body_alone(plain: Plain) -> None:
    body = {**plain.alt, **json.loads(encode(samples.estimate()))}
    status, made, _ = await plain("POST", "/invoices/estimate", json=body)
    assert status == 201
    path = f"/invoices/estimate/{made['_id']}"
    status, refused, _ = await plain("DELETE", path, params=plain.alt)
    assert (status, refused["message"][0]) == (422, "altId must be a string")
    assert (await plain("DELETE", path, json=plain.alt))[1]["deleted"] is True
    assert (await plain("DELETE", path, json=plain.alt))[0] == 404
    plain.box.rules.switch("delete_estimate_body", on=False)
    assert (await plain("DELETE", path, params=plain.alt))[0] == 404


@pytest.mark.parametrize(
    ("changes", "status", "message"),
    [
        ({"expiryDate": None}, 422, "expiryDate must be in YYYY-MM-DD format"),
        ({"expiryDate": "2030-01-01T00:00:00.000Z"}, 422, "expiryDate must be in YYYY-MM-DD format"),
        ({"issueDate": "2999-01-01"}, 400, "Issue date cannot be in the future"),
        ({"currency": "XXX1"}, 422, "currency must be a valid ISO4217"),
        ({"discount": {"value": 5000, "type": "fixed"}}, 400, "amount must not be less than 0"),
        ({"discount": {"value": 5, "type": "half"}}, 422, "discount.type must be one of"),
        ({"items": [7]}, 422, "items.0 must be an object"),
        ({"items": [{"name": "x", "currency": "USD", "amount": "9", "qty": -1, "taxes": [{"name": "t"}]}]}, 422, "items.0.qty must not be less than 0"),
        ({"contactDetails": {"id": "c", "name": "A", "phoneNo": "12", "email": ""}}, 422, "phoneNo must be a valid phone number"),
        ({"name": 7}, 422, "name must be a string"),
        ({"liveMode": "yes"}, 422, "liveMode must be a boolean"),
        ({"frequencySettings": None}, 422, "frequencySettings must be an object"),
    ],
)  # fmt: skip
async def test_estimates_are_refused_in_the_apis_own_words(
    plain: Plain, changes: Any, status: int, message: str
) -> None:
    body = {**plain.alt, **json.loads(encode(samples.estimate())), **changes}
    found, answer, _ = await plain("POST", "/invoices/estimate", json=body)
    assert found == status
    assert message in str(answer["message"])
    assert plain.box.ledger.estimates() == []


async def test_a_body_that_is_no_json_is_refused(plain: Plain) -> None:
    assert (await plain("POST", "/invoices/estimate", data=b"{"))[0] == 400
    assert (await plain("POST", "/invoices/estimate", data=b"[]"))[0] == 400


@pytest.mark.parametrize("window", ["fixed", "sliding", "counter", "bucket"])
async def test_every_kind_of_window_refuses_the_request_too_many(window: str) -> None:
    clock = Clock()
    async with (
        Sandbox(rate_max=5, rate_interval=1000.0, window=window, clock=clock) as box,
        aiohttp.ClientSession() as session,
    ):
        plain = Plain(box, session)
        statuses = [(await plain("GET", NUMBER, params=plain.alt))[0] for _ in range(7)]
        assert statuses == [200] * 5 + [429] * 2
        assert box.refused == 2
        clock.advance(2000.0)
        assert (await plain("GET", NUMBER, params=plain.alt))[0] == 200


async def test_the_day_has_a_budget_too() -> None:
    async with Sandbox(daily=2) as box, aiohttp.ClientSession() as session:
        plain = Plain(box, session)
        assert [(await plain("GET", NUMBER, params=plain.alt))[0] for _ in range(3)] == [200, 200, 429]


async def test_quirks_can_be_switched() -> None:
    quirks = Quirks(
        meta_in_lists=False,
        invoice_in_answer=False,
        newest_first=False,
        largest_page=2,
        honest_total=False,
    )
    async with Sandbox(quirks=quirks) as box, aiohttp.ClientSession() as session:
        plain = Plain(box, session)
        body = {**plain.alt, **json.loads(encode(samples.estimate(meta={"k": 1})))}
        ids = [(await plain("POST", "/invoices/estimate", json=body))[1]["_id"] for _ in range(3)]
        page = (
            await plain("GET", "/invoices/estimate/list", params={**plain.alt, "limit": "50", "offset": "0"})
        )[1]
        assert [one["_id"] for one in page["estimates"]] == ids[:2]
        assert "total" not in page
        assert "meta" not in page["estimates"][0]
        path = f"/invoices/estimate/{ids[0]}/invoice"
        assert (await plain("POST", path, json={**plain.alt, "markAsInvoiced": True}))[0] == 400
        update = {**body, "estimateStatus": "accepted", "estimateNumber": 77}
        changed = (await plain("PUT", f"/invoices/estimate/{ids[0]}", json=update))[1]
        assert (changed["estimateNumber"], changed["estimateStatus"]) == (77, "draft")
        send = {**plain.alt, "action": "send_manually", "liveMode": True, "userId": "u1"}
        await plain("POST", f"/invoices/estimate/{ids[0]}/send", json=send)
        box.customer.accept(ids[0])
        assert set((await plain("POST", path, json={**plain.alt, "markAsInvoiced": True}))[1]) == {
            "estimate",
            "traceId",
        }


async def test_the_rules_of_invoices(plain: Plain) -> None:
    body = {**plain.alt, **json.loads(encode(samples.invoice(invoice_number="A1")))}
    _, made, _ = await plain("POST", "/invoices/", json=body)
    assert (await plain("POST", "/invoices/", json=body))[1]["message"] == "Invoice number already exists"
    place = plain.box.ledger.places[plain.box.location_id]
    place.payments[made["_id"]] = [{"provider": "stripe"}]
    place.invoices[made["_id"]]["status"] = "sent"
    assert (
        "refunded first"
        in (await plain("POST", f"/invoices/{made['_id']}/void", json=plain.alt))[1]["message"]
    )
    place.invoices[made["_id"]]["status"] = "void"
    for action, more in (
        ("send", {"userId": "u", "action": "sms", "liveMode": False}),
        ("record-payment", {"mode": "cash"}),
    ):
        assert (await plain("POST", f"/invoices/{made['_id']}/{action}", json={**plain.alt, **more}))[
            0
        ] == 400
    update = {**body, "invoiceItems": body["items"]}
    assert (
        "Can not update void" in (await plain("PUT", f"/invoices/{made['_id']}", json=update))[1]["message"]
    )
    schedule = {**plain.alt, **json.loads(encode(samples.schedule()))}
    _, running, _ = await plain("POST", "/invoices/schedule", json=schedule)
    wrong = {**plain.alt, "id": "other", "autoPayment": {"enable": True}}
    assert (await plain("POST", f"/invoices/schedule/{running['_id']}/auto-payment", json=wrong))[0] == 400
    assert (await plain("GET", "/invoices/schedule/none", params=plain.alt))[0] == 404


async def test_tokens_are_refused_in_the_oauth_envelope(plain: Plain) -> None:
    box = plain.box
    app = box.add_app()
    form = {
        "client_id": app.client_id,
        "client_secret": app.client_secret,
        "grant_type": "refresh_token",
        "refresh_token": "x",
    }
    answer = (await plain("POST", "/oauth/token", data=form))[1]
    assert answer == {
        "error": "UnAuthorized!",
        "error_description": "This refresh token is invalid or has been used",
    }
    for changes, status in (
        ({"client_secret": "no"}, 401),
        ({"client_id": "no"}, 401),
        ({"grant_type": "magic"}, 422),
        ({"client_id": ""}, 422),
    ):
        assert (await plain("POST", "/oauth/token", json={**form, **changes}))[0] == status
    code = box.authorise(app.client_id, box.location_id)
    grant = (
        await plain("POST", "/oauth/token", data={**form, "grant_type": "authorization_code", "code": code})
    )[1]
    bearer = {"Authorization": f"Bearer {grant['access_token']}"}
    assert (await plain("GET", NUMBER, params=plain.alt, headers=bearer))[0] == 200
    mint = {"companyId": box.company_id, "locationId": box.location_id}
    assert (await plain("POST", "/oauth/locationToken", data=mint, headers=bearer))[0] == 401
    assert (
        await plain("GET", "/oauth/installedLocations", params={"companyId": box.company_id}, headers=bearer)
    )[0] == 401
    box.tokens.expire()
    assert (await plain("GET", NUMBER, params=plain.alt, headers=bearer))[0] == 401
    agency = box.tokens.exchange(
        {**form, "grant_type": "authorization_code", "code": box.authorise(app.client_id)}
    )
    bearer = {"Authorization": f"Bearer {agency['access_token']}"}
    assert (await plain("POST", "/oauth/locationToken", data={**mint, "companyId": "x"}, headers=bearer))[
        0
    ] == 400
    assert (await plain("GET", "/oauth/installedLocations", params={"companyId": "x"}, headers=bearer))[
        0
    ] == 403
    box.tokens.uninstall(app.client_id)
    refresh = {**form, "refresh_token": agency["refresh_token"]}
    assert (await plain("POST", "/oauth/token", data=refresh))[0] == 401


async def test_the_control_surface_serves_other_processes(plain: Plain) -> None:
    box = plain.box
    state = (await plain("GET", "/_sandbox/"))[1]
    assert (state["url"], state["token"], state["location_id"]) == (box.url, box.token, box.location_id)
    assert (await plain("GET", "/_sandbox/nothing"))[0] == 404
    place = (await plain("POST", "/_sandbox/locations", json={}))[1]["location_id"]
    token = (await plain("POST", "/_sandbox/tokens", json={"location_id": place}))[1]["token"]
    assert (
        await plain(
            "GET", NUMBER, params={**plain.alt, "altId": place}, headers={"Authorization": f"Bearer {token}"}
        )
    )[0] == 200
    app = (await plain("POST", "/_sandbox/apps", json={}))[1]
    assert (await plain("POST", "/_sandbox/authorise", json={"client_id": app["client_id"]}))[1]["code"]
    assert (await plain("POST", "/_sandbox/expire", json={"lifetime": 5}))[0] == 200
    assert box.tokens.lifetime == 5
    assert (await plain("POST", "/_sandbox/clock", json={"seconds": 60}))[0] == 200
    await plain("PUT", "/_sandbox/faults", json={"profile": "mild", "seed": 3})
    found = (
        await plain(
            "PUT",
            "/_sandbox/faults",
            json={"rates": {}, "script": {"*": ["html_502"]}, "times": {"late": 0.1}},
        )
    )[1]
    assert (found["rates"], found["seed"]) == ({}, 3)
    assert (await plain("GET", NUMBER, params=plain.alt))[0] == 502
    assert (await plain("PUT", "/_sandbox/faults", json={"profile": "wild"}))[0] == 400
    seen = (await plain("GET", "/_sandbox/requests", params={"since": "1"}))[1]
    assert seen[-1]["fault"] == "html_502"
    for name in ("estimates", "invoices", "commits", "faults"):
        assert (await plain("GET", f"/_sandbox/{name}"))[0] == 200
    assert (await plain("POST", "/_sandbox/reset", json={}))[1]["requests"] == 0


@pytest.mark.parametrize(
    "settings", [{"host": "0.0.0.0"}, {"window": "round"}, {"faults": "wild"}, {"rate_max": 0}, {"daily": 0}]
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        Sandbox(**settings)


async def test_it_listens_elsewhere_only_when_told_twice() -> None:
    async with Sandbox(host="0.0.0.0", allow_remote=True) as box:
        assert box.url.startswith("http://0.0.0.0:")
    assert "0 requests" in repr(box)


async def test_it_closes_quickly_with_clients_connected(plain: Plain) -> None:
    plain.box.faults.script("*", Fault.STALL)
    loop = asyncio.get_running_loop()
    async with Sandbox(latency=60.0) as box:
        other = Plain(box, plain.session)
        hanging = asyncio.create_task(other("GET", NUMBER, params=other.alt))
        await asyncio.sleep(0.1)
        began = loop.time()
    assert loop.time() - began < 30
    with pytest.raises(aiohttp.ClientError):
        await hanging


async def test_totals_are_exact(plain: Plain) -> None:
    lines = [
        samples.line(amount=Decimal("0.10"), qty=Decimal(3)),
        samples.line(amount=Decimal("19.99"), qty=Decimal("0.333")),
    ]
    text = encode(samples.estimate(items=lines))
    raw = b'{"altId":"%s","altType":"location",' % plain.box.location_id.encode() + text[1:]
    _, made, _ = await plain(
        "POST", "/invoices/estimate", data=raw, headers={"Content-Type": "application/json"}
    )
    assert made["total"] == 6.96
