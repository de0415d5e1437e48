"""The console in headless Chromium; skipped where there is no Chromium."""

from __future__ import annotations

from pathlib import Path

import pytest

from browser import CHROMIUM, chromium
from hl_async import HighLevel
from hl_async.sandbox import Sandbox
from hl_async.testing.builders import Builder

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed here")


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
            if path == "requests":
                table = "document.querySelector('.scroll')"
                assert await tab.evaluate(f"{table}.scrollWidth <= {table}.clientWidth"), "columns are cut"
            assert await tab.evaluate(unlabelled) == 0
            assert await tab.evaluate("document.querySelectorAll('h1').length") == 1
        assert {url.startswith((box.url, "about:", "data:")) for url in tab.requests} == {True}
        assert [one for one in tab.problems if "favicon" not in one] == []
