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
"""So many contacts can be reached by page number: docs/api-facts.md#api-contacts."""


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
    """``location.contacts``."""

    __slots__ = ("_at",)

    def __init__(self, at: LocationRequester) -> None:
        self._at = at

    async def find(
        self, *, email: str | None = None, phone: str | None = None, region: str | None = None
    ) -> ContactRecord | None:
        """Find a contact by exact e-mail or phone number; None if there is none. Only reads.

        Give one of the two: the API looks for the e-mail first, so with both it is unknown which one matched.

        Args:
            email: The e-mail address.
            phone: The phone number, in E.164 form unless `region` is given.
            region: ISO 3166 code of the country that a national number belongs to.

        Raises:
            InvalidRequest: Neither or both are given, or the number is not valid.
            ScopeMissing: The token lacks contacts.readonly.
        """
        if (email is None) == (phone is None):
            raise InvalidRequest("email", "give either email or phone")
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
        """Search contacts; await for the first page, iterate for all, beyond 10,000 too. Only reads.

        The search reads an index that lags behind writes by seconds. Look up one person with :meth:`find`.

        Args:
            query: Text that the contact contains.
            filters: Conditions, all of which must hold.
            sort: Orders, the first one first.
            limit: Contacts per request, at most 500.
        """
        if limit is not None and limit > 500:
            raise InvalidRequest("limit", f"{limit} is above 500, the most that the API gives")
        fields: dict[str, Any] = {"query": query, "filters": filters, "sort": sort}
        given = {name: value for name, value in fields.items() if value is not None}
        cursors: dict[int, list[Any]] = {}

        async def fetch(start: int, size: int) -> ContactList:
            place: dict[str, Any] = {"page": start // size + 1}
            if start in cursors:
                place = {"search_after": cursors[start]}
            elif start >= _PAGED:
                raise InvalidRequest("offset", "the API gave no cursor to go beyond 10,000 contacts")
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
        """Find one person's contact or create it, and fill in what is empty. Safe to repeat.

        Tags are added. E-mail addresses, names and everything else that is there stay, unless `replace` names them.

        Args:
            email: The e-mail address to know the contact by.
            phone: The phone number, in E.164 form unless `region` is given.
            region: ISO 3166 code of the country that a national number belongs to.
            external_id: A custom field that holds your own id of the person. It goes before e-mail and phone.
            replace: Names of fields to overwrite, such as ``("email", "tags")``.
            details: Further fields of the contact, such as `first_name`, `city` or `tags`.

        Returns:
            The contact, whether it was created, what it was found by, what was written and what was kept.

        Raises:
            InvalidRequest: There is no key, or a value is not valid.
            AmbiguousContact: The keys belong to different contacts.
            ContactIncomplete: The contact is there, but writing the rest failed.
            OutcomeUnknown: No answer says whether it was created; call again.
            ScopeMissing: The token lacks contacts.readonly or contacts.write.
        """
        who = person(email, phone, region, external_id, dict(details))
        return await Ensuring(self._at, who, replace).run()

    async def get(self, contact_id: str) -> ContactRecord:
        """Read one contact. Raises :class:`NotFound`."""
        return _known(await self._at.call(op.GET_CONTACT, contact_id), contact_id)

    async def create(self, contact: ContactDraft) -> ContactRecord:
        """Create a contact. Not repeatable; :meth:`ensure` looks before it creates.

        Args:
            contact: The new contact; it needs an e-mail, a phone number or a name.

        Raises:
            BadRequest: The location allows no duplicates and knows this person.
            ValidationFailed: The API rejected a field. It may have created the contact all the same.
            OutcomeUnknown: No answer says whether the contact was created.
        """
        return _known(await self._at.call(op.CREATE_CONTACT, body=contact), "")

    async def update(self, contact_id: str, changes: ContactUpdate) -> ContactRecord:
        """Change a contact; safe to retry. Fields left out survive.

        Args:
            contact_id: The contact to change.
            changes: The new values. ``tags`` and ``email`` replace what is there; to add tags, use :meth:`add_tags`.

        Raises:
            NotFound: No such contact.
            ValidationFailed: The API rejected a field.
        """
        return _known(await self._at.call(op.UPDATE_CONTACT, contact_id, body=changes), contact_id)

    async def upsert(self, contact: ContactUpsert) -> ContactAnswer:
        """Create a contact or overwrite the one that matches; safe to retry, but not harmless.

        The API overwrites the tags of an existing contact and may drop a further e-mail address. :meth:`ensure`
        does neither.

        Args:
            contact: The values to write, with an e-mail or a phone number to match by.

        Returns:
            The contact, and in ``new`` whether it was created.
        """
        return await self._at.call(op.UPSERT_CONTACT, body=contact)

    async def add_tags(self, contact_id: str, *tags: str) -> list[str]:
        """Add tags to a contact and return all it has; safe to retry. Raises :class:`NotFound`."""
        if not tags:
            raise InvalidRequest("tags", "is empty; name at least one tag")
        answer = await self._at.call(op.ADD_CONTACT_TAGS, contact_id, body=TagsChange(tags=list(tags)))
        return answer.tags or []

    async def delete(self, contact_id: str) -> bool:
        """Delete a contact; safe to retry. Documents that name it stay. Raises :class:`NotFound`."""
        try:
            answer: ContactDeleted = await self._at.call(op.DELETE_CONTACT, contact_id)
        except NotFound as error:
            if not error.ambiguous:
                raise
            return True
        return answer.succeeded is not False


def _known(answer: ContactAnswer, contact_id: str) -> ContactRecord:
    if answer.contact is None:
        raise NotFound(f"the answer holds no contact {contact_id}".rstrip(), status=200)
    return answer.contact
