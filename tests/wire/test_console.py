"""The sandbox's console over real sockets: what it shows, what its switches do, whom it refuses."""

from __future__ import annotations

import asyncio
import html
import os
import re
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator
from decimal import Decimal

import aiohttp
import pytest

import samples
from hl_async import HighLevel
from hl_async.errors import HighLevelError, ServerError, ValidationFailed
from hl_async.models import (
    ContactDraft,
    Discount,
    EstimateSend,
    InvoiceSend,
    OpportunityDraft,
    PriceDraft,
    ProductDraft,
    RecordPayment,
)
from hl_async.sandbox import Fault, Sandbox
from hl_async.sandbox.console import exchange_view
from hl_async.sandbox.console.document_view import document_view, money, paper, sums, words
from hl_async.sandbox.recorder import KEPT
from hl_async.testing.builders import Builder

EVIL = '<script>alert("x")</script>'


@pytest.fixture
async def browser(box: Sandbox) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(base_url=box.url) as session:
        yield session


async def read(browser: aiohttp.ClientSession, path: str, status: int = 200) -> str:
    async with browser.get(f"/_console/{path}") as answer:
        assert answer.status == status
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        return await answer.text()


async def press(
    browser: aiohttp.ClientSession, box: Sandbox, status: int = 200, *, page: str = "faults", **fields: str
) -> str:
    async with browser.post(f"/_console/{page}", data={"token": box.console_token, **fields}) as answer:
        assert answer.status == status
        return await answer.text()


async def test_it_shows_what_is_in_every_location(
    browser: aiohttp.ClientSession, box: Sandbox, hl: HighLevel
) -> None:
    build, shop = Builder(seed=2), hl.location()
    made = [await shop.estimates.create(build.estimate(name=f"Job {n}", currency="GBP")) for n in range(60)]
    box.add_location("second")
    overview = await read(browser, "")
    total = sum((one.total or Decimal(0) for one in made), Decimal(0))
    assert f"{total:,} GBP" in overview and "60 draft" in overview and "second" in overview
    first = await read(browser, f"location/{box.location_id}")
    assert "Job 59" in first and "Job 9<" not in first and "Older" in first
    older = await read(browser, f"location/{box.location_id}?start=50")
    assert "Job 9<" in older and "Newer" in older
    assert "1 found" in await read(browser, f"location/{box.location_id}?q=job%2017")
    assert "0 found" in await read(browser, f"location/{box.location_id}?status=sent")
    assert "nothing yet" in await read(browser, f"location/{box.location_id}?kind=invoices&start=junk")
    for nowhere in (
        "location/none",
        f"location/{box.location_id}?kind=secrets",
        "else",
        "location/a/b/c",
        f"location/{box.location_id}/estimates/none",
    ):
        assert "nothing here" in await read(browser, nowhere, 404)


async def test_contacts_are_listed_and_one_is_shown_with_its_documents(
    browser: aiohttp.ClientSession, box: Sandbox, hl: HighLevel
) -> None:
    shop, place = hl.location(), f"location/{box.location_id}"
    assert "nothing yet" in await read(browser, f"{place}/contacts")
    ada = await shop.contacts.create(
        ContactDraft(name=f"Ada {EVIL}", email="ada@example.com", phone="+12145596993", tags=["vip", "web"])
    )
    for number in range(60):
        await shop.contacts.create(ContactDraft(email=f"c{number}@example.com"))
    listed = await read(browser, f"{place}/contacts")
    assert "contacts (61)" in listed and "c59@example.com" in listed and "c9@" not in listed
    assert "c9@example.com" in await read(browser, f"{place}/contacts?start=50")
    found = await read(browser, f"{place}/contacts?q=ADA%40")
    assert "1 found" in found and "vip, web" in found and EVIL not in found
    kitchen = await shop.estimates.create(
        samples.estimate(name="Kitchen", contact_details=ada.for_document())
    )
    invoice = await shop.invoices.create(samples.invoice(name="Deposit", contact_details=ada.for_document()))
    await shop.estimates.create(samples.estimate(name="Another's"))
    await shop.invoices.send(invoice.id, InvoiceSend(action="email", user_id="u", live_mode=False))
    await shop.invoices.record_payment(invoice.id, RecordPayment(mode="cash", amount=Decimal("9.50")))
    [pipeline] = await shop.opportunities.pipelines()
    await shop.opportunities.create(
        OpportunityDraft(pipeline_id=pipeline.id, name="New kitchen", status="open", contact_id=ada.id)
    )
    shown = await read(browser, f"{place}/contacts/{ada.id}")
    for text in (
        "ada@example.com",
        "+12145596993",
        "vip, web",
        "Kitchen",
        "Deposit",
        "9.50 USD",
        "New kitchen",
    ):
        assert text in shown, text
    assert "Another" not in shown and EVIL not in shown
    assert f"contacts/{ada.id}" in await read(browser, f"{place}/estimates/{kitchen.id}"), "a link back"
    for nowhere in (f"{place}/contacts/none", "location/none/contacts", f"{place}/secrets"):
        assert "nothing here" in await read(browser, nowhere, 404)


