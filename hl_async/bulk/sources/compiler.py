"""Internal. Documents into requests: pure, strict, the same for every source."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from hl_async.bulk.sources.controls import compare_total, contradictions
from hl_async.bulk.sources.document import Document, DocumentAddress, DocumentCustomer
from hl_async.bulk.sources.emails import is_email
from hl_async.bulk.sources.instalments import instalments_of
from hl_async.bulk.sources.names import Naming
from hl_async.bulk.sources.pricing import Prices, prices_of
from hl_async.bulk.sources.records import SourceItem
from hl_async.bulk.sources.settings import SourceSettings
from hl_async.bulk.sources.taxing import PricedDiscount, RequestLine
from hl_async.bulk.sources.words import invoice_of, is_invoiced, state_note, unreached_state
from hl_async.errors import InvalidRequest
from hl_async.models.money import CURRENCIES
from hl_async.models.phones import e164
from hl_async.models.rules import RULE_NAMES
from hl_async.operations import plain_id

_LAST_YEAR: Final = 9000
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,14}", re.ASCII)
_encode: Final = msgspec.json.Encoder(decimal_format="number").encode


class _Address(msgspec.Struct, rename="camel", omit_defaults=True):
    address_line1: str = ""
    address_line2: str = ""
    city: str = ""
    state: str = ""
    country_code: str = ""
    postal_code: str = ""


class _Contact(msgspec.Struct, rename="camel"):
    id: str
    name: str
    phone_no: str | UnsetType
    email: str | UnsetType
    additional_emails: list[dict[str, str]] | UnsetType = UNSET
    company_name: str | UnsetType = UNSET
    address: _Address | UnsetType = UNSET


# structs of their own, not the public drafts, which check again what the compiler has checked
class _Body(msgspec.Struct, rename="camel"):
    """The common part of estimates and invoices."""

    name: str
    title: str
    currency: str
    items: list[RequestLine]
    contact_details: _Contact
    business_details: dict[str, str]
    discount: PricedDiscount
    issue_date: date
    terms_notes: str | UnsetType = UNSET


class _EstimateBody(_Body, kw_only=True):
    expiry_date: date
    frequency_settings: dict[str, bool]
    estimate_number: int | UnsetType = UNSET
    estimate_number_prefix: str | UnsetType = UNSET
    payment_schedule_config: dict[str, Any] | UnsetType = UNSET
    meta: dict[str, Any] | UnsetType = UNSET


class _InvoiceBody(_Body, kw_only=True):
    due_date: date
    # required by the API, and empty so that a migration mails no customer
    # (docs/api-facts.md#api-required-fields)
    sent_to: dict[str, list[str]]
    live_mode: bool
    invoice_number: str | UnsetType = UNSET
    invoice_number_prefix: str | UnsetType = UNSET


_STATUS: Final = "Status in the old system"
INVOICE_ORDINAL: Final = 1 << 40
"""Distance between the ordinals of an estimate and of the invoice beside it: no source has so many documents."""


def compile_document(
    document: Document,
    settings: SourceSettings,
    *,
    ordinal: int,
    latest: date,
    place: str = "",
    raw: bytes = b"",
    business_name: str = "",
    rules: Collection[str] = RULE_NAMES,
    note: str = "",
) -> SourceItem:
    """Turn a document into the request that creates it.

    Args:
        document: What the source says.
        settings: Defaults of what it lacks.
        ordinal: The document's place in the source, from 0.
        latest: The last day that may be an issue date.
        place: Where in the source the document stands.
        raw: Its original text.
        business_name: Name of the issuing business.
        rules: The rules of the client that are in force.
        note: What the source's reader has to say about it.

    Raises:
        InvalidRequest: The document cannot become a request; names field and value.
    """
    # the run knows a document by this id alone: two without one would be taken for the same
    if not document.source_id.strip():
        raise InvalidRequest("source_id", "is empty: the lines belong to no document")
    settings = _settings_for(document, settings)
    origin = _Origin(ordinal, latest, place, raw, business_name, rules)
    item = _compile(document, settings, origin, [note] if note else [])
    if settings.kind != "estimate" or not is_invoiced(document, settings.invoiced):
        return item
    # Not the API's own conversion: it takes estimates only that their customer accepted, and a run creates drafts.
    # docs/api-facts.md#api-estimate-to-invoice
    beside = origin._replace(ordinal=ordinal + INVOICE_ORDINAL)
    invoice = _compile(invoice_of(document), msgspec.structs.replace(settings, kind="invoice"), beside, [])
    notes = (*item.notes, "an invoice is created beside the estimate")
    return msgspec.structs.replace(item, notes=notes, invoice=invoice)


class _Origin(NamedTuple):
    """The origin of a document, with the facts that its whole source shares."""

    ordinal: int
    latest: date
    place: str
    raw: bytes
    business_name: str
    rules: Collection[str]


def _compile(document: Document, settings: SourceSettings, origin: _Origin, notes: list[str]) -> SourceItem:
    currency = _currency(document, settings)
    location = _location(document, settings)
    state = ""
    if document.status and (
        state := unreached_state(document, settings.kind, marks_sent=settings.marks_sent)
    ):
        notes.append(state_note(state, settings.kind, settings.states))
        if settings.states == "notes":
            # terms are shown on the document, where the people who work with it look
            text = f"{document.terms_notes}\n{_STATUS}: {state}".strip()
            document = msgspec.structs.replace(document, terms_notes=text)
    naming = Naming(settings.kind, origin.rules, cut=settings.cut_names, notes=notes)
    issued, ends = _days(document, settings, origin.latest, notes)
    # prices come before the body: a total that differs must be found before anything else is complained about
    prices = _compared(document, settings, currency)
    body = _body(document, settings, prices, currency, origin.business_name, issued, ends, naming)
    return SourceItem(
        origin.ordinal,
        document.source_id,
        _encode(body),
        (),
        location,
        prices.total,
        currency,
        origin.place,
        origin.raw,
        settings.kind,
        document.total is not None,
        tuple(notes + prices.notes),
        document,
        contradictions(document, prices.total, currency),
        _customer(document.customer, settings, body.contact_details),
        state=state if settings.states == "tag" else "",
    )


def _location(document: Document, settings: SourceSettings) -> str:
    # the location is part of the path of every request: an id with a slash would reach another route
    found = (document.location or settings.location).strip()
    if found:
        plain_id("location", found)
    return found


def _compared(document: Document, settings: SourceSettings, currency: str) -> Prices:
    prices = prices_of(document, currency)
    # the source's figure is the only witness that no line was lost on the way
    compare_total(document, prices.total, currency)
    # a total of zero is nearly always an amount in a column that was not mapped
    if not prices.total and not settings.allow_zero_total:
        raise InvalidRequest(
            "total", "is zero; set allow_zero_total = true to create the document all the same"
        )
    return prices


def _settings_for(document: Document, settings: SourceSettings) -> SourceSettings:
    """Return settings of the document's own kind, unless all become one kind."""
    if settings.convert or document.kind in (None, settings.kind):
        return settings
    return msgspec.structs.replace(settings, kind=document.kind)


