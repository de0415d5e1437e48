"""Internal. Exactly once, without idempotency keys: what to do next.

It does nothing but that. Pure; times are passed in. Everything that decides about the state of an item lives in
this file.

An item moves ``planned -> sent -> created | rejected | unknown``. *Sent* is durable before the first byte of the
request; it means "may have happened". An item whose answer is missing stays *sent*, ambiguous, until it is
*settled*: no request of it can still be under way. Then the location is listed, once for all ambiguous items:
the item's key is found (``created``) or not (``planned`` again). What a listing proves is said in ``evidence``. When
anything was ambiguous, a final *sweep*, no earlier than twice the settle time after the last ambiguous send, lists
once more and removes second copies that the run provably made. A run that goes on in another process is listed before
its first send: planned items whose key is there were sent by a process whose last writes are lost.

Each part is needed. Leave one out, and the explorer in the test suite finds executions with duplicates. The
guarantee reads: exactly one, if no request commits later than the sweep after its last byte; a later one is
found by ``verify``.
"""

from __future__ import annotations

import base64
import hashlib
from enum import Enum, StrEnum
from typing import Final, NamedTuple

from hl_async.errors import (
    ApiError,
    AuthError,
    BadRequest,
    ClientStateError,
    Conflict,
    DeadlineExceeded,
    DecodeError,
    HighLevelError,
    InvalidRequest,
    NotFound,
    OutcomeUnknown,
    QuotaExhausted,
    RateLimited,
    ServerError,
    ValidationFailed,
    WireError,
    WireKind,
)

SETTLE: Final = 150.0
"""Seconds after which a request that got no answer has either been committed or never will be.

Proxies in front of APIs cut at 100 to 120 seconds while the origin may go on."""

SEND_GUARD: Final = 5.0
"""Seconds between the durable intent and the first byte; a process that slept longer must not send any more."""

AMBIGUOUS_AT_ONCE: Final = 500
"""So many ambiguous items are settled before more is sent."""


class State(StrEnum):
    """Where an item stands; the values are what the journal holds."""

    PLANNED = "planned"
    SENT = "sent"
    CREATED = "created"
    REJECTED = "rejected"
    SKIPPED = "skipped"
    UNKNOWN = "unknown"
    WITHDRAWN = "withdrawn"
    """Never to be sent: the run was rolled back first."""
    DELETED = "deleted"
    """Created, and deleted again by a rollback."""


class RunState(StrEnum):
    """The durable state of a run; the values are what the journal holds."""

    RUNNING = "running"
    ROLLING_BACK = "rolling_back"
    ROLLED_BACK = "rolled_back"


TERMINAL: Final = frozenset(
    (State.CREATED, State.REJECTED, State.SKIPPED, State.UNKNOWN, State.WITHDRAWN, State.DELETED)
)


class KnownItem(NamedTuple):
    """The journal's knowledge of a key: its item, its document, and its requests.

    The requests are those that may have made a document. ``possible`` bounds how many documents the requests of
    this item can have made. ``first_sent`` and ``last_sent`` are the times of the first and the last intent, in
    seconds.
    """

    ordinal: int
    document: str | None
    state: State = State.PLANNED
    possible: int = 0
    first_sent: float | None = None
    last_sent: float | None = None


class AttemptOutcome(Enum):
    """What an attempt's end means for its item."""

    REJECTED = "rejected"
    """The API itself says that it will never take this document."""
    NOT_EXECUTED = "not_executed"
    """Provably nothing happened: planned again."""
    AMBIGUOUS = "ambiguous"
    """It may have happened: stays sent."""
    STOP = "stop"
    """Nothing happened, and nothing will for any item: the run stops, resumable."""


def judge(error: HighLevelError, *, addressed: bool = True) -> AttemptOutcome:
    """Return the meaning of a failed attempt.

    Args:
        error: What the attempt raised.
        addressed: The operation names a document in its path, so that a 404 may speak of it. A creation names none:
            its 404 speaks of the route.
    """
    if isinstance(error, OutcomeUnknown | DecodeError):
        return AttemptOutcome.AMBIGUOUS
    if isinstance(error, RateLimited):
        return AttemptOutcome.NOT_EXECUTED
    # Refused before any request, and the same document would be refused again.
    if isinstance(error, InvalidRequest):
        return AttemptOutcome.REJECTED
    if isinstance(error, BadRequest | ValidationFailed | NotFound | Conflict):
        return _refusal(error, addressed)
    if isinstance(error, AuthError | QuotaExhausted | ClientStateError):
        return AttemptOutcome.STOP
    # A deadline that passed before any request hides no outcome.
    if isinstance(error, DeadlineExceeded):
        return (
            AttemptOutcome.NOT_EXECUTED if error.reason is None else judge(error.reason, addressed=addressed)
        )
    if isinstance(error, WireError):
        # The address is wrong, so that every item would fail alike.
        if error.kind in (WireKind.REDIRECT, WireKind.TLS):
            return AttemptOutcome.STOP
        return AttemptOutcome.AMBIGUOUS if error.sent else AttemptOutcome.NOT_EXECUTED
    if isinstance(error, ApiError):
        # 401 and 403 concern the token, not the document; 5xx hide the outcome, and so does a gateway's timeout, which
        # may come as a 401: docs/api-facts.md#api-401
        hidden = isinstance(error, ServerError) or error.status >= 500 or error.status == 408
        return AttemptOutcome.AMBIGUOUS if hidden else AttemptOutcome.STOP
    return AttemptOutcome.STOP


