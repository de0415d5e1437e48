"""Internal. A sandbox's state without HTTP.

It is for handlers, console and control surface.
"""

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
        number: Counts requests, from 1.
        at: Arrival on the sandbox's monotonic clock, in seconds.
        method: The HTTP method.
        path: The path.
        query: The query.
        operation: The operation's name.
        location: The location's id.
        principal: The token or app.
        version: The Version header.
        user_agent: The User-Agent header.
        body_bytes: Size of the body.
        status: Status of the answer.
        refused: Whether the rate limit refused it.
        fault: The fault it met.
        elapsed: Seconds until the answer.
        remaining: The rate budget left after it.
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
                f"{host!r} is not loopback; the sandbox has no security: allow_remote (--allow-remote)",
            )
        if rate_max < 1 or rate_interval <= 0 or daily < 1:
            raise ConfigurationError("sandbox", "rate_max, rate_interval and daily must be positive")
        self.faults: FaultPlan = _plan(faults, seed, window)
        # Refuses an unknown zone now, and not with the first document.
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
        # A form of another web page cannot know it.
        self.console_token: str = secrets.token_urlsafe(24)
        self.open_connections: set[asyncio.BaseTransport] = set()
        self.webhooks: Webhooks = Webhooks(self.clock, seed=seed, allow_remote=allow_remote)
        if webhook_url is not None:
            self.webhooks.send_to(webhook_url)
        self.reset()

    def reset(self) -> None:
        """Forget all documents, tokens and requests; the ready token stays the same."""
        self.ledger: Ledger = Ledger(self.clock, self.quirks, self.rules, self.timezone, lambda: self.url)
        self.neighbours: Neighbours = Neighbours(self.clock, self.contact_quirks, COMPANY)
        self.tokens: Tokens = Tokens(self.clock, COMPANY, self.quirks)
        self.customer: Customer = Customer(self.ledger, self.webhooks)
        self.location_id = DEFAULT_LOCATION
        self.company_id = COMPANY
        # The first token is the same in every sandbox, so clients keep working after a reset.
        self.token: str = self.tokens.private(None)
        # Bounded, because a load test makes millions of requests.
        self.requests: deque[RequestRecord] = deque(maxlen=self.log_limit)
        self.recorder: Recorder = Recorder()
        self.count = 0
        self.refused = 0
        self.windows: dict[tuple[str, str], Window] = {}
        self.spent_today: dict[tuple[str, str, str], int] = {}
        self.storm_until: float = 0.0
        # Receivers stay: they belong to the program under test.
        self.webhooks.log.clear()

    def add_location(self, location_id: str | None = None, *, timezone: str | None = None) -> str:
        """Open another location and return its id. The ready token is valid for it too.

        Args:
            location_id: The id; generated by default.
            timezone: An IANA name; the sandbox's own zone by default.

        Raises:
            ConfigurationError: The time zone is unknown.
        """
        chosen = location_id or f"loc{len(self.ledger.places):021d}"
        self.ledger.add(chosen, timezone)
        return chosen

    def add_token(self, location_id: str | None = None, scopes: list[str] | None = None) -> str:
        """Return another private token, by default for all locations and scopes."""
        return self.tokens.private(location_id, scopes)

    def add_app(self) -> App:
        """Return an OAuth app: its `client_id` and `client_secret`."""
        return self.tokens.app()

    def authorise(self, client_id: str, location_id: str | None = None) -> str:
        """Return the authorization code of a location's consent, or of the agency's."""
        self.webhooks.installed(client_id.partition("-")[0], self.company_id, location_id)
        return self.tokens.authorise(client_id, "Location" if location_id else "Company", location_id)

    def uninstall(self, client_id: str, location_id: str | None = None) -> None:
        """Remove an app: its tokens are refused, and its receivers get the event."""
        self.tokens.uninstall(client_id)
        self.webhooks.installed(client_id.partition("-")[0], self.company_id, location_id, removed=True)

    def budgets(self) -> dict[str, int]:
        """Return the remaining rate budget by location, the tightest of its users'."""
        now = self.clock.monotonic()
        left: dict[str, int] = {}
        # The budget is per app and location, so one location has several: docs/api-facts.md#api-rate-limits
        for (_, location), window in self.windows.items():
            left[location] = min(window.remaining(now), left.get(location, self.rate_max))
        return left

    def storm(self, seconds: float) -> None:
        """Refuse every token with 401 for some seconds."""
        self.storm_until = self.clock.monotonic() + seconds

    @property
    def connections(self) -> int:
        """Connections that are open now."""
        # A closing transport stays in the set until its callback has run.
        return sum(not transport.is_closing() for transport in self.open_connections)


def _plan(faults: str | FaultPlan, seed: int, window: str) -> FaultPlan:
    """Return the plan of faults.

    Raises:
        ConfigurationError: The profile or the kind of window is unknown.
    """
    try:
        make_window(window, 1, 1.0)
        return faults if isinstance(faults, FaultPlan) else FaultPlan(faults, seed)
    except ValueError as error:
        problem = str(error)
    raise ConfigurationError("sandbox", problem)
