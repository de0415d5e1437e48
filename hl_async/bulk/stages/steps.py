"""Internal. The steps of a stage: durable rows beside items, and their changes.

A *step* is one piece of work that is not a document: a contact to resolve, a payment to record, a state to set. It
is known by its location, its stage and its key. It moves ``planned -> sent -> done | rejected | unknown | held``:

* ``planned``: nothing left this machine, or what left was provably not executed.
* ``sent``: the intent is durable and the request may have been executed. It stays so until an answer or a later
  question tells its outcome.
* ``done``: it is in the location, as ``result``; ``how`` says whether the run made it or found it there.
* ``rejected``: it will never be done, for ``reason``.
* ``unknown``: the API gives no answer that would be certain. It is never sent again.
* ``held``: something changed that the run did not change; a person has to look.

A stage is planned with :meth:`RunSteps.plan`, together with the documents of its source, and is worked on through the
:class:`LaneSteps` of a leased lane (``LaneJournal.steps``), so that one process at a time sends. One step looks like
this::

    steps = lane.steps("payments")
    for step in await steps.take(-1, 200, of_created=True):   # step.document_id is the invoice
        if await steps.intend(step, lane.now(), facts=before):  # durable; nothing has left yet
            ...                                                # the request
            await steps.done(sent(step), result=invoice_id, how=MADE)

`sent(step)` is the step as the journal holds it after the intent. Every change names the state and the number of
attempts that it expects, and returns False if the journal has others. In Postgres a change also needs the lane's lease,
and raises `LaneLost` without it. A step changes in one transaction with its documents: see `DocumentChange`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple, Protocol

import msgspec

MADE: Final = "made"
"""``how`` of a step that the run itself carried out; only these are undone by a rollback."""


class StepState(StrEnum):
    """The state of a step, with its value in the journal."""

    PLANNED = "planned"
    SENT = "sent"
    DONE = "done"
    REJECTED = "rejected"
    UNKNOWN = "unknown"
    HELD = "held"
    WITHDRAWN = "withdrawn"
    """Never to be sent: the run was rolled back first."""
    DELETED = "deleted"
    """Done, and undone again by a rollback."""


class PlannedStep(NamedTuple):
    """A step as a source asks for it.

    ``documents`` are the ordinals of the items that it belongs to. ``body`` is the request as far as it is known, and
    ``facts`` is JSON that the stage needs to decide. Both ``body`` and ``facts`` may be replaced while nothing was
    sent. ``subject`` is the id of the record that the request changes, if that exists already.
    """

    location: str
    stage: str
    key: str
    documents: tuple[int, ...] = ()
    body: bytes = b""
    facts: bytes = b"{}"
    subject: str = ""


class StageStep(NamedTuple):
    """A step as it stands.

    ``attempt`` counts requests that may have left, ``possible`` those that may have been executed. ``first_sent`` and
    ``sent_at`` are the times of the first and the last intent, in seconds of the journal's clock. ``subject`` is the id
    of the thing that it is done to, ``document`` the ordinal of its first item, and ``document_id`` the id of the
    document that this item became.
    """

    number: int
    location: str
    stage: str
    key: str
    state: StepState
    attempt: int
    possible: int
    body: bytes
    digest: bytes
    facts: bytes
    subject: str = ""
    result: str = ""
    how: str = ""
    reason: str | None = None
    first_sent: float | None = None
    sent_at: float | None = None
    document: int | None = None
    document_id: str | None = None

    @property
    def is_intact(self) -> bool:
        """Whether key and body are those of the plan."""
        return self.digest == step_digest(self.location, self.stage, self.key, self.body)


def step_of(columns: Sequence[Any]) -> StageStep:
    """Build a step from the columns that the statements of every journal read."""
    step = StageStep(*columns)
    return step._replace(state=StepState(step.state))


def step_digest(location: str, stage: str, key: str, body: bytes) -> bytes:
    """Return a digest of everything that decides which request a step becomes."""
    digest = hashlib.blake2b(digest_size=16)
    for part in (location, stage, key):
        # Lengths first, so that two parts cannot be divided in another way with the same digest.
        encoded = part.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(4, "big") + encoded)
    digest.update(body)
    return digest.digest()


def sent(step: StageStep) -> StageStep:
    """Return a step as the journal holds it after its intent."""
    return step._replace(
        state=StepState.SENT,
        attempt=step.attempt + 1,
        # A repetition of the same request, after a renewed token for example, is still one possible effect.
        possible=step.possible + (step.state is StepState.PLANNED),
    )


class StepChange(NamedTuple):
    """One step from a state to another; fields without a value stay as they were.

    ``sent_at`` counts one more attempt. ``executed`` is False when the request was provably not executed.
    """

    step: StageStep
    state: StepState
    sent_at: float | None = None
    result: str | None = None
    how: str | None = None
    reason: str | None = None
    subject: str | None = None
    facts: bytes | None = None
    executed: bool = True


class DocumentChange(NamedTuple):
    """A step's change of one planned document: another body, or a rejection."""

    ordinal: int
    body: bytes | None = None
    reason: str | None = None


