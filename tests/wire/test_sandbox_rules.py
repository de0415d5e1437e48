"""Every rule that rests on observers is applied, and can be switched off by its name."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from hl_async.errors import ConfigurationError, InvalidRequest
from hl_async.sandbox import RULES, NeighbourQuirks, Quirks, Sandbox
from plain_client import Shop, estimate, invoice, line

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
async def shop(box: Sandbox) -> AsyncIterator[Shop]:
    async with aiohttp.ClientSession() as session:
        yield Shop(box, session)


Case = Callable[[Shop], Awaitable[tuple[int, Any]]]


def creating(**changes: Any) -> Case:
    async def case(shop: Shop) -> tuple[int, Any]:
        return await shop.post("/invoices/estimate", estimate(**changes))

    return case


def billing(**changes: Any) -> Case:
    async def case(shop: Shop) -> tuple[int, Any]:
        return await shop.post("/invoices/", invoice(**changes))

    return case


async def number_again(shop: Shop) -> tuple[int, Any]:
    made = await shop.made()
    return await shop.post("/invoices/estimate", estimate(estimateNumber=made["estimateNumber"]))


async def draft_invoiced(shop: Shop) -> tuple[int, Any]:
    made = await shop.made()
    return await shop.post(f"/invoices/estimate/{made['_id']}/invoice", {"markAsInvoiced": True})


async def status_put(shop: Shop) -> tuple[int, Any]:
    made = await shop.made()
    status, changed = await shop.put(f"/invoices/estimate/{made['_id']}", estimate(estimateStatus="accepted"))
    assert status == 200
    return (200 if changed["estimateStatus"] == "accepted" else 0), {"message": "ignored"}


async def odd_filter(shop: Shop) -> tuple[int, Any]:
    return await shop.get("/invoices/estimate/list", limit="5", offset="0", status="overdue")


async def deleted_by_query(shop: Shop) -> tuple[int, Any]:
    made = await shop.made()
    status, answer, _ = await shop("DELETE", f"/invoices/estimate/{made['_id']}", params=shop.alt)
    return status, answer


async def visited_without_alt(shop: Shop) -> tuple[int, Any]:
    made = await shop.made()
    status, answer, _ = await shop(
        "PATCH", "/invoices/estimate/stats/last-visited-at", json={"estimateId": made["_id"]}
    )
    return status, answer


async def put_without_discount(shop: Shop) -> tuple[int, Any]:
    made = await shop.made("/invoices/", invoice())
    body = invoice(invoiceItems=[line()], discount=None, items=None, sentTo=None)
    return await shop.put(f"/invoices/{made['_id']}", body)


async def put_empty_schedule(shop: Shop) -> tuple[int, Any]:
    made = await shop.made("/invoices/", invoice())
    body = invoice(invoiceItems=[line()], items=None, sentTo=None, paymentSchedule={})
    return await shop.put(f"/invoices/{made['_id']}", body)


async def draft_paid(shop: Shop) -> tuple[int, Any]:
    made = await shop.made("/invoices/", invoice())
    try:
        shop.box.customer.pay(made["_id"])
    except InvalidRequest as error:
        return 400, {"message": str(error)}
    return 200, {}


async def cash_paid(shop: Shop) -> tuple[int, Any]:
    made = await shop.made("/invoices/", invoice())
    return await shop.post(f"/invoices/{made['_id']}/record-payment", {"mode": "cash"})


ATTACHMENT = {"id": "a", "name": "a.pdf", "url": "https://files.example/a.pdf", "type": "pdf", "size": 1}
LONG = "x" * 41
CASES: dict[str, tuple[Case, int, str]] = {
    "title_required": (creating(title=None), 500, "estimates validation failed: title: Path 'title' is required."),
    "item_type_required": (creating(items=[line(), {k: v for k, v in line().items() if k != "type"}]), 500,
                           "estimates validation failed: items.1.type: Path 'type' is required."),
    "issue_date_required": (creating(issueDate=None), 422, "issueDate must be in YYYY-MM-DD format"),
    "expiry_date_required": (creating(expiryDate=None), 422, "expiryDate must be in YYYY-MM-DD format"),
    "tax_id_required": (creating(items=[line(taxes=[{"name": "VAT", "rate": 20}])]), 422,
                        "items.0.taxes.0._id must be a string"),
    "issue_date_not_future": (creating(issueDate="2999-01-01"), 400, "Issue date cannot be in the future"),
    "name_at_most_40": (creating(name=LONG), 422, "name must be shorter than or equal to 40 characters"),
    "title_at_most_40": (creating(title=LONG), 422, "title must be shorter than or equal to 40 characters"),
    "estimate_number_unique": (number_again, 400, "Estimate number already exists"),
    "accepted_first": (draft_invoiced, 400, "accepted before"),
    "status_read_only": (status_put, 0, "ignored"),
    "status_filter_closed": (odd_filter, 422, "status must be a valid enum value"),
    "delete_estimate_body": (deleted_by_query, 422, "altId must be a string"),
    "alt_everywhere": (visited_without_alt, 401, "Invalid token"),
    "phone_e164": (billing(contactDetails={"id": "c", "name": "A", "phoneNo": "12", "email": ""}), 422,
                   "contactDetails.phoneNo must be a valid phone number"),
    "invoice_contact_complete": (billing(contactDetails={"id": "c", "name": "A"}), 422,
                                 "contactDetails.phoneNo must be a string"),
    "discount_in_update": (put_without_discount, 422, "discount must be an object"),
    "discount_within_subtotal": (creating(discount={"value": 99, "type": "fixed"}), 400, "not be less than 0"),
    "attachments_at_most_10": (creating(attachments=[ATTACHMENT] * 11), 422, "no more than 10 elements"),
    "custom_values_text": (creating(businessDetails={"customValues": [{"id": "v"}]}), 422,
                           "businessDetails.customValues.0 must be a string"),
    "payment_schedule_complete": (put_empty_schedule, 422, "paymentSchedule.type must be one of"),
    "draft_not_payable": (draft_paid, 400, "send it first"),
    "estimate_contact_complete": (creating(contactDetails={"id": "c", "name": "A"}), 422,
                                  "contactDetails.phoneNo must be a string"),
    "invoice_names_at_most_40": (billing(name=LONG), 422, "name must be shorter than or equal to 40"),
    "payment_details_required": (cash_paid, 422, "card must be an object"),
}  # fmt: skip


@pytest.mark.parametrize("name", [rule.name for rule in RULES])
async def test_a_rule_refuses_until_it_is_switched_off(shop: Shop, name: str) -> None:
    case, status, message = CASES[name]
    shop.box.rules.switch(name, on=True)
    found, answer = await case(shop)
    assert found == status, answer
    said = answer["message"]
    assert message in (said if isinstance(said, str) else "; ".join(said))
    shop.box.rules.switch(name, on=False)
    found, answer = await case(shop)
    assert found in (200, 201), answer


def test_every_rule_and_quirk_is_documented_with_its_evidence() -> None:
    page = (DOCS / "unknowns.md").read_text()
    facts = (DOCS / "api-facts.md").read_text()
    for rule in RULES:
        assert f"| `{rule.name}` |" in page, rule.name
        assert f"({rule.anchor})=" in facts, rule.anchor
    for name in (*Quirks.__dataclass_fields__, *NeighbourQuirks.__dataclass_fields__):
        assert f"| `{name}` |" in page, name


async def test_refusals_carry_the_codes_that_were_seen(shop: Shop) -> None:
    _, late = await creating(issueDate="2999-01-01")(shop)
    _, unaccepted = await draft_invoiced(shop)
    assert (late["code"], unaccepted["code"]) == ("estimate_date_invalid", "estimate_not_accepted")


async def test_all_that_the_database_layer_misses_comes_in_one_500_and_nothing_is_stored(shop: Shop) -> None:
    shop.box.rules.switch("title_required", on=True)
    shop.box.rules.switch("item_type_required", on=True)
    bare = {key: value for key, value in line().items() if key != "type"}
    status, answer = await shop.post("/invoices/estimate", estimate(title="", items=[bare]))
    assert (status, answer) == (
        500,
        {
            "statusCode": 500,
            "message": "estimates validation failed: title: Path 'title' is required., "
            "items.0.type: Path 'type' is required.",
        },
    )
    assert shop.box.ledger.estimates() == []


def test_rules_are_chosen_when_a_sandbox_is_made() -> None:
    box = Sandbox(rules_off={"accepted_first"}, rules_on={"payment_details_required"})
    assert not box.rules.is_on("accepted_first")
    assert box.rules.is_on("payment_details_required")
    with pytest.raises(ConfigurationError, match="unknown rule 'acepted_first'; known are .*accepted_first"):
        Sandbox(rules_off={"acepted_first"})


async def test_rules_are_switched_from_other_processes(shop: Shop) -> None:
    found = (await shop("PUT", "/_sandbox/rules", json={"off": ["accepted_first"]}))[1]
    assert found["accepted_first"]["on"] is False
    assert (await draft_invoiced(shop))[0] == 200
    assert (await shop("PUT", "/_sandbox/rules", json={"on": ["accepted_first"]}))[0] == 200
    assert (await draft_invoiced(shop))[0] == 400
    assert (await shop("PUT", "/_sandbox/rules", json={"off": ["none"]}))[0] == 400
