"""The README's first program against the sternest sandbox there is."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from hl_async.sandbox import RULES, Quirks, Sandbox

README = Path(__file__).parents[2] / "README.md"


@pytest.mark.untraced
async def test_the_first_example_passes_the_sternest_sandbox(tmp_path: Path) -> None:
    text = await asyncio.to_thread(README.read_text, "utf-8")
    program = text.split("```python app.py\n", 1)[1].split("```", 1)[0]
    every_rule = [rule.name for rule in RULES]
    async with Sandbox(quirks=Quirks.sternest(), rules_on=every_rule, customer_accepts=True) as box:
        settings = {"HL_BASE_URL": box.url, "HL_TOKEN": box.token, "HL_LOCATION_ID": box.location_id}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, env={**os.environ, **settings}, cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        said = (await process.communicate())[0].decode()
        assert process.returncode == 0, said
        assert "29.97" in said
        assert [one["source"] for one in box.ledger.invoices()] == ["estimate"]
        assert all(one.status < 400 for one in box.requests)
