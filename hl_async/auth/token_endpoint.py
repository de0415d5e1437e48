"""Internal. Single requests to the authorisation server, with plain results.

Paths, key case and the ``Version`` header depend on each other (docs/api-facts.md#api-oauth-v3). Nothing here retries:
the refresher decides whether a refresh token may be sent again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias
from urllib.parse import urlencode

import msgspec

from hl_async import operations as op
from hl_async.auth.tokens import is_usable
from hl_async.config import Lane
from hl_async.errors import (
    ApiError,
    CallError,
    DecodeError,
    RateLimited,
    ServerError,
    WireError,
)
from hl_async.governor import Governor, Scope, parse_retry_after
from hl_async.models import TokenGrant
from hl_async.operations import Operation
from hl_async.secret import MaskedBytes, Secret
from hl_async.transport.responses import error_facts, error_from_response, is_token_bad
from hl_async.wire import (
    ACCEPT,
    ACCEPT_ENCODING,
    AUTHORIZATION,
    CONTENT_TYPE,
    FORM,
    JSON,
    RETRY_AFTER,
    VERSION,
    Wire,
    WireResponse,
)

V3: Final = "v3"
MAX_BODY: Final = 1024 * 1024


class Issued(msgspec.Struct, frozen=True):
    """The server issued a usable access token."""

    grant: TokenGrant


class Denied(msgspec.Struct, frozen=True):
    """The server refused, for the reasons in ``messages``.

    ``token_bad`` means that it refused the bearer.
    """

    status: int
    messages: tuple[str, ...]
    token_bad: bool = False

    def __str__(self) -> str:
        return f"{self.status} {'; '.join(self.messages[:3]) or 'without a reason'}"


class NoAnswer(msgspec.Struct, frozen=True):
    """No usable answer arrived.

    ``sent`` is False when the server provably did not act on the request. ``retry_after`` is the pause in seconds that
    the server asked for.
    """

    reason: str
    sent: bool
    retry_after: float = 0.0


Reply: TypeAlias = Issued | Denied | NoAnswer


class TokenEndpoint:
    """The token endpoints of one server, used by one app.

    ``timeout`` is the limit of one request in seconds, and ``wall`` reads the epoch time.
    """

    __slots__ = (
        "_base_url",
        "_client_id",
        "_client_secret",
        "_governor",
        "_timeout",
        "_version",
        "_wall",
        "_wire",
    )

    def __init__(
        self,
        wire: Wire,
        governor: Governor,
        *,
        base_url: str,
        client_id: str,
        client_secret: Secret,
        version: str,
        timeout: float,
        wall: Callable[[], float],
    ) -> None:
        self._wire = wire
        self._governor = governor
        self._base_url = base_url
        self._client_id = client_id
        self._client_secret = client_secret
        self._version = version
        self._timeout = timeout
        self._wall = wall

    async def exchange(self, code: Secret, *, redirect_uri: str | None, user_type: str | None) -> Reply:
        """Exchange an authorization code for tokens. The code can be used once."""
        return await self._token(
            grant_type="authorization_code",
            code=code.masked(),
            redirect_uri=redirect_uri,
            user_type=user_type,
        )

    async def refresh(self, token: Secret, *, user_type: str) -> Reply:
        """Exchange a refresh token for a new pair. The token can be used once."""
        return await self._token(
            grant_type="refresh_token", refresh_token=token.masked(), user_type=user_type
        )

    async def mint(self, company_id: str, location_id: str, bearer: str) -> Reply:
        """Mint a location's token from the company's. Safe to repeat.

        It waits for the company's rate budget.
        """
        operation = op.GET_LOCATION_TOKEN
        fields = {"companyId": company_id, "locationId": location_id}
        response = await self._governed(operation, company_id, bearer, urlencode(fields).encode())
        return self._reply(operation, response)

    async def _token(self, **fields: str | None) -> Reply:
        operation = op.GET_ACCESS_TOKEN
        reply = self._reply(operation, await self._send(operation, "", self._form(fields)))
        secrets = (self._client_secret.masked(), fields.get("code"), fields.get("refresh_token"))
        # A shorter secret could be part of an ordinary word of the message.
        return _without(reply, [secret for secret in secrets if secret and len(secret) >= 8])

    def _form(self, fields: dict[str, str | None]) -> MaskedBytes:
        """Encode a token request's form, in a frame that ends before anything is sent."""
        named = {"client_id": self._client_id, "client_secret": self._client_secret.masked(), **fields}
        form = {self._cased(name): value for name, value in named.items() if value is not None}
        return MaskedBytes(urlencode(form).encode())

    async def _governed(
        self, operation: Operation[Any], company_id: str, bearer: str, body: bytes
    ) -> WireResponse | NoAnswer:
        scope: Scope = self._governor.scope((self._client_id, company_id))
        permit = scope.try_acquire(Lane.INTERACTIVE)
        try:
            if permit is None:
                permit = await scope.acquire(Lane.INTERACTIVE)
        except CallError as error:  # the daily quota is exhausted, or the app is being closed
            failure = str(error)
        else:
            try:
                response = await self._send(operation, bearer, body)
                if isinstance(response, WireResponse):
                    permit.answered(response.status, response.headers, response.elapsed)
                return response
            finally:
                permit.failed()  # ignored if the permit was settled by an answer
        return NoAnswer(failure, sent=False)

    async def _send(self, operation: Operation[Any], bearer: str, body: bytes) -> WireResponse | NoAnswer:
        headers = {VERSION: self._version, ACCEPT: JSON, ACCEPT_ENCODING: "identity", CONTENT_TYPE: FORM}
        if bearer:
            headers[AUTHORIZATION] = bearer
        path = operation.path_v3 if self._version == V3 else operation.path
        try:
            # A pooled connection may close under the request. Then it would be unknown whether the refresh token was
            # used up, so each token request gets a new connection.
            return await self._wire.attempt(
                operation.method,
                f"{self._base_url}{path}",
                headers,
                body,
                timeout=self._timeout,
                max_body=MAX_BODY,
                fresh_connection=operation is op.GET_ACCESS_TOKEN,
            )
        except WireError as error:
            silent = NoAnswer(error.message, error.sent)
        return silent

    def _reply(self, operation: Operation[TokenGrant], response: WireResponse | NoAnswer) -> Reply:
        """Classify an answer.

        Only the server's own JSON counts as a refusal, never a gateway's page.
        """
        if isinstance(response, NoAnswer):
            return response
        if 200 <= response.status < 300:
            try:
                answer = operation.decode(MaskedBytes(response.body))
            except DecodeError as error:
                problem = error.message
            else:
                if is_usable(answer):
                    return Issued(answer)
                problem = "no usable access token in it"
            return NoAnswer(f"{response.status} with a body that is not a token set ({problem})", sent=True)
        pause = parse_retry_after(response.headers.get(RETRY_AFTER), self._wall()) or 0.0
        refusal = error_from_response(operation.at, response)
        # A gateway reports some of its timeouts as 401: docs/api-facts.md#api-401
        # None of these decides about the token, so they count as no answer.
        silent = isinstance(refusal, RateLimited | ServerError) or response.status == 408
        if silent or not _is_verdict(response):
            return NoAnswer(refusal.message, sent=not isinstance(refusal, RateLimited), retry_after=pause)
        return Denied(response.status, _words(refusal, response), is_token_bad(refusal))

    def _cased(self, name: str) -> str:
        if self._version != V3:
            return name
        head, *rest = name.split("_")
        # docs/api-facts.md#api-oauth-v3
        return head + "".join(part.capitalize() for part in rest)


def _without(reply: Reply, secrets: Sequence[str]) -> Reply:
    """Remove secrets from the server's messages.

    A refusal may quote the refresh token.
    """

    def clean(text: str) -> str:
        for secret in secrets:
            text = text.replace(secret, "…")
        return text

    if isinstance(reply, Denied):
        return Denied(reply.status, tuple(map(clean, reply.messages)), reply.token_bad)
    if isinstance(reply, NoAnswer):
        return NoAnswer(clean(reply.reason), reply.sent, reply.retry_after)
    return reply


def _is_verdict(response: WireResponse) -> bool:
    """Return whether a refusal is the application's, not that of a gateway before it."""
    if not 400 <= response.status < 500:
        return False
    return response.body.lstrip()[:1] == b"{"


def _words(error: ApiError, response: WireResponse) -> tuple[str, ...]:
    return error.messages or error_facts(response.body).messages
