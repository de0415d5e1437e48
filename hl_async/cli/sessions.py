"""Internal. Shared parts of commands that run: client, counts, stop, report."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from hl_async.bulk.reports import RunReport
from hl_async.cli.app import say
from hl_async.cli.signals import on_signal
from hl_async.config import environment_with
from hl_async.secret import Secret
from hl_async.telemetry import AttemptFinished, Event, Observer, RetryScheduled

if TYPE_CHECKING:
    from hl_async.client import HighLevel
    from hl_async.storage.postgres import Database

base_url_option = click.option(
    "--base-url", metavar="URL", help="The server; default HL_BASE_URL, else the real API."
)
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON line on stdout instead of text.")


class Trouble(msgspec.Struct):
    """Attempts in a row without a usable answer; ``next_at`` is a monotonic time.

    ``words`` say which server fails, and how.
    """

    words: str
    attempts: int = 0
    next_at: float | None = None


_FAILURES: Final = {
    "AttemptTimeout": "does not answer in time",
    "ConnectionLost": "breaks connections",
}


class Counting:
    """The counts of requests and refusals for a report, and how the server fails."""

    def __init__(self) -> None:
        self.requests: int = 0
        self.refused: int = 0
        self.trouble: Trouble | None = None

    def on_event(self, event: Event) -> None:
        if isinstance(event, AttemptFinished):
            self.requests += 1
            self.refused += event.status == 429
            self._note(event)
        elif isinstance(event, RetryScheduled) and self.trouble is not None:
            self.trouble.next_at = time.monotonic() + event.delay

    def _note(self, event: AttemptFinished) -> None:
        if 0 < event.status < 500:
            self.trouble = None
            return
        what = f"answers {event.status}" if event.status else _FAILURES.get(event.error, "fails")
        # The reason of a failed connection names address and cause: it may be the proxy that refused.
        words = event.reason if event.error == "ConnectFailed" else f"{event.host} {what}"
        # Another kind of failure is another trouble, counted from one.
        if self.trouble is None or self.trouble.words != words:
            self.trouble = Trouble(words)
        # Counted over all calls: one failing call alone does not make an outage.
        self.trouble.attempts += 1
        self.trouble.next_at = None


def client(
    base_url: str | None,
    observer: Observer,
    share: float = 1.0,
    attempt_timeout: float = 30.0,
    postgres: Database | Secret | None = None,
) -> HighLevel:
    """Return a client from the environment, with its budgets shared in ``postgres``."""
    from hl_async.client import HighLevel
    from hl_async.config import ClientConfig, Timeouts
    from hl_async.governor import GovernorPolicy

    settings: dict[str, Any] = {
        "observers": [observer],
        # A request that was given up may arrive as late as its longest attempt.
        "governor": GovernorPolicy(share=share, linger=attempt_timeout),
    }
    settings["config"] = ClientConfig(timeouts=Timeouts(attempt=attempt_timeout))
    if base_url:
        settings["base_url"] = base_url
    if postgres is not None:
        from hl_async.governor.shared import PostgresBudget
        from hl_async.storage.postgres import Database

        dsn = postgres.dsn if isinstance(postgres, Database) else postgres
        settings["budget"] = PostgresBudget(postgres)
        # An OAuth app takes its token store from the environment, and finds the same database there.
        settings["environ"] = environment_with({"HL_POSTGRES": dsn.reveal()})
    return HighLevel.from_env(**settings)


@contextmanager
def draining(
    stop: asyncio.Event, said: str = "stopping: requests in flight are finished first"
) -> Iterator[None]:
    """Set ``stop`` and print ``said`` on Ctrl-C or SIGTERM; a second one cancels."""
    main = asyncio.current_task()
    assert main is not None

    def halt(number: signal.Signals) -> None:
        # A second signal means: do not wait for answers. Cancel at once.
        if stop.is_set():
            main.cancel()
            return
        stop.set()
        say(f"{said}; Ctrl-C again stops now")

    with on_signal(halt):
        yield


def report_json(report: RunReport) -> dict[str, Any]:
    """Return a report as JSON data; a total in one currency is its number as text."""

    def total(sums: dict[str, Any]) -> Any:
        return str(next(iter(sums.values()))) if len(sums) == 1 else {c: str(t) for c, t in sums.items()}

    found = msgspec.to_builtins(report)
    return {**found, "total_source": total(report.total_source), "total_created": total(report.total_created)}
