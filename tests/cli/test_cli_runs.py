"""What a person does with a run: trials, looking, verifying, taking back, running again."""

from __future__ import annotations

import csv
import json
import os
import socket
import socketserver
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from test_cli import COMMAND, Served, serving

from hl_async.bulk.reports import Progress
from hl_async.cli.app import run
from hl_async.cli.exits import ExitCode
from hl_async.cli.progress import Lines
from hl_async.cli.sessions import Counting, Trouble
from hl_async.telemetry import AttemptFinished, RetryScheduled

MAPPING = """
[document]
group_by = "No"
name = "Order {No}"
currency = "USD"
expiry_date = "2040-12-31"
[contact]
id = "c6tZWq1n0uEh8Rk2Lm4p"
name = "Alex"
email = "alex@example.com"
[line]
name = "{Name}"
amount = "{Price}"
qty = "1"
"""
NOWHERE = "http://127.0.0.1:9"
HEAD = "No,Name,Price\n"
ROWS = [f"A-{n},Door,10\n" for n in range(4)]


@pytest.fixture(scope="module")
def shared() -> Iterator[Served]:
    with serving() as found:
        yield found


@pytest.fixture
def shop(shared: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Served:
    """A folder with a source of four documents, and a server without any."""
    shared.control("reset", {})
    for name, value in shared.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    Path("a.csv").write_text(HEAD + "".join(ROWS))
    Path("m.toml").write_text(MAPPING)
    return shared


MIGRATE = ["migrate", "a.csv", "--map", "m.toml"]


def names(served: Served) -> list[str]:
    return sorted(one["name"] for one in served.control("estimates"))


def update(served: Served, document: dict[str, Any], **changes: Any) -> None:
    """Change a document as another client would."""
    kept = (
        "name",
        "currency",
        "items",
        "contactDetails",
        "businessDetails",
        "discount",
        "frequencySettings",
        "meta",
    )
    body = {name: document[name] for name in kept if name in document}
    body |= {
        "expiryDate": "2040-12-31",
        "issueDate": document["issueDate"][:10],
        "title": "Estimate",
    } | changes
    for line in body["items"]:
        line.pop("_id", None)
    assert run(["call", "estimates.update", document["_id"], "--body", json.dumps(body)]) == ExitCode.OK


# ------------------------------------------------------------------------------------------- trials


def test_a_trial_is_continued_by_the_same_command_with_a_larger_limit_and_without_one(
    shop: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*MIGRATE, "--limit", "1"]) == ExitCode.OK
    assert names(shop) == ["Order A-0"]
    assert run([*MIGRATE, "--limit", "1"]) == ExitCode.OK
    assert run([*MIGRATE, "--limit", "3"]) == ExitCode.OK
    assert names(shop) == ["Order A-0", "Order A-1", "Order A-2"]
    capsys.readouterr()
    assert run([*MIGRATE, "--json"]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out)["created"] == 4
    assert names(shop) == [f"Order A-{n}" for n in range(4)]
    assert run([*MIGRATE, "--limit", "2"]) == ExitCode.OK
    assert run(["verify", "a.csv"]) == ExitCode.OK
    assert sorted(path.name for path in Path().glob("*.db*") if path.suffix != ".lock") == ["a.csv.hl.db"]


# --------------------------------------------------------------------------------- other runs, other files


def test_a_new_run_of_the_same_documents_is_refused_with_their_number_and_journal_and_sends_nothing(
    shop: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*MIGRATE, "--limit", "3"]) == ExitCode.OK
    capsys.readouterr()
    assert run([*MIGRATE, "--journal", "second.db"]) == ExitCode.USAGE
    said = capsys.readouterr().err
    assert f"3 of these 4 documents are in location {shop.location} already, from another run" in said
    assert "their journal is a.csv.hl.db" in said
    assert "--again" in said
    assert not Path("second.db").exists()
    assert len(names(shop)) == 3
    assert run([*MIGRATE, "--journal", "second.db", "--again"]) == ExitCode.OK
    assert len(names(shop)) == 7
    assert run(["verify", "second.db"]) == ExitCode.DIFFERS
    assert capsys.readouterr().out.count("the same document of the source, created by another run") == 3


