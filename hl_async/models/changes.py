"""Changing some fields of a request, by name."""

from __future__ import annotations

import difflib
from typing import Any, TypeVar

import msgspec

from hl_async.errors import InvalidRequest

T = TypeVar("T", bound=msgspec.Struct)


def changed(update: T, **changes: Any) -> T:
    """A copy of ``update`` with ``changes``; unknown names raise :class:`InvalidRequest` with the nearest ones."""
    for name in changes:
        if name not in update.__struct_fields__:
            near = difflib.get_close_matches(name, update.__struct_fields__, 3)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise InvalidRequest(name, f"is no field of {type(update).__name__}{hint}")
    return msgspec.structs.replace(update, **changes)
