"""Internal. The options for the payments of a migration."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from hl_async.bulk.stages.payments import PaymentPolicy


def payment_options(command: Callable[..., int]) -> Callable[..., int]:
    """Add the options to a command, which gets a policy as ``payments``, or None."""

    @wraps(command)
    def packed(**options: Any) -> int:
        left_out, allowed = options.pop("no_payments"), options.pop("allow_receipts")
        policy = PaymentPolicy(record=not left_out, allow_receipts=allowed) if left_out or allowed else None
        return command(**options, payments=policy)

    # Decorators apply from the last to the first; the help lists options in the order given here.
    for option in reversed(_OPTIONS):
        packed = option(packed)
    return packed


_OPTIONS = (
    click.option("--no-payments", is_flag=True, help="Leave payments of invoices out; they are recorded otherwise."),
    click.option("--allow-receipts", is_flag=True,
                 help="Record payments although the location may send customers a receipt for each."),
)  # fmt: skip
