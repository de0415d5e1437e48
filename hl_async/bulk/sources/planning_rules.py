"""Internal. The rules by which documents are completed and checked before their location is known."""

from __future__ import annotations

from functools import cache

from hl_async.config import Environment
from hl_async.models.preparation import RequestContext
from hl_async.models.rules import rules_without


@cache
def planning_context() -> RequestContext:
    """Return the context of a plan: every rule that ``HL_RULES_OFF`` leaves in force.

    A source judges issue dates itself, because a plan may be carried out later.
    """
    kept = rules_without(Environment.read().rules_off)
    return RequestContext(rules=kept - {"issue_date_not_future"})
