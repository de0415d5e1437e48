"""Internal. Traces that a rollback leaves: payments on older invoices, and tags."""

from __future__ import annotations

from hl_async.bulk.journals.protocol import Journal
from hl_async.bulk.kinds import location_of
from hl_async.bulk.reports import Kept
from hl_async.bulk.stages.customers import CONTACTS
from hl_async.bulk.stages.payments import PAYMENTS, facts_of_payment
from hl_async.bulk.stages.states import STATES, facts_of_state
from hl_async.bulk.stages.steps import MADE, StageStep, StepState


async def left_by_steps(journal: Journal) -> list[Kept]:
    """Return the payments and tags of a run that stay in their locations.

    Payments on invoices of the run itself are named with these invoices, which are no longer drafts.
    """
    found: list[Kept] = []
    for step in await _done(journal, PAYMENTS):
        facts = facts_of_payment(step)
        if facts.earlier is not None:
            detail = f"a payment of {facts.amount} {facts.currency} stays recorded: the API removes none"
            found.append(Kept("payment", facts.source_id, step.result, location_of(step.location), detail))
    deleted = {step.result for step in await _steps(journal, CONTACTS, StepState.DELETED)}
    for step in await _done(journal, STATES):
        state = facts_of_state(step)
        if state.goal == "tag" and step.how == MADE and step.result not in deleted:
            detail = f"the tag {state.tag!r} stays on the contact"
            found.append(Kept("tag", state.source_id, step.result, location_of(step.location), detail))
    return found


async def _done(journal: Journal, stage: str) -> list[StageStep]:
    return await _steps(journal, stage, StepState.DONE)


async def _steps(journal: Journal, stage: str, state: StepState) -> list[StageStep]:
    found: list[StageStep] = []
    while batch := await journal.steps.rows(stage, state, after=found[-1].number if found else -1):
        found += batch
    return found
