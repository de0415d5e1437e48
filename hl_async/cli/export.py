"""Internal. ``hl-async export`` and ``hl-async copy``."""

from __future__ import annotations

import re
import sys
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

import click
import msgspec

from hl_async.bulk.export import LISTS, Exported, copy_source, export, invoiced
from hl_async.bulk.export_files import FORM_OF_ENDING, FORMS, Form, Per
from hl_async.bulk.journals.protocol import ItemRow
from hl_async.bulk.preparation import Planned, require_new
from hl_async.bulk.protocol import SETTLE, State
from hl_async.bulk.reports import RunReport
from hl_async.bulk.run import Run
from hl_async.bulk.sources.records import SourceItem
from hl_async.cli.app import put_json, run_async, say, tell
from hl_async.cli.contact_options import ContactChoice, policy_options
from hl_async.cli.exits import ExitCode
from hl_async.cli.progress import progress
from hl_async.cli.render import report_lines
from hl_async.cli.sessions import Counting, base_url_option, client, draining, json_option, report_json
from hl_async.errors import InvalidRequest
from hl_async.operations import CREATE_INVOICE_FROM_ESTIMATE, plain_id


@click.command("export")
@click.argument("kind", type=click.Choice(list(LISTS)))
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@click.option("--format", "form", type=click.Choice(FORMS),
              help="What to write; default by the ending of FILE, ndjson for -.")  # fmt: skip
@click.option("--per", type=click.Choice(["document", "line"]), default="document", show_default=True,
              help="A row per document or per line; csv and parquet only.")  # fmt: skip
@click.option("--since", metavar="WHEN",
              help="Only documents updated since 2026-11-28, 2026-11-28T06:00:00Z, 24h or 7d.")  # fmt: skip
@click.option("--refresh", is_flag=True, help="Drop an unfinished export and start from the first document.")
@click.option("--location", metavar="ID", help="The location; default HL_LOCATION_ID.")
@base_url_option
@json_option
def export_command(
    kind: str,
    file: Path,
    form: Form | None,
    per: Per,
    since: str | None,
    refresh: bool,
    location: str | None,
    base_url: str | None,
    as_json: bool,
) -> int:
    """Write the estimates or invoices of a location into FILE.

    FILE ends in .ndjson for whole documents, in .csv or .parquet for flat rows; - is stdout.

    \b
    hl-async export estimates all.ndjson
    hl-async export invoices lines.parquet --per line
    hl-async export invoices changed.csv --since 24h
    hl-async export estimates - | jq .name

    FILE is replaced when the export is complete; until then the documents are in FILE.part. Interrupted, the same
    command continues with it for a day. The list is read again until nothing new comes; a document that is created
    and deleted between two passes is not seen. An .ndjson of estimates is a source for migrate.
    """
    to_stdout = str(file) == "-"
    form = form or _form_of(file, to_stdout)
    moment = None if since is None else moment_in(since, datetime.now(UTC))
    if to_stdout and as_json:
        raise InvalidRequest("--json", "and the documents would both go to stdout; give a FILE")

    async def main() -> ExitCode:
        target = sys.stdout.buffer if to_stdout else file
        async with client(base_url, Counting()) as hl:
            found = await export(
                hl.location(location), kind, target, form=form, per=per, since=moment, refresh=refresh
            )
        if as_json:
            put_json(msgspec.to_builtins(found))
        else:
            for line in _said(found, kind, "stdout" if to_stdout else str(file)):
                # Stdout holds the documents then.
                (say if to_stdout else tell)(line)
        return ExitCode.OK

    return int(run_async(main))


def _said(found: Exported, kind: str, where: str) -> Iterator[str]:
    yield f"{where}: {found.documents:,} {kind}"
    if found.unchanged:
        yield f"{found.unchanged:,} others did not change since then"
    if found.resumed:
        yield f"{found.resumed:,} were read by an earlier, interrupted export"
    if found.late:
        yield f"{found.late:,} were found only by reading the list again"
    if not found.is_settled:
        yield "the list still changed at the end, so documents may be missing; run it again"


def _form_of(file: Path, to_stdout: bool) -> Form:
    if to_stdout:
        return "ndjson"
    form = FORM_OF_ENDING.get(file.suffix.lower())
    if form is None:
        raise InvalidRequest(
            "FILE",
            f"{file.name} is neither .ndjson (whole documents) nor .csv or .parquet (flat rows); give --format",
        )
    return form


def moment_in(text: str, now: datetime) -> date | datetime:
    """Read a day, a moment with a time zone, or hours or days before `now`.

    Raises:
        InvalidRequest: The text is not a time.
    """
    ago = re.fullmatch(r"(\d{1,5})([hd])", text)
    if ago:
        return now - timedelta(**{"hours" if ago[2] == "h" else "days": int(ago[1])})
    try:
        return date.fromisoformat(text) if len(text) == len("2026-11-28") else datetime.fromisoformat(text)
    except ValueError:
        pass
    raise InvalidRequest(
        "--since", f"{text!r} is not a time; give 2026-11-28, 2026-11-28T06:00:00Z, 24h or 7d"
    )


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
@policy_options
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
    contacts: ContactChoice,
) -> int:
    """Copy the estimates of one location into another, exactly once.

    \b
    hl-async copy --from ID --to ID

    The token must be good for both. Customers are found in the other location by e-mail or phone number, or created:
    ids of contacts are not carried over. Numbers and states are left behind; everything else the copy can hold is kept.
    Interrupted, the same command continues. The live API makes invoices only from accepted estimates, and copies are
    drafts: so --with-invoices is refused, unless HL_RULES_OFF names the rule accepted_first.
    """
    _check_copy(source, target, contacts)
    path = journal or Path(f"{source}-{target}.hl.db")
    counting = Counting()

    async def main() -> ExitCode:
        async with client(base_url, counting, attempt_timeout=attempt_timeout) as hl:
            if with_invoices and "accepted_first" not in hl.rules_off:
                raise InvalidRequest("--with-invoices", _DRAFTS)

            async def execute(run: Run) -> RunReport:
                with progress("done", as_json, counting) as show, draining(run.stop):
                    return await run.execute(
                        lambda lane: run.target(hl, lane),
                        settle=settle,
                        attempt_timeout=attempt_timeout,
                        on_progress=show,
                    )

            mark = f"copy:{source}:{target}"
            name = f"copy of {source}"
            async with await Run.create(path, fingerprint=mark, location=target, source_name=name) as run:
                if not run.is_planned:
                    records = copy_source(hl.location(source), cut_names=cut_names)
                    # no mapping can be wrong, so rejects do not stop a copy
                    await run.plan(records, max_rejects="100%", contacts=contacts.policy)
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


def _check_copy(source: str, target: str, contacts: ContactChoice) -> None:
    """Refuse options of a copy that are not valid or don't fit together."""
    for field, value in (("--from", source), ("--to", target)):
        plain_id(field, value)
    contacts.check(dry_run=False, has_source=True)
    if source == target:
        raise InvalidRequest("--to", "is the location to copy from")


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
            tell(line)
        if invoices is not None:
            click.echo("\ninvoices of these copies")
            for line in report_lines(invoices):
                tell(line)
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
    """Make invoices from copies whose originals had one, in a run of their own."""
    # A journal holds one operation. The key of an invoice is the id of its estimate.
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
