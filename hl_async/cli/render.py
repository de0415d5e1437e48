"""How runs look on a terminal: a progress bar when there is one, plain lines when there is not, a table at the end."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, Final

from hl_async.bulk.journals.protocol import LaneStatus
from hl_async.bulk.run import Progress, RunReport
from hl_async.bulk.verification import Verification
from hl_async.cli.app import say

_REASONS: Final = 5


def money(sums: dict[str, Decimal]) -> str:
    """``12,345.60 GBP``, several joined."""
    return ", ".join(f"{total:,} {currency}".strip() for currency, total in sorted(sums.items())) or "0"


def span(seconds: float | None) -> str:
    """``1:05`` or ``2:03:04``."""
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@contextmanager
def progress(title: str, quiet: bool) -> Iterator[Any]:
    """A callback for :class:`Progress`: a bar on a terminal, a line every five seconds elsewhere, or nothing."""
    if quiet:
        yield None
        return
    if not sys.stderr.isatty():
        yield _plain(title)
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[count]} · ETA {task.fields[eta]}{task.fields[more]}"),
    )
    with Bar(*columns, console=Console(stderr=True), transient=False) as bar:
        task = bar.add_task(title, total=None, count="", eta="?", more="")

        def show(now: Progress) -> None:
            more = f" · {now.ambiguous} unanswered" if now.note else ""
            more += f" · {now.rejected} rejected" if now.rejected else ""
            count = f"{now.done:,}/{now.of:,} · {now.rate:.1f}/s"
            bar.update(task, completed=now.done, total=now.of, count=count, eta=span(now.eta), more=more)

        yield show


def _plain(title: str) -> Any:
    said = 0.0

    def show(now: Progress) -> None:
        nonlocal said
        if time.monotonic() - said >= 5 or now.done == now.of:
            said = time.monotonic()
            say(f"{title} {now.done:,}/{now.of:,} · {now.rate:.1f}/s · ETA {span(now.eta)}")

    return show


def report_lines(report: RunReport, reasons: Counter[str] | None = None) -> list[str]:
    """The report as text, one fact per line; the commonest of ``reasons`` under what was rejected."""
    lines = [
        f"source     {report.source:>8,} documents",
        f"created    {report.created:>8,}   {money(report.total_created)}",
        f"rejected   {report.rejected:>8,}",
        *_reason_lines(reasons or Counter()),
    ]
    if report.skipped:
        lines.append(f"skipped    {report.skipped:>8,}   left out by the mapping")
    if report.unknown:
        lines.append(
            f"held       {report.unknown:>8,}   nobody can tell whether these happened: look at them"
        )
    if report.planned or report.ambiguous:
        lines.append(f"to do      {report.planned:>8,}   and {report.ambiguous:,} unanswered")
    if report.requests:
        took = f"took       {span(report.seconds):>8}"
        if report.seconds and report.requests >= report.created:  # else some were created before this time
            took += f"   {report.created / report.seconds:.1f} documents per second"
        lines.append(took)
        lines.append(f"requests   {report.requests:>8,}   {report.refused:,} refused by the rate limit")
    return lines


def _reason_lines(reasons: Counter[str]) -> list[str]:
    lines = [f"           {count:>8,}   {_cut(reason)}" for reason, count in reasons.most_common(_REASONS)]
    rest = reasons.total() - sum(count for _, count in reasons.most_common(_REASONS))
    return [*lines, f"           {rest:>8,}   other reasons: in the reject file"] if rest else lines


def _cut(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= 100 else f"{plain[:99]}…"


def verification_lines(found: Verification) -> list[str]:
    """The verification as text: verified, or every difference."""
    if not found.differences:
        text = f"verified: {found.documents:,} documents, {money(found.total_found)}, equal to the cent"
        return [text + (f"; {found.repaired} surplus drafts deleted" if found.repaired else "")]
    lines = [f"{len(found.differences)} differences:"]
    lines += [f"  {d.kind:<10} {d.source_id} {d.document} {d.detail}" for d in found.differences[:50]]
    if len(found.differences) > 50:
        lines.append(f"  … and {len(found.differences) - 50} more")
    return lines


def lane_lines(lanes: list[LaneStatus], *, rows: int) -> list[str]:
    """A table of locations, those that are worked on first; nothing for a single one that nobody works on."""
    if len(lanes) == 1 and not lanes[0].holder and not lanes[0].reason:
        return []
    width = max((len(lane.location) for lane in lanes), default=8)
    finished = sum(lane.done == lane.of for lane in lanes)
    lines = [
        "",
        f"{finished:,} of {len(lanes):,} locations are done",
        f"{'location':<{width}}  {'done':>15}  {'rate':>7}  {'unanswered':>10}  worked on by",
    ]
    ordered = sorted(lanes, key=lambda lane: (not lane.holder, lane.done == lane.of))
    lines += [_lane_line(lane, width) for lane in ordered[:rows]]
    if len(ordered) > rows:
        lines.append(f"… and {len(ordered) - rows:,} more locations (--json shows all)")
    return lines


def _lane_line(lane: LaneStatus, width: int) -> str:
    if lane.holder:
        who = lane.holder
    elif lane.done == lane.of and not lane.reason:
        who = ""
    else:
        wait = f"in {span(lane.wakes_in)}" if lane.wakes_in else ""
        who = f"- {' '.join(part for part in (wait, _cut(lane.reason)) if part) or 'waits'}"
    rate = f"{lane.rate:.1f}/s" if lane.holder else ""
    done = f"{lane.done:,}/{lane.of:,}"
    return f"{lane.location:<{width}}  {done:>15}  {rate:>7}  {lane.ambiguous:>10,}  {who}".rstrip()
