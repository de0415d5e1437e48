"""Parts that documents share.

A :class:`Part` occurs in answers and in requests: everything in it is optional, None is left out when it is
sent. A ``Request`` occurs in requests alone and is strict. Answers are :class:`Answer`: unknown keys are
ignored, only what every document has is required (docs/api-facts.md#api-answer-fields).
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType, field

from hl_async.models.money import guard
from hl_async.models.validation import Currency, NonEmptyStr, Quantity, Request

ZERO = Decimal(0)


class Answer(msgspec.Struct, kw_only=True, rename="camel"):
    """What the API answers: tolerant, and mutable only because nothing is gained by forbidding it."""


class Part(msgspec.Struct, kw_only=True, rename="camel", omit_defaults=True, gc=False):
    """A part of a document, the same in answers and requests.

    Parts hold data, never a reference back, so the garbage collector need not look at them (``gc=False``): with a
    page of a hundred documents that is a tenth of the time it takes to read it.
    """


class Address(Part):
    """``country_code`` is ISO 3166 alpha-2 in settings, free text elsewhere."""

    address_line1: str | None = None
    address_line2: str | None = None
    city: str | None = None
    state: str | None = None
    country_code: str | None = None
    postal_code: str | None = None


class BusinessDetails(Part):
    """Who issues the document. ``address`` may be read as text; it is sent as an object."""

    logo_url: str | None = None
    name: str | None = None
    phone_no: str | None = None
    address: Address | str | None = None
    website: str | None = None
    custom_values: list[Any] | None = None

    def for_request(self) -> BusinessDetails:
        """A copy the API accepts: an address that came as text becomes its first line."""
        if isinstance(self.address, str):
            return msgspec.structs.replace(self, address=Address(address_line1=self.address))
        return self


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
    custom_fields: list[Any] | None = None

    def for_request(self) -> ContactDetails:
        """The same contact as a request needs it; what is missing becomes empty text."""
        address = Address(address_line1=self.address) if isinstance(self.address, str) else self.address
        return ContactDetails(
            id=self.id or "",
            name=self.name or "",
            phone_no=self.phone_no or "",
            email=self.email or "",
            additional_emails=UNSET if self.additional_emails is None else self.additional_emails,
            company_name=UNSET if self.company_name is None else self.company_name,
            address=UNSET if address is None else address,
            custom_fields=UNSET if self.custom_fields is None else self.custom_fields,
        )


class ContactDetails(Request, frozen=True):
    """The customer of a new document; ``id`` is the contact's id.

    The API wants all four; ``phone_no`` in E.164 form (``+12145596993``); an empty e-mail is accepted
    (production clients send one).
    """

    id: str
    name: str
    phone_no: str
    email: str
    additional_emails: list[AdditionalEmail] | UnsetType = UNSET
    company_name: str | UnsetType = UNSET
    address: Address | UnsetType = UNSET
    custom_fields: list[Any] | UnsetType = UNSET


class ItemTax(Part):
    """A tax of a line; ``rate`` in percent, ``calculation`` "exclusive"."""

    id: str | None = field(name="_id", default=None)
    name: str | None = None
    rate: Decimal | None = None
    calculation: str | None = None
    description: str | None = None
    tax_id: str | None = None


class LineItem(Request, frozen=True):
    """A line of a request. ``amount`` is the unit price in major units of ``currency``, ``qty`` may be fractional.

    ``description`` is rendered as HTML. ``attachments`` exist on estimates only. With automatic taxes,
    ``taxes`` is ignored and ``automatic_tax_category_id`` decides.
    """

    name: NonEmptyStr
    currency: Currency
    amount: Decimal
    qty: Quantity
    description: str | UnsetType | None = UNSET
    product_id: str | UnsetType | None = UNSET
    price_id: str | UnsetType | None = UNSET
    taxes: list[ItemTax] | UnsetType = UNSET
    automatic_tax_category_id: str | UnsetType | None = UNSET
    is_setup_fee_item: bool | UnsetType = UNSET
    type: str | UnsetType = UNSET
    tax_inclusive: bool | UnsetType = UNSET
    attachments: list[Any] | UnsetType = UNSET


class Item(Answer, gc=False):
    """A line of an answer; see :class:`LineItem`."""

    id: str | None = field(name="_id", default=None)
    name: str | None = None
    description: str | None = None
    product_id: str | None = None
    price_id: str | None = None
    currency: str | None = None
    amount: Decimal | None = None
    qty: Decimal | None = None
    taxes: list[ItemTax] | None = None
    automatic_tax_category_id: str | None = None
    is_setup_fee_item: bool | None = None
    type: str | None = None
    tax_inclusive: bool | None = None
    attachments: list[Any] | None = None

    def for_request(self, currency: str) -> LineItem:
        """The same line as a request needs it; ``currency`` is the document's, for lines without one."""
        kept = {
            name: value
            for name in LineItem.__struct_fields__
            if (value := getattr(self, name)) is not None
            and name not in ("name", "currency", "amount", "qty")
        }
        return LineItem(
            name=self.name or "-",
            currency=self.currency or currency,
            amount=self.amount if self.amount is not None else ZERO,
            qty=self.qty if self.qty is not None else ZERO,
            **kept,
        )


class Discount(msgspec.Struct, kw_only=True, rename="camel", gc=False):
    """A discount on the whole document: ``value`` in percent, or an amount with type "fixed".

    ``valid_on_product_ids`` is a list; one example of the API holds the text of a list instead.
    """

    value: Decimal | None = ZERO
    type: str | None = "percentage"
    valid_on_product_ids: list[str] | str | UnsetType | None = UNSET

    def for_request(self) -> Discount:
        """A copy the API accepts: nothing null, product ids as a list."""
        ids = self.valid_on_product_ids
        return Discount(
            value=ZERO if self.value is None else self.value,
            type=self.type or "percentage",
            valid_on_product_ids=_ID.findall(ids) if isinstance(ids, str) else UNSET if ids is None else ids,
        )


