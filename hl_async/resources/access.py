"""Internal. Checks scopes of a token by one harmless read per scope."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, NamedTuple

from hl_async import operations as op
from hl_async.errors import BadRequest, InvalidRequest, NotFound
from hl_async.operations import Operation
from hl_async.resources.locations import LocationRequester
from hl_async.resources.users import Users

_PAGE: Final = {"limit": "1", "offset": "0"}
# The id of a product that does not exist: the API checks the token before it looks the product up.
_NO_PRODUCT: Final = "000000000000000000000000"


class ScopeRead(NamedTuple):
    """A read that needs a scope."""

    operation: Operation[Any]
    query: Mapping[str, Any] = {}
    body: Mapping[str, Any] | None = None
    ids: tuple[str, ...] = ()


_READS: Final = (
    ScopeRead(op.LIST_ESTIMATES, _PAGE),
    ScopeRead(op.LIST_INVOICES, _PAGE),
    ScopeRead(op.LIST_INVOICE_TEMPLATES, _PAGE),
    ScopeRead(op.LIST_INVOICE_SCHEDULES, _PAGE),
    ScopeRead(op.SEARCH_CONTACTS, {}, {"pageLimit": 1}),
    ScopeRead(op.LIST_PRODUCTS, _PAGE),
    ScopeRead(op.LIST_PRICES, _PAGE, None, (_NO_PRODUCT,)),
    ScopeRead(op.LIST_TRANSACTIONS, _PAGE),
    ScopeRead(op.LIST_ORDERS, _PAGE),
    ScopeRead(op.LIST_PIPELINES),
)
READS: Final[dict[str, ScopeRead]] = {str(read.operation.scope): read for read in _READS}
"""The reads by scope. Locations and users are read by their own resources."""
_CHECKED: Final = (*READS, "locations.readonly", "users.readonly")


async def check_scopes(at: LocationRequester, scopes: tuple[str, ...]) -> None:
    """Raise if a location's token lacks a scope; see `Location.check_scopes`."""
    for scope in scopes:
        if scope not in _CHECKED:
            hint = "only a write would show it" if scope.endswith(".write") else "unknown scope"
            raise InvalidRequest(
                "scopes", f"{scope!r} can't be checked: {hint}; known are {', '.join(_CHECKED)}"
            )
    for scope in scopes:
        if scope == "locations.readonly":
            await at.details()
        elif scope == "users.readonly":
            await Users(at).search(limit=1).collect(1)
        else:
            read = READS[scope]
            # The API checks the token first, so an error about the document proves that the token has the scope.
            with suppress(NotFound, BadRequest):
                await at.call(read.operation, *read.ids, query=read.query, body=read.body)
