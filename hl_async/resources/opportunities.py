"""Opportunities of one location."""

from __future__ import annotations

from typing import Any

from hl_async import operations as op
from hl_async.models import Opportunity, OpportunityDraft, OpportunityList, OpportunityUpdate, Pipeline
from hl_async.models.choices import OpportunityStatus
from hl_async.pagination import Pager
from hl_async.resources.requesting import Requester, encode_query


class Opportunities:
    """Opportunities of one location, as ``location.opportunities``."""

    __slots__ = ("_at",)

    def __init__(self, at: Requester) -> None:
        self._at = at

    async def pipelines(self) -> list[Pipeline]:
        """Return the pipelines with the ids of their stages. Only reads."""
        return (await self._at.call(op.LIST_PIPELINES)).pipelines or []

    async def create(self, opportunity: OpportunityDraft) -> Opportunity:
        """Create an opportunity. A second call creates another one.

        Compare `pipeline_stage_id` of the answer: the API puts an unknown stage into the first one, without an error.

        Raises:
            ValidationFailed: The API rejected a field.
            OutcomeUnknown: The answer is missing, so the opportunity may exist.
        """
        return (await self._at.call(op.CREATE_OPPORTUNITY, body=opportunity)).opportunity

    async def update(self, opportunity_id: str, changes: OpportunityUpdate) -> Opportunity:
        """Change an opportunity. Safe to retry. Fields left out keep their values.

        Args:
            opportunity_id: The opportunity to change.
            changes: The new values.

        Raises:
            NotFound: No such opportunity.
            ValidationFailed: The API rejected a field.
        """
        return (await self._at.call(op.UPDATE_OPPORTUNITY, opportunity_id, body=changes)).opportunity

    def search(
        self,
        query: str | None = None,
        *,
        contact_id: str | None = None,
        pipeline_id: str | None = None,
        stage_id: str | None = None,
        status: OpportunityStatus | None = None,
        limit: int | None = None,
    ) -> Pager[Opportunity]:
        """Search opportunities. Await the first page, or iterate over all of them.

        Args:
            query: Text to find.
            contact_id: Opportunities of this contact.
            pipeline_id: Opportunities of this pipeline.
            stage_id: Opportunities in this stage.
            status: open, won, lost, abandoned or all.
            limit: Opportunities per request, at most 100.

        Returns:
            A pager. Await it for the first page, or iterate over it for all opportunities.
        """
        filters: dict[str, Any] = {
            "q": query,
            "contact_id": contact_id,
            "pipeline_id": pipeline_id,
            "pipeline_stage_id": stage_id,
            "status": status,
        }
        encode_query(filters)  # refuse an invalid filter now, rather than at the first page

        async def fetch(start: int, size: int) -> OpportunityList:
            # This route takes the number of a page, from 1, instead of an offset.
            page = {**filters, "page": start // size + 1, "limit": size}
            return await self._at.call(op.SEARCH_OPPORTUNITIES, query=page)

        return Pager(fetch, limit=limit)
