"""The journal: what a run intends, did, and does not know. Its promises; SQLite and Postgres keep them.

Everything awaited here is durable when it returns. A journal belongs to one source, one operation and one set of
locations. It is looked at as a whole through :class:`Journal`; a *lane*, the items of one location, is changed only
through the :class:`LaneJournal` that :meth:`Journal.lease` gives to one holder at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final, NamedTuple, Protocol

import msgspec

from hl_async.bulk.protocol import Control, KnownItem, LaneFacts, RunState, State
from hl_async.bulk.sources.records import Reject, SourceItem
from hl_async.bulk.stages.steps import LaneSteps, RunSteps
from hl_async.errors import JournalMismatch

BATCH: Final = 2000
"""So many rows are read or written at once."""


class PlannedItem(NamedTuple):
    """One item that is to be sent. ``attempt`` counts the requests that may have left already."""

    ordinal: int
    key: str
    ids: tuple[str, ...]
    body: bytes
    attempt: int


class SentItem(NamedTuple):
    """An item that was sent and not answered. ``words`` say why, as far as the journal heard of it."""

    ordinal: int
    key: str
    attempt: int
    sent_at: float
    failures: int = 0
    words: str | None = None


class ItemRow(NamedTuple):
    """One item as it stands, for reports, verification and rollback.

    ``attempt`` counts requests that may have left, ``possible`` those of them that may have made a document,
    ``failures`` those that a listing with its controls met found not executed. ``first_sent`` and ``last_sent`` are
    the times of the first and the last intent, in seconds of the journal's clock. ``digest`` covers what is sent,
    ``body`` is what is sent, if it was asked for.
    """

    ordinal: int
    source_id: str
    key: str | None
    location: str
    state: State
    total: Decimal | None
    currency: str
    place: str
    document: str | None
    reason: str | None
    raw: bytes | None
    attempt: int = 0
    possible: int = 0
    failures: int = 0
    first_sent: float | None = None
    last_sent: float | None = None
    ids: tuple[str, ...] = ()
    digest: bytes | None = None
    body: bytes | None = None


class Deletion(NamedTuple):
    """A deletion of a document, written down before the request leaves.

    ``outcome`` is empty until the answer is known. Times are in seconds of the journal's clock.
    """

    id: int
    location: str
    document: str
    key: str
    reason: str
    at: float
    outcome: str = ""
    ended_at: float | None = None


class Counts(NamedTuple):
    """How many items are in which state, and what their totals add up to by currency, when that was asked for."""

    by_state: dict[str, int]
    totals: dict[str, dict[str, Decimal]]

    def of(self, state: State) -> int:
        """Items in a state."""
        return self.by_state.get(state.value, 0)

    @property
    def ambiguous(self) -> int:
        """Items that were sent and not answered, or whose answer is on its way."""
        return self.of(State.SENT)

    @property
    def all(self) -> int:
        """Items of the source."""
        return sum(self.by_state.values())


class LaneStatus(msgspec.Struct, frozen=True):
    """One location as it stands. ``rate`` is in items per second over the last few seconds, ``holder`` who works on
    it now, ``wakes_in`` the seconds until it goes on, ``reason`` why it waits or stopped."""

    location: str
    created: int
    rejected: int
    unknown: int
    planned: int
    ambiguous: int
    rate: float = 0.0
    holder: str = ""
    wakes_in: float = 0.0
    reason: str = ""

    @property
    def done(self) -> int:
        """Items that need nothing more."""
        return self.created + self.rejected + self.unknown

    @property
    def of(self) -> int:
        """Items of the location."""
        return self.done + self.planned + self.ambiguous


class LaneRelease(NamedTuple):
    """What becomes of a lane that is given back: nothing is left to do (``done``), it goes on in ``wake_in`` seconds,
    or it waits for a person (``stopped``); ``reason`` says why it does not go on at once."""

    done: bool = False
    wake_in: float = 0.0
    reason: str = ""
    stopped: bool = False


class LaneJournal(Protocol):
    """The items of one location, in the hands of one holder.

    Changes compare before they write (the state, the number of attempts): they return False when the item is not
    where the caller thinks. They raise :class:`LaneLost` when the lane is somebody else's by now; nothing was written.
    """

    location: str
    renew_every: float
    """Seconds between two calls of :meth:`renew`."""

    def now(self) -> float:
        """The time of day that all holders share, in seconds."""
        ...

    def lasts(self, seconds: float) -> bool:
        """Whether the lane stays in these hands for so long, also if it can't be renewed."""
        ...

    async def renew(self, rate: float) -> bool:
        """Keep the lane, and tell its rate; False when it is lost."""
        ...

    async def release(self, release: LaneRelease) -> None:
        """Give the lane back; when it is lost already, nothing happens."""
        ...

    async def facts(self) -> LaneFacts:
        """What decides about the lane's next step."""
        ...

    async def take(self, after: int, limit: int) -> list[PlannedItem]:
        """The next planned items in the order of the source, behind the ordinal ``after``."""
        ...

    async def intend(self, ordinal: int, attempt: int, at: float) -> bool:
        """Planned (or a sent item's next request) becomes sent."""
        ...

    async def created(self, ordinal: int, attempt: int, document: str) -> bool:
        """The answer came, or the listing found it."""
        ...

    async def rejected(self, ordinal: int, attempt: int, reason: str) -> bool:
        """The API will never take it."""
        ...

    async def unanswered(self, ordinal: int, attempt: int, words: str) -> bool:
        """Keep why a request got no usable answer. The item stays sent."""
        ...

    async def mark_planned(self, ordinal: int, attempt: int, *, listed: bool = False) -> bool:
        """Plan a sent item again.

        Args:
            ordinal: The item.
            attempt: How many requests of it may have left.
            listed: The document was not in a listing: the request may still be executed later, and counts as a
                failure if the journal holds its words. Otherwise it was provably not executed.
        """
        ...

    async def mark_unknown(self, ordinal: int, attempt: int, reason: str) -> bool:
        """Nobody can tell what happened: left to a person, never sent again."""
        ...

    async def adopt(self, ordinal: int, document: str) -> bool:
        """The sweep found the item's document although the journal thought that it had been refused."""
        ...

    async def note_ambiguous(self, at: float) -> None:
        """Remember that the lane had an ambiguous send, so that it is swept at the end."""
        ...

    async def prove(self) -> None:
        """The canary came back with its key."""
        ...

    async def listed(self) -> None:
        """Note that the location was listed after a resume: items may be sent again."""
        ...

    async def controls(self, since: float | None, limit: int) -> list[Control]:
        """Return the items created last, newest first, that were sent at ``since`` or later."""
        ...

    async def delete_intended(self, document: str, key: str, reason: str) -> int:
        """See :meth:`Journal.record_deletion_intent`; raises :class:`LaneLost`."""
        ...

    async def delete_ended(self, deletion: int, outcome: str) -> None:
        """See :meth:`Journal.record_deletion_result`."""
        ...

    async def swept(self, at: float) -> None:
        """The sweep that began at ``at`` is complete."""
        ...

    async def note_copies(self, documents: Sequence[str]) -> None:
        """Write down which documents carry a key of the run although nothing proves that the run made them.

        They replace what an earlier sweep of the location wrote down.
        """
        ...

    async def ambiguous(self) -> list[SentItem]:
        """Return every item that was sent and not answered."""
        ...

    def steps(self, stage: str) -> LaneSteps:
        """Return the steps of a stage in this location."""
        ...

    async def known(self) -> dict[str, KnownItem]:
        """Return what the journal knows of every key of the lane."""
        ...


