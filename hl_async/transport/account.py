"""Internal. Shared parts of the calls for one sub-account.

They are its id, its rate budget and its request headers.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias
from urllib.parse import quote

from hl_async.config import ClientConfig
from hl_async.governor import Scope
from hl_async.models.codec import alt_prefix
from hl_async.operations import Operation
from hl_async.secret import MaskedText
from hl_async.wire import (
    ACCEPT,
    ACCEPT_ENCODING,
    AUTHORIZATION,
    CONTENT_TYPE,
    FORM,
    JSON,
    VERSION,
    Headers,
)

_PLAIN: Final = "identity"

_HeaderKind: TypeAlias = tuple[str | None, bool, str | None]


class Account:
    """The parts that all calls for one sub-account or company share, prepared once.

    Attributes:
        key: The id under which credentials are looked up.
        scope: The rate budget.
        alt_query: ``altId`` and ``altType`` as a query string.
        alt_body: ``altId`` and ``altType`` as the start of a JSON body.
    """

    __slots__ = (
        "_bearer",
        "_headers",
        "_masked",
        "_plain",
        "_settings",
        "alt_body",
        "alt_query",
        "key",
        "scope",
    )

    def __init__(self, key: str, scope: Scope, config: ClientConfig, codings: str) -> None:
        self.key: str = key
        self._settings = (config.api_version, codings if config.compress else _PLAIN)
        self.scope: Scope = scope
        self.alt_query: str = f"altId={quote(key, safe='')}&altType=location"
        self.alt_body: bytes = alt_prefix(key)
        self._bearer: str | None = None
        self._headers: dict[_HeaderKind, Headers] = {}
        self._plain: str | None = None
        self._masked = MaskedText()

    def masked(self, bearer: str) -> MaskedText:
        """Mask a header that the user's own credentials returned as plain text.

        The same text gives the same object, because `headers` compares by identity.
        """
        if bearer is not self._plain:
            self._plain, self._masked = bearer, MaskedText(bearer)
        return self._masked

    def headers(
        self, operation: Operation[Any], bearer: str, body: bytes | None, api_version: str | None
    ) -> Headers:
        """Return the headers of one request, built once per bearer and kind of request."""
        # Identity is enough: credentials return the same object until they renew the token.
        if self._bearer is not bearer:
            self._bearer = bearer
            self._headers = {}
        kind = (
            None if body is None else FORM if operation.form else JSON,
            operation.items is not None,
            api_version,
        )
        headers = self._headers.get(kind)
        if headers is None:
            headers = self._headers[kind] = self._new_headers(bearer, *kind)
        return headers

    def _new_headers(
        self, bearer: str, content_type: str | None, is_list: bool, api_version: str | None
    ) -> Headers:
        default, codings = self._settings
        headers = Headers(
            {
                VERSION: api_version or default,
                ACCEPT: JSON,
                # Decompressing a small body costs more than its shorter transfer saves.
                ACCEPT_ENCODING: codings if is_list else _PLAIN,
            }
        )
        if bearer:
            headers[AUTHORIZATION] = bearer
        if content_type is not None:
            headers[CONTENT_TYPE] = content_type
        return headers
