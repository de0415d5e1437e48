"""Templates of estimates."""

from __future__ import annotations

from hl_async import operations as op
from hl_async.models import EstimateTemplate, EstimateTemplateDraft
from hl_async.pagination import Pager
from hl_async.resources.repeating import deleted
from hl_async.resources.requesting import Requester


class EstimateTemplates:
    """Templates of estimates of one location, as ``location.estimate_templates``."""

    __slots__ = ("_at",)

    def __init__(self, at: Requester) -> None:
        self._at = at

    async def create(self, template: EstimateTemplateDraft) -> EstimateTemplate:
        """Create a template. A second call creates another one.

        Raises:
            ValidationFailed: The API rejected a field; see ``error.messages``.
            OutcomeUnknown: The answer is missing, so the template may exist.
        """
        return await self._at.call(op.CREATE_ESTIMATE_TEMPLATE, body=template)

    def list(
        self, *, search: str | None = None, limit: int | None = None, offset: int = 0
    ) -> Pager[EstimateTemplate]:
        """List templates. Await the first page, or iterate over all of them.

        Args:
            search: An id, or text in the name.
            limit: Templates per request.
            offset: Templates to skip.

        Returns:
            A pager. Await it for the first page, or iterate over it for all templates.
        """
        return self._at.paginate(op.LIST_ESTIMATE_TEMPLATES, {"search": search}, limit=limit, offset=offset)

    async def preview(self, template_id: str) -> EstimateTemplate:
        """Read one template.

        The API has no other route for a single one. Raises :class:`NotFound`.
        """
        op.path_segment("template_id", template_id)
        # The route named preview answers the template as data: docs/api-facts.md#api-get-one
        return await self._at.call(op.PREVIEW_ESTIMATE_TEMPLATE, query={"templateId": template_id})

    async def update(self, template_id: str, template: EstimateTemplateDraft) -> EstimateTemplate:
        """Replace a template. Safe to retry.

        The API overwrites the whole template, so start from ``template.to_update()``.

        Args:
            template_id: The template to replace.
            template: The complete new template.

        Raises:
            NotFound: The template is not in this location.
            ValidationFailed: The API rejected a field; see ``error.messages``.
        """
        return await self._at.call(op.UPDATE_ESTIMATE_TEMPLATE, template_id, body=template)

    async def delete(self, template_id: str) -> EstimateTemplate:
        """Delete a template. Safe to retry.

        Returns:
            The deleted template. Only ``id`` and ``deleted`` are set if an earlier attempt of this call deleted it and
            its answer was lost.

        Raises:
            NotFound: The template is not in this location.
        """
        gone = EstimateTemplate(id=template_id, deleted=True)
        return await deleted(self._at.call(op.DELETE_ESTIMATE_TEMPLATE, template_id), gone)
