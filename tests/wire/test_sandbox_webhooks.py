"""The sandbox's webhooks, received by the package's own router over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal

import pytest
from aiohttp import web

import samples
from hl_async import HighLevel, PrivateToken
from hl_async.errors import ConfigurationError, SignatureInvalid
from hl_async.models import InvoiceSend, RecordPayment
from hl_async.sandbox import Quirks, Sandbox
from hl_async.sandbox.webhooks import RETRY_EVERY, TRIES, pause_before_retry
from hl_async.webhooks import WebhookEvent, parse, verify

SEND = InvoiceSend(user_id="u1", action="email", live_mode=False)


def proved(body: bytes, headers: dict[str, str], key: str) -> WebhookEvent:
    return parse(verify(body, headers, keys=(key,)).body)


class Receiver:
    """Keeps what arrives; answers with the statuses of its script, then with 200."""

    def __init__(self) -> None:
        self.script: list[int] = []
        self.arrived: list[tuple[bytes, dict[str, str]]] = []
        self.url = ""
        self.slow = 0.0

    async def handle(self, request: web.Request) -> web.Response:
        self.arrived.append((await request.read(), dict(request.headers)))
        await asyncio.sleep(self.slow)
        return web.Response(status=self.script.pop(0) if self.script else 200)

    async def count(self, wanted: int) -> None:
        async with asyncio.timeout(30):
            while len(self.arrived) < wanted:
                await asyncio.sleep(0.005)


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/hook", receiver.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    try:
        yield receiver
    finally:
        await runner.cleanup()


async def test_an_invoices_life_is_told_in_signed_events() -> None:
    async with (
        receiving() as receiver,
        Sandbox(rate_max=1000, webhook_url=receiver.url) as box,
        HighLevel(PrivateToken(box.token), base_url=box.url, location_id=box.location_id) as hl,
    ):
        invoices = hl.location().invoices
        made = await invoices.create(samples.invoice())
        await invoices.update(made.id, made.to_update())
        await invoices.send(made.id, SEND)
        await invoices.record_payment(made.id, RecordPayment(mode="cash", amount=Decimal(1)))
        await invoices.record_payment(made.id, RecordPayment(mode="cash"))
        other = await invoices.create(samples.invoice())
        await invoices.delete(other.id)
        third = await invoices.create(samples.invoice())
        await invoices.send(third.id, SEND)
        await invoices.void(third.id)
        await box.webhooks.settled()
        key = box.webhooks.public_key
        events = [proved(body, headers, key) for body, headers in receiver.arrived]
        kinds = sorted(event.type for event in events)
        assert kinds == sorted(
            ["InvoiceCreate"] * 3
            + ["InvoiceUpdate", "InvoiceSent", "InvoiceSent", "InvoicePartiallyPaid", "InvoicePaid"]
            + ["InvoiceDelete", "InvoiceVoid"]
        )
        assert len({event.webhook_id for event in events}) == len(events)
        assert {one.state for one in box.webhooks.log} == {"delivered"}
        body, headers = receiver.arrived[0]
        with pytest.raises(SignatureInvalid):
            verify(body + b" ", headers, keys=(key,))


async def test_an_invoice_is_told_of_also_when_the_answer_leaves_it_out() -> None:
    async with (
        receiving() as receiver,
        Sandbox(rate_max=1000, webhook_url=receiver.url, quirks=Quirks(invoice_in_answer=False)) as box,
        HighLevel(PrivateToken(box.token), base_url=box.url, location_id=box.location_id) as hl,
    ):
        estimate = await hl.location().estimates.create(samples.estimate())
        await samples.accepted(box, hl.location(), estimate.id)
        assert (
            await hl.location().estimates.create_invoice(estimate.id, mark_as_invoiced=True)
        ).invoice is None
        await hl.location().invoices.text2pay(samples.text2pay())
        await box.webhooks.settled()
        assert len(box.webhooks.log) == 2
        box.reset()
        assert box.webhooks.log == []


async def test_an_installation_and_its_end_are_told() -> None:
    async with receiving() as receiver, Sandbox() as box:
        box.webhooks.send_to(receiver.url)
        app = box.add_app()
        box.authorise(app.client_id, box.location_id)
        box.uninstall(app.client_id, box.location_id)
        await receiver.count(2)
        kinds = {proved(body, headers, box.webhooks.public_key).type for body, headers in receiver.arrived}
        assert kinds == {"INSTALL", "UNINSTALL"}


async def test_a_429_is_tried_again_every_ten_minutes_and_at_most_six_times() -> None:
    async with receiving() as receiver, Sandbox(webhook_url=receiver.url) as box:
        receiver.script = [429] * 20
        box.webhooks.announce("InvoiceCreate", {"_id": "x"})
        for tries in range(1, TRIES + 1):
            await receiver.count(tries)
            await box.webhooks.settled()
            box.clock.advance(RETRY_EVERY * 0.85)
            await asyncio.sleep(0.05)
            assert len(receiver.arrived) == tries, "not before ten minutes, give or take a tenth"
            box.clock.advance(RETRY_EVERY * 0.3)
        await asyncio.sleep(0.1)
        assert len(receiver.arrived) == TRIES
        told = [parse(body) for body, _ in receiver.arrived]
        assert len({one.webhook_id for one in told}) == 1, "the same event, under the same id"
        assert len({one.timestamp for one in told}) == TRIES, "dated anew, for the receiver's five minutes"
        assert box.webhooks.log[0].state == "lost"


async def test_settled_waits_for_the_answer_of_a_later_try_too() -> None:
    async with receiving() as receiver, Sandbox(webhook_url=receiver.url) as box:
        receiver.script, receiver.slow = [429, 429], 0.1
        box.webhooks.announce("InvoiceCreate", {"_id": "x"})
        for answers in ([429], [429, 429], [429, 429, 200]):
            await box.webhooks.settled()
            assert box.webhooks.log[0].statuses == answers
            box.clock.advance(RETRY_EVERY * 1.2)


async def test_any_other_failure_is_tried_again_with_growing_pauses_for_three_days() -> None:
    async with receiving() as receiver, Sandbox(webhook_url=receiver.url) as box:
        receiver.script = [500, 503, 404, 200]
        box.webhooks.announce("InvoiceCreate", {"_id": "x"})
        for tries, pause in enumerate((60, 120, 240), 1):
            await receiver.count(tries)
            await box.webhooks.settled()
            box.clock.advance(pause * 0.85)
            await asyncio.sleep(0.05)
            assert len(receiver.arrived) == tries
            box.clock.advance(pause * 0.3)
        await receiver.count(4)
        await box.webhooks.settled()
        assert box.webhooks.log[0].statuses == [500, 503, 404, 200]
        assert box.webhooks.log[0].state == "delivered"


def test_a_delivery_is_given_up_after_three_days_and_a_429_keeps_its_six_tries() -> None:
    elapsed, statuses = 0.0, [0]
    while (pause := pause_before_retry(statuses, elapsed)) is not None:
        elapsed += pause
        statuses.append(500)
    assert 1.5 * 86_400 < elapsed <= 3 * 86_400
    assert pause_before_retry([429] * 6, 0) == RETRY_EVERY
    assert pause_before_retry([429] * 7, 0) is None
    assert pause_before_retry([500, 200], 0) is None


async def test_no_call_notices_a_receiver_that_fails() -> None:
    async with (
        receiving() as receiver,
        Sandbox(rate_max=1000) as box,
        HighLevel(PrivateToken(box.token), base_url=box.url, location_id=box.location_id) as hl,
    ):
        box.webhooks.send_to(receiver.url)
        box.webhooks.send_to("http://127.0.0.1:9/nobody")
        receiver.script = [500]
        assert (await hl.location().invoices.create(samples.invoice())).id
        await box.webhooks.settled()
        assert [one.statuses for one in box.webhooks.log] == [[500], [0]]
        assert {one.state for one in box.webhooks.log} == {"waiting"}


def test_nothing_is_sent_away_from_this_machine_unless_told_twice() -> None:
    for url, problem in (
        ("http://example.com/hook", "not a loopback address"),
        ("ftp://127.0.0.1/", "not a web address"),
    ):
        with pytest.raises(ConfigurationError, match=problem):
            Sandbox(webhook_url=url)
    box = Sandbox(webhook_url="https://example.com/hook", allow_remote=True)
    assert box.webhooks.receivers == ["https://example.com/hook"]
