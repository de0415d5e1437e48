"""Internal. Reads the standing of a run from its journal."""

from __future__ import annotations

import time
from collections import Counter
from decimal import Decimal
from typing import Any, Final

from hl_async.bulk.journals.protocol import Counts, Journal
from hl_async.bulk.kinds import LaneKinds
from hl_async.bulk.protocol import RunState, State
from hl_async.bulk.reconciliation import SECOND_COPY
from hl_async.bulk.reports import ContactCounts, PaymentCounts, Progress, RunReport, StateCounts
from hl_async.bulk.stages.customers import CONTACTS
from hl_async.bulk.stages.payments import PAYMENTS, facts_of_payment
from hl_async.bulk.stages.states import STATES, facts_of_state
from hl_async.bulk.stages.steps import MADE, StepState
from hl_async.bulk.target import is_answerable
from hl_async.errors import BulkError
from hl_async.operations import Operation

_NOT_TO_CREATE: Final = (State.REJECTED, State.SKIPPED, State.WITHDRAWN, State.DELETED)


async def standing(journal: Journal, operation: Operation[Any], kinds: LaneKinds) -> RunReport:
    """Report the standing of a run. Unswept locations keep it from being done."""
    counts = await journal.counts()
    beside = int((await journal.header()).get("beside", "0"))
    source: dict[str, Decimal] = {}
    for name, sums in counts.totals.items():
        # The sum to create is compared with the sum created, so documents left out must not count.
        if name in _NOT_TO_CREATE:
            continue
        for currency, total in sums.items():
            source[currency] = source.get(currency, Decimal(0)) + total
    state = await journal.run_state()
    sweeps = is_answerable(operation) and state is RunState.RUNNING
    unswept = await journal.unswept() if sweeps else []
    contacts = await count_contacts(journal)
    # A stage may have open work although no document is planned any more.
    open_steps = await journal.steps.unfinished()
    is_done = counts.of(State.PLANNED) == 0 and counts.ambiguous == 0 and not unswept and not open_steps
    return RunReport(
        source=counts.all - beside,
        created=counts.of(State.CREATED),
        rejected=counts.of(State.REJECTED),
        skipped=counts.of(State.SKIPPED),
        unknown=counts.of(State.UNKNOWN),
        planned=counts.of(State.PLANNED),
        ambiguous=counts.ambiguous,
        total_source=source,
        total_created=counts.totals.get(State.CREATED.value, {}),
        seconds=0.0,
        requests=0,
        refused=0,
        state=("done" if is_done else "stopped") if state is RunState.RUNNING else state.value,
        journal=journal.name,
        withdrawn=counts.of(State.WITHDRAWN),
        deleted=counts.of(State.DELETED),
        unswept=len(unswept),
        second_copies=await _second_copies(journal),
        foreign_copies=await journal.foreign_copies(),
        contacts=contacts,
        payments=await count_payments(journal),
        states=await count_states(journal),
        kinds=kinds.count((lane.location, lane.created) for lane in await journal.lanes()),
    )


async def count_contacts(journal: Journal) -> ContactCounts | None:
    """Count a run's customers by outcome. Return None if the source names none."""
    found = await journal.steps.counts(CONTACTS)
    if not found:
        return None
    states: Counter[StepState] = Counter()
    by: Counter[str] = Counter()
    for one in found:
        states[one.state] += one.number
        if one.state is StepState.DONE:
            by[one.how] += one.number
    made = by.pop(MADE, 0)
    return ContactCounts(
        customers=states.total(),
        made=made,
        matched=states[StepState.DONE] - made,
        by=dict(by.most_common()),
        rejected=states[StepState.REJECTED],
        unknown=states[StepState.UNKNOWN] + states[StepState.HELD],
        open=states[StepState.PLANNED] + states[StepState.SENT],
        deleted=states[StepState.DELETED],
    )


