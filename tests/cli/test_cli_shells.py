"""Completion in the shells themselves, set up as ``hl-async completion --help`` says."""

from __future__ import annotations

import os
import pty
import select
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hl_async.cli.app import run
from hl_async.cli.exits import ExitCode
from warm import warm_command

LINES = {
    "hl-async doc": "doctor",
    "hl-async call estimates.create_": "estimates.create_invoice",
    "hl-async verify ord": "orders.csv",
}
"""What a person types, and the word that Tab makes of its end."""


pytestmark = pytest.mark.untraced


def needs(shell: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(shell) is None, reason=f"{shell} is not installed here")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home and working folder with a run in it, and `hl-async` on the path."""
    program = tmp_path / "bin" / "hl-async"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.join(warm_command())} "$@"\n')
    program.chmod(0o755)
    for name in ("orders.csv", "orders.csv.hl.db"):
        (tmp_path / name).touch()
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / ".config"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Terminal:
    """A shell on a terminal of its own; what is typed arrives as key presses."""

    def __init__(self, *command: str) -> None:
        self._ours, theirs = pty.openpty()
        self._shell = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, "TERM": "dumb"},
            start_new_session=True,
        )  # fmt: skip
        os.close(theirs)

    def type(self, text: str, until: str) -> str:
        """Press keys, and return what the terminal shows; it ends when `until` is seen, or after a while."""
        os.write(self._ours, text.encode())
        shown, ends = "", time.monotonic() + 20
        while until not in shown and time.monotonic() < ends:
            if select.select([self._ours], [], [], 0.2)[0]:
                shown += os.read(self._ours, 65536).decode(errors="replace")
        return shown

    def close(self) -> None:
        self._shell.kill()
        self._shell.wait()
        os.close(self._ours)


@pytest.fixture
def zsh(home: Path) -> Iterator[Terminal]:
    (home / ".zshrc").write_text(
        'autoload -Uz compinit && compinit -u -D\neval "$(hl-async completion zsh)"\n'
    )
    terminal = Terminal("zsh", "-i")
    try:
        assert "ready" in terminal.type("echo rea''dy\n", "ready")
        yield terminal
    finally:
        terminal.close()


@needs("zsh")
def test_zsh_completes_after_its_line_in_the_start_file(zsh: Terminal) -> None:
    for line, word in LINES.items():
        # Ctrl-U empties the line that the last round left.
        assert word in zsh.type(f"\x15{line}\t", word), line


@needs("bash")
def test_bash_completes_after_its_line_in_the_start_file(home: Path) -> None:
    program = """
    eval "$(hl-async completion bash)"
    while read -r line; do
        read -ra COMP_WORDS <<<"$line"
        COMPREPLY=()
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        $(complete -p hl-async | sed 's/.*-F \\([^ ]*\\).*/\\1/') hl-async
        echo "${COMPREPLY[@]}"
    done
    """
    done = subprocess.run(
        ["bash", "--norc", "-c", program],
        input="\n".join([*LINES, ""]),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == list(LINES.values()), done.stderr


@needs("fish")
def test_fish_completes_after_its_file_was_written(home: Path) -> None:
    place = home / ".config/fish/completions/hl-async.fish"
    place.parent.mkdir(parents=True)
    place.write_text(
        subprocess.run(["hl-async", "completion", "fish"], capture_output=True, text=True, check=True).stdout
    )
    for line, word in LINES.items():
        done = subprocess.run(
            ["fish", "-c", f"complete -C '{line}'"], capture_output=True, text=True, check=True
        )
        assert [shown.split("\t")[0] for shown in done.stdout.splitlines()] == [word], done.stderr


def test_a_shell_that_is_unknown_is_named_with_those_that_are_known(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["completion", "csh"]) == ExitCode.USAGE
    assert "bash" in capsys.readouterr().err
