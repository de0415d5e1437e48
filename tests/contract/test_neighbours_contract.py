"""The official specifications of contacts, users, products, payments and opportunities against our rows and structs."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from contract.test_contract import SHARED, declared, resolve, schema_of, specification, struct_in
from hl_async.operations import NEIGHBOURS
from hl_async.operations.endpoint import Alt

pytestmark = pytest.mark.skipif(not (SHARED / "spec").is_dir(), reason="the specification is not here")

FILES = ("contacts", "locations", "users", "products", "payments", "opportunities")
RENAMED = {"list-products": "list-invoices"}
"""Our name of an operation, and the specification's, which another operation has too."""

UNDECLARED = {
    # no schema at all, or an empty one: what clients of the live API send and read
    "get-duplicate-contact answer": {"*"},
    "search-contacts-advanced body": {"*"},
    "search-contacts-advanced answer": {"*"},
    # contacts answer these beside what the specification lists
    "GetContectByIdSchema": {
        "additionalEmails", "inboundDndSettings", "searchAfter", "bounceEmail", "unsubscribeEmail", "deleted",
        "birthMonth", "birthDay", "offers", "products",
    },
    "CreateContactSchema": {
        "name", "additionalEmails", "inboundDndSettings", "searchAfter", "timezone", "attributionSource",
        "lastAttributionSource", "lastActivity",
    },
    # one envelope for all routes of one contact
    "CreateContactsSuccessfulResponseDto": {"new", "succeded", "traceId"},
    "UpsertContactsSuccessfulResponseDto": {"succeded"},
    "UpdateContactsSuccessfulResponseDto": {"new", "traceId"},
    "ContactsByIdSuccessfulResponseDto": {"new", "succeded", "traceId"},
    # the list of locations shares the struct of one
    "GetLocationSchema": {"companyId", "domain", "logoUrl", "firstName", "lastName", "business", "reseller"},
}  # fmt: skip
"""Wire names that our structs have and a schema has not, each with its reason."""


def rows_of(name: str) -> dict[str, Any]:
    theirs = declared(specification(f"{name}.json"))
    return {
        row.name: (row, theirs[RENAMED.get(row.name, row.name)])
        for row in NEIGHBOURS
        if RENAMED.get(row.name, row.name) in theirs
        and theirs[RENAMED.get(row.name, row.name)][:2] == (row.method, row.path)
    }


def test_every_row_is_an_operation_of_a_specification() -> None:
    found = {name for file in FILES for name in rows_of(file)}
    assert found == {row.name for row in NEIGHBOURS}
    print(f"{len(found)}/{len(NEIGHBOURS)} rows")


@pytest.mark.parametrize("file", FILES)
def test_filters_scopes_and_places_of_the_location_are_those_of_the_specification(file: str) -> None:
    located = {"locationId": Alt.LOCATION_QUERY, "location_id": Alt.SNAKE_QUERY, "altId": Alt.QUERY}
    for name, (row, (_, _, operation)) in rows_of(file).items():
        query = {p["name"]: p.get("required") for p in operation.get("parameters", []) if p["in"] == "query"}
        place = next((alt for key, alt in located.items() if query.get(key)), None)
        if name == "search-users":
            place = Alt.LOCATION_QUERY  # optional there: we always ask for one location
        if place is not None:
            assert row.alt is place, name
        own = {key for key, alt in located.items() if alt is row.alt} | {"altType"}
        assert set(row.query) <= set(query), name
        assert set(query) - set(row.query) <= own, name
        scopes = {
            scope for entry in operation.get("security") or [] for names in entry.values() for scope in names
        }
        assert scopes == {row.scope}, name


class Fields:
    """Walks our structs beside the schemas; notes what is modelled and what no schema declares."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec = spec
        self.modelled = 0
        self.left_out: set[str] = set()
        self.invented: set[str] = set()
        self.seen: set[tuple[str, str]] = set()

    def walk(self, name: str, schema: dict[str, Any], struct: Any, where: str) -> None:
        if (name, struct.__name__) in self.seen:
            return
        self.seen.add((name, struct.__name__))
        kinds = {field.encode_name: field.type for field in msgspec.inspect.type_info(struct).fields}  # type: ignore[union-attr]
        declared_here = schema.get("properties", {})
        for wire, kind in kinds.items():
            if wire == "extra":
                continue
            if wire not in declared_here:
                if wire not in UNDECLARED.get(name, ()):
                    self.invented.add(f"{name}.{wire} ({where}: {struct.__name__})")
                continue
            self.modelled += 1
            nested, ours = resolve(self.spec, declared_here[wire]), struct_in(kind)
            if nested and ours is not None and nested[1].get("properties"):
                self.walk(nested[0], nested[1], ours, f"{where}.{wire}")
        self.left_out |= {f"{name}.{wire}" for wire in set(declared_here) - set(kinds) - {"locationId"}}


LEFT_OUT = {
    # search keys, and what only the web interface writes
    "GetContectByIdSchema": {
        "emailLowerCase", "attachments", "ssn", "keyword", "firstNameLowerCase", "fullNameLowerCase",
        "lastNameLowerCase", "visitorId",
    },
    "CreateContactSchema": {
        "firstNameLowerCase", "fullNameLowerCase", "lastNameLowerCase", "emailLowerCase", "lastSessionActivityAt",
    },
    # a repetition would create another contact
    "UpsertContactDto": {"createNewIfDuplicateAllowed"},
}  # fmt: skip


def test_every_modelled_field_is_declared_or_explained(capsys: pytest.CaptureFixture[str]) -> None:
    modelled = schemas = 0
    invented: set[str] = set()
    left_out: set[str] = set()
    for file in FILES:
        spec = specification(f"{file}.json")
        fields = Fields(spec)
        for name, (row, (_, _, operation)) in rows_of(file).items():
            body = schema_of(spec, operation.get("requestBody", {}).get("content"))
            if body is not None and row.body is not None and f"{name} body" not in UNDECLARED:
                fields.walk(body["name"], body, row.body, f"{name} body")
            for status, answer in operation["responses"].items():
                schema = schema_of(spec, answer.get("content")) if status.startswith("2") else None
                if schema is not None:
                    fields.walk(schema["name"], schema, row.response, f"{name} answer")
        modelled += fields.modelled
        schemas += len(fields.seen)
        invented |= fields.invented
        left_out |= fields.left_out
    assert not invented, "\n".join(sorted(invented))
    explained = {f"{schema}.{wire}" for schema, names in LEFT_OUT.items() for wire in names}
    assert left_out == explained
    with capsys.disabled():  # the count is a result, whatever the options
        print(
            f"\n{modelled} fields modelled in {schemas} pairs of schema and struct, {len(left_out)} left out"
        )
    assert modelled >= 300


def test_required_fields_of_bodies_are_required_here() -> None:
    for file in FILES:
        spec = specification(f"{file}.json")
        for name, (row, (_, _, operation)) in rows_of(file).items():
            body = schema_of(spec, operation.get("requestBody", {}).get("content"))
            if body is None or row.body is None:
                continue
            needed = set(body.get("required", ())) - {"locationId"}
            ours = {
                field.encode_name
                for field in msgspec.structs.fields(row.body)
                if field.required or field.default is not msgspec.UNSET
            }
            assert needed <= ours, name
