"""Internal. The kinds of documents in a run, and the names of their lanes. Pure.

A run of one kind names its lanes after the locations. A run whose source has both kinds gives the documents of the
other kind lanes of their own, such as ``6578278e879ad2646715ba9c#invoice``. Both kinds have lists, proofs and sweeps
of their own, so a lane never mixes them. Customers belong to the lane that is named after the location: both kinds
share them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from hl_async import operations as op
from hl_async.bulk.keys import KeyCarrier, SourceKey, key_carrier
from hl_async.operations import OPERATIONS, Operation

INVOICE_KEY: Final = "field:termsNotes"
"""Default place of an invoice's key: invoices have no ``meta``, unlike estimates."""

# Ids keep to letters, digits and the characters that URLs keep, so none contains the sign.
_SIGN: Final = "#"
_CREATES: Final[dict[str, Operation[Any]]] = {"estimate": op.CREATE_ESTIMATE, "invoice": op.CREATE_INVOICE}
_KINDS: Final = {
    op.CREATE_ESTIMATE.name: "estimate",
    op.CREATE_INVOICE.name: "invoice",
    op.CREATE_INVOICE_FROM_ESTIMATE.name: "invoice",
}


def location_of(lane: str) -> str:
    """Return the id of a lane's location."""
    return lane.partition(_SIGN)[0]


def kind_in(lane: str) -> str:
    """Return the kind that a lane names, or an empty text for the run's own kind."""
    return lane.partition(_SIGN)[2]


def words_for(lane: str) -> str:
    """Return a lane as people read it."""
    location, sign, kind = lane.partition(_SIGN)
    return f"{location} ({kind}s)" if sign else location


class LaneKinds:
    """The kinds of a run: which lane a document belongs to, and what its lane sends.

    Args:
        operation: The run's own operation.
        key: The name of the place where documents of the run's own kind carry its key.
    """

    def __init__(self, operation: Operation[Any], key: str) -> None:
        self._operation = operation
        self._own: KeyCarrier = (
            SourceKey() if operation is op.CREATE_INVOICE_FROM_ESTIMATE else key_carrier(key)
        )
        other = {"meta": INVOICE_KEY, INVOICE_KEY: "meta"}.get(key, key)
        self._other: KeyCarrier = key_carrier(other)
        self._has_both = operation in _CREATES.values()

    def lane_of(self, location: str, kind: str) -> str:
        """Return the lane of a document; an empty kind is the run's own."""
        is_own = not (self._has_both and kind) or kind == self.kind_of(location)
        return location if is_own else f"{location}{_SIGN}{kind}"

    def kind_of(self, lane: str) -> str:
        """Return the kind of a lane's documents, or an empty text for other operations."""
        return kind_in(lane) or _KINDS.get(self._operation.name, "")

    def operation_of(self, lane: str) -> Operation[Any]:
        """Return the operation of a lane's items."""
        kind = kind_in(lane)
        return _CREATES[kind] if kind else self._operation

    def keys_of(self, lane: str) -> KeyCarrier:
        """Return how the documents of a lane carry the run's key."""
        return self._other if kind_in(lane) else self._own

    def count(self, numbers: Iterable[tuple[str, int]]) -> dict[str, int]:
        """Add numbers of lanes by kind. Return nothing if the run has one kind only."""
        found: dict[str, int] = {}
        for lane, number in numbers:
            kind = self.kind_of(lane)
            found[kind] = found.get(kind, 0) + number
        return dict(sorted(found.items())) if len(found) > 1 else {}


def lane_kinds(header: dict[str, str]) -> LaneKinds:
    """Return the lanes of the run that a journal holds."""
    return LaneKinds(OPERATIONS[header["operation"]], header["key"])


def with_base_lanes(lanes: Iterable[str], locations: Iterable[str]) -> list[str]:
    """Return lanes in their order, those of the run's own kind first.

    Args:
        lanes: The lanes that have documents.
        locations: Lanes with customers or payments, which may have no document.
    """
    every = [*lanes, *locations]
    own = dict.fromkeys(one for one in every if not kind_in(one))
    return [*own, *dict.fromkeys(one for one in every if kind_in(one))]
