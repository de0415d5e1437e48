"""Estimates: what is sent and what is answered."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from msgspec import UNSET, UnsetType, field

from hl_async.models.common import (
    Answer,
    Attachment,
    AutoInvoicing,
    BusinessDetails,
    Contact,
    ContactDetails,
    Discount,
    FrequencySettings,
    Item,
    LineItem,
    MiscellaneousCharges,
    PaymentScheduleConfig,
    SenderConfiguration,
    SentTo,
)
from hl_async.models.dates import day_of
from hl_async.models.invoices import Invoice
from hl_async.models.money import guard_document
from hl_async.models.validation import Currency, NonEmptyStr, Request


class EstimateSend(Request, frozen=True):
    """How an estimate is sent. ``action`` is sms_and_email, send_manually, email or sms.

    ``user_id`` is a user of the location, in whose name it goes; it cannot be derived from the token.
    """

    action: NonEmptyStr
    user_id: NonEmptyStr
    live_mode: bool = True
    sent_from: SenderConfiguration | UnsetType = UNSET
    estimate_name: str | UnsetType = UNSET
    sent_to: SentTo | UnsetType = UNSET
    alt_id: str | UnsetType = UNSET
    alt_type: str | UnsetType = UNSET
    extra: dict[str, Any] | UnsetType = UNSET


class EstimateDraft(Request, frozen=True):
    """A new estimate.

    ``expiry_date`` is required at run time although the specification says otherwise; ``issue_date`` must not be in
    the future on the location's clock, and is best left out for today. ``meta`` is yours and comes
    back with the estimate. ``extra`` holds undeclared keys, in the wire's spelling, at your own risk.
    """

    name: NonEmptyStr
    currency: Currency
    items: list[LineItem]
    contact_details: ContactDetails
    expiry_date: date
    business_details: BusinessDetails = field(default_factory=BusinessDetails)
    discount: Discount = field(default_factory=Discount)
    frequency_settings: FrequencySettings = field(default_factory=FrequencySettings)
    issue_date: date | UnsetType = UNSET
    live_mode: bool | UnsetType = UNSET
    terms_notes: str | UnsetType | None = UNSET
    title: str | UnsetType | None = UNSET
    estimate_number: int | UnsetType = UNSET
    sent_to: SentTo | UnsetType = UNSET
    automatic_taxes_enabled: bool | UnsetType = UNSET
    meta: dict[str, Any] | UnsetType = UNSET
    send_estimate_details: EstimateSend | UnsetType = UNSET
    estimate_number_prefix: str | UnsetType = UNSET
    user_id: str | UnsetType = UNSET
    attachments: list[Attachment] | UnsetType = UNSET
    auto_invoice: AutoInvoicing | UnsetType = UNSET
    miscellaneous_charges: MiscellaneousCharges | UnsetType = UNSET
    payment_schedule_config: PaymentScheduleConfig | UnsetType = UNSET
    extra: dict[str, Any] | UnsetType = UNSET


class EstimateUpdate(EstimateDraft, frozen=True):
    """The replacement of an estimate: what is left out is lost. Get one from ``estimate.to_update()``."""

    estimate_status: str | UnsetType = UNSET


class InvoiceFromEstimate(Request, frozen=True):
    """``version`` ("v1", "v2") is not the API's version; its meaning is undocumented."""

    mark_as_invoiced: bool
    version: str | UnsetType = UNSET


class EstimateVisit(Request, frozen=True):
    """Body of ``touch_last_visited`` of estimates."""

    estimate_id: NonEmptyStr


