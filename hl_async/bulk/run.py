"""A whole run: plan, execute all lanes in turns, verify, roll back. The journal is the truth throughout."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter, deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec

from hl_async import operations as op
from hl_async.bulk.journal import Row, SqliteJournal
from hl_async.bulk.keys import KeyPlace, key_place
from hl_async.bulk.lane import LaneRun
from hl_async.bulk.protocol import SETTLE, State, Timing
from hl_async.bulk.records import Item, Reject
from hl_async.bulk.target import LocationTarget, SourceKey, Target
from hl_async.errors import BulkError, InvalidRequest, JournalError, NotFound, TooManyRejects
from hl_async.operations import OPERATIONS, Operation, Replay

if TYPE_CHECKING:
    from hl_async.client import HighLevel

_PLAN_BATCH: Final = 1000
_SLICE: Final = 5.0
_LANES_AT_ONCE: Final = 50
_EARLY: Final = 200
_DAILY_SHARE: Final = 190_000
"""Requests a day that bulk may use of a location's 200,000 (API.md (e)), the reserve left alone."""


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


class Difference(msgspec.Struct, frozen=True):
    """One finding of a verification: ``kind`` missing, extra, duplicate, amount or rejected_but_there."""

    kind: str
    source_id: str
    document: str
    detail: str


class Verification(msgspec.Struct, frozen=True):
    """Source and location compared; equal when ``differences`` is empty."""

    documents: int
    total_source: dict[str, Decimal]
    total_found: dict[str, Decimal]
    differences: list[Difference]
    repaired: int = 0


