"""The sandbox's console over real sockets: what it shows, what its switches do, whom it refuses."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from decimal import Decimal

import aiohttp
import pytest

import samples
from hl_async import HighLevel
from hl_async.errors import ServerError
from hl_async.models import Discount
from hl_async.sandbox import Fault, Sandbox
from hl_async.sandbox.console.document_view import document_view, money, plain, sums
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


async def press(browser: aiohttp.ClientSession, box: Sandbox, status: int = 200, **fields: str) -> str:
    async with browser.post("/_console/switches", data={"token": box.console_token, **fields}) as answer:
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
        assert "<script" not in shown and "alert(" not in shown.replace("alert(&quot;", "")
    assert plain("<p>a</p>&lt;b&gt;") == "a &lt;b&gt;"


async def test_requests_are_shown_with_time_budget_and_fault(
    browser: aiohttp.ClientSession, box: Sandbox, hl: HighLevel
) -> None:
    shop = hl.location().with_options(max_attempts=1)
    await shop.estimates.generate_number()
    box.faults.script("*", Fault.HTML_502)
    with pytest.raises(ServerError):
        await shop.estimates.generate_number()
    log = await read(browser, "requests")
    assert "generate-estimate-number" in log and "html_502" in log and "9999" in log
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
    assert await status("POST", "switches", good, Origin="https://evil.example") == 403
    assert await status("POST", "switches", good, Sec_Fetch_Site="cross-site") == 403
    assert await status("POST", "switches", {"expire": "1"}) == 403
    assert await status("POST", "switches", {"token": "guess", "expire": "1"}) == 403
    assert await status("PUT", "switches", good) == 405
    assert await status("POST", "switches", good, Origin=box.url, Sec_Fetch_Site="same-origin") == 200
    assert await status("GET", "", Host="localhost") == 200


async def test_webhooks_are_listed(browser: aiohttp.ClientSession, box: Sandbox) -> None:
    assert "none" in await read(browser, "webhooks")
    box.webhooks.send_to("http://127.0.0.1:9/hook")
    box.webhooks.announce("InvoicePaid", {"_id": "x"})
    await box.webhooks.settled()
    shown = await read(browser, "webhooks")
    assert "InvoicePaid" in shown and "lost" in shown and re.search(r"webhook-\d+", shown)
