"""Credentials: private integration tokens, OAuth apps, token stores."""

from __future__ import annotations

from hl_async.auth.credentials import Credentials, PrivateToken

__all__ = ["Credentials", "PrivateToken"]
