"""Documents that the wire tests send."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

from hl_async.client import Location
from hl_async.models import (
    AutoPayment,
    BusinessDetails,
    ContactDetails,
    EstimateDraft,
    EstimateSend,
    EstimateTemplateDraft,
    InvoiceDraft,
    InvoiceScheduleDraft,
    InvoiceTemplateDraft,
    LineItem,
    RecurrenceRule,
    ScheduleOptions,
    SentTo,
    Text2Pay,
)
from hl_async.sandbox import Sandbox

TODAY = date(2026, 1, 15)
FUTURE = date(2040, 12, 31)


def contact(**changes: Any) -> ContactDetails:
    values = {
        "id": "c6tZWq1n0uEh8Rk2Lm4p",
        "name": "Alex",
        "phone_no": "+12145596993",
        "email": "alex@example.com",
    }
    return ContactDetails(**(values | changes))


def line(**changes: Any) -> LineItem:
    values: dict[str, Any] = {
        "name": "Cabinets",
        "currency": "USD",
        "amount": Decimal("9.99"),
        "qty": Decimal(3),
    }
    return LineItem(**(values | changes))


def estimate(**changes: Any) -> EstimateDraft:
    values: dict[str, Any] = {
        "name": "Kitchen",
        "title": "Kitchen",
        "currency": "USD",
        "issue_date": TODAY,
        "expiry_date": FUTURE,
        "contact_details": contact(),
        "items": [line()],
    }
    return EstimateDraft(**(values | changes))


def invoice(**changes: Any) -> InvoiceDraft:
    values: dict[str, Any] = {
        "name": "Kitchen",
        "currency": "USD",
        "business_details": BusinessDetails(name="Harbour Joinery"),
        "contact_details": contact(),
        "items": [line()],
        "issue_date": TODAY,
        "due_date": FUTURE,
        "sent_to": SentTo(email=["alex@example.com"]),
        "live_mode": False,
    }
    return InvoiceDraft(**(values | changes))


def invoice_template(**changes: Any) -> InvoiceTemplateDraft:
    values: dict[str, Any] = {
        "name": "Monthly",
        "business_details": BusinessDetails(name="Harbour Joinery"),
        "currency": "USD",
        "items": [line()],
    }
    return InvoiceTemplateDraft(**(values | changes))


def estimate_template(**changes: Any) -> EstimateTemplateDraft:
    values: dict[str, Any] = {"name": "Kitchens", "currency": "USD", "items": [line()]}
    return EstimateTemplateDraft(**(values | changes))


def schedule(**changes: Any) -> InvoiceScheduleDraft:
    values: dict[str, Any] = {
        "name": "Rent",
        "contact_details": contact(),
        "schedule": ScheduleOptions(
            rrule=RecurrenceRule(
                interval_type="monthly", interval=Decimal(1), start_date="2030-01-01", day_of_month=Decimal(1)
            )
        ),
        "live_mode": False,
        "business_details": BusinessDetails(name="Harbour Joinery"),
        "currency": "USD",
        "items": [line()],
    }
    return InvoiceScheduleDraft(**(values | changes))


def text2pay(**changes: Any) -> Text2Pay:
    values: dict[str, Any] = {
        "name": "Quick",
        "currency": "USD",
        "items": [line()],
        "contact_details": contact(),
        "issue_date": TODAY,
        "sent_to": SentTo(email=["alex@example.com"]),
        "live_mode": False,
        "action": "draft",
        "user_id": "user0000000000000001",
    }
    return Text2Pay(**(values | changes))


async def accepted(box: Sandbox, shop: Location, estimate_id: str) -> None:
    """Send an estimate, and have its customer accept it."""
    await shop.estimates.send(estimate_id, EstimateSend(action="send_manually", user_id="u1"))
    box.customer.accept(estimate_id)


AUTO_PAYMENT = AutoPayment(enable=True, type="card", card_id="card1")
