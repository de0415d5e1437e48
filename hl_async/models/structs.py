"""Internal. The kinds of structs.

An :class:`Answer` ignores unknown keys and requires only fields that every document has
(docs/api-facts.md#api-answer-fields). A :class:`Part` occurs in answers and requests: all its fields are optional, and
None is not sent. A ``Request`` occurs in requests only and is strict: see ``validation``.
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

    Parts hold data and never refer back, so the garbage collector skips them (``gc=False``). That saves a tenth of the
    time to read a page of a hundred documents.
    """


def typed_entries(entries: list[Any] | None, kind: type[Part]) -> list[Any] | None:
    """Return a list in which each mapping that `kind` describes fully is a `kind`.

    Other entries stay unchanged.
    """
    if not entries or not any(isinstance(entry, dict) for entry in entries):
        return entries
    # An entry with further keys stays a mapping: as a struct it would lose them in the next update.
    known = frozenset(kind.__struct_encode_fields__)
    return [
        _typed(entry, kind) if isinstance(entry, dict) and known >= set(entry) else entry for entry in entries
    ]


def _typed(entry: dict[str, Any], kind: type[Part]) -> Any:
    try:
        return msgspec.convert(entry, kind, strict=False)
    except (msgspec.ValidationError, ValueError):
        return entry
