"""``hl-async watch``: changes on a terminal, in a program, at a URL."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

import samples
from hl_async.cli.app import run
from hl_async.cli.exits import ExitCode
from hl_async.sandbox import Sandbox
from hl_async.sync import HighLevel
from hl_async.testing.serving import served


@pytest.fixture
def box(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Sandbox]:
    with served() as box:
        for name, value in {"TOKEN": box.token, "BASE_URL": box.url, "LOCATION_ID": box.location_id}.items():
            monkeypatch.setenv(f"HL_{name}", value)
        monkeypatch.chdir(tmp_path)
        yield box


@pytest.fixture
def shop(box: Sandbox) -> Iterator[Any]:
    with HighLevel(box.token, base_url=box.url, location_id=box.location_id) as hl:
        yield hl.location()


ONCE = ["watch", "estimates", "--once", "--every", "0.1"]


def test_what_happened_since_the_last_look_is_printed_a_line_each(
    shop: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = shop.estimates.create(samples.estimate())
    assert run(ONCE) == ExitCode.OK
    assert capsys.readouterr().out == ""
    shop.estimates.patch(kept.id, terms_notes="Pay soon")
    made = shop.estimates.create(samples.estimate())
    assert run(ONCE) == ExitCode.OK
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[2:4] for line in lines] == [["edited", kept.id], ["created", made.id]]
    assert run(ONCE) == ExitCode.OK
    assert capsys.readouterr().out == ""


def test_json_lines_carry_an_id_to_drop_repetitions_by(shop: Any, capsys: pytest.CaptureFixture[str]) -> None:
    run([*ONCE, "--json"])
    shop.estimates.create(samples.estimate())
    run([*ONCE, "--json"])
    (change,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert change["kind"] == "created"
    assert len(change["id"]) == 24
    assert change["total"] == "29.97"


def test_a_program_gets_each_change_and_a_failing_one_holds_it_back(shop: Any, tmp_path: Path) -> None:
    run(ONCE)
    shop.estimates.create(samples.estimate())
    took = tmp_path / "took.ndjson"
    script = tmp_path / "take.sh"
    script.write_text(
        f"#!/bin/sh\n[ -e {tmp_path}/tried ] || {{ touch {tmp_path}/tried; exit 3; }}\ncat >> {took}\n"
    )
    script.chmod(0o755)
    assert run([*ONCE, "--exec", str(script)]) == ExitCode.OK
    assert json.loads(took.read_text())["kind"] == "created"


def test_a_url_gets_each_change_signed(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    got: list[tuple[dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append((dict(self.headers.items()), body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        monkeypatch.setenv("HL_WATCH_SECRET", "5ent1nel-secret")
        run(ONCE)
        shop.estimates.create(samples.estimate())
        assert run([*ONCE, "--post", f"http://127.0.0.1:{server.server_port}/x"]) == ExitCode.OK
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    ((headers, body),) = got
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    signature = base64.b64encode(hmac.new(b"5ent1nel-secret", content, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{signature}"


def test_a_watch_says_how_it_begins_and_when_the_location_is_known(box: Sandbox, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hl_async", "watch", "estimates", "--every", "0.1"]
    for begins in (
        "it learns the documents first, and remembers them in hl-watch.db",
        "it goes on with hl-watch.db",
    ):
        watch = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        assert watch.stderr is not None
        assert begins in watch.stderr.readline()
        assert watch.stderr.readline().startswith(
            "all documents are read; from now on a change is seen within"
        )
        watch.send_signal(signal.SIGINT)
        assert "stopping after this change" in watch.communicate(timeout=30)[1]
        assert watch.returncode == 0


def test_watches_through_postgres_remember_there_and_spend_one_budget(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, dsn: str
) -> None:
    """Two processes that each believe in a whole budget would spend two."""
    with served(rate_max=30, rate_interval=1.0) as box:
        location = box.add_location(f"loc{secrets.token_hex(8)}")
        settings = {"TOKEN": box.token, "BASE_URL": box.url, "LOCATION_ID": location, "POSTGRES": dsn}
        env = {**os.environ, **{f"HL_{name}": value for name, value in settings.items()}}
        command = [
            sys.executable,
            "-m",
            "hl_async",
            "watch",
            "--postgres",
            "--json",
            "--share",
            "0.9",
            "--every",
            "0.1",
        ]
        with HighLevel(box.token, base_url=box.url, location_id=location) as hl:
            for _ in range(30):
                hl.location().estimates.create(samples.estimate())
        time.sleep(1.1)  # those requests are spent
        refused = box.refused
        watches = [
            subprocess.Popen([*command, kind], env=env, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
            for kind in ("estimates", "invoices")
        ]
        try:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and box.count < 120:
                time.sleep(0.1)
            made = box.ledger.places[location].estimates
            box.ledger.touch(next(iter(made.values())), estimateStatus="sent")
            assert watches[0].stdout is not None
            assert json.loads(watches[0].stdout.readline())["kind"] == "sent"
        finally:
            for watch in watches:
                watch.terminate()
            for watch in watches:
                watch.communicate(timeout=30)
        assert [watch.returncode for watch in watches] == [0, 0]
        assert box.count >= 120
        assert box.refused == refused
    assert not list(tmp_path.iterdir()), "nothing is remembered in a file"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--post", "http://127.0.0.1:9/"], "HL_WATCH_SECRET"),
        (["--post", "http://127.0.0.1:9/", "--exec", "true"], "exclude each other"),
        (["--postgres"], "HL_POSTGRES"),
        (["--share", "2"], "--share"),
    ],
)
def test_a_mistake_is_said_before_anything_is_read(
    box: Sandbox,
    arguments: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("HL_POSTGRES", raising=False)
    monkeypatch.delenv("HL_WATCH_SECRET", raising=False)
    assert run([*ONCE, *arguments]) == ExitCode.USAGE
    assert said in capsys.readouterr().err
    assert not box.requests
