"""The journal: what a run intends, did, and does not know. Its promises; SQLite and Postgres keep them.

Everything awaited here is durable when it returns. A journal belongs to one source, one operation and one set of
locations. It is looked at as a whole through :class:`Journal`; a *lane*, the items of one location, is changed only
through the :class:`LaneJournal` that :meth:`Journal.lease` gives to one holder at a time.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from hl_async.bulk.protocol import LaneFacts, State
from hl_async.bulk.sources.records import Item, Reject
from hl_async.errors import JournalMismatch

BATCH: Final = 2000
"""So many rows are read or written at once."""


class PlannedItem(NamedTuple):
    """One item that is to be sent."""

    ordinal: int
    key: str
    ids: tuple[str, ...]
    body: bytes
    attempt: int


class ItemRow(NamedTuple):
    """One item as it stands, for reports and verification."""

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

    async def mark_planned(self, ordinal: int, attempt: int) -> bool:
        """Provably nothing happened: to be sent again."""
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

    async def swept(self, at: float) -> None:
        """The sweep that began at ``at`` is complete."""
        ...

    async def ambiguous(self) -> list[tuple[int, str, int, float]]:
        """(ordinal, key, attempt, sent_at) of every item that was sent and not answered."""
        ...

    async def known(self) -> dict[str, tuple[int, str | None]]:
        """Every key of the lane, with its ordinal and, once created, its document's id."""
        ...


class Journal(Protocol):
    """A whole run."""

    @property
    def name(self) -> str:
        """What the command line calls it."""
        ...

    async def header(self) -> dict[str, str]:
        """The facts about the run."""
        ...

    async def note(self, **facts: str) -> None:
        """Write facts about the run."""
        ...

    async def plan(self, records: Iterable[tuple[Item, str, bytes] | Reject]) -> None:
        """Add items (with key and final body) and rejects; those that are there already stay as they are."""
        ...

    async def lease(self, location: str, *, epoch: int | None = None) -> LaneJournal | None:
        """The lane of a location, for this process alone until it is given back or not renewed.

        None when somebody else has it, or when its ``epoch``, the number of leases it has seen, is another one.
        """
        ...

    async def withdraw(self) -> list[str]:
        """Have no worker begin another turn of this run; those that are in the middle of one."""
        ...

    async def retry_rejected(self) -> int:
        """Plan again what the API rejected, or a rollback deleted; what never became a request stays rejected."""
        ...

    async def rolled_back(self, ordinal: int) -> bool:
        """The document this item made was deleted again; it can be planned once more with ``--retry-rejected``."""
        ...

    async def locations(self) -> list[str]:
        """Locations that have items to send, or had, in the order of the source."""
        ...

    async def known(self, location: str) -> dict[str, tuple[int, str | None]]:
        """See :meth:`LaneJournal.known`."""
        ...

    async def counts(self, *, totals: bool = True) -> Counts:
        """Numbers over the whole run, and exact totals unless they are not wanted."""
        ...

    async def lanes(self) -> list[LaneStatus]:
        """Every location as it stands, in the order of :meth:`locations`."""
        ...

    async def rows(self, *states: State, after: int = -1, limit: int = BATCH) -> list[ItemRow]:
        """A batch of items in these states, in the order of the source, from ``after`` on."""
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


def check_header(name: str, found: dict[str, str], header: dict[str, str]) -> None:
    """Raise :class:`JournalMismatch` when a journal that says ``found`` does not belong to the run of ``header``."""
    for fact, value in header.items():
        if fact in found and found[fact] != value:
            raise JournalMismatch(
                f"{name} belongs to another run: its {fact} is {found[fact]!r}, not {value!r}; choose another journal"
            )


class ItemColumns(NamedTuple):
    """A record of a source as the columns of an item, the same in every journal."""

    ordinal: int
    source_id: str
    key: str | None
    location: str
    ids: str
    body: bytes | None
    raw: bytes | None
    total: str | None
    currency: str
    place: str
    state: str
    reason: str | None


def columns_of(record: tuple[Item, str, bytes] | Reject) -> ItemColumns:
    """``record`` as it is written: an item is planned, a reject is rejected or was left out."""
    if isinstance(record, Reject):
        state = State.SKIPPED if record.skipped else State.REJECTED
        return ItemColumns(
            record.ordinal, record.source_id, None, "", "[]", None, record.raw, _text(record.total), "",
            record.place, state.value, record.reason,
        )  # fmt: skip
    item, key, body = record
    return ItemColumns(
        item.ordinal, item.source_id, key, item.location, msgspec.json.encode(item.ids).decode(), body, item.raw,
        _text(item.total), item.currency, item.place, State.PLANNED.value, None,
    )  # fmt: skip


def ids_of(text: str) -> tuple[str, ...]:
    """What :func:`columns_of` made of an item's ids."""
    return msgspec.json.decode(text, type=tuple[str, ...])


def lane_status(location: str, counts: dict[str, int], **more: Any) -> LaneStatus:
    """The status of a lane with so many items in each state."""
    return LaneStatus(
        location,
        created=counts.get(State.CREATED.value, 0),
        rejected=counts.get(State.REJECTED.value, 0),
        unknown=counts.get(State.UNKNOWN.value, 0),
        planned=counts.get(State.PLANNED.value, 0),
        ambiguous=counts.get(State.SENT.value, 0),
        **more,
    )


def add_up(sums: Iterable[tuple[str, str, str, int]]) -> dict[str, dict[str, Decimal]]:
    """(state, currency, total, how many of it) added up exactly, by state and currency."""
    totals: dict[str, dict[str, Decimal]] = {}
    for state, currency, total, number in sums:
        of_state = totals.setdefault(state, {})
        of_state[currency] = of_state.get(currency, Decimal(0)) + Decimal(total) * number
    return totals


def _text(total: Decimal | None) -> str | None:
    return None if total is None else str(total)
