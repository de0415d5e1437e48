"""Internal. Parts that documents share."""

from __future__ import annotations

import re
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType, field

from hl_async.errors import InvalidRequest
from hl_async.models.choices import DiscountType
from hl_async.models.inputs import NOTHING, DayText, NullableAmount
from hl_async.models.locations import LocationDetails
from hl_async.models.money import guard
from hl_async.models.plain import Plain
from hl_async.models.structs import Answer, Part, typed_entries
from hl_async.models.validation import Request

ZERO = Decimal(0)
_NO_DISCOUNT: Final[Any] = ZERO


class Address(Part):
    """A postal address; the form of ``country_code`` varies."""

    address_line1: str | None = None
    address_line2: str | None = None
    city: str | None = None
    state: str | None = None
    # ISO 3166 alpha-2 in the settings, USA in examples elsewhere: docs/api-facts.md#api-addresses
    country_code: str | None = None
    postal_code: str | None = None


class BusinessDetails(Part):
    """The issuer of a document.

    ``address`` may be text in answers. Requests send an :class:`Address`.
    """

    logo_url: str | None = None
    name: str | None = None
    phone_no: str | None = None
    address: Address | str | None = None
    website: str | None = None
    # Declared as text, objects in examples: docs/api-facts.md#api-custom-fields
    custom_values: list[Any] | None = None

    @classmethod
    def of(cls, location: LocationDetails) -> BusinessDetails:
        """Return the issuer for documents of a location, from ``shop.details()``.

        A field of the location's business wins over the location's field of the same name.
        """
        business = location.business
        found = {
            name: (getattr(business, name, None) or getattr(location, name))
            for name in ("name", "website", "logo_url", "address", "city", "state", "postal_code", "country")
        }
        address = Address(
            address_line1=found["address"],
            city=found["city"],
            state=found["state"],
            postal_code=found["postal_code"],
            country_code=found["country"],
        )
        return cls(
            name=found["name"],
            phone_no=location.phone,
            website=found["website"],
            logo_url=found["logo_url"],
            address=None if address == Address() else address,
        )

    def for_request(self) -> BusinessDetails:
        """Return the details for a request: address as object, custom values as text."""
        # Requests take an object, webhooks and examples show text: docs/api-facts.md#api-addresses
        address, values = self.address, self.custom_values
        if isinstance(address, str):
            address = Address(address_line1=address) if address else None
        if values:
            values = declared_values(values)
        if address is self.address and values is self.custom_values:
            return self
        return msgspec.structs.replace(self, address=address, custom_values=values)


def declared_values(values: list[Any]) -> list[Any]:
    """Return custom values as text for requests: docs/api-facts.md#api-custom-fields.

    Answers hold objects with a name, a key and a value. A request sends the value.
    """
    texts = (one.get("value") if isinstance(one, dict) else one for one in values)
    return [text if isinstance(text, str) else str(text) for text in texts if text is not None]


class AdditionalEmail(Part):
    """A further e-mail address of a contact."""

    email: str | None = None


class Contact(Part):
    """The customer of a document in an answer."""

    id: str | None = None
    name: str | None = None
    phone_no: str | None = None
    email: str | None = None
    additional_emails: list[AdditionalEmail] | None = None
    company_name: str | None = None
    address: Address | str | None = None
    # Objects in answers, text in webhooks: docs/api-facts.md#api-custom-fields
    custom_fields: list[Any] | None = None

    def for_request(self) -> ContactDetails:
        """Return the contact for a request: phone number without separators."""
        address = Address(address_line1=self.address) if isinstance(self.address, str) else self.address
        phone = self.phone_no
        # Answers hold separators that the API refuses in requests: docs/api-facts.md#api-contact
        if phone is not None and phone.startswith("+"):
            phone = _SEPARATORS.sub("", phone)
        return ContactDetails(
            id=self.id or "",
            name=self.name or "",
            phone_no=UNSET if phone is None else phone,
            email=UNSET if self.email is None else self.email,
            additional_emails=UNSET if self.additional_emails is None else self.additional_emails,
            company_name=UNSET if self.company_name is None else self.company_name,
            address=UNSET if address is None else address,
            custom_fields=UNSET if self.custom_fields is None else declared_values(self.custom_fields),
        )


class ContactDetails(Request, frozen=True):
    """The customer of a new document; `id` is the contact's id.

    `phone_no` is in E.164 form, such as ``+12145596993``. Estimates may omit it and `email`. The specification
    requires both on invoices, so the client sends empty text for a missing one (docs/api-facts.md#api-contact).
    """

    id: str
    name: str
    phone_no: str | UnsetType = UNSET
    email: str | UnsetType = UNSET
    additional_emails: list[AdditionalEmail] | UnsetType = UNSET
    company_name: str | UnsetType = UNSET
    address: Address | UnsetType = UNSET
    custom_fields: list[Any] | UnsetType = UNSET


