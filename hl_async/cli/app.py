"""Internal. The command group: lazy commands, errors as a line and an exit code."""

from __future__ import annotations

import difflib
import importlib
import json
import shutil
import sys
import textwrap
from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn, TextIO, TypeVar

import click

from hl_async._version import __version__
from hl_async.cli.colours import painted
from hl_async.cli.exits import ExitCode
from hl_async.errors import (
    AlreadyMigrated,
    AuthError,
    BulkError,
    CallError,
    ClientStateError,
    ConnectFailed,
    HighLevelError,
    InvalidRequest,
    JournalError,
    JournalLocked,
    JournalMissing,
    LaneLost,
    NotFound,
    OutcomeUnknown,
    QuotaExhausted,
    ScopeMissing,
    SourceError,
    TooManyRejects,
    Unauthorized,
    ValidationFailed,
    WebhookError,
)

T = TypeVar("T")

# command → module:attribute; a module is imported only when its command runs or shows its help
_COMMANDS: Final = {
    "account": "accounts:account",
    "auth": "auth:auth",
    "call": "call:call",
    "completion": "completion:completion",
    "copy": "export:copy",
    "demo": "demo:demo",
    "doctor": "doctor:doctor",
    "export": "export:export_command",
    "map": "profiles:map_command",
    "migrate": "migrate:migrate",
    "pause": "status:pause",
    "profiles": "profiles:profiles_command",
    "receivables": "reports:receivables",
    "reconcile": "reports:reconcile",
    "rejects": "runs:rejects",
    "rollback": "runs:rollback",
    "sandbox": "sandbox:sandbox",
    "status": "status:status",
    "verify": "runs:verify",
    "webhooks": "webhooks:webhooks",
    "watch": "watch:watch",
    "worker": "worker:worker",
}

_SUMMARIES: Final = {
    "account": "Keep several accounts; choose one with --profile.",
    "auth": "Log an OAuth app in, list installations, renew, log out.",
    "call": "Call any operation of the API.",
    "completion": "Print the completion script of a shell.",
    "copy": "Copy the estimates of one location into another.",
    "demo": "Migrate a sample export into a local sandbox; needs no account.",
    "doctor": "Check token, location, scopes, budget, clock and folder before a job.",
    "export": "Write all estimates or invoices of a location to a file.",
    "map": "Print a first mapping of a table, guessed from its header.",
    "migrate": "Turn an export file into estimates, exactly once.",
    "pause": "Let workers begin nothing more of a run.",
    "profiles": "List the systems whose exports are understood.",
    "receivables": "Report who owes what, and for how long.",
    "reconcile": "Compare invoices with the payments of the location.",
    "rejects": "Print the documents of a run that were rejected.",
    "rollback": "Delete the drafts that a run created, and close the run.",
    "sandbox": "Serve a local HighLevel on loopback.",
    "status": "Show how far a run has come.",
    "verify": "Compare the documents of a run with the location.",
    "webhooks": "Send signed test deliveries, and receive deliveries.",
    "watch": "Print changes of estimates or invoices.",
    "worker": "Work on the runs of a database, beside other workers.",
}


