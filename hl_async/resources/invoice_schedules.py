"""Recurring invoices."""

from __future__ import annotations

from datetime import date

from hl_async import operations as op
from hl_async.errors import BadRequest, NotFound
from hl_async.models import (
    AutoPayment,
    Deleted,
    InvoiceSchedule,
    InvoiceScheduleDraft,
    InvoiceScheduleUpdate,
    ScheduleAutoPayment,
    ScheduleStart,
)
from hl_async.models.choices import PaymentModeFilter
from hl_async.pagination import Pager
from hl_async.resources.requesting import Requester


class InvoiceSchedules:
    """``location.invoice_schedules``."""

    __slots__ = ("_at",)

    def __init__(self, at: Requester) -> None:
        self._at = at

    async def create(self, schedule: InvoiceScheduleDraft) -> InvoiceSchedule:
        """Create a schedule as a draft: no invoice is made before :meth:`start`.

        Not repeatable: raises :class:`OutcomeUnknown` when no answer came.
        """
        return await self._at.call(op.CREATE_INVOICE_SCHEDULE, body=schedule)

    def list(
        self,
        *,
        status: str | None = None,
        search: str | None = None,
        start: date | str | None = None,
        end: date | str | None = None,
        payment_mode: PaymentModeFilter | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> Pager[InvoiceSchedule]:
        """All schedules that fit; await for the first page, iterate for all. ``limit`` is the page size."""
        return self._at.paginate(
            op.LIST_INVOICE_SCHEDULES,
            {"status": status, "search": search, "startAt": start, "endAt": end, "paymentMode": payment_mode},
            limit=limit,
            offset=offset,
        )

    async def get(self, schedule_id: str) -> InvoiceSchedule:
        """One schedule. Raises :class:`NotFound`."""
        return await self._at.call(op.GET_INVOICE_SCHEDULE, schedule_id)

    async def update(self, schedule_id: str, schedule: InvoiceScheduleUpdate) -> InvoiceSchedule:
        """Replace a schedule: fields left out are lost, so start from ``schedule.to_update()``. Repeatable."""
        return await self._at.call(op.UPDATE_INVOICE_SCHEDULE, schedule_id, body=schedule)

    async def delete(self, schedule_id: str) -> Deleted:
        """Delete a schedule; repeatable. Raises :class:`NotFound` unless an earlier attempt had deleted it."""
        try:
            return await self._at.call(op.DELETE_INVOICE_SCHEDULE, schedule_id)
        except NotFound as error:
            if not error.ambiguous:
                raise
        return Deleted(success=True)

    async def start(self, schedule_id: str, start: ScheduleStart) -> InvoiceSchedule:
        """Start a schedule: from now on it makes invoices, sends them and, with auto payment, charges.

        Not repeatable: raises :class:`OutcomeUnknown` when no answer came.
        """
        return await self._at.call(op.START_INVOICE_SCHEDULE, schedule_id, body=start)

    async def update_and_schedule(
        self, schedule_id: str, schedule: InvoiceScheduleUpdate | None = None
    ) -> InvoiceSchedule:
        """Apply the pending update of a running schedule.

        The specification gives this call no body; one is sent only if given. May make and send
        invoices, so it is not repeated: raises :class:`OutcomeUnknown` when no answer came.
        """
        return await self._at.call(op.UPDATE_AND_SCHEDULE, schedule_id, body=schedule)

    async def set_auto_payment(self, schedule_id: str, auto_payment: AutoPayment) -> InvoiceSchedule:
        """Say whether and how the schedule's invoices are charged by themselves; repeatable."""
        body = ScheduleAutoPayment(id=schedule_id, auto_payment=auto_payment)
        return await self._at.call(op.SET_AUTO_PAYMENT, schedule_id, body=body)

    async def cancel(self, schedule_id: str) -> InvoiceSchedule:
        """Stop a schedule: it makes no more invoices; those it made stay. Repeatable.

        When an earlier attempt of this call had worked and its answer was lost, the schedule is read back.
        """
        try:
            return await self._at.call(op.CANCEL_INVOICE_SCHEDULE, schedule_id)
        except BadRequest as error:
            if not error.ambiguous:
                raise
            refused = error
        schedule = await self.get(schedule_id)
        if schedule.status not in ("cancelled", "canceled"):
            raise refused
        return schedule