class StepDocument(NamedTuple):
    """A planned document of a step."""

    ordinal: int
    body: bytes


class StepCount(NamedTuple):
    """The number of a location's steps in one state, by their ``how``."""

    location: str
    state: StepState
    how: str
    number: int


class StageFacts(NamedTuple):
    """What the journal says about a stage in one location; times are in seconds.

    ``last_sent`` is the last intent without an answer, ``ambiguous_at`` the last that ever was without one, and
    ``swept_at`` when the last sweep began.
    """

    planned: int
    sent: int
    last_sent: float | None
    ambiguous_at: float | None
    swept_at: float | None


class RunSteps(Protocol):
    """The steps of a whole run, to plan, count and look at."""

    async def plan(self, steps: Iterable[PlannedStep]) -> None:
        """Add steps; one that is there keeps its place.

        While nothing of it was sent, it takes the new body and facts. A step that is done or rejected and gets
        another document is planned again, with its result, so that the document learns of it.
        """
        ...

    async def rows(
        self, stage: str, *states: StepState, location: str | None = None, after: int = -1, limit: int = 2000
    ) -> list[StageStep]:
        """Return steps in their order behind ``after``, in the named states or in any."""
        ...

    async def counts(self, stage: str) -> list[StepCount]:
        """Return the numbers of a stage's steps by location, state and ``how``."""
        ...

    async def stages(self) -> list[str]:
        """Return the stages that have steps."""
        ...

    async def unfinished(self) -> int:
        """Return the number of planned or sent steps, plus the stages to be swept."""
        ...

    async def documents(self, step: StageStep) -> list[int]:
        """Return the ordinals of a step's documents."""
        ...

    async def withdraw(self, stage: str) -> int:
        """Withdraw planned steps, which are then never sent. Return how many."""
        ...

    async def undone(self, step: StageStep, reason: str) -> bool:
        """Note that a rollback undid the work of a step."""
        ...

    async def plan_again(self, stage: str, *states: StepState) -> int:
        """Plan steps in these states again. Return how many."""
        ...


class LaneSteps(Protocol):
    """The steps of one stage in one location, for the process that holds its lane.

    A change returns False if the step is not as the caller knows it. It raises `LaneLost` if the lane is leased to
    another process by now. In both cases nothing is written.
    """

    async def facts(self) -> StageFacts:
        """Return the facts that decide about the stage's next move."""
        ...

    async def take(self, after: int, limit: int, *, of_created: bool = False) -> list[StageStep]:
        """Return the next planned steps behind the number ``after``.

        Args:
            after: The number of a step; -1 for the first ones.
            limit: How many at most.
            of_created: Only steps whose first document was created, ``document_id`` being its id, and those planned
                with a ``subject``.
        """
        ...

    async def ambiguous(self) -> list[StageStep]:
        """Return every step that was sent and not answered."""
        ...

    async def suspects(self) -> list[StageStep]:
        """Return steps that may have been executed more than once, for the sweep."""
        ...

    async def documents(self, step: StageStep) -> list[StepDocument]:
        """Return the planned documents of a step."""
        ...

    async def intend(
        self, step: StageStep, at: float, *, subject: str | None = None, facts: bytes | None = None
    ) -> bool:
        """Mark a planned or sent step as sent, before the request's first byte leaves.

        Args:
            step: The step as it was taken.
            at: The lane's time.
            subject: The id of the thing that it is done to.
            facts: What a later question needs, such as the state of the subject before the request.
        """
        ...

    async def done(
        self,
        step: StageStep,
        *,
        result: str,
        how: str,
        facts: bytes | None = None,
        documents: Sequence[DocumentChange] = (),
    ) -> bool:
        """Mark a planned or sent step as done, in one transaction with its documents."""
        ...

    async def rejected(
        self,
        step: StageStep,
        reason: str,
        *,
        facts: bytes | None = None,
        documents: Sequence[DocumentChange] = (),
        executed: bool = False,
    ) -> bool:
        """Mark a planned or sent step as rejected, in one transaction with its documents.

        Args:
            step: The step.
            reason: Why, in words.
            facts: What the stage found.
            documents: What it means for the documents.
            executed: Whether the last request may have been executed all the same.
        """
        ...

    async def unanswered(self, step: StageStep, words: str) -> bool:
        """Keep why a request got no usable answer. The step stays sent."""
        ...

    async def mark_planned(self, step: StageStep, *, executed: bool) -> bool:
        """Plan a sent step again; ``executed`` is False if the request provably was not."""
        ...

    async def mark_unknown(
        self, step: StageStep, reason: str, documents: Sequence[DocumentChange] = ()
    ) -> bool:
        """Leave a step to a person, as no answer would be certain. It is not sent again."""
        ...

    async def hold(self, step: StageStep, reason: str, documents: Sequence[DocumentChange] = ()) -> bool:
        """Hold a step for a person: something changed that the run did not change."""
        ...

    async def note_ambiguous(self, at: float) -> None:
        """Remember an unanswered request of the stage, so that it is swept at the end."""
        ...

    async def swept(self, at: float) -> None:
        """Note that the sweep which began at ``at`` is complete."""
        ...


