"""Read, change, write: the official request schemas accept what ``to_update()`` makes of any document.

Runs in full where the specification and its example answers lie beside the repository (``shared``, or ``HL_SHARED``).
Documents and a schema of our own hold the same promise without them.
"""

from __future__ import annotations

import json
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import samples
from hl_async import HighLevel
from hl_async.models import (
    Attachment,
    AutoInvoicing,
    Estimate,
    EstimateTemplate,
    Invoice,
    InvoiceSchedule,
    InvoiceTemplate,
    ItemTax,
    LateFeesConfiguration,
    LateFeesFrequency,
    PaymentMethods,
    SentTo,
    StripePaymentMethod,
    TipsConfiguration,
)
from hl_async.models.codec import alt_prefix, decoder, encode_body
from hl_async.models.preparation import RequestContext, prepared
from hl_async.sandbox import Sandbox

SHARED = Path(os.environ.get("HL_SHARED", Path(__file__).parents[3] / "shared"))
needs_specification = pytest.mark.skipif(
    not (SHARED / "spec").is_dir() or not (SHARED / "seeds").is_dir(), reason="the specification is not here"
)
ASKED: dict[type[Any], str] = {
    Estimate: "UpdateEstimateDto",
    EstimateTemplate: "EstimateTemplatesDto",
    Invoice: "UpdateInvoiceDto",
    InvoiceSchedule: "UpdateInvoiceScheduleDto",
    InvoiceTemplate: "UpdateInvoiceTemplateDto",
}


def body_of(document: Any) -> dict[str, Any]:
    """The request that replaces a document by itself, as it goes out."""
    text = encode_body(prepared(document.to_update(), RequestContext("loc")), alt_prefix("loc"))
    found: dict[str, Any] = json.loads(text)
    return found


def official() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((SHARED / "spec/invoices.json").read_text("utf-8"))
    # items of templates are declared as lists of lists; every example has objects: docs/api-facts.md#api-open-shapes
    found["components"]["schemas"]["EstimateTemplatesDto"]["properties"]["items"]["items"] = {
        "type": "object"
    }
    return found


def complaints(document: Any, specification: dict[str, Any]) -> list[str]:
    schema = {
        "$ref": f"#/components/schemas/{ASKED[type(document)]}",
        "components": specification["components"],
    }
    found = jsonschema.Draft202012Validator(schema).iter_errors(body_of(document))
    return [f"{one.json_path}: {one.message}" for one in found]


def seeds() -> list[tuple[str, Any]]:
    if not (SHARED / "seeds").is_dir():
        return []
    found: list[tuple[str, Any]] = []
    for path in sorted((SHARED / "seeds").glob("*.response.json")):
        answer = json.loads(path.read_text("utf-8"))
        for name, document in [*answer.items(), ("", answer)]:
            if not isinstance(document, dict) or "_id" not in document:
                continue
            kind = Invoice if "invoiceItems" in document else Estimate
            found.append((f"{path.stem} {name}", decoder(kind)(json.dumps(document).encode())))
    return found


@needs_specification
@pytest.mark.parametrize("document", [one for _, one in seeds()], ids=[name for name, _ in seeds()])
def test_the_specification_accepts_what_the_example_answers_become(document: Any) -> None:
    assert complaints(document, official()) == []


@needs_specification
def test_there_are_example_answers_of_both_kinds() -> None:
    kinds = [type(document) for _, document in seeds()]
    assert kinds.count(Estimate) >= 3
    assert kinds.count(Invoice) >= 1


TAXED = samples.line(taxes=[ItemTax(name="VAT", rate=Decimal(13))], description="<p>Oak</p>")
FILE = Attachment(id="a1", name="a.pdf", url="https://example.com/a.pdf", type="pdf", size=Decimal(10))
FEES = LateFeesConfiguration(
    enable=True,
    value=Decimal(5),
    type="percentage",
    frequency=LateFeesFrequency(interval_count=Decimal(1), interval="month"),
)
MORE: dict[str, Any] = {
    "items": [TAXED, samples.line()],
    "terms_notes": "<p>Terms</p>",
    "attachments": [FILE],
}
PAID: dict[str, Any] = {
    "late_fees_configuration": FEES,
    "payment_methods": PaymentMethods(stripe=StripePaymentMethod(enable_bank_debit_only=False)),
    "tips_configuration": TipsConfiguration(tips_percentage=[Decimal(5), Decimal("7.5")], tips_enabled=True),
}


