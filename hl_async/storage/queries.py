"""Internal. SQL statements in files of their own.

Each is under a comment that names it: ``-- name: known_items``. Values are named too, as in ``where location =
:location``. Other whole-line comments are for readers and are dropped.
"""

from __future__ import annotations

import pkgutil
import re
from typing import Any, Final

_NAME: Final = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_COMMENT: Final = re.compile(r"^\s*--.*\n?", re.MULTILINE)
# the second colon of a cast, as in ``::float8``, does not begin a name
_VALUE: Final = re.compile(r"(?<!:):([a-z_]+)")


class Queries:
    """The statements of one file, as SQLite takes them.

    Args:
        module: ``__name__`` of a module beside the file.
        file: Its name.

    Raises:
        ValueError: The file names a statement twice, or holds text before the first name.
    """

    __slots__ = ("_texts",)

    def __init__(self, module: str, file: str) -> None:
        # through the package's loader: the package may lie in an archive
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
    """The statements of one file with numbered values, as Postgres takes them."""

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
        """Return a statement and its values in order, without those that it does not use."""
        return (self._texts[name], *(values[value] for value in self._orders[name]))
