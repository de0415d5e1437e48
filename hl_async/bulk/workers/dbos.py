"""Internal. DBOS as the engine: slices of all runs in one durable queue in Postgres, taken by the workers of many
hosts.

A slice is one workflow without steps, and its id says which lane and epoch it is for, so that submitting it twice makes
one. DBOS is asked for nothing but a durable queue: what it recovers, repeats or forgets is settled by the lease in the
journal. Executors need no fixed ids, and none of DBOS's services is used. Needs the extra ``dbos``; importing it takes
seconds, so only :class:`DbosEngine` does, when it serves.
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
# DBOS gives a workflow only to executors of the version that it was enqueued by; a deploy must not strand the queue
_VERSION: Final = "hl-bulk-1"
_DRAIN: Final = 60
"""Seconds for which DBOS is kept at most for slices that end after the stop; they end all the same, untold to it."""

_TIDY_EVERY: Final = 600.0
_TIDY_AT_ONCE: Final = 1000
_STATES: Final = {
    "ENQUEUED": SliceState.QUEUED,
    "DELAYED": SliceState.QUEUED,
    "PENDING": SliceState.RUNNING,
}


class DbosEngine:
    """Slices in a DBOS queue of the database ``dsn``, in a schema of its own, which DBOS makes and upgrades.

    ``name`` is this process's among all workers; ``poll`` how many seconds it waits between two looks at the queue.
    :meth:`serve` works until ``stop`` is set, lets what runs end, and returns. One process has one of these, and no
    other DBOS application. Raises :class:`ConfigurationError` without DBOS.
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
        """See :meth:`LaneEngine.submit`; waits until it serves."""
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
        """See :meth:`LaneEngine.overview`; waits until it serves."""
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
        """Work on slices until the stop; ``at_once`` is to be the same for all workers of a database."""
        from dbos import DBOS

        running: set[asyncio.Task[None]] = set()

        async def work(slice_: Slice) -> None:
            following = await handler(slice_)
            if following is not None and not self._stop.is_set():
                await self.submit(following)

        async def hl_async_slice(run: str, location: str, epoch: int, number: int) -> None:
            # in a context of its own: what is submitted from here is no child of this workflow
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
        # in this thread: DBOS then runs the workflows in this loop
        DBOS.launch()
        await DBOS.register_queue_async(
            _QUEUE, worker_concurrency=at_once, polling_interval_sec=self._poll, on_conflict="always_update"
        )
        self._dbos = DBOS
        self._launched.set()
        tidying = asyncio.create_task(self._tidy())
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
            # takes no more from the queue, and returns when what runs has ended
            logging.getLogger("dbos").setLevel(logging.CRITICAL)
            await asyncio.shield(asyncio.to_thread(DBOS.destroy, workflow_completion_timeout_sec=patience))
            await asyncio.gather(*running, return_exceptions=True)

    async def _tidy(self) -> None:
        """Slices that ended are of no use to anybody: delete their rows now and then."""
        while True:
            await asyncio.sleep(_TIDY_EVERY)
            with contextlib.suppress(Exception):  # a database that is away is told by everything else
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
            raise BulkError("the engine has ended, and takes no more slices")
        return self._dbos

    def __repr__(self) -> str:
        return f"<DbosEngine {self._name}>"


def _id_of(slice_: Slice) -> str:
    return f"{slice_.run}-{slice_.number}-{slice_.location}-{slice_.epoch}"
