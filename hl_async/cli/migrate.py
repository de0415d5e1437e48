"""Internal. ``hl-async migrate``: plan, and run here or by workers."""

from __future__ import annotations

import asyncio
import shlex
import sys
import time
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from hl_async.bulk.journals.sqlite import SqliteJournals
from hl_async.bulk.left_out import LeftOut, write_left_out
from hl_async.bulk.migration import migrate as run_migration
from hl_async.bulk.migration import plan, with_files
from hl_async.bulk.preparation import MigrationSettings, Plan, plan_of, prepare, require_new, retry_rejected
from hl_async.bulk.protocol import SETTLE, State
from hl_async.bulk.reports import Forecast, PaymentCounts, RunReport, StateCounts
from hl_async.bulk.run import Run
from hl_async.bulk.sources.document import document_schema
from hl_async.bulk.sources.opening import OpenedSource
from hl_async.bulk.stages.payments import PaymentPolicy
from hl_async.cli.app import fail, put_json, run_async, say, tell
from hl_async.cli.contact_options import ContactChoice, contact_options
from hl_async.cli.exits import ExitCode
from hl_async.cli.handing_over import Handover, hand_over
from hl_async.cli.journal_options import (
    RunPlace,
    name_for,
    name_of,
    postgres_option,
    required_postgres,
    run_name,
    store_of,
)
from hl_async.cli.payment_options import payment_options
from hl_async.cli.progress import progress
from hl_async.cli.render import forecast_line, plan_lines, report_lines, shown
from hl_async.cli.sessions import Counting, base_url_option, client, draining, json_option, report_json
from hl_async.cli.source_options import SourceChoice, source_options
from hl_async.config import Environment
from hl_async.errors import (
    AlreadyMigrated,
    JournalCorrupt,
    JournalError,
    JournalLocked,
    JournalMismatch,
    JournalMissing,
)

if TYPE_CHECKING:
    from hl_async.bulk.journals.store import JournalStore
    from hl_async.client import HighLevel


@click.command()
@click.argument("source", required=False, type=click.Path(path_type=Path))
@click.argument("others", nargs=-1, metavar="[[NAME=]FILE]...")
@source_options
@click.option("--schema", is_flag=True, help="Print the JSON Schema of a document, and end.")
@click.option("--location", metavar="ID", help="Where to create; default HL_LOCATION_ID.")
@click.option(
    "--journal",
    metavar="FILE|NAME",
    help="The run's journal; default SOURCE.hl.db, in a database SOURCE's name.",
)
@click.option("--resume", metavar="FILE|NAME", type=RunPlace(), help="Continue the run of this journal.")
@click.option("--engine", type=click.Choice(["local", "dbos"]), default="local", show_default=True,
              help="Who works: this process, or the workers of a database.")  # fmt: skip
@postgres_option
@click.option("--detach", is_flag=True, help="With --engine dbos: hand the run over, and don't watch.")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Check everything, show rejects and the first document; make no request.",
)
@click.option(
    "--rejects", type=click.Path(path_type=Path), help="The reject file; default SOURCE.rejects.EXT."
)
@click.option("--retry-rejected", is_flag=True, help="Send again what the API rejected.")
@click.option(
    "--continue",
    "continues",
    metavar="FILE|NAME",
    type=RunPlace(),
    help="The journal of an earlier run: plan only the new documents of SOURCE.",
)
@click.option(
    "--again", is_flag=True, help="Create documents that another run of the source created already."
)
@click.option(
    "--source-name",
    metavar="NAME",
    help="The system that SOURCE comes from; default the name of profile, query, mapping or file.",
)
@click.option(
    "--max-in-flight",
    type=click.IntRange(1, 1000),
    default=64,
    show_default=True,
    metavar="N",
    help="Requests under way at once, at most; fewer when the server gets slow. Workers have their own.",
)
@click.option(
    "--max-rejects", default="10%", show_default=True, metavar="N|P%", help="Stop planning above this."
)
@click.option(
    "--share",
    type=click.FloatRange(0.01, 1.0),
    default=1.0,
    metavar="PART",
    help="Part of the rate budget that this process uses.",
)
@click.option(
    "--limit",
    type=click.IntRange(1),
    metavar="N",
    help="Only the first N documents, as a trial; the same command without it creates the rest.",
)
@click.option("--settle", type=click.FloatRange(0.0), default=SETTLE, show_default=True, metavar="SECONDS",
              help="How long a request without an answer may still take effect.")  # fmt: skip
