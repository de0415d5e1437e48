"""Internal. The kinds of structs.

An :class:`Answer` ignores unknown keys and requires only what every document has
(docs/api-facts.md#api-answer-fields). A :class:`Part` occurs in answers and in requests: everything in it is optional,
None is left out when it is sent. A ``Request`` occurs in requests alone and is strict: see ``validation``.
"""

from __future__ import annotations

from typing import Any

import msgspec

from hl_async.models.plain import Plain


class Answer(msgspec.Struct, Plain, kw_only=True, rename="camel", repr_omit_defaults=True):
    """An answer of the API. It is tolerant, and can be changed by its reader."""


class Part(
    msgspec.Struct, Plain, kw_only=True, rename="camel", omit_defaults=True, gc=False, repr_omit_defaults=True
):
    """A part of a document, the same in answers and requests.

    Parts hold data, never a reference back, so the garbage collector need not look at them (``gc=False``): with a
    page of a hundred documents that is a tenth of the time it takes to read it.
    """


def typed_entries(entries: list[Any] | None, kind: type[Part]) -> list[Any] | None:
    """Return a list with each mapping that `kind` describes wholly as a `kind`, everything else as it is."""
    if not entries or not any(isinstance(entry, dict) for entry in entries):
        return entries
    known = frozenset(kind.__struct_encode_fields__)
    return [
        _typed(entry, kind) if isinstance(entry, dict) and known >= set(entry) else entry for entry in entries
    ]


def _typed(entry: dict[str, Any], kind: type[Part]) -> Any:
    try:
        return msgspec.convert(entry, kind, strict=False)
    except (msgspec.ValidationError, ValueError):
        return entry
