"""Internal. Puts keys into bodies of requests and reads them from documents.

Whether the API returns ``meta`` in lists is unknown (docs/api-facts.md#api-meta). The canary finds out, and a run may
choose another place.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final, Protocol

import msgspec

from hl_async.bulk.protocol import make_key
from hl_async.bulk.source_identity import MARK, contents_mark, source_mark
from hl_async.bulk.sources.records import SourceItem
from hl_async.errors import ConfigurationError
from hl_async.models.preparation import LONGEST_NAME

# Amounts pass through as exact decimals, because a body is decoded and encoded again to add its key.
_decoder: Final = msgspec.json.Decoder(float_hook=Decimal)
_encoder: Final = msgspec.json.Encoder(decimal_format="number")


class KeyCarrier(Protocol):
    """A place for keys.

    ``name`` stands for it on the command line and in the journal.
    """

    name: str

    def make(self, run: str, item: SourceItem, repetition: int) -> str:
        """Return the key of an item; ``repetition`` counts documents of one source id."""
        ...

    def put(self, body: bytes, key: str, run: str, source_id: str = "", source_name: str = "") -> bytes:
        """Return the body with the key in it."""
        ...

    def read(self, document: Any) -> str | None:
        """Return the key of a listed document (a struct of `hl_async.models`), or None."""
        ...


def is_unique(keys: KeyCarrier) -> bool:
    """Return whether only this run's requests can bring a key into a location.

    A hash that names the run can.
    """
    return isinstance(keys, _HashedKey)


class _HashedKey:
    """A key that only this run makes.

    Its first half marks the source id, which other runs look for.
    """

    def make(self, run: str, item: SourceItem, repetition: int) -> str:
        return source_mark(item.source_id) + make_key(f"{run}:{item.source_id}", repetition)[:MARK]


class MetaKey(_HashedKey):
    """A key in ``meta.hl_async``: the key (``k``) and the document's `Origin`.

    Other members of ``meta`` are kept.
    """

    name = "meta"

    def put(self, body: bytes, key: str, run: str, source_id: str = "", source_name: str = "") -> bytes:
        document = _decoder.decode(body)
        meta = document.get("meta") or {}
        marks = {"k": key, "run": run, "src": source_mark(source_id), "c": contents_mark(document)}
        if source_name:
            marks["of"] = source_name
        document["meta"] = meta | {"hl_async": marks}
        return _encoder.encode(document)

    def read(self, document: Any) -> str | None:
        meta = getattr(document, "meta", None)
        marks = meta.get("hl_async") if isinstance(meta, dict) else None
        value = marks.get("k") if isinstance(marks, dict) else None
        return value if isinstance(value, str) else None


class NumberKey:
    """The document's own number: the first one plus the item's position.

    The position is that in the source. It serves accounts whose lists return no other key. Numbers of the source
    are replaced, because real exports repeat numbers.
    """

    def __init__(self, first: int) -> None:
        self.name: str = f"number:{first}"
        self._first = first

    def make(self, run: str, item: SourceItem, repetition: int) -> str:
        return str(self._first + item.ordinal)

    def put(self, body: bytes, key: str, run: str, source_id: str = "", source_name: str = "") -> bytes:
        document = _decoder.decode(body)
        # Estimate numbers are JSON numbers, invoice numbers are text: docs/api-facts.md#api-number-types
        # An estimate's body has no due date, which tells the two kinds apart.
        field, value = (
            ("invoiceNumber", key)
            if "sentTo" in document and "dueDate" in document
            else ("estimateNumber", int(key))
        )
        document[field] = value
        return _encoder.encode(document)

    def read(self, document: Any) -> str | None:
        number = getattr(document, "estimate_number", None)
        number = getattr(document, "invoice_number", None) if number is None else number
        return None if number is None else str(number)


class TextKey(_HashedKey):
    """The key in brackets at the end of a text field, visible to customers.

    The field is name, title or termsNotes. A name or title is cut so that it has at most 40 characters with the
    key. One that is longer already stays whole, because a plan lets it pass only where the limit is off.
    """

    def __init__(self, field: str) -> None:
        self.name: str = f"field:{field}"
        self._field = field
        self._attribute = "".join(f"_{c.lower()}" if c.isupper() else c for c in field)

    def put(self, body: bytes, key: str, run: str, source_id: str = "", source_name: str = "") -> bytes:
        document = _decoder.decode(body)
        text = document.get(self._field) or ""
        if self._field in ("name", "title") and len(text) <= LONGEST_NAME:
            # Three more characters are the space and the brackets: docs/api-facts.md#api-names-40
            text = text[: LONGEST_NAME - len(key) - 3].rstrip()
        document[self._field] = f"{text} [{key}]".strip()
        return _encoder.encode(document)

    def read(self, document: Any) -> str | None:
        text = getattr(document, self._attribute, None)
        if not isinstance(text, str) or not text.endswith("]") or "[" not in text:
            return None
        # The last bracket, because the text itself may contain brackets.
        return text[text.rindex("[") + 1 : -1]


class SourceKey:
    """The key of invoices made from estimates: the estimate's id.

    The invoice names it as its source.
    """

    name = "source"

    def make(self, run: str, item: SourceItem, repetition: int) -> str:
        """Return the estimate's id."""
        return item.ids[0]

    def put(self, body: bytes, key: str, run: str, source_id: str = "", source_name: str = "") -> bytes:
        """Return the body unchanged, because the API writes the source itself."""
        return body

    def read(self, document: Any) -> str | None:
        """Return the estimate's id."""
        # An undeclared field, seen in live answers: docs/api-facts.md#api-undeclared-fields
        source_id = getattr(document, "source_id", None)
        return source_id if getattr(document, "source", None) == "estimate" else None


def key_carrier(name: str) -> KeyCarrier:
    """Return the carrier called ``name``.

    Args:
        name: meta, name, title, ``number:FIRST``, or ``field:X`` for a text field.

    Raises:
        ConfigurationError: The name is unknown.
    """
    if name == "meta":
        return MetaKey()
    if name in ("name", "title"):
        return TextKey(name)
    if name.startswith("field:") and name[6:].isidentifier():
        return TextKey(name[6:])
    if name.startswith("number:") and name[7:].isdecimal():
        return NumberKey(int(name[7:]))
    problem = f"unknown key location {name!r}; choose meta, name, title, number:FIRST or field:X"
    raise ConfigurationError("key", problem)