async def test_products_payments_and_opportunities_have_pages(
    browser: aiohttp.ClientSession, box: Sandbox, hl: HighLevel
) -> None:
    shop, place = hl.location(), f"location/{box.location_id}"
    for kind in ("products", "payments", "opportunities"):
        assert f"{kind}: nothing yet" in await read(browser, f"{place}/{kind}")
    product = await shop.products.create(ProductDraft(name="Cabinet", product_type="PHYSICAL"))
    for name, amount in (("Oak", "199.50"), ("Ash", "149")):
        await shop.products.create_price(
            product.id, PriceDraft(name=name, type="one_time", currency="USD", amount=amount)
        )
    shown = await read(browser, f"{place}/products")
    assert "Cabinet" in shown and "Oak: 199.50 USD" in shown and "Ash: 149.00 USD" in shown
    assert "0 found" in await read(browser, f"{place}/products?q=table")
    invoice = await shop.invoices.create(samples.invoice())
    await shop.invoices.send(invoice.id, InvoiceSend(action="email", user_id="u", live_mode=False))
    await shop.invoices.record_payment(invoice.id, RecordPayment(mode="cash", amount=Decimal("9.50")))
    shown = await read(browser, f"{place}/payments")
    assert f"invoices/{invoice.id}" in shown and "9.50 USD" in shown and "cash" in shown
    [pipeline] = await shop.opportunities.pipelines()
    contact = await shop.contacts.create(ContactDraft(email="ada@example.com"))
    await shop.opportunities.create(
        OpportunityDraft(pipeline_id=pipeline.id, name="New kitchen", status="open", contact_id=contact.id)
    )
    assert "user0000000000000001" in await read(browser, f"{place}/users"), "the id that sending takes"
    shown = await read(browser, f"{place}/opportunities")
    assert "New kitchen" in shown and f"contacts/{contact.id}" in shown
    overview = await read(browser, place)
    assert "products (1)" in overview and "payments (1)" in overview and "opportunities (1)" in overview


async def test_a_document_is_shown_as_its_customer_would_see_it(
    browser: aiohttp.ClientSession, box: Sandbox, hl: HighLevel
) -> None:
    build, shop = Builder(seed=6), hl.location()
    draft = build.estimate(
        currency="GBP", lines=2, tax=Decimal(20), discount=Decimal(10), terms_notes="<p>Half &amp; half</p>"
    )
    made = await shop.estimates.create(draft)
    shown = await read(browser, f"location/{box.location_id}/estimates/{made.id}")
    assert money(made.total, "GBP") in shown and "VAT 20 %" in shown and "Half &amp; half" in shown
    assert draft.contact_details.name in shown and "Harbour Joinery" in shown
    await samples.accepted(box, shop, made.id)
    invoice = (await shop.estimates.create_invoice(made.id, mark_as_invoiced=True)).invoice
    assert invoice is not None
    bill = await read(browser, f"location/{box.location_id}/invoices/{invoice.id}")
    assert "Due" in bill and "Paid" in bill


@pytest.mark.parametrize("currency", ["USD", "JPY", "KWD"])
async def test_the_parts_that_are_shown_add_up_to_the_total(
    box: Sandbox, hl: HighLevel, currency: str
) -> None:
    build = Builder(seed=8)
    for n in range(1, 8):
        fixed = {"discount": Discount(value=Decimal(3), type="fixed")} if n % 2 else {}
        draft = build.estimate(currency=currency, lines=n, tax=Decimal("7.5"), **fixed)
        made = await hl.location().estimates.create(draft)
        stored = box.ledger.places[box.location_id].estimates[made.id]
        assert sum((value for _, value in sums(stored)), Decimal(0)) == made.total
        assert f"{money(made.total, currency)}" in document_view(stored, "estimates")


