"""Internal. The places of journals: to create, find, rename and remove them."""

from __future__ import annotations

from typing import Protocol

from hl_async.bulk.journals.protocol import Journal
from hl_async.errors import JournalMismatch


class JournalStore(Protocol):
    """The place of a journal, which may not exist yet."""

    async def create(self, header: dict[str, str]) -> Journal:
        """Create the journal of a new run, or open the existing one of the same run.

        Args:
            header: The facts that identify the run: fingerprint of the source, operation, place of the key.

        Raises:
            JournalMismatch: The journal belongs to another run.
            JournalError: The journal cannot be used.
        """
        ...

    async def open(self, *, watch: bool = False) -> Journal:
        """Open the journal of an earlier run.

        Args:
            watch: Only read; another process may work on it.

        Raises:
            JournalMissing: The journal does not exist.
            JournalError: The journal cannot be used.
        """
        ...

    @property
    def reference(self) -> str:
        """The text by which :meth:`sibling` of a store in this place finds the journal."""
        ...

    def sibling(self, reference: str) -> JournalStore:
        """Return another journal of this place: a file, or a run of the same database."""
        ...

    async def exists(self) -> bool:
        """Return whether the journal exists."""
        ...

    async def remove(self) -> None:
        """Remove the journal of a run that never began."""
        ...

    async def set_aside(self, word: str) -> str:
        """Rename the journal to make room for another run. Return its new name.

        The name becomes ``NAME.word-1``, for example.
        """
        ...


def check_header(name: str, found: dict[str, str], header: dict[str, str]) -> None:
    """Check that a journal with the facts ``found`` belongs to the run of ``header``.

    Raises:
        JournalMismatch: A fact differs.
    """
    # a fact that the journal does not hold is a new one: journals of earlier versions have fewer
    for fact, value in header.items():
        if fact in found and found[fact] != value:
            raise JournalMismatch(
                f"{name} belongs to another run: its {fact} is {found[fact]!r}, not {value!r}; choose another journal"
            )
