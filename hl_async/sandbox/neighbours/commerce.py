"""Internal. Products, prices, payments and orders."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from hl_async.sandbox.arithmetic import ISO_4217
from hl_async.sandbox.neighbours import checks
from hl_async.sandbox.neighbours.calls import NeighbourCall
from hl_async.sandbox.neighbours.state import Entry
from hl_async.sandbox.refusals import not_found, unprocessable

_LARGEST_PAGE: Final = 100


def _currency(value: Any, name: str) -> str | None:
    return None if value in ISO_4217 else f"{name} must be a valid ISO4217 currency code"


_PRODUCT: Final[dict[str, checks.Check]] = {
    "name": checks.filled,
    "locationId": checks.filled,
    "productType": checks.one_of("DIGITAL", "PHYSICAL", "SERVICE", "PHYSICAL/DIGITAL"),
}
_PRODUCT_MORE: Final[dict[str, checks.Check]] = {
    **dict.fromkeys(
        ("description", "image", "statementDescriptor", "automaticTaxCategoryId", "slug"), checks.text
    ),
    **dict.fromkeys(("availableInStore", "isTaxesEnabled", "isLabelEnabled", "taxInclusive"), checks.truth),
    **dict.fromkeys(("medias", "variants"), checks.entries),
    **dict.fromkeys(("collectionIds", "taxes"), checks.texts),
    **dict.fromkeys(("label", "seo"), checks.mapping),
}
_PRICE: Final[dict[str, checks.Check]] = {
    "name": checks.filled,
    "locationId": checks.filled,
    "type": checks.one_of("one_time", "recurring"),
    "currency": _currency,
    "amount": checks.number,
}
_PRICE_MORE: Final[dict[str, checks.Check]] = {
    "recurring": checks.mapping,
    **dict.fromkeys(("description", "userId", "sku"), checks.text),
    **dict.fromkeys(
        ("trialPeriod", "totalCycles", "setupFee", "compareAtPrice", "availableQuantity"), checks.number
    ),
    **dict.fromkeys(("trackInventory", "allowOutOfStockPurchases", "isDigitalProduct"), checks.truth),
    **dict.fromkeys(("variantOptionIds", "digitalDelivery"), checks.texts),
    **dict.fromkeys(("meta", "shippingOptions"), checks.mapping),
    "membershipOffers": checks.entries,
}


def list_products(call: NeighbourCall) -> Entry:
    search = call.query.get("search", "").lower()
    wanted = [one for one in call.query.get("productIds", "").split(",") if one]
    found = [
        one
        for one in call.state.products.values()
        if search in one["name"].lower() and (not wanted or one["_id"] in wanted)
    ]
    # the specification declares the total as a list of objects
    return {"products": _page(call, found), "total": [{"total": len(found)}]}


def create_product(call: NeighbourCall) -> Entry:
    checks.check_body(call.body, _PRODUCT, _PRODUCT_MORE)
    product = _stamped(call, call.body)
    call.state.products[product["_id"]] = product
    call.state.prices[product["_id"]] = {}
    return product


def list_prices(call: NeighbourCall) -> Entry:
    prices = _prices(call)
    found = list(prices.values())
    return {"prices": _page(call, found), "total": len(found)}


def create_price(call: NeighbourCall) -> Entry:
    prices = _prices(call)
    checks.check_body(call.body, _PRICE, _PRICE_MORE)
    if call.body["amount"] < 0:
        raise unprocessable(["amount must not be less than 0"])
    # a recurring price has to state its interval
    if call.body["type"] == "recurring" and not call.body.get("recurring"):
        raise unprocessable(["recurring should not be empty"])
    price = _stamped(call, call.body) | {"product": call.ids[0]}
    prices[price["_id"]] = price
    return price


def list_transactions(call: NeighbourCall) -> Entry:
    """Return a page of the recorded payments, the newest first."""
    found = []
    for invoice_id, payments in call.place.payments.items():
        invoice = call.place.invoices.get(invoice_id)
        if invoice is not None:
            found += [_transaction(invoice, number, one) for number, one in enumerate(payments)]
    wanted = {name: call.query.get(name) for name in ("entityId", "contactId") if call.query.get(name)}
    fits = [one for one in found if all(one.get(name) == value for name, value in wanted.items())]
    fits.reverse()
    return {"data": _page(call, fits), "totalCount": len(fits)}


def list_orders(call: NeighbourCall) -> Entry:
    wanted = {name: call.query.get(name) for name in ("contactId", "status") if call.query.get(name)}
    found = [
        one for one in call.state.orders if all(one.get(name) == value for name, value in wanted.items())
    ]
    return {"data": _page(call, found), "totalCount": len(found)}


def _transaction(invoice: Entry, number: int, payment: Entry) -> Entry:
    contact = invoice.get("contactDetails") or {}
    # A payment without a time of its own has that of the invoice's last change.
    taken = payment.get("fulfilledAt") or invoice.get("updatedAt")
    return {
        # Derived from the invoice, so that an id is the same in every answer.
        "_id": f"{invoice['_id'][4:]}{number:04x}",
        "altId": invoice["altId"],
        "altType": "location",
        "contactId": contact.get("id", ""),
        "contactName": contact.get("name", ""),
        "contactEmail": contact.get("email", ""),
        "currency": invoice["currency"],
        "amount": Decimal(str(payment["amount"])),
        "status": payment.get("status", "succeeded"),
        "liveMode": invoice.get("liveMode", True),
        "entityType": "invoice",
        "entityId": invoice["_id"],
        "entitySourceType": "invoice",
        "entitySourceName": invoice.get("name", ""),
        "paymentProviderType": payment.get("provider") or payment.get("mode", ""),
        "amountRefunded": payment.get("refunded", 0),
        "createdAt": taken,
        "updatedAt": taken,
        "fulfilledAt": taken,
    }


def _prices(call: NeighbourCall) -> dict[str, Entry]:
    if call.ids[0] not in call.state.products:
        raise not_found(f"Product {call.ids[0]} not found")
    return call.state.prices[call.ids[0]]


def _stamped(call: NeighbourCall, body: Entry) -> Entry:
    now = call.all.clock.timestamp()
    # A counter instead of random ids, so that every run of a test has the same ids.
    call.all.serial += 1
    return body | {"_id": f"65b0{call.all.serial:020x}", "createdAt": now, "updatedAt": now}


def _page(call: NeighbourCall, found: list[Entry]) -> list[Entry]:
    start, limit = checks.count(call.query, "offset", 0), checks.count(call.query, "limit", 10)
    return found[start : start + min(limit or _LARGEST_PAGE, _LARGEST_PAGE)]
