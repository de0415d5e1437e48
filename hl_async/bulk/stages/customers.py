"""Internal. The customers of a run's documents, by their strongest keys. Pure.

Each location has customers of its own, known by the strongest key that the source gives. The keys are, the strongest
first: the contact id that the source names, the old system's id (where the run asks for it), the e-mail address, the
phone number, and the name (where the run asks for it).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final, TypeAlias

import msgspec

from hl_async.bulk.protocol import make_key
from hl_async.bulk.sources.document import DocumentAddress, DocumentCustomer
from hl_async.bulk.sources.records import SourceItem
from hl_async.bulk.stages.steps import PlannedStep, StageStep
from hl_async.errors import InvalidRequest
from hl_async.models import ContactDraft, CustomFieldInput

CONTACTS: Final = "contacts"
"""The name of the stage in the journal."""

INDEX_DELAY: Final = 10.0
"""Seconds after which the search of contacts shows a change: docs/api-facts.md#api-contacts."""

MARK: Final = "hl_async "
"""How the ``source`` of a contact begins that a run created; a key of the run and the customer follows."""

DELETION: Final = "contact "
"""How the key of a contact's deletion begins in the journal; keys of documents hold no space."""

_FALLBACK_KEY: Final = "fallback"
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_E164: Final = re.compile(r"\+[1-9]\d{6,14}")
_COUNTRY: Final = re.compile("[A-Za-z]{2}")
_LONGEST_VALUE: Final = 75
"""Characters of a value that a search takes: docs/api-facts.md#api-contacts."""


