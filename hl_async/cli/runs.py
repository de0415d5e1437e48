"""Internal. Commands on a finished run: verify, rejects, rollback."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click
import msgspec

from hl_async.bulk.left_out import reject_text
from hl_async.bulk.migration import rollback as roll_back
from hl_async.bulk.migration import verify as compare
from hl_async.bulk.protocol import State
from hl_async.bulk.reports import RollbackReport, RunReport
from hl_async.bulk.run import Run
from hl_async.cli.app import put_json, run_async, say, tell
from hl_async.cli.exits import ExitCode
from hl_async.cli.journal_options import name_of, postgres_option, run_argument, store_of
from hl_async.cli.progress import progress
from hl_async.cli.questions import confirmed
from hl_async.cli.render import plural, rollback_lines, time_of_day, verification_lines
from hl_async.cli.sessions import Counting, base_url_option, client, draining, json_option


@click.command()
@run_argument
@postgres_option
@click.option("--repair", is_flag=True, help="Delete second copies that are drafts of this run.")
@click.option(
    "--report", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Write a finding for every document to FILE: .csv or .ndjson.",
)  # fmt: skip
@base_url_option
@json_option
def verify(
    journal: str, postgres: str | None, repair: bool, report: Path | None, base_url: str | None, as_json: bool
) -> int:
    """Compare the run of JOURNAL with its location: every document, field by field.

    Findings: same, changed (a field differs), missing, unmarked (there without the run's key), extra (a second copy,
    or one that another run made of the same document). A run that was rolled back expects no documents.

    \b
    hl-async verify orders.csv                     # exit code 7: it differs
    hl-async verify orders.csv --report found.csv  # a finding per document
    hl-async verify orders.csv --repair            # deletes second copies
    """
    place = store_of(journal, postgres)

    async def main() -> ExitCode:
        async with client(base_url, Counting()) as hl:
            found = await compare(hl, place, repair=repair, report=report)
        async with await Run.open(place, watch=True) as run:
            left = await run.report()
            totals = run.header.get("totals", "")
        if as_json:
            put_json(msgspec.to_builtins(found))
        else:
            for line in verification_lines(found, report):
                tell(line)
            if totals and not found.differences and found.same:
                click.echo(f"totals {totals}")
            if not left.complete:
                say(f"note: the run is not complete: {_still_open(left)} still to come")
            if left.rejected and left.state == "done":
                say(f"note: {plural(left.rejected, 'rejected document')} of the source: not compared")
        return ExitCode.DIFFERS if found.differences else ExitCode.OK

    return int(run_async(main))


def _still_open(left: RunReport) -> str:
    """Return the open rest of a run in words."""
    parts = (
        (left.planned + left.ambiguous, "document"),
        (left.contacts.open if left.contacts else 0, "customer"),
        (left.payments.open if left.payments else 0, "payment"),
        (left.unswept, "sweep"),
    )
    return ", ".join(plural(number, word) for number, word in parts if number)


@click.command()
@run_argument
@postgres_option
def rejects(journal: str, postgres: str | None) -> int:
    """Print JOURNAL's rejected documents with reasons, in the format of the input.

    \b
    hl-async rejects orders.csv > corrected.csv
    hl-async migrate corrected.csv --map orders.toml   # once they are corrected
    """
    place = store_of(journal, postgres)

    async def main() -> ExitCode:
        async with await Run.open(place, watch=True) as run:
            rows = await run.each(State.REJECTED)
            header = await run.journal.header()
            report = await run.report()
        sys.stdout.buffer.write(b"".join(reject_text(rows, header)))
        if not report.complete:
            say(
                f"note: the run is not complete, {plural(report.planned + report.ambiguous, 'document')} to come"
            )
        if report.state in ("rolling_back", "rolled_back"):
            say(f"note: the run {_STATES[report.state]}; what it deleted or withdrew is not a reject")
        return ExitCode.OK

    return int(run_async(main))


_STATES = {"rolling_back": "is being rolled back", "rolled_back": "was rolled back"}


@click.command()
@run_argument
@postgres_option
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.option("--even-changed", is_flag=True, help="Delete drafts that people changed as well.")
@base_url_option
@json_option
def rollback(
    journal: str, postgres: str | None, yes: bool, even_changed: bool, base_url: str | None, as_json: bool
) -> int:
    """Delete the drafts that the run of JOURNAL created, and close the run for good.

    Documents that people changed, or that are no longer drafts, are kept and named (exit code 4). Requests without an
    answer are waited for. Interrupted, the same command continues (exit code 3 until it is complete). Afterwards the
    source can be migrated again.

    \b
    hl-async rollback orders.csv        # asks first
    hl-async rollback orders.csv --yes
    """
    place = store_of(journal, postgres)
    counting = Counting()

    async def main() -> ExitCode:
        async with await Run.open(place, watch=True) as run:
            report = await run.report()
        if not yes:
            open_ = f", and settle {plural(report.ambiguous, 'request')}" if report.ambiguous else ""
            if not confirmed(f"Delete {plural(report.created, 'draft')}{open_}?"):
                return ExitCode.USAGE
        stop = asyncio.Event()
        async with client(base_url, counting) as hl:
            with progress("done", as_json, counting) as show, draining(stop):
                found = await roll_back(hl, place, even_changed=even_changed, stop=stop, on_progress=show)
        if as_json:
            put_json(msgspec.to_builtins(found))
        else:
            for line in rollback_lines(found):
                tell(line)
        return _ended(found, name_of(place))

    return int(run_async(main))


def _ended(found: RollbackReport, name: str) -> ExitCode:
    """Print the remaining work."""
    if not found.complete:
        until = f" (not before {time_of_day(found.until)})" if found.until else ""
        say(
            f"stopped ({found.reason}); {found.open:,} still open; continue with: hl-async rollback {name}{until}"
        )
        return ExitCode.STOPPED
    return ExitCode.HELD if found.kept else ExitCode.OK
