"""Internal. One location until it is done: the protocol's steps, carried out.

The shell around ``protocol``: it asks for the next step, does it, writes it down. A slice ends when its time is up, so
that many locations can take turns; waits for settling and sweeping end it too, so that they delay no other location.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from hl_async.bulk.evidence import Identical
from hl_async.bulk.journals.protocol import LaneJournal, LaneRelease, PlannedItem
from hl_async.bulk.protocol import (
    AMBIGUOUS_AT_ONCE,
    AttemptOutcome,
    LaneFacts,
    Step,
    Timing,
    judge,
    next_step,
)
from hl_async.bulk.reconciliation import Inconclusive, Reconciler
from hl_async.bulk.stages.running import LaneStage, SliceEnd
from hl_async.bulk.target import Target
from hl_async.errors import (
    ApiError,
    BulkError,
    CanaryFailed,
    HighLevelError,
    JournalError,
    LaneLost,
    OutcomeUnknown,
    ServerError,
)

_TAKE: Final = 200
_MAX_TRIES: Final = 12
_PAUSE: Final = 60.0
"""Seconds that a lane rests that cannot go on, before the next try."""
_JOURNAL_PAUSE: Final = 5.0
"""Seconds that a lane rests whose journal could not be written."""
_IDENTICAL: Final = 20
"""So many refusals in a row with the same words stop the run: the mapping, or a gateway, is wrong."""


_Sending: TypeAlias = "asyncio.Task[AttemptOutcome | None]"


class Paused(BulkError):
    """A lane stopped before its end; everything is in the journal."""


class LaneRunner:
    """The running of one location, slice by slice.

    ``stop`` ends it after the requests in flight. The stages ``before`` are done before the first document, those
    ``after`` begin when no document is left.
    """

    def __init__(
        self,
        target: Target,
        timing: Timing,
        *,
        idempotent: bool,
        workers: int,
        stop: asyncio.Event,
        on_done: Callable[[AttemptOutcome | None], None] = lambda outcome: None,
        before: Sequence[LaneStage] = (),
        after: Sequence[LaneStage] = (),
    ) -> None:
        self._before = before
        self._after = after
        self._target = target
        self._timing = timing
        self._idempotent = idempotent
        self._workers = workers
        self._stop = stop
        self._on_done = on_done
        self._journal: LaneJournal
        self._ambiguous = 0
        self._trouble = 0
        self._reason = ""
        self._refusals = Identical(_IDENTICAL)
        self._reconciler = Reconciler(target, timing, stop)
        self._queued: set[asyncio.Task[Any] | None] = set()
        self.finished: int = 0
        """Items that came to an end, over all slices."""

    async def work(self, lane: LaneJournal, seconds: float) -> SliceEnd:
        """Work on a lane for a slice.

        Its lease is renewed meanwhile, and released with its next step. A journal that can't be written, such as on
        a full disk, ends the slice with the reason: nothing is sent that is not written down. The lane is given
        back whatever happens, unless it is lost.

        Raises:
            LaneLost: Another process took the lane over.
            CanaryFailed: The list does not give keys back.
        """
        keeping = asyncio.create_task(self._keep(lane))
        slicing = asyncio.create_task(self.slice(lane, seconds))
        release = LaneRelease(reason="interrupted")
        try:
            await asyncio.wait((keeping, slicing), return_when=asyncio.FIRST_COMPLETED)
            if not slicing.done():
                keeping.result()  # tells why the lane could not be kept
            end = await slicing
            if end.reason:
                release = LaneRelease(wake_in=_PAUSE, reason=end.reason)
            elif end.again:
                # bounded, whatever the clocks do
                longest = self._timing.sweep_at(0.0)
                wait = min(max(0.0, end.again - lane.now()), longest)
                release = LaneRelease(wake_in=wait, reason="settling")
            else:
                release = LaneRelease(end.done)
            return end
        except CanaryFailed as error:
            release = LaneRelease(reason=str(error), stopped=True)
            raise
        # Raised rather than noted as the reason of a slice: nothing may be written for this lane any more.
        except LaneLost:
            raise
        except JournalError as error:
            release = LaneRelease(wake_in=_JOURNAL_PAUSE, reason=str(error))
            return SliceEnd(False, 0.0, str(error))
        finally:
            for task in (keeping, slicing):
                task.cancel()
            await asyncio.gather(keeping, slicing, return_exceptions=True)
            with contextlib.suppress(JournalError):
                await lane.release(release)

    async def _keep(self, lane: LaneJournal) -> None:
        """Renew the lease until cancelled. Raise :class:`LaneLost` once it is lost."""
        before, since = self.finished, time.monotonic()
        while True:
            await asyncio.sleep(lane.renew_every)
            now = time.monotonic()
            rate = (self.finished - before) / (now - since)
            before, since = self.finished, now
            if not await lane.renew(rate):
                raise LaneLost(f"another process works on {lane.location} by now")

    async def slice(self, lane: LaneJournal, seconds: float) -> SliceEnd:
        """Work for about ``seconds``, or until there is nothing to do or to wait for."""
        self._journal = lane
        until = time.monotonic() + seconds
        end = await self._work_stages(self._before, until)
        # Documents need their contacts, so a stage that waits holds the documents back.
        if not end.done:
            return end
        while not self._stop.is_set() and not self._reason:
            facts = await lane.facts()
            answerable = self._target.answerable and not self._idempotent
            # Before the next step, which would wait for a listing that can show nothing.
            if facts.ambiguous and not answerable:
                await self._without_an_answer()
                continue
            decision = next_step(facts, lane.now(), self._timing, answerable=answerable)
            if decision.step is Step.DONE:
                return await self._work_stages(self._after, until)
            if decision.step in (Step.SETTLE, Step.WAIT_SWEEP):
                return SliceEnd(False, decision.until)
            try:
                await self._take_step(decision.step, facts, until)
            # The list cannot be trusted at the moment; the lane rests, and asks again.
            except Inconclusive as error:
                self._reason = self._reason or str(error)
            if decision.step is Step.SEND and (
                time.monotonic() >= until or not lane.lasts(self._timing.guard)
            ):
                break
        # The runner is used for the next slice, which begins without a complaint.
        reason, self._reason = self._reason, ""
        return SliceEnd(False, 0.0, reason)

    async def _work_stages(self, stages: Sequence[LaneStage], until: float) -> SliceEnd:
        """Work on stages in their order; return the end of the first one not done."""
        for stage in stages:
            end = await stage.work(self._journal, until)
            if not end.done:
                return end
        return SliceEnd(True)

    async def _take_step(self, step: Step, facts: LaneFacts, until: float) -> None:
        lane = self._journal
        match step:
            case Step.LOOK:
                await self._reconciler.look(lane, unclean=facts.unclean)
            case Step.CANARY:
                await self._canary()
            case Step.SEND:
                await self._send_all(until)
            case Step.RECONCILE:
                await self._reconciler.reconcile(lane)
                self._ambiguous = 0
            case Step.SWEEP:
                await self._reconciler.sweep(lane)

    # ----------------------------------------------------------------------------------------- sending

    async def _canary(self) -> None:
        """Send the first item alone. Resuming is safe only if lists return its key."""
        if await self._reconciler.canary(self._journal):
            return  # it was created before this process began
        items = await self._journal.take(-1, 1)
        if items and await self._send(items[0]) is None:
            await self._reconciler.canary(self._journal)

    async def _send_all(self, until: float) -> None:
        """Keep ``workers`` items in flight to the end.

        It ends when nothing is planned, time is up, or too much is unclear. At the end, items that still wait
        for the rate budget are left as they are: nothing of theirs was written.
        """
        after = -1
        pending: set[_Sending] = set()
        stopping = asyncio.create_task(self._stop.wait())
        try:
            while not self._must_rest(until) and (items := await self._journal.take(after, _TAKE)):
                for item in items:
                    while len(pending) >= self._workers and not self._must_rest(until):
                        pending = await self._next(pending, stopping, until)
                    if self._must_rest(until):
                        break
                    after = item.ordinal
                    task = asyncio.create_task(self._send(item))
                    pending.add(task)
                    self._queued.add(task)
            while pending:
                if self._must_rest(until):
                    for queued in pending & self._queued:
                        queued.cancel()
                    pending = _ended(pending, (await asyncio.wait(pending))[0])
                else:
                    pending = await self._next(pending, stopping, until)
        finally:
            for left in (stopping, *pending):
                left.cancel()
            await asyncio.gather(stopping, *pending, return_exceptions=True)
            self._queued.clear()

    async def _next(
        self,
        pending: set[_Sending],
        stopping: asyncio.Task[Any],
        until: float,
    ) -> set[_Sending]:
        """Wait for one of ``pending``, the stop, or the slice's end; return those left."""
        remaining = max(0.0, until - time.monotonic())
        done, _ = await asyncio.wait(
            {*pending, stopping}, timeout=remaining, return_when=asyncio.FIRST_COMPLETED
        )
        return _ended(pending, done)

    def _must_rest(self, until: float) -> bool:
        return (
            self._stop.is_set()
            or bool(self._reason)
            or not self._journal.lasts(self._timing.guard)
            or self._ambiguous >= AMBIGUOUS_AT_ONCE
            or time.monotonic() >= until
        )

    async def _send(self, item: PlannedItem) -> AttemptOutcome | None:
        """Send one item and record its outcome. Return None for success."""
        attempt = item.attempt
        sent = False
        task = asyncio.current_task()

        async def intend() -> None:
            nonlocal attempt, sent
            self._queued.discard(task)  # from here on it is carried to its end
            if not self._journal.lasts(self._timing.guard):
                raise Paused("another process may hold the lane before the request has left")
            at = self._journal.now()
            if not await self._journal.intend(item.ordinal, attempt, at):
                raise Paused("another writer moved this item")
            attempt += 1
            sent = True
            if not self._timing.may_send(at, self._journal.now()):
                raise Paused("the process slept between the intent and the request; left to reconciliation")

        try:
            document = await self._target.perform(item.ids, item.body, intend)
        except Paused:
            self._ambiguous += sent
            return AttemptOutcome.AMBIGUOUS
        except JournalError:
            raise  # a journal that cannot be written concerns the lane, not the item
        except HighLevelError as error:
            failure = error
        else:
            await self._journal.created(item.ordinal, attempt, document)
            self._trouble = 0
            self._refusals.succeeded()
            self.finished += 1
            self._on_done(None)
            return None
        return await self._settle(item, attempt, sent, failure)

    async def _settle(
        self, item: PlannedItem, attempt: int, sent: bool, error: HighLevelError
    ) -> AttemptOutcome:
        outcome = judge(error, addressed=bool(item.ids))
        if outcome is AttemptOutcome.AMBIGUOUS and self._idempotent:
            outcome = AttemptOutcome.NOT_EXECUTED if attempt < _MAX_TRIES else outcome
        words = _reason(error)
        match outcome:
            case AttemptOutcome.REJECTED:
                self.finished += 1
                await self._journal.rejected(item.ordinal, attempt, words)
                self._note_refusal(words)
            case AttemptOutcome.AMBIGUOUS:
                self._ambiguous += 1
                self._trouble += 1
                await self._journal.unanswered(item.ordinal, attempt, words)
                await self._journal.note_ambiguous(self._journal.now())
                if isinstance(error, ApiError) and error.status < 500:
                    self._note_refusal(words)
            case AttemptOutcome.NOT_EXECUTED | AttemptOutcome.STOP:
                if sent:
                    await self._journal.mark_planned(item.ordinal, attempt)
                self._trouble += 1
                if outcome is AttemptOutcome.STOP:
                    self._reason = self._reason or str(error)
                else:
                    await asyncio.sleep(min(0.1 * 2**self._trouble, 5.0))
        if self._trouble > 10 * _MAX_TRIES:
            self._reason = self._reason or f"the API fails again and again: {error}"
        self._on_done(outcome)
        return outcome

    def _note_refusal(self, words: str) -> None:
        if self._refusals.failed(words):
            self._reason = (
                self._reason or f"{_IDENTICAL} documents in a row were refused with the same words: {words}"
            )

    async def _without_an_answer(self) -> None:
        """Settle requests whose outcome stays open.

        Repeatable ones are planned again, the rest is held.
        """
        for ordinal, _, attempt, *_ in await self._journal.ambiguous():
            if self._idempotent and attempt < _MAX_TRIES:
                await self._journal.mark_planned(ordinal, attempt)
            else:
                await self._journal.mark_unknown(
                    ordinal, attempt, "sent, and no answer says whether it happened"
                )
        self._ambiguous = 0


def _ended(pending: set[_Sending], done: set[asyncio.Task[Any]]) -> set[_Sending]:
    """Return ``pending`` without ended tasks. Raise the error that one of them had."""
    for task in pending & done:
        if not task.cancelled():
            task.result()
    return pending - done


def _reason(error: HighLevelError) -> str:
    """Every violation, not only the first ones: this text goes into the reject file."""
    if isinstance(error, OutcomeUnknown) and error.reason is not None:
        return _reason(error.reason)
    if isinstance(error, ServerError):
        return error.message  # with its status: it says more about the server than about the document
    messages = error.messages if isinstance(error, ApiError) else ()
    return "; ".join(messages) or str(error)