class ContactPolicy(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """How customers become contacts.

    Attributes:
        fallback: Contact of customers who have no e-mail address, phone number or contact id.
        match_name: Know a customer by name as well; customers with nothing but a name get contacts too.
        external_field: Id of the custom field that holds the old system's id of a customer. It is searched first, and
            written to new contacts.
        update: Fill the empty fields of a matched contact. Its other values stay.
        index_delay: Seconds after which a search shows a change.
    """

    fallback: str = ""
    match_name: bool = False
    external_field: str = ""
    update: bool = False
    index_delay: float = INDEX_DELAY


class Candidate(msgspec.Struct, frozen=True, omit_defaults=True):
    """A contact that a customer may be, and the keys that lead to it."""

    id: str
    name: str = ""
    by: tuple[str, ...] = ()


class CustomerFacts(msgspec.Struct, omit_defaults=True, kw_only=True):
    """A customer as the journal keeps it, and what the contacts stage found.

    Attributes:
        contact_id: The contact that the source names, or a person chose in the contacts file.
        is_fallback: The contact stands for every customer without a key.
        documents: How many documents are for this customer, when the run was planned.
        names: Other names that the source gives to the contact id.
        matched_by: The keys that led to the contact.
        candidates: The contacts that the customer may be, if there are several.
        filled: Fields of a matched contact that were empty and were written.
    """

    name: str = ""
    company: str = ""
    email: str = ""
    phone: str = ""
    external_id: str = ""
    address: DocumentAddress | None = None
    contact_id: str = ""
    is_fallback: bool = False
    documents: int = 0
    names: list[str] = []
    matched_by: tuple[str, ...] = ()
    candidates: list[Candidate] = []
    filled: tuple[str, ...] = ()

    @property
    def known_as(self) -> str:
        """The name that people know the customer by."""
        return self.name or self.company

    @property
    def who(self) -> str:
        """The customer in an error message."""
        return self.known_as or self.email or self.phone or self.external_id or "the customer"


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(CustomerFacts).decode
_decode_draft: Final = msgspec.json.Decoder(ContactDraft).decode
# Amounts pass through as exact decimals.
_body_decoder: Final = msgspec.json.Decoder(float_hook=Decimal)
_body_encoder: Final = msgspec.json.Encoder(decimal_format="number")


def facts_of_customer(step: StageStep) -> CustomerFacts:
    """Return the customer of a step."""
    return _decode(step.facts)


def encode_facts(facts: CustomerFacts) -> bytes:
    """Return the facts as a step keeps them."""
    return _encode(facts)


def draft_of(step: StageStep) -> ContactDraft:
    """Return the contact that a step would create."""
    return _decode_draft(step.body)


def plain_name(name: str) -> str:
    """Return a name as it is compared: without capitals and repeated spaces."""
    return " ".join(name.casefold().split())


def plain_email(text: str) -> str:
    """Return an e-mail address as it is compared and written; empty if it is not one."""
    email = text.strip().lower()
    return email if _EMAIL.fullmatch(email) else ""


def mark_of(run: str, location: str, key: str) -> str:
    """Return the ``source`` of a customer's contact, if the run creates it."""
    return MARK + make_key(f"{run}:{location}:{key}")


def keys_of(facts: CustomerFacts, policy: ContactPolicy) -> dict[str, str]:
    """Return the keys that a customer may be found by, the strongest first."""
    keys: dict[str, str] = {}
    if policy.external_field and 0 < len(facts.external_id) <= _LONGEST_VALUE:
        keys["external"] = facts.external_id
    if facts.email:
        keys["email"] = facts.email
    if facts.phone:
        keys["phone"] = facts.phone
    if policy.match_name and facts.known_as:
        # Only if asked for: two people share a name more often than an address.
        keys["name"] = plain_name(facts.known_as)
    return keys


class CustomerBook:
    """The customers of a source, gathered while it is planned."""

    def __init__(self, run: str, policy: ContactPolicy, corrections: Corrections) -> None:
        self._run = run
        self._policy = policy
        self._corrections = corrections
        self._customers: dict[tuple[str, str], CustomerFacts] = {}
        self._documents: dict[tuple[str, str], list[int]] = {}
        self._by_external: dict[tuple[str, str], str] = {}
        self.keyless: dict[tuple[str, str], CustomerFacts] = {}
        """Customers whose documents are rejected, because nothing says which contact they are."""

    def __len__(self) -> int:
        return len(self._customers)

    def add(self, item: SourceItem, location: str) -> None:
        """Add the customer of a document.

        Raises:
            InvalidRequest: Nothing says which contact the customer is.
        """
        given = item.customer
        if given is None:
            return
        if given.contact_id and not given.name:
            # often one contact for a whole source, of which nothing more is known
            known = (location, f"id:{given.contact_id}")
            if known in self._customers:
                self._documents[known].append(item.ordinal)
                return
        facts = _facts_of(given)
        at = (location, facts.external_id)
        # A customer without own keys is known by the old system's id, once another document gave both.
        key = self._key(facts) or (self._by_external.get(at, "") if facts.external_id else "")
        if not key:
            key, facts = self._without_key(location, facts)
        elif facts.external_id:
            self._by_external.setdefault(at, key)
        self._put((location, key), facts, item.ordinal)

    def _without_key(self, location: str, facts: CustomerFacts) -> tuple[str, CustomerFacts]:
        """Return a keyless customer's stand-in: a person's choice, or the fallback."""
        key = keyless_key(facts)
        correction = self._corrections.get((location, key))
        if correction is not None and correction.contact_id:
            return key, facts
        if self._policy.fallback:
            return _FALLBACK_KEY, CustomerFacts(contact_id=self._policy.fallback, is_fallback=True)
        held = self.keyless.setdefault((location, key), facts)
        held.documents += 1
        raise InvalidRequest(
            "customer",
            f"{facts.who} has no contact id, e-mail address or phone number to find a contact by; add one, match "
            "names (--match-name), or name a contact for such customers (--fallback-contact)",
        )

    def steps(self) -> Iterator[PlannedStep]:
        """Yield one step per customer; a bare phone number joins its only owner."""
        owners: dict[tuple[str, str], list[str]] = {}
        for (location, key), facts in self._customers.items():
            # Customers who state only a number may be those who state an address as well.
            if facts.phone and not key.startswith("phone:"):
                owners.setdefault((location, facts.phone), []).append(key)
        for (location, key), facts in list(self._customers.items()):
            # Two owners of a number leave it open which of them the customer is.
            owner = owners.get((location, facts.phone), [])
            if (
                key.startswith("phone:")
                and len(owner) == 1
                and self._join((location, key), (location, owner[0]))
            ):
                continue
        for (location, key), facts in self._customers.items():
            documents = self._documents[location, key]
            facts.documents = len(documents)
            correction = self._corrections.get((location, key))
            final = facts if correction is None else corrected(facts, correction)
            yield planned_step(self._run, location, key, final, self._policy, tuple(documents))

    def _key(self, facts: CustomerFacts) -> str:
        if facts.contact_id:
            return f"id:{facts.contact_id}"
        return next((f"{kind}:{value}" for kind, value in keys_of(facts, self._policy).items()), "")

    def _put(self, at: tuple[str, str], facts: CustomerFacts, ordinal: int) -> None:
        held = self._customers.setdefault(at, facts)
        # One customer may state the e-mail in one document and the phone in another.
        if held is not facts:
            _merge(held, facts)
        self._documents.setdefault(at, []).append(ordinal)

    def _join(self, one: tuple[str, str], into: tuple[str, str]) -> bool:
        """Give the documents of a customer to another one, unless their names differ."""
        name, other = self._customers[one].known_as, self._customers[into].known_as
        # A family or an office may share a number.
        if name and other and plain_name(name) != plain_name(other):
            return False
        _merge(self._customers[into], self._customers.pop(one))
        self._documents[into] += self._documents.pop(one)
        return True


class Correction(msgspec.Struct, frozen=True):
    """A person's changes in the contacts file; None keeps the value of the source."""

    contact_id: str | None = None
    name: str | None = None
    company: str | None = None
    email: str | None = None
    phone: str | None = None


Corrections: TypeAlias = Mapping[tuple[str, str], Correction]
"""Corrections by location and key of the customer."""


def check_names(facts: CustomerFacts, policy: ContactPolicy) -> str:
    """Return why a contact id of several names cannot be used; empty if it can."""
    if facts.contact_id == policy.fallback:
        return ""
    # A spelling in other letters is not another name.
    names = list({plain_name(one): one for one in (facts.known_as, *facts.names) if one}.values())
    if len(names) < 2:
        return ""
    listed = ", ".join(repr(name) for name in names[:5])
    return (
        f"contact {facts.contact_id} stands for several customers: {listed}; correct the ids or the names, or make "
        "it the contact of customers without one (--fallback-contact)"
    )


def keyless_key(facts: CustomerFacts) -> str:
    """Return what the contacts file calls a customer without a key."""
    if facts.known_as:
        return f"name:{plain_name(facts.known_as)}"
    return f"external:{facts.external_id}" if facts.external_id else "none"


def corrected(facts: CustomerFacts, correction: Correction) -> CustomerFacts:
    """Return a customer as a person corrected it."""
    changed = {name: value for name, value in msgspec.structs.asdict(correction).items() if value is not None}
    found = msgspec.structs.replace(facts, **changed)
    # Typed by hand, so it is brought to the form of all other keys.
    found.email = plain_email(found.email)
    return found


def planned_step(
    run: str,
    location: str,
    key: str,
    facts: CustomerFacts,
    policy: ContactPolicy,
    documents: tuple[int, ...] = (),
) -> PlannedStep:
    """Return the step of a customer, with the contact that it would create."""
    body = msgspec.json.encode(_draft(facts, policy, mark_of(run, location, key)))
    return PlannedStep(location, CONTACTS, key, documents, body, _encode(facts))


def _facts_of(given: DocumentCustomer) -> CustomerFacts:
    phone = given.phone.strip()
    return CustomerFacts(
        name=given.name.strip(), company=given.company.strip(), email=plain_email(given.email),
        phone=phone if _E164.fullmatch(phone) else "", external_id=given.external_id.strip(), address=given.address,
        contact_id=given.contact_id.strip(),
    )  # fmt: skip


def _merge(held: CustomerFacts, more: CustomerFacts) -> None:
    """Add what another document of the customer says, where nothing is known yet."""
    if held.contact_id and more.known_as and plain_name(more.known_as) != plain_name(held.known_as):
        # Kept apart rather than overwritten: one id for two names is a mistake of the source, which a person decides.
        if not held.known_as:
            held.name = more.known_as
        elif more.known_as not in held.names:
            held.names = [*held.names, more.known_as]
    for name in ("name", "company", "email", "phone", "external_id", "address"):
        if not getattr(held, name) and getattr(more, name):
            setattr(held, name, getattr(more, name))


def _draft(facts: CustomerFacts, policy: ContactPolicy, mark: str) -> ContactDraft:
    fields: dict[str, Any] = {
        "name": facts.known_as,
        "company_name": facts.company,
        "email": facts.email,
        "phone": facts.phone,
        "source": mark,
    }
    if facts.address is not None:
        one = facts.address
        fields |= {
            "address1": ", ".join(part for part in (one.line1, one.line2) if part),
            "city": one.city,
            "state": one.state,
            "postal_code": one.postal_code,
            # the API takes codes of two letters only
            "country": one.country.upper() if _COUNTRY.fullmatch(one.country) else "",
        }
    draft = ContactDraft(**{name: value for name, value in fields.items() if value})
    if policy.external_field and facts.external_id:
        field = CustomFieldInput(id=policy.external_field, field_value=facts.external_id)
        draft = msgspec.structs.replace(draft, custom_fields=[field])
    return draft


def with_contact(body: bytes, contact_id: str) -> bytes:
    """Return a document's body with its contact's id; every number stays as it is."""
    document = _body_decoder.decode(body)
    # The only change after planning, so it leaves every other byte of meaning as it was.
    document["contactDetails"] = document.get("contactDetails", {}) | {"id": contact_id}
    return _body_encoder.encode(document)


def without_contact(body: bytes) -> bool:
    """Return whether a document names no contact: its customer is not resolved."""
    # Searched as bytes: every document passes here, and decoding each would take as long as planning it.
    return b'"contactDetails":{"id":""' in body


def described(candidates: Iterable[Candidate]) -> str:
    """Return contacts in words, for a reject."""
    return "; ".join(
        f"{one.id} ({one.name or 'without a name'}) has the {' and the '.join(one.by)}" for one in candidates
    )
