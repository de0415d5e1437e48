"""Templates of invoices."""

from __future__ import annotations

from datetime import date

from hl_async import operations as op
from hl_async.models import (
    Deleted,
    InvoiceTemplate,
    InvoiceTemplateDraft,
    InvoiceTemplateUpdate,
    LateFeesConfiguration,
    LateFeesUpdate,
    PaymentMethods,
    PaymentMethodsUpdate,
)
from hl_async.models.choices import PaymentModeFilter
from hl_async.pagination import Pager
from hl_async.resources.repeating import deleted
from hl_async.resources.requesting import Requester


class InvoiceTemplates:
    """Templates of invoices of one location, as ``location.invoice_templates``."""

    __slots__ = ("_at",)

    def __init__(self, at: Requester) -> None:
        self._at = at

    async def create(self, template: InvoiceTemplateDraft) -> InvoiceTemplate:
        """Create a template. A second call creates another one.

        Raises:
            ValidationFailed: The API rejected a field; see ``error.messages``.
            OutcomeUnknown: The answer is missing, so the template may exist.
        """
        return await self._at.call(op.CREATE_INVOICE_TEMPLATE, body=template)

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
    ) -> Pager[InvoiceTemplate]:
        """List templates. Await the first page, or iterate over all of them.

        Args:
            status: A status. Unknown ones are passed on.
            search: An id, or text in the name.
            start: First day.
            end: Last day.
            payment_mode: default, live or test.
            limit: Templates per request.
            offset: Templates to skip.

        Returns:
            A pager. Await it for the first page, or iterate over it for all templates.
        """
        return self._at.paginate(
            op.LIST_INVOICE_TEMPLATES,
            {"status": status, "search": search, "startAt": start, "endAt": end, "paymentMode": payment_mode},
            limit=limit,
            offset=offset,
        )

    async def get(self, template_id: str) -> InvoiceTemplate:
        """Read one template. Raises :class:`NotFound`."""
        return await self._at.call(op.GET_INVOICE_TEMPLATE, template_id)

    async def update(self, template_id: str, template: InvoiceTemplateUpdate) -> InvoiceTemplate:
        """Replace a template. Safe to retry.

        The API overwrites the whole template, so start from ``template.to_update()``.

        Args:
            template_id: The template to replace.
            template: The complete new template.

        Raises:
            NotFound: The template is not in this location.
            ValidationFailed: The API rejected a field; see ``error.messages``.
        """
        return await self._at.call(op.UPDATE_INVOICE_TEMPLATE, template_id, body=template)

    async def delete(self, template_id: str) -> Deleted:
        """Delete a template. Safe to retry.

        Raises :class:`NotFound`, unless an attempt of this call deleted it.
        """
        call = self._at.call(op.DELETE_INVOICE_TEMPLATE, template_id)
        return await deleted(call, Deleted(success=True))

    async def update_late_fees(self, template_id: str, late_fees: LateFeesConfiguration) -> InvoiceTemplate:
        """Replace the late fees of invoices made from the template. Safe to retry.

        Raises :class:`NotFound`.
        """
        body = LateFeesUpdate(late_fees_configuration=late_fees)
        return await self._at.call(op.UPDATE_INVOICE_TEMPLATE_LATE_FEES, template_id, body=body)

    async def update_payment_methods(self, template_id: str, methods: PaymentMethods) -> InvoiceTemplate:
        """Replace the payment methods of invoices made from the template. Safe to retry.

        Raises :class:`NotFound`.
        """
        body = PaymentMethodsUpdate(payment_methods=methods)
        return await self._at.call(op.UPDATE_INVOICE_TEMPLATE_PAYMENT_METHODS, template_id, body=body)