@click.option("--attempt-timeout", type=click.FloatRange(0.1), default=30.0, show_default=True, metavar="SECONDS",
              help="How long one request may take.")  # fmt: skip
@click.option(
    "--key",
    default="meta",
    show_default=True,
    help="Where the run's key goes: meta, name, title, number:FIRST, field:X.",
)
@contact_options
@payment_options
@base_url_option
@json_option
def migrate(**options: Any) -> int:
    """Create the estimates and invoices of SOURCE, each of them exactly once.

    SOURCE is a .csv or .xlsx with a mapping (--map), the export of a known system (--from), any files with a query
    (--sql), or .ndjson with one document per line (--schema). The run is kept in a journal: after Ctrl-C, a crash or
    a power cut the same command, or --resume, continues without creating anything twice. After a trial with --limit
    the same command without it creates the rest.

    Customers become contacts first: each one is found by its contact id, e-mail or phone number, or created. A contact
    that is there stays as it is. Payments of invoices are recorded last, each one proven by its invoice.

    \b
    hl-async migrate quotes.csv --from jobber --set currency=USD --dry-run
    hl-async migrate quotes.csv --from jobber --dry-run --check-contacts
    hl-async migrate quotes.csv --from jobber --contacts quotes.contacts.csv
    hl-async migrate --sql quotes.sql quotes.csv customers.csv
    hl-async migrate orders.csv --map orders.toml --location ID --dry-run
    hl-async migrate orders.csv --map orders.toml --location ID --limit 5
    hl-async migrate orders.csv --map orders.toml --location ID
    hl-async migrate invoices.json --from xero --as invoice --allow-receipts
    hl-async migrate quotes.csv --from jobber --invoice-when converted
    hl-async migrate newer.csv --map orders.toml --continue orders.csv.hl.db
    hl-async migrate --resume orders.csv.hl.db
    hl-async migrate orders.csv --map orders.toml --engine dbos  # by workers
    """
    # Before the arguments are checked: who asks for the schema has no source yet.
    if options.pop("schema"):
        put_json(document_schema())
        return ExitCode.OK
    arguments = _Arguments(**options, here=Path.cwd())
    if (arguments.source is None) == (arguments.resume is None):
        fail("give either a SOURCE or --resume JOURNAL")
    if arguments.resume is not None and (way := arguments.reading.way):
        fail(f"{way[0]} says how a SOURCE is read; --resume continues the run as it was planned")
    arguments.contacts.check(dry_run=arguments.dry_run, has_source=arguments.source is not None)
    by_workers = arguments.engine == "dbos"
    if by_workers:
        # Refused now: handed over without a database, the run would wait for workers for good.
        required_postgres(arguments.postgres)
        for option, given in (
            ("--share", arguments.share != 1.0),
            ("--max-in-flight", arguments.max_in_flight != 64),
        ):
            if given:
                fail(
                    f"{option} is for this process; workers have settings of their own: hl-async worker --help"
                )
    elif arguments.detach:
        fail("--detach leaves the work to workers: it needs --engine dbos")
    if arguments.dry_run:
        return int(run_async(lambda: _dry_run(arguments)))
    return int(run_async(lambda: _by_workers(arguments) if by_workers else _here(arguments)))


class _Arguments(msgspec.Struct):
    source: Path | None
    others: tuple[str, ...]
    reading: SourceChoice
    location: str | None
    journal: str | None
    resume: str | None
    engine: str
    postgres: str | None
    detach: bool
    dry_run: bool
    rejects: Path | None
    retry_rejected: bool
    again: bool
    source_name: str | None
    max_in_flight: int
    max_rejects: str
    share: float
    limit: int | None
    settle: float
    attempt_timeout: float
    key: str
    contacts: ContactChoice
    payments: PaymentPolicy | None
    continues: str | None
    base_url: str | None
    as_json: bool
    here: Path

    @property
    def where(self) -> str:
        """The location, from the option or the environment."""
        return self.location or Environment.read().location_id or ""

    def opened(self) -> OpenedSource | None:
        """Return the source, looked at; None when a journal is resumed. Blocking."""
        if self.source is None:
            return None
        return self.reading.opened([self.source, *self.others])

    def store(self) -> JournalStore:
        """Return the journal's store: a database if named or for workers. Blocking."""
        if self.resume is not None:
            return store_of(self.resume, self.postgres)
        assert self.source is not None
        if self.postgres is None and self.engine == "local":
            beside = self.source.with_name(self.source.name + ".hl.db")
            return SqliteJournals(Path(self.journal) if self.journal else beside)
        # Here, because a migration into a file works without the driver of the database.
        from hl_async.bulk.journals.postgres import PostgresJournals
        from hl_async.bulk.workers.worker import worker_name

        name = run_name(self.journal) if self.journal else name_for(self.source)
        return PostgresJournals(required_postgres(self.postgres), name, holder=worker_name())

    def earlier(self) -> JournalStore | None:
        """Return the journal of the run that this one continues. Blocking."""
        return None if self.continues is None else store_of(self.continues, self.postgres)

    def has_known(self, found: Forecast | RunReport) -> bool:
        """Whether documents may be left out because an earlier run created them."""
        return found.skipped > 0 and (self.continues is not None or self.resume is not None)

    def settings(self, journal: JournalStore) -> MigrationSettings:
        """Return the settings of a plan. Blocking."""
        return MigrationSettings(
            location=self.where, journal=journal, key=self.key, limit=self.limit,
            max_rejects=self.max_rejects, rejects=self.rejects, source_name=self.source_name,
            contacts=self.contacts.policy, contacts_file=self.contacts.contacts, payments=self.payments,
            states=self.reading.policy,
            continues=self.earlier(),
        )  # fmt: skip

    def client(self, counting: Counting) -> HighLevel:
        """Return the client of the run."""
        shared = required_postgres(self.postgres) if self.postgres else None
        return client(self.base_url, counting, self.share, self.attempt_timeout, shared)


