"""Internal. Take back the contacts of a run in one location, after its documents.

A contact is deleted only if all of this holds:

- the run created it: the journal recorded it, or it carries the mark of a customer whose request may have made it;
- it is as it was written: no person changed it since;
- no document that stays uses it, the run's or another one.

A deletion is written down before its request, and only the API's word that it has no such contact proves it.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import msgspec

from hl_async.bulk.journals.protocol import Journal, LaneJournal
from hl_async.bulk.location_reversal import LocationEnd
from hl_async.bulk.protocol import Timing
from hl_async.bulk.reports import Kept
from hl_async.bulk.stages.contact_book import ContactBook, LocationContacts
from hl_async.bulk.stages.contact_lookup import ContactLookup
from hl_async.bulk.stages.contact_sweep import delete_contact
from hl_async.bulk.stages.customers import CONTACTS, ContactPolicy, draft_of, facts_of_customer
from hl_async.bulk.stages.matching import own_copies, written_changes
from hl_async.bulk.stages.states import tags_of
from hl_async.bulk.stages.steps import MADE, StageStep, StepState
from hl_async.config import Lane
from hl_async.errors import HighLevelError, JournalError, LaneLost, ScopeMissing
from hl_async.models import ContactRecord

if TYPE_CHECKING:
    from hl_async.client import HighLevel


class _Use(NamedTuple):
    """The contacts that documents use; ``problem`` says why they are unknown."""

    contacts: frozenset[str]
    problem: str = ""


class ContactReversal:
    """The rollback of one location's contacts.

    Args:
        journal: The run's journal.
        book: The contacts of the location.
        users: Yields the contact id of every document that the location has.
        policy: How customers became contacts.
        timing: The waits that the run was executed with.
        stop: Ends it early; the same call continues.
        even_changed: Delete contacts that people changed as well.
    """

    def __init__(
        self,
        journal: Journal,
        book: ContactBook,
        users: AsyncIterator[str],
        policy: ContactPolicy,
        timing: Timing,
        *,
        stop: asyncio.Event,
        even_changed: bool,
    ) -> None:
        self._journal = journal
        self._book = book
        self._users = users
        self._policy = policy
        self._timing = timing
        self._stop = stop
        self._even_changed = even_changed
        self._kept: list[Kept] = []
        self._failure = ""
        self._tags: dict[str, set[str]] = {}

    async def work(self, lane: LaneJournal) -> LocationEnd:
        """Wait for late requests, and delete what the run made and no document needs."""
        try:
            return await self._work(lane)
        except JournalError:
            raise
        except HighLevelError as error:
            return LocationEnd(self._kept, 1, str(error))

    async def _work(self, lane: LaneJournal) -> LocationEnd:
        steps = lane.steps(CONTACTS)
        facts = await steps.facts()
        # A late request may still create a contact, and then it would stay behind.
        if facts.ambiguous_at is not None:
            due = self._timing.sweep_at(facts.ambiguous_at) + self._policy.index_delay
            is_swept = facts.swept_at is not None and facts.swept_at >= due
            wait = 0.0 if is_swept else due - lane.now()
            if wait > 0 and await self._pause(wait):
                return LocationEnd(self._kept, 1, "interrupted", time.time() + wait)
        self._tags = await tags_of(self._journal)
        made = [one for one in await self._made(lane) if one.state is not StepState.DELETED]
        suspects = await steps.suspects()
        if not made and not suspects:
            return LocationEnd([], 0)
        # Read once: the documents that stay are the same for every contact.
        use = await self._use()
        for step in made:
            await self._take_back(lane, step, await self._book.get(step.result), use)
            if self._stop.is_set():
                return LocationEnd(self._kept, 1, "interrupted")
        lookup = ContactLookup(self._book, self._policy)
        for step in suspects:
            found = await lookup.marked(facts_of_customer(step), str(draft_of(step).source))
            copies = own_copies(
                step, found, {one.id: self._changes(one, step) for one in found}, self._timing
            )
            own = [] if copies.own is None else [copies.own]
            for contact in (*own, *copies.surplus):
                if contact.id != step.result:
                    await self._take_back(lane, step, contact, use)
        # Every request was waited for, and its contacts were looked for above.
        for step in await steps.ambiguous():
            await steps.mark_planned(step, executed=True)
        await self._journal.steps.withdraw(CONTACTS)
        return LocationEnd(self._kept, int(bool(self._failure)), self._failure)

    async def _made(self, lane: LaneJournal) -> list[StageStep]:
        """Return the steps whose contact the run created."""
        found: list[StageStep] = []
        after = -1
        while batch := await self._journal.steps.rows(CONTACTS, location=lane.location, after=after):
            after = batch[-1].number
            found += [one for one in batch if one.how == MADE and one.result]
        return found

    async def _use(self) -> _Use:
        try:
            return _Use(frozenset([contact async for contact in self._users]))
        except ScopeMissing as error:
            return _Use(frozenset(), f"whether documents use it is unknown: {error}")

    async def _take_back(
        self, lane: LaneJournal, step: StageStep, contact: ContactRecord | None, use: _Use
    ) -> None:
        """Delete one contact, or name it with the reason why it stays."""
        # Asked before each deletion, because the lease may have ended during the listings.
        if not lane.lasts(self._timing.guard):
            raise LaneLost(f"another process may work on {lane.location} by now")
        if contact is None:
            await self._journal.steps.undone(step, "was deleted before")
            return
        # Unknown use counts as use: a document without its contact cannot be sent any more.
        if use.problem or contact.id in use.contacts:
            self._keep(lane, step, contact, "contact_used", use.problem or "documents that stay use it")
            return
        changes = self._changes(contact, step)
        if changes and not self._even_changed:
            self._keep(lane, step, contact, "contact_changed", changes)
            return
        outcome = await delete_contact(lane, self._book, step, contact.id, "rollback")
        if outcome != "gone":
            self._failure = self._failure or f"contact {contact.id}: {outcome}"
        # A second copy is not the step's contact, whose own deletion is still to come.
        elif contact.id == step.result:
            await self._journal.steps.undone(step, "rolled back")

    def _changes(self, contact: ContactRecord, step: StageStep) -> str:
        """Say what people changed of a contact. Tags of the run itself are not theirs."""
        own = self._tags.get(contact.id, set())
        left = [tag for tag in contact.tags or () if tag not in own]
        return written_changes(msgspec.structs.replace(contact, tags=left), step)

    def _keep(self, lane: LaneJournal, step: StageStep, contact: ContactRecord, kind: str, why: str) -> None:
        self._kept.append(Kept(kind, facts_of_customer(step).who, contact.id, lane.location, why))

    async def _pause(self, seconds: float) -> bool:
        """Wait. Return whether the rollback was stopped meanwhile."""
        # a clock that was set back must not make the wait longer than it can have to be
        longest = self._timing.sweep_at(0.0) + self._policy.index_delay
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(seconds, longest)):
                await self._stop.wait()
        return self._stop.is_set()


async def contacts_in_use(location: Any) -> AsyncIterator[str]:
    """Yield the contact id of every estimate and invoice of a location."""
    for listing in (location.estimates.list(), location.invoices.list()):
        async for document in listing:
            contact = document.contact_details
            if contact is not None and contact.id:
                yield contact.id


class ContactsRun(Protocol):
    """The part of `hl_async.bulk.run.Run` that the rollback of contacts needs."""

    journal: Journal
    contact_policy: ContactPolicy
    stop: asyncio.Event

    @property
    def timing(self) -> Timing: ...


def contacts_back(
    run: ContactsRun, hl: HighLevel, *, even_changed: bool
) -> Callable[[LaneJournal], Awaitable[LocationEnd]]:
    """Return the work that takes a location's contacts back, after its documents."""

    async def take_back(lane: LaneJournal) -> LocationEnd:
        location = hl.location(lane.location)
        users = contacts_in_use(location.with_options(lane=Lane.BULK, timeout=math.inf))
        reversal = ContactReversal(
            run.journal, LocationContacts(location), users, run.contact_policy, run.timing, stop=run.stop,
            even_changed=even_changed,
        )  # fmt: skip
        return await reversal.work(lane)

    return take_back
