"""The exactly-once protocol, checked exhaustively: every crash point and every late commit (of one item)."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import NamedTuple

import pytest

from hl_async.bulk.protocol import (
    AMBIGUOUS_AT_ONCE,
    AttemptOutcome,
    Copy,
    LaneFacts,
    State,
    Step,
    Timing,
    after_listing,
    judge,
    make_key,
    next_step,
    surplus,
)
from hl_async.errors import (
    ApiError,
    AttemptTimeout,
    AuthError,
    BadRequest,
    ClientClosed,
    ConnectFailed,
    DeadlineExceeded,
    DecodeError,
    Forbidden,
    GatewayTimeout,
    HighLevelError,
    InvalidRequest,
    LocationInactive,
    OutcomeUnknown,
    QuotaExhausted,
    RateLimited,
    ScopeMissing,
    ServerError,
    ValidationFailed,
    WireError,
    WireKind,
)

S = 100.0
TIMING = Timing(settle=S, attempt=10.0)

# What the server may do with one request: (commits after how many seconds, None never; the client sees)
SERVER = {
    "ok": (0.0, "ok"),
    "answer lost": (0.0, "ambiguous"),
    "commits late": (S / 2, "ambiguous"),
    "commits very late": (1.9 * S, "ambiguous"),
    "never": (None, "ambiguous"),
    "refused": (None, "not executed"),
    "rejected": (None, "rejected"),
}
CRASHES = (
    "before intent",
    "after intent",
    "after send",
    "before outcome",
    "after outcome",
    "in reconcile",
    "in sweep",
)


class Variant(NamedTuple):
    """The protocol with parts left out, to show that the explorer finds what they are for."""

    intent: bool = True
    reconcile: bool = True
    settle: bool = True
    sweep: float = 2.0


class World:
    """One item, one server; a script says what the server does and where the process dies."""

    def __init__(
        self, variant: Variant, outcomes: tuple[str, ...], crashes: tuple[tuple[str, int], ...]
    ) -> None:
        self.variant = variant
        self.outcomes = list(outcomes)
        self.crashes = Counter(dict(crashes))
        self.passed: Counter[str] = Counter()
        self.now = 0.0
        self.commits: list[float] = []
        self.state = State.PLANNED
        self.sent_at: float | None = None
        self.ever: float | None = None
        self.swept: float | None = None
        self.deleted = 0

    def die_at(self, place: str) -> None:
        self.passed[place] += 1
        if self.crashes.get(place) == self.passed[place]:
            raise InterruptedError

    def documents(self) -> list[float]:
        return sorted(moment for moment in self.commits if moment <= self.now)[: len(self.commits)]

    def noted(self) -> float | None:
        """The last ambiguous send the journal knows of: noted before, or still standing as sent."""
        known = [
            moment
            for moment in (self.ever, self.sent_at if self.state is State.SENT else None)
            if moment is not None
        ]
        return max(known, default=None)

    def run(self) -> tuple[str, int]:
        for _ in range(40):
            try:
                if self.step():
                    break
            except InterruptedError:
                self.now += 0.5  # the process starts again
        self.now += 10 * S
        return self.state.value, len(self.commits) - self.deleted

    def step(self) -> bool:
        ambiguous = self.state is State.SENT
        facts = LaneFacts(
            planned=int(self.state is State.PLANNED),
            ambiguous=int(ambiguous),
            proven=True,
            last_ambiguous_sent=self.sent_at if ambiguous else None,
            last_ambiguous_ever=self.noted() if self.variant.sweep else None,
            swept_at=self.swept,
        )
        timing = TIMING if self.variant.settle else Timing(0.0, 0.0)
        if self.variant.sweep == 1.0:
            timing = timing._replace(settle=timing.settle)
        decision = next_step(facts, self.now, timing)
        if decision.step is Step.WAIT_SWEEP and self.variant.sweep == 1.0:
            self.now += 1.0 + S / 10
            decision = decision._replace(step=Step.SWEEP)
        match decision.step:
            case Step.SEND:
                self.send()
            case Step.SETTLE | Step.WAIT_SWEEP:
                self.now = decision.until
            case Step.RECONCILE:
                self.ever = self.noted()
                self.die_at("in reconcile")
                found = bool(self.documents()) and self.variant.reconcile
                self.state = after_listing(found) if self.variant.reconcile else State.PLANNED
            case Step.SWEEP:
                began = self.now
                copies = [Copy(str(n), f"{moment:09.2f}", True) for n, moment in enumerate(self.documents())]
                self.die_at("in sweep")
                if copies:
                    self.deleted = len(surplus(copies)[1])
                    self.state = State.CREATED  # adopted, whatever the journal thought
                self.swept = began if self.variant.sweep != 1.0 else 10**9
            case Step.DONE:
                return True
        return False

    def send(self) -> None:
        self.die_at("before intent")
        if self.variant.intent:
            self.state, self.sent_at = State.SENT, self.now
        self.die_at("after intent")
        delay, seen = SERVER[self.outcomes.pop(0) if self.outcomes else "ok"]
        if delay is not None:
            self.commits.append(self.now + delay)
        self.die_at("after send")
        self.now += 0.1
        self.die_at("before outcome")
        if seen == "ok":
            self.state = State.CREATED
        elif seen == "rejected":
            self.state = State.REJECTED
        elif seen == "not executed" or not self.variant.intent:
            self.state = State.PLANNED
        else:
            self.ever = self.now
        self.die_at("after outcome")


def explore(variant: Variant) -> Counter[str]:
    """Every script of up to three sends and two crashes."""
    found: Counter[str] = Counter()
    places = [None, *itertools.product(CRASHES, (1, 2))]
    for outcomes in itertools.product(SERVER, repeat=3):
        for first, second in itertools.combinations_with_replacement(places, 2):
            crashes = tuple(place for place in (first, second) if place is not None)
            if first and second and first[0] == second[0]:
                continue
            state, documents = World(variant, outcomes, crashes).run()
            wanted = 1 if state == "created" else 0
            found["right" if documents == wanted else "lost" if documents < wanted else "duplicate"] += 1
    return found


@pytest.mark.untraced
def test_no_execution_of_the_protocol_loses_or_doubles() -> None:
    found = explore(Variant())
    print(f"{sum(found.values())} executions: {dict(found)}")
    assert found["lost"] == 0
    assert found["duplicate"] == 0
    assert found["right"] > 25_000


@pytest.mark.parametrize(
    "variant",
    [
        Variant(intent=False, reconcile=False, sweep=0.0),
        Variant(reconcile=False, sweep=0.0),
        Variant(settle=False, sweep=0.0),
        Variant(sweep=0.0),
        Variant(sweep=1.0),
    ],
    ids=[
        "a done-log",
        "no look before sending again",
        "no settling",
        "no sweep",
        "a sweep that comes too early",
    ],
)
@pytest.mark.untraced
def test_each_part_is_needed_and_the_explorer_finds_what_it_is_for(variant: Variant) -> None:
    assert explore(variant)["duplicate"] > 0


REASON = AttemptTimeout("late", kind=WireKind.TIMEOUT, sent=True)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (OutcomeUnknown("?"), AttemptOutcome.AMBIGUOUS),
        (DecodeError("?"), AttemptOutcome.AMBIGUOUS),
        (REASON, AttemptOutcome.AMBIGUOUS),
        (ServerError("500", status=500), AttemptOutcome.AMBIGUOUS),
        (ApiError("408", status=408), AttemptOutcome.AMBIGUOUS),
        (GatewayTimeout("401 timed out", status=401), AttemptOutcome.AMBIGUOUS),
        (ValidationFailed("500 estimates validation failed", status=500), AttemptOutcome.REJECTED),
        (LocationInactive("401", status=401), AttemptOutcome.STOP),
        (DeadlineExceeded("late", reason=REASON), AttemptOutcome.AMBIGUOUS),
        (DeadlineExceeded("late"), AttemptOutcome.NOT_EXECUTED),
        (RateLimited("429", status=429), AttemptOutcome.NOT_EXECUTED),
        (ConnectFailed("no", kind=WireKind.CONNECT, sent=False), AttemptOutcome.NOT_EXECUTED),
        (BadRequest("400", status=400), AttemptOutcome.REJECTED),
        (ValidationFailed("422", status=422), AttemptOutcome.REJECTED),
        (InvalidRequest("x", "y"), AttemptOutcome.REJECTED),
        (Forbidden("403", status=403), AttemptOutcome.STOP),
        (ScopeMissing("401", status=401), AttemptOutcome.STOP),
        (AuthError("gone"), AttemptOutcome.STOP),
        (QuotaExhausted("day"), AttemptOutcome.STOP),
        (ClientClosed("closed"), AttemptOutcome.STOP),
        (WireError("tls", kind=WireKind.TLS, sent=False), AttemptOutcome.STOP),
        (WireError("302", kind=WireKind.REDIRECT, sent=True), AttemptOutcome.STOP),
        (HighLevelError("else"), AttemptOutcome.STOP),
    ],
)
def test_every_error_has_one_meaning(error: HighLevelError, outcome: AttemptOutcome) -> None:
    assert judge(error) is outcome


def test_keys_are_stable_short_and_tell_repetitions_apart() -> None:
    assert make_key("A-1") == make_key("A-1") != make_key("A-1", 1)
    assert len(make_key("x" * 1000)) == 26
    assert make_key("\ud800").isalnum()


def facts(**changes: object) -> LaneFacts:
    values = {
        "planned": 0, "ambiguous": 0, "proven": True, "last_ambiguous_sent": None, "last_ambiguous_ever": None, "swept_at": None,
    }  # fmt: skip
    return LaneFacts(**{**values, **changes})  # type: ignore[arg-type]


def test_the_next_step_follows_from_the_facts() -> None:
    assert next_step(facts(planned=5, proven=False), 0, TIMING).step is Step.CANARY
    assert next_step(facts(planned=5), 0, TIMING).step is Step.SEND
    assert next_step(facts(planned=5, ambiguous=1, last_ambiguous_sent=0.0), 0, TIMING).step is Step.SEND
    assert (
        next_step(facts(planned=5, ambiguous=1, last_ambiguous_sent=0.0, proven=False), 0, TIMING).step
        is Step.SETTLE
    )
    many = facts(planned=5, ambiguous=AMBIGUOUS_AT_ONCE, last_ambiguous_sent=0.0)
    assert next_step(many, 0, TIMING) == (Step.SETTLE, 110.0)
    assert next_step(many, 110, TIMING).step is Step.RECONCILE
    swept = facts(last_ambiguous_ever=0.0)
    assert next_step(swept, 0, TIMING) == (Step.WAIT_SWEEP, 210.0)
    assert next_step(swept, 210, TIMING).step is Step.SWEEP
    assert next_step(swept._replace(swept_at=210.0), 211, TIMING).step is Step.DONE
    assert next_step(facts(planned=1, proven=False), 0, TIMING, answerable=False).step is Step.SEND


def test_a_process_that_slept_too_long_must_not_send() -> None:
    assert TIMING.may_send(10.0, 12.0)
    assert not TIMING.may_send(10.0, 16.0)
    assert not TIMING.may_send(10.0, 9.0)


def test_the_oldest_copy_stays_and_only_younger_drafts_go() -> None:
    old, young, sent = Copy("a", "1", True), Copy("b", "2", True), Copy("c", "3", False)
    assert surplus([young, sent, old]) == (old, [young], [sent])
