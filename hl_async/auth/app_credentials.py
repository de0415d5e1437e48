"""Internal. The credentials of an OAuth app, as one client uses them."""

from __future__ import annotations

from collections.abc import Callable

from hl_async.auth.refresher import Refresher
from hl_async.auth.repository import TokenRepository
from hl_async.auth.token_endpoint import TokenEndpoint
from hl_async.errors import ClientStateError
from hl_async.governor import Governor
from hl_async.secret import Secret
from hl_async.telemetry import Telemetry
from hl_async.wire import Wire


class AppCredentials:
    """Credentials of one app, opened and closed by one client at a time."""

    __slots__ = ("_client_id", "_client_secret", "_refresher", "_repository", "_timeout", "_wall")

    def __init__(
        self,
        client_id: str,
        client_secret: Secret,
        refresher: Refresher,
        repository: TokenRepository,
        *,
        timeout: float,
        wall: Callable[[], float],
    ) -> None:
        self._client_id = client_id
        self._client_secret = client_secret
        self._refresher = refresher
        self._repository = repository
        self._timeout = timeout
        self._wall = wall

    @property
    def principal(self) -> str:
        """The client id."""
        return self._client_id

    def current(self, key: str) -> str | None:
        """Return the header of a location or company, if a usable one is in memory."""
        return self._refresher.current(key)

    async def bearer(self, key: str) -> str:
        """Return the header, loaded, refreshed or minted."""
        return await self._refresher.bearer(key)

    async def reject(self, key: str, sent: str) -> bool:
        """Drop the header ``sent``, which the server refused.

        Return False if a renewed one was refused too, within ``RefreshPolicy.rejection_pause``.
        """
        return self._refresher.reject(key, sent)

    async def open(
        self, wire: Wire, *, base_url: str, api_version: str, telemetry: Telemetry, governor: Governor
    ) -> None:
        """Start to work for a client.

        Raises :class:`ClientStateError` while another client uses the app.
        """
        if self._refresher.is_open:
            raise ClientStateError("this OAuthApp belongs to another open client; share that client")
        server = TokenEndpoint(
            wire,
            governor,
            base_url=base_url,
            client_id=self._client_id,
            client_secret=self._client_secret,
            version=api_version,
            timeout=self._timeout,
            wall=self._wall,
        )
        self._refresher.open(server, telemetry)

    async def aclose(self) -> None:
        """Wait for the refreshes under way, and close the store."""
        try:
            await self._refresher.aclose()
        finally:
            await self._repository.aclose()
