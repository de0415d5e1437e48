"""Internal. Column names of exports, in several languages, by mapping key."""

from __future__ import annotations

import re
from functools import cache
from typing import Final

NUMBER, DAY, TEXT, ANY = "number", "day", "text", "any"
"""What the cells of a column have to be."""

_DOC: Final = "invoice|quote|estimate|order|document|doc|receipt|bill"
_NUMERO: Final = (
    r"n[úu]m(ero)?\.?( (de )?(factura|documento|presupuesto))?$"
    r"|(numero|n\.)\W*(fattura|documento|preventivo)$"
)
# tried in this order: a number of a document says more than an id, and an id more than a name
GROUPS: Final = (
    rf"({_DOC}|quotation|proposal|voucher)\W*(no\.?|nr\.?|num(ber)?|#|id|entry|ref(erence)?)$",
    r"(beleg|rechnungs?|angebots?|auftrags?|factuur|offerte)\W*(nr\.?|nummer)$",
    rf"(num[ée]ro|n°|no)( (de )?(devis|facture))?$|{_NUMERO}",
    r"^(no\.?|nr\.?|num|number|id|#|receipt|ref(erence)?|voucher|factura|fattura)$",
    r"^(invoice|quote|estimate|order|name)$",
)
CONTACT: Final = (
    ("id", r"contact.?id$|ghl.*id", TEXT),
    ("email", r"e-?mail|courriel|correo", TEXT),
    ("phone_no", r"phone|mobile|\btel\b|telefon|t[ée]l[ée](phone|fono)", ANY),
    ("company", r"company|organi[sz]ation|firma$|soci[ée]t[ée]|empresa|azienda", TEXT),
    ("name",
     (r"(customer|client|contact|buyer|billing|bill to|card)\W*(full )?name$|^(customer|client|"
     r"contact|kunde|buyer|cliente|klant)$"),
     TEXT),
    ("name", r"^name$|^(client|kunden?)\W*name", TEXT),
)  # fmt: skip
DOCUMENT: Final = (
    ("issue_date",
     (r"((issue|invoice|quote|estimate|order|creat|document|\bdoc\b|txn|transaction|beleg|rechnungs).*(date|datum|day))|"
     r"(date|datum).*(issue|creat)|^(date|datum|day|created|issued|dated|fecha|data)( at| on)?\b(?!.*due)"),
     DAY),
    ("expiry_date",
     r"expir|valid.*(until|to|till)|due.*date|date due|^due( on)?$|f[äa]llig|[ée]ch[ée]ance|venc|scaden|vervald",
     DAY),
    ("total",
     (rf"^(grand|net|{_DOC})?\W*total\W*(amount|value|price|due|ttc|\(.*\))?$|^({_DOC})\W*(amount|value)$|"
     r"gesamt.*brutto|^gesamt(betrag|summe)?$|total ttc|^(amount|importe|betrag|totale|totaal)$|grand total"),
     NUMBER),
    ("amount_paid", r"(amount|total|sum|value)\W*paid|^paid( (amount|value|sum|to date))?$|bezahlt$|pagado$", NUMBER),
    ("amount_due",
     r"(amount|total|sum)\W*due|(^|[^a-z])balance( due)?$|outstanding|^due (value|amount)$|offen$", NUMBER),
    ("title", r"^(title|subject|project|job title|betreff|objet|asunto|oggetto)", TEXT),
    ("status", r"status|^state$|outcome|^estado$|^stato$", TEXT),
    ("po_number",
     (r"\bp\.?o\.?\b(?! ?box)(?!address|city|region|postal|country)\W*(no|number|#)?$|"
     r"purchase\s*order|^reference$"),
     ANY),
    ("terms_notes", r"^terms|(?<!item )\bnotes?$|^memo$", TEXT),
)  # fmt: skip
# the order matters: a column that fits a key is gone for those below
LINE: Final = (
    ("name",
     (r"(line\W*)?items?\W*(/ ?product|name|product|title)?$|lines?/(product|name)|^(product|"
     r"article|service|position|artikel|libell[ée])\W*(name|/service)?( full name)?$|^lineitem name$|"
     r"^product/service$"),
     TEXT),
    ("name",
     (r"(^|lines?/)(description|dscription)$|^details?$|designation|bezeichnung|^concepto|"
     r"^descri(zione|ção|pci[óo]n)$"),
     TEXT),
    ("amount",
     (r"unit\W*(price|cost|amount|rate)|einzelpreis|pu ht|prix unitaire|(item|line|lineitem)\W*(price|cost|rate)|"
     r"sales price|^((gross|net) )?(price|rate|cost|preis|prix|precio|prezzo|prijs)|prec?io\W*unit"),
     NUMBER),
    ("qty",
     r"qty|quantity|menge|qt[ée]|quantit[éeà]|^(count|hours|anzahl|unidades|cantidad|quantidade|aantal|units)$",
     NUMBER),
    ("description", r"desc(ription)?$|^details?$|memo/description|beschreibung|item notes$", TEXT),
    ("tax_rate",
     (r"(tax|vat|gst|ust|mwst|tva|iva|btw).*(rate|%|percent|prcnt|satz)|^(tax|vat|gst|ust|mwst|tva|iva|btw)\.? ?%?$|"
     r"lines?/tax"),
     NUMBER),
    ("tax_amount", r"(line|item)\W*tax\W*(amount)?$|^tax\W*amount$|^(vat|gst|tax)$", NUMBER),
    ("discount",
     (r"^(line |item )?(discount|rabatt|remise|dto|sconto|descuento)\W*(%|percent.*|\(%\))?$|discount.?\(?%|"
     r"lines?/discount"),
     NUMBER),
    ("total", r"(^|lines?/)(line|item)\W*(total|amount|sum)$|^amount$|lines?/(sub)?total$", NUMBER),
)  # fmt: skip
CHARGES: Final = (
    r"(shipping|freight|delivery|versand)( (charge|cost|amount|fee))?$",
    r"^tips?$",
    r"^fees?$",
)
CURRENCY: Final = r"currency|w[äa]hrung|devise|moneda|valuta|moeda|\bdoc cur\b"


@cache
def spelled(name: str) -> str:
    """Return a name with spaces between its words, such as ``Invoice Number``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", name)


def fits(pattern: str, name: str) -> bool:
    """Return whether a column's name fits, as it is written or word by word."""
    return any(re.search(pattern, one, re.IGNORECASE) for one in (name, spelled(name)))
