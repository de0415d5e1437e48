"""Internal. Tokens and their rights: of private integrations and of OAuth apps.

A refresh token is valid once. A spent one is refused and counted: docs/api-facts.md#api-refresh-grace.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from hl_async.operations import NEIGHBOURS
from hl_async.sandbox.clock import Clock
from hl_async.sandbox.quirks import Quirks
from hl_async.sandbox.refusals import Refusal

# The estimate scopes are missing from the official list: docs/api-facts.md#api-scopes
SCOPES: Final = (
    "invoices.readonly",
    "invoices.write",
    "invoices/schedule.readonly",
    "invoices/schedule.write",
    "invoices/template.readonly",
    "invoices/template.write",
    "invoices/estimate.readonly",
    "invoices/estimate.write",
    "oauth.readonly",
    "oauth.write",
    *dict.fromkeys(row.scope for row in NEIGHBOURS if row.scope),
)

# Seconds, about 24 hours: docs/api-facts.md#api-token-lifetimes
LIFETIME: Final = 86_399


@dataclasses.dataclass(slots=True)
class IssuedToken:
    """The rights of one bearer token.

    Attributes:
        principal: The owner of the rate budget: the private token itself, or the client id of the app.
        kind: pit, Location or Company.
        locations: The locations that it may use; None for all.
        scopes: The names of its scopes.
        company: The agency's id.
        expires_at: The expiry in seconds since 1970; None for never.
        app: The client id of its app; empty for a private token.
    """

    principal: str
    kind: str
    locations: frozenset[str] | None
    scopes: frozenset[str]
    company: str
    expires_at: float | None = None
    app: str = ""


@dataclasses.dataclass(slots=True)
class App:
    """A marketplace app.

    Attributes:
        client_id: The client id.
        client_secret: The client secret.
        codes: Unused authorization codes, each with the kind of token and the location.
        refresh: Valid refresh tokens, each with the kind of token and the location.
        spent: Used refresh tokens.
        successors: Answers that a used refresh token gets again, each with the end of its grace.
        installed: The ids of locations with the app.
        uninstalled: Whether the app was removed.
    """

    client_id: str
    client_secret: str
    codes: dict[str, tuple[str, str | None]] = dataclasses.field(default_factory=dict)
    refresh: dict[str, tuple[str, str | None]] = dataclasses.field(default_factory=dict)
    spent: set[str] = dataclasses.field(default_factory=set)
    successors: dict[str, tuple[float, dict[str, Any]]] = dataclasses.field(default_factory=dict)
    installed: set[str] = dataclasses.field(default_factory=set)
    uninstalled: bool = False


class Tokens:
    """All bearer tokens of the sandbox.

    ``lifetime`` is the lifetime of new access tokens in seconds.
    """

    def __init__(self, clock: Clock, company: str, quirks: Quirks | None = None) -> None:
        self._clock = clock
        self._quirks = quirks or Quirks()
        self._company = company
        self._serial = 0
        self.lifetime: float = LIFETIME
        self.grants: dict[str, IssuedToken] = {}
        self.apps: dict[str, App] = {}
        self.refreshes: int = 0
        self.minted: int = 0
        self.spent_presented: int = 0

    def private(self, location_id: str | None, scopes: list[str] | None = None) -> str:
        """Return a private integration token for one location, or for all."""
        # The prefix of live private tokens (docs/api-facts.md#api-private-tokens), and a number instead of random
        # digits, so that every run of a test has the same tokens.
        token = f"pit-{self._next():08x}-5a4d-4b0c-8d0e-{self._serial:012x}"
        locations = None if location_id is None else frozenset((location_id,))
        self.grants[token] = IssuedToken(token, "pit", locations, frozenset(scopes or SCOPES), self._company)
        return token

    def app(self) -> App:
        """Return a new app."""
        serial = self._next()
        app = App(f"65f0{serial:020x}-app{serial}", f"sandbox-secret-{serial:08x}")
        self.apps[app.client_id] = app
        return app

    def authorise(self, client_id: str, kind: str, location_id: str | None) -> str:
        """Install an app, and return the authorization code of the consent."""
        app = self.apps[client_id]
        code = f"code-{self._next():08x}"
        app.codes[code] = (kind, location_id)
        if location_id:
            app.installed.add(location_id)
        app.uninstalled = False
        return code

    def exchange(self, form: dict[str, str]) -> dict[str, Any]:
        """Return the answer to `POST /oauth/token`.

        Args:
            form: The fields of the form, in snake case.

        Returns:
            The answer, in which snake case and camel case are mixed.

        Raises:
            Refusal: A field is missing, or the client, the code or the refresh token is unknown or used.
        """
        missing = [name for name in ("client_id", "client_secret", "grant_type") if not form.get(name)]
        if missing:
            messages = [f"{name} should not be empty" for name in missing]
            raise Refusal(422, messages, "Unprocessable Entity")
        app = self.apps.get(form["client_id"])
        kind = form["grant_type"]
        if kind == "authorization_code":
            # The live server checks the code before the credentials: docs/api-facts.md#api-oauth-errors
            issued = app.codes.pop(form.get("code", ""), None) if app else None
            if app is None or issued is None:
                raise _refused("Authorization code not found")
            self._check_secret(app, form)
        elif kind == "refresh_token":
            if app is None:
                raise _refused("Invalid client credentials!")
            self._check_secret(app, form)
            token = form.get("refresh_token", "")
            # Within the grace, the same token returns the same successor: docs/api-facts.md#api-refresh-grace
            repeated = app.successors.get(token)
            if repeated is not None and self._clock.monotonic() < repeated[0]:
                return repeated[1]
            if token in app.spent:
                self.spent_presented += 1
            # Removed at once, so that only one of two simultaneous refreshes gets a successor.
            issued = None if app.uninstalled else app.refresh.pop(token, None)
            if issued is None:
                raise _refused("This refresh token is invalid or has been used")
            app.spent.add(token)
            self.refreshes += 1
            answer = self._issue(app, *issued)
            if self._quirks.refresh_grace > 0:
                app.successors[token] = (self._clock.monotonic() + self._quirks.refresh_grace, answer)
            return answer
        else:
            raise Refusal(422, ["grant_type must be a valid enum value"], "Unprocessable Entity")
        return self._issue(app, *issued)

    def mint(self, bearer: IssuedToken, company: str, location_id: str, known: bool) -> dict[str, Any]:
        """Return the answer to `POST /oauth/locationToken`: a new location token.

        Args:
            bearer: The rights of the company token in the request.
            company: The agency's id in the request.
            location_id: The location's id in the request.
            known: Whether the location exists.

        Raises:
            Refusal: The token may not mint, or the location is unknown.
        """
        # A private token cannot mint: docs/api-facts.md#api-token-classes
        if bearer.kind != "Company" or "oauth.write" not in bearer.scopes:
            raise Refusal(401, "The token is not authorized for this scope.", "Unauthorized")
        if company != bearer.company or not known:
            raise Refusal(400, "Location not found in company", "Bad Request")
        app = self.apps[bearer.app]
        app.installed.add(location_id)
        self.minted += 1
        answer = self._issue(app, "Location", location_id)
        # A client id is the id of the app and a suffix.
        return answer | {"appId": app.client_id.partition("-")[0]}

    def find(self, header: str | None) -> IssuedToken:
        """Return the rights of the token in an `Authorization` header.

        Raises:
            Refusal: The header is missing, or the token is unknown or expired.
        """
        scheme, _, token = (header or "").partition(" ")
        # The scheme's name is case-insensitive (RFC 9110, section 11.1).
        if scheme.lower() != "bearer" or not token:
            raise Refusal(401, "Invalid token: access token is invalid", "Unauthorized")
        grant = self.grants.get(token)
        if grant is None:
            # A revoked private token has a message of its own: docs/api-facts.md#api-401
            if token.startswith("pit-"):
                raise Refusal(401, "Invalid Private Integration token", "Unauthorized")
            raise Refusal(401, "Invalid JWT", None)
        if grant.expires_at is not None and self._clock.wall() >= grant.expires_at:
            raise Refusal(401, "Invalid JWT", None)
        return grant

    def expire(self) -> None:
        """Expire every OAuth access token now. Refresh tokens stay valid."""
        for grant in self.grants.values():
            if grant.expires_at is not None:
                grant.expires_at = self._clock.wall()

    def uninstall(self, client_id: str) -> None:
        """Remove an app. Its access and refresh tokens become invalid."""
        app = self.apps[client_id]
        app.uninstalled = True
        app.refresh.clear()
        app.successors.clear()
        self.grants = {token: grant for token, grant in self.grants.items() if grant.app != client_id}

    def _issue(self, app: App, kind: str, location_id: str | None) -> dict[str, Any]:
        serial = self._next()
        access, refresh = f"eyJhY2Nlc3M.{serial:08x}.sandbox", f"refresh-{serial:08x}"
        locations = None if location_id is None else frozenset((location_id,))
        # The app is the principal, so all its tokens of a location share a budget: docs/api-facts.md#api-rate-limits
        self.grants[access] = IssuedToken(
            app.client_id,
            kind,
            locations,
            frozenset(SCOPES),
            self._company,
            self._clock.wall() + self.lifetime,
            app.client_id,
        )
        # Minted tokens carry a refresh token in practice: docs/api-facts.md#api-token-classes
        app.refresh[refresh] = (kind, location_id)
        # The live answer mixes snake case and camel case: docs/api-facts.md#api-oauth
        answer: dict[str, Any] = {
            "access_token": access,
            "token_type": "Bearer",
            # Whole seconds, as the live API sends; fractions only for the short lifetimes of tests.
            "expires_in": int(self.lifetime) if self.lifetime >= 1 else self.lifetime,
            "refresh_token": refresh,
            "scope": " ".join(SCOPES),
            "userType": kind,
            "companyId": self._company,
            "userId": "user0000000000000001",
        }
        if location_id:
            answer["locationId"] = location_id
        return answer

    @staticmethod
    def _check_secret(app: App, form: dict[str, str]) -> None:
        if form["client_secret"] != app.client_secret:
            raise _refused("Invalid client credentials!")

    def _next(self) -> int:
        self._serial += 1
        return self._serial


def _refused(description: str) -> Refusal:
    refusal = Refusal(401, "")
    # The token endpoint's errors have another form than those of other routes: docs/api-facts.md#api-oauth-errors
    refusal.body = {"error": "UnAuthorized!", "error_description": description}
    return refusal
