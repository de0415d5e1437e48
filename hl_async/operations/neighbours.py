"""Internal. Rows of the operations beside invoices and estimates.

They concern contacts, locations, users, products, prices, payments and opportunities. Import the rows from
``hl_async.operations``. Facts: docs/api-facts.md#api-contacts and docs/api-facts.md#api-products.
"""

from __future__ import annotations

from typing import Any, Final

from hl_async import models as m
from hl_async.operations.endpoint import Alt, Operation, Replay

_CONTACTS_READ = "contacts.readonly"
_CONTACTS_WRITE = "contacts.write"
_PRODUCTS_READ = "products.readonly"
_PRODUCTS_WRITE = "products.write"
_OPPORTUNITIES_READ = "opportunities.readonly"
_OPPORTUNITIES_WRITE = "opportunities.write"

_PAGE = ("limit", "offset")

# A row stays on few lines here, so that rows can be compared; the formatter would give each argument its own line.
# fmt: off

# --------------------------------------------------------------------------------------------- contacts

FIND_CONTACT = Operation(
    # The parameter is "number", and the answer for an unknown person is null: docs/api-facts.md#api-contacts
    "get-duplicate-contact", "GET", "/contacts/search/duplicate", m.ContactAnswer, at="contacts.find",
    scope=_CONTACTS_READ, alt=Alt.LOCATION_QUERY, replay=Replay.SAFE, query=("number", "email"),
)
SEARCH_CONTACTS = Operation(
    # A POST, but it only reads, so repeating it is safe.
    "search-contacts-advanced", "POST", "/contacts/search", m.ContactList, at="contacts.search",
    scope=_CONTACTS_READ, alt=Alt.LOCATION_BODY, replay=Replay.SAFE, body=m.ContactSearch, items="contacts",
)
GET_CONTACT = Operation(
    "get-contact", "GET", "/contacts/{contactId}", m.ContactAnswer, at="contacts.get",
    scope=_CONTACTS_READ, alt=Alt.NONE, replay=Replay.SAFE,
    identity="contact.id",
)
CREATE_CONTACT = Operation(
    "create-contact", "POST", "/contacts/", m.ContactAnswer, at="contacts.create",
    scope=_CONTACTS_WRITE, alt=Alt.LOCATION_BODY, replay=Replay.UNSAFE, body=m.ContactDraft,
)
UPDATE_CONTACT = Operation(
    "update-contact", "PUT", "/contacts/{contactId}", m.ContactAnswer, at="contacts.update",
    scope=_CONTACTS_WRITE, alt=Alt.NONE, replay=Replay.IDEMPOTENT, body=m.ContactUpdate,
    identity="contact.id",
)
UPSERT_CONTACT = Operation(
    "upsert-contact", "POST", "/contacts/upsert", m.ContactAnswer, at="contacts.upsert",
    scope=_CONTACTS_WRITE, alt=Alt.LOCATION_BODY, replay=Replay.IDEMPOTENT, body=m.ContactUpsert,
)
ADD_CONTACT_TAGS = Operation(
    "add-tags", "POST", "/contacts/{contactId}/tags", m.ContactTags, at="contacts.add_tags",
    scope=_CONTACTS_WRITE, alt=Alt.NONE, replay=Replay.IDEMPOTENT, body=m.TagsChange,
)
DELETE_CONTACT = Operation(
    "delete-contact", "DELETE", "/contacts/{contactId}", m.ContactDeleted, at="contacts.delete",
    scope=_CONTACTS_WRITE, alt=Alt.NONE, replay=Replay.IDEMPOTENT,
)

# ---------------------------------------------------------------------------------- locations and users

GET_LOCATION = Operation(
    "get-location", "GET", "/locations/{locationId}", m.LocationAnswer, at="location.details",
    scope="locations.readonly", alt=Alt.NONE, replay=Replay.SAFE,
    identity="location.id",
)
SEARCH_LOCATIONS = Operation(
    "search-locations", "GET", "/locations/search", m.LocationList, at="agency.locations",
    scope="locations.readonly", alt=Alt.NONE, replay=Replay.SAFE, items="locations",
    query=("companyId", "skip", "limit", "order", "email"),
)
SEARCH_USERS = Operation(
    "search-users", "GET", "/users/search", m.UserList, at="users.search",
    scope="users.readonly", alt=Alt.LOCATION_QUERY, replay=Replay.SAFE, items="users", total="count",
    query=("companyId", "query", "skip", "limit", "type", "role", "ids", "sort", "sortDirection",
           "enabled2waySync"),
)

