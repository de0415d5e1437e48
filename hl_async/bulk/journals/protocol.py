"""Internal. The journal: a run's intents, their results and the open questions.

SQLite and Postgres implement it. Every method is durable when it returns. A journal belongs to one source, one
operation and one set of locations. :class:`Journal` shows the whole run. A *lane* holds the items of one location. It
changes only through the :class:`LaneJournal` that :meth:`Journal.lease` gives to one holder at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final, NamedTuple, Protocol

import msgspec

from hl_async.bulk.protocol import Control, KnownItem, LaneFacts, RunState, State
from hl_async.bulk.sources.records import Reject, SourceItem
from hl_async.bulk.stages.steps import LaneSteps, RunSteps

BATCH: Final = 2000
"""The most rows of one read or write."""


class PlannedItem(NamedTuple):
    """One item to send. ``attempt`` counts the requests that may have left already."""

    ordinal: int
    key: str
    ids: tuple[str, ...]
    body: bytes
    attempt: int


class SentItem(NamedTuple):
    """A sent item without an answer. ``words`` say why, if the journal knows."""

    ordinal: int
    key: str
    attempt: int
    sent_at: float
    failures: int = 0
    words: str | None = None


class ItemRow(NamedTuple):
    """One item as it stands, for reports, verification and rollback.

    Attributes:
        ordinal: The position in the source; ``place`` says it in words.
        key: The idempotency key; None for a reject.
        total: The total in the source.
        reason: The words of the last refusal or missing answer.
        raw: The record as the source has it.
        attempt: Requests that may have left.
        possible: Requests that may have made a document.
        failures: Requests that a listing, with its controls met, found not executed.
        first_sent: The time of the first intent, in seconds of the journal's clock.
        last_sent: The time of the last intent.
        ids: The ids in the path of the request.
        digest: A digest of everything that decides the request.
        body: The body of the request, if the caller asked for it.
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
    """A deletion of a document, recorded before the request leaves.

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
    """Items in each state, and exact totals by state and currency if asked for."""

    by_state: dict[str, int]
    totals: dict[str, dict[str, Decimal]]

    def of(self, state: State) -> int:
        """Return the number of items in a state."""
        return self.by_state.get(state.value, 0)

    @property
    def ambiguous(self) -> int:
        """The number of sent items whose answer is missing or under way."""
        return self.of(State.SENT)

    @property
    def all(self) -> int:
        """The number of items of the source."""
        return sum(self.by_state.values())


class LaneStatus(msgspec.Struct, frozen=True):
    """One location as it stands.

    ``rate`` is in items per second over the last few seconds. ``holder`` names the process that works on it now.
    ``wakes_in`` is the number of seconds until it continues. ``reason`` says why it waits or stopped.
    """

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
        """The number of items that need nothing more."""
        return self.created + self.rejected + self.unknown

    @property
    def of(self) -> int:
        """The number of items of the location."""
        return self.done + self.planned + self.ambiguous


class LaneRelease(NamedTuple):
    """The future of a released lane.

    It is finished (``done``), continues in ``wake_in`` seconds, or waits for a person (``stopped``). ``reason`` says
    why it does not continue at once.
    """

    done: bool = False
    wake_in: float = 0.0
    reason: str = ""
    stopped: bool = False


class LaneJournal(Protocol):
    """The items of one location, for one holder.

    A change names the state and the number of attempts that it expects, and returns False if the item has others. It
    raises :class:`LaneLost`, and writes nothing, if another process holds the lane by now.
    """

    location: str
    renew_every: float
    """Seconds between two calls of :meth:`renew`."""

    # waits count from times in the journal, so holders on other machines and later processes share its clock
    def now(self) -> float:
        """Return the time of day that all holders share, in seconds."""
        ...

    def lasts(self, seconds: float) -> bool:
        """Return whether the holder keeps the lane for ``seconds`` without a renewal."""
        ...

    async def renew(self, rate: float) -> bool:
        """Renew the lease and record the rate; False if the lane is lost."""
        ...

    async def release(self, release: LaneRelease) -> None:
        """Release the lane. Nothing happens if it is lost already."""
        ...

    async def facts(self) -> LaneFacts:
        """Return the facts that decide the lane's next step."""
        ...

    async def take(self, after: int, limit: int) -> list[PlannedItem]:
        """Return the next planned items in source order, behind the ordinal ``after``."""
        ...

    async def intend(self, ordinal: int, attempt: int, at: float) -> bool:
        """Turn a planned item into a sent one, or record the next request of a sent item."""
        ...

    async def created(self, ordinal: int, attempt: int, document: str) -> bool:
        """Record the document of a sent item, which an answer or a listing named."""
        ...

    async def rejected(self, ordinal: int, attempt: int, reason: str) -> bool:
        """Record that the API will never take an item."""
        ...

    async def unanswered(self, ordinal: int, attempt: int, words: str) -> bool:
        """Record why a request got no usable answer. The item stays sent."""
        ...

    async def mark_planned(self, ordinal: int, attempt: int, *, listed: bool = False) -> bool:
        """Plan a sent item again.

        Args:
            ordinal: The item.
            attempt: The number of its requests that may have left.
            listed: A listing lacks the document. The request may still be executed later, and counts as a failure if
                the journal holds its words. False: the request was provably not executed.
        """
        ...

    async def mark_unknown(self, ordinal: int, attempt: int, reason: str) -> bool:
        """Leave a sent item of unknown result to a person. It is never sent again."""
        ...

    async def adopt(self, ordinal: int, document: str) -> bool:
        """Record that the sweep found the document of an item taken for refused."""
        ...

    async def note_ambiguous(self, at: float) -> None:
        """Record that the lane had an ambiguous send, so that it is swept at the end."""
        ...

    async def prove(self) -> None:
        """Record that the canary came back with its key."""
        ...

    async def listed(self) -> None:
        """Record that the location was listed after a resume: items may be sent again."""
        ...

    async def controls(self, since: float | None, limit: int) -> list[Control]:
        """Return created items sent at ``since`` or later, the last sent first."""
        ...

    async def delete_intended(self, document: str, key: str, reason: str) -> int:
        """See :meth:`Journal.record_deletion_intent`; raises :class:`LaneLost`."""
        ...

    async def delete_ended(self, deletion: int, outcome: str) -> None:
        """See :meth:`Journal.record_deletion_result`."""
        ...

    async def swept(self, at: float) -> None:
        """Record that the sweep which began at ``at`` is complete."""
        ...

    async def note_copies(self, documents: Sequence[str]) -> None:
        """Record documents that carry the run's keys without proof that it made them.

        They replace those of an earlier sweep of the location.
        """
        ...

    async def ambiguous(self) -> list[SentItem]:
        """Return every item that was sent and not answered."""
        ...

    def steps(self, stage: str) -> LaneSteps:
        """Return the steps of a stage in this location."""
        ...

    async def known(self) -> dict[str, KnownItem]:
        """Return the item of every key of the lane."""
        ...