_ID = re.compile(r"[0-9A-Za-z_-]{6,}")


class SentTo(Part):
    """Where a document goes: addresses by field, phone numbers in E.164 form."""

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
    """``tips_percentage`` in percent; declared as text, numbers in the examples: both are read as numbers."""

    tips_percentage: list[Decimal] | None = None
    tips_enabled: bool | None = None


class LateFeesFrequency(Part):
    """How often a late fee is added: every ``interval_count`` minute, hour, day, week, month, or one_time."""

    interval_count: Decimal | None = None
    interval: str | None = None


class LateFeesGrace(Part):
    """Days (``interval`` "day") before the first late fee."""

    interval_count: Decimal | None = None
    interval: str | None = None


class LateFeesMaximum(Part):
    """The most that late fees may add: ``type`` "fixed"."""

    type: str | None = None
    value: Decimal | None = None

    def __post_init__(self) -> None:
        guard(self.value)


class LateFeesConfiguration(Part):
    """Late fees: ``value`` in percent, or an amount with type "fixed"."""

    enable: bool | None = None
    value: Decimal | None = None
    type: str | None = None
    frequency: LateFeesFrequency | None = None
    grace: LateFeesGrace | None = None
    max_late_fees: LateFeesMaximum | None = None

    def __post_init__(self) -> None:
        guard(self.value)


class StripePaymentMethod(Part):
    """What Stripe may offer the customer."""

    enable_bank_debit_only: bool | None = None


class PaymentMethods(Part):
    """How a document can be paid."""

    stripe: StripePaymentMethod | None = None


class PaidCharge(Part):
    """A processing fee that was paid; ``charge`` and ``amount`` in major units."""

    id: str | None = field(name="_id", default=None)
    name: str | None = None
    charge: Decimal | None = None
    amount: Decimal | None = None

    def __post_init__(self) -> None:
        guard(self.charge, self.amount)


class MiscellaneousCharges(Part):
    """Processing fees; the specification leaves the shape of ``charges`` open; it is passed through."""

    charges: list[Any] | None = None
    collected_miscellaneous_charges: Decimal | None = None
    paid_charges: list[PaidCharge] | None = None

    def __post_init__(self) -> None:
        guard(self.collected_miscellaneous_charges)


class RecurrenceRule(Part):
    """When a recurring invoice is made; dates as ``YYYY-MM-DD`` text, times as ``HH:mm:ss``."""

    interval_type: str | None = None
    interval: Decimal | None = None
    start_date: str | None = None
    start_time: str | None = None
    end_date: str | None = None
    end_time: str | None = None
    day_of_month: Decimal | None = None
    day_of_week: str | None = None
    num_of_week: Decimal | None = None
    month_of_year: str | None = None
    count: Decimal | None = None
    days_before: Decimal | None = None
    use_start_as_primary_user_accepted: bool | None = None
    end_type: str | None = None


class ScheduleOptions(Part):
    """Once at ``execute_at``, or by a recurrence rule."""

    execute_at: str | None = None
    rrule: RecurrenceRule | None = None


class FrequencySettings(msgspec.Struct, kw_only=True, rename="camel", gc=False):
    """Whether the document recurs; the API wants it even when it does not."""

    enabled: bool | None = False
    schedule: ScheduleOptions | UnsetType | None = UNSET


class AutoInvoicing(Part):
    """Whether an accepted estimate becomes an invoice by itself."""

    enabled: bool | None = None
    direct_payments: bool | None = None


class PaymentScheduleDates(Part):
    """What the dates of instalments follow from."""

    deposit_date_type: str | None = None
    schedule_date_type: str | None = None


class PaymentScheduleConfig(Part):
    """Instalments of an estimate; the specification leaves ``schedules`` open, so they pass through."""

    type: str | None = None
    date_config: PaymentScheduleDates | None = None
    schedules: list[Any] | None = None


class PaymentSchedule(Part):
    """Instalments of an invoice; the shape of ``schedules`` is unknown and passed through."""

    type: str | None = None
    schedules: list[Any] | None = None


class SenderConfiguration(Part):
    """In whose name a document is sent."""

    from_name: str | None = None
    from_email: str | None = None


class Card(Part):
    """The card of a recorded payment: its brand and its last four digits."""

    brand: str | None = None
    last4: str | None = None


class BankAccount(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A bank account of any of the four debit schemes; the only part with snake_case on the wire."""

    bank_name: str | None = None
    bank_code: str | None = None
    branch_code: str | None = None
    sort_code: str | None = None
    bsb_number: str | None = None
    last4: str | None = None


class AutoPayment(Part):
    """How a customer is charged without being asked again."""

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
    provider: Any = None


class TotalSummary(Part):
    """The parts of a total, in major units; webhooks leave ``tax`` out."""

    sub_total: Decimal | None = None
    discount: Decimal | None = None
    tax: Decimal | None = None

    def __post_init__(self) -> None:
        guard(self.sub_total, self.discount, self.tax)


class Deleted(Answer):
    """The answer to a deletion that returns no document."""

    success: bool | None = None


class LateFeesUpdate(Request, frozen=True):
    """Body of ``update_late_fees``."""

    late_fees_configuration: LateFeesConfiguration


class PaymentMethodsUpdate(Request, frozen=True):
    """Body of ``update_payment_methods``."""

    payment_methods: PaymentMethods
