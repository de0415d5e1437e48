"""Internal. Forecast of a run's customers: the contacts stage's look-ups alone."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec

from hl_async.bulk.journals.protocol import Journal
from hl_async.bulk.stages.contact_book import ContactBook
from hl_async.bulk.stages.contact_lookup import ContactLookup
from hl_async.bulk.stages.contacts_file import CustomerRow, write_contacts
from hl_async.bulk.stages.customers import (
    CONTACTS,
    ContactPolicy,
    CustomerBook,
    CustomerFacts,
    check_names,
    facts_of_customer,
)
from hl_async.bulk.stages.matching import ContactMatch
from hl_async.bulk.stages.steps import StageStep, StepState
from hl_async.errors import ScopeMissing


class ContactCheck(msgspec.Struct, frozen=True):
    """The locations' answers about a source's customers, before anything is created.

    ``by`` counts the ``matched`` customers by the key that found them. ``new`` ones would be created. The documents
    of ``ambiguous`` customers, of ``wrong`` contact ids and of customers ``without_key`` would be rejected. ``file``
    is the contacts file.
    """

    customers: int
    matched: int
    by: dict[str, int]
    new: int
    ambiguous: int
    wrong: int
    without_key: int
    requests: int = 0
    file: str = ""


async def check_customers(
    journal: Journal,
    customers: CustomerBook | None,
    policy: ContactPolicy,
    books: Callable[[str], ContactBook],
) -> list[CustomerRow]:
    """Look every planned customer up and return one row for each. Only reads.

    Args:
        journal: The journal of a run that was planned.
        customers: The customers of its source, for those without a key.
        policy: How customers become contacts.
        books: Gives the contacts of a location.
    """
    rows: list[CustomerRow] = []
    steps: dict[str, list[StageStep]] = {}
    after = -1
    while batch := await journal.steps.rows(CONTACTS, StepState.PLANNED, after=after):
        after = batch[-1].number
        for step in batch:
            steps.setdefault(step.location, []).append(step)
    # By location, so that a location's contacts are listed once for all its customers.
    for location, planned in steps.items():
        rows += await _check_location(planned, policy, books(location))
    # Customers without a key have no step, and a person has to see them all the same.
    if customers is not None:
        rows += [
            _row(location, key, facts, "without a key")
            for (location, key), facts in customers.keyless.items()
        ]
    return rows


async def _check_location(
    steps: list[StageStep], policy: ContactPolicy, book: ContactBook
) -> list[CustomerRow]:
    lookup = ContactLookup(book, policy)
    facts = [facts_of_customer(step) for step in steps]
    await lookup.prepare(facts)
    return [await _check(step, one, policy, lookup) for step, one in zip(steps, facts, strict=True)]


async def _check(
    step: StageStep, facts: CustomerFacts, policy: ContactPolicy, lookup: ContactLookup
) -> CustomerRow:
    if facts.contact_id:
        return _row(
            step.location, step.key, facts, await _state_of_given(facts, policy, lookup), facts.contact_id
        )
    match = await lookup.match(facts)
    if match.candidates:
        return _row(step.location, step.key, facts, "ambiguous", match=match)
    if match.contact is None:
        return _row(step.location, step.key, facts, "new")
    return _row(step.location, step.key, facts, "matched", match.contact.id, match)


async def _state_of_given(facts: CustomerFacts, policy: ContactPolicy, lookup: ContactLookup) -> str:
    if check_names(facts, policy):
        return "several names"
    try:
        known = await lookup.knows(facts.contact_id)
    # The run would take such an id unchecked, so the check says the same.
    except ScopeMissing:
        known = None
    if not known:
        return "unchecked" if known is None else "wrong id"
    return "fallback" if facts.is_fallback else "matched"


def _row(
    location: str,
    key: str,
    facts: CustomerFacts,
    status: str,
    contact_id: str = "",
    match: ContactMatch | None = None,
) -> CustomerRow:
    by = match.by if match is not None else ("contact id",) if status == "matched" else ()
    return CustomerRow(
        location, key, facts.name, facts.company, facts.email, facts.phone, facts.documents, status, contact_id, by,
        match.candidates if match is not None else (),
    )  # fmt: skip


async def check_into(
    file: Path,
    journal: Journal,
    customers: CustomerBook | None,
    policy: ContactPolicy,
    books: Callable[[str], ContactBook],
) -> ContactCheck:
    """Look every planned customer up, write the contacts file and return the counts."""
    rows = await check_customers(journal, customers, policy, books)
    await asyncio.to_thread(write_contacts, file, rows)
    return summed_up(rows, str(file))


def summed_up(rows: list[CustomerRow], file: str = "") -> ContactCheck:
    """Count the rows of a check."""
    states = Counter(row.status for row in rows)
    by = Counter("+".join(row.found_by) for row in rows if row.status == "matched")
    by.update({name: states[name] for name in ("fallback", "unchecked") if states[name]})
    return ContactCheck(
        customers=len(rows),
        matched=states["matched"] + states["fallback"] + states["unchecked"],
        by=dict(by.most_common()),
        new=states["new"],
        ambiguous=states["ambiguous"],
        wrong=states["wrong id"] + states["several names"],
        without_key=states["without a key"],
        file=file,
    )
