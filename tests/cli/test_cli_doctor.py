"""``hl-async doctor``: what a person learns before a job."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from hl_async.cli.app import run
from hl_async.cli.doctor import CheckVerdict, clock_finding, folder_finding
from hl_async.cli.exits import ExitCode
from hl_async.sandbox import Sandbox
from hl_async.testing.serving import served


@pytest.fixture
def box(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    with served() as box:
        for name, value in {"TOKEN": box.token, "BASE_URL": box.url, "LOCATION_ID": box.location_id}.items():
            monkeypatch.setenv(f"HL_{name}", value)
        yield box


def findings(capsys: pytest.CaptureFixture[str]) -> dict[str, tuple[str, str]]:
    return {one["check"]: (one["verdict"], one["text"]) for one in json.loads(capsys.readouterr().out)}


def test_a_usable_account_passes_and_nothing_is_changed(
    box: Sandbox, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(["doctor", "--json", "--folder", str(tmp_path)]) == ExitCode.OK
    found = findings(capsys)
    assert found["estimates.list"] == ("ok", "the token has invoices/estimate.readonly")
    assert found["clock"][0] == "ok"
    assert "requests in" in found["rate budget"][1]
    assert box.token not in str(found)
    assert {record.method for record in box.requests} <= {"GET", "POST"}
    assert all(record.method == "GET" or record.operation.endswith("-advanced") for record in box.requests)


def test_a_refused_token_is_said_once_with_its_exit_code(
    box: Sandbox, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HL_TOKEN", "pit-5ent1nel-wrong")
    assert run(["doctor", "--json"]) == ExitCode.AUTH
    found = findings(capsys)
    assert found["estimates.list"][0] == "failed"
    assert "invoices.list" not in found
    assert "5ent1nel" not in str(found)


def test_a_server_out_of_reach_is_named(
    box: Sandbox, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(["doctor", "--json", "--base-url", "http://127.0.0.1:9"]) == ExitCode.API
    assert json.loads(capsys.readouterr().out)[-2]["check"] == "server"


def test_missing_credentials_are_found_without_a_request(
    box: Sandbox, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HL_TOKEN")
    assert run(["doctor"]) == ExitCode.AUTH
    assert "HL_TOKEN is not set" in capsys.readouterr().out
    assert not box.requests


@pytest.mark.parametrize(
    ("date", "verdict"),
    [
        ("Sun, 29 Nov 2026 08:00:00 GMT", CheckVerdict.GOOD),
        ("Sun, 29 Nov 2026 08:05:00 GMT", CheckVerdict.WARNING),
        (None, CheckVerdict.UNKNOWN),
        ("tomorrow", CheckVerdict.UNKNOWN),
    ],
)
def test_a_clock_is_judged_by_the_servers_date(date: str | None, verdict: CheckVerdict) -> None:
    assert clock_finding(date, 1795939201.0).verdict is verdict


def test_a_folder_that_is_not_one_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert folder_finding(tmp_path / "file").verdict is CheckVerdict.BAD
    assert folder_finding(tmp_path).verdict is CheckVerdict.GOOD


def test_a_folder_that_takes_no_file_is_found_although_its_permissions_allow_it() -> None:
    """The file system of processes shows its folders as writable, to root too."""
    proc = Path("/proc")
    if not proc.is_dir():
        pytest.skip("this system has no /proc")
    found = folder_finding(proc)
    assert found.verdict is CheckVerdict.BAD and "not writable" in found.text


def test_a_missing_location_and_unusable_settings_are_lines_of_the_report(
    box: Sandbox, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(["doctor", "--json", "--base-url", "http://[x"]) == ExitCode.USAGE
    assert findings(capsys)["settings"][0] == "failed"
    for proxy in ("nonsense", "http://127.0.0.1:80000", "socks5://127.0.0.1:9"):
        monkeypatch.setenv("HL_PROXY", proxy)
        assert run(["doctor", "--json"]) == ExitCode.USAGE
        assert "proxy: is not a " in findings(capsys)["settings"][1]
    monkeypatch.delenv("HL_PROXY")
    monkeypatch.delenv("HL_LOCATION_ID")
    assert run(["doctor", "--json"]) == ExitCode.USAGE
    found = findings(capsys)
    assert found["location"] == ("failed", "HL_LOCATION_ID is not set; export it, or give --location ID")
    assert found["python"][0] == "ok" and not box.requests


def test_the_location_of_another_account_is_refused_once(
    box: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["doctor", "--json", "--location", "another0000000000"]) == ExitCode.API
    found = findings(capsys)
    assert found["estimates.list"] == ("failed", "403 The token does not have access to this location.")
    assert "invoices.list" not in found