def _refusal(error: ApiError, addressed: bool) -> AttemptOutcome:
    """Return the outcome of an error: only JSON of the API's shape is its word.

    A gateway's page says nothing about a document.
    """
    if not (error.messages and error.body.lstrip().startswith("{")):
        return AttemptOutcome.AMBIGUOUS
    # A 404 to a creation is about the route or the location.
    if error.status in (404, 410) and not addressed:
        return AttemptOutcome.STOP
    return AttemptOutcome.REJECTED


def make_key(source_id: str, repetition: int = 0) -> str:
    """Return the key of an item: always the same for a document of a run.

    The run is part of ``source_id``, so that migrating a file once more does not find, and sweep away, the documents
    of an earlier run. ``repetition`` tells apart documents that share a source id (real exports repeat numbers).
    """
    text = f"{source_id}\x00{repetition}" if repetition else source_id
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    return base64.b32encode(digest).decode().rstrip("=").lower()


class Timing(NamedTuple):
    """Waits in seconds.

    ``attempt`` is the longest a request may be under way on our side, ``guard`` the longest between the durable
    intent and the first byte.
    """

    settle: float = SETTLE
    attempt: float = 30.0
    guard: float = SEND_GUARD

    def settled_at(self, last_sent: float) -> float:
        """Return from when on listings show the outcome of a request of ``last_sent``."""
        return last_sent + self.attempt + self.settle

    def sweep_at(self, last_ambiguous: float) -> float:
        """Return the time from which the sweep may run.

        ``last_ambiguous`` is the last send without an answer.
        """
        return last_ambiguous + self.attempt + 2 * self.settle

    def may_send(self, intended_at: float, now: float) -> bool:
        """Return whether a request may still leave for an intent made at ``intended_at``."""
        return 0 <= now - intended_at <= self.guard


class Step(Enum):
    """What a lane does next."""

    LOOK = "look"
    CANARY = "canary"
    SEND = "send"
    SETTLE = "settle"
    RECONCILE = "reconcile"
    WAIT_SWEEP = "wait_sweep"
    SWEEP = "sweep"
    DONE = "done"


class LaneFacts(NamedTuple):
    """What the journal says about one location. Times are in seconds.

    ``swept_at`` is when the last sweep began. ``resumed``: an earlier process may have sent items, and the location
    was not listed since. ``unclean``: that process did not end in order, so the journal may lack its last writes.
    """

    planned: int
    ambiguous: int
    proven: bool
    last_ambiguous_sent: float | None
    last_ambiguous_ever: float | None
    swept_at: float | None
    resumed: bool = False
    unclean: bool = False


class LaneDecision(NamedTuple):
    """The step, and for waits until when."""

    step: Step
    until: float = 0.0


def next_step(facts: LaneFacts, now: float, timing: Timing, *, answerable: bool = True) -> LaneDecision:
    """Return the next step of a lane.

    ``answerable``: a listing can show whether an operation happened.
    """
    waiting = facts.ambiguous > 0 and answerable and facts.last_ambiguous_sent is not None
    # Unanswered requests settle while others are sent, except in three cases: nothing is left to send, too many are
    # open, or no list has proven the keys.
    if waiting and (facts.planned == 0 or facts.ambiguous >= AMBIGUOUS_AT_ONCE or not facts.proven):
        assert facts.last_ambiguous_sent is not None
        ready = timing.settled_at(facts.last_ambiguous_sent)
        return LaneDecision(Step.SETTLE, ready) if now < ready else LaneDecision(Step.RECONCILE)
    if facts.planned:
        # A journal that was restored may have forgotten requests, so the list is read first.
        if facts.resumed and answerable:
            return LaneDecision(Step.LOOK)
        return LaneDecision(Step.SEND if facts.proven or not answerable else Step.CANARY)
    if facts.last_ambiguous_ever is not None and answerable:
        due = timing.sweep_at(facts.last_ambiguous_ever)
        if facts.swept_at is None or facts.swept_at < due:
            return LaneDecision(Step.WAIT_SWEEP, due) if now < due else LaneDecision(Step.SWEEP)
    return LaneDecision(Step.DONE)


def after_listing(found: bool) -> State:
    """Return the next state of an ambiguous, settled item after a listing.

    The listing has or lacks its key.
    """
    return State.CREATED if found else State.PLANNED


class Control(NamedTuple):
    """A document that the journal knows as created, so that a listing has to show it.

    ``sent_at`` is in seconds.
    """

    key: str
    document: str
    sent_at: float


class Copy(NamedTuple):
    """A document of the location that carries a key of the run.

    ``created_at`` is in seconds, None if unknown. ``content`` is equal for documents that one request body makes, as
    long as no person touched them.
    """

    id: str
    created_at: float | None
    draft: bool
    content: str = ""
