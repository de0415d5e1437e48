"""Internal. The progress of a rollback over all its locations."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from hl_async.bulk.reports import Progress

_PROGRESS_EVERY: Final = 1.0


class ReversalBoard:
    """The progress of all locations together."""

    def __init__(self, of: int, on_progress: Callable[[Progress], None] | None) -> None:
        self._of = of
        self._on_progress = on_progress
        self._began = self._said = time.monotonic()
        self._waits: dict[str, tuple[float, int]] = {}
        self.done: set[str] = set()

    def waiting(self, location: str, until: float | None, items: int = 0) -> None:
        """Show that a location waits for so many unanswered requests, or no longer does."""
        if until is None:
            self._waits.pop(location, None)
        else:
            self._waits[location] = (until, items)
        self.show(force=True)

    def show(self, *, force: bool = False) -> None:
        """Report progress, at most once per second unless forced."""
        now = time.monotonic()
        if self._on_progress is None or not (force or now - self._said >= _PROGRESS_EVERY):
            return
        self._said = now
        rate = len(self.done) / max(now - self._began, 0.001)
        of = max(self._of, len(self.done))
        until = max((until for until, _ in self._waits.values()), default=None)
        self._on_progress(
            Progress(
                len(self.done),
                of,
                created=0,
                rejected=0,
                ambiguous=sum(items for _, items in self._waits.values()),
                rate=rate,
                eta=(of - len(self.done)) / rate if rate > 0 else None,
                note="settling" if self._waits else "",
                until=until,
            )
        )
