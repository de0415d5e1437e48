"""Internal. The payments stage, which records payments on the run's invoices.

Payments of one invoice are recorded one after the other, those of different invoices side by side. Each request follows
the protocol of documents: its intent is durable before the first byte, together with the paid sum that the invoice
showed. After a lost answer the stage waits until nothing can be under way, and compares the paid sum. An answer is not
enough either: the invoice is read again, and only its paid sum makes a payment done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Final

from hl_async.bulk.journals.protocol import Journal, LaneJournal
from hl_async.bulk.kinds import location_of
from hl_async.bulk.protocol import AttemptOutcome, Timing, judge
from hl_async.bulk.stages.payment_book import PaymentBook
from hl_async.bulk.stages.payments import (
    PAYMENTS,
    PaymentAnswer,
    PaymentFacts,
    PaymentPolicy,
    asked_at,
    encode_payment,
    facts_of_payment,
    found_after,
    refusal_of,
)
from hl_async.bulk.stages.running import Intent, SliceEnd, StagePaused, StageWork, run_workers, words_of
from hl_async.bulk.stages.steps import MADE, StageStep, StepState
from hl_async.errors import HighLevelError, JournalError

_TAKE: Final = 1000
_MAX_TRIES: Final = 8
DAMAGED: Final = "its payment in the journal is damaged; enter it by hand"
WITHOUT_INVOICE: Final = "its invoice was not created"


class PaymentStage(StageWork):
    """The payments of one location; see the module."""

    def __init__(
        self,
        book: PaymentBook,
        journal: Journal,
        policy: PaymentPolicy,
        timing: Timing,
        *,
        workers: int,
        stop: asyncio.Event,
    ) -> None:
        super().__init__(journal, timing, "payments", workers=workers, stop=stop)
        self._book = book
        self._policy = policy
        self._recorded: dict[str, Decimal] = {}

    async def work(self, lane: LaneJournal, until: float) -> SliceEnd:
        """Record payments until none is open, or until there is something to wait for."""
        self._begin(lane, PAYMENTS)
        while not self._stop.is_set() and not self._reason:
            facts = await self._steps.facts()
            if facts.sent:
                asked = [(asked_at(one, self._timing), one) for one in await self._steps.ambiguous()]
                due = [one for at, one in asked if at <= lane.now()]
                await self._ask_all(due)
                waiting = [at for at, one in asked if one not in due]
                if waiting and not due and not await self._record_all(until):
                    return SliceEnd(False, min(waiting))
            elif facts.planned:
                if not await self._record_all(until) and not self._must_rest(until):
                    await self._give_up()
            else:
                return SliceEnd(True)
            if self._must_rest(until):
                break
        return SliceEnd(False, 0.0, self._reason)

    # ---------------------------------------------------------------------------------------- recording

    async def _record_all(self, until: float) -> bool:
        """Record planned payments that have an invoice. Return whether any was tried."""
        steps: list[StageStep] = []
        while batch := await self._steps.take(steps[-1].number if steps else -1, _TAKE, of_created=True):
            steps += batch
        # A payment waits while an earlier one of its invoice has no answer: the paid sum could not tell them apart.
        unanswered = {one.subject for one in await self._steps.ambiguous()}
        steps = [one for one in steps if _invoice_of(one) not in unanswered]
        if not steps:
            return False
        if not await self._may_record():
            return False
        await self._learn_recorded()
        # One payment of an invoice at a time: side by side, the paid sum could not tell which one is missing.
        queue = _by_invoice(steps)

        async def one_after_the_other() -> None:
            for payments in queue:
                for step in payments:
                    if self._must_rest(until) or not await self._record(step):
                        break

        await run_workers(one_after_the_other, min(self._workers, len(steps)))
        return True

    async def _may_record(self) -> bool:
        """Return whether payments cause no message to customers, or may cause one."""
        try:
            if self._policy.allow_receipts or not await self._book.sends_receipts():
                return True
        except HighLevelError as error:
            self._reason = f"the settings of location {self._lane.location} cannot be read: {error}"
            return False
        self._reason = (
            f"location {self._lane.location} may send its customers a receipt for each payment (its setting "
            "customerPaymentSuccess is on): turn the notification off in HighLevel, allow it with "
            "--allow-receipts, or leave payments out with --no-payments"
        )
        return False

    async def _learn_recorded(self) -> None:
        """Learn how much of each invoice this run has recorded."""
        recorded: dict[str, Decimal] = {}
        after = -1
        while batch := await self._run.steps.rows(
            PAYMENTS, StepState.DONE, location=self._lane.location, after=after
        ):
            after = batch[-1].number
            for step in batch:
                amount = facts_of_payment(step).amount
                recorded[step.result] = recorded.get(step.result, Decimal(0)) + amount
        self._recorded = recorded

    async def _record(self, step: StageStep) -> bool:
        """Record one payment. Return whether the next one of its invoice may follow."""
        facts, invoice = facts_of_payment(step), _invoice_of(step)
        try:
            if not step.is_intact:
                await self._steps.rejected(step, DAMAGED)
                return True
            balance = await self._book.balance(invoice)
            if balance is None:
                await self._steps.rejected(
                    step, f"invoice {invoice} is not in location {location_of(step.location)}"
                )
                return False
            expected = self._recorded.get(invoice, Decimal(0)) + (facts.earlier or Decimal(0))
            # The paid sum is the only proof of a payment, and it holds only if no other client pays.
            if balance.paid != expected:
                await self._steps.hold(step, _foreign(invoice, expected, balance.paid, facts.currency))
                return False
            problem = refusal_of(facts, balance.due)
            if problem or balance.status == "void":
                await self._steps.rejected(step, problem or f"invoice {invoice} is void")
                return True
            facts.before = balance.paid
            return await self._send(step, facts, invoice)
        except (JournalError, StagePaused):
            raise
        except HighLevelError as error:
            self._note_trouble(error)
            return False

    async def _send(self, step: StageStep, facts: PaymentFacts, invoice: str) -> bool:
        intent = Intent(
            step,
            self._lane,
            self._steps,
            self._timing,
            noun="payment",
            subject=invoice,
            facts=encode_payment(facts),
        )
        try:
            await self._book.record(invoice, step.body, intent)
        except StagePaused:
            return False
        except JournalError:
            raise
        except HighLevelError as error:
            return await self._settle(intent.step, error)
        self._note_success()
        return await self._confirm(intent.step, facts, invoice)

    async def _confirm(self, step: StageStep, facts: PaymentFacts, invoice: str) -> bool:
        """Read the invoice, whose paid sum alone makes a payment done."""
        balance = await self._book.balance(invoice)
        found = PaymentAnswer.FOREIGN if balance is None else found_after(facts, balance.paid)
        if found is PaymentAnswer.RECORDED:
            await self._steps.done(step, result=invoice, how=MADE)
            self._recorded[invoice] = self._recorded.get(invoice, Decimal(0)) + facts.amount
            return True
        if found is PaymentAnswer.MISSING:
            # The API said yes, and the invoice shows nothing yet. The step stays sent, and the invoice is asked later.
            await self._steps.unanswered(step, "the invoice did not show the payment after its answer")
            return False
        expected = (facts.before or Decimal(0)) + facts.amount
        if balance is None:
            await self._steps.hold(
                step, f"invoice {invoice} is gone after a payment of {facts.amount} was recorded"
            )
        else:
            await self._steps.hold(step, _foreign(invoice, expected, balance.paid, facts.currency))
        return False

    async def _settle(self, step: StageStep, error: HighLevelError) -> bool:
        """Note a failed request's meaning; return whether the next payment may follow."""
        outcome, words = judge(error), words_of(error)
        match outcome:
            case AttemptOutcome.REJECTED:
                await self._steps.rejected(step, f"the API refused the payment: {words}")
                self._note_refusal(words)
                return True
            case AttemptOutcome.AMBIGUOUS:
                self._trouble += 1
                await self._steps.unanswered(step, words)
            case AttemptOutcome.NOT_EXECUTED | AttemptOutcome.STOP:
                await self._note_not_executed(step, error)
        return False

    # ------------------------------------------------------------------------------------------- asking

    async def _ask_all(self, steps: Sequence[StageStep]) -> None:
        """Ask the invoices of unanswered requests, once none can be under way."""
        for step in steps:
            if self._stop.is_set() or self._reason or not self._lane.lasts(self._timing.guard):
                return
            try:
                await self._ask(step)
            except JournalError:
                raise
            except HighLevelError as error:
                self._reason = self._reason or str(error)

    async def _ask(self, step: StageStep) -> None:
        facts, invoice = facts_of_payment(step), step.subject
        balance = await self._book.balance(invoice)
        if balance is None:
            await self._steps.mark_unknown(step, f"invoice {invoice} is gone, and with it the answer")
            return
        match found_after(facts, balance.paid):
            case PaymentAnswer.RECORDED:
                await self._steps.done(step, result=invoice, how=MADE)
            case PaymentAnswer.MISSING if step.attempt >= _MAX_TRIES:
                await self._steps.rejected(
                    step, f"not recorded in {step.attempt} attempts: {step.reason}", executed=True
                )
            case PaymentAnswer.MISSING:
                await self._steps.mark_planned(step, executed=True)
            case PaymentAnswer.FOREIGN:
                await self._steps.mark_unknown(
                    step, _foreign(invoice, facts.before or Decimal(0), balance.paid, facts.currency)
                )

    async def _give_up(self) -> None:
        """Reject payments of invoices that were not created, once no item is open."""
        after = -1
        while batch := await self._steps.take(after, _TAKE):
            after = batch[-1].number
            for step in batch:
                if not _invoice_of(step):
                    await self._steps.rejected(step, WITHOUT_INVOICE)


def _invoice_of(step: StageStep) -> str:
    """Return the id of a payment's invoice, or an empty text if it was not created."""
    return step.document_id or step.subject


def _by_invoice(steps: Sequence[StageStep]) -> Iterator[list[StageStep]]:
    """Yield the payments of each invoice in their order."""
    groups: dict[str, list[StageStep]] = {}
    for step in steps:
        groups.setdefault(_invoice_of(step), []).append(step)
    return iter(groups.values())


def _foreign(invoice: str, expected: Decimal, paid: Decimal, currency: str) -> str:
    return (
        f"invoice {invoice} shows {paid} {currency} as paid, and this run expected {expected} {currency}: another "
        "client recorded a payment. Compare by hand"
    )
