"""One page of headless Chromium, driven by the DevTools protocol, and axe-core on what it shows."""

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

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--remote-debugging-port=0",
)  # fmt: skip
AXE = os.environ.get("HL_AXE")
"""The path of axe-core's script, which this repository does not hold; `.ci/run` fetches it."""
KEYS = {"Tab": 9, "Enter": 13, "End": 35, "ArrowDown": 40}


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

    async def show_at(self, width: int, *, dark: bool = False) -> None:
        """Give the page a width in pixels, and the colour scheme that its reader prefers."""
        await self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False
        )
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        await self.ask("Emulation.setEmulatedMedia", features=scheme)

    async def picture(self, path: Path, width: int, *, dark: bool = False) -> None:
        await self.show_at(width, dark=dark)
        data = (await self.ask("Page.captureScreenshot", format="png"))["data"]
        await asyncio.to_thread(path.write_bytes, base64.b64decode(data))

    async def violations(self) -> list[str]:
        """Return what axe-core objects to on the page."""
        assert AXE is not None
        if await self.evaluate("typeof axe") != "object":
            await self.evaluate(await asyncio.to_thread(Path(AXE).read_text, "utf-8"))
        found = await self.ask(
            "Runtime.evaluate",
            expression="axe.run().then(r => r.violations.map(v => v.id + ': ' + v.nodes[0].html))",
            awaitPromise=True,
            returnByValue=True,
        )
        objections: list[str] = found["result"]["value"]
        return objections


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
