"""``hl-async migrate`` and what follows it: status, verify, rejects, rollback."""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from hl_async.bulk.keys import key_place
from hl_async.bulk.mapping import Mapping
from hl_async.bulk.protocol import SETTLE, State
from hl_async.bulk.readers import fingerprint, header_of, read_source
from hl_async.bulk.run import Forecast, Run, RunReport
from hl_async.bulk.target import LocationTarget
from hl_async.cli.app import fail, put_json, run_async, say, tell
from hl_async.cli.exits import ExitCode
from hl_async.cli.reject_files import LeftOut, check_rejects, reject_text, write_left_out
from hl_async.cli.render import money, progress, report_lines, span, verification_lines
from hl_async.config import Environment
from hl_async.errors import BulkError, ConfigurationError, HighLevelError
from hl_async.operations import plain_id
from hl_async.telemetry import AttemptFinished, Event

if TYPE_CHECKING:
    from hl_async.client import HighLevel

_base_url = click.option(
    "--base-url", metavar="URL", help="The server; default HL_BASE_URL, else the real API."
)
_json = click.option("--json", "as_json", is_flag=True, help="One JSON line on stdout instead of text.")


class Counting:
    """Counts requests and refusals for the report."""

    def __init__(self) -> None:
        self.requests = 0
        self.refused = 0

    def on_event(self, event: Event) -> None:
        if isinstance(event, AttemptFinished):
            self.requests += 1
            self.refused += event.status == 429


@click.command()
@click.argument("source", required=False, type=click.Path(path_type=Path))
@click.option("--map", "mapping", type=click.Path(path_type=Path), help="The mapping file (TOML) of a table.")
@click.option("--location", metavar="ID", help="Where to create; default HL_LOCATION_ID.")
@click.option("--journal", type=click.Path(path_type=Path), help="The run's journal; default SOURCE.hl.db.")
@click.option("--resume", type=click.Path(path_type=Path), help="Go on with the run of this journal.")
@click.option("--dry-run", is_flag=True, help="Read and check everything, forecast, make no request.")
@click.option(
    "--rejects", type=click.Path(path_type=Path), help="The reject file; default SOURCE.rejects.EXT."
)
@click.option("--retry-rejected", is_flag=True, help="Send again what the API rejected.")
@click.option("--max-in-flight", type=click.IntRange(1, 1000), default=64, show_default=True, metavar="N",
              help="Requests under way at once, at most; fewer when the server gets slow.")  # fmt: skip
