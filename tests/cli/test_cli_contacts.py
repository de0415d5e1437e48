"""Promises of the contacts options of migrate, rollback and copy."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_cli import Served, serving

from hl_async.cli.app import run

LINE = '{"name":"Door","amount":10}'
DOCUMENTS = [
    '{"source_id":"Q-1","title":"One","currency":"USD","customer":{"name":"Ada","email":"ada@example.com"},"lines":[%s]}',
    '{"source_id":"Q-2","title":"Two","currency":"USD","customer":{"name":"Ben","phone":"+12145596993"},"lines":[%s]}',
    '{"source_id":"Q-3","title":"Three","currency":"USD","customer":{"name":"Di"},"lines":[%s]}',
]


@pytest.fixture(scope="module")
def shared() -> Iterator[Served]:
    with serving(locations=2) as served:
        yield served


@pytest.fixture
def served(shared: Served, monkeypatch: pytest.MonkeyPatch) -> Served:
    shared.control("reset", {})
    for name, value in shared.env.items():
        monkeypatch.setenv(name, value)
    return shared


@pytest.fixture
def source(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Documents of three customers, one of them without a key, in the current folder."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "quotes.ndjson"
    path.write_text("".join(one % LINE + "\n" for one in DOCUMENTS))
    return path


def test_a_checked_dry_run_names_customers_and_writes_a_private_file(
    source: Path, served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["migrate", str(source), "--dry-run", "--max-rejects", "100%"]
    assert run(arguments) == 2
    out = capsys.readouterr().out
    assert "contacts   2 customers to find or create: up to 4 requests of these" in out
    assert served.control("state")["requests"] == 0
    assert run([*arguments, "--check-contacts"]) == 2
    out = capsys.readouterr().out
    assert "contacts   3 customers: 2 new, 1 without e-mail, phone or contact id" in out
    assert "dry run: customers were looked up, nothing was written" in out
    file = source.with_name("quotes.contacts.csv")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert served.control("contacts") == []


def test_an_edited_contacts_file_and_a_fallback_are_inputs(
    source: Path, served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    run(["migrate", str(source), "--dry-run", "--check-contacts", "--max-rejects", "100%"])
    file = source.with_name("quotes.contacts.csv")
    file.write_text(file.read_text().replace(",Ada,", ",Ada Bell,"))
    capsys.readouterr()
    arguments = ["migrate", str(source), "--contacts", str(file), "--match-name", "--settle", "0.2"]
    assert run([*arguments, "--json"]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (report["created"], report["contacts"]["made"]) == (3, 3)
    assert sorted(one["name"] for one in served.control("contacts")) == ["Ada Bell", "Ben", "Di"]
    assert run(["status", f"{source}.hl.db"]) == 0
    assert "contacts          3   3 created" in capsys.readouterr().out
    assert run(["rollback", f"{source}.hl.db", "--yes"]) == 0
    assert "deleted 3 contacts that the run had created" in capsys.readouterr().out
    assert served.control("contacts") == []


def test_contacts_options_that_do_not_fit_are_refused_before_any_request(
    source: Path, served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, problem in (
        (["--check-contacts"], "--check-contacts looks customers up for a --dry-run"),
        (["--fallback-contact", "a/b"], "--fallback-contact"),
        (["--contacts", "none.csv"], "none.csv cannot be read"),
    ):
        assert run(["migrate", str(source), *arguments]) == 1
        assert problem in capsys.readouterr().err
    assert served.control("state")["requests"] == 0


def test_a_copy_makes_contacts_of_its_own_and_carries_no_foreign_id(
    source: Path, served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["migrate", str(source), "--max-rejects", "100%", "--settle", "0.2"]) == 2
    other = served.control("locations", {"timezone": "UTC"})["location_id"]
    capsys.readouterr()
    assert run(["copy", "--from", served.location, "--to", other, "--settle", "0.2", "--json"]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (report["created"], report["contacts"]["made"]) == (2, 2)
    own = {one["id"] for one in served.control(f"contacts?location={other}")}
    assert {one["contactDetails"]["id"] for one in served.control(f"estimates?location={other}")} == own
    assert not own & {one["id"] for one in served.control("contacts")}
