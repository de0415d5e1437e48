"""Realistic documents for tests, the same for the same seed.

A :class:`Builder` makes drafts to send, and documents as the API answers them.

::

    build = Builder(seed=7)
    draft = build.estimate(currency="GBP", lines=3)      # EstimateDraft, ready for estimates.create()
    invoice = build.invoice(name="Kitchen")              # InvoiceDraft
    answered = build.estimate_answer(status="accepted")  # Estimate, as a list would hold it

Keywords replace fields. Amounts are Decimals with the currency's decimal places. Totals are those of
``hl_async.models.expected_total``: with automatic taxes the total is missing unless ``total`` is given.
"""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import msgspec

from hl_async.models import (
    Address,
    BusinessDetails,
    ContactDetails,
    ContactDraft,
    ContactRecord,
    Discount,
    Estimate,
    EstimateDraft,
    Invoice,
    InvoiceDraft,
    ItemTax,
    LineItem,
    PriceDraft,
    ProductDraft,
    SentTo,
    expected_total,
    minor_units,
)
from hl_async.models.codec import decoder, encode

_GOODS: Final = (
    ("Oak cabinet", "Solid oak, oiled, soft-closing hinges", 180, 640),
    ("Worktop", "Quartz, 30 mm, cut to size", 220, 900),
    ("Fitting", "Two fitters, half a day", 90, 260),
    ("Mixer tap", "Brushed steel", 60, 190),
    ("Wall tiles", "Per square metre, glazed", 18, 75),
    ("Electrician", "Per hour", 35, 80),
    ("Delivery", "Within 30 km", 25, 60),
    ("Waste disposal", "One skip", 120, 240),
)
_FIRST: Final = ("Alex", "Robin", "Sam", "Kim", "Jo", "Charlie", "Noor", "Mika")
_LAST: Final = ("Marlow", "Hale", "Ortiz", "Lindqvist", "Okafor", "Tanaka", "Novak", "Silva")
_JOBS: Final = ("Kitchen", "Bathroom", "Loft", "Garden room", "Shop front", "Stairs")
_ID: Final = "0123456789abcdef"


