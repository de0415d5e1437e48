"""Internal. Names of columns that hold money."""

from __future__ import annotations

import re
from typing import Final

# a column of money that no key uses is how a total goes wrong without a sound
MONEY: Final = re.compile(
    r"total|amount|price|tax|vat|gst|discount|shipping|freight|delivery charge|\bfees?\b|\btips?\b|surcharge|surch\b"
    r"|balance|\bdue\b(?! date| on)|paid\b(?! at| date| on)|\bcosts?\b|deposit|refund|adjust|round.?off|rebate|credit"
    r"|charge|\bduty\b|duties|gratuity|withh|retainage|\blevy\b|\bcess\b"
    # German, French, Spanish, Italian, Portuguese and Dutch
    r"|betrag|summe|preis|steuer|mwst|\bust\b|rabatt|skonto|versand|porto|geb[üu]hr|anzahlung|gutschrift|brutto|netto"
    r"|montant|\bprix\b|\btva\b|\btps\b|\btvq\b|remise|\bfrais\b|acompte|\bttc\b|\bht\b|escompte"
    r"|importe|precio|\biva\b|\birpf\b|descuento|\bdto\b|env[íi]o|retenci[óo]n|recargo"
    r"|importo|prezzo|sconto|ritenuta|imponibile|valor|desconto|frete|imposto|bedrag|prijs|\bbtw\b|korting",
    re.IGNORECASE,
)
_NOT_MONEY: Final = re.compile(
    r"date|datum|name|type|number|nummer|\bnr\b|\bid\b|code|label|status|method|payment term|\bat$|%|rate"
    r"|satz|taux|taxable|inclusive|\bis\b|zone|currency|address|street|\bpo\b|credit card|credit terms|charge ?to",
    re.IGNORECASE,
)


def is_money_column(name: str) -> bool:
    """Return whether a column's name says that it holds money."""
    return bool(name and MONEY.search(name) and not _NOT_MONEY.search(name))
