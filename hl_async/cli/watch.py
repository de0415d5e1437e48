"""Internal. ``hl-async watch``: changes of documents, printed, piped or posted."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import http.client
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from hl_async.cli.app import fail, put_json, run_async, say
from hl_async.cli.exits import ExitCode
from hl_async.cli.journal_options import required_postgres
from hl_async.cli.sessions import Counting, base_url_option, client, draining, json_option
from hl_async.cli.webhooks import post
from hl_async.config import Environment, web_address

if TYPE_CHECKING:
    from hl_async.changes import Change, ChangeFeed, CursorStore
    from hl_async.secret import Secret

_LONGEST_PAUSE: Final = 60.0

Receiver = Callable[["Change"], Awaitable[bool]]
"""Takes a change. Returns False if the watch was stopped before it was taken."""


@click.command()
@click.argument("kind", type=click.Choice(["estimates", "invoices"]))
@click.option("--location", metavar="ID", help="The location; default HL_LOCATION_ID.")
@click.option(
    "--cursor",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("hl-watch.db"),
    show_default=True,
    help="The file that remembers the documents.",
)
@click.option(
    "--postgres",
    is_flag=True,
    help="Remember it in HL_POSTGRES, and share the rate budget there: for several workers.",
)
@click.option("--share", type=click.FloatRange(0.01, 1.0), default=0.2, show_default=True, metavar="PART",
              help="Part of the location's rate budget to use; each watch has its own.")  # fmt: skip
@click.option("--every", type=click.FloatRange(0.1), default=5.0, show_default=True, metavar="SECONDS",
              help="Time between two looks at the newest documents.")  # fmt: skip
@click.option("--once", is_flag=True, help="Look once over all documents and end: for cron.")
@click.option(
    "--exec", "command", metavar="COMMAND", help="Run for each change, the change as JSON on stdin."
)
@click.option("--post", "url", metavar="URL", help="Post each change there, signed with HL_WATCH_SECRET.")
@base_url_option
@json_option
def watch(
    kind: str,
    location: str | None,
    cursor: Path,
    postgres: bool,
    share: float,
    every: float,
    once: bool,
    command: str | None,
    url: str | None,
    base_url: str | None,
    as_json: bool,
) -> int:
    """Print changes of estimates or invoices.

    Changes are: sent, viewed, accepted, paid, edited, deleted. The first pass only learns the documents. A change is
    remembered once it is printed and COMMAND or URL took it. A failing receiver is tried again and holds the later
    changes back.

    \b
    hl-async watch estimates
    hl-async watch invoices --json --once >> changes.ndjson
    hl-async watch estimates --exec ./accepted.sh
    hl-async watch estimates --post https://example.com/changes
    """
    # A cursor remembers one position: a failure of one receiver would hold the other back.
    if command and url:
        fail("--exec and --post exclude each other; run two watches with a --cursor each")

    dsn = required_postgres(None) if postgres else None
    stop = asyncio.Event()
    receive = _receiver(command, url, stop)

    from hl_async.changes import PostgresCursors, SqliteCursors
    from hl_async.storage.postgres import Database

    async def main() -> ExitCode:
        # One pool for cursor and rate budget.
        database = None if dsn is None else Database(dsn)
        store: CursorStore = SqliteCursors(cursor) if database is None else PostgresCursors(database)
        try:
            async with client(base_url, Counting(), postgres=database) as hl:
                shop = hl.location(location)
                resource = shop.estimates if kind == "estimates" else shop.invoices
                feed = resource.changes(cursor=store, share=share, every=every)
                if not once:
                    say(f"watching {kind} of {shop.id}; {_remembered(cursor, dsn)}; Ctrl-C stops")
                with draining(stop, "stopping after this change"):
                    await _read(feed, stop, receive, as_json=as_json, once=once, every=every)
        finally:
            await store.aclose()
            if database is not None:
                await database.aclose()
        return ExitCode.OK

    return int(run_async(main, log="warning"))


async def _read(
    feed: ChangeFeed, stop: asyncio.Event, receive: Receiver, *, as_json: bool, once: bool, every: float
) -> None:
    async def halt() -> None:
        await stop.wait()
        feed.stop()

    tasks = [asyncio.create_task(halt())]
    if not once:
        tasks.append(asyncio.create_task(_announce(feed, every)))
    try:
        # Closed before the store: the feed gives its lease back when it ends.
        async with contextlib.aclosing(feed.once() if once else feed.endless()) as changes:
            async for change in changes:
                if as_json:
                    put_json(change.to_dict())
                else:
                    click.echo(line_of(change))
                if not await receive(change):
                    return  # not taken: the next start reports it again
    finally:
        for task in tasks:
            task.cancel()


async def _announce(feed: ChangeFeed, every: float) -> None:
    """Say when the first pass is over."""
    # Until then the watch of an unknown location prints nothing.
    seconds = await feed.first_pass() + every
    say(f"all documents are read; from now on a change is seen within about {seconds:,.0f} s")


def _remembered(cursor: Path, dsn: Secret | None) -> str:
    """Return how the watch begins, and where it is remembered."""
    if dsn is not None:
        return "the documents are remembered in Postgres"
    if cursor.exists():
        return f"it goes on with {cursor}"
    return f"it learns the documents first, and remembers them in {cursor}"


def line_of(change: Change) -> str:
    """Put a change into one line for a person."""
    document = change.document
    at = change.at.astimezone().strftime("%Y-%m-%d %H:%M:%S") if change.at else "unknown time"
    parts = [at, f"{change.kind.value:<14}", change.document_id]
    if document is not None:
        parts.append(document.name or "without name")
        if document.total is not None:
            parts.append(f"{document.total} {document.currency or ''}".rstrip())
    return "  ".join(parts)


def _receiver(command: str | None, url: str | None, stop: asyncio.Event) -> Receiver:
    """Return the receiver of the options. Refuse a missing secret before any request."""
    if command is not None:
        return lambda change: _until_taken(lambda: _run(command, change), f"{command} failed", stop)
    if url is not None:
        web_address("--post", url, "https://example.com/changes")
        secret = Environment.read().watch_secret
        if secret is None:
            fail(
                "--post needs HL_WATCH_SECRET, with which the receiver proves the sender: openssl rand -base64 32"
            )
        key = secret.reveal().encode()
        return lambda change: _until_taken(lambda: _post(url, key, change), f"{url} refused", stop)

    async def nothing(change: Change) -> bool:
        """Do no more than print."""
        return True

    return nothing


async def _until_taken(take: Callable[[], Awaitable[str]], said: str, stop: asyncio.Event) -> bool:
    """Repeat ``take``, with growing pauses, until it succeeds or is stopped."""
    pause = 1.0
    while problem := await take():
        say(f"{said} ({problem}); trying again in {pause:g} s")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await stop.wait()
        # The change stays unread, and the next start begins with it.
        if stop.is_set():
            return False
        pause = min(_LONGEST_PAUSE, pause * 2)
    return True


async def _run(command: str, change: Change) -> str:
    # A shell, because the option is a command line. Data of the change goes to stdin only.
    process = await asyncio.create_subprocess_shell(command, stdin=asyncio.subprocess.PIPE)
    await process.communicate(json.dumps(change.to_dict(), ensure_ascii=False).encode())
    return f"exit {process.returncode}" if process.returncode else ""


async def _post(url: str, key: bytes, change: Change) -> str:
    body = json.dumps(change.to_dict(), ensure_ascii=False).encode()
    headers = signed(key, change.id, int(time.time()), body)
    try:
        status, _ = await asyncio.to_thread(post, url, body, headers)
    except (OSError, http.client.HTTPException) as error:
        return str(getattr(error, "strerror", None) or error)
    return "" if status < 300 else f"status {status}"


def signed(key: bytes, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Sign a body in the form of the Standard Webhooks specification (HMAC-SHA256)."""
    # The id and the time are signed as well, so that a receiver can refuse replays.
    content = b".".join((message_id.encode(), str(timestamp).encode(), body))
    signature = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    return {
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{signature}",
    }
