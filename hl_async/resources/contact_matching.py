"""Internal. Pure decisions: which contact a person is, and which fields to write."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple

from msgspec import UNSET

from hl_async.errors import AmbiguousContact, InvalidRequest
from hl_async.models import ContactDraft, ContactRecord, ContactUpdate, CustomFieldInput

_NAMES: Final = ("first_name", "last_name", "name")
_NOT_UPDATABLE: Final = frozenset(("company_name", "gender"))
"""Fields that a new contact takes and PUT refuses: docs/api-facts.md#api-contacts."""


class Match(NamedTuple):
    """A contact, and the keys that found it."""

    contact: ContactRecord
    found_by: tuple[str, ...]


class FillPlan(NamedTuple):
    """Fields to write to an existing contact, and fields to keep.

    `kept` maps each field that has another value than the caller's to the contact's value.
    """

    changes: dict[str, Any]
    tags: tuple[str, ...]
    kept: dict[str, Any]


def decide_match(found: Mapping[str, ContactRecord | None]) -> Match | None:
    """Return the one contact that all keys lead to, or None.

    Args:
        found: The contact of each key, by the key's name, the strongest first.

    Raises:
        AmbiguousContact: The keys lead to different contacts.
    """
    by_id: dict[str, list[str]] = {}
    contacts: dict[str, ContactRecord] = {}
    for key, contact in found.items():
        if contact is not None:
            by_id.setdefault(contact.id, []).append(key)
            contacts.setdefault(contact.id, contact)
    if not by_id:
        return None
    if len(by_id) > 1:
        listed = "; ".join(
            f"{contact} ({contacts[contact].full_name or 'without a name'}) has the {' and the '.join(keys)}"
            for contact, keys in by_id.items()
        )
        raise AmbiguousContact(
            next(iter(found)), f"belongs to different contacts: {listed}; merge them or pass one key", by_id
        )
    [(contact_id, keys)] = by_id.items()
    return Match(contacts[contact_id], tuple(keys))


def plan_fill(contact: ContactRecord, wanted: ContactDraft, replace: Collection[str]) -> FillPlan:
    """Decide which fields to write: empty ones, replaceable ones, and missing tags."""
    changes: dict[str, Any] = {}
    kept: dict[str, Any] = {}
    given = {
        name: value
        for name in ContactDraft.__struct_fields__
        if (value := getattr(wanted, name)) is not UNSET
    }
    # Compared without case, because the API may store tags in lower case.
    tags = [tag for tag in given.pop("tags", ()) if tag.lower() not in _lowered(contact.tags)]
    fields = given.pop("custom_fields", None)
    # The caller's own keys have no counterpart to compare with.
    given.pop("extra", None)
    # The first name of one person and the last name of another would make a third one.
    names_differ = _names_differ(contact, wanted)
    for name, value in given.items():
        current = getattr(contact, name, None)
        # An address in other letters is the same one, so it is neither written nor reported as different.
        if current == value or (isinstance(current, str) and current.casefold() == str(value).casefold()):
            continue
        # a further address of the contact: writing it would drop the first one (docs/api-facts.md#api-contacts)
        if name == "email" and value.casefold() in _addresses(contact):
            continue
        empty = current in (None, "") and not (name in _NAMES and names_differ)
        if name in _NOT_UPDATABLE or not (empty or name in replace):
            kept[name] = current
        else:
            changes[name] = value
    custom = _custom_fields(contact, fields or (), kept, replace)
    if custom:
        changes["custom_fields"] = custom
    # An update replaces the whole list, so it runs only if the caller asked for that: docs/api-facts.md#api-contacts
    if "tags" in replace and wanted.tags is not UNSET:
        if set(_lowered(wanted.tags)) != set(_lowered(contact.tags)):
            changes["tags"] = list(wanted.tags)
        tags = []
    return FillPlan(changes, tuple(tags), kept)


def update_of(plan: FillPlan) -> ContactUpdate:
    """Return the changes of a plan as the body of an update."""
    return ContactUpdate(**plan.changes)


def check_replace(replace: Collection[str]) -> frozenset[str]:
    """Return the fields that may be replaced.

    Raises :class:`InvalidRequest` for an unknown name.
    """
    if isinstance(replace, str):
        raise InvalidRequest("replace", "takes a collection of field names, not text")
    known = set(ContactUpdate.__struct_fields__) - {"extra"}
    unknown = sorted(set(replace) - known)
    if unknown:
        raise InvalidRequest(
            "replace", f"unknown field {unknown[0]!r}; an update takes {', '.join(sorted(known))}"
        )
    return frozenset(replace)


def _lowered(tags: Sequence[str] | None) -> list[str]:
    return [tag.lower() for tag in tags or ()]


def _addresses(contact: ContactRecord) -> list[str]:
    own = [contact.email, *(one.email for one in contact.additional_emails or ())]
    return [address.casefold() for address in own if address]


def _names_differ(contact: ContactRecord, wanted: ContactDraft) -> bool:
    """Return whether the contact has another name.

    Parts of two names must not be mixed.
    """
    if contact.name and not contact.first_name and not contact.last_name:
        return True
    for part in ("first_name", "last_name"):
        current, value = getattr(contact, part), getattr(wanted, part)
        if current and value is not UNSET and value and current.casefold() != value.casefold():
            return True
    return bool(wanted.name is not UNSET and (contact.first_name or contact.last_name))


def _custom_fields(
    contact: ContactRecord, wanted: Sequence[CustomFieldInput], kept: dict[str, Any], replace: Collection[str]
) -> list[CustomFieldInput]:
    current = {field.id: field.value for field in contact.custom_fields or ()}
    chosen = []
    for field in wanted:
        value = current.get(field.id)
        if value in (None, "", []) or ("custom_fields" in replace and value != field.field_value):
            chosen.append(field)
        elif value != field.field_value:
            kept[f"custom_fields[{field.id}]"] = value
    return chosen
