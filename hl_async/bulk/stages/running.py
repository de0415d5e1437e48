"""Internal. A stage as a lane runs it, before or after its documents."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple, Protocol

from hl_async.bulk.evidence import Identical
from hl_async.bulk.journals.protocol import Journal, LaneJournal
from hl_async.bulk.protocol import AttemptOutcome, Timing, judge
from hl_async.bulk.stages.steps import LaneSteps, StageStep, StepState, sent
from hl_async.errors import ApiError, BulkError, HighLevelError, OutcomeUnknown

_IDENTICAL: Final = 10
"""So many refusals in a row with the same words end a slice: the source, or a gateway, is wrong."""
_MOST_TROUBLE: Final = 100


class SliceEnd(NamedTuple):
    """The end of a slice: done, to go on at ``again``, or stopped for a ``reason``.

    ``again`` is in seconds of the lane's clock.
    """

    done: bool
    again: float = 0.0
    reason: str = ""


class LaneStage(Protocol):
    """One stage in one location, slice by slice."""

    async def work(self, lane: LaneJournal, until: float) -> SliceEnd:
        """Work until the monotonic time ``until``, or until it is done or has to wait."""
        ...


class StagePaused(BulkError):
    """The stage pauses before a request. Everything is in the journal."""


class Intent:
    """The durable intent of one request, awaited before its first byte is sent.

    Args:
        step: The step that the request is for.
        lane: The lane of the step.
        steps: The steps of the stage.
        timing: The time limits of the protocol.
        noun: The name of a step's record in messages.
        subject: The id of the record that the request changes, if there is one.
        facts: Encoded facts that replace those of the step, if any.

    Attributes:
        step: The step as the journal has it: planned, or sent since the intent.
    """

    def __init__(
        self,
        step: StageStep,
        lane: LaneJournal,
        steps: LaneSteps,
        timing: Timing,
        *,
        noun: str,
        subject: str | None = None,
        facts: bytes | None = None,
    ) -> None:
        self.step: StageStep = step
        self._lane = lane
        self._steps = steps
        self._timing = timing
        self._noun = noun
        self._subject = subject
        self._facts = facts

    async def __call__(self) -> None:
        """Write the intent.

        Raises:
            StagePaused: The request must not be sent now.
        """
        if not self._lane.lasts(self._timing.guard):
            raise StagePaused("the lane may belong to another process before the request has left")
        # The journal's clock: another process may decide about this request later.
        at = self._lane.now()
        if not await self._steps.intend(self.step, at, subject=self._subject, facts=self._facts):
            raise StagePaused(f"another process moved this {self._noun}")
        self.step = sent(self.step)._replace(sent_at=at)
        if self._facts is not None:
            self.step = self.step._replace(facts=self._facts)
        # The write may have taken long. A request that leaves after its time could arrive after the sweep.
        if not self._timing.may_send(at, self._lane.now()):
            raise StagePaused("the process slept between the intent and the request")


class StageWork:
    """The part that stages share: the slice, its limits, and failures that end it.

    Args:
        journal: The journal of the run.
        timing: The time limits of the protocol.
        nouns: The records of the stage in messages, such as ``payments``.
        workers: Requests at a time.
        stop: Set it to end the stage in order.
    """

    def __init__(
        self, journal: Journal, timing: Timing, nouns: str, *, workers: int, stop: asyncio.Event
    ) -> None:
        self._run = journal
        self._timing = timing
        self._nouns = nouns
        self._workers = workers
        self._stop = stop
        self._lane: LaneJournal
        self._steps: LaneSteps
        self._refusals = Identical(_IDENTICAL)
        self._trouble = 0
        self._reason = ""

    def _begin(self, lane: LaneJournal, stage: str) -> None:
        """Begin a slice."""
        self._lane, self._steps = lane, lane.steps(stage)
        self._reason = ""

    def _must_rest(self, until: float) -> bool:
        """Return whether the slice is over."""
        return (
            self._stop.is_set()
            or bool(self._reason)
            or time.monotonic() >= until
            or not self._lane.lasts(self._timing.guard)
        )

    def _note_success(self) -> None:
        """End the rows of failures and refusals."""
        self._trouble = 0
        self._refusals.succeeded()

    def _note_refusal(self, words: str) -> None:
        """Count a refusal. Many in a row with the same words end the slice."""
        # The same words again and again are about the mapping or the location, not about customers.
        if self._refusals.failed(words):
            self._reason = (
                self._reason
                or f"{_IDENTICAL} {self._nouns} in a row were refused with the same words: {words}"
            )

    def _note_trouble(self, error: HighLevelError) -> None:
        """Count a failure that is not the record's. Too many in a row end the slice."""
        self._trouble += 1
        if judge(error) is AttemptOutcome.STOP or self._trouble > _MOST_TROUBLE:
            self._reason = self._reason or str(error)

    async def _note_not_executed(self, step: StageStep, error: HighLevelError) -> None:
        """Plan a step again that was provably not executed, and pause before the next."""
        if step.state is StepState.SENT:
            await self._steps.mark_planned(step, executed=False)
        self._note_trouble(error)
        if not self._reason:
            # Failures without a cause in the customer would otherwise be repeated at full speed.
            await asyncio.sleep(min(0.1 * 2**self._trouble, 5.0))


async def run_workers(worker: Callable[[], Awaitable[None]], count: int) -> None:
    """Run ``count`` workers side by side; if one fails, cancel and await the others."""
    tasks = [asyncio.ensure_future(worker()) for _ in range(count)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def words_of(error: HighLevelError) -> str:
    """Return the words of the API in an error, or the error's own."""
    if isinstance(error, OutcomeUnknown) and error.reason is not None:
        return words_of(error.reason)
    messages = error.messages if isinstance(error, ApiError) else ()
    return "; ".join(messages) or str(error)
