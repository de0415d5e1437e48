"""Whatever a client sends, the sandbox answers with a refusal or a result, never with a crash of its own."""

from __future__ import annotations

import json
import random
from typing import Any

import aiohttp
import pytest

import samples
from hl_async.models.codec import encode
from hl_async.operations import OPERATIONS
from hl_async.sandbox import Fault, Sandbox

JUNK: tuple[Any, ...] = (
    None, True, 0, -1, 1e30, "", "x", "é" * 300, [], [1], {}, {"a": 1}, "2026-13-45", [None], [{}], 10**40, "1e999",
    {"id": None}, {"value": []}, {"validOnProductIds": 5}, "9" * 5000,
)  # fmt: skip
GOOD = {
    "create-new-estimate": samples.estimate(), "update-estimate": samples.estimate(), "create-invoice": samples.invoice(),
    "update-invoice": samples.invoice(), "create-invoice-template": samples.invoice_template(),
    "create-estimate-template": samples.estimate_template(), "create-invoice-schedule": samples.schedule(),
    "text2pay-invoice": samples.text2pay(),
}  # fmt: skip
FIELDS = (
    "amount", "mode", "action", "schedule", "discount", "items", "taxes", "card", "userId", "markAsInvoiced", "currency",
    "invoiceItems", "dueDate", "issueDate", "paymentMethods", "lateFeesConfiguration", "autoPayment", "sentTo", "productId",
)  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.untraced
async def test_junk_in_any_field_of_any_operation_is_refused_or_taken(box: Sandbox, seed: int) -> None:
    dice = random.Random(seed)
    alt = {"altId": box.location_id, "altType": "location"}
    good = {name: json.loads(encode(body)) for name, body in GOOD.items()}
    headers = {"Authorization": f"Bearer {box.token}", "Version": "2021-07-28"}
    async with aiohttp.ClientSession(box.url, headers=headers) as session:
        ids = ["none"]
        for name in ("create-new-estimate", "create-invoice"):
            async with session.post(OPERATIONS[name].path, json={**good[name], **alt}) as answer:
                ids.append((await answer.json())["_id"])
        for _ in range(500):
            row = dice.choice(list(OPERATIONS.values()))
            path = row.expand(*(dice.choice(ids) for _ in row.params))
            body: dict[str, Any] = {**good.get(row.name, {}), **alt}
            for _ in range(dice.randrange(4)):
                lines = body.get("items")
                target = body
                if isinstance(lines, list) and lines and isinstance(lines[0], dict) and dice.random() < 0.5:
                    target = dict(lines[0])
                    body["items"] = [target]
                field = dice.choice([*target, *FIELDS])
                if not field.startswith("alt"):
                    target[field] = dice.choice(JUNK)
            query = {
                **alt,
                **{
                    name: str(dice.choice(JUNK))[:5000]
                    for name in dice.sample(("limit", "offset", "status", "skip", "startAt"), 2)
                },
            }
            reading = row.method in ("GET", "DELETE")
            sent = {"params": query} if reading else {"json": body}
            async with session.request(row.method, path, **sent) as answer:  # type: ignore[arg-type]
                assert answer.status < 500, (row.name, sent)


async def test_a_day_that_is_spent_begins_anew_on_the_next() -> None:
    async with Sandbox(daily=2) as box, aiohttp.ClientSession(box.url) as session:
        headers = {"Authorization": f"Bearer {box.token}", "Version": "2021-07-28"}
        path = f"/invoices/estimate/number/generate?altId={box.location_id}&altType=location"

        async def status() -> int:
            async with session.get(path, headers=headers) as answer:
                return answer.status

        assert [await status() for _ in range(3)] == [200, 200, 429]
        box.clock.advance(86_400)
        assert await status() == 200


async def test_a_reset_is_a_reset_and_not_an_orderly_end(box: Sandbox) -> None:
    box.faults.script("*", Fault.RESET_AFTER_COMMIT)
    headers = {"Authorization": f"Bearer {box.token}", "Version": "2021-07-28"}
    body = {**json.loads(encode(samples.estimate())), "altId": box.location_id, "altType": "location"}
    async with aiohttp.ClientSession(box.url, headers=headers) as session:
        with pytest.raises(aiohttp.ClientOSError, match="reset"):
            await session.post("/invoices/estimate", json=body)
