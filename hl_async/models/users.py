"""Internal. Users of a location, who appear as senders of documents."""

from __future__ import annotations

from typing import Any

from hl_async.models.structs import Answer


class UserRole(Answer):
    """The rights of a user, and the locations they cover."""

    type: str | None = None
    role: str | None = None
    location_ids: list[str] | None = None
    restrict_sub_account: bool | None = None


class User(Answer):
    """A user of a location or an agency; ``id`` is the ``user_id`` of a sender."""

    id: str
    name: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    email: str | None = None
    phone: str | None = None
    extension: str | None = None
    permissions: dict[str, Any] | None = None
    scopes: Any = None
    roles: UserRole | None = None
    deleted: bool | None = None
    lc_phone: dict[str, Any] | None = None
    platform_language: str | None = None


class UserList(Answer):
    """A page of users."""

    users: list[User] | None = None
    count: int | None = None

    @property
    def entries(self) -> list[User]:
        """The page's users."""
        return self.users or []

    @property
    def total(self) -> int | None:
        """The number of users in all pages; None if the answer lacks it."""
        return self.count
