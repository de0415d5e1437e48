"""Systems without POSIX: what the commands need is found elsewhere."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hl_async.cli.signals import on_signal
from hl_async.storage.locks import holder_of, is_locked, name_holder, try_lock, unlock

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
