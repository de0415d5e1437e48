"""Internal. How a location has a requester without showing it to users.

The module imports nothing at run time, so that bulk rooms load without the transport.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hl_async.resources.locations import LocationRequester


class RequesterHolder:
    """Internal. The base of `hl_async.Location`."""

    __slots__ = ("_at",)

    def __init__(self, at: LocationRequester) -> None:
        self._at = at


def requester_of(location: RequesterHolder) -> LocationRequester:
    """Return the requester of a location, to send operations by their rows."""
    return location._at  # noqa: SLF001 - private to users, not to this package
