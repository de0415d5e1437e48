"""The table of operations: one row per endpoint.

No other module describes an endpoint. The rows come from the official specifications: 42 operations on invoices,
three of OAuth, and those in ``operations.neighbours``. Facts of the live API correct them (docs/api-facts.md).
Transport, resources, sandbox, CLI and the contract test read the same rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, Final

from hl_async import models as m
from hl_async.errors import InvalidRequest
from hl_async.operations.endpoint import (
    MAX_ID,
    Alt,
    Operation,
    Replay,
    names_no_location,
    path_segment,
    plain_id,
)
from hl_async.operations.neighbours import (
    ADD_CONTACT_TAGS,
    CREATE_CONTACT,
    CREATE_OPPORTUNITY,
    CREATE_PRICE,
    CREATE_PRODUCT,
    DELETE_CONTACT,
    FIND_CONTACT,
    GET_CONTACT,
    GET_LOCATION,
    LIST_ORDERS,
    LIST_PIPELINES,
    LIST_PRICES,
    LIST_PRODUCTS,
    LIST_TRANSACTIONS,
    NEIGHBOURS,
    SEARCH_CONTACTS,
    SEARCH_LOCATIONS,
    SEARCH_OPPORTUNITIES,
    SEARCH_USERS,
    UPDATE_CONTACT,
    UPDATE_OPPORTUNITY,
    UPSERT_CONTACT,
)

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

# A row stays on few lines here, so that rows can be compared; the formatter would give each argument its own line.
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
    identity="id",
)
UPDATE_INVOICE = Operation(
    "update-invoice", "PUT", "/invoices/{invoiceId}", m.Invoice, at="invoices.update",
    scope=_WRITE, alt=Alt.BODY, replay=Replay.IDEMPOTENT, body=m.InvoiceUpdate,
    identity="id",
)
DELETE_INVOICE = Operation(
    "delete-invoice", "DELETE", "/invoices/{invoiceId}", m.Invoice, at="invoices.delete",
    scope=_WRITE, alt=Alt.QUERY, replay=Replay.IDEMPOTENT,
    identity="id",
)
VOID_INVOICE = Operation(
    "void-invoice", "POST", "/invoices/{invoiceId}/void", m.Invoice, at="invoices.void",
    scope=_WRITE, alt=Alt.BODY, replay=Replay.IDEMPOTENT,
    identity="id",
)
SEND_INVOICE = Operation(
    "send-invoice", "POST", "/invoices/{invoiceId}/send", m.InvoiceSent, at="invoices.send",
    scope=_WRITE, alt=Alt.BODY, replay=Replay.UNSAFE, body=m.InvoiceSend,
    identity="invoice.id",
)
RECORD_PAYMENT = Operation(
    # Sending it twice would record the payment twice.
    "record-invoice", "POST", "/invoices/{invoiceId}/record-payment", m.PaymentRecorded,
    at="invoices.record_payment", scope=_WRITE, alt=Alt.BODY, replay=Replay.UNSAFE, body=m.RecordPayment,
    identity="invoice.id",
)
UPDATE_INVOICE_LATE_FEES = Operation(
    # PATCH operations declare no scope: docs/api-facts.md#api-scopes
    "update-invoice-late-fees-configuration", "PATCH", "/invoices/{invoiceId}/late-fees-configuration",
    m.Invoice, at="invoices.update_late_fees", scope=None, alt=Alt.BODY, replay=Replay.IDEMPOTENT,
    body=m.LateFeesUpdate,
    identity="id",
)
GENERATE_INVOICE_NUMBER = Operation(
    "generate-invoice-number", "GET", "/invoices/generate-invoice-number", m.InvoiceNumber,
    at="invoices.generate_number", scope=_READ, alt=Alt.QUERY, replay=Replay.SAFE,
)
TOUCH_INVOICE: Operation[None] = Operation(
    # The specification declares no altId here; the API requires it: docs/api-facts.md#api-alt
    "update-invoice-last-visited-at", "PATCH", "/invoices/stats/last-visited-at", None,
    at="invoices.touch_last_visited", scope=None, alt=Alt.QUERY, replay=Replay.IDEMPOTENT, body=m.InvoiceVisit,
)
TEXT2PAY = Operation(
    # It creates, updates or sends, depending on its body, so it is never repeated: docs/api-facts.md#api-text2pay
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
    identity="id",
)
UPDATE_INVOICE_TEMPLATE = Operation(
    "update-invoice-template", "PUT", "/invoices/template/{templateId}", m.InvoiceTemplate,
    at="invoice_templates.update", scope=_TEMPLATE_WRITE, alt=Alt.BODY, replay=Replay.IDEMPOTENT,
    body=m.InvoiceTemplateUpdate,
    identity="id",
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
    identity="id",
)
UPDATE_INVOICE_TEMPLATE_PAYMENT_METHODS = Operation(
    "update-invoice-payment-methods-configuration", "PATCH",
    "/invoices/template/{templateId}/payment-methods-configuration", m.InvoiceTemplate,
    at="invoice_templates.update_payment_methods", scope=None, alt=Alt.BODY, replay=Replay.IDEMPOTENT,
    body=m.PaymentMethodsUpdate,
    identity="id",
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
    identity="id",
)
UPDATE_INVOICE_SCHEDULE = Operation(
    "update-invoice-schedule", "PUT", "/invoices/schedule/{scheduleId}", m.InvoiceSchedule,
    at="invoice_schedules.update", scope=_SCHEDULE_WRITE, alt=Alt.BODY, replay=Replay.IDEMPOTENT,
    body=m.InvoiceScheduleUpdate,
    identity="id",
)
DELETE_INVOICE_SCHEDULE = Operation(
    "delete-invoice-schedule", "DELETE", "/invoices/schedule/{scheduleId}", m.Deleted,
    at="invoice_schedules.delete", scope=_SCHEDULE_WRITE, alt=Alt.QUERY, replay=Replay.IDEMPOTENT,
)
UPDATE_AND_SCHEDULE = Operation(
    # The specification declares neither body nor altId; the API requires altId: docs/api-facts.md#api-alt
    "update-and-schedule-invoice-schedule", "POST", "/invoices/schedule/{scheduleId}/updateAndSchedule",
    m.InvoiceSchedule, at="invoice_schedules.update_and_schedule", scope=_SCHEDULE_WRITE, alt=Alt.QUERY,
    replay=Replay.UNSAFE, body=m.InvoiceScheduleUpdate,
    identity="id",
)
START_INVOICE_SCHEDULE = Operation(
    "schedule-invoice-schedule", "POST", "/invoices/schedule/{scheduleId}/schedule", m.InvoiceSchedule,
    at="invoice_schedules.start", scope=_SCHEDULE_WRITE, alt=Alt.BODY, replay=Replay.UNSAFE,
    body=m.ScheduleStart,
    identity="id",
)
SET_AUTO_PAYMENT = Operation(
    # The body repeats the id: docs/api-facts.md#api-schedules
    "auto-payment-invoice-schedule", "POST", "/invoices/schedule/{scheduleId}/auto-payment", m.InvoiceSchedule,
    at="invoice_schedules.set_auto_payment", scope=_SCHEDULE_WRITE, alt=Alt.BODY, replay=Replay.IDEMPOTENT,
    body=m.ScheduleAutoPayment,
    identity="id",
)
CANCEL_INVOICE_SCHEDULE = Operation(
    "cancel-invoice-schedule", "POST", "/invoices/schedule/{scheduleId}/cancel", m.InvoiceSchedule,
    at="invoice_schedules.cancel", scope=_SCHEDULE_WRITE, alt=Alt.BODY, replay=Replay.IDEMPOTENT,
    identity="id",
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
    identity="id",
)
DELETE_ESTIMATE = Operation(
    # The live API reads the body and ignores the query: docs/api-facts.md#api-delete-body
    "delete-estimate", "DELETE", "/invoices/estimate/{estimateId}", m.Estimate, at="estimates.delete",
    scope=_ESTIMATE_WRITE, alt=Alt.BOTH, replay=Replay.IDEMPOTENT,
    identity="id",
)
SEND_ESTIMATE = Operation(
    "send-estimate", "POST", "/invoices/estimate/{estimateId}/send", m.Estimate, at="estimates.send",
    scope=_ESTIMATE_WRITE, alt=Alt.BODY, replay=Replay.UNSAFE, body=m.EstimateSend,
    identity="id",
)
CREATE_INVOICE_FROM_ESTIMATE = Operation(
    "create-invoice-from-estimate", "POST", "/invoices/estimate/{estimateId}/invoice",
    m.InvoiceFromEstimateResult, at="estimates.create_invoice", scope=_ESTIMATE_WRITE, alt=Alt.BODY,
    replay=Replay.UNSAFE, body=m.InvoiceFromEstimate,
    identity="estimate.id",
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
    identity="id",
)
DELETE_ESTIMATE_TEMPLATE = Operation(
    "delete-estimate-template", "DELETE", "/invoices/estimate/template/{templateId}", m.EstimateTemplate,
    at="estimate_templates.delete", scope=_ESTIMATE_WRITE, alt=Alt.BOTH, replay=Replay.IDEMPOTENT,
    identity="id",
)
PREVIEW_ESTIMATE_TEMPLATE = Operation(
    # The only route that reads one template: docs/api-facts.md#api-get-one
    "preview-estimate-template", "GET", "/invoices/estimate/template/preview", m.EstimateTemplate,
    at="estimate_templates.preview", scope=_ESTIMATE_READ, alt=Alt.QUERY, replay=Replay.SAFE,
    query=("templateId",),
    identity="id",
)

# ------------------------------------------------------------------------------------------------ oauth

GET_ACCESS_TOKEN = Operation(
    # Refresh tokens are single-use, so only the refresher sends one again: docs/api-facts.md#api-refresh-grace
    "get-access-token", "POST", "/oauth/token", m.TokenGrant, at="oauth.token",
    authorised=False, scope=None, alt=Alt.NONE, replay=Replay.UNSAFE, form=True,
)
GET_LOCATION_TOKEN = Operation(
    # Safe to repeat: every call returns another valid token
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
    {
        row.name: row
        for row in (
            *(
                row
                for row in tuple(globals().values())
                if isinstance(row, Operation) and row not in NEIGHBOURS
            ),
            *NEIGHBOURS,
        )
    }
)
"""Every row by its operationId: the rows above in their order, then those of ``operations.neighbours``."""


@cache
def _spellings() -> Mapping[str, Operation[Any]]:
    constants = {name: row for name, row in globals().items() if isinstance(row, Operation)}
    return {**constants, **{row.at: row for row in OPERATIONS.values()}, **OPERATIONS}


def find_operation(spelling: str) -> Operation[Any] | None:
    """Return the row with a name, or None if the name is unknown.

    A row has three names, such as ``estimates.create``, ``create-new-estimate`` and ``CREATE_ESTIMATE``.
    """
    return _spellings().get(spelling)


def operation_named(spelling: str, field: str = "operation") -> Operation[Any]:
    """Return the row with a name; raise if the name is unknown.

    Args:
        spelling: ``estimates.create``, the specification's ``create-new-estimate``, or ``CREATE_ESTIMATE``.
        field: The caller's argument that holds the name, for the error.

    Raises:
        InvalidRequest: The operation is unknown; the error suggests similar names.
    """
    row = find_operation(spelling)
    if row is not None:
        return row
    import difflib

    near = difflib.get_close_matches(spelling, _spellings(), 3)
    hint = f"did you mean {' or '.join(near)}?" if near else "see: hl-async call --list"
    raise InvalidRequest(field, f"unknown operation {spelling!r}; {hint}")


__all__ = [
    "ADD_CONTACT_TAGS",
    "CANCEL_INVOICE_SCHEDULE",
    "CREATE_CONTACT",
    "CREATE_ESTIMATE",
    "CREATE_ESTIMATE_TEMPLATE",
    "CREATE_INVOICE",
    "CREATE_INVOICE_FROM_ESTIMATE",
    "CREATE_INVOICE_SCHEDULE",
    "CREATE_INVOICE_TEMPLATE",
    "CREATE_OPPORTUNITY",
    "CREATE_PRICE",
    "CREATE_PRODUCT",
    "DELETE_CONTACT",
    "DELETE_ESTIMATE",
    "DELETE_ESTIMATE_TEMPLATE",
    "DELETE_INVOICE",
    "DELETE_INVOICE_SCHEDULE",
    "DELETE_INVOICE_TEMPLATE",
    "FIND_CONTACT",
    "GENERATE_ESTIMATE_NUMBER",
    "GENERATE_INVOICE_NUMBER",
    "GET_ACCESS_TOKEN",
    "GET_CONTACT",
    "GET_INVOICE",
    "GET_INVOICE_SCHEDULE",
    "GET_INVOICE_SETTINGS",
    "GET_INVOICE_TEMPLATE",
    "GET_LOCATION",
    "GET_LOCATION_TOKEN",
    "LIST_ESTIMATES",
    "LIST_ESTIMATE_TEMPLATES",
    "LIST_INSTALLED_LOCATIONS",
    "LIST_INVOICES",
    "LIST_INVOICE_SCHEDULES",
    "LIST_INVOICE_TEMPLATES",
    "LIST_ORDERS",
    "LIST_PIPELINES",
    "LIST_PRICES",
    "LIST_PRODUCTS",
    "LIST_TRANSACTIONS",
    "MAX_ID",
    "NEIGHBOURS",
    "OPERATIONS",
    "PREVIEW_ESTIMATE_TEMPLATE",
    "RECORD_PAYMENT",
    "SEARCH_CONTACTS",
    "SEARCH_LOCATIONS",
    "SEARCH_OPPORTUNITIES",
    "SEARCH_USERS",
    "SEND_ESTIMATE",
    "SEND_INVOICE",
    "SET_AUTO_PAYMENT",
    "START_INVOICE_SCHEDULE",
    "TEXT2PAY",
    "TOUCH_ESTIMATE",
    "TOUCH_INVOICE",
    "UPDATE_AND_SCHEDULE",
    "UPDATE_CONTACT",
    "UPDATE_ESTIMATE",
    "UPDATE_ESTIMATE_TEMPLATE",
    "UPDATE_INVOICE",
    "UPDATE_INVOICE_LATE_FEES",
    "UPDATE_INVOICE_SCHEDULE",
    "UPDATE_INVOICE_TEMPLATE",
    "UPDATE_INVOICE_TEMPLATE_LATE_FEES",
    "UPDATE_INVOICE_TEMPLATE_PAYMENT_METHODS",
    "UPDATE_OPPORTUNITY",
    "UPSERT_CONTACT",
    "VOID_INVOICE",
    "Alt",
    "Operation",
    "Replay",
    "find_operation",
    "names_no_location",
    "operation_named",
    "path_segment",
    "plain_id",
]
