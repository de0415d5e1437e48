"""Internal. A stage as a lane runs it, before or after the documents of its location."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol

from hl_async.bulk.journals.protocol import LaneJournal
from hl_async.bulk.protocol import Timing
from hl_async.bulk.stages.steps import LaneSteps, StageStep, sent
from hl_async.errors import ApiError, BulkError, HighLevelError, OutcomeUnknown


class SliceEnd(NamedTuple):
    """Why a slice ended: done, or go on at ``again`` (the lane's clock, seconds); ``reason`` when it can't go on."""

    done: bool
    again: float = 0.0
    reason: str = ""


class LaneStage(Protocol):
    """One stage in one location, slice by slice."""

    async def work(self, lane: LaneJournal, until: float) -> SliceEnd:
        """Work until the monotonic time ``until``, or until there is nothing to do or to wait for."""
        ...


class StagePaused(BulkError):
    """The stage pauses before a request. Everything is in the journal."""


class Intent:
    """The durable intent of one request, awaited by the request layer before the first byte.

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
        self.step = step
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
        at = self._lane.now()
        if not await self._steps.intend(self.step, at, subject=self._subject, facts=self._facts):
            raise StagePaused(f"another process moved this {self._noun}")
        self.step = sent(self.step)._replace(sent_at=at)
        if self._facts is not None:
            self.step = self.step._replace(facts=self._facts)
        if not self._timing.may_send(at, self._lane.now()):
            raise StagePaused("the process slept between the intent and the request")


async def run_workers(worker: Callable[[], Awaitable[None]], count: int) -> None:
    """Run a worker ``count`` times side by side. If one fails, the others are cancelled and awaited."""
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
