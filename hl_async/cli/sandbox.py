"""Internal. ``hl-async sandbox``: a local HighLevel for programs of any language."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator

import click

from hl_async.cli.app import fail, put_json, run_async, say
from hl_async.cli.exits import ExitCode
from hl_async.cli.render import plural
from hl_async.cli.signals import on_signal
from hl_async.config import Environment, environment_with
from hl_async.sandbox import PROFILES, Sandbox
from hl_async.sandbox.rate_limits import WINDOWS
from hl_async.sandbox.zones import DEFAULT as DEFAULT_ZONE


@click.command(context_settings={"allow_interspersed_args": False})
@click.argument("command", nargs=-1)
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Where to listen.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    show_default=True,
    metavar="N",
    help="0 picks a free one.",
)
@click.option("--rate-max", type=click.IntRange(1), default=100, show_default=True, metavar="N",
              help="Requests per interval and location.")  # fmt: skip
@click.option("--rate-interval", type=click.FloatRange(0.01), default=10.0, show_default=True, metavar="SECONDS",
              help="Length of the rate limit's interval.")  # fmt: skip
@click.option("--window", type=click.Choice(list(WINDOWS)), default="fixed", show_default=True,
              help="How the rate limit counts.")  # fmt: skip
@click.option("--daily", type=click.IntRange(1), default=200_000, show_default=True, metavar="N",
              help="Requests per day and location.")  # fmt: skip
@click.option("--faults", type=click.Choice(list(PROFILES)), default="none", show_default=True,
              help="How often answers are lost, late or broken.")  # fmt: skip
@click.option(
    "--fault-seed",
    type=int,
    default=0,
    metavar="N",
    show_default=True,
    help="The same seed, the same faults.",
)
@click.option(
    "--latency", type=click.FloatRange(0.0), default=0.0, metavar="SECONDS", help="Added to every answer."
)
@click.option("--locations", type=click.IntRange(1, 10_000), default=1, show_default=True, metavar="N",
              help="How many locations it has.")  # fmt: skip
@click.option("--timezone", metavar="NAME",
              help="Time zone of the locations, an IANA name; default HL_SANDBOX_TIMEZONE.")  # fmt: skip
@click.option("--customer-accepts", is_flag=True, help="The customer accepts every estimate that is sent.")
@click.option("--rule-off", "rules_off", multiple=True, metavar="NAME",
              help="Don't apply a rule of docs/unknowns.md; may be repeated.")  # fmt: skip
@click.option("--webhook-url", metavar="URL",
              help="Deliver signed webhooks there; the public key is in /_sandbox/webhooks.")  # fmt: skip
@click.option(
    "--allow-remote",
    is_flag=True,
    help="Needed for a --host that is not loopback: the sandbox has no security.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON line: url, token, location_id.")
def sandbox(
    command: tuple[str, ...],
    host: str,
    port: int,
    rate_max: int,
    rate_interval: float,
    window: str,
    daily: int,
    faults: str,
    fault_seed: int,
    latency: float,
    locations: int,
    timezone: str | None,
    customer_accepts: bool,
    rules_off: tuple[str, ...],
    webhook_url: str | None,
    allow_remote: bool,
    as_json: bool,
) -> int:
    """Serve a local HighLevel: estimates, invoices, OAuth, rate limits, faults.

    With COMMAND, until that ends: it finds HL_BASE_URL, HL_TOKEN and HL_LOCATION_ID set. Without, until Ctrl-C.

    \b
    hl-async sandbox python app.py                  # run a program against it
    hl-async sandbox hl-async call estimates.list
    hl-async sandbox --port 8080                    # serve; prints what to export
    hl-async sandbox --rate-max 25 --window sliding --faults rough pytest

    Any client of the real API works against it with only the base URL changed. Its web console is at
    /_console/, its state for programs at /_sandbox/.
    """
    box = Sandbox(
        rate_max=rate_max,
        rate_interval=rate_interval,
        window=window,
        daily=daily,
        faults=faults,
        seed=fault_seed,
        latency=latency,
        host=host,
        port=port,
        timezone=timezone or Environment.read().sandbox_timezone or DEFAULT_ZONE,
        customer_accepts=customer_accepts,
        rules_off=rules_off,
        allow_remote=allow_remote,
        webhook_url=webhook_url,
    )
    for _ in range(locations - 1):
        box.add_location()
    if command:
        return int(run_async(lambda: _serve_to(box, command), log="warning"))
    run_async(lambda: _serve(box, as_json), log="warning")
    return ExitCode.OK


@contextlib.asynccontextmanager
async def _opened(box: Sandbox) -> AsyncIterator[None]:
    """Serve the sandbox, or end with a sentence that names the address that is taken."""
    async with contextlib.AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(box)
        except OSError as error:
            # asyncio puts the address into the text a second time, before a colon
            why = (error.strerror or str(error)).rpartition(": ")[2]
            fail(f"can't listen on {box.host}:{box.port}: {why}")
        yield


async def _serve_to(box: Sandbox, command: tuple[str, ...]) -> int:
    """Run ``command`` with the sandbox in its environment, and end as it ends."""
    async with _opened(box):
        if sys.stderr.isatty():
            say(f"a local HighLevel at {box.url}, until {command[0]} ends")
        # All three, so that no real account of the environment is used with the sandbox or the reverse.
        settings = {"HL_BASE_URL": box.url, "HL_TOKEN": box.token, "HL_LOCATION_ID": box.location_id}
        try:
            process = await asyncio.create_subprocess_exec(*command, env=environment_with(settings))
        except OSError as error:
            fail(f"can't run {command[0]}: {error.strerror}")
        with on_signal(lambda number: _pass_on(process, number)):
            code = await process.wait()
    # As a shell reports a command that a signal ended.
    return code if code >= 0 else 128 - code


def _pass_on(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    # a terminal sends Ctrl-C to both of us: there only a signal that was meant for us alone is passed on
    if number is not signal.SIGINT or not sys.stdin.isatty():
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)


async def _serve(box: Sandbox, as_json: bool) -> None:
    stop = asyncio.Event()
    with on_signal(lambda number: stop.set()):
        await _serve_until(box, stop, as_json)


async def _serve_until(box: Sandbox, stop: asyncio.Event, as_json: bool) -> None:
    async with _opened(box):
        # The caller reads this line to learn the port, so it comes when the port listens.
        if as_json:
            put_json({"url": box.url, "token": box.token, "location_id": box.location_id})
        else:
            click.echo(f"export HL_BASE_URL={box.url}")
            click.echo(f"export HL_TOKEN={box.token}")
            click.echo(f"export HL_LOCATION_ID={box.location_id}")
            say(f"serving {plural(len(box.ledger.places), 'location')}; Ctrl-C ends it")
            say(f"look at it in a browser: {box.url}/_console/")
        await stop.wait()
    if not as_json:
        say(f"{box.count:,} requests, {box.refused:,} refused by the rate limit")
