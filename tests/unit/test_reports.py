"""Figures over invoices: unknown is never zero, and sums are exact."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from hl_async.models import Contact, Invoice, Transaction
from hl_async.reports import AGES, FindingKind, Receivables
from hl_async.reports.receivables import age_of, owed_of
from hl_async.reports.reconciliation import compared, sums_of, without_invoice

DAY = date(2026, 11, 29)


def invoice(name: str = "i1", **changes: Any) -> Invoice:
    found = {
        "status": "sent",
        "total": Decimal(100),
        "amount_paid": Decimal(0),
        "amount_due": Decimal(100),
        "currency": "USD",
        "due_date_text": "2026-11-20",
        "contact_details": Contact(id="c1", name="Alex"),
        **changes,
    }
    return Invoice(id=name, **found)


def payment(amount: str | None, **changes: Any) -> Transaction:
    money = None if amount is None else Decimal(amount)
    found = {"currency": "USD", "entity_id": "i1", "status": "succeeded", **changes}
    return Transaction(id=f"t{amount}", amount=money, **found)


@pytest.mark.parametrize(
    ("days", "age"),
    [(0, 0), (1, 1), (30, 1), (31, 2), (60, 2), (61, 3), (90, 3), (91, 4), (4000, 4)],
)
def test_an_age_is_counted_in_days_after_the_due_date(days: int, age: int) -> None:
    assert age_of(days) == AGES[age]


def test_sums_are_exact_by_currency_customer_and_age() -> None:
    owed = [
        owed_of("loc", invoice("a", amount_due=Decimal("0.10")), DAY),
        owed_of("loc", invoice("b", amount_due=Decimal("0.20")), DAY),
        owed_of("loc", invoice("c", currency="EUR", due_date_text="2027-01-01"), DAY),
        owed_of(
            "loc", invoice("d", contact_details=Contact(id="c2", name="Bea"), amount_due=Decimal(5)), DAY
        ),
    ]
    report = Receivables(DAY, ("loc",), tuple(one for one in owed if one))
    assert report.totals()["USD"]["1-30"] == Decimal("5.30")
    assert report.totals()["EUR"]["not due"] == Decimal(100)
    rows = report.by_customer()
    assert [(row["customer"], row["currency"], row["total"]) for row in rows] == [
        ("Alex", "EUR", Decimal(100)),
        ("Bea", "USD", Decimal(5)),
        ("Alex", "USD", Decimal("0.30")),
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"amount_due": None, "amount_paid": None},
        {"amount_due": None, "total": None},
        {"currency": None},
        {"due_date_text": None},
    ],
)
def test_what_is_unknown_is_listed_and_adds_nothing(changes: dict[str, Any]) -> None:
    owed = owed_of("loc", invoice(**changes), DAY)
    assert owed is not None
    report = Receivables(DAY, ("loc",), (owed,))
    assert report.totals() == {}
    assert report.unknown == (owed,)


@pytest.mark.parametrize(
    "changes",
    [{"status": "draft"}, {"status": "void"}, {"status": "paid"}, {"amount_due": Decimal(0)}],
)
def test_what_is_not_owed_is_left_out(changes: dict[str, Any]) -> None:
    assert owed_of("loc", invoice(**changes), DAY) is None


def test_an_amount_due_that_is_not_stated_follows_from_total_and_payments() -> None:
    owed = owed_of("loc", invoice(amount_due=None, amount_paid=Decimal(40)), DAY)
    assert owed is not None
    assert owed.amount_due == Decimal(60)


@pytest.mark.parametrize(
    ("paid", "payments", "kind"),
    [
        ("0", [], None),
        ("60", [payment("20"), payment("40")], None),
        ("60", [payment("60"), payment("9", status="failed")], None),
        ("60", [], FindingKind.NOT_BOOKED),
        ("0", [payment("60")], FindingKind.NOT_PAID),
        ("60", [payment("50")], FindingKind.DIFFERS),
        ("60", [payment("60", amount_refunded=Decimal(10))], FindingKind.REFUNDED),
        ("60", [payment(None)], FindingKind.UNKNOWN),
        (None, [payment("60")], FindingKind.UNKNOWN),
        ("60", [payment("60", currency="EUR")], FindingKind.UNKNOWN),
    ],
)
def test_an_invoice_is_compared_with_what_was_booked(
    paid: str | None, payments: list[Transaction], kind: FindingKind | None
) -> None:
    found = compared("loc", invoice(amount_paid=None if paid is None else Decimal(paid)), payments)
    assert (None if found is None else found.kind) is kind


def test_transactions_of_an_invoice_that_is_not_listed_are_told() -> None:
    found = without_invoice("loc", "gone", [payment("5", contact_name="Alex")])
    assert (found.kind, found.booked, found.customer) == (FindingKind.NO_INVOICE, Decimal(5), "Alex")
    assert sums_of([]) == (Decimal(0), Decimal(0))
