"""Internal. Groups of rows: all rows of one document, whole or not at all.

Rows with the same key are one document. They usually stand together and are then read in one pass. The rows of a
document that comes back later in the file are held in memory and yielded, merged, at the end.

A row without a key belongs to the document above it with ``fill_down``, because exporters may write the key on the
first row only. Without ``fill_down`` it spoils that document. A row that does not fit the header spoils the document
that it names. If it names another document, or none, but stands between two rows of one document, it spoils that one
too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Protocol

from hl_async.bulk.sources.tables import TableRow, fitted, is_note, repeats_header

_AGAIN: Final = "the header again, as at the top of a page"


class _RowRules(Protocol):
    def is_dropped(self, row: Sequence[str]) -> bool: ...

    def problem(self, row: Sequence[str], number: int) -> str: ...


class RowGroup:
    """The rows of one document, with their numbers in the file.

    ``problem`` says which of them is broken, ``skipped`` why they are no document.
    """

    __slots__ = ("first", "key", "last", "lines", "numbers", "ordinal", "problem", "rows", "skipped")

    def __init__(self, key: str, ordinal: int, number: int) -> None:
        self.key: str = key
        self.ordinal: int = ordinal
        self.first: int = number
        self.last: int = number
        self.problem: str = ""
        self.skipped: str = ""
        self.lines: list[list[str]] = []
        self.numbers: list[int] = []
        self.rows: list[list[str]] = []

    @property
    def place(self) -> str:
        """Where the document stands in the file."""
        return f"line {self.first}" if self.first == self.last else f"lines {self.first}-{self.last}"


def scattered_keys(keys: Iterable[str]) -> set[str]:
    """Return keys whose rows don't stand together: a first pass over the key column."""
    seen: set[int] = set()
    found: set[str] = set()
    previous: str | None = None
    for key in keys:
        if key != previous and key.strip():
            # a hash of eight bytes per key: the keys of a million documents must not fill the memory
            mark = hash(key)
            if mark in seen:
                found.add(key)
            seen.add(mark)
            previous = key
    return found


class RowGroups:
    """The grouping of one table's rows, which can be repeated."""

    def __init__(
        self, header: Sequence[str], column: int, rules: _RowRules, *, pad: bool, fill_down: bool
    ) -> None:
        self._header = header
        self._column = column
        self._rules = rules
        self._pad = pad
        self._fill_down = fill_down

    def _usable(self, rows: Iterable[TableRow]) -> Iterator[TableRow]:
        """Yield rows that count, brought to the header's width."""
        width = len(self._header)
        for row in rows:
            # blank rows stand between the parts of many exports
            if not any(row.cells):
                continue
            if repeats_header(row.cells, self._header):
                yield row._replace(problem=_AGAIN)
                continue
            if len(row.cells) != width:
                if not any(cell.strip() for cell in row.cells):
                    continue
                # a rule may leave out the notes between the pages of a report
                if is_note(row.cells, width) and self._rules.is_dropped(
                    [*row.cells, *[""] * (width - len(row.cells))]
                ):
                    continue
                row = fitted(row, self._header, pad=self._pad)
            if not row.problem:
                if self._rules.is_dropped(row.cells):
                    continue
                problem = self._rules.problem(row.cells, row.number)
                if problem:
                    row = row._replace(problem=problem)
            yield row

    def _page(self, ordinal: int, row: TableRow) -> RowGroup:
        """Return a header at the top of a page as a document that is left out."""
        group = RowGroup(self._header[self._column], ordinal, row.number)
        group.rows, group.skipped = [row.cells], _AGAIN
        return group

    def groups(self, rows: Iterable[TableRow], scattered: set[str]) -> Iterator[RowGroup]:
        """Yield every document once; those whose rows stand apart come at the end."""
        held: dict[str, RowGroup] = {}
        group: RowGroup | None = None  # the open one
        above: RowGroup | None = None  # that of the last row with a key
        whole: RowGroup | None = None  # that of the last row that is usable
        stray = ""  # the problem of a row since then that names another document, or no document
        pages: list[RowGroup] = []
        ordinal, column = 0, self._column
        for row in self._usable(rows):
            number, cells, problem = row
            if problem is _AGAIN:
                # A page may end within a document, so the open group stays open, and this one follows it.
                pages.append(self._page(ordinal, row))
                ordinal += 1
                continue
            key = cells[column] if column < len(cells) else ""
            if not key.strip() and column < len(cells) and above is not None:
                # exporters write the key on the first row of a document only
                target = above
                if not self._fill_down:
                    problem = problem or _follows(above, self._header[column], number)
            elif column >= len(cells):
                target = RowGroup("", ordinal, number)
                ordinal += 1
            elif key in scattered:
                found = held.get(key)
                if found is None:
                    found = held[key] = RowGroup(key, ordinal, number)
                    ordinal += 1
                target = above = found
            else:
                if group is None or group.key != key:
                    if group is not None:
                        yield group
                    yield from pages
                    pages = []
                    group = RowGroup(key, ordinal, number)
                    ordinal += 1
                target = group
                above = group if key.strip() else above
            target.rows.append(cells)
            target.last = max(target.last, number)
            if not problem:
                target.lines.append(cells)
                target.numbers.append(number)
                # a row that names another document stands inside this one: one of both lost a row
                if stray and target is whole:
                    target.problem = target.problem or f"{stray}, between the lines of this document"
                whole, stray = target, ""
            else:
                target.problem = target.problem or problem
                stray = stray if target is whole else problem
            if column >= len(cells):
                yield target
        if group is not None:
            yield group
        yield from pages
        # these come last, because their rows were not complete before the end of the file
        yield from held.values()


def _follows(above: RowGroup, column: str, number: int) -> str:
    return (
        f"line {number} names no document in {column!r} and follows this one; "
        "set fill_down = true if it belongs here, or leave it out with a [[drop]] rule"
    )
