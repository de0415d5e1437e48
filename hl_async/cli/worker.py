"""Internal. ``hl-async worker``: a process that works on a database's runs."""

from __future__ import annotations

import asyncio
import contextlib
import logging

import click

from hl_async.bulk.journals.postgres import LEASE
from hl_async.bulk.workers.worker import Worker, WorkerSettings, worker_name
from hl_async.cli.app import run_async, say
from hl_async.cli.exits import ExitCode
from hl_async.cli.journal_options import postgres_option, required_postgres
from hl_async.cli.sessions import base_url_option, client, draining
from hl_async.secret import Secret
from hl_async.telemetry import AttemptFinished, Event


@click.command()
@postgres_option
@click.option(
    "--name", metavar="TEXT", help="This worker's name, unlike all others'; default host and process."
)
@click.option("--lanes", type=click.IntRange(1), default=20, show_default=True, metavar="N",
              help="Locations worked on at once; the same for all workers of a database.")  # fmt: skip
@click.option("--slice", "seconds", type=click.FloatRange(0.1), default=60.0, show_default=True, metavar="SECONDS",
              help="How long a location is worked on before others have their turn.")  # fmt: skip
@click.option("--max-in-flight", type=click.IntRange(1, 1000), default=64, show_default=True, metavar="N",
              help="Requests under way at once per location, at most.")  # fmt: skip
@click.option("--lease", type=click.FloatRange(1.0), default=LEASE, show_default=True, metavar="SECONDS",
              help="After so long others take over from a worker that died.")  # fmt: skip
@click.option("--attempt-timeout", type=click.FloatRange(0.1), default=30.0, show_default=True, metavar="SECONDS",
              help="The longest --attempt-timeout of the runs it works on.")  # fmt: skip
@click.option("--health", metavar="HOST:PORT", help="Serve /live, /ready and /metrics there.")
@click.option("--until-idle", is_flag=True, help="End when no run is left to work on.")
@base_url_option
def worker(
    postgres: str | None,
    name: str | None,
    lanes: int,
    seconds: float,
    max_in_flight: int,
    lease: float,
    attempt_timeout: float,
    health: str | None,
    until_idle: bool,
    base_url: str | None,
) -> int:
    """Work on runs handed over in a database, until SIGTERM or Ctrl-C.

    Then requests in flight are finished, and others take the locations over at once. Rate budgets and OAuth tokens
    are shared with everything else that uses the database.

    \b
    export HL_POSTGRES=postgresql://user:secret@db.example/hl
    hl-async worker                              # one process per core
    hl-async worker --health 0.0.0.0:8080        # for an orchestrator
    hl-async migrate orders.csv --map orders.toml --engine dbos
    """
    settings = WorkerSettings(
        lanes=lanes, slice=seconds, in_flight=max_in_flight, lease=lease, until_idle=until_idle
    )
    dsn = required_postgres(postgres)
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.WARNING)
    return int(
        run_async(lambda: _work(dsn, name or worker_name(), settings, attempt_timeout, health, base_url))
    )


class _Counted:
    """Counts the worker's requests, once there is a worker."""

    # The client needs its observer before the worker, and the worker needs the client.
    worker: Worker | None = None

    def on_event(self, event: Event) -> None:
        if self.worker is not None and isinstance(event, AttemptFinished):
            self.worker.counts["requests"] += 1
            self.worker.counts["refused"] += event.status == 429


async def _work(
    dsn: Secret,
    name: str,
    settings: WorkerSettings,
    attempt_timeout: float,
    health: str | None,
    base_url: str | None,
) -> ExitCode:
    from hl_async.bulk.workers.dbos import DbosEngine
    from hl_async.bulk.workers.health import HealthPage
    from hl_async.storage.postgres import Database

    stop = asyncio.Event()
    counted = _Counted()
    engine = DbosEngine(dsn, stop, name=name)
    # A worker that waits longer for the database has lost its leases.
    database = Database(dsn, patience=settings.lease / 2)
    hl = client(base_url, counted, attempt_timeout=attempt_timeout, postgres=database)
    counted.worker = worker = Worker(database, engine, hl, stop, name=name, settings=settings)
    try:
        async with contextlib.AsyncExitStack() as stack:
            page = HealthPage(worker, health) if health else None
            if page is not None:
                await stack.enter_async_context(page)
                say(f"health at {page.url}")
            await stack.enter_async_context(hl)
            stack.enter_context(
                draining(stop, "stopping: requests in flight are finished, others take the rest over")
            )
            say(f"worker {name}: {settings.lanes} locations at once")
            await worker.run()
    finally:
        await database.aclose()
    counts = worker.counts
    say(f"ended: {counts['created']:,} created, {counts['rejected']:,} rejected, {counts['slices']:,} slices")
    return ExitCode.OK
