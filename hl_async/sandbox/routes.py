"""Each operation's behaviour: validate, act on the ledger, answer. No HTTP; routes come from the operations table."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from hl_async.operations import OPERATIONS, Operation
from hl_async.sandbox import rules
from hl_async.sandbox.ledger import Document, Ledger, LocationState


class OperationContext(NamedTuple):
    """One request as an operation sees it."""

    ledger: Ledger
    place: LocationState
    ids: tuple[str, ...]
    query: dict[str, str]
    body: Document


Handler = Callable[[OperationContext], Any]


class Route(NamedTuple):
    """A row of the table as the server matches it; fixed paths come before those with ids."""

    operation: Operation[Any]
    pattern: re.Pattern[str]
    v3_only: bool


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{\w+\\\}", "([^/]+)", re.escape(path.rstrip("/"))) + "/?")


def make_routes() -> dict[str, list[Route]]:
    """Routes by method, most specific first."""
    found: dict[str, list[Route]] = {}
    for row in OPERATIONS.values():
        paths = [(row.path, False)] + ([(row.path_v3, True)] if row.path_v3 != row.path else [])
        for path, v3_only in paths:
            found.setdefault(row.method, []).append(Route(row, _pattern(path), v3_only))
    for routes in found.values():
        routes.sort(key=lambda route: route.pattern.groups)
    return found


def check_page(query: dict[str, str]) -> None:
    """``limit`` and ``offset`` are required on every list, as text or number: docs/api-facts.md#api-pagination."""
    given = {name: query.get(name, "") for name in ("limit", "offset")}
    wrong = (
        name for name, text in given.items() if not (text.isascii() and text.isdecimal() and len(text) < 10)
    )
    found = [f"{name} must be a number string" for name in wrong]
    if not found and int(query["limit"]) < 1:
        found.append("limit must not be less than 1")
    if found:
        raise rules.unprocessable(found)


def _listing(key: str, total: str, pick: Callable[[LocationState], dict[str, Document]]) -> Handler:
    def handler(act: OperationContext) -> Any:
        check_page(act.query)
        page, count = act.ledger.page(pick(act.place).values(), act.query)
        return {key: page} | ({total: count} if count or not page else {})

    return handler


def _create_estimate(act: OperationContext) -> Any:
    rules.check_document(act.body, rules.ESTIMATE, rules.ESTIMATE_OPTIONAL, "items")
    return act.ledger.create_estimate(act.place, act.body)


def _update_estimate(act: OperationContext) -> Any:
    rules.check_document(act.body, rules.ESTIMATE, rules.ESTIMATE_OPTIONAL, "items")
    return act.ledger.update_estimate(act.place, act.ids[0], act.body)


def _send_estimate(act: OperationContext) -> Any:
    rules.check_document(act.body, rules.SEND, {}, None)
    return act.ledger.send_estimate(act.place, act.ids[0], act.body)


def _invoice_estimate(act: OperationContext) -> Any:
    rules.check_document(
        act.body, {"markAsInvoiced": rules.truth}, {"version": rules.one_of("v1", "v2")}, None
    )
    return act.ledger.invoice_estimate(act.place, act.ids[0], act.body)


def _touch_estimate(act: OperationContext) -> Any:
    rules.check_document(act.body, {"estimateId": rules.filled}, {}, None)
    act.ledger.visit_estimate(act.place, act.body["estimateId"])


def _touch_invoice(act: OperationContext) -> Any:
    rules.check_document(act.body, {"invoiceId": rules.filled}, {}, None)
    act.ledger.visit_invoice(act.place, act.body["invoiceId"])


def _create_invoice(act: OperationContext) -> Any:
    rules.check_document(act.body, rules.INVOICE, rules.INVOICE_OPTIONAL, "items")
    return act.ledger.create_invoice(act.place, act.body)


def _update_invoice(act: OperationContext) -> Any:
    rules.check_document(act.body, rules.INVOICE_UPDATE, rules.INVOICE_OPTIONAL, "invoiceItems")
    return act.ledger.update_invoice(act.place, act.ids[0], act.body)


def _send_invoice(act: OperationContext) -> Any:
    rules.check_document(act.body, rules.SEND, {"autoPayment": rules.mapping}, None)
    return act.ledger.send_invoice(act.place, act.ids[0], act.body)


def _record_payment(act: OperationContext) -> Any:
    rules.check_document(act.body, rules.PAYMENT, {"amount": rules.amount, "notes": rules.text}, None)
    return act.ledger.record_payment(act.place, act.ids[0], act.body)


def _text2pay(act: OperationContext) -> Any:
    rules.check_document(act.body, rules.TEXT2PAY, {"id": rules.filled, "dueDate": rules.day}, "items")
    return act.ledger.text2pay(act.place, act.body)


def _late_fees(pick: Callable[[LocationState], dict[str, Document]], kind: str) -> Handler:
    def handler(act: OperationContext) -> Any:
        rules.check_document(act.body, {"lateFeesConfiguration": rules.mapping}, {}, None)
        if kind == "invoice":
            act.ledger.get_invoice(act.place, act.ids[0])
        return act.ledger.set_late_fees(pick(act.place), act.ids[0], act.body, kind)

    return handler


def _payment_methods(act: OperationContext) -> Any:
    rules.check_document(act.body, {}, {"paymentMethods": rules.mapping}, None)
    return act.ledger.set_payment_methods(act.place.invoice_templates, act.ids[0], act.body)


def _create_template(
    pick: Callable[[LocationState], dict[str, Document]], needed: dict[str, rules.Rule]
) -> Handler:
    def handler(act: OperationContext) -> Any:
        rules.check_document(act.body, needed, {}, "items")
        return act.ledger.create_template(act.place, pick(act.place), act.body)

    return handler


