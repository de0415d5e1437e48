"""``hl-async migrate``: plan, and run here or by workers."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from hl_async.bulk.journals.sqlite import SqliteJournals
from hl_async.bulk.keys import key_carrier
from hl_async.bulk.protocol import SETTLE
from hl_async.bulk.run import Forecast, Run, RunReport
from hl_async.bulk.sources.mapping import Mapping
from hl_async.bulk.sources.readers import fingerprint, header_of, read_source
from hl_async.bulk.target import LocationTarget
from hl_async.cli.app import fail, put_json, run_async, say, tell
from hl_async.cli.exits import ExitCode
from hl_async.cli.journal_options import name_for, place_of, postgres_option, required_postgres, run_name
from hl_async.cli.reject_files import LeftOut, check_rejects, write_left_out
from hl_async.cli.render import money, progress, report_lines, span
from hl_async.cli.sessions import Counting, base_url_option, client, draining, json_option, report_json
from hl_async.config import DEFAULT_BASE_URL, Environment, base_url
from hl_async.errors import BulkError, ConfigurationError, HighLevelError
from hl_async.operations import plain_id

if TYPE_CHECKING:
    from hl_async.bulk.journals.protocol import JournalStore
    from hl_async.bulk.workers.dispatcher import Dispatcher
    from hl_async.client import HighLevel


@click.command()
@click.argument("source", required=False, type=click.Path(path_type=Path))
@click.option("--map", "mapping", type=click.Path(path_type=Path), help="The mapping file (TOML) of a table.")
@click.option("--location", metavar="ID", help="Where to create; default HL_LOCATION_ID.")
@click.option(
    "--journal",
    metavar="FILE|NAME",
    help="The run's journal; default SOURCE.hl.db, in a database SOURCE's name.",
)
@click.option("--resume", metavar="FILE|NAME", help="Go on with the run of this journal.")
@click.option("--engine", type=click.Choice(["local", "dbos"]), default="local", show_default=True,
              help="Who works: this process, or the workers of a database.")  # fmt: skip
@postgres_option
@click.option("--detach", is_flag=True, help="With --engine dbos: hand the run over, and don't watch.")
@click.option("--dry-run", is_flag=True, help="Read and check everything, forecast, make no request.")
@click.option(
    "--rejects", type=click.Path(path_type=Path), help="The reject file; default SOURCE.rejects.EXT."
)
@click.option("--retry-rejected", is_flag=True, help="Send again what the API rejected.")
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
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the first N documents, as a trial.")
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
@base_url_option
@json_option
def migrate(**options: Any) -> int:
    """Turn every document of SOURCE into one estimate, exactly once.

    SOURCE is a .csv or .xlsx with a mapping (--map), or .ndjson with one estimate body per line. The run is kept
    in a journal: after Ctrl-C, a crash or a power cut, --resume goes on without creating anything twice.

    \b
    hl-async migrate orders.csv --map orders.toml --location ID --dry-run
    hl-async migrate orders.csv --map orders.toml --location ID
    hl-async migrate --resume orders.csv.hl.db
    hl-async migrate orders.csv --map orders.toml --engine dbos  # by workers
    """
    arguments = _Arguments(**options)
    if (arguments.source is None) == (arguments.resume is None):
        fail("give either a SOURCE or --resume JOURNAL")
    if arguments.engine == "dbos":
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
    if not arguments.dry_run or arguments.resume is not None:
        return int(run_async(lambda: _migrate(arguments)))
    with tempfile.TemporaryDirectory(prefix="hl-async-") as folder:
        arguments.journal = str(Path(folder) / "dry-run.hl.db")
        arguments.postgres, arguments.engine = None, "local"
        return int(run_async(lambda: _migrate(arguments)))


class _Arguments(msgspec.Struct):
    source: Path | None
    mapping: Path | None
    location: str | None
    journal: str | None
    resume: str | None
    engine: str
    postgres: str | None
    detach: bool
    dry_run: bool
    rejects: Path | None
    retry_rejected: bool
    max_in_flight: int
    max_rejects: str
    share: float
    limit: int | None
    settle: float
    attempt_timeout: float
    key: str
    base_url: str | None
    as_json: bool


async def _migrate(arguments: _Arguments) -> ExitCode:
    counting = Counting()
    by_workers = arguments.engine == "dbos"
    # everything that can be refused is refused before the journal is touched
    hl = (
        None
        if arguments.dry_run or by_workers
        else client(
            arguments.base_url,
            counting,
            arguments.share,
            arguments.attempt_timeout,
            required_postgres(arguments.postgres) if arguments.postgres else None,
        )
    )
    if arguments.rejects is not None:
        await asyncio.to_thread(check_rejects, arguments.rejects, arguments.source)
    beside, run = await _prepare(arguments)
    async with run:
        if arguments.dry_run:
            _say_forecast(await run.forecast(), arguments.as_json)
            return ExitCode.OK
        if arguments.retry_rejected:
            say(f"{await run.journal.retry_rejected():,} rejected documents are planned again")
        forecast = await run.forecast()
        if not arguments.as_json:
            say(_forecast_line(forecast))
        if hl is not None:
            report = await _execute(run, hl, counting, arguments)
        else:
            found = await _hand_over(run, arguments)
            if found is None:
                return ExitCode.OK
            report = found
        left_out = await write_left_out(run, beside, arguments.rejects)
    return _finish(report, arguments, left_out, unwatched=by_workers and run.stop.is_set())


async def _prepare(arguments: _Arguments) -> tuple[Path, Run]:
    """A path that files of the run stand beside, and the run, planned."""
    if arguments.resume is not None:
        run = await Run.open(await asyncio.to_thread(place_of, arguments.resume, arguments.postgres))
        if not run.is_planned:
            await run.aclose()
            raise BulkError(
                f"{arguments.resume} was interrupted while it was planned; start again with its source"
            )
        return Path(arguments.resume), run
    found = await asyncio.to_thread(_inspect, arguments)
    place = found.place
    existed = await place.exists()
    run = await Run.create(place, fingerprint=found.mark, location=found.location, key=arguments.key)
    if run.is_planned:
        return found.beside, run
    try:
        # the reject file needs these, also after a crash in the next moment
        await run.journal.note(
            source=str(found.source),
            columns=msgspec.json.encode(found.columns).decode(),
            delimiter=found.mapping.source.delimiter if found.mapping else ",",
            encoding=found.mapping.source.encoding if found.mapping else "utf-8",
        )
        records = read_source(found.source, found.mapping)
        await run.plan(records, max_rejects=arguments.max_rejects, limit=arguments.limit)
    except BaseException as error:
        await run.aclose()
        if not existed and isinstance(error, HighLevelError):
            await place.remove()  # nothing was sent: leave nothing half done
        raise
    return found.beside, run


class _Found(msgspec.Struct):
    """What the arguments name, checked."""

    source: Path
    mapping: Mapping | None
    columns: list[str] | None
    mark: str
    location: str
    place: JournalStore
    beside: Path


def _inspect(arguments: _Arguments) -> _Found:
    """Look at source, mapping, location and journal; blocking, and without a trace."""
    source = arguments.source
    assert source is not None
    location = arguments.location or Environment.read().location_id or ""
    if location:
        plain_id("location", location)
    key_carrier(arguments.key)
    mapping = None if arguments.mapping is None else Mapping.load(arguments.mapping)
    mark = fingerprint(source, arguments.mapping)
    is_table = source.suffix.lower() not in (".ndjson", ".jsonl")
    if is_table and mapping is None:
        read_source(source, None)  # says what is missing
    columns = header_of(source, mapping) if is_table and mapping is not None else None
    if not location and not (mapping is not None and mapping.document.location):
        raise ConfigurationError("--location", "is missing; give one, or set HL_LOCATION_ID")
    if arguments.limit:
        mark += f":{arguments.limit}"
    place, beside = _place_for(source, arguments)
    return _Found(source.absolute(), mapping, columns, mark, location, place, beside)


def _place_for(source: Path, arguments: _Arguments) -> tuple[JournalStore, Path]:
    """Where a new run is kept: in the database if that is named, or needed for workers."""
    if arguments.postgres is None and arguments.engine == "local":
        path = Path(arguments.journal) if arguments.journal else source.with_name(source.name + ".hl.db")
        return SqliteJournals(path), path
    from hl_async.bulk.journals.postgres import PostgresJournals
    from hl_async.bulk.workers.worker import worker_name

    name = run_name(arguments.journal) if arguments.journal else name_for(source)
    return PostgresJournals(required_postgres(arguments.postgres), name, holder=worker_name()), source


async def _hand_over(run: Run, arguments: _Arguments) -> RunReport | None:
    """Leave the run to workers, and watch them; None when nobody wants to watch."""
    from hl_async.bulk.workers.dispatcher import Dispatcher, RunSettings
    from hl_async.storage.postgres import Database

    database = Database(required_postgres(arguments.postgres))
    server = arguments.base_url or Environment.read().base_url or DEFAULT_BASE_URL
    dispatch = Dispatcher(database, server=base_url(server))
    name = run.journal.name
    try:
        await dispatch.dispatch(name, RunSettings(arguments.settle, arguments.attempt_timeout))
        if not await dispatch.workers():
            say("no worker is there yet; start some with: hl-async worker")
        if arguments.detach:
            say(f"handed over; look at it with: hl-async status {name}")
            return None
        with (
            progress("created", arguments.as_json) as show,
            draining(run.stop, f"no longer watched: the workers go on; hl-async pause {name} lets them rest"),
        ):
            return await run.follow(_Following(dispatch, name).is_open, on_progress=show)
    finally:
        await database.aclose()


class _Following:
    """Whether a run goes on; says when the last worker is gone, or the first one comes."""

    def __init__(self, dispatch: Dispatcher, run: str) -> None:
        self._dispatch = dispatch
        self._run = run
        self._alone: bool | None = None

    async def is_open(self) -> bool:
        alone = not await self._dispatch.workers()
        if self._alone is not None and alone is not self._alone:
            say(
                "no worker is there any more; start some with: hl-async worker"
                if alone
                else "a worker is there"
            )
        self._alone = alone
        return await self._dispatch.is_open(self._run)


async def _execute(run: Run, hl: HighLevel, counting: Counting, arguments: _Arguments) -> RunReport:
    async with hl:
        with progress("created", arguments.as_json) as show, draining(run.stop):
            try:
                report = await run.execute(
                    lambda location: LocationTarget(hl.location(location), run.operation, run.keys),
                    settle=arguments.settle,
                    attempt_timeout=arguments.attempt_timeout,
                    max_in_flight=arguments.max_in_flight,
                    on_progress=show,
                )
            except asyncio.CancelledError:
                report = await run.report(reason="interrupted")
    return msgspec.structs.replace(report, requests=counting.requests, refused=counting.refused)


def _finish(
    report: RunReport, arguments: _Arguments, left_out: LeftOut, *, unwatched: bool = False
) -> ExitCode:
    if arguments.as_json:
        put_json(report_json(report))
    else:
        for line in report_lines(report, left_out.reasons):
            click.echo(line)
        if left_out.rejects is not None:
            click.echo(f"rejects    {left_out.rejects}   mend them and migrate the file")
        if left_out.skipped is not None:
            click.echo(f"skipped    {left_out.skipped}")
    if left_out.problem:
        say(f"warning: {left_out.problem}")
    if report.state != "done" and unwatched:
        say(f"the workers go on; look at it with: hl-async status {report.journal}")
        return ExitCode.STOPPED
    if report.state != "done":
        why = f" ({report.reason})" if report.reason else ""
        more = " --engine dbos" if arguments.engine == "dbos" else ""
        say(f"stopped{why}; go on with: hl-async migrate --resume {report.journal}{more}")
        return ExitCode.STOPPED
    if report.unknown:
        return ExitCode.HELD
    if not arguments.as_json:
        say(f"compare source and location with: hl-async verify {report.journal}")
    return ExitCode.REJECTS if report.rejected else ExitCode.OK


def _forecast_line(forecast: Forecast) -> str:
    aside = f"{forecast.rejected:,} rejected, {forecast.skipped:,} skipped"
    if not forecast.items:
        return f"nothing left to create; {aside}"
    return (
        f"{forecast.items:,} documents to create ({money(forecast.totals)}), {aside}; "
        f"about {forecast.requests:,} requests, {span(forecast.seconds)} at the usual rate"
    )


def _say_forecast(forecast: Forecast, as_json: bool) -> None:
    if as_json:
        put_json({**msgspec.to_builtins(forecast), "dry_run": True})
        return
    tell(_forecast_line(forecast))
    tell(f"that is {forecast.days:.1%} of a location's budget for a day; nothing was sent")
