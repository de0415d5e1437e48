"""Internal. Recurring invoices."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from msgspec import UNSET, UnsetType, field

from hl_async.models.common import (
    Attachment,
    AutoPayment,
    BusinessDetails,
    Contact,
    ContactDetails,
    Discount,
    LateFeesConfiguration,
    MiscellaneousCharges,
    PaymentMethods,
    ScheduleOptions,
    TipsConfiguration,
)
from hl_async.models.invoices import Invoice
from hl_async.models.lines import BilledLines, DocumentRequest, Item
from hl_async.models.money import guard_document
from hl_async.models.structs import Answer
from hl_async.models.validation import Currency, NonEmptyStr, Request


class InvoiceScheduleUpdate(DocumentRequest, frozen=True):
    """The complete replacement of a schedule.

    Fields left out are lost, so start from ``schedule.to_update()``.
    """

    name: NonEmptyStr
    contact_details: ContactDetails
    schedule: ScheduleOptions
    live_mode: bool
    business_details: BusinessDetails
    currency: Currency
    items: BilledLines
    discount: Discount = field(default_factory=Discount)
    terms_notes: str | UnsetType | None = UNSET
    title: str | UnsetType | None = UNSET
    attachments: list[Attachment] | UnsetType = UNSET
    miscellaneous_charges: MiscellaneousCharges | UnsetType = UNSET
    extra: dict[str, Any] | UnsetType = UNSET


class InvoiceScheduleDraft(InvoiceScheduleUpdate, frozen=True):
    """A new schedule. It creates no invoices until ``invoice_schedules.start``."""

    if TYPE_CHECKING:
        # mypy gives an inherited field of a frozen class the type that it accepts; this restores the one it stores.
        items: BilledLines

    automatic_taxes_enabled: bool | UnsetType = UNSET
    tips_configuration: TipsConfiguration | UnsetType = UNSET
    late_fees_configuration: LateFeesConfiguration | UnsetType = UNSET
    invoice_number_prefix: str | UnsetType = UNSET
    payment_methods: PaymentMethods | UnsetType = UNSET


class ScheduleStart(Request, frozen=True):
    """Body of ``invoice_schedules.start``.

    With ``live_mode`` False the invoices are test documents. ``auto_payment`` may charge the customer.
    """

    live_mode: bool
    auto_payment: AutoPayment | UnsetType = UNSET


class ScheduleAutoPayment(Request, frozen=True):
    """Body of ``invoice_schedules.set_auto_payment``.

    ``id`` repeats the schedule's id (docs/api-facts.md#api-schedules).
    """

    id: NonEmptyStr
    auto_payment: AutoPayment


class InvoiceSchedule(Answer):
    """A schedule as the API answers it, with its invoices.

    ``status`` may be any text (docs/api-facts.md#api-enums).
    """

    id: str = field(name="_id")
    status: str | None = None
    live_mode: bool | None = None
    alt_id: str | None = None
    alt_type: str | None = None
    name: str | None = None
    schedule: ScheduleOptions | None = None
    invoices: list[Invoice] | None = None
    business_details: BusinessDetails | None = None
    currency: str | None = None
    contact_details: Contact | None = None
    discount: Discount | None = None
    items: list[Item] | None = None
    total: Decimal | None = None
    title: str | None = None
    terms_notes: str | None = None
    compiled_terms_notes: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    automatic_taxes_enabled: bool | None = None
    auto_payment: AutoPayment | None = None
    attachments: list[Attachment] | None = None
    miscellaneous_charges: MiscellaneousCharges | None = None
    trace_id: str | None = None

    def __post_init__(self) -> None:
        guard_document(self.items, self.discount, self.total)

    def to_update(self) -> InvoiceScheduleUpdate:
        """Return the body of an update that leaves this schedule unchanged.

        It carries every field that an update can hold.
        """
        currency = self.currency or "USD"
        # A field that the answer lacks is left out: as null, the update would delete it.
        names = ("terms_notes", "title", "attachments", "miscellaneous_charges")
        kept: dict[str, Any] = {name: value for name in names if (value := getattr(self, name)) is not None}
        return InvoiceScheduleUpdate(
            # Requests require these fields, and answers may lack them: docs/api-facts.md#api-answer-fields
            name=self.name or "-",
            contact_details=(self.contact_details or Contact()).for_request(),
            schedule=self.schedule or ScheduleOptions(),
            live_mode=True if self.live_mode is None else self.live_mode,
            business_details=(self.business_details or BusinessDetails()).for_request(),
            currency=currency,
            items=[item.for_request(currency) for item in self.items or ()],
            discount=(self.discount or Discount()).for_request(),
            **kept,
        )


class InvoiceScheduleList(Answer):
    """A page of schedules."""

    schedules: list[InvoiceSchedule] | None = None
    total: int | None = None
    trace_id: str | None = None

    @property
    def entries(self) -> list[InvoiceSchedule]:
        """The page's documents."""
        return self.schedules or []
