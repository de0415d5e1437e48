"""Internal. A client's parts: pool, governor, credentials, observers, memory."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from hl_async.auth.credentials import Credentials
from hl_async.config import ClientConfig
from hl_async.governor import Governor, GovernorPolicy
from hl_async.models.rules import rules_without
from hl_async.resources.client_governor import governor_of
from hl_async.resources.locations import ClientMemory
from hl_async.resources.once import Once
from hl_async.telemetry import Observer, Telemetry
from hl_async.telemetry.logs import log_as_asked
from hl_async.transport.bodies import CODINGS
from hl_async.transport.calls import Transport
from hl_async.transport.retry import RetryPolicy
from hl_async.transport.session import SessionManager

if TYPE_CHECKING:
    from hl_async.governor.shared.messages import BudgetStore


class ClientCore:
    """Everything that one client owns, shared by its clones and locations."""

    __slots__ = (
        "config",
        "credentials",
        "governor",
        "memory",
        "owns_governor",
        "session",
        "state",
        "telemetry",
        "transport",
    )

    def __init__(
        self,
        credentials: Credentials,
        config: ClientConfig,
        governor: Governor | GovernorPolicy | None,
        retry: RetryPolicy | None,
        observers: Iterable[Observer],
        session: SessionManager,
        budget: BudgetStore | None,
        once: Once | None,
    ) -> None:
        self.config: ClientConfig = config
        self.credentials: Credentials = credentials
        log_as_asked()
        self.telemetry: Telemetry = Telemetry(observers)
        self.session: SessionManager = session
        self.governor: Governor = governor_of(governor, budget, config, self.telemetry)
        self.owns_governor: bool = self.governor is not governor
        self.transport: Transport = Transport(
            config,
            self.session,
            credentials,
            self.governor,
            retry=retry,
            telemetry=self.telemetry,
            guard=self.session.check_usable,
            codings=CODINGS,
        )
        self.memory: ClientMemory = ClientMemory(once, rules_without(config.rules_off), config.base_url)
        self.state: str = "new"

    async def open(self) -> None:
        """Open the connections, then the credentials, which may use them."""
        await self.session.open()
        try:
            await self.credentials.open(
                self.session,
                base_url=self.config.base_url,
                api_version=self.config.api_version,
                telemetry=self.telemetry,
                governor=self.governor,
            )
        # The `async with` block is not entered if this raises, so nothing else closes the connections.
        except BaseException:
            await self.session.aclose()
            raise
        self.transport.open()
        self.state = "open"

    async def aclose(self) -> None:
        """Let the calls on the wire end, then close all parts, even if one of them fails."""
        self.session.check_loop()
        self.state = "closed"
        # A governor that was passed in may serve other clients: its giver closes it.
        if self.owns_governor:
            self.governor.close()  # ends the waits of token requests too
        async with AsyncExitStack() as stack:
            # Called in the reverse order. The connections come last, because the other parts may still send.
            stack.push_async_callback(self.session.aclose)
            stack.push_async_callback(self.memory.keeper.aclose)
            stack.push_async_callback(self.credentials.aclose)
            if self.owns_governor:
                stack.push_async_callback(self.governor.aclose)
            stack.push_async_callback(self.transport.aclose, self.config.close_grace)

    def __del__(self) -> None:
        # A constructor that raised leaves an object without a state, which is collected as well.
        if getattr(self, "state", "new") == "open":
            # No loop may run any more, so connections cannot be closed here, only reported.
            text = f"unclosed HighLevel client for {self.config.base_url}; use 'async with' or await aclose()"
            warnings.warn(text, ResourceWarning, source=self, stacklevel=2)
