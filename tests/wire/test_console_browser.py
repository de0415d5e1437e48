"""The console in headless Chromium, by keyboard alone; skipped where there is no Chromium."""

from __future__ import annotations

import asyncio
import base64
import itertools
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from hl_async import HighLevel
from hl_async.sandbox import Sandbox
from hl_async.testing.builders import Builder

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--remote-debugging-port=0",
)  # fmt: skip
KEYS = {"Tab": 9, "Enter": 13, "End": 35, "ArrowDown": 40}

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed here")


class Tab:
    """One page, driven by the DevTools protocol."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self.session = ""
        self.requests: list[str] = []
        self.problems: list[str] = []

    async def ask(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._ids)
        message = {"id": number, "method": method, "params": params}
        await self._socket.send_json(message | ({"sessionId": self.session} if self.session else {}))
        while True:
            heard = await self._socket.receive_json(timeout=15)
            self._note(heard)
            if heard.get("id") == number:
                assert "error" not in heard or method == "Runtime.evaluate", heard
                return heard.get("result", {})

    def _note(self, heard: dict[str, Any]) -> None:
        params = heard.get("params", {})
        if heard.get("method") == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif heard.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown"):
            self.problems.append(str(params))

    async def evaluate(self, script: str) -> Any:
        found = await self.ask("Runtime.evaluate", expression=script, returnByValue=True)
        return found.get("result", {}).get("value")  # nothing while a page goes and the next one comes

    async def go(self, url: str) -> None:
        await self.evaluate("window.old = true")
        await self.ask("Page.navigate", url=url)
        await self.arrive()

    async def arrive(self) -> None:
        """Wait until another page than the marked one is complete."""
        async with asyncio.timeout(10):
            while await self.evaluate("window.old ? '' : document.readyState") != "complete":
                await asyncio.sleep(0.02)

    async def follow(self, wanted: str) -> None:
        """Go to a link or button by Tab, and press Enter."""
        await self.tab_to(wanted)
        await self.evaluate("window.old = true")
        await self.press("Enter")
        await self.arrive()

    async def press(self, key: str) -> None:
        code = KEYS[key]
        extra = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            await self.ask(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **extra
            )

    async def tab_to(self, wanted: str) -> None:
        """Press Tab until what has the focus says ``wanted``."""
        for _ in range(60):
            await self.press("Tab")
            if (
                await self.evaluate(
                    "(document.activeElement.innerText || document.activeElement.name || '').trim()"
                )
                == wanted
            ):
                assert await self.evaluate("document.activeElement.matches(':focus-visible')")
                return
        raise AssertionError(f"{wanted!r} is not reached by keyboard")

    async def picture(self, path: Path, width: int, *, dark: bool = False) -> None:
        await self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False
        )
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        await self.ask("Emulation.setEmulatedMedia", features=scheme)
        data = (await self.ask("Page.captureScreenshot", format="png"))["data"]
        await asyncio.to_thread(path.write_bytes, base64.b64decode(data))


@asynccontextmanager
async def chromium(folder: Path) -> AsyncIterator[Tab]:
    assert CHROMIUM is not None
    process = await asyncio.create_subprocess_exec(
        CHROMIUM, *FLAGS, f"--user-data-dir={folder}", "about:blank",
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        address = ""
        async with asyncio.timeout(20):
            while not address:
                line = (await process.stderr.readline()).decode()
                assert line, "Chromium ended"
                address = line.partition("listening on ")[2].strip()
        async with aiohttp.ClientSession() as session, session.ws_connect(address, max_msg_size=0) as socket:
            tab = Tab(socket)
            target = (await tab.ask("Target.createTarget", url="about:blank"))["targetId"]
            tab.session = (await tab.ask("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
            for domain in ("Page", "Network", "Log", "Runtime"):
                await tab.ask(f"{domain}.enable")
            yield tab
    finally:
        process.kill()
        await process.communicate()


async def axe_finds_nothing(tab: Tab, page: str) -> None:
    """Run axe-core on the page; ``HL_AXE`` is the path of its script, which this repository does not hold."""
    script = os.environ.get("HL_AXE")
    if script is None:
        return
    await tab.evaluate(await asyncio.to_thread(Path(script).read_text, "utf-8"))
    found = await tab.ask(
        "Runtime.evaluate",
        expression="axe.run().then(r => r.violations.map(v => v.id + ': ' + v.nodes[0].html))",
        awaitPromise=True,
        returnByValue=True,
    )
    assert found["result"]["value"] == [], page


async def test_a_keyboard_is_enough_and_nothing_comes_from_elsewhere(
    box: Sandbox, hl: HighLevel, tmp_path: Path
) -> None:
    made = await hl.location().estimates.create(Builder(seed=3).estimate(name="Kitchen by keyboard"))
    async with chromium(tmp_path / "profile") as tab:
        await tab.go(f"{box.url}/_console/")
        await tab.press("Tab")
        assert await tab.evaluate("document.activeElement.className") == "skip"
        await tab.follow(box.location_id)
        await tab.follow("Kitchen by keyboard")
        assert made.id in await tab.evaluate("location.href")
        assert await tab.evaluate("document.querySelector('.paper h1').innerText.endsWith('EST-1')")
        await tab.follow("Faults")
        await tab.follow("Expire all access tokens")
        assert "have expired" in await tab.evaluate("document.querySelector('[role=status]').innerText")
        unlabelled = "[...document.querySelectorAll('input:not([type=hidden]),select')].filter(e => !e.labels.length).length"
        assert await tab.evaluate(unlabelled) == 0
        pages = {
            "overview": "", "location": f"location/{box.location_id}", "requests": "requests", "request": "requests/1",
            "faults": "faults", "webhooks": "webhooks", "outbox": "outbox",
            "estimate": f"location/{box.location_id}/estimates/{made.id}",
        }  # fmt: skip
        for path in pages.values():
            await tab.ask(
                "Emulation.setDeviceMetricsOverride", width=390, height=800, deviceScaleFactor=1, mobile=False
            )
            await tab.go(f"{box.url}/_console/{path}")
            assert await tab.evaluate("document.documentElement.scrollWidth <= 390"), (
                f"{path} is wider than a phone"
            )
            assert await tab.evaluate(unlabelled) == 0
            assert await tab.evaluate("document.querySelectorAll('h1').length") == 1
            await axe_finds_nothing(tab, path)
        assert {url.startswith((box.url, "about:", "data:")) for url in tab.requests} == {True}
        assert [one for one in tab.problems if "favicon" not in one] == []
        folder = os.environ.get("HL_SCREENSHOTS")
        if folder:
            for name, path in pages.items():
                await tab.go(f"{box.url}/_console/{path}")
                for width, dark in ((1280, False), (1280, True), (390, False)):
                    await tab.picture(
                        Path(folder) / f"{name}-{width}{'-dark' if dark else ''}.png", width, dark=dark
                    )
