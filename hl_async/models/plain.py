"""Internal. Models as plain data, for queues, logs and notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, ClassVar, Self

import msgspec

from hl_async.errors import InvalidRequest
from hl_async.models.type_info import strict_decoder

_encoder = msgspec.json.Encoder(decimal_format="number")


class Plain:
    """The methods of all models: copies, dictionaries and JSON."""

    __slots__ = ()

    _null_is_data: ClassVar[bool] = False
    """Whether None is a value. In requests it is, and is sent as null. In answers it marks a missing field."""

    def replace(self, **changes: Any) -> Self:
        """Return a copy with new values for some fields; requests are checked again.

        Raises:
            InvalidRequest: A field is unknown, or its value is not valid.
        """
        check_names(type(self), changes)  # type: ignore[arg-type]
        copy: Self = msgspec.structs.replace(self, **changes)  # type: ignore[type-var]
        return copy

    def to_dict(self) -> dict[str, Any]:
        """Return the model as a dictionary, with keys spelled as on the wire.

        Amounts are `Decimal`, dates are ISO 8601 text. Fields that an answer lacks are left out.
        """
        found: dict[str, Any] = msgspec.to_builtins(self, builtin_types=(Decimal,))
        return found if self._null_is_data else _without_none(found)

    def to_json(self) -> str:
        """Return :meth:`to_dict` as JSON text; amounts are exact numbers."""
        return _encoder.encode(self.to_dict()).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Return the model that :meth:`to_json` wrote; amounts are exact.

        Raises:
            InvalidRequest: The text is not JSON, or not valid for this model.
        """
        try:
            return strict_decoder(cls).decode(text)
        except msgspec.DecodeError as error:
            raise InvalidRequest("text", f"is not a valid {cls.__name__}: {error}") from None

    def _repr_html_(self) -> str:
        """Show the model as a table in a notebook."""
        from html import escape  # takes a millisecond to import, and only notebooks need it

        fields: tuple[str, ...] = self.__struct_fields__  # type: ignore[attr-defined]
        known = ((name, getattr(self, name)) for name in fields)
        rows = "".join(
            f"<tr><th>{escape(name)}</th><td style='text-align:left'>{escape(_short(value))}</td></tr>"
            for name, value in known
            if value is not None and value is not msgspec.UNSET
        )
        return f"<table><caption>{escape(type(self).__name__)}</caption>{rows}</table>"


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_none(entry) for name, entry in value.items() if entry is not None}
    if isinstance(value, list):
        return [_without_none(entry) for entry in value]
    return value


def _short(value: Any) -> str:
    text = f"{value}" if isinstance(value, Decimal | str) else repr(value)
    return text if len(text) <= 200 else f"{text[:197]}…"


def nearest(text: str, known: Sequence[str], number: int, cutoff: float = 0.6) -> list[str]:
    """Return at most ``number`` known words like ``text``, the most similar first."""
    from difflib import get_close_matches  # only errors need it

    return get_close_matches(text, known, number, cutoff)


def check_names(kind: type[msgspec.Struct], names: Iterable[str]) -> None:
    """Raise unless all names are fields of `kind`; the error suggests similar names."""
    for name in names:
        if name not in kind.__struct_fields__:
            near = nearest(name, kind.__struct_fields__, 3)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            if name == "status":
                hint = "; it changes by sending, by payments and by what the customer does, not by an update"
            raise InvalidRequest(name, f"is not a field of {kind.__name__}{hint}")