@click.option(
    "--max-rejects", default="10%", show_default=True, metavar="N|P%", help="Stop planning above this."
)
@click.option(
    "--share",
    type=click.FloatRange(0.01, 1.0),
    default=1.0,
    metavar="PART",
    help="Part of the rate budget to use.",
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
@_base_url
@_json
def migrate(**options: Any) -> int:
    """Turn every document of SOURCE into one estimate, exactly once.

    SOURCE is a .csv or .xlsx with a mapping (--map), or .ndjson with one estimate body per line. The run is kept
    in a journal: after Ctrl-C, a crash or a power cut, --resume goes on without creating anything twice.

    \b
    hl-async migrate orders.csv --map orders.toml --location ID --dry-run
    hl-async migrate orders.csv --map orders.toml --location ID
    hl-async migrate --resume orders.csv.hl.db
    """
    arguments = _Arguments(**options)
    if (arguments.source is None) == (arguments.resume is None):
        fail("give either a SOURCE or --resume JOURNAL")
    if not arguments.dry_run or arguments.resume is not None:
        return int(run_async(lambda: _migrate(arguments)))
    with tempfile.TemporaryDirectory(prefix="hl-async-") as folder:
        arguments.journal = Path(folder) / "dry-run.hl.db"
        return int(run_async(lambda: _migrate(arguments)))


class _Arguments(msgspec.Struct):
    source: Path | None
    mapping: Path | None
    location: str | None
    journal: Path | None
    resume: Path | None
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
    # everything that can be refused is refused before the journal is touched
    hl = (
        None
        if arguments.dry_run
        else client(arguments.base_url, counting, arguments.share, arguments.attempt_timeout)
    )
    if arguments.rejects is not None:
        await asyncio.to_thread(check_rejects, arguments.rejects, arguments.source)
    path, run = await _prepare(arguments)
    async with run:
        if hl is None:
            _say_forecast(await run.forecast(), arguments.as_json)
            return ExitCode.OK
        if arguments.retry_rejected:
            say(f"{await run.journal.retry_rejected():,} rejected documents are planned again")
        forecast = await run.forecast()
        if not arguments.as_json:
            say(_forecast_line(forecast))
        report = await _execute(run, hl, counting, arguments)
        left_out = await write_left_out(run, path, arguments.rejects)
    return _finish(report, arguments, left_out)


async def _prepare(arguments: _Arguments) -> tuple[Path, Run]:
    """The journal to work on, planned."""
    if arguments.resume is not None:
        run = await Run.open(arguments.resume)
        if not run.is_planned:
            await run.aclose()
            raise BulkError(
                f"{arguments.resume} was interrupted while it was planned; start again with its source"
            )
        return arguments.resume, run
    found = await asyncio.to_thread(_inspect, arguments)
    run = await Run.create(found.journal, fingerprint=found.mark, location=found.location, key=arguments.key)
    if run.is_planned:
        return found.journal, run
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
        if not found.existed and isinstance(error, HighLevelError):
            await asyncio.to_thread(_forget, found.journal)  # nothing was sent: leave nothing half done
        raise
    return found.journal, run


class _Found(msgspec.Struct):
    """What the arguments name, checked."""

    source: Path
    mapping: Mapping | None
    columns: list[str] | None
    mark: str
    location: str
    journal: Path
    existed: bool


def _inspect(arguments: _Arguments) -> _Found:
    """Look at source, mapping, location and journal; blocking, and without a trace."""
    source = arguments.source
    assert source is not None
    location = arguments.location or Environment.read().location_id or ""
    if location:
        plain_id("location", location)
    key_place(arguments.key)
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
    journal = arguments.journal or source.with_name(source.name + ".hl.db")
    return _Found(source.absolute(), mapping, columns, mark, location, journal, journal.exists())


def _forget(path: Path) -> None:
    for name in (path.name, path.name + "-wal", path.name + "-shm", path.name + ".lock"):
        path.with_name(name).unlink(missing_ok=True)


def client(
    base_url: str | None, counting: Counting, share: float = 1.0, attempt_timeout: float = 30.0
) -> HighLevel:
    from hl_async.client import HighLevel
    from hl_async.config import ClientConfig, Timeouts
    from hl_async.governor import GovernorPolicy

    settings: dict[str, Any] = {
        "observers": [counting],
        "governor": GovernorPolicy(share=share, linger=attempt_timeout),
    }
    settings["config"] = ClientConfig(timeouts=Timeouts(attempt=attempt_timeout))
    if base_url:
        settings["base_url"] = base_url
    return HighLevel.from_env(**settings)


@contextmanager
def draining(run: Run) -> Iterator[None]:
    """Ctrl-C and SIGTERM once let what is in flight finish; a second Ctrl-C stops now."""
    loop = asyncio.get_running_loop()
    main = asyncio.current_task()
    assert main is not None

    def stop() -> None:
        if run.stop.is_set():
            main.cancel()
            return
        run.stop.set()
        say("stopping: what is in flight is finished first; Ctrl-C again stops now")

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


async def _execute(run: Run, hl: HighLevel, counting: Counting, arguments: _Arguments) -> RunReport:
    async with hl:
        with progress("created", arguments.as_json) as show, draining(run):
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


def _finish(report: RunReport, arguments: _Arguments, left_out: LeftOut) -> ExitCode:
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
    if report.state != "done":
        why = f" ({report.reason})" if report.reason else ""
        say(f"stopped{why}; go on with: hl-async migrate --resume {report.journal}")
        return ExitCode.STOPPED
    if report.unknown:
        return ExitCode.HELD
    if not arguments.as_json:
        say(f"compare source and location with: hl-async verify {report.journal}")
    return ExitCode.REJECTS if report.rejected else ExitCode.OK


def report_json(report: RunReport) -> dict[str, Any]:
    """The report as one JSON object; a total is a plain number of text when there is one currency."""

    def total(sums: dict[str, Any]) -> Any:
        return str(next(iter(sums.values()))) if len(sums) == 1 else {c: str(t) for c, t in sums.items()}

    found = msgspec.to_builtins(report)
    return {**found, "total_source": total(report.total_source), "total_created": total(report.total_created)}


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


# -------------------------------------------------------------------------------------------- afterwards


@click.command()
@click.argument("journal", type=click.Path(path_type=Path))
@_json
def status(journal: Path, as_json: bool) -> int:
    """Show how far the run of JOURNAL has come, also while it works; makes no request.

    \b
    hl-async status orders.csv.hl.db
    watch hl-async status orders.csv.hl.db
    """

    async def main() -> ExitCode:
        async with await Run.open(journal, watch=True) as run:
            report = await run.report()
        if as_json:
            put_json(report_json(report))
        else:
            for line in report_lines(report):
                if not line.startswith("took"):
                    click.echo(line)
        return ExitCode.OK

    return int(run_async(main))


@click.command()
@click.argument("journal", type=click.Path(path_type=Path))
@click.option("--repair", is_flag=True, help="Delete younger draft copies of the same document.")
@_base_url
@_json
def verify(journal: Path, repair: bool, base_url: str | None, as_json: bool) -> int:
    """Compare the run of JOURNAL with what is in the location: every document once, every total to the cent.

    \b
    hl-async verify orders.csv.hl.db           # exit code 7: it differs
    hl-async verify orders.csv.hl.db --repair  # and deletes surplus drafts
    """

    async def main() -> ExitCode:
        hl = client(base_url, Counting())
        async with await Run.open(journal) as run, hl:
            found = await run.verify(hl, repair=repair)
        if as_json:
            put_json(msgspec.to_builtins(found))
        else:
            for line in verification_lines(found):
                click.echo(line)
        return ExitCode.DIFFERS if found.differences else ExitCode.OK

    return int(run_async(main))


@click.command()
@click.argument("journal", type=click.Path(path_type=Path))
def rejects(journal: Path) -> int:
    """Print the documents of JOURNAL that were rejected, in the format of the input, with the reason.

    \b
    hl-async rejects orders.csv.hl.db > mended.csv
    hl-async migrate mended.csv --map orders.toml   # once they are mended
    """

    async def main() -> ExitCode:
        async with await Run.open(journal, watch=True) as run:
            rows = await run.each(State.REJECTED)
            header = await run.journal.header()
        sys.stdout.buffer.write(b"".join(reject_text(rows, header)))
        return ExitCode.OK

    return int(run_async(main))


@click.command()
@click.argument("journal", type=click.Path(path_type=Path))
@click.option("--yes", is_flag=True, help="Don't ask.")
@_base_url
@_json
def rollback(journal: Path, yes: bool, base_url: str | None, as_json: bool) -> int:
    """Delete what the run of JOURNAL created, as far as it is still a draft. Can be interrupted and repeated.

    \b
    hl-async rollback orders.csv.hl.db        # asks first
    hl-async rollback orders.csv.hl.db --yes
    """

    async def main() -> ExitCode:
        hl = client(base_url, Counting())
        async with await Run.open(journal) as run, hl:
            report = await run.report()
            if not yes and not click.confirm(f"Delete up to {report.created:,} drafts?", err=True):
                return ExitCode.STOPPED
            found = await run.rollback(hl)
        if as_json:
            put_json(dict(found))
        else:
            text = f"{found['deleted']:,} deleted, {found['kept']:,} kept because they are no drafts any more"
            click.echo(f"{text}, {found['gone']:,} were gone already")
        return ExitCode.OK

    return int(run_async(main))
