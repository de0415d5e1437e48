"""Internal. Contacts: bodies of requests and answers."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType, field

from hl_async.errors import InvalidRequest
from hl_async.models.choices import SortDirection
from hl_async.models.common import (
    AdditionalEmail,
    ContactDetails,
)
from hl_async.models.plain import Plain
from hl_async.models.structs import Answer
from hl_async.models.validation import NonEmptyStr, Request


class CustomFieldInput(msgspec.Struct, Plain, kw_only=True, omit_defaults=True, repr_omit_defaults=True):
    """A custom field of a request: its ``id`` (or ``key``) and the value to write."""

    id: str | None = None
    key: str | None = None
    field_value: Any = None


class CustomFieldValue(Answer):
    """A custom field of an answer."""

    id: str | None = None
    value: Any = None


class ContactBody(Request, frozen=True):
    """The fields that new contacts and changes have in common."""

    first_name: str | UnsetType = UNSET
    last_name: str | UnsetType = UNSET
    name: str | UnsetType = UNSET
    email: str | UnsetType = UNSET
    phone: str | UnsetType = UNSET
    address1: str | UnsetType = UNSET
    city: str | UnsetType = UNSET
    state: str | UnsetType = UNSET
    postal_code: str | UnsetType = UNSET
    country: str | UnsetType = UNSET
    website: str | UnsetType = UNSET
    timezone: str | UnsetType = UNSET
    dnd: bool | UnsetType = UNSET
    dnd_settings: dict[str, Any] | UnsetType = UNSET
    inbound_dnd_settings: dict[str, Any] | UnsetType = UNSET
    tags: list[str] | UnsetType = UNSET
    custom_fields: list[CustomFieldInput] | UnsetType = UNSET
    source: str | UnsetType = UNSET
    date_of_birth: str | UnsetType = UNSET
    assigned_to: str | UnsetType = UNSET
    extra: dict[str, Any] | UnsetType = UNSET


class ContactDraft(ContactBody, frozen=True):
    """A new contact. The client adds the location.

    ``phone`` is in E.164 form. The API refuses keys in ``extra`` that it does not declare
    (docs/api-facts.md#api-contacts).
    """

    gender: str | UnsetType = UNSET
    company_name: str | UnsetType = UNSET


# Without company name and gender, which PUT refuses: docs/api-facts.md#api-contacts
class ContactUpdate(ContactBody, frozen=True):
    """Changes of a contact. Fields left out keep their values.

    ``tags`` replaces the whole list, ``email`` the first address.
    """


class ContactUpsert(ContactDraft, frozen=True):
    """Body of ``contacts.upsert``; the API matches by ``email`` or ``phone``.

    ``tags`` replaces the list of an existing contact (docs/api-facts.md#api-contacts). The specification's
    ``createNewIfDuplicateAllowed`` is missing on purpose: with it, a retry would create another contact.

    Raises:
        InvalidRequest: Both ``email`` and ``phone`` are missing, or ``extra`` has ``createNewIfDuplicateAllowed``.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.email and not self.phone:
            raise InvalidRequest("email", "is missing; an upsert matches by email or phone")
        if self.extra is not UNSET and "createNewIfDuplicateAllowed" in self.extra:
            raise InvalidRequest(
                "extra.createNewIfDuplicateAllowed",
                "would make every retry create another contact; use contacts.create",
            )


class TagsChange(Request, frozen=True):
    """Body of ``add_tags``."""

    tags: list[NonEmptyStr]


class ContactFilter(Request, frozen=True):
    """A condition of a search.

    ``operator`` is eq, not_eq, contains, exists, range or another one that the API knows.
    """

    field: NonEmptyStr
    operator: NonEmptyStr
    value: Any = UNSET


class ContactSort(Request, frozen=True):
    """A sort order of a search; ``direction`` is asc or desc."""

    field: NonEmptyStr
    direction: SortDirection = "asc"


class ContactSearch(Request, frozen=True):
    """Body of a contact search.

    ``page_limit`` is at most 500. ``search_after`` continues after a contact, also beyond 10,000 of them.
    """

    page_limit: int
    page: int | UnsetType = UNSET
    # Page numbers reach the first 10,000 contacts only: docs/api-facts.md#api-contacts
    search_after: list[Any] | UnsetType = UNSET
    query: str | UnsetType = UNSET
    filters: list[ContactFilter] | UnsetType = UNSET
    sort: list[ContactSort] | UnsetType = UNSET
    extra: dict[str, Any] | UnsetType = UNSET


class ContactRecord(Answer):
    """A contact as the API answers it."""

    id: str
    location_id: str | None = None
    name: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    email: str | None = None
    additional_emails: list[AdditionalEmail] | None = None
    phone: str | None = None
    timezone: str | None = None
    company_name: str | None = None
    dnd: bool | None = None
    dnd_settings: dict[str, Any] | None = None
    inbound_dnd_settings: dict[str, Any] | None = None
    type: str | None = None
    source: str | None = None
    assigned_to: str | None = None
    address1: str | None = None
    city: str | None = None
    state: str | None = None
    country: str | None = None
    postal_code: str | None = None
    website: str | None = None
    tags: list[str] | None = None
    date_of_birth: str | None = None
    date_added: datetime | None = None
    date_updated: datetime | None = None
    custom_fields: list[CustomFieldValue] | None = None
    business_id: str | None = None
    attribution_source: dict[str, Any] | None = None
    last_attribution_source: dict[str, Any] | None = None
    last_activity: Any = None
    bounce_email: bool | None = None
    unsubscribe_email: bool | None = None
    deleted: bool | None = None
    birth_month: Decimal | None = None
    birth_day: Decimal | None = None
    offers: list[str] | None = None
    products: list[str] | None = None
    search_after: list[Any] | None = None

    @property
    def full_name(self) -> str:
        """The name, or first and last name if the API left the name out."""
        return self.name or " ".join(part for part in (self.first_name, self.last_name) if part)

    def for_document(self) -> ContactDetails:
        """Return this contact as the customer of a new estimate or invoice.

        A contact without a name is named by its company, e-mail or phone number.
        """
        return ContactDetails(
            id=self.id,
            name=self.full_name or self.company_name or self.email or self.phone or "-",
            # Empty instead of missing: invoice routes refused documents without them. docs/api-facts.md#api-contact
            phone_no=self.phone or "",
            email=self.email or "",
            company_name=UNSET if self.company_name is None else self.company_name,
        )


class EnsuredContact(msgspec.Struct, Plain, frozen=True, kw_only=True, repr_omit_defaults=True):
    """The result of :meth:`Contacts.ensure`.

    Attributes:
        contact: The contact.
        created: Whether this call created it.
        matched_by: external_id, email or phone; "duplicate" if the API refused a duplicate; empty for a new contact.
        filled: Fields that this call wrote.
        kept: Fields in which the contact differs from the call's values, with the contact's values. They were not
            changed.
    """

    contact: ContactRecord
    created: bool
    matched_by: tuple[str, ...] = ()
    filled: tuple[str, ...] = ()
    kept: dict[str, Any] = msgspec.field(default_factory=dict)


class ContactAnswer(Answer):
    """The envelope of one contact; without ``contact`` if a look-up found none."""

    contact: ContactRecord | None = None
    new: bool | None = None
    # The wire misspells the key.
    succeeded: bool | None = field(name="succeded", default=None)
    trace_id: str | None = None


class ContactDeleted(Answer):
    """The answer to deleting a contact."""

    # The wire misspells the key.
    succeeded: bool | None = field(name="succeded", default=None)


class ContactTags(Answer):
    """The tags of a contact after a change."""

    tags: list[str] | None = None


class ContactList(Answer):
    """A page of contacts."""

    contacts: list[ContactRecord] | None = None
    total: int | None = None
    trace_id: str | None = None

    @property
    def entries(self) -> list[ContactRecord]:
        """The page's contacts."""
        return self.contacts or []
