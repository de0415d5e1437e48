"""``hl-async export`` and ``hl-async copy``."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import click
import msgspec

from hl_async.bulk.export import LISTS, copy_source, export, invoiced
from hl_async.bulk.journals.protocol import ItemRow
from hl_async.bulk.preparation import Planned, require_new
from hl_async.bulk.protocol import SETTLE, State
from hl_async.bulk.reports import RunReport
from hl_async.bulk.run import Run
from hl_async.bulk.sources.records import SourceItem
from hl_async.bulk.target import LocationTarget
from hl_async.cli.app import put_json, run_async, say, tell
from hl_async.cli.exits import ExitCode
from hl_async.cli.progress import progress
from hl_async.cli.render import report_lines
from hl_async.cli.sessions import Counting, base_url_option, client, draining, json_option, report_json
from hl_async.errors import InvalidRequest
from hl_async.operations import CREATE_INVOICE_FROM_ESTIMATE, plain_id


@click.command("export")
@click.argument("kind", type=click.Choice(list(LISTS)))
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@click.option("--format", "form", type=click.Choice(["ndjson", "csv"]),
              help="What to write; default by the ending of FILE, ndjson for -.")  # fmt: skip
@click.option("--refresh", is_flag=True, help="Drop an unfinished export and start from the first document.")
@click.option("--location", metavar="ID", help="The location; default HL_LOCATION_ID.")
@base_url_option
@json_option
def export_command(
    kind: str,
    file: Path,
    form: str | None,
    refresh: bool,
    location: str | None,
    base_url: str | None,
    as_json: bool,
) -> int:
    """Write all estimates or invoices of a location into FILE: .ndjson, or .csv for a flat table; - is stdout.

    \b
    hl-async export estimates all.ndjson
    hl-async export invoices invoices.csv --location ID
    hl-async export estimates - | jq .name

    FILE is replaced when the export is complete; until then the documents are in FILE.part. Interrupted, the same
    command continues with it. The list is read again until nothing new comes; what is created and deleted between
    two passes can't be seen. An .ndjson of estimates is a source for migrate.
    """
    to_stdout = str(file) == "-"
    table = _is_table(file, form, to_stdout)
    if to_stdout and as_json:
        raise InvalidRequest("--json", "and the documents would both go to stdout; give a FILE")

    async def main() -> ExitCode:
        target = sys.stdout.buffer if to_stdout else file
        async with client(base_url, Counting()) as hl:
            found = await export(hl.location(location), kind, target, table=table, refresh=refresh)
        if as_json:
            put_json(msgspec.to_builtins(found))
            return ExitCode.OK
        speak = say if to_stdout else tell
        speak(f"{'stdout' if to_stdout else file}: {found.documents:,} {kind}")
        if found.written != found.documents:
            speak(f"{found.documents - found.written:,} of them were read by an earlier, interrupted export")
        if found.late:
            speak(f"{found.late:,} of them were found only by reading the list again")
        return ExitCode.OK

    return int(run_async(main))


def _is_table(file: Path, form: str | None, to_stdout: bool) -> bool:
    if form is not None:
        return form == "csv"
    ending = file.suffix.lower()
    if not to_stdout and ending not in (".ndjson", ".jsonl", ".csv"):
        raise InvalidRequest(
            "FILE", f"{file.name} is neither .ndjson (whole documents) nor .csv (a flat table); give --format"
        )
    return ending == ".csv"


_DRAFTS: Final = (
    "copies are drafts, and the API makes invoices only from estimates that their customer accepted (rule "
    "accepted_first). Copy without it, or set HL_RULES_OFF=accepted_first for a server that takes drafts"
)


@click.command()
@click.option("--from", "source", metavar="ID", required=True, help="The location to copy from.")
@click.option("--to", "target", metavar="ID", required=True, help="The location to copy into.")
@click.option(
    "--journal", type=click.Path(path_type=Path), help="Default FROM-TO.hl.db; the same command resumes."
)
@click.option(
    "--with-invoices",
    is_flag=True,
    help="Make invoices from the copies; needs HL_RULES_OFF=accepted_first.",
)
@click.option(
    "--cut-names", is_flag=True, help="Cut names and titles that are too long, instead of rejecting them."
)
@click.option("--again", is_flag=True, help="Create documents that another run copied already.")
@click.option("--settle", type=click.FloatRange(0.0), default=SETTLE, show_default=True, metavar="SECONDS",
              help="How long a request without an answer may still take effect.")  # fmt: skip
@click.option("--attempt-timeout", type=click.FloatRange(0.1), default=30.0, show_default=True, metavar="SECONDS",
              help="How long one request may take.")  # fmt: skip
@click.option("--base-url", metavar="URL", help="The server; default HL_BASE_URL, else the real API.")
@click.option("--json", "as_json", is_flag=True, help="One JSON line on stdout instead of text.")
def copy(
    source: str,
    target: str,
    journal: Path | None,
    with_invoices: bool,
    cut_names: bool,
    again: bool,
    settle: float,
    attempt_timeout: float,
    base_url: str | None,
    as_json: bool,
) -> int:
    """Copy the estimates of one location into another, exactly once; the token must be good for both.

    \b
    hl-async copy --from ID --to ID

    Numbers and states are left behind; everything else the copy can hold is kept. Interrupted, the same command
    continues. The live API makes invoices only from accepted estimates, and copies are drafts: so --with-invoices is
    refused, unless HL_RULES_OFF names the rule accepted_first.
    """
    for field, value in (("--from", source), ("--to", target)):
        plain_id(field, value)
    if source == target:
        raise InvalidRequest("--to", "is the location to copy from")
    path = journal or Path(f"{source}-{target}.hl.db")
    counting = Counting()

    async def main() -> ExitCode:
        async with client(base_url, counting, attempt_timeout=attempt_timeout) as hl:
            if with_invoices and "accepted_first" not in hl.rules_off:
                raise InvalidRequest("--with-invoices", _DRAFTS)

            async def execute(run: Run) -> RunReport:
                with progress("done", as_json, counting) as show, draining(run.stop):
                    return await run.execute(
                        lambda one: LocationTarget(hl.location(one), run.operation, run.keys),
                        settle=settle,
                        attempt_timeout=attempt_timeout,
                        on_progress=show,
                    )

            mark = f"copy:{source}:{target}"
            name = f"copy of {source}"
            async with await Run.create(path, fingerprint=mark, location=target, source_name=name) as run:
                if not run.is_planned:
                    await run.plan(copy_source(hl.location(source), cut_names=cut_names), max_rejects="100%")
                    await require_new(Planned(run, path, is_new=True, is_named=True), hl, again=again)
                report = await execute(run)
                created = await run.each(State.CREATED)
            report = _counted(report, counting, 0, 0)
            invoices = None
            if with_invoices and report.state == "done":
                wanted = await invoiced(hl.location(source))
                invoices = await _invoices(path, mark, target, wanted, created, execute)
                invoices = _counted(invoices, counting, report.requests, report.refused)
        return _summary(report, invoices, as_json=as_json)

    return int(run_async(main))


def _counted(report: RunReport, counting: Counting, requests: int, refused: int) -> RunReport:
    """Add the requests since a run began, which the counts at that time leave out."""
    return msgspec.structs.replace(
        report, requests=counting.requests - requests, refused=counting.refused - refused
    )


def _summary(estimates: RunReport, invoices: RunReport | None, *, as_json: bool) -> ExitCode:
    """Print what both runs did; the exit code is the more serious of theirs."""
    if as_json:
        more = {} if invoices is None else {"invoices": report_json(invoices)}
        put_json({**report_json(estimates), **more})
    else:
        for line in report_lines(estimates):
            click.echo(line)
        if invoices is not None:
            click.echo("\ninvoices of these copies")
            for line in report_lines(invoices):
                click.echo(line)
    reports = [estimates] if invoices is None else [estimates, invoices]
    for report in reports:
        if report.state != "done":
            say(f"stopped{f' ({report.reason})' if report.reason else ''}; the same command continues")
            return ExitCode.STOPPED
    if any(report.unknown for report in reports):
        return ExitCode.HELD
    return ExitCode.REJECTS if any(report.rejected for report in reports) else ExitCode.OK


async def _invoices(
    path: Path,
    mark: str,
    target: str,
    wanted: set[str],
    created: list[ItemRow],
    execute: Callable[[Run], Awaitable[RunReport]],
) -> RunReport:
    """A second run, with a journal of its own: invoices from the copies whose originals had one."""
    second = path.with_name(path.name + ".invoices")
    items = [
        SourceItem(n, row.document or "", b'{"markAsInvoiced":true}', (row.document or "",), place=row.place)
        for n, row in enumerate(row for row in created if row.source_id in wanted)
    ]
    async with await Run.create(
        second, fingerprint=mark, location=target, operation=CREATE_INVOICE_FROM_ESTIMATE
    ) as run:
        if not run.is_planned:
            await run.plan(items)
        return await execute(run)
