"""Exports as real systems write them, with what people and spreadsheets did to them, beside those of test_unseen_exports."""

from __future__ import annotations

from typing import NamedTuple


class Export(NamedTuple):
    """A file, how it is read, and the totals that must arrive."""

    name: str
    text: str
    totals: list[str]
    profile: str | None = None
    sql: str = ""
    mapping: str = ""
    pairs: tuple[str, ...] = ()
    encoding: str = "utf-8"
    rejected: int = 0
    more: tuple[str, str] | None = None
    paid: str = "0"


SAP = Export(
    "OINV.txt",
    "DocEntry;DocNum;DocDate;CardCode;CardName;DocCur;DiscPrcnt;DocTotal;PaidToDate;CANCELED\r\n"
    '1001;20001;20240304;C100;"Ash; Söhne";EUR;5.000000;1130.500000;0.000000;N\r\n'
    "1002;20002;20240305;C101;Bär;EUR;0.000000;23.800000;23.800000;N\r\n1003;20003;20240305;C101;Bär;EUR;0;20.000000;0;Y\r\n",
    ["23.80", "1130.50"],
    more=(
        "INV1.txt",
        (
            "DocEntry;Dscription;Quantity;Price;LineTotal;VatPrcnt\r\n1001;Tür;10.000000;80.000000;800.000000;19.000000\r\n"
            "1001;Schloss;4.000000;50.000000;200.000000;19.000000\r\n1002;Griff;3.000000;6.666667;20.000000;19.000000\r\n1003;Griff;1;20;20;0\r\n"
        ),
    ),
    sql="""-- kind: invoice
-- set: date_format = "%Y%m%d"
SELECT h.DocEntry AS source_id, h._line AS place, DocNum AS number, DocCur AS currency, DocDate AS issue_date, CardCode AS customer_external_id,
  CardName AS customer_name, CASE WHEN CANCELED = 'Y' THEN 'cancelled' END AS skip, Dscription AS line_name, Quantity AS line_qty, Price AS line_amount,
  LineTotal AS line_total, VatPrcnt AS line_tax_rate, DiscPrcnt AS discount_value, DocTotal AS total, PaidToDate AS amount_paid
FROM oinv h JOIN inv1 l ON l.DocEntry = h.DocEntry""",
    encoding="utf-16",
)
SAGE = Export(
    "sage.csv",
    '"SI","ASH001","4000","04/03/2024","INV-1","Door",100.00,"T1",20.00\n"SI","ASH001","4000","04/03/2024","INV-1","Fitting",55.00,"T1",11.00\n'
    '"SC","BOB001","4000","06/03/2024","CN-2","Lamp",10.00,"T0",0.00\n',
    ["186.00"],
    sql="""-- kind: invoice
-- set: no_header = true
-- set: date_format = "%d/%m/%Y"
-- set: currency = "GBP"
SELECT column5 AS source_id, _line AS place, column5 AS number, column4 AS issue_date, column2 AS customer_name,
  CASE WHEN column1 <> 'SI' THEN 'a credit note' END AS skip, column6 AS line_name, column7 AS line_amount, column8 AS line_tax_name,
  column9 AS line_tax_amount FROM sage""",
)
SEVDESK = Export(
    "rechnungen.csv",
    "Rechnungsnr.;Rechnungsdatum;Kunde;E-Mail;Artikel;Menge;Einzelpreis brutto;MwSt.;Rabatt;Gesamtbetrag brutto\r\n"
    'RE-1;04.03.24;"Müller & Söhne";"m@example.com; s@example.com";Tür;3;1.190,00 €;19 %;0 %;3.677,00 €\r\n'
    'RE-1;04.03.24;"Müller & Söhne";"m@example.com; s@example.com";Buch;1;107,00 €;7 %;0 %;3.677,00 €\r\n'
    "RE-2;05.03.24;Bär;;Beratung;1,5;99,99 €;19 %;10 %;134,99 €\r\nGU-1;05.03.24;Bär;;Gutschrift;1;50,00- €;19 %;0 %;50,00- €\r\n"
    ";;;;;;;;Summe:;3.761,99 €\r\n",
    ["134.99", "3677.00"],
    sql="""-- kind: invoice
-- set: encoding = "cp1252"
-- set: decimal = ","
-- set: thousands = "."
-- set: currency_sign = true
-- set: trailing_minus = true
-- set: date_format = "%d.%m.%y"
-- set: currency = "EUR"
SELECT "Rechnungsnr." AS source_id, _line AS place, "Rechnungsnr." AS number, Rechnungsdatum AS issue_date, Kunde AS customer_name,
  "E-Mail" AS customer_email, Artikel AS line_name, Menge AS line_qty, "Einzelpreis brutto" AS line_amount, Rabatt AS line_discount_value,
  'MwSt.' AS line_tax_name, "MwSt." AS line_tax_rate, true AS line_tax_inclusive, "Gesamtbetrag brutto" AS total
FROM rechnungen WHERE "Rechnungsnr." IS NOT NULL""",
    encoding="cp1252",
    rejected=1,
)
TALLY = Export(
    "salesregister.csv",
    "Ash Traders,,,,,,,\nSales Register,,,,,,,\n\nDate,Particulars,Voucher Type,Voucher No.,Quantity,Rate,Value,Gross Total\n"
    '4-Mar-24,Asha Stores,Sales,S/101,,,,"1,18,236.00 Dr"\n,Door,,,10 Nos,"10,020.00/Nos","1,00,200.00 Cr",\n,CGST @ 9%,,,,,"9,018.00 Cr",\n'
    ',SGST @ 9%,,,,,"9,018.00 Cr",\n5-Mar-24,Bala,Sales,S/102,,,,591.00 Dr\n,Lock,,,3 Nos,166.90/Nos,500.70 Cr,\n,CGST @ 9%,,,,,45.06 Cr,\n'
    ',SGST @ 9%,,,,,45.06 Cr,\n,Round Off,,,,,0.18 Cr,\n,Grand Total,,,,,,"1,18,827.00 Dr"\n',
    ["591.00", "118236.00"],
    sql="""-- kind: invoice
-- set: header_row = 4
-- set: thousands = ","
-- set: currency = "INR"
WITH f AS (
  SELECT *, last_value("Voucher No." IGNORE NULLS) OVER (ORDER BY _line) AS id, "Voucher No." IS NOT NULL AS head,
    contains(Particulars, 'GST') AS tax, Particulars = 'Round Off' AS off, replace(Value, ' Cr', '') AS v
  FROM salesregister WHERE Particulars <> 'Grand Total'
)
SELECT id AS source_id, _line AS place, id AS number, "Date" AS issue_date, CASE WHEN head THEN Particulars END AS customer_name,
  CASE WHEN NOT (head OR tax OR off) THEN Particulars END AS line_name, CASE WHEN NOT (head OR tax OR off) THEN v END AS line_total,
  CASE WHEN NOT (head OR tax OR off) THEN split_part(Quantity, ' ', 1) END AS line_qty, 'Round Off' AS charge_name,
  CASE WHEN off THEN v END AS charge_amount, 'GST' AS tax_name, sum(number_of(CASE WHEN tax THEN v END)) OVER (PARTITION BY id) AS tax_amount,
  replace("Gross Total", ' Dr', '') AS total FROM f""",
)
QUEBEC = Export(
    "factures.txt",
    "No facture\tDate\tClient\tDescription\tQté\tPrix\tTPS\tTVQ\tTotal\n"
    "F-1\t2012-03-04\tÉrable\tPorte\t2\t1 000,00 $\t100,00 $\t199,50 $\t2 299,50 $\n"
    "F-2\t2012-03-05\tÉrable\tRetour\t-1\t10,00 $\t-0,50 $\t-1,00 $\t103,48 $\nF-2\t2012-03-05\tÉrable\tPorte\t1\t100,00 $\t5,00 $\t9,98 $\t103,48 $\n",
    ["103.48", "2299.50"],
    sql="""-- kind: invoice
-- set: decimal = ","
-- set: thousands = " "
-- set: currency_sign = true
-- set: currency = "CAD"
SELECT "No facture" AS source_id, _line AS place, "No facture" AS number, "Date" AS issue_date, Client AS customer_name, Description AS line_name,
  "Qté" AS line_qty, Prix AS line_amount, 'TPS' AS line_tax_name, TPS AS line_tax_amount, 'TVQ' AS line_tax2_name, TVQ AS line_tax2_amount, Total AS total
FROM factures""",
    encoding="utf-16",
)
KASHFLOW = Export(
    "kf.csv",
    "Invoice No,Customer,Date,Product,Qty,Rate,VAT Rate,VAT,Invoice Total\r\n\r\n"
    '1,Ash,04/03/2024,Door,3,£33.33,20%,£20.00,"£1,199.99"\r\n1,Ash,04/03/2024,Work,1,£950.00,20%,£190.00,"£1,199.99"\r\n'
    "Page 1 of 2\r\n\r\nInvoice No,Customer,Date,Product,Qty,Rate,VAT Rate,VAT,Invoice Total\r\n"
    '1,Ash,04/03/2024,Goodwill,1,-£50.00,20%,-£10.00,"£1,199.99"\r\n2,Bo,05/03/2024,Lamp,1,£10.00,0%,£0.00,£10.00\r\n',
    ["10.00", "1199.99"],
    sql="""-- kind: invoice
-- set: thousands = ","
-- set: currency_sign = true
-- set: currency = "GBP"
-- set: date_format = "%d/%m/%Y"
SELECT "Invoice No" AS source_id, _line AS place, "Invoice No" AS number, "Date" AS issue_date, Customer AS customer_name, Product AS line_name,
  Qty AS line_qty, Rate AS line_amount, 'VAT' AS line_tax_name, "VAT Rate" AS line_tax_rate, VAT AS line_tax_amount, "Invoice Total" AS total
FROM kf WHERE Customer IS NOT NULL""",
)
PANDADOC = Export(
    "documents.json",
    '{"results": [{"id": "msF1", "name": "Proposal: roof and gutters for the whole north side", "date_created": "2024-03-04T23:30:00.000000Z",'
    ' "recipients": [{"email": "a@example.com", "first_name": "Alex"}], "grand_total": {"amount": "2174.05", "currency": "USD"}, "pricing": {"tables":'
    ' [{"summary": {"discount": "100.00", "tax": "174.05"}, "items": [{"qty": "2", "name": "Roof", "price": "1000"}, {"qty": "1", "name": "Gutter", "price": "100"}]}]}}]}',
    ["2174.05"],
    sql="""-- kind: estimate
-- json documents: id | pricing | grand_total
-- records: results
-- set: cut_names = true
WITH t AS (SELECT *, record->'$.pricing.tables[0]' AS p FROM documents)
SELECT record->>'$.id' AS source_id, 'record ' || _line AS place, record AS raw, record->>'$.name' AS title,
  record->>'$.grand_total.currency' AS currency, record->>'$.date_created' AS issue_date, record->>'$.recipients[0].first_name' AS customer_name,
  record->>'$.recipients[0].email' AS customer_email, p->>'$.summary.discount' AS discount_value, 'fixed' AS discount_type,
  [{'name': i->>'$.name', 'qty': i->>'$.qty', 'amount': i->>'$.price'} for i in (p->'$.items[*]')::JSON[]] AS lines,
  p->>'$.summary.tax' AS tax_amount, record->>'$.grand_total.amount' AS total FROM t""",
)
QUICKBOOKS = Export(
    "sales.csv",
    "Sales by Customer Detail\nOak & Co\nAll dates\n\n"
    ",Transaction date,Transaction type,Num,Product/Service full name,Description,Quantity,Sales price,Amount,Balance\nAlex Ash\n"
    ',03/02/2024,Invoice,2001,Oak,Big,1,"2,000.00","2,000.00","2,000.00"\n,03/02/2024,Invoice,2001,Stump,,2.5,160.00,400.00,"2,400.00"\n'
    'Total for Alex Ash,,,,,,3.5,,"$2,400.00",\nTOTAL,,,,,,,,"$2,400.00",\n\n"Thursday, Mar 7, 2024 10:06 AM GMT-7 - Accrual Basis"\n',
    ["2598.00"],
    more=(
        "list=list.csv",
        (
            ",Transaction date,Transaction type,Num,Customer,Due date,Amount,Open balance\n"
            ',03/02/2024,Invoice,2001,Alex Ash,04/01/2024,"2,598.00",598.00\nTOTAL,,,,,,"$2,598.00",$598.00\n'
        ),
    ),
    profile="quickbooks",
    pairs=("currency=USD",),
)
SHOPIFY_EU = Export(
    "orders_export.csv",
    "Name;Email;Financial Status;Paid at;Currency;Subtotal;Shipping;Taxes;Total;Discount Amount;Created at;Lineitem quantity;Lineitem name;"
    "Lineitem price;Billing Name;Billing Country;Refunded Amount;Outstanding Balance;Duties\n"
    "#DE1;a@example.com;paid;2024-03-04 10:00:00 +0100;EUR;107,10;4,90;17,88;112,00;11,90;2024-03-04 09:59:00 +0100;2;Becher;29,75;Alex;DE;0,00;0,00;\n"
    "#DE1;a@example.com;;;;;;;;;2024-03-04 09:59:00 +0100;1;Teller;59,50;;;;;\n"
    "#DE2;b@example.com;partially_paid;;EUR;60,00;5,00;0,00;72,50;0,00;2024-03-05 09:59:00 +0100;1;Becher;60,00;Bo;CH;0,00;24,50;7,50\n",
    ["72.50", "112.00"],
    profile="shopify",
    pairs=("decimal=,",),
    paid="160.00",
)
XERO_CSV = Export(
    "invoices.csv",
    "ContactName,EmailAddress,InvoiceNumber,InvoiceDate,DueDate,Total,TaxTotal,InvoiceAmountPaid,InvoiceAmountDue,Description,Quantity,UnitAmount,"
    "Discount,LineAmount,TaxType,TaxAmount,Currency,Type,Status\n"
    'Ash,a@example.com,INV-1,04/03/2024,03/04/2024,541.25,90.21,0.00,541.25,"Half day\nmorning",1.0000,500.0000,10.00,450.00,20% (VAT),90.00,GBP,Sales invoice,Paid\n'
    "Ash,a@example.com,INV-1,04/03/2024,03/04/2024,541.25,90.21,0.00,541.25,Bring a laptop,,,,,,,GBP,Sales invoice,Paid\n"
    "Ash,a@example.com,INV-1,04/03/2024,03/04/2024,541.25,90.21,0.00,541.25,Stamp,1.0000,1.0400,,1.04,20% (VAT),0.21,GBP,Sales invoice,Paid\n"
    "Elm,,INV-2,04/03/2024,03/04/2024,120.00,20.00,120.00,0.00,Chair,3.0000,40.0000,,120.00,20% (VAT),20.00,GBP,Sales invoice,Paid\n",
    ["120.00", "541.25"],
    profile="xero",
    pairs=("date_format=%d/%m/%Y",),
)
FURTHER = [SAP, SAGE, SEVDESK, TALLY, QUEBEC, KASHFLOW, PANDADOC, QUICKBOOKS, SHOPIFY_EU, XERO_CSV]
