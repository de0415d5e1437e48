"""Internal. A document's taxes as the API takes them: exclusive rates on lines."""

from __future__ import annotations

import hashlib
from decimal import Decimal
from functools import lru_cache
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType, field

from hl_async.bulk.sources.document import Document, DocumentCharge, DocumentLine, DocumentTax
from hl_async.errors import InvalidRequest
from hl_async.models.money import discount_amount, document_total, is_sound, minor_units, rounded

_ZERO: Final = Decimal(0)
_ONE: Final = Decimal(1)
_HUNDRED: Final = Decimal(100)
_PLACES: Final = (0, 1, 2, 3, 4, 6, 8, 10, 12)


class PricedTax(msgspec.Struct, frozen=True, gc=False):
    """A tax of a priced line, as the API wants it."""

    id: str = field(name="_id")
    name: str
    rate: Decimal
    calculation: str


class RequestLine(msgspec.Struct, rename="camel", gc=False):
    """A line as the API wants it: unit price, quantity, exclusive taxes."""

    name: str
    currency: str
    amount: Decimal
    qty: Decimal
    type: str
    description: str | UnsetType = UNSET
    product_id: str | UnsetType = UNSET
    price_id: str | UnsetType = UNSET
    taxes: list[PricedTax] | UnsetType = UNSET


class PricedDiscount(msgspec.Struct, frozen=True, gc=False):
    """The discount on the whole document."""

    value: Decimal
    type: str


WITHHELD: Final = ": the API has no field for a tax that is withheld"

NO_DISCOUNT: Final = PricedDiscount(_ZERO, "percentage")


@lru_cache(4096)
def tax_of(name: str, rate: Decimal) -> PricedTax:
    """Make a tax, with a hash of its name and rate as its id."""
    # the API requires an id (docs/api-facts.md#api-required-fields), and the same tax must get the same one in every
    # document and every run
    digest = hashlib.blake2b(f"{name}\x00{rate.normalize():f}".encode(), digest_size=12)
    return PricedTax(digest.hexdigest(), name, rate, "exclusive")


def sound(path: str, value: Decimal) -> Decimal:
    """Return ``value`` if it can be an amount at all; refuse it otherwise."""
    if is_sound(value):
        return value
    raise InvalidRequest(path, "is not finite, has more than 28 digits or an exponent out of range")


def unit_price(net: Decimal, qty: Decimal, currency: str, at: str) -> Decimal:
    """Return the unit price with the fewest places that gives ``net``."""
    if qty == 1 or not net:
        return net
    if qty <= 0:
        raise InvalidRequest(at, f"no unit price times {qty} is {net}")
    # the shortest price that gives the sum is the one a person would have typed
    for places in range(minor_units(currency), 13):
        price = (net / qty).quantize(_ONE.scaleb(-places))
        if rounded(price * qty, currency) == net:
            return price
    raise InvalidRequest(at, f"no unit price times {qty} is {net}")


