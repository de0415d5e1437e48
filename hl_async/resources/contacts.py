"""Contacts of one location."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final, TypedDict, Unpack

from hl_async import operations as op
from hl_async.errors import InvalidRequest, NotFound
from hl_async.models import (
    ContactDeleted,
    ContactDraft,
    ContactFilter,
    ContactList,
    ContactRecord,
    ContactSearch,
    ContactSort,
    ContactUpdate,
    ContactUpsert,
    CustomFieldInput,
    EnsuredContact,
    TagsChange,
)
from hl_async.models.contacts import ContactAnswer
from hl_async.models.phones import e164
from hl_async.pagination import Pager
from hl_async.resources.contact_ensuring import Ensuring, check_email, person
from hl_async.resources.locations import LocationRequester

_PAGED: Final = 10_000
"""Contacts within reach of page numbers (docs/api-facts.md#api-contacts)."""


class ContactFields(TypedDict, total=False):
    """Further fields of :meth:`Contacts.ensure`."""

    first_name: str
    last_name: str
    name: str
    company_name: str
    address1: str
    city: str
    state: str
    postal_code: str
    country: str
    website: str
    timezone: str
    source: str
    assigned_to: str
    date_of_birth: str
    tags: Sequence[str]
    custom_fields: Sequence[CustomFieldInput]


class Contacts:
    """Contacts of one location, as ``location.contacts``."""

    __slots__ = ("_at",)

    def __init__(self, at: LocationRequester) -> None:
        self._at = at

    async def find(
        self, *, email: str | None = None, phone: str | None = None, region: str | None = None
    ) -> ContactRecord | None:
        """Find a contact by its exact e-mail address or phone number.

        Pass one of the two: the API compares the e-mail first, so with both it is unknown which one matched.

        Args:
            email: The e-mail address.
            phone: The phone number, in E.164 form unless `region` is given.
            region: ISO 3166 code of the country that a national number belongs to.

        Returns:
            The contact, or None.

        Raises:
            InvalidRequest: Neither or both are given, or the number is not valid.
            ScopeMissing: The token lacks contacts.readonly.

        Example::

            contact = await shop.contacts.find(email="alex@example.com")
        """
        if (email is None) == (phone is None):
            raise InvalidRequest("email", "give either email or phone")
        # The parameter is named number: docs/api-facts.md#api-contacts
        by_phone = {} if phone is None else {"number": e164("phone", phone, region)}
        query = by_phone if email is None else {"email": check_email(email)}
        return (await self._at.call(op.FIND_CONTACT, query=query)).contact

    def search(
        self,
        query: str | None = None,
        *,
        filters: list[ContactFilter] | None = None,
        sort: list[ContactSort] | None = None,
        limit: int | None = None,
    ) -> Pager[ContactRecord]:
        """Search contacts. Await the first page, or iterate over all, beyond 10,000 too.

        The search reads an index that lags behind writes by seconds. Look up one person with :meth:`find`.

        Args:
            query: Text that the contact contains.
            filters: Conditions, all of which must hold.
            sort: Orders, the first one first.
            limit: Contacts per request, at most 500.

        Returns:
            A pager. Await it for the first page, or iterate over it for all contacts.

        Raises:
            InvalidRequest: ``limit`` is above 500.

        Example::

            async for contact in shop.contacts.search("example.com"):
                print(contact.email)
        """
        if limit is not None and limit > 500:
            raise InvalidRequest("limit", f"{limit} is above 500, the API's limit")
        fields: dict[str, Any] = {"query": query, "filters": filters, "sort": sort}
        given = {name: value for name, value in fields.items() if value is not None}
        cursors: dict[int, list[Any]] = {}

        async def fetch(start: int, size: int) -> ContactList:
            # Page numbers end at 10,000 contacts. Beyond them, the last entry's cursor asks for the next page.
            place: dict[str, Any] = {"page": start // size + 1}
            if start in cursors:
                place = {"search_after": cursors[start]}
            elif start >= _PAGED:
                raise InvalidRequest("offset", "the API returned no cursor beyond 10,000 contacts")
            body = ContactSearch(page_limit=size, **place, **given)
            answer = await self._at.call(op.SEARCH_CONTACTS, body=body)
            if answer.entries and answer.entries[-1].search_after:
                cursors[start + len(answer.entries)] = answer.entries[-1].search_after
            return answer

        return Pager(fetch, limit=limit)

    async def ensure(
        self,
        *,
        email: str | None = None,
        phone: str | None = None,
        region: str | None = None,
        external_id: CustomFieldInput | None = None,
        replace: Collection[str] = (),
        **details: Unpack[ContactFields],
    ) -> EnsuredContact:
        """Find one person's contact or create it, and fill its empty fields.

        Safe to repeat. Tags are added. All other existing values stay, unless `replace` names their fields.

        Args:
            email: The e-mail address that identifies the contact.
            phone: The phone number, in E.164 form unless `region` is given.
            region: ISO 3166 code of the country that a national number belongs to.
            external_id: A custom field with your own id of the person. It is compared before e-mail and phone.
            replace: Names of fields to overwrite, such as ``("email", "tags")``.
            details: Further fields of the contact, such as `first_name`, `city` or `tags`.

        Returns:
            The contact, whether it was created, the key that matched, and the fields written and kept.

        Raises:
            InvalidRequest: No key is given, or a value is invalid.
            AmbiguousContact: The keys belong to different contacts.
            ContactIncomplete: The contact exists, but writing its other fields failed.
            OutcomeUnknown: The answer is missing, so the contact may exist. Call again.
            TokenStoreError: The client's store of ``Once`` failed.
            ScopeMissing: The token lacks contacts.readonly or contacts.write.

        Example::

            person = await shop.contacts.ensure(email="alex@example.com", first_name="Alex", tags=["website"])
        """
        who = person(email, phone, region, external_id, dict(details))
        return await Ensuring(self._at, who, replace).run()

    async def get(self, contact_id: str) -> ContactRecord:
        """Read one contact. Raises :class:`NotFound`."""
        return _known(await self._at.call(op.GET_CONTACT, contact_id), contact_id)

    async def create(self, contact: ContactDraft) -> ContactRecord:
        """Create a contact. A second call may create another; :meth:`ensure` looks first.

        Args:
            contact: The new contact, with an e-mail address, a phone number or a name.

        Raises:
            BadRequest: The location allows no duplicates and knows this person.
            ValidationFailed: The API rejected a field. It may have created the contact nevertheless.
            OutcomeUnknown: The answer is missing, so the contact may exist.
        """
        return _known(await self._at.call(op.CREATE_CONTACT, body=contact), "")

    async def update(self, contact_id: str, changes: ContactUpdate) -> ContactRecord:
        """Change a contact. Safe to retry. Fields left out keep their values.

        Args:
            contact_id: The contact to change.
            changes: The new values. ``tags`` and ``email`` replace the present ones; :meth:`add_tags` adds tags.

        Raises:
            NotFound: No such contact.
            ValidationFailed: The API rejected a field.
        """
        return _known(await self._at.call(op.UPDATE_CONTACT, contact_id, body=changes), contact_id)

    async def upsert(self, contact: ContactUpsert) -> ContactAnswer:
        """Create a contact, or overwrite the one that matches.

        Safe to retry, but it may lose data (docs/api-facts.md#api-contacts). The API overwrites the tags of an existing
        contact and may drop one of its e-mail addresses. :meth:`ensure` does neither.

        Args:
            contact: The values to write, with an e-mail or a phone number to match by.

        Returns:
            The contact, and in ``new`` whether it was created.
        """
        return await self._at.call(op.UPSERT_CONTACT, body=contact)

    async def add_tags(self, contact_id: str, *tags: str) -> list[str]:
        """Add tags to a contact. Safe to retry.

        Args:
            contact_id: The contact.
            tags: The tags to add; at least one.

        Returns:
            All tags of the contact.

        Raises:
            InvalidRequest: No tag is given.
            NotFound: The contact does not exist.
        """
        if not tags:
            raise InvalidRequest("tags", "is empty; name at least one tag")
        answer = await self._at.call(op.ADD_CONTACT_TAGS, contact_id, body=TagsChange(tags=list(tags)))
        return answer.tags or []

    async def delete(self, contact_id: str) -> bool:
        """Delete a contact. Safe to retry. Its documents stay. Raises :class:`NotFound`."""
        try:
            answer: ContactDeleted = await self._at.call(op.DELETE_CONTACT, contact_id)
        except NotFound as error:
            # The first attempt may have deleted it: only then is the 404 of a repetition a success.
            if not error.ambiguous:
                raise
            return True
        return answer.succeeded is not False


def _known(answer: ContactAnswer, contact_id: str) -> ContactRecord:
    if answer.contact is None:
        # An unknown contact may be a null in a 200: docs/api-facts.md#api-contacts
        raise NotFound(f"the answer has no contact {contact_id}".rstrip(), status=200)
    return answer.contact
