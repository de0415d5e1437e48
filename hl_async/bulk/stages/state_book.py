"""Internal. The invoices and contacts of a location, for the states stage."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

from hl_async import operations as op
from hl_async.bulk.documents import found_or_none
from hl_async.config import CallOptions, Lane
from hl_async.errors import DecodeError
from hl_async.resources.holder import requester_of

if TYPE_CHECKING:
    from hl_async.client import Location

Intend = Callable[[], Awaitable[None]]


class StateBook(Protocol):
    """The states of invoices and tags of contacts. Changes first await ``intend``."""

    async def status(self, invoice_id: str) -> str | None:
        """Return the status of an invoice, None if the API says that it does not exist."""
        ...

    async def send(self, invoice_id: str, body: bytes, intend: Intend) -> None:
        """Mark an invoice as sent."""
        ...

    async def void(self, invoice_id: str, intend: Intend) -> None:
        """Void an invoice."""
        ...

    async def tags(self, contact_id: str) -> list[str] | None:
        """Return the tags of a contact, None if the API says that it does not exist."""
        ...

    async def add_tags(self, contact_id: str, body: bytes, intend: Intend) -> None:
        """Add tags to a contact."""
        ...


class LocationStates:
    """The states of a :class:`~hl_async.client.Location`, called in the bulk lane."""

    def __init__(self, location: Location, *, attempt_timeout: float | None = None) -> None:
        self._options = CallOptions(lane=Lane.BULK, timeout=math.inf, attempt_timeout=attempt_timeout)
        self._at = requester_of(location)

    async def status(self, invoice_id: str) -> str | None:
        invoice = await found_or_none(self._at.call(op.GET_INVOICE, invoice_id, options=self._options))
        if invoice is None:
            return None
        if not invoice.status:
            raise DecodeError("the invoice lacks its status", operation=op.GET_INVOICE.at)
        return invoice.status

    async def send(self, invoice_id: str, body: bytes, intend: Intend) -> None:
        await self._at.call(op.SEND_INVOICE, invoice_id, body=body, options=self._options, before_send=intend)

    async def void(self, invoice_id: str, intend: Intend) -> None:
        await self._at.call(op.VOID_INVOICE, invoice_id, options=self._options, before_send=intend)

    async def tags(self, contact_id: str) -> list[str] | None:
        answer = await found_or_none(self._at.call(op.GET_CONTACT, contact_id, options=self._options))
        if answer is None:
            return None
        if answer.contact is None:
            raise DecodeError("the answer holds no contact", operation=op.GET_CONTACT.at)
        return answer.contact.tags or []

    async def add_tags(self, contact_id: str, body: bytes, intend: Intend) -> None:
        await self._at.call(
            op.ADD_CONTACT_TAGS, contact_id, body=body, options=self._options, before_send=intend
        )
