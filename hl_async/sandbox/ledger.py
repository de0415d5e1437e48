"""Internal. The sandbox's state: documents as plain JSON in the wire's spelling.

Ids and numbers are deterministic. Each executed unsafe operation is counted under the key in the `meta` of its body,
so that a test can assert how often it was executed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Final
from zoneinfo import ZoneInfo

from hl_async.sandbox.clock import Clock
from hl_async.sandbox.quirks import Quirks
from hl_async.sandbox.refusals import not_found
from hl_async.sandbox.rules import RuleSet
from hl_async.sandbox.zones import DEFAULT as DEFAULT_ZONE
from hl_async.sandbox.zones import zone_of

Document = dict[str, Any]

DEFAULT_LOCATION: Final = "6578278e879ad2646715ba9c"
COMPANY: Final = "5f60718293a4b5c6d7e8f901"


# Sixteen are declared, the last one was seen: docs/api-facts.md#api-undeclared-fields
NOTIFICATIONS: Final = (
    "customerSendInvoice", "teamPaymentSuccess", "customerPaymentSuccess", "teamAutoPaymentSuccess",
    "customerAutoPaymentSuccess", "teamPaymentFailure", "customerPaymentFailure", "teamAutoPaymentFailure",
    "customerAutoPaymentFailure", "customerAutoPaymentInfo", "customerAutoPaymentAmountChanged",
    "teamAutoPaymentSkip", "teamRecurringSendInvoiceFailed", "customerSendEstimate", "teamEstimateAccepted",
    "teamEstimateDeclined", "customerSendPaymentSchedule",
)  # fmt: skip


class LocationState:
    """The documents of one location by kind, in order of creation."""

    def __init__(self, location_id: str, timezone: str = DEFAULT_ZONE) -> None:
        self.id = location_id
        self.zone: ZoneInfo = zone_of(timezone)
        self.estimates: dict[str, Document] = {}
        self.estimate_templates: dict[str, Document] = {}
        self.invoices: dict[str, Document] = {}
        self.invoice_templates: dict[str, Document] = {}
        self.schedules: dict[str, Document] = {}
        self.payments: dict[str, list[Document]] = {}
        self.estimate_number: int = 1
        self.invoice_number: int = 1
        self.estimate_numbers: set[int] = set()
        self.invoice_numbers: set[str] = set()
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
            "customNotification": {
                name: {"enabled": True, "emailTemplate": "default", "smsTemplate": "default"}
                for name in NOTIFICATIONS
            },
        }

    @property
    def timezone(self) -> str:
        """The IANA name of the location's time zone."""
        return self.zone.key

    def next_estimate_number(self) -> int:
        """Return the next number that no estimate has ever had."""
        while self.estimate_number in self.estimate_numbers:
            self.estimate_number += 1
        return self.estimate_number

    def next_invoice_number(self) -> str:
        """Return the next number that no invoice has ever had, with leading zeros."""
        while f"{self.invoice_number:06d}" in self.invoice_numbers:
            self.invoice_number += 1
        # Live invoice numbers have leading zeros: docs/api-facts.md#api-number-types
        return f"{self.invoice_number:06d}"

    def locate(self, document_id: str) -> Document | None:
        """Return the estimate or invoice with an id; None if it is unknown."""
        return self.estimates.get(document_id) or self.invoices.get(document_id)


class Ledger:
    """All locations of the sandbox, and the counts of executed operations."""

    def __init__(
        self,
        clock: Clock,
        quirks: Quirks,
        rules: RuleSet | None = None,
        timezone: str = DEFAULT_ZONE,
        base_url: Callable[[], str] = str,
    ) -> None:
        self.clock = clock
        self.quirks = quirks
        self.rules: RuleSet = rules or RuleSet()
        self._serial = 0
        self._timezone = timezone
        self._base_url = base_url
        self.places: dict[str, LocationState] = {}
        self.commits: Counter[str] = Counter()
        self.add(DEFAULT_LOCATION)

    def page_of(self, place: LocationState, kind: str, document_id: str) -> str:
        """Return the address of a document's console page, where its customer acts."""
        return f"{self._base_url()}/_console/location/{place.id}/{kind}/{document_id}"

    def add(self, location_id: str, timezone: str | None = None) -> LocationState:
        """Return a location; create it if it is new.

        Args:
            location_id: The location's id.
            timezone: The IANA name of a new location's time zone; the ledger's by default.
        """
        place = self.places.get(location_id)
        if place is None:
            place = self.places[location_id] = LocationState(location_id, timezone or self._timezone)
        return place

    def new_id(self) -> str:
        """Return the next document id: 24 hexadecimal digits, in order of creation."""
        self._serial += 1
        # Document ids are 24 hexadecimal digits: docs/api-facts.md#api-hosts
        return f"65a0{self._serial:020x}"

    def estimates(self, location_id: str = DEFAULT_LOCATION) -> list[Document]:
        """Return the estimates of a location in order of creation, without deleted ones."""
        return list(self.places[location_id].estimates.values())

    def invoices(self, location_id: str = DEFAULT_LOCATION) -> list[Document]:
        """Return the invoices of a location in order of creation."""
        return list(self.places[location_id].invoices.values())

    def count_commit(self, operation: str, body: Any, target: str = "") -> None:
        """Count one execution under the key in the body, or the document's id.

        Args:
            operation: The operation's name.
            body: The request.
            target: The document's id.
        """
        meta = body.get("meta") if isinstance(body, dict) else None
        meta = meta if isinstance(meta, dict) else {}
        marks = meta.get("hl_async")
        key = marks.get("k") if isinstance(marks, dict) else meta.get("key")
        self.commits[f"{operation}:{key or target}"] += 1

    def touch(self, document: Document, **changes: Any) -> Document:
        """Change fields of a document and its `updatedAt`, and return it."""
        document |= changes
        document["updatedAt"] = self.clock.timestamp()
        return document


def held(documents: dict[str, Document], document_id: str, kind: str) -> Document:
    """Return a document by its id.

    Raises:
        Refusal: A 404. Templates and schedules are assumed to follow the estimates here.
    """
    document = documents.get(document_id)
    if document is None:
        raise not_found(f"{kind.capitalize()} not found")
    return document
