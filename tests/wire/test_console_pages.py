"""Every kind of page of the console in headless Chromium: narrow and wide, light and dark, and axe-core on each."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from yarl import URL

import samples
from browser import AXE, CHROMIUM, Tab, chromium
from hl_async import HighLevel, Location
from hl_async.errors import HighLevelError
from hl_async.models import (
    ContactDraft,
    EstimateSend,
    InvoiceSend,
    OpportunityDraft,
    PriceDraft,
    ProductDraft,
)
from hl_async.sandbox import Fault, Sandbox
from hl_async.sandbox.console import neighbour_pages
from hl_async.sandbox.webhooks import event_document
from hl_async.testing.builders import Builder

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed here")

FRESH = {
    "fresh-overview": "",
    "fresh-requests": "requests",
    "fresh-webhooks": "webhooks",
    "fresh-outbox": "outbox",
}
"""Pages of a sandbox that nobody has called yet: they say what to do, where the others have tables."""
_ALL_LOOKS = ((1280, False), (1280, True), (390, False), (390, True))
PICTURES = os.environ.get("HL_SCREENSHOTS")
"""A folder for a picture of each page, in each look."""
LOOKS = _ALL_LOOKS if AXE or PICTURES else _ALL_LOOKS[::2]
"""Widths in pixels, and whether the reader prefers dark: without axe-core no colour is judged."""


@pytest.fixture
async def tab(tmp_path: Path) -> AsyncIterator[Tab]:
    async with chromium(tmp_path / "profile") as found:
        yield found


async def furnished(box: Sandbox, shop: Location) -> dict[str, str]:
    """Fill a location with one of everything, and return the path of each page by name."""
    build = Builder(seed=3)
    contact = await shop.contacts.create(
        ContactDraft(name="Ada Byron", email="ada@example.com", phone="+14105550101", tags=["vip"])
    )
    customer = samples.contact(id=contact.id)
    draft = await shop.estimates.create(build.estimate(tax=20, contact_details=customer))
    sent = await shop.estimates.create(samples.estimate(name="Sent <b>kitchen</b>", contact_details=customer))
    await shop.estimates.send(sent.id, EstimateSend(action="email", user_id="u1"))
    done = await shop.estimates.create(samples.estimate(contact_details=customer))
    await samples.accepted(box, shop, done.id)
    bill = (await shop.estimates.create_invoice(done.id, mark_as_invoiced=True)).invoice
    assert bill is not None
    await shop.invoices.send(bill.id, InvoiceSend(action="email", user_id="u1", live_mode=False))
    box.customer.pay(bill.id, samples.line().amount)
    paid = await shop.invoices.create(samples.invoice(contact_details=customer))
    await shop.invoices.send(paid.id, InvoiceSend(action="email", user_id="u1", live_mode=False))
    box.customer.pay(paid.id)
    product = await shop.products.create(ProductDraft(name="Cabinet", product_type="PHYSICAL"))
    await shop.products.create_price(
        product.id, PriceDraft(name="Oak", type="one_time", currency="USD", amount=samples.line().amount)
    )
    [pipeline] = await shop.opportunities.pipelines()
    await shop.opportunities.create(
        OpportunityDraft(pipeline_id=pipeline.id, name="Deal", status="open", contact_id=contact.id)
    )
    estimate_template = await shop.estimate_templates.create(samples.estimate_template())
    invoice_template = await shop.invoice_templates.create(samples.invoice_template())
    schedule = await shop.invoice_schedules.create(samples.schedule())
    try:
        await shop.raw("estimates.create", body={"name": "Kitchen"})
    except HighLevelError:
        refused = box.requests[-1].number
    box.faults.script("estimates.list", Fault.ERROR_500_BEFORE, times=1)
    await shop.estimates.list().collect()
    box.webhooks.send_to("http://127.0.0.1:9/hook")
    box.webhooks.announce(
        "InvoicePaid", event_document(box.ledger.places[box.location_id].invoices[paid.id], "InvoicePaid")
    )
    await box.webhooks.settled()
    app = box.add_app().client_id
    here = f"location/{box.location_id}"
    return {
        "overview": "",
        "location": here,
        "location-nothing-found": f"{here}?q=nothing+is+named+so",
        "location-invoices": f"{here}?kind=invoices",
        "location-schedules": f"{here}?kind=schedules",
        **{f"location-{kind}": f"{here}/{kind}" for kind in neighbour_pages.NEIGHBOURS},
        "contact": f"{here}/contacts/{contact.id}",
        "estimate-draft": f"{here}/estimates/{draft.id}",
        "estimate-sent": f"{here}/estimates/{sent.id}",
        "estimate-invoiced": f"{here}/estimates/{done.id}",
        "invoice-partly-paid": f"{here}/invoices/{bill.id}",
        "invoice-paid": f"{here}/invoices/{paid.id}",
        "estimate-template": f"{here}/estimate_templates/{estimate_template.id}",
        "invoice-template": f"{here}/invoice_templates/{invoice_template.id}",
        "schedule": f"{here}/schedules/{schedule.id}",
        "requests": "requests",
        "requests-errors": "requests?only=errors",
        "request": "requests/1",
        "request-refused": f"requests/{refused}",
        "faults": "faults",
        "webhooks": "webhooks",
        "outbox": "outbox",
        "missing": "nowhere",
        "consent": str(
            URL("/v2/oauth/chooselocation").with_query(
                client_id=app,
                response_type="code",
                redirect_uri="http://127.0.0.1:9/back",
                scope="invoices.readonly",
            )
        ),
    }


async def objections(tab: Tab, name: str) -> list[str]:
    """Look at the page that is open, in each width and colour scheme."""
    found = []
    for width, dark in LOOKS:
        look = f"{name} at {width} pixels{', dark' if dark else ''}"
        await tab.show_at(width, dark=dark)
        if await tab.evaluate("document.documentElement.scrollWidth > innerWidth"):
            found.append(f"{look}: is wider than the screen")
        rows = "new Set([...document.querySelectorAll('header nav a')].map(one => one.offsetTop)).size"
        if await tab.evaluate(rows) > 1:
            found.append(f"{look}: the navigation needs several rows")
        if await tab.evaluate("document.querySelectorAll('h1').length") != 1:
            found.append(f"{look}: has not one headline")
        if AXE:
            found += [f"{look}: {one}" for one in await tab.violations()]
        if PICTURES:
            await tab.picture(
                Path(PICTURES) / f"{name}-{width}{'-dark' if dark else ''}.png", width, dark=dark
            )
    return found


async def test_each_page_fits_its_screen_and_axe_has_no_objection(
    box: Sandbox, hl: HighLevel, tab: Tab
) -> None:
    """Without the variable HL_AXE, which names axe-core's script, only the widths are looked at."""
    found = []
    for name, path in FRESH.items():
        await tab.go(f"{box.url}/_console/{path}")
        found += await objections(tab, name)
    for name, path in (await furnished(box, hl.location())).items():
        await tab.go(f"{box.url}{path}" if path.startswith("/") else f"{box.url}/_console/{path}")
        found += await objections(tab, name)
    assert found == []


