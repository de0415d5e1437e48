"""Internal. Switches of contacts and users.

Some are settings of a location. The others choose behaviour that is unknown of the live API.
"""

from __future__ import annotations

import dataclasses
from decimal import Decimal

from hl_async.errors import ConfigurationError


@dataclasses.dataclass(slots=True)
class NeighbourQuirks:
    """Switches of the behaviour of contacts and users.

    The defaults follow the known facts of the live API (docs/api-facts.md#api-contacts).

    Attributes:
        duplicates_allowed: The location's setting "Allow Duplicate Contact".
        match_order: The fields by which the location matches contacts. The first field that finds one decides.
        index_lag: Seconds until `POST /contacts/search` shows a change.
        lookup_lags: Whether the duplicate look-up lags as the search does; else it is exact.
        tags_replaced: Whether an upsert replaces the tags of the contact that it matches; else it adds tags.
        created_despite_422: The number of next creations that answer 422, although they create the contact.
        contacts_looked_up: Whether creating an estimate or invoice refuses unknown contact ids.
        users_looked_up: Whether sending a document refuses unknown user ids.
        unknown_keys_refused: Whether a body with undeclared keys gets a 422.
    """

    duplicates_allowed: bool = False
    match_order: tuple[str, ...] = ("email", "phone")
    index_lag: float = 0.0
    lookup_lags: bool = False
    tags_replaced: bool = True
    created_despite_422: int = 0
    contacts_looked_up: bool = False
    users_looked_up: bool = False
    unknown_keys_refused: bool = True

    def change(self, **values: object) -> None:
        """Set switches while the sandbox runs.

        Args:
            values: The new values, by the names of the switches.

        Raises:
            ConfigurationError: A name or a value is not valid. No switch has changed then.
        """
        known = [field.name for field in dataclasses.fields(self)]
        for name, value in values.items():
            if name not in known:
                raise ConfigurationError(name, f"unknown switch of contacts; choose {', '.join(known)}")
            # The control route decodes fractions in JSON as Decimal.
            if isinstance(value, Decimal):
                value = values[name] = float(value)
            if name == "match_order":
                values[name] = tuple(value) if isinstance(value, list | tuple) else (value,)
            elif type(value) is not type(getattr(self, name)) and not (
                isinstance(getattr(self, name), float) and type(value) is int
            ):
                raise ConfigurationError(name, f"{value!r} is not a {type(getattr(self, name)).__name__}")
        # Checked as a whole first, so that a wrong value leaves no switch changed.
        changed = dataclasses.replace(self, **values)  # type: ignore[arg-type]
        for name in known:
            setattr(self, name, getattr(changed, name))

    def __post_init__(self) -> None:
        if not self.match_order or not set(self.match_order) <= {"email", "phone"}:
            raise ConfigurationError("match_order", f"{self.match_order!r} may hold email and phone only")
        if self.index_lag < 0:
            raise ConfigurationError("index_lag", f"{self.index_lag} is negative")