class Journal(Protocol):
    """A whole run."""

    @property
    def name(self) -> str:
        """The name that the command line shows."""
        ...

    @property
    def steps(self) -> RunSteps:
        """The steps of the run's stages, besides its documents."""
        ...

    async def header(self) -> dict[str, str]:
        """Return the facts about the run."""
        ...

    async def note(self, **facts: str) -> None:
        """Write facts about the run."""
        ...

    async def plan(self, records: Iterable[tuple[SourceItem, str, bytes] | Reject]) -> None:
        """Add items, with key and final body, and rejects. Known records stay unchanged."""
        ...

    async def lease(
        self, location: str, *, epoch: int | None = None, state: RunState = RunState.RUNNING
    ) -> LaneJournal | None:
        """Lease a location's lane for this process alone, until release or expiry.

        Args:
            location: The location.
            epoch: The expected number of leases so far; None for any.
            state: The expected state of the run. A run that is being rolled back gives no lane to a process that
                would send its items.

        Returns:
            The lane, or None if another process holds it, its epoch is another one, or the run is in another state.
        """
        ...

    async def run_state(self) -> RunState:
        """Return the durable state of the run."""
        ...

    async def set_run_state(self, state: RunState) -> None:
        """Change the state of the run. From then on, no lane is leased for another state."""
        ...

    async def withdraw_planned(self) -> int:
        """Turn planned items into withdrawn ones, which are never sent; returns how many."""
        ...

    async def items_to_settle(self) -> list[ItemRow]:
        """Return the items of all locations that were sent and not answered."""
        ...

    async def record_deletion_intent(self, location: str, document: str, key: str, reason: str) -> int:
        """Record that a document is about to be deleted; returns the id of the deletion."""
        ...

    async def record_deletion_result(self, deletion: int, outcome: str) -> None:
        """Record a deletion's end: ``deleted``, ``gone``, or the words of the failure."""
        ...

    async def deletions(self, *, after: int = 0, limit: int = BATCH) -> list[Deletion]:
        """Return a batch of the run's deletions in order, behind the id ``after``."""
        ...

    async def withdraw(self) -> list[str]:
        """Keep workers from this run's next turn. Return those in the middle of one."""
        ...

    async def retry_rejected(self) -> int:
        """Plan again rejected, deleted and repeatedly failing items; returns how many.

        An item that never became a request stays rejected.
        """
        ...

    async def reopen(self) -> int:
        """Set the run to running and plan rolled-back items again. Return how many."""
        ...

    async def rolled_back(self, ordinal: int, document: str | None = None) -> bool:
        """Record that a rollback deleted the document of an item. Its id is kept.

        Args:
            ordinal: The item, in any state but deleted or skipped.
            document: The id of the document, if the journal did not know it.
        """
        ...

    async def locations(self) -> list[str]:
        """Return the locations that have or had items to send, in source order."""
        ...

    async def known(self, location: str) -> dict[str, KnownItem]:
        """See :meth:`LaneJournal.known`."""
        ...

    async def counts(self, *, totals: bool = True) -> Counts:
        """Return numbers over the whole run, and exact totals if ``totals``."""
        ...

    async def foreign_copies(self) -> list[str]:
        """Return the documents of :meth:`LaneJournal.note_copies`, of all locations."""
        ...

    async def unswept(self) -> list[str]:
        """Return the locations that had unanswered requests and were not swept since."""
        ...

    async def lanes(self) -> list[LaneStatus]:
        """Return every location as it stands, in the order of :meth:`locations`."""
        ...

    async def rows(
        self, *states: State, after: int = -1, limit: int = BATCH, bodies: bool = False
    ) -> list[ItemRow]:
        """Return a batch of items in these states, behind ``after``, in source order."""
        ...

    async def checkpoint(self) -> None:
        """Make all writes independent of any file or process beside the journal itself."""
        ...

    async def aclose(self) -> None:
        """Finish queued writes, and release the journal."""
        ...
