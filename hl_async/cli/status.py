"""Internal. ``hl-async status`` and ``pause``: a run, its locations and workers."""

from __future__ import annotations

import asyncio
import shutil
import sys
from typing import Final

import click
import msgspec

from hl_async.bulk.journals.protocol import LaneStatus
from hl_async.bulk.journals.sqlite import SqliteJournals
from hl_async.bulk.journals.sqlite_file import is_locked
from hl_async.bulk.journals.store import JournalStore
from hl_async.bulk.kinds import location_of
from hl_async.bulk.reports import RunReport
from hl_async.bulk.run import Run
from hl_async.cli.app import fail, put_json, run_async, say, tell
from hl_async.cli.exits import ExitCode
from hl_async.cli.journal_options import (
    RunPlace,
    name_of,
    postgres_of,
    postgres_option,
    required_postgres,
    run_name,
    store_of,
)
from hl_async.cli.render import lane_lines, report_lines
from hl_async.cli.sessions import json_option, report_json

_EVERY: Final = 1.0


@click.command()
@click.argument("journal", required=False, metavar="[JOURNAL|SOURCE]", type=RunPlace())
@click.option("--once", is_flag=True, help="Show it once, also on a terminal.")
@postgres_option
@json_option
def status(journal: str | None, once: bool, postgres: str | None, as_json: bool) -> int:
    """Show how far the run JOURNAL has come, by location, even while others work.

    JOURNAL is a file, or the name of a run in a database; without it, the runs and workers of the database are
    listed. On a terminal it is shown while a process works on it, or until Ctrl-C. An unanswered document was
    sent and has no answer yet. The command makes no request.

    \b
    hl-async status orders.csv.hl.db
    hl-async status                     # all runs and workers of HL_POSTGRES
    hl-async status orders.csv          # one of them
    hl-async status orders.csv --json   # with every location
    """
    if journal is None:
        if postgres_of(postgres) is None:
            fail("give a JOURNAL, or --postgres to list the runs of a database")
        return int(run_async(lambda: _list(postgres, as_json)))
    live = sys.stderr.isatty() and not once and not as_json
    place = store_of(journal, postgres)
    return int(run_async(lambda: _show(place, as_json=as_json, live=live)))


@click.command()
@click.argument("run")
@postgres_option
def pause(run: str, postgres: str | None) -> int:
    """Let workers begin nothing more of RUN. Requests in flight are finished.

    \b
    hl-async pause orders.csv
    hl-async migrate --resume orders.csv --engine dbos   # and on again
    """
    from hl_async.bulk.workers.dispatcher import Dispatcher
    from hl_async.storage.postgres import Database

    async def main() -> ExitCode:
        database = Database(required_postgres(postgres))
        try:
            dispatch = Dispatcher(database)
            await dispatch.settings(run_name(run))  # raises for an unknown run, before it is paused
            was_open = await dispatch.is_open(run)
            await dispatch.pause(run)
        finally:
            await database.aclose()
        if not was_open:
            say("no worker had anything left to do with it")
            return ExitCode.OK
        say(f"paused; continue with: hl-async migrate --resume {run} --engine dbos")
        return ExitCode.OK

    return int(run_async(main))


async def _show(place: JournalStore, *, as_json: bool, live: bool) -> ExitCode:
    async with await Run.open(place, watch=True) as run:
        report, lanes = await run.report(), await run.journal.lanes()
        if as_json:
            locations = [
                {
                    **msgspec.to_builtins(lane),
                    "location": location_of(lane.location),
                    "kind": run.kinds.kind_of(lane.location),
                    "of": lane.of,
                }
                for lane in lanes
            ]
            # A watcher of a file cannot know whether the process of the run still lives; a lease tells.
            state = "running" if any(lane.holder for lane in lanes) and not report.complete else report.state
            put_json({**report_json(report), "state": state, "locations": locations})
            return ExitCode.OK
        stopped = not report.complete and not _is_worked_on(place)
        if live and not report.complete and not stopped:
            await _watch(run, place)
            report, lanes = await run.report(), await run.journal.lanes()
            stopped = not report.complete
    for line in _lines(report, lanes):
        tell(line)
    if stopped:
        say(f"no process works on it; continue with: hl-async migrate --resume {name_of(place)}")
    return ExitCode.OK


def _is_worked_on(place: JournalStore) -> bool:
    """Return whether a process may work on the run now."""
    # A file's lock tells. A database has workers of its own, which may come at any time.
    return not isinstance(place, SqliteJournals) or is_locked(place.path)


async def _watch(run: Run, place: JournalStore) -> None:
    """Redraw the terminal until the run is complete, its process ends, or Ctrl-C."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    with Live(console=Console(stderr=True), transient=True, auto_refresh=False) as screen:
        while True:
            report, lanes = await run.report(), await run.journal.lanes()
            screen.update(Text("\n".join(_lines(report, lanes))), refresh=True)
            if report.complete or not await asyncio.to_thread(_is_worked_on, place):
                return
            await asyncio.sleep(_EVERY)


def _lines(report: RunReport, lanes: list[LaneStatus]) -> list[str]:
    facts = [line for line in report_lines(report) if not line.startswith("took")]
    size = shutil.get_terminal_size((100, 40))
    # A table longer than the screen would scroll with each redraw.
    return [*facts, *lane_lines(lanes, rows=max(5, size.lines - len(facts) - 4))]


async def _list(postgres: str | None, as_json: bool) -> ExitCode:
    from hl_async.bulk.workers.dispatcher import Dispatcher
    from hl_async.storage.postgres import Database

    database = Database(required_postgres(postgres))
    try:
        dispatch = Dispatcher(database)
        runs, workers = await dispatch.runs(), await dispatch.workers()
    finally:
        await database.aclose()
    if as_json:
        put_json({"runs": msgspec.to_builtins(runs), "workers": msgspec.to_builtins(workers)})
        return ExitCode.OK
    for run in runs:
        state = "done" if not run.lanes else "by workers" if run.dispatched else "waits"
        stopped = f", {run.stopped:,} stopped" if run.stopped else ""
        click.echo(
            f"{run.name:<40} {state:<10} {run.lanes:>7,} locations open, {run.worked_on:,} worked on{stopped}"
        )
    if not runs:
        say("no runs yet; plan one with: hl-async migrate SOURCE --engine dbos")
    for worker in workers:
        click.echo(
            f"worker {worker.name}: {worker.lanes:,} locations{', draining' if worker.draining else ''}"
        )
    return ExitCode.OK
