"""The table of operations: one row per endpoint, and nothing about an endpoint anywhere else.

Rows come from the official specification (42 invoice operations, three of OAuth), corrected by what is
known of the live API. Transport, resources, sandbox, CLI and the contract test read the same rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from types import MappingProxyType
from typing import Any, Final, Generic, TypeVar
from urllib.parse import quote, unquote

from hl_async import models as m
from hl_async.errors import InvalidRequest
from hl_async.models.codec import decoder
from hl_async.models.validation import check_text

T = TypeVar("T")

MAX_ID: Final = 128


class Alt(Enum):
    """Where ``altId``/``altType``, the location of an invoice call, travels."""

    QUERY = "query"
    BODY = "body"
    BOTH = "both"
    NONE = "none"


class Replay(Enum):
    """What sending the same request twice does."""

    SAFE = "safe"
    """Nothing: it only reads."""
    IDEMPOTENT = "idempotent"
    """The same as once: it replaces or deletes."""
    UNSAFE = "unsafe"
    """Twice the effect: it creates, sends or pays. Never repeated after a byte has left."""


class Operation(Generic[T]):
    """One endpoint, typed by its answer.

    ``name`` is the specification's operationId; ``resource`` and ``call`` name the coroutine
    (``estimates.create``); ``path`` is a template with one ``{parameter}`` per id; ``items`` is the key that
    holds the list in a list envelope; ``query`` the filters the endpoint knows, as the wire
    spells them; ``form`` bodies are form-encoded; an operation that is not ``authorised`` is sent without a token.
    """

    __slots__ = (
        "alt", "authorised", "body", "call", "decode", "form", "items", "method", "name",
        "page", "params", "path", "path_v3", "query", "replay", "resource", "response", "scope", "segments", "total",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        method: str,
        path: str,
        response: type[T] | None,
        *,
        at: str,
        scope: str | None,
        alt: Alt,
        replay: Replay,
        body: type[Any] | None = None,
        query: tuple[str, ...] = (),
        items: str | None = None,
        total: str = "total",
        path_v3: str | None = None,
        form: bool = False,
        authorised: bool = True,
    ) -> None:
        self.name = name
        self.method = method
        self.path = path
        self.path_v3 = path_v3 or path
        self.response = response
        self.resource, self.call = at.split(".")
        self.scope = scope
        self.alt = alt
        self.replay = replay
        self.body = body
        self.query = query
        self.items = items
        self.total = total
        self.form = form
        self.authorised = authorised
        self.params = tuple(part.partition("}")[0] for part in path.split("{")[1:])
        # "/a/{x}/b" → ("/a/", "/b"): expanding is one join around the quoted ids
        self.segments = tuple(part.rpartition("}")[2] for part in path.split("{"))
        self.decode: Callable[[bytes], T] = decoder(response)

    @property
    def at(self) -> str:
        """``resource.call``, the coroutine's place."""
        return f"{self.resource}.{self.call}"

    def expand(self, *ids: str) -> str:
        """The path with ``ids`` filled in, each percent-encoded with nothing left safe.

        Raises :class:`InvalidRequest` for an empty id (it would hit the list route), ``.``, ``..``, control
        characters and anything above 128 characters.
        """
        segments = self.segments
        if len(ids) != len(segments) - 1:
            raise InvalidRequest("path", f"{self.name} takes {len(segments) - 1} ids, got {len(ids)}")
        path = segments[0]
        for index, value in enumerate(ids):
            path += path_segment(self.params[index], value) + segments[index + 1]
        return path

    def __repr__(self) -> str:
        return f"<Operation {self.name}: {self.method} {self.path}>"


def names_no_location(operation: Operation[Any], url: str, body: bytes | None) -> bool:
    """Whether a request to the invoices service goes without ``altId``, which it answers with a misleading 401.

    The operations of this table always carry it; a row defined outside it may not.
    """
    return operation.path.startswith("/invoices") and "altId=" not in url and b'"altId"' not in (body or b"")


