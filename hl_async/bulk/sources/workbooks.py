"""Internal. Rows of a workbook, each cell as the text that the sheet shows."""

from __future__ import annotations

import contextlib
import re
import zipfile
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

from hl_async.bulk.sources.numbers import day_text
from hl_async.bulk.sources.settings import SourceSettings
from hl_async.errors import SourceError

_BIG: Final = 10**15
"""A sheet keeps fifteen digits; longer numbers have lost their last ones."""
_PADDED: Final = re.compile(r'(?:"([^"]*)"|([A-Za-z-]+))?(0{2,})')
_HIDDEN: Final = re.compile(rb"<row\b[^>]*\bhidden=\"(?:1|true)\"[^>]*>")
_ROW: Final = re.compile(rb"\br=\"([0-9]+)\"")
_CHUNK: Final = 1 << 20


def workbook_rows(path: Path, settings: SourceSettings) -> Iterator[tuple[int, list[str], str]]:
    """Yield (number, cells, problem) of every row of a sheet.

    Raises:
        SourceError: The file is not a readable workbook, or lacks the sheet.
    """
    try:
        import openpyxl
    except ModuleNotFoundError:
        openpyxl = None
    if openpyxl is None:
        raise SourceError("reading .xlsx needs an extra: pip install 'hl-async[xlsx]'")
    try:
        # the reader of values reports neither
        hidden, has_formulas = _look(path, settings)
        with contextlib.ExitStack() as open_books:
            book = open_books.enter_context(contextlib.closing(_book(openpyxl, path, data_only=True)))
            rows = _sheet(book, settings).iter_rows()
            formulas: Iterator[Any] = iter(())
            if has_formulas:
                book = open_books.enter_context(contextlib.closing(_book(openpyxl, path)))
                formulas = _sheet(book, settings).iter_rows()
            # the reader of values and the reader of formulas may end at different rows
            pairs = zip_longest(rows, formulas, fillvalue=())
            for number, (row, formula) in enumerate(pairs, 1):
                if number in hidden and settings.hidden == "skip":
                    continue
                problem = ""
                if number in hidden and settings.hidden == "reject":
                    problem = f'line {number} is hidden in the sheet; set hidden = "keep" or "skip"'
                cells = [_shown(cell, settings) for cell in row]
                if formula:
                    _mark_uncomputed(cells, formula)
                yield number, cells, problem
        return
    except KeyError:
        problem = f"the sheet {settings.sheet!r} is missing"
    except OSError as error:
        problem = str(error.strerror or error)
    except SourceError:
        raise
    except Exception as error:  # noqa: BLE001 - a damaged file raises whatever its parser meets
        problem = f"is not a readable workbook: {error}"
    raise SourceError(f"{path}: {problem}")


def _sheet(book: Any, settings: SourceSettings) -> Any:
    sheet = book[settings.sheet] if settings.sheet else book.active
    if not hasattr(sheet, "iter_rows"):
        raise SourceError("the workbook opens with a chart; set sheet to the name of a table")
    # many programs write a wrong size of the sheet, and rows beyond it would be lost
    sheet.reset_dimensions()
    return sheet


def _book(openpyxl: Any, path: Path, *, data_only: bool = False) -> Any:
    return openpyxl.load_workbook(path, read_only=True, data_only=data_only)


def _look(path: Path, settings: SourceSettings) -> tuple[set[int], bool]:
    """Return the numbers of hidden rows, and whether there are formulas."""
    hidden: set[int] = set()
    formulas = False
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if not re.fullmatch(r"xl/worksheets/[^/]+\.xml", name):
                continue
            rest = b""
            with archive.open(name) as part:
                while chunk := part.read(_CHUNK):
                    text = rest + chunk
                    formulas = formulas or b"<f>" in text or b"<f " in text
                    if settings.hidden != "keep":
                        for found in _HIDDEN.finditer(text):
                            if number := _ROW.search(found.group()):
                                hidden.add(int(number.group(1)))
                    rest = text[-400:]
    if len([1 for name in archive.namelist() if name.startswith("xl/worksheets/sheet")]) > 1 and hidden:
        hidden = _hidden_of(path, settings)
    return hidden, formulas


def _hidden_of(path: Path, settings: SourceSettings) -> set[int]:
    """Return hidden rows of the sheet that is read, in a workbook with several."""
    import openpyxl

    book = openpyxl.load_workbook(path)
    sheet = book[settings.sheet] if settings.sheet else book.active
    return (
        {number for number, one in sheet.row_dimensions.items() if one.hidden} if sheet is not None else set()
    )


def _mark_uncomputed(cells: list[str], formula: Any) -> None:
    """Mark formulas without a value, which the writing program never computed."""
    for index, source in enumerate(formula):
        if getattr(source, "data_type", "") == "f" and index < len(cells) and not cells[index]:
            cells[index] = f"#FORMULA! {str(source.value)[:40]}"


def _shown(cell: Any, settings: SourceSettings) -> str:
    """Return a cell as text: dates and decimal signs in their declared form."""
    value = cell.value
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, datetime | date):
        return day_text(value, settings.date_format)
    if isinstance(value, time | timedelta):
        return str(value)
    return _number_text(value, str(cell.number_format or ""), settings.decimal)


def _number_text(value: Any, form: str, decimal: str) -> str:
    if abs(value) >= _BIG:
        # written as a spreadsheet shows it, so that an id of this form is seen to be damaged
        return f"{Decimal(value):.14E}"
    # fifteen digits are what the sheet knows; those beyond are noise of its binary numbers
    exact = Decimal(format(value, ".15g")) if isinstance(value, float) else Decimal(value)
    kind, prefix, width = _format_of(form)
    if kind == "percent":
        text = f"{(exact * 100).normalize():f}%"
    elif kind == "padded" and exact == exact.to_integral_value() and exact >= 0:
        return f"{prefix}{int(exact):0{width}d}"
    elif exact == exact.to_integral_value():
        text = str(int(exact))
    elif exact.adjusted() < -6:
        text = format(value, ".15g")
    else:
        text = f"{exact.normalize():f}"
    return text.replace(".", decimal)


@lru_cache(256)
def _format_of(form: str) -> tuple[str, str, int]:
    """Return (kind, prefix, width) of a number format: percent, zero-padded or plain."""
    first = form.partition(";")[0]
    if "%" in re.sub(r'"[^"]*"|\\.', "", first):
        return "percent", "", 0
    found = _PADDED.fullmatch(first)
    if found:
        return "padded", found.group(1) or found.group(2) or "", len(found.group(3))
    return "", "", 0
