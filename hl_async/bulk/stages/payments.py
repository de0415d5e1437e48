"""Internal. Payments of a source: steps, requests, and how one is proven. Pure.

A payment is a step of the invoice that it belongs to. The API has no key for payments, but an invoice tells how much
of it is paid. As long as only the run records payments, that sum answers every question:

- Before a request, the paid sum must be the sum of the payments that the run has recorded.
- After a request, it has grown by exactly the payment, or it has not. Any other sum was caused by another client, and
  the payment is held for a person.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Any, Final, NamedTuple

import msgspec

from hl_async.bulk.protocol import Timing
from hl_async.bulk.sources.document import Document, DocumentPayment
from hl_async.bulk.sources.records import SourceItem
from hl_async.bulk.stages.steps import PlannedStep, StageStep, StepState
from hl_async.models import Cheque, RecordPayment
from hl_async.models.money import rounded

PAYMENTS: Final = "payments"
"""The name of the stage in the journal."""

UNLISTED: Final = "paid in the old system"
"""Text of the one payment of an invoice whose source states a paid sum and lists no payments."""

_NOON: Final = time(12, tzinfo=UTC)
_LONGEST_NOTE: Final = 500
_MODES: Final = (
    ("cheque", re.compile(r"che(?:que|ck)", re.IGNORECASE)),
    ("bank_transfer", re.compile(r"\b(?:bank|ach|wire|sepa|eft|bacs|transfer|direct debit)", re.IGNORECASE)),
    ("cash", re.compile(r"\bcash\b", re.IGNORECASE)),
)


class PaymentPolicy(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """Rules for the payments of a run.

    Attributes:
        record: Record payments. Without it, invoices stay unpaid.
        allow_receipts: Record payments even if the location sends customers a receipt for each of them.
    """

    record: bool = True
    allow_receipts: bool = False


class PaymentFacts(msgspec.Struct, omit_defaults=True, kw_only=True):
    """A payment in the journal.

    Attributes:
        amount: The payment, in the invoice's currency.
        currency: ISO 4217 code.
        position: Number of the payment within its invoice, from 1.
        source_id: The old system's key of the invoice.
        before: The paid sum that the invoice showed before the last request, None before the first one.
        earlier: The sum that earlier runs recorded on the invoice, which one of them created. None if this run
            creates the invoice.
    """

    amount: Decimal
    currency: str
    position: int
    source_id: str
    before: Decimal | None = None
    earlier: Decimal | None = None


class PaymentAnswer(Enum):
    """The answer of an invoice to the question whether a payment was recorded."""

    RECORDED = "recorded"
    MISSING = "missing"
    FOREIGN = "foreign"
    """Another client changed the paid sum, so it proves nothing."""


_encode: Final = msgspec.json.Encoder(decimal_format="string").encode
_decode: Final = msgspec.json.Decoder(PaymentFacts).decode
_body: Final = msgspec.json.Encoder(decimal_format="number", order="deterministic").encode
_fields: Final = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal).decode


def facts_of_payment(step: StageStep) -> PaymentFacts:
    """Return the payment of a step."""
    return _decode(step.facts)


def encode_payment(facts: PaymentFacts) -> bytes:
    """Return the facts for the journal."""
    return _encode(facts)


def payments_of(document: Document, total: Decimal) -> list[DocumentPayment]:
    """Return the payments of an invoice.

    A source that lists none, but states a paid sum, has one payment of that sum. The due sum stands for the paid one
    if that is missing.
    """
    if document.payments:
        return list(document.payments)
    paid = document.amount_paid
    # Some systems export the open sum only.
    if paid is None and document.amount_due is not None:
        paid = total - document.amount_due
    return [DocumentPayment(amount=paid, reference=UNLISTED)] if paid is not None and paid > 0 else []


def payment_steps(item: SourceItem, key: str) -> Iterator[PlannedStep]:
    """Yield a step for each payment of an invoice.

    Args:
        item: The invoice, with its location.
        key: The run's key of the invoice, which makes those of its payments unique.
    """
    document, total = item.document, item.total
    if document is None or total is None or item.kind != "invoice":
        return
    for position, payment in enumerate(payments_of(document, total), 1):
        facts = PaymentFacts(
            amount=rounded(payment.amount, item.currency), currency=item.currency, position=position,
            source_id=item.source_id,
        )  # fmt: skip
        name = f"{key}/{position}"
        # A refund has no request; it is planned all the same, so that the report names it.
        body = _body(_request(payment, facts.amount, name)) if facts.amount > 0 else b"{}"
        yield PlannedStep(item.location, PAYMENTS, name, (item.ordinal,), body, _encode(facts))


class EarlierPayment(NamedTuple):
    """A planned payment of an earlier run: its unmarked request, and its outcome."""

    request: bytes
    amount: Decimal
    is_recorded: bool


def earlier_payment(step: StageStep) -> EarlierPayment:
    """Return a payment of an earlier run."""
    return EarlierPayment(_unmarked(step.body), facts_of_payment(step).amount, step.state is StepState.DONE)


def later_steps(
    item: SourceItem, lane: str, invoice: str, earlier: Sequence[EarlierPayment]
) -> list[PlannedStep] | None:
    """Return a step for each payment that a newer export adds to an invoice.

    Args:
        item: The invoice as the newer export has it.
        lane: The lane that records the payments.
        invoice: The id of the invoice, which an earlier run created.
        earlier: The payments that earlier runs planned for it.

    Returns:
        The steps. None if the export lacks a payment that was planned, or if one of those was not recorded: then only
        a person can decide.
    """
    document, total = item.document, item.total
    if document is None or total is None or item.kind != "invoice":
        return None if earlier else []
    recorded = sum((one.amount for one in earlier), Decimal(0))
    known = Counter(one.request for one in earlier)
    payments = payments_of(document, total)
    if not document.payments and earlier and payments:
        # Such a source states one sum. The part of it that no earlier run planned is the new payment.
        more = rounded(payments[0].amount, item.currency) - recorded
        payments = [msgspec.structs.replace(payments[0], amount=more)] if more else []
        known = Counter()
    steps = []
    for position, payment in enumerate(payments, 1):
        amount = rounded(payment.amount, item.currency)
        key = f"{invoice}/{position}/{len(earlier)}"
        body = _body(_request(payment, amount, key)) if amount > 0 else b"{}"
        if known[mark := _unmarked(body)]:
            known[mark] -= 1
            continue
        facts = PaymentFacts(
            amount=amount,
            currency=item.currency,
            position=position,
            source_id=item.source_id,
            earlier=recorded,
        )
        steps.append(PlannedStep(lane, PAYMENTS, key, (), body, _encode(facts), invoice))
    is_clear = not known.total() and (not steps or all(one.is_recorded for one in earlier))
    return steps if is_clear else None


def _unmarked(body: bytes) -> bytes:
    """Return a request without its run's marks, to compare requests of two runs."""
    request = _fields(body)
    request.pop("meta", None)
    return _body(request)


