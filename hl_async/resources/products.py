"""Products of one location, and their prices."""

from __future__ import annotations

from hl_async import operations as op
from hl_async.models import Price, PriceDraft, Product, ProductDraft
from hl_async.pagination import Pager
from hl_async.resources.requesting import Requester


class Products:
    """``location.products``."""

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
        """List products; await for the first page, iterate for all. Only reads.

        Args:
            search: Text of the name.
            collection_ids: Ids of collections, separated by commas.
            limit: Products per request, at most 100.
            offset: Products to skip.
        """
        filters = {"search": search, "collectionIds": collection_ids}
        return self._at.paginate(op.LIST_PRODUCTS, filters, limit=limit, offset=offset)

    async def create(self, product: ProductDraft) -> Product:
        """Create a product; it has no price yet. Not repeatable.

        Raises :class:`ValidationFailed`, and :class:`OutcomeUnknown` when no answer says whether it was created.
        """
        return await self._at.call(op.CREATE_PRODUCT, body=product)

    def prices(self, product_id: str, *, limit: int | None = None, offset: int = 0) -> Pager[Price]:
        """List the prices of a product. Only reads.

        Args:
            product_id: The product.
            limit: Prices per request, at most 100.
            offset: Prices to skip.
        """
        op.path_segment("product_id", product_id)
        return self._at.paginate(op.LIST_PRICES, {}, limit=limit, offset=offset, ids=(product_id,))

    async def create_price(self, product_id: str, price: PriceDraft) -> Price:
        """Create a price of a product. Not repeatable.

        Args:
            product_id: The product.
            price: The new price, in major units of its currency.

        Raises:
            NotFound: No such product.
            ValidationFailed: The API rejected a field.
            OutcomeUnknown: No answer says whether it was created.
        """
        return await self._at.call(op.CREATE_PRICE, product_id, body=price)
