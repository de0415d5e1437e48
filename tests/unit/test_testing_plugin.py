"""The pytest plugin as other people's suites meet it: in a project of its own, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from hl_async.errors import ConfigurationError
from hl_async.sandbox import Sandbox
from hl_async.testing.serving import served

SUITE = """
from urllib.request import Request, urlopen
import json
import pytest

from hl_async.errors import ConfigurationError
from hl_async.testing.serving import served
from hl_async import Lane
from hl_async.errors import OutcomeUnknown, ServerError
from hl_async.testing.builders import Builder
from hl_async.testing.faults import lost_answers, outage

def test_sync(highlevel_sandbox):
    box = highlevel_sandbox
    url = f"{box.url}/invoices/estimate/number/generate?altId={box.location_id}&altType=location"
    request = Request(url, headers={"Authorization": f"Bearer {box.token}", "Version": "2021-07-28"})
    with urlopen(request, timeout=5) as answer:
        assert json.load(answer)["estimateNumber"] == 1
    assert box.count == 1

@pytest.mark.ASYNC
async def test_async(highlevel, highlevel_location, highlevel_sandbox):
    made = await highlevel_location.estimates.create(Builder(seed=1).estimate())
    assert made.id in highlevel_sandbox.ledger.places[highlevel_sandbox.location_id].estimates
    with lost_answers(highlevel_sandbox, "create-new-estimate"):
        with pytest.raises(OutcomeUnknown):
            await highlevel_location.estimates.create(Builder(seed=2).estimate())
    with outage(highlevel_sandbox), pytest.raises(ServerError):
        await highlevel.location().with_options(max_attempts=1).estimates.generate_number()
    assert await highlevel_location.estimates.generate_number()

@pytest.mark.ASYNC
async def test_contact(highlevel_contact, highlevel_location):
    assert await highlevel_location.contacts.find(email=highlevel_contact.email) == highlevel_contact
    draft = Builder(seed=3).estimate(contact_details=highlevel_contact.for_document())
    made = await highlevel_location.estimates.create(draft, once="form-1")
    assert made.contact_details.id == highlevel_contact.id

@pytest.mark.highlevel(rate_max=3, rate_interval=30.0)
@pytest.mark.ASYNC
async def test_settings(highlevel_sandbox, highlevel_location):
    assert highlevel_sandbox.rate_max == 3
    await highlevel_location.estimates.generate_number()
"""


def loaded() -> list[str]:
    """The plugin comes by its entry point; where the package is only on the path, it is named."""
    found = {entry.name for entry in entry_points(group="pytest11")}
    return [] if "hl_async" in found else ["-p", "hl_async.testing.plugin"]


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    if "no:asyncio" not in options:
        (folder / "pytest.ini").write_text("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-W",
        "error",
        "-p",
        "no:cacheprovider",
        *loaded(),
        *options,
    ]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("options", [("-p", "no:anyio"), ("-p", "no:anyio", "-o", "asyncio_mode=auto")])
def test_the_fixtures_work_under_pytest_asyncio_in_any_mode(tmp_path: Path, options: tuple[str, ...]) -> None:
    (tmp_path / "test_own.py").write_text(SUITE.replace("pytest.mark.ASYNC", "pytest.mark.asyncio"))
    done = run(tmp_path, *options)
    assert "4 passed" in done.stdout, done.stdout + done.stderr


def test_the_fixtures_work_under_anyio(tmp_path: Path) -> None:
    backend = "\nimport pytest\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n"
    (tmp_path / "test_own.py").write_text(SUITE.replace("pytest.mark.ASYNC", "pytest.mark.anyio") + backend)
    done = run(tmp_path, "-p", "no:asyncio")
    assert "4 passed" in done.stdout, done.stdout + done.stderr


def test_a_suite_that_uses_nothing_of_it_loads_no_http_library(tmp_path: Path) -> None:
    (tmp_path / "test_own.py").write_text(
        "import sys\ndef test_lean():\n    assert not {'aiohttp', 'hl_async.client', 'hl_async.sandbox'} & set(sys.modules)\n"
    )
    done = run(tmp_path, "-p", "no:anyio", "-p", "no:aiohttp")
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_the_environment_names_the_time_zone_of_a_whole_suite(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HL_SANDBOX_TIMEZONE", "Asia/Kolkata")
    with served() as box:
        assert box.ledger.places[box.location_id].timezone == "Asia/Kolkata"
    with served(timezone="Europe/Lisbon") as box:
        assert box.ledger.places[box.location_id].timezone == "Europe/Lisbon"
    monkeypatch.setenv("HL_SANDBOX_TIMEZONE", "Asia/Nowhere")
    with pytest.raises(ConfigurationError, match="unknown time zone 'Asia/Nowhere'"), served():
        pass


def test_a_location_of_the_fixture_is_not_at_utc(highlevel_sandbox: Sandbox) -> None:
    assert highlevel_sandbox.ledger.places[highlevel_sandbox.location_id].timezone != "UTC"
