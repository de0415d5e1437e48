"""What a person at a terminal gets: colours, a help as wide as the screen, tables, completion, a proxy."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_cli import Served, bodies, serving
from test_cli_help import on_a_terminal

from hl_async.bulk.sources.guessing import guess_mapping
from hl_async.cli import colours, tables
from hl_async.cli.app import run
from hl_async.cli.exits import ExitCode
from warm import warm_command

TERMINAL = {"TERM": "xterm-256color", "NO_COLOR": ""}


@pytest.fixture(scope="module")
def shared() -> Iterator[Served]:
    with serving() as served:
        yield served


@pytest.fixture
def served(shared: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Served:
    for name, value in shared.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    shared.control("reset", {})
    return shared


def completed(line: str) -> list[str]:
    """The words that bash would offer at the end of a line."""
    words = line.split(" ")
    environ = {
        **os.environ,
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
        "_HL_ASYNC_COMPLETE": "bash_complete",
    }
    done = subprocess.run(warm_command(), env=environ, capture_output=True, text=True, check=True)
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


def test_an_error_is_red_and_a_verdict_has_its_colour_on_a_terminal() -> None:
    assert "\x1b[31m\x1b[1merror:\x1b[0m" in on_a_terminal(["migrat"], 80, **TERMINAL)
    assert "\x1b" not in on_a_terminal(["migrat"], 80, **{**TERMINAL, "NO_COLOR": "1"})
    assert "\x1b" not in on_a_terminal(["migrat"], 80, **{**TERMINAL, "TERM": "dumb"})


@pytest.mark.parametrize(
    ("line", "colour"),
    [
        ("verified: 3 documents", 32),
        ("2 differences; 1 as sent:", 31),
        ("1 difference; 1 as sent:", 31),
        ("  missing    A-1 65a", 31),
        ("note: the run is not complete", 33),
        ("kept 3 documents: no longer drafts", 33),
        ("deleted 2 drafts", 32),
        ("failed  token  rejected", 31),
    ],
)
def test_a_verdict_is_painted_by_its_first_words(
    line: str, colour: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(colours, "is_coloured", lambda stream: True)
    assert colours.painted(line, sys.stdout).startswith(f"\x1b[{colour}m")
    assert re.sub(r"\x1b\[\d+m", "", colours.painted(line, sys.stdout)) == line


@pytest.mark.parametrize("columns", [80, 120, 160])
def test_help_is_as_wide_as_the_terminal(columns: int) -> None:
    lines = on_a_terminal(["--help"], columns, COLUMNS="").splitlines()
    assert columns - 15 <= max(map(len, lines)) <= columns


def test_a_list_is_printed_as_a_table(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    bodies(Path.cwd(), 3)
    assert run(["migrate", "export.ndjson"]) == ExitCode.OK
    capsys.readouterr()
    assert run(["call", "estimates.list", "--format", "table"]) == ExitCode.OK
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["_id", "estimateNumber", "name"]
    assert len(rows) == 3
    assert run(["call", "estimates.list", "--all", "--format", "table", "-q", "limit=2"]) == ExitCode.OK
    assert len(capsys.readouterr().out.splitlines()) == 4
    assert run(["call", "estimates.generate_number", "--format", "table"]) == ExitCode.OK
    assert re.search(r"^estimateNumber +4$", capsys.readouterr().out, re.MULTILINE)
    assert run(["call", "estimates.generate_number", "--format", "json"]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out)["estimateNumber"] == 4


def test_a_table_shows_what_says_most_and_counts_the_rest() -> None:
    documents = [{"_id": "a", "items": [1, 2], "total": 5, "paid": True}, {"_id": "b", "total": None}]
    assert tables.columns_of(documents) == ["_id", "total"]
    assert tables.columns_of([{"foo": 1, "bar": ""}, {"baz": []}]) == ["foo"]
    cells = [tables.cell(value) for value in (None, True, [1, 2], {"a": 1}, "2026-01-02T03:04:05.000Z", "x")]
    assert cells == ["", "yes", "2 entries", "1 fields", "2026-01-02 03:04", "x"]


def test_a_proxy_is_used_for_every_request_and_named_when_it_fails(
    served: Served, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HL_PROXY", "")
    assert run(["--proxy", "http://127.0.0.1:9", "call", "estimates.generate_number"]) == ExitCode.API
    assert "cannot connect to the proxy 127.0.0.1:9: connection refused (" in capsys.readouterr().err
    assert run(["--proxy", "localhost:3128", "call", "estimates.list"]) == ExitCode.USAGE
    assert "--proxy: is not a web address; give something like http://HOST:PORT" in capsys.readouterr().err


def test_runs_operations_and_accounts_are_completed(
    served: Served, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bodies(Path.cwd(), 1)
    assert run(["migrate", "export.ndjson"]) == ExitCode.OK
    Path("notes.db").write_text("not a journal")
    Path("letters").mkdir()
    runs = ["export.ndjson", "export.ndjson.hl.db"]
    for command in ("verify", "rollback", "rejects", "status", "migrate --resume"):
        assert completed(f"hl-async {command} ") == runs
    assert completed("hl-async verify letters/") == ["letters/"], "the shell completes files itself"
    assert completed("hl-async call estimates.cr") == ["estimates.create", "estimates.create_invoice"]
    assert completed("hl-async call create-new") == ["create-new-estimate"]
    monkeypatch.setenv("HL_PROFILES", str(Path("profiles.toml").resolve()))
    assert completed("hl-async --profile ") == []
    Path("profiles.toml").write_text('[shop-a]\nlocation_id = "x"\n[other]\n')
    assert completed("hl-async --profile sh") == ["shop-a"]
    assert completed("hl-async account remove ") == ["shop-a", "other"]


def test_the_demo_names_only_files_that_are_there(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from hl_async.cli.demo import _next_steps

    assert not any("migrate" in line for line in _next_steps(None))
    kept = "\n".join(_next_steps(tmp_path))
    assert f"migrate {tmp_path / 'export.csv'} --map {tmp_path / 'mapping.toml'} --dry-run" in kept


def test_the_status_of_a_stopped_run_ends_on_a_terminal_and_says_how_to_continue(served: Served) -> None:
    """Nothing would change on the screen, and a person would wait for it."""
    Path("a.csv").write_text(
        "Order,Date,Customer,Email,Item,Price\n1,2024-12-31,Al,al@example.com,Door,9.99\n"
    )
    Path("a.toml").write_text(guess_mapping(Path("a.csv")))
    assert run(["migrate", "a.csv", "--map", "a.toml"]) == ExitCode.OK
    with sqlite3.connect("a.csv.hl.db") as journal:  # as if the process had ended before it
        journal.execute("update item set state = 'planned', document = null")
    journal.close()
    shown = on_a_terminal(["status", "a.csv"], 100)
    assert "no process works on it; continue with: hl-async migrate --resume a.csv.hl.db" in shown


def test_a_wait_is_explained_whole_below_the_bar_on_a_narrow_terminal() -> None:
    program = """
import time
from hl_async.bulk.reports import Progress
from hl_async.cli.progress import progress
with progress("done", False) as show:
    show(Progress(247, 260, created=247, rejected=2, ambiguous=13, rate=2.0, eta=5.0, note="settling", until=time.time() + 60))
"""
    shown = on_a_terminal(["-c", program], 60, program=[sys.executable])
    words = " ".join(shown.split())
    assert "247/260 · 2 rejected" in words
    assert "(60 s) to learn whether 13 unanswered requests took effect" in words
