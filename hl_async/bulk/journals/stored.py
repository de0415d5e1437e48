"""Internal. Runs and lanes: code shared by SQLite and Postgres, above their SQL."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final

import msgspec

from hl_async.bulk.journals.protocol import BATCH, Counts, Deletion, ItemRow, PlannedItem, SentItem
from hl_async.bulk.journals.rows import DAMAGED, add_up, intact, item_row, known_items
from hl_async.bulk.protocol import Control, KnownItem, RunState, State

_COPIES: Final = "copies of others in "
"""The start of the name of the fact that holds the copies of a location."""


class StoredRun(ABC):
    """A run that named statements read and change; see :class:`Journal`."""

    @abstractmethod
    def now(self) -> float:
        """Return the time of the journal's clock in seconds."""

    @abstractmethod
    async def query(self, name: str, /, **values: Any) -> Sequence[Any]:
        """Return the rows of a statement."""

    @abstractmethod
    async def change(self, name: str, /, **values: Any) -> int:
        """Execute a statement durably; returns how many rows it changed."""

    @abstractmethod
    async def insert(self, name: str, /, **values: Any) -> int:
        """Insert a row durably; returns its id."""

    @abstractmethod
    async def note(self, **facts: str) -> None:
        """Write facts about the run."""

    async def header(self) -> dict[str, str]:
        return dict(await self.query("header"))

    async def run_state(self) -> RunState:
        # a run that never changed its state does not name it
        return RunState((await self.header()).get("state", RunState.RUNNING.value))

    async def set_run_state(self, state: RunState) -> None:
        await self.note(state=state.value)

    async def withdraw_planned(self) -> int:
        # sent items are not touched: their documents may exist
        return await self.change("withdraw_planned")

    async def retry_rejected(self) -> int:
        # the statement asks for a body: a reject of the source has none, and stays
        return await self._plan_again(State.REJECTED, State.DELETED, State.WITHDRAWN)

    async def reopen(self) -> int:
        # before the state: a worker that sees a running run finds its items planned
        number = await self._plan_again(State.DELETED, State.WITHDRAWN)
        await self.set_run_state(RunState.RUNNING)
        return number

    async def _plan_again(self, *states: State) -> int:
        return await self.change("plan_again", states=text_of(states))

    async def rolled_back(self, ordinal: int, document: str | None = None) -> bool:
        return await self.change("rolled_back", ordinal=ordinal, document=document) == 1

    async def record_deletion_intent(self, location: str, document: str, key: str, reason: str) -> int:
        # Postgres takes the time of its own clock instead of `at`
        return await self.insert(
            "deletion_intent", location=location, document=document, key=key, reason=reason, at=self.now()
        )

    async def record_deletion_result(self, deletion: int, outcome: str) -> None:
        await self.change("deletion_result", deletion=deletion, outcome=outcome, at=self.now())

    async def deletions(self, *, after: int = 0, limit: int = BATCH) -> list[Deletion]:
        return [Deletion(*row) for row in await self.query("deletions", after=after, limit=limit)]

    async def rows(
        self, *states: State, after: int = -1, limit: int = BATCH, bodies: bool = False
    ) -> list[ItemRow]:
        found = await self.query("rows", states=text_of(states), after=after, limit=limit, bodies=bodies)
        return [item_row(row) for row in found]

    async def items_to_settle(self) -> list[ItemRow]:
        # not in batches: these are the requests that were in flight, and they are few
        return await self.rows(State.SENT, limit=-1)

    async def known(self, location: str) -> dict[str, KnownItem]:
        return known_items(await self.query("known_items", location=location))

    async def locations(self) -> list[str]:
        return [location for (location,) in await self.query("locations")]

    async def unswept(self) -> list[str]:
        return [location for (location,) in await self.query("unswept")]

    async def counts(self, *, totals: bool = True) -> Counts:
        by_state = dict(await self.query("counts"))
        return Counts(by_state, add_up(await self.query("sums")) if totals else {})

    async def foreign_copies(self) -> list[str]:
        facts = await self.header()
        found = [msgspec.json.decode(facts[name]) for name in sorted(facts) if name.startswith(_COPIES)]
        return [document for documents in found for document in documents]

    async def lane_counts(self) -> dict[str, dict[str, int]]:
        """Return the number of items in each state, by location in source order."""
        counts: dict[str, dict[str, int]] = {}
        # the first row of a location is that of its earliest item, so the dict keeps the order of the source
        for location, state, number in await self.query("lane_counts"):
            counts.setdefault(location, {})[state] = number
        return counts


class StoredLane(ABC):
    """The items of one location of a run; see :class:`LaneJournal`.

    Args:
        run: The run.
        location: The location.
    """

    def __init__(self, run: StoredRun, location: str) -> None:
        self.location = location
        self._stored = run

    @abstractmethod
    async def rejected(self, ordinal: int, attempt: int, reason: str) -> bool:
        """See :meth:`LaneJournal.rejected`."""

    @abstractmethod
    async def _note(self, name: str, **values: Any) -> None:
        """Change the row of the lane."""

    def now(self) -> float:
        return self._stored.now()

    async def take(self, after: int, limit: int) -> list[PlannedItem]:
        # a batch of damaged items alone is not the end of the lane
        while rows := await self._stored.query("take", location=self.location, after=after, limit=limit):
            items, damaged = intact(rows)
            for ordinal, attempt in damaged:
                await self.rejected(ordinal, attempt, DAMAGED)
            if items:
                return items
        return []

    async def ambiguous(self) -> list[SentItem]:
        return [SentItem(*row) for row in await self._stored.query("ambiguous", location=self.location)]

    async def controls(self, since: float | None, limit: int) -> list[Control]:
        rows = await self._stored.query("controls", location=self.location, since=since or 0.0, limit=limit)
        return [Control(*row) for row in rows]

    async def known(self) -> dict[str, KnownItem]:
        return await self._stored.known(self.location)

    async def note_ambiguous(self, at: float) -> None:
        await self._note("note_ambiguous", at=at)

    async def swept(self, at: float) -> None:
        await self._note("note_swept", at=at)

    async def note_copies(self, documents: Sequence[str]) -> None:
        await self._stored.note(**{f"{_COPIES}{self.location}": msgspec.json.encode(documents).decode()})

    async def prove(self) -> None:
        await self._note("note_proven")

    async def delete_ended(self, deletion: int, outcome: str) -> None:
        await self._stored.record_deletion_result(deletion, outcome)


def text_of(states: Sequence[StrEnum]) -> str:
    """Return the states as one text, so that statements take any number of them."""
    return f" {' '.join(state.value for state in states)} "
