"""One walk through every operation of the API: the examples of the reference, run when the documentation is built.

Each statement that calls an operation is shown in the reference as it stands here, with the body that it sent and the
answer that the sandbox gave. ``tests/docs/test_operation_examples.py`` holds that no operation is left out.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from hl_async import HighLevel, Location
from hl_async.models import (
    AutoPayment,
    BusinessDetails,
    ContactDetails,
    ContactDraft,
    ContactUpdate,
    ContactUpsert,
    EstimateDraft,
    EstimateSend,
    EstimateTemplateDraft,
    InvoiceDraft,
    InvoiceScheduleDraft,
    InvoiceSend,
    InvoiceTemplateDraft,
    LateFeesConfiguration,
    LateFeesFrequency,
    LineItem,
    OpportunityDraft,
    OpportunityUpdate,
    PaymentMethods,
    PriceDraft,
    ProductDraft,
    RecordPayment,
    RecurrenceRule,
    ScheduleOptions,
    ScheduleStart,
    SentTo,
    StripePaymentMethod,
    Text2Pay,
)
from hl_async.sandbox import Sandbox


async def contacts(shop: Location) -> ContactDetails:
    """Call the operations of contacts."""
    person = await shop.contacts.create(
        ContactDraft(first_name="Alex", last_name="Reyes", email="alex@example.com", phone="+12145596993")
    )
    await shop.contacts.update(person.id, ContactUpdate(city="Austin"))
    await shop.contacts.add_tags(person.id, "kitchen", "2026")
    found = await shop.contacts.find(email="alex@example.com")
    page = await shop.contacts.search("reyes", limit=20)
    person = await shop.contacts.get(person.id)
    other = await shop.contacts.upsert(ContactUpsert(first_name="Kim", email="kim@example.com"))
    assert other.contact is not None
    await shop.contacts.delete(other.contact.id)
    return person.for_document()


async def catalogue(shop: Location) -> LineItem:
    """Call the operations of products."""
    product = await shop.products.create(ProductDraft(name="Oak worktop", product_type="PHYSICAL"))
    price = await shop.products.create_price(
        product.id, PriceDraft(name="Per metre", type="one_time", currency="USD", amount=Decimal("180.00"))
    )
    products = await shop.products.list(search="oak")
    prices = await shop.products.prices(product.id)
    return LineItem.of(product, price, qty=2)


async def estimates(shop: Location, box: Sandbox, alex: ContactDetails, worktop: LineItem) -> None:
    """Call the operations of estimates."""
    number = await shop.estimates.generate_number()
    estimate = await shop.estimates.create(
        EstimateDraft(
            name="Kitchen",
            currency="USD",
            expiry_date=date(2040, 12, 31),
            contact_details=alex,
            items=[worktop, LineItem(name="Fitting", currency="USD", amount=Decimal("45.50"), qty=4)],
        )
    )
    update = estimate.to_update(title="Second offer")
    estimate = await shop.estimates.update(estimate.id, update)
    await shop.estimates.send(estimate.id, EstimateSend(action="email", user_id="user0000000000000001"))
    await shop.estimates.touch_last_visited(estimate.id)
    box.customer.accept(estimate.id)
    made = await shop.estimates.create_invoice(estimate.id, mark_as_invoiced=True)
    page = await shop.estimates.list(status="invoiced", limit=20)
    await shop.estimates.delete(estimate.id)


async def estimate_templates(shop: Location, worktop: LineItem) -> None:
    """Call the operations of estimate templates."""
    template = await shop.estimate_templates.create(
        EstimateTemplateDraft(name="Kitchens", currency="USD", items=[worktop])
    )
    await shop.estimate_templates.update(
        template.id, EstimateTemplateDraft(name="Kitchens 2027", currency="USD", items=[worktop])
    )
    preview = await shop.estimate_templates.preview(template.id)
    templates = await shop.estimate_templates.list(limit=20)
    await shop.estimate_templates.delete(template.id)


async def invoices(shop: Location, alex: ContactDetails, worktop: LineItem) -> None:
    """Call the operations of invoices."""
    number = await shop.invoices.generate_number()
    settings = await shop.invoices.settings()
    invoice = await shop.invoices.create(
        InvoiceDraft(
            name="Kitchen, first part",
            currency="USD",
            issue_date=date(2026, 11, 2),
            due_date=date(2040, 12, 31),
            business_details=BusinessDetails(name="Harbour Joinery"),
            contact_details=alex,
            sent_to=SentTo(email=["alex@example.com"]),
            live_mode=False,
            items=[worktop],
        )
    )
    update = invoice.to_update(title="First part")
    invoice = await shop.invoices.update(invoice.id, update)
    await shop.invoices.update_late_fees(
        invoice.id,
        LateFeesConfiguration(
            enable=True,
            value=5,
            type="fixed",
            frequency=LateFeesFrequency(interval_count=1, interval="month"),
        ),
    )
    sent = await shop.invoices.send(
        invoice.id, InvoiceSend(action="email", user_id="user0000000000000001", live_mode=False)
    )
    await shop.invoices.touch_last_visited(invoice.id)
    paid = await shop.invoices.record_payment(
        invoice.id, RecordPayment(mode="cash", amount=Decimal("100.00"))
    )
    invoice = await shop.invoices.get(invoice.id)
    page = await shop.invoices.list(status="partially_paid", limit=20)
    payments = await shop.transactions.list(invoice_id=invoice.id)
    orders = await shop.transactions.orders(limit=20)
    invoice = await shop.invoices.void(invoice.id)
    quick = await shop.invoices.text2pay(
        Text2Pay(
            name="Deposit",
            currency="USD",
            items=[LineItem(name="Deposit", currency="USD", amount=Decimal(200), qty=1)],
            contact_details=alex,
            issue_date=date(2026, 11, 2),
            sent_to=SentTo(email=["alex@example.com"], phone_no=["+12145596993"]),
            live_mode=False,
            action="draft",
            user_id="user0000000000000001",
        )
    )
    assert quick.invoice is not None
    await shop.invoices.delete(quick.invoice.id)


async def invoice_templates(shop: Location, worktop: LineItem) -> None:
    """Call the operations of invoice templates."""
    business = BusinessDetails(name="Harbour Joinery")
    template = await shop.invoice_templates.create(
        InvoiceTemplateDraft(name="Rent", currency="USD", business_details=business, items=[worktop])
    )
    update = template.to_update()
    await shop.invoice_templates.update(template.id, update)
    await shop.invoice_templates.update_late_fees(
        template.id,
        LateFeesConfiguration(
            enable=True,
            value=5,
            type="fixed",
            frequency=LateFeesFrequency(interval_count=1, interval="month"),
        ),
    )
    await shop.invoice_templates.update_payment_methods(
        template.id, PaymentMethods(stripe=StripePaymentMethod(enable_bank_debit_only=True))
    )
    template = await shop.invoice_templates.get(template.id)
    templates = await shop.invoice_templates.list(limit=20)
    await shop.invoice_templates.delete(template.id)


async def invoice_schedules(shop: Location, alex: ContactDetails, worktop: LineItem) -> None:
    """Call the operations of recurring invoices."""
    monthly = ScheduleOptions(
        rrule=RecurrenceRule(interval_type="monthly", interval=1, start_date=date(2030, 1, 1), day_of_month=1)
    )
    schedule = await shop.invoice_schedules.create(
        InvoiceScheduleDraft(
            name="Maintenance",
            currency="USD",
            contact_details=alex,
            business_details=BusinessDetails(name="Harbour Joinery"),
            items=[worktop],
            schedule=monthly,
            live_mode=False,
        )
    )
    update = schedule.to_update()
    await shop.invoice_schedules.update(schedule.id, update)
    by_card = AutoPayment(enable=True, type="card", card_id="card1")
    await shop.invoice_schedules.start(schedule.id, ScheduleStart(live_mode=False, auto_payment=by_card))
    await shop.invoice_schedules.set_auto_payment(schedule.id, by_card)
    await shop.invoice_schedules.update_and_schedule(schedule.id)
    schedule = await shop.invoice_schedules.get(schedule.id)
    schedules = await shop.invoice_schedules.list(limit=20)
    await shop.invoice_schedules.cancel(schedule.id)
    await shop.invoice_schedules.delete(schedule.id)


async def location(shop: Location, contact_id: str) -> None:
    """Call the operations of a location's users and opportunities."""
    details = await shop.details()
    users = await shop.users.search(role="admin")
    pipelines = await shop.opportunities.pipelines()
    opportunity = await shop.opportunities.create(
        OpportunityDraft(pipeline_id=str(pipelines[0].id), name="Kitchen", contact_id=contact_id)
    )
    await shop.opportunities.update(opportunity.id, OpportunityUpdate(monetary_value=Decimal("1200.50")))
    found = await shop.opportunities.search(contact_id=contact_id)


async def agency(box: Sandbox) -> None:
    """Call the operations of an agency and its tokens."""
    app = box.add_app()
    code = box.authorise(app.client_id)
    async with HighLevel("pit-none", base_url=box.url) as hl:
        grant = await hl.oauth.token(
            client_id=app.client_id,
            client_secret=app.client_secret,
            grant_type="authorization_code",
            code=code,
        )
    assert grant.access_token is not None
    async with HighLevel(grant.access_token, base_url=box.url) as hl:
        minted = await hl.oauth.location_token(box.company_id, box.location_id)
        installed = await hl.oauth.installed_locations(box.company_id, app.client_id.partition("-")[0])
        locations = await hl.locations(box.company_id)


async def walk(hl: HighLevel, box: Sandbox) -> None:
    """Call every operation once."""
    shop = hl.location()
    alex = await contacts(shop)
    worktop = await catalogue(shop)
    await estimates(shop, box, alex, worktop)
    await estimate_templates(shop, worktop)
    await invoices(shop, alex, worktop)
    await invoice_templates(shop, worktop)
    await invoice_schedules(shop, alex, worktop)
    await location(shop, str(alex.id))
    await agency(box)