async def test_a_sheet_leaves_out_what_its_document_does_not_have(
    browser: aiohttp.ClientSession, box: Sandbox, hl: HighLevel
) -> None:
    made = await hl.location().invoice_schedules.create(samples.schedule())
    page = await read(browser, f"location/{box.location_id}/schedules/{made.id}")
    sheet = page[page.index("<article") : page.index("</article>")]
    assert "29.97 USD" in sheet
    for missing in ("Date", "Due", "Paid"):
        assert missing not in sheet, missing
    estimate = await hl.location().estimates.create(samples.estimate())
    page = await read(browser, f"location/{box.location_id}/estimates/{estimate.id}")
    assert "Valid until 2040-12-31" in page and "<strong>From</strong>" not in page


async def test_what_customers_write_stays_text(
    browser: aiohttp.ClientSession, box: Sandbox, hl: HighLevel
) -> None:
    contact = samples.contact(name=EVIL)
    line = samples.line(name=EVIL, description=f"<b>{EVIL}</b>")
    made = await hl.location().estimates.create(
        samples.estimate(name=EVIL, contact_details=contact, items=[line], terms_notes=EVIL)
    )
    place = f"location/{box.location_id}"
    for path in (
        place,
        f"{place}/estimates/{made.id}",
        f"{place}?q={EVIL}",
        "requests",
        f"requests?only={EVIL}",
    ):
        shown = await read(browser, path)
        assert "<script" not in shown and "<b>" not in shown
        assert path.startswith("requests") or "&lt;script&gt;" in shown
    assert words("<p>a</p>&lt;b&gt;") == "a <b>"


async def test_requests_are_shown_with_time_budget_and_fault(
    browser: aiohttp.ClientSession, box: Sandbox, hl: HighLevel
) -> None:
    shop = hl.location().with_options(max_attempts=1)
    await shop.estimates.generate_number()
    box.faults.script("*", Fault.HTML_502)
    with pytest.raises(ServerError):
        await shop.estimates.generate_number()
    log = (await read(browser, "requests")).replace("<wbr>", "")
    assert "estimates.generate_number" in log and "html_502" in log and "9999" in log
    assert log.index("html_502") < log.index("9999"), "newest first"
    assert box.token not in log
    assert "html_502" in await read(browser, "requests?only=faults")
    assert "html_502" in await read(browser, "requests?only=errors&refresh=2")


async def test_the_switches_do_what_they_say(browser: aiohttp.ClientSession, box: Sandbox) -> None:
    assert "rough now" in await press(browser, box, profile="rough", seed="7")
    assert (box.faults.seed, box.faults.rates != {}) == (7, True)
    await press(browser, box, clear="1")
    assert box.faults.rates == {}
    await press(browser, box, operation="*", fault="throttle", times="2")
    assert box.faults.take("any", 1) is Fault.THROTTLE
    await press(browser, box, latency="0.25")
    assert box.latency == 0.25
    before = box.clock.wall()
    await press(browser, box, advance="3600")
    assert box.clock.wall() - before >= 3600
    assert "expired" in await press(browser, box, expire="1")
    for bad in (
        {"profile": "nonsense"}, {"fault": "nonsense"}, {"fault": "throttle", "operation": "nonsense"},
        {"fault": "throttle", "times": "0"}, {"latency": "-1"}, {"latency": "much"}, {"advance": "-5"}, {"else": "1"},
    ):  # fmt: skip
        assert "Not done" in await press(browser, box, 400, **bad)


async def test_only_this_machine_and_only_the_consoles_own_forms_are_answered(
    browser: aiohttp.ClientSession, box: Sandbox
) -> None:
    async def status(method: str, path: str, data: dict[str, str] | None = None, **headers: str) -> int:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with browser.request(method, f"/_console/{path}", data=data, headers=named) as answer:
            return answer.status

    good = {"token": box.console_token, "expire": "1"}
    assert await status("GET", "", Host="rebound.example") == 403
    assert await status("POST", "faults", good, Origin="https://evil.example") == 403
    assert await status("POST", "faults", good, Sec_Fetch_Site="cross-site") == 403
    assert await status("POST", "faults", {"expire": "1"}) == 403
    assert await status("POST", "faults", {"token": "guess", "expire": "1"}) == 403
    assert await status("PUT", "faults", good) == 405
    assert await status("POST", "faults", good, Origin=box.url, Sec_Fetch_Site="same-origin") == 200
    assert await status("GET", "", Host="localhost") == 200


