"""Internal. Switches for unknown behaviour of the live API.

`docs/unknowns.md` lists the evidence for each.
"""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from typing import Final, Self

from hl_async.errors import ConfigurationError

_CHOICES: Final = {
    "unknown_keys": ("ignored", "kept", "refused"),
    "rounding": ("parts", "total"),
    "default_mode": ("all", "live"),
}


@dataclasses.dataclass(slots=True)
class Quirks:
    """Behaviour of the live API that is unknown or disputed; every field is a switch.

    Attributes:
        meta_in_lists: Whether lists return `meta`.
        invoice_in_answer: Whether creating an invoice from an estimate returns the invoice.
        newest_first: Whether lists start with the newest document.
        largest_page: The largest number of documents in a page, also if `limit` is larger.
        honest_total: Whether lists state the number of documents; else they have no total.
        unknown_keys: Undeclared keys of a body are `ignored`, `kept` (stored and returned) or `refused` (422).
        keep_nulls: Whether null for an optional field is stored and returned; else the field counts as missing.
        rounding: `parts` rounds each line, the discount and each tax; `total` rounds only the results.
        discount_by_product: Whether a percentage discount applies only to `discount.validOnProductIds`.
        automatic_tax_rate: The tax in percent that automatic taxes add to a document.
        invoice_instants: Whether invoices answer their dates as date-times, as estimates do; else as plain days.
        default_due_date: Whether an invoice without a due date gets one from the settings.
        carried_over: Further fields of an estimate that its invoice takes over, in the wire's spelling.
        put_keeps_parties: Whether a PUT of an invoice without contact or business details keeps the old ones.
        empty_last_visited: Whether the last-visited routes answer without a body; else with `{}`.
        status_all: Whether the estimate filter knows `all`, as the specification says.
        default_mode: The documents that `paymentMode=default` selects: `all` or `live`.
        refresh_grace: Seconds during which a used refresh token returns its successor again.
    """

    meta_in_lists: bool = True
    invoice_in_answer: bool = True
    newest_first: bool = True
    largest_page: int = 100
    honest_total: bool = True
    unknown_keys: str = "ignored"
    keep_nulls: bool = True
    rounding: str = "parts"
    discount_by_product: bool = False
    automatic_tax_rate: Decimal = Decimal(0)
    invoice_instants: bool = True
    default_due_date: bool = True
    carried_over: tuple[str, ...] = ()
    put_keeps_parties: bool = False
    empty_last_visited: bool = True
    status_all: bool = True
    default_mode: str = "all"
    refresh_grace: float = 0.0

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                problem = f"{getattr(self, name)!r} is not one of {', '.join(allowed)}"
                raise ConfigurationError(f"quirks.{name}", problem)

    @classmethod
    def sternest(cls) -> Self:
        """Return the switches set so that a client can rely on the least."""
        return cls(
            meta_in_lists=False,
            invoice_in_answer=False,
            largest_page=10,
            honest_total=False,
            unknown_keys="refused",
            keep_nulls=False,
            status_all=False,
        )