def path_segment(field: str, value: str) -> str:
    """Percent-encode one id so that it can only ever be one segment of the path it was meant for."""
    if not isinstance(value, str):
        raise InvalidRequest(field, f"must be a string, got {type(value).__name__}")
    if value.isascii() and value.isalnum() and len(value) <= MAX_ID:
        return value  # the usual case: 20 to 24 letters and digits
    if not value or value.isspace():
        raise InvalidRequest(field, "is empty; an empty id would address the list instead")
    if len(value) > MAX_ID:
        raise InvalidRequest(field, f"has {len(value)} characters; ids have at most {MAX_ID}")
    if value in (".", "..") or unquote(value) in (".", ".."):
        raise InvalidRequest(field, "is a relative path segment, not an id")
    if any(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 for character in value):
        raise InvalidRequest(field, "contains control characters")
    check_text(value, field)
    # quote() never touches dots; unreserved characters stay, everything else is escaped
    return quote(value, safe="")


def plain_id(field: str, value: str) -> str:
    """Validate an id that is used outside a path too: letters, digits and what URLs leave alone."""
    if path_segment(field, value) != value:
        raise InvalidRequest(field, "contains characters that no id has (spaces, slashes, …)")
    return value


_ESTIMATE_WRITE = "invoices/estimate.write"
_ESTIMATE_READ = "invoices/estimate.readonly"
_WRITE = "invoices.write"
_READ = "invoices.readonly"
_TEMPLATE_WRITE = "invoices/template.write"
_TEMPLATE_READ = "invoices/template.readonly"
_SCHEDULE_WRITE = "invoices/schedule.write"
_SCHEDULE_READ = "invoices/schedule.readonly"

_FILTERS = ("status", "startAt", "endAt", "search", "paymentMode")
_PAGE = ("limit", "offset")

# A table is read by rows.
# fmt: off

# --------------------------------------------------------------------------------------------- invoices

CREATE_INVOICE = Operation(
    "create-invoice", "POST", "/invoices/", m.Invoice, at="invoices.create",
    scope=_WRITE, alt=Alt.BODY, replay=Replay.UNSAFE, body=m.InvoiceDraft,
)
LIST_INVOICES = Operation(
    "list-invoices", "GET", "/invoices/", m.InvoiceList, at="invoices.list",
    scope=_READ, alt=Alt.QUERY, replay=Replay.SAFE, items="invoices",
    query=(*_FILTERS, "contactId", "sortField", "sortOrder", *_PAGE),
)
GET_INVOICE = Operation(
    "get-invoice", "GET", "/invoices/{invoiceId}", m.Invoice, at="invoices.get",
    scope=_READ, alt=Alt.QUERY, replay=Replay.SAFE,
)
UPDATE_INVOICE = Operation(
    "update-invoice", "PUT", "/invoices/{invoiceId}", m.Invoice, at="invoices.update",
    scope=_WRITE, alt=Alt.BODY, replay=Replay.IDEMPOTENT, body=m.InvoiceUpdate,
)
DELETE_INVOICE = Operation(
    "delete-invoice", "DELETE", "/invoices/{invoiceId}", m.Invoice, at="invoices.delete",
    scope=_WRITE, alt=Alt.QUERY, replay=Replay.IDEMPOTENT,
)
VOID_INVOICE = Operation(
    "void-invoice", "POST", "/invoices/{invoiceId}/void", m.Invoice, at="invoices.void",
    scope=_WRITE, alt=Alt.BODY, replay=Replay.IDEMPOTENT,
)
SEND_INVOICE = Operation(
    "send-invoice", "POST", "/invoices/{invoiceId}/send", m.InvoiceSent, at="invoices.send",
    scope=_WRITE, alt=Alt.BODY, replay=Replay.UNSAFE, body=m.InvoiceSend,
)
RECORD_PAYMENT = Operation(
    "record-invoice", "POST", "/invoices/{invoiceId}/record-payment", m.PaymentRecorded,
    at="invoices.record_payment", scope=_WRITE, alt=Alt.BODY, replay=Replay.UNSAFE, body=m.RecordPayment,
)
UPDATE_INVOICE_LATE_FEES = Operation(
    "update-invoice-late-fees-configuration", "PATCH", "/invoices/{invoiceId}/late-fees-configuration",
    m.Invoice, at="invoices.update_late_fees", scope=None, alt=Alt.BODY, replay=Replay.IDEMPOTENT,
    body=m.LateFeesUpdate,
)
GENERATE_INVOICE_NUMBER = Operation(
    "generate-invoice-number", "GET", "/invoices/generate-invoice-number", m.InvoiceNumber,
    at="invoices.generate_number", scope=_READ, alt=Alt.QUERY, replay=Replay.SAFE,
)
TOUCH_INVOICE: Operation[None] = Operation(
    "update-invoice-last-visited-at", "PATCH", "/invoices/stats/last-visited-at", None,
    at="invoices.touch_last_visited", scope=None, alt=Alt.QUERY, replay=Replay.IDEMPOTENT, body=m.InvoiceVisit,
)
TEXT2PAY = Operation(
    "text2pay-invoice", "POST", "/invoices/text2pay", m.Text2PayResult, at="invoices.text2pay",
    scope=_WRITE, alt=Alt.BODY, replay=Replay.UNSAFE, body=m.Text2Pay,
)
GET_INVOICE_SETTINGS = Operation(
    "get-invoice-settings", "GET", "/invoices/settings", m.InvoiceSettings, at="invoices.settings",
    scope=_READ, alt=Alt.QUERY, replay=Replay.SAFE,
)

