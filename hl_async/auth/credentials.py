"""Internal. Credentials of a client: the protocol, and private tokens."""

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
    """A source of ``Authorization`` headers for locations and companies.

    ``key`` is the id of the location or company.
    """

    @property
    def principal(self) -> str:
        """The owner of the rate budget: the app, or a fingerprint of the token.

        It is never the token itself.
        """
        ...

    def current(self, key: str) -> str | None:
        """Return the header if it is loaded and valid.

        None means that :meth:`bearer` must be awaited.
        """
        ...

    async def bearer(self, key: str) -> str:
        """Return the header after loading, refreshing or minting it.

        Raises:
            AuthError: No token could be obtained; subclasses say why.
        """
        ...

    async def reject(self, key: str, sent: str) -> bool:
        """Report a header the server refused. Return whether another can be obtained."""
        ...

    async def open(
        self, wire: Wire, *, base_url: str, api_version: str, telemetry: Telemetry, governor: Governor
    ) -> None:
        """Prepare for use by a client that opens.

        Args:
            wire: Sends requests to the authorisation server.
            base_url: The address of the API, without a path.
            api_version: The ``Version`` header of token requests.
            telemetry: The client's observers.
            governor: The client's rate budgets; minting a token takes a slot of the company's.
        """
        ...

    async def aclose(self) -> None:
        """Release resources when the client closes."""
        ...


class PrivateToken:
    """A private integration token (``pit-…``): static and never refreshed.

    A 401 with it is final.

    Args:
        token: The text of the token.

    Raises:
        ConfigurationError: The token is empty, or contains characters that no token has.
    """

    __slots__ = ("_header", "_principal", "_token")

    def __init__(self, token: str | Secret) -> None:
        # Crash reporters print the locals of this frame when it raises, so no variable may show the token.
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
        """Return the header, the same for every location."""
        return self._header

    async def bearer(self, key: str) -> str:
        """Return the header."""
        return self._header

    async def reject(self, key: str, sent: str) -> bool:
        """Return False: a static token has no successor."""
        return False

    async def open(
        self, wire: Wire, *, base_url: str, api_version: str, telemetry: Telemetry, governor: Governor
    ) -> None:
        """See :meth:`Credentials.open`. Does nothing: the token needs no preparation."""

    async def aclose(self) -> None:
        """Do nothing: a static token holds no resources."""

    def __repr__(self) -> str:
        return f"PrivateToken({self._token})"
