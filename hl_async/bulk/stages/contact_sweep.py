"""Internal. Unneeded contacts of a run: found by mark, deleted with a proof."""

from __future__ import annotations

import asyncio

from hl_async.bulk.journals.protocol import LaneJournal
from hl_async.bulk.protocol import Timing
from hl_async.bulk.stages.contact_book import ContactBook
from hl_async.bulk.stages.contact_lookup import ContactLookup
from hl_async.bulk.stages.customers import (
    CONTACTS,
    DELETION,
    ContactPolicy,
    CustomerFacts,
    draft_of,
    facts_of_customer,
)
from hl_async.bulk.stages.matching import own_copies, written_changes
from hl_async.bulk.stages.running import SliceEnd
from hl_async.bulk.stages.steps import MADE, StageStep, StepState
from hl_async.errors import HighLevelError, JournalError
from hl_async.models import ContactRecord


class ContactSweep:
    """The last look for second contacts of late requests, after the documents."""

    def __init__(
        self, book: ContactBook, policy: ContactPolicy, timing: Timing, *, stop: asyncio.Event
    ) -> None:
        self._book = book
        self._policy = policy
        self._timing = timing
        self._stop = stop
        self.kept: list[str] = []
        """Contacts with a mark of the run that were kept, because nothing proves that the run made them."""

    async def work(self, lane: LaneJournal, until: float) -> SliceEnd:
        """Sweep once it is time, and delete second copies that the run provably made."""
        steps = lane.steps(CONTACTS)
        facts = await steps.facts()
        # No request went without an answer, so there can be no second contact.
        if facts.ambiguous_at is None:
            return SliceEnd(True)
        due = self._timing.sweep_at(facts.ambiguous_at) + self._policy.index_delay
        if facts.swept_at is not None and facts.swept_at >= due:
            return SliceEnd(True)
        # The time before the look-ups: a contact that appears during them is not covered.
        began = lane.now()
        if began < due:
            return SliceEnd(False, due)
        lookup = ContactLookup(self._book, self._policy)
        for step in await steps.suspects():
            if self._stop.is_set() or not lane.lasts(self._timing.guard):
                return SliceEnd(False)
            await self._remove_copies(lane, step, await lookup.marked(*_sought(step)))
        await steps.swept(began)
        return SliceEnd(True)

    async def _remove_copies(self, lane: LaneJournal, step: StageStep, found: list[ContactRecord]) -> None:
        others = [one for one in found if one.id != step.result or step.state is not StepState.DONE]
        if not others:
            return
        copies = own_copies(step, found, {one.id: written_changes(one, step) for one in found}, self._timing)
        surplus = list(copies.surplus)
        if step.state is not StepState.DONE or step.how != MADE:
            # the customer has another contact, or none: what the run made is not needed
            surplus += [copies.own] if copies.own is not None else []
        for contact in surplus:
            # People work with it already, so a person decides.
            if changes := written_changes(contact, step):
                self.kept.append(f"{contact.id} ({changes})")
                continue
            await delete_contact(lane, self._book, step, contact.id, "second contact of a customer")
        self.kept += [one.id for one in copies.foreign]


async def delete_contact(
    lane: LaneJournal, book: ContactBook, step: StageStep, contact_id: str, reason: str
) -> str:
    """Delete a contact of the run. Return ``gone`` if the API says so, or a problem.

    The deletion is written down before its request. An answer to it is not the proof: only the API's word that it has
    no such contact is.
    """
    deletion = await lane.delete_intended(contact_id, DELETION + step.key, reason)
    outcome = "gone"
    try:
        await book.delete(contact_id)
        # The answer to a deletion proves less than the contact's absence.
        if await book.get(contact_id) is not None:
            outcome = "is still there after it was deleted"
    except JournalError:
        raise
    except HighLevelError as error:
        outcome = str(error)
    await lane.delete_ended(deletion, outcome)
    return outcome


def _sought(step: StageStep) -> tuple[CustomerFacts, str]:
    return facts_of_customer(step), str(draft_of(step).source)
