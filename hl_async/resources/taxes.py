"""Taxes by name, read from a location's documents: no route lists them."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from typing import Any

from hl_async import operations as op
from hl_async.errors import InvalidRequest
from hl_async.models import ItemTax
from hl_async.resources.requesting import Requester


class TaxNames:
    """The taxes that documents use, by name."""

    __slots__ = ("_by_name",)

    def __init__(self, taxes: Iterable[ItemTax]) -> None:
        """Collect taxes, the newest first; the first of equal name and rate is kept."""
        self._by_name: dict[str, dict[Any, ItemTax]] = {}
        for tax in taxes:
            if tax.name and tax.rate is not None:
                # Normalised, because 7 and 7.0 are one rate.
                self._by_name.setdefault(tax.name.strip().casefold(), {}).setdefault(
                    tax.rate.normalize(), tax
                )

    @property
    def names(self) -> list[str]:
        """The names, the newest first."""
        return [next(iter(rates.values())).name or "" for rates in self._by_name.values()]

    def named(self, name: str, *, rate: Any = None) -> ItemTax:
        """Return the tax of a name, for the `taxes` of a line.

        Args:
            name: The name, whatever its case.
            rate: The rate in percent, if documents use several under this name.

        Raises:
            InvalidRequest: The name is unknown, or has several rates and `rate` is not one of them.
        """
        rates = self._by_name.get(name.strip().casefold())
        if rates is None:
            known = ", ".join(self.names) or "none: the newest documents have no taxes"
            raise InvalidRequest("tax", f"unknown tax {name!r}; documents use {known}")
        fitting = [tax for value, tax in rates.items() if rate is None or str(value) == _plain(rate)]
        # Two rates of one name differ in money, so none is guessed.
        if len(fitting) != 1:
            listed = ", ".join(f"{value:f} %" for value in rates)
            raise InvalidRequest("tax", f"{name!r} is used with {listed}; pass one of them as rate")
        return fitting[0]

    def __repr__(self) -> str:
        return f"<TaxNames {', '.join(self.names)}>"


def _plain(rate: Any) -> str:
    try:
        return str(Decimal(str(rate)).normalize())
    except InvalidOperation:
        return ""


async def read_taxes(at: Requester, depth: int) -> TaxNames:
    """Internal. Read the taxes of the newest estimates and invoices."""
    if isinstance(depth, bool) or not isinstance(depth, int) or depth < 1:
        raise InvalidRequest("depth", f"{depth!r} is not a positive whole number")
    found: list[ItemTax] = []
    # No route lists the taxes of a location: docs/api-facts.md#api-automatic-taxes
    for operation in (op.LIST_ESTIMATES, op.LIST_INVOICES):
        pager = at.paginate(operation, {}, limit=min(depth, 100), offset=0)
        for document in await pager.collect(depth):
            lines = getattr(document, "items", None) or getattr(document, "invoice_items", None)
            found += [tax for line in lines or () for tax in line.taxes or ()]
    return TaxNames(found)
