"""A blocking twin of the asynchronous client, for scripts, Django and Celery.

Every call runs on one background event loop, so pool, rate budget and tokens are shared by all threads::

    from hl_async.sync import HighLevel

    with HighLevel("pit-…") as hl:
        for estimate in hl.location("6578278e879ad2646715ba9c").estimates.list(status="draft"):
            print(estimate.name, estimate.total)

The methods are those of ``hl_async.HighLevel``, its locations and their resources, without ``await``. A coroutine
becomes its result, a :class:`~hl_async.pagination.Pager` becomes a :class:`SyncPager`, an asynchronous iterator becomes
an iterator. The type stub beside this file is generated from their signatures (``make stubs``).
"""

from __future__ import annotations

from hl_async.sync.blocking import HighLevel, SyncPager

__all__ = ["HighLevel", "SyncPager"]
