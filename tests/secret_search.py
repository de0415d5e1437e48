"""What the secrets of the suite look like, and the search for them in what a crash reporter would print."""

from __future__ import annotations

import re
import traceback
from pathlib import Path

SENTINELS = (
    r"pit-5ent1nel",
    r"s3ntinel-(client-secret|refresh|access)",
    r"eyJhY2Nlc3M\.\w+\.sandbox",
    r"\brefresh-[0-9a-f]{8}\b",
    r"sandbox-secret-[0-9a-f]",
)
"""What the secrets of the suite and of the sandbox look like; none may ever be seen in output."""

MARK = re.compile("|".join(SENTINELS))

_TESTS = str(Path(__file__).parent)


def secrets_in_frames(error: BaseException) -> list[str]:
    """What a crash reporter would print of the suite's secrets: the local variables of every frame but the tests' own.

    The exceptions that `error` came from are searched with it.
    """
    found: list[str] = []
    pending: list[BaseException | None] = [error]
    seen: set[int] = set()
    while pending:
        one = pending.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        pending += [one.__cause__, one.__context__]
        try:
            shown = traceback.TracebackException.from_exception(one, capture_locals=True)
        except (
            Exception
        ):  # before Python 3.12 an object whose repr raises, for it is half made, ends the capture
            continue
        for frame in shown.stack:
            if not frame.filename.startswith(_TESTS):
                for name, text in (frame.locals or {}).items():
                    if mark := MARK.search(text):
                        found.append(
                            f"{mark.group()[:6]}… in {name!r} of {frame.name}, {frame.filename}:{frame.lineno}"
                        )
    return found
