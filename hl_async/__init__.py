"""Asyncio SDK for estimates and invoices of the HighLevel API.

Names load when they are first used, so that ``hl_async.models``, ``hl_async.errors`` and ``hl_async.webhooks`` don't
import an HTTP library, and the command line's help is quick. Type checkers read ``__init__.pyi``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from hl_async._version import __version__ as __version__


def lazy_exports(
    package: str, homes: Mapping[str, tuple[str, ...]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return the names by which a package loads its exports when they are first used.

    They are ``__getattr__``, ``__dir__`` and ``__all__``.

    Internal. The stub beside the package's ``__init__`` declares the same names for type checkers.

    Args:
        package: The package's ``__name__``.
        homes: The modules of the package, by their names relative to it, and the names that each one defines.
    """
    home_of = {name: home for home, names in homes.items() for name in names}
    module = sys.modules[package]

    def load(name: str) -> Any:
        home = home_of.get(name)
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(f"{package}.{home}"), name)
        setattr(module, name, value)
        return value

    return load, lambda: sorted({*vars(module), *home_of}), sorted(home_of)


__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "auth": (
            "ConsentFlow",
            "Credentials",
            "EncryptedStore",
            "Installation",
            "MemoryStore",
            "OAuthApp",
            "PostgresTokenStore",
            "PrivateToken",
            "RefreshPolicy",
            "SqliteStore",
            "TokenStore",
        ),
        "bulk": ("bulk_map",),
        "client": ("HighLevel", "Location"),
        "config": ("CallOptions", "ClientConfig", "Lane", "Timeouts"),
        "errors": ("HighLevelError",),
        "governor": ("Governor", "GovernorPolicy"),
        "governor.shared": ("BudgetStore", "MemoryBudget", "PostgresBudget"),
        "operations": ("OPERATIONS", "Operation"),
        "pagination": ("Page", "Pager"),
        "resources.once": ("Once", "OnceStore"),
        "secret": ("Secret",),
        "telemetry": ("LoggingObserver", "Observer"),
        "transport.retry": ("RetryPolicy",),
        "wire": ("WireResponse",),
    },
)
__all__ += ["__version__"]
