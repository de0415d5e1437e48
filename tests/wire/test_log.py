"""Promises of the package's log: it speaks by itself, and shows no secret."""

from __future__ import annotations

import asyncio
import logging
import sys

import pytest

from hl_async import HighLevel
from hl_async.config import environment_with
from hl_async.sandbox import Sandbox
from hl_async.testing import faults

PROGRAM = """
import asyncio
from hl_async import HighLevel

async def main():
    async with HighLevel.from_env() as hl:
        await hl.location().estimates.generate_number()

asyncio.run(main())
"""


async def errors_of(box: Sandbox, level: str) -> tuple[int, str]:
    settings = {
        "HL_TOKEN": box.token, "HL_BASE_URL": box.url, "HL_LOCATION_ID": box.location_id, "HL_LOG": level,
    }  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, env=environment_with(settings), stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    return process.returncode or 0, said.decode()


async def test_retries_and_throttling_are_logged_at_warning_without_an_observer(
    box: Sandbox, hl: HighLevel, caplog: pytest.LogCaptureFixture
) -> None:
    with faults.throttled(box, "estimates.generate_number"):
        await hl.location().estimates.generate_number()
    with faults.unreachable_next(box, "GENERATE_ESTIMATE_NUMBER"):
        await hl.location().estimates.generate_number()
    lines = [record.getMessage() for record in caplog.records if record.name == "hl_async"]
    assert {record.levelname for record in caplog.records} == {"WARNING"}
    assert f"{box.location_id} answered 429; its requests pause for" in lines[0]
    assert "estimates.generate_number: request 1 failed (rate limit)" in lines[1]
    assert "estimates.generate_number: request 1 failed (ConnectionLost); sending it again in" in lines[2]


async def test_calls_are_logged_at_debug_with_operation_attempt_and_status(
    hl: HighLevel, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "hl_async"):
        await hl.location().estimates.generate_number()
    assert "estimates.generate_number: request 1: GET to 127.0.0.1: status 200 in" in caplog.text
    assert "estimates.generate_number: ok after 1 request" in caplog.text
    caplog.clear()
    await hl.location().estimates.generate_number()
    assert caplog.records == []


async def test_hl_log_prints_the_log_on_stderr_and_no_token(box: Sandbox) -> None:
    code, said = await errors_of(box, "debug")
    assert code == 0
    assert "DEBUG hl_async: estimates.generate_number: ok after 1 request" in said
    assert box.token not in said
    with faults.unreachable_next(box, "generate-estimate-number"):
        code, said = await errors_of(box, "INFO")
    assert code == 0
    assert "WARNING hl_async: estimates.generate_number: request 1 failed" in said
    assert "DEBUG" not in said


async def test_without_hl_log_nothing_is_printed(box: Sandbox) -> None:
    with faults.unreachable_next(box, "generate-estimate-number"):
        assert await errors_of(box, "") == (0, "")


async def test_an_unknown_level_of_hl_log_is_refused(box: Sandbox) -> None:
    code, said = await errors_of(box, "loud")
    assert code == 1
    assert "HL_LOG: 'loud' is not a level; use debug, info, warning, error" in said