async def test_webhooks_are_listed(browser: aiohttp.ClientSession, box: Sandbox) -> None:
    assert "none" in await read(browser, "webhooks")
    box.webhooks.send_to("http://127.0.0.1:9/hook")
    box.webhooks.announce("InvoicePaid", {"_id": "x"})
    await box.webhooks.settled()
    shown = await read(browser, "webhooks")
    assert "Create an invoice first" in shown and "<select" not in shown
    assert "InvoicePaid" in shown and "waiting" in shown and re.search(r"webhook-\d+", shown)


async def test_the_first_page_says_what_to_do_next_until_there_is_a_document(
    browser: aiohttp.ClientSession, box: Sandbox
) -> None:
    shown = await read(browser, "")
    assert "What to do next" in shown
    for line in (
        f"export HL_BASE_URL={box.url}",
        f"export HL_TOKEN={box.token}",
        f"export HL_LOCATION_ID={box.location_id}",
    ):
        assert line in shown
    program = html.unescape(
        shown.split("Make a first document in Python:")[1].split('<pre class="copy">')[1].split("</pre>")[0]
    )
    there = {**os.environ, "HL_BASE_URL": box.url, "HL_TOKEN": box.token, "HL_LOCATION_ID": box.location_id}
    await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", program], check=True, env=there, stdout=subprocess.DEVNULL
    )
    assert len(box.ledger.places[box.location_id].estimates) == 1
    shown = await read(browser, "")
    assert "What to do next" not in shown and f"export HL_TOKEN={box.token}" in shown


async def test_a_request_is_shown_with_bodies_headers_error_and_a_curl_line(
    browser: aiohttp.ClientSession, box: Sandbox, hl: HighLevel
) -> None:
    shop = hl.location().with_options(max_attempts=1)
    await shop.estimates.create(samples.estimate(name="It's a kitchen"))
    with pytest.raises(HighLevelError):
        await shop.invoices.get("5f9d5d6d8f1f3c001f1f1f1f")
    log = await read(browser, "requests")
    assert 'href="/_console/requests/1"' in log and "Unable to find an invoice" in log
    failed = await read(browser, "requests/2")
    assert "Unable to find an invoice" in failed and "400" in failed and "curl -X GET" in failed
    made = await read(browser, "requests/1")
    assert "X-RateLimit-Remaining" in made and "estimateStatus" in made and "Version" in made
    assert box.token not in made and box.token[-4:] in made, "the token is masked"
    command = html.unescape(made.split('<pre class="copy">')[1].split("</pre>")[0])
    words = shlex.split(
        command.replace('"Authorization: Bearer $HL_TOKEN"', f"'Authorization: Bearer {box.token}'")
    )
    done = await asyncio.to_thread(subprocess.run, [*words, "-s"], capture_output=True, check=True)
    assert "It's a kitchen" in done.stdout.decode(), "the line repeats the request"
    assert len(box.ledger.places[box.location_id].estimates) == 2
    for nowhere in ("requests/0", "requests/99", "requests/x"):
        await read(browser, nowhere, 404)


async def test_secrets_of_oauth_requests_are_masked(browser: aiohttp.ClientSession, box: Sandbox) -> None:
    app = box.add_app()
    code = box.authorise(app.client_id, box.location_id)
    form = {
        "client_id": app.client_id, "client_secret": app.client_secret, "grant_type": "authorization_code", "code": code,
    }  # fmt: skip
    async with browser.post("/oauth/token", data=form, headers={"Version": "2021-07-28"}) as answer:
        issued = await answer.json()
    shown = await read(browser, "requests/1")
    assert app.client_id in shown
    for secret in (app.client_secret, code, issued["access_token"], issued["refresh_token"]):
        assert secret not in shown


def test_a_body_is_shown_as_it_is_read_best() -> None:
    assert exchange_view.body_text(b'{"a":1}') == '{\n  "a": 1\n}'
    assert exchange_view.body_text(b"<html>") == "<html>"
    assert exchange_view.body_text(bytes(range(250, 256))) == "6 bytes that are not UTF-8"
    assert "cut at 65,536 bytes" in exchange_view.body_text(b"x" * 65_536)
    assert (
        exchange_view.mask("grant_type=x&refresh_token=abc&code=def") == "grant_type=x&refresh_token=…&code=…"
    )


