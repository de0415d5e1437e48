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
    """``country_code`` is ISO 3166 alpha-2 in settings, free text elsewhere."""

    address_line1: str | None = None
    address_line2: str | None = None
    city: str | None = None
    state: str | None = None
    # Two letters in the settings, USA in examples elsewhere: docs/api-facts.md#api-addresses
    country_code: str | None = None
    postal_code: str | None = None


class BusinessDetails(Part):
    """The issuer of the document.

    ``address`` may be read as text; it is sent as an object.
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
        """Return the business details and logo of a location from ``shop.details()``.

        The location's business goes before the location's own fields.
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
        """Return a copy the API accepts: an address as an object, custom values as text."""
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

    Answers hold objects with a name, a key and a value; the value goes back.
    """
    texts = (one.get("value") if isinstance(one, dict) else one for one in values)
    return [text if isinstance(text, str) else str(text) for text in texts if text is not None]


class AdditionalEmail(Part):
    """A further e-mail address of a contact."""

    email: str | None = None


class Contact(Part):
    """The customer as answers hold them. ``custom_fields`` are objects or text."""

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
        """Return the contact as a request needs it: the phone number without separators."""
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

    `phone_no` (in E.164 form, ``+12145596993``) and `email` may be left out of estimates. The specification wants
    both on invoices, so there they are sent empty (docs/api-facts.md#api-contact).
    """

    id: str
    name: str
    phone_no: str | UnsetType = UNSET
    email: str | UnsetType = UNSET
    additional_emails: list[AdditionalEmail] | UnsetType = UNSET
    company_name: str | UnsetType = UNSET
    address: Address | UnsetType = UNSET
    custom_fields: list[Any] | UnsetType = UNSET


# Not a Part: the API requires value and type, so that defaults must be sent too. docs/api-facts.md#api-round-trip
class Discount(msgspec.Struct, Plain, kw_only=True, rename="camel", gc=False, repr_omit_defaults=True):
    """A discount on the whole document.

    ``value`` is in percent, or an amount with type "fixed". ``valid_on_product_ids`` is a list; one example of the
    API holds the text of a list instead.
    """

    value: NullableAmount = _NO_DISCOUNT
    type: DiscountType | None = "percentage"
    valid_on_product_ids: list[str] | str | UnsetType | None = UNSET

    def for_request(self) -> Discount:
        """Return a copy that the API accepts: nothing null, product ids as a list."""
        ids = self.valid_on_product_ids
        return Discount(
            value=ZERO if self.value is None else self.value,
            type=self.type or "percentage",
            valid_on_product_ids=_ID.findall(ids) if isinstance(ids, str) else UNSET if ids is None else ids,
        )


_ID: Final = re.compile(r"[0-9A-Za-z_-]{6,}")
_SEPARATORS: Final = re.compile(r"[\s().-]+")


class SentTo(Part):
    """The receivers of a document: addresses by field, phone numbers in E.164 form."""

    email: list[str] | None = None
    email_cc: list[str] | None = None
    email_bcc: list[str] | None = None
    phone_no: list[str] | None = None


class Attachment(Part):
    """A file; ``size`` in bytes."""

    id: str | None = None
    name: str | None = None
    url: str | None = None
    type: str | None = None
    size: Decimal | None = None


class TipsConfiguration(Part):
    """Settings of tips. ``tips_percentage`` is in percent.

    The API declares text and shows numbers; both are read as numbers. Invalid entries of an answer are left out.
    """

    # Declared as text, shown as numbers: docs/api-facts.md#api-open-shapes
    tips_percentage: list[Decimal] | None = None
    tips_enabled: bool | None = None


class LateFeesFrequency(Part):
    """The frequency of a late fee.

    It is added every ``interval_count`` minute, hour, day, week, month, or one_time.
    """

    interval_count: NullableAmount = NOTHING
    interval: str | None = None


class LateFeesGrace(Part):
    """Days (``interval`` "day") before the first late fee."""

    interval_count: NullableAmount = NOTHING
    interval: str | None = None


class LateFeesMaximum(Part):
    """The limit of late fees; ``type`` is "fixed"."""

    type: str | None = None
    value: NullableAmount = NOTHING

    def __post_init__(self) -> None:
        guard(self.value)


class LateFeesConfiguration(Part):
    """Late fees: ``value`` in percent, or an amount with type "fixed"."""

    enable: bool | None = None
    value: NullableAmount = NOTHING
    type: str | None = None
    frequency: LateFeesFrequency | None = None
    grace: LateFeesGrace | None = None
    max_late_fees: LateFeesMaximum | None = None

    def __post_init__(self) -> None:
        guard(self.value)


class StripePaymentMethod(Part):
    """Stripe's choices for the customer."""

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
    """A processing fee; `charge` is a percentage or an amount, which is disputed.

    See docs/api-facts.md#api-open-shapes.
    """

    id: str | None = field(name="_id", default=None)
    name: str | None = None
    charge: NullableAmount = NOTHING
    amount: NullableAmount = NOTHING
    enabled: bool | None = None

    def __post_init__(self) -> None:
        guard(self.charge, self.amount)


class MiscellaneousCharges(Part):
    """Processing fees; `charges` holds `Charge` objects.

    An entry of an answer with other keys stays a mapping.
    """

    charges: list[Any] | None = None
    collected_miscellaneous_charges: Decimal | None = None
    paid_charges: list[PaidCharge] | None = None

    def __post_init__(self) -> None:
        self.charges = typed_entries(self.charges, Charge)
        guard(self.collected_miscellaneous_charges)


class RecurrenceRule(Part):
    """The rule of a recurring invoice.

    It takes dates, and text like 2026-12-31; it holds text. Times are ``HH:mm:ss``.
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
        """Hold dates as the text that the API wants, and whole numbers as Decimal.

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
    """Once at ``execute_at``, or by a recurrence rule."""

    execute_at: str | None = None
    rrule: RecurrenceRule | None = None


# Not a Part: the settings are required for one-off estimates as well. docs/api-facts.md#api-frequency-settings
class FrequencySettings(
    msgspec.Struct, Plain, kw_only=True, rename="camel", gc=False, repr_omit_defaults=True
):
    """Whether the document recurs. The API requires it for every document."""

    enabled: bool | None = False
    schedule: ScheduleOptions | UnsetType | None = UNSET

    def for_request(self) -> FrequencySettings:
        """Return a copy with the parts that the specification requires."""
        return FrequencySettings(enabled=bool(self.enabled), schedule=self.schedule or ScheduleOptions())


class AutoInvoicing(Part):
    """Whether an accepted estimate becomes an invoice by itself."""

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
    """A bank account of any of the four debit schemes.

    It is the only part with snake_case on the wire.
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
    """The answer to a deletion that returns no document."""

    # Estimates and invoices answer their document instead: docs/api-facts.md#api-delete-answer
    success: bool | None = None


class LateFeesUpdate(Request, frozen=True):
    """Body of ``update_late_fees``."""

    late_fees_configuration: LateFeesConfiguration


class PaymentMethodsUpdate(Request, frozen=True):
    """Body of ``update_payment_methods``."""

    payment_methods: PaymentMethods