# ---------------------------------------------------------------------------------- products and prices

LIST_PRODUCTS = Operation(
    # The specification calls it list-invoices, like the list of invoices; names are unique here
    "list-products", "GET", "/products/", m.ProductList, at="products.list",
    scope=_PRODUCTS_READ, alt=Alt.LOCATION_QUERY, replay=Replay.SAFE, items="products",
    query=("search", "collectionIds", "collectionSlug", "expand", "productIds", "storeId", "includedInStore",
           "availableInStore", "sortOrder", *_PAGE),
)
CREATE_PRODUCT = Operation(
    "create-product", "POST", "/products/", m.Product, at="products.create",
    scope=_PRODUCTS_WRITE, alt=Alt.LOCATION_BODY, replay=Replay.UNSAFE, body=m.ProductDraft,
)
LIST_PRICES = Operation(
    "list-prices-for-product", "GET", "/products/{productId}/price", m.PriceList, at="products.prices",
    scope="products/prices.readonly", alt=Alt.LOCATION_QUERY, replay=Replay.SAFE, items="prices",
    query=("ids", *_PAGE),
)
CREATE_PRICE = Operation(
    "create-price-for-product", "POST", "/products/{productId}/price", m.Price, at="products.create_price",
    scope="products/prices.write", alt=Alt.LOCATION_BODY, replay=Replay.UNSAFE, body=m.PriceDraft,
)

# --------------------------------------------------------------------------------------------- payments

LIST_TRANSACTIONS = Operation(
    "list-transactions", "GET", "/payments/transactions", m.TransactionList, at="transactions.list",
    scope="payments/transactions.readonly", alt=Alt.QUERY, replay=Replay.SAFE, items="data", total="totalCount",
    query=("locationId", "paymentMode", "startAt", "endAt", "entitySourceType", "entitySourceSubType", "search",
           "subscriptionId", "entityId", "contactId", *_PAGE),
)
LIST_ORDERS = Operation(
    # altType is undeclared, but the API requires it.
    "list-orders", "GET", "/payments/orders", m.OrderList, at="transactions.orders",
    scope="payments/orders.readonly", alt=Alt.QUERY, replay=Replay.SAFE, items="data", total="totalCount",
    query=("locationId", "status", "paymentStatus", "paymentMode", "startAt", "endAt", "search", "contactId",
           "funnelProductIds", "sourceId", *_PAGE),
)

# ---------------------------------------------------------------------------------------- opportunities

LIST_PIPELINES = Operation(
    "get-pipelines", "GET", "/opportunities/pipelines", m.PipelineList, at="opportunities.pipelines",
    scope=_OPPORTUNITIES_READ, alt=Alt.LOCATION_QUERY, replay=Replay.SAFE,
)
SEARCH_OPPORTUNITIES = Operation(
    # The only route that spells the location in snake case
    "search-opportunity", "GET", "/opportunities/search", m.OpportunityList, at="opportunities.search",
    scope=_OPPORTUNITIES_READ, alt=Alt.SNAKE_QUERY, replay=Replay.SAFE, items="opportunities",
    query=("q", "pipeline_id", "pipeline_stage_id", "contact_id", "status", "assigned_to", "campaignId", "id",
           "order", "endDate", "startAfter", "startAfterId", "date", "country", "page", "limit", "getTasks",
           "getNotes", "getCalendarEvents"),
)
CREATE_OPPORTUNITY = Operation(
    "create-opportunity", "POST", "/opportunities/", m.OpportunityAnswer, at="opportunities.create",
    scope=_OPPORTUNITIES_WRITE, alt=Alt.LOCATION_BODY, replay=Replay.UNSAFE, body=m.OpportunityDraft,
)
UPDATE_OPPORTUNITY = Operation(
    "update-opportunity", "PUT", "/opportunities/{id}", m.OpportunityAnswer, at="opportunities.update",
    scope=_OPPORTUNITIES_WRITE, alt=Alt.NONE, replay=Replay.IDEMPOTENT, body=m.OpportunityUpdate,
    identity="opportunity.id",
)

# fmt: on

NEIGHBOURS: Final[tuple[Operation[Any], ...]] = tuple(
    row for row in tuple(globals().values()) if isinstance(row, Operation)
)
"""Every row of this module, in the order above."""
