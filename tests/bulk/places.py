"""A location in memory: a list that may lag or lose keys, deletions that may fail, and drafts people work on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from hl_async.errors import NotFound, ServerError
from hl_async.models import Estimate
from hl_async.models.codec import decoder

_estimate = decoder(Estimate)


def moment(seconds: float) -> str:
    """Seconds since the epoch, as the API writes them."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Place:
    """Estimates by id, in the wire's spelling.

    ``views`` are what the first listings show instead of what is there: a function of the documents. ``failures`` are
    consulted before each deletion and may raise.
    """

    def __init__(self) -> None:
        self.documents: dict[str, dict[str, Any]] = {}
        self.views: list[Callable[[dict[str, Any]], dict[str, Any]]] = []
        self.deletions: list[str] = []
        self.listings = 0
        self.reads_one = False
        self.before_delete: Callable[[str], None] = lambda document: None
        self.after_delete: Callable[[str], None] = lambda document: None

    def add(self, called: str, body: bytes, at: float, **changes: Any) -> str:
        """Create a document from the body of a request."""
        answer = msgspec.json.decode(body) | {
            "_id": called,
            "estimateStatus": "draft",
            "total": 29.97,
            "createdAt": moment(at),
            "updatedAt": moment(at),
        }
        self.documents[called] = answer | changes
        return called

    async def listing(self) -> AsyncIterator[Estimate]:
        """Yield the documents, as far as the list shows them."""
        view = self.views.pop(0) if self.views else dict
        self.listings += 1
        for one in list(view(dict(self.documents)).values()):
            yield _estimate(msgspec.json.encode(one))

    async def see(self, document_id: str) -> Estimate | None:
        """Return a document, or raise as the API would; None where it has no such call, as for estimates."""
        if not self.reads_one:
            return None
        if document_id not in self.documents:
            raise _missing()
        return _estimate(msgspec.json.encode(self.documents[document_id]))

    async def delete(self, document_id: str) -> None:
        """Delete a document, or raise as the API would."""
        self.before_delete(document_id)
        self.deletions.append(document_id)
        found = self.documents.pop(document_id, None)
        self.after_delete(document_id)
        if found is None:
            raise _missing()


def _missing() -> NotFound:
    text = "Estimate not found"
    body = f'{{"statusCode":404,"message":"{text}"}}'
    return NotFound(text, status=404, messages=(text,), body=body)


def broken(document: str) -> None:
    """A server that fails."""
    raise ServerError("Bad gateway", status=502, messages=("Bad gateway",))
