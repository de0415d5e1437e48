"""Internal. What a listing of a location proves. Pure.

A listing proves that a document is missing only if it shows the *controls*: documents that the journal knows as
created, with their keys. A listing that lags, leaves documents out or has lost the keys fails them, and proves
nothing.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Final

from hl_async.bulk.protocol import Control, Copy, Timing

SKEW: Final = 3600.0
"""Seconds by which our clock and the API's may differ."""

PAGE: Final = 100
"""So many documents in a row that are too old make the rest of a list uninteresting.

No page of the API is longer, so this is a whole page at least, and an order by anything but age is noticed."""

HELD_AFTER: Final = 5
"""So many requests of an item, each found not executed, and the item is left to a person."""

CANARY_FAILURES: Final = 3
"""So many requests of a first document, each found not executed, and the run stops."""


LONGEST_LAG: Final = 10
"""So many settle times after its request, a document that a list does not show was deleted: no list lags so long."""


class Scan:
    """One pass over the list of a location.

    Args:
        wanted: Keys whose documents are collected in ``found``.
        controls: Documents that must be in the list, newest first.
        since: Documents that matter were created at this time or later, in seconds; None if all matter.
        page: So many older documents in a row end the scan, once every control was met.
    """

    def __init__(
        self,
        wanted: Container[str],
        controls: Sequence[Control] = (),
        since: float | None = None,
        *,
        page: int = PAGE,
    ) -> None:
        self.found: dict[str, list[Copy]] = {}
        self.keyless: set[str] = set()
        """Controls that are in the list, but without their keys."""
        self.documents: int = 0
        self._wanted = wanted
        self._controls = controls
        self._unmet = {control.document: control for control in controls}
        self._since = since
        self._page = page
        self._older = 0

    def see(self, key: str | None, copy: Copy) -> bool:
        """Take in one document. Return False once the rest of the list cannot matter."""
        self.documents += 1
        if key is not None and key in self._wanted:
            self.found.setdefault(key, []).append(copy)
        expected = self._unmet.get(copy.id)
        if expected is not None:
            # the control's id alone proves nothing about keys, which everything else is found by
            if key == expected.key:
                del self._unmet[copy.id]
                self.keyless.discard(copy.id)
            else:
                self.keyless.add(copy.id)
        # counted in a row: in a list that is not in the order of age, a young document interrupts the old ones
        is_old = (
            self._since is not None and copy.created_at is not None and copy.created_at < self._since - SKEW
        )
        self._older = self._older + 1 if is_old else 0
        return self._older < self._page or bool(self._unmet)

    @property
    def missing(self) -> list[Control]:
        """Controls that were not in the list, newest first."""
        return [control for control in self._unmet.values() if control.document not in self.keyless]

    @property
    def proves_absence(self) -> bool:
        """Whether a document that was not found is missing: every control was met."""
        return not self._unmet

    def drop(self, documents: Container[str]) -> None:
        """Give up controls that are known to be deleted."""
        self._unmet = {one: control for one, control in self._unmet.items() if one not in documents}

    def drop_deleted(self, now: float, timing: Timing) -> None:
        """Give up missing controls that must have been deleted.

        It decides where the API has no call that tells. A list that lags lacks the newest documents. So a missing one
        was deleted if a later one is there, or if it is far older than any lag. A list that shows no control at all
        vouches for nothing.
        """
        met = [control.sent_at for control in self._controls if control.document not in self._unmet]
        # without a control that was met, the list may be another location's, or empty
        if met:
            settled = now - LONGEST_LAG * (timing.attempt + timing.settle)
            self.drop({one.document for one in self.missing if one.sent_at < max(*met, settled)})


def pauses(settle: float) -> tuple[float, ...]:
    """Return growing pauses for a list that lags, in seconds: ``settle`` in all."""
    return tuple(settle * part / 15 for part in (1, 2, 4, 8))


def is_server_error(words: str | None) -> bool:
    """Return whether the words of a failure begin with a status of 5xx."""
    return words is not None and words[:1] == "5" and words[:3].isdecimal()


class Identical:
    """A row of failures with the same words: the run, not a document, may be wrong."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._words = ""
        self._number = 0

    def failed(self, words: str) -> bool:
        """Count a failure. Return whether the row is as long as the limit."""
        self._number = self._number + 1 if words == self._words else 1
        self._words = words
        return self._number >= self._limit

    def succeeded(self) -> None:
        """End the row."""
        self._number = 0
