"""Internal. ``hl-async doctor``: a check of account and machine before a job."""

from __future__ import annotations

import platform
import tempfile
import time
from email.utils import parsedate_to_datetime
from enum import Enum, unique
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click
import msgspec

from hl_async import operations as op
from hl_async.cli.app import put_json, run_async, tell
from hl_async.cli.exits import ExitCode
from hl_async.cli.sessions import base_url_option, json_option
from hl_async.config import Environment
from hl_async.errors import CallError, Forbidden, InvalidRequest, ScopeMissing, Unauthorized, WireError
from hl_async.operations import Operation
from hl_async.wire import DATE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hl_async.client import Location
    from hl_async.wire import WireResponse

_SKEW: Final = 30.0
"""Seconds. HighLevel signs webhooks with its clock; tokens are judged by theirs."""

_PAGE: Final = {"limit": "1", "offset": "0"}
_READS: Final[tuple[tuple[Operation[Any], Mapping[str, Any], Mapping[str, Any] | None, bool], ...]] = (
    (op.LIST_ESTIMATES, _PAGE, None, True),
    (op.LIST_INVOICES, _PAGE, None, True),
    (op.LIST_ESTIMATE_TEMPLATES, _PAGE, None, False),
    (op.LIST_INVOICE_TEMPLATES, _PAGE, None, False),
    (op.LIST_INVOICE_SCHEDULES, _PAGE, None, False),
    (op.SEARCH_CONTACTS, {}, {"pageLimit": 1}, False),
    (op.LIST_PRODUCTS, _PAGE, None, False),
    (op.LIST_TRANSACTIONS, _PAGE, None, False),
    (op.LIST_PIPELINES, {}, None, False),
)
"""One harmless read per scope: operation, query, body, and whether the package's main job needs it."""


@unique
class CheckVerdict(Enum):
    """How a check ended; the value is what the terminal shows."""

    GOOD = "ok"
    WARNING = "warning"
    BAD = "failed"
    UNKNOWN = "unknown"


class CheckFinding(msgspec.Struct, frozen=True):
    """One line of the report."""

    check: str
    verdict: CheckVerdict
    text: str


class _Read(NamedTuple):
    """The end of one harmless read."""

    operation: Operation[Any]
    needed: bool
    error: CallError | None


@click.command()
@click.option("--location", metavar="ID", help="The location; default HL_LOCATION_ID.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="Where journals and rejects would be written; default here.",
)
@base_url_option
@json_option
def doctor(location: str | None, folder: Path, base_url: str | None, as_json: bool) -> int:
    """Check token, location, scopes, rate budget, clock and folder, with reads only.

    Makes about ten requests and changes nothing. Exit 0: everything the main job needs is there.

    \b
    hl-async doctor
    hl-async doctor --location 6578278e879ad2646715ba9c --json
    """
    findings = [*machine(), folder_finding(folder)]
    settings, usable = settings_findings(Environment.read(), base_url)
    findings += settings
    code = ExitCode.OK
    if usable:
        found, code = run_async(lambda: _account(location, base_url))
        findings += found
    else:
        code = ExitCode.AUTH
    # Exit codes of the API go first, because they say more than "something failed".
    if any(finding.verdict is CheckVerdict.BAD for finding in findings) and code is ExitCode.OK:
        code = ExitCode.USAGE
    if as_json:
        put_json([msgspec.to_builtins(finding) for finding in findings])
    else:
        width = max(len(finding.check) for finding in findings)
        for finding in findings:
            tell(f"{finding.verdict.value:<7} {finding.check:<{width}}  {finding.text}")
    return code


def machine() -> list[CheckFinding]:
    """Describe Python, the package and its speed-ups."""

    def installed(name: str) -> str | None:
        try:
            return version(name)
        except PackageNotFoundError:
            return None

    core = ", ".join(f"{name} {installed(name)}" for name in ("hl-async", "aiohttp", "msgspec"))
    fast = [name for name in ("uvloop", "backports.zstd") if installed(name)]
    return [
        CheckFinding(
            "python", CheckVerdict.GOOD, f"{platform.python_version()} on {platform.system()}; {core}"
        ),
        CheckFinding("speedups", CheckVerdict.GOOD, ", ".join(fast) or "none installed (extra: speedups)"),
    ]


def folder_finding(folder: Path) -> CheckFinding:
    """Say whether a journal could be made in ``folder``."""
    if not folder.is_dir():
        return CheckFinding("folder", CheckVerdict.BAD, f"{folder} is not a folder")
    # SQLite writes its log beside the journal, so the folder must be writable, not only the file.
    try:
        # A file is made: permissions alone say nothing of read-only file systems, and root has all of them.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        text = f"{folder.resolve()} is not writable ({error.strerror}); choose another --journal"
        return CheckFinding("folder", CheckVerdict.BAD, text)
    return CheckFinding("folder", CheckVerdict.GOOD, f"{folder.resolve()} is writable")