# Not a Part, because a Part omits defaults: the API requires value and type. docs/api-facts.md#api-required-fields
class Discount(msgspec.Struct, Plain, kw_only=True, rename="camel", gc=False, repr_omit_defaults=True):
    """A discount on the whole document.

    ``value`` is in percent. With type "fixed" it is an amount in major units of the document's currency.
    ``valid_on_product_ids`` is a list; in one example of the API it is text that holds a list.
    """

    value: NullableAmount = _NO_DISCOUNT
    type: DiscountType | None = "percentage"
    valid_on_product_ids: list[str] | str | UnsetType | None = UNSET

    def for_request(self) -> Discount:
        """Return the discount for a request: no field is null, product ids are a list."""
        ids = self.valid_on_product_ids
        return Discount(
            value=ZERO if self.value is None else self.value,
            type=self.type or "percentage",
            valid_on_product_ids=_ID.findall(ids) if isinstance(ids, str) else UNSET if ids is None else ids,
        )


_ID: Final = re.compile(r"[0-9A-Za-z_-]{6,}")
_SEPARATORS: Final = re.compile(r"[\s().-]+")


class SentTo(Part):
    """The recipients of a document: e-mail addresses, phone numbers in E.164 form."""

    email: list[str] | None = None
    email_cc: list[str] | None = None
    email_bcc: list[str] | None = None
    phone_no: list[str] | None = None


class Attachment(Part):
    """A file of a document; ``size`` in bytes."""

    id: str | None = None
    name: str | None = None
    url: str | None = None
    type: str | None = None
    size: Decimal | None = None


class TipsConfiguration(Part):
    """The tips that a customer can choose; ``tips_percentage`` in percent.

    Entries of an answer may be text or numbers. Both are read as numbers, and an entry that is neither is dropped.
    """

    # Declared as text, shown as numbers: docs/api-facts.md#api-open-shapes
    tips_percentage: list[Decimal] | None = None
    tips_enabled: bool | None = None


class LateFeesFrequency(Part):
    """How often a late fee is added: every ``interval_count`` units of ``interval``.

    ``interval`` is minute, hour, day, week or month; one_time adds the fee once.
    """

    interval_count: NullableAmount = NOTHING
    interval: str | None = None


class LateFeesGrace(Part):
    """The time before the first late fee, in days: ``interval`` is "day"."""

    interval_count: NullableAmount = NOTHING
    interval: str | None = None


class LateFeesMaximum(Part):
    """The largest sum of late fees: ``value`` in major units, ``type`` "fixed"."""

    type: str | None = None
    value: NullableAmount = NOTHING

    def __post_init__(self) -> None:
        guard(self.value)


class LateFeesConfiguration(Part):
    """Late fees: ``value`` in percent, or in major units with type "fixed"."""

    enable: bool | None = None
    value: NullableAmount = NOTHING
    type: str | None = None
    frequency: LateFeesFrequency | None = None
    grace: LateFeesGrace | None = None
    max_late_fees: LateFeesMaximum | None = None

    def __post_init__(self) -> None:
        guard(self.value)


class StripePaymentMethod(Part):
    """The payment methods that Stripe offers the customer."""

    enable_bank_debit_only: bool | None = None


class PaymentMethods(Part):
    """The ways to pay a document."""

    stripe: StripePaymentMethod | None = None


class PaidCharge(Part):
    """A processing fee that was paid; ``charge`` and ``amount`` in major units."""

    id: str | None = field(name="_id", default=None)
    name: str | None = None
    charge: Decimal | None = None
    amount: Decimal | None = None

    def __post_init__(self) -> None:
        guard(self.charge, self.amount)


class Charge(Part):
    """A processing fee.

    It is disputed whether `charge` is a percentage or an amount (docs/api-facts.md#api-open-shapes).
    """

    id: str | None = field(name="_id", default=None)
    name: str | None = None
    charge: NullableAmount = NOTHING
    amount: NullableAmount = NOTHING
    enabled: bool | None = None

    def __post_init__(self) -> None:
        guard(self.charge, self.amount)


class MiscellaneousCharges(Part):
    """The processing fees of a document; `charges` holds `Charge` objects.

    An entry of an answer with keys that `Charge` lacks stays a mapping.
    """

    charges: list[Any] | None = None
    collected_miscellaneous_charges: Decimal | None = None
    paid_charges: list[PaidCharge] | None = None

    def __post_init__(self) -> None:
        self.charges = typed_entries(self.charges, Charge)
        guard(self.collected_miscellaneous_charges)


