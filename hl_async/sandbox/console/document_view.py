"""An estimate or invoice as a customer would see it: parties, lines, discount, taxes, total. Pure, exact, printable."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final

from hl_async.models.money import discount_amount, line_total, minor_units, rounded
from hl_async.sandbox.console.layout import text

Document = Mapping[str, Any]

_TAGS: Final = re.compile(r"<[^>]*>")


class _Line:
    def __init__(self, line: Document) -> None:
        self.amount = Decimal(str(line.get("amount") or 0))
        self.qty = Decimal(str(line.get("qty") or 0))


class _Discount:
    def __init__(self, discount: Document) -> None:
        self.value = Decimal(str(discount.get("value") or 0))
        self.type = discount.get("type")


def money(value: Any, currency: str) -> str:
    """``1,234.50 GBP``, with the currency's own number of places."""
    places = minor_units(currency)
    exact = Decimal(str(value or 0)).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)
    return f"{exact:,.{places}f} {currency}"


def plain(markup: Any) -> str:
    """The words of a description; it is HTML from somebody else, so none of it is taken over."""
    return text(html.unescape(_TAGS.sub(" ", str(markup or ""))).strip())


def sums(document: Document) -> list[tuple[str, Decimal]]:
    """Subtotal, discount and taxes by name, as they are rounded; the document's own total is not among them."""
    currency = str(document.get("currency") or "USD")
    lines = document.get("items") or document.get("invoiceItems") or []
    amounts = [line_total(_Line(line), currency) for line in lines]
    subtotal = sum(amounts, Decimal(0))
    off = discount_amount(subtotal, _Discount(document.get("discount") or {}), currency)
    found = [("Subtotal", subtotal)]
    if off:
        found.append(("Discount", -off))
    share = (subtotal - off) / subtotal if subtotal else Decimal(1)
    taxes: dict[str, Decimal] = {}
    for line, amount in zip(lines, amounts, strict=True):
        for tax in line.get("taxes") or ():
            if line.get("taxInclusive") is True:
                continue
            rate = Decimal(str(tax.get("rate") or 0))
            name = f"{tax.get('name') or 'Tax'} {rate.normalize():f} %"
            taxes[name] = taxes.get(name, Decimal(0)) + rounded(amount * share * rate / 100, currency)
    return found + list(taxes.items())


def document_view(document: Document, kind: str) -> str:
    """The document as HTML."""
    currency = str(document.get("currency") or "USD")
    lines = document.get("items") or document.get("invoiceItems") or []
    rows = "".join(
        f"<tr><td>{text(line.get('name'))}<br><small>{plain(line.get('description'))}</small></td>"
        f"<td class=n>{text(Decimal(str(line.get('qty') or 0)).normalize().to_eng_string())}</td>"
        f"<td class=n>{money(line.get('amount'), currency)}</td>"
        f"<td class=n>{money(line_total(_Line(line), currency), currency)}</td></tr>"
        for line in lines
    )
    feet = "".join(
        f'<tr><th scope="row" colspan="3">{text(name)}</th><td class=n>{money(value, currency)}</td></tr>'
        for name, value in sums(document)
    )
    feet += f'<tr class="sum"><th scope="row" colspan="3">Total</th><td class=n>{money(document.get("total"), currency)}</td></tr>'
    if kind == "invoices":
        feet += (
            f'<tr><th scope="row" colspan="3">Paid</th><td class=n>{money(document.get("amountPaid"), currency)}</td></tr>'
            f'<tr class="sum"><th scope="row" colspan="3">Due</th><td class=n>{money(document.get("amountDue"), currency)}</td></tr>'
        )
    number = document.get("estimateNumber") or document.get("invoiceNumber")
    prefix = document.get("estimateNumberPrefix") or document.get("invoiceNumberPrefix") or ""
    last = ("Valid until", "expiryDate") if kind == "estimates" else ("Due", "dueDate")
    return (
        f'<article class="paper"><h1>{text(document.get("title") or kind[:-1].upper())} {text(prefix)}{text(number)}</h1>'
        f"<p>{text(document.get('name'))} · {text(document.get('estimateStatus') or document.get('status'))}<br>"
        f"Date {text(str(document.get('issueDate') or '')[:10])} · {last[0]} {text(str(document.get(last[1]) or '')[:10])}</p>"
        f'<div class="parties">{_party("From", document.get("businessDetails"))}{_party("To", document.get("contactDetails"))}</div>'
        '<div class="scroll"><table><thead><tr><th scope="col">What</th><th scope="col" class=n>Quantity</th>'
        '<th scope="col" class=n>Price</th><th scope="col" class=n>Amount</th></tr></thead>'
        f"<tbody>{rows}</tbody><tfoot>{feet}</tfoot></table></div><p>{plain(document.get('termsNotes'))}</p></article>"
    )


def _party(label: str, party: Any) -> str:
    found: Document = party if isinstance(party, Mapping) else {}
    address = found.get("address")
    parts = [address] if isinstance(address, str) else list((address or {}).values())
    shown = [found.get("name"), *parts, found.get("phoneNo"), found.get("email"), found.get("website")]
    return f"<div><strong>{label}</strong><br>{'<br>'.join(text(one) for one in shown if one)}</div>"
