"""Credentials: private integration tokens, OAuth apps, token stores. Names load when they are first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hl_async.auth.authorization import Consent, ConsentFlow
    from hl_async.auth.credentials import Credentials, PrivateToken
    from hl_async.auth.oauth import OAuthApp
    from hl_async.auth.policy import RefreshPolicy
    from hl_async.auth.stores.encrypted import EncryptedStore
    from hl_async.auth.stores.memory import MemoryStore, Stored, TokenStore
    from hl_async.auth.stores.postgres import PostgresTokenStore
    from hl_async.auth.stores.sqlite import SqliteStore
    from hl_async.auth.tokens import Installation

_HOME_OF = {
    "Consent": "authorization",
    "ConsentFlow": "authorization",
    "Credentials": "credentials",
    "Installation": "tokens",
    "MemoryStore": "stores.memory",
    "OAuthApp": "oauth",
    "PostgresTokenStore": "stores.postgres",
    "PrivateToken": "credentials",
    "RefreshPolicy": "policy",
    "EncryptedStore": "stores.encrypted",
    "SqliteStore": "stores.sqlite",
    "Stored": "stores.memory",
    "TokenStore": "stores.memory",
}

__all__ = [
    "Consent",
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
    "Stored",
    "TokenStore",
]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)
