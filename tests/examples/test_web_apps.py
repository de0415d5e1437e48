"""The examples of web apps and workers run, against a sandbox over real sockets."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

import aiohttp
import httpx
import pytest
from aiohttp import web

import samples
from hl_async import HighLevel
from hl_async.models import RecordPayment
from hl_async.models.codec import encode
from hl_async.sandbox import Sandbox
from hl_async.testing.builders import Builder

EXAMPLES = Path(__file__).parents[2] / "examples"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"examples_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def environment(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
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
async def test_the_workers_task_creates_once_however_often_it_runs(box: Sandbox) -> None:
    example = load("worker")
    draft = encode(Builder(seed=4).estimate(name="Loft 9")).decode()
    await example.broker.startup()
    try:
        ids: set[Any] = set()
        for _ in range(3):
            task = await example.create_estimate.kiq(draft, "order-17")
            result = await task.wait_result(timeout=30)
            assert not result.is_err, result.error
            ids.add(result.return_value)
    finally:
        await example.broker.shutdown()
    assert len(ids) == len(box.ledger.places[box.location_id].estimates) == 1


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