async def _dry_run(arguments: _Arguments) -> ExitCode:
    """Plan, or look at a journal. No request is made unless customers are looked up."""
    found_source = await asyncio.to_thread(arguments.opened)
    earlier = await asyncio.to_thread(arguments.earlier)
    if found_source is not None:
        chosen = arguments.contacts
        counting = Counting()
        # a dry run creates nothing, so that it needs no account and no place
        where = arguments.where or ("" if chosen.check_contacts else "no-location-yet")
        async with arguments.client(counting) if chosen.check_contacts else nullcontext() as hl:
            found = await plan(
                found_source, location=where, key=arguments.key,
                limit=arguments.limit, max_rejects=arguments.max_rejects, rejects=arguments.rejects,
                contacts=chosen.policy, contacts_file=chosen.contacts, check_contacts=hl,
                payments=arguments.payments, states=arguments.reading.policy, continues=earlier,
            )  # fmt: skip
    else:
        place = await asyncio.to_thread(arguments.store)
        async with await Run.open(place, watch=True) as run:
            await run.require_running()
            # A journal does not hold the source, so its reasons are all there is to show.
            reasons = Counter(row.reason or "" for row in await run.each(State.REJECTED))
            found = await plan_of(run, LeftOut(reasons))
    if arguments.as_json:
        put_json({**msgspec.to_builtins(found.forecast), **_plan_json(found), "dry_run": True})
    else:
        for line in plan_lines(found, arguments.here):
            tell(line)
    if found.warning:
        say(f"warning: {found.warning}")
    if not found.forecast.items and arguments.source is not None and not arguments.has_known(found.forecast):
        return _unusable()
    refused = found.contacts is not None and found.contacts.ambiguous + found.contacts.wrong > 0
    return ExitCode.REJECTS if found.forecast.rejected or refused else ExitCode.OK


def _unusable() -> ExitCode:
    """Say that no document became a request: the mapping or the file is wrong."""
    say("error: the source has no document that can be created; correct its mapping or the file")
    return ExitCode.USAGE


def _plan_json(found: Plan) -> dict[str, Any]:
    return {
        "reasons": found.reasons,
        "reject_file": found.reject_file,
        "skipped_file": found.skipped_file,
        "first": msgspec.to_builtins(found.first),
        "contact_check": msgspec.to_builtins(found.contacts),
    }


