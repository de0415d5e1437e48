"""Internal. Decoders of structs, built one at a time.

msgspec collects the fields of a struct, and of the structs in it, when the first decoder of a type is built. That runs
Python code, so another thread may meet a struct whose fields are incomplete. The process then ends with a segmentation
fault (seen with 12 threads and msgspec 0.22). Building therefore holds a lock; using a decoder needs none.
"""

from __future__ import annotations

import threading
from typing import Any, Final, TypeVar

import msgspec

T = TypeVar("T")

_building: Final = threading.Lock()
_strict: Final[dict[type, msgspec.json.Decoder[Any]]] = {}


def lenient_decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    """Return a new decoder of ``kind`` that accepts text for numbers and booleans."""
    with _building:
        return msgspec.json.Decoder(kind, strict=False)


def strict_decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    """Return the decoder of ``kind`` that converts no types; it is built once."""
    decoder = _strict.get(kind)
    if decoder is None:
        with _building:
            # Another thread may have built one meanwhile; all threads use the first.
            decoder = _strict.setdefault(kind, msgspec.json.Decoder(kind))
    return decoder
