"""The examples of web apps and workers run, against a sandbox over real sockets."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest
from aiohttp import web

import samples
from example_files import load
from hl_async import HighLevel
from hl_async.errors import ScopeMissing
from hl_async.models import ContactDraft, RecordPayment
from hl_async.sandbox import Fault, Sandbox
from hl_async.testing.builders import Builder


@pytest.fixture
def environment(box: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ONCE_DB", str(tmp_path / "once.db"))
    monkeypatch.setenv("HL_BASE_URL", box.url)
    monkeypatch.setenv("HL_TOKEN", box.token)
    monkeypatch.setenv("HL_LOCATION_ID", box.location_id)
    monkeypatch.setenv("HL_WEBHOOK_KEY", box.webhooks.public_key)


@pytest.mark.usefixtures("environment")
async def test_the_fastapi_app_lists_converts_and_receives_webhooks(box: Sandbox, hl: HighLevel) -> None:
    example = load("fastapi_app")
    made = await hl.location().estimates.create(samples.estimate())
    transport = httpx.ASGITransport(app=example.app)
    async with (
        example.app.router.lifespan_context(example.app),
        httpx.AsyncClient(transport=transport, base_url="http://app.example") as browser,
    ):
        listed = (await browser.get("/estimates")).json()
        assert [one["id"] for one in listed] == [made.id]
        assert (await browser.post(f"/estimates/{made.id}/invoice")).status_code == 502, "not accepted yet"
        await samples.accepted(box, hl.location(), made.id)
        converted = await browser.post(f"/estimates/{made.id}/invoice")
        assert converted.status_code == 201
        invoice = converted.json()["invoice"]
        assert (await browser.post(f"/estimates/{made.id}/invoice")).json()["invoice"] == invoice
        assert (await browser.post(f"/estimates/{'0' * 24}/invoice")).status_code == 404

        async def forward(request: web.Request) -> web.Response:
            """A socket in front of the app, for the sandbox to deliver to."""
            answer = await browser.post(
                "/webhooks/highlevel", content=await request.read(), headers=dict(request.headers)
            )
            return web.Response(status=answer.status_code)

        async with serving(forward) as url:
            box.webhooks.send_to(url)
            await hl.location().invoices.record_payment(invoice, RecordPayment(mode="cash"))
            await box.webhooks.settled()
        assert [one.statuses for one in box.webhooks.log] == [[200]]
        assert example.paid == {invoice: made.total}
        forged = await browser.post("/webhooks/highlevel", content=b"{}", headers={"X-GHL-Signature": "AAAA"})
        assert forged.status_code == 401


@pytest.mark.usefixtures("environment")
async def test_a_form_that_is_sent_twice_makes_one_contact_and_one_estimate(
    box: Sandbox, hl: HighLevel, caplog: pytest.LogCaptureFixture
) -> None:
    example = load("fastapi_app")
    form = {
        "id": "form-7f3a",
        "name": "Ada Bell",
        "email": "ada@example.com",
        "phone": "(214) 559-6993",
        "lines": [{"name": "Cabinet", "amount": "199.50", "quantity": "2"}],
    }
    transport = httpx.ASGITransport(app=example.app)
    async with (
        example.app.router.lifespan_context(example.app),
        httpx.AsyncClient(transport=transport, base_url="http://app.example") as browser,
    ):
        box.faults.script("create-contact", Fault.RESET_AFTER_COMMIT)
        box.faults.script("create-new-estimate", Fault.RESET_AFTER_COMMIT)
        clicks = await asyncio.gather(*(browser.post("/estimates", json=form) for _ in range(3)))
        assert {one.status_code for one in clicks} == {201}
        assert len({one.text for one in clicks}) == 1
        [estimate] = box.ledger.estimates()
        [contact] = box.neighbours.of(box.location_id).contacts.values()
        assert (estimate["total"], estimate["contactDetails"]["id"]) == (Decimal("399.00"), contact["id"])
        assert estimate["businessDetails"]["name"] == "Harbour Joinery LLC"
        other = await browser.post("/estimates", json={**form, "lines": []})
        assert (other.status_code, "was used for another content" in other.text) == (422, True)
        bad = await browser.post("/estimates", json={**form, "id": "form-8", "email": "ada"})
        assert (bad.status_code, "is not an e-mail address" in bad.text) == (422, True)
        await hl.location().contacts.create(ContactDraft(phone="+12145590000"))
        both = await browser.post("/estimates", json={**form, "id": "form-9", "phone": "+12145590000"})
        assert (both.status_code, "belongs to different contacts" in both.text) == (409, True)
        assert "AmbiguousContact" in caplog.text

        @example.webhooks.on(example.InvoicePaidEvent)
        async def broken(event: object) -> None:
            raise RuntimeError("the database is away")

        assert await signed_delivery(box, hl, browser) == 429, "HighLevel delivers again"
        assert "the database is away" in caplog.text
    assert len(box.ledger.estimates()) == 1


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("lacking", ["invoices/estimate.readonly", "invoices/estimate.write"])
async def test_a_token_without_a_scope_stops_the_app_or_the_answer_says_which_half_is_done(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch, lacking: str
) -> None:
    example = load("fastapi_app")
    scopes = [*example.SCOPES, "contacts.write", "invoices/estimate.write"]
    monkeypatch.setenv("HL_TOKEN", box.add_token(scopes=[one for one in scopes if one != lacking]))
    form = {"id": "f", "name": "Ada", "email": "ada@example.com", "lines": [{"name": "Oak", "amount": "1"}]}
    contacts = box.neighbours.of(box.location_id).contacts
    transport = httpx.ASGITransport(app=example.app)
    if lacking.endswith("readonly"):
        with pytest.raises(ScopeMissing, match=lacking):
            async with example.app.router.lifespan_context(example.app):
                pass
        assert not contacts
        return
    async with (
        example.app.router.lifespan_context(example.app),
        httpx.AsyncClient(transport=transport, base_url="http://app.example") as browser,
    ):
        answer = await browser.post("/estimates", json=form)
    [contact] = contacts
    assert lacking in answer.json()["error"]
    assert answer.json()["done"] == [f"the contact {contact} is there, the estimate is not"]
    assert box.ledger.estimates() == []


@pytest.mark.usefixtures("environment")
async def test_a_web_request_that_is_given_up_leaves_nothing_behind(box: Sandbox, hl: HighLevel) -> None:
    example = load("aiohttp_app")
    await hl.location().invoices.create(samples.invoice())
    app = example.make_app()
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/invoices"
    try:
        async with aiohttp.ClientSession() as browser:
            async with browser.get(url) as answer:
                assert Decimal((await answer.json())[0]["due"]) > 0
            tasks = len(asyncio.all_tasks())
            box.latency = 1.0
            seen = box.count
            for _ in range(5):
                arrived = box.count
                asked = asyncio.create_task(browser.get(url))
                async with asyncio.timeout(30):
                    while box.count == arrived:
                        await asyncio.sleep(0.01)
                asked.cancel()  # the browser hangs up
                await asyncio.wait([asked])
            async with asyncio.timeout(30):
                while box.count < seen + 1 or app[example.CLIENT]._core.transport.in_flight:
                    await asyncio.sleep(0.01)
            client = app[example.CLIENT]
            snapshot = client.governor.scope((client.credentials.principal, box.location_id)).snapshot()
            assert (snapshot.in_flight, snapshot.waiting_interactive) == (0, 0)
            async with asyncio.timeout(30):
                while len(asyncio.all_tasks()) > tasks + 5:  # the sandbox still holds slow answers
                    await asyncio.sleep(0.01)
            box.latency = 0.0
            assert (await browser.get(url)).status == 200
    finally:
        await runner.cleanup()


@pytest.mark.usefixtures("environment")
async def test_the_workers_task_creates_once_however_often_it_runs(
    box: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    example = load("worker")
    draft = Builder(seed=4).estimate(name="Loft 9").to_json()
    await example.broker.startup()
    try:
        ids: set[Any] = set()
        # delivered three times at once, and once more later
        tasks = [await example.create_estimate.kiq(draft, "order-17") for _ in range(3)]
        results = [await task.wait_result(timeout=30) for task in tasks]
        late = await example.create_estimate.kiq(draft, "order-17")
        for result in (*results, await late.wait_result(timeout=30)):
            assert not result.is_err, result.error
            ids.add(result.return_value)
        broken = await (await example.create_estimate.kiq("{}", "order-18")).wait_result(timeout=30)
        assert broken.is_err
        assert "create_estimate order-18 failed" in caplog.text
    finally:
        await example.broker.shutdown()
    assert len(ids) == len(box.ledger.places[box.location_id].estimates) == 1


async def signed_delivery(box: Sandbox, hl: HighLevel, browser: httpx.AsyncClient) -> int:
    """Pay an invoice, and hand the sandbox's delivery to the app; the status that the app answered."""
    answered = []

    async def forward(request: web.Request) -> web.Response:
        answer = await browser.post(
            "/webhooks/highlevel", content=await request.read(), headers=dict(request.headers)
        )
        answered.append(answer.status_code)
        return web.Response(status=200)

    invoice = await hl.location().invoices.create(samples.invoice())
    async with serving(forward) as url:
        box.webhooks.send_to(url)
        await hl.location().invoices.record_payment(invoice.id, RecordPayment(mode="cash"))
        await box.webhooks.settled()
    return answered[0]


class serving:  # noqa: N801 - reads as what it is in an async with
    """One handler on a free loopback port."""

    def __init__(self, handler: Any) -> None:
        self._app = web.Application()
        self._app.router.add_post("/", handler)

    async def __aenter__(self) -> str:
        self._runner = web.AppRunner(self._app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}/"

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
