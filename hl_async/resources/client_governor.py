"""Internal. Makes a client's rate governor, with an own or a shared budget."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from hl_async.config import ClientConfig
from hl_async.errors import ConfigurationError
from hl_async.governor import Governor, GovernorPolicy, ScopeFactory
from hl_async.telemetry import Telemetry

if TYPE_CHECKING:
    from hl_async.governor.shared.messages import BudgetStore


def governor_of(
    given: Governor | GovernorPolicy | None,
    budget: BudgetStore | None,
    config: ClientConfig,
    telemetry: Telemetry,
) -> Governor:
    """Return the given governor, or make one from a policy.

    Args:
        given: A governor, or the policy of a new one; None is the default policy.
        budget: Store in which several processes share their rate budgets.
        config: The client's settings.
        telemetry: The client's observers.

    Raises:
        ConfigurationError: A budget is given beside a finished governor.
    """
    if isinstance(given, Governor):
        if budget is not None:
            raise ConfigurationError("budget", "belongs to the governor that is passed in; give it to that")
        return given
    return Governor(
        given,
        telemetry=telemetry,
        max_in_flight=config.max_connections,
        scopes=None if budget is None else _sharing(budget, config.timeouts.attempt),
    )


def _sharing(budget: BudgetStore, attempt_timeout: float) -> Callable[[Governor], ScopeFactory]:
    from hl_async.governor.shared.scopes import shared_scopes  # most clients share no budget

    # A lease must outlast the longest attempt, after which its request may still arrive.
    return shared_scopes(budget, attempt_timeout=attempt_timeout)
