"""Internal. A whole run: plan, execute, verify, roll back.

The journal is the truth throughout. `hl_async.bulk.migration` has the verbs that do this from end to end.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec

from hl_async import operations as op
from hl_async.bulk import reversal, verification
from hl_async.bulk.documents import LocationDocuments
from hl_async.bulk.forecasting import forecast_run
from hl_async.bulk.journals.protocol import ItemRow, Journal
from hl_async.bulk.journals.sqlite import store_at
from hl_async.bulk.journals.store import JournalStore
from hl_async.bulk.keys import KeyCarrier, key_carrier
from hl_async.bulk.kinds import LaneKinds, lane_kinds, location_of, with_base_lanes
from hl_async.bulk.lane import LaneRunner
from hl_async.bulk.local_work import LocalWork
from hl_async.bulk.planning import ItemKeys, StepRules, write_plan
from hl_async.bulk.protocol import SETTLE, AttemptOutcome, State, Timing
from hl_async.bulk.reports import Forecast, Progress, RollbackReport, RunReport
from hl_async.bulk.sources.records import Reject, SourceItem
from hl_async.bulk.stages.contact_reversal import contacts_back
from hl_async.bulk.stages.customers import CONTACTS, ContactPolicy, Corrections, CustomerBook
from hl_async.bulk.stages.lane_stages import (
    encode_policy,
    payment_policy_of,
    policy_of,
    stages_of,
    state_policy_of,
)
from hl_async.bulk.stages.payments import PAYMENTS, PaymentPolicy
from hl_async.bulk.stages.states import StatePolicy
from hl_async.bulk.stages.verifying import with_stages
from hl_async.bulk.standing import check_running, progress_since, standing
from hl_async.bulk.target import LocationTarget, Target
from hl_async.bulk.verification import Difference, Verification
from hl_async.errors import JournalError
from hl_async.operations import OPERATIONS, Operation, Replay

if TYPE_CHECKING:
    from hl_async.client import HighLevel


class Run:
    """A run and its journal. Use ``async with Run.create(...)`` or ``Run.open(...)``."""

    def __init__(self, journal: Journal, header: dict[str, str], store: JournalStore) -> None:
        self.journal = journal
        self.store = store
        self.header: dict[str, str] = header
        self.id: str = header["run"]
        self.operation: Operation[Any] = OPERATIONS[header["operation"]]
        self.kinds: LaneKinds = lane_kinds(header)
        self.location: str = header.get("location", "")
        self.source_name: str = header.get("source_name", "")
        self.is_planned: bool = header.get("planned") == "yes"
        self.contact_policy: ContactPolicy = policy_of(header)
        self.payment_policy: PaymentPolicy = payment_policy_of(header)
        self.state_policy: StatePolicy = state_policy_of(header)
        self.customers: CustomerBook | None = None
        """The customers of the source, if this process planned the run."""
        self.stop: asyncio.Event = asyncio.Event()
        self._began = time.monotonic()
        self.requests = 0
        self.refused = 0
        self._waits_until: Callable[[], float | None] = lambda: None

    @property
    def keys(self) -> KeyCarrier:
        """How documents of the run's own kind carry its key."""
        return self.kinds.keys_of(self.location)

    @classmethod
    async def create(
        cls,
        place: Path | JournalStore,
        *,
        fingerprint: str,
        location: str,
        operation: Operation[Any] = op.CREATE_ESTIMATE,
        key: str = "meta",
        source_name: str = "",
    ) -> Self:
        """Begin a new run, or open the one that ``place`` holds if it is the same.

        Args:
            place: The path of an embedded journal, or a store such as `PostgresJournals`.
            fingerprint: Identifies the source. A source with another fingerprint is another run.
            location: The location of documents that name none.
            operation: What each item does.
            key: Where documents carry the run's key.
            source_name: Name of the system that the source comes from, for a new run. Documents carry it.

        Returns:
            The run, open.

        Raises:
            JournalMismatch: ``place`` holds another run.
            JournalError: The journal cannot be used.
        """
        key_carrier(key)
        header = {"fingerprint": fingerprint, "location": location, "operation": operation.name, "key": key}
        store = store_at(place)
        journal = await store.create(header)
        found = await journal.header()
        # A process may have died between the creation of the journal and this line: then the id is written now.
        if "run" not in found:
            made = datetime.now(UTC).isoformat(timespec="seconds")
            await journal.note(run=secrets.token_hex(6), made=made, source_name=source_name)
            found = await journal.header()
        return cls(journal, found, store)

    @classmethod
    async def open(cls, place: Path | JournalStore, *, watch: bool = False) -> Self:
        """Open the run of an existing journal.

        Args:
            place: Where the journal is, as for `create`.
            watch: Only read, also while another process uses the journal.

        Returns:
            The run, open.

        Raises:
            JournalError: The journal cannot be used, or holds no planned run.
        """
        store = store_at(place)
        journal = await store.open(watch=watch)
        header = await journal.header()
        # A later version may know operations that this one cannot repeat safely.
        if "run" not in header or header.get("operation") not in OPERATIONS:
            await journal.aclose()
            raise JournalError(f"{journal.name} was never planned; start the run again with its source")
        return cls(journal, header, store)

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
        records: AsyncIterable[SourceItem | Reject] | Iterable[SourceItem | Reject],
        *,
        max_rejects: str = "10%",
        limit: int | None = None,
        contacts: ContactPolicy | None = None,
        corrections: Corrections | None = None,
        payments: PaymentPolicy | None = None,
        states: StatePolicy | None = None,
    ) -> Forecast:
        """Write every document of the source into the journal. Makes no request.

        It can be repeated, also with a larger `limit`: planned documents stay unchanged.

        Args:
            records: The documents of the source, always in the same order.
            max_rejects: A number, or a percentage of the first 200. Skipped documents do not count.
            limit: Plan only the first documents, as a trial; None for all.
            contacts: How customers become contacts; None keeps what the run has.
            corrections: A person's changes in the contacts file.
            payments: Rules for payments. None keeps those of the run.
            states: Rules for states. None keeps those of the run.

        Returns:
            The forecast of the run.

        Raises:
            TooManyRejects: More than `max_rejects` can't become requests: the mapping is probably wrong.
        """
        if contacts is not None:
            self.contact_policy = contacts
        # Kept in the journal, because workers of other machines read their rules there.
        self.payment_policy = payments or self.payment_policy
        self.state_policy = states or self.state_policy
        self.customers = CustomerBook(self.id, self.contact_policy, corrections or {})
        keys = ItemKeys(self.id, self.location, self.kinds, self.operation, self.source_name)
        rules = StepRules(self.payment_policy.record, self.state_policy)
        beside = await write_plan(self.journal, keys, records, max_rejects, limit, self.customers, rules)
        await self.journal.note(
            planned="yes", beside=str(beside), limit="" if limit is None else str(limit),
            contacts=encode_policy(self.contact_policy), payments=encode_policy(self.payment_policy),
            states=encode_policy(self.state_policy),
        )  # fmt: skip
        self.is_planned = True
        return await self.forecast()

    def is_trial_of(self, limit: int | None) -> bool:
        """Return whether a trial planned fewer documents than `limit` allows (None: all)."""
        planned = self.header.get("limit", "")
        return self.is_planned and bool(planned) and (limit is None or limit > int(planned))

    async def lanes(self) -> list[str]:
        """Return the run's lanes, also those with customers or payments but no document."""
        steps = [one for stage in (CONTACTS, PAYMENTS) for one in await self.journal.steps.counts(stage)]
        return with_base_lanes(await self.journal.locations(), [one.location for one in steps])

    def target(self, hl: HighLevel, lane: str, *, attempt_timeout: float | None = None) -> LocationTarget:
        """Return the location of a lane, as its documents need it."""
        return LocationTarget(
            hl.location(location_of(lane)),
            self.kinds.operation_of(lane),
            self.kinds.keys_of(lane),
            attempt_timeout=attempt_timeout,
        )

    async def forecast(self, *, rate: float = 10.0) -> Forecast:
        """Forecast the rest of the run; ``rate`` in requests per second and location."""
        return await forecast_run(self.journal, self.contact_policy, self.kinds, rate=rate)

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
        """Send the planned items, lane by lane in turns.

        It ends when all are done, ``stop`` is set, or every lane stopped.

        Args:
            targets: Gives the target of a lane; see `target`.
            settle: Seconds for which a request without an answer may still take effect.
            attempt_timeout: Seconds that one request may take.
            max_in_flight: Requests under way at once.
            on_progress: Called about twice per second.

        Returns:
            The report; ``state`` is "stopped" with a reason if something kept the run from ending.

        Raises:
            BulkError: The run was rolled back.
            CanaryFailed: The list does not return the key of the first document.
            JournalError: The journal cannot be read. One that cannot be written, such as on a full disk, stops the run.
        """
        await self.require_running()
        self._began = time.monotonic()
        try:
            await self.note_timing(settle, attempt_timeout)
        except JournalError as error:
            # A full disk, for instance. An item that cannot be recorded must not be sent.
            return await self.report(reason=str(error))
        counts = await self.journal.counts(totals=False)
        timing = Timing(settle, attempt_timeout)
        work = LocalWork(
            self.id,
            self.journal,
            {
                name: self.lane(targets(name), timing, name=name, workers=max_in_flight)
                for name in await self.lanes()
            },
            self.stop,
        )
        self._waits_until = work.waits_until
        # Progress is read from the journal beside the work, so that no worker has to count.
        ticker = asyncio.create_task(self._tick(on_progress, counts.all)) if on_progress else None
        try:
            await work.serve()
        finally:
            if ticker is not None:
                ticker.cancel()
        if on_progress is not None:
            first = counts.all - counts.of(State.PLANNED) - counts.ambiguous
            # Once more at the end: a short run may be over before the first tick.
            on_progress(await self._progress(counts.all, self._began, first))
        return await self.report(reason="; ".join(dict.fromkeys(work.reasons)))

    async def follow(
        self,
        is_open: Callable[[], Awaitable[bool]],
        *,
        on_progress: Callable[[Progress], None] | None = None,
        every: float = 1.0,
    ) -> RunReport:
        """Report progress while workers work on this run.

        Args:
            is_open: Tells whether the workers still have something to do.
            on_progress: Called after each look at the journal.
            every: Seconds between two looks.

        Returns:
            The report, once the run is no longer open or ``stop`` is set.
        """
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
        # Lanes without planned documents are done, whatever their last reason was.
        waiting = [lane.reason for lane in await self.journal.lanes() if lane.reason and lane.planned]
        return await self.report(reason="; ".join(dict.fromkeys(waiting)))

    def lane(
        self,
        target: Target,
        timing: Timing,
        *,
        workers: int,
        name: str = "",
        stop: asyncio.Event | None = None,
        on_done: Callable[[AttemptOutcome | None], None] = lambda outcome: None,
    ) -> LaneRunner:
        """Return the runner of a lane; see :class:`LaneRunner`.

        Args:
            target: The location of the lane.
            timing: The waits of the run.
            workers: Requests at a time.
            name: The name of the lane.
            stop: Ends the runner in order; by default the event of the run.
            on_done: Called after each item, with the outcome of its request.
        """
        stop = stop or self.stop
        policies = (self.contact_policy, self.payment_policy)
        stages = stages_of(target, self.journal, policies, timing, lane=name, workers=workers, stop=stop)
        return LaneRunner(
            target, timing, idempotent=self.operation.replay is not Replay.UNSAFE, workers=workers, stop=stop,
            on_done=on_done, before=stages.before, after=stages.after,
        )  # fmt: skip

    async def _progress(self, of: int, began: float, first: int) -> Progress:
        return await progress_since(self.journal, of, began, first, self._waits_until())

    async def _tick(self, on_progress: Callable[[Progress], None], of: int) -> None:
        began = time.monotonic()
        first = (await self._progress(of, began, 0)).done
        while True:
            on_progress(await self._progress(of, began, first))
            await asyncio.sleep(0.5)

    async def report(self, *, reason: str = "") -> RunReport:
        """Return where the run stands."""
        report = await standing(self.journal, self.operation, self.kinds)
        return msgspec.structs.replace(
            report,
            seconds=round(time.monotonic() - self._began, 3),
            requests=self.requests,
            refused=self.refused,
            reason=reason,
        )

    async def each(self, *states: State) -> list[ItemRow]:
        """Return all items in these states, in the order of the source."""
        found: list[ItemRow] = []
        while batch := await self.journal.rows(*states, after=found[-1].ordinal if found else -1):
            found += batch
        return found

    # ------------------------------------------------------------------- verifying and rolling back

    @property
    def timing(self) -> Timing:
        """Waits of the last execution."""
        return Timing(
            float(self.header.get("settle", SETTLE)), float(self.header.get("attempt_timeout", 30.0))
        )

    async def note_timing(self, settle: float, attempt_timeout: float) -> None:
        """Keep an execution's waits in the journal, because a rollback waits as long."""
        facts = {"settle": str(settle), "attempt_timeout": str(attempt_timeout)}
        await self.journal.note(**facts)
        self.header |= facts

    async def require_running(self) -> None:
        """Refuse to work on a run that was taken back.

        Raises:
            BulkError: The run was rolled back, or is being rolled back.
        """
        await check_running(self.journal)

    async def verify(
        self,
        hl: HighLevel,
        *,
        repair: bool = False,
        on_finding: Callable[[Difference], None] = lambda finding: None,
    ) -> Verification:
        """Compare every document with its request; see :func:`hl_async.bulk.verify`.

        Args:
            hl: The client.
            repair: Delete second copies that are drafts and provably the run's own.
            on_finding: Called with every finding.

        Returns:
            The findings, with the sums of source and locations.
        """
        found = await verification.verify(
            self, self._documents(hl), self.timing, repair=repair, on_finding=on_finding
        )
        return await with_stages(found, self.journal, self.contact_policy, hl, on_finding)

    async def rollback(
        self,
        hl: HighLevel,
        *,
        even_changed: bool = False,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> RollbackReport:
        """Delete the drafts that this run created; see :func:`hl_async.bulk.rollback`.

        Args:
            hl: The client.
            even_changed: Delete drafts that people changed as well.
            on_progress: Called about once per second.

        Returns:
            The report; its ``state`` tells whether something is open.
        """
        return await reversal.rollback(
            self, self._documents(hl), self.timing, even_changed=even_changed, on_progress=on_progress,
            afterwards=contacts_back(self, hl, even_changed=even_changed),
        )  # fmt: skip

    def _documents(self, hl: HighLevel) -> Callable[[str], LocationDocuments]:
        return lambda lane: LocationDocuments(hl.location(location_of(lane)), self.kinds.operation_of(lane))
