"""Invoices of one location, with payments, text2pay and the invoice settings."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Unpack

from hl_async import operations as op
from hl_async.errors import BadRequest, InvalidRequest, NotFound, WriteConflict
from hl_async.models import (
    Invoice,
    InvoiceDraft,
    InvoiceNumber,
    InvoiceSend,
    InvoiceSent,
    InvoiceSettings,
    InvoiceUpdate,
    InvoiceVisit,
    LateFeesConfiguration,
    LateFeesUpdate,
    PaymentRecorded,
    RecordPayment,
    Text2Pay,
    Text2PayResult,
)
from hl_async.models.choices import InvoiceStatus, PaymentModeFilter, SortOrder
from hl_async.models.invoices import InvoiceChanges
from hl_async.pagination import Pager
from hl_async.resources.changes import ListSource, feed_of
from hl_async.resources.locations import LocationRequester
from hl_async.resources.once_documents import create_invoice_once
from hl_async.resources.requesting import with_number

if TYPE_CHECKING:
    from hl_async.changes import ChangeFeed, CursorStore


class Invoices:
    """``location.invoices``."""

    __slots__ = ("_at",)

    def __init__(self, at: LocationRequester) -> None:
        self._at = at

    async def create(self, invoice: InvoiceDraft, *, once: str | None = None) -> Invoice:
        """Create an invoice as a draft; nothing is sent, nothing is charged.

        Not repeatable: raises :class:`OutcomeUnknown` when no answer says whether it was created. Refused
        documents raise :class:`ValidationFailed` or :class:`BadRequest`.

        Args:
            invoice: The new invoice.
            once: A key of yours. Calls with the same key return the same invoice. Invoices take no `meta`, so it
                needs `invoice.invoice_number`, or a store: see docs/how-to/form-to-estimate.md.

        Raises:
            KeyReused: The key, or the number, made an invoice of another content.
            InvalidRequest: There is neither a number nor a store.
        """
        if once is not None:
            return await create_invoice_once(self._at, invoice, once, invoice)
        made = await self._at.call(op.CREATE_INVOICE, body=invoice)
        self._learn(made, invoice)
        return made

    def list(
        self,
        *,
        status: InvoiceStatus | None = None,
        contact_id: str | None = None,
        search: str | None = None,
        start: date | str | None = None,
        end: date | str | None = None,
        payment_mode: PaymentModeFilter | None = None,
        sort: SortOrder | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> Pager[Invoice]:
        """All invoices that fit; await for the first page, iterate for all.

        ``search`` matches id, name, e-mail or phone number; ``payment_mode`` is default, live or test; ``sort`` is
        ascend or descend by issue date; ``status`` is passed on as it is; ``limit`` is the page size.
        """
        return self._at.paginate(
            op.LIST_INVOICES,
            {
                "status": status,
                "contactId": contact_id,
                "search": search,
                "startAt": start,
                "endAt": end,
                "paymentMode": payment_mode,
                "sortField": "issueDate" if sort else None,
                "sortOrder": sort,
            },
            limit=limit,
            offset=offset,
        )

    async def get(self, invoice_id: str) -> Invoice:
        """One invoice. Raises :class:`NotFound`."""
        return await self._at.call(op.GET_INVOICE, invoice_id)

    async def update(self, invoice_id: str, invoice: InvoiceUpdate) -> Invoice:
        """Replace an invoice: fields left out are lost, so start from ``invoice.to_update()``.

        Sends nothing to the customer. Repeatable. Raises :class:`NotFound`, :class:`ValidationFailed`,
        :class:`BadRequest`.
        """
        return await self._at.call(op.UPDATE_INVOICE, invoice_id, body=invoice)

    async def patch(
        self, invoice_id: str, *, seen: datetime | None = None, **changes: Unpack[InvoiceChanges]
    ) -> Invoice:
        """Change some fields and keep the rest: read, change, write.

        ``changes`` are fields of :class:`InvoiceUpdate`. ``seen`` is the ``updated_at`` of the version the change is
        based on. Raises :class:`WriteConflict`, with nothing written, when the invoice was changed since ``seen`` or
        between our reading and our writing, as far as ``updated_at`` tells; a writer in the last milliseconds
        before ours can't be noticed, the API has no conditional write. Raises :class:`NotFound`.
        """
        if not changes:
            raise InvalidRequest("changes", "is empty; name at least one field of InvoiceUpdate")
        before = await self.get(invoice_id)
        await self._at.read_dates(before)
        update = before.to_update(**changes)
        now = await self.get(invoice_id)
        for expected in (seen, before.updated_at):
            if expected is not None and now.updated_at != expected:
                raise WriteConflict(
                    f"invoice {invoice_id} was changed at {now.updated_at} by somebody else; read it again",
                    operation=op.UPDATE_INVOICE.name,
                )
        return await self.update(invoice_id, update)

    async def delete(self, invoice_id: str) -> Invoice:
        """Delete a draft and return what it was; repeatable.

        Raises :class:`BadRequest` when the invoice is no draft, :class:`NotFound` when there is none. When an
        earlier attempt of this call had worked and its answer was lost, only ``id`` is set.
        """
        try:
            return await self._at.call(op.DELETE_INVOICE, invoice_id)
        except NotFound as error:
            if not error.ambiguous:
                raise
        return Invoice(id=invoice_id)

    async def void(self, invoice_id: str) -> Invoice:
        """Void an invoice: the customer owes nothing any more. Drafts can't be voided, delete them.

        A payment taken through the payment provider must be refunded first (:class:`BadRequest`). Repeatable:
        when an earlier attempt of this call had worked and its answer was lost, the voided invoice is read back.
        """
        try:
            return await self._at.call(op.VOID_INVOICE, invoice_id)
        except BadRequest as error:
            if not error.ambiguous:
                raise
            refused = error
        invoice = await self.get(invoice_id)
        if invoice.status != "void":
            raise refused
        return invoice

    async def send(self, invoice_id: str, message: InvoiceSend) -> InvoiceSent:
        """Send an invoice to the customer by mail or SMS, in the name of a user of the location.

        With ``auto_payment`` the customer may be charged. Not repeatable: raises :class:`OutcomeUnknown` when no
        answer says whether it went out.
        """
        return await self._at.call(op.SEND_INVOICE, invoice_id, body=message)

    async def record_payment(self, invoice_id: str, payment: RecordPayment) -> PaymentRecorded:
        """Record a payment that happened elsewhere; no money is moved, the amount due shrinks.

        Without an amount the whole amount due is taken as paid (inferred). Not repeatable: a second call records
        a second payment; raises :class:`OutcomeUnknown` when no answer came.
        """
        return await self._at.call(op.RECORD_PAYMENT, invoice_id, body=payment)

    async def update_late_fees(self, invoice_id: str, late_fees: LateFeesConfiguration) -> Invoice:
        """Replace the invoice's late fees; repeatable."""
        return await self._at.call(
            op.UPDATE_INVOICE_LATE_FEES, invoice_id, body=LateFeesUpdate(late_fees_configuration=late_fees)
        )

    async def generate_number(self) -> InvoiceNumber:
        """The next free invoice number, as text; asking does not reserve it."""
        found = await self._at.call(op.GENERATE_INVOICE_NUMBER)
        return with_number(found, "invoice_number", op.GENERATE_INVOICE_NUMBER)

    async def touch_last_visited(self, invoice_id: str) -> None:
        """Record that the customer looked at the invoice just now."""
        op.path_segment("invoice_id", invoice_id)
        await self._at.call(op.TOUCH_INVOICE, body=InvoiceVisit(invoice_id=invoice_id))

    async def text2pay(self, request: Text2Pay) -> Text2PayResult:
        """Create an invoice, or update the one named by ``request.id``, and send it with action "send".

        The answer's ``invoice_url`` is the page on which the customer pays. Needs a location token. Not
        repeatable: raises :class:`OutcomeUnknown` when no answer came.
        """
        return await self._at.call(op.TEXT2PAY, body=request)

    async def settings(self) -> InvoiceSettings:
        """The location's invoice and estimate settings: prefixes, terms, notifications, fees."""
        return await self._at.call(op.GET_INVOICE_SETTINGS)

    def changes(
        self,
        *,
        cursor: CursorStore | None = None,
        share: float = 0.2,
        every: float = 5.0,
        lease: float = 30.0,
    ) -> ChangeFeed:
        """Watch for changes: sent, paid, partially paid, void, edited, deleted.

        Reads lists in the background of other calls. Iterate over it with ``async for``; it does not end by itself.

        Args:
            cursor: Where the feed keeps what it saw, so that a restart goes on; forgotten with the process if left out.
            share: The part of the location's rate budget that it may use.
            every: Seconds between two looks at the newest documents.
            lease: Seconds after which another process takes over from one that died.

        Example:
            ``async for change in shop.invoices.changes(cursor=SqliteCursors("watch.db")): ...``
        """
        source = ListSource(self._at, "invoices", op.LIST_INVOICES, op.GET_INVOICE)
        return feed_of(source, cursor, share, every, lease)

    def _learn(self, answer: Invoice, sent: InvoiceDraft) -> None:
        self._at.learn(
            answer, (sent.issue_date, answer.issue_date_text), (sent.due_date, answer.due_date_text)
        )
