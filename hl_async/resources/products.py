"""Products of one location, and their prices."""

from __future__ import annotations

from typing import Unpack

from hl_async import operations as op
from hl_async.errors import InvalidRequest
from hl_async.models import LineItem, Price, PriceDraft, Product, ProductDraft
from hl_async.models.inputs import Number
from hl_async.models.lines import LineChanges
from hl_async.pagination import Pager
from hl_async.resources.requesting import Requester


class Products:
    """Products and prices of one location, as ``location.products``."""

    __slots__ = ("_at",)

    def __init__(self, at: Requester) -> None:
        self._at = at

    def list(
        self,
        *,
        search: str | None = None,
        collection_ids: str | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> Pager[Product]:
        """List products. Await the first page, or iterate over all of them.

        Args:
            search: Text of the name.
            collection_ids: Ids of collections, separated by commas.
            limit: Products per request, at most 100.
            offset: Products to skip.

        Returns:
            A pager. Await it for the first page, or iterate over it for all products.
        """
        filters = {"search": search, "collectionIds": collection_ids}
        return self._at.paginate(op.LIST_PRODUCTS, filters, limit=limit, offset=offset)

    async def create(self, product: ProductDraft) -> Product:
        """Create a product, without prices. A second call creates another one.

        Raises:
            ValidationFailed: The API rejected a field.
            OutcomeUnknown: The answer is missing, so the product may exist.
        """
        return await self._at.call(op.CREATE_PRODUCT, body=product)

    def prices(self, product_id: str, *, limit: int | None = None, offset: int = 0) -> Pager[Price]:
        """List the prices of a product.

        Args:
            product_id: The product.
            limit: Prices per request, at most 100.
            offset: Prices to skip.

        Returns:
            A pager. Await it for the first page, or iterate over it for all prices.
        """
        op.path_segment("product_id", product_id)
        return self._at.paginate(op.LIST_PRICES, {}, limit=limit, offset=offset, ids=(product_id,))

    async def line(
        self, product_id: str, price_id: str | None = None, qty: Number = 1, **changes: Unpack[LineChanges]
    ) -> LineItem:
        """Return the line of a product by its ids, for a draft. Only reads.

        Args:
            product_id: The product.
            price_id: One of its prices; may be left out if it has only one.
            qty: How many.
            changes: Fields of the line to set otherwise, such as `description` or `taxes`.

        Raises:
            InvalidRequest: The product or the price is unknown in this location.
        """
        op.path_segment("product_id", product_id)
        # The table has no row for one product. If the API ignores the filter, the loop still finds it.
        filters = {"productIds": product_id}
        product: Product | None = None
        async for one in self._at.paginate(op.LIST_PRODUCTS, filters, limit=None, offset=0):
            if one.id == product_id:
                product = one
                break
        if product is None:
            raise InvalidRequest("product_id", f"{product_id!r} is not a product of this location")
        prices = await self.prices(product_id).collect()
        fitting = [one for one in prices if price_id is None or one.id == price_id]
        # A price is never guessed: several ones differ in what the customer pays.
        if len(fitting) != 1:
            listed = ", ".join(f"{one.id} ({one.name})" for one in prices) or "none"
            what = "is missing" if price_id is None else f"{price_id!r} is not a price of {product.name}"
            raise InvalidRequest("price_id", f"{what}; there are: {listed}")
        return LineItem.of(product, fitting[0], qty, **changes)

    async def create_price(self, product_id: str, price: PriceDraft) -> Price:
        """Create a price of a product. A second call creates another one.

        Args:
            product_id: The product.
            price: The new price, in major units of its currency.

        Raises:
            NotFound: No such product.
            ValidationFailed: The API rejected a field.
            OutcomeUnknown: The answer is missing, so the price may exist.
        """
        return await self._at.call(op.CREATE_PRICE, product_id, body=price)