async def _here(arguments: _Arguments) -> ExitCode:
    """Run in this process."""
    began = time.monotonic()
    counting = Counting()
    place = await asyncio.to_thread(arguments.store)
    source = await asyncio.to_thread(arguments.opened)
    earlier = await asyncio.to_thread(arguments.earlier)
    started = asyncio.Event()
    stop = asyncio.Event()

    def on_planned(forecast: Forecast) -> None:
        started.set()
        if not arguments.as_json:
            say(forecast_line(forecast))

    async def go(hl: HighLevel, again: bool) -> RunReport:
        with progress("done", arguments.as_json, counting) as show, draining(stop):
            return await run_migration(
                hl, source, location=arguments.where, journal=place,
                key=arguments.key, limit=arguments.limit, max_rejects=arguments.max_rejects,
                rejects=arguments.rejects, retry_rejected=arguments.retry_rejected, again=again,
                source_name=arguments.source_name,
                settle=arguments.settle, attempt_timeout=arguments.attempt_timeout,
                max_in_flight=arguments.max_in_flight, stop=stop, on_planned=on_planned, on_progress=show,
                contacts=arguments.contacts.policy, contacts_file=arguments.contacts.contacts,
                payments=arguments.payments, states=arguments.reading.policy, continues=earlier,
            )  # fmt: skip

    try:
        async with arguments.client(counting) as hl:
            try:
                report = await go(hl, arguments.again)
            except AlreadyMigrated as error:
                if arguments.as_json or not sys.stdin.isatty():
                    raise
                say(str(error))
                if not click.confirm("Create these documents all the same?", err=True):
                    return ExitCode.USAGE
                report = await go(hl, True)
    except asyncio.CancelledError:
        if not started.is_set():
            raise
        async with await Run.open(place, watch=True) as run:
            report = await run.report(reason="interrupted")
            # The watcher's own time is a moment; the work took until now.
            report = msgspec.structs.replace(report, seconds=round(time.monotonic() - began, 3))
            left_out = await write_left_out(run, Path(run.journal.name), arguments.rejects)
        report = with_files(report, left_out)
    except (JournalLocked, JournalMissing, JournalMismatch, JournalCorrupt):
        raise
    except JournalError as error:
        if not started.is_set():
            raise
        say(f"error: {error}")
        say(f"stopped; when the journal can be written again: hl-async migrate --resume {name_of(place)}")
        return ExitCode.STOPPED
    report = msgspec.structs.replace(report, requests=counting.requests, refused=counting.refused)
    return _finish(report, arguments)


async def _by_workers(arguments: _Arguments) -> ExitCode:
    """Plan here, and leave the run to workers."""
    place = await asyncio.to_thread(arguments.store)
    source = await asyncio.to_thread(arguments.opened)
    settings = await asyncio.to_thread(arguments.settings, place)
    planned = await prepare(source, settings)
    async with planned.run as run:
        if arguments.retry_rejected:
            say(f"{await retry_rejected(run, settings):,} rejected documents are planned again")
        if not arguments.as_json:
            say(forecast_line(await run.forecast()))
        if planned.is_new and not arguments.again:
            async with arguments.client(Counting()) as hl:
                await require_new(planned, hl, again=False)
        await run.note_timing(arguments.settle, arguments.attempt_timeout)
        to = Handover(
            arguments.postgres, arguments.base_url, arguments.settle, arguments.attempt_timeout, arguments.detach,
            arguments.as_json,
        )  # fmt: skip
        report = await hand_over(run, to)
        if report is None:
            return ExitCode.OK
        report = with_files(report, await write_left_out(run, planned.beside, arguments.rejects))
        unwatched = run.stop.is_set()
    return _finish(report, arguments, unwatched=unwatched)


def _finish(report: RunReport, arguments: _Arguments, *, unwatched: bool = False) -> ExitCode:
    """Print the report, and what to do next."""
    if arguments.as_json:
        put_json(report_json(report))
    else:
        for line in report_lines(report):
            tell(line)
        if report.skipped_file:
            click.echo(f"skipped    {shown(report.skipped_file, arguments.here)}")
    if report.warning:
        say(f"warning: {report.warning}")
    if report.state != "done" and unwatched:
        say(f"the workers continue; look at it with: hl-async status {report.journal}")
        return ExitCode.STOPPED
    if report.state != "done":
        why = f" ({report.reason})" if report.reason else ""
        more = " --engine dbos" if arguments.engine == "dbos" else ""
        say(f"stopped{why}; continue with: hl-async migrate --resume {report.journal}{more}")
        return ExitCode.STOPPED
    if not arguments.as_json:
        if report.reject_file:
            file = shown(report.reject_file, arguments.here)
            again = shlex.join([file, *arguments.reading.way])
            # A journal does not hold how its source was read.
            again += " with the options of the first run" if arguments.source is None else ""
            click.echo(f"rejects    {file}   correct them, then: hl-async migrate {again}")
        if report.created:
            say(f"compare the documents with the location: hl-async verify {report.journal}")
    payments, states = report.payments or PaymentCounts(), report.states or StateCounts()
    if report.unknown or payments.unknown or states.unknown:
        return ExitCode.HELD
    # What the API rejected was a run.
    if not report.created and not report.rejected_by_api and not arguments.has_known(report):
        return _unusable()
    return ExitCode.REJECTS if report.rejected or payments.rejected or states.rejected else ExitCode.OK
