"""The official specification against ours: every operation, every property, no stale excuse.

Runs in full when the specification lies beside the repository (``shared/spec``, or ``HL_SHARED``); the rest of the
suite carries samples of its own.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hl_async import models
from hl_async.models.codec import decoder, encode_body
from hl_async.operations import NEIGHBOURS, OPERATIONS, Operation

SHARED = Path(os.environ.get("HL_SHARED", Path(__file__).parents[3] / "shared"))
LEDGER = Path(__file__).with_name("ledger.toml")

pytestmark = pytest.mark.skipif(not (SHARED / "spec").is_dir(), reason="the specification is not here")


def specification(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((SHARED / "spec" / name).read_text())
    return document


def declared(spec: dict[str, Any]) -> dict[str, tuple[str, str, dict[str, Any]]]:
    return {
        operation["operationId"]: (method.upper(), path, operation)
        for path, methods in spec["paths"].items()
        for method, operation in methods.items()
        if method in ("get", "post", "put", "patch", "delete")
    }


def schema_of(spec: dict[str, Any], content: Any) -> dict[str, Any] | None:
    for media in (content or {}).values():
        reference = media.get("schema", {}).get("$ref")
        if reference:
            return dict(
                spec["components"]["schemas"][reference.rsplit("/", 1)[1]], name=reference.rsplit("/", 1)[1]
            )
    return None


def resolve(spec: dict[str, Any], schema: Any) -> tuple[str, dict[str, Any]] | None:
    """The named schema behind a property: directly, in a list, or in an allOf."""
    if not isinstance(schema, dict):
        return None
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return name, spec["components"]["schemas"][name]
    for inner in [schema.get("items"), *schema.get("allOf", [])]:
        found = resolve(spec, inner)
        if found:
            return found
    return None


def struct_in(kind: Any) -> Any:
    """The struct inside an annotation: of a union, a list, an optional."""
    if isinstance(kind, msgspec.inspect.StructType):
        return kind.cls
    for inner in getattr(kind, "types", ()) or (getattr(kind, "item_type", None),):
        if inner is not None and (found := struct_in(inner)) is not None:
            return found
    return None


class Comparison:
    """Walks schemas beside structs, noting what one has and the other has not."""

    def __init__(self, spec: dict[str, Any], ledger: dict[str, str]) -> None:
        self.spec = spec
        self.ledger = ledger
        self.used: set[str] = set()
        self.properties = 0
        self.missing: list[str] = []
        self.seen: set[tuple[str, str]] = set()

    def walk(self, name: str, schema: dict[str, Any], struct: Any, where: str) -> None:
        if (name, struct.__name__) in self.seen:
            return
        self.seen.add((name, struct.__name__))
        fields = {field.encode_name: field for field in msgspec.structs.fields(struct)}
        kinds = {field.encode_name: field.type for field in msgspec.inspect.type_info(struct).fields}  # type: ignore[union-attr]
        for prop, inner in schema.get("properties", {}).items():
            self.properties += 1
            entry = f"{name}.{prop}"
            if prop in fields:
                nested = resolve(self.spec, inner)
                ours = struct_in(kinds[prop])
                if nested and ours is not None and nested[1].get("properties"):
                    self.walk(nested[0], nested[1], ours, f"{where}.{prop}")
            elif prop in ("altId", "altType") and not where.endswith("answer"):
                self.use("*.altId")  # the location supplies both, see models.codec.alt_prefix
            elif entry in self.ledger:
                self.used.add(entry)
            else:
                self.missing.append(f"{entry} ({where}: {struct.__name__})")

    def use(self, entry: str) -> None:
        self.used.add(entry)


@pytest.fixture(scope="module")
def ledger() -> dict[str, str]:
    found: dict[str, str] = tomllib.loads(LEDGER.read_text())["explained"]
    return found


@pytest.mark.parametrize("name", ["invoices.json", "invoices-v3.json"])
def test_every_operation_of_the_specification_is_a_row(name: str) -> None:
    theirs = declared(specification(name))
    ours = {row.name: row for row in OPERATIONS.values() if row.resource != "oauth" and row not in NEIGHBOURS}
    assert len(theirs) == 42
    assert set(theirs) == set(ours)
    for operation_id, (method, path, operation) in theirs.items():
        row = ours[operation_id]
        assert (row.method, row.path) == (method, path), operation_id
        query = {p["name"] for p in operation.get("parameters", []) if p["in"] == "query"} - {
            "altId",
            "altType",
        }
        assert query == set(row.query), operation_id
    print(f"{len(theirs)}/42 operations of {name}")


@pytest.mark.parametrize(("name", "attribute"), [("oauth.json", "path"), ("oauth-v3.json", "path_v3")])
def test_the_oauth_operations_are_rows_under_both_versions(name: str, attribute: str) -> None:
    theirs = {(method, path) for method, path, _ in declared(specification(name)).values()}
    ours = {(row.method, getattr(row, attribute)) for row in OPERATIONS.values() if row.resource == "oauth"}
    assert ours <= theirs


def test_every_property_is_ours_or_explained_and_no_explanation_is_stale(
    ledger: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    spec = specification("invoices.json")
    comparison = Comparison(spec, ledger)
    for operation_id, (_, _, operation) in declared(spec).items():
        row: Operation[Any] = OPERATIONS[operation_id]
        body = schema_of(spec, operation.get("requestBody", {}).get("content"))
        if body is not None and row.body is not None:
            comparison.walk(body["name"], body, row.body, f"{operation_id} body")
        elif body is not None:
            extra = set(body.get("properties", {})) - {"altId", "altType"}
            assert not extra, f"{operation_id} has a body with {extra}"
            comparison.properties += 2
        for status, answer in operation["responses"].items():
            schema = schema_of(spec, answer.get("content")) if status.startswith("2") else None
            if schema is not None:
                assert row.response is not None, operation_id
                comparison.walk(schema["name"], schema, row.response, f"{operation_id} answer")
    assert not comparison.missing, "neither modelled nor explained:\n" + "\n".join(comparison.missing)
    stale = set(ledger) - comparison.used
    assert not stale, f"explained, but modelled or gone: {sorted(stale)}"
    with capsys.disabled():  # the count is a result, whatever the options
        print(f"\n42/42 operations, {comparison.properties} properties, ledger of {len(ledger)} lines")


# Where an example contradicts the API itself (docs/api-facts.md#api-number-types); each is set to what is really sent.
_PLACEHOLDER = re.compile(r"^\[ ?['{]")


def corrected(spec: dict[str, Any], schema: dict[str, Any]) -> Any:
    """A schema's example document, put together from its properties' own examples."""
    document = {}
    for prop, inner in schema.get("properties", {}).items():
        value = inner.get("example")
        nested = resolve(spec, inner)
        if value is None and nested:
            value = corrected(spec, nested[1])
            if inner.get("type") == "array":
                value = [value]
        if isinstance(value, str) and inner.get("type") == "array" and not _PLACEHOLDER.match(value):
            value = [value]
        if value is None and prop in schema.get("required", ()):
            value = _FILLERS.get(prop, inner.get("enum", [_BY_TYPE.get(inner.get("type", ""))])[0])
        if value is not None:
            document[prop] = value
    return document


_FILLERS = {"currency": "USD", "issueDate": "2026-01-01", "dueDate": "2026-02-01"}
_BY_TYPE: dict[str, Any] = {"string": "text", "number": 1, "boolean": True, "array": [], "object": {}}


def test_every_answers_corrected_example_decodes() -> None:
    spec = specification("invoices.json")
    decoded = 0
    for operation_id, (_, _, operation) in declared(spec).items():
        row = OPERATIONS[operation_id]
        for status, answer in operation["responses"].items():
            schema = schema_of(spec, answer.get("content")) if status.startswith("2") else None
            if schema is not None and row.response is not None:
                document = corrected(spec, schema)
                row.decode(json.dumps(document).encode())
                decoded += 1
    assert decoded >= 38


# Examples of bodies that contradict their own declaration, and what is really sent (docs/api-facts.md#api-number-types).
def mended(body: dict[str, Any]) -> dict[str, Any]:
    if isinstance(body.get("businessDetails"), dict) and isinstance(
        body["businessDetails"].get("address"), str
    ):
        body["businessDetails"]["address"] = {"addressLine1": body["businessDetails"]["address"]}
    if isinstance(body.get("discount"), dict):
        body["discount"].pop("validOnProductIds", None)
    for name in ("items", "invoiceItems", "attachments"):
        if body.get(name) and not isinstance(body[name][0], dict):
            body[name] = []
    return body


def test_every_bodys_corrected_example_is_a_request_of_ours() -> None:
    spec = specification("invoices.json")
    built = 0
    for operation_id, (_, _, operation) in declared(spec).items():
        row = OPERATIONS[operation_id]
        schema = schema_of(spec, operation.get("requestBody", {}).get("content"))
        if schema is not None and row.body is not None:
            example = {
                k: v for k, v in mended(corrected(spec, schema)).items() if k not in ("altId", "altType")
            }
            if "expiryDate" in schema.get("properties", {}):
                example.setdefault("expiryDate", "2030-01-01")
            msgspec.convert(example, row.body, strict=False)
            built += 1
    assert built >= 20


@pytest.mark.parametrize(
    ("file", "operation"),
    [
        ("update_estimate", "update-estimate"),
        ("delete_estimate", "delete-estimate"),
        ("create_invoice_from_estimate", "create-invoice-from-estimate"),
        ("generate_estimate_number", "generate-estimate-number"),
        ("generate_invoice_number", "generate-invoice-number"),
    ],
)
def test_the_documented_answers_decode(file: str, operation: str) -> None:
    OPERATIONS[operation].decode((SHARED / "seeds" / f"{file}.response.json").read_bytes())


def test_the_documented_request_can_be_built_from_structs() -> None:
    theirs = json.loads((SHARED / "seeds" / "update_estimate.request.json").read_text())
    theirs["discount"].pop("validOnProductIds", None)  # the text of a list, where the API declares a list
    if isinstance(theirs["businessDetails"].get("address"), str):
        theirs["businessDetails"]["address"] = {"addressLine1": theirs["businessDetails"]["address"]}
    body = msgspec.convert(
        {k: v for k, v in theirs.items() if k not in ("altId", "altType")},
        models.EstimateUpdate,
        strict=False,
    )
    ours = json.loads(encode_body(body, b""))
    for name, value in ours.items():
        if name in theirs and not isinstance(value, dict | list):
            assert value == theirs[name], name
    assert set(theirs) - {"altId", "altType"} <= set(ours) | {"extra"}
    answer = decoder(models.InvoiceNumber)(
        (SHARED / "seeds" / "generate_invoice_number.response.json").read_bytes()
    )
    assert answer.invoice_number == "19"
