"""Internal. Choices about contacts and their neighbours.

A location, or the live API, may make each of them either way.
"""

from __future__ import annotations

import dataclasses
from decimal import Decimal

from hl_async.errors import ConfigurationError


@dataclasses.dataclass(slots=True)
class NeighbourQuirks:
    """Switches of contacts and their neighbours.

    The defaults follow the known facts of the live API.

    Attributes:
        duplicates_allowed: The location's setting "Allow Duplicate Contact".
        match_order: The match fields of the location, the first one decides.
        index_lag: Seconds until `POST /contacts/search` shows a change.
        lookup_lags: The duplicate look-up lags as the search does; else it is exact.
        tags_replaced: An upsert replaces the tags of the contact that it matches.
        created_despite_422: So many of the next creations answer 422 and create the contact all the same.
        contacts_looked_up: Creating an estimate or invoice refuses unknown contact ids.
        users_looked_up: Sending a document refuses unknown user ids.
        unknown_keys_refused: Bodies with undeclared keys are 422.
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
        """Change some switches while the sandbox runs; all of them or none.

        Args:
            values: Switches by their names.

        Raises:
            ConfigurationError: A name or a value is not valid.
        """
        known = [field.name for field in dataclasses.fields(self)]
        for name, value in values.items():
            if name not in known:
                raise ConfigurationError(name, f"unknown switch of contacts; there are {', '.join(known)}")
            # The control route decodes JSON numbers exactly.
            if isinstance(value, Decimal):
                value = values[name] = float(value)
            if name == "match_order":
                values[name] = tuple(value) if isinstance(value, list | tuple) else (value,)
            elif type(value) is not type(getattr(self, name)) and not (
                isinstance(getattr(self, name), float) and type(value) is int
            ):
                raise ConfigurationError(name, f"{value!r} is not a {type(getattr(self, name)).__name__}")
        # Checked as a whole first: a wrong value must not leave half of the changes.
        changed = dataclasses.replace(self, **values)  # type: ignore[arg-type]
        for name in known:
            setattr(self, name, getattr(changed, name))

    def __post_init__(self) -> None:
        if not self.match_order or not set(self.match_order) <= {"email", "phone"}:
            raise ConfigurationError("match_order", f"{self.match_order!r} may hold email and phone only")
        if self.index_lag < 0:
            raise ConfigurationError("index_lag", f"{self.index_lag} is negative")