class Builder:
    """A maker of documents from a seed.

    Args:
        seed: The seed. Two builders with the same seed and `today` make the same documents in the same order.
        today: The day on which documents are created and issued; the current day in UTC by default.
    """

    def __init__(self, seed: int = 0, *, today: date | None = None) -> None:
        self._dice = random.Random(seed)
        # Tests that compare dates pass it, because midnight may pass while they run.
        self._today = today or datetime.now(UTC).date()
        self._count = 0

    # ------------------------------------------------------------------------------ parts

    def contact(self, **changes: Any) -> ContactDetails:
        """Return a customer with an id, a name, a phone number and an e-mail address.

        The phone number is in E.164 form, the e-mail address is at ``example.com``.
        """
        first, last = self._dice.choice(_FIRST), self._dice.choice(_LAST)
        values: dict[str, Any] = {
            "id": "".join(
                self._dice.choices("abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789", k=20)
            ),
            "name": f"{first} {last}",
            # The numbers 555-0100 to 555-0199 are reserved for fiction, so a test reaches no telephone.
            "phone_no": f"+1202555{self._dice.randrange(100, 200):04d}",
            "email": f"{first}.{last}@example.com".lower(),
        }
        return ContactDetails(**{**values, **changes})

    def contact_draft(self, **changes: Any) -> ContactDraft:
        """Return a new contact with a name, an e-mail address and an E.164 phone number."""
        person = self.contact()
        first, _, last = person.name.partition(" ")
        values: dict[str, Any] = {
            "first_name": first,
            "last_name": last,
            "email": person.email,
            "phone": person.phone_no,
        }
        return ContactDraft(**{**values, **changes})

    def contact_record(self, draft: ContactDraft | None = None, **changes: Any) -> ContactRecord:
        """Return a contact as the API answers it.

        Its ``for_document()`` returns it as the customer of a draft.

        Args:
            draft: The body of its creation; a new one by default.
            changes: Fields with other values.
        """
        given = draft or self.contact_draft()
        # Through the wire's spelling and the decoder of answers, so that changes of the models apply here too.
        wire = msgspec.json.decode(encode(given)) | {"id": self.contact().id, "tags": []}
        wire["dateAdded"] = f"{self._today}T09:00:00.000Z"
        return msgspec.structs.replace(decoder(ContactRecord)(encode(wire)), **changes)

    def product(self, **changes: Any) -> ProductDraft:
        """Return a new product."""
        name, description, _, _ = self._dice.choice(_GOODS)
        values: dict[str, Any] = {"name": name, "description": description, "product_type": "PHYSICAL"}
        return ProductDraft(**{**values, **changes})

    def price(self, currency: str = "USD", **changes: Any) -> PriceDraft:
        """Return a new price, with the decimal places of its currency."""
        # The price of a line has the decimal places of the currency: yen has none, dinar three.
        amount = self.line(currency).amount
        values: dict[str, Any] = {
            "name": "Standard",
            "type": "one_time",
            "currency": currency,
            "amount": amount,
        }
        return PriceDraft(**{**values, **changes})

    def business(self, **changes: Any) -> BusinessDetails:
        """Return the issuer of documents."""
        address = Address(
            address_line1="12 Harbour Road", city="Bristol", country_code="GB", postal_code="BS1 4XX"
        )
        values: dict[str, Any] = {"name": "Harbour Joinery", "phone_no": "+441174960123", "address": address}
        return BusinessDetails(**{**values, **changes})

    def line(self, currency: str = "USD", *, tax: Decimal | None = None, **changes: Any) -> LineItem:
        """Return a line, with a price that has the decimal places of its currency.

        ``tax`` adds an exclusive tax, in percent.
        """
        name, description, low, high = self._dice.choice(_GOODS)
        places = minor_units(currency)
        # Whole minor units, because a random float would have to be rounded.
        units = self._dice.randrange(low * 10**places, high * 10**places)
        values: dict[str, Any] = {
            "name": name,
            "description": description,
            "currency": currency,
            "amount": Decimal(units).scaleb(-places),
            # Some are fractions, because totals of whole quantities hide rounding errors.
            "qty": Decimal(self._dice.choice(("1", "1", "2", "3", "4", "2.5", "7.25"))),
        }
        # The API refuses a tax without an id: docs/api-facts.md#api-required-fields
        if tax is not None:
            values["taxes"] = [ItemTax(id=self._id(), name="VAT", rate=tax, calculation="exclusive")]
        return LineItem(**{**values, **changes})

    def lines(self, count: int, currency: str = "USD", *, tax: Decimal | None = None) -> list[LineItem]:
        """Return ``count`` lines; ``tax`` as for `line`."""
        return [self.line(currency, tax=tax) for _ in range(count)]

    # ------------------------------------------------------------------------------ documents

    def estimate(
        self,
        *,
        currency: str = "USD",
        lines: int = 3,
        tax: Decimal | None = None,
        discount: Decimal | Discount | None = None,
        **changes: Any,
    ) -> EstimateDraft:
        """Return a new estimate that expires after 30 days.

        Args:
            currency: The ISO 4217 code.
            lines: The number of lines.
            tax: An exclusive tax on each line, in percent.
            discount: A discount in percent, or a `Discount`.
            changes: Fields of the draft with other values.
        """
        values = self._document(currency, lines, tax, discount, changes)
        values["contact_details"] = changes.get("contact_details") or self.contact()
        values["expiry_date"] = self._today + timedelta(days=30)
        return EstimateDraft(**{**values, **changes})

    def invoice(
        self,
        *,
        currency: str = "USD",
        lines: int = 3,
        tax: Decimal | None = None,
        discount: Decimal | Discount | None = None,
        **changes: Any,
    ) -> InvoiceDraft:
        """Return a new invoice, issued today and due in 14 days.

        Args:
            currency: The ISO 4217 code.
            lines: The number of lines.
            tax: An exclusive tax on each line, in percent.
            discount: A discount in percent, or a `Discount`.
            changes: Fields of the draft with other values.
        """
        values = self._document(currency, lines, tax, discount, changes)
        contact = changes.get("contact_details") or self.contact()
        values |= {
            "contact_details": contact,
            "sent_to": SentTo(email=[contact.email] if contact.email else []),
            "issue_date": self._today,
            "due_date": self._today + timedelta(days=14),
            "live_mode": True,
        }
        return InvoiceDraft(**{**values, **changes})

    def estimate_answer(self, draft: EstimateDraft | None = None, **changes: Any) -> Estimate:
        """Return an estimate as the API answers it, with id, number, total and times.

        Args:
            draft: The body of its creation; a new one by default.
            changes: Fields with other values, such as `status`, which is draft by default.
        """
        given = draft or self.estimate()
        wire = self._answered(given, "items")
        wire |= {
            "estimateNumber": self._count,
            "estimateStatus": "draft",
            "issueDate": f"{self._today}T00:00:00.000Z",
            "expiryDate": f"{given.expiry_date}T00:00:00.000Z",
        }
        return msgspec.structs.replace(decoder(Estimate)(encode(wire)), **changes)

    def invoice_answer(self, draft: InvoiceDraft | None = None, **changes: Any) -> Invoice:
        """Return an invoice as the API answers it: a draft without payments.

        Args:
            draft: The body of its creation; a new one by default.
            changes: Fields with other values.
        """
        given = draft or self.invoice()
        wire = self._answered(given, "items")
        wire |= {
            "invoiceNumber": str(self._count),
            "status": "draft",
            # Requests call the lines of an invoice `items`: docs/api-facts.md#api-field-names
            "invoiceItems": wire.pop("items"),
            "amountPaid": Decimal(0),
            "amountDue": wire["total"],
            "issueDate": f"{self._today}T00:00:00.000Z",
            "dueDate": f"{self._today + timedelta(days=14)}T00:00:00.000Z",
        }
        return msgspec.structs.replace(decoder(Invoice)(encode(wire)), **changes)

    # ------------------------------------------------------------------------------ inside

    def _document(
        self,
        currency: str,
        lines: int,
        tax: Decimal | None,
        discount: Decimal | Discount | None,
        changes: dict[str, Any],
    ) -> dict[str, Any]:
        values: dict[str, Any] = {
            "name": f"{self._dice.choice(_JOBS)} {self._dice.randrange(1, 100)}",
            "currency": currency,
            "business_details": self.business(),
        }
        # No lines are made if the caller replaces them: they would use random numbers, and change all later documents.
        if "items" not in changes:
            values["items"] = self.lines(lines, currency, tax=tax)
        if discount is not None:
            percent = (
                Discount(value=discount, type="percentage") if isinstance(discount, Decimal) else discount
            )
            values["discount"] = percent
        return values

    def _answered(self, draft: EstimateDraft | InvoiceDraft, items: str) -> dict[str, Any]:
        self._count += 1
        # The hook keeps amounts exact: without it they would become floats.
        wire: dict[str, Any] = msgspec.json.Decoder(float_hook=Decimal).decode(encode(draft))
        for item in wire[items]:
            item["_id"] = self._id()
        moment = f"{self._today}T09:15:30.123Z"
        return wire | {
            "_id": self._id(),
            "altType": "location",
            # By the rules of this package; the API's rounding is partly unknown: docs/api-facts.md#api-totals
            "total": expected_total(draft),
            "createdAt": moment,
            "updatedAt": moment,
        }

    def _id(self) -> str:
        return "".join(self._dice.choices(_ID, k=24))
