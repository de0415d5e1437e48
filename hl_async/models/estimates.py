"""Internal. Estimates: bodies of requests and answers."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict, Unpack

from msgspec import UNSET, UnsetType, field

from hl_async.models.choices import EstimateStatus, SendAction
from hl_async.models.common import (
    Attachment,
    AutoInvoicing,
    BusinessDetails,
    Contact,
    ContactDetails,
    Discount,
    FrequencySettings,
    MiscellaneousCharges,
    SenderConfiguration,
    SentTo,
)
from hl_async.models.dates import day_of, instant_of
from hl_async.models.inputs import ABSENT, Day, OptionalDay
from hl_async.models.instalments import PaymentScheduleConfig
from hl_async.models.invoices import Invoice
from hl_async.models.lines import DocumentRequest, EstimateLines, GivenLines, Item, lines_for_request
from hl_async.models.located import Located
from hl_async.models.money import guard_document
from hl_async.models.plain import check_names
from hl_async.models.structs import Answer
from hl_async.models.validation import Currency, NonEmptyStr, Request, UserId


class EstimateSend(Request, frozen=True):
    """Body of ``estimates.send``.

    ``action`` is sms_and_email, send_manually, email or sms. ``user_id`` is the user of the location who appears as
    the sender. The client cannot derive it from the token.
    """

    action: SendAction
    # Required, and not derivable from a token: docs/api-facts.md#api-sender
    user_id: UserId
    live_mode: bool = True
    sent_from: SenderConfiguration | UnsetType = UNSET
    estimate_name: str | UnsetType = UNSET
    sent_to: SentTo | UnsetType = UNSET
    alt_id: str | UnsetType = UNSET
    alt_type: str | UnsetType = UNSET
    extra: dict[str, Any] | UnsetType = UNSET


class EstimateBody(DocumentRequest, frozen=True):
    """The fields that estimates and their templates have in common."""

    # Fields without a default are those that the live validator requires: docs/api-facts.md#api-required-fields
    name: NonEmptyStr
    currency: Currency
    items: EstimateLines
    business_details: BusinessDetails = field(default_factory=BusinessDetails)
    # Required even for a document without a discount: docs/api-facts.md#api-required-fields
    discount: Discount = field(default_factory=Discount)
    live_mode: bool | UnsetType = UNSET
    terms_notes: str | UnsetType | None = UNSET
    title: str | UnsetType | None = UNSET
    automatic_taxes_enabled: bool | UnsetType = UNSET
    # Whether lists return it is unknown: docs/api-facts.md#api-meta
    meta: dict[str, Any] | UnsetType = UNSET
    send_estimate_details: EstimateSend | UnsetType = UNSET
    estimate_number_prefix: str | UnsetType = UNSET
    attachments: list[Attachment] | UnsetType = UNSET
    miscellaneous_charges: MiscellaneousCharges | UnsetType = UNSET
    extra: dict[str, Any] | UnsetType = UNSET


class EstimateDraft(EstimateBody, kw_only=True, frozen=True):
    """A new estimate.

    `name` and `title` have at most 40 characters (docs/api-facts.md#api-names-40). Before the request is sent, the
    client completes it: a missing title is the name, a missing issue date is the current day at the location
    (docs/api-facts.md#api-required-fields). `meta` holds data of the caller, which the API returns with the estimate.
    `extra` holds undeclared keys in the wire's spelling, at the caller's own risk.
    """

    if TYPE_CHECKING:
        # mypy gives an inherited field of a frozen class the type that it accepts; this restores the one it stores.
        items: EstimateLines

    contact_details: ContactDetails
    expiry_date: OptionalDay
    # Required for a one-off estimate too: docs/api-facts.md#api-frequency-settings
    frequency_settings: FrequencySettings = field(default_factory=FrequencySettings)
    issue_date: OptionalDay = ABSENT
    estimate_number: int | UnsetType = UNSET
    sent_to: SentTo | UnsetType = UNSET
    user_id: str | UnsetType = UNSET
    auto_invoice: AutoInvoicing | UnsetType = UNSET
    payment_schedule_config: PaymentScheduleConfig | UnsetType = UNSET


class EstimateUpdate(EstimateDraft, frozen=True):
    """The complete replacement of an estimate.

    Fields left out are lost, so start from ``estimate.to_update()``.
    """

    if TYPE_CHECKING:
        # mypy gives an inherited field of a frozen class the type that it accepts; this restores the one it stores.
        items: EstimateLines

    estimate_status: EstimateStatus | UnsetType = UNSET


class EstimateDraftChanges(TypedDict, total=False):
    """Fields of a new estimate except its expiry date, for `template.to_estimate()`."""

    name: str
    currency: str
    items: GivenLines
    contact_details: ContactDetails
    business_details: BusinessDetails
    discount: Discount
    frequency_settings: FrequencySettings
    issue_date: Day
    live_mode: bool
    terms_notes: str | None
    title: str | None
    estimate_number: int
    sent_to: SentTo
    automatic_taxes_enabled: bool
    meta: dict[str, Any]
    send_estimate_details: EstimateSend
    estimate_number_prefix: str
    user_id: str
    attachments: list[Attachment]
    auto_invoice: AutoInvoicing
    miscellaneous_charges: MiscellaneousCharges
    payment_schedule_config: PaymentScheduleConfig
    extra: dict[str, Any]


class EstimateChanges(EstimateDraftChanges, total=False):
    """Fields of an estimate, for ``patch()`` and ``to_update()``."""

    expiry_date: Day
    estimate_status: EstimateStatus


class InvoiceFromEstimate(Request, frozen=True):
    """Body of ``estimates.create_invoice``.

    ``version`` is "v1" or "v2", without relation to the version of the API. Its meaning is undocumented.
    """

    mark_as_invoiced: bool
    # The difference of the two values is unknown: docs/api-facts.md#api-estimate-to-invoice
    version: str | UnsetType = UNSET


class EstimateVisit(Request, frozen=True):
    """Body of ``touch_last_visited`` of estimates."""

    estimate_id: NonEmptyStr


class EstimateConfiguration(Answer):
    """How the API computes an estimate: decimal places of its amounts."""

    precision: int | None = None


class Estimate(Located):
    """An estimate as the API answers it.

    `status` is ``estimateStatus`` on the wire; updates cannot change it. `issue_date` and `expiry_date` are calendar
    days of the location. `issue_date_text` and `expiry_date_text` are the texts of the API, `issue_instant` and
    `expiry_instant` the date-times in them (docs/api-facts.md#api-dates). `estimate_action_history` holds local times
    without a zone: don't read them as UTC.
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
    # Declared a number; text is tolerated: docs/api-facts.md#api-number-types
    estimate_number: int | str | None = None
    estimate_number_prefix: str | None = None
    # Open text when read, because clients have seen undeclared states: docs/api-facts.md#api-enums
    status: EstimateStatus | str | None = field(name="estimateStatus", default=None)
    attachments: list[Attachment] | None = None
    updated_by: str | None = None
    total: Decimal | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    # Undeclared, seen in live answers: docs/api-facts.md#api-undeclared-fields
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
    # The wire's own spelling: docs/api-facts.md#api-field-names
    total_amount_in_usd: Decimal | None = field(name="totalamountInUSD", default=None)
    auto_invoice: AutoInvoicing | None = None
    miscellaneous_charges: MiscellaneousCharges | None = None
    payment_schedule_config: PaymentScheduleConfig | None = None
    user_id: str | None = None
    opportunity_details: Any = None
    configuration: EstimateConfiguration | None = None
    trace_id: str | None = None

    def __post_init__(self) -> None:
        guard_document(self.items, self.discount, self.total, self.total_amount_in_usd)

    @property
    def issue_date(self) -> date | None:
        """The day of issue at the location.

        None if the text is missing, or has several readings and the time zone is unknown.
        """
        return day_of(self.issue_date_text, self.expiry_date_text, self.timezone)

    @property
    def expiry_date(self) -> date | None:
        """The last day of validity at the location.

        None if the text is missing, or has several readings and the time zone is unknown.
        """
        return day_of(self.expiry_date_text, self.issue_date_text, self.timezone)

    @property
    def issue_instant(self) -> datetime | None:
        """The moment at which the day of issue begins; None if the text has no time."""
        return instant_of(self.issue_date_text)

    @property
    def expiry_instant(self) -> datetime | None:
        """The moment at which the last day ends; None if the text has no time."""
        return instant_of(self.expiry_date_text)

    def to_update(self, **changes: Unpack[EstimateChanges]) -> EstimateUpdate:
        """Return the body of an update that leaves this estimate unchanged.

        Pass `changes`, then send it with ``estimates.update(id, body)``. Dates are days of the location, and a
        discount is always present. The body carries every other field that an update can hold. It omits empty parts,
        and the status, which the API ignores. A missing expiry date becomes the issue date, or the day of creation.

        Args:
            changes: Fields of `EstimateUpdate` with new values.

        Raises:
            InvalidRequest: A date without a new value is not readable or has several readings, or a name in `changes`
                is unknown.
        """
        check_names(EstimateUpdate, changes)
        # Callers may pass lines of an answer. A request has them in another form, so they are converted.
        if "items" in changes:
            currency = changes.get("currency") or self.currency or "USD"
            changes["items"] = lines_for_request(changes["items"], currency, attachments=True)
        currency = self.currency or "USD"
        number = self.estimate_number
        values: dict[str, Any] = {
            name: value for name in _CARRIED if (value := getattr(self, name)) is not None
        }
        # Answers may hold text here, requests take a number: docs/api-facts.md#api-number-types
        if isinstance(number, int) or (isinstance(number, str) and number.isdecimal()):
            values["estimate_number"] = int(number)
        if "issue_date" not in changes and self.issue_date_text:
            values["issue_date"] = self._day("issue_date", self.issue_date, self.issue_date_text)
        if "expiry_date" not in changes:
            values["expiry_date"] = (
                self._day("expiry_date", self.expiry_date, self.expiry_date_text)
                if self.expiry_date_text
                else values.get("issue_date") or changes.get("issue_date") or _created_day(self.created_at)
            )
        # The API requires these fields, and its answers may lack them: docs/api-facts.md#api-required-fields
        values |= {
            "name": self.name or "-",
            "currency": currency,
            "items": [item.for_request(currency, attachments=True) for item in self.items or ()],
            "contact_details": (self.contact_details or Contact()).for_request(),
            "business_details": (self.business_details or BusinessDetails()).for_request(),
            "discount": (self.discount or Discount()).for_request(),
            "frequency_settings": (self.frequency_settings or FrequencySettings()).for_request(),
        }
        return EstimateUpdate(**{**values, **changes})


# The fields that a request takes as the answer has them; `to_update` converts the others one by one.
_CARRIED = (
    "live_mode", "terms_notes", "title", "sent_to", "automatic_taxes_enabled", "meta", "estimate_number_prefix",
    "user_id", "attachments", "auto_invoice", "miscellaneous_charges", "payment_schedule_config",
)  # fmt: skip


def _created_day(created: datetime | None) -> date:
    # The API refuses a body without expiryDate: docs/api-facts.md#api-required-fields
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


if TYPE_CHECKING:
    _GivenNumber: TypeAlias = int | str
else:
    _GivenNumber: TypeAlias = int | str | None


class EstimateNumber(Answer):
    """The next number of an estimate.

    The API returns a number; text is accepted. ``generate_number()`` raises if the answer has none.
    """

    # A number here, while invoices have text: docs/api-facts.md#api-number-types
    estimate_number: _GivenNumber
    trace_id: str | None = None


class InvoiceFromEstimateResult(Answer):
    """The answer to creating an invoice from an estimate.

    A live answer lacked ``invoice`` although it was created (docs/api-facts.md#api-estimate-to-invoice).
    """

    estimate: Estimate | None = None
    invoice: Invoice | None = None

    @staticmethod
    def __reshape__(document: Any) -> Any:
        """Put an answer that is the invoice itself under the key ``invoice``."""
        if not isinstance(document, dict) or "invoice" in document:
            return document
        # Both forms are read, because a live answer lacked the key: docs/api-facts.md#api-estimate-to-invoice
        is_invoice = "invoiceNumber" in document or "invoiceItems" in document
        return {"invoice": document} if is_invoice else document
