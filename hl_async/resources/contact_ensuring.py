"""Internal. Finds or creates one contact: the shell around ``contact_matching``."""

from __future__ import annotations

import re
import time
from collections.abc import Collection
from contextlib import suppress
from typing import Any, Final, NamedTuple

import msgspec

from hl_async import operations as op
from hl_async.errors import (
    BadRequest,
    CallError,
    ContactIncomplete,
    DecodeError,
    HighLevelError,
    InvalidRequest,
    NotFound,
    OutcomeUnknown,
    ScopeMissing,
    TokenStoreError,
    ValidationFailed,
)
from hl_async.models import (
    ContactDraft,
    ContactFilter,
    ContactRecord,
    ContactSearch,
    CustomFieldInput,
    EnsuredContact,
    TagsChange,
)
from hl_async.models.phones import e164
from hl_async.resources.contact_matching import Match, check_replace, decide_match, plan_fill, update_of
from hl_async.resources.locations import LocationRequester, patience_of
from hl_async.resources.once import Patience
from hl_async.resources.once_rules import OnceRecord, fingerprint

_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


class Person(NamedTuple):
    """A person to find: the keys, and the contact as it would be created."""

    draft: ContactDraft
    email: str | None
    phone: str | None
    external: CustomFieldInput | None

    @property
    def names(self) -> list[str]:
        """Names of the keys in the store: hashes, so that it holds no addresses."""
        external = None if self.external is None else f"{self.external.id}={self.external.field_value}"
        keys = {"external": external, "email": self.email, "phone": self.phone}
        return [f"{kind}/{fingerprint(key.encode())}" for kind, key in keys.items() if key]


def check_email(email: str) -> str:
    """Return an e-mail address without surrounding spaces.

    Raises :class:`InvalidRequest` for other text.
    """
    if not isinstance(email, str):
        raise InvalidRequest("email", f"takes text, got {type(email).__name__}")
    if not _EMAIL.fullmatch(email.strip()):
        raise InvalidRequest("email", f"{email!r} is not an e-mail address")
    return email.strip()


def person(
    email: str | None,
    phone: str | None,
    region: str | None,
    external_id: CustomFieldInput | None,
    details: dict[str, Any],
) -> Person:
    """Check the input of ``ensure``.

    Raises :class:`InvalidRequest` before any request.
    """
    if not email and not phone and external_id is None:
        raise InvalidRequest("email", "is missing; give email, phone or external_id to identify the contact")
    if email is not None:
        # The API compares addresses without case, and the key of the store must be the same.
        email = check_email(email).lower()
    if phone is not None:
        phone = e164("phone", phone, region)
    fields = dict(details)
    if external_id is not None:
        if not external_id.id or not isinstance(external_id.field_value, str) or not external_id.field_value:
            raise InvalidRequest("external_id", "needs the id of a custom field and a text as its value")
        if len(external_id.field_value) > 75:
            raise InvalidRequest("external_id", "has more than 75 characters, the most that a search takes")
        fields["custom_fields"] = [external_id, *fields.get("custom_fields", ())]
    unknown = [name for name in fields if name not in ContactDraft.__struct_fields__]
    if unknown:
        raise InvalidRequest(unknown[0], "is not a field of a contact")
    fields |= {name: value for name, value in (("email", email), ("phone", phone)) if value}
    return Person(ContactDraft(**fields), email, phone, external_id)


