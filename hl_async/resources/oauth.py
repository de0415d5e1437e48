"""Tokens and installations: three OAuth operations, in both API versions.

The version decides paths and key cases: camelCase paths and snake_case keys with ``2021-07-28``, hyphenated paths and
camelCase keys with ``v3`` (docs/api-facts.md#api-oauth-v3). Answers are read in both cases.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlencode

from hl_async import operations as op
from hl_async.config import CallOptions
from hl_async.errors import InvalidRequest
from hl_async.models import InstalledLocation, InstalledLocationList, TokenGrant
from hl_async.models.choices import GrantType, UserType
from hl_async.operations import Operation
from hl_async.pagination import Pager
from hl_async.resources.requesting import encode_query
from hl_async.secret import MaskedBytes, MaskedText, Secret
from hl_async.transport.calls import Transport

V3: Final = "v3"
_TOKEN_KEY: Final = "oauth"


class OAuth:
    """The OAuth operations, as ``hl.oauth``. Calls about a company use its token."""

    __slots__ = ("_options", "_principal", "_transport", "_version")

    def __init__(self, transport: Transport, principal: str, options: CallOptions, api_version: str) -> None:
        self._transport = transport
        self._principal = principal
        self._options = options
        self._version = options.api_version or api_version

    async def token(
        self,
        *,
        client_id: str,
        client_secret: Secret | str,
        grant_type: GrantType,
        code: str | None = None,
        refresh_token: Secret | str | None = None,
        user_type: UserType | None = None,
        redirect_uri: str | None = None,
    ) -> TokenGrant:
        """Exchange a code or a refresh token for tokens.

        The request carries no bearer and is never repeated. The call uses up the code or refresh token even if its
        answer is lost. Store the new refresh token before you use the pair. :class:`OAuthApp` does all of this for
        you.

        Args:
            client_id: The app's client id.
            client_secret: The app's secret.
            grant_type: authorization_code or refresh_token.
            code: The code of the consent page.
            refresh_token: The refresh token.
            user_type: Location or Company.
            redirect_uri: The URI registered with the app.

        Returns:
            The tokens, as the server gave them.

        Raises:
            Unauthorized: The server refused the code or token.
            BadRequest: The same, or a field is invalid.
            OutcomeUnknown: The answer is missing, so the code or token may be used up.
        """
        # This frame awaits, so its variables are in every traceback.
        client_secret, code, refresh_token = (
            _masked(client_secret) or "", _masked(code), _masked(refresh_token),
        )  # fmt: skip
        fields = {
            "client_id": client_id,
            "client_secret": client_secret,
            "grant_type": grant_type,
            "code": code,
            "refresh_token": refresh_token,
            "user_type": user_type,
            "redirect_uri": redirect_uri,
        }
        return await self._post(op.GET_ACCESS_TOKEN, _TOKEN_KEY, fields)

    async def location_token(self, company_id: str, location_id: str) -> TokenGrant:
        """Mint a token for one location of a company.

        Safe to retry: every call returns another valid token. The company's token needs the scope oauth.write.

        Args:
            company_id: The company.
            location_id: One of its locations.

        Returns:
            The tokens. A refresh token may be missing.

        Raises:
            ScopeMissing: The company's token lacks oauth.write.
        """
        op.path_segment("company_id", company_id)
        op.path_segment("location_id", location_id)
        fields: dict[str, str | None] = {"companyId": company_id, "locationId": location_id}
        return await self._post(op.GET_LOCATION_TOKEN, company_id, fields)

    def installed_locations(
        self,
        company_id: str,
        app_id: str,
        *,
        query: str | None = None,
        is_installed: bool | None = None,
        version_id: str | None = None,
        on_trial: bool | None = None,
        plan_id: str | None = None,
        location_id: str | None = None,
        limit: int | None = None,
    ) -> Pager[InstalledLocation]:
        """List the locations of a company in which the app is or can be installed.

        Await the result for the first page, or iterate over it for all of them. Under v3 the API pages by token, so an
        iteration cannot start in the middle.

        Args:
            company_id: The company.
            app_id: The app, see ``OAuthApp.app_id``.
            query: Text in the location's name.
            is_installed: Whether the app is installed.
            version_id: The app's version.
            on_trial: Whether the location is on trial.
            plan_id: The location's plan.
            location_id: This location only.
            limit: Locations per request, at most 100.

        Returns:
            A pager. Await it for the first page, or iterate over it for all locations.
        """
        filters = {
            "companyId": company_id,
            "appId": app_id,
            "query": query,
            "isInstalled": is_installed,
            "versionId": version_id,
            "onTrial": on_trial,
            "planId": plan_id,
            "locationId": location_id,
        }
        encode_query(filters)  # refuse an invalid filter now, rather than at the first page
        # The pager counts positions. v3 pages by token, so each position keeps the token that leads to it.
        tokens: dict[int, str | None] = {}

        async def fetch(start: int, size: int) -> InstalledLocationList:
            if self._version != V3:
                return await self._locations(company_id, {**filters, "skip": start, "limit": size})
            page = {**filters, "pageSize": size, "pageToken": tokens.get(start)}
            answer = await self._locations(company_id, page)
            info, end = answer.pagination, start + len(answer.entries)
            tokens[end] = info.next_page_token if info is not None else None
            if not tokens[end]:
                answer.count = end  # without a token this is the last page
            return answer

        return Pager(fetch, limit=limit)

    async def _locations(self, company_id: str, query: dict[str, Any]) -> InstalledLocationList:
        operation = op.LIST_INSTALLED_LOCATIONS
        account = self._transport.account(company_id, self._principal)
        path = self._path(operation)
        return await self._transport.send(operation, account, path, encode_query(query), None, self._options)

    async def _post(
        self, operation: Operation[TokenGrant], key: str, fields: dict[str, str | None]
    ) -> TokenGrant:
        missing = [name for name, value in fields.items() if value is not None and not value.strip()]
        if missing:
            raise InvalidRequest(missing[0], "is empty")
        # v3 spells the keys of the form in camel case: docs/api-facts.md#api-oauth-v3
        camel = self._version == V3
        form = {
            (_camel(name) if camel else name): value for name, value in fields.items() if value is not None
        }
        # Without a location, token requests share one budget of their own.
        account = self._transport.account(key, self._principal)
        # The form holds secrets, and a traceback with variables would print them.
        body = MaskedBytes(urlencode(form).encode())
        return await self._transport.send(operation, account, self._path(operation), "", body, self._options)

    def _path(self, operation: Operation[Any]) -> str:
        # Hyphenated paths exist under v3 only: docs/api-facts.md#api-oauth-v3
        return operation.path_v3 if self._version == V3 else operation.path


def _masked(value: Secret | str | None) -> str | None:
    if isinstance(value, Secret):
        return value.masked()
    return None if value is None else MaskedText(value)


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)
