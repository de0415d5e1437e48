"""Internal. The canonical document: the form between any source and the request.

Money, quantities and rates are ``Decimal``, in major units of the currency. Dates are calendar days of the source.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from hl_async.errors import InvalidRequest

Kind = Literal["estimate", "invoice"]
_Code = Annotated[str, Meta(description="ISO 4217, such as USD")]


# gc=False: no document refers to another, so that the collector has no cycles to look for
class _Record(
    msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False
):
    pass


class DocumentTax(_Record, frozen=True, gc=False):
    """A tax on top of a price, or inside it when the line is tax inclusive.

    Attributes:
        name: What the customer reads.
        rate: Percent of the line after its discounts.
        amount: Money, for sources that state no rate. With both, the amount must follow from the rate to within
            rounding.
    """

    name: str = "Tax"
    rate: Decimal | None = None
    amount: Decimal | None = None


class DocumentDiscount(_Record, frozen=True, gc=False):
    """A discount of a line or of the whole document.

    Attributes:
        value: Percent, or money with type ``fixed``.
        type: ``percentage`` or ``fixed``.
        after_tax: The discount is taken from the sum after tax. Whole documents only.
    """

    value: Decimal
    type: Literal["percentage", "fixed"] = "percentage"
    after_tax: bool = False


class DocumentLine(_Record, frozen=True, gc=False):
    """One line item.

    Attributes:
        name: The product or service.
        description: More text; HighLevel renders it as HTML.
        qty: Quantity; may be fractional.
        amount: Price of one unit.
        discount: The line's own discount.
        taxes: The line's own taxes.
        taxable: False exempts the line from the document's taxes.
        tax_inclusive: ``amount`` contains the taxes.
        total: The line after its discount as the source states it (with tax if tax inclusive). Compared.
        product_id: Id of a product in the location.
        price_id: Id of the product's price in the location.
    """

    name: str
    amount: Decimal
    qty: Decimal = Decimal(1)
    description: str = ""
    discount: DocumentDiscount | None = None
    taxes: list[DocumentTax] = []
    taxable: bool = True
    tax_inclusive: bool = False
    total: Decimal | None = None
    product_id: str = ""
    price_id: str = ""


class DocumentCharge(_Record, frozen=True, gc=False):
    """Shipping, a fee, a tip or an adjustment. It becomes a line of its own.

    Attributes:
        name: What the customer reads.
        amount: Money; a negative charge becomes a fixed discount where that is exact.
        taxes: Taxes on the charge.
        taxable: True adds the document's taxes to the charge.
        tax_inclusive: ``amount`` contains the taxes.
    """

    name: str
    amount: Decimal
    taxes: list[DocumentTax] = []
    taxable: bool = False
    tax_inclusive: bool = False


class DocumentAddress(_Record, frozen=True, gc=False):
    """A postal address. ``country`` is the ISO 3166 code of two letters if known."""

    line1: str = ""
    line2: str = ""
    city: str = ""
    state: str = ""
    postal_code: str = ""
    country: str = ""


class DocumentCustomer(_Record, frozen=True, gc=False):
    """The customer as the source knows them.

    Attributes:
        external_id: The old system's key of the customer.
        name: Full name.
        company: Company name.
        email: Main address.
        additional_emails: Further addresses.
        phone: As written; E.164, or national with ``region``.
        region: ISO 3166 code of two letters for a national phone number.
        address: Billing address.
        contact_id: The contact's id in the location, when it is known already.
    """

    external_id: str = ""
    name: str = ""
    company: str = ""
    email: str = ""
    additional_emails: list[str] = []
    phone: str = ""
    region: str = ""
    address: DocumentAddress | None = None
    contact_id: str = ""


class DocumentPayment(_Record, frozen=True, gc=False):
    """A payment that the old system received.

    Attributes:
        amount: Money.
        date: Day it was received.
        mode: The source's word for the way of payment.
        reference: Transaction number or cheque number.
    """

    amount: Decimal
    date: date | None = None
    mode: str = ""
    reference: str = ""


class DocumentInstallment(_Record, frozen=True, gc=False):
    """A deposit or one part of a payment schedule.

    ``value`` is in percent, or money with type ``fixed``.
    """

    value: Decimal
    type: Literal["percentage", "fixed"] = "percentage"
    due: date | None = None


class Document(_Record, frozen=True, gc=False):
    """One estimate or invoice, independent of the old system and of the API.

    Attributes:
        source_id: The old system's key of the document. Never the number: real exports repeat numbers.
        kind: ``estimate`` or ``invoice``; without it, what the run creates.
        location: Id of the location, if not the run's.
        number: The document's number as text. Estimates keep digits, invoices any text.
        number_prefix: Text before the number.
        name: Internal name; made from title or number when empty. An estimate's has at most 40 characters.
        title: Heading that the customer reads. An estimate's has at most 40 characters.
        currency: ISO 4217 code.
        issue_date: Day of issue.
        expiry_date: Last day of an estimate's validity.
        due_date: Day an invoice is due.
        terms_notes: Terms and notes.
        po_number: The customer's purchase order.
        custom_fields: Other facts worth keeping, by name.
        customer: Who the document is for.
        lines: The line items, in order.
        charges: Shipping, fees, tips, adjustments.
        discount: Discount on the sum of all lines.
        taxes: Taxes on all taxable lines that have none of their own.
        deposit: Advance payment.
        schedule: Payment schedule.
        status: Status in the old system, as written.
        to_invoice: Create an invoice of the same lines beside an estimate, which gets the payments. Without it, the
            run's ``invoice_when`` decides by the status.
        payments: Payments received.
        total: Total as the source states it. Ours must be equal to the cent, else the document is rejected.
        amount_paid: Sum paid as the source states it.
        amount_due: Sum due as the source states it.
    """

    source_id: str
    kind: Kind | None = None
    location: str = ""
    number: str = ""
    number_prefix: str = ""
    name: str = ""
    title: str = ""
    currency: _Code = ""
    issue_date: date | None = None
    expiry_date: date | None = None
    due_date: date | None = None
    terms_notes: str = ""
    po_number: str = ""
    custom_fields: dict[str, str] = {}
    customer: DocumentCustomer = DocumentCustomer()
    lines: list[DocumentLine] = []
    charges: list[DocumentCharge] = []
    discount: DocumentDiscount | None = None
    taxes: list[DocumentTax] = []
    deposit: DocumentInstallment | None = None
    schedule: list[DocumentInstallment] = []
    status: str = ""
    to_invoice: bool | None = None
    payments: list[DocumentPayment] = []
    total: Decimal | None = None
    amount_paid: Decimal | None = None
    amount_due: Decimal | None = None


# numbers, not text: the schema says number, and other tools read them back
_encoder: Final = msgspec.json.Encoder(decimal_format="number")
# amounts as text survive tools that turn every JSON number into a double
_decoder: Final = msgspec.json.Decoder(Document, strict=False)


def document_schema() -> dict[str, Any]:
    """Return the JSON Schema of :class:`Document`."""
    return msgspec.json.schema(Document)


def encode_document(document: Document) -> bytes:
    """Encode a document as one line of NDJSON, amounts as JSON numbers."""
    return _encoder.encode(document)


def decode_document(text: bytes) -> Document:
    """Decode a document; amounts may be JSON numbers or text.

    Raises:
        InvalidRequest: The JSON is not a document; names the field.
    """
    try:
        return _decoder.decode(text)
    except msgspec.ValidationError as error:
        problem, _, path = str(error).partition(" - at `$.")
        field = path.rstrip("`") or "document"
    raise InvalidRequest(field, problem)
