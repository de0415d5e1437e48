"""The state of the sandbox: documents as plain JSON in the wire's own spelling, and no HTTP.

Ids and numbers are deterministic. Every execution of an unsafe operation is counted at the moment it is
committed, under the key its body carries in ``meta``, so that a test can say how often it really happened.
"""

from __future__ import annotations

import copy
import dataclasses
from collections import Counter
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final

import msgspec

from hl_async.models.common import Discount
from hl_async.models.lines import Item
from hl_async.models.money import discount_amount, document_total, line_total
from hl_async.sandbox.clock import Clock
from hl_async.sandbox.rules import Refusal, bad_request, not_found

Document = dict[str, Any]

DEFAULT_LOCATION: Final = "6578278e879ad2646715ba9c"
COMPANY: Final = "5f60718293a4b5c6d7e8f901"


@dataclasses.dataclass(slots=True)
class Quirks:
    """Where the live API is known, or suspected, to differ from its description; every one can be switched.

    ``meta_in_lists``: whether lists give ``meta`` back (unknown). ``invoice_in_answer``: whether creating an invoice
    from an estimate answers with the invoice (live: sometimes not). ``newest_first``: order of lists.
    ``largest_page``: the most a list gives, whatever limit asks. ``honest_total``: whether lists tell their total.
    ``accepted_first``: whether an estimate must be accepted before it becomes an invoice (disputed).
    """

    meta_in_lists: bool = True
    invoice_in_answer: bool = True
    newest_first: bool = True
    largest_page: int = 100
    honest_total: bool = True
    accepted_first: bool = False


class LocationState:
    """What one location holds, by kind; documents in order of creation."""

    def __init__(self, location_id: str) -> None:
        self.id = location_id
        self.estimates: dict[str, Document] = {}
        self.estimate_templates: dict[str, Document] = {}
        self.invoices: dict[str, Document] = {}
        self.invoice_templates: dict[str, Document] = {}
        self.schedules: dict[str, Document] = {}
        self.payments: dict[str, list[Document]] = {}
        self.estimate_number = 1
        self.invoice_number = 1
        self.settings: Document = {
            "altId": location_id,
            "altType": "location",
            "title": "INVOICE",
            "estimatesTitle": "ESTIMATE",
            "invoiceNumberPrefix": "INV-",
            "estimateNumberPrefix": "EST-",
            "termsNote": "",
            "estimatesTermsNote": "",
            "dueAfterXDays": 14,
            "estimatesExpireAfterXDays": 30,
            "customFields": [],
        }


