"""Internal. Opportunities and the pipelines they move through."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from msgspec import UNSET, UnsetType

from hl_async.models.choices import OpportunityState
from hl_async.models.contacts import CustomFieldInput
from hl_async.models.inputs import ABSENT, OptionalQuantity
from hl_async.models.money import guard
from hl_async.models.structs import Answer
from hl_async.models.validation import NonEmptyStr, Request


class OpportunityDraft(Request, frozen=True):
    """A new opportunity.

    ``status`` is open, won, lost or abandoned; ``monetary_value`` is in major units.
    """

    pipeline_id: NonEmptyStr
    name: NonEmptyStr
    contact_id: NonEmptyStr
    status: OpportunityState = "open"
    pipeline_stage_id: str | UnsetType = UNSET
    monetary_value: OptionalQuantity = ABSENT
    assigned_to: str | UnsetType = UNSET
    custom_fields: list[CustomFieldInput] | UnsetType = UNSET
    extra: dict[str, Any] | UnsetType = UNSET


class OpportunityUpdate(Request, frozen=True):
    """Changes of an opportunity. Fields left out keep their values."""

    pipeline_id: str | UnsetType = UNSET
    name: str | UnsetType = UNSET
    pipeline_stage_id: str | UnsetType = UNSET
    status: OpportunityState | UnsetType = UNSET
    monetary_value: OptionalQuantity = ABSENT
    assigned_to: str | UnsetType = UNSET
    custom_fields: list[CustomFieldInput] | UnsetType = UNSET
    extra: dict[str, Any] | UnsetType = UNSET


class OpportunityContact(Answer):
    """The contact of an opportunity."""

    id: str | None = None
    name: str | None = None
    company_name: str | None = None
    email: str | None = None
    phone: str | None = None
    tags: list[str] | None = None


class Opportunity(Answer):
    """An opportunity as the API answers it; ``monetary_value`` in major units."""

    id: str
    name: str | None = None
    monetary_value: Decimal | None = None
    pipeline_id: str | None = None
    pipeline_stage_id: str | None = None
    assigned_to: str | None = None
    status: str | None = None
    source: str | None = None
    last_status_change_at: datetime | None = None
    last_stage_change_at: datetime | None = None
    last_action_date: datetime | None = None
    index_version: Any = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    contact_id: str | None = None
    location_id: str | None = None
    contact: OpportunityContact | None = None
    notes: list[Any] | None = None
    tasks: list[Any] | None = None
    calendar_events: list[Any] | None = None
    lost_reason_id: str | None = None
    custom_fields: list[Any] | None = None
    followers: list[Any] | None = None
    external_object_id: str | None = None

    def __post_init__(self) -> None:
        guard(self.monetary_value)


class OpportunityAnswer(Answer):
    """The envelope of one opportunity."""

    opportunity: Opportunity


class OpportunityMeta(Answer):
    """The place of a page among the results of a search."""

    total: int | None = None
    next_page_url: str | None = None
    start_after_id: str | None = None
    start_after: Decimal | None = None
    current_page: int | None = None
    next_page: int | None = None
    prev_page: int | None = None


class OpportunityList(Answer):
    """A page of opportunities."""

    opportunities: list[Opportunity] | None = None
    meta: OpportunityMeta | None = None
    aggregations: Any = None

    @property
    def entries(self) -> list[Opportunity]:
        """The page's opportunities."""
        return self.opportunities or []

    @property
    def total(self) -> int | None:
        """The number of opportunities in all pages; None if the answer lacks it."""
        return self.meta.total if self.meta is not None else None


class PipelineStage(Answer):
    """A stage of a pipeline."""

    id: str | None = None
    name: str | None = None
    position: Decimal | None = None


class Pipeline(Answer):
    """A pipeline and its stages, in order."""

    id: str
    name: str | None = None
    stages: list[PipelineStage] | None = None
    show_in_funnel: bool | None = None
    show_in_pie_chart: bool | None = None
    location_id: str | None = None
    color_render_mode: str | None = None


class PipelineList(Answer):
    """The pipelines of a location."""

    pipelines: list[Pipeline] | None = None
