"""Internal. The stages of a run in one location, around its documents."""

from __future__ import annotations

import asyncio
from typing import Final, NamedTuple, Protocol

import msgspec

from hl_async.bulk.journals.protocol import Journal, LaneJournal
from hl_async.bulk.kinds import kind_in, location_of
from hl_async.bulk.protocol import Timing
from hl_async.bulk.stages.contact_book import ContactBook
from hl_async.bulk.stages.contact_sweep import ContactSweep
from hl_async.bulk.stages.contacts import ContactStage
from hl_async.bulk.stages.customers import (
    CONTACTS,
    ContactPolicy,
    Corrections,
    corrected,
    facts_of_customer,
    planned_step,
)
from hl_async.bulk.stages.payment_book import PaymentBook
from hl_async.bulk.stages.payment_stage import PaymentStage
from hl_async.bulk.stages.payments import PaymentPolicy
from hl_async.bulk.stages.running import LaneStage, SliceEnd
from hl_async.bulk.stages.state_book import StateBook
from hl_async.bulk.stages.state_stage import StateStage
from hl_async.bulk.stages.states import StatePolicy
from hl_async.bulk.stages.steps import StepState

POLICY_FACT: Final = "contacts"
"""The fact of the journal that holds how customers become contacts."""

PAYMENT_FACT: Final = "payments"
"""The fact of the journal with the rules for payments."""

STATE_FACT: Final = "states"
"""The fact of the journal with the rules for states."""


_OPEN: Final = (StepState.PLANNED, StepState.SENT)
_LOOK_AGAIN: Final = 0.5
"""Seconds until a lane looks again whether its customers are resolved."""


class _Books(Protocol):
    """The part of a target that the stages use."""

    @property
    def contacts(self) -> ContactBook | None: ...

    @property
    def payments(self) -> PaymentBook | None: ...

    @property
    def states(self) -> StateBook | None: ...


class Stages(NamedTuple):
    """The stages before a location's first document, and those after the last one."""

    before: tuple[LaneStage, ...] = ()
    after: tuple[LaneStage, ...] = ()


def policy_of(header: dict[str, str]) -> ContactPolicy:
    """Return how the customers of a run become contacts."""
    return msgspec.json.decode(header.get(POLICY_FACT, "{}"), type=ContactPolicy)


def encode_policy(policy: ContactPolicy | PaymentPolicy | StatePolicy) -> str:
    """Return a policy as the journal keeps it."""
    return msgspec.json.encode(policy).decode()


def payment_policy_of(header: dict[str, str]) -> PaymentPolicy:
    """Return the rules for the payments of a run."""
    return msgspec.json.decode(header.get(PAYMENT_FACT, "{}"), type=PaymentPolicy)


def state_policy_of(header: dict[str, str]) -> StatePolicy:
    """Return the rules for the states of a run."""
    return msgspec.json.decode(header.get(STATE_FACT, "{}"), type=StatePolicy)


async def correct_steps(journal: Journal, run: str, policy: ContactPolicy, corrections: Corrections) -> None:
    """Apply a person's corrections to planned customers that never had a request."""
    after = -1
    while batch := await journal.steps.rows(CONTACTS, StepState.PLANNED, after=after):
        after = batch[-1].number
        steps = []
        for step in batch:
            facts = facts_of_customer(step)
            # The fallback is one contact for all of them, chosen by the options and not by the file.
            if facts.is_fallback and policy.fallback:
                facts.contact_id = policy.fallback
            elif (correction := corrections.get((step.location, step.key))) is not None:
                facts = corrected(facts, correction)
            else:
                continue
            steps.append(planned_step(run, step.location, step.key, facts, policy))
        await journal.steps.plan(steps)


class CustomersElsewhere:
    """The wait for a location's customers, whose contacts another lane resolves."""

    def __init__(self, journal: Journal, location: str) -> None:
        self._journal = journal
        self._location = location

    async def work(self, lane: LaneJournal, until: float) -> SliceEnd:
        """Return done as soon as no customer of the location is open."""
        counts = await self._journal.steps.counts(CONTACTS)
        is_open = any(one.location == self._location and one.state in _OPEN for one in counts)
        return SliceEnd(False, lane.now() + _LOOK_AGAIN) if is_open else SliceEnd(True)


def stages_of(
    target: _Books,
    journal: Journal,
    policies: tuple[ContactPolicy, PaymentPolicy],
    timing: Timing,
    *,
    lane: str = "",
    workers: int,
    stop: asyncio.Event,
) -> Stages:
    """Return the stages of a lane whose contacts and payments can be reached."""
    before: tuple[LaneStage, ...] = ()
    after: tuple[LaneStage, ...] = ()
    contacts, payments = target.contacts, target.payments
    for_contacts, for_payments = policies
    if payments is not None:
        # Before the sweep of contacts, which may wait for minutes.
        after += (PaymentStage(payments, journal, for_payments, timing, workers=workers, stop=stop),)
    if target.states is not None:
        # After the payments, because the API voids no draft and may refuse payments of a void invoice.
        after += (StateStage(target.states, journal, timing, workers=workers, stop=stop),)
    if kind_in(lane):
        before += (CustomersElsewhere(journal, location_of(lane)),)
    elif contacts is not None:
        before += (ContactStage(contacts, journal, for_contacts, timing, workers=workers, stop=stop),)
        after += (ContactSweep(contacts, for_contacts, timing, stop=stop),)
    return Stages(before, after)