async def test_the_answers_of_forms_fit_too(box: Sandbox, hl: HighLevel, tab: Tab) -> None:
    made = await hl.location().estimates.create(samples.estimate())
    await hl.location().estimates.send(made.id, EstimateSend(action="email", user_id="u1"))
    await tab.go(f"{box.url}/_console/location/{box.location_id}/estimates/{made.id}")
    await tab.follow("Accept")
    assert "accepted" in await tab.evaluate("document.querySelector('[role=status]').innerText")
    found = await objections(tab, "accepted")
    await tab.go(f"{box.url}/_console/webhooks")
    await tab.evaluate("document.querySelector('[name=receiver]').value = 'https://elsewhere.example/'")
    await tab.follow("Add")
    assert "Not done" in await tab.evaluate("document.querySelector('[role=status].bad').innerText")
    assert found + await objections(tab, "refused") == []


async def test_every_template_is_looked_at(box: Sandbox, hl: HighLevel) -> None:
    """A page that is added later must not be left out of the look in the browser."""
    paths = await furnished(box, hl.location())
    parts = {"base", "macros", "style", "exports", "paper", "tabs", "listing"}
    folder = Path(neighbour_pages.__file__).with_name("templates")
    pages = {one.stem for one in folder.iterdir()} - parts
    looked = " ".join([*paths, *paths.values()])
    assert [one for one in pages if one not in looked and one != "document"] == []
