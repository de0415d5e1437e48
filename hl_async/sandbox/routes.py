"""Internal. The handlers of operations: check a body, change the ledger, answer."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from hl_async.operations import OPERATIONS, Alt, Operation
from hl_async.sandbox import bodies, estimates, invoices, listing, templates
from hl_async.sandbox.documents import schedule as make_schedule
from hl_async.sandbox.ledger import Document, Ledger, LocationState, held
from hl_async.sandbox.refusals import not_found
from hl_async.sandbox.shapes import Shape, Strictness


class OperationContext(NamedTuple):
    """One request, as its handler gets it."""

    ledger: Ledger
    place: LocationState
    ids: tuple[str, ...]
    query: dict[str, str]
    body: Document

    def checked(self, shape: Shape) -> Document:
        """Return the members of the body to store. Raises `Refusal` for another shape."""
        quirks = self.ledger.quirks
        strict = Strictness(self.ledger.rules.is_on, quirks.unknown_keys == "refused")
        body: Document = bodies.checked(
            self.body, shape, strict, unknown_keys=quirks.unknown_keys, keep_nulls=quirks.keep_nulls
        )
        return body


Handler = Callable[[OperationContext], Any]
Kept = Callable[[LocationState], dict[str, Document]]


class Route(NamedTuple):
    """An operation and the pattern that its paths match.

    `v3_only` marks a path that exists under API version v3 only.
    """

    operation: Operation[Any]
    pattern: re.Pattern[str]
    v3_only: bool


def _pattern(path: str) -> re.Pattern[str]:
    # Some live paths end with a slash, so both spellings match: docs/api-facts.md#api-paths
    return re.compile(re.sub(r"\\\{\w+\\\}", "([^/]+)", re.escape(path.rstrip("/"))) + "/?")


def make_routes() -> dict[str, list[Route]]:
    """Return the routes by HTTP method; those with fewer ids in the path come first."""
    found: dict[str, list[Route]] = {}
    for row in OPERATIONS.values():
        paths = [(row.path, False)] + ([(row.path_v3, True)] if row.path_v3 != row.path else [])
        for path, v3_only in paths:
            found.setdefault(row.method, []).append(Route(row, _pattern(path), v3_only))
    for routes in found.values():
        # The pattern of an id would match fixed words such as template too: docs/api-facts.md#api-paths
        routes.sort(key=lambda route: route.pattern.groups)
    return found


BARE: Final = frozenset(
    (
        "update-and-schedule-invoice-schedule",
        "update-invoice-last-visited-at",
        "update-estimate-last-visited-at",
    )
)
"""Operations whose specification declares neither altId nor altType."""


def alt_of(operation: Operation[Any]) -> Alt:
    """Return where the live API reads the location of an operation."""
    if operation.name in BARE:
        return Alt.BOTH
    if operation.method == "GET":
        return Alt.QUERY
    # Deleting estimates reads the body, other deletions the query: docs/api-facts.md#api-delete-body
    in_body = operation.method != "DELETE" or operation.resource.startswith("estimate")
    return Alt.BODY if in_body else Alt.QUERY


# ------------------------------------------------------------------------------------------- handlers


def _estimates(place: LocationState) -> dict[str, Document]:
    return place.estimates


def _estimate_templates(place: LocationState) -> dict[str, Document]:
    return place.estimate_templates


def _invoice_templates(place: LocationState) -> dict[str, Document]:
    return place.invoice_templates


def _schedules(place: LocationState) -> dict[str, Document]:
    return place.schedules


def _invoices(place: LocationState) -> dict[str, Document]:
    return place.invoices


def _listing(operation: str, kept: Kept) -> Handler:
    row = OPERATIONS[operation]
    key, known = row.items or "", row.query

    def handler(act: OperationContext) -> Any:
        listing.check_query(act.ledger, act.query, known, of_estimates=kept is _estimates)
        shown, count = listing.page(act.ledger, act.place, kept(act.place).values(), act.query, known)
        # `listing.page` returns the count 0 for a list without a total: see `Quirks.honest_total`.
        return {key: shown} | ({row.total: count} if count or not shown else {})

    return handler


def _create_estimate(act: OperationContext) -> Any:
    return estimates.create(act.ledger, act.place, act.checked(bodies.ESTIMATE))


def _update_estimate(act: OperationContext) -> Any:
    return estimates.update(act.ledger, act.place, act.ids[0], act.checked(bodies.ESTIMATE_UPDATE))


def _send_estimate(act: OperationContext) -> Any:
    return estimates.send(act.ledger, act.place, act.ids[0], act.checked(bodies.SEND_ESTIMATE))


def _invoice_estimate(act: OperationContext) -> Any:
    return estimates.make_invoice(act.ledger, act.place, act.ids[0], act.checked(bodies.ESTIMATE_INVOICE))


def _visit_estimate(act: OperationContext) -> Any:
    estimates.visit(act.ledger, act.place, act.checked(bodies.ESTIMATE_VISIT)["estimateId"])
    return None if act.ledger.quirks.empty_last_visited else {}


def _visit_invoice(act: OperationContext) -> Any:
    invoices.visit(act.ledger, act.place, act.checked(bodies.INVOICE_VISIT)["invoiceId"])
    return None if act.ledger.quirks.empty_last_visited else {}


def _create_invoice(act: OperationContext) -> Any:
    return invoices.create(act.ledger, act.place, act.checked(bodies.INVOICE))


def _update_invoice(act: OperationContext) -> Any:
    return invoices.update(act.ledger, act.place, act.ids[0], act.checked(bodies.INVOICE_UPDATE))


def _void_invoice(act: OperationContext) -> Any:
    act.checked(bodies.NOTHING)
    return invoices.void(act.ledger, act.place, act.ids[0])


def _send_invoice(act: OperationContext) -> Any:
    return invoices.send(act.ledger, act.place, act.ids[0], act.checked(bodies.SEND))


def _record_payment(act: OperationContext) -> Any:
    return invoices.record_payment(act.ledger, act.place, act.ids[0], act.checked(bodies.PAYMENT))


def _text2pay(act: OperationContext) -> Any:
    return invoices.text2pay(act.ledger, act.place, act.checked(bodies.TEXT2PAY))


def _late_fees(kept: Kept, kind: str) -> Handler:
    def handler(act: OperationContext) -> Any:
        body = act.checked(bodies.INVOICE_LATE_FEES)
        if kind == "invoice":
            document = invoices.find(act.place, act.ids[0])
        else:
            document = held(kept(act.place), act.ids[0], kind)
        return act.ledger.touch(document, lateFeesConfiguration=body["lateFeesConfiguration"])

    return handler


def _payment_methods(act: OperationContext) -> Any:
    body = act.checked(bodies.TEMPLATE_PAYMENT_METHODS)
    document = held(act.place.invoice_templates, act.ids[0], "template")
    return act.ledger.touch(document, paymentMethods=body.get("paymentMethods") or {})


def _create(kept: Kept, shape: Shape, make: templates.Make) -> Handler:
    def handler(act: OperationContext) -> Any:
        return templates.create(act.ledger, act.place, kept(act.place), act.checked(shape), make)

    return handler


def _update(kept: Kept, shape: Shape, make: templates.Make, kind: str) -> Handler:
    def handler(act: OperationContext) -> Any:
        body = act.checked(shape)
        return templates.update(act.ledger, act.place, kept(act.place), act.ids[0], body, make, kind)

    return handler


def _delete(kept: Kept, kind: str) -> Handler:
    def handler(act: OperationContext) -> Any:
        templates.delete(kept(act.place), act.ids[0], kind)
        # Estimates and invoices answer with the document instead: docs/api-facts.md#api-delete-answer
        return {"success": True}

    return handler


def _delete_estimate_template(act: OperationContext) -> Any:
    document = templates.delete(act.place.estimate_templates, act.ids[0], "template")
    return document | {"deleted": True}


def _read(kept: Kept, kind: str) -> Handler:
    def handler(act: OperationContext) -> Any:
        wanted = act.ids[0] if act.ids else act.query.get("templateId", "")
        document = kept(act.place).get(wanted)
        if document is None:
            raise not_found(f"{kind} not found")
        return document

    return handler


def _create_schedule(act: OperationContext) -> Any:
    return templates.create_schedule(act.ledger, act.place, act.checked(bodies.SCHEDULE))


def _start_schedule(act: OperationContext) -> Any:
    return templates.start_schedule(act.ledger, act.place, act.ids[0], act.checked(bodies.SCHEDULE_START))


def _update_and_schedule(act: OperationContext) -> Any:
    held(act.place.schedules, act.ids[0], "schedule")
    # The body is undeclared, so one with the location alone counts as empty: docs/api-facts.md#api-schedules
    given = set(act.body) - {"altId", "altType"}
    body = act.checked(bodies.SCHEDULE) if given else {}
    return templates.update_and_schedule(act.ledger, act.place, act.ids[0], body)


def _auto_payment(act: OperationContext) -> Any:
    body = act.checked(bodies.SCHEDULE_AUTO_PAYMENT)
    return templates.set_auto_payment(act.ledger, act.place, act.ids[0], body)


def _cancel_schedule(act: OperationContext) -> Any:
    act.checked(bodies.NOTHING)
    return templates.cancel_schedule(act.ledger, act.place, act.ids[0])


HANDLERS: Final[dict[str, Handler]] = {
    "create-invoice": _create_invoice,
    "list-invoices": _listing("list-invoices", _invoices),
    "get-invoice": lambda act: invoices.find(act.place, act.ids[0]),
    "update-invoice": _update_invoice,
    "delete-invoice": lambda act: invoices.delete(act.place, act.ids[0]),
    "void-invoice": _void_invoice,
    "send-invoice": _send_invoice,
    "record-invoice": _record_payment,
    "update-invoice-late-fees-configuration": _late_fees(_invoices, "invoice"),
    # Declared as a number, seen as text: docs/api-facts.md#api-number-types
    "generate-invoice-number": lambda act: {"invoiceNumber": act.place.next_invoice_number()},
    "update-invoice-last-visited-at": _visit_invoice,
    "text2pay-invoice": _text2pay,
    "get-invoice-settings": lambda act: act.place.settings,
    "create-invoice-template": _create(_invoice_templates, bodies.INVOICE_TEMPLATE, templates.of_invoices),
    "list-invoice-templates": _listing("list-invoice-templates", _invoice_templates),
    "get-invoice-template": _read(_invoice_templates, "Template"),
    "update-invoice-template": _update(
        _invoice_templates, bodies.INVOICE_TEMPLATE, templates.of_invoices, "template"
    ),
    "delete-invoice-template": _delete(_invoice_templates, "template"),
    "update-invoice-template-late-fees-configuration": _late_fees(_invoice_templates, "template"),
    "update-invoice-payment-methods-configuration": _payment_methods,
    "create-invoice-schedule": _create_schedule,
    "list-invoice-schedules": _listing("list-invoice-schedules", _schedules),
    "get-invoice-schedule": _read(_schedules, "Schedule"),
    "update-invoice-schedule": _update(_schedules, bodies.SCHEDULE, make_schedule, "schedule"),
    "delete-invoice-schedule": _delete(_schedules, "schedule"),
    "update-and-schedule-invoice-schedule": _update_and_schedule,
    "schedule-invoice-schedule": _start_schedule,
    "auto-payment-invoice-schedule": _auto_payment,
    "cancel-invoice-schedule": _cancel_schedule,
    "create-new-estimate": _create_estimate,
    "list-estimates": _listing("list-estimates", _estimates),
    "update-estimate": _update_estimate,
    "delete-estimate": lambda act: estimates.delete(act.ledger, act.place, act.ids[0]),
    "send-estimate": _send_estimate,
    "create-invoice-from-estimate": _invoice_estimate,
    "generate-estimate-number": lambda act: {"estimateNumber": act.place.next_estimate_number()},
    "update-estimate-last-visited-at": _visit_estimate,
    "create-estimate-template": _create(
        _estimate_templates, bodies.ESTIMATE_TEMPLATE, templates.of_estimates
    ),
    "list-estimate-templates": _listing("list-estimate-templates", _estimate_templates),
    "update-estimate-template": _update(
        _estimate_templates, bodies.ESTIMATE_TEMPLATE, templates.of_estimates, "template"
    ),
    "delete-estimate-template": _delete_estimate_template,
    "preview-estimate-template": _read(_estimate_templates, "Template"),
}

CREATED: Final = frozenset(
    ("create-new-estimate", "send-estimate", "create-estimate-template", "create-invoice", "record-invoice")
)
"""Operations that answer 201.

The last two declare 200 and were seen to answer 201 (docs/api-facts.md#api-success-status).
"""

TRACED: Final = frozenset(name for name in HANDLERS if "estimate" in name)
"""Operations whose answer carries a traceId in its body: docs/api-facts.md#api-trace-id."""
