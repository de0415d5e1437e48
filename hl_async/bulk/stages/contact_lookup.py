"""Internal. Look-up of customers among a location's contacts. Only reads.

Few customers are looked up one by one. For many of them all contacts of the location are read once. The way with
fewer requests is taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from hl_async.bulk.stages.contact_book import ContactBook
from hl_async.bulk.stages.customers import ContactPolicy, CustomerFacts, keys_of
from hl_async.bulk.stages.matching import ContactMatch, decide, listing_requests, lookup_requests, values_of
from hl_async.models import ContactRecord

_WORTH_COUNTING: Final = 2
"""Customers below this number are looked up one by one, without asking how many contacts there are."""


class LookupPlan(NamedTuple):
    """The way of a look-up, its requests, and the number of the location's contacts."""

    lists_all: bool
    requests: int
    contacts: int | None = None


class ContactLookup:
    """The look-up of the customers of one location."""

    def __init__(self, book: ContactBook, policy: ContactPolicy) -> None:
        self._book = book
        self._policy = policy
        self._index: dict[tuple[str, str], list[ContactRecord]] | None = None
        self._ids: set[str] = set()
        self._is_empty = False

    async def prepare(self, customers: Sequence[CustomerFacts]) -> LookupPlan:
        """Choose the cheaper way for customers, and read all contacts if that is it."""
        one_by_one = lookup_requests(customers, self._policy)
        given = {one.contact_id for one in customers if one.contact_id}
        # Counting is a request as well.
        if one_by_one <= _WORTH_COUNTING and not given:
            return LookupPlan(False, one_by_one)
        contacts = await self._book.count()
        if contacts is None:
            return LookupPlan(False, one_by_one + 1)
        self._is_empty = contacts == 0
        # A page of the listing holds hundreds of contacts, so many customers are cheaper to find there.
        if not self._is_empty and listing_requests(contacts) >= one_by_one:
            return LookupPlan(False, one_by_one + 1, contacts)
        self._index = {}
        if not self._is_empty:
            await self._read_all(customers, given)
        return LookupPlan(True, listing_requests(contacts) + 1, contacts)

    async def knows(self, contact_id: str) -> bool | None:
        """Return whether the location has a contact; None if it shows no contact at all.

        A location without any contact has nothing to compare with: the documents themselves find out.
        """
        # A location without any contact is more likely a token that sees none than an empty one.
        if self._is_empty:
            return None
        return contact_id in self._ids or await self._book.get(contact_id) is not None

    def forget(self) -> None:
        """Drop the contacts that were read, because new ones may exist since."""
        self._index = None
        self._is_empty = False

    async def match(self, facts: CustomerFacts) -> ContactMatch:
        """Return which contact a customer is."""
        keys = keys_of(facts, self._policy)
        if self._index is not None:
            return decide(facts, {kind: self._index.get((kind, value), []) for kind, value in keys.items()})
        return decide(facts, {kind: await self._entries(kind, value) for kind, value in keys.items()})

    async def look_again(self, facts: CustomerFacts) -> ContactMatch:
        """Look a customer up by exact keys right before a creation; a list may lag."""
        # Only look-ups that do not lag: an index may not show a contact that is seconds old.
        exact = {
            kind: value for kind, value in keys_of(facts, self._policy).items() if kind in ("email", "phone")
        }
        return decide(facts, {kind: await self._entries(kind, value) for kind, value in exact.items()})

    @property
    def has_read_all(self) -> bool:
        """Whether customers are compared with a list that may lag behind."""
        return self._index is not None

    async def marked(self, facts: CustomerFacts, mark: str) -> list[ContactRecord]:
        """Return the contacts of a customer that carry a mark of the run."""
        found: dict[str, ContactRecord] = {}
        wanted = {"email": facts.email, "phone": facts.phone, "name": facts.known_as}
        for kind, value in wanted.items():
            # The name is the weakest key, and needed only for a customer without others.
            if not value or (kind == "name" and found):
                continue
            shown = await self._book.search(kind, value)
            if kind in ("email", "phone") and (exact := await self._book.find(kind, value)) is not None:
                shown.append(exact)
            found |= {one.id: one for one in shown if one.source == mark}
        return list(found.values())

    async def _entries(self, kind: str, value: str) -> list[ContactRecord]:
        field = self._policy.external_field
        if kind in ("email", "phone"):
            found = await self._book.find(kind, value)
            if found is None:
                return []
            # Such a location cannot hold a second one.
            if await self._book.allows_duplicates() is False:
                return [found]
            # the look-up gives one contact, and there may be more of them
            others = await self._book.search(kind, value)
            shown = {one.id: one for one in (found, *others) if value in values_of(one, kind, field)}
            return list(shown.values()) or [found]
        return [
            one for one in await self._book.search(kind, value, field) if value in values_of(one, kind, field)
        ]

    async def _read_all(self, customers: Iterable[CustomerFacts], given: set[str]) -> None:
        """Read every contact, and keep those that a customer may be."""
        wanted = {key for facts in customers for key in keys_of(facts, self._policy).items()}
        kinds = {kind for kind, _ in wanted}
        index: dict[tuple[str, str], list[ContactRecord]] = {}
        async for contact in self._book.all():
            if contact.id in given:
                self._ids.add(contact.id)
            for kind in kinds:
                for value in values_of(contact, kind, self._policy.external_field):
                    if (kind, value) in wanted:
                        index.setdefault((kind, value), []).append(contact)
        self._index = index
