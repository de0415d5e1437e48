"""Invoices of one location, with payments, text2pay and the invoice settings."""

from __future__ import annotations

from datetime import date, datetime
from functools import partial
from typing import TYPE_CHECKING, Unpack

from hl_async import operations as op
from hl_async.errors import InvalidRequest
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
from hl_async.models.plain import check_names
from hl_async.pagination import Pager
from hl_async.resources.changes import ListSource, feed_of
from hl_async.resources.locations import LocationRequester
from hl_async.resources.once_documents import create_invoice_once
from hl_async.resources.repeating import check_unchanged, deleted, reached
from hl_async.resources.requesting import with_number

if TYPE_CHECKING:
    from hl_async.changes import ChangeFeed, CursorStore


class Invoices:
    """Invoices of one location, as ``location.invoices``."""

    __slots__ = ("_at",)

    def __init__(self, at: LocationRequester) -> None:
        self._at = at

    async def create(self, invoice: InvoiceDraft, *, once: str | None = None) -> Invoice:
        """Create an invoice as a draft. Nothing is sent or charged.

        Without `once`, a second call creates another one.

        Args:
            invoice: The new invoice.
            once: A key of yours. Calls with the same key return the same invoice. Invoices have no `meta`, so the key
                needs `invoice.invoice_number` or a store: see docs/how-to/form-to-estimate.md.

        Returns:
            The created invoice.

        Raises:
            ValidationFailed: The API rejected a field; see ``error.messages``.
            BadRequest: The API rejected the document.
            OutcomeUnknown: The answer is missing, so the invoice may exist.
            KeyReused: The key or the number belongs to an invoice with another content.
            NotFound: The invoice of the key was deleted.
            InvalidRequest: The key is not valid, or `once` is given with neither a number nor a store.
            TokenStoreError: The store of keys failed. Nothing was sent.

        Example::

            created = await shop.invoices.create(invoice_draft)
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
        """List invoices. Await the first page, or iterate over all of them.

        Args:
            status: A status such as draft, sent or paid. Unknown ones are passed on.
            contact_id: Invoices of this contact only.
            search: An id, name, e-mail address or phone number.
            start: First day. It is undocumented which date the API compares.
            end: Last day.
            payment_mode: default, live or test.
            sort: ascend or descend, by issue date.
            limit: Invoices per request.
            offset: Invoices to skip.

        Returns:
            A pager. Await it for the first page, or iterate over it for all invoices.

        Example::

            async for one in shop.invoices.list(status="draft", sort="descend"):
                print(one.invoice_number, one.amount_due)
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
                # The specification declares one field to sort by.
                "sortField": "issueDate" if sort else None,
                "sortOrder": sort,
            },
            limit=limit,
            offset=offset,
        )

    async def get(self, invoice_id: str) -> Invoice:
        """Read one invoice. Raises :class:`NotFound`.

        Example::

            found = await shop.invoices.get(invoice.id)
        """
        return await self._at.call(op.GET_INVOICE, invoice_id)

    async def update(self, invoice_id: str, invoice: InvoiceUpdate) -> Invoice:
        """Replace an invoice. Nothing is sent to the customer. Safe to retry.

        The API overwrites the whole document, so start from ``invoice.to_update()``. :meth:`patch` does that for you.

        Args:
            invoice_id: The invoice to replace.
            invoice: The complete new document.

        Raises:
            NotFound: The invoice is not in this location.
            ValidationFailed: The API rejected a field; see ``error.messages``.
            BadRequest: The API rejected the document.

        Example::

            await shop.invoices.update(invoice.id, invoice.to_update(name="Second part"))
        """
        return await self._at.call(op.UPDATE_INVOICE, invoice_id, body=invoice)

    async def patch(
        self, invoice_id: str, *, seen: datetime | None = None, **changes: Unpack[InvoiceChanges]
    ) -> Invoice:
        """Change some fields of an invoice and keep the others: read, change, write.

        The API has no conditional write, so a change in the milliseconds before the write is not noticed.

        Args:
            invoice_id: The invoice to change.
            seen: The ``updated_at`` of the version on which the change is based.
            changes: Fields of :class:`InvoiceUpdate`.

        Returns:
            The invoice as the API answered it.

        Raises:
            WriteConflict: The invoice was changed since ``seen``, or while this call ran. Nothing was written.
            NotFound: The invoice is not in this location.
            InvalidRequest: A field is unknown or read-only, or its value is invalid.
            ValidationFailed: The API rejected a field.

        Example::

            changed = await shop.invoices.patch(invoice.id, name="Second part")
        """
        if not changes:
            raise InvalidRequest("changes", "is empty; name at least one field of InvoiceUpdate")
        check_names(InvoiceUpdate, changes)  # before the reads, which may fail for another reason
        before = await self.get(invoice_id)
        await self._at.read_dates(before)
        update = before.to_update(**changes)
        # Read again just before the write. The API has no conditional write, so this only narrows the gap.
        now = await self.get(invoice_id)
        name = f"invoice {invoice_id}"
        check_unchanged(name, now.updated_at, seen, before.updated_at, operation=op.UPDATE_INVOICE)
        return await self.update(invoice_id, update)

    async def delete(self, invoice_id: str) -> Invoice:
        """Delete a draft. Safe to retry.

        Returns:
            The deleted invoice. Only ``id`` is set if an earlier attempt of this call deleted it and its answer was
            lost.

        Raises:
            BadRequest: The invoice is not a draft.
            NotFound: The invoice is not in this location.
        """
        return await deleted(self._at.call(op.DELETE_INVOICE, invoice_id), Invoice(id=invoice_id))

    async def void(self, invoice_id: str) -> Invoice:
        """Void an invoice, so that the customer owes nothing for it. Safe to retry.

        Returns:
            The voided invoice. It is read again if an earlier attempt of this call voided it and its answer was lost.

        Raises:
            BadRequest: The invoice is a draft (delete it instead), or has a payment that must be refunded first.
            NotFound: The invoice is not in this location.

        Example::

            await shop.invoices.void(open_invoice.id)
        """
        return await reached(
            self._at.call(op.VOID_INVOICE, invoice_id),
            partial(self.get, invoice_id),
            lambda invoice: invoice.status == "void",
        )

    async def send(self, invoice_id: str, message: InvoiceSend) -> InvoiceSent:
        """Send an invoice to the customer by mail or SMS, in a location user's name.

        Every call sends a message. With ``auto_payment`` the customer may be charged.

        Args:
            invoice_id: The invoice to send.
            message: The channel and the user who sends.

        Raises:
            NotFound: The invoice is not in this location.
            OutcomeUnknown: The answer is missing, so the message may have been sent.

        Example::

            await shop.invoices.send(invoice.id, InvoiceSend(action="email", user_id=user_id, live_mode=True))
        """
        return await self._at.call(op.SEND_INVOICE, invoice_id, body=message)

    async def record_payment(self, invoice_id: str, payment: RecordPayment) -> PaymentRecorded:
        """Record a payment made elsewhere. No money moves; the amount due decreases.

        A second call records a second payment.

        Args:
            invoice_id: The paid invoice.
            payment: The payment. Without an amount, the API probably books the whole amount due
                (docs/api-facts.md#api-record-payment).

        Raises:
            NotFound: The invoice is not in this location.
            BadRequest: The invoice is not open, or the amount exceeds the amount due.
            OutcomeUnknown: The answer is missing, so the payment may be recorded.

        Example::

            await shop.invoices.record_payment(open_invoice.id, RecordPayment(mode="cash", notes="at the counter"))
        """
        return await self._at.call(op.RECORD_PAYMENT, invoice_id, body=payment)

    async def update_late_fees(self, invoice_id: str, late_fees: LateFeesConfiguration) -> Invoice:
        """Replace the invoice's late fees. Safe to retry. Raises :class:`NotFound`."""
        return await self._at.call(
            op.UPDATE_INVOICE_LATE_FEES, invoice_id, body=LateFeesUpdate(late_fees_configuration=late_fees)
        )

    async def generate_number(self) -> InvoiceNumber:
        """Return the next free invoice number, as text. The call does not reserve it."""
        found = await self._at.call(op.GENERATE_INVOICE_NUMBER)
        return with_number(found, "invoice_number", op.GENERATE_INVOICE_NUMBER)

    async def touch_last_visited(self, invoice_id: str) -> None:
        """Record that the customer viewed the invoice now."""
        # The id is in the body here, and the API may accept any text there.
        op.path_segment("invoice_id", invoice_id)
        await self._at.call(op.TOUCH_INVOICE, body=InvoiceVisit(invoice_id=invoice_id))

    async def text2pay(self, request: Text2Pay) -> Text2PayResult:
        """Create an invoice, or update the one with ``request.id``.

        With action "send" the API sends it to the customer. The operation needs a location token. A second call
        without an id creates a second invoice.

        Returns:
            The invoice, and in ``invoice_url`` the page on which the customer pays.

        Raises:
            ValidationFailed: The API rejected a field; see ``error.messages``.
            OutcomeUnknown: The answer is missing, so the invoice may exist.
        """
        return await self._at.call(op.TEXT2PAY, body=request)

    async def settings(self) -> InvoiceSettings:
        """Return the location's settings of invoices and estimates.

        They are prefixes, terms, notifications and fees.
        """
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

        The feed reads lists, behind all interactive calls. Iterate over it with ``async for``. It does not end.

        Args:
            cursor: Stores the feed's position, so that a restart continues. By default it is lost with the process.
            share: Part of the location's rate budget that the feed may use, above 0 and at most 1.
            every: Seconds between two reads of the newest documents.
            lease: Seconds after which another process takes over from one that died.

        Returns:
            The feed. Iterating over it reads the lists.

        Example:
            ``async for change in shop.invoices.changes(cursor=SqliteCursors("watch.db")): ...``
        """
        source = ListSource(self._at, "invoices", op.LIST_INVOICES, op.GET_INVOICE)
        return feed_of(source, cursor, share, every, lease)

    def _learn(self, answer: Invoice, sent: InvoiceDraft) -> None:
        self._at.learn(
            answer, (sent.issue_date, answer.issue_date_text), (sent.due_date, answer.due_date_text)
        )
