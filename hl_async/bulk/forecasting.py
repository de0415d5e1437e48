"""Internal. Forecasts the rest of a run from its journal."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from hl_async.bulk.journals.protocol import Journal
from hl_async.bulk.kinds import LaneKinds, location_of
from hl_async.bulk.protocol import State
from hl_async.bulk.reports import ContactForecast, Forecast, PaymentForecast
from hl_async.bulk.stages.customers import CONTACTS, ContactPolicy, facts_of_customer
from hl_async.bulk.stages.matching import lookup_requests
from hl_async.bulk.stages.payments import PAYMENTS, facts_of_payment
from hl_async.bulk.stages.states import STATES
from hl_async.bulk.stages.steps import StepState

_DAILY_SHARE: Final = 190_000
"""Requests per day for bulk. A location has 200,000; the rest is the reserve for other callers."""


_OPEN: Final = (StepState.PLANNED, StepState.SENT)


async def forecast_run(journal: Journal, policy: ContactPolicy, kinds: LaneKinds, *, rate: float) -> Forecast:
    """Forecast the rest of a run; ``rate`` in requests per second and location."""
    counts = await journal.counts()
    planned = counts.of(State.PLANNED)
    lanes = await journal.lanes()
    # A run without items has no location, and must not divide by zero.
    locations = max(1, len({location_of(lane.location) for lane in lanes}))
    contacts = await _contacts(journal, policy)
    payments = await _payments(journal)
    states = sum(one.number for one in await journal.steps.counts(STATES) if one.state in _OPEN)
    # A state takes a request, and a read before and after it.
    stages = contacts.requests + payments.requests + 3 * states
    requests = planned + planned // 100 + max(1, len(lanes)) + stages
    each = requests / locations
    totals: dict[str, Decimal] = {}
    for state in (State.PLANNED, State.SENT):
        for currency, total in counts.totals.get(state.value, {}).items():
            totals[currency] = totals.get(currency, Decimal(0)) + total
    return Forecast(
        planned,
        counts.of(State.REJECTED),
        counts.of(State.SKIPPED),
        requests,
        each / rate,
        each / _DAILY_SHARE,
        locations,
        totals,
        contacts,
        payments,
        kinds.count((lane.location, lane.planned) for lane in lanes),
    )


async def _contacts(journal: Journal, policy: ContactPolicy) -> ContactForecast:
    """Count the open customers, and their requests at most."""
    given = searched = requests = 0
    after = -1
    while batch := await journal.steps.rows(CONTACTS, StepState.PLANNED, StepState.SENT, after=after):
        after = batch[-1].number
        customers = [facts_of_customer(step) for step in batch]
        given += sum(bool(one.contact_id) for one in customers)
        searched += sum(not one.contact_id for one in customers)
        requests += lookup_requests(customers, policy)
    # A customer that is not found takes one more request, which creates the contact.
    return ContactForecast(given + searched, given, searched, requests + searched)


async def _payments(journal: Journal) -> PaymentForecast:
    """Count the open payments. Each takes a request, and a read before and after it."""
    number, after = 0, -1
    sums: dict[str, Decimal] = {}
    while batch := await journal.steps.rows(PAYMENTS, StepState.PLANNED, StepState.SENT, after=after):
        after = batch[-1].number
        number += len(batch)
        for facts in map(facts_of_payment, batch):
            sums[facts.currency] = sums.get(facts.currency, Decimal(0)) + facts.amount
    return PaymentForecast(number, sums, 3 * number)