class Ledger:
    """All locations of the sandbox."""

    def __init__(self, clock: Clock, quirks: Quirks) -> None:
        self._clock = clock
        self.quirks = quirks
        self._serial = 0
        self.places: dict[str, LocationState] = {}
        self.commits: Counter[str] = Counter()
        self.add(DEFAULT_LOCATION)

    def add(self, location_id: str) -> LocationState:
        """Open a location."""
        return self.places.setdefault(location_id, LocationState(location_id))

    def new_id(self) -> str:
        """The next document id: 24 hexadecimal digits, in order of creation."""
        self._serial += 1
        return f"65a0{self._serial:020x}"

    def estimates(self, location_id: str = DEFAULT_LOCATION) -> list[Document]:
        """The estimates of a location, in order of creation, deleted ones left out."""
        return list(self.places[location_id].estimates.values())

    def invoices(self, location_id: str = DEFAULT_LOCATION) -> list[Document]:
        """The invoices of a location, in order of creation."""
        return list(self.places[location_id].invoices.values())

    def count_commit(self, operation: str, body: Any, target: str = "") -> None:
        """Note one execution under the body's own key, or under what it acted on."""
        meta = body.get("meta") if isinstance(body, dict) else None
        marks = meta.get("hl_async") if isinstance(meta, dict) else None
        key = (
            marks.get("k")
            if isinstance(marks, dict)
            else (meta or {}).get("key")
            if isinstance(meta, dict)
            else None
        )
        self.commits[f"{operation}:{key or target}"] += 1

    # ---------------------------------------------------------------------------------------- estimates

    def create_estimate(self, place: LocationState, body: Document) -> Document:
        self._check_dates(body)
        number = body.get("estimateNumber")
        if number is None:
            number = place.estimate_number
        place.estimate_number = max(place.estimate_number, int(number)) + 1
        document = self._estimate(place, body) | {
            "_id": self.new_id(),
            "estimateNumber": number,
            "estimateStatus": "draft",
            "deleted": False,
            "createdAt": self._clock.timestamp(),
            "estimateActionHistory": [{"estimateStatus": "draft", "updatedAt": self._clock.timestamp()[:19]}],
        }
        place.estimates[document["_id"]] = document
        return document

    def update_estimate(self, place: LocationState, estimate_id: str, body: Document) -> Document:
        old = self._get(place.estimates, estimate_id, "estimate")
        self._check_dates(body)
        kept = ("_id", "estimateNumber", "estimateStatus", "deleted", "createdAt", "estimateActionHistory")
        document = self._estimate(place, body) | {name: old[name] for name in kept}
        if body.get("estimateNumber") is not None:
            document["estimateNumber"] = body["estimateNumber"]
        if body.get("estimateStatus") not in (None, "all"):
            self._move(document, body["estimateStatus"])
        document["__v"] = old.get("__v", 0) + 1
        place.estimates[estimate_id] = document
        return document

    def delete_estimate(self, place: LocationState, estimate_id: str) -> Document:
        document = self._get(place.estimates, estimate_id, "estimate")
        del place.estimates[estimate_id]
        return document | {"deleted": True, "updatedAt": self._clock.timestamp()}

    def send_estimate(self, place: LocationState, estimate_id: str, body: Document) -> Document:
        document = self._get(place.estimates, estimate_id, "estimate")
        self._move(document, "sent")
        document["sentBy"] = body["userId"]
        document["sentCount"] = document.get("sentCount", 0) + 1
        return document

    def invoice_estimate(self, place: LocationState, estimate_id: str, body: Document) -> Document:
        estimate = self._get(place.estimates, estimate_id, "estimate")
        if self.quirks.accepted_first and estimate["estimateStatus"] not in ("accepted", "invoiced"):
            raise bad_request("Estimate needs to be accepted before it can be invoiced")
        source = {
            "name": estimate["name"],
            "businessDetails": estimate["businessDetails"],
            "currency": estimate["currency"],
            "items": estimate["items"],
            "discount": estimate["discount"],
            "contactDetails": estimate["contactDetails"],
            "issueDate": self._clock.today(),
            "sentTo": estimate.get("sentTo") or {},
            "liveMode": estimate["liveMode"],
            "title": estimate.get("title"),
        }
        invoice = self.create_invoice(place, source) | {"source": "estimate", "sourceId": estimate_id}
        place.invoices[invoice["_id"]] = invoice
        if body["markAsInvoiced"]:
            self._move(estimate, "invoiced")
        answer: Document = {"estimate": estimate}
        if self.quirks.invoice_in_answer:
            answer["invoice"] = invoice
        return answer

    def visit_estimate(self, place: LocationState, estimate_id: str) -> None:
        self._get(place.estimates, estimate_id, "estimate")["lastVisitedAt"] = self._clock.timestamp()

    # ----------------------------------------------------------------------------------------- invoices

    def create_invoice(self, place: LocationState, body: Document) -> Document:
        number = body.get("invoiceNumber")
        if number is None:
            number = f"{place.invoice_number:06d}"
            place.invoice_number += 1
        elif any(one["invoiceNumber"] == number for one in place.invoices.values()):
            raise bad_request("Invoice number already exists")
        document = self._invoice(place, body, body["items"]) | {
            "_id": self.new_id(),
            "status": "draft",
            "invoiceNumber": number,
            "amountPaid": Decimal(0),
            "createdAt": self._clock.timestamp(),
        }
        document["amountDue"] = document["total"]
        place.invoices[document["_id"]] = document
        return document

    def get_invoice(self, place: LocationState, invoice_id: str) -> Document:
        document = place.invoices.get(invoice_id)
        if document is None:
            raise bad_request("Unable to find an invoice with the given invoice id")
        return document

    def update_invoice(self, place: LocationState, invoice_id: str, body: Document) -> Document:
        old = self.get_invoice(place, invoice_id)
        if old["status"] in ("void", "paid"):
            raise bad_request(f"Can not update {old['status']} invoice")
        document = self._invoice(place, body, body["invoiceItems"])
        kept = ("_id", "status", "amountPaid", "createdAt", "source", "sourceId", "lateFeesConfiguration")
        document |= {name: old[name] for name in kept if name in old}
        document["invoiceNumber"] = body.get("invoiceNumber") or old["invoiceNumber"]
        document["amountDue"] = document["total"] - document["amountPaid"]
        place.invoices[invoice_id] = document
        return document

    def delete_invoice(self, place: LocationState, invoice_id: str) -> Document:
        document = self.get_invoice(place, invoice_id)
        if document["status"] != "draft":
            raise bad_request("Invoice status need to be draft to delete an invoice")
        del place.invoices[invoice_id]
        return document

    def void_invoice(self, place: LocationState, invoice_id: str) -> Document:
        document = self.get_invoice(place, invoice_id)
        if document["status"] == "draft":
            raise bad_request("Can not void draft invoice. You can delete draft invoice!")
        if any(payment.get("provider") for payment in place.payments.get(invoice_id, ())):
            raise bad_request(
                "To void an invoice which has received payment through the payment provider, the corresponding "
                "transaction needs to be refunded first"
            )
        return self._touch(document, status="void")

    def send_invoice(self, place: LocationState, invoice_id: str, body: Document) -> Document:
        document = self.get_invoice(place, invoice_id)
        if document["status"] == "void":
            raise bad_request("Can not send void invoice")
        if document["status"] == "draft":
            document["status"] = "sent"
        self._touch(document, sentCount=document.get("sentCount", 0) + 1)
        contact = document.get("contactDetails") or {}
        data = {"to": contact.get("email", "")}
        action = body["action"]
        answer: Document = {"invoice": document}
        answer["emailData"] = data if "email" in action else {}
        answer["smsData"] = {"to": contact.get("phoneNo", "")} if "sms" in action else {}
        return answer

    def record_payment(self, place: LocationState, invoice_id: str, body: Document) -> Document:
        document = self.get_invoice(place, invoice_id)
        if document["status"] == "void":
            raise bad_request("Can not record payment for void invoice")
        paid = body.get("amount")
        paid = document["amountDue"] if paid is None else Decimal(str(paid))
        if paid <= 0 or paid > document["amountDue"]:
            raise bad_request("amount must be greater than 0 and not more than the amount due")
        place.payments.setdefault(invoice_id, []).append({"amount": paid, "mode": body["mode"]})
        due = document["amountDue"] - paid
        status = "paid" if due == 0 else "partially_paid"
        self._touch(document, amountPaid=document["amountPaid"] + paid, amountDue=due, status=status)
        return {"success": True, "invoice": document}

    def text2pay(self, place: LocationState, body: Document) -> Document:
        source = {"businessDetails": {}, "discount": {"value": 0, "type": "percentage"}} | body
        if body.get("id"):
            lines = {"invoiceItems": body["items"], "dueDate": body.get("dueDate") or body["issueDate"]}
            document = self.update_invoice(place, body["id"], source | lines)
        else:
            document = self.create_invoice(place, source)
        if body["action"] == "send" and document["status"] == "draft":
            document["status"] = "sent"
        return {"invoice": document, "invoiceUrl": f"https://link.example/invoice/{document['_id']}"}

    def set_late_fees(
        self, documents: dict[str, Document], document_id: str, body: Document, kind: str
    ) -> Document:
        document = self._get(documents, document_id, kind)
        return self._touch(document, lateFeesConfiguration=body["lateFeesConfiguration"])

    def visit_invoice(self, place: LocationState, invoice_id: str) -> None:
        self.get_invoice(place, invoice_id)["lastVisitedAt"] = self._clock.timestamp()

    # ----------------------------------------------------------------- templates and schedules, alike

    def create_template(
        self, place: LocationState, documents: dict[str, Document], body: Document
    ) -> Document:
        document = self._plain(place, body) | {"_id": self.new_id(), "createdAt": self._clock.timestamp()}
        documents[document["_id"]] = document
        return document

    def update_template(
        self, place: LocationState, documents: dict[str, Document], template_id: str, body: Document
    ) -> Document:
        old = self._get(documents, template_id, "template")
        kept = (
            "_id",
            "createdAt",
            "lateFeesConfiguration",
            "paymentMethods",
            "status",
            "invoices",
            "autoPayment",
        )
        document = self._plain(place, body) | {name: old[name] for name in kept if name in old}
        documents[template_id] = document
        return document

    def delete_template(
        self, documents: dict[str, Document], template_id: str, kind: str = "template"
    ) -> Document:
        document = self._get(documents, template_id, kind)
        del documents[template_id]
        return document

    def set_payment_methods(
        self, documents: dict[str, Document], template_id: str, body: Document
    ) -> Document:
        document = self._get(documents, template_id, "template")
        return self._touch(document, paymentMethods=body.get("paymentMethods") or {})

    def create_schedule(self, place: LocationState, body: Document) -> Document:
        document = self.create_template(place, place.schedules, body)
        document |= {"status": "draft", "invoices": [], "termsNotes": body.get("termsNotes", "")}
        document["compiledTermsNotes"] = document["termsNotes"]
        return document

    def start_schedule(self, place: LocationState, schedule_id: str, body: Document) -> Document:
        document = self._get(place.schedules, schedule_id, "schedule")
        if document["status"] not in ("draft", "cancelled"):
            raise bad_request("Schedule is already running")
        if body.get("autoPayment"):
            document["autoPayment"] = body["autoPayment"]
        return self._touch(document, status="scheduled", liveMode=body["liveMode"])

    def update_and_schedule(self, place: LocationState, schedule_id: str) -> Document:
        document = self._get(place.schedules, schedule_id, "schedule")
        return self._touch(document, status="scheduled")

    def set_auto_payment(self, place: LocationState, schedule_id: str, body: Document) -> Document:
        if body["id"] != schedule_id:
            raise bad_request("id does not match the schedule")
        return self._touch(
            self._get(place.schedules, schedule_id, "schedule"), autoPayment=body["autoPayment"]
        )

    def cancel_schedule(self, place: LocationState, schedule_id: str) -> Document:
        document = self._get(place.schedules, schedule_id, "schedule")
        if document["status"] == "cancelled":
            raise bad_request("Schedule is already cancelled")
        return self._touch(document, status="cancelled")

    # -------------------------------------------------------------------------------------------- lists

    def page(self, documents: Iterable[Document], query: dict[str, str]) -> tuple[list[Document], int]:
        """The page that ``query`` asks for, and the total that fits its filters."""
        found = [document for document in documents if _fits(document, query)]
        if self.quirks.newest_first:
            found.reverse()
        offset, limit = int(query["offset"]), min(int(query["limit"]), self.quirks.largest_page)
        page = found[offset : offset + limit]
        if not self.quirks.meta_in_lists:
            page = [{name: value for name, value in one.items() if name != "meta"} for one in page]
        return page, len(found) if self.quirks.honest_total else 0

    # ---------------------------------------------------------------------------------------- internals

    def _get(self, documents: dict[str, Document], document_id: str, kind: str) -> Document:
        document = documents.get(document_id)
        if document is None:
            # deleted estimates answer 404, templates and schedules by inference: docs/api-facts.md#api-not-found
            raise not_found(f"{kind.capitalize()} not found")
        return document

    def _touch(self, document: Document, **changes: Any) -> Document:
        document |= changes
        document["updatedAt"] = self._clock.timestamp()
        return document

    def _move(self, document: Document, status: str) -> None:
        document["estimateStatus"] = status
        history = document.setdefault("estimateActionHistory", [])
        history.append({"estimateStatus": status, "updatedAt": self._clock.timestamp()[:19]})
        self._touch(document)

    def _check_dates(self, body: Document) -> None:
        issued = body.get("issueDate")
        if issued and issued > self._clock.today():
            raise Refusal(
                400, "Issue date cannot be in the future", "Bad Request", code="estimate_date_invalid"
            )

    def _plain(self, place: LocationState, body: Document) -> Document:
        """What documents have in common: the body without its envelope, with lines, total and time."""
        document = copy.deepcopy({k: v for k, v in body.items() if k not in ("altId", "altType")})
        for name in ("items", "invoiceItems"):
            if name in document:
                document[name] = [{"_id": self.new_id()} | line for line in document[name]]
        lines = document.get("items") or document.get("invoiceItems") or []
        document["total"] = _total(lines, document["currency"], document.get("discount"))
        return {"altId": place.id, "altType": "location"} | document | {"updatedAt": self._clock.timestamp()}

    def _estimate(self, place: LocationState, body: Document) -> Document:
        document = self._plain(place, body)
        issued = body.get("issueDate") or self._clock.today()
        document |= {
            "liveMode": body.get("liveMode", True),
            "automaticTaxesEnabled": body.get("automaticTaxesEnabled", False),
            "automaticTaxesCalculated": False,
            "companyId": COMPANY,
            # requests carry days, answers date-times: docs/api-facts.md#api-dates
            "issueDate": f"{issued}T00:00:00.000Z",
            "expiryDate": f"{body['expiryDate']}T00:00:00.000Z",
            "estimateNumberPrefix": body.get("estimateNumberPrefix", "EST-"),
            "totalamountInUSD": document["total"],
            "__v": 0,
        }
        document.pop("sendEstimateDetails", None)
        return document

    def _invoice(self, place: LocationState, body: Document, lines: list[Document]) -> Document:
        source = {
            name: value for name, value in body.items() if name not in ("items", "action", "userId", "id")
        }
        document = self._plain(place, source | {"invoiceItems": lines})
        subtotal = sum((line_total(_line(one), body["currency"]) for one in lines), Decimal(0))
        off = discount_amount(subtotal, _discount(body.get("discount")), body["currency"])
        for name in ("issueDate", "dueDate"):
            if body.get(name):
                document[name] = f"{body[name]}T00:00:00.000Z"
        document["totalSummary"] = {
            "subTotal": subtotal,
            "discount": off,
            "tax": document["total"] - (subtotal - off),
        }
        document.setdefault("liveMode", True)
        document.setdefault("title", "INVOICE")
        return document


