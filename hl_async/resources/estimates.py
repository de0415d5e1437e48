"""Estimates of one location."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Unpack

from hl_async import operations as op
from hl_async.errors import InvalidRequest, NotFound
from hl_async.models import (
    Estimate,
    EstimateDraft,
    EstimateNumber,
    EstimateSend,
    EstimateUpdate,
    EstimateVisit,
    Invoice,
    InvoiceFromEstimate,
    InvoiceFromEstimateResult,
)
from hl_async.models.choices import EstimateStatus
from hl_async.models.estimates import EstimateChanges
from hl_async.models.plain import check_names
from hl_async.models.preparation import refuse_status
from hl_async.pagination import Pager
from hl_async.resources.changes import ListSource, feed_of
from hl_async.resources.locations import LocationRequester
from hl_async.resources.once_documents import (
    create_estimate_once,
    invoice_estimate_once,
    send_estimate_once,
)
from hl_async.resources.repeating import check_unchanged, deleted
from hl_async.resources.requesting import with_number

if TYPE_CHECKING:
    from hl_async.changes import ChangeFeed, CursorStore


class Estimates:
    """Estimates of one location, as ``location.estimates``."""

    __slots__ = ("_at",)

    def __init__(self, at: LocationRequester) -> None:
        self._at = at

    async def create(self, estimate: EstimateDraft, *, once: str | None = None) -> Estimate:
        """Create an estimate as a draft. Nothing is sent to the customer.

        A missing title, issue date or line type is filled in (docs/api-facts.md#api-required-fields). Without `once`,
        a second call creates a second estimate.

        Args:
            estimate: The new estimate.
            once: A key of yours, such as the id of a form. Calls with the same key return the same estimate: after a
                second click, in another process, and after a crash or `OutcomeUnknown`. The key is stored in `meta`.
                docs/how-to/form-to-estimate.md lists its requirements.

        Returns:
            The created estimate.

        Raises:
            ValidationFailed: The API rejected a field; see ``error.messages``.
            BadRequest: The API rejected the document.
            OutcomeUnknown: The answer is missing, so the estimate may exist.
            KeyReused: The key belongs to an estimate with another content.
            NotFound: The estimate of the key was deleted.
            OnceUndecided: An estimate with the same content exists, and lists return no `meta`.
            InvalidRequest: The key is not valid, or needs a store because lists return no `meta`.
            TokenStoreError: The store of keys failed. Nothing was sent.

        Example::

            estimate = await shop.estimates.create(draft, once="form-7f3a")
        """
        if once is not None:
            return await create_estimate_once(self._at, estimate, once, estimate)
        made = await self._at.call(op.CREATE_ESTIMATE, body=estimate)
        self._learn(made, estimate)
        return made

    def list(
        self,
        *,
        status: EstimateStatus | None = None,
        contact_id: str | None = None,
        search: str | None = None,
        start: date | str | None = None,
        end: date | str | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> Pager[Estimate]:
        """List estimates. Await the first page, or iterate over all of them.

        Args:
            status: all, draft, sent, accepted, declined, invoiced or viewed.
            contact_id: Estimates of this contact only.
            search: Text in the name.
            start: First day. It is undocumented which date the API compares.
            end: Last day.
            limit: Estimates per request.
            offset: Estimates to skip.

        Returns:
            A pager. Await it for the first page, or iterate over it for all estimates.

        Example::

            async for estimate in shop.estimates.list(status="draft"):
                print(estimate.estimate_number, estimate.total)
        """
        return self._at.paginate(
            op.LIST_ESTIMATES,
            {"status": status, "contactId": contact_id, "search": search, "startAt": start, "endAt": end},
            limit=limit,
            offset=offset,
        )

    async def find(
        self,
        estimate_id: str | None = None,
        *,
        number: int | str | None = None,
        contact_id: str | None = None,
    ) -> Estimate | None:
        """Find an estimate by id or number.

        The API has no route for one estimate, so this scans the list, with one request per 100 estimates.

        Args:
            estimate_id: The id.
            number: The estimate number, without its prefix.
            contact_id: Scan the estimates of this contact only.

        Returns:
            The estimate, or None if it is not in the list.

        Raises:
            InvalidRequest: Neither or both of id and number are given, or the id is not valid.

        Example::

            estimate = await shop.estimates.find(number=1)
        """
        if (estimate_id is None) == (number is None):
            raise InvalidRequest("estimate_id", "give either estimate_id or number")
        # A malformed id is refused before the scan, which could take a thousand requests to find nothing.
        if estimate_id is not None:
            op.path_segment("estimate_id", estimate_id)
        # No route reads one estimate: docs/api-facts.md#api-get-one
        async for estimate in self.list(contact_id=contact_id):
            # Compared as text, because numbers arrive in both forms: docs/api-facts.md#api-answer-fields
            if estimate.id == estimate_id or (
                number is not None and str(estimate.estimate_number) == str(number)
            ):
                return estimate
        return None

    async def update(self, estimate_id: str, estimate: EstimateUpdate) -> Estimate:
        """Replace an estimate. Nothing is sent to the customer. Safe to retry.

        The API overwrites the whole document, so start from ``estimate.to_update()``. :meth:`patch` does that for you.

        Args:
            estimate_id: The estimate to replace.
            estimate: The complete new document.

        Raises:
            NotFound: The estimate is not in this location.
            ValidationFailed: The API rejected a field; see ``error.messages``.
            BadRequest: The API rejected the document.

        Example::

            await shop.estimates.update(estimate.id, estimate.to_update(title="Second offer"))
        """
        return await self._at.call(op.UPDATE_ESTIMATE, estimate_id, body=estimate)

    async def patch(
        self, estimate_id: str, *, seen: datetime | None = None, **changes: Unpack[EstimateChanges]
    ) -> Estimate:
        """Change some fields of an estimate and keep the others: read, change, write.

        The API has no conditional write, so a change in the milliseconds before the write is not noticed.

        Args:
            estimate_id: The estimate to change.
            seen: The ``updated_at`` of the version on which the change is based.
            changes: Fields of :class:`EstimateUpdate`.

        Returns:
            The estimate as the API answered it.

        Raises:
            WriteConflict: The estimate was changed since ``seen``, or while this call ran. Nothing was written.
            NotFound: The estimate is not in this location.
            InvalidRequest: A field is unknown or read-only, or its value is invalid.
            ValidationFailed: The API rejected a field.

        Example::

            changed = await shop.estimates.patch(estimate.id, title="Second offer")
        """
        if not changes:
            raise InvalidRequest("changes", "is empty; name at least one field of EstimateUpdate")
        check_names(EstimateUpdate, changes)  # before the reads, which may fail for another reason
        if "estimate_status" in changes and self._at.follows("status_read_only"):
            # The API answers 200 and ignores it: docs/api-facts.md#api-put-replaces
            refuse_status(changes["estimate_status"])
        # The first read has no contact to filter by, the second one has.
        before = await self._read(estimate_id, None)
        await self._at.read_dates(before)
        update = before.to_update(**changes)
        contact = before.contact_details.id if before.contact_details else None
        # Read again just before the write. The API has no conditional write, so this only narrows the gap.
        now = await self._read(estimate_id, contact)
        name = f"estimate {estimate_id}"
        check_unchanged(name, now.updated_at, seen, before.updated_at, operation=op.UPDATE_ESTIMATE)
        return await self.update(estimate_id, update)

    async def delete(self, estimate_id: str) -> Estimate:
        """Delete an estimate. Safe to retry.

        Returns:
            The deleted estimate. Only ``id`` and ``deleted`` are set if an earlier attempt of this call deleted it and
            its answer was lost. The API may answer ``deleted: false`` for a deleted estimate.

        Raises:
            NotFound: The estimate is not in this location.

        Example::

            await shop.estimates.delete(estimate.id)
        """
        gone = Estimate(id=estimate_id, deleted=True)
        return await deleted(self._at.call(op.DELETE_ESTIMATE, estimate_id), gone)

    async def send(
        self,
        estimate_id: str,
        message: EstimateSend,
        *,
        once: bool = False,
        contact_id: str | None = None,
    ) -> Estimate:
        """Send an estimate to the customer by mail or SMS, in a location user's name.

        Args:
            estimate_id: The estimate to send.
            message: The channel and the user who sends.
            once: Send only if the estimate is still a draft, even if other processes send it at the same time. A lost
                answer is looked up. Without it, every call sends a message.
            contact_id: The estimate's contact. With `once`, it saves a scan of all estimates.

        Returns:
            The estimate after sending.

        Raises:
            OutcomeUnknown: The answer is missing, so the message may have been sent.
            NotFound: The estimate is not in this location.
            KeyReused: With `once`, the estimate was sent with another message.
            TokenStoreError: With `once`, the store of keys failed. Nothing was sent.

        Example::

            await shop.estimates.send(
                estimate.id, EstimateSend(action="email", user_id=user_id, live_mode=True), once=True
            )
        """
        if once:
            return await send_estimate_once(self._at, await self._read(estimate_id, contact_id), message)
        return await self._at.call(op.SEND_ESTIMATE, estimate_id, body=message)

    async def create_invoice(
        self,
        estimate_id: str,
        *,
        mark_as_invoiced: bool,
        version: str | None = None,
        once: bool = False,
        contact_id: str | None = None,
    ) -> InvoiceFromEstimateResult:
        """Create an invoice from an accepted estimate: one per call without `once`.

        Args:
            estimate_id: The estimate, which the customer must have accepted.
            mark_as_invoiced: Move the estimate to "invoiced".
            version: "v1" or "v2". Their meaning is undocumented.
            once: Create one invoice per estimate: return an existing one, and look it up after a lost answer.
            contact_id: The estimate's contact. With `once`, it saves a scan of all estimates.

        Returns:
            Estimate and invoice. Live answers may lack the invoice although it was created. Then :meth:`find_invoice`
            finds it.

        Raises:
            BadRequest: The estimate is not accepted.
            NotFound: With `once`, the estimate is not in this location.
            KeyReused: With `once`, the invoice was created with other arguments.
            OutcomeUnknown: The answer is missing, so the invoice may exist.

        Example::

            result = await shop.estimates.create_invoice(accepted.id, mark_as_invoiced=True, once=True)
        """
        extra = {} if version is None else {"version": version}
        body = InvoiceFromEstimate(mark_as_invoiced=mark_as_invoiced, **extra)
        if once:
            estimate = await self._read(estimate_id, contact_id)
            return await invoice_estimate_once(self._at, estimate, body)
        return await self._at.call(op.CREATE_INVOICE_FROM_ESTIMATE, estimate_id, body=body)

    async def find_invoice(self, estimate_id: str, *, contact_id: str | None = None) -> Invoice | None:
        """Find the invoice created from this estimate, by a scan for its ``source_id``.

        Args:
            estimate_id: The estimate.
            contact_id: Scan the invoices of this contact only.

        Returns:
            The invoice, or None if no listed invoice names the estimate.

        Example::

            invoice = await shop.estimates.find_invoice(accepted.id)
        """
        # An invalid id would scan all invoices and find none.
        op.path_segment("estimate_id", estimate_id)
        invoices: Pager[Invoice] = self._at.paginate(
            op.LIST_INVOICES, {"contactId": contact_id}, limit=None, offset=0
        )
        async for invoice in invoices:
            # Both fields are undeclared and seen in live answers: docs/api-facts.md#api-undeclared-fields
            if invoice.source == "estimate" and invoice.source_id == estimate_id:
                return invoice
        return None

    async def generate_number(self) -> EstimateNumber:
        """Return the next free estimate number. The call does not reserve it.

        Example::

            number = await shop.estimates.generate_number()
        """
        found = await self._at.call(op.GENERATE_ESTIMATE_NUMBER)
        return with_number(found, "estimate_number", op.GENERATE_ESTIMATE_NUMBER)

    async def touch_last_visited(self, estimate_id: str) -> None:
        """Record that the customer viewed the estimate now."""
        op.path_segment("estimate_id", estimate_id)
        await self._at.call(op.TOUCH_ESTIMATE, body=EstimateVisit(estimate_id=estimate_id))

    def _learn(self, answer: Estimate, sent: EstimateDraft) -> None:
        # The answer to a known day shows the location's side of the date line: docs/api-facts.md#api-dates
        self._at.learn(
            answer, (sent.issue_date, answer.issue_date_text), (sent.expiry_date, answer.expiry_date_text)
        )

    async def _read(self, estimate_id: str, contact_id: str | None) -> Estimate:
        found = await self.find(estimate_id, contact_id=contact_id)
        if found is None:
            raise NotFound(
                f"estimate {estimate_id} is not in this location",
                status=404,
                operation=op.LIST_ESTIMATES.at,
            )
        return found

    def changes(
        self,
        *,
        cursor: CursorStore | None = None,
        share: float = 0.2,
        every: float = 5.0,
        lease: float = 30.0,
    ) -> ChangeFeed:
        """Watch for changes: sent, viewed, accepted, declined, invoiced, edited, deleted.

        The feed reads lists, behind all interactive calls. Iterate over it with ``async for``. It does not end.

        Args:
            cursor: Stores the feed's position, so that a restart continues. By default it is lost with the process.
            share: Part of the location's rate budget that the feed may use, above 0 and at most 1.
            every: Seconds between two reads of the newest documents.
            lease: Seconds after which another process takes over from one that died.

        Returns:
            The feed. Iterating over it reads the lists.

        Example:
            ``async for change in shop.estimates.changes(cursor=SqliteCursors("watch.db")): ...``
        """
        source = ListSource(self._at, "estimates", op.LIST_ESTIMATES, None)
        return feed_of(source, cursor, share, every, lease)
