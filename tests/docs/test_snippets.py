"""Every program and command that README and docs show is run, page by page, against a sandbox.

A fenced ``python`` block is executed with what the blocks above it defined, and with ``hl`` (a client), ``shop`` (its
location) and ``box`` (the sandbox); a block with ``notest`` and a reason behind the language is shown only. A file name
behind the language writes the block to that file. In a ``console`` block the lines behind ``$`` are run by a shell, and what
stands below them must come out, in order; ``…`` stands for anything, ``# exit N`` for an exit code other than 0. HTML
comments that begin with ``setup`` hold Python that a reader need not see. Pages with workers find a Postgres in
``HL_POSTGRES``. A ``yaml`` block is read, and the commands in it are looked up.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest
import yaml
from blockbuster import BlockBuster

from hl_async import HighLevel
from hl_async.cli.app import app as commands
from hl_async.sandbox import Sandbox
from warm import warm_command

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "hl_async/SKILL.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHOWN_ONLY = {
    "docs/how-to/telemetry.md": 1,
    "docs/how-to/command-line.md": 1,
    "README.md": 2,
    "docs/credentials.md": 3,
    "docs/governor.md": 1,
    "docs/how-to/from-official-sdk.md": 5,
    "docs/how-to/scale-out.md": 3,
    "docs/how-to/sync.md": 1,
    "docs/how-to/warehouse.md": 1,
    "docs/migrating.md": 1,
    "docs/sandbox.md": 1,
    "docs/tutorial/first-answer.md": 3,
}
"""How many blocks of a page are not run; each says why. A new one has to be entered here."""

_BLOCK = re.compile(
    r"^```(?P<language>[\w{}:-]*)[ ]*(?P<info>[^\n]*)\n(?P<body>.*?)^```$|^<!-- ?setup\n(?P<setup>.*?)-->$",
    re.MULTILINE | re.DOTALL,
)
_COMMANDS = ("$", "hl-async", "pip", "python", "make", "docker", "kubectl")


class Block(NamedTuple):
    line: int
    language: str
    info: str
    body: str

    @property
    def is_run(self) -> bool:
        return self.language in ("python", "console", "setup") and not self.info.startswith("notest")


def blocks(page: Path) -> list[Block]:
    text = page.read_text("utf-8")
    found = []
    for match in _BLOCK.finditer(text):
        line = text.count("\n", 0, match.start()) + 2
        hidden = match["setup"]
        if hidden is None:
            found.append(Block(line, match["language"], match["info"].strip(), match["body"]))
        else:
            found.append(Block(line, "setup", "", hidden))
    return found


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture
def shell(
    tmp_path: Path,
    box: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> dict[str, str]:
    """A folder with the commands a reader has after installing, and the environment that points at the sandbox."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, words in (("python", f'"{sys.executable}"'), ("hl-async", shlex.join(warm_command()))):
        (folder / name).write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        (folder / name).chmod(0o755)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    settings = {
        "HL_BASE_URL": box.url,
        "HL_TOKEN": box.token,
        "HL_LOCATION_ID": box.location_id,
        "PYTHONDONTWRITEBYTECODE": "",  # compiled once for all the commands of the docs
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    page = request.getfixturevalue("page")
    if any(block.is_run and "HL_POSTGRES" in block.body for block in blocks(page)):
        settings["HL_POSTGRES"] = request.getfixturevalue("dsn")
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return {**os.environ}


async def run_python(block: Block, names: dict[str, Any], where: str) -> None:
    code = compile(
        "\n" * (block.line - 1) + block.body,
        where,
        "exec",
        flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
        dont_inherit=True,
    )
    if "asyncio.run(" in block.body:
        await asyncio.to_thread(exec, code, names)
    elif code.co_flags & inspect.CO_COROUTINE:
        await eval(code, names)
    else:
        exec(code, names)


async def run_console(block: Block, env: dict[str, str], where: str) -> None:
    commands = re.split(r"^\$ ", block.body, flags=re.MULTILINE)
    assert not commands[0].strip(), f"{where}: a console block begins with a command"
    for text in commands[1:]:
        command, _, expected = text.partition("\n")
        while command.endswith("\\"):
            more, _, expected = expected.partition("\n")
            command = f"{command[:-1]} {more}"
        wanted = re.search(r"# exit (\d+)", command)
        process = await asyncio.create_subprocess_shell(
            command, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        shown = (await process.communicate())[0].decode()
        assert process.returncode == (int(wanted[1]) if wanted else 0), f"{where}: {command}\n{shown}"
        rest = shown
        for line in filter(None, (line.strip() for line in expected.splitlines())):
            match = re.search(".*".join(re.escape(part) for part in line.split("…")), rest)
            assert match, f"{where}: {command}\nshould say: {line}\nsaid:\n{shown}"
            rest = rest[match.end() :]


@pytest.mark.parametrize("page", [page for page in PAGES if any(b.is_run for b in blocks(page))], ids=named)
@pytest.mark.untraced
async def test_every_snippet_of_a_page_runs(
    page: Path,
    box: Sandbox,
    hl: HighLevel,
    shell: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    no_blocking_calls: BlockBuster,
) -> None:
    no_blocking_calls.deactivate()  # a script of a reader may read its files as it likes
    names: dict[str, Any] = {"hl": hl, "shop": hl.location(), "box": box, "__name__": "__main__"}
    for block in blocks(page):
        where = f"{named(page)}:{block.line}"
        if re.fullmatch(r"[\w.-]+\.\w+", block.info):
            Path(block.info).write_text(block.body, "utf-8")
        elif block.is_run and block.language == "console":
            await run_console(block, shell, where)
        elif block.is_run:
            await run_python(block, names, where)
    capsys.readouterr()


def test_what_is_not_run_says_why_and_is_counted() -> None:
    counted = {}
    for page in PAGES:
        shown = [b for b in blocks(page) if b.language in ("python", "console") and not b.is_run]
        for block in shown:
            assert len(block.info.split()) > 2, f"{named(page)}:{block.line}: notest needs a reason"
        if shown:
            counted[named(page)] = len(shown)
    assert counted == SHOWN_ONLY


def test_no_command_hides_in_a_block_without_a_language() -> None:
    for page in PAGES:
        for block in blocks(page):
            if block.language in ("", "sh", "bash", "shell"):
                assert not block.body.startswith(_COMMANDS), f"{named(page)}:{block.line}: say console"


def _command_lines(value: Any) -> Iterator[list[str]]:
    """The words of every command in a manifest."""
    for key, inside in value.items() if isinstance(value, dict) else enumerate(value):
        if key in ("command", "args"):
            yield inside
        if isinstance(inside, dict | list):
            yield from _command_lines(inside)


def test_every_manifest_can_be_read_and_names_commands_and_options_that_exist() -> None:
    seen = 0
    for page in PAGES:
        for block in blocks(page):
            if block.language != "yaml":
                continue
            for manifest in yaml.safe_load_all(block.body):
                assert isinstance(manifest, dict), f"{named(page)}:{block.line}"
                for line in _command_lines(manifest):
                    command = commands.get_command(click.Context(commands), line[0])
                    assert command is not None, line
                    known = {option for parameter in command.params for option in parameter.opts}
                    assert {word for word in line if word.startswith("--")} <= known, line
                    seen += 1
    assert seen >= 4


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_link_between_pages_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|mailto:)([^)#\s]+)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), f"{named(page)}: {target}"
