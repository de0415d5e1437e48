"""A whole run: plan, execute all lanes in turns, verify, roll back. The journal is the truth throughout."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec

from hl_async import operations as op
from hl_async.bulk import verification
from hl_async.bulk.engine import LocalEngine, Slice
from hl_async.bulk.journals.protocol import ItemRow, Journal, JournalStore
from hl_async.bulk.journals.sqlite import SqliteJournals
from hl_async.bulk.keys import KeyCarrier, key_carrier
from hl_async.bulk.lane import LaneRunner
from hl_async.bulk.protocol import SETTLE, AttemptOutcome, State, Timing
from hl_async.bulk.sources.records import Item, Reject
from hl_async.bulk.target import SourceKey, Target
from hl_async.bulk.verification import Verification
from hl_async.errors import InvalidRequest, JournalError, LaneLost, TooManyRejects
from hl_async.operations import OPERATIONS, Operation, Replay

if TYPE_CHECKING:
    from hl_async.client import HighLevel

_PLAN_BATCH: Final = 1000
_SLICE: Final = 5.0
_LANES_AT_ONCE: Final = 50
_ELSEWHERE: Final = 1.0
"""Seconds after which a lane that another process has is asked for again."""
_EARLY: Final = 200
_DAILY_SHARE: Final = 190_000
"""Requests a day that bulk may use of a location's 200,000, the reserve left alone."""


class RunReport(msgspec.Struct, frozen=True):
    """What became of a run. Totals are exact, by currency; ``seconds`` and counts of requests are this process's."""

    source: int
    created: int
    rejected: int
    skipped: int
    unknown: int
    planned: int
    ambiguous: int
    total_source: dict[str, Decimal]
    total_created: dict[str, Decimal]
    seconds: float
    requests: int
    refused: int
    state: str
    journal: str
    reason: str = ""

    @property
    def complete(self) -> bool:
        """Whether nothing is left to do."""
        return self.planned == 0 and self.ambiguous == 0


class Progress(msgspec.Struct, frozen=True):
    """How far a run is; ``rate`` in items per second since this process began, ``eta`` in seconds or None."""

    done: int
    of: int
    created: int
    rejected: int
    ambiguous: int
    rate: float
    eta: float | None
    note: str = ""


class Forecast(msgspec.Struct, frozen=True):
    """What a run would take: requests, seconds at the rate budget, days, and the share of a day's budget."""

    items: int
    rejected: int
    skipped: int
    requests: int
    seconds: float
    days: float
    locations: int
    totals: dict[str, Decimal]