def settings_findings(found: Environment, base_url: str | None) -> tuple[list[CheckFinding], bool]:
    """Describe the credentials in the environment, and return whether there are any."""
    server = CheckFinding(
        "server", CheckVerdict.GOOD, base_url or found.base_url or "https://services.leadconnectorhq.com"
    )
    if found.token is not None:
        is_private = found.token.reveal().startswith("pit-")
        kind = "a private integration token" if is_private else "a bearer token, which nothing here renews"
        verdict = CheckVerdict.GOOD if is_private else CheckVerdict.WARNING
        return [server, CheckFinding("token", verdict, f"{kind}, {found.token}")], True
    if found.client_id is not None:
        return [
            server,
            CheckFinding("token", CheckVerdict.GOOD, "an OAuth app; see: hl-async auth status"),
        ], True
    text = "HL_TOKEN is not set; export a private integration token, or HL_CLIENT_ID and HL_CLIENT_SECRET"
    return [server, CheckFinding("token", CheckVerdict.BAD, text)], False


async def _account(location: str | None, base_url: str | None) -> tuple[list[CheckFinding], ExitCode]:
    from hl_async.client import HighLevel

    if not (location or Environment.read().location_id):
        text = "HL_LOCATION_ID is not set; export it, or give --location ID"
        return [CheckFinding("location", CheckVerdict.BAD, text)], ExitCode.USAGE
    try:
        opened = HighLevel.from_env(base_url=base_url) if base_url else HighLevel.from_env()
        opened.location(location)
    except InvalidRequest as error:
        return [CheckFinding("settings", CheckVerdict.BAD, str(error))], ExitCode.USAGE
    async with opened as hl:
        shop = hl.location(location)
        # A check that waits as long as a call does would take minutes where the network is down.
        shop = shop.with_options(timeout=20, max_attempts=2)
        began = time.time()
        named, is_forbidden = await _named(shop)
        findings = [named]
        reads: list[_Read] = []
        answer: WireResponse | None = None
        for operation, query, body, needed in _READS:
            try:
                answer = await shop.raw(operation, query=query, body=body)
                reads.append(_Read(operation, needed, None))
            except CallError as error:
                reads.append(_Read(operation, needed, error))
                if isinstance(error, WireError) or _is_refused(error, is_forbidden):
                    break  # the other reads would end like this one
        findings += [scope_finding(read) for read in reads]
        if answer is not None:
            findings.append(clock_finding(answer.headers.get(DATE), began))
        snapshot = hl.governor.scope((hl.credentials.principal, shop.id)).snapshot()
        left = "" if snapshot.daily_remaining is None else f", {snapshot.daily_remaining} left today"
        text = f"{snapshot.max} requests in {snapshot.interval:g} s{left}"
        findings.append(
            CheckFinding("rate budget", CheckVerdict.GOOD if answer else CheckVerdict.UNKNOWN, text)
        )
        return findings, verdict_of(reads)


async def _named(shop: Location) -> tuple[CheckFinding, bool]:
    """Name the location, and return whether the token may not read it at all."""
    try:
        details = await shop.details()
    except ScopeMissing:
        text = f"{shop.id}; its name and time zone need the scope {op.GET_LOCATION.scope}"
        return CheckFinding("location", CheckVerdict.WARNING, text), False
    except CallError as error:
        finding = CheckFinding("location", CheckVerdict.UNKNOWN, f"{shop.id}: {error}")
        return finding, isinstance(error, Forbidden)
    return CheckFinding(
        "location", CheckVerdict.GOOD, f"{shop.id}, {details.name}, {details.timezone}"
    ), False


def _is_refused(error: CallError, is_forbidden: bool) -> bool:
    """Return whether every read fails: a bad token, or another account's location."""
    if is_forbidden and isinstance(error, Forbidden):
        return True
    return isinstance(error, Unauthorized) and not isinstance(error, ScopeMissing)


def scope_finding(read: _Read) -> CheckFinding:
    """Say what one read proves about its scope."""
    operation, needed, error = read
    name = f"{operation.at}"
    if error is None:
        return CheckFinding(name, CheckVerdict.GOOD, f"the token has {operation.scope}")
    if isinstance(error, ScopeMissing):
        verdict = CheckVerdict.BAD if needed else CheckVerdict.WARNING
        return CheckFinding(name, verdict, f"the token lacks {operation.scope}")
    verdict = CheckVerdict.BAD if needed else CheckVerdict.UNKNOWN
    if isinstance(error, WireError):
        return CheckFinding("server", verdict, f"{error}; check HL_BASE_URL, HL_PROXY and the network")
    # The operation stands in front of the line already.
    return CheckFinding(name, verdict, str(error).removeprefix(f"{name}: "))


def verdict_of(reads: list[_Read]) -> ExitCode:
    """Return the exit code of needed reads: refused tokens before other failures."""
    errors = [read.error for read in reads if read.error is not None and read.needed]
    # A refused token explains all other failures.
    if any(isinstance(error, Unauthorized) for error in errors):
        return ExitCode.AUTH
    return ExitCode.API if errors else ExitCode.OK


def clock_finding(date: str | None, now: float) -> CheckFinding:
    """Compare this clock with an answer's ``Date`` header, which has whole seconds."""
    try:
        skew = now - parsedate_to_datetime(date or "").timestamp()
    except ValueError:
        return CheckFinding("clock", CheckVerdict.UNKNOWN, "the server states no time")
    verdict = CheckVerdict.GOOD if abs(skew) <= _SKEW else CheckVerdict.WARNING
    side = "ahead of" if skew > 0 else "behind"
    text = (
        "agrees with the server's"
        if verdict is CheckVerdict.GOOD
        else f"is {abs(skew):.0f} s {side} the server's"
    )
    return CheckFinding("clock", verdict, text)
