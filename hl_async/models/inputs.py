"""Internal. Types of request fields that accept more types than they store.

A field may store a `Decimal` and accept int or text, store a date and accept text, or store lines of requests and
accept lines of answers. Building the request converts the value. Type checkers see a descriptor with both types. At
run time each name below is the stored type.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Final, Generic, TypeAlias, TypeVar

from msgspec import UNSET, UnsetType

from hl_async.models.validation import Constraint, not_negative

Number: TypeAlias = Decimal | int | str
"""An amount, a quantity or a rate, as callers may pass it."""

Day: TypeAlias = date | str
"""A calendar day, as callers may pass it; text is of the form 2026-12-31."""

ABSENT: Final[Any] = UNSET
"""UNSET, the default of an optional field; typed as Any, because the types below are not unions of it."""

NOTHING: Final[Any] = None
"""None, the default of a nullable field; typed as Any, because the types below are not unions of it."""

if TYPE_CHECKING:
    _Held = TypeVar("_Held", covariant=True)
    _Given = TypeVar("_Given", contravariant=True)

    class Accepts(Generic[_Held, _Given]):
        """A field that stores one type and accepts another."""

        def __get__(self, instance: object, owner: Any = None) -> _Held: ...
        def __set__(self, instance: object, value: _Given) -> None: ...

    Amount: TypeAlias = Accepts[Decimal, Number]
    Quantity: TypeAlias = Accepts[Decimal, Number]
    OptionalQuantity: TypeAlias = Accepts[Decimal | UnsetType, Number | UnsetType]
    NullableAmount: TypeAlias = Accepts[Decimal | None, Number | None]
    RequiredDay: TypeAlias = Accepts[date, Day]
    OptionalDay: TypeAlias = Accepts[date | UnsetType, Day | UnsetType]
    DayText: TypeAlias = Accepts[str | None, Day | None]
else:
    Amount: TypeAlias = Decimal
    Quantity: TypeAlias = Annotated[Decimal, Constraint(not_negative)]
    OptionalQuantity: TypeAlias = Quantity | UnsetType
    NullableAmount: TypeAlias = Decimal | None
    RequiredDay: TypeAlias = date
    OptionalDay: TypeAlias = date | UnsetType
    DayText: TypeAlias = str | None
