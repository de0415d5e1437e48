"""Internal. Contacts, users, products and opportunities of the locations.

They are plain JSON in the wire's spelling.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any, Final

from hl_async.sandbox.clock import Clock
from hl_async.sandbox.neighbours.quirks import NeighbourQuirks

Entry = dict[str, Any]

USER: Final = "user0000000000000001"
PIPELINE: Final = "pipeline000000000001"
STAGES: Final = ("stage000000000000001", "stage000000000000002")


class NeighbourState:
    """One location's contacts, users, products and opportunities, oldest first."""

    def __init__(self, location_id: str, company_id: str, timezone: str) -> None:
        self.contacts: dict[str, Entry] = {}
        self.indexed: dict[str, list[tuple[float, Entry | None]]] = {}
        self.products: dict[str, Entry] = {}
        self.prices: dict[str, dict[str, Entry]] = {}
        self.orders: list[Entry] = []
        self.opportunities: dict[str, Entry] = {}
        self.details: Entry = {
            "id": location_id,
            "companyId": company_id,
            "name": "Harbour Joinery",
            "address": "4 Mole Street",
            "city": "Baltimore",
            "state": "MD",
            "country": "US",
            "postalCode": "21230",
            "website": "https://joinery.example",
            "phone": "+14105550142",
            "email": "office@joinery.example",
            "timezone": timezone,
            "logoUrl": "https://joinery.example/logo.png",
            "business": {
                "name": "Harbour Joinery LLC",
                "address": "4 Mole Street",
                "city": "Baltimore",
                "state": "MD",
                "country": "US",
                "postalCode": "21230",
                "website": "https://joinery.example",
                "timezone": timezone,
                "logoUrl": "https://joinery.example/logo.png",
            },
            "social": {},
        }
        self.users: list[Entry] = [
            {
                "id": USER,
                "name": "Dana Reyes",
                "firstName": "Dana",
                "lastName": "Reyes",
                "email": "dana@joinery.example",
                "phone": "+14105550143",
                "roles": {"type": "account", "role": "admin", "locationIds": [location_id]},
                "deleted": False,
            }
        ]
        stages = [
            {"id": one, "name": name} for one, name in zip(STAGES, ("New", "Estimate sent"), strict=True)
        ]
        self.pipelines: list[Entry] = [
            {"id": PIPELINE, "name": "Jobs", "stages": stages, "locationId": location_id}
        ]


class Neighbours:
    """The state of all locations, and the switches that it follows."""

    def __init__(self, clock: Clock, quirks: NeighbourQuirks, company_id: str) -> None:
        self.clock = clock
        self.quirks = quirks
        self.company_id = company_id
        self.serial: int = 0
        self.places: dict[str, NeighbourState] = {}

    def of(self, location_id: str, timezone: str = "UTC") -> NeighbourState:
        """Return the state of a location; create it at its first use."""
        if location_id not in self.places:
            self.places[location_id] = NeighbourState(location_id, self.company_id, timezone)
        return self.places[location_id]

    def new_id(self, kind: str) -> str:
        """Return the next id: 20 letters and digits, in order of creation."""
        self.serial += 1
        return f"{kind}{self.serial:0{20 - len(kind)}d}"

    def holder(self, contact_id: str) -> str | None:
        """Return the location that holds a contact or an opportunity, or None."""
        for location, state in self.places.items():
            if contact_id in state.contacts or contact_id in state.opportunities:
                return location
        return None

    def index(self, state: NeighbourState, contact_id: str) -> None:
        """Add a contact's new version, which the index shows after `index_lag` seconds."""
        now = self.clock.monotonic()
        entry = state.contacts.get(contact_id)
        # A contact has several versions on their way if it changes faster than the index follows.
        versions = state.indexed.setdefault(contact_id, [])
        shown = [one for one in versions if one[0] <= now - self.quirks.index_lag]
        # Keep the version that is shown now, and those that are still hidden.
        versions[:] = [*shown[-1:], *versions[len(shown) :], (now, copy.deepcopy(entry))]

    def visible(self, state: NeighbourState, *, lagging: bool) -> Iterable[Entry]:
        """Return the contacts, oldest first; with `lagging`, as the index shows them."""
        if not lagging or not self.quirks.index_lag:
            return state.contacts.values()
        until = self.clock.monotonic() - self.quirks.index_lag
        # The index shows a deleted contact until the deletion is old enough to be shown.
        latest = (
            [entry for at, entry in versions if at <= until][-1:] for versions in state.indexed.values()
        )
        return [entry for found in latest for entry in found if entry is not None]
