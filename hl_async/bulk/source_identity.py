"""Internal. Whether a document in a location is from this run's source. Pure.

Source ids are not enough: two systems both number their documents 1, 2, 3. A file's fingerprint is too strict: the next
export of the same system has another one. So every document carries three marks of its origin:

- the *id* that its source gives it, hashed;
- the *name* of the source, stated by the user or derived from profile, query, mapping or file;
- its *contents*: customer, currency and lines of the source, hashed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from hl_async.bulk.protocol import make_key
from hl_async.errors import ConfigurationError

MARK: Final = 13
"""Characters of a mark: 65 bits."""

LONGEST_SOURCE_NAME: Final = 60

_VAGUE: Final = frozenset(("", "map", "mapping", "query", "export", "documents", "data"))
"""Names of mappings and queries that do not identify a system."""

_KEY: Final = re.compile(r"\[([a-z2-7]{26})\]$")
_decoder: Final = msgspec.json.Decoder(float_hook=Decimal)


class Origin(NamedTuple):
    """The marks of a document's source; a mark that it lacks is empty.

    Attributes:
        mark: Stands for the source id.
        name: Stands for the source.
        contents: Stands for the source's contents.
        run: The run that created it.
    """

    mark: str
    name: str = ""
    contents: str = ""
    run: str = ""


class Relation(Enum):
    """Relation of a source document to one in the location with its source id."""

    SAME = "same"
    CHANGED = "changed"
    """The same source, with other contents."""
    RENAMED = "renamed"
    """The same contents, under another name of the source."""
    OTHER = "other"
    """They share the source id only."""


def relation(mine: Origin, theirs: Origin) -> Relation:
    """Return how two documents with the same source id are related."""
    # Two documents without a mark of their contents are not equal because of that.
    is_equal = bool(mine.contents) and mine.contents == theirs.contents
    if mine.name == theirs.name or not theirs.name:
        # A text key has no room for the source's name, so only equal contents show the same source.
        return Relation.SAME if is_equal else Relation.CHANGED if theirs.name else Relation.OTHER
    return Relation.RENAMED if is_equal else Relation.OTHER


def source_mark(source_id: str) -> str:
    """Return the mark of a source id, the same in every run and for every file name."""
    return make_key(f"source:{source_id}")[:MARK]


def contents_mark(body: Any) -> str:
    """Return the mark of a document's contents.

    Dates, numbers and the document's own name are left out: settings, counters and mappings make them.

    Args:
        body: A decoded request that creates a document.
    """
    # Both sides must hash the same fields as _contents_of_listed(), or no document would match.
    contact = body.get("contactDetails") or {}
    # neither the contact's id nor its phone: resolving contacts changes both after the plan
    lines = [(line.get("name"), line.get("qty"), line.get("amount")) for line in body.get("items") or ()]
    return _hashed(contact.get("name"), contact.get("email"), body.get("currency"), lines)


def contents_mark_of(body: bytes) -> str:
    """Return the mark of the contents of a request as the journal holds it."""
    return contents_mark(_decoder.decode(body)) if body else ""


def origin_of(document: Any) -> Origin | None:
    """Return the origin that a listed document carries in a place for keys, or None."""
    meta = getattr(document, "meta", None)
    marks = meta.get("hl_async") if isinstance(meta, dict) else None
    if isinstance(marks, dict):
        mark, name, contents, run = (marks.get(one, "") for one in ("src", "of", "c", "run"))
        if all(isinstance(one, str) for one in (mark, name, contents, run)) and mark:
            return Origin(mark, name, contents, run)
    # a run with another --key may have created it, so all places are looked at
    for attribute in ("terms_notes", "name", "title"):
        text = getattr(document, attribute, None)
        found = _KEY.search(text) if isinstance(text, str) else None
        if found is not None:
            return Origin(found[1][:MARK], contents=_contents_of_listed(document))
    return None


def _contents_of_listed(document: Any) -> str:
    contact = getattr(document, "contact_details", None)
    lines = getattr(document, "invoice_items", None) or getattr(document, "items", None)
    # A list may leave the lines out, and a mark without them would match nothing.
    if not lines:
        return ""
    parts = [(line.name, line.qty, line.amount) for line in lines]
    name, email = getattr(contact, "name", None), getattr(contact, "email", None)
    return _hashed(name, email, document.currency, parts)


def _hashed(name: Any, email: Any, currency: Any, lines: Iterable[tuple[Any, Any, Any]]) -> str:
    # Spacing, case and the form of numbers do not count: the API may change them.
    parts = [_text(name), _text(email), _text(currency)]
    for called, qty, amount in lines:
        parts += [_text(called), _number(qty), _number(amount)]
    text = "\x00".join(parts).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=8).hexdigest()


def _text(value: Any) -> str:
    return " ".join(str(value or "").split()).casefold()


def _number(value: Any) -> str:
    # "3.00" and 3 are one quantity, and the API may answer either form.
    return "" if value is None else f"{Decimal(str(value)).normalize():f}"


# ------------------------------------------------------------------------------------------ names


def check_source_name(name: str) -> str:
    """Return a name that the user stated, without surrounding spaces.

    Raises:
        ConfigurationError: It is empty, too long, or has control characters.
    """
    found = name.strip()
    if not found or len(found) > LONGEST_SOURCE_NAME or not found.isprintable():
        raise ConfigurationError(
            "--source-name",
            f"{name[:LONGEST_SOURCE_NAME]!r} is not a name of 1 to {LONGEST_SOURCE_NAME} printable characters",
        )
    return found


def derived_source_name(path: Path, *, rules: Path | None = None) -> str:
    """Return a name for a source whose user stated none.

    It is the name of the mapping or query, which stays the same from one export to the next. Without one it is the
    file's name up to its first number, because file names of exports contain a date or a counter.

    Args:
        path: The exported file.
        rules: The mapping or query.
    """
    if rules is not None and rules.stem.casefold() not in _VAGUE:
        return rules.stem[:LONGEST_SOURCE_NAME]
    # up to the first dot: orders.rejects.csv comes from the source of orders.csv
    stem = path.name.split(".", 1)[0]
    # A date or a number in a file's name changes from export to export.
    plain = re.sub(r"[\W_]*\d.*$", "", stem)
    return (plain or stem)[:LONGEST_SOURCE_NAME]