class Run:
    """A journal with everything that can be done with it. ``async with Run.create(...)`` or ``Run.open(...)``."""

    def __init__(self, journal: Journal, header: dict[str, str]) -> None:
        self.journal = journal
        self.id = header["run"]
        self.operation: Operation[Any] = OPERATIONS[header["operation"]]
        self.keys: KeyCarrier = (
            SourceKey() if self.operation is op.CREATE_INVOICE_FROM_ESTIMATE else key_carrier(header["key"])
        )
        self.location = header.get("location", "")
        self.is_planned = header.get("planned") == "yes"
        self.stop = asyncio.Event()
        self._done = Counter[str]()
        self._began = time.monotonic()
        self.requests = 0
        self.refused = 0

    @classmethod
    async def create(
        cls,
        place: Path | JournalStore,
        *,
        fingerprint: str,
        location: str,
        operation: Operation[Any] = op.CREATE_ESTIMATE,
        key: str = "meta",
    ) -> Self:
        """A new run, or the one that ``place`` holds if it is the same.

        ``place`` is the path of an embedded journal, or a
        :class:`~hl_async.bulk.journals.postgres.PostgresJournals`. Raises :class:`JournalMismatch` when it holds
        another run, and the other journal errors.
        """
        key_carrier(key)
        header = {"fingerprint": fingerprint, "location": location, "operation": operation.name, "key": key}
        journal = await _place_of(place).create(header)
        found = await journal.header()
        if "run" not in found:
            await journal.note(run=secrets.token_hex(6))
            found = await journal.header()
        return cls(journal, found)

    @classmethod
    async def open(cls, place: Path | JournalStore, *, watch: bool = False) -> Self:
        """The run of an existing journal; with ``watch`` it is only read, also while another process works on it."""
        journal = await _place_of(place).open(watch=watch)
        header = await journal.header()
        if "run" not in header or header.get("operation") not in OPERATIONS:
            await journal.aclose()
            raise JournalError(f"{journal.name} was never planned; start the run again with its source")
        return cls(journal, header)

    async def aclose(self) -> None:
        """Close the journal."""
        await self.journal.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    # ------------------------------------------------------------------------------------- planning

    async def plan(
        self,
        records: AsyncIterable[Item | Reject] | Iterable[Item | Reject],
        *,
        max_rejects: str = "10%",
        limit: int | None = None,
    ) -> Forecast:
        """Write every document of the source into the journal; makes no request and can be repeated.

        Raises :class:`TooManyRejects` when more than ``max_rejects`` (a number, or a percentage of the first 200)
        can't become requests: the mapping is probably wrong. What its own rules leave out does not count.
        """
        allowed = _allowance(max_rejects)
        repetitions: Counter[tuple[str, str]] = Counter()
        batch: list[tuple[Item, str, bytes] | Reject] = []
        items = rejected = skipped = unexpected = 0
        async for record in _each(records):
            if limit is not None and items >= limit:
                break
            if isinstance(record, Reject):
                rejected += not record.skipped
                skipped += record.skipped
                unexpected += not record.by_rule
                batch.append(record)
            else:
                items += 1
                batch.append(self._keyed(record, repetitions))
            if allowed(unexpected, items + rejected + skipped):
                raise TooManyRejects(
                    f"{unexpected} of the first {items + rejected + skipped} documents were rejected, more than "
                    f"{max_rejects}: the mapping is probably wrong. The last reason: "
                    f"{record.reason if isinstance(record, Reject) else ''} (--max-rejects allows more)"
                )
            if len(batch) >= _PLAN_BATCH:
                await self.journal.plan(batch)
                batch = []
        await self.journal.plan(batch)
        await self.journal.note(planned="yes")
        self.is_planned = True
        return await self.forecast()

    def _keyed(self, item: Item, repetitions: Counter[tuple[str, str]]) -> tuple[Item, str, bytes]:
        location = item.location or self.location
        if not location:
            raise InvalidRequest(
                "location", f"{item.place or item.source_id} names no location, and the run has none"
            )
        at = (location, item.source_id)
        key = self.keys.make(self.id, item, repetitions[at])
        repetitions[at] += 1
        body = item.body
        if self.operation.replay is Replay.UNSAFE:
            body = self.keys.put(body, key, self.id)
        return msgspec.structs.replace(item, location=location), key, body

    async def forecast(self, *, rate: float = 10.0) -> Forecast:
        """What the rest of the run takes; ``rate`` in requests per second and location."""
        counts = await self.journal.counts()
        planned = counts.of(State.PLANNED)
        locations = max(1, len(await self.journal.locations()))
        requests = planned + planned // 100 + locations
        each = requests / locations
        totals: dict[str, Decimal] = {}
        for state in (State.PLANNED, State.SENT):
            for currency, total in counts.totals.get(state.value, {}).items():
                totals[currency] = totals.get(currency, Decimal(0)) + total
        return Forecast(
            planned,
            counts.of(State.REJECTED),
            counts.of(State.SKIPPED),
            requests,
            each / rate,
            each / _DAILY_SHARE,
            locations,
            totals,
        )

    # ------------------------------------------------------------------------------------ executing

    async def execute(
        self,
        targets: Callable[[str], Target],
        *,
        settle: float = SETTLE,
        attempt_timeout: float = 30.0,
        max_in_flight: int = 64,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> RunReport:
        """Do what is planned, lane by lane in turns, until nothing is left, ``stop`` is set, or nothing can go on.

        ``targets`` gives the target of a location. Raises :class:`CanaryFailed`; other troubles end the run with
        ``state`` "stopped" and the reason, resumable.
        """
        self._began = time.monotonic()
        counts = await self.journal.counts(totals=False)
        timing = Timing(settle, attempt_timeout)
        engine = LocalEngine(self.stop)
        lanes: dict[str, LaneRunner] = {}
        reasons: list[str] = []

        async def work(slice_: Slice) -> Slice | None:
            lane = await self.journal.lease(slice_.location)
            if lane is None:
                engine.submit_later(slice_, _ELSEWHERE)
                return None
            try:
                end = await lanes[slice_.location].work(lane, _SLICE)
            except LaneLost:
                engine.submit_later(slice_, _ELSEWHERE)
                return None
            if end.reason:
                reasons.append(end.reason)
            elif end.again:
                engine.submit_later(slice_, end.again - lane.now())
            elif not end.done:
                return slice_
            return None

        for location in await self.journal.locations():
            lanes[location] = self.lane(targets(location), timing, workers=max_in_flight)
            await engine.submit(Slice(self.id, location))
        ticker = asyncio.create_task(self._tick(on_progress, counts.all)) if on_progress else None
        try:
            await engine.serve(work, at_once=_LANES_AT_ONCE)
        finally:
            if ticker is not None:
                ticker.cancel()
        if on_progress is not None:
            first = counts.all - counts.of(State.PLANNED) - counts.ambiguous
            on_progress(await self._progress(counts.all, self._began, first))
        return await self.report(reason="; ".join(dict.fromkeys(reasons)))

    async def follow(
        self,
        is_open: Callable[[], Awaitable[bool]],
        *,
        on_progress: Callable[[Progress], None] | None = None,
        every: float = 1.0,
    ) -> RunReport:
        """Watch others work on this run until it is not open any more, or ``stop`` is set; reports where it stands."""
        self._began = time.monotonic()
        counts = await self.journal.counts(totals=False)
        first = counts.all - counts.of(State.PLANNED) - counts.ambiguous
        while await is_open() and not self.stop.is_set():
            if on_progress is not None:
                on_progress(await self._progress(counts.all, self._began, first))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(every):
                    await self.stop.wait()
        if on_progress is not None:
            on_progress(await self._progress(counts.all, self._began, first))
        waiting = [lane.reason for lane in await self.journal.lanes() if lane.reason and lane.planned]
        return await self.report(reason="; ".join(dict.fromkeys(waiting)))

    def lane(
        self,
        target: Target,
        timing: Timing,
        *,
        workers: int,
        stop: asyncio.Event | None = None,
        on_done: Callable[[AttemptOutcome | None], None] = lambda outcome: None,
    ) -> LaneRunner:
        """The running of one location of this run, ``workers`` requests at a time; see :class:`LaneRunner`."""
        return LaneRunner(
            target,
            timing,
            idempotent=self.operation.replay is not Replay.UNSAFE,
            workers=workers,
            stop=stop or self.stop,
            on_done=on_done,
        )

    async def _tick(self, on_progress: Callable[[Progress], None], of: int) -> None:
        began = time.monotonic()
        first = (await self._progress(of, began, 0)).done
        while True:
            on_progress(await self._progress(of, began, first))
            await asyncio.sleep(0.5)

    async def _progress(self, of: int, began: float, first: int) -> Progress:
        """Where the run stands; ``first`` items were done already when this process ``began``."""
        counts = await self.journal.counts(totals=False)
        planned = counts.of(State.PLANNED)
        done = of - planned - counts.ambiguous
        elapsed = time.monotonic() - began
        rate = (done - first) / elapsed if elapsed > 0 else 0.0
        return Progress(
            done,
            of,
            counts.of(State.CREATED),
            counts.of(State.REJECTED),
            counts.ambiguous,
            rate,
            (of - done) / rate if rate > 0 else None,
            "settling" if counts.ambiguous and planned == 0 else "",
        )

    async def report(self, *, reason: str = "") -> RunReport:
        """Where the run stands."""
        counts = await self.journal.counts()
        source: dict[str, Decimal] = {}
        for state, sums in counts.totals.items():
            if state in (State.REJECTED.value, State.SKIPPED.value):
                continue
            for currency, total in sums.items():
                source[currency] = source.get(currency, Decimal(0)) + total
        done = counts.of(State.PLANNED) == 0 and counts.ambiguous == 0
        return RunReport(
            source=counts.all,
            created=counts.of(State.CREATED),
            rejected=counts.of(State.REJECTED),
            skipped=counts.of(State.SKIPPED),
            unknown=counts.of(State.UNKNOWN),
            planned=counts.of(State.PLANNED),
            ambiguous=counts.ambiguous,
            total_source=source,
            total_created=counts.totals.get(State.CREATED.value, {}),
            seconds=round(time.monotonic() - self._began, 3),
            requests=self.requests,
            refused=self.refused,
            state="done" if done else "stopped",
            journal=self.journal.name,
            reason=reason,
        )

    async def each(self, *states: State) -> list[ItemRow]:
        """All items in these states, in the order of the source."""
        found: list[ItemRow] = []
        while batch := await self.journal.rows(*states, after=found[-1].ordinal if found else -1):
            found += batch
        return found

    # ------------------------------------------------------------------- verifying and rolling back

    async def verify(self, hl: HighLevel, *, repair: bool = False) -> Verification:
        """Compare the journal with the locations: every key once, every total to the cent.

        With ``repair`` younger draft copies are deleted. Only estimates and invoices can be compared.
        """
        return await verification.verify(self, hl, repair=repair)

    async def rollback(
        self, hl: HighLevel, *, on_progress: Callable[[int, int], None] | None = None
    ) -> Counter[str]:
        """Delete what this run created, as far as it is still a draft; can be interrupted and repeated.

        Returns counts: deleted, kept (no draft any more), gone (deleted by somebody else).
        """
        return await verification.rollback(self, hl, on_progress=on_progress)


async def _each(
    records: AsyncIterable[Item | Reject] | Iterable[Item | Reject],
) -> AsyncIterator[Item | Reject]:
    """One record after the other; a plain iterable is read by a thread, because it usually reads a file."""
    if isinstance(records, AsyncIterable):
        async for record in records:
            yield record
        return
    source = iter(records)
    while batch := await asyncio.to_thread(lambda: list(islice(source, _PLAN_BATCH))):
        for record in batch:
            yield record


def _place_of(place: Path | JournalStore) -> JournalStore:
    return SqliteJournals(place) if isinstance(place, Path) else place


def _allowance(text: str) -> Callable[[int, int], bool]:
    """Whether (rejected, seen) is too much, by ``N`` or ``P%`` (of the first 200 at the earliest)."""
    number = text.removesuffix("%")
    if not number.isdecimal():
        raise InvalidRequest(
            "max_rejects", f"{text!r} is neither a number nor a percentage, such as 50 or 10%"
        )
    if number == text:
        return lambda rejected, seen: rejected > int(number)
    return lambda rejected, seen: seen == _EARLY and rejected * 100 > int(number) * seen
