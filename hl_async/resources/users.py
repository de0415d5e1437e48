"""Users of one location."""

from __future__ import annotations

from typing import Any, Final

from hl_async import operations as op
from hl_async.errors import InvalidRequest
from hl_async.models import User, UserList
from hl_async.pagination import Pager
from hl_async.resources.locations import LocationRequester

_LISTED: Final = 20


class Users:
    """Users of one location, as ``location.users``."""

    __slots__ = ("_at",)

    def __init__(self, at: LocationRequester) -> None:
        self._at = at

    def search(
        self,
        query: str | None = None,
        *,
        role: str | None = None,
        kind: str | None = None,
        company_id: str | None = None,
        limit: int | None = None,
    ) -> Pager[User]:
        """Search the users of the location. A user's `id` is the `user_id` for sending.

        Args:
            query: Text of the name, e-mail or phone number.
            role: The role, such as admin or user.
            kind: The type of the user, agency or account.
            company_id: The agency. By default it is read from the location's details.
            limit: Users per request.

        Returns:
            A pager. Await it for the first page, or iterate over it for all users.

        Raises:
            ScopeMissing: The token lacks users.readonly, or locations.readonly for the agency.
            InvalidRequest: The agency of the location is unknown.
        """
        given: dict[str, Any] = {"query": query, "role": role, "type": kind}
        kept = {name: value for name, value in given.items() if value is not None}

        async def fetch(start: int, size: int) -> UserList:
            # The route requires the agency as well, and a token does not name it.
            company = company_id or (await self._at.details()).company_id
            if company is None:
                raise InvalidRequest("company_id", "is missing; the location's details do not name it")
            query = {"companyId": company, **kept, "skip": start, "limit": size}
            return await self._at.call(op.SEARCH_USERS, query=query)

        return Pager(fetch, limit=limit)

    async def named(self, name: str, *, company_id: str | None = None) -> User:
        """Find the one user of a name or e-mail address. Only reads.

        The user's `id` is the `user_id` of sending.

        Args:
            name: The full name or the e-mail address, whatever its case.
            company_id: The agency; read from the location's details if left out.

        Returns:
            The user.

        Raises:
            InvalidRequest: No user has this name, or several have; the error lists the users.
            ScopeMissing: The token lacks users.readonly, or locations.readonly for the agency.
        """
        wanted = name.strip().casefold()
        # All users are read, because it is unknown how the search compares text.
        users = [one for one in await self.search(company_id=company_id).collect() if not one.deleted]
        found = [
            one for one in users if wanted in ((one.name or "").casefold(), (one.email or "").casefold())
        ]
        if len(found) == 1 and wanted:
            return found[0]
        # A list of some users helps with a typing mistake; a list of thousands does not.
        listed = ", ".join(f"{one.name} <{one.email}>" for one in (found or users)[:_LISTED]) or "none"
        problem = "is the name of several users" if found else "is not a user of this location"
        raise InvalidRequest("user", f"{name!r} {problem}; there are: {listed}")