async def test_only_the_latest_bodies_are_kept(browser: aiohttp.ClientSession, box: Sandbox) -> None:
    for number in range(KEPT + 1):
        box.recorder.arrived(number, "/x", (), b"body")
    assert box.recorder.find(0) is None and box.recorder.find(KEPT) is not None
    box.recorder.answered(0, (), b"late")
    assert box.recorder.find(0) is None


async def test_history_relations_and_json_of_a_document_are_shown(
    browser: aiohttp.ClientSession, box: Sandbox, hl: HighLevel
) -> None:
    shop = hl.location()
    made = await shop.estimates.create(samples.estimate())
    await shop.estimates.send(made.id, EstimateSend(action="send_manually", user_id="u1"))
    box.customer.accept(made.id)
    invoice = (await shop.estimates.create_invoice(made.id, mark_as_invoiced=True)).invoice
    assert invoice is not None
    estimate = await read(browser, f"location/{box.location_id}/estimates/{made.id}")
    assert "Turned into invoice" in estimate and f"/invoices/{invoice.id}" in estimate
    for word in (
        "created",
        "sent",
        "invoiced",
        "JSON as the API answers it",
        "&#34;estimateStatus&#34;: &#34;invoiced&#34;",
    ):
        assert word in estimate
    bill = await read(browser, f"location/{box.location_id}/invoices/{invoice.id}")
    assert "Made from estimate" in bill and f"/estimates/{made.id}" in bill


async def test_messages_to_customers_are_listed_and_not_sent(
    browser: aiohttp.ClientSession, box: Sandbox, hl: HighLevel
) -> None:
    assert "nothing yet" in await read(browser, "outbox")
    shop = hl.location()
    made = await shop.estimates.create(samples.estimate(name="Kitchen"))
    await shop.estimates.send(made.id, EstimateSend(action="email", user_id="u1"))
    await shop.estimates.send(made.id, EstimateSend(action="sms", user_id="u1"))
    email, sms = box.recorder.messages
    contact = samples.contact()
    assert (email.channel, email.to) == ("email", (contact.email,))
    assert (sms.channel, sms.to) == ("SMS", (contact.phone_no,))
    shown = await read(browser, "outbox")
    assert "Kitchen" in shown and str(contact.email) in shown and f"/estimates/{made.id}" in shown


async def test_webhooks_are_added_triggered_and_resent_by_forms(
    browser: aiohttp.ClientSession, box: Sandbox, hl: HighLevel
) -> None:
    made = await hl.location().estimates.create(samples.estimate())
    await samples.accepted(box, hl.location(), made.id)
    invoice = (await hl.location().estimates.create_invoice(made.id, mark_as_invoiced=False)).invoice
    assert invoice is not None
    event = {"event": "InvoicePaid", "invoice": invoice.id}
    assert "add a receiver first" in await press(browser, box, 400, page="webhooks", **event)
    assert "Not done" in await press(browser, box, 400, page="webhooks", receiver="ftp://example")
    assert "Not done" in await press(
        browser, box, 400, page="webhooks", receiver="https://elsewhere.example/"
    )
    assert "from now on" in await press(browser, box, page="webhooks", receiver="http://127.0.0.1:9/hook")
    pressed = await press(browser, box, page="webhooks", **event)
    assert "InvoicePaid is on its way to 1 receiver." in pressed
    for bad in (
        {"event": "Nonsense", "invoice": invoice.id},
        {"event": "InvoicePaid", "invoice": "x"},
        {"resend": "x"},
    ):
        assert "Not done" in await press(browser, box, 400, page="webhooks", **bad)
    await box.webhooks.settled()
    (first,) = box.webhooks.log
    assert first.document["_id"] == invoice.id
    assert "again under the same id" in await press(browser, box, page="webhooks", resend=first.webhook_id)
    await box.webhooks.settled()
    assert [one.webhook_id for one in box.webhooks.log] == [first.webhook_id] * 2
    assert box.webhooks.public_key in html.unescape(await read(browser, "webhooks"))


