"""Internal. Steps: code shared by SQLite and Postgres, above their SQL."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from hl_async.bulk.journals.stored import text_of
from hl_async.bulk.stages.steps import (
    StageFacts,
    StageStep,
    StepChanges,
    StepCount,
    StepDocument,
    StepState,
    stage_facts,
    step_of,
)


class StepStatements(ABC):
    """Named statements on steps. They find nothing until a step creates the tables."""

    @abstractmethod
    async def query(self, name: str, **values: Any) -> Sequence[Any]:
        """Return the rows of a statement."""

    @abstractmethod
    async def change(self, name: str, **values: Any) -> int:
        """Execute a statement. Return how many rows it changed."""


class StoredSteps(StepStatements):
    """The steps of a run; see :class:`~hl_async.bulk.stages.steps.RunSteps`."""

    async def rows(
        self, stage: str, *states: StepState, location: str | None = None, after: int = -1, limit: int = 2000
    ) -> list[StageStep]:
        chosen = text_of(states) if states else ""
        rows = await self.query(
            "rows", stage=stage, states=chosen, location=location, after=after, limit=limit
        )
        return [step_of(row) for row in rows]

    async def counts(self, stage: str) -> list[StepCount]:
        rows = await self.query("counts", stage=stage)
        return [StepCount(location, StepState(state), how, n) for location, state, how, n in rows]

    async def stages(self) -> list[str]:
        return [stage for (stage,) in await self.query("stages")]

    async def unfinished(self) -> int:
        # no row before there are tables
        return sum(number for (number,) in await self.query("unfinished"))

    async def documents(self, step: StageStep) -> list[int]:
        return [ordinal for (ordinal,) in await self.query("ordinals", step=step.number)]

    async def withdraw(self, stage: str) -> int:
        return await self.change("withdraw", stage=stage)

    async def undone(self, step: StageStep, reason: str) -> bool:
        return await self.change("undone", number=step.number, reason=reason) == 1

    async def plan_again(self, stage: str, *states: StepState) -> int:
        return await self.change("plan_again", stage=stage, states=text_of(states))


class StoredLaneSteps(StepStatements, StepChanges):
    """The steps of one stage in one location; see :class:`LaneSteps`."""

    def __init__(self, stage: str, location: str) -> None:
        self._at = {"stage": stage, "location": location}

    async def facts(self) -> StageFacts:
        return stage_facts(await self.query("lane_facts", **self._at))

    async def take(self, after: int, limit: int, *, of_created: bool = False) -> list[StageStep]:
        rows = await self.query("take", **self._at, after=after, limit=limit, of_created=of_created)
        return [step_of(row) for row in rows]

    async def ambiguous(self) -> list[StageStep]:
        return [step_of(row) for row in await self.query("ambiguous", **self._at)]

    async def suspects(self) -> list[StageStep]:
        return [step_of(row) for row in await self.query("suspects", **self._at)]

    async def documents(self, step: StageStep) -> list[StepDocument]:
        return [StepDocument(*row) for row in await self.query("documents", step=step.number)]