def _update_template(
    pick: Callable[[LocationState], dict[str, Document]], needed: dict[str, rules.Rule]
) -> Handler:
    def handler(act: OperationContext) -> Any:
        rules.check_document(act.body, needed, {}, "items")
        return act.ledger.update_template(act.place, pick(act.place), act.ids[0], act.body)

    return handler


def _read(pick: Callable[[LocationState], dict[str, Document]], kind: str) -> Handler:
    def handler(act: OperationContext) -> Any:
        document = pick(act.place).get(act.ids[0] if act.ids else act.query.get("templateId", ""))
        if document is None:
            raise rules.not_found(f"{kind} not found")
        return document

    return handler


def _create_schedule(act: OperationContext) -> Any:
    rules.check_document(act.body, rules.SCHEDULE, {}, "items")
    return act.ledger.create_schedule(act.place, act.body)


def _start_schedule(act: OperationContext) -> Any:
    rules.check_document(act.body, {"liveMode": rules.truth}, {"autoPayment": rules.mapping}, None)
    return act.ledger.start_schedule(act.place, act.ids[0], act.body)


def _auto_payment(act: OperationContext) -> Any:
    rules.check_document(act.body, {"id": rules.filled, "autoPayment": rules.mapping}, {}, None)
    return act.ledger.set_auto_payment(act.place, act.ids[0], act.body)


def _estimate_templates(place: LocationState) -> dict[str, Document]:
    return place.estimate_templates


def _invoice_templates(place: LocationState) -> dict[str, Document]:
    return place.invoice_templates


def _schedules(place: LocationState) -> dict[str, Document]:
    return place.schedules


def _invoices(place: LocationState) -> dict[str, Document]:
    return place.invoices


HANDLERS: Final[dict[str, Handler]] = {
    "create-invoice": _create_invoice,
    "list-invoices": _listing("invoices", "total", _invoices),
    "get-invoice": lambda act: act.ledger.get_invoice(act.place, act.ids[0]),
    "update-invoice": _update_invoice,
    "delete-invoice": lambda act: act.ledger.delete_invoice(act.place, act.ids[0]),
    "void-invoice": lambda act: act.ledger.void_invoice(act.place, act.ids[0]),
    "send-invoice": _send_invoice,
    "record-invoice": _record_payment,
    "update-invoice-late-fees-configuration": _late_fees(_invoices, "invoice"),
    # text in practice, declared a number: docs/api-facts.md#api-number-types
    "generate-invoice-number": lambda act: {"invoiceNumber": f"{act.place.invoice_number:06d}"},
    "update-invoice-last-visited-at": _touch_invoice,
    "text2pay-invoice": _text2pay,
    "get-invoice-settings": lambda act: act.place.settings,
    "create-invoice-template": _create_template(_invoice_templates, rules.INVOICE_TEMPLATE),
    "list-invoice-templates": _listing("data", "totalCount", _invoice_templates),
    "get-invoice-template": _read(_invoice_templates, "Template"),
    "update-invoice-template": _update_template(_invoice_templates, rules.INVOICE_TEMPLATE),
    "delete-invoice-template": lambda act: (
        {"success": bool(act.ledger.delete_template(act.place.invoice_templates, act.ids[0]))}
    ),
    "update-invoice-template-late-fees-configuration": _late_fees(_invoice_templates, "template"),
    "update-invoice-payment-methods-configuration": _payment_methods,
    "create-invoice-schedule": _create_schedule,
    "list-invoice-schedules": _listing("schedules", "total", _schedules),
    "get-invoice-schedule": _read(_schedules, "Schedule"),
    "update-invoice-schedule": _update_template(_schedules, rules.SCHEDULE),
    "delete-invoice-schedule": lambda act: (
        {"success": bool(act.ledger.delete_template(act.place.schedules, act.ids[0], "schedule"))}
    ),
    "update-and-schedule-invoice-schedule": lambda act: act.ledger.update_and_schedule(act.place, act.ids[0]),
    "schedule-invoice-schedule": _start_schedule,
    "auto-payment-invoice-schedule": _auto_payment,
    "cancel-invoice-schedule": lambda act: act.ledger.cancel_schedule(act.place, act.ids[0]),
    "create-new-estimate": _create_estimate,
    "list-estimates": _listing("estimates", "total", lambda place: place.estimates),
    "update-estimate": _update_estimate,
    "delete-estimate": lambda act: act.ledger.delete_estimate(act.place, act.ids[0]),
    "send-estimate": _send_estimate,
    "create-invoice-from-estimate": _invoice_estimate,
    "generate-estimate-number": lambda act: {"estimateNumber": act.place.estimate_number},
    "update-estimate-last-visited-at": _touch_estimate,
    "create-estimate-template": _create_template(_estimate_templates, rules.ESTIMATE_TEMPLATE),
    "list-estimate-templates": _listing("data", "totalCount", _estimate_templates),
    "update-estimate-template": _update_template(_estimate_templates, rules.ESTIMATE_TEMPLATE),
    "delete-estimate-template": lambda act: act.ledger.delete_template(
        act.place.estimate_templates, act.ids[0]
    ),
    "preview-estimate-template": _read(_estimate_templates, "Template"),
}

CREATED: Final = frozenset(("create-new-estimate", "send-estimate", "create-estimate-template"))
"""Operations that answer 201: docs/api-facts.md#api-success-status."""

TRACED: Final = frozenset(name for name in HANDLERS if "estimate" in name)
"""Operations whose answer carries a traceId in its body: docs/api-facts.md#api-trace-id."""
