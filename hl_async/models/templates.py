"""Internal. Templates of estimates and invoices."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Unpack

from msgspec import UNSET, UnsetType, field

from hl_async.models.common import (
    Attachment,
    BusinessDetails,
    ContactDetails,
    Discount,
    LateFeesConfiguration,
    MiscellaneousCharges,
    PaymentMethods,
    TipsConfiguration,
)
from hl_async.models.estimates import EstimateBody, EstimateDraft, EstimateDraftChanges
from hl_async.models.inputs import Day
from hl_async.models.lines import BilledLines, DocumentRequest, EstimateLines, Item
from hl_async.models.money import guard_document
from hl_async.models.structs import Answer
from hl_async.models.validation import Currency, NonEmptyStr, changed


class EstimateTemplateDraft(EstimateBody, frozen=True):
    """A new estimate template, or the complete replacement of one.

    Fields left out are lost.
    """

    if TYPE_CHECKING:
        # mypy gives an inherited field of a frozen class the type that it accepts; this restores the one it stores.
        items: EstimateLines


class EstimateTemplate(Answer):
    """An estimate template as the API answers it."""

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
    estimate_number_prefix: str | None = None
    attachments: list[Attachment] | None = None
    updated_by: str | None = None
    total: Decimal | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    document_version: int | None = field(name="__v", default=None)
    automatic_taxes_enabled: bool | None = None
    terms_notes: str | None = None
    meta: dict[str, Any] | None = None
    miscellaneous_charges: MiscellaneousCharges | None = None
    trace_id: str | None = None

    def __post_init__(self) -> None:
        guard_document(self.items, self.discount, self.total)

    def to_estimate(
        self,
        contact: ContactDetails,
        *,
        expiry_date: Day | UnsetType = UNSET,
        **changes: Unpack[EstimateDraftChanges],
    ) -> EstimateDraft:
        """Return a new estimate for one contact, with the content of this template.

        `meta` and the attachments of lines are not copied.

        Args:
            contact: The customer, such as ``contact.for_document()``.
            expiry_date: The last day of the offer. Creating an estimate without one is refused.
            changes: Fields of the estimate with other values, such as `name` or `items`.

        Raises:
            InvalidRequest: A change is not a field of `EstimateDraft`, or a value is not valid.
        """
        names = (
            "live_mode", "terms_notes", "title", "automatic_taxes_enabled", "estimate_number_prefix",
            "attachments", "miscellaneous_charges",
        )  # fmt: skip
        kept: dict[str, Any] = {name: value for name in names if (value := getattr(self, name)) is not None}
        currency = self.currency or "USD"
        draft = EstimateDraft(
            name=self.name or "-",
            currency=currency,
            items=[item.for_request(currency) for item in self.items or ()],
            contact_details=contact,
            expiry_date=expiry_date,
            business_details=(self.business_details or BusinessDetails()).for_request(),
            discount=(self.discount or Discount()).for_request(),
            **kept,
        )
        return changed(draft, **changes)

    def to_update(self) -> EstimateTemplateDraft:
        """Return the body of an update that leaves this template unchanged.

        It carries every field that an update can hold.
        """
        currency = self.currency or "USD"
        names = (
            "live_mode", "terms_notes", "title", "automatic_taxes_enabled", "meta", "estimate_number_prefix",
            "attachments", "miscellaneous_charges",
        )  # fmt: skip
        kept: dict[str, Any] = {name: value for name in names if (value := getattr(self, name)) is not None}
        return EstimateTemplateDraft(
            name=self.name or "-",
            currency=currency,
            items=[item.for_request(currency, attachments=True) for item in self.items or ()],
            business_details=(self.business_details or BusinessDetails()).for_request(),
            discount=(self.discount or Discount()).for_request(),
            **kept,
        )


class EstimateTemplateList(Answer):
    """A page of estimate templates."""

    # Every kind of list names its entries and its total differently: docs/api-facts.md#api-envelopes
    data: list[EstimateTemplate] | None = None
    total: int | None = field(name="totalCount", default=None)
    trace_id: str | None = None

    @property
    def entries(self) -> list[EstimateTemplate]:
        """The page's documents."""
        return self.data or []


class InvoiceTemplateUpdate(DocumentRequest, frozen=True):
    """The complete replacement of an invoice template.

    ``update_late_fees`` and ``update_payment_methods`` change the other settings of a template.
    """

    name: NonEmptyStr
    business_details: BusinessDetails
    currency: Currency
    items: BilledLines
    internal: bool | UnsetType = UNSET
    discount: Discount | UnsetType = UNSET
    terms_notes: str | UnsetType | None = UNSET
    title: str | UnsetType | None = UNSET
    miscellaneous_charges: MiscellaneousCharges | UnsetType = UNSET
    extra: dict[str, Any] | UnsetType = UNSET


class InvoiceTemplateDraft(InvoiceTemplateUpdate, frozen=True):
    """A new invoice template.

    ``attachments`` holds addresses; in other documents it holds objects (docs/api-facts.md#api-attachments).
    """

    if TYPE_CHECKING:
        # mypy gives an inherited field of a frozen class the type that it accepts; this restores the one it stores.
        items: BilledLines

    automatic_taxes_enabled: bool | UnsetType = UNSET
    tips_configuration: TipsConfiguration | UnsetType = UNSET
    late_fees_configuration: LateFeesConfiguration | UnsetType = UNSET
    invoice_number_prefix: str | UnsetType = UNSET
    payment_methods: PaymentMethods | UnsetType = UNSET
    # The creation declares plain addresses: docs/api-facts.md#api-attachments
    attachments: list[str | Attachment] | UnsetType = UNSET


class InvoiceTemplate(Answer):
    """An invoice template as the API answers it."""

    id: str = field(name="_id")
    alt_id: str | None = None
    alt_type: str | None = None
    name: str | None = None
    business_details: BusinessDetails | None = None
    currency: str | None = None
    discount: Discount | None = None
    items: list[Item] | None = None
    invoice_number_prefix: str | None = None
    total: Decimal | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    internal: bool | None = None
    automatic_taxes_enabled: bool | None = None
    terms_notes: str | None = None
    title: str | None = None
    tips_configuration: TipsConfiguration | None = None
    late_fees_configuration: LateFeesConfiguration | None = None
    payment_methods: PaymentMethods | None = None
    attachments: list[str | Attachment] | None = None
    miscellaneous_charges: MiscellaneousCharges | None = None
    trace_id: str | None = None

    def __post_init__(self) -> None:
        guard_document(self.items, self.discount, self.total)

    def to_update(self) -> InvoiceTemplateUpdate:
        """Return the body of an update that leaves this template unchanged.

        It carries every field that an update can hold.
        """
        currency = self.currency or "USD"
        names = ("internal", "terms_notes", "title", "miscellaneous_charges")
        kept: dict[str, Any] = {name: value for name in names if (value := getattr(self, name)) is not None}
        return InvoiceTemplateUpdate(
            name=self.name or "-",
            business_details=(self.business_details or BusinessDetails()).for_request(),
            currency=currency,
            items=[item.for_request(currency) for item in self.items or ()],
            discount=(self.discount or Discount()).for_request(),
            **kept,
        )


class InvoiceTemplateList(Answer):
    """A page of invoice templates."""

    data: list[InvoiceTemplate] | None = None
    total: int | None = field(name="totalCount", default=None)
    trace_id: str | None = None

    @property
    def entries(self) -> list[InvoiceTemplate]:
        """The page's documents."""
        return self.data or []