# ------------------------------------------------------------------------------------ invoice templates

CREATE_INVOICE_TEMPLATE = Operation(
    "create-invoice-template", "POST", "/invoices/template", m.InvoiceTemplate, at="invoice_templates.create",
    scope=_TEMPLATE_WRITE, alt=Alt.BODY, replay=Replay.UNSAFE, body=m.InvoiceTemplateDraft,
)
LIST_INVOICE_TEMPLATES = Operation(
    "list-invoice-templates", "GET", "/invoices/template", m.InvoiceTemplateList, at="invoice_templates.list",
    scope=_TEMPLATE_READ, alt=Alt.QUERY, replay=Replay.SAFE, items="data", total="totalCount",
    query=(*_FILTERS, *_PAGE),
)
GET_INVOICE_TEMPLATE = Operation(
    "get-invoice-template", "GET", "/invoices/template/{templateId}", m.InvoiceTemplate,
    at="invoice_templates.get", scope=_TEMPLATE_READ, alt=Alt.QUERY, replay=Replay.SAFE,
)
UPDATE_INVOICE_TEMPLATE = Operation(
    "update-invoice-template", "PUT", "/invoices/template/{templateId}", m.InvoiceTemplate,
    at="invoice_templates.update", scope=_TEMPLATE_WRITE, alt=Alt.BODY, replay=Replay.IDEMPOTENT,
    body=m.InvoiceTemplateUpdate,
)
DELETE_INVOICE_TEMPLATE = Operation(
    "delete-invoice-template", "DELETE", "/invoices/template/{templateId}", m.Deleted,
    at="invoice_templates.delete", scope=_TEMPLATE_WRITE, alt=Alt.QUERY, replay=Replay.IDEMPOTENT,
)
UPDATE_INVOICE_TEMPLATE_LATE_FEES = Operation(
    "update-invoice-template-late-fees-configuration", "PATCH",
    "/invoices/template/{templateId}/late-fees-configuration", m.InvoiceTemplate,
    at="invoice_templates.update_late_fees", scope=None, alt=Alt.BODY, replay=Replay.IDEMPOTENT,
    body=m.LateFeesUpdate,
)
UPDATE_INVOICE_TEMPLATE_PAYMENT_METHODS = Operation(
    "update-invoice-payment-methods-configuration", "PATCH",
    "/invoices/template/{templateId}/payment-methods-configuration", m.InvoiceTemplate,
    at="invoice_templates.update_payment_methods", scope=None, alt=Alt.BODY, replay=Replay.IDEMPOTENT,
    body=m.PaymentMethodsUpdate,
)

# ------------------------------------------------------------------------------------ invoice schedules

