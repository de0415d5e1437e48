"""Internal. The root of all errors, and the refusals of input before any request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

from hl_async.secret import redact

MAX_KEPT_BODY: Final = 2048
"""Characters that an error keeps of a body."""

_Error = TypeVar("_Error", bound="HighLevelError")


def bounded_text(body: bytes) -> str:
    """Return the body as text of at most 2 KB.

    Undecodable bytes are escaped, secrets redacted.
    """
    # Cut only after redaction: half of a token does not look like a token.
    return redact(body[: 4 * MAX_KEPT_BODY].decode("utf-8", "backslashreplace"))[:MAX_KEPT_BODY]


class HighLevelError(Exception):
    """The root of every error that this package raises on purpose.

    ``except HighLevelError`` catches them all.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        # Pools of processes and task queues pickle errors. The default calls the class with ``args`` alone, which fails
        # where a keyword is required.
        return _restored, (type(self), self.args), self.__dict__


def _restored(kind: type[_Error], args: tuple[Any, ...]) -> _Error:
    return kind.__new__(kind, *args)


class InvalidRequest(HighLevelError, ValueError):
    """Input that was refused before any request was made.

    ``field`` names the argument, or the path inside the body. ``problem`` says why its value was refused and which
    values are valid.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(field, problem)
        self.field = field
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.field}: {self.problem}"


class ConfigurationError(InvalidRequest):
    """A setting, argument of the client or environment variable that cannot be used."""


class AmbiguousContact(InvalidRequest):
    """The given e-mail, phone number and external id belong to different contacts.

    Nothing was written. ``candidates`` maps the id of each contact to the fields that found it.
    """

    def __init__(self, field: str, problem: str, candidates: Mapping[str, Sequence[str]]) -> None:
        super().__init__(field, problem)
        self.candidates: dict[str, tuple[str, ...]] = {
            contact: tuple(found_by) for contact, found_by in candidates.items()
        }


class KeyReused(InvalidRequest):
    """A ``once`` key that made another document before.

    Nothing was created. ``document`` is the id of that document, None if unknown.
    """

    def __init__(self, problem: str, document: str | None) -> None:
        super().__init__("once", problem)
        self.document = document
