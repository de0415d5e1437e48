"""Internal. Invoices, payments and text2pay: bodies of requests and answers."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict, Unpack

from msgspec import UNSET, UnsetType, field

from hl_async.models.choices import InvoiceStatus, PaymentMode, SendAction, Text2PayAction
from hl_async.models.common import (
    Attachment,
    AutoPayment,
    BusinessDetails,
    Card,
    Contact,
    ContactDetails,
    Discount,
    LateFeesConfiguration,
    MiscellaneousCharges,
    PaymentMethods,
    SenderConfiguration,
    SentTo,
    TipsConfiguration,
    TotalSummary,
)
from hl_async.models.dates import day_of, instant_of
from hl_async.models.inputs import ABSENT, Day, OptionalDay, OptionalQuantity, RequiredDay
from hl_async.models.instalments import PaymentSchedule
from hl_async.models.lines import BilledLines, DocumentRequest, GivenLines, Item, lines_for_request
from hl_async.models.located import Located
from hl_async.models.money import guard_document
from hl_async.models.plain import check_names
from hl_async.models.structs import Answer, Part
from hl_async.models.validation import Currency, NonEmptyStr, Request, UserId

if TYPE_CHECKING:
    _NumberText: TypeAlias = str
else:
    _NumberText: TypeAlias = str | int | float | None


def _number_text(value: str | float | None) -> str | None:
    """Return a document number as text.

    ``19`` and ``19.0`` become "19". "000117" is unchanged.
    """
    if value is None or isinstance(value, str):
        return value
    # Answers declare a number and show text: docs/api-facts.md#api-number-types
    return str(int(value)) if value == int(value) else str(value)


class InvoiceBody(DocumentRequest, frozen=True):
    """The fields that new invoices and updates have in common."""

    name: NonEmptyStr
    currency: Currency
    issue_date: RequiredDay
    discount: Discount = field(default_factory=Discount)
    invoice_number: str | UnsetType = UNSET
    terms_notes: str | UnsetType | None = UNSET
    title: str | UnsetType | None = UNSET
    automatic_taxes_enabled: bool | UnsetType = UNSET
    payment_schedule: PaymentSchedule | UnsetType = UNSET
    tips_configuration: TipsConfiguration | UnsetType = UNSET
    invoice_number_prefix: str | UnsetType = UNSET
    payment_methods: PaymentMethods | UnsetType = UNSET
    attachments: list[Attachment] | UnsetType = UNSET
    miscellaneous_charges: MiscellaneousCharges | UnsetType = UNSET
    extra: dict[str, Any] | UnsetType = UNSET


class InvoiceDraft(InvoiceBody, kw_only=True, frozen=True):
    """A new invoice.

    With ``live_mode`` False it is a test document. ``invoice_number`` is text.
    """

    if TYPE_CHECKING:
        # mypy gives an inherited field of a frozen class the type that it accepts; this restores the one it stores.
        issue_date: RequiredDay

    business_details: BusinessDetails
    items: BilledLines
    contact_details: ContactDetails
    sent_to: SentTo
    live_mode: bool
    due_date: OptionalDay = ABSENT
    late_fees_configuration: LateFeesConfiguration | UnsetType = UNSET


class InvoiceUpdate(InvoiceBody, kw_only=True, frozen=True):
    """The complete replacement of an invoice.

    Fields left out are lost, so start from ``invoice.to_update()``.
    """

    if TYPE_CHECKING:
        # mypy gives an inherited field of a frozen class the type that it accepts; this restores the one it stores.
        issue_date: RequiredDay

    # Every other request calls the lines `items`: docs/api-facts.md#api-field-names
    invoice_items: BilledLines
    due_date: RequiredDay
    description: str | UnsetType | None = UNSET
    business_details: BusinessDetails | UnsetType = UNSET
    contact_id: str | UnsetType = UNSET
    contact_details: ContactDetails | UnsetType = UNSET
    live_mode: bool | UnsetType = UNSET
    # The shape is unknown: docs/api-facts.md#api-open-shapes
    xero_details: dict[str, Any] | UnsetType = UNSET


class InvoiceChanges(TypedDict, total=False):
    """Fields of an invoice, for ``patch()`` and ``to_update()``."""

    name: str
    currency: str
    invoice_items: GivenLines
    issue_date: Day
    due_date: Day
    discount: Discount
    title: str | None
    description: str | None
    business_details: BusinessDetails
    invoice_number: str
    contact_id: str
    contact_details: ContactDetails
    terms_notes: str | None
    automatic_taxes_enabled: bool
    live_mode: bool
    payment_schedule: PaymentSchedule
    tips_configuration: TipsConfiguration
    xero_details: dict[str, Any]
    invoice_number_prefix: str
    payment_methods: PaymentMethods
    attachments: list[Attachment]
    miscellaneous_charges: MiscellaneousCharges
    extra: dict[str, Any]


class InvoiceSend(Request, frozen=True):
    """Body of ``invoices.send``.

    ``action`` is sms_and_email, send_manually, email or sms. ``user_id`` is the user of the location who appears as
    the sender. ``auto_payment`` may charge the customer.
    """

    user_id: UserId
    action: SendAction
    live_mode: bool
    sent_from: SenderConfiguration | UnsetType = UNSET
    auto_payment: AutoPayment | UnsetType = UNSET
    extra: dict[str, Any] | UnsetType = UNSET


class Cheque(Part):
    """The cheque of a recorded payment."""

    number: str | None = None


class RecordPayment(Request, frozen=True):
    """Body of ``invoices.record_payment``, for a payment made outside the API.

    ``amount`` is in major units. ``mode`` is cash, card, cheque, bank_transfer or other. The specification requires
    ``card``, ``cheque`` and ``notes`` for every mode, which looks like a mistake. It is unknown whether the API accepts
    a payment without them, so ``card`` and ``cheque`` are optional here (docs/api-facts.md#api-record-payment).
    """

    mode: PaymentMode
    # Sent even if empty, because it is required for every mode: docs/api-facts.md#api-record-payment
    notes: str = ""
    amount: OptionalQuantity = ABSENT
    card: Card | UnsetType = UNSET
    cheque: Cheque | UnsetType = UNSET
    meta: dict[str, Any] | UnsetType = UNSET
    payment_schedule_ids: list[str] | UnsetType = UNSET
    fulfilled_at: datetime | UnsetType = UNSET
    extra: dict[str, Any] | UnsetType = UNSET


class Text2Pay(DocumentRequest, frozen=True):
    """Body of ``invoices.text2pay``: creates an invoice and sends it in one call.

    ``action`` is "send", or "draft" to send nothing. With ``id``, the call updates that invoice instead.
    """

    name: NonEmptyStr
    currency: Currency
    items: BilledLines
    contact_details: ContactDetails
    issue_date: RequiredDay
    sent_to: SentTo
    live_mode: bool
    action: Text2PayAction
    user_id: UserId
    id: str | UnsetType = UNSET
    include_terms_note: bool | UnsetType = UNSET
    terms_notes: str | UnsetType | None = UNSET
    title: str | UnsetType | None = UNSET
    invoice_number: str | UnsetType = UNSET
    due_date: OptionalDay = ABSENT
    automatic_taxes_enabled: bool | UnsetType = UNSET
    payment_schedule: PaymentSchedule | UnsetType = UNSET
    late_fees_configuration: LateFeesConfiguration | UnsetType = UNSET
    tips_configuration: TipsConfiguration | UnsetType = UNSET
    invoice_number_prefix: str | UnsetType = UNSET
    payment_methods: PaymentMethods | UnsetType = UNSET
    attachments: list[Attachment] | UnsetType = UNSET
    miscellaneous_charges: MiscellaneousCharges | UnsetType = UNSET
    discount: Discount | UnsetType = UNSET
    business_details: BusinessDetails | UnsetType = UNSET
    extra: dict[str, Any] | UnsetType = UNSET


class InvoiceVisit(Request, frozen=True):
    """Body of ``touch_last_visited`` of invoices."""

    invoice_id: NonEmptyStr


class CurrencyOptions(Answer):
    """The code and the symbol of an invoice's currency."""

    code: str | None = None
    symbol: str | None = None


class Invoice(Located):
    """An invoice as the API answers it.

    The lines are ``invoice_items``, as on the wire. ``invoice_number`` is always text. ``issue_date`` and
    ``due_date`` are calendar days of the location; ``issue_date_text`` and ``due_date_text`` are the texts of the API.
    An invoice made from an estimate has ``source`` "estimate" and the estimate's id as ``source_id``.
    """

    id: str = field(name="_id")
    status: InvoiceStatus | str | None = None
    live_mode: bool | None = None
    amount_paid: Decimal | None = None
    alt_id: str | None = None
    alt_type: str | None = None
    name: str | None = None
    business_details: BusinessDetails | None = None
    # Declared a number, shown as text: docs/api-facts.md#api-number-types
    invoice_number: str | int | float | None = None
    currency: str | None = None
    contact_details: Contact | None = None
    issue_date_text: str | None = field(name="issueDate", default=None)
    due_date_text: str | None = field(name="dueDate", default=None)
    discount: Discount | None = None
    invoice_items: list[Item] | None = None
    total: Decimal | None = None
    title: str | None = None
    amount_due: Decimal | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    automatic_taxes_enabled: bool | None = None
    automatic_taxes_calculated: bool | None = None
    payment_schedule: PaymentSchedule | None = None
    total_summary: TotalSummary | None = None
    reminders_configuration: dict[str, Any] | None = None
    source: str | None = None
    # Undeclared; it names the estimate that the invoice was made from: docs/api-facts.md#api-undeclared-fields
    source_id: str | None = None
    terms_notes: str | None = None
    description: str | None = None
    tips_configuration: TipsConfiguration | None = None
    late_fees_configuration: LateFeesConfiguration | None = None
    payment_methods: PaymentMethods | None = None
    invoice_number_prefix: str | None = None
    attachments: list[Attachment] | None = None
    miscellaneous_charges: MiscellaneousCharges | None = None
    sent_to: SentTo | None = None
    meta: dict[str, Any] | None = None
    company_id: str | None = None
    # Undeclared, seen in live answers: docs/api-facts.md#api-undeclared-fields
    sent_at: datetime | None = None
    sent_by: str | None = None
    sent_from: SenderConfiguration | None = None
    updated_by: str | None = None
    last_visited_at: datetime | None = None
    invoice_total: Decimal | None = None
    currency_options: CurrencyOptions | None = None
    tips_received: list[Any] | None = None
    external_transactions: list[Any] | None = None
    opportunity_details: Any = None
    trace_id: str | None = None

    def __post_init__(self) -> None:
        guard_document(
            self.invoice_items,
            self.discount,
            self.total,
            self.amount_paid,
            self.amount_due,
            self.invoice_total,
        )
        if type(self.invoice_number) is not str:
            self.invoice_number = _number_text(self.invoice_number)

    @property
    def issue_date(self) -> date | None:
        """The day of issue at the location.

        None if the text is missing, or has several readings and the time zone is unknown.
        """
        return day_of(self.issue_date_text, self.due_date_text, self.timezone)

    @property
    def due_date(self) -> date | None:
        """The last day to pay, at the location.

        None if the text is missing, or has several readings and the time zone is unknown.
        """
        return day_of(self.due_date_text, self.issue_date_text, self.timezone)

    @property
    def issue_instant(self) -> datetime | None:
        """The moment at which the day of issue begins; None if the text has no time."""
        return instant_of(self.issue_date_text)

    @property
    def due_instant(self) -> datetime | None:
        """The moment at which the last day to pay ends; None if the text has no time."""
        return instant_of(self.due_date_text)

    def to_update(self, **changes: Unpack[InvoiceChanges]) -> InvoiceUpdate:
        """Return the body of an update that leaves this invoice unchanged.

        Pass `changes`, then send it with ``invoices.update(id, body)``. Dates are days of the location, and a
        discount is always present. The body carries every other field that an update can hold, and omits empty parts.
        A missing issue date becomes the day of creation, a missing due date the issue date.

        Args:
            changes: Fields of `InvoiceUpdate` with new values.

        Raises:
            InvalidRequest: A date without a new value is not readable or has several readings, or a name in `changes`
                is unknown.
        """
        check_names(InvoiceUpdate, changes)
        # Callers may pass lines of an answer. A request has them in another form, so they are converted.
        if "invoice_items" in changes:
            currency = changes.get("currency") or self.currency or "USD"
            changes["invoice_items"] = lines_for_request(changes["invoice_items"], currency)
        currency = self.currency or "USD"
        values: dict[str, Any] = {
            name: value for name in _CARRIED if (value := getattr(self, name)) is not None
        }
        if self.contact_details is not None:
            values["contact_details"] = self.contact_details.for_request()
            # an update has the contact's id in two places, here and inside contactDetails
            if self.contact_details.id:
                values["contact_id"] = self.contact_details.id
        if self.business_details is not None:
            values["business_details"] = self.business_details.for_request()
        if "issue_date" not in changes:
            values["issue_date"] = (
                self._day("issue_date", self.issue_date, self.issue_date_text)
                if self.issue_date_text
                else self.created_at.date()
                if self.created_at
                else date(1970, 1, 1)
            )
        # The specification requires a due date in an update, and lets an invoice lack it.
        if "due_date" not in changes:
            values["due_date"] = (
                self._day("due_date", self.due_date, self.due_date_text)
                if self.due_date_text
                else changes.get("issue_date") or values["issue_date"]
            )
        values |= {
            "name": self.name or "-",
            "currency": currency,
            "invoice_items": [item.for_request(currency) for item in self.invoice_items or ()],
            "discount": (self.discount or Discount()).for_request(),
        }
        return InvoiceUpdate(**{**values, **changes})


_CARRIED = (
    "title", "description", "invoice_number", "terms_notes", "automatic_taxes_enabled", "live_mode",
    "payment_schedule", "tips_configuration", "invoice_number_prefix", "payment_methods", "attachments",
    "miscellaneous_charges",
)  # fmt: skip


class InvoiceList(Answer):
    """A page of invoices."""

    invoices: list[Invoice] | None = None
    total: int | None = None
    trace_id: str | None = None

    @property
    def entries(self) -> list[Invoice]:
        """The page's documents."""
        return self.invoices or []


class InvoiceNumber(Answer):
    """The next number of an invoice, as text with leading zeros.

    ``generate_number()`` raises if the answer has none.
    """

    # Live numbers have leading zeros, which a number would lose: docs/api-facts.md#api-number-types
    invoice_number: _NumberText
    trace_id: str | None = None

    def __post_init__(self) -> None:
        text: Any = _number_text(self.invoice_number)
        self.invoice_number = text


class InvoiceSent(Answer):
    """The answer to sending an invoice.

    The shapes of ``sms_data`` and ``email_data`` are unknown.
    """

    invoice: Invoice | None = None
    # Both pass through undecoded: docs/api-facts.md#api-open-shapes
    sms_data: Any = None
    email_data: Any = None


class PaymentRecorded(Answer):
    """The answer to recording a payment; ``invoice`` includes the payment."""

    success: bool | None = None
    invoice: Invoice | None = None


class Text2PayResult(Answer):
    """An invoice, and the address of the page on which the customer pays it."""

    invoice: Invoice | None = None
    # The only declared link that can be paid: docs/api-facts.md#api-text2pay
    invoice_url: str | None = None
