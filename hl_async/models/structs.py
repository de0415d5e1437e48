"""Internal. The base classes of structs.

An :class:`Answer` ignores unknown keys, and requires only fields that every document has
(docs/api-facts.md#api-answer-fields). A :class:`Part` occurs in answers and requests. All its fields are optional, and
fields with the value None are not sent. A ``Request`` occurs in requests only and is strict: see ``validation``.
"""

from __future__ import annotations

from typing import Any

import msgspec

from hl_async.models.plain import Plain


class Answer(msgspec.Struct, Plain, kw_only=True, rename="camel", repr_omit_defaults=True):
    """An answer of the API. Unknown keys are ignored, and fields can be assigned."""


class Part(
    msgspec.Struct, Plain, kw_only=True, rename="camel", omit_defaults=True, gc=False, repr_omit_defaults=True
):
    """A part of a document, with the same fields in answers and requests.

    A part never refers to the object that holds it, so the garbage collector can skip it (``gc=False``). That saves a
    tenth of the time to read a page of a hundred documents.
    """


def typed_entries(entries: list[Any] | None, kind: type[Part]) -> list[Any] | None:
    """Return a list in which mappings are replaced by structs of `kind`.

    A mapping with a key that `kind` lacks, or with a value of another type, stays a mapping.
    """
    if not entries or not any(isinstance(entry, dict) for entry in entries):
        return entries
    # As a struct, an entry would lose unknown keys, and the next update would delete them.
    known = frozenset(kind.__struct_encode_fields__)
    return [
        _typed(entry, kind) if isinstance(entry, dict) and known >= set(entry) else entry for entry in entries
    ]


def _typed(entry: dict[str, Any], kind: type[Part]) -> Any:
    try:
        return msgspec.convert(entry, kind, strict=False)
    except (msgspec.ValidationError, ValueError):
        return entry