class Journal(Protocol):
    """A whole run."""

    @property
    def name(self) -> str:
        """What the command line calls it."""
        ...

    @property
    def steps(self) -> RunSteps:
        """What the stages of the run do besides its documents."""
        ...

    async def header(self) -> dict[str, str]:
        """The facts about the run."""
        ...

    async def note(self, **facts: str) -> None:
        """Write facts about the run."""
        ...

    async def plan(self, records: Iterable[tuple[SourceItem, str, bytes] | Reject]) -> None:
        """Add items (with key and final body) and rejects; those that are there already stay as they are."""
        ...

    async def lease(
        self, location: str, *, epoch: int | None = None, state: RunState = RunState.RUNNING
    ) -> LaneJournal | None:
        """Lease the lane of a location for this process alone, until it is given back or not renewed.

        Args:
            location: The location.
            epoch: The number of leases that the lane has seen; None for any.
            state: The state of the run that the caller works for. A run that is being rolled back gives no lane
                to a process that would send its items.

        Returns:
            The lane, or None if another process holds it, its epoch is another one, or the run is in another state.
        """
        ...

    async def run_state(self) -> RunState:
        """Return the durable state of the run."""
        ...

    async def set_run_state(self, state: RunState) -> None:
        """Change the state of the run; no lane is leased for another state from then on."""
        ...

    async def withdraw_planned(self) -> int:
        """Turn planned items into withdrawn ones, which are never sent; returns how many."""
        ...

    async def items_to_settle(self) -> list[ItemRow]:
        """Return the items of all locations that were sent and not answered."""
        ...

    async def record_deletion_intent(self, location: str, document: str, key: str, reason: str) -> int:
        """Write down that a document is about to be deleted; returns the id of the deletion."""
        ...

    async def record_deletion_result(self, deletion: int, outcome: str) -> None:
        """Write down how a deletion ended: ``deleted``, ``gone``, or the words of the failure."""
        ...

    async def deletions(self, *, after: int = 0, limit: int = BATCH) -> list[Deletion]:
        """Return a batch of the deletions of the run in their order, behind the id ``after``."""
        ...

    async def withdraw(self) -> list[str]:
        """Have no worker begin another turn of this run; those that are in the middle of one."""
        ...

    async def retry_rejected(self) -> int:
        """Plan again what the API rejected, a rollback deleted, or was held because it failed again and again.

        What never became a request stays rejected. Returns how many items.
        """
        ...

    async def reopen(self) -> int:
        """Set the run to running, and plan again what a rollback withdrew or deleted; returns how many items."""
        ...

    async def rolled_back(self, ordinal: int, document: str | None = None) -> bool:
        """Note that the document of an item was deleted by a rollback. Its id is kept.

        Args:
            ordinal: The item, in any state but deleted or skipped.
            document: The id of the document, if the journal did not know it.
        """
        ...

    async def locations(self) -> list[str]:
        """Locations that have items to send, or had, in the order of the source."""
        ...

    async def known(self, location: str) -> dict[str, KnownItem]:
        """See :meth:`LaneJournal.known`."""
        ...

    async def counts(self, *, totals: bool = True) -> Counts:
        """Numbers over the whole run, and exact totals unless they are not wanted."""
        ...

    async def foreign_copies(self) -> list[str]:
        """Return the documents that the last sweep of each location found and kept, see `LaneJournal.note_copies`."""
        ...

    async def unswept(self) -> list[str]:
        """Return the locations that had unanswered requests and were not swept since."""
        ...

    async def lanes(self) -> list[LaneStatus]:
        """Every location as it stands, in the order of :meth:`locations`."""
        ...

    async def rows(
        self, *states: State, after: int = -1, limit: int = BATCH, bodies: bool = False
    ) -> list[ItemRow]:
        """Return a batch of items in these states, in the order of the source, behind the ordinal ``after``."""
        ...

    async def checkpoint(self) -> None:
        """Make what was written independent of any file or process beside the journal itself."""
        ...

    async def aclose(self) -> None:
        """Write what is queued, and let others have it."""
        ...


class JournalStore(Protocol):
    """Where a journal is, or is to be."""

    async def create(self, header: dict[str, str]) -> Journal:
        """A journal for a new run, or the one that is there if it belongs to the same run.

        ``header`` names the run: fingerprint of the source, operation, key place. Raises :class:`JournalMismatch`
        when it belongs to another one, and the other journal errors.
        """
        ...

    async def open(self, *, watch: bool = False) -> Journal:
        """The journal of an earlier run; with ``watch`` it is only read. :class:`JournalError` when there is none."""
        ...

    async def exists(self) -> bool:
        """Whether there is a journal."""
        ...

    async def remove(self) -> None:
        """Remove the journal, for a run that never began."""
        ...

    async def set_aside(self, word: str) -> str:
        """Give the journal another name, such as ``NAME.word-1``, so that another run can have its own; returns it."""
        ...


def check_header(name: str, found: dict[str, str], header: dict[str, str]) -> None:
    """Raise :class:`JournalMismatch` when a journal that says ``found`` does not belong to the run of ``header``."""
    for fact, value in header.items():
        if fact in found and found[fact] != value:
            raise JournalMismatch(
                f"{name} belongs to another run: its {fact} is {found[fact]!r}, not {value!r}; choose another journal"
            )
