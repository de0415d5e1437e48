"""What a client authorises with."""

from __future__ import annotations

import hashlib
from typing import Protocol, runtime_checkable

from hl_async.config import header_text
from hl_async.errors import ConfigurationError
from hl_async.governor import Governor
from hl_async.secret import MaskedText, Secret
from hl_async.telemetry import Telemetry
from hl_async.wire import Wire


@runtime_checkable
class Credentials(Protocol):
    """Gives the ``Authorization`` header for a location or company, named by its id (``key``)."""

    @property
    def principal(self) -> str:
        """The spender of the rate budget. It is the app, or a fingerprint of the token; never the token."""
        ...

    def current(self, key: str) -> str | None:
        """The header, when it is at hand; None when :meth:`bearer` has to be awaited."""
        ...

    async def bearer(self, key: str) -> str:
        """The header, loaded, refreshed or minted if need be. Raises :class:`AuthError` subclasses."""
        ...

    async def reject(self, key: str, sent: str) -> bool:
        """The server refused exactly this header. True when another one can be had, False to give up."""
        ...

    async def open(
        self, wire: Wire, *, base_url: str, api_version: str, telemetry: Telemetry, governor: Governor
    ) -> None:
        """Called when the client opens; ``wire`` is for requests to the authorisation server."""
        ...

    async def aclose(self) -> None:
        """Called when the client closes."""
        ...


class PrivateToken:
    """A private integration token (``pit-…``): static, never refreshed; a 401 with it is final."""

    __slots__ = ("_header", "_principal", "_token")

    def __init__(self, token: str | Secret) -> None:
        # the errors below are raised from this frame: no local variable may show the token
        value = token = token.masked() if isinstance(token, Secret) else MaskedText(token or "")
        self._token = Secret(value)
        if not value.strip():
            raise ConfigurationError("token", "is empty; give the private integration token")
        if any(not 0x21 <= ord(character) <= 0x7E for character in value):
            raise ConfigurationError("token", "contains spaces, line breaks or characters that no token has")
        header_text("token", value)
        self._header = MaskedText(f"Bearer {value}")
        self._principal = "pit:" + hashlib.blake2b(value.encode(), digest_size=8).hexdigest()

    @property
    def principal(self) -> str:
        """A fingerprint of the token."""
        return self._principal

    def current(self, key: str) -> str | None:
        """The header; there is one for every location."""
        return self._header

    async def bearer(self, key: str) -> str:
        """The header."""
        return self._header

    async def reject(self, key: str, sent: str) -> bool:
        """Never another one."""
        return False

    async def open(
        self, wire: Wire, *, base_url: str, api_version: str, telemetry: Telemetry, governor: Governor
    ) -> None:
        """Nothing to prepare."""

    async def aclose(self) -> None:
        """Nothing to close."""

    def __repr__(self) -> str:
        return f"PrivateToken({self._token})"
