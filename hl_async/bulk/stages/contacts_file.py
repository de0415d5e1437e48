"""Internal. The contacts file, with one row per customer.

A dry run writes it. After a person edited it, a run reads it. It holds customers, so only its owner may read it.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from hl_async.bulk.stages.customers import Candidate, Correction, Corrections, described, plain_email
from hl_async.errors import InvalidRequest, SourceError
from hl_async.operations import plain_id
from hl_async.storage.private_files import open_private

COLUMNS: Final = (
    "location", "customer", "name", "company", "email", "phone", "documents", "status", "contact_id", "found_by",
    "candidates",
)  # fmt: skip
_NEEDED: Final = ("location", "customer", "contact_id")
_EDITABLE: Final = ("name", "company", "email", "phone", "contact_id")
_DIGITS: Final = re.compile(r"[1-9]\d{6,14}")
_FORMULA: Final = ("=", "-", "@", "\t", "\r")
"""How a cell begins that a spreadsheet would execute. A plus sign is left: phone numbers begin so."""


class CustomerRow(msgspec.Struct, frozen=True):
    """One customer of the contacts file.

    ``status`` is matched, new, ambiguous, wrong id, several names, fallback or without a key.
    """

    location: str
    customer: str
    name: str
    company: str
    email: str
    phone: str
    documents: int
    status: str
    contact_id: str = ""
    found_by: tuple[str, ...] = ()
    candidates: tuple[Candidate, ...] = ()


def write_contacts(path: Path, rows: Iterable[CustomerRow]) -> None:
    """Write the contacts file. Blocking; raises `OSError`."""
    path.unlink(missing_ok=True)  # an older file may be readable by others
    with open_private(path, "w") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in rows:
            texts = [row.location, row.customer, row.name, row.company, row.email, row.phone]
            texts += [str(row.documents), row.status, row.contact_id, " and ".join(row.found_by)]
            writer.writerow([_cell(text) for text in (*texts, described(row.candidates))])


def contacts_beside(header: dict[str, str], beside: Path) -> Path:
    """Return ``orders.contacts.csv`` beside ``orders.csv``, or beside the given path."""
    source = Path(header.get("source", str(beside)))
    return source.with_name(f"{source.stem}.contacts.csv")


def read_contacts(path: Path) -> Corrections:
    """Read the contacts file. An empty cell keeps what the source says. Blocking.

    Raises:
        SourceError: The file cannot be read, or a column is missing.
        InvalidRequest: A value is not valid; names the row.
    """
    problem = ""
    columns: Sequence[str] = ()
    rows: list[tuple[int, dict[str, str]]] = []
    try:
        # Spreadsheets write a byte order mark.
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or ()
            rows = list(enumerate(reader, 2))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        problem = f"the contacts file {path} cannot be read: {error}"
    if problem:
        raise SourceError(problem)
    missing = [name for name in _NEEDED if name not in columns]
    if missing:
        raise SourceError(
            f"the contacts file {path} has no column {missing[0]!r}; write one with: hl-async migrate … --dry-run "
            "--check-contacts"
        )
    found: dict[tuple[str, str], Correction] = {}
    for line, row in rows:
        values = {name: _plain(row.get(name) or "") for name in COLUMNS}
        at = (values["location"], values["customer"])
        if not all(at):
            raise InvalidRequest("--contacts", f"row {line} of {path.name} names no location or no customer")
        # Two rows for one customer would leave the choice to their order.
        if at in found:
            raise InvalidRequest("--contacts", f"row {line} of {path.name} names customer {at[1]!r} again")
        found[at] = _correction(values, f"row {line} of {path.name}")
    return found


def _correction(values: dict[str, str], where: str) -> Correction:
    given = {name: values[name] for name in _EDITABLE if values[name]}
    if "email" in given and not plain_email(given["email"]):
        raise InvalidRequest("--contacts", f"{where}: {given['email']!r} is not an e-mail address")
    if "phone" in given:
        # spreadsheets drop the plus sign of a number
        digits = given["phone"].removeprefix("+")
        if not _DIGITS.fullmatch(digits):
            raise InvalidRequest("--contacts", f"{where}: {given['phone']!r} is not like +12145596993")
        given["phone"] = f"+{digits}"
    if "contact_id" in given:
        plain_id(f"contact_id in {where}", given["contact_id"])
    return Correction(**given)


def _cell(text: str) -> str:
    # An apostrophe keeps a spreadsheet from executing the cell.
    return f"'{text}" if text.startswith(_FORMULA) else text


def _plain(text: str) -> str:
    text = text.strip()
    return text[1:] if text.startswith("'") and text[1:].startswith(_FORMULA) else text
