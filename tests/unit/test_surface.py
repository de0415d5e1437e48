"""The surface of the client: what completion shows is what users call, and the reference documents it."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import pytest

import hl_async.resources
from hl_async import HighLevel, Location, PrivateToken

CLIENT = {
    "aclose", "aopen", "base_url", "closed", "credentials", "from_env", "governor", "location", "locations", "oauth", "raw",
    "rules_off", "with_options",
}  # fmt: skip
RESOURCES = {
    "contacts", "estimate_templates", "estimates", "invoice_schedules", "invoice_templates", "invoices", "opportunities",
    "products", "transactions", "users",
}  # fmt: skip
LOCATION = RESOURCES | {"budget", "check_scopes", "details", "id", "raw", "taxes", "timezone", "with_options"}


def public(thing: object) -> set[str]:
    return {name for name in dir(thing) if not name.startswith("_")}


def resource_classes() -> list[type]:
    rooms = [
        importlib.import_module(f"hl_async.resources.{found.name}")
        for found in pkgutil.iter_modules(hl_async.resources.__path__)
    ]
    names = {name.replace("_", "") for name in (*RESOURCES, "oauth")}
    return [
        kind
        for room in rooms
        for name, kind in inspect.getmembers(room, inspect.isclass)
        if name.lower() in names and kind.__module__ == room.__name__
    ]


def test_client_and_location_show_what_users_call_and_nothing_else() -> None:
    hl = HighLevel(PrivateToken("pit-123e4567-e89b-42d3-a456-426614174000"))
    assert public(hl) == CLIENT
    assert public(hl.location("loc1")) == LOCATION


@pytest.mark.parametrize("kind", [HighLevel, Location, *resource_classes()], ids=lambda kind: kind.__name__)
def test_every_member_is_described_where_the_reference_looks(kind: type) -> None:
    for name in public(kind):
        assert name in vars(kind), f"{name} is inherited, so the reference leaves it out"
        assert inspect.getdoc(vars(kind)[name]), name


def test_each_resource_of_a_location_has_its_class() -> None:
    found = {kind.__name__ for kind in resource_classes()}
    assert len(found) == len(RESOURCES) + 1, found
