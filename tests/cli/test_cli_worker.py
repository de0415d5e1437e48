"""Runs that are shared: planned here, worked on by real ``hl-async worker`` processes, looked at from anywhere."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from test_cli import Served, serving

import samples
from hl_async.bulk.workers.dispatcher import Dispatcher
from hl_async.cli.app import run
from hl_async.cli.exits import ExitCode
from hl_async.models.codec import encode
from hl_async.storage.postgres import Database

DOCUMENTS = 60
QUICK = ("--slice", "1", "--lease", "2", "--attempt-timeout", "0.6", "--max-in-flight", "8")
TIMES = ("--settle", "0.5", "--attempt-timeout", "0.6")
_numbers = itertools.count()


@pytest.fixture
def shared() -> Iterator[Served]:
    with serving(locations=6, rate_max=30) as found:
        yield found


@pytest.fixture
def source(shared: Served, dsn: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The name of a file with documents for six locations, in a folder of its own."""
    for name, value in {**shared.env, "HL_POSTGRES": dsn}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    locations = list(shared.control("state")["locations"])
    name = f"shared-{os.getpid()}-{next(_numbers)}.ndjson"
    with Path(name).open("wb") as file:
        for n in range(DOCUMENTS):
            place = locations[n % len(locations)].encode()
            file.write(encode(samples.estimate())[:-1] + b',"sourceId":"d%d","altId":"%s"}\n' % (n, place))
    return name


@contextmanager
def worker(*options: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", "from hl_async.cli import main; main()", "worker", *QUICK, *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def status(name: str, capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    capsys.readouterr()
    assert run(["status", name, "--json"]) == ExitCode.OK
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def until(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < ends, "it never came true"
        time.sleep(0.1)


def dispatching(dsn: str, act: Callable[[Dispatcher], Awaitable[None]]) -> None:
    async def main() -> None:
        database = Database(dsn)
        await act(Dispatcher(database))
        await database.aclose()

    asyncio.run(main())


async def forget_workers(dispatch: Dispatcher) -> None:
    for one in await dispatch.workers():
        await dispatch.deregister(one.name)


@pytest.mark.untraced
def test_a_worker_dies_and_another_one_creates_the_rest(
    source: str, shared: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["migrate", source, "--engine", "dbos", "--detach", *TIMES]) == ExitCode.OK
    said = capsys.readouterr().err
    assert "hl-async status" in said
    # slow enough that it is seen in the middle of its work
    shared.control("faults", {"rates": {"latency": 1.0}, "times": {"latency": 0.4}}, "PUT")
    with worker() as first:
        until(lambda: int(str(status(source, capsys)["created"])) >= 2)
        first.send_signal(signal.SIGKILL)
    shared.control("faults", {"rates": {}}, "PUT")
    left = status(source, capsys)
    assert int(str(left["created"])) < DOCUMENTS
    with worker("--until-idle") as second:
        _, told = second.communicate(timeout=90)
        assert second.returncode == 0, told
    assert "ended:" in told
    report = status(source, capsys)
    assert (report["created"], report["state"]) == (DOCUMENTS, "done")
    for location in shared.control("state")["locations"]:
        assert len(shared.control(f"estimates?location={location}")) == DOCUMENTS / 6
    assert run(["verify", source]) == ExitCode.OK
    assert run(["status", source, "--once"]) == ExitCode.OK
    shown = capsys.readouterr().out
    assert f"verified: {DOCUMENTS} documents" in shown
    assert "6 of 6 locations are done" in shown


def test_sigterm_lets_a_worker_finish_and_give_everything_back(
    source: str, dsn: str, shared: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["migrate", source, "--engine", "dbos", "--detach", *TIMES]) == ExitCode.OK
    with worker("--lanes", "2", "--slice", "60", "--lease", "60", "--attempt-timeout", "10") as process:
        until(lambda: int(str(status(source, capsys)["created"])) >= 5)
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=90)
        assert process.returncode == 0, told
    assert "stopping: requests in flight are finished" in told
    report = status(source, capsys)
    assert report["ambiguous"] == 0
    locations = report["locations"]
    assert isinstance(locations, list)
    assert {lane["holder"] for lane in locations} == {""}
    dispatching(dsn, lambda dispatch: dispatch.pause(source))


def test_a_run_in_the_database_can_be_worked_on_here(
    source: str, dsn: str, shared: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without workers: the journal is shared, the work is this process's."""
    assert (
        run(["migrate", source, "--postgres", dsn, "--journal", source + "-here", *TIMES, "--json"])
        == ExitCode.OK
    )
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["created"] == DOCUMENTS
    assert run(["migrate", "--resume", source + "-here", *TIMES, "--json"]) == ExitCode.OK
    assert run(["rollback", source + "-here", "--yes", "--json"]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["deleted"] == DOCUMENTS
    assert run(["migrate", "--resume", source + "-here", *TIMES]) == ExitCode.STOPPED
    assert "was rolled back" in capsys.readouterr().err
    again = ["migrate", source, "--postgres", dsn, "--journal", source + "-here", *TIMES, "--json"]
    assert run(again) == ExitCode.OK
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["created"] == DOCUMENTS
    assert run(["status", source + "-here.rolled-back-1", "--json"]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["state"] == "rolled_back"


def test_a_plan_that_fails_leaves_nothing_in_the_database(
    source: str, dsn: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(source).write_text('{"name": 1}\n' * 300)
    assert run(["migrate", source, "--engine", "dbos"]) == ExitCode.USAGE
    assert "the mapping is probably wrong" in capsys.readouterr().err
    assert run(["status", source]) == ExitCode.USAGE
    assert f"the run '{source}' is missing" in capsys.readouterr().err


def test_runs_are_listed_and_paused(source: str, dsn: str, capsys: pytest.CaptureFixture[str]) -> None:
    dispatching(dsn, forget_workers)
    assert run(["migrate", source, "--engine", "dbos", "--detach"]) == ExitCode.OK
    assert "no worker is there yet" in capsys.readouterr().err
    assert run(["status"]) == ExitCode.OK
    listed = capsys.readouterr().out
    assert any(line.startswith(source) and "by workers" in line for line in listed.splitlines())
    assert run(["pause", source]) == ExitCode.OK
    assert run(["status", "--json"]) == ExitCode.OK
    runs = json.loads(capsys.readouterr().out.splitlines()[-1])["runs"]
    assert [one["dispatched"] for one in runs if one["name"] == source] == [False]
    assert run(["pause", "nobody"]) == ExitCode.USAGE


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["migrate", "x.ndjson", "--detach"], "--engine dbos"),
        (["migrate", "x.ndjson", "--engine", "dbos"], "HL_POSTGRES"),
        (["worker"], "HL_POSTGRES"),
        (["pause", "x"], "HL_POSTGRES"),
        (["status"], "give a JOURNAL"),
        (["worker", "--postgres", "mysql://u:s3ntinel-access@x"], "not a postgresql:// address"),
        (["worker", "--postgres", "postgresql://[u:s3ntinel-access@x"], "not a postgresql:// address"),
        (["status", "a b", "--postgres", "postgresql://x"], "is not a name of a run"),
    ],
)
def test_what_is_missing_is_named(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HL_POSTGRES", raising=False)
    monkeypatch.setenv("HL_TOKEN", "pit-5ent1nel")
    assert run(arguments) == ExitCode.USAGE
    assert text in capsys.readouterr().err
