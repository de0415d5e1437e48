"""Internal. Items as columns of a table, the same in every journal."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple

import msgspec

from hl_async.bulk.journals.protocol import ItemRow, LaneStatus, PlannedItem
from hl_async.bulk.protocol import KnownItem, LaneFacts, State
from hl_async.bulk.sources.records import Reject, SourceItem


def item_row(columns: Sequence[Any]) -> ItemRow:
    """Build an item's row from the columns of the statement ``rows``."""
    # by position: the order of the statement's columns is the order of the fields
    row = ItemRow(*columns)
    # totals are text in both databases: a binary fraction would change them, and a decimal would lose its zeros
    return row._replace(
        state=State(row.state),
        total=None if row.total is None else Decimal(row.total),
        ids=ids_of(columns[ItemRow._fields.index("ids")]),
    )


class ItemColumns(NamedTuple):
    """The columns of an item, from a record of a source."""

    ordinal: int
    source_id: str
    key: str | None
    location: str
    ids: str
    body: bytes | None
    raw: bytes | None
    total: str | None
    currency: str
    place: str
    state: str
    reason: str | None
    digest: bytes | None


def digest_of(key: str, location: str, ids: str, body: bytes) -> bytes:
    """Return a digest of everything that decides which request an item becomes."""
    # against damage, not against an attacker: who can write the journal can write the digest
    digest = hashlib.blake2b(digest_size=16)
    # lengths first: ("ab", "c") and ("a", "bc") have to differ
    for part in (key, location, ids):
        encoded = part.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(4, "big") + encoded)
    digest.update(body)
    return digest.digest()


def columns_of(record: tuple[SourceItem, str, bytes] | Reject) -> ItemColumns:
    """Return a record's columns: items are planned, rejects rejected or skipped."""
    # a reject has neither key nor location, so no lane ever takes it
    if isinstance(record, Reject):
        state = State.SKIPPED if record.skipped else State.REJECTED
        return ItemColumns(
            record.ordinal, record.source_id, None, "", "[]", None, record.raw, _text(record.total), "",
            record.place, state.value, record.reason, None,
        )  # fmt: skip
    item, key, body = record
    ids = msgspec.json.encode(item.ids).decode()
    return ItemColumns(
        item.ordinal, item.source_id, key, item.location, ids, body, item.raw, _text(item.total), item.currency,
        item.place, State.PLANNED.value, None, digest_of(key, item.location, ids, body),
    )  # fmt: skip


DAMAGED: Final = "its request in the journal is damaged; it was not sent. Migrate it again from the source"
"""The reason of an item whose digest does not fit."""


def intact(rows: Iterable[Sequence[Any]]) -> tuple[list[PlannedItem], list[tuple[int, int]]]:
    """Split rows of ``take`` into items to send and damaged (ordinal, attempt) pairs."""
    items: list[PlannedItem] = []
    damaged: list[tuple[int, int]] = []
    for ordinal, key, ids, body, attempt, location, digest in rows:
        # SQLite keeps a value of any type: a statement by hand turns bytes into text
        is_whole = isinstance(key, str) and isinstance(ids, str) and isinstance(body, bytes)
        # without a digest, a journal of an earlier version planned the item
        if not is_whole or (digest is not None and digest != digest_of(key, location, ids, body)):
            damaged.append((ordinal, attempt))
        else:
            items.append(PlannedItem(ordinal, key, ids_of(ids), body, attempt))
    return items, damaged


def known_items(rows: Iterable[Sequence[Any]]) -> dict[str, KnownItem]:
    """Return the rows of the statement ``known_items`` by key."""
    return {key: KnownItem(n, document, State(state), *rest) for key, n, document, state, *rest in rows}


def lane_facts(row: Sequence[Any]) -> LaneFacts:
    """Return the facts in a row of the statement ``lane_facts``."""
    # the note alone is not enough: a process may have died between an intent and its note
    planned, sent, last, proven, swept_at, noted, resumed, unclean = row
    ever = max((moment for moment in (last, noted) if moment is not None), default=None)
    return LaneFacts(planned, sent, bool(proven), last, ever, swept_at, resumed, unclean)


def ids_of(text: str) -> tuple[str, ...]:
    """Return the ids that :func:`columns_of` made one text of."""
    return msgspec.json.decode(text, type=tuple[str, ...])


def lane_status(location: str, counts: dict[str, int], **more: Any) -> LaneStatus:
    """Return the status of a lane.

    Args:
        location: The location's id.
        counts: The number of items in each state.
        more: The other fields of :class:`LaneStatus`.
    """
    return LaneStatus(
        location,
        created=counts.get(State.CREATED.value, 0),
        rejected=counts.get(State.REJECTED.value, 0),
        unknown=counts.get(State.UNKNOWN.value, 0),
        planned=counts.get(State.PLANNED.value, 0),
        ambiguous=counts.get(State.SENT.value, 0),
        **more,
    )


def add_up(sums: Iterable[Sequence[Any]]) -> dict[str, dict[str, Decimal]]:
    """Add up rows of the statement ``sums`` into totals by state and currency."""
    totals: dict[str, dict[str, Decimal]] = {}
    for state, currency, total, number in sums:
        # in decimals: SQLite would add the texts up as binary fractions
        of_state = totals.setdefault(state, {})
        of_state[currency] = of_state.get(currency, Decimal(0)) + Decimal(total) * number
    return totals


def _text(total: Decimal | None) -> str | None:
    return None if total is None else str(total)
