"""Internal. Locations: the details of one, and the list of an agency."""

from __future__ import annotations

import asyncio
import contextlib
from urllib.parse import urlsplit

from hl_async import operations as op
from hl_async.config import CallOptions, is_loopback
from hl_async.errors import ApiError
from hl_async.models import LocationDetails, LocationList
from hl_async.models.dates import is_zone
from hl_async.models.located import Located, has_unread_date
from hl_async.models.preparation import RequestContext
from hl_async.models.rules import RULE_NAMES
from hl_async.pagination import Pager
from hl_async.resources.once import KeyKeeper, Once
from hl_async.resources.requesting import Requester, encode_query
from hl_async.transport.account import Account
from hl_async.transport.calls import Transport


class ClientMemory:
    """Internal. State shared by one client's resources, clones and locations."""

    __slots__ = ("contexts", "details", "keeper", "key_space", "reading", "rules")

    def __init__(
        self, once: Once | None = None, rules: frozenset[str] = RULE_NAMES, base_url: str = ""
    ) -> None:
        self.keeper: KeyKeeper = KeyKeeper(once)
        server = urlsplit(base_url)
        # A restarted sandbox has other documents under the same location id, and usually another port. So the keys of
        # a local server contain its address.
        local = is_loopback(server.hostname or "")
        self.key_space: str = f"once/{server.netloc}" if local else "once"
        self.rules: frozenset[str] = rules
        self.contexts: dict[str, RequestContext] = {}
        self.details: dict[str, LocationDetails] = {}
        self.reading: dict[str, asyncio.Lock] = {}

    def context(self, location_id: str) -> RequestContext:
        """Return the facts that complete a location's requests.

        All its `Location` objects share them.
        """
        found = self.contexts.get(location_id)
        if found is None:
            found = self.contexts[location_id] = RequestContext(location_id, self.rules)
        return found


class LocationRequester(Requester):
    """Internal. A requester that knows its location's details."""

    __slots__ = ("_memory",)

    def __init__(
        self, transport: Transport, account: Account, options: CallOptions, memory: ClientMemory
    ) -> None:
        super().__init__(transport, account, options, memory.context(account.key))
        self._memory = memory

    @property
    def id(self) -> str:
        """The location id, which is every call's altId."""
        return self._account.key

    @property
    def options(self) -> CallOptions:
        """The options of calls without options of their own."""
        return self._options

    @property
    def key_space(self) -> str:
        """The prefix of this location's keys in a store."""
        return f"{self._memory.key_space}/{self.id}"

    @property
    def keeper(self) -> KeyKeeper:
        """Locks and records of keys."""
        return self._memory.keeper

    @property
    def timezone(self) -> str | None:
        """The location's time zone; see `hl_async.Location.timezone`."""
        return self._context.timezone

    async def details(self, *, fresh: bool = False) -> LocationDetails:
        """Return the location's details, read once; see `hl_async.Location.details`."""
        memory, key = self._memory, self._account.key
        if not fresh and key in memory.details:
            return memory.details[key]
        # One read per location, even if many tasks ask at once.
        async with memory.reading.setdefault(key, asyncio.Lock()):
            if fresh or key not in memory.details:
                memory.details[key] = details = (await self.call(op.GET_LOCATION, key)).location
                # The zone that the caller stated wins, unless the details are explicitly read again.
                known = None if fresh else self._context.timezone
                if known is None and details.timezone and is_zone(details.timezone):
                    self._context.timezone = details.timezone
            return memory.details[key]

    async def read_dates(self, document: Located) -> None:
        """Ask for the location's time zone if a date of a document depends on it.

        If the token may not read the location, the document stays unchanged.
        """
        if not has_unread_date(document):
            return
        if self._context.reading is None:
            with contextlib.suppress(ApiError):
                await self.details()
        document.timezone = self._context.reading or document.timezone


def patience_of(at: LocationRequester) -> float:
    """Return how many seconds a call may look for an unanswered request's result."""
    timeout = at.options.timeout
    patience = at.keeper.settings.patience
    # A call must not look longer than its own timeout.
    return patience if timeout is None else min(patience, timeout)


def agency_locations(
    transport: Transport,
    principal: str,
    options: CallOptions,
    company_id: str,
    email: str | None,
    limit: int | None,
) -> Pager[LocationDetails]:
    """Page through the locations of an agency, authorised with the agency's token."""
    op.path_segment("company_id", company_id)
    # A wrong filter is refused by this call, and not by the first page.
    encode_query({"email": email})

    async def fetch(start: int, size: int) -> LocationList:
        # Calls about an agency are authorised and counted by its id.
        account = transport.account(company_id, principal)
        query = {"companyId": company_id, "email": email, "skip": start, "limit": size}
        text = encode_query(query)
        operation = op.SEARCH_LOCATIONS
        return await transport.send(operation, account, operation.path, text, None, options)

    return Pager(fetch, limit=limit)
