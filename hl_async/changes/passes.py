"""Internal. Pages of a pass, which reads a list to its end while the list shifts.

Pure. Pages overlap. A document that is deleted during a pass moves all later ones up by one, so that the next offset
skips one. The overlap shows that, and the pass steps back until it meets a document of its last page.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

OVERLAP: Final = 10
"""Documents that two pages of a pass share."""


class FeedState(msgspec.Struct, frozen=True):
    """The position of a feed, stored with its rows.

    Attributes:
        number: The pass that is under way, from 1.
        offset: The offset of its next page.
        tail: The last ids of its latest page. The next page must contain one of them.
        is_baseline: The first pass, which learns the documents and reports no changes.
    """

    number: int = 1
    offset: int = 0
    tail: tuple[str, ...] = ()
    is_baseline: bool = True


class PassStep(msgspec.Struct, frozen=True):
    """The position of a pass after a page.

    Attributes:
        state: The position of the feed.
        is_complete: The pass has reached the end of the list. A document that it did not meet is missing.
    """

    state: FeedState
    is_complete: bool


def advance(state: FeedState, ids: Sequence[str], limit: int) -> PassStep:
    """Return the next step of a pass after a page.

    Args:
        state: The position of the feed at the request.
        ids: The ids of the page, in its order.
        limit: The requested page size.
    """
    if state.tail and not _meets(state.tail, ids):
        # a deletion moved the list up, so documents between the two pages may have been skipped: step back
        back = max(0, state.offset - limit + OVERLAP)
        tail = () if back == 0 else state.tail
        # at the start of the list there is nothing to step back to
        if back == state.offset:
            return PassStep(msgspec.structs.replace(state, tail=()), is_complete=False)
        return PassStep(msgspec.structs.replace(state, offset=back, tail=tail), is_complete=False)
    end = state.offset + len(ids)
    # A short page may be a server's smaller page size, and a total may be wrong, both at once too
    # (docs/api-facts.md#api-pagination). So the list ends only with a page that has no new document.
    if set(ids) <= set(state.tail):
        finished = FeedState(number=state.number + 1, is_baseline=False)
        return PassStep(finished, is_complete=True)
    # At most half a page, so that a small page advances the offset too.
    overlap = min(OVERLAP, len(ids) // 2)
    tail = tuple(ids[len(ids) - overlap :])
    return PassStep(msgspec.structs.replace(state, offset=end - overlap, tail=tail), is_complete=False)


def _meets(tail: Sequence[str], ids: Sequence[str]) -> bool:
    return not set(tail).isdisjoint(ids)
