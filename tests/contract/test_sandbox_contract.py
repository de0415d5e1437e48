"""The sandbox's answers against the official response schemas; every deviation is explained, none in vain.

The walk over all operations always runs. The comparison needs the specification beside the repository
(``shared/spec``, or ``HL_SHARED``).
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections import defaultdict
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from hl_async.operations import OPERATIONS
from hl_async.sandbox import Sandbox
from plain_client import SEND, Shop, estimate, invoice, line

SPEC = Path(os.environ.get("HL_SHARED", Path(__file__).parents[3] / "shared")) / "spec" / "invoices.json"
LEDGER = Path(__file__).with_name("sandbox_answers.toml")
FEES = {"enable": True, "value": 5, "type": "fixed", "frequency": {"intervalCount": 1, "interval": "month"}}
RULE = {"rrule": {"intervalType": "monthly", "interval": 1, "startDate": "2030-01-01"}}
AUTO = {"enable": True, "type": "card", "cardId": "card1"}
INVOICE_OPERATIONS = 42

Answers = dict[str, list[tuple[int, Any]]]


class Walk:
    """Calls every operation at least once, bare and full, and keeps the answers."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.answers: Answers = defaultdict(list)

    async def __call__(self, name: str, *ids: str, body: Any = None, **query: str) -> Any:
        row = OPERATIONS[name]
        path = row.expand(*ids)
        if row.method == "GET" or (row.method == "DELETE" and not row.resource.startswith("estimate")):
            status, answer, _ = await self.shop(row.method, path, params={**self.shop.alt, **query})
        else:
            status, answer = await self.shop.post(path, body or {}, row.method)
        assert status in (200, 201), (name, answer)
        self.answers[name].append((status, answer))
        return answer

    async def everything(self) -> Answers:
        page = {"limit": "10", "offset": "0"}
        await self.estimates(page)
        await self.estimate_templates(page)
        await self.invoices(page)
        await self.invoice_templates(page)
        await self.schedules(page)
        return self.answers

    async def estimates(self, page: dict[str, str]) -> None:
        await self("generate-estimate-number")
        await self("create-new-estimate", body=estimate())
        full = estimate(
            meta={"key": "value"}, sentTo={"email": ["alex@example.com"]}, automaticTaxesEnabled=False, liveMode=False,
            termsNotes="<p>Net</p>", autoInvoice={"enabled": False}, estimateNumberPrefix="Q-",
            items=[line(taxes=[{"_id": "t", "name": "VAT", "rate": 20, "calculation": "exclusive"}])],
            attachments=[{"id": "a", "name": "a.pdf", "url": "https://files.example/a", "type": "pdf", "size": 1}],
        )  # fmt: skip
        made = await self("create-new-estimate", body=full)
        await self("update-estimate", made["_id"], body=full)
        await self("send-estimate", made["_id"], body=SEND)
        await self("update-estimate-last-visited-at", body={"estimateId": made["_id"]})
        self.shop.box.customer.accept(made["_id"])
        await self("create-invoice-from-estimate", made["_id"], body={"markAsInvoiced": True})
        await self("list-estimates", **page)
        await self("delete-estimate", made["_id"])

    async def estimate_templates(self, page: dict[str, str]) -> None:
        body = {
            name: estimate()[name] for name in ("name", "currency", "businessDetails", "items", "discount")
        }
        made = await self("create-estimate-template", body=body)
        await self("update-estimate-template", made["_id"], body=body)
        await self("preview-estimate-template", templateId=made["_id"])
        await self("list-estimate-templates", **page)
        await self("delete-estimate-template", made["_id"])

    async def invoices(self, page: dict[str, str]) -> None:
        await self("generate-invoice-number")
        await self("get-invoice-settings")
        made = await self("create-invoice", body=invoice(dueDate=None))
        put = invoice(invoiceItems=[line()], items=None, sentTo=None)
        await self("update-invoice", made["_id"], body=put)
        await self(
            "update-invoice-late-fees-configuration", made["_id"], body={"lateFeesConfiguration": FEES}
        )
        await self("update-invoice-last-visited-at", body={"invoiceId": made["_id"]})
        await self("send-invoice", made["_id"], body=SEND)
        await self("record-invoice", made["_id"], body={"mode": "cash", "amount": 1})
        await self("get-invoice", made["_id"])
        await self("list-invoices", **page)
        await self("void-invoice", made["_id"])
        quick = await self("text2pay-invoice", body=invoice(action="draft", userId="u1"))
        await self("delete-invoice", quick["invoice"]["_id"])

    async def invoice_templates(self, page: dict[str, str]) -> None:
        body = {name: invoice()[name] for name in ("name", "currency", "businessDetails", "items")}
        made = await self("create-invoice-template", body=body)
        await self("update-invoice-template", made["_id"], body=body)
        for name, more in (
            ("update-invoice-template-late-fees-configuration", {"lateFeesConfiguration": FEES}),
            (
                "update-invoice-payment-methods-configuration",
                {"paymentMethods": {"stripe": {"enableBankDebitOnly": True}}},
            ),
        ):
            await self(name, made["_id"], body=more)
        await self("get-invoice-template", made["_id"])
        await self("list-invoice-templates", **page)
        await self("delete-invoice-template", made["_id"])

    async def schedules(self, page: dict[str, str]) -> None:
        body = invoice(schedule=RULE, sentTo=None, issueDate=None, dueDate=None)
        made = await self("create-invoice-schedule", body=body)
        await self("update-invoice-schedule", made["_id"], body=body)
        await self("schedule-invoice-schedule", made["_id"], body={"liveMode": False, "autoPayment": AUTO})
        await self(
            "auto-payment-invoice-schedule", made["_id"], body={"id": made["_id"], "autoPayment": AUTO}
        )
        await self("update-and-schedule-invoice-schedule", made["_id"])
        await self("get-invoice-schedule", made["_id"])
        await self("list-invoice-schedules", **page)
        await self("cancel-invoice-schedule", made["_id"])
        await self("delete-invoice-schedule", made["_id"])


