"""Promise about identity: an answer with another id than the one that was asked for is never taken."""

from __future__ import annotations

from typing import Any

import pytest

import samples
from hl_async import GovernorPolicy, PrivateToken, RetryPolicy
from hl_async import operations as op
from hl_async.config import CallOptions, ClientConfig
from hl_async.errors import OutcomeUnknown, WrongDocument
from hl_async.governor import Governor
from hl_async.models import (
    AutoPayment,
    EstimateSend,
    InvoiceSend,
    LateFeesConfiguration,
    PaymentMethods,
    RecordPayment,
    ScheduleStart,
)
from hl_async.models.codec import encode
from hl_async.operations import OPERATIONS, Operation
from hl_async.resources.estimate_templates import EstimateTemplates
from hl_async.resources.estimates import Estimates
from hl_async.resources.invoice_schedules import InvoiceSchedules
from hl_async.resources.invoice_templates import InvoiceTemplates
from hl_async.resources.invoices import Invoices
from hl_async.resources.locations import ClientMemory, LocationRequester
from hl_async.transport.calls import Transport
from hl_async.wire import WireResponse

ASKED, OTHER = "64f0a1b2c3d4e5f6a7b8c9d0", "64f0a1b2c3d4e5f6a7b8c9d1"


def checked() -> list[Operation[Any]]:
    return [row for row in OPERATIONS.values() if row.identity]


def body_of(row: Operation[Any], document_id: str) -> bytes:
    name = "id" if row.identity[0] in ("contact", "location", "opportunity") else "_id"
    document: Any = {name: document_id}
    for part in reversed(row.identity[:-1]):
        document = {part: document}
    return encode(document)


@pytest.mark.parametrize("row", checked(), ids=lambda row: row.name)
def test_the_answer_to_another_call_is_refused_by_every_operation_that_names_a_document(
    row: Operation[Any],
) -> None:
    right = body_of(row, ASKED)
    row.check_identity(row.decode(right), ASKED, right)
    wrong = body_of(row, OTHER)
    with pytest.raises(WrongDocument, match=f"{OTHER}.*{ASKED}") as caught:
        row.check_identity(row.decode(wrong), ASKED, wrong)
    assert OTHER in caught.value.body
    assert caught.value.path.endswith("_id")


def test_every_row_with_one_id_whose_answer_is_that_document_is_checked() -> None:
    from hl_async import models as m

    documents = (m.Invoice, m.Estimate, m.InvoiceTemplate, m.InvoiceSchedule, m.EstimateTemplate)
    wrapped = (m.InvoiceSent, m.PaymentRecorded, m.InvoiceFromEstimateResult)
    for row in OPERATIONS.values():
        if len(row.params) == 1 and row.response in documents + wrapped:
            assert row.identity, row


class Wire:
    """Gives every request the same body."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.count = 0

    async def attempt(self, *args: Any, **more: Any) -> WireResponse:
        self.count += 1
        return WireResponse(200, {}, self.body)


def calls(shop: Any) -> dict[str, Any]:
    fees, methods = LateFeesConfiguration(enable=False), PaymentMethods()
    return {
        "get-invoice": lambda: shop.invoices.get(ASKED),
        "update-invoice-late-fees-configuration": lambda: shop.invoices.update_late_fees(ASKED, fees),
        "delete-invoice": lambda: shop.invoices.delete(ASKED),
        "void-invoice": lambda: shop.invoices.void(ASKED),
        "send-invoice": lambda: shop.invoices.send(ASKED, InvoiceSend(user_id="u", action="email", live_mode=False)),
        "record-invoice": lambda: shop.invoices.record_payment(ASKED, RecordPayment(mode="cash")),
        "delete-estimate": lambda: shop.estimates.delete(ASKED),
        "send-estimate": lambda: shop.estimates.send(ASKED, EstimateSend(action="email", user_id="u")),
        "create-invoice-from-estimate": lambda: shop.estimates.create_invoice(ASKED, mark_as_invoiced=True),
        "preview-estimate-template": lambda: shop.estimate_templates.preview(ASKED),
        "update-estimate-template": lambda: shop.estimate_templates.update(ASKED, samples.estimate_template()),
        "get-invoice-template": lambda: shop.invoice_templates.get(ASKED),
        "update-invoice-payment-methods-configuration": lambda: shop.invoice_templates.update_payment_methods(ASKED, methods),
        "get-invoice-schedule": lambda: shop.invoice_schedules.get(ASKED),
        "schedule-invoice-schedule": lambda: shop.invoice_schedules.start(ASKED, ScheduleStart(live_mode=False)),
        "auto-payment-invoice-schedule": lambda: shop.invoice_schedules.set_auto_payment(ASKED, AutoPayment(enable=True)),
    }  # fmt: skip


class Shop:
    """The resources of a location over a wire that is passed in."""

    def __init__(self, wire: Wire) -> None:
        governor = Governor(GovernorPolicy(max=100, interval=1.0))
        config = ClientConfig(base_url="http://127.0.0.1:1")
        transport = Transport(config, wire, PrivateToken("pit-x"), governor, retry=RetryPolicy.none())
        at = LocationRequester(transport, transport.account("loc1", "app"), CallOptions(), ClientMemory())
        self.estimates, self.invoices = Estimates(at), Invoices(at)
        self.estimate_templates, self.invoice_templates = EstimateTemplates(at), InvoiceTemplates(at)
        self.invoice_schedules = InvoiceSchedules(at)


@pytest.mark.parametrize("name", list(calls(None)))
async def test_a_typed_call_never_returns_another_document(name: str) -> None:
    row = OPERATIONS[name]
    wire = Wire(body_of(row, OTHER))
    shop = Shop(wire)
    with pytest.raises((WrongDocument, OutcomeUnknown)) as caught:
        await calls(shop)[name]()
    error = caught.value
    assert isinstance(error, OutcomeUnknown) is (row.replay is op.Replay.UNSAFE)
    assert isinstance(error.reason if isinstance(error, OutcomeUnknown) else error, WrongDocument)
    assert error.operation == row.at
    assert wire.count == 1
    wire.body = body_of(row, ASKED)
    await calls(shop)[name]()
