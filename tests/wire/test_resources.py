"""Every operation, typed, against the sandbox on a real socket."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

import samples
from hl_async import OPERATIONS, HighLevel, Location
from hl_async.errors import (
    BadRequest,
    DecodeError,
    InvalidRequest,
    NotFound,
    OutcomeUnknown,
    ValidationFailed,
    WriteConflict,
)
from hl_async.models import (
    Deleted,
    EstimateSend,
    InvoiceSend,
    LateFeesConfiguration,
    LateFeesFrequency,
    PaymentMethods,
    RecordPayment,
    ScheduleStart,
    StripePaymentMethod,
)
from hl_async.sandbox import Fault, Sandbox
from servers import scripted

LATE_FEES = LateFeesConfiguration(
    enable=True,
    value=Decimal("2.5"),
    type="percentage",
    frequency=LateFeesFrequency(interval_count=Decimal(1), interval="month"),
)
SEND = InvoiceSend(user_id="u1", action="email", live_mode=False)


@pytest.fixture
def shop(hl: HighLevel) -> Location:
    return hl.location()


async def test_the_life_of_an_estimate(shop: Location, box: Sandbox) -> None:
    estimate = await shop.estimates.create(samples.estimate())
    assert (estimate.total, estimate.status, estimate.expiry_date) == (
        Decimal("29.97"),
        "draft",
        samples.FUTURE,
    )
    renamed = await shop.estimates.patch(
        estimate.id, title="Second offer", discount=samples.estimate().discount
    )
    assert (renamed.title, renamed.total, renamed.items[0].amount) == (
        "Second offer",
        Decimal("29.97"),
        Decimal("9.99"),
    )
    sent = await shop.estimates.send(estimate.id, EstimateSend(action="email", user_id="u1"))
    assert (sent.status, sent.sent_by) == ("sent", "u1")
    with pytest.raises(BadRequest, match="accepted"):
        await shop.estimates.create_invoice(estimate.id, mark_as_invoiced=True)
    box.customer.accept(estimate.id)
    made = await shop.estimates.create_invoice(estimate.id, mark_as_invoiced=True, version="v2")
    assert made.invoice is not None
    assert made.estimate is not None
    assert (made.invoice.total, made.invoice.source_id, made.estimate.status) == (
        Decimal("29.97"),
        estimate.id,
        "invoiced",
    )
    await shop.estimates.touch_last_visited(estimate.id)
    found = await shop.estimates.find(estimate.id)
    assert found is not None
    assert found.last_visited_at is not None
    gone = await shop.estimates.delete(estimate.id)
    assert gone.deleted
    assert await shop.estimates.find(estimate.id) is None
    with pytest.raises(NotFound):
        await shop.estimates.delete(estimate.id)


async def test_an_estimate_keeps_its_lines_through_read_change_write(shop: Location) -> None:
    created = await shop.estimates.create(
        samples.estimate(items=[samples.line(description="<p>x</p>", amount="0.10")])
    )
    updated = await shop.estimates.update(created.id, created.to_update())
    assert [(i.name, i.amount, i.qty, i.description) for i in updated.items] == [
        ("Cabinets", Decimal("0.10"), Decimal(3), "<p>x</p>")
    ]


async def test_lists_filter_and_page(shop: Location) -> None:
    for n in range(7):
        await shop.estimates.create(
            samples.estimate(name=f"K{n}", contact_details=samples.contact(id=f"c{n % 2}"))
        )
    assert [e.name async for e in shop.estimates.list(limit=3)] == [f"K{n}" for n in reversed(range(7))]
    assert len(await shop.estimates.list(contact_id="c1").collect()) == 3
    assert [e.name async for e in shop.estimates.list(search="K4")] == ["K4"]
    assert await shop.estimates.list(status="sent").collect() == []
    page = await shop.estimates.list(limit=2)
    assert (len(page), page.total) == (2, 7)


async def test_numbers(shop: Location) -> None:
    assert (await shop.estimates.generate_number()).estimate_number == 1
    assert (await shop.invoices.generate_number()).invoice_number == "000001"


async def test_a_patch_that_meets_another_writer_writes_nothing(shop: Location) -> None:
    created = await shop.estimates.create(samples.estimate())
    with pytest.raises(WriteConflict):
        await shop.estimates.patch(created.id, seen=datetime(2020, 1, 1, tzinfo=UTC), title="Mine")
    unchanged = await shop.estimates.find(created.id)
    assert unchanged is not None
    assert unchanged.title == "Kitchen"
    for one in (shop.estimates, shop.invoices):  # before a request, so that no other error hides the typo
        with pytest.raises(InvalidRequest, match="did you mean title"):
            await one.patch("nothing", titel="x")
    with pytest.raises(InvalidRequest, match="empty"):
        await shop.estimates.patch(created.id)
    with pytest.raises(NotFound):
        await shop.estimates.patch("nothing", title="x")


async def test_an_invoice_from_an_answer_without_one_is_found_again(shop: Location, box: Sandbox) -> None:
    estimate = await shop.estimates.create(samples.estimate())
    await samples.accepted(box, shop, estimate.id)
    box.faults.script("create-invoice-from-estimate", Fault.NO_INVOICE_KEY)
    made = await shop.estimates.create_invoice(estimate.id, mark_as_invoiced=False)
    assert made.invoice is None
    found = await shop.estimates.find_invoice(estimate.id)
    assert found is not None
    assert found.source_id == estimate.id
    assert await shop.estimates.find_invoice("other") is None


async def test_the_life_of_an_invoice(shop: Location) -> None:
    invoice = await shop.invoices.create(samples.invoice())
    assert (invoice.invoice_number, invoice.status, invoice.amount_due) == (
        "000001",
        "draft",
        Decimal("29.97"),
    )
    assert invoice.due_date == samples.FUTURE
    with pytest.raises(BadRequest, match="Can not void draft"):
        await shop.invoices.void(invoice.id)
    changed = await shop.invoices.patch(invoice.id, title="INVOICE 2")
    assert (changed.title, changed.total) == ("INVOICE 2", Decimal("29.97"))
    sent = await shop.invoices.send(invoice.id, SEND)
    assert sent.invoice is not None
    assert sent.invoice.status == "sent"
    with pytest.raises(BadRequest, match="need to be draft"):
        await shop.invoices.delete(invoice.id)
    part = await shop.invoices.record_payment(invoice.id, RecordPayment(mode="cash", amount=Decimal("9.97")))
    assert part.invoice is not None
    assert (part.invoice.status, part.invoice.amount_due) == ("partially_paid", Decimal("20.00"))
    rest = await shop.invoices.record_payment(invoice.id, RecordPayment(mode="card"))
    assert rest.invoice is not None
    assert (rest.invoice.status, rest.invoice.amount_paid) == ("paid", Decimal("29.97"))
    with pytest.raises(BadRequest):
        await shop.invoices.record_payment(invoice.id, RecordPayment(mode="cash", amount=1))
    fees = await shop.invoices.update_late_fees(invoice.id, LATE_FEES)
    assert fees.late_fees_configuration is not None
    assert fees.late_fees_configuration.value == Decimal("2.5")
    await shop.invoices.touch_last_visited(invoice.id)
    assert (await shop.invoices.get(invoice.id)).total_summary is not None
    assert (await shop.invoices.void(invoice.id)).status == "void"


async def test_a_draft_invoice_is_deleted_and_gone(shop: Location) -> None:
    invoice = await shop.invoices.create(samples.invoice(invoice_number="A-1"))
    assert (await shop.invoices.delete(invoice.id)).id == invoice.id
    with pytest.raises(NotFound) as caught:
        await shop.invoices.get(invoice.id)
    assert caught.value.status == 400
    with pytest.raises(InvalidRequest):
        await shop.invoices.patch(invoice.id)


async def test_a_patch_of_an_invoice_notices_another_writer(shop: Location) -> None:
    invoice = await shop.invoices.create(samples.invoice())
    with pytest.raises(WriteConflict):
        await shop.invoices.patch(invoice.id, seen=datetime(2020, 1, 1, tzinfo=UTC), title="x")


async def test_invoices_list(shop: Location) -> None:
    await shop.invoices.create(samples.invoice())
    found = await shop.invoices.list(
        status="draft", search="Kitchen", payment_mode="test", sort="descend"
    ).collect()
    assert len(found) == 1


async def test_text2pay_creates_updates_and_sends(shop: Location) -> None:
    made = await shop.invoices.text2pay(samples.text2pay())
    assert made.invoice is not None
    assert made.invoice_url is not None
    again = await shop.invoices.text2pay(samples.text2pay(id=made.invoice.id, action="send", name="Renamed"))
    assert again.invoice is not None
    assert (again.invoice.id, again.invoice.name, again.invoice.status) == (
        made.invoice.id,
        "Renamed",
        "sent",
    )


async def test_the_settings(shop: Location) -> None:
    settings = await shop.invoices.settings()
    assert (settings.estimate_number_prefix, settings.due_after_x_days) == ("EST-", Decimal(14))


async def test_invoice_templates(shop: Location) -> None:
    templates = shop.invoice_templates
    made = await templates.create(samples.invoice_template())
    assert made.total == Decimal("29.97")
    assert (await templates.update(made.id, made.to_update())).name == "Monthly"
    assert (await templates.get(made.id)).id == made.id
    assert [t.id async for t in templates.list(search="Mon")] == [made.id]
    assert (await templates.update_late_fees(made.id, LATE_FEES)).late_fees_configuration is not None
    methods = PaymentMethods(stripe=StripePaymentMethod(enable_bank_debit_only=True))
    assert (await templates.update_payment_methods(made.id, methods)).payment_methods == methods
    assert (await templates.delete(made.id)).success
    with pytest.raises(NotFound):
        await templates.delete(made.id)


async def test_estimate_templates(shop: Location) -> None:
    templates = shop.estimate_templates
    made = await templates.create(samples.estimate_template())
    assert (await templates.update(made.id, made.to_update())).name == "Kitchens"
    assert (await templates.preview(made.id)).id == made.id
    assert [t.id async for t in templates.list(search="Kit")] == [made.id]
    assert (await templates.delete(made.id)).id == made.id
    with pytest.raises(NotFound):
        await templates.preview(made.id)
    with pytest.raises(NotFound):
        await templates.delete(made.id)


async def test_schedules(shop: Location) -> None:
    schedules = shop.invoice_schedules
    made = await schedules.create(samples.schedule())
    assert made.status == "draft"
    assert (await schedules.update(made.id, made.to_update())).schedule == samples.schedule().schedule
    assert (await schedules.start(made.id, ScheduleStart(live_mode=False))).status == "scheduled"
    with pytest.raises(BadRequest):
        await schedules.start(made.id, ScheduleStart(live_mode=False))
    assert (
        await schedules.set_auto_payment(made.id, samples.AUTO_PAYMENT)
    ).auto_payment == samples.AUTO_PAYMENT
    assert (await schedules.update_and_schedule(made.id)).status == "scheduled"
    assert (await schedules.cancel(made.id)).status == "cancelled"
    with pytest.raises(BadRequest):
        await schedules.cancel(made.id)
    assert [s.id async for s in schedules.list(search="Rent")] == [made.id]
    assert (await schedules.get(made.id)).id == made.id
    assert (await schedules.delete(made.id)) == Deleted(success=True)
    with pytest.raises(NotFound):
        await schedules.delete(made.id)


async def test_every_operation_of_the_table_was_served(shop: Location, box: Sandbox) -> None:
    """Here the table itself says that each has a method; other tests call them all."""
    for row in OPERATIONS.values():
        owners = {"location": Location, "agency": HighLevel, "oauth": HighLevel}
        owner = owners.get(row.resource) or getattr(shop, row.resource)
        if row.resource != "oauth":
            assert callable(getattr(owner, row.call)), row.at


async def test_what_an_earlier_attempt_did_is_not_an_error(shop: Location, box: Sandbox) -> None:
    """The answer is lost after the deletion; the second attempt finds nothing, which is what was wanted."""
    estimate = await shop.estimates.create(samples.estimate())
    box.faults.script("delete-estimate", Fault.RESET_AFTER_COMMIT)
    assert (await shop.estimates.delete(estimate.id)).deleted
    template = await shop.estimate_templates.create(samples.estimate_template())
    box.faults.script("delete-estimate-template", Fault.RESET_AFTER_COMMIT)
    assert (await shop.estimate_templates.delete(template.id)).deleted
    other = await shop.invoice_templates.create(samples.invoice_template())
    box.faults.script("delete-invoice-template", Fault.RESET_AFTER_COMMIT)
    assert (await shop.invoice_templates.delete(other.id)).success
    schedule = await shop.invoice_schedules.create(samples.schedule())
    await shop.invoice_schedules.start(schedule.id, ScheduleStart(live_mode=False))
    box.faults.script("cancel-invoice-schedule", Fault.RESET_AFTER_COMMIT)
    assert (await shop.invoice_schedules.cancel(schedule.id)).status == "cancelled"
    box.faults.script("delete-invoice-schedule", Fault.RESET_AFTER_COMMIT)
    assert (await shop.invoice_schedules.delete(schedule.id)).success
    invoice = await shop.invoices.create(samples.invoice())
    box.faults.script("delete-invoice", Fault.RESET_AFTER_COMMIT)
    assert (await shop.invoices.delete(invoice.id)).id == invoice.id


async def test_refusals_name_every_violation(shop: Location) -> None:
    body = {"name": "", "currency": "USD", "items": [{"name": "x"}]}
    from hl_async.operations import CREATE_ESTIMATE

    with pytest.raises(ValidationFailed) as caught:
        await shop._at.call(CREATE_ESTIMATE, body=body)
    assert "name should not be empty" in caught.value.messages
    assert any("expiryDate" in message for message in caught.value.messages)
    assert any("items.0.qty" in message for message in caught.value.messages)


@pytest.mark.parametrize("kind", ["estimate", "invoice"])
async def test_a_generated_number_is_there_or_an_error_says_so(kind: str) -> None:
    body = f'{{"{kind}Number":null}}'.encode()
    reply = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
        len(body),
        body,
    )
    async with scripted(reply) as server, HighLevel("pit-x", base_url=server.url) as hl:
        shop = hl.location("6578278e879ad2646715ba9c")
        asked = shop.estimates.generate_number() if kind == "estimate" else shop.invoices.generate_number()
        with pytest.raises(DecodeError, match="holds no number"):
            await asked


async def test_lines_of_an_answer_go_back_by_patch(shop: Location) -> None:
    made = await shop.estimates.create(samples.estimate())
    assert made.items
    patched = await shop.estimates.patch(made.id, items=[*made.items, *made.items])
    assert patched.items
    assert [line.name for line in patched.items] == [line.name for line in made.items] * 2


@pytest.mark.parametrize("cut", ["at its start", "after its first byte"])
async def test_an_answer_of_unknown_length_that_is_cut_is_read_again(cut: str) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
    begun = head if cut == "at its start" else head + b"{"
    whole = head + b'{"estimateNumber":7,"traceId":"t"}'
    async with scripted(begun, whole) as server, HighLevel("pit-x", base_url=server.url) as hl:
        assert (await hl.location("loc1").estimates.generate_number()).estimate_number == 7
        assert len(server.requests) == 2


async def test_a_creation_whose_answer_is_cut_at_its_start_is_not_sent_again() -> None:
    head = b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
    async with scripted(head) as server, HighLevel("pit-x", base_url=server.url) as hl:
        with pytest.raises(OutcomeUnknown):
            await hl.location("loc1").estimates.create(samples.estimate())
        assert len(server.requests) == 1
