"""Internal. One request, as its handler gets it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from hl_async.sandbox.ledger import LocationState
from hl_async.sandbox.neighbours.state import Entry, Neighbours, NeighbourState


class NeighbourCall(NamedTuple):
    """One request.

    `place` holds the location's documents, `state` its contacts, users, products and opportunities.
    """

    all: Neighbours
    place: LocationState
    state: NeighbourState
    ids: tuple[str, ...]
    query: dict[str, str]
    body: Entry


NeighbourHandler = Callable[[NeighbourCall], Any]