def stage_facts(rows: Sequence[Sequence[Any]]) -> StageFacts:
    """Build a stage's facts from a journal's row, or empty ones without a row."""
    if not rows:
        return StageFacts(0, 0, None, None, None)
    planned, waiting, last, noted, swept = rows[0]
    # The note alone is not enough: a process may die between an intent and its note.
    ever = max((at for at in (last, noted) if at is not None), default=None)
    return StageFacts(planned, waiting, last, ever, swept)


def change_values(change: StepChange) -> dict[str, Any]:
    """Return a change as the values of its statement, the same in every journal."""
    step = change.step
    return {
        "state": change.state.value,
        "sent_at": change.sent_at,
        "result": change.result,
        "how": change.how,
        "reason": change.reason,
        "subject": change.subject,
        "facts": change.facts,
        # provably not executed: it cannot have done anything
        "refused": int(step.state is StepState.SENT and not change.executed),
        "number": step.number,
        "origin": step.state.value,
        "attempt": step.attempt,
    }


class StepChanges:
    """The changes of :class:`LaneSteps` as :class:`StepChange`; journals write them."""

    async def write_change(self, change: StepChange, documents: Sequence[DocumentChange] = ()) -> bool:
        """Write one change, with the changes of its documents, in one transaction."""
        raise NotImplementedError

    async def intend(
        self, step: StageStep, at: float, *, subject: str | None = None, facts: bytes | None = None
    ) -> bool:
        return await self.write_change(StepChange(step, StepState.SENT, at, subject=subject, facts=facts))

    async def done(
        self,
        step: StageStep,
        *,
        result: str,
        how: str,
        facts: bytes | None = None,
        documents: Sequence[DocumentChange] = (),
    ) -> bool:
        return await self.write_change(
            StepChange(step, StepState.DONE, result=result, how=how, facts=facts), documents
        )

    async def rejected(
        self,
        step: StageStep,
        reason: str,
        *,
        facts: bytes | None = None,
        documents: Sequence[DocumentChange] = (),
        executed: bool = False,
    ) -> bool:
        change = StepChange(step, StepState.REJECTED, reason=reason, facts=facts, executed=executed)
        return await self.write_change(change, documents)

    async def unanswered(self, step: StageStep, words: str) -> bool:
        return await self.write_change(StepChange(step, StepState.SENT, reason=words))

    async def mark_planned(self, step: StageStep, *, executed: bool) -> bool:
        return await self.write_change(StepChange(step, StepState.PLANNED, executed=executed))

    async def mark_unknown(
        self, step: StageStep, reason: str, documents: Sequence[DocumentChange] = ()
    ) -> bool:
        return await self.write_change(StepChange(step, StepState.UNKNOWN, reason=reason), documents)

    async def hold(self, step: StageStep, reason: str, documents: Sequence[DocumentChange] = ()) -> bool:
        return await self.write_change(StepChange(step, StepState.HELD, reason=reason), documents)


def facts_of(step: StageStep) -> dict[str, Any]:
    """Return the facts of a step, decoded."""
    found: dict[str, Any] = msgspec.json.decode(step.facts)
    return found