class RecurrenceRule(Part):
    """The rule of a recurring invoice.

    `start_date` and `end_date` accept dates and text like 2026-12-31, and are stored as text. `start_time` and
    `end_time` are text like ``HH:mm:ss``.
    """

    interval_type: str | None = None
    interval: NullableAmount = NOTHING
    start_date: DayText = NOTHING
    start_time: str | None = None
    end_date: DayText = NOTHING
    end_time: str | None = None
    day_of_month: NullableAmount = NOTHING
    day_of_week: str | None = None
    num_of_week: NullableAmount = NOTHING
    month_of_year: str | None = None
    count: NullableAmount = NOTHING
    days_before: NullableAmount = NOTHING
    use_start_as_primary_user_accepted: bool | None = None
    end_type: str | None = None

    def __post_init__(self) -> None:
        """Store dates as text, in the API's form, and whole numbers as Decimal.

        Raises:
            InvalidRequest: A date is a datetime, whose day depends on a time zone.
        """
        for name in ("start_date", "end_date"):
            value: object = getattr(self, name)
            if isinstance(value, datetime):
                raise InvalidRequest(name, "takes a date, not a datetime; pass value.date()")
            if isinstance(value, date):
                setattr(self, name, value.isoformat())
        for name in ("interval", "day_of_month", "num_of_week", "count", "days_before"):
            number: object = getattr(self, name)
            if type(number) is int:
                setattr(self, name, Decimal(number))


class ScheduleOptions(Part):
    """When a document is created: once at ``execute_at``, or by a recurrence rule."""

    execute_at: str | None = None
    rrule: RecurrenceRule | None = None


# Not a Part, which omits defaults: one-off estimates need `enabled`. docs/api-facts.md#api-frequency-settings
class FrequencySettings(
    msgspec.Struct, Plain, kw_only=True, rename="camel", gc=False, repr_omit_defaults=True
):
    """Whether an estimate recurs; the API requires it for one-off estimates too."""

    enabled: bool | None = False
    schedule: ScheduleOptions | UnsetType | None = UNSET

    def for_request(self) -> FrequencySettings:
        """Return the settings in the form of a request: `schedule` is always present."""
        return FrequencySettings(enabled=bool(self.enabled), schedule=self.schedule or ScheduleOptions())


class AutoInvoicing(Part):
    """Whether the API turns an accepted estimate into an invoice."""

    enabled: bool | None = None
    direct_payments: bool | None = None


class SenderConfiguration(Part):
    """The sender's name and address, as the customer sees them."""

    from_name: str | None = None
    from_email: str | None = None


class Card(Part):
    """The card of a recorded payment: its brand and its last four digits."""

    brand: str | None = None
    last4: str | None = None


# No renaming: these keys alone are snake case on the wire. docs/api-facts.md#api-field-names
class BankAccount(msgspec.Struct, Plain, kw_only=True, omit_defaults=True, repr_omit_defaults=True):
    """A bank account of one of the four debit schemes.

    Its keys are in snake_case on the wire, unlike those of all other parts.
    """

    bank_name: str | None = None
    bank_code: str | None = None
    branch_code: str | None = None
    sort_code: str | None = None
    bsb_number: str | None = None
    last4: str | None = None


class AutoPayment(Part):
    """The means by which a customer is charged automatically."""

    enable: bool | None = None
    type: str | None = None
    payment_method_id: str | None = None
    customer_id: str | None = None
    card: Card | None = None
    us_bank_account: BankAccount | None = field(name="usBankAccount", default=None)
    sepa_direct_debit: BankAccount | None = field(name="sepaDirectDebit", default=None)
    bacs_direct_debit: BankAccount | None = field(name="bacsDirectDebit", default=None)
    becs_direct_debit: BankAccount | None = field(name="becsDirectDebit", default=None)
    card_id: str | None = None
    # Its shape is unknown, so it passes through undecoded: docs/api-facts.md#api-open-shapes
    provider: Any = None


class TotalSummary(Part):
    """The parts of a total, in major units; webhooks leave ``tax`` out."""

    sub_total: Decimal | None = None
    discount: Decimal | None = None
    # Missing in webhooks: docs/api-facts.md#api-webhook-payload
    tax: Decimal | None = None

    def __post_init__(self) -> None:
        guard(self.sub_total, self.discount, self.tax)


class Deleted(Answer):
    """The answer to deleting an invoice template or a schedule."""

    # Estimates and invoices answer their document instead: docs/api-facts.md#api-delete-answer
    success: bool | None = None


class LateFeesUpdate(Request, frozen=True):
    """Body of ``update_late_fees``."""

    late_fees_configuration: LateFeesConfiguration


class PaymentMethodsUpdate(Request, frozen=True):
    """Body of ``update_payment_methods``."""

    payment_methods: PaymentMethods
