"""Internal. The states stage: tags contacts, and marks invoices as sent or void.

Each request follows the protocol of payments: its intent is durable before the first byte, and a read proves the
result. After a lost answer the stage waits until nothing can be under way, and reads again before it sends again.
"""

from __future__ import annotations

import asyncio
from typing import Final

from hl_async.bulk.journals.protocol import ItemRow, Journal, LaneJournal
from hl_async.bulk.protocol import AttemptOutcome, State, Timing, judge
from hl_async.bulk.stages.running import Intent, SliceEnd, StagePaused, StageWork, run_workers, words_of
from hl_async.bulk.stages.state_book import StateBook
from hl_async.bulk.stages.states import STATES, StateFacts, contact_in, facts_of_state, next_request
from hl_async.bulk.stages.steps import MADE, StageStep
from hl_async.errors import HighLevelError, JournalError

_TAKE: Final = 1000
_MAX_TRIES: Final = 8
FOUND: Final = "found"
"""``how`` of a state that was there before the run's first request."""
DAMAGED: Final = "its state in the journal is damaged; set it by hand"
WITHOUT_DOCUMENT: Final = "its document was not created"


class StateStage(StageWork):
    """The states of one lane's documents; see the module."""

    def __init__(
        self, book: StateBook, journal: Journal, timing: Timing, *, workers: int, stop: asyncio.Event
    ) -> None:
        super().__init__(journal, timing, "states", workers=workers, stop=stop)
        self._book = book

    async def work(self, lane: LaneJournal, until: float) -> SliceEnd:
        """Set states until none is open, or until there is something to wait for."""
        self._begin(lane, STATES)
        while not self._must_rest(until):
            facts = await self._steps.facts()
            # Planned ones first: the wait of those without an answer passes meanwhile.
            if facts.planned:
                await self._set_all(until)
            elif facts.sent:
                asked = [
                    (self._timing.settled_at(one.sent_at or 0.0), one)
                    for one in await self._steps.ambiguous()
                ]
                due = [one for at, one in asked if at <= lane.now()]
                if not due:
                    return SliceEnd(False, min(at for at, _ in asked))
                for step in due:
                    # The question comes before the next request: see `_set`.
                    await self._steps.mark_planned(step, executed=True)
            else:
                return SliceEnd(True)
        return SliceEnd(False, 0.0, self._reason)

    async def _set_all(self, until: float) -> None:
        """Set the states that are planned. Documents that were not created have none."""
        steps: list[StageStep] = []
        while batch := await self._steps.take(steps[-1].number if steps else -1, _TAKE):
            steps += batch
        queue = iter(steps)

        async def one_after_the_other() -> None:
            for step in queue:
                if self._must_rest(until):
                    return
                await self._set(step)

        await run_workers(one_after_the_other, min(self._workers, len(steps)))

    async def _set(self, step: StageStep) -> None:
        """Set one state, unless a read shows it already."""
        facts = facts_of_state(step)
        try:
            if step.document_id is None:
                await self._steps.rejected(step, WITHOUT_DOCUMENT)
            elif not step.is_intact:
                await self._steps.rejected(step, DAMAGED)
            elif facts.goal == "tag":
                await self._tag(step, facts)
            else:
                await self._move(step, facts, step.document_id)
        except (JournalError, StagePaused):
            raise
        except HighLevelError as error:
            self._note_trouble(error)

    async def _tag(self, step: StageStep, facts: StateFacts) -> None:
        """Tag the contact of a document."""
        # From the body that was sent: contacts are known only after the contacts stage.
        contact = contact_in((await self._document(step)).body or b"{}")
        tags = await self._book.tags(contact)
        if tags is None:
            await self._steps.rejected(step, f"contact {contact} is not in the location")
        # A tag that a person or an earlier run set is not this run's, and a rollback must leave it.
        elif facts.tag in tags:
            await self._done(step, contact)
        elif (after := await self._request(step, contact, "tag")) is not None:
            shown = await self._book.tags(contact) or []
            if facts.tag in shown:
                await self._steps.done(after, result=contact, how=MADE)
            else:
                await self._steps.unanswered(
                    after, f"contact {contact} did not show the tag after its answer"
                )

    async def _move(self, step: StageStep, facts: StateFacts, invoice: str) -> None:
        """Bring an invoice to its state, request by request."""
        status = await self._book.status(invoice)
        if status is None:
            await self._steps.rejected(step, f"invoice {invoice} is not in the location")
            return
        request = next_request(facts.goal, status)
        if request is None:
            await self._done(step, invoice)
        elif (after := await self._request(step, invoice, request)) is not None:
            shown = await self._book.status(invoice) or ""
            following = next_request(facts.goal, shown)
            if following is None:
                await self._steps.done(after, result=invoice, how=MADE)
            elif following == request:
                # A read may lag behind. The step stays sent, so that nothing is sent again before it is asked later.
                words = f"invoice {invoice} showed {shown or 'no status'} after the answer"
                await self._steps.unanswered(after, words)
            else:
                # Sent and not yet voided, for example: the next request follows from the status that was read.
                await self._steps.mark_planned(after, executed=True)

    async def _request(self, step: StageStep, subject: str, request: str) -> StageStep | None:
        """Send one request. After a success, return the step as the journal holds it."""
        # An invoice whose workflow undoes the state would otherwise be sent again and again.
        if step.attempt >= _MAX_TRIES:
            await self._steps.rejected(
                step, f"not reached in {step.attempt} attempts: {step.reason}", executed=True
            )
            return None
        intent = Intent(step, self._lane, self._steps, self._timing, noun="state", subject=subject)
        try:
            match request:
                case "tag":
                    await self._book.add_tags(subject, step.body, intent)
                case "send":
                    await self._book.send(subject, step.body, intent)
                case _:
                    await self._book.void(subject, intent)
        except StagePaused:
            return None
        except JournalError:
            raise
        except HighLevelError as error:
            await self._settle(intent.step, error)
            return None
        self._note_success()
        return intent.step

    async def _done(self, step: StageStep, subject: str) -> None:
        """Note a state that a read shows before any request of this turn."""
        await self._steps.done(step, result=subject, how=MADE if step.possible else FOUND)

    async def _settle(self, step: StageStep, error: HighLevelError) -> None:
        """Write down the meaning of a failed request."""
        outcome, words = judge(error), words_of(error)
        match outcome:
            case AttemptOutcome.REJECTED:
                await self._steps.rejected(step, f"the API refused the state: {words}")
                self._note_refusal(words)
            case AttemptOutcome.AMBIGUOUS:
                self._trouble += 1
                await self._steps.unanswered(step, words)
            case AttemptOutcome.NOT_EXECUTED | AttemptOutcome.STOP:
                await self._note_not_executed(step, error)

    async def _document(self, step: StageStep) -> ItemRow:
        """Return the document of a step, with its request."""
        assert step.document is not None
        (row,) = await self._run.rows(*State, after=step.document - 1, limit=1, bodies=True)
        return row
