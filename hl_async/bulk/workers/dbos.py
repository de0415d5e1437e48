"""Internal. The engine on DBOS: one durable queue in Postgres for many hosts.

Workers take slices from the queue. A slice is one workflow without steps. Its id names lane and epoch, so submitting
it twice makes one workflow. DBOS is used as a durable queue only. The lease in the journal decides about anything
DBOS recovers, repeats or forgets. Executors need no fixed ids and none of DBOS's services. Needs the extra ``dbos``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable
from contextvars import Context
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from hl_async.bulk.engine import Handler, Slice, SliceState
from hl_async.errors import BulkError, ConfigurationError
from hl_async.secret import Secret

if TYPE_CHECKING:
    from dbos import DBOSConfig

_QUEUE: Final = "hl-async-lanes"
_WORKFLOW: Final = "hl_async_slice"
_SCHEMA: Final = "hl_async_dbos"
# DBOS hands a workflow only to executors of the version that enqueued it. Without a fixed version, a deployment would
# strand the queue.
_VERSION: Final = "hl-bulk-1"
_DRAIN: Final = 60
"""Longest time in seconds that DBOS waits for running slices after the stop.

Slices that take longer still finish, but DBOS does not record their end.
"""

_TIDY_EVERY: Final = 600.0
_TIDY_AT_ONCE: Final = 1000
_STATES: Final = {
    "ENQUEUED": SliceState.QUEUED,
    "DELAYED": SliceState.QUEUED,
    "PENDING": SliceState.RUNNING,
}


class DbosEngine:
    """Slices in a DBOS queue, in a schema that DBOS creates and upgrades.

    :meth:`serve` works until ``stop`` is set, lets running slices finish, and returns. A process can have one engine,
    and no other DBOS application.

    Args:
        dsn: The Postgres database.
        stop: Ends :meth:`serve`.
        name: Name of this process, unique among all workers.
        poll: Seconds between two looks at the queue.

    Raises:
        ConfigurationError: DBOS is not installed.
    """

    def __init__(self, dsn: Secret | str, stop: asyncio.Event, *, name: str, poll: float = 0.5) -> None:
        if find_spec("dbos") is None:
            raise ConfigurationError("engine", "dbos needs more: pip install 'hl-async[dbos]'")
        self._dsn = dsn if isinstance(dsn, Secret) else Secret(dsn)
        self._name = name
        self._poll = poll
        self._stop = stop
        self._dbos: Any = None
        self._launched = asyncio.Event()

    async def submit(self, slice_: Slice) -> None:
        """Submit a slice; see :meth:`LaneEngine.submit`. Waits until the engine serves."""
        dbos = await self._serving()
        await dbos.enqueue_workflow_with_options_async(
            {
                "workflow_name": _WORKFLOW,
                "queue_name": _QUEUE,
                "workflow_id": _id_of(slice_),
                "app_version": _VERSION,
            },
            *slice_,
        )

    async def overview(self, slices: Iterable[Slice]) -> dict[Slice, SliceState]:
        """Return the states of slices. Waits until the engine serves."""
        by_id = {_id_of(slice_): slice_ for slice_ in slices}
        found = dict.fromkeys(by_id.values(), SliceState.OVER)
        if by_id:
            dbos = await self._serving()
            for status in await dbos.list_workflows_async(
                workflow_ids=list(by_id), load_input=False, load_output=False
            ):
                found[by_id[status.workflow_id]] = _STATES.get(status.status, SliceState.OVER)
        return found

    async def serve(self, handler: Handler, *, at_once: int) -> None:
        """Work on slices until the stop.

        Args:
            handler: Called with each slice.
            at_once: Slices at a time; the same for all workers of a database.
        """
        # Importing DBOS takes seconds, which only serving may cost: docs/decisions/dbos-slices.md.
        from dbos import DBOS

        running: set[asyncio.Task[None]] = set()

        async def work(slice_: Slice) -> None:
            following = await handler(slice_)
            if following is not None and not self._stop.is_set():
                await self.submit(following)

        async def hl_async_slice(run: str, location: str, epoch: int, number: int) -> None:
            # An empty context, because DBOS would take slices submitted from here for children of this workflow.
            task = asyncio.create_task(work(Slice(run, location, epoch, number)), context=Context())
            running.add(task)
            task.add_done_callback(running.discard)
            await task

        config: DBOSConfig = {
            "name": "hl-async",
            "system_database_url": self._dsn.reveal(),
            "dbos_system_schema": _SCHEMA,
            "application_version": _VERSION,
            "executor_id": self._name,
            "log_level": "ERROR",
            "sys_db_pool_size": 5,
        }
        DBOS(config=config)
        DBOS.workflow(name=_WORKFLOW)(hl_async_slice)
        # Launched in the thread of the event loop, DBOS runs the workflows in that loop.
        DBOS.launch()
        await DBOS.register_queue_async(
            _QUEUE, worker_concurrency=at_once, polling_interval_sec=self._poll, on_conflict="always_update"
        )
        self._dbos = DBOS
        self._launched.set()
        tidying = asyncio.create_task(self._tidy())
        # A cancelled serve() must not wait for slices. Only the stop grants them time to finish.
        patience = 0
        try:
            await self._stop.wait()
            patience = _DRAIN
        finally:
            tidying.cancel()
            if not patience:
                for task in running:
                    task.cancel()
            await asyncio.gather(tidying, return_exceptions=True)
            self._dbos = None
            # destroy() stops taking slices and returns when the running ones have ended, or after the timeout.
            logging.getLogger("dbos").setLevel(logging.CRITICAL)
            # Shielded, because a second cancellation must not leave threads of DBOS behind that still use this loop.
            await asyncio.shield(asyncio.to_thread(DBOS.destroy, workflow_completion_timeout_sec=patience))
            await asyncio.gather(*running, return_exceptions=True)

    async def _tidy(self) -> None:
        """Delete the rows of ended slices now and then. Nothing reads them again."""
        while True:
            await asyncio.sleep(_TIDY_EVERY)
            # An unreachable database is reported by the pump and the journal already.
            with contextlib.suppress(Exception):
                over = await self._dbos.list_workflows_async(
                    name=_WORKFLOW,
                    status=["SUCCESS", "ERROR", "CANCELLED"],
                    limit=_TIDY_AT_ONCE,
                    load_input=False,
                    load_output=False,
                )
                await self._dbos.delete_workflows_async([status.workflow_id for status in over])

    async def _serving(self) -> Any:
        await self._launched.wait()
        if self._dbos is None:
            raise BulkError("the engine has stopped and takes no more slices")
        return self._dbos

    def __repr__(self) -> str:
        return f"<DbosEngine {self._name}>"


def _id_of(slice_: Slice) -> str:
    return f"{slice_.run}-{slice_.number}-{slice_.location}-{slice_.epoch}"
