"""Internal. The steps from a matched request to its answer.

They are the location, the rate limit, the rights of the token, the handler and the status.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from hl_async.operations import Alt, Operation, Replay
from hl_async.sandbox.ledger import Ledger
from hl_async.sandbox.neighbours import commerce, contacts, opportunities, people
from hl_async.sandbox.neighbours.calls import NeighbourCall, NeighbourHandler
from hl_async.sandbox.neighbours.state import Entry, Neighbours
from hl_async.sandbox.refusals import Refusal, unauthorised, unprocessable
from hl_async.sandbox.tokens import IssuedToken

HANDLERS: Final[dict[str, NeighbourHandler]] = {
    "get-duplicate-contact": contacts.find,
    "search-contacts-advanced": contacts.search,
    "get-contact": contacts.get,
    "create-contact": contacts.create,
    "update-contact": contacts.update,
    "upsert-contact": contacts.upsert,
    "add-tags": contacts.add_tags,
    "delete-contact": contacts.delete,
    "get-location": people.details,
    "search-users": people.search_users,
    "list-products": commerce.list_products,
    "create-product": commerce.create_product,
    "list-prices-for-product": commerce.list_prices,
    "create-price-for-product": commerce.create_price,
    "list-transactions": commerce.list_transactions,
    "list-orders": commerce.list_orders,
    "get-pipelines": opportunities.pipelines,
    "search-opportunity": opportunities.search,
    "create-opportunity": opportunities.create,
    "update-opportunity": opportunities.update,
}

_CREATED: Final = frozenset(
    ("create-contact", "add-tags", "create-product", "create-price-for-product", "create-opportunity")
)
_TRACED: Final = frozenset(("search-contacts-advanced", "upsert-contact", "create-contact"))

CountRate = Callable[[IssuedToken, str], None]


def perform(
    neighbours: Neighbours,
    ledger: Ledger,
    operation: Operation[Any],
    ids: tuple[str, ...],
    query: dict[str, str],
    body: Entry,
    grant: IssuedToken,
    count_rate: CountRate,
) -> tuple[int, Any]:
    """Check the token, run the handler, and return status and answer.

    Args:
        neighbours: The state of all locations.
        ledger: Their documents.
        operation: The row of the request.
        ids: The ids in its path.
        query: Its query.
        body: Its body.
        grant: The rights of its token.
        count_rate: Counts the request against the budget of a token and a location; raises if it is used up.

    Raises:
        Refusal: The request is refused, with any status.
    """
    if operation.resource == "agency":
        return 200, _agency(neighbours, ledger, operation, query, grant, count_rate)
    location = _location(neighbours, ledger, operation, ids, query, body, grant)
    # Counted before the checks, because refused requests use up the budget too.
    count_rate(grant, location)
    if grant.kind == "Company" and operation.resource != "location":
        raise unauthorised(
            "This authClass type is not allowed to access this scope. Please verify your IAM configuration if "
            "this is not the case."
        )
    place = ledger.places.get(location)
    if place is None or (grant.locations is not None and location not in grant.locations):
        raise Refusal(403, "The token does not have access to this location.")
    if operation.scope not in grant.scopes:
        raise unauthorised("The token is not authorized for this scope.")
    call = NeighbourCall(neighbours, place, neighbours.of(location, place.timezone), ids, query, body)
    answer = HANDLERS[operation.name](call)
    if operation.replay is Replay.UNSAFE:
        # Counted by person, so that a test can assert that nothing was created twice.
        key = body.get("email") or body.get("phone") or body.get("name", "")
        ledger.commits[f"{operation.name}:{key}"] += 1
    if operation.name in _TRACED:
        answer = answer | {"traceId": f"trace-{neighbours.serial:012x}"}
    return 201 if operation.name in _CREATED else 200, answer


def _location(
    neighbours: Neighbours,
    ledger: Ledger,
    operation: Operation[Any],
    ids: tuple[str, ...],
    query: dict[str, str],
    body: Entry,
    grant: IssuedToken,
) -> str:
    if operation.resource == "location":
        return ids[0]
    if operation.alt is Alt.NONE:
        # the id in the path leads to the location; an unknown id counts against one of the token's own
        return neighbours.holder(ids[0]) or min(grant.locations or ledger.places)
    source: Entry = body if operation.alt is Alt.LOCATION_BODY else query
    name = {Alt.QUERY: "altId", Alt.SNAKE_QUERY: "location_id"}.get(operation.alt, "locationId")
    location = source.get(name)
    if not isinstance(location, str) or not location:
        raise unprocessable([f"{name} must be a string", f"{name} should not be empty"])
    if operation.alt is Alt.QUERY and query.get("altType") != "location":
        raise unprocessable(["altType must be one of the following values: location"])
    return location


def _agency(
    neighbours: Neighbours,
    ledger: Ledger,
    operation: Operation[Any],
    query: dict[str, str],
    grant: IssuedToken,
    count_rate: CountRate,
) -> Entry:
    company = query.get("companyId", "")
    count_rate(grant, company)
    if grant.kind != "Company" or operation.scope not in grant.scopes:
        raise unauthorised("The token is not authorized for this scope.")
    if company != grant.company:
        raise Refusal(403, "The token does not have access to this company.")
    return people.locations(neighbours, list(ledger.places), query)
