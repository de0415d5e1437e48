"""A client as others write it, for tests of the sandbox that must not depend on ours."""

from __future__ import annotations

import json
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
