"""Internal. SQL statements that are read from ``.sql`` files.

A comment above each statement gives it a name: ``-- name: known_items``. Parameters have names too, as in ``where
location = :location``. Other comments on lines of their own are dropped.
"""

from __future__ import annotations

import pkgutil
import re
from typing import Any, Final

_NAME: Final = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_COMMENT: Final = re.compile(r"^\s*--.*\n?", re.MULTILINE)
# the lookbehind skips casts: the second colon of ``::float8`` does not begin a parameter
_VALUE: Final = re.compile(r"(?<!:):([a-z_]+)")


class Queries:
    """The statements of one file, with named parameters, as SQLite takes them.

    Args:
        module: ``__name__`` of a module in the folder of the file.
        file: The name of the file.

    Raises:
        ValueError: The file names a statement twice, or holds text before the first name.
    """

    __slots__ = ("_texts",)

    def __init__(self, module: str, file: str) -> None:
        # through the package's loader, because the package may be a zip archive
        data = pkgutil.get_data(module.rpartition(".")[0], file)
        start, *parts = _NAME.split((data or b"").decode())
        names = parts[::2]
        if _COMMENT.sub("", start).strip() or len(set(names)) < len(names):
            raise ValueError(f"{file} holds a statement without a name, or a name twice")
        texts = (_COMMENT.sub("", text).strip() for text in parts[1::2])
        self._texts = dict(zip(names, texts, strict=True))

    def __getitem__(self, name: str) -> str:
        return self._texts[name]

    @property
    def names(self) -> frozenset[str]:
        """The names of all statements."""
        return frozenset(self._texts)


class NumberedQueries(Queries):
    """The statements of one file, with numbered parameters, as Postgres takes them."""

    __slots__ = ("_orders",)

    def __init__(self, module: str, file: str) -> None:
        super().__init__(module, file)
        self._orders: dict[str, tuple[str, ...]] = {}
        for name, text in self._texts.items():
            order = tuple(dict.fromkeys(_VALUE.findall(text)))
            numbers = {value: f"${number}" for number, value in enumerate(order, 1)}
            self._texts[name] = _VALUE.sub(lambda found, n=numbers: n[found[1]], text)  # type: ignore[misc]
            self._orders[name] = order

    def bind(self, name: str, /, **values: Any) -> tuple[Any, ...]:
        """Return a statement, followed by the values of its parameters ``$1``, ``$2``, ….

        Values that the statement does not use are left out.
        """
        return (self._texts[name], *(values[value] for value in self._orders[name]))
