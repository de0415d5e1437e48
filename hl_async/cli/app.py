"""The command group: commands load when they are used, errors become one line and an exit code."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn, TypeVar

import click

from hl_async._version import __version__
from hl_async.cli.exits import ExitCode
from hl_async.errors import (
    AuthError,
    BulkError,
    CallError,
    ClientStateError,
    HighLevelError,
    InvalidRequest,
    JournalError,
    SourceError,
    Unauthorized,
    WebhookError,
)

T = TypeVar("T")

# command → module:attribute; a module is imported only when its command runs or shows its help
_COMMANDS: Final = {
    "auth": "auth:auth",
    "call": "call:call",
    "completion": "completion:completion",
    "copy": "export:copy",
    "demo": "demo:demo",
    "export": "export:export_command",
    "migrate": "migrate:migrate",
    "rejects": "migrate:rejects",
    "rollback": "migrate:rollback",
    "sandbox": "sandbox:sandbox",
    "status": "migrate:status",
    "verify": "migrate:verify",
}

_SUMMARIES: Final = {
    "auth": "Log an OAuth app in, see what is installed, renew, log out.",
    "call": "Call any operation of the API.",
    "completion": "Print the completion script of a shell.",
    "copy": "Copy the estimates of one location into another.",
    "demo": "Migrate a sample export into a local sandbox; needs no account.",
    "export": "Write all estimates or invoices of a location to a file.",
    "migrate": "Turn an export file into estimates, exactly once.",
    "rejects": "Print the documents of a run that were rejected.",
    "rollback": "Delete what a run created, as far as it is still draft.",
    "sandbox": "Serve a local HighLevel on loopback.",
    "status": "Show how far a run has come.",
    "verify": "Compare a finished run with the location, to the cent.",
}


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        target = _COMMANDS.get(cmd_name)
        if target is None:
            return None
        module, _, attribute = target.partition(":")
        command: click.Command = getattr(importlib.import_module(f"hl_async.cli.{module}"), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # the summaries stand here so that --help imports nothing
        with formatter.section("Commands"):
            formatter.write_dl(sorted(_SUMMARIES.items()))


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="hl-async")
def app() -> None:
    """Estimates and invoices of the HighLevel API: migrate, export, call, and a local sandbox.

    The token is read from HL_TOKEN (or see: hl-async auth), the location from HL_LOCATION_ID, the server from
    HL_BASE_URL.
    Data goes to stdout, everything said to people to stderr. Try: hl-async demo
    """


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; no traceback ever reaches the terminal."""
    try:
        outcome = app.main(args=None if arguments is None else list(arguments), standalone_mode=False)
    except click.exceptions.Abort:
        say("interrupted")
        return ExitCode.INTERRUPTED
    except click.ClickException as error:
        error.show()
        return ExitCode.USAGE
    except KeyboardInterrupt:
        say("interrupted")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # the reader of our stdout went away (| head): nothing to say, and nowhere to say it
        sys.stderr.close()
        return ExitCode.OK
    except HighLevelError as error:
        say(f"error: {explain(error)}")
        return exit_code_of(error)
    except ExceptionGroup as group:
        return _from_group(group)
    except OSError as error:
        say(f"error: {error.filename or ''}: {error.strerror or error}".replace("error: : ", "error: "))
        return ExitCode.USAGE
    return int(outcome) if isinstance(outcome, int) else ExitCode.OK


def _from_group(group: ExceptionGroup[Exception]) -> int:
    ours, others = group.split(HighLevelError)
    if ours is None or others is not None:
        raise group
    error: BaseException = ours
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    say(f"error: {explain(error)}")
    return exit_code_of(error)


_HINTS: Final[tuple[tuple[type[HighLevelError], str], ...]] = (
    (Unauthorized, "check HL_TOKEN and the scopes of the token"),
    (JournalError, "give another --journal, or resume the run it belongs to"),
)

_CODES: Final[tuple[tuple[type[HighLevelError], ExitCode], ...]] = (
    (InvalidRequest, ExitCode.USAGE),
    (SourceError, ExitCode.USAGE),
    (Unauthorized, ExitCode.AUTH),
    (AuthError, ExitCode.AUTH),
    (JournalError, ExitCode.USAGE),
    (BulkError, ExitCode.STOPPED),
    (CallError, ExitCode.API),
    (ClientStateError, ExitCode.API),
    (WebhookError, ExitCode.API),
)


def explain(error: BaseException) -> str:
    """The error's text and, where we know one, what to do next."""
    hint = next((text for kind, text in _HINTS if isinstance(error, kind)), "")
    return f"{error}\n  {hint}" if hint else str(error)


def exit_code_of(error: BaseException) -> ExitCode:
    """The exit code for an exception of this package."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), ExitCode.API)


def say(text: str) -> None:
    """Tell a person something: stderr, never mixed into data."""
    click.echo(text, err=True)


def put_json(value: Any) -> None:
    """Write one JSON line to stdout."""
    click.echo(json.dumps(value, default=str, ensure_ascii=False))


def fail(text: str, code: ExitCode = ExitCode.USAGE) -> NoReturn:
    """Say why and end with ``code``."""
    say(f"error: {text}")
    raise click.exceptions.Exit(int(code))


def run_async(main: Callable[[], Any]) -> Any:
    """Run a coroutine function on a fresh loop: uvloop where it is installed, asyncio otherwise."""
    import asyncio

    try:
        import uvloop
    except ImportError:
        return asyncio.run(main())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())
