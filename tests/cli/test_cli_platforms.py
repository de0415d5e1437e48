"""Systems without POSIX: what the commands need is found elsewhere."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from hl_async.bulk import Document, DocumentCustomer, DocumentLine, encode_document
from hl_async.cli.signals import on_signal
from hl_async.storage.locks import holder_of, is_locked, name_holder, try_lock, unlock
from hl_async.testing.serving import served

HIDDEN = """
import sys
for name in ("fcntl", "pwd", "grp", "resource", "termios", "tty", "pty", "readline", "uvloop"):
    sys.modules[name] = None
import filelock, filelock._native._descriptor as native
native.lock_fd_nonblocking = lambda fd: True
filelock.lock_descriptor = lambda fd, blocking=True: True
import asyncio
asyncio.SelectorEventLoop.add_signal_handler = asyncio.AbstractEventLoop.add_signal_handler
from hl_async.cli import main
main()
"""
"""The POSIX modules hidden, and an event loop that takes no signal handlers, as on Windows."""


def without_posix(folder: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", HIDDEN, *arguments],
        cwd=folder,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.long  # a move without them is among the commands below
def test_the_demo_migrates_without_posix_modules(tmp_path: Path) -> None:
    done = without_posix(tmp_path, "demo", "--keep", "here")
    assert done.returncode == 0, done.stderr
    assert "verified" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_command_in_a_sandbox_runs_without_posix_modules(tmp_path: Path) -> None:
    done = without_posix(
        tmp_path, "sandbox", sys.executable, "-c", "import os; print(os.environ['HL_BASE_URL'])"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("http://127.0.0.1")


COMMANDS = (
    ("doctor",),
    ("profiles",),
    ("map", "quotes.csv"),
    ("call", "estimates.list"),
    ("migrate", "quotes.ndjson", "--dry-run", "--check-contacts"),
    ("migrate", "quotes.ndjson"),
    ("status", "quotes.ndjson", "--once"),
    ("verify", "quotes.ndjson", "--report", "found.csv"),
    ("rejects", "quotes.ndjson"),
    ("export", "estimates", "all.csv"),
    ("export", "estimates", "all.csv", "--refresh"),
    ("receivables",),
    ("reconcile",),
    ("auth", "status"),
    ("rollback", "quotes.ndjson", "--yes"),
    ("--version",),
)
"""Every command that works on files, journals or the API and ends by itself."""


def test_every_command_works_without_posix_modules(tmp_path: Path) -> None:
    line = DocumentLine(name="Door", amount=Decimal(10))
    document = Document(
        source_id="1",
        currency="USD",
        customer=DocumentCustomer(name="Ada", email="ada@example.com"),
        lines=[line],
    )
    (tmp_path / "quotes.ndjson").write_bytes(encode_document(document) + b"\n")
    (tmp_path / "quotes.csv").write_text("No,Customer,Item,Price\n1,Ada,Door,10.00\n")
    with served() as box:
        env = {"HL_BASE_URL": box.url, "HL_TOKEN": box.token, "HL_LOCATION_ID": box.location_id}
        ended = {" ".join(command): without_posix(tmp_path, *command, **env) for command in COMMANDS}
    assert {name: done.returncode for name, done in ended.items()} == dict.fromkeys(ended, 0)
    assert not [name for name, done in ended.items() if "Traceback" in done.stderr]
    assert "deleted 1 draft" in ended["rollback quotes.ndjson --yes"].stdout


async def test_a_signal_reaches_the_loop_where_the_loop_takes_no_handlers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(
        loop, "add_signal_handler", asyncio.AbstractEventLoop().add_signal_handler, raising=False
    )
    got: asyncio.Queue[signal.Signals] = asyncio.Queue()
    before = signal.getsignal(signal.SIGTERM)
    with on_signal(got.put_nowait):
        os.kill(os.getpid(), signal.SIGTERM)
        assert await got.get() is signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_lock_is_one_holders_and_names_it(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    assert not is_locked(path)
    held = try_lock(path)
    assert held is not None
    name_holder(held)
    assert holder_of(path) == str(os.getpid())
    assert is_locked(path)
    assert try_lock(path, tries=1) is None
    unlock(held)
    unlock(None)
    assert not is_locked(path)
    assert holder_of(tmp_path / "none") == ""
    with pytest.raises(OSError, match="No such file"):
        try_lock(tmp_path / "no" / "folder")