class Ensuring:
    """One call of ``ensure``."""

    __slots__ = ("_at", "_lock", "_person", "_prefix", "_replace")

    def __init__(self, at: LocationRequester, who: Person, replace: Collection[str]) -> None:
        self._at = at
        self._person = who
        self._replace = check_replace(replace)
        self._prefix = f"{at.key_space}/contact"
        # One creation at a time per location, because the keys of one person may differ from call to call.
        self._lock = f"{self._prefix}s"

    async def run(self) -> EnsuredContact:
        """Find the contact and fill it, or create it."""
        match = await self._look()
        if match is None:
            found = await self._create()
            if isinstance(found, EnsuredContact):
                return found
            match = found
        return await self._fill(match)

    # ------------------------------------------------------------------------------------------ finding

    async def _look(self) -> Match | None:
        who = self._person
        found: dict[str, ContactRecord | None] = {}
        if who.external is not None:
            found["external_id"] = await self._find_external(who.external)
        # one key per look-up: given both, the API lets the first one decide (docs/api-facts.md#api-contacts)
        if who.email:
            found["email"] = (await self._at.call(op.FIND_CONTACT, query={"email": who.email})).contact
        if who.phone:
            found["phone"] = (await self._at.call(op.FIND_CONTACT, query={"number": who.phone})).contact
        return decide_match(found)

    async def _find_external(self, field: CustomFieldInput) -> ContactRecord | None:
        condition = ContactFilter(field=f"customFields.{field.id}", operator="eq", value=field.field_value)
        body = ContactSearch(page_limit=2, page=1, filters=[condition])
        # Two are enough to notice an id that was given to two contacts.
        entries = (await self._at.call(op.SEARCH_CONTACTS, body=body)).entries
        if len(entries) > 1:
            decide_match({f"external_id of {one.id}": one for one in entries})  # raises: two candidates
        return entries[0] if entries else None

    async def _remembered(self) -> tuple[Match | None, float | None]:
        """Return the contact in the store, and the time of an unanswered creation."""
        sent: float | None = None
        for name in self._person.names:
            record = await self._at.keeper.load(f"{self._prefix}/{name}")
            if record is None:
                continue
            now, settle = time.time(), self._at.keeper.settings.settle
            if record.document is not None and now < (record.sent_at or 0.0) + settle:
                # The look-up may lag behind the creation (docs/api-facts.md#api-contacts), so until it has settled the
                # store knows better.
                try:
                    answer = await self._at.call(op.GET_CONTACT, record.document)
                except NotFound:
                    continue  # deleted since
                if answer.contact is not None:
                    return Match(answer.contact, (name.partition("/")[0],)), None
            if record.sent_at is not None and record.document is None:
                sent = max(sent or 0.0, record.sent_at)
        return None, sent

    # ----------------------------------------------------------------------------------------- creating

    async def _create(self) -> Match | EnsuredContact:
        """Create the contact; while an earlier request may still create it, look instead."""
        keeper = self._at.keeper
        patience = Patience(patience_of(self._at))
        doubt: CallError | None = None
        while True:
            async with keeper.locked(self._lock):
                # Looked up under the lock again: another task may have created the contact since.
                match = await self._look()
                if match is not None:
                    return match
                match, sent = await self._remembered()
                if match is not None:
                    return match
                # Either the earlier request can no longer take effect, or the API would refuse a second contact.
                settled = sent is None or time.time() >= sent + keeper.settings.settle
                if settled or await self._is_refused_twice():
                    made, doubt = await self._attempt()
                    if made is not None:
                        return made
            if not await patience.rest():
                raise OutcomeUnknown(
                    "no answer says whether the contact was created; call again with the same keys",
                    reason=doubt,
                    operation=op.CREATE_CONTACT.at,
                ) from doubt

    async def _attempt(self) -> tuple[Match | EnsuredContact | None, CallError | None]:
        at, draft = self._at, self._person.draft

        async def mark() -> None:
            # Before the first byte: after a crash, the next call knows that a request may be under way.
            await self._note(OnceRecord("", sent_at=time.time()))

        try:
            answer = await at.call(op.CREATE_CONTACT, body=draft, before_send=mark)
        # An answer that cannot be read may stand for a created contact.
        except (OutcomeUnknown, DecodeError) as error:
            return None, error
        except BadRequest as error:
            await self._note(OnceRecord(""))
            # The refusal names the contact: docs/api-facts.md#api-contacts
            known = _duplicate_of(error)
            if known is None:
                raise
            contact = (await at.call(op.GET_CONTACT, known)).contact
            return (None if contact is None else Match(contact, ("duplicate",))), error
        except ValidationFailed:
            await self._note(OnceRecord(""))
            match = await self._look()  # a refused creation may have created: docs/api-facts.md#api-contacts
            if match is None:
                raise
            return match, None
        except HighLevelError:
            await self._note(OnceRecord(""))  # any other error is definite
            raise
        if answer.contact is None:
            return None, DecodeError("the answer holds no contact", operation=op.CREATE_CONTACT.at)
        # The contact was created, so a store that fails now must not fail the call.
        with suppress(TokenStoreError):
            await self._note(OnceRecord("", sent_at=time.time(), document=answer.contact.id))
        return EnsuredContact(contact=answer.contact, created=True), None

    async def _note(self, record: OnceRecord) -> None:
        for name in self._person.names:
            await self._at.keeper.save(f"{self._prefix}/{name}", record)

    async def _is_refused_twice(self) -> bool:
        """Return whether the API would refuse a second contact of this person.

        If it would, a creation may be repeated. The location matches by e-mail, phone number or both, and no route
        says which (docs/api-facts.md#api-contacts). So the person needs both keys. The result is False if the token
        may not read the location.
        """
        if not self._person.email or not self._person.phone:
            return False
        try:
            settings = (await self._at.details()).settings
        except ScopeMissing:
            return False
        # Unknown settings do not protect: only an explicit "no duplicates" does.
        return settings is not None and settings.allow_duplicate_contact is False

    # ------------------------------------------------------------------------------------------ filling

    async def _fill(self, match: Match) -> EnsuredContact:
        """Write the empty fields. An error names the fields that were not written."""
        contact = match.contact
        plan = plan_fill(contact, self._person.draft, self._replace)
        missing = [*plan.changes, *(("tags",) if plan.tags else ())]
        try:
            if plan.changes:
                answer = await self._at.call(op.UPDATE_CONTACT, contact.id, body=update_of(plan))
                contact = answer.contact or contact
                missing = ["tags"] if plan.tags else []
            # never by an update, which would replace the tags that are there
            if plan.tags:
                body = TagsChange(tags=list(plan.tags))
                tags = (await self._at.call(op.ADD_CONTACT_TAGS, contact.id, body=body)).tags
                contact = msgspec.structs.replace(contact, tags=tags or contact.tags)
        except HighLevelError as error:
            raise ContactIncomplete(
                f"contact {contact.id} exists, but {', '.join(missing)} could not be written: {error}",
                contact_id=contact.id,
                missing=missing,
                operation=op.UPDATE_CONTACT.at,
            ) from error
        filled = (*plan.changes, *(("tags",) if plan.tags else ()))
        return EnsuredContact(
            contact=contact, created=False, matched_by=match.found_by, filled=filled, kept=plan.kept
        )


def _duplicate_of(error: BadRequest) -> str | None:
    """Return the id of the contact that a refused duplicate names in `meta`."""
    try:
        meta = msgspec.json.decode(error.body).get("meta")
    except (msgspec.DecodeError, AttributeError):
        return None
    known = meta.get("contactId") if isinstance(meta, dict) else None
    return known if isinstance(known, str) and known else None