async def count_payments(journal: Journal) -> PaymentCounts | None:
    """Count the payments of a run by their outcome. Return None if it has none."""
    found = await journal.steps.counts(PAYMENTS)
    if not found:
        return None
    states: Counter[StepState] = Counter()
    for one in found:
        states[one.state] += one.number
    sums: dict[str, Decimal] = {}
    reasons: Counter[str] = Counter()
    after = -1
    wanted = (StepState.DONE, StepState.REJECTED, StepState.UNKNOWN, StepState.HELD)
    while batch := await journal.steps.rows(PAYMENTS, *wanted, after=after):
        after = batch[-1].number
        for step in batch:
            facts = facts_of_payment(step)
            # Only recorded payments count as money; of the others the report gives the reasons.
            if step.state is StepState.DONE:
                sums[facts.currency] = sums.get(facts.currency, Decimal(0)) + facts.amount
            else:
                reasons[step.reason or ""] += 1
    return PaymentCounts(
        payments=states.total(),
        recorded=states[StepState.DONE],
        sums=sums,
        rejected=states[StepState.REJECTED],
        unknown=states[StepState.UNKNOWN] + states[StepState.HELD],
        open=states[StepState.PLANNED] + states[StepState.SENT],
        withdrawn=states[StepState.WITHDRAWN],
        reasons=dict(reasons.most_common()),
    )


async def count_states(journal: Journal) -> StateCounts | None:
    """Count the states of a run by their outcome. Return None if it sets none."""
    found = await journal.steps.counts(STATES)
    if not found:
        return None
    states: Counter[StepState] = Counter()
    for one in found:
        states[one.state] += one.number
    reached: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    after = -1
    wanted = (StepState.DONE, StepState.REJECTED, StepState.UNKNOWN, StepState.HELD)
    while batch := await journal.steps.rows(STATES, *wanted, after=after):
        after = batch[-1].number
        for step in batch:
            if step.state is StepState.DONE:
                reached[facts_of_state(step).goal] += 1
            else:
                reasons[step.reason or ""] += 1
    return StateCounts(
        states=states.total(),
        reached=dict(reached.most_common()),
        rejected=states[StepState.REJECTED],
        unknown=states[StepState.UNKNOWN] + states[StepState.HELD],
        open=states[StepState.PLANNED] + states[StepState.SENT],
        reasons=dict(reasons.most_common()),
    )


async def _second_copies(journal: Journal) -> list[str]:
    """Return the late copies of created documents that the sweep deleted."""
    found: list[str] = []
    after = 0
    while batch := await journal.deletions(after=after):
        after = batch[-1].id
        found += [
            one.document for one in batch if one.outcome == "deleted" and one.reason.startswith(SECOND_COPY)
        ]
    return found


async def check_running(journal: Journal) -> None:
    """Refuse to work on a run that was taken back.

    Raises:
        BulkError: The run was rolled back, or is being rolled back.
    """
    state = await journal.run_state()
    if state is RunState.ROLLING_BACK:
        raise BulkError(
            f"{journal.name} is being rolled back and cannot be resumed; "
            f"continue with: hl-async rollback {journal.name}"
        )
    if state is RunState.ROLLED_BACK:
        raise BulkError(
            f"{journal.name} was rolled back and cannot be resumed; "
            "migrate its source again to begin a new run"
        )


async def progress_since(
    journal: Journal, of: int, began: float, first: int, until: float | None
) -> Progress:
    """Return the progress of a run.

    Args:
        journal: The journal of the run.
        of: The number of all items.
        began: The monotonic time at which this process began.
        first: The items that were done at that time.
        until: Epoch time in seconds at which the present wait ends, or None.
    """
    counts = await journal.counts(totals=False)
    done = of - counts.of(State.PLANNED) - counts.ambiguous
    elapsed = time.monotonic() - began
    # Items of earlier processes do not count, or a resumed run would promise too much.
    rate = (done - first) / elapsed if elapsed > 0 else 0.0
    return Progress(
        done,
        of,
        counts.of(State.CREATED),
        counts.of(State.REJECTED),
        counts.ambiguous,
        rate,
        (of - done) / rate if rate > 0 else None,
        "" if until is None else _waited_for(counts),
        until,
    )


def _waited_for(counts: Counts) -> str:
    """Return what a run waits for while no location has work; see `Progress`."""
    if counts.ambiguous:
        return "settling"
    # documents that are planned wait for their customers
    return "contacts" if counts.of(State.PLANNED) else "sweeping"
