"""Internal. The reads of a change feed: pages of a list, and one document again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hl_async.config import CallOptions, Lane
from hl_async.errors import NotFound
from hl_async.operations import Operation

if TYPE_CHECKING:
    from hl_async.changes import ChangeFeed, CursorStore
    from hl_async.changes.feed import Look
    from hl_async.models import Estimate, Invoice
    from hl_async.resources.requesting import Requester


class ListSource:
    """A list operation for a feed. Its calls wait behind interactive ones.

    ``get`` is the operation that reads one document. Without it, the list of the document's contact is searched.
    """

    __slots__ = ("_at", "_get", "_list", "_options", "name")

    def __init__(self, at: Requester, kind: str, listing: Operation[Any], get: Operation[Any] | None) -> None:
        self._at = at
        self._list = listing
        self._get = get
        # Behind many interactive calls, a feed may wait longer than the default timeout of a call.
        self._options = CallOptions(lane=Lane.BULK, timeout=120)
        self.name: str = f"{at.key}/{kind}/1"

    def rate(self) -> float:
        """Return the location's budget in requests per second, as the server last said."""
        snapshot = self._at.budget()
        return snapshot.max / snapshot.interval

    async def page(self, offset: int, limit: int) -> Sequence[Estimate | Invoice]:
        """Read one page of the list, with documents of any status."""
        # No filter by status: a document would leave the filtered list with its next status.
        query = {"limit": limit, "offset": offset}
        envelope = await self._at.call(self._list, query=query, options=self._options)
        entries: Sequence[Estimate | Invoice] = envelope.entries
        return entries

    async def look(self, document_id: str, contact_id: str, offset: int) -> Look:
        """Look for one document: by its id, or on a page of its contact's documents.

        Args:
            document_id: The document.
            contact_id: Its contact. Without it, an estimate cannot be looked for.
            offset: Offset of the page of the contact's documents.
        """
        from hl_async.changes.feed import Look

        if self._get is not None:
            try:
                return Look(await self._at.call(self._get, document_id, options=self._options), True)
            except NotFound:
                return Look(None, True)
        # No route reads one estimate, so its contact's list is searched page by page: docs/api-facts.md#api-get-one
        if not contact_id:
            return Look(None, False)
        query = {"limit": 100, "offset": offset, "contactId": contact_id}
        entries = (await self._at.call(self._list, query=query, options=self._options)).entries
        found = next((entry for entry in entries if entry.id == document_id), None)
        return Look(found, False, offset + len(entries) if entries and found is None else None)


def feed_of(
    source: ListSource, cursor: CursorStore | None, share: float, every: float, lease: float
) -> ChangeFeed:
    """Return a feed. The import is deferred until a program uses one."""
    from hl_async.changes import ChangeFeed, FeedPolicy

    return ChangeFeed(source, cursor, FeedPolicy(share=share, every=every, lease=lease))
