"""Internal. The deposit or schedule of a document, which adds up to its total."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from hl_async.bulk.sources.document import Document, DocumentInstallment
from hl_async.bulk.sources.taxing import sound
from hl_async.errors import InvalidRequest
from hl_async.models.instalments import deposit, instalments
from hl_async.models.money import rounded

_HUNDRED: Final = Decimal(100)


def instalments_of(document: Document, total: Decimal, currency: str) -> dict[str, Any] | None:
    """Return the ``paymentScheduleConfig`` of an estimate, or None if it has none.

    Raises:
        InvalidRequest: The parts do not add up to the document, or both a deposit and a schedule are stated.
    """
    first, parts = document.deposit, document.schedule
    if first is not None and parts:
        raise InvalidRequest("deposit", "the document has a schedule too; put the deposit into the schedule")
    if first is not None:
        return _deposit(first, total, currency)
    # payment terms of one part are the due date under another name
    if len(parts) < 2:
        return None  # one part is the whole document, due at once
    return _schedule(parts, total, currency)


def _deposit(first: DocumentInstallment, total: Decimal, currency: str) -> dict[str, Any] | None:
    value = sound("deposit", first.value)
    if not value:
        return None
    # the helper of the models knows percentages; amounts are exact as they are
    if first.type == "fixed":
        value = rounded(value, currency)
        if not 0 < value < total:
            raise InvalidRequest("deposit", f"{value} is not above 0 and below the total of {total}")
        return _fixed([value, total - value])
    return _percentages(deposit(value, total=total, currency=currency))


def _schedule(parts: list[DocumentInstallment], total: Decimal, currency: str) -> dict[str, Any]:
    values = [sound(f"schedule {number}", one.value) for number, one in enumerate(parts, 1)]
    if all(one.type == "percentage" for one in parts):
        if sum(values) != _HUNDRED:
            raise InvalidRequest("schedule", f"its percentages add up to {sum(values)}, not to 100")
        return _percentages(instalments(*values, total=total, currency=currency))
    # the API has one type for the whole schedule
    if any(one.type == "percentage" for one in parts):
        raise InvalidRequest("schedule", "mixes percentages and amounts")
    amounts = [rounded(one, currency) for one in values]
    if sum(amounts) != total or min(amounts) <= 0:
        shown = " + ".join(map(str, amounts))
        raise InvalidRequest("schedule", f"{shown} is not the total of {total}, part by part")
    return _fixed(amounts)


def _fixed(amounts: list[Decimal]) -> dict[str, Any]:
    return {"type": "fixed", "schedules": [{"value": one} for one in amounts]}


def _percentages(config: Any) -> dict[str, Any]:
    return {"type": "percentage", "schedules": [{"value": one.value} for one in config.schedules]}
