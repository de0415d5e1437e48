"""What the command line says to people: help that teaches, errors that say what to do next, lines that fit."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import shlex
import struct
import subprocess
import termios
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from test_cli import Served, bodies, serving

from hl_async.cli import app
from hl_async.cli.app import run
from hl_async.cli.exits import ExitCode
from hl_async.operations import OPERATIONS
from warm import warm_command

COMMANDS = ["auth login", *(name for name in sorted(app._COMMANDS) if name != "auth")]


@pytest.fixture(scope="module")
def shared() -> Iterator[Served]:
    with serving() as served:
        yield served


@pytest.fixture
def served(shared: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Served:
    for name, value in shared.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return shared


def on_a_terminal(arguments: list[str], columns: int, *, program: Sequence[str] = (), **env: str) -> str:
    """What a terminal of so many columns shows of a program, standard output and error together."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    process = subprocess.Popen(
        [*(program or warm_command()), *arguments],
        stdout=theirs,
        stderr=theirs,
        stdin=theirs,
        env={**os.environ, **env},
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the last writer is gone
            break
        if not part:
            break
        shown += part
    os.close(ours)
    process.wait(60)
    text = shown.decode().replace("\r\n", "\n")
    return text if "NO_COLOR" in env else re.sub(r"\x1b\[[\d;]*m", "", text)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_every_command_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*command.split(), "--help"]) == ExitCode.OK
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    assert f"hl-async {command}" in text.partition("Options:")[0].partition("\n\n")[2]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_example_of_the_help_names_commands_and_options_that_exist(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run([*command.split(), "--help"])
    text = capsys.readouterr().out
    for line in re.findall(rf"^  (hl-async {command} .*)$", text.partition("Options:")[0], re.MULTILINE):
        for option in re.findall(r" (--[a-z-]+)", shlex.join(shlex.split(line, comments=True))):
            assert option in text.partition("Options:")[2], f"{line}: {option}"


def test_a_mistyped_command_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["migrat"]) == ExitCode.USAGE
    assert "did you mean migrate?" in capsys.readouterr().err
    assert run(["xyzzy"]) == ExitCode.USAGE
    assert "there are account, auth, call" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("call estimates.lst", "did you mean estimates.list"),
        ("call estimates.update", "estimates.update takes <estimateId>, got none"),
        ("call estimates.list extra", "estimates.list takes no id, got extra"),
        ("call estimates.create", "estimates.create needs one with name, currency"),
        ("call estimates.list -q statu=x", "it has startAt, endAt, search, status"),
        ("call invoices.get nosuch", "check the id, and that it belongs to the location"),
        ("call estimates.update x --body {}", "hl-async call --list estimates.update"),
        ("call estimates.update x --body {}", "\n  and items must be an array"),
        ("export estimates all.pdf", "neither .ndjson"),
        ("verify nosuch.db", "the journal nosuch.db is missing"),
        ("migrate", "either a SOURCE or --resume"),
        ("copy --from a", "copy --help"),
    ],
)
def test_an_error_says_what_to_do_next(
    line: str, says: str, served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(shlex.split(line)) != ExitCode.OK
    shown = capsys.readouterr()
    assert says in shown.err
    assert shown.out == ""


@pytest.mark.parametrize(
    ("missing", "says"),
    [("HL_TOKEN", "hl-async sandbox COMMAND"), ("HL_LOCATION_ID", "give --location ID")],
)
def test_a_missing_setting_is_named_with_a_way_out(
    missing: str,
    says: str,
    served: Served,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv(missing)
    assert run(["call", "estimates.list"]) == ExitCode.USAGE
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("row", OPERATIONS.values(), ids=lambda row: row.at)
def test_every_operation_can_be_called(
    row: object, served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the API says to ids that don't exist and an empty body: it was asked, and answered in one line."""
    operation = OPERATIONS[row.name]  # type: ignore[attr-defined]
    body = ["--body", "{}"] if operation.body is not None else []
    code = run(["call", operation.at, *["64f0a1b2c3d4e5f6a7b8c9d0" for _ in operation.params], *body])
    shown = capsys.readouterr()
    assert code in (ExitCode.OK, ExitCode.API, ExitCode.AUTH), shown.err
    if code == ExitCode.OK:
        assert shown.out == "" or json.loads(shown.out) is not None
    else:
        assert operation.at in shown.err


def test_every_operation_says_what_it_takes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["call", "--list", "--json"]) == ExitCode.OK
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["name"] for row in rows] == list(OPERATIONS)
    assert run(["call", "--list", "estimates.update"]) == ExitCode.OK
    text = capsys.readouterr().out
    assert "estimates.update <estimateId>" in text
    assert "PUT /invoices/estimate/{estimateId}" in text
    assert "needs       name, currency, items, contactDetails, expiryDate" in text
    assert "altId" not in text


@pytest.mark.parametrize("columns", [80, 120])
def test_nothing_is_wider_than_the_terminal(columns: int, served: Served) -> None:
    for arguments in (
        ["call", "--list"],
        ["call", "--list", "invoices.create"],
        ["call", "estimates.list", "-q", "statu=x"],
        ["call", "estimates.update", "64f0a1b2c3d4e5f6a7b8c9d0"],
    ):
        lines = on_a_terminal(arguments, columns).splitlines()
        assert lines
        assert max(map(len, lines)) <= columns, max(lines, key=len)


def test_the_list_of_operations_shows_whole_names_at_any_width() -> None:
    for columns in (80, 120):
        shown = on_a_terminal(["call", "--list"], columns)
        for row in OPERATIONS.values():
            assert " ".join([row.at, *(f"<{name}>" for name in row.params)]) in shown


def test_colour_appears_on_a_terminal_alone_and_not_with_no_color(served: Served, tmp_path: Path) -> None:
    body = '{"name":"N","currency":"USD","expiryDate":"2040-01-01","contactDetails":{"id":"c","name":"A","phoneNo":"","email":""},'
    body += '"businessDetails":{},"discount":{"type":"percentage","value":0},"frequencySettings":{"enabled":false},'
    body += '"items":[{"name":"I","currency":"USD","amount":1,"qty":1}],"sourceId":"d1"}\n'
    Path("a.ndjson").write_text(body)
    Path("b.ndjson").write_text(body.replace('"d1"', '"d2"'))
    plain = {"TERM": "xterm-256color"}
    assert "\x1b[3" in on_a_terminal(["migrate", "a.ndjson"], 80, **plain, NO_COLOR="")
    without = on_a_terminal(["migrate", "b.ndjson"], 80, **plain, NO_COLOR="1")
    assert not re.search(r"\x1b\[[\d;]*3\d", without)
    assert "created           1   1.00 USD" in without


def test_a_run_that_goes_on_reports_no_rate_that_it_did_not_reach(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    served.control("reset", {})
    bodies(Path.cwd(), 5)
    assert run(["migrate", "export.ndjson", "--limit", "3"]) == ExitCode.OK
    assert "documents per second" in capsys.readouterr().out
    assert run(["migrate", "--resume", "export.ndjson.hl.db"]) == ExitCode.OK
    shown = capsys.readouterr()
    assert "per second" not in shown.out
    assert "nothing left to create" in shown.err
    assert "done 3/3 · 0.0/s" in shown.err


def test_a_call_without_arguments_is_the_help_and_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == ExitCode.OK
    shown = capsys.readouterr()
    assert "Usage: hl-async" in shown.out and not shown.err
    assert run(["auth"]) == ExitCode.USAGE
    assert "Usage: hl-async auth" in capsys.readouterr().err