CREATE_INVOICE_SCHEDULE = Operation(
    "create-invoice-schedule", "POST", "/invoices/schedule", m.InvoiceSchedule, at="invoice_schedules.create",
    scope=_SCHEDULE_WRITE, alt=Alt.BODY, replay=Replay.UNSAFE, body=m.InvoiceScheduleDraft,
)
LIST_INVOICE_SCHEDULES = Operation(
    "list-invoice-schedules", "GET", "/invoices/schedule", m.InvoiceScheduleList, at="invoice_schedules.list",
    scope=_SCHEDULE_READ, alt=Alt.QUERY, replay=Replay.SAFE, items="schedules", query=(*_FILTERS, *_PAGE),
)
GET_INVOICE_SCHEDULE = Operation(
    "get-invoice-schedule", "GET", "/invoices/schedule/{scheduleId}", m.InvoiceSchedule,
    at="invoice_schedules.get", scope=_SCHEDULE_READ, alt=Alt.QUERY, replay=Replay.SAFE,
)
UPDATE_INVOICE_SCHEDULE = Operation(
    "update-invoice-schedule", "PUT", "/invoices/schedule/{scheduleId}", m.InvoiceSchedule,
    at="invoice_schedules.update", scope=_SCHEDULE_WRITE, alt=Alt.BODY, replay=Replay.IDEMPOTENT,
    body=m.InvoiceScheduleUpdate,
)
DELETE_INVOICE_SCHEDULE = Operation(
    "delete-invoice-schedule", "DELETE", "/invoices/schedule/{scheduleId}", m.Deleted,
    at="invoice_schedules.delete", scope=_SCHEDULE_WRITE, alt=Alt.QUERY, replay=Replay.IDEMPOTENT,
)
UPDATE_AND_SCHEDULE = Operation(
    # The specification gives it neither body nor altId; altId is needed at run time: docs/api-facts.md#api-alt
    "update-and-schedule-invoice-schedule", "POST", "/invoices/schedule/{scheduleId}/updateAndSchedule",
    m.InvoiceSchedule, at="invoice_schedules.update_and_schedule", scope=_SCHEDULE_WRITE, alt=Alt.QUERY,
    replay=Replay.UNSAFE, body=m.InvoiceScheduleUpdate,
)
START_INVOICE_SCHEDULE = Operation(
    "schedule-invoice-schedule", "POST", "/invoices/schedule/{scheduleId}/schedule", m.InvoiceSchedule,
    at="invoice_schedules.start", scope=_SCHEDULE_WRITE, alt=Alt.BODY, replay=Replay.UNSAFE,
    body=m.ScheduleStart,
)
SET_AUTO_PAYMENT = Operation(
    "auto-payment-invoice-schedule", "POST", "/invoices/schedule/{scheduleId}/auto-payment", m.InvoiceSchedule,
    at="invoice_schedules.set_auto_payment", scope=_SCHEDULE_WRITE, alt=Alt.BODY, replay=Replay.IDEMPOTENT,
    body=m.ScheduleAutoPayment,
)
CANCEL_INVOICE_SCHEDULE = Operation(
    "cancel-invoice-schedule", "POST", "/invoices/schedule/{scheduleId}/cancel", m.InvoiceSchedule,
    at="invoice_schedules.cancel", scope=_SCHEDULE_WRITE, alt=Alt.BODY, replay=Replay.IDEMPOTENT,
)

# -------------------------------------------------------------------------------------------- estimates

CREATE_ESTIMATE = Operation(
    "create-new-estimate", "POST", "/invoices/estimate", m.Estimate, at="estimates.create",
    scope=_ESTIMATE_WRITE, alt=Alt.BODY, replay=Replay.UNSAFE, body=m.EstimateDraft,
)
LIST_ESTIMATES = Operation(
    "list-estimates", "GET", "/invoices/estimate/list", m.EstimateList, at="estimates.list",
    scope=_ESTIMATE_READ, alt=Alt.QUERY, replay=Replay.SAFE, items="estimates",
    query=("startAt", "endAt", "search", "status", "contactId", *_PAGE),
)
UPDATE_ESTIMATE = Operation(
    "update-estimate", "PUT", "/invoices/estimate/{estimateId}", m.Estimate, at="estimates.update",
    scope=_ESTIMATE_WRITE, alt=Alt.BODY, replay=Replay.IDEMPOTENT, body=m.EstimateUpdate,
)
DELETE_ESTIMATE = Operation(
    # The live API reads the body and ignores the query: docs/api-facts.md#api-delete-body
    "delete-estimate", "DELETE", "/invoices/estimate/{estimateId}", m.Estimate, at="estimates.delete",
    scope=_ESTIMATE_WRITE, alt=Alt.BOTH, replay=Replay.IDEMPOTENT,
)
SEND_ESTIMATE = Operation(
    "send-estimate", "POST", "/invoices/estimate/{estimateId}/send", m.Estimate, at="estimates.send",
    scope=_ESTIMATE_WRITE, alt=Alt.BODY, replay=Replay.UNSAFE, body=m.EstimateSend,
)
CREATE_INVOICE_FROM_ESTIMATE = Operation(
    "create-invoice-from-estimate", "POST", "/invoices/estimate/{estimateId}/invoice",
    m.InvoiceFromEstimateResult, at="estimates.create_invoice", scope=_ESTIMATE_WRITE, alt=Alt.BODY,
    replay=Replay.UNSAFE, body=m.InvoiceFromEstimate,
)
GENERATE_ESTIMATE_NUMBER = Operation(
    "generate-estimate-number", "GET", "/invoices/estimate/number/generate", m.EstimateNumber,
    at="estimates.generate_number", scope=_ESTIMATE_READ, alt=Alt.QUERY, replay=Replay.SAFE,
)
TOUCH_ESTIMATE: Operation[None] = Operation(
    "update-estimate-last-visited-at", "PATCH", "/invoices/estimate/stats/last-visited-at", None,
    at="estimates.touch_last_visited", scope=None, alt=Alt.QUERY, replay=Replay.IDEMPOTENT,
    body=m.EstimateVisit,
)

