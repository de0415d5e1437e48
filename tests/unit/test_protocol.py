"""The exactly-once protocol, checked exhaustively: every crash point and every late commit (of one item)."""

from __future__ import annotations

import itertools
import os
import random
from collections import Counter
from collections.abc import Callable, Container, Iterator, Sequence
from functools import cache

import pytest

from hl_async.bulk.ownership import Ownership, own_copies
from hl_async.bulk.protocol import (
    AMBIGUOUS_AT_ONCE,
    AttemptOutcome,
    Copy,
    KnownItem,
    LaneFacts,
    Step,
    Timing,
    judge,
    make_key,
    next_step,
)
from hl_async.errors import (
    ApiError,
    AttemptTimeout,
    AuthError,
    BadRequest,
    ClientClosed,
    Conflict,
    ConnectFailed,
    DeadlineExceeded,
    DecodeError,
    Forbidden,
    GatewayTimeout,
    HighLevelError,
    InvalidRequest,
    LocationInactive,
    NotFound,
    OutcomeUnknown,
    QuotaExhausted,
    RateLimited,
    ScopeMissing,
    ServerError,
    ValidationFailed,
    WireError,
    WireKind,
)
from unit.protocol_world import CRASHES, HOURS, LISTS, PEOPLE, SERVER, TIMING, Script, Variant, World

WHOLE = bool(os.environ.get("HL_EXPLORE_ALL"))
"""Explore every script; otherwise every seventh in long runs and every 31st in short ones."""

strides = pytest.mark.parametrize("stride", [31, pytest.param(1 if WHOLE else 7, marks=pytest.mark.long)])
"""A stride shares no factor with the number of choices of any part of a script, so that each choice is met."""


def crash_scripts(most: int) -> list[tuple[tuple[str, int], ...]]:
    """Every choice of up to ``most`` different crash points, at their first or second time."""
    places = list(itertools.product(CRASHES, (1, 2)))
    found: list[tuple[tuple[str, int], ...]] = [()]
    for number in range(1, most + 1):
        for chosen in itertools.combinations(places, number):
            if len({place for place, _ in chosen}) == number:
                found.append(chosen)
    return found


def plain() -> Iterator[Script]:
    """Every script of up to three sends and two crashes, with a list that shows everything at once."""
    for outcomes in itertools.product(SERVER, repeat=3):
        for crashes in crash_scripts(2):
            yield Script(outcomes, crashes)


def wild() -> Iterator[Script]:
    """Up to two sends and one crash, with every kind of list, what people do, and lost writes of the journal.

    A document that the list shows after the sweep is later than the guarantee: a list that lags goes with commits
    that are less late.
    """
    too_late = {"lags": {"commits very late"}, "lags longer": {"commits late", "commits very late"}}
    crash_choices: list[tuple[tuple[str, int], ...]] = [(), *(((place, 1),) for place in CRASHES)]
    for outcomes, crashes, lists, people in itertools.product(
        itertools.product(SERVER, repeat=2), crash_choices, LISTS, PEOPLE
    ):
        if too_late.get(lists, set()) & set(outcomes):
            continue
        down = HOURS + 3600.0 if people == "copy the item hours later" else 0.5
        for loses_writes in (False, True) if crashes else (False,):
            yield Script(outcomes, crashes, lists, people, loses_writes, down)


def poisonous() -> Iterator[Script]:
    """An item that the server fails with, and up to two crashes."""
    for crashes, lists in itertools.product(crash_scripts(2), ("true", "lags", "reordered", "mixed")):
        yield Script((), crashes, lists, poison=True)


@strides
@pytest.mark.untraced
def test_no_execution_of_the_protocol_loses_or_doubles(stride: int) -> None:
    found = Counter(World(Variant(), script).run() for script in itertools.islice(plain(), 0, None, stride))
    print(f"{sum(found.values())} executions: {dict(found)}")
    assert set(found) == {"right"}
    assert found["right"] > 25_000 // stride


@strides
@pytest.mark.untraced
def test_no_list_no_person_and_no_lost_write_makes_an_execution_bad(stride: int) -> None:
    found: Counter[tuple[str, str]] = Counter()
    for script in itertools.islice(wild(), 0, None, stride):
        found[World(Variant(), script).run(), script.lists] += 1
    print(f"{sum(found.values())} executions: {dict(found)}")
    endings = Counter[str]()
    for (ending, lists), number in found.items():
        endings[ending] += number
        assert ending != "stopped" or lists in ("keyless", "neighbours"), "those never prove anything"
    assert set(endings) == {"right", "stopped", "reported", "taken for ours"}
    assert endings["right"] > 10_000 // stride


@pytest.mark.untraced
def test_an_item_that_the_server_fails_with_is_held_and_never_sent_for_ever() -> None:
    found = Counter(World(Variant(), script).run() for script in itertools.islice(poisonous(), 0, None, 7))
    assert set(found) == {"held"}
    assert {World(Variant(held=False), script).run() for script in itertools.islice(poisonous(), 9)} == {
        "endless"
    }


@cache
def shuffled(scripts: Callable[[], Iterator[Script]]) -> list[Script]:
    """The same scripts in a fixed order without an order: in theirs, some part is not met for 25,000 scripts."""
    found = list(scripts())
    random.Random(1).shuffle(found)
    return found