def _request(payment: DocumentPayment, amount: Decimal, key: str) -> RecordPayment:
    words = (
        payment.date.isoformat() if payment.date else "",
        payment.mode.strip(),
        payment.reference.strip(),
    )
    more: dict[str, Any] = {}
    if payment.date is not None:
        more["fulfilled_at"] = _noon(payment.date)
    mode = _mode(payment.mode)
    if mode == "cheque" and payment.reference.strip():
        more["cheque"] = Cheque(number=payment.reference.strip())
    return RecordPayment(
        mode=mode,
        amount=amount,
        notes=", ".join(word for word in words if word)[:_LONGEST_NOTE],
        meta={"hl_async": {"payment": key}},
        **more,
    )


def _noon(day: date) -> datetime:
    """Return noon in UTC, on the same day in every zone from -12 to +11 hours."""
    return datetime.combine(day, _NOON)


def _mode(words: str) -> Any:
    # A card payment needs brand and last digits, which no export has; it is recorded as "other" with its words.
    return next((mode for mode, pattern in _MODES if pattern.search(words)), "other")


def refusal_of(facts: PaymentFacts, due: Decimal) -> str:
    """Return why an invoice with this due sum takes no such payment, or empty text."""
    if facts.amount <= 0:
        return (
            f"payment {facts.position} of {facts.source_id} is {facts.amount} {facts.currency}; the API records no "
            "refunds. Enter it by hand"
        )
    if facts.amount > due:
        return (
            f"payment {facts.position} of {facts.source_id} is {facts.amount} {facts.currency}, and {due} "
            f"{facts.currency} are due; correct the payments in the source, or enter it by hand"
        )
    return ""


def found_after(facts: PaymentFacts, paid: Decimal) -> PaymentAnswer:
    """Compare the paid sum of an invoice with the one before the request."""
    before = facts.before or Decimal(0)
    if paid == before + facts.amount:
        return PaymentAnswer.RECORDED
    return PaymentAnswer.MISSING if paid == before else PaymentAnswer.FOREIGN


def asked_at(step: StageStep, timing: Timing) -> float:
    """Return when an invoice tells whether an unanswered request was executed."""
    assert step.sent_at is not None
    return timing.settled_at(step.sent_at)
