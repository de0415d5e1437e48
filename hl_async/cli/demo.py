"""Internal. ``hl-async demo``: a sample migration into a local, faulty HighLevel."""

from __future__ import annotations

import asyncio
import tempfile
from importlib.resources import files
from pathlib import Path

import click
import msgspec

from hl_async.bulk.protocol import State
from hl_async.bulk.reports import RunReport
from hl_async.bulk.run import Run
from hl_async.bulk.sources.mapping import Mapping
from hl_async.bulk.sources.readers import fingerprint, header_of, read_source
from hl_async.bulk.sources.rejects import reject_lines
from hl_async.bulk.stages.customers import ContactPolicy
from hl_async.bulk.stages.payments import PaymentPolicy
from hl_async.cli.app import run_async, say, tell
from hl_async.cli.exits import ExitCode
from hl_async.cli.progress import progress
from hl_async.cli.render import report_lines, verification_lines
from hl_async.cli.sessions import Counting, draining

_RATE_MAX = 60
_RATE_INTERVAL = 2.0
_SETTLE = 0.3
_KNOWN = ("Robin Hale", "Sam Ortiz", "Alex Marlow")
"""Customers of the export who are contacts of the location already."""
_CONTACTS = ContactPolicy(index_delay=0.2)
"""The search of the sandbox shows changes at once, unlike the live one."""
_PAYMENTS = PaymentPolicy(allow_receipts=True)
"""The sandbox sends no mail."""


@click.command()
@click.option(
    "--keep", type=click.Path(path_type=Path, file_okay=False), help="Leave export, journal and rejects here."
)
def demo(keep: Path | None) -> int:
    """Migrate a sample export into a local sandbox, and verify every field.

    At the end it says how to do it for real.

    \b
    hl-async demo
    hl-async demo --keep here   # leaves export, mapping, journal and rejects
    """
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        return int(run_async(lambda: _demo(keep, kept=True)))
    with tempfile.TemporaryDirectory(prefix="hl-async-demo-") as folder:
        return int(run_async(lambda: _demo(Path(folder), kept=False)))


async def _demo(folder: Path, *, kept: bool) -> ExitCode:
    from hl_async.client import HighLevel
    from hl_async.config import ClientConfig, Timeouts
    from hl_async.models import ContactDraft
    from hl_async.sandbox import Fault, Sandbox

    source, mapping_file = folder / "export.csv", folder / "mapping.toml"
    mapping, mark = await asyncio.to_thread(_unpack, source, mapping_file)
    counting = Counting()
    config = ClientConfig(timeouts=Timeouts(attempt=0.8))
    async with Sandbox(
        rate_max=_RATE_MAX, rate_interval=_RATE_INTERVAL, window="sliding", latency=0.02
    ) as box:
        async with HighLevel(box.token, base_url=box.url, location_id=box.location_id) as shop:
            for name in _KNOWN:
                await shop.location().contacts.create(
                    ContactDraft(name=name, email=f"{name.split()[0]}@example.com")
                )
        # Real migrations meet these: a lost answer, a failed gateway, an error after the commit.
        box.faults.use(
            {Fault.RESET_AFTER_COMMIT: 0.03, Fault.HTML_502: 0.02, Fault.ERROR_500_AFTER: 0.01}, seed=7
        )
        say(
            f"A local HighLevel serves at {box.url}: {_RATE_MAX} requests per {_RATE_INTERVAL:g} s, some answers lost."
        )
        say(
            f"Migrating {source.name}, a dirty export of estimates, invoices and payments, with {mapping_file.name}; "
            f"{len(_KNOWN)} customers are there:"
        )
        async with (
            HighLevel(box.token, base_url=box.url, config=config, observers=[counting]) as hl,
            await Run.create(folder / "run.hl.db", fingerprint=mark, location=box.location_id) as run,
        ):
            await run.plan(read_source(source, mapping), contacts=_CONTACTS, payments=_PAYMENTS)
            with progress("done", quiet=False) as show, draining(run.stop):
                report = await run.execute(
                    lambda lane: run.target(hl, lane),
                    settle=_SETTLE,
                    attempt_timeout=0.8,
                    on_progress=show,
                )
            report = msgspec.structs.replace(report, requests=counting.requests, refused=counting.refused)
            if report.state != "done":
                say(f"stopped: {report.reason or 'interrupted'}")
                return ExitCode.STOPPED
            lost = sum(box.faults.injected.values())
            await _tell(run, report, source, mapping, lost)
            box.faults.clear()
            found = await run.verify(hl)
            for line in verification_lines(found):
                tell(line)
    if found.differences:
        return ExitCode.DIFFERS
    for line in _next_steps(folder if kept else None):
        say(line)
    return ExitCode.OK


def _next_steps(kept: Path | None) -> list[str]:
    """Say what to type next. Only files that are still there afterwards are named."""
    account = ["", "The same with your account:", "  export HL_TOKEN=pit-…  HL_LOCATION_ID=…"]
    if kept is None:
        return [
            *account,
            "  hl-async demo --keep demo   # leaves this export, its mapping, the journal and the rejects",
            "  hl-async map YOUR.csv       # a first mapping of a table of yours",
        ]
    source, mapping = kept / "export.csv", kept / "mapping.toml"
    return [
        *account,
        f"  hl-async migrate {source} --map {mapping} --dry-run",
        f"  hl-async migrate {source} --map {mapping}",
    ]


def _unpack(source: Path, mapping: Path) -> tuple[Mapping, str]:
    """Write the sample's files; return its mapping and the source's fingerprint."""
    for path in (source, mapping):
        path.write_bytes(files("hl_async.cli").joinpath("demo_data", path.name).read_bytes())
    return Mapping.load(mapping), fingerprint(source, mapping)


async def _tell(run: Run, report: RunReport, source: Path, mapping: Mapping, lost: int) -> None:
    for line in report_lines(report):
        tell(line)
    click.echo(f"faults     {lost:>8,}   injected; nothing was created twice")
    rows = await run.each(State.REJECTED)
    path = source.with_name("export.rejects.csv")
    header = await asyncio.to_thread(header_of, source, mapping)
    texts = ((row.raw, row.reason or "") for row in rows)
    text = reject_lines(header, texts, mapping.source.delimiter, mapping.source.encoding)
    await asyncio.to_thread(path.write_bytes, b"".join(text))
    click.echo(f"rejects    {path.name}, the export's own format with a reason:")
    for row in rows:
        click.echo(f"  {row.source_id:<8} {row.place:<14} {row.reason}")
