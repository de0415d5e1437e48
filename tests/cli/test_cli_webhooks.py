"""``hl-async webhooks``: test deliveries sent and received on a terminal."""

from __future__ import annotations

import json
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hl_async.cli.app import run
from hl_async.cli.exits import ExitCode
from hl_async.cli.webhooks import _Receiver, sender

LISTEN = [sys.executable, "-m", "hl_async", "webhooks", "listen"]


def listening(key: Path, *options: str) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [*LISTEN, "--port", "0", "--key-file", str(key), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    line = process.stderr.readline()
    return process, line.split()[2].rstrip(";")


def test_a_delivery_that_is_sent_is_proved_and_printed_by_the_listener(tmp_path: Path) -> None:
    key = tmp_path / "test.key"
    assert run(["webhooks", "key", "--key-file", str(key)]) == ExitCode.OK
    process, url = listening(key, "--count", "2", "--json")
    try:
        assert (
            run(["webhooks", "send", "InvoicePaid", f"{url}hook?x=1", "--key-file", str(key)]) == ExitCode.OK
        )
        more = ["--data", '{"total": 12.5, "title": null}']
        assert run(["webhooks", "send", "invoicesent", url, "--key-file", str(key), *more]) == ExitCode.OK
        out, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    first, second = (json.loads(line) for line in out.splitlines())
    assert (first["type"], first["status"]) == ("InvoicePaid", "paid")
    assert (second["type"], second["total"], "title" in second) == ("InvoiceSent", 12.5, False)


def test_the_last_delivery_is_counted_after_its_answer(tmp_path: Path) -> None:
    """A receiver that counted first could end before the sender has an answer."""
    key = sender(tmp_path / "test.key")
    with _Receiver(0, (key.public_key,), True, 1) as receiver:
        serving = threading.Thread(target=receiver.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        delivery = key.deliver("InvoicePaid")
        assert receiver.receive(delivery.body, delivery.headers) == 200
        serving.join(0.3)
        assert serving.is_alive()
        receiver.count()
        serving.join(10)
        assert not serving.is_alive()


def test_a_delivery_of_another_key_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    process, url = listening(tmp_path / "mine.key")
    try:
        sent = run(["webhooks", "send", "InvoicePaid", url, "--key-file", str(tmp_path / "other.key")])
    finally:
        process.kill()
        process.communicate()
    assert sent == ExitCode.API
    assert "401" in capsys.readouterr().err


def test_the_test_key_is_made_once_and_is_private(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("HL_TOKEN_STORE", raising=False)
    monkeypatch.delenv("HL_POSTGRES", raising=False)
    assert run(["webhooks", "key"]) == run(["webhooks", "key"]) == ExitCode.OK
    first, second = capsys.readouterr().out.split()
    assert first == second
    (made,) = tmp_path.rglob("*.key")
    assert stat.S_IMODE(made.stat().st_mode) == 0o600


def test_a_receiver_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
        key = ["--key-file", str(tmp_path / "k")]
        assert run(["webhooks", "send", "InvoicePaid", url, *key]) == ExitCode.API
        assert f"{url} gives no answer: Connection refused" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["InvoicePaid", "ftp://x"], "is not a web address"),
        (["InvoicePayed", "http://127.0.0.1"], "InvoicePayed"),
        (["InvoicePaid", "http://127.0.0.1", "--data", "{"], "is not JSON"),
        (["InvoicePaid", "http://127.0.0.1", "--data", "[]"], "must be a JSON object"),
    ],
)
def test_a_mistake_is_said_before_anything_is_sent(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["webhooks", "send", *arguments, "--key-file", str(tmp_path / "k")]) == ExitCode.USAGE
    assert said in capsys.readouterr().err


def test_a_key_file_that_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "k").write_bytes(b"short")
    assert run(["webhooks", "key", "--key-file", str(tmp_path / "k")]) == ExitCode.USAGE
    assert "is not a test key" in capsys.readouterr().err


@pytest.mark.parametrize("url", ["http://127.0.0.1:80000/x", "http://[x", "ftp://127.0.0.1/x", "nonsense"])
def test_an_address_that_cannot_be_one_is_a_sentence(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["webhooks", "send", "InvoicePaid", url, "--key-file", str(tmp_path / "k")]) == ExitCode.USAGE
    assert capsys.readouterr().err.startswith("error: URL: is not a ")


def test_an_event_is_taken_in_any_case_and_a_typo_gets_the_nearest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = ["--key-file", str(tmp_path / "k")]
    assert run(["webhooks", "send", "INVOICEPAID", "http://127.0.0.1:9/", *key]) == ExitCode.API
    assert run(["webhooks", "send", "InvoicPaid", "http://127.0.0.1:9/", *key]) == ExitCode.USAGE
    assert "unknown event 'InvoicPaid'; did you mean InvoicePaid?" in capsys.readouterr().err


def test_a_listener_that_could_accept_nothing_does_not_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = ["--key-file", str(tmp_path / "k")]
    assert run(["webhooks", "listen", "--port", "0", "--key", "abc", *key]) == ExitCode.USAGE
    assert "is not a public key" in capsys.readouterr().err
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert run(["webhooks", "listen", "--port", str(port), *key]) == ExitCode.USAGE
        said = capsys.readouterr().err
        assert f"can't listen on 127.0.0.1:{port}: " in said and "another --port" in said
        assert run(["sandbox", "--port", str(port), "true"]) == ExitCode.USAGE
        assert f"error: can't listen on 127.0.0.1:{port}: address already in use\n" == capsys.readouterr().err
