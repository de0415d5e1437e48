"""Internal. Error answers, in the form of the live API."""

from __future__ import annotations

from typing import Any


class Refusal(Exception):
    """An error answer: `status` and the members of its body."""

    def __init__(self, status: int, message: str | list[str], error: str | None = None, **more: Any) -> None:
        super().__init__(status, message)
        self.status = status
        self.body: dict[str, Any] = {"statusCode": status, "message": message}
        if error is not None:
            self.body["error"] = error
        self.body |= more


def bad_request(message: str, **more: Any) -> Refusal:
    """Return a 400, for a business rule or an unknown invoice."""
    return Refusal(400, message, "Bad Request", **more)


def not_found(message: str) -> Refusal:
    """Return a 404."""
    return Refusal(404, message, "Not Found")


def unauthorised(message: str) -> Refusal:
    """Return a 401."""
    return Refusal(401, message, "Unauthorized")


def unprocessable(messages: list[str]) -> Refusal:
    """Return a 422 with every violation."""
    return Refusal(422, messages, "Unprocessable Entity")


def invalid_in_database(problems: list[str]) -> Refusal:
    """Return the 500 by which the database layer refuses a document."""
    # Nothing was stored, although a 500 usually leaves that open: docs/api-facts.md#api-validation
    return Refusal(500, f"estimates validation failed: {', '.join(problems)}")
