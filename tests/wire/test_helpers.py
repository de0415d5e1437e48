"""The helpers between a location's own data and a document."""

from __future__ import annotations

from decimal import Decimal

import pytest

import samples
from hl_async import HighLevel, Location
from hl_async.errors import InvalidRequest
from hl_async.models import (
    BusinessDetails,
    ItemTax,
    LineItem,
    LocationDetails,
    Price,
    PriceDraft,
    Product,
    ProductDraft,
)
from hl_async.resources.taxes import TaxNames
from hl_async.sandbox import Sandbox


@pytest.fixture
def shop(hl: HighLevel) -> Location:
    return hl.location()


async def test_business_details_come_from_the_location(shop: Location) -> None:
    details = BusinessDetails.of(await shop.details())
    assert (details.name, details.phone_no) == ("Harbour Joinery LLC", "+14105550142")
    assert details.logo_url == "https://joinery.example/logo.png"
    made = await shop.estimates.create(samples.estimate(business_details=details))
    assert made.business_details is not None
    assert made.business_details.address.city == "Baltimore"  # type: ignore[union-attr]
    assert BusinessDetails.of(LocationDetails(id="x")) == BusinessDetails()


async def test_a_line_comes_from_a_product_and_its_price(shop: Location) -> None:
    product = await shop.products.create(
        ProductDraft(name="Cabinet", product_type="PHYSICAL", description="Oak")
    )
    price = await shop.products.create_price(
        product.id, PriceDraft(name="Standard", type="one_time", currency="USD", amount="199.50")
    )
    line = LineItem.of(product, price, 2, description="Walnut")
    assert (line.name, line.amount, line.qty, line.description) == ("Cabinet", Decimal("199.50"), 2, "Walnut")
    made = await shop.estimates.create(samples.estimate(items=[line]))
    assert made.items is not None
    assert (made.items[0].product_id, made.items[0].price_id, made.total) == (
        product.id,
        price.id,
        Decimal("399.00"),
    )


async def test_a_line_is_made_of_ids_and_unknown_ones_are_refused_before_anything_is_created(
    shop: Location, box: Sandbox
) -> None:
    product = await shop.products.create(ProductDraft(name="Cabinet", product_type="PHYSICAL"))
    with pytest.raises(InvalidRequest, match="price_id: is missing; there are: none"):
        await shop.products.line(product.id)
    oak = await shop.products.create_price(
        product.id, PriceDraft(name="Oak", type="one_time", currency="USD", amount="199.50")
    )
    line = await shop.products.line(product.id, qty=2)
    assert (line.product_id, line.price_id, line.amount, line.qty) == (
        product.id,
        oak.id,
        Decimal("199.50"),
        2,
    )
    ash = await shop.products.create_price(
        product.id, PriceDraft(name="Ash", type="one_time", currency="USD", amount="149")
    )
    line = await shop.products.line(product_id=product.id, price_id=ash.id, description="Ash, oiled")
    assert (line.amount, line.description) == (Decimal(149), "Ash, oiled")
    with pytest.raises(InvalidRequest, match=rf"is missing; there are: {oak.id} \(Oak\), {ash.id} \(Ash\)"):
        await shop.products.line(product.id)
    with pytest.raises(InvalidRequest, match="'p9' is not a price of Cabinet; there are"):
        await shop.products.line(product.id, "p9")
    with pytest.raises(InvalidRequest, match="product_id: 'p9' is not a product of this location"):
        await shop.products.line("p9", oak.id)
    assert box.ledger.estimates() == []


def test_a_price_of_another_product_is_refused() -> None:
    product = Product(id="p1", name="Cabinet")
    with pytest.raises(InvalidRequest, match="belongs to the product p2, not to p1"):
        LineItem.of(product, Price(id="q", product="p2", amount=Decimal(1), currency="USD"))
    with pytest.raises(InvalidRequest, match="no amount or no currency"):
        LineItem.of(product, Price(id="q"))


async def test_taxes_come_by_name_from_what_documents_use(shop: Location) -> None:
    vat = ItemTax(id="t1", name="VAT", rate=Decimal(19), calculation="exclusive")
    await shop.estimates.create(samples.estimate(items=[samples.line(taxes=[vat])]))
    low = ItemTax(id="t2", name="Reduced", rate=Decimal(7), calculation="exclusive")
    await shop.invoices.create(samples.invoice(items=[samples.line(taxes=[low])]))
    taxes = await shop.taxes()
    assert taxes.names == ["VAT", "Reduced"]
    assert (taxes.named("vat").id, taxes.named("reduced").id) == ("t1", "t2")
    with pytest.raises(InvalidRequest, match="unknown tax 'GST'; documents use VAT, Reduced"):
        taxes.named("GST")
    with pytest.raises(InvalidRequest, match="depth"):
        await shop.taxes(depth=0)


def test_a_name_with_two_rates_wants_one_of_them() -> None:
    taxes = TaxNames([ItemTax(name="VAT", rate=Decimal(rate)) for rate in ("19.0", "16", "19")])
    with pytest.raises(InvalidRequest, match="'VAT' is used with 19 %, 16 %; pass one"):
        taxes.named("VAT")
    assert taxes.named("VAT", rate="19.00").rate == 19
    with pytest.raises(InvalidRequest, match="pass one"):
        taxes.named("VAT", rate="five")


async def test_an_estimate_is_found_by_its_number(shop: Location) -> None:
    made = [await shop.estimates.create(samples.estimate()) for _ in range(3)]
    found = await shop.estimates.find(number=str(made[1].estimate_number))
    assert found is not None
    assert found.id == made[1].id
    assert await shop.estimates.find(number=9_999_999) is None
    with pytest.raises(InvalidRequest, match="either estimate_id or number"):
        await shop.estimates.find()


async def test_a_template_becomes_an_estimate(shop: Location) -> None:
    template = await shop.estimate_templates.create(samples.estimate_template(terms_notes="Net 30"))
    draft = template.to_estimate(samples.contact(), expiry_date=samples.FUTURE, name="Kitchen of Ada")
    made = await shop.estimates.create(draft)
    assert (made.name, made.terms_notes, made.total) == ("Kitchen of Ada", "Net 30", template.total)
    with pytest.raises(InvalidRequest, match="titel"):
        template.to_estimate(samples.contact(), titel="x")
