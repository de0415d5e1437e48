"""Credentials: private integration tokens, OAuth apps, token stores."""

from __future__ import annotations

from hl_async.auth.credentials import Credentials, PrivateToken
from hl_async.auth.sealing import SealedStore
from hl_async.auth.stores import MemoryStore, Stored, TokenStore

__all__ = ["Credentials", "MemoryStore", "PrivateToken", "SealedStore", "Stored", "TokenStore"]
