"""Realistic answers and bodies for the benchmarks, built here rather than copied from anywhere."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import msgspec


def estimate(number: int = 1) -> dict[str, Any]:
    """An estimate as the API answers it, about 3 KB of JSON."""
    address = {
        "addressLine1": "12 Harbour Road",
        "city": "Bristol",
        "state": "",
        "countryCode": "GB",
        "postalCode": "BS1 4XX",
    }
    items = [
        {
            "_id": f"65a1{number:04x}{line:016x}",
            "name": f"Oak cabinet {line}",
            "description": "<p>Solid oak, oiled, with soft-closing hinges and brass handles</p>",
            "productId": "65b2c3d4e5f60718293a4b5c",
            "priceId": "65b2c3d4e5f60718293a4b5d",
            "currency": "USD",
            "amount": 129.99,
            "qty": 2.5,
            "type": "one_time",
            "taxInclusive": False,
            "taxes": [
                {"_id": "65c3d4e5f60718293a4b5c6d", "name": "VAT", "rate": 20, "calculation": "exclusive"}
            ],
        }
        for line in range(4)
    ]
    return {
        "altId": "6578278e879ad2646715ba9c",
        "altType": "location",
        "_id": f"65d4e5f60718293a{number:08x}",
        "liveMode": True,
        "deleted": False,
        "name": f"Kitchen {number}",
        "currency": "USD",
        "businessDetails": {
            "name": "Harbour Joinery",
            "phoneNo": "+441171234567",
            "address": address,
            "customValues": [],
        },
        "items": items,
        "discount": {"value": 5, "type": "percentage"},
        "title": "ESTIMATE",
        "estimateNumber": number,
        "estimateNumberPrefix": "EST-",
        "estimateStatus": "draft",
        "total": 1234.91,
        "totalamountInUSD": 1234.91,
        "createdAt": "2026-03-01T09:15:30.123Z",
        "updatedAt": "2026-03-02T10:20:30.456Z",
        "__v": 0,
        "automaticTaxesEnabled": False,
        "automaticTaxesCalculated": False,
        "termsNotes": "<p>Half on order, the rest on completion. Valid for thirty days.</p>",
        "companyId": "5f60718293a4b5c6d7e8",
        "contactDetails": {
            "id": "c6tZWq1n0uEh8Rk2Lm4p",
            "name": "Alex Marlow",
            "phoneNo": "+12145596993",
            "email": "alex@example.com",
            "address": address,
            "customFields": [],
        },
        "issueDate": "2026-03-01T00:00:00.000Z",
        "expiryDate": "2026-04-01T00:00:00.000Z",
        "meta": {},
        "estimateActionHistory": [{"estimateStatus": "draft", "updatedAt": "2026-03-01T09:15:30"}],
        "sentTo": {"email": ["alex@example.com"], "emailCc": [], "emailBcc": [], "phoneNo": []},
        "frequencySettings": {"enabled": False},
        "traceId": "c1b2a3d4-0000-4000-8000-1234567890ab",
    }


def estimate_bytes() -> bytes:
    """One estimate, encoded."""
    return msgspec.json.encode(estimate())


def list_bytes(size: int = 100) -> bytes:
    """A list answer of ``size`` estimates."""
    return msgspec.json.encode(
        {
            "estimates": [estimate(n) for n in range(size)],
            "total": size,
            "traceId": "c1b2a3d4-0000-4000-8000-1234567890ab",
        }
    )


NUMBER = b'{"estimateNumber":118,"traceId":"c1b2a3d4-0000-4000-8000-1234567890ab"}'


def update_body() -> dict[str, Any]:
    """The JSON body of an update, about 3 KB, as a client without models would hold it."""
    kept = ("name", "currency", "businessDetails", "items", "discount", "title", "contactDetails", "liveMode",
            "termsNotes", "estimateNumber", "frequencySettings", "sentTo", "meta")  # fmt: skip
    source = estimate()
    body = {name: source[name] for name in kept}
    for item in body["items"]:
        item.pop("_id")
    return body | {
        "altId": source["altId"],
        "altType": "location",
        "issueDate": "2026-03-01",
        "expiryDate": "2026-04-01",
    }


TODAY = date(2026, 3, 1)
PRICE = Decimal("129.99")
