"""Internal. A location for the engine: perform items, list and delete documents."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

from hl_async import operations as op
from hl_async.bulk.documents import found_or_none, is_said_by_api
from hl_async.bulk.keys import KeyCarrier
from hl_async.bulk.protocol import Copy
from hl_async.bulk.stages.contact_book import ContactBook, LocationContacts
from hl_async.bulk.stages.customers import without_contact
from hl_async.bulk.stages.payment_book import LocationPayments, PaymentBook
from hl_async.bulk.stages.state_book import LocationStates, StateBook
from hl_async.config import CallOptions, Lane
from hl_async.errors import InvalidRequest, NotFound
from hl_async.operations import Operation
from hl_async.resources.holder import requester_of

if TYPE_CHECKING:
    from hl_async.client import Location


class Target(Protocol):
    """One location, from the view of bulk work."""

    @property
    def answerable(self) -> bool:
        """Whether a listing shows if the run's operation was executed."""
        ...

    async def perform(self, ids: tuple[str, ...], body: bytes, intend: Callable[[], Awaitable[None]]) -> str:
        """Send one item and return the id of its document.

        ``intend`` is awaited before every request.
        """
        ...

    def listing(self) -> AsyncGenerator[tuple[str | None, Copy], None]:
        """Yield each document of the run's kind with its key, newest first if known."""
        ...

    @property
    def contacts(self) -> ContactBook | None:
        """The contacts of the location.

        Without them, documents that lack a contact are not sent.
        """
        ...

    @property
    def payments(self) -> PaymentBook | None:
        """The payments of the location; None if the run creates no invoices."""
        ...

    @property
    def states(self) -> StateBook | None:
        """The states of the location's documents; None if the run sets none."""
        ...

    async def exists(self, document_id: str) -> bool | None:
        """Return whether the location holds a document; None if no call can say it."""
        ...

    async def delete(self, document_id: str) -> bool:
        """Delete a draft. Return False if the API says that it does not exist."""
        ...


# Lists that show whether an unrepeatable operation was executed. No list shows it for the others (sending, payments,
# text2pay), so those wait for a person.
_LISTED: dict[str, Operation[Any]] = {
    op.CREATE_ESTIMATE.name: op.LIST_ESTIMATES,
    op.CREATE_INVOICE.name: op.LIST_INVOICES,
    op.CREATE_INVOICE_FROM_ESTIMATE.name: op.LIST_INVOICES,
}


_COMPARED: Final = (
    "name", "title", "currency", "total", "issue_date_text", "expiry_date_text", "due_date_text", "terms_notes",
    "updated_by", "user_id",
)  # fmt: skip


def is_answerable(operation: Operation[Any]) -> bool:
    """Return whether a listing shows if ``operation`` was executed."""
    return operation.name in _LISTED


class LocationTarget:
    """A :class:`Location` as a target: calls in the bulk lane, without a time limit.

    Args:
        location: The location.
        operation: The run's operation.
        keys: How documents carry keys.
        attempt_timeout: Seconds for one request; by default the client's setting.
    """

    def __init__(
        self,
        location: Location,
        operation: Operation[Any],
        keys: KeyCarrier,
        *,
        attempt_timeout: float | None = None,
    ) -> None:
        self._at = requester_of(location)
        self._operation = operation
        self._listed = _LISTED.get(operation.name)
        self._keys = keys
        self._contacts = LocationContacts(location, attempt_timeout=attempt_timeout)
        self._payments = LocationPayments(location, attempt_timeout=attempt_timeout)
        self._states = LocationStates(location, attempt_timeout=attempt_timeout)
        self._options = CallOptions(lane=Lane.BULK, timeout=math.inf, attempt_timeout=attempt_timeout)

    @property
    def answerable(self) -> bool:
        return is_answerable(self._operation)

    @property
    def contacts(self) -> LocationContacts:
        return self._contacts

    @property
    def payments(self) -> LocationPayments | None:
        return self._payments if self._listed is op.LIST_INVOICES else None

    @property
    def states(self) -> LocationStates:
        return self._states

    async def perform(self, ids: tuple[str, ...], body: bytes, intend: Callable[[], Awaitable[None]]) -> str:
        """Send one item; see ``Target.perform``.

        Returns:
            The id of the document, or that of the estimate if the answer lacks the invoice made from it.

        Raises:
            InvalidRequest: The customer of the document has no contact yet.
        """
        # The API requires a contact's id and looks none up: docs/api-facts.md#api-required-fields
        if without_contact(body):
            raise InvalidRequest("contactDetails.id", "is missing: no contact was found for the customer")
        document = await self._at.call(
            self._operation, *ids, body=body or None, options=self._options, before_send=intend
        )
        if self._operation is op.CREATE_INVOICE_FROM_ESTIMATE:
            document = document.invoice
        # A live answer lacked the invoice; the estimate's id stands for it. docs/api-facts.md#api-estimate-to-invoice
        return getattr(document, "id", None) or (ids[0] if ids else "")

    async def listing(self) -> AsyncGenerator[tuple[str | None, Copy], None]:
        operation = _LISTED[self._operation.name]
        pager = self._at.paginate(operation, {}, limit=None, offset=0, options=self._options)
        async for document in pager:
            created = None if document.created_at is None else document.created_at.timestamp()
            draft = document.status in (None, "draft")
            yield self._keys.read(document), Copy(document.id, created, draft, _content(document))

    async def exists(self, document_id: str) -> bool | None:
        if self._listed is op.LIST_ESTIMATES:
            return None  # no route reads one estimate: docs/api-facts.md#api-get-one
        # A proxy's 404 taken for the API's would drop the controls that vouch for a list.
        answer = self._at.call(op.GET_INVOICE, document_id, options=self._options)
        return await found_or_none(answer) is not None

    async def delete(self, document_id: str) -> bool:
        remove: Operation[Any] = (
            op.DELETE_ESTIMATE if self._listed is op.LIST_ESTIMATES else op.DELETE_INVOICE
        )
        try:
            await self._at.call(remove, document_id, options=self._options)
        except NotFound as error:
            if not is_said_by_api(error):
                raise
            return False
        return True


def _content(document: Any) -> str:
    """Return the part of a document that copies of one request share.

    A person's copy or change does not share it.
    """
    lines = getattr(document, "invoice_items", None) or getattr(document, "items", None) or ()
    # Fields that estimates or invoices lack count as equal.
    parts = [getattr(document, name, None) for name in _COMPARED]
    return repr((parts, [(line.name, line.amount, line.qty) for line in lines]))