_WIDEST: Final = 10_000


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

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            # click 8.1 has no suggestions for commands.
            near = difflib.get_close_matches(args[0], _COMMANDS, 2)
            hint = (
                f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(sorted(_COMMANDS))}"
            )
            ctx.fail(f"unknown command {args[0]!r}; {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # the summaries stand here so that --help imports nothing
        with formatter.section("Commands"):
            formatter.write_dl(sorted(_SUMMARIES.items()))


def _profiles(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    from hl_async.cli.profile_file import known_profiles

    return known_profiles(ctx, param, incomplete)


@click.group(
    cls=LazyGroup,
    # help is as wide as the terminal: click stops at 80 columns unless it is given another limit
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": _WIDEST},
)
@click.version_option(__version__, prog_name="hl-async")
@click.option(
    "--profile",
    envvar="HL_PROFILE",
    metavar="NAME",
    shell_complete=_profiles,
    help="A stored account; see: hl-async account.",
)
@click.option(
    "--proxy", metavar="URL", help="The proxy of every request, http://HOST:PORT; default HL_PROXY."
)
def app(profile: str | None, proxy: str | None) -> None:
    """Estimates and invoices of HighLevel: migrate, export, call, a local sandbox.

    The token is read from HL_TOKEN (or see: hl-async auth), the location from HL_LOCATION_ID, the server from
    HL_BASE_URL, the database of shared runs from HL_POSTGRES.
    Data goes to stdout, everything said to people to stderr.

    \b
    hl-async demo                                  # start to end, no account
    hl-async sandbox bash                          # a shell in a local HighLevel
    hl-async call estimates.list -q status=sent    # any operation of the API
    hl-async migrate orders.csv --map orders.toml  # documents out of a table
    """
    if profile:
        from hl_async.cli.profile_file import use_profile

        use_profile(profile)
    if proxy:
        from hl_async.config import use_proxy

        use_proxy(proxy)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code. No traceback is ever printed."""
    try:
        words = None if arguments is None else list(arguments)
        outcome = app.main(args=words, prog_name="hl-async", standalone_mode=False)
    except click.exceptions.Abort:
        say("interrupted")
        return ExitCode.INTERRUPTED
    # A group without arguments shows its help. Inside the main group that is a mistake in a script.
    except click.exceptions.NoArgsIsHelpError as error:
        within = error.ctx is not None and error.ctx.parent is not None
        # The help that was asked for is output: a pager reads it.
        click.echo(error.format_message(), err=within)
        return ExitCode.USAGE if within else ExitCode.OK
    except click.ClickException as error:
        say(f"error: {error.format_message()}")
        if isinstance(error, click.UsageError) and error.ctx is not None:
            say(f"  see: {error.ctx.command_path} --help")
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
    # A foreign exception is a bug: it keeps its traceback.
    if ours is None or others is not None:
        raise group
    # Task groups nest, and one line holds one error: that of the first task.
    error: BaseException = ours
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    say(f"error: {explain(error)}")
    return exit_code_of(error)


_CONNECTING: Final = (
    "check HL_BASE_URL and the network; a proxy is named by HL_PROXY, as HTTPS_PROXY is not read; "
    "without an account: hl-async sandbox COMMAND"
)

# The first match counts, so subclasses come before their bases.
_HINTS: Final[tuple[tuple[type[HighLevelError], str], ...]] = (
    (ScopeMissing, "give the token this scope, in HighLevel's settings"),
    (Unauthorized, "check HL_TOKEN and the scopes of the token"),
    (NotFound, "check the id, and that it belongs to the location: --location, or HL_LOCATION_ID"),
    (ValidationFailed, "what an operation takes: hl-async call --list OPERATION"),
    (QuotaExhausted, "the location's budget of the day is used up; the same command continues tomorrow"),
    (OutcomeUnknown, "look whether it happened before you do it again"),
    (ConnectFailed, _CONNECTING),
    (
        JournalMissing,
        "give the file that was migrated, or its journal; runs of a database: hl-async status --postgres",
    ),
    (LaneLost, "the same command continues with the rest"),
    (JournalLocked, "wait until it is done, or look at it with: hl-async status"),
    (AlreadyMigrated, "continue the run that created them, or create these documents all the same: --again"),
)

_IN_HEADLINE: Final = 3
"""So many violations stand in the error's own text."""

_FIELD_HINTS: Final = {
    "HL_TOKEN": "without an account: hl-async sandbox COMMAND runs a command in a local HighLevel",
    "proxy": "check HL_PROXY",
    "location_id": "give --location ID, or export HL_LOCATION_ID",
}

# The same order as above: SourceError and Unauthorized before BulkError and CallError.
_CODES: Final[tuple[tuple[type[HighLevelError], ExitCode], ...]] = (
    (InvalidRequest, ExitCode.USAGE),
    (SourceError, ExitCode.USAGE),
    (Unauthorized, ExitCode.AUTH),
    (AuthError, ExitCode.AUTH),
    (JournalError, ExitCode.USAGE),
    (AlreadyMigrated, ExitCode.USAGE),
    (TooManyRejects, ExitCode.USAGE),  # planned only: there is nothing to resume
    (BulkError, ExitCode.STOPPED),
    (CallError, ExitCode.API),
    (ClientStateError, ExitCode.API),
    (WebhookError, ExitCode.API),
)


def explain(error: BaseException) -> str:
    """Return the error's text and, where we know one, what to do next."""
    hint = next((text for kind, text in _HINTS if isinstance(error, kind)), "")
    if isinstance(error, InvalidRequest):
        hint = _FIELD_HINTS.get(error.field, hint)
    if isinstance(error, ValidationFailed):
        hint = hint.replace("OPERATION", error.operation or "OPERATION")
        hint = "\n  ".join([*(f"and {message}" for message in error.messages[_IN_HEADLINE:]), hint])
    return f"{error}\n  {hint}" if hint else str(error)


def exit_code_of(error: BaseException) -> ExitCode:
    """Return the exit code for an exception of this package."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), ExitCode.API)


def say(text: str) -> None:
    """Print a message for people to stderr, apart from data."""
    # print() and not click.echo(), which writes past the stderr that a progress bar puts in place
    print(painted(_fitted(text, sys.stderr), sys.stderr), file=sys.stderr, flush=True)


def tell(text: str) -> None:
    """Print a result for people to stdout, wrapped between words on a terminal."""
    click.echo(painted(_fitted(text, sys.stdout), sys.stdout))


def _fitted(text: str, stream: TextIO) -> str:
    if not stream.isatty():
        return text
    # On a narrower terminal every word would take a line.
    width = max(40, shutil.get_terminal_size().columns)
    fitted = []
    for line in text.splitlines():
        inset = " " * (len(line) - len(line.lstrip()) + 2)
        fitted += textwrap.wrap(
            line, width, subsequent_indent=inset, break_long_words=False, break_on_hyphens=False
        ) or [""]
    return "\n".join(fitted)


def put_json(value: Any) -> None:
    """Write one JSON line to stdout."""
    click.echo(json.dumps(value, default=str, ensure_ascii=False))


def fail(text: str, code: ExitCode = ExitCode.USAGE) -> NoReturn:
    """Say why and end with ``code``."""
    say(f"error: {text}")
    raise click.exceptions.Exit(int(code))


def run_async(main: Callable[[], Any], *, log: str = "error") -> Any:
    """Run a coroutine function on a fresh loop of uvloop, or else of asyncio.

    Args:
        main: The coroutine function.
        log: The level from which the package's log is printed, unless `HL_LOG` names one.
    """
    import asyncio

    from hl_async.telemetry.logs import log_as_asked, log_to_stderr

    # short commands retry in silence: the error that ends them says how often
    if not log_as_asked():
        log_to_stderr(log, "%(levelname)s: %(message)s")
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main())
    # A policy would change the loops of a program that calls this in-process.
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())
