"""Internal. A sandbox's state, for its handlers, console and control routes."""

from __future__ import annotations

import asyncio
import dataclasses
import secrets
from collections import deque
from collections.abc import Iterable

from hl_async.config import is_loopback
from hl_async.errors import ConfigurationError
from hl_async.sandbox.clock import Clock
from hl_async.sandbox.customer import Customer
from hl_async.sandbox.faults import FaultPlan
from hl_async.sandbox.ledger import COMPANY, DEFAULT_LOCATION, Ledger
from hl_async.sandbox.neighbours import NeighbourQuirks, Neighbours
from hl_async.sandbox.quirks import Quirks
from hl_async.sandbox.rate_limits import Window, make_window
from hl_async.sandbox.recorder import Recorder
from hl_async.sandbox.rules import RuleSet
from hl_async.sandbox.tokens import App, Tokens
from hl_async.sandbox.webhooks import Webhooks
from hl_async.sandbox.zones import DEFAULT as DEFAULT_ZONE
from hl_async.sandbox.zones import zone_of


@dataclasses.dataclass(slots=True)
class RequestRecord:
    """One request and its answer.

    Attributes:
        number: The request's number, from 1.
        at: The arrival in seconds of the sandbox's monotonic clock.
        method: The HTTP method.
        path: The path, without the query, as sent.
        query: The query.
        operation: The operationId; empty for an unknown route.
        location: The location's id, if it is known.
        principal: The private token, or the client id of the app.
        version: The Version header.
        user_agent: The first 200 characters of the User-Agent header.
        body_bytes: The size of the body in bytes.
        status: The status of the answer; 0 before it, 499 for a connection that a fault cut before the commit.
        refused: Whether the rate limit refused it.
        fault: The fault that it met, or an empty text.
        elapsed: Seconds from the arrival to the answer; 0 if a fault replaced the operation.
        remaining: The rate budget after it; None if it was not counted.
    """

    number: int
    at: float
    method: str
    path: str
    query: dict[str, str]
    operation: str = ""
    location: str = ""
    principal: str = ""
    version: str = ""
    user_agent: str = ""
    body_bytes: int = 0
    status: int = 0
    refused: bool = False
    fault: str = ""
    elapsed: float = 0.0
    remaining: int | None = None


