"""Internal. The contacts stage: customers become contacts before the documents.

A customer is matched by reading, and otherwise created. The request of a creation follows the protocol of
documents: its intent is durable before the first byte. A request without a usable answer is settled, and then the
contact is looked for by the mark that the run would have written, and by the customer's keys. Where a late request may
have made a second contact, a sweep at the end deletes what the run provably made.

A step that is done gives its documents the id of the contact, and one that is rejected rejects them, in the same
transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec

from hl_async.bulk.journals.protocol import Journal, LaneJournal
from hl_async.bulk.protocol import AMBIGUOUS_AT_ONCE, AttemptOutcome, Timing, judge
from hl_async.bulk.stages.contact_book import ContactBook, duplicate_of
from hl_async.bulk.stages.contact_lookup import ContactLookup
from hl_async.bulk.stages.customers import (
    CONTACTS,
    ContactPolicy,
    CustomerFacts,
    check_names,
    described,
    draft_of,
    encode_facts,
    facts_of_customer,
    plain_name,
    with_contact,
)
from hl_async.bulk.stages.matching import REFUSED, ContactMatch, asked_at
from hl_async.bulk.stages.running import Intent, SliceEnd, StagePaused, StageWork, run_workers, words_of
from hl_async.bulk.stages.steps import MADE, DocumentChange, StageStep, StepState
from hl_async.errors import (
    BadRequest,
    HighLevelError,
    JournalError,
    ScopeMissing,
    ValidationFailed,
)
from hl_async.models import ContactRecord
from hl_async.resources.contact_matching import plan_fill, update_of

_TAKE: Final = 500
_AT_ONCE: Final = 2000
_MAX_TRIES: Final = 12
_FALLBACK: Final = "fallback"
GIVEN: Final = "given"
UNCHECKED: Final = "unchecked"
"""``how`` of a contact id of the source that the token may not read."""
DAMAGED: Final = "its contact in the journal is damaged; migrate it again from the source"


class ContactStage(StageWork):
    """The contacts of one location; see the module."""

    def __init__(
        self,
        book: ContactBook,
        journal: Journal,
        policy: ContactPolicy,
        timing: Timing,
        *,
        workers: int,
        stop: asyncio.Event,
    ) -> None:
        super().__init__(journal, timing, "contacts", workers=workers, stop=stop)
        self._book = book
        self._policy = policy
        self._lookup = ContactLookup(book, policy)
        self._names: dict[str, str] = {}
        self._is_ready = False

    async def work(self, lane: LaneJournal, until: float) -> SliceEnd:
        """Resolve customers until none is open, or until there is something to wait for."""
        self._begin(lane, CONTACTS)
        while not self._stop.is_set() and not self._reason:
            facts = await self._steps.facts()
            if facts.planned and facts.sent < AMBIGUOUS_AT_ONCE:
                await self._resolve_all(until)
                if self._must_rest(until):
                    break
            elif facts.sent:
                # Each request has a time from which its outcome can be seen, so each is asked about on its own.
                asked = [
                    (asked_at(one, self._timing, self._policy), one) for one in await self._steps.ambiguous()
                ]
                due = [one for at, one in asked if at <= lane.now()]
                if not due:
                    return SliceEnd(False, min(at for at, _ in asked))
                await self._ask_all(due)
            else:
                return SliceEnd(True)
        return SliceEnd(False, 0.0, self._reason)

    # ------------------------------------------------------------------------------------------ matching

    async def _resolve_all(self, until: float) -> None:
        """Resolve planned steps, so many at a time, until none is planned or time is up."""
        # all of them once, to choose the cheaper look-up and to serve given ids first; then so many at a time
        planned = await self._planned(_AT_ONCE if self._is_ready else None)
        customers = [facts_of_customer(one) for one in planned]
        if not self._is_ready:
            await self._learn_names()
            try:
                await self._lookup.prepare(customers)
            except ScopeMissing:
                if not all(one.contact_id for one in customers):
                    raise  # customers cannot be looked up; ids that are given can go unchecked
            self._is_ready = True
        # an id that the source or a person names goes before what a look-up finds
        is_given = [bool(one.contact_id) for one in customers]
        await self._each([one for one, given in zip(planned, is_given, strict=True) if given], until)
        await self._each([one for one, given in zip(planned, is_given, strict=True) if not given], until)

    async def _planned(self, limit: int | None) -> list[StageStep]:
        planned: list[StageStep] = []
        while limit is None or len(planned) < limit:
            batch = await self._steps.take(planned[-1].number if planned else -1, _TAKE)
            if not batch:
                break
            planned += batch
        return planned

    async def _each(self, steps: list[StageStep], until: float) -> None:
        queue = iter(steps)

        async def one_after_the_other() -> None:
            for step in queue:
                if self._must_rest(until):
                    return
                await self._resolve(step)

        await run_workers(one_after_the_other, min(self._workers, len(steps)))

    async def _learn_names(self) -> None:
        """Learn which contacts stand for which customer already."""
        after = -1
        while batch := await self._run.steps.rows(
            CONTACTS, StepState.DONE, location=self._lane.location, after=after
        ):
            after = batch[-1].number
            for step in batch:
                self._names.setdefault(step.result, facts_of_customer(step).known_as)

    async def _resolve(self, step: StageStep) -> None:
        """Match one customer, or create the contact."""
        facts = facts_of_customer(step)
        try:
            if step.result:
                await self._finish(step, facts, step.result, step.how)  # it got more documents since
            elif not step.is_intact:
                await self._reject(step, DAMAGED)
            elif facts.contact_id:
                await self._check_given(step, facts)
            else:
                match = await self._lookup.match(facts)
                # A list may lag. Right before a creation, the exact look-ups are asked as well.
                if match == ContactMatch() and await self._may_be_hidden():
                    match = await self._lookup.look_again(facts)
                await self._apply(step, facts, match)
        except (JournalError, StagePaused):
            raise
        except HighLevelError as error:
            self._note_trouble(error)

    async def _may_be_hidden(self) -> bool:
        """Return whether a contact that the list did not show could be created twice."""
        # A location without duplicates refuses the second one.
        return self._lookup.has_read_all and await self._book.allows_duplicates() is not False

    async def _check_given(self, step: StageStep, facts: CustomerFacts) -> None:
        """Check a contact id of the source before the first document."""
        problem = check_names(facts, self._policy)
        how = _FALLBACK if facts.is_fallback else GIVEN
        if not problem:
            try:
                known = await self._lookup.knows(facts.contact_id)
                if known is None:
                    how = UNCHECKED
                elif not known:
                    problem = (
                        f"contact {facts.contact_id} of {facts.who} is not in location {step.location}; correct the "
                        "id, or leave it out to find the contact by e-mail or phone"
                    )
            except ScopeMissing:
                how = UNCHECKED
        problem = problem or self._other_name(facts, facts.contact_id, "its id")
        if problem:
            await self._reject(step, problem)
        else:
            await self._finish(step, facts, facts.contact_id, how)

    async def _apply(self, step: StageStep, facts: CustomerFacts, match: ContactMatch) -> None:
        if match.candidates:
            facts.candidates = list(match.candidates)
            reason = (
                f"customer {facts.who} may be several contacts: {described(match.candidates)}; merge them, or choose "
                "one in the contacts file (--contacts)"
            )
            await self._reject(step, reason, facts)
        elif match.contact is not None:
            await self._matched(step, facts, match.contact, match.by)
        else:
            await self._create(step, facts)

    async def _matched(
        self, step: StageStep, facts: CustomerFacts, contact: ContactRecord, by: tuple[str, ...]
    ) -> None:
        mark = draft_of(step).source
        if contact.source == mark:
            # made by this run, whose journal lost its last write
            await self._finish(step, facts, contact.id, MADE)
            return
        if problem := self._other_name(facts, contact.id, " and ".join(by)):
            await self._reject(step, problem, facts)
            return
        facts.matched_by = by
        if self._policy.update:
            await self._fill(step, facts, contact)
        await self._finish(step, facts, contact.id, "+".join(by))

    def _other_name(self, facts: CustomerFacts, contact_id: str, by: str) -> str:
        """Return why a contact with another name is not this customer, or an empty text."""
        other = self._names.get(contact_id, "")
        is_same = not other or not facts.known_as or plain_name(other) == plain_name(facts.known_as)
        if is_same or contact_id == self._policy.fallback:
            return ""
        return (
            f"contact {contact_id}, found by {by}, stands for {other!r} already, not for {facts.known_as!r}; correct "
            "the customer, or choose another contact in the contacts file (--contacts)"
        )

    async def _fill(self, step: StageStep, facts: CustomerFacts, contact: ContactRecord) -> None:
        """Fill the empty fields of a matched contact; a repetition changes nothing."""
        # The source would say that the run created the contact.
        wanted = msgspec.structs.replace(draft_of(step), source=msgspec.UNSET)
        plan = plan_fill(contact, wanted, frozenset())
        if plan.changes:
            await self._book.update(contact.id, update_of(plan))
            facts.filled = tuple(plan.changes)

    # ----------------------------------------------------------------------------------------- creating

    async def _create(self, step: StageStep, facts: CustomerFacts) -> None:
        intent = Intent(step, self._lane, self._steps, self._timing, noun="contact")
        try:
            contact = await self._book.create(draft_of(step), intent)
        except StagePaused:
            if intent.step.state is StepState.SENT and intent.step.sent_at is not None:
                # The process slept after the intent. Whether a byte left is unknown, so the sweep must look.
                await self._steps.note_ambiguous(intent.step.sent_at)
        except JournalError:
            raise
        except HighLevelError as error:
            await self._settle(intent.step, facts, error)
        else:
            self._note_success()
            await self._finish(intent.step, facts, contact.id, MADE)

    async def _settle(self, step: StageStep, facts: CustomerFacts, error: HighLevelError) -> None:
        """Write down what a failed creation means."""
        known = duplicate_of(error) if isinstance(error, BadRequest) else None
        if known is not None:
            # Read before it is taken: a contact that was merged or deleted since must not enter documents.
            contact = await self._book.get(known)
            if contact is not None:
                await self._steps.mark_planned(step, executed=False)
                back = step._replace(state=StepState.PLANNED, possible=step.possible - 1)
                await self._matched(back, facts, contact, ("duplicate",))
                return
        outcome = judge(error, addressed=False)
        words = words_of(error)
        match outcome:
            case AttemptOutcome.REJECTED if isinstance(error, ValidationFailed):
                # a refused creation was once seen to have created the contact: docs/api-facts.md#api-contacts
                await self._steps.unanswered(step, REFUSED + words)
            case AttemptOutcome.REJECTED:
                await self._reject(step, f"the contact of {facts.who} was refused: {words}", facts)
                self._note_refusal(words)
            case AttemptOutcome.AMBIGUOUS:
                self._trouble += 1
                await self._steps.unanswered(step, words)
                await self._steps.note_ambiguous(step.sent_at or self._lane.now())
            case AttemptOutcome.NOT_EXECUTED | AttemptOutcome.STOP:
                await self._note_not_executed(step, error)

    # ------------------------------------------------------------------------------------------- asking

    async def _ask_all(self, steps: Sequence[StageStep]) -> None:
        """Find the outcome of unanswered requests, once none of them can be under way."""
        # The list that was read is older than the requests that are asked about.
        self._lookup.forget()
        self._is_ready = False
        for step in steps:
            if self._stop.is_set() or not self._lane.lasts(self._timing.guard):
                return
            try:
                await self._ask(step)
            except JournalError:
                raise
            except HighLevelError as error:
                self._reason = self._reason or str(error)
                return

    async def _ask(self, step: StageStep) -> None:
        facts = facts_of_customer(step)
        words = step.reason or ""
        refused = words.startswith(REFUSED)
        if not refused:
            await self._steps.note_ambiguous(step.sent_at or self._lane.now())
        made = await self._lookup.marked(facts, str(draft_of(step).source))
        if made:
            # The same choice on every process: the oldest, and among equals the smallest id.
            oldest = min(
                made, key=lambda one: (one.date_added.timestamp() if one.date_added else 0.0, one.id)
            )
            await self._finish(step, facts, oldest.id, MADE)
            return
        if refused:
            words = words.removeprefix(REFUSED)
            await self._reject(step, f"the contact of {facts.who} was refused: {words}", facts)
            self._note_refusal(words)
        elif step.attempt >= _MAX_TRIES:
            reason = f"the contact of {facts.who} could not be created in {step.attempt} attempts: {words}"
            # every attempt was settled and looked for; the sweep looks once more
            await self._reject(step, reason, facts, executed=True)
        else:
            await self._steps.mark_planned(step, executed=True)

    # ---------------------------------------------------------------------------------------- finishing

    async def _finish(self, step: StageStep, facts: CustomerFacts, contact_id: str, how: str) -> None:
        """Note a customer's contact and give it to the documents, in one transaction."""
        self._trouble = 0
        if not facts.is_fallback and contact_id != self._policy.fallback:
            self._names.setdefault(contact_id, facts.known_as)
        changes = [
            DocumentChange(one.ordinal, with_contact(one.body, contact_id))
            for one in await self._steps.documents(step)
        ]
        await self._steps.done(step, result=contact_id, how=how, facts=encode_facts(facts), documents=changes)

    async def _reject(
        self, step: StageStep, reason: str, facts: CustomerFacts | None = None, *, executed: bool = False
    ) -> None:
        """Reject a customer and its documents, in one transaction."""
        changes = [DocumentChange(one.ordinal, reason=reason) for one in await self._steps.documents(step)]
        encoded = None if facts is None else encode_facts(facts)
        await self._steps.rejected(step, reason, facts=encoded, documents=changes, executed=executed)
