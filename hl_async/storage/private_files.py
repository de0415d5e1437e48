"""Internal. Files and folders that only their owner may read.

They hold tokens, documents, and reports about them. The mode is set when the file is created, never afterwards: a
process that opens the file before its mode changes can go on reading it. Files and folders that exist keep their
mode. Windows has no such modes; there the access list of the folder decides.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO, Any, Final

FILE_MODE: Final = 0o600
FOLDER_MODE: Final = 0o700


def open_private(
    path: str | os.PathLike[str],
    mode: str = "w",
    *,
    encoding: str | None = None,
    newline: str | None = None,
) -> IO[Any]:
    """Return an open file, as `open` does; create a missing one with mode 0600.

    Args:
        path: The file; its folder has to exist.
        mode: As for `open`. Text modes use UTF-8 unless `encoding` is given.
        encoding: The text encoding.
        newline: As for `open`.

    Raises:
        OSError: The file cannot be opened, or exists and `mode` contains ``x``.
    """
    if encoding is None and "b" not in mode:
        encoding = "utf-8"
    return open(path, mode, encoding=encoding, newline=newline, opener=_open)


def create_private(path: str | os.PathLike[str]) -> None:
    """Create an empty file with mode 0600 unless `path` exists.

    Call it before a library opens the file by its name, as sqlite3 does.
    """
    os.close(_open(os.fspath(path), os.O_RDWR | os.O_CREAT))


def make_private_folder(path: str | os.PathLike[str]) -> None:
    """Create a folder and its missing parents, each with mode 0700.

    `Path.mkdir(parents=True)` would give the mode to the last folder only, and the umask's mode to its parents.
    """
    folder = Path(path).absolute()
    for part in (*reversed(folder.parents), folder):
        if not part.is_dir():
            part.mkdir(mode=FOLDER_MODE, exist_ok=True)  # another process may create the same one meanwhile


def _open(path: str, flags: int) -> int:
    return os.open(path, flags, FILE_MODE)