# ----------------------------------------------------------------------------------- estimate templates

CREATE_ESTIMATE_TEMPLATE = Operation(
    "create-estimate-template", "POST", "/invoices/estimate/template", m.EstimateTemplate,
    at="estimate_templates.create", scope=_ESTIMATE_WRITE, alt=Alt.BODY, replay=Replay.UNSAFE,
    body=m.EstimateTemplateDraft,
)
LIST_ESTIMATE_TEMPLATES = Operation(
    "list-estimate-templates", "GET", "/invoices/estimate/template", m.EstimateTemplateList,
    at="estimate_templates.list", scope=_ESTIMATE_READ, alt=Alt.QUERY, replay=Replay.SAFE, items="data",
    total="totalCount", query=("search", *_PAGE),
)
UPDATE_ESTIMATE_TEMPLATE = Operation(
    "update-estimate-template", "PUT", "/invoices/estimate/template/{templateId}", m.EstimateTemplate,
    at="estimate_templates.update", scope=_ESTIMATE_WRITE, alt=Alt.BODY, replay=Replay.IDEMPOTENT,
    body=m.EstimateTemplateDraft,
)
DELETE_ESTIMATE_TEMPLATE = Operation(
    "delete-estimate-template", "DELETE", "/invoices/estimate/template/{templateId}", m.EstimateTemplate,
    at="estimate_templates.delete", scope=_ESTIMATE_WRITE, alt=Alt.BOTH, replay=Replay.IDEMPOTENT,
)
PREVIEW_ESTIMATE_TEMPLATE = Operation(
    "preview-estimate-template", "GET", "/invoices/estimate/template/preview", m.EstimateTemplate,
    at="estimate_templates.preview", scope=_ESTIMATE_READ, alt=Alt.QUERY, replay=Replay.SAFE,
    query=("templateId",),
)

# ------------------------------------------------------------------------------------------------ oauth

GET_ACCESS_TOKEN = Operation(
    # Refresh tokens are single-use, so a sent token request is never repeated: docs/api-facts.md#api-refresh-grace
    "get-access-token", "POST", "/oauth/token", m.TokenGrant, at="oauth.token",
    authorised=False, scope=None, alt=Alt.NONE, replay=Replay.UNSAFE, form=True,
)
GET_LOCATION_TOKEN = Operation(
    # Minting is repeatable: every call gives another valid token
    "get-location-access-token", "POST", "/oauth/locationToken", m.TokenGrant, at="oauth.location_token",
    scope="oauth.write", alt=Alt.NONE, replay=Replay.IDEMPOTENT, form=True, path_v3="/oauth/location-token",
)
LIST_INSTALLED_LOCATIONS = Operation(
    "get-installed-location", "GET", "/oauth/installedLocations", m.InstalledLocationList,
    at="oauth.installed_locations", scope="oauth.readonly", alt=Alt.NONE, replay=Replay.SAFE,
    items="locations", total="count", path_v3="/oauth/installed-locations",
    query=("companyId", "appId", "skip", "limit", "query", "isInstalled", "versionId", "onTrial", "planId",
           "locationId", "pageSize", "pageToken", "restrictToUserLocations"),
)

# fmt: on

OPERATIONS: Final[Mapping[str, Operation[Any]]] = MappingProxyType(
    {row.name: row for row in tuple(globals().values()) if isinstance(row, Operation)}
)
"""Every row by its operationId, in the order above."""
