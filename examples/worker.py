"""A taskiq worker: one client per worker process, tasks that are safe to run again.

The broker here lives in memory; put your own in its place and start ``taskiq worker examples.worker:broker``.
"""

from __future__ import annotations

import logging
import os

from taskiq import InMemoryBroker, TaskiqEvents, TaskiqState

from hl_async import HighLevel, Lane, Once, SqliteStore
from hl_async.errors import HighLevelError
from hl_async.models import EstimateDraft

log = logging.getLogger("worker")
broker = InMemoryBroker()


@broker.on_event(TaskiqEvents.WORKER_STARTUP)
async def start(state: TaskiqState) -> None:
    """Open the client when the worker starts."""
    once = Once(SqliteStore(os.environ.get("ONCE_DB", "once.db")))
    state.highlevel = await HighLevel.from_env(once=once).aopen()


@broker.on_event(TaskiqEvents.WORKER_SHUTDOWN)
async def stop(state: TaskiqState) -> None:
    """Close it when the worker ends."""
    await state.highlevel.aclose()


@broker.task
async def create_estimate(draft: str, key: str) -> str:
    """Create the estimate in ``draft`` once, however often the queue delivers this task; gives its id.

    ``draft`` is ``EstimateDraft(…).to_json()``. Two workers that get the task at the same time wait for each other,
    because they share the file ``ONCE_DB``; workers on several hosts take ``PostgresTokenStore``.

    ``OutcomeUnknown`` goes to the queue, which delivers again. For many documents take ``hl-async migrate``: it does
    this durably, and without a look per document.
    """
    client: HighLevel = broker.state.highlevel
    shop = client.location().with_options(lane=Lane.BULK)
    try:
        made = await shop.estimates.create(EstimateDraft.from_json(draft), once=key)
    except HighLevelError:
        log.exception("create_estimate %s failed", key)
        raise
    return made.id
