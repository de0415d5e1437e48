"""Internal. Rules that complete and check documents without a known location."""

from __future__ import annotations

from collections.abc import Collection

from hl_async.config import Environment
from hl_async.models.preparation import RequestContext
from hl_async.models.rules import rules_without


def planning_rules(rules_off: Collection[str] | None = None) -> frozenset[str]:
    """Return the names of the rules that a plan follows.

    A source judges issue dates itself, because a plan may be carried out later.

    Args:
        rules_off: Rules that are switched off; by default those of ``HL_RULES_OFF``.
    """
    off = Environment.read().rules_off if rules_off is None else rules_off
    return rules_without(off) - {"issue_date_not_future"}


def planning_context(rules_off: Collection[str] | None = None) -> RequestContext:
    """Return what the drafts of a plan are completed with; see `planning_rules`."""
    return RequestContext(rules=planning_rules(rules_off))
