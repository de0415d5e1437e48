"""The command line as a user meets it: argv in; exit code, stdout and stderr out."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

import samples
from hl_async.cli.app import explain, run
from hl_async.cli.exits import ExitCode
from hl_async.errors import AlreadyMigrated, Unauthorized
from hl_async.models.codec import encode
from hl_async.operations import OPERATIONS
from hl_async.sandbox.zones import DEFAULT as DEFAULT_ZONE
from hl_async.testing.serving import served as served_in_thread
from lengths import long

COMMAND = [sys.executable, "-c", "from hl_async.cli import main; main()"]


class Served:
    """A sandbox that serves beside the test, and what a shell would export for it."""

    def __init__(self, url: str, token: str, location_id: str) -> None:
        self.url = url
        self.location = location_id
        self.env = {"HL_BASE_URL": url, "HL_TOKEN": token, "HL_LOCATION_ID": location_id}

    def control(self, name: str, body: Any = None, method: str = "") -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = Request(f"{self.url}/_sandbox/{name}", data, method=method or ("POST" if data else "GET"))
        request.add_header("Content-Type", "application/json")
        with urlopen(request, timeout=60) as answer:
            return json.load(answer)


@contextmanager
def serving(*, locations: int = 1, rate_max: int = 10_000, **settings: Any) -> Iterator[Served]:
    """Serve in a thread: a process of its own costs more than most of these tests."""
    with served_in_thread(rate_max=rate_max, timezone=DEFAULT_ZONE, **settings) as box:
        for _ in range(locations - 1):
            box.add_location()
        yield Served(box.url, box.token, box.location_id)


@pytest.fixture(scope="module")
def shared() -> Iterator[Served]:
    """The command itself, in a process of its own."""
    process = subprocess.Popen(
        [*COMMAND, "sandbox", "--json", "--rate-max", "10000", "--rate-interval", "1"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield Served(**json.loads(process.stdout.readline()))
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        process.stdout.close()


@pytest.fixture
def served(shared: Served, monkeypatch: pytest.MonkeyPatch) -> Served:
    shared.control("reset", {})
    for name, value in shared.env.items():
        monkeypatch.setenv(name, value)
    return shared


def bodies(folder: Path, count: int) -> Path:
    path = folder / "export.ndjson"
    body = encode(samples.estimate())
    path.write_bytes(b"".join(body[:-1] + b',"sourceId":"d%d"}\n' % n for n in range(count)))
    return path


def test_help_teaches_and_imports_no_http(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == ExitCode.OK
    text = capsys.readouterr().out
    assert "migrate" in text
    assert "hl-async demo" in text
    code = "import sys; from hl_async.cli.app import run; run(['--help']); sys.exit(int('aiohttp' in sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert shown.returncode == 0, shown.stderr


@pytest.mark.parametrize(
    "command", ["migrate", "sandbox", "call", "demo", "verify", "rejects", "rollback", "status"]
)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([command, "--help"]) == ExitCode.OK
    assert "Usage" in capsys.readouterr().out


def test_a_command_runs_inside_a_sandbox_and_its_exit_code_is_passed_on() -> None:
    code = "import os, sys; print(*(os.environ[f'HL_{n}'] for n in ('BASE_URL', 'LOCATION_ID'))); sys.exit(9)"
    shown = subprocess.run(
        [*COMMAND, "sandbox", sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert shown.returncode == 9, shown.stderr
    assert shown.stdout.startswith("http://127.0.0.1:")
    nothing = subprocess.run(
        [*COMMAND, "sandbox", "no-such-program"], capture_output=True, text=True, check=False
    )
    assert nothing.returncode == ExitCode.USAGE
    assert "can't run no-such-program" in nothing.stderr


def test_a_wrong_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["migrat"]) == ExitCode.USAGE
    assert run(["migrate", "--nonsense"]) == ExitCode.USAGE
    assert run(["migrate"]) == ExitCode.USAGE
    assert "either a SOURCE or --resume" in capsys.readouterr().err


def test_without_the_extra_one_line_says_what_to_install() -> None:
    code = "import sys; sys.modules['click'] = None; from hl_async.cli import main; main()"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (shown.returncode, shown.stderr) == (
        1,
        "hl-async needs its command-line extra: pip install 'hl-async[cli]'\n",
    )


def test_a_migration_from_the_first_line_to_the_verification(
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = bodies(tmp_path, 20)
    with source.open("ab") as file:
        file.write(b"{broken\n")
    assert run(["migrate", str(source), "--dry-run", "--max-rejects", "50%"]) == ExitCode.REJECTS
    assert "20 documents to create (599.40 USD), 1 rejected" in capsys.readouterr().out
    assert served.control("state")["requests"] == 0
    assert run(["migrate", str(source), "--json", "--settle", "0.2"]) == ExitCode.REJECTS
    report = json.loads(capsys.readouterr().out)
    assert (report["source"], report["created"], report["rejected"], report["unknown"]) == (21, 20, 1, 0)
    assert (report["total_created"], report["refused"], report["state"]) == ("599.40", 0, "done")
    assert (tmp_path / "export.rejects.ndjson").read_bytes() == b"{broken\n"
    journal = f"{source}.hl.db"
    assert run(["status", journal]) == ExitCode.OK
    assert "created          20" in capsys.readouterr().out
    assert run(["status", journal, "--json"]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out)["created"] == 20
    assert run(["verify", journal]) == ExitCode.OK
    assert "verified: 20 documents, 599.40 USD, as they were sent\ncompared name, " in capsys.readouterr().out
    assert run(["migrate", "--resume", journal]) == ExitCode.REJECTS
    assert served.control("state")["locations"][served.location]["estimates"] == 20
    capsys.readouterr()
    assert run(["rollback", journal, "--yes", "--json"]) == ExitCode.OK
    report = json.loads(capsys.readouterr().out)
    assert (report["deleted"], report["kept"], report["open"], report["state"]) == (20, [], 0, "rolled_back")
    assert run(["rollback", journal, "--yes"]) == ExitCode.OK
    assert capsys.readouterr().out == "deleted 20 drafts\n"
    assert run(["verify", journal]) == ExitCode.OK
    assert "rolled back: 20 documents deleted; 1 location listed, nothing" in capsys.readouterr().out
    assert run(["migrate", "--resume", journal]) == ExitCode.STOPPED
    assert "was rolled back and cannot be resumed" in capsys.readouterr().err


def test_a_difference_has_an_exit_code_of_its_own(
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = bodies(tmp_path, 2)
    assert run(["migrate", str(source)]) == ExitCode.OK
    first = served.control("estimates")[0]["_id"]
    assert run(["call", "estimates.delete", first]) == ExitCode.OK
    capsys.readouterr()
    assert run(["verify", f"{source}.hl.db"]) == ExitCode.DIFFERS
    assert "missing" in capsys.readouterr().out


def test_a_table_needs_its_mapping_and_gives_its_rejects_back(
    served: Served, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    (tmp_path / "t.csv").write_text("No,Name,Qty,Price\n1,Oak,1,2\n2,Oak,-1,2\n")
    (tmp_path / "m.toml").write_text(
        '[document]\ngroup_by = "No"\nname = "{No}"\ncurrency = "USD"\nexpiry_date = "2040-01-01"\n'
        '[contact]\nid = "c"\nname = "A"\nphone_no = "+12145596993"\nemail = ""\n'
        '[line]\nname = "{Name}"\namount = "{Price}"\nqty = "{Qty}"\n'
    )
    arguments = ["migrate", str(tmp_path / "t.csv"), "--map", str(tmp_path / "m.toml")]
    assert run(arguments) == ExitCode.REJECTS
    assert run(["rejects", str(tmp_path / "t.csv.hl.db")]) == ExitCode.OK
    out = capfdbinary.readouterr().out
    assert (
        b"No,Name,Qty,Price,reject_reason\n2,Oak,-1,2,\"line 3, column 'Qty': -1 is negative; a credit note is"
        in out
    )
    assert (tmp_path / "t.rejects.csv").read_bytes().startswith(b"No,Name,Qty,Price,reject_reason\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["migrate", "none.ndjson"], "No such file"),
        (["migrate", "x.ndjson", "--location", "../x"], "location"),
        (["migrate", "x.ndjson", "--location", "a", "--key", "??"], "unknown key location"),
        (["migrate", "x.ndjson", "--location", "a", "--journal", "/nowhere/j.db"], "cannot be written"),
        (["migrate", "x.csv", "--location", "a"], "x.csv fits none of the profiles"),
        (["migrate", "x.ndjson", "--base-url", "http://example.com"], "plain http"),
        (["migrate", "--resume", "none.db"], "the journal none.db is missing"),
        (
            ["migrate", "--resume", "a.db", "--allow-sending", "u1"],
            "--allow-sending says how a SOURCE is read",
        ),
        (["migrate", "--resume", "a.db", "--map", "m.toml"], "--map says how a SOURCE is read"),
        (["verify", "none.db"], "the journal none.db is missing"),
    ],
)
def test_bad_input_is_one_clear_line_before_any_request(
    served: Served,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("x.ndjson", "x.csv"):
        Path(name).write_bytes(encode(samples.estimate()) + b"\n")
    assert run(arguments) == ExitCode.USAGE
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.startswith("error: ")
    assert "Traceback" not in captured.err
    assert served.control("state")["requests"] == 0
    assert not list(tmp_path.glob("*.hl.db"))


def test_a_missing_token_or_location_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("HL_TOKEN", "HL_LOCATION_ID", "GHL_API_KEY", "GHL_LOCATION_ID", "HL_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    source = bodies(tmp_path, 1)
    assert run(["migrate", str(source), "--location", "a"]) == ExitCode.USAGE
    assert "HL_TOKEN: is not set" in capsys.readouterr().err
    monkeypatch.setenv("HL_TOKEN", "pit-12345678-1234-1234-1234-123456789012")
    assert run(["migrate", str(source)]) == ExitCode.USAGE
    assert (
        "line 1 names no location; give the run one: --location, or HL_LOCATION_ID" in capsys.readouterr().err
    )


def test_a_dry_run_needs_no_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("HL_TOKEN", "HL_LOCATION_ID", "GHL_API_KEY", "GHL_LOCATION_ID", "HL_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    assert run(["migrate", str(bodies(tmp_path, 1)), "--dry-run"]) == ExitCode.OK
    assert "1 document to create" in capsys.readouterr().out


def test_a_wrong_mapping_stops_early_and_leaves_nothing(
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "bad.ndjson"
    source.write_bytes(b"{}\n" * 300)
    assert run(["migrate", str(source)]) == ExitCode.USAGE
    assert "the mapping is probably wrong" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["bad.ndjson"]


def test_ctrl_c_drains_and_the_run_goes_on(served: Served, tmp_path: Path) -> None:
    source = bodies(tmp_path, 400)
    served.control("faults", {"rates": {"latency": 1.0}, "times": {"latency": 0.05}}, "PUT")
    environment = {**os.environ, **served.env}
    process = subprocess.Popen(
        [*COMMAND, "migrate", str(source), "--max-in-flight", "8"],
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    _wait_for(lambda: served.control("state")["locations"][served.location]["estimates"] > 10)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=90)
    assert process.returncode == ExitCode.STOPPED, err
    assert "stopping: requests in flight are finished first" in err
    assert f"hl-async migrate --resume {source}.hl.db" in err
    served.control("faults", {"rates": {}}, "PUT")
    done = subprocess.run(
        [*COMMAND, "migrate", "--resume", f"{source}.hl.db", "--json"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == ExitCode.OK, done.stderr
    assert json.loads(done.stdout)["created"] == 400
    commits = served.control("commits")
    assert len(commits) == 400
    assert set(commits.values()) == {1}


@pytest.mark.parametrize(
    ("count", "moments", "enough"), [(60, (1, 9, 4), 1), long(250, (1, 12, 3, 20, 7, 1, 15, 9), 4)]
)
@pytest.mark.untraced
def test_a_run_that_is_killed_at_any_moment_loses_and_doubles_nothing(
    tmp_path: Path, count: int, moments: tuple[int, ...], enough: int
) -> None:
    """The torture test: SIGKILL again and again, with faults on."""
    with serving(faults="migration", seed=5) as served:
        served.control("faults", {"times": {"late": 0.3, "latency": 0.05}}, "PUT")
        source = bodies(tmp_path, count)
        environment = {**os.environ, **served.env}

        def created() -> int:
            return int(served.control("state")["locations"][served.location]["estimates"])

        command = [
            *COMMAND,
            "migrate",
            str(source),
            "--settle",
            "0.5",
            "--attempt-timeout",
            "1",
            "--max-in-flight",
            "4",
            "--json",
        ]
        kills = 0
        for more in moments:
            process = subprocess.Popen(
                command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            wanted = created() + more
            while process.poll() is None and created() < wanted:
                time.sleep(0.02)
            kills += process.poll() is None
            process.kill()
            process.wait()
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=100
        )
        assert done.returncode == ExitCode.OK, done.stderr
        report = json.loads(done.stdout)
        documents = served.control("estimates")
    assert kills >= enough
    assert (report["created"], report["unknown"], report["rejected"]) == (count, 0, 0)
    keys = [document["meta"]["hl_async"]["k"] for document in documents]
    assert len(keys) == len(set(keys)) == count


def test_any_operation_can_be_called(
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(["call", "--list"]) == ExitCode.OK
    assert len(capsys.readouterr().out.splitlines()) == len(OPERATIONS)
    body = tmp_path / "body.json"
    body.write_bytes(encode(samples.estimate()))
    for _ in range(3):
        assert run(["call", "estimates.create", "--body", f"@{body}", "--json"]) == ExitCode.OK
    made = json.loads(capsys.readouterr().out.splitlines()[0])
    assert made["total"] == 29.97
    assert run(["call", "list-estimates", "-q", "limit=2", "--all"]) == ExitCode.OK
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert all('"total":29.97' in line for line in lines)
    assert run(["call", "estimates.list", "--pretty", "--location", served.location]) == ExitCode.OK
    assert '\n  "estimates"' in capsys.readouterr().out
    assert (
        run(["call", "estimates.touch_last_visited", "--body", json.dumps({"estimateId": made["_id"]})])
        == ExitCode.OK
    )
    assert "(no body)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["estimates.lst"], ExitCode.USAGE, "did you mean"),
        (["zzz"], ExitCode.USAGE, "--list"),
        (["estimates.list", "-q", "colour=red"], ExitCode.USAGE, "no filter 'colour'"),
        (["estimates.list", "-q", "limit=x"], ExitCode.USAGE, "not a whole number"),
        (["estimates.list", "-q", "nothing"], ExitCode.USAGE, "NAME=VALUE"),
        (["estimates.create", "--body", "[]"], ExitCode.USAGE, "must be a JSON object"),
        (["estimates.create", "--body", "{"], ExitCode.USAGE, "not a JSON object"),
        (["estimates.create", "--body", "@none.json"], ExitCode.USAGE, "No such file"),
        (["invoices.get"], ExitCode.USAGE, "takes <invoiceId>"),
        (["invoices.get", "x", "--all"], ExitCode.USAGE, "does not page by offset"),
        (["invoices.get", "x"], ExitCode.API, "Unable to find an invoice"),
    ],
)
def test_a_wrong_call_says_what_is_wrong(
    served: Served, capsys: pytest.CaptureFixture[str], arguments: list[str], code: ExitCode, message: str
) -> None:
    assert run(["call", *arguments]) == code
    assert message in capsys.readouterr().err


def test_a_refused_token_is_an_exit_code_with_a_hint(
    served: Served, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HL_TOKEN", "pit-5ent1nel-wrong-token-0000")
    assert run(["call", "estimates.generate_number"]) == ExitCode.AUTH
    assert "check HL_TOKEN" in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_printed(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("click")
    if shell == "bash" and not Path("/bin/bash").exists():
        pytest.skip("needs bash")
    assert run(["completion", shell]) == ExitCode.OK
    assert "hl_async" in capsys.readouterr().out.lower().replace("-", "_")


@pytest.mark.untraced
def test_the_demo_shows_a_bar_on_a_terminal_and_ends_verified(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100"}
    process = subprocess.Popen(
        [*COMMAND, "demo", "--keep", str(tmp_path / "kept")],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env=environment,
        text=True,
    )
    os.close(theirs)
    seen = b""
    while True:
        try:
            chunk = os.read(ours, 65536)
        except OSError:  # the other end is closed: the demo is over
            break
        if not chunk:
            break
        seen += chunk
    assert process.stdout is not None
    out = process.stdout.read()
    process.stdout.close()
    os.close(ours)
    assert process.wait(30) == 0, seen.decode()
    assert b"/131" in seen
    assert "━".encode() in seen
    assert b"Traceback" not in seen
    assert "84 estimates, 40 invoices" in out
    assert "27 recorded, 16,616.81 USD" in out
    assert "verified: 124 documents" in out
    assert b"export HL_TOKEN=" in seen
    assert (tmp_path / "kept" / "export.rejects.csv").exists()


def test_the_sandbox_says_what_to_export() -> None:
    process = subprocess.Popen(
        [*COMMAND, "sandbox", "--locations", "2"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(3)]
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=90)
    assert process.returncode == 0
    assert [line.split("=")[0] for line in lines] == [
        "export HL_BASE_URL",
        "export HL_TOKEN",
        "export HL_LOCATION_ID",
    ]
    assert "serving 2 locations;" in err
    assert run(["sandbox", "--host", "0.0.0.0"]) == ExitCode.USAGE


def test_errors_carry_a_hint_where_there_is_one() -> None:
    assert "check HL_TOKEN" in explain(Unauthorized("401", status=401))
    assert "--again" in explain(AlreadyMigrated("another run"))


def _wait_for(condition: Any, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.02)