def test_a_changed_source_says_what_its_journal_holds_and_what_another_one_would_do(
    shop: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("a.csv").write_text(HEAD + "".join(ROWS) + "A-9,Door,oops\n")
    assert run(MIGRATE) == ExitCode.REJECTS
    Path("a.csv").write_text(HEAD + "".join(ROWS) + "A-9,Door,10\n")
    capsys.readouterr()
    assert run(MIGRATE) == ExitCode.USAGE
    said = capsys.readouterr().err
    assert "a.csv.hl.db holds a run of a.csv, which was changed since" in said
    assert "4 of 5 documents are created, begun " in said
    assert "asks before it creates any of them again" in said
    assert "correct and migrate the reject file" in said
    rejects = Path("a.rejects.csv").read_text().replace("oops", "10")
    Path("a.rejects.csv").write_text(rejects)
    assert run(["migrate", "a.rejects.csv", "--map", "m.toml"]) == ExitCode.OK
    assert len(names(shop)) == 5


# --------------------------------------------------------------------------------------- verification


def test_a_verification_writes_a_finding_for_every_document(
    shop: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(MIGRATE) == ExitCode.OK
    first, second, third, _ = sorted(shop.control("estimates"), key=lambda one: str(one["name"]))
    update(shop, first, name="Something else")
    update(shop, second, meta={})
    assert run(["call", "estimates.delete", third["_id"]]) == ExitCode.OK
    capsys.readouterr()
    assert run(["verify", "a.csv", "--report", "found.csv"]) == ExitCode.DIFFERS
    out = capsys.readouterr().out
    assert "3 differences; 1 as sent:" in out
    assert f"changed    A-0 {first['_id']} name: 'Order A-0' → 'Something else'" in out
    assert "all findings: found.csv" in out
    with Path("found.csv").open(newline="") as file:
        kinds = {row["source_id"]: row["kind"] for row in csv.DictReader(file)}
    assert kinds == {"A-0": "changed", "A-1": "unmarked", "A-2": "missing", "A-3": "same"}
    assert Path("found.csv").stat().st_mode & 0o777 == 0o600
    assert run(["verify", "a.csv.hl.db", "--report", "found.ndjson", "--json"]) == ExitCode.DIFFERS
    lines = [json.loads(line) for line in Path("found.ndjson").read_text().splitlines()]
    assert {line["source_id"]: line["kind"] for line in lines} == kinds
    assert run(["verify", "a.csv", "--report", "found.txt"]) == ExitCode.USAGE
    assert run(["verify", "a.csv", "--report", "none/found.csv"]) == ExitCode.USAGE


def test_a_source_without_a_journal_is_named_and_no_file_is_left(
    shop: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("verify", "rollback", "status", "rejects"):
        assert run([command, "a.csv"]) == ExitCode.USAGE
        assert "a.csv has no journal: a.csv.hl.db does not exist" in capsys.readouterr().err
    assert sorted(path.name for path in Path().iterdir()) == ["a.csv", "m.toml"]


# ------------------------------------------------------------------------------------------- rollback


def test_a_wrong_mapping_is_refused_with_a_reason_and_leaves_no_run_to_resume(
    shop: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("b.csv").write_text(HEAD + "".join(f"B-{n},Door,{n % 4 or 'x'}\n" for n in range(1, 300)))
    for more in (["--dry-run"], []):
        assert run(["migrate", "b.csv", "--map", "m.toml", *more]) == ExitCode.USAGE
        said = capsys.readouterr().err
        assert "more than 10%: the mapping is probably wrong. The last reason: line " in said
        assert "'x' is not a number" in said
    assert not Path("b.csv.hl.db").exists()


def test_a_run_that_created_nothing_has_nothing_to_compare(
    shop: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("b.csv").write_text(HEAD + "B-1,Door,x\n")
    assert run(["migrate", "b.csv", "--map", "m.toml"]) == ExitCode.USAGE
    assert "hl-async verify" not in capsys.readouterr().err
    assert run(MIGRATE) == ExitCode.OK
    assert "hl-async verify a.csv.hl.db" in capsys.readouterr().err


def test_a_newer_export_without_anything_new_is_no_failure(
    shop: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(MIGRATE) == ExitCode.OK
    more = [*MIGRATE, "--continue", "a.csv.hl.db", "--journal", "second.hl.db"]
    assert run([*more, "--dry-run"]) == ExitCode.OK
    assert run(more) == ExitCode.OK
    assert run(["migrate", "--resume", "second.hl.db"]) == ExitCode.OK
    assert "error" not in capsys.readouterr().err
    assert len(names(shop)) == 4


def test_a_source_without_a_usable_document_says_why_it_fails(
    shop: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("b.csv").write_text(HEAD)
    for more in (["--dry-run"], []):
        assert run(["migrate", "b.csv", "--map", "m.toml", *more]) == ExitCode.USAGE
        assert "the source has no document that can be created" in capsys.readouterr().err


def test_a_rollback_without_a_terminal_needs_yes(shop: Served) -> None:
    assert run(MIGRATE) == ExitCode.OK
    shown = subprocess.run(
        [*COMMAND, "rollback", "a.csv"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert (shown.returncode, shown.stderr) == (ExitCode.USAGE, "error: not a terminal: give --yes\n")
    assert len(names(shop)) == 4


def test_a_rollback_keeps_and_names_what_people_changed_unless_told_otherwise(
    shop: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(MIGRATE) == ExitCode.OK
    first = shop.control("estimates")[0]
    update(shop, first, name="Worked on")
    capsys.readouterr()
    assert run(["rollback", "a.csv", "--yes"]) == ExitCode.HELD
    out = capsys.readouterr().out
    assert out.startswith("deleted 3 drafts\nkept 1 document: changed after the run; add --even-changed")
    assert f"{first['_id']} name: " in out
    assert names(shop) == ["Worked on"]
    assert run(["verify", "a.csv"]) == ExitCode.DIFFERS
    assert "rolled back: 3 documents deleted; 1 document of the run still there:" in capsys.readouterr().out
    assert run(["rollback", "a.csv", "--yes", "--even-changed"]) == ExitCode.OK
    assert names(shop) == []


def test_after_a_rollback_the_source_is_migrated_again_without_tricks(
    shop: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in (1, 2):
        assert run([*MIGRATE, "--limit", "2"]) == ExitCode.OK
        assert len(names(shop)) == 2
        assert run(["rollback", "a.csv", "--yes"]) == ExitCode.OK
        assert names(shop) == []
        capsys.readouterr()
        assert run(["status", "a.csv"]) == ExitCode.OK
        assert "state      rolled back" in capsys.readouterr().out
        assert run(["rejects", "a.csv"]) == ExitCode.OK
        shown = capsys.readouterr()
        assert "A-0" not in shown.out
        assert "was rolled back" in shown.err
        Path("m.toml").write_text(MAPPING.replace("Order", f"Order {number}"))
    assert run(MIGRATE) == ExitCode.OK
    assert names(shop) == [f"Order 2 A-{n}" for n in range(4)]
    for number in (1, 2):
        assert run(["status", f"a.csv.hl.db.rolled-back-{number}", "--json"]) == ExitCode.OK
        assert json.loads(capsys.readouterr().out.splitlines()[-1])["state"] == "rolled_back"


def test_a_run_that_is_being_rolled_back_is_neither_resumed_nor_begun_again(
    shop: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*MIGRATE, "--limit", "2"]) == ExitCode.OK
    shop.control("faults", {"rates": {"error_500_before": 1.0}}, "PUT")
    assert run(["rollback", "a.csv", "--yes"]) == ExitCode.STOPPED
    said = capsys.readouterr().err
    assert "2 still open; continue with: hl-async rollback a.csv.hl.db" in said
    shop.control("faults", {"rates": {}}, "PUT")
    for command in (MIGRATE, ["migrate", "--resume", "a.csv.hl.db"]):
        assert run(command) == ExitCode.STOPPED
        assert "is being rolled back and cannot be resumed" in capsys.readouterr().err
    assert run(["rollback", "a.csv", "--yes"]) == ExitCode.OK
    assert names(shop) == []


# ---------------------------------------------------------------------------------- stops and failures


def test_a_listing_that_fails_while_a_run_settles_leaves_it_resumable(
    shop: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    script = {"create-new-estimate": ["reset_after_commit"], "list-estimates": ["error_500_before"] * 4}
    shop.control("faults", {"script": script}, "PUT")
    patient = ["--settle", "0.1", "--attempt-timeout", "0.5"]
    assert run([*MIGRATE, "--again", *patient]) == ExitCode.STOPPED
    assert "continue with: hl-async migrate --resume a.csv.hl.db" in capsys.readouterr().err
    assert run([*MIGRATE, *patient]) == ExitCode.OK
    assert len(names(shop)) == 4


def test_a_journal_that_cannot_be_written_any_more_leaves_the_run_resumable(
    shop: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    """As with a full disk: SQLite refuses a write with the words of a full disk."""
    assert run([*MIGRATE, "--limit", "1"]) == ExitCode.OK
    with sqlite3.connect("a.csv.hl.db") as journal:
        journal.execute(
            "create trigger full before update on item begin select raise(abort, 'database or disk is full'); end"
        )
    journal.close()
    capsys.readouterr()
    assert run(MIGRATE) == ExitCode.STOPPED
    said = capsys.readouterr().err
    assert "could not be written" in said
    assert "hl-async migrate --resume a.csv.hl.db" in said
    assert len(names(shop)) == 1


def test_the_status_of_a_run_whose_process_ended_names_no_process(
    shop: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*MIGRATE, "--limit", "2"]) == ExitCode.OK
    with sqlite3.connect("a.csv.hl.db") as journal:
        note = json.dumps({"rate": 10.6, "until": 4e9, "process": os.getpid(), "reason": ""})
        journal.execute("insert or replace into run values (?, ?)", (f"lane {shop.location}", note))
    journal.close()
    capsys.readouterr()
    assert run(["status", "a.csv", "--json"]) == ExitCode.OK
    lane = json.loads(capsys.readouterr().out)["locations"][0]
    assert (lane["holder"], lane["rate"]) == ("", 0.0)


# ------------------------------------------------------------------------------------------- screens


def now(done: int, of: int, **more: Any) -> Progress:
    values: dict[str, Any] = {"created": done, "rejected": 0, "ambiguous": 0, "rate": 2.0, "eta": 5.0}
    return Progress(done, of, **values | more)


def test_a_wait_says_until_when_and_for_what_once_per_fifteen_seconds() -> None:
    lines = Lines("done")
    said = [
        lines.next(now(247, 260, ambiguous=13, note="settling", until=1000.0 + 60), None, at, 1000.0 + at)
        for at in range(40)
    ]
    spoken = {at: line for at, line in enumerate(said) if line}
    assert sorted(spoken) == [0, 15, 30]
    assert spoken[0].endswith("(60 s) to learn whether 13 unanswered requests took effect")
    assert spoken[30].endswith("(30 s) to learn whether 13 unanswered requests took effect")


def test_a_run_that_works_prints_its_numbers_every_five_seconds_and_at_its_end() -> None:
    lines = Lines("done")
    said = [lines.next(now(at, 12), None, at, 0.0) for at in range(13)]
    assert [at for at, line in enumerate(said) if line] == [0, 5, 10, 12]
    assert said[5] == "done 5/12 · 2.0/s · ETA 0:05"
    assert said[12] == "done 12/12 · 2.0/s"


def test_a_server_that_fails_is_named_with_the_attempt_and_the_time_of_the_next() -> None:
    lines = Lines("done")
    trouble = Trouble("cannot connect to 127.0.0.1:9: connection refused", attempts=4, next_at=108.0)
    assert lines.next(now(0, 2), trouble, 100.0, 0.0) == (
        "cannot connect to 127.0.0.1:9: connection refused; trying again (4th time, next in 8 s); "
        "Ctrl-C keeps finished work"
    )
    assert lines.next(now(0, 2), trouble, 110.0, 0.0) == ""
    assert lines.next(now(0, 2), None, 111.0, 0.0) == "done 0/2 · 2.0/s · ETA 0:05"


def test_failed_attempts_are_counted_until_the_server_answers() -> None:
    counting = Counting()
    refused = "cannot connect to example.com:443: connection refused"

    def attempt(status: int, error: str = "") -> AttemptFinished:
        return AttemptFinished(1, "x", 1, status, 0.1, error, "GET", "example.com", refused)

    for _ in range(3):
        counting.on_event(attempt(0, "ConnectFailed"))
    counting.on_event(RetryScheduled(1, "x", 1, 8.0, "connect"))
    assert counting.trouble is not None
    assert (counting.trouble.attempts, counting.trouble.words) == (3, refused)
    counting.on_event(attempt(502))
    assert (counting.trouble.attempts, counting.trouble.words) == (1, "example.com answers 502")
    counting.on_event(attempt(429))
    assert counting.trouble is None
    assert (counting.requests, counting.refused) == (5, 1)


@pytest.mark.untraced
def test_a_rollback_that_is_killed_again_and_again_leaves_nothing_and_touches_nothing_else(
    shop: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("b.csv").write_text(HEAD + "".join(f"B-{n},Door,10\n" for n in range(30)))
    assert run(["migrate", "b.csv", "--map", "m.toml"]) == ExitCode.OK
    assert run([*MIGRATE, "--limit", "2"]) == ExitCode.OK
    shop.control("faults", {"rates": {"reset_after_commit": 0.1, "html_502": 0.05}, "seed": 5}, "PUT")
    kills = 0
    for _ in range(30):
        process = subprocess.Popen(
            [*COMMAND, "rollback", "b.csv", "--yes"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        before = len(names(shop))
        while kills < 3 and process.poll() is None and len(names(shop)) > max(2, before - 2):
            time.sleep(0.01)
        if kills < 3 and process.poll() is None and len(names(shop)) > 2:
            process.kill()
            kills += 1
        if process.wait() == ExitCode.OK:
            break
    shop.control("faults", {"rates": {}}, "PUT")
    assert kills >= 1  # how many, depends on how fast the machine deletes
    assert run(["rollback", "b.csv", "--yes"]) == ExitCode.OK
    assert names(shop) == ["Order A-0", "Order A-1"]
    assert run(["verify", "b.csv"]) == ExitCode.OK


class _Relay(socketserver.StreamRequestHandler):
    """A proxy for plain HTTP: passes one connection on to the server, with the address cut to its path."""

    target: tuple[str, int]
    passed: list[bytes]

    def handle(self) -> None:
        with socket.create_connection(self.target) as server:
            back = threading.Thread(target=self._answer, args=(server,))
            back.start()
            while data := self.request.recv(65536):
                if f" {NOWHERE}/".encode() in data:
                    self.passed.append(data)
                server.sendall(data.replace(f" {NOWHERE}/".encode(), b" /", 1))
            server.shutdown(socket.SHUT_WR)
            back.join()

    def _answer(self, server: socket.socket) -> None:
        while data := server.recv(65536):
            self.request.sendall(data)


def test_every_command_that_calls_the_api_goes_through_the_proxy_of_the_environment(
    shop: Served, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    address = urlsplit(shop.env["HL_BASE_URL"])
    passed: list[bytes] = []
    target = (address.hostname, address.port)
    handler = type("Handler", (_Relay,), {"target": target, "passed": passed})
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as proxy:
        serves = threading.Thread(target=proxy.serve_forever)
        serves.start()
        monkeypatch.setenv("HL_PROXY", f"http://127.0.0.1:{proxy.server_address[1]}")
        monkeypatch.setenv("HL_BASE_URL", NOWHERE)
        try:
            for command in (
                ["call", "estimates.generate_number"],
                [*MIGRATE, "--settle", "0.2"],
                ["verify", "a.csv.hl.db"],
                ["rollback", "a.csv.hl.db", "--yes"],
            ):
                before = len(passed)
                assert run(command) == ExitCode.OK, capsys.readouterr().err
                assert len(passed) > before, command
        finally:
            proxy.shutdown()
            serves.join()
