"""A taskiq worker: one client per worker process, tasks that are safe to run again.

The broker here lives in memory; put your own in its place and start ``taskiq worker examples.worker:broker``.
"""

from __future__ import annotations

import json

from taskiq import InMemoryBroker, TaskiqEvents, TaskiqState

from hl_async import HighLevel, Lane
from hl_async.operations import CREATE_ESTIMATE

broker = InMemoryBroker()


@broker.on_event(TaskiqEvents.WORKER_STARTUP)
async def start(state: TaskiqState) -> None:
    """Open the client when the worker starts."""
    state.highlevel = await HighLevel.from_env().__aenter__()


@broker.on_event(TaskiqEvents.WORKER_SHUTDOWN)
async def stop(state: TaskiqState) -> None:
    """Close it when the worker ends."""
    await state.highlevel.aclose()


@broker.task
async def create_estimate(draft: str, key: str) -> str:
    """Create the estimate in ``draft`` (JSON) once, however often the queue delivers this task; gives its id.

    The API has no idempotency key, so ours travels in ``meta`` and is looked for first. ``OutcomeUnknown`` goes to the
    queue, which delivers again, and then the look tells. For many documents take ``hl-async migrate``: it does this
    durably, and without a look per document.
    """
    client: HighLevel = broker.state.highlevel
    shop = client.location().with_options(lane=Lane.BULK)
    body = json.loads(draft)
    async for estimate in shop.estimates.list(search=body["name"]):
        if (estimate.meta or {}).get("key") == key:
            return estimate.id
    made = await shop.call(CREATE_ESTIMATE, body={**body, "meta": {"key": key}})
    return made.id
