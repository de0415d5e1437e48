"""Internal. Which of the contacts that were found a customer is. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from hl_async.bulk.ownership import Listed, claims
from hl_async.bulk.protocol import KnownItem, State, Timing
from hl_async.bulk.stages.customers import (
    Candidate,
    ContactPolicy,
    CustomerFacts,
    draft_of,
    keys_of,
    plain_name,
)
from hl_async.bulk.stages.steps import MADE, StageStep, StepState
from hl_async.models import ContactRecord

PAGE: Final = 500
"""Contacts that one search gives at most: docs/api-facts.md#api-contacts."""


class ContactMatch(NamedTuple):
    """The contacts that a customer's keys lead to: one, several, or none if new."""

    contact: ContactRecord | None = None
    by: tuple[str, ...] = ()
    candidates: tuple[Candidate, ...] = ()


def decide(facts: CustomerFacts, found: Mapping[str, Sequence[ContactRecord]]) -> ContactMatch:
    """Return which contact a customer is.

    Args:
        facts: The customer.
        found: The contacts of each key, by the key's name, the strongest first.
    """
    # An id of the old system in a field of the location was written for exactly this purpose.
    if external := found.get("external"):
        return _one_of({"external": external})
    by_key = {key: contacts for key in ("email", "phone") if (contacts := found.get(key))}
    if by_key:
        return _one_of(by_key)
    # The name decides only where nothing stronger exists.
    named = [one for one in found.get("name", ()) if not _contradicts(one, facts)]
    return _one_of({"name": named}) if named else ContactMatch()


def _one_of(by_key: Mapping[str, Sequence[ContactRecord]]) -> ContactMatch:
    contacts = {one.id: one for entries in by_key.values() for one in entries}
    leads = {
        one: tuple(key for key, entries in by_key.items() if one in {e.id for e in entries})
        for one in contacts
    }
    # A contact that all keys lead to wins over those that share one of them.
    best = [one for one, keys in leads.items() if len(keys) == len(by_key)]
    if len(best) == 1:
        return ContactMatch(contacts[best[0]], leads[best[0]])
    return ContactMatch(
        candidates=tuple(Candidate(one, contacts[one].full_name, leads[one]) for one in best or contacts)
    )


def _contradicts(contact: ContactRecord, facts: CustomerFacts) -> bool:
    """Return whether a contact of this name is a person with another e-mail address."""
    return bool(facts.email and contact.email and contact.email.lower() != facts.email)


def emails_of(contact: ContactRecord) -> set[str]:
    """Return every address of a contact, as it is compared."""
    more = [one.email for one in contact.additional_emails or ()]
    return {address.strip().lower() for address in (contact.email, *more) if address}


def values_of(contact: ContactRecord, key: str, field: str) -> set[str]:
    """Return what a contact has for one kind of key."""
    match key:
        case "email":
            return emails_of(contact)
        case "phone":
            return {contact.phone} if contact.phone else set()
        case "name":
            return {plain_name(name) for name in (contact.full_name, contact.company_name) if name}
    return {str(one.value) for one in contact.custom_fields or () if one.id == field and one.value}


def lookup_requests(customers: Sequence[CustomerFacts], policy: ContactPolicy) -> int:
    """Return how many requests it takes to look customers up one by one."""
    return sum(1 if one.contact_id else len(keys_of(one, policy)) for one in customers)


def listing_requests(contacts: int) -> int:
    """Return how many requests it takes to read all contacts of a location."""
    return max(1, -(-contacts // PAGE))


def asked_at(step: StageStep, timing: Timing, policy: ContactPolicy) -> float:
    """Return when a location tells the outcome of a request without a usable answer.

    A refusal is an answer: nothing is under way any more, and only the search may be behind.
    """
    assert step.sent_at is not None
    if step.reason is not None and step.reason.startswith(REFUSED):
        return step.sent_at + policy.index_delay
    return timing.settled_at(step.sent_at) + policy.index_delay


REFUSED: Final = "refused: "
"""How the words of a refusal begin that may have created the contact all the same: docs/api-facts.md#api-contacts."""


class Copies(NamedTuple):
    """The contacts that carry the mark of a customer.

    ``own`` stands for the customer, ``surplus`` the run provably made as well, and ``foreign`` carry the mark without
    a proof.
    """

    own: ContactRecord | None
    surplus: tuple[ContactRecord, ...]
    foreign: tuple[ContactRecord, ...]


def own_copies(
    step: StageStep, contacts: Sequence[ContactRecord], changes: Mapping[str, str], timing: Timing
) -> Copies:
    """Return which contacts with a customer's mark the run made.

    The rules are those of `hl_async.bulk.ownership`.

    Args:
        step: The customer's step.
        contacts: The contacts with its mark.
        changes: Differences from the written values, by the contact's id.
        timing: The waits of the run.
    """
    is_made = step.state is StepState.DONE and step.how == MADE
    known = KnownItem(
        step.number, step.result if is_made else None, State.CREATED if is_made else State.SENT, step.possible,
        step.first_sent, step.sent_at,
    )  # fmt: skip
    listed = [
        Listed(
            one.id,
            step.key,
            _seconds(one.date_added),
            _seconds(one.date_updated),
            True,
            changes.get(one.id, ""),
        )
        for one in contacts
    ]
    by_id = {one.id: one for one in contacts}
    found = claims(listed, {step.key: known}, timing, unique_keys=True)
    first = next((by_id[one.listed.id] for one in found if one.key and one.is_first), None)
    surplus = tuple(by_id[one.listed.id] for one in found if one.key and not one.is_first)
    foreign = tuple(by_id[one.listed.id] for one in found if one.key is None)
    return Copies(first, surplus, foreign)


def _seconds(moment: object) -> float | None:
    return moment.timestamp() if isinstance(moment, datetime) else None


def written_changes(contact: ContactRecord, step: StageStep) -> str:
    """Return in words how people changed a written contact; empty if they did not."""
    draft = draft_of(step)
    found = []
    for name in draft.__struct_fields__:
        value = getattr(draft, name)
        if name in ("tags", "custom_fields", "extra", "name") or not isinstance(value, str):
            continue
        # The API may change the case of what it stores.
        if str(getattr(contact, name) or "").casefold() != value.casefold():
            found.append(name)
    # The API splits a name into two fields, and joins them with a space of its own.
    if isinstance(draft.name, str) and plain_name(contact.full_name) != plain_name(draft.name):
        found.append("name")
    wrote = {one.id: one.field_value for one in draft.custom_fields or ()} if draft.custom_fields else {}
    if {one.id: one.value for one in contact.custom_fields or () if one.value not in (None, "", [])} != wrote:
        found.append("custom fields")
    # Fields that the run never writes: a value in them comes from people or their workflows.
    more = ("tags", "additional_emails", "assigned_to", "dnd", "date_of_birth", "website")
    found += [name for name in more if getattr(contact, name)]
    return f"people changed its {', '.join(found)}" if found else ""
