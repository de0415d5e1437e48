"""Internal. Progress with each wait: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from hl_async.bulk.reports import Progress
from hl_async.cli.app import say
from hl_async.cli.render import span, time_of_day
from hl_async.cli.sessions import Counting, Trouble

if TYPE_CHECKING:
    from rich.console import RenderableType

_LINE_EVERY: Final = 5.0
_WAIT_EVERY: Final = 15.0
_TROUBLE_AFTER: Final = 3
"""So many attempts in a row fail before a line says so."""

Show = Callable[[Progress], None]


@contextmanager
def progress(title: str, quiet: bool, counting: Counting | None = None) -> Iterator[Show | None]:
    """Yield a callback that shows :class:`Progress`, or None if nothing is shown.

    Args:
        title: What the numbers count, such as ``done``.
        quiet: Show nothing.
        counting: Knows how the server fails.
    """
    if quiet:
        yield None
        return
    # Logs of jobs keep every redraw of a bar as a line.
    if not sys.stderr.isatty():
        lines = Lines(title)

        def tell(now: Progress) -> None:
            line = lines.next(now, counting.trouble if counting else None, time.monotonic(), time.time())
            if line:
                say(line)

        yield tell
        return
    # Imported here: rich takes as long to load as everything else of a command.
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar
    from rich.text import Text

    class Screen(Bar):
        """A bar with a sentence below it."""

        sentence = ""

        def get_renderables(self) -> Iterator[RenderableType]:
            yield from super().get_renderables()
            # A column of the bar would cut the sentence at the screen's edge.
            if self.sentence:
                yield Text(self.sentence)

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"))
    with Screen(*columns, console=Console(stderr=True), transient=False) as bar:
        task = bar.add_task(title, total=None, text="")

        def show(now: Progress) -> None:
            trouble = counting.trouble if counting else None
            bar.sentence = waiting(now, time.time()) or unreachable(trouble, time.monotonic())
            text = f"{now.done:,}/{now.of:,}" + ("" if bar.sentence else f" · {_pace(now)}")
            text += f" · {now.rejected} rejected" if now.rejected else ""
            bar.update(task, completed=now.done, total=now.of, text=text)

        yield show


class Lines:
    """The choice of the next line without a terminal. Pure: times are passed in."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._said_at = -_WAIT_EVERY
        self._kind = ""

    def next(self, now: Progress, trouble: Trouble | None, at: float, clock: float) -> str:
        """Return the line to print, or "".

        Args:
            now: The progress.
            trouble: How the server fails, if it does.
            at: The monotonic time in seconds.
            clock: The time of day in seconds.
        """
        is_over = now.done == now.of
        wait = waiting(now, clock)
        failing = unreachable(trouble, at)
        kind = "over" if is_over and not wait else "wait" if wait else "trouble" if failing else "pace"
        every = _LINE_EVERY if kind == "pace" else _WAIT_EVERY
        # A log file of a night must not fill with the same line.
        if kind == self._kind and at - self._said_at < every:
            return ""
        if kind == "pace" and at - self._said_at < _LINE_EVERY:
            return ""  # a short trouble or wait is over: the next line comes in its turn
        self._kind, self._said_at = kind, at
        return wait or (
            failing if kind == "trouble" else f"{self._title} {now.done:,}/{now.of:,} · {_pace(now)}"
        )


def _pace(now: Progress) -> str:
    if now.done == now.of:
        return f"{now.rate:.1f}/s"
    return f"{now.rate:.1f}/s · ETA {span(now.eta)}"


def waiting(now: Progress, clock: float) -> str:
    """Describe the present wait and its end; "" without one."""
    if now.until is None or now.until <= clock:
        return ""
    until = f"{time_of_day(now.until)} ({now.until - clock:.0f} s)"
    if now.ambiguous:
        requests = "request" if now.ambiguous == 1 else "requests"
        return f"waiting until {until} to learn whether {now.ambiguous:,} unanswered {requests} took effect"
    if now.note == "contacts":
        return f"waiting until {until} to learn whether contacts without an answer were created"
    return f"waiting until {until} for a last look for documents that were created late"


def unreachable(trouble: Trouble | None, at: float) -> str:
    """Return how the server fails and when it is tried again; "" if it answers."""
    if trouble is None or trouble.attempts < _TROUBLE_AFTER:
        return ""
    due = "" if trouble.next_at is None else f", next in {max(0.0, trouble.next_at - at):.0f} s"
    return (
        f"{trouble.words}; trying again ({_ordinal(trouble.attempts)} time{due}); Ctrl-C keeps finished work"
    )


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
