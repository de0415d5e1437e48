"""Templates of estimates."""

from __future__ import annotations

from hl_async import operations as op
from hl_async.errors import NotFound
from hl_async.models import EstimateTemplate, EstimateTemplateDraft
from hl_async.pagination import Pager
from hl_async.resources.requesting import Requester


class EstimateTemplates:
    """``location.estimate_templates``."""

    __slots__ = ("_at",)

    def __init__(self, at: Requester) -> None:
        self._at = at

    async def create(self, template: EstimateTemplateDraft) -> EstimateTemplate:
        """Create a template. Not repeatable: raises :class:`OutcomeUnknown` when no answer came."""
        return await self._at.call(op.CREATE_ESTIMATE_TEMPLATE, body=template)

    def list(
        self, *, search: str | None = None, limit: int | None = None, offset: int = 0
    ) -> Pager[EstimateTemplate]:
        """All templates that fit; ``search`` matches id and name, ``limit`` is the page size."""
        return self._at.paginate(op.LIST_ESTIMATE_TEMPLATES, {"search": search}, limit=limit, offset=offset)

    async def preview(self, template_id: str) -> EstimateTemplate:
        """One template, as data: the only way to read a single one. Raises NotFound."""
        op.path_segment("template_id", template_id)
        return await self._at.call(op.PREVIEW_ESTIMATE_TEMPLATE, query={"templateId": template_id})

    async def update(self, template_id: str, template: EstimateTemplateDraft) -> EstimateTemplate:
        """Replace a template: fields left out are lost, so start from ``template.to_update()``. Repeatable."""
        return await self._at.call(op.UPDATE_ESTIMATE_TEMPLATE, template_id, body=template)

    async def delete(self, template_id: str) -> EstimateTemplate:
        """Delete a template and return what it was; repeatable. Raises :class:`NotFound`.

        When an earlier attempt of this call had worked and its answer was lost, only ``id`` and ``deleted`` are
        set.
        """
        try:
            return await self._at.call(op.DELETE_ESTIMATE_TEMPLATE, template_id)
        except NotFound as error:
            if not error.ambiguous:
                raise
        return EstimateTemplate(id=template_id, deleted=True)