def _line(line: Document) -> Item:
    return msgspec.convert(line, Item, strict=False)


def _discount(discount: Any) -> Discount | None:
    return msgspec.convert(discount, Discount, strict=False) if discount else None


def _total(lines: list[Document], currency: str, discount: Any) -> Decimal:
    priced = [_line(line) for line in lines]
    off = _discount(discount)
    subtotal = sum((line_total(line, currency) for line in priced), Decimal(0))
    if discount_amount(subtotal, off, currency) > max(subtotal, Decimal(0)):
        raise bad_request("amount must not be less than 0")
    return document_total(priced, currency, off)


def _fits(document: Document, query: dict[str, str]) -> bool:
    status = query.get("status")
    if status and status != "all" and document.get("estimateStatus", document.get("status")) != status:
        return False
    contact = document.get("contactDetails") or {}
    if query.get("contactId") and contact.get("id") != query["contactId"]:
        return False
    search = query.get("search", "").lower()
    if search:
        fields = (document["_id"], document.get("name"), contact.get("email"), contact.get("phoneNo"))
        if not any(search in str(value or "").lower() for value in fields):
            return False
    day = str(document.get("issueDate", document.get("createdAt", "")))[:10]
    return not (query.get("startAt", "") > day or (query.get("endAt") and query["endAt"] < day))