class Taxing:
    """The taxes of priced lines: the source's amounts become rates that give them."""

    def __init__(
        self,
        document: Document,
        entries: list[DocumentLine | DocumentCharge],
        lines: list[RequestLine],
        bare: list[Decimal],
        discount: PricedDiscount,
        currency: str,
        notes: list[str],
    ) -> None:
        self.document, self.entries, self.lines, self.bare = document, entries, lines, bare
        self.discount, self.currency, self.notes = discount, currency, notes
        self.cent: Decimal = _ONE.scaleb(-minor_units(currency))
        self.share: Decimal = self._share()
        self.spread: list[DocumentTax] = document.taxes

    def _share(self) -> Decimal:
        subtotal = sum((rounded(one.amount * one.qty, self.currency) for one in self.lines), _ZERO)
        off = discount_amount(subtotal, self.discount, self.currency)
        return (subtotal - off) / subtotal if subtotal else _ONE

    def apply(self) -> None:
        """Set the taxes of all lines, and prices without the tax that was inside."""
        taxes: list[list[PricedTax]] = [[] for _ in self.lines]
        # first the taxes inside prices: the others are taken from the prices without them
        wanted = self._take_out(taxes)
        for index, entry in enumerate(self.entries):
            if entry.taxes and not entry.tax_inclusive:
                base = self.bare[index] * self.share
                for tax in entry.taxes:
                    rate = self._rate(tax, base, f"line {index + 1} tax")
                    if rate:
                        taxes[index].append(tax_of(tax.name or "Tax", rate))
        for tax in self.spread:
            self._spread(tax, taxes)
        for line, found in zip(self.lines, taxes, strict=True):
            if found:
                line.taxes = found
        if wanted is not None:
            self._keep(wanted)

    def _rate(self, tax: DocumentTax, base: Decimal, at: str) -> Decimal:
        """Return the rate of a tax on ``base`` that gives the source's amount."""
        rate = tax.rate
        if rate is not None and sound(at, rate) < 0:
            raise InvalidRequest(at, f"{rate} is negative{WITHHELD}")
        if tax.amount is None:
            if rate is None:
                raise InvalidRequest(at, "has neither rate nor amount")
            return rate
        amount = rounded(sound(at, tax.amount), self.currency)
        if amount < 0:
            raise InvalidRequest(at, f"{amount} is negative{WITHHELD}")
        if rate is not None:
            ours = rounded(base * rate / 100, self.currency)
            if ours == amount:
                return rate
            # systems round a tax per line, per rate or per document
            if abs(ours - amount) > self.cent:
                raise InvalidRequest(at, f"the source says {amount}, its rate of {rate} % gives {ours}")
        return self._settled(base, amount, at)

    def _settled(self, base: Decimal, amount: Decimal, at: str) -> Decimal:
        """Return the rate with the fewest places that gives ``amount`` of ``base``."""
        if not amount:
            return _ZERO
        if base > 0:
            exact = amount * _HUNDRED / base
            for places in _PLACES:
                rate = exact.quantize(_ONE.scaleb(-places))
                if rounded(base * rate / 100, self.currency) == amount:
                    return rate
        raise InvalidRequest(at, f"no rate gives a tax of {amount} on {rounded(base, self.currency)}")

    def _spread(self, tax: DocumentTax, taxes: list[list[PricedTax]]) -> None:
        """Spread a tax of the document over its taxable lines, exact to the cent."""
        name = tax.name or "Tax"
        on = [i for i, one in enumerate(self.entries) if one.taxable and not one.taxes and self.bare[i]]
        bases = [self.bare[i] * self.share for i in on]
        if tax.amount is None:
            rate = self._rate(tax, _ZERO, "tax")
            if rate:
                for index in on:
                    taxes[index].append(tax_of(name, rate))
            return
        amount = rounded(sound("tax", tax.amount), self.currency)
        if amount < 0:
            raise InvalidRequest("tax", f"{amount} is negative{WITHHELD}")
        if not amount:
            return
        if not on:
            raise InvalidRequest("tax", f"the source says {amount}, but no line of it is taxable")
        rate, off = self._common(tax.rate, amount, bases)
        # a cent changes the rate of a large line least
        largest = max(range(len(on)), key=lambda i: bases[i])
        for i, index in enumerate(on):
            own = rate
            if off and i == largest:
                own = self._settled(bases[i], rounded(bases[i] * rate / 100, self.currency) + off, "tax")
                self.notes.append("a cent of rounding in a tax is on the largest line")
            if own:
                taxes[index].append(tax_of(name, own))

    def _common(self, rate: Decimal | None, amount: Decimal, bases: list[Decimal]) -> tuple[Decimal, Decimal]:
        """Return one rate for all bases, and how far its taxes together miss ``amount``."""
        exact = amount * _HUNDRED / sum(bases, _ZERO)
        best: tuple[Decimal, Decimal] | None = None
        candidates = [rate] if rate is not None else [exact.quantize(_ONE.scaleb(-n)) for n in _PLACES]
        for one in candidates:
            off = amount - sum((rounded(base * one / 100, self.currency) for base in bases), _ZERO)
            if best is None or abs(off) < abs(best[1]):
                best = one, off
            if not off:
                break
        assert best is not None
        # each rounding of a line may be off by half a cent, and that of the source by another
        if abs(best[1]) > self.cent * (len(bases) + 1) / 2 + self.cent / 2:
            ours = amount - best[1]
            raise InvalidRequest("tax", f"the source says {amount}, its rate of {rate} % gives {ours}")
        return best

    def _take_out(self, taxes: list[list[PricedTax]]) -> Decimal | None:
        """Turn tax-inclusive prices into exclusive ones. Return the total to reach."""
        inclusive = [i for i, one in enumerate(self.entries) if one.tax_inclusive and self.bare[i]]
        own = {i: self.entries[i].taxes for i in inclusive}
        if inclusive and self.spread:
            shared = self._shared_inside([i for i in inclusive if self.entries[i].taxable and not own[i]])
            own |= {i: shared for i in inclusive if self.entries[i].taxable and not own[i]}
        if not any(own.values()):
            return None
        gross = sum(self.bare, _ZERO)
        wanted = gross - discount_amount(gross, self.discount, self.currency)
        for index in inclusive:
            at = f"line {index + 1} tax"
            # tax inside depends on the discounted price, whose share is the same for all lines
            price = self.bare[index]
            rates = [self._inside(tax, own[index], price * self.share, at) for tax in own[index]]
            # the API multiplies a net price of whole cents
            net = rounded(price / (_ONE + sum(rates, _ZERO) / 100), self.currency)
            self.bare[index] = net
            line = self.lines[index]
            line.amount = unit_price(net, line.qty, self.currency, f"line {index + 1}")
            pairs = zip(own[index], rates, strict=True)
            taxes[index] += [tax_of(tax.name or "Tax", rate) for tax, rate in pairs if rate]
        self.notes.append("prices with tax inside are converted to prices without")
        added = self.spread or any(one.taxes for one in self.entries if not one.tax_inclusive)
        return None if added else wanted

    def _shared_inside(self, on: list[int]) -> list[DocumentTax]:
        """Return the document's taxes as rates of the lines that contain them."""
        if not on or len(on) != sum(1 for i, one in enumerate(self.entries) if one.taxable and self.bare[i]):
            raise InvalidRequest("taxes", "some taxable prices contain the document's taxes, others do not")
        price = sum((self.bare[i] for i in on), _ZERO) * self.share
        found = []
        for tax in self.spread:
            rate = tax.rate
            if rate is None:
                amounts = [one.amount for one in self.spread if one.amount is not None]
                base = price - sum(amounts, _ZERO)
                if tax.amount is None or len(amounts) < len(self.spread) or base <= 0:
                    raise InvalidRequest("tax", f"a tax of {tax.amount} inside {price} cannot be taken out")
                rate, _ = self._common(None, rounded(tax.amount, self.currency), [base])
            found.append(DocumentTax(name=tax.name, rate=rate))
        self.spread = []
        return found

    def _inside(self, tax: DocumentTax, all_taxes: list[DocumentTax], price: Decimal, at: str) -> Decimal:
        if tax.amount is None:
            return self._rate(tax, _ZERO, at)
        amounts = [one.amount for one in all_taxes]
        base = price - sum((one for one in amounts if one is not None), _ZERO)
        if None in amounts or base <= 0:
            raise InvalidRequest(at, f"a tax of {tax.amount} inside {price} cannot be taken out")
        if tax.rate is not None and abs(base * tax.rate / 100 - tax.amount) <= self.cent:
            return tax.rate
        if tax.rate is not None:
            raise InvalidRequest(
                at, f"the source says {tax.amount}, {tax.rate} % of {base} is {base * tax.rate / 100}"
            )
        return self._settled(base, rounded(tax.amount, self.currency), at)

    def _keep(self, wanted: Decimal) -> None:
        """Put the cents lost in conversion on the largest taxed line, to keep the total."""
        # net prices of whole cents rarely give the gross total back
        missing = self._missing(wanted)
        if not missing:
            return
        taxed = [i for i, line in enumerate(self.lines) if line.taxes]
        if taxed and abs(missing) <= self.cent * (2 * len(self.lines) + 1):
            index = max(taxed, key=lambda i: self.bare[i])
            line, net = self.lines[index], self.bare[index]
            line.amount = unit_price(net + missing, line.qty, self.currency, f"line {index + 1}")
            if not self._missing(wanted):
                return
            # no net price gives this sum at this rate: 59.97 with 20 % inside lies between 49.97 and 49.98
            line.amount = unit_price(net, line.qty, self.currency, f"line {index + 1}")
            assert line.taxes is not UNSET
            first, *others = line.taxes
            missing = self._missing(wanted)
            base = net * self.share
            amount = rounded(base * first.rate / 100, self.currency) + missing
            if amount >= 0:
                line.taxes = [
                    tax_of(first.name, self._settled(base, amount, f"line {index + 1} tax")),
                    *others,
                ]
                if not self._missing(wanted):
                    return
        raise InvalidRequest(
            "total", f"prices with tax inside cannot be converted so that the total is {wanted}"
        )

    def _missing(self, wanted: Decimal) -> Decimal:
        self.share = self._share()
        return wanted - document_total(self.lines, self.currency, self.discount)
