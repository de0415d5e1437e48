"""Internal. Comparison of paid sums with a run's recorded payments. Only reads."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import NamedTuple

import msgspec

from hl_async.bulk.journals.protocol import Journal
from hl_async.bulk.kinds import location_of
from hl_async.bulk.stages.payment_book import PaymentBook
from hl_async.bulk.stages.payments import PAYMENTS, facts_of_payment
from hl_async.bulk.stages.steps import StepState
from hl_async.bulk.verification import Difference, Verification


class PaidInvoice(NamedTuple):
    """An invoice with payments: the sum that the run recorded, and the sum it shows."""

    location: str
    invoice: str
    source_id: str
    currency: str
    recorded: Decimal
    shown: Decimal | None

    @property
    def problem(self) -> str:
        """The difference in words, empty if both are equal."""
        if self.shown is None:
            return f"{self.recorded} {self.currency} were recorded, and the invoice is gone"
        if self.shown == self.recorded:
            return ""
        return f"shows {self.shown} {self.currency} as paid, and the run recorded {self.recorded}"


async def check_payments(
    journal: Journal, books: Callable[[str], PaymentBook | None]
) -> AsyncIterator[PaidInvoice]:
    """Read every invoice with recorded payments, and yield it with both sums."""
    recorded: dict[tuple[str, str], tuple[str, str, Decimal]] = {}
    after = -1
    while batch := await journal.steps.rows(PAYMENTS, StepState.DONE, after=after):
        after = batch[-1].number
        for step in batch:
            facts = facts_of_payment(step)
            _, _, earlier = recorded.get((step.location, step.result), ("", "", facts.earlier or Decimal(0)))
            sums = (facts.source_id, facts.currency, earlier + facts.amount)
            recorded[step.location, step.result] = sums
    for (lane, invoice), (source_id, currency, amount) in recorded.items():
        book = books(location_of(lane))
        balance = None if book is None else await book.balance(invoice)
        shown = None if balance is None else balance.paid
        yield PaidInvoice(location_of(lane), invoice, source_id, currency, amount, shown)


async def with_payments(
    found: Verification,
    journal: Journal,
    books: Callable[[str], PaymentBook | None],
    on_finding: Callable[[Difference], None],
) -> Verification:
    """Add invoices whose paid sums differ from the recorded ones to a verification."""
    invoices, differences = 0, list(found.differences)
    async for paid in check_payments(journal, books):
        invoices += 1
        if paid.problem:
            finding = Difference("unpaid", paid.source_id, paid.invoice, paid.problem, paid.location)
            on_finding(finding)
            differences.append(finding)
    return msgspec.structs.replace(found, differences=differences, paid=invoices)