def _customer(given: DocumentCustomer, settings: SourceSettings, contact: _Contact) -> DocumentCustomer:
    """Return the customer with the phone number as read, and the run's contact id."""
    phone = contact.phone_no or ""
    if contact.id and contact.id == settings.contact_id:
        # one id for all customers says nothing about their names
        return DocumentCustomer(contact_id=contact.id)
    return msgspec.structs.replace(given, phone=phone, contact_id=contact.id)


def _body(
    document: Document,
    settings: SourceSettings,
    prices: Prices,
    currency: str,
    business_name: str,
    issued: date,
    ends: date,
    naming: Naming,
) -> _Body:
    title = naming.fit("title", document.title or settings.title or settings.kind.capitalize())
    # a title of the settings names no document: all of a source would have one name
    given = document.name or (title if document.title else "")
    made = f"{settings.kind.capitalize()} {document.number or document.source_id}"
    common: dict[str, Any] = {
        "name": naming.fit("name", given or made, composed=not given),
        "title": title,
        "currency": currency,
        "items": prices.lines,
        "contact_details": _contact(document.customer, settings, naming.notes),
        "business_details": {"name": business_name} if business_name else {},
        "discount": prices.discount,
        "issue_date": issued,
    }
    if document.terms_notes:
        common["terms_notes"] = document.terms_notes
    schedule = None
    if document.deposit is not None or document.schedule:
        schedule = instalments_of(document, prices.total, currency)
        # said rather than dropped in silence: a customer may rely on these days
        if any(one.due for one in (document.deposit, *document.schedule) if one is not None):
            naming.notes.append("due dates of instalments are left out: the API has no field for them")
    if settings.kind == "invoice":
        if schedule:
            naming.notes.append(
                "the deposit or schedule of an invoice is left out: its shape in the API is unknown"
            )
        return _invoice(document, common, ends)
    body = _estimate(document, common, ends, naming)
    if schedule:
        body.payment_schedule_config = schedule
    return body


def _currency(document: Document, settings: SourceSettings) -> str:
    found = document.currency or settings.currency
    if found not in CURRENCIES:
        raise InvalidRequest("currency", _currency_problem(found))
    return found


