"""Internal. The contacts of one location as bulk work sees them."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from hl_async import operations as op
from hl_async.bulk.documents import found_or_none, is_said_by_api
from hl_async.config import CallOptions, Lane
from hl_async.errors import BadRequest, DecodeError, NotFound, ScopeMissing
from hl_async.models import ContactDraft, ContactFilter, ContactRecord, ContactUpdate
from hl_async.resources.holder import requester_of

if TYPE_CHECKING:
    from hl_async.client import Location

_LONGEST_QUERY: Final = 75


class ContactBook(Protocol):
    """The contacts of one location."""

    async def find(self, kind: str, value: str) -> ContactRecord | None:
        """Return the contact with exactly this ``email`` or ``phone``, named by ``kind``."""
        ...

    async def search(self, kind: str, value: str, field: str = "") -> list[ContactRecord]:
        """Return contacts in the index by ``external``, ``email``, ``phone`` or ``name``."""
        ...

    async def count(self) -> int | None:
        """Return how many contacts the location has; None if the API does not say."""
        ...

    def all(self) -> AsyncIterator[ContactRecord]:
        """Yield every contact that the index shows."""
        ...

    async def get(self, contact_id: str) -> ContactRecord | None:
        """Return a contact; None if the API says that it does not exist."""
        ...

    async def create(self, draft: ContactDraft, intend: Callable[[], Awaitable[None]]) -> ContactRecord:
        """Create a contact; ``intend`` is awaited before every request."""
        ...

    async def update(self, contact_id: str, changes: ContactUpdate) -> None:
        """Change a contact."""
        ...

    async def delete(self, contact_id: str) -> bool:
        """Delete a contact; False if the API says that it does not exist."""
        ...

    async def allows_duplicates(self) -> bool | None:
        """Return whether a person may have two contacts; None if the token may not know."""
        ...


class LocationContacts:
    """The contacts of a :class:`~hl_async.client.Location`, called in the bulk lane."""

    def __init__(self, location: Location, *, attempt_timeout: float | None = None) -> None:
        # Without a time limit: a long wait for the bulk budget is not a failure.
        self._options = CallOptions(lane=Lane.BULK, timeout=math.inf, attempt_timeout=attempt_timeout)
        self._at = requester_of(location)
        self._calm = location.with_options(lane=Lane.BULK, timeout=math.inf, attempt_timeout=attempt_timeout)
        self._allows: bool | None = None
        self._asked = False

    async def find(self, kind: str, value: str) -> ContactRecord | None:
        if kind == "email":
            return await self._calm.contacts.find(email=value)
        return await self._calm.contacts.find(phone=value)

    async def search(self, kind: str, value: str, field: str = "") -> list[ContactRecord]:
        filters: list[ContactFilter] | None = None
        query: str | None = None
        if kind == "external":
            filters = [ContactFilter(field=f"customFields.{field}", operator="eq", value=value)]
        elif kind == "email" and len(value) <= _LONGEST_QUERY:
            filters = [ContactFilter(field="email", operator="eq", value=value)]
        else:
            query = value[
                :_LONGEST_QUERY
            ]  # a filter by phone number is not reliable: docs/api-facts.md#api-contacts
        page = await self._calm.contacts.search(query, filters=filters, limit=100)
        return list(page.items)

    async def count(self) -> int | None:
        page = await self._calm.contacts.search(limit=1)
        # a total that contradicts the page is not one
        return None if page.items and not page.total else page.total

    async def all(self) -> AsyncIterator[ContactRecord]:
        async for contact in self._calm.contacts.search(limit=500):
            yield contact

    async def get(self, contact_id: str) -> ContactRecord | None:
        # A proxy's 404 proves nothing about a contact.
        return await found_or_none(self._calm.contacts.get(contact_id))

    async def create(self, draft: ContactDraft, intend: Callable[[], Awaitable[None]]) -> ContactRecord:
        # By the row of the table, because the resource has no hook before the request.
        answer = await self._at.call(op.CREATE_CONTACT, body=draft, options=self._options, before_send=intend)
        if answer.contact is None:
            raise DecodeError("the answer holds no contact", operation=op.CREATE_CONTACT.at)
        return answer.contact

    async def update(self, contact_id: str, changes: ContactUpdate) -> None:
        await self._calm.contacts.update(contact_id, changes)

    async def delete(self, contact_id: str) -> bool:
        try:
            await self._calm.contacts.delete(contact_id)
        except NotFound as error:
            # As above: only the API's own 404 means that the contact is gone.
            if not is_said_by_api(error):
                raise
            return False
        return True

    async def allows_duplicates(self) -> bool | None:
        if not self._asked:
            try:
                settings = (await self._calm.details()).settings
                self._allows = None if settings is None else settings.allow_duplicate_contact
            except ScopeMissing:
                self._allows = None
            # Asked once per location, also if the token may not know.
            self._asked = True
        return self._allows


def duplicate_of(error: BadRequest) -> str | None:
    """Return the id of the contact that a refused duplicate names in `meta`."""
    try:
        meta: Any = msgspec.json.decode(error.body).get("meta")
    except (msgspec.DecodeError, AttributeError):
        return None
    known = meta.get("contactId") if isinstance(meta, dict) else None
    return known if isinstance(known, str) and known else None
