"""Internal. Colours of errors and verdicts, on terminals without ``NO_COLOR``."""

from __future__ import annotations

import os
import re
from typing import Final, TextIO

import click

_WORDS: Final = {
    "red": r"error:|\d[\d,]* differences?;|  (?:missing|changed|extra|unmarked) |failed  ",
    "yellow": r"note:|interrupted|stopped|stopping|rejected   |held       |unanswered |kept \d|warning |unknown ",
    "green": r"verified:|rolled back:|deleted \d|ok      ",
}
_COLOURS: Final = tuple((colour, re.compile(words)) for colour, words in _WORDS.items())


def is_coloured(stream: TextIO) -> bool:
    """Tell whether colours suit a stream."""
    # no-color.org: any value that is not empty switches colours off.
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def painted(text: str, stream: TextIO) -> str:
    """Return the text, its verdict in colour if the stream shows colours."""
    if not is_coloured(stream):
        return text
    return "\n".join(map(_painted_line, text.split("\n")))


def _painted_line(line: str) -> str:
    for colour, words in _COLOURS:
        found = words.match(line)
        if found:
            return click.style(found[0], fg=colour, bold=colour == "red") + line[found.end() :]
    return line
