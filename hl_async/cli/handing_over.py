"""Internal. A run that workers work on: hand it over, and watch them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hl_async.bulk.reports import RunReport
from hl_async.bulk.run import Run
from hl_async.cli.app import say
from hl_async.cli.journal_options import required_postgres
from hl_async.cli.progress import progress
from hl_async.cli.sessions import draining
from hl_async.config import DEFAULT_BASE_URL, Environment, base_url

if TYPE_CHECKING:
    from hl_async.bulk.workers.dispatcher import Dispatcher


class Handover(NamedTuple):
    """Where and how a run is handed over; see ``hl-async migrate --help``."""

    postgres: str | None
    base_url: str | None
    settle: float
    attempt_timeout: float
    detach: bool
    as_json: bool


async def hand_over(run: Run, to: Handover) -> RunReport | None:
    """Leave the run to workers, and watch them; None if it is detached."""
    from hl_async.bulk.workers.dispatcher import Dispatcher, RunSettings
    from hl_async.storage.postgres import Database

    database = Database(required_postgres(to.postgres))
    server = to.base_url or Environment.read().base_url or DEFAULT_BASE_URL
    dispatch = Dispatcher(database, server=base_url(server))
    name = run.journal.name
    try:
        await dispatch.dispatch(name, RunSettings(to.settle, to.attempt_timeout))
        if not await dispatch.workers():
            say("no worker is there yet; start some with: hl-async worker")
        if to.detach:
            say(f"handed over; look at it with: hl-async status {name}")
            return None
        with (
            progress("done", to.as_json) as show,
            draining(
                run.stop, f"no longer watched: the workers continue; hl-async pause {name} lets them rest"
            ),
        ):
            return await run.follow(_Following(dispatch, name).is_open, on_progress=show)
    finally:
        await database.aclose()


class _Following:
    """The watch over a run, which says when the first worker comes or the last goes."""

    def __init__(self, dispatch: Dispatcher, run: str) -> None:
        self._dispatch = dispatch
        self._run = run
        self._alone: bool | None = None

    async def is_open(self) -> bool:
        alone = not await self._dispatch.workers()
        # Only a change is worth a line: the first state was said when the run was handed over.
        if self._alone is not None and alone is not self._alone:
            say(
                "no worker is there any more; start some with: hl-async worker"
                if alone
                else "a worker is there"
            )
        self._alone = alone
        return await self._dispatch.is_open(self._run)
