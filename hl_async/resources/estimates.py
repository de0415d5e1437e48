"""Estimates of one location."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Unpack

from hl_async import operations as op
from hl_async.errors import InvalidRequest, NotFound, WriteConflict
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
from hl_async.models.preparation import refuse_status
from hl_async.pagination import Pager
from hl_async.resources.changes import ListSource, feed_of
from hl_async.resources.locations import LocationRequester
from hl_async.resources.once_documents import (
    create_estimate_once,
    invoice_estimate_once,
    send_estimate_once,
)
from hl_async.resources.requesting import with_number

if TYPE_CHECKING:
    from hl_async.changes import ChangeFeed, CursorStore


class Estimates:
    """``location.estimates``."""

    __slots__ = ("_at",)

    def __init__(self, at: LocationRequester) -> None:
        self._at = at

    async def create(self, estimate: EstimateDraft, *, once: str | None = None) -> Estimate:
        """Create an estimate as a draft; nothing is sent to the customer, no money moves.

        The API really needs an expiry date, an E.164 phone number of the contact and an issue date that is not
        in the location's future. Not repeatable: raises :class:`OutcomeUnknown` when no answer
        says whether it was created. Refused documents raise :class:`ValidationFailed` or :class:`BadRequest`.

        Args:
            estimate: The new estimate.
            once: A key of yours, such as the id of the form. Calls with the same key return the same estimate: a
                second click, another process, a retry after a crash or `OutcomeUnknown`. The key travels in `meta`.
                See docs/how-to/form-to-estimate.md for what it needs.

        Raises:
            KeyReused: The key made an estimate of another content.
            OnceUndecided: An estimate of the same content is there, and lists return no `meta`.
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
        """All estimates that fit, newest first as far as is known; await for the first page, iterate for all.

        ``status`` is one of all, draft, sent, accepted, declined, invoiced, viewed; ``search`` matches the name;
        ``start`` and ``end`` are days (which date they filter is undocumented); ``limit`` is the page size.
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
        """Find an estimate by id or number; None if there is none. Only reads.

        The API has no route for one estimate, so this scans the list: one request per 100 estimates.

        Args:
            estimate_id: The id.
            number: The estimate number, without its prefix.
            contact_id: Scan the estimates of this contact only.

        Raises:
            InvalidRequest: Neither or both of id and number are given.
        """
        if (estimate_id is None) == (number is None):
            raise InvalidRequest("estimate_id", "give either estimate_id or number")
        if estimate_id is not None:
            op.path_segment("estimate_id", estimate_id)
        async for estimate in self.list(contact_id=contact_id):
            if estimate.id == estimate_id or (
                number is not None and str(estimate.estimate_number) == str(number)
            ):
                return estimate
        return None

    async def update(self, estimate_id: str, estimate: EstimateUpdate) -> Estimate:
        """Replace an estimate: fields left out are lost, so start from ``estimate.to_update()``.

        Sends nothing to the customer. Repeatable. Raises :class:`NotFound`, :class:`ValidationFailed`,
        :class:`BadRequest`.
        """
        return await self._at.call(op.UPDATE_ESTIMATE, estimate_id, body=estimate)

    async def patch(
        self, estimate_id: str, *, seen: datetime | None = None, **changes: Unpack[EstimateChanges]
    ) -> Estimate:
        """Change some fields and keep the rest: read, change, write.

        ``changes`` are fields of :class:`EstimateUpdate`. ``seen`` is the ``updated_at`` of the version the change is
        based on. Raises :class:`WriteConflict`, with nothing written, when the estimate was changed since ``seen``
        or between our reading and our writing, as far as ``updated_at`` tells; a writer in the last
        milliseconds before ours can't be noticed, the API has no conditional write. Raises :class:`NotFound`.
        """
        if not changes:
            raise InvalidRequest("changes", "is empty; name at least one field of EstimateUpdate")
        if "estimate_status" in changes and self._at.follows("status_read_only"):
            refuse_status(changes["estimate_status"])
        before = await self._read(estimate_id, None)
        await self._at.read_dates(before)
        update = before.to_update(**changes)
        contact = before.contact_details.id if before.contact_details else None
        now = await self._read(estimate_id, contact)
        for expected in (seen, before.updated_at):
            if expected is not None and now.updated_at != expected:
                raise WriteConflict(
                    f"estimate {estimate_id} was changed at {now.updated_at} by somebody else; read it again",
                    operation=op.UPDATE_ESTIMATE.name,
                )
        return await self.update(estimate_id, update)

    async def delete(self, estimate_id: str) -> Estimate:
        """Delete an estimate and return what it was; repeatable. Raises :class:`NotFound`.

        When an earlier attempt of this call had worked and its answer was lost, only ``id`` and ``deleted`` are
        set. The API may answer ``deleted: false`` all the same.
        """
        try:
            return await self._at.call(op.DELETE_ESTIMATE, estimate_id)
        except NotFound as error:
            if not error.ambiguous:
                raise
        return Estimate(id=estimate_id, deleted=True)

    async def send(
        self,
        estimate_id: str,
        message: EstimateSend,
        *,
        once: bool = False,
        contact_id: str | None = None,
    ) -> Estimate:
        """Send an estimate to the customer by mail or SMS, in the name of a user of the location.

        Args:
            estimate_id: The estimate to send.
            message: How, and in whose name.
            once: Send it only if it is still a draft, whatever else sends it at the same time. A lost answer is
                looked up. Without it, every call sends a message.
            contact_id: The estimate's contact; with `once`, it saves a scan of all estimates.

        Raises:
            OutcomeUnknown: No answer says whether it went out.
            NotFound: No such estimate in this location.
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
        """Make an invoice from an accepted estimate. Irreversible: without `once`, every call makes an invoice.

        Live answers may lack the invoice although it was made: then ``result.invoice`` is None and
        :meth:`find_invoice` finds it.

        Args:
            estimate_id: The estimate, which the customer must have accepted.
            mark_as_invoiced: Move the estimate to "invoiced".
            version: "v1" or "v2"; the meaning is undocumented.
            once: Make one invoice per estimate: return the one that is there, and look after a lost answer.
            contact_id: The estimate's contact; with `once`, it saves a scan of all estimates.

        Raises:
            BadRequest: The estimate is not accepted.
            OutcomeUnknown: No answer says whether the invoice was made.
        """
        extra = {} if version is None else {"version": version}
        body = InvoiceFromEstimate(mark_as_invoiced=mark_as_invoiced, **extra)
        if once:
            estimate = await self._read(estimate_id, contact_id)
            return await invoice_estimate_once(self._at, estimate, body)
        return await self._at.call(op.CREATE_INVOICE_FROM_ESTIMATE, estimate_id, body=body)

    async def find_invoice(self, estimate_id: str, *, contact_id: str | None = None) -> Invoice | None:
        """The invoice that was made from this estimate (its ``source_id``), or None: a scan of the invoices."""
        op.path_segment("estimate_id", estimate_id)
        invoices: Pager[Invoice] = self._at.paginate(
            op.LIST_INVOICES, {"contactId": contact_id}, limit=None, offset=0
        )
        async for invoice in invoices:
            if invoice.source == "estimate" and invoice.source_id == estimate_id:
                return invoice
        return None

    async def generate_number(self) -> EstimateNumber:
        """The next free estimate number; asking does not reserve it."""
        found = await self._at.call(op.GENERATE_ESTIMATE_NUMBER)
        return with_number(found, "estimate_number", op.GENERATE_ESTIMATE_NUMBER)

    async def touch_last_visited(self, estimate_id: str) -> None:
        """Record that the customer looked at the estimate just now."""
        op.path_segment("estimate_id", estimate_id)
        await self._at.call(op.TOUCH_ESTIMATE, body=EstimateVisit(estimate_id=estimate_id))

    def _learn(self, answer: Estimate, sent: EstimateDraft) -> None:
        self._at.learn(
            answer, (sent.issue_date, answer.issue_date_text), (sent.expiry_date, answer.expiry_date_text)
        )

    async def _read(self, estimate_id: str, contact_id: str | None) -> Estimate:
        found = await self.find(estimate_id, contact_id=contact_id)
        if found is None:
            raise NotFound(
                f"there is no estimate {estimate_id} in this location",
                status=404,
                operation=op.LIST_ESTIMATES.name,
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

        Reads lists in the background of other calls. Iterate over it with ``async for``; it does not end by itself.

        Args:
            cursor: Where the feed keeps what it saw, so that a restart goes on; forgotten with the process if left out.
            share: The part of the location's rate budget that it may use.
            every: Seconds between two looks at the newest documents.
            lease: Seconds after which another process takes over from one that died.

        Example:
            ``async for change in shop.estimates.changes(cursor=SqliteCursors("watch.db")): ...``
        """
        source = ListSource(self._at, "estimates", op.LIST_ESTIMATES, None)
        return feed_of(source, cursor, share, every, lease)
