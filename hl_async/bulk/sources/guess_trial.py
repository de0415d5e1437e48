"""Internal. A guessed mapping's trial on the first rows of its table."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Final

import msgspec

from hl_async.bulk.sources.mapping import Mapping
from hl_async.bulk.sources.readers import first_records
from hl_async.bulk.sources.records import SourceItem
from hl_async.bulk.sources.settings import SourceSettings
from hl_async.errors import HighLevelError

_ROWS: Final = 300
_CHOICE: Final = re.compile(r"^# date_format = (\"[^\"]*\") or ", re.MULTILINE)


class GuessTrial(msgspec.Struct, frozen=True):
    """The result of the first documents.

    Attributes:
        documents: How many there were.
        agreed: Those that come to the total that the table states.
        read: Those that could be read.
        compared: The column of totals; empty if the table has none.
        reason: Why the first of the others could not be read.
    """

    documents: int = 0
    agreed: int = 0
    read: int = 0
    compared: str = ""
    reason: str = ""

    @property
    def is_perfect(self) -> bool:
        """Whether every document comes to its own total."""
        return 0 < self.agreed == self.documents

    def __str__(self) -> str:
        of = (
            f"Tried on the first {self.documents} documents"
            if self.documents != 1
            else "Tried on the first document"
        )
        if self.is_perfect:
            return f"{of}: every total agrees with the column {self.compared!r}."
        if self.compared:
            said = f"{self.agreed} agree with the column {self.compared!r}, the others do not, so the guess is unsure."
        else:
            said = f"{self.read} can be read, but no column of totals was found to compare, so the guess is unsure."
        return f"{of}: {said} The first problem: {self.reason}" if self.reason else f"{of}: {said}"


def trial_of(text: str, path: Path, encoding: str) -> GuessTrial:
    """Try a mapping on the first rows of its table."""
    # a day of two readings says nothing about the sums
    text = _CHOICE.sub(r"date_format = \1 # ", text)
    try:
        mapping = msgspec.convert(tomllib.loads(text), Mapping)
        settings = SourceSettings(encoding=encoding, contact_id="trial")
        found = first_records(path, mapping, _ROWS, settings)
    except (HighLevelError, msgspec.ValidationError, tomllib.TOMLDecodeError) as error:
        return GuessTrial(reason=" ".join(str(error).split()))
    items = [one for one in found if isinstance(one, SourceItem)]
    reason = next((one.reason for one in found if not isinstance(one, SourceItem)), "")
    agreed = sum(1 for one in items if one.is_compared)
    total = mapping.document.total.strip("{}")
    return GuessTrial(len(found), agreed, len(items), total, " ".join(reason.split()))