class Run:
    """A journal with everything that can be done with it. ``async with Run.create(...)`` or ``Run.open(...)``."""

    def __init__(self, journal: SqliteJournal, header: dict[str, str]) -> None:
        self.journal = journal
        self.id = header["run"]
        self.operation: Operation[Any] = OPERATIONS[header["operation"]]
        self.keys: KeyPlace = (
            SourceKey() if self.operation is op.CREATE_INVOICE_FROM_ESTIMATE else key_place(header["key"])
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
        path: Path,
        *,
        fingerprint: str,
        location: str,
        operation: Operation[Any] = op.CREATE_ESTIMATE,
        key: str = "meta",
    ) -> Self:
        """A new run, or the one that ``path`` holds if it is the same; see :meth:`SqliteJournal.create`."""
        key_place(key)
        header = {"fingerprint": fingerprint, "location": location, "operation": operation.name, "key": key}
        journal = await SqliteJournal.create(path, header)
        found = await journal.header()
        if "run" not in found:
            await journal.note(run=secrets.token_hex(6))
            found = await journal.header()
        return cls(journal, found)

    @classmethod
    async def open(cls, path: Path, *, watch: bool = False) -> Self:
        """The run of an existing journal; with ``watch`` it is only read, also while another process works on it."""
        journal = await SqliteJournal.open(path, watch=watch)
        header = await journal.header()
        if "run" not in header or header.get("operation") not in OPERATIONS:
            await journal.aclose()
            raise JournalError(f"{path} was never planned; start the run again with its source")
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
        for state in (State.PLANNED, State.SENT, State.CREATED):
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
        counts = await self.journal.counts()
        timing = Timing(settle, attempt_timeout)
        ring = deque(await self.journal.locations())
        waiting: dict[str, float] = {}
        reasons: list[str] = []
        ticker = asyncio.create_task(self._tick(on_progress, counts.all)) if on_progress else None
        lanes = {
            location: LaneRun(
                location,
                targets(location),
                self.journal,
                timing,
                idempotent=self.operation.replay is not Replay.UNSAFE,
                workers=max_in_flight,
                stop=self.stop,
            )
            for location in ring
        }
        running: dict[asyncio.Task[Any], str] = {}
        try:
            while (ring or waiting or running) and not (self.stop.is_set() and not running):
                now = time.time()
                for location in [one for one, again in waiting.items() if again <= now]:
                    del waiting[location]
                    ring.append(location)
                while ring and len(running) < _LANES_AT_ONCE and not self.stop.is_set():
                    location = ring.popleft()
                    running[asyncio.create_task(lanes[location].slice(_SLICE))] = location
                pause = min((again - now for again in waiting.values()), default=None)
                await self._next(set(running), pause)
                for task in [task for task in running if task.done()]:
                    location = running.pop(task)
                    end = task.result()
                    if end.reason and end.reason != "stopped":
                        reasons.append(end.reason)
                    elif not end.done and not self.stop.is_set():
                        waiting[location] = end.again
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            if ticker is not None:
                ticker.cancel()
        if on_progress is not None:
            first = counts.all - counts.of(State.PLANNED) - counts.ambiguous
            on_progress(await self._progress(counts.all, self._began, first))
        return await self.report(reason="; ".join(dict.fromkeys(reasons)))

    async def _next(self, running: set[asyncio.Task[Any]], pause: float | None) -> None:
        """Wait for a lane, for the next one that is due, or for the stop."""
        stopping = asyncio.create_task(self.stop.wait())
        limit = None if pause is None else max(0.0, pause)
        watched = {*running} if self.stop.is_set() else {*running, stopping}
        try:
            await asyncio.wait(watched, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()

    async def _tick(self, on_progress: Callable[[Progress], None], of: int) -> None:
        began = time.monotonic()
        first = (await self._progress(of, began, 0)).done
        while True:
            on_progress(await self._progress(of, began, first))
            await asyncio.sleep(0.5)

    async def _progress(self, of: int, began: float, first: int) -> Progress:
        """Where the run stands; ``first`` items were done already when this process ``began``."""
        counts = await self.journal.counts()
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
            journal=str(self.journal.path),
            reason=reason,
        )

    async def each(self, *states: State) -> list[Row]:
        """All items in these states, in the order of the source."""
        found: list[Row] = []
        while batch := await self.journal.rows(*states, after=found[-1].ordinal if found else -1):
            found += batch
        return found

    # ------------------------------------------------------------------- verifying and rolling back

    async def verify(self, hl: HighLevel, *, repair: bool = False) -> Verification:
        """Compare the journal with the locations: every key once, every total to the cent.

        With ``repair`` younger draft copies are deleted. Only estimates and invoices can be compared.
        """
        if not _is_listed(self.operation):
            raise BulkError(f"{self.operation.at} makes no documents that could be listed")
        differences: list[Difference] = []
        found_total: dict[str, Decimal] = {}
        source_total: dict[str, Decimal] = {}
        documents = repaired = 0
        rows = await self.each(State.CREATED, State.UNKNOWN, State.SENT, State.PLANNED)
        by_location: dict[str, list[Row]] = {}
        for row in rows:
            by_location.setdefault(row.location, []).append(row)
        for location, expected in by_location.items():
            copies = await self._documents(hl, location)
            for row in expected:
                there = sorted(copies.pop(row.key or "", []), key=lambda one: (str(one.created_at), one.id))
                documents += len(there)
                if row.state is State.CREATED and row.total is not None:
                    _add(source_total, row.currency, row.total)
                if not there:
                    if row.state is State.CREATED:
                        differences.append(
                            Difference("missing", row.source_id, row.document or "", "not in the list")
                        )
                    continue
                _add(found_total, there[0].currency or "", there[0].total or Decimal(0))
                if row.total is not None and there[0].total != row.total:
                    detail = f"{there[0].total} in the location, {row.total} in the source"
                    differences.append(Difference("amount", row.source_id, there[0].id, detail))
                for extra in there[1:]:
                    if repair and extra.status in (None, "draft"):
                        await LocationTarget(hl.location(location), self.operation, self.keys).delete(
                            extra.id
                        )
                        repaired += 1
                    else:
                        differences.append(
                            Difference("duplicate", row.source_id, extra.id, f"a copy of {there[0].id}")
                        )
            for key, unexpected in copies.items():
                differences += [
                    Difference("extra", key, one.id, "carries a key of this run") for one in unexpected
                ]
        return Verification(documents, source_total, found_total, differences, repaired)

    async def _documents(self, hl: HighLevel, location: str) -> dict[str, list[Any]]:
        """The location's documents that carry a key, by key; those of other runs are left out."""
        known = await self.journal.known(location)
        place = hl.location(location)
        pager: Any = place.estimates.list() if self.operation is op.CREATE_ESTIMATE else place.invoices.list()
        found: dict[str, list[Any]] = {}
        async for document in pager:
            key = self.keys.read(document)
            if key in known:
                found.setdefault(key or "", []).append(document)
        return found

    async def rollback(
        self, hl: HighLevel, *, on_progress: Callable[[int, int], None] | None = None
    ) -> Counter[str]:
        """Delete what this run created, as far as it is still a draft; can be interrupted and repeated.

        Returns counts: deleted, kept (no draft any more), gone (deleted by somebody else).
        """
        if not _is_listed(self.operation):
            raise BulkError(f"{self.operation.at} makes no documents that could be deleted")
        result: Counter[str] = Counter()
        rows = [row for row in await self.each(State.CREATED) if row.document]
        by_location: dict[str, list[Row]] = {}
        for row in rows:
            by_location.setdefault(row.location, []).append(row)
        for location, mine in by_location.items():
            target = LocationTarget(hl.location(location), self.operation, self.keys)
            drafts = {copy.id: copy.draft async for _, copy in target.listing()}
            for row in mine:
                document = row.document or ""
                if document not in drafts:
                    result["gone"] += 1
                elif not drafts[document]:
                    result["kept"] += 1
                    continue
                else:
                    try:
                        await target.delete(document)
                    except NotFound:
                        result["gone"] += 1
                    else:
                        result["deleted"] += 1
                await self.journal.rolled_back(row.ordinal)
                if on_progress is not None:
                    on_progress(sum(result.values()), len(rows))
        return result


def _is_listed(operation: Operation[Any]) -> bool:
    return operation in (op.CREATE_ESTIMATE, op.CREATE_INVOICE, op.CREATE_INVOICE_FROM_ESTIMATE)


def _add(sums: dict[str, Decimal], currency: str, amount: Decimal) -> None:
    sums[currency] = sums.get(currency, Decimal(0)) + amount


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
