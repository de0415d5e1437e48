"""Internal. What the rest of a run takes, from what its journal says."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from hl_async.bulk.journals.protocol import Journal
from hl_async.bulk.protocol import State
from hl_async.bulk.reports import ContactForecast, Forecast
from hl_async.bulk.stages.customers import CONTACTS, ContactPolicy, facts_of_customer
from hl_async.bulk.stages.matching import lookup_requests
from hl_async.bulk.stages.steps import StepState

_DAILY_SHARE: Final = 190_000
"""Requests a day that bulk may use of a location's 200,000, the reserve left alone."""


async def forecast_run(journal: Journal, policy: ContactPolicy, *, rate: float) -> Forecast:
    """Forecast the rest of a run; ``rate`` in requests per second and location."""
    counts = await journal.counts()
    planned = counts.of(State.PLANNED)
    locations = max(1, len(await journal.locations()))
    contacts = await _contacts(journal, policy)
    requests = planned + planned // 100 + locations + contacts.requests
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
    )


async def _contacts(journal: Journal, policy: ContactPolicy) -> ContactForecast:
    """Count the customers that are still open, and the requests that they take at most."""
    given = searched = requests = 0
    after = -1
    while batch := await journal.steps.rows(CONTACTS, StepState.PLANNED, StepState.SENT, after=after):
        after = batch[-1].number
        customers = [facts_of_customer(step) for step in batch]
        given += sum(bool(one.contact_id) for one in customers)
        searched += sum(not one.contact_id for one in customers)
        requests += lookup_requests(customers, policy)
    return ContactForecast(given + searched, given, searched, requests + searched)