class Estimate(Answer):
    """An estimate as the API answers it.

    ``status`` reads the wire's ``estimateStatus``. ``issue_date`` and ``expiry_date`` are days, taken from the
    wire's text (kept in ``issue_date_text`` and ``expiry_date_text``). ``estimate_action_history`` holds the
    location's local times without a zone: don't read them as UTC. ``created_at`` and ``updated_at`` are aware.
    """

    id: str = field(name="_id")
    alt_id: str | None = None
    alt_type: str | None = None
    live_mode: bool | None = None
    deleted: bool | None = None
    name: str | None = None
    currency: str | None = None
    business_details: BusinessDetails | None = None
    items: list[Item] | None = None
    discount: Discount | None = None
    title: str | None = None
    estimate_number: int | str | None = None
    estimate_number_prefix: str | None = None
    status: str | None = field(name="estimateStatus", default=None)
    attachments: list[Attachment] | None = None
    updated_by: str | None = None
    total: Decimal | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    document_version: int | None = field(name="__v", default=None)
    automatic_taxes_enabled: bool | None = None
    automatic_taxes_calculated: bool | None = None
    terms_notes: str | None = None
    company_id: str | None = None
    contact_details: Contact | None = None
    issue_date_text: str | None = field(name="issueDate", default=None)
    expiry_date_text: str | None = field(name="expiryDate", default=None)
    sent_by: str | None = None
    sent_to: SentTo | None = None
    meta: dict[str, Any] | None = None
    estimate_action_history: list[Any] | None = None
    frequency_settings: FrequencySettings | None = None
    last_visited_at: datetime | None = None
    total_amount_in_usd: Decimal | None = field(name="totalamountInUSD", default=None)
    auto_invoice: AutoInvoicing | None = None
    miscellaneous_charges: MiscellaneousCharges | None = None
    payment_schedule_config: PaymentScheduleConfig | None = None
    user_id: str | None = None
    trace_id: str | None = None

    def __post_init__(self) -> None:
        guard_document(self.items, self.discount, self.total, self.total_amount_in_usd)

    @property
    def issue_date(self) -> date | None:
        """The day of issue, as far as the wire's text tells."""
        return day_of(self.issue_date_text)

    @property
    def expiry_date(self) -> date | None:
        """The day of expiry, as far as the wire's text tells."""
        return day_of(self.expiry_date_text)

    def to_update(self) -> EstimateUpdate:
        """A body that replaces this estimate by itself: change it, then ``estimates.update(id, body)``.

        Dates are cut to days, the discount is always there, every field known here is carried over.
        """
        currency = self.currency or "USD"
        number = self.estimate_number
        kept: dict[str, Any] = {
            name: value for name in _CARRIED if (value := getattr(self, name)) is not None
        }
        if isinstance(number, int) or (isinstance(number, str) and number.isdecimal()):
            kept["estimate_number"] = int(number)
        if self.issue_date is not None:
            kept["issue_date"] = self.issue_date
        if self.status is not None and self.status != "all":
            kept["estimate_status"] = self.status
        return EstimateUpdate(
            name=self.name or "-",
            currency=currency,
            items=[item.for_request(currency) for item in self.items or ()],
            contact_details=(self.contact_details or Contact()).for_request(),
            expiry_date=self.expiry_date or self.issue_date or _created_day(self.created_at),
            business_details=(self.business_details or BusinessDetails()).for_request(),
            discount=(self.discount or Discount()).for_request(),
            frequency_settings=self.frequency_settings or FrequencySettings(),
            **kept,
        )


_CARRIED = (
    "live_mode", "terms_notes", "title", "sent_to", "automatic_taxes_enabled", "meta", "estimate_number_prefix",
    "user_id", "attachments", "auto_invoice", "miscellaneous_charges", "payment_schedule_config",
)  # fmt: skip


def _created_day(created: datetime | None) -> date:
    # an estimate without any date has to get one: the API refuses a body without expiryDate
    return created.date() if created is not None else date(1970, 1, 1)


class EstimateList(Answer):
    """A page of estimates."""

    estimates: list[Estimate] | None = None
    total: int | None = None
    trace_id: str | None = None

    @property
    def entries(self) -> list[Estimate]:
        """The page's documents."""
        return self.estimates or []


class EstimateNumber(Answer):
    """The next number; the API gives a number, text is tolerated."""

    estimate_number: int | str | None = None
    trace_id: str | None = None


class InvoiceFromEstimateResult(Answer):
    """What became of an estimate. Live answers may lack ``invoice`` although it was made."""

    estimate: Estimate | None = None
    invoice: Invoice | None = None

    @staticmethod
    def __reshape__(document: Any) -> Any:
        """An answer that is the invoice itself is put where it belongs."""
        if not isinstance(document, dict) or "invoice" in document:
            return document
        is_invoice = "invoiceNumber" in document or "invoiceItems" in document
        return {"invoice": document} if is_invoice else document