async def walked(box: Sandbox) -> Answers:
    async with aiohttp.ClientSession() as session:
        return await Walk(Shop(box, session)).everything()


async def test_every_operation_answers_a_plain_client(box: Sandbox) -> None:
    assert len(await walked(box)) == INVOICE_OPERATIONS


def deviations(spec: dict[str, Any], answers: Answers) -> set[str]:
    """Every way in which an answer differs from its schema, without positions in lists."""
    from jsonschema import Draft202012Validator

    found = set()
    for methods in spec["paths"].values():
        for operation in methods.values():
            for status, answer in answers.get(operation.get("operationId", ""), ()):
                declared = operation["responses"].get(str(status))
                if declared is None:
                    found.add(f"{operation['operationId']}: answers {status}")
                    declared = next(value for key, value in operation["responses"].items() if key < "300")
                for media in declared.get("content", {}).values():
                    schema = {**media["schema"], "components": spec["components"]}
                    name = media["schema"]["$ref"].rpartition("/")[2]
                    for error in Draft202012Validator(schema).iter_errors(answer):
                        place = "".join("[]" if isinstance(one, int) else f".{one}" for one in error.path)
                        problem = error.message if error.validator == "required" else error.validator
                        found.add(
                            f"{name}{place}: {re.sub(r' is a required property', ' is missing', str(problem))}"
                        )
    return found


@pytest.mark.skipif(not SPEC.is_file(), reason="the specification is not here")
async def test_answers_follow_the_response_schemas_or_are_explained(box: Sandbox) -> None:
    explained = tomllib.loads(LEDGER.read_text())["explained"]
    found = deviations(json.loads(SPEC.read_text()), await walked(box))
    used = {key for one in found for key in explained if f".{one}".endswith(f".{key}")}
    unexplained = {one for one in found if not any(f".{one}".endswith(f".{key}") for key in explained)}
    assert sorted(unexplained) == [], "neither declared nor explained"
    assert sorted(set(explained) - used) == [], "explained, but no longer so"
    assert all(explained.values())


@pytest.mark.skipif(not SPEC.is_file(), reason="the seed answers are not here")
async def test_an_invoice_from_an_estimate_has_every_field_of_the_documented_one(box: Sandbox) -> None:
    seed = json.loads((SPEC.parents[1] / "seeds" / "create_invoice_from_estimate.response.json").read_text())
    answers = (await walked(box))["create-invoice-from-estimate"]
    assert set(seed["invoice"]) <= set(answers[0][1]["invoice"])