def _currency_problem(currency: str) -> str:
    if not currency:
        return "is missing; give the run a currency"
    if currency.upper() in CURRENCIES:
        return f"{currency!r} must be in capitals: {currency.upper()!r}"
    return f"{currency!r} is not an ISO 4217 currency code, such as USD or EUR"


def _days(document: Document, settings: SourceSettings, latest: date, notes: list[str]) -> tuple[date, date]:
    """Return the day of issue and the last day."""
    issued = document.issue_date
    if issued is None:
        # the day that has begun everywhere; the API refuses later ones (docs/api-facts.md#api-dates)
        issued = (datetime.now(UTC) - timedelta(hours=12)).date()
        notes.append("issue_date is missing: today")
    elif issued > latest:
        raise InvalidRequest("issue_date", f"{issued} is in the future, which the API refuses")
    # converted documents have the other kind's day only
    ends = document.due_date if settings.kind == "invoice" else document.expiry_date
    # a system may know one of the two days only, whatever the kind
    ends = ends or document.expiry_date or document.due_date
    if ends is not None and ends < issued and document.issue_date is not None:
        notes.append("the last day lies before issue_date and is left out")
        ends = None
    if ends is None:
        field = "due_date" if settings.kind == "invoice" else "expiry_date"
        if issued.year > _LAST_YEAR:
            raise InvalidRequest("issue_date", f"{issued} is too far away")
        ends = issued + timedelta(days=settings.expiry_days)
        notes.append(f"{field} is missing: {settings.expiry_days} days after issue_date")
    return issued, ends


def _contact(customer: DocumentCustomer, settings: SourceSettings, notes: list[str]) -> _Contact:
    # without an id the contacts stage fills it in, before the document is sent
    contact_id = customer.contact_id.strip() or settings.contact_id
    phone = customer.phone.strip()
    # a number that cannot be read costs the number, not the document
    if phone:
        found = _phone(phone, customer.region or settings.region)
        if found is None:
            notes.append("phone numbers that cannot be read are left out; national ones need a region")
        phone = found or ""
    email = customer.email.strip()
    if email and not is_email(email):
        notes.append("e-mail addresses that cannot be read are left out")
        email = ""
    # an estimate leaves missing fields out, an invoice wants both: docs/api-facts.md#api-contact
    missing = UNSET if settings.kind == "estimate" else ""
    made = _Contact(contact_id, customer.name or customer.company, phone or missing, email or missing)
    if customer.company:
        made.company_name = customer.company
    if customer.additional_emails:
        made.additional_emails = [{"email": one} for one in customer.additional_emails if is_email(one)]
    if customer.address is not None and customer.address != _EMPTY:
        one = customer.address
        made.address = _Address(one.line1, one.line2, one.city, one.state, one.country, one.postal_code)
    return made


# customers repeat, and the library reads a number slowly
@lru_cache(4096)
def _phone(text: str, region: str) -> str | None:
    """Return the number in E.164 form, or None if it cannot be read for certain."""
    try:
        return e164("phone", text, region or None)
    except InvalidRequest:
        return None


_EMPTY: Final = DocumentAddress()


def _estimate(document: Document, common: dict[str, Any], ends: date, naming: Naming) -> _EstimateBody:
    body = _EstimateBody(**common, expiry_date=ends, frequency_settings={"enabled": False})
    if document.number:
        if _NUMBER.fullmatch(document.number):
            body.estimate_number = int(document.number)
            if document.number_prefix:
                body.estimate_number_prefix = document.number_prefix
        # a number with letters has no field in the API, and people search the account for it
        elif document.number not in body.name and document.number not in body.title:
            body.name = naming.fit("name", f"{document.number} {body.name}", composed=True)
    if document.status or document.number or document.po_number or document.custom_fields:
        given = (("status", document.status), ("number", document.number), ("po_number", document.po_number))
        kept: dict[str, Any] = {field: value for field, value in given if value}
        if document.custom_fields:
            kept["custom_fields"] = document.custom_fields
        # the API takes an object of ours here (docs/api-facts.md#api-meta): the words of the source stay with the
        # document
        body.meta = {"source": kept}
    return body


def _invoice(document: Document, common: dict[str, Any], ends: date) -> _InvoiceBody:
    body = _InvoiceBody(**common, due_date=ends, sent_to={"email": []}, live_mode=True)
    if document.number:
        body.invoice_number = document.number
        if document.number_prefix:
            body.invoice_number_prefix = document.number_prefix
    return body


def total_of(document: Document, settings: SourceSettings) -> Decimal:
    """Return the total that the request of a document has."""
    return prices_of(document, document.currency or settings.currency).total
