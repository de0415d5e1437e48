"""A client as others write it, for tests of the sandbox that must not depend on ours."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from typing import Any

import aiohttp

from hl_async.sandbox import Sandbox


class Plain:
    """A client as others write it: default aiohttp, JSON in and out."""

    def __init__(self, box: Sandbox, session: aiohttp.ClientSession) -> None:
        self.box, self.session = box, session
        self.headers = {"Authorization": f"Bearer {box.token}", "Version": "2021-07-28"}
        self.alt = {"altId": box.location_id, "altType": "location"}

    async def __call__(self, method: str, path: str, **options: Any) -> tuple[int, Any, Any]:
        headers = {**self.headers, **options.pop("headers", {})}
        headers = {name: value for name, value in headers.items() if value is not None}
        async with self.session.request(method, self.box.url + path, headers=headers, **options) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text.startswith(("{", "[")) else text, answer.headers


SEND = {"action": "send_manually", "liveMode": True, "userId": "u1"}


def line(**changes: Any) -> dict[str, Any]:
    return {"name": "Cabinets", "currency": "USD", "amount": 9.99, "qty": 3, "type": "one_time"} | changes


def estimate(**changes: Any) -> dict[str, Any]:
    body = {
        "name": "Kitchen", "title": "ESTIMATE", "currency": "USD", "items": [line()],
        "discount": {"value": 0, "type": "percentage"}, "businessDetails": {}, "frequencySettings": {"enabled": False},
        "contactDetails": {"id": "c1", "name": "Alex", "phoneNo": "+12145596993", "email": "alex@example.com"},
        "issueDate": datetime.now(UTC).date().replace(day=1).isoformat(), "expiryDate": "2040-12-31",
    }  # fmt: skip
    return without_none(body | changes)


def invoice(**changes: Any) -> dict[str, Any]:
    body = estimate(sentTo={"email": ["alex@example.com"]}, liveMode=False, dueDate="2040-12-31")
    del body["frequencySettings"], body["expiryDate"]
    return without_none(body | changes)


def without_none(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in copy.deepcopy(body).items() if value is not None}


class Shop(Plain):
    """The plain client with the location in the right place."""

    async def post(self, path: str, body: dict[str, Any], method: str = "POST") -> tuple[int, Any]:
        status, answer, _ = await self(method, path, json={**self.alt, **body})
        return status, answer

    async def put(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        return await self.post(path, body, "PUT")

    async def get(self, path: str, **query: str) -> tuple[int, Any]:
        status, answer, _ = await self("GET", path, params={**self.alt, **query})
        return status, answer

    async def made(self, path: str = "/invoices/estimate", body: dict[str, Any] | None = None) -> Any:
        status, answer = await self.post(path, estimate() if body is None else body)
        assert status in (200, 201), answer
        return answer

    async def list(self, path: str, **query: str) -> Any:
        return (await self.get(path, limit="50", offset="0", **query))[1]
