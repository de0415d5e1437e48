"""Internal. Reads lists to their end while they shift, without losing a document."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from hl_async.changes.passes import FeedState, advance
from hl_async.errors import CallError
from hl_async.models import Invoice
from hl_async.pagination import DEFAULT_LIMIT, Pager

if TYPE_CHECKING:
    from hl_async.client import Location

# A list that changes faster than it is read would never end.
_MOST_STEPS_BACK: Final = 50


class _Identified(Protocol):
    @property
    def id(self) -> str: ...


D = TypeVar("D", bound=_Identified)


async def every(list_from: Callable[[int], Pager[D]], what: str) -> AsyncIterator[D]:
    """Yield each document of a list once.

    Pages overlap. A document that is deleted meanwhile moves the others up, and the overlap shows it.

    Args:
        list_from: Returns the list from an offset on.
        what: What the list holds, for the error.

    Raises:
        CallError: A page cannot be read, or the list never keeps still.
    """
    state, steps_back = FeedState(), 0
    # Pages overlap, so a document arrives twice as a rule. A report must count it once.
    given: set[str] = set()
    while True:
        page = await list_from(state.offset)
        for document in page.items:
            if document.id not in given:
                given.add(document.id)
                yield document
        step = advance(state, [document.id for document in page.items], DEFAULT_LIMIT)
        if step.is_complete:
            return
        steps_back += step.state.offset < state.offset
        if steps_back > _MOST_STEPS_BACK:
            raise CallError(f"the list of {what} changes faster than it can be read; run the report later")
        state = step.state


def invoices_of(place: Location) -> AsyncIterator[Invoice]:
    """Yield each invoice of a location once."""
    return every(lambda offset: place.invoices.list(offset=offset), "invoices")
