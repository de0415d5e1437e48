"""A location's list in memory, for feeds that are tested without a server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec

from hl_async.changes import Change, ChangeKind
from hl_async.changes.feed import Look
from hl_async.models import Estimate, Invoice

BEGIN = datetime(2026, 11, 1, tzinfo=UTC)


def estimate(document_id: str, /, status: str = "draft", at: int = 0, **changes: Any) -> Estimate:
    found = {"total": Decimal(10), "name": "Kitchen", **changes}
    return Estimate(id=document_id, status=status, updated_at=BEGIN + timedelta(seconds=at), **found)


class Shelf:
    """A location's list, newest first, with a clock of its own for updates."""

    name = "location/estimates/1"

    def __init__(self, count: int = 0, *, get: bool = False) -> None:
        self.documents = [estimate(f"d{number}") for number in reversed(range(count))]
        self.requests: list[float] = []
        self.ticks = 0
        self.get = get
        self.broken: list[Exception] = []
        self.per_second = 10_000.0

    def rate(self) -> float:
        return self.per_second

    def _asked(self) -> None:
        self.requests.append(asyncio.get_running_loop().time())
        if self.broken:
            raise self.broken.pop(0)

    async def page(self, offset: int, limit: int) -> Sequence[Estimate | Invoice]:
        self._asked()
        return self.documents[offset : offset + limit]

    async def look(self, document_id: str, contact_id: str, offset: int) -> Look:
        self._asked()
        found = next((one for one in self.documents if one.id == document_id), None)
        return Look(found, found is not None or self.get)

    def add(self, document_id: str, **changes: Any) -> None:
        self.ticks += 1
        self.documents.insert(0, estimate(document_id, at=self.ticks, **changes))

    def change(self, document_id: str, **changes: Any) -> None:
        self._change(next(at for at, one in enumerate(self.documents) if one.id == document_id), changes)

    def change_all(self, **changes: Any) -> None:
        """Change every document, the oldest first; one by one, a long shelf would be searched for each."""
        for at in reversed(range(len(self.documents))):
            self._change(at, changes)

    def _change(self, at: int, changes: dict[str, Any]) -> None:
        self.ticks += 1
        updated = BEGIN + timedelta(seconds=self.ticks)
        self.documents[at] = msgspec.structs.replace(self.documents[at], updated_at=updated, **changes)

    def delete(self, name: str) -> None:
        self.documents = [one for one in self.documents if one.id != name]


async def taken(changes: AsyncIterator[Change]) -> list[tuple[str, ChangeKind]]:
    return [(change.document_id, change.kind) async for change in changes]
