"""Recurring invoices."""

from __future__ import annotations

from datetime import date
from functools import partial

from hl_async import operations as op
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
from hl_async.resources.repeating import deleted, reached
from hl_async.resources.requesting import Requester


class InvoiceSchedules:
    """Recurring invoices of one location, as ``location.invoice_schedules``."""

    __slots__ = ("_at",)

    def __init__(self, at: Requester) -> None:
        self._at = at

    async def create(self, schedule: InvoiceScheduleDraft) -> InvoiceSchedule:
        """Create a schedule as a draft.

        It creates no invoice before :meth:`start`. A second call creates another schedule.

        Raises:
            ValidationFailed: The API rejected a field; see ``error.messages``.
            OutcomeUnknown: The answer is missing, so the schedule may exist.
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
        """List schedules. Await the first page, or iterate over all of them.

        Args:
            status: A status such as draft, scheduled or active. Unknown ones are passed on.
            search: Text to find.
            start: First day.
            end: Last day.
            payment_mode: default, live or test.
            limit: Schedules per request.
            offset: Schedules to skip.

        Returns:
            A pager. Await it for the first page, or iterate over it for all schedules.
        """
        return self._at.paginate(
            op.LIST_INVOICE_SCHEDULES,
            {"status": status, "search": search, "startAt": start, "endAt": end, "paymentMode": payment_mode},
            limit=limit,
            offset=offset,
        )

    async def get(self, schedule_id: str) -> InvoiceSchedule:
        """Read one schedule. Raises :class:`NotFound`."""
        return await self._at.call(op.GET_INVOICE_SCHEDULE, schedule_id)

    async def update(self, schedule_id: str, schedule: InvoiceScheduleUpdate) -> InvoiceSchedule:
        """Replace a schedule. Safe to retry.

        The API overwrites the whole schedule, so start from ``schedule.to_update()``.

        Args:
            schedule_id: The schedule to replace.
            schedule: The complete new schedule.

        Raises:
            NotFound: The schedule is not in this location.
            ValidationFailed: The API rejected a field; see ``error.messages``.
        """
        return await self._at.call(op.UPDATE_INVOICE_SCHEDULE, schedule_id, body=schedule)

    async def delete(self, schedule_id: str) -> Deleted:
        """Delete a schedule. Safe to retry.

        Raises :class:`NotFound`, unless an attempt of this call deleted it.
        """
        call = self._at.call(op.DELETE_INVOICE_SCHEDULE, schedule_id)
        return await deleted(call, Deleted(success=True))

    async def start(self, schedule_id: str, start: ScheduleStart) -> InvoiceSchedule:
        """Start a schedule, which creates invoices and sends them.

        With auto payment, it charges the customer.

        Args:
            schedule_id: The schedule to start.
            start: When and how its invoices are sent.

        Raises:
            NotFound: The schedule is not in this location.
            OutcomeUnknown: The answer is missing, so the schedule may have started.
        """
        return await self._at.call(op.START_INVOICE_SCHEDULE, schedule_id, body=start)

    async def update_and_schedule(
        self, schedule_id: str, schedule: InvoiceScheduleUpdate | None = None
    ) -> InvoiceSchedule:
        """Apply the pending update of a running schedule.

        The call may create and send invoices, so it is never repeated.

        Args:
            schedule_id: The schedule.
            schedule: A body. The specification has none for this call, so it is sent only if given.

        Raises:
            NotFound: The schedule is not in this location.
            OutcomeUnknown: The answer is missing, so the update may have been applied.
        """
        return await self._at.call(op.UPDATE_AND_SCHEDULE, schedule_id, body=schedule)

    async def set_auto_payment(self, schedule_id: str, auto_payment: AutoPayment) -> InvoiceSchedule:
        """Set the automatic payment of the schedule's invoices. Safe to retry.

        Raises :class:`NotFound`.
        """
        # The body repeats the id of the path: docs/api-facts.md#api-schedules
        body = ScheduleAutoPayment(id=schedule_id, auto_payment=auto_payment)
        return await self._at.call(op.SET_AUTO_PAYMENT, schedule_id, body=body)

    async def cancel(self, schedule_id: str) -> InvoiceSchedule:
        """Stop a schedule: no more invoices; the existing ones stay. Safe to retry.

        Returns:
            The stopped schedule, read again if an attempt of this call stopped it and its answer was lost.

        Raises:
            BadRequest: The schedule is not running.
            NotFound: The schedule is not in this location.
        """
        return await reached(
            self._at.call(op.CANCEL_INVOICE_SCHEDULE, schedule_id),
            partial(self.get, schedule_id),
            # Both spellings, because the status is open text: docs/api-facts.md#api-enums
            lambda schedule: schedule.status in ("cancelled", "canceled"),
        )
