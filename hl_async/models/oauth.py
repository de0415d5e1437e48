"""Internal. Answers of the OAuth routes: tokens and installed locations.

Both API versions are read, with keys in snake case and in camel case (docs/api-facts.md#api-oauth-v3).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import field

from hl_async.models.structs import Answer


class TokenGrant(Answer, repr_omit_defaults=True):
    """An answer of the token endpoint. Its repr shows no token.

    ``expires_in`` is the server's value, in seconds and unchecked. ``scope`` holds scopes separated by spaces. Only
    tokens of sub-accounts have a ``location_id``.
    """

    # Optional here, because `auth` checks the answer and names the missing field.
    access_token: str | None = None
    token_type: str | None = None
    expires_in: Any = None
    # Minted tokens carry one in practice, although it is undeclared there: docs/api-facts.md#api-token-classes
    refresh_token: str | None = None
    refresh_token_id: str | None = None
    scope: str | None = None
    user_type: str | None = None
    location_id: str | None = None
    company_id: str | None = None
    approved_locations: list[Any] | None = None
    user_id: str | None = None
    plan_id: str | None = None
    app_id: str | None = None
    version_id: str | None = None
    is_bulk_installation: Any = None
    install_to_future_locations: Any = None
    approve_all_locations: Any = None
    trace_id: str | None = None

    @staticmethod
    def __reshape__(document: Any) -> Any:
        """Return the document with its keys in camelCase: docs/api-facts.md#api-oauth-v3."""
        if not isinstance(document, dict):
            return document
        return {_camel(name): value for name, value in document.items()}

    def __repr__(self) -> str:
        return (
            # An explicit list, so that a new field with a secret does not appear in logs.
            f"TokenGrant(user_type={self.user_type!r}, location_id={self.location_id!r}, "
            f"company_id={self.company_id!r}, expires_in={self.expires_in!r}, scope={self.scope!r})"
        )


class InstalledLocation(Answer):
    """A location in which the app is or could be installed."""

    id: str = field(name="_id")
    name: str | None = None
    address: str | None = None
    is_installed: bool | None = None
    version_id: str | None = None
    installed_at: datetime | None = None
    trial: Any = None


class PageInfo(Answer):
    """The place of a page in v3, which pages by token instead of offset."""

    total_records: int | None = None
    has_next_page: bool | None = None
    has_prev_page: bool | None = None
    next_page_token: str | None = None
    prev_page_token: str | None = None
    current_page_size: int | None = None
    estimated_total_records: int | None = None


class InstalledLocationList(Answer):
    """A page of installed locations.

    Dated versions send ``locations`` and ``count``, v3 sends ``items`` and ``pagination``.
    """

    locations: list[InstalledLocation] | None = None
    items: list[InstalledLocation] | None = None
    count: int | None = None
    pagination: PageInfo | None = None
    install_to_future_locations: bool | None = None
    metadata: Any = None
    trace_id: str | None = None

    @property
    def entries(self) -> list[InstalledLocation]:
        """The page's locations, under either version's key."""
        return self.locations or self.items or []

    @property
    def total(self) -> int | None:
        """The number of locations in all pages; None if the answer lacks it."""
        if self.count is not None or self.pagination is None:
            return self.count
        return self.pagination.total_records


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in rest)
