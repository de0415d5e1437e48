"""Internal. Comparison of a run's stages with the locations. Only reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from hl_async.bulk.journals.protocol import Journal
from hl_async.bulk.stages.contact_book import ContactBook, LocationContacts
from hl_async.bulk.stages.contact_lookup import ContactLookup
from hl_async.bulk.stages.contacts import GIVEN, UNCHECKED
from hl_async.bulk.stages.customers import (
    CONTACTS,
    ContactPolicy,
    CustomerFacts,
    draft_of,
    facts_of_customer,
)
from hl_async.bulk.stages.payment_book import LocationPayments
from hl_async.bulk.stages.payment_check import with_payments
from hl_async.bulk.stages.steps import StageStep, StepState
from hl_async.bulk.verification import Difference, Verification

if TYPE_CHECKING:
    from hl_async.client import HighLevel


async def with_stages(
    found: Verification,
    journal: Journal,
    policy: ContactPolicy,
    hl: HighLevel,
    on_finding: Callable[[Difference], None],
) -> Verification:
    """Add payments and contacts that are not as the run left them to a verification."""
    found = await with_payments(found, journal, lambda one: LocationPayments(hl.location(one)), on_finding)
    return await with_contacts(
        found, journal, policy, lambda one: LocationContacts(hl.location(one)), on_finding
    )


async def with_contacts(
    found: Verification,
    journal: Journal,
    policy: ContactPolicy,
    books: Callable[[str], ContactBook],
    on_finding: Callable[[Difference], None],
) -> Verification:
    """Add contacts that are gone, or there twice, to a verification.

    Contacts that the run created or found are looked at; ids that the source gave are the source's.
    """
    by_location: dict[str, list[StageStep]] = {}
    after = -1
    while batch := await journal.steps.rows(CONTACTS, StepState.DONE, after=after):
        after = batch[-1].number
        for step in batch:
            if step.how not in (GIVEN, UNCHECKED):
                by_location.setdefault(step.location, []).append(step)
    findings: list[Difference] = []
    for location, steps in by_location.items():
        findings += await _compare(steps, policy, books(location))
    for finding in findings:
        on_finding(finding)
    return msgspec.structs.replace(
        found,
        differences=[*found.differences, *findings],
        contacts=sum(len(steps) for steps in by_location.values()),
    )


async def _compare(steps: list[StageStep], policy: ContactPolicy, book: ContactBook) -> list[Difference]:
    lookup = ContactLookup(book, policy)
    await lookup.prepare([CustomerFacts(contact_id=step.result) for step in steps])
    findings = []
    for step in steps:
        facts = facts_of_customer(step)
        if not await lookup.knows(step.result):
            detail = f"contact of {facts.who} is gone"
            findings.append(Difference("contact", step.key, step.result, detail, step.location))
        if step.possible > 1:  # a late request may have made another one
            marked = await lookup.marked(facts, str(draft_of(step).source))
            findings += [
                Difference("contact", step.key, one.id, f"second contact of {facts.who}", step.location)
                for one in marked
                if one.id != step.result
            ]
    return findings