class SandboxState:
    """Documents, tokens, budgets, faults and settings of one sandbox."""

    def __init__(
        self,
        *,
        rate_max: int = 100,
        rate_interval: float = 10.0,
        window: str = "fixed",
        daily: int = 200_000,
        faults: str | FaultPlan = "none",
        seed: int = 0,
        latency: float = 0.0,
        host: str = "127.0.0.1",
        port: int = 0,
        quirks: Quirks | None = None,
        contacts: NeighbourQuirks | None = None,
        rules_off: Iterable[str] = (),
        rules_on: Iterable[str] = (),
        timezone: str = DEFAULT_ZONE,
        customer_accepts: bool = False,
        clock: Clock | None = None,
        allow_remote: bool = False,
        webhook_url: str | None = None,
    ) -> None:
        if not is_loopback(host) and not allow_remote:
            raise ConfigurationError(
                "host",
                f"{host!r} is not a loopback address, and the sandbox has no access control; "
                "allow_remote (--allow-remote) permits it",
            )
        if rate_max < 1 or rate_interval <= 0 or daily < 1:
            raise ConfigurationError("sandbox", "rate_max, rate_interval and daily must be positive")
        self.faults: FaultPlan = _plan(faults, seed, window)
        # An unknown zone raises here, not at the first document.
        zone_of(timezone)
        self.timezone = timezone
        self.customer_accepts = customer_accepts
        self.rules: RuleSet = RuleSet(rules_off, rules_on)
        self.clock: Clock = clock or Clock()
        self.quirks: Quirks = quirks or Quirks()
        self.contact_quirks: NeighbourQuirks = contacts or NeighbourQuirks()
        self.latency = latency
        self.rate_max = rate_max
        self.rate_interval = rate_interval
        self.window = window
        self.daily = daily
        self.log_limit = 200_000
        self.host = host
        self.port = port
        self.allow_remote = allow_remote
        self.url: str = ""
        self.connections_total = 0
        # A page of another web site cannot know it, so it cannot send the console's forms.
        self.console_token: str = secrets.token_urlsafe(24)
        self.open_connections: set[asyncio.BaseTransport] = set()
        self.webhooks: Webhooks = Webhooks(self.clock, seed=seed, allow_remote=allow_remote)
        if webhook_url is not None:
            self.webhooks.send_to(webhook_url)
        self.reset()

    def reset(self) -> None:
        """Delete all documents, tokens and requests. The ready token stays valid."""
        self.ledger: Ledger = Ledger(self.clock, self.quirks, self.rules, self.timezone, lambda: self.url)
        self.neighbours: Neighbours = Neighbours(self.clock, self.contact_quirks, COMPANY)
        self.tokens: Tokens = Tokens(self.clock, COMPANY, self.quirks)
        self.customer: Customer = Customer(self.ledger, self.webhooks)
        self.location_id = DEFAULT_LOCATION
        self.company_id = COMPANY
        # The first token of a new state is always the same, so clients keep working after a reset.
        self.token: str = self.tokens.private(None)
        # Bounded, because a load test makes millions of requests.
        self.requests: deque[RequestRecord] = deque(maxlen=self.log_limit)
        self.recorder: Recorder = Recorder()
        self.count = 0
        self.refused = 0
        self.windows: dict[tuple[str, str], Window] = {}
        self.spent_today: dict[tuple[str, str, str], int] = {}
        self.storm_until: float = 0.0
        # Receivers stay, because they belong to the program under test.
        self.webhooks.log.clear()

    def add_location(self, location_id: str | None = None, *, timezone: str | None = None) -> str:
        """Add a location and return its id. The ready token is valid for it too.

        Args:
            location_id: The id; generated by default. A location that exists stays unchanged.
            timezone: The IANA name of its time zone; the sandbox's by default.

        Raises:
            ConfigurationError: The time zone is unknown.
        """
        chosen = location_id or f"loc{len(self.ledger.places):021d}"
        self.ledger.add(chosen, timezone)
        return chosen

    def add_token(self, location_id: str | None = None, scopes: list[str] | None = None) -> str:
        """Return a new private token, by default for all locations and scopes."""
        return self.tokens.private(location_id, scopes)

    def add_app(self) -> App:
        """Return a new OAuth app, with `client_id` and `client_secret`."""
        return self.tokens.app()

    def authorise(self, client_id: str, location_id: str | None = None) -> str:
        """Install an app in a location, or in the agency, and return the code.

        Args:
            client_id: The app.
            location_id: The location; None for the agency.

        Returns:
            The authorization code for `POST /oauth/token`.
        """
        self.webhooks.installed(client_id.partition("-")[0], self.company_id, location_id)
        return self.tokens.authorise(client_id, "Location" if location_id else "Company", location_id)

    def uninstall(self, client_id: str, location_id: str | None = None) -> None:
        """Remove an app. Its tokens are refused from now on, and receivers get UNINSTALL."""
        self.tokens.uninstall(client_id)
        self.webhooks.installed(client_id.partition("-")[0], self.company_id, location_id, removed=True)

    def budgets(self) -> dict[str, int]:
        """Return the remaining requests by location; the smallest of several budgets."""
        now = self.clock.monotonic()
        left: dict[str, int] = {}
        # A budget belongs to an app and a location, so a location has several: docs/api-facts.md#api-rate-limits
        for (_, location), window in self.windows.items():
            left[location] = min(window.remaining(now), left.get(location, self.rate_max))
        return left

    def storm(self, seconds: float) -> None:
        """Refuse every token with a 401 for some seconds, as if all had expired."""
        self.storm_until = self.clock.monotonic() + seconds

    @property
    def connections(self) -> int:
        """The number of connections that are open now."""
        # A closing transport stays in the set until the next connection is tracked.
        return sum(not transport.is_closing() for transport in self.open_connections)


def _plan(faults: str | FaultPlan, seed: int, window: str) -> FaultPlan:
    """Return the plan of faults; check the kind of window too.

    Raises:
        ConfigurationError: The profile or the kind of window is unknown.
    """
    try:
        # Only for its check of the kind: windows are made at the first request of a location.
        make_window(window, 1, 1.0)
        return faults if isinstance(faults, FaultPlan) else FaultPlan(faults, seed)
    except ValueError as error:
        problem = str(error)
    raise ConfigurationError("sandbox", problem)
