"""Asyncio SDK for estimates and invoices of the HighLevel API.

Names load when they are first used, so that ``hl_async.models``, ``hl_async.errors`` and ``hl_async.webhooks`` don't
import an HTTP library, and the command line's help is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hl_async._version import __version__

if TYPE_CHECKING:
    from hl_async.auth import (
        ConsentFlow,
        Credentials,
        EncryptedStore,
        Installation,
        MemoryStore,
        OAuthApp,
        PostgresTokenStore,
        PrivateToken,
        RefreshPolicy,
        SqliteStore,
        TokenStore,
    )
    from hl_async.bulk import bulk_map
    from hl_async.client import HighLevel, Location
    from hl_async.config import CallOptions, ClientConfig, Lane, Timeouts
    from hl_async.errors import HighLevelError
    from hl_async.governor import BudgetStore, Governor, GovernorPolicy, MemoryBudget, PostgresBudget
    from hl_async.operations import OPERATIONS, Operation
    from hl_async.pagination import Page, Pager
    from hl_async.secret import Secret
    from hl_async.telemetry import LoggingObserver, Observer
    from hl_async.transport.retry import RetryPolicy
    from hl_async.wire import WireResponse

__all__ = [
    "OPERATIONS",
    "BudgetStore",
    "CallOptions",
    "ClientConfig",
    "ConsentFlow",
    "Credentials",
    "EncryptedStore",
    "Governor",
    "GovernorPolicy",
    "HighLevel",
    "HighLevelError",
    "Installation",
    "Lane",
    "Location",
    "LoggingObserver",
    "MemoryBudget",
    "MemoryStore",
    "OAuthApp",
    "Observer",
    "Operation",
    "Page",
    "Pager",
    "PostgresBudget",
    "PostgresTokenStore",
    "PrivateToken",
    "RefreshPolicy",
    "RetryPolicy",
    "Secret",
    "SqliteStore",
    "Timeouts",
    "TokenStore",
    "WireResponse",
    "__version__",
    "bulk_map",
]

_HOMES = {
    "auth": (
        "ConsentFlow",
        "Credentials",
        "Installation",
        "MemoryStore",
        "OAuthApp",
        "PostgresTokenStore",
        "PrivateToken",
        "RefreshPolicy",
        "EncryptedStore",
        "SqliteStore",
        "TokenStore",
    ),
    "bulk": ("bulk_map",),
    "client": ("HighLevel", "Location"),
    "config": ("CallOptions", "ClientConfig", "Lane", "Timeouts"),
    "errors": ("HighLevelError",),
    "governor": ("BudgetStore", "Governor", "GovernorPolicy", "MemoryBudget", "PostgresBudget"),
    "operations": ("OPERATIONS", "Operation"),
    "pagination": ("Page", "Pager"),
    "transport.retry": ("RetryPolicy",),
    "secret": ("Secret",),
    "telemetry": ("LoggingObserver", "Observer"),
    "wire": ("WireResponse",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'hl_async' has no attribute {name!r}")
    value = getattr(import_module(f"hl_async.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
