"""The journal in Postgres, for runs that many processes work on.

A lane belongs to the process that holds its *lease*. A lease ends by itself when it is not renewed, and each new one
increments the lane's *epoch*. Every change names its epoch, so a process that was believed dead changes nothing when it
comes back. Times are the database's. Changes that wait at the same time share one statement. Needs the extra
``postgres`` (asyncpg).
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, Final

from hl_async.bulk.journals.postgres_lane import PostgresLane
from hl_async.bulk.journals.postgres_run import PostgresRun
from hl_async.bulk.journals.postgres_schema import JOURNAL, STATEMENTS
from hl_async.bulk.journals.postgres_steps import PostgresSteps, plan_steps_again
from hl_async.bulk.journals.protocol import LaneStatus
from hl_async.bulk.journals.rows import ItemColumns, columns_of, lane_status
from hl_async.bulk.journals.store import check_header
from hl_async.bulk.journals.stored import text_of
from hl_async.bulk.protocol import RunState, State
from hl_async.bulk.sources.records import Reject, SourceItem
from hl_async.errors import JournalMissing
from hl_async.secret import Secret
from hl_async.storage.postgres import Database, changed_rows, database_of, plain_text

LEASE: Final = 20.0
"""Seconds that a lane stays with a holder that does not renew it."""


class PostgresJournals:
    """The place of a run in a database.

    Args:
        database: An address or a :class:`~hl_async.storage.postgres.Database`, which is then not closed with the
            journal.
        name: The name of the run.
        holder: The name of this process for others.
        lease: Seconds after this process's death until others take its lanes over.
    """

    def __init__(
        self, database: Database | Secret | str, name: str, *, holder: str = "", lease: float = LEASE
    ) -> None:
        self._database, self._owns = database_of(database)
        self.name = name
        self._holder = holder
        self._lease = lease

    @property
    def reference(self) -> str:
        """The name of the run."""
        return self.name

    def sibling(self, reference: str) -> PostgresJournals:
        """Return another run of the same database."""
        return PostgresJournals(self._database, reference, holder=self._holder, lease=self._lease)

    async def create(self, header: dict[str, str]) -> PostgresJournal:
        """See :meth:`JournalStore.create`."""

        async def make(connection: Any) -> int:
            # in one transaction: a run without its facts would fit any source
            async with connection.transaction():
                run: int = await connection.fetchval(*self._bind("make_run"))
                rows = await connection.fetch(*self._bind("header", run=run))
                check_header(self.name, dict(rows), header)
                for name, value in header.items():
                    await connection.execute(*STATEMENTS.bind("note_new", run=run, name=name, value=value))
            return run

        return await self._journal(make)

    async def open(self, *, watch: bool = False) -> PostgresJournal:
        """See :meth:`JournalStore.open`. Others may work on the run, watched or not."""

        async def find(connection: Any) -> int:
            run: int | None = await connection.fetchval(*self._bind("find_run"))
            if run is None:
                raise JournalMissing(f"the run {self.name!r} is missing in {self._database.name}")
            return run

        return await self._journal(find)

    async def exists(self) -> bool:
        run = await self._once(lambda connection: connection.fetchval(*self._bind("find_run")))
        return run is not None

    async def remove(self) -> None:
        await self._once(lambda connection: connection.execute(*self._bind("remove_run")))

    async def set_aside(self, word: str) -> str:
        async def rename(connection: Any) -> str:
            async with connection.transaction():
                # the rows are locked: another process may choose a name at the same time
                taken = {name for (name,) in await connection.fetch(*self._bind("lock_names"))}
                number = 1
                while (new := f"{self.name}.{word}-{number}") in taken:
                    number += 1
                await connection.execute(*self._bind("rename_run", new=new))
            return new

        renamed: str = await self._once(rename)
        return renamed

    def _bind(self, statement: str, /, **values: Any) -> tuple[Any, ...]:
        return STATEMENTS.bind(statement, name=self.name, **values)

    async def _once(self, act: Any) -> Any:
        try:
            return await self._database.run(JOURNAL, act)
        # no journal is returned that would close the database later
        finally:
            if self._owns:
                await self._database.aclose()

    async def _journal(self, find: Any) -> PostgresJournal:
        try:
            run = await self._database.run(JOURNAL, find)
        except BaseException:
            if self._owns:
                await self._database.aclose()
            raise
        return PostgresJournal(self._database, run, self.name, self._holder, self._lease, owns=self._owns)


class PostgresJournal(PostgresRun):
    """A run in a database; see :class:`Journal`. :class:`PostgresJournals` opens it."""

    def __init__(
        self, database: Database, run: int, name: str, holder: str, lease: float, *, owns: bool
    ) -> None:
        super().__init__(database, run)
        self.steps: PostgresSteps = PostgresSteps(self)
        self._name = name
        self._holder = holder
        self._lease = lease
        self._owns = owns

    @property
    def name(self) -> str:
        return self._name

    async def aclose(self) -> None:
        """Finish queued changes, and close the database if the journal opened it."""
        # the changes first: they need the database
        await self.changes.written()
        if self._owns:
            await self.database.aclose()

    async def plan(self, records: Iterable[tuple[SourceItem, str, bytes] | Reject]) -> None:
        rows = [ItemColumns(*map(plain_text, columns_of(record))) for record in records]
        if not rows:
            return
        # one array per column: the statement has the same text, and the same plan, for any number of rows
        columns = dict(zip(ItemColumns._fields, map(list, zip(*rows, strict=True)), strict=True))
        locations = list(dict.fromkeys(row.location for row in rows if row.key is not None))

        async def write(connection: Any) -> None:
            async with connection.transaction():
                await connection.execute(*STATEMENTS.bind("plan", run=self.run, **columns))
                # in the same transaction: an item without a lane would never be sent
                await connection.execute(*STATEMENTS.bind("open_lanes", run=self.run, locations=locations))

        await self.database.run(JOURNAL, write)

    async def lease(
        self, location: str, *, epoch: int | None = None, state: RunState = RunState.RUNNING
    ) -> PostgresLane | None:
        # read before the request: an answer that takes long must not lengthen the lease
        asked, asked_wall, began = time.monotonic(), time.time(), self.clock.steady()
        rows = await self.query(
            "lease",
            location=location,
            epoch=epoch,
            seconds=self._lease,
            holder=self._holder,
            state=state.value,
        )
        if not rows:
            return None
        ((leased, at),) = rows
        self.clock.set(at, began, self.clock.steady())
        return PostgresLane(self, location, leased, self._lease, asked, asked_wall)

    async def checkpoint(self) -> None:
        """Do nothing: committed rows are in the database."""

    async def _plan_again(self, *states: State) -> int:
        async def write(connection: Any) -> int:
            async with connection.transaction():
                # a document whose customer was rejected waits for that customer
                await plan_steps_again(connection, self.run, states)
                return changed_rows(
                    await connection.execute(*self._bind("plan_again", {"states": text_of(states)}))
                )

        return await self.database.run(JOURNAL, write)

    async def withdraw(self) -> list[str]:
        # first: a holder that ends its turn meanwhile is not given another one
        await self.change("pause_run")
        return [holder for (holder,) in await self.query("holders")]

    async def lanes(self) -> list[LaneStatus]:
        counts = await self.lane_counts()
        found = {row["location"]: row for row in await self.query("lanes")}
        return [_status(location, numbers, found.get(location)) for location, numbers in counts.items()]

    def __repr__(self) -> str:
        return f"<PostgresJournal {self._name} in {self.database.name}>"


def _status(location: str, counts: dict[str, int], lane: Any) -> LaneStatus:
    if lane is None:
        return lane_status(location, counts)
    held = lane["held"]
    return lane_status(
        location,
        counts,
        rate=lane["rate"] if held else 0.0,
        holder=lane["holder"] if held else "",
        # a lane that is held or finished keeps the last time at which it was to wake
        wakes_in=0.0 if held or lane["done"] else lane["wakes_in"],
        reason=lane["reason"],
    )