@pytest.mark.untraced
def test_without_the_template_engine_the_sandbox_works_and_the_console_says_what_to_install() -> None:
    program = """
import asyncio, sys, urllib.request, urllib.error
sys.modules["jinja2"] = None
from hl_async import HighLevel
from hl_async.sandbox import Sandbox

def look(url):
    try:
        urllib.request.urlopen(url)
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()

async def main():
    async with Sandbox() as box, HighLevel(box.token, base_url=box.url, location_id=box.location_id) as hl:
        await hl.location().estimates.generate_number()
        print(*await asyncio.to_thread(look, box.url + "/_console/"))

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "501 The console needs a package: pip install 'hl-async[sandbox]'"


async def test_a_form_lets_the_customer_accept_and_pay(
    browser: aiohttp.ClientSession, box: Sandbox, hl: HighLevel
) -> None:
    shop = hl.location()
    made = await shop.estimates.create(samples.estimate())
    page = f"location/{box.location_id}/estimates/{made.id}"
    assert "has to be sent" in await read(browser, page)
    assert "send it first" in await press(browser, box, 400, page=page, customer="accept")
    await shop.estimates.send(made.id, EstimateSend(action="send_manually", user_id="u1"))
    assert "Accept" in await read(browser, page)
    assert "accepted the estimate" in await press(browser, box, page=page, customer="accept")
    invoice = (await shop.estimates.create_invoice(made.id, mark_as_invoiced=True)).invoice
    assert invoice is not None
    await shop.invoices.send(invoice.id, InvoiceSend(action="send_manually", user_id="u1", live_mode=False))
    bill = f"location/{box.location_id}/invoices/{invoice.id}"
    assert "The customer paid" in await press(browser, box, page=bill, customer="pay", amount="9.97")
    assert (await shop.invoices.get(invoice.id)).amount_due == Decimal("20.00")


async def test_the_link_of_an_invoice_leads_to_the_page_where_its_customer_pays(
    browser: aiohttp.ClientSession, box: Sandbox, hl: HighLevel
) -> None:
    made = await hl.location().invoices.text2pay(samples.text2pay(action="send"))
    assert made.invoice is not None and made.invoice_url is not None
    page = made.invoice_url.removeprefix(f"{box.url}/_console/")
    assert ">Pay</button>" in await read(browser, page)
    assert "The customer paid" in await press(browser, box, page=page, customer="pay", amount="")
    assert (await hl.location().invoices.get(made.invoice.id)).status == "paid"
    assert "offers no action" in await read(browser, page)
    (message,) = box.recorder.messages
    assert message.document == made.invoice.id


async def test_days_are_shown_as_the_location_counts_them(
    browser: aiohttp.ClientSession, box: Sandbox, hl: HighLevel
) -> None:
    made = await hl.location().estimates.create(samples.estimate())
    stored = box.ledger.estimates()[0]
    assert stored["expiryDate"].startswith("2041-01-01T05:59"), "an instant of the next day in UTC"
    shown = await read(browser, f"location/{box.location_id}/estimates/{made.id}")
    assert "2026-01-15" in shown and "2040-12-31" in shown


async def test_the_history_of_a_document_is_told_in_one_time_zone(
    browser: aiohttp.ClientSession, box: Sandbox, hl: HighLevel
) -> None:
    """The action history of the API holds the location's local time, everything else is in UTC."""
    made = await hl.location().estimates.create(samples.estimate())
    await hl.location().estimates.send(made.id, EstimateSend(action="email", user_id="3HIpOF9NIc5ltriQWPqr"))
    page = await read(browser, f"location/{box.location_id}/estimates/{made.id}")
    rows = re.findall(r"<tr>\s*<td[^>]*>(\d{4}-\d\d-\d\d \d\d):[^<]*</td>\s*<td>(created|sent)</td>", page)
    assert [change for _, change in rows] == ["created", "sent"]
    assert len({hour for hour, _ in rows}) == 1


async def test_a_long_reason_is_cut_in_the_list_and_whole_on_its_page(
    browser: aiohttp.ClientSession, box: Sandbox, hl: HighLevel
) -> None:
    with pytest.raises(ValidationFailed) as caught:
        await hl.raw("estimates.create", body={})
    last = caught.value.messages[-1]
    assert last not in await read(browser, "requests")
    assert last in await read(browser, f"requests/{box.requests[-1].number}")


@pytest.mark.parametrize(("qty", "shown"), [(1000, "1000"), ("2.50", "2.5"), (0.125, "0.125"), (10, "10")])
def test_a_quantity_is_shown_in_digits(qty: object, shown: str) -> None:
    line = {"name": "Oak", "qty": qty, "amount": 1, "currency": "USD"}
    [seen] = paper({"currency": "USD", "items": [line]}, "estimates")["lines"]
    assert seen["quantity"] == shown