def own(**left_out: bool) -> Variant:
    """The protocol with parts of the proof of ownership left out."""

    def decide(
        item: KnownItem, copies: Sequence[Copy], recorded: Container[str], timing: Timing
    ) -> Ownership:
        if left_out.get("count"):
            item = item._replace(possible=99)
        if left_out.get("content"):
            copies = [copy._replace(content="") for copy in copies]
        if left_out.get("known"):
            recorded = ()
        if left_out.get("time"):
            item = item._replace(first_sent=-1e9, last_sent=1e9)
        return own_copies(item, copies, recorded, timing)

    return Variant(own=decide)


WITHOUT_TIME = own(time=True).own


def _concerns(variant: Variant, script: Script) -> bool:
    """Whether a script has what a part is for; only where looking at all of them takes long."""
    if not variant.pages:
        return script.outcomes[0] == "a gateway's page"
    if not variant.pauses:
        return script.lists in ("lags", "lags longer", "empty once")
    return variant.own is not WITHOUT_TIME or script.people == "copy the item hours later"


@pytest.mark.parametrize(
    ("variant", "ending"),
    [
        (Variant(intent=False, reconcile=False, sweep=0.0), "duplicate"),
        (Variant(reconcile=False, sweep=0.0), "duplicate"),
        (Variant(settle=False, sweep=0.0), "duplicate"),
        (Variant(sweep=0.0), "duplicate"),
        (Variant(sweep=1.0), "duplicate"),
        (Variant(controls=False), "duplicate"),
        (Variant(look=False), "duplicate"),
        (own(count=True), "deleted"),
        (own(content=True), "deleted"),
        (Variant(own=WITHOUT_TIME), "deleted"),
        (Variant(pauses=False), "stopped"),
        (Variant(page=1), "sent again"),
        (own(known=True), "deleted"),
        (Variant(known=False), "lost"),
        (Variant(pages=False), "duplicate"),
    ],
    ids=[
        "a done-log",
        "no look before sending again",
        "no settling",
        "no sweep",
        "a sweep that comes too early",
        "no controls in a listing",
        "no look before a resumed run sends",
        "no bound on the copies that are deleted",
        "no comparison of what is deleted",
        "no bound on the time of what is deleted",
        "no growing pauses for a list that lags",
        "an end of the list after one older document",
        "documents of other items deleted",
        "documents of other items adopted",
        "a gateway's page believed",
    ],
)
@pytest.mark.untraced
def test_each_part_is_needed_and_the_explorer_finds_what_it_is_for(variant: Variant, ending: str) -> None:
    scripts = plain if variant.sweep != 2.0 or not (variant.reconcile and variant.pages) else wild
    bad = (
        one for one in shuffled(scripts) if _concerns(variant, one) and World(variant, one).run() == ending
    )
    script = next(bad, None)
    assert script is not None
    assert World(Variant(), script).run() != ending, "the whole protocol carries the same script out well"


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
        (
            ValidationFailed("500", status=500, messages=["no"], body='{"message":"no"}'),
            AttemptOutcome.REJECTED,
        ),
        (LocationInactive("401", status=401), AttemptOutcome.STOP),
        (DeadlineExceeded("late", reason=REASON), AttemptOutcome.AMBIGUOUS),
        (DeadlineExceeded("late"), AttemptOutcome.NOT_EXECUTED),
        (RateLimited("429", status=429), AttemptOutcome.NOT_EXECUTED),
        (ConnectFailed("no", kind=WireKind.CONNECT, sent=False), AttemptOutcome.NOT_EXECUTED),
        (BadRequest("400", status=400, messages=["no"], body='{"message":"no"}'), AttemptOutcome.REJECTED),
        (
            ValidationFailed("422", status=422, messages=["no"], body=' {"message":["no"]}'),
            AttemptOutcome.REJECTED,
        ),
        (NotFound("404", status=404, messages=["no"], body='{"message":"no"}'), AttemptOutcome.REJECTED),
        (NotFound("404", status=404, messages=["HTML page"], body="<html>"), AttemptOutcome.AMBIGUOUS),
        (BadRequest("400", status=400, messages=["HTML page"], body="<html>"), AttemptOutcome.AMBIGUOUS),
        (Conflict("409", status=409, body="{}"), AttemptOutcome.AMBIGUOUS),
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


def test_a_404_about_the_route_of_a_creation_says_nothing_about_its_document() -> None:
    error = NotFound("404", status=404, messages=["Cannot POST"], body='{"message":"Cannot POST"}')
    assert judge(error, addressed=False) is AttemptOutcome.STOP
    about = NotFound("400", status=400, messages=["no contact"], body='{"message":"no contact"}')
    assert judge(about, addressed=False) is AttemptOutcome.REJECTED


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
    resumed = facts(planned=1, proven=False, resumed=True)
    assert next_step(resumed, 0, TIMING).step is Step.LOOK
    assert next_step(resumed, 0, TIMING, answerable=False).step is Step.SEND
    assert next_step(facts(resumed=True), 0, TIMING).step is Step.DONE


def test_a_process_that_slept_too_long_must_not_send() -> None:
    assert TIMING.may_send(10.0, 12.0)
    assert not TIMING.may_send(10.0, 16.0)
    assert not TIMING.may_send(10.0, 9.0)
