"""Changes of documents: created, sent, viewed, accepted, paid, edited, deleted.

The API has no webhook for estimates (docs/api-facts.md#api-webhook-events). A :class:`ChangeFeed` reads lists within a
given share of the rate budget, compares each document with its last state, and yields the differences::

    async for change in shop.estimates.changes(cursor=SqliteCursors("watch.db")):
        print(change.kind, change.document_id)

Every difference is reported at least once. A repetition after a crash has the same ``Change.id``.
"""

from __future__ import annotations

from hl_async.changes.cursors import CursorStore, MemoryCursors, SqliteCursors
from hl_async.changes.detection import Change, ChangeKind, Seen
from hl_async.changes.feed import ChangeFeed, FeedPolicy
from hl_async.changes.passes import FeedState
from hl_async.changes.postgres import PostgresCursors

__all__ = [
    "Change",
    "ChangeFeed",
    "ChangeKind",
    "CursorStore",
    "FeedPolicy",
    "FeedState",
    "MemoryCursors",
    "PostgresCursors",
    "Seen",
    "SqliteCursors",
]
