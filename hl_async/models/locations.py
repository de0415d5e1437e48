"""Internal. Locations: the details of a sub-account."""

from __future__ import annotations

from typing import Any

from hl_async.models.structs import Answer


class LocationBusiness(Answer):
    """The business behind a location."""

    name: str | None = None
    address: str | None = None
    city: str | None = None
    state: str | None = None
    country: str | None = None
    postal_code: str | None = None
    website: str | None = None
    timezone: str | None = None
    logo_url: str | None = None


class LocationSettings(Answer):
    """Settings of a location.

    They do not include the order in which contacts are matched (docs/api-facts.md#api-contacts).
    """

    allow_duplicate_contact: bool | None = None
    allow_duplicate_opportunity: bool | None = None
    allow_facebook_name_merge: bool | None = None
    disable_contact_timezone: bool | None = None


class LocationDetails(Answer):
    """A location: its time zone, business, logo and address."""

    id: str
    company_id: str | None = None
    name: str | None = None
    domain: str | None = None
    address: str | None = None
    city: str | None = None
    state: str | None = None
    logo_url: str | None = None
    country: str | None = None
    postal_code: str | None = None
    website: str | None = None
    timezone: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    email: str | None = None
    phone: str | None = None
    business: LocationBusiness | None = None
    social: dict[str, Any] | None = None
    settings: LocationSettings | None = None
    reseller: dict[str, Any] | None = None


class LocationAnswer(Answer):
    """The envelope of one location."""

    location: LocationDetails


class LocationList(Answer):
    """A page of an agency's locations."""

    locations: list[LocationDetails] | None = None

    @property
    def entries(self) -> list[LocationDetails]:
        """The page's locations."""
        return self.locations or []

    @property
    def total(self) -> int | None:
        """None: the API does not send the number of locations."""
        return None