@needs_specification
@pytest.mark.parametrize("rich", [False, True])
async def test_the_specification_accepts_what_every_kind_of_the_sandbox_becomes(rich: bool) -> None:
    async with Sandbox() as box, HighLevel(box.token, base_url=box.url) as hl:
        shop = hl.location(box.location_id)
        more = MORE if rich else {}
        made: list[Any] = [
            await shop.estimates.create(
                samples.estimate(
                    **more,
                    **(
                        {
                            "sent_to": SentTo(email=["a@example.com"]),
                            "auto_invoice": AutoInvoicing(enabled=True),
                        }
                        if rich
                        else {}
                    ),
                )
            ),
            await shop.invoices.create(samples.invoice(**more, **(PAID if rich else {}))),
            await shop.invoice_schedules.create(samples.schedule(**more, **(PAID if rich else {}))),
            await shop.estimate_templates.create(samples.estimate_template(**more)),
            await shop.invoice_templates.create(
                samples.invoice_template(
                    **(more | {"attachments": ["https://example.com/a.pdf"]} if rich else {})
                )
            ),
            (
                await shop.invoices.text2pay(samples.text2pay(items=more.get("items", [samples.line()])))
            ).invoice,
        ]
        made += [
            (await shop.estimates.list())[0],
            await shop.invoices.get(made[1].id),
            await shop.invoice_schedules.get(made[2].id),
        ]
        specification = official()
        assert [complaints(one, specification) for one in made] == [[]] * len(made)


# ------------------------------------------------------------------------------------------ of our own

TIPS = {"tipsPercentage": [5, "10", "15%", "lots"], "tipsEnabled": True}
PARTS = {
    "businessDetails": {
        "name": "Harbour Joinery",
        "address": "12 Harbour Road",
        "customValues": [{"name": "VAT no.", "fieldKey": "{{custom_values.vat}}", "id": "v", "value": "GB1"}, "plain"],
    },
    "contactDetails": {"id": "c", "name": "Alex", "phoneNo": "+1-214-559-6993", "email": "a@example.com", "customFields": [{"id": "f", "value": 7}]},
    "currency": "USD",
    "name": "Kitchen",
    "paymentSchedule": {},
    "sentTo": {},
    "autoInvoice": {},
    "miscellaneousCharges": {},
    "tipsConfiguration": TIPS,
}  # fmt: skip
LINE = {
    "_id": "i",
    "name": "Oak",
    "amount": 9.99,
    "qty": 3,
    "currency": "USD",
    "attachments": [{"url": "https://example.com/a.jpg", "id": "x"}],
}


def test_an_estimate_goes_back_without_empty_parts_and_with_values_as_text() -> None:
    answer = {
        **PARTS,
        "_id": "e",
        "items": [LINE],
        "estimateStatus": "sent",
        "issueDate": "2026-08-26T06:00:00.000Z",
        "expiryDate": "2026-09-26T05:59:59.999Z",
    }
    body = body_of(decoder(Estimate)(json.dumps(answer).encode()))
    assert not {
        "sentTo",
        "autoInvoice",
        "miscellaneousCharges",
        "estimateStatus",
        "paymentScheduleConfig",
    } & set(body)
    assert body["businessDetails"]["customValues"] == ["GB1", "plain"]
    assert body["businessDetails"]["address"] == {"addressLine1": "12 Harbour Road"}
    assert body["contactDetails"]["customFields"] == ["7"]
    assert body["contactDetails"]["phoneNo"] == "+12145596993"
    assert body["items"] == [
        {
            "name": "Oak",
            "currency": "USD",
            "amount": 9.99,
            "qty": 3,
            "type": "one_time",
            "attachments": ["https://example.com/a.jpg"],
        }
    ]
    assert body["frequencySettings"] == {"enabled": False, "schedule": {}}
    assert (body["title"], body["issueDate"], body["expiryDate"]) == ("Kitchen", "2026-08-26", "2026-09-25")


def test_an_invoice_goes_back_without_empty_parts_and_attachments_of_lines() -> None:
    answer = {**PARTS, "_id": "i", "invoiceItems": [LINE], "issueDate": "2026-08-26", "dueDate": "2026-09-26"}
    invoice = decoder(Invoice)(json.dumps(answer).encode())
    assert invoice.tips_configuration == TipsConfiguration(
        tips_percentage=[Decimal(5), Decimal(10), Decimal(15)], tips_enabled=True
    )
    body = body_of(invoice)
    assert not {"paymentSchedule", "sentTo", "autoInvoice", "miscellaneousCharges"} & set(body)
    assert "attachments" not in body["invoiceItems"][0]
    assert body["discount"] == {"value": 0, "type": "percentage"}
    assert body["tipsConfiguration"]["tipsPercentage"] == ["5", "10", "15"]
