"""Internal. Results of repeated calls, and conflicts with other clients' writes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, TypeVar

from hl_async.errors import BadRequest, NotFound, WriteConflict
from hl_async.operations import Operation

T = TypeVar("T")


async def deleted(call: Awaitable[T], gone: T) -> T:
    """Await a deletion; return ``gone`` if an earlier attempt of the call deleted.

    Args:
        call: The call.
        gone: The result if the answer to the earlier attempt was lost.

    Raises:
        NotFound: The document was not there before the call.
    """
    try:
        return await call
    except NotFound as error:
        # Without an attempt that lost its answer, the 404 is about a document that never existed.
        if not error.ambiguous:
            raise
    return gone


async def reached(call: Awaitable[T], read: Callable[[], Awaitable[T]], is_there: Callable[[T], bool]) -> T:
    """Await a change of state.

    Return the document if an earlier attempt of the call changed it.

    Args:
        call: The call.
        read: Reads the document.
        is_there: Returns whether a document has the state.

    Raises:
        BadRequest: The document is not in a state that allows the change.
    """
    try:
        return await call
    except BadRequest as error:
        if not error.ambiguous:
            raise
        refused = error
    # The refusal may be about the call's own first attempt, so the document decides.
    document = await read()
    if not is_there(document):
        raise refused
    return document


def check_unchanged(
    name: str, now: datetime | None, *expected: datetime | None, operation: Operation[Any]
) -> None:
    """Refuse to write over a change of another client.

    Args:
        name: The document, for the message.
        now: The document's time of change, as it was just read.
        expected: The times of change that the write is based on. None is not compared.
        operation: The write.

    Raises:
        WriteConflict: The document was changed since.
    """
    if any(one is not None and one != now for one in expected):
        raise WriteConflict(
            f"{name} was changed at {now} by another client; read it again", operation=operation.at
        )
