"""Credentials: private integration tokens, OAuth apps, token stores.

Names load when they are first used.
"""

from __future__ import annotations

from hl_async import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "authorization": ("Consent", "ConsentFlow"),
        "credentials": ("Credentials", "PrivateToken"),
        "oauth": ("OAuthApp",),
        "policy": ("RefreshPolicy",),
        "stores.base": ("Stored", "TokenStore"),
        "stores.encrypted": ("EncryptedStore",),
        "stores.memory": ("MemoryStore",),
        "stores.postgres": ("PostgresTokenStore",),
        "stores.sqlite": ("SqliteStore",),
        "tokens": ("Installation",),
    },
)
