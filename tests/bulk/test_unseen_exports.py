"""Exports in the shapes of many systems arrive in a location with the totals that they state, to the cent.

None of them was made for a profile or a mapping here: the traits are those of the systems. A profile is named where one
exists; the others come over by a query or a mapping of a few lines.
"""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from exports import FURTHER, Export

from hl_async import HighLevel
from hl_async.bulk import OpenedSource, migrate, open_source
from hl_async.bulk.stages.payments import PaymentPolicy

CONTACT = "contact_id=c6tZWq1n0uEh8Rk2Lm4p"


LEXOFFICE = Export(
    "lex.csv",
    "Belegnummer;Belegdatum;Fällig;Kunde;Position;Menge;Einzelpreis netto;USt %;Gesamt brutto;Währung\r\n"
    "RE-1;04.03.2024;03.04.2024;Müller GmbH;Beratung;2,5;1.120,00;19;3.332,00;EUR\r\n"
    "RE-2;05.03.2024;;Bär AG;Buch;3;10,00;7%;151,10;EUR\r\nRE-2;05.03.2024;;Bär AG;Regal;1;100,00;19;151,10;EUR\r\n"
    "Summe;;;;;;;;3.483,10;\r\n",
    ["151.10", "3332.00"],
    sql="""-- kind: invoice
-- set: decimal = ","
-- set: thousands = "."
-- set: date_format = "%d.%m.%Y"
-- set: encoding = "cp1252"
SELECT Belegnummer AS source_id, _line AS place, Belegnummer AS number, Belegdatum AS issue_date, "Fällig" AS due_date, Kunde AS customer_name,
  Position AS line_name, Menge AS line_qty, "Einzelpreis netto" AS line_amount, 'USt' AS line_tax_name, "USt %" AS line_tax_rate,
  "Gesamt brutto" AS total, "Währung" AS currency
FROM lex WHERE Belegnummer <> 'Summe'""",
    encoding="cp1252",
)
XERO_SALES = Export(
    "sales.csv",
    "ContactName,EmailAddress,InvoiceNumber,Reference,InvoiceDate,DueDate,Total,InvoiceAmountPaid,InvoiceAmountDue,Description,Quantity,"
    "UnitAmount,Discount,LineAmount,TaxType,TaxAmount,Currency,Type,Status\n"
    'Alex,a@example.com,INV-1,PO 7,04/03/2024,03/04/2024,282.00,100.00,182.00,"Door\noak",2.0000,100.0000,10.00,180.00,20% (VAT),36.00,GBP,Sales invoice,Paid\n'
    "Alex,a@example.com,INV-1,PO 7,04/03/2024,03/04/2024,282.00,100.00,182.00,Fitting,1.0000,55.0000,,55.00,20% (VAT),11.00,GBP,Sales invoice,Paid\n"
    "Robin,,INV-2,,31/12/2023,30/01/2024,-50.00,0.00,-50.00,Refund,1.0000,-50.0000,,-50.00,No VAT,0.00,GBP,Sales credit note,Paid\n",
    ["282.00"],
    sql="""-- kind: invoice
-- set: date_format = "%d/%m/%Y"
SELECT InvoiceNumber AS source_id, _line AS place, InvoiceNumber AS number, Currency AS currency, InvoiceDate AS issue_date, DueDate AS due_date,
  CASE WHEN Type <> 'Sales invoice' THEN 'a ' || lower(Type) END AS skip, ContactName AS customer_name, EmailAddress AS customer_email,
  split_part(Description, chr(10), 1) AS line_name, Quantity AS line_qty, UnitAmount AS line_amount, Discount AS line_discount_value,
  LineAmount AS line_total, TaxType AS line_tax_name, TaxAmount AS line_tax_amount, Total AS total, InvoiceAmountPaid AS amount_paid
FROM sales""",
    paid="100.00",
)
ODOO = Export(
    "odoo.csv",
    '"Order Reference","Order Date","Customer","Order Lines/Product","Order Lines/Quantity","Order Lines/Unit Price","Order Lines/Discount (%)","Order Lines/Taxes","Total"\n'
    '"S1","2024-03-04 09:12:33","Alex","Desk","1.0","1799.0","0.0","15%","3310.33"\n"","","","Chair","2.0","599.75","10.0","15%",""\n'
    '"S2","2024-03-05 10:00:00","Robin","Lamp","-1.0","40.0","0.0","","60.0"\n"","","","Table","1.0","100.0","0.0","",""\n',
    ["3310.33", "60.00"],
    mapping="""
[source]
fill_down = true
[document]
group_by = "Order Reference"
name = "Order {Order Reference}"
currency = "EUR"
issue_date = "{Order Date}"
expiry_days = 30
total = "{Total}"
[contact]
name = "{Customer}"
[line]
name = "{Order Lines/Product}"
amount = "{Order Lines/Unit Price}"
qty = "{Order Lines/Quantity}"
discount = "{Order Lines/Discount (%)}"
tax_rate = "{Order Lines/Taxes}"
""",
)
SELLSY = Export(
    "sellsy.txt",
    "sep=\t\nNuméro\tDate\tClient\tLibellé\tQté\tPU HT\tRemise %\tTVA %\tTotal TTC\n"
    "D-1\t04/03/2024\tChêne\tPorte\t2\t1\u202f234,50 €\t10\t20\t2\u00a0666,52 €\nD-2\t05/03/2024\tHêtre\tPose\t1\t100,00 €\t\t10\t110,00 €\n",
    ["110.00", "2666.52"],
    mapping="""
[document]
group_by = "Numéro"
name = "Devis {Numéro}"
currency = "EUR"
issue_date = "{Date}"
date_format = "%d/%m/%Y"
expiry_days = 30
total = "{Total TTC}"
[contact]
name = "{Client}"
[line]
name = "{Libellé}"
amount = "{PU HT}"
qty = "{Qté}"
discount = "{Remise %}"
tax_rate = "{TVA %}"
decimal = ","
thousands = " "
currency_sign = true
""",
    encoding="utf-16",
)
HARVEST = Export(
    "harvest.csv",
    "Issue Date,Last Payment Date,ID,PO Number,Client,Subject,Invoice Amount,Paid Amount,Balance,Subtotal,Discount,Tax,Tax2,Currency,Currency Symbol\n"
    '2024-03-04,2024-03-20,101,,Alex,"Design, phase 1","1,045.00",500.00,545.00,"1,000.00",50.00,95.00,0.00,United States Dollar - USD,$\n'
    "2024-03-05,,102,,Robin,,0.00,0.00,0.00,0.00,0.00,0.00,0.00,United States Dollar - USD,$\n",
    ["1045.00"],
    sql="""-- kind: invoice
-- set: thousands = ","
SELECT ID AS source_id, _line AS place, ID AS number, right(Currency, 3) AS currency, "Issue Date" AS issue_date, Client AS customer_name,
  coalesce(Subject, 'Invoice ' || ID) AS line_name, Subtotal AS line_amount, Discount AS discount_value, 'fixed' AS discount_type,
  Tax AS tax_amount, Tax2 AS tax2_amount, "Invoice Amount" AS total, "Paid Amount" AS amount_paid, Balance AS amount_due
FROM harvest""",
    rejected=1,
    paid="500.00",
)
SQUARE = Export(
    "square.json",
    '{"invoices": [{"id": "inv:1", "invoice_number": "1", "primary_recipient": {"given_name": "Alex", "email_address": "a@example.com"},'
    ' "order": {"line_items": [{"name": "Cut", "quantity": "2", "base_price_money": {"amount": 2550, "currency": "USD"}},'
    ' {"name": "Tip jar", "quantity": "1", "base_price_money": {"amount": 0, "currency": "USD"}}],'
    ' "total_tax_money": {"amount": 421}, "total_discount_money": {"amount": 0}, "total_money": {"amount": 5521, "currency": "USD"}},'
    ' "created_at": "2024-03-04T10:00:00Z"}]}',
    ["55.21"],
    sql="""-- kind: invoice
-- json square: invoice_number | primary_recipient | order
-- records: invoices
-- set: minor_units = true
SELECT record->>'$.id' AS source_id, 'record ' || _line AS place, record AS raw, record->>'$.invoice_number' AS number,
  record->>'$.order.total_money.currency' AS currency, record->>'$.created_at' AS issue_date,
  record->>'$.primary_recipient.given_name' AS customer_name, record->>'$.primary_recipient.email_address' AS customer_email,
  [{'name': l->>'$.name', 'qty': l->>'$.quantity', 'amount': l->>'$.base_price_money.amount'} for l in (record->'$.order.line_items[*]')::JSON[]] AS lines,
  'Tax' AS tax_name, record->>'$.order.total_tax_money.amount' AS tax_amount, record->>'$.order.total_money.amount' AS total
FROM square""",
)
JOBBER = Export(
    "quotes.csv",
    'Quotes Report,,,,,,,,,,,,\n"Created: Jan 01, 2024 - Dec 31, 2024",,,,,,,,,,,,\n'
    "Quote #,Client name,Client email,Client phone,Property,Title,Status,Created date,Sent date,Approved date,Converted date,Total ($),Salesperson\n"
    '1001,Alex Ash,a@example.com,(214) 559-6993,"1 Oak St, Dallas",Deck,Approved,"Mar 04, 2024",,,,"$9,400.00",Lee\n'
    '1002,Robin,,214-559-6993 ext 4,,,Draft,"Mar 04, 2024",-,-,-,2200,\n'
    '1003,"Carr, Cy",c@example.com;d@example.com,not given,,"Gutter cleaning and repair of the whole north side, plus windows",Awaiting response,2024-03-06,,,,"$1,050.50",\n'
    '1004,Dee,,,,Free check,Archived,"Mar 07, 2024",,,,$0.00,\n,,,,,,,,,,Total,"$12,650.50",\n',
    ["1050.50", "2200.00", "9400.00"],
    profile="jobber",
    pairs=("currency=USD", "region=US"),
    rejected=1,
)
HOUSECALL = Export(
    "estimates.csv",
    "Estimate #,Options count,Customer name,Employees,Estimate status,Created date,Scheduled date,Outcome,Open value,Won value,Lost value,Estimate lead source,Estimate tags,Location name\n"
    '"=""5001""",1,Alex,Lee,Completed,03/04/2024 10:05 AM,,Won,$0.00,"$1,234.50",$0.00,Google,"a, b",\n'
    '"=""5002""",2,Robin,Lee,Scheduled,03/05/2024,03/09/2024 08:00 AM,Open,$300.00,$0.00,$0.00,,,\n',
    ["1234.50", "300.00"],
    profile="housecall-pro",
    pairs=("currency=USD", "date_format=%m/%d/%Y"),
)
FRESHBOOKS = Export(
    "fb.csv",
    "Client Name,Invoice #,Date Issued,Invoice Status,Date Paid,Item Name,Item Description,Rate,Quantity,Discount Percentage,Line Subtotal,Tax 1 Type,Tax 1 Amount,Tax 2 Type,Tax 2 Amount,Line Total,Currency\n"
    "Ash Ltd,0000001,2024-03-04,paid,2024-03-20,Hours,Design,95.00,10.50000000,5.0000,947.63,GST,47.38,PST,66.33,1061.34,CAD\n"
    "Ash Ltd,0000001,2024-03-04,paid,2024-03-20,Refund,,-50.00,1.00000000,0.0000,-50.00,GST,-2.50,,0.00,-52.50,CAD\n"
    'Elm,0000003,2024-03-05,sent,,"<b>Big</b> job","Line 1<br>Line 2",1200.00,1.00000000,0.0000,1200.00,,0.00,,0.00,1200.00,CAD\n',
    ["1008.84", "1200.00"],
    profile="freshbooks",
)
SHOPIFY = Export(
    "orders.csv",
    "Name,Email,Financial Status,Paid at,Currency,Subtotal,Shipping,Taxes,Total,Discount Code,Discount Amount,Created at,Lineitem quantity,Lineitem name,Lineitem price,Billing Name,Billing Country,Billing Phone,Payment Method,Refunded Amount,Id,Lineitem discount,Tax 1 Name,Tax 1 Value\n"
    "#1001,a@example.com,paid,2024-03-04 10:00:00 -0500,USD,90.00,5.00,7.84,102.84,SAVE10,10.00,2024-03-04 09:59:00 -0500,2,Mug,25.00,Alex,US,'+12145596993,Card,0.00,5001,0.00,TX State Tax 8.25%,7.84\n"
    "#1001,a@example.com,,,,,,,,,,2024-03-04 09:59:00 -0500,1,Plate,50.00,,,,,,,0.00,,\n"
    "#1002,b@example.com,paid,2024-03-05 10:00:00 -0500,USD,27.00,0.00,0.00,27.00,,0.00,2024-03-05 09:59:00 -0500,3,Mug,10.00,Robin,US,,manual,0.00,5002,3.00,,\n",
    ["102.84", "27.00"],
    profile="shopify",
    paid="129.84",
)
ZOHO = Export(
    "zoho.csv",
    "Invoice Date,Invoice ID,Invoice Number,Invoice Status,Customer Name,Customer ID,Due Date,Currency Code,Discount Type,Is Discount Before Tax,Entity Discount Percent,Entity Discount Amount,Is Inclusive Tax,Item Name,Quantity,Item Price,Discount,Discount Amount,Item Tax,Item Tax %,Item Tax Amount,SubTotal,Total,Balance,Shipping Charge,Adjustment,Adjustment Description,Round Off\n"
    '2024-03-04,4815000000044131001,INV-1,Sent,Ash,9001,2024-04-03,INR,entity_level,true,10.00,0.0,false,Oak,2.00,"1,00,000.00",0.00,20000.00,GST18,18,32400.00,200000.00,"2,13,000.00",0.00,500.00,100.00,Adjustment,0.00\n'
    "2024-03-04,4815000000044131002,INV-2,Sent,Ash,9001,2024-04-03,INR,item_level,true,0.00,0.0,true,Oak,1.00,118.00,0.00,0.00,GST18,18,18.00,118.00,118.00,18.00,0.00,0.00,,0.00\n"
    "2024-03-04,4815000000044131003,INV-3,Sent,Ash,9001,2024-04-03,INR,item_level,true,0.00,0.0,false,Oak,3.00,33.33,10.00,10.00,GST18,18,16.20,89.99,106.00,106.00,0.00,0.00,,-0.19\n",
    ["106.00", "118.00", "213000.00"],
    profile="zoho-books",
    paid="213100.00",
)
STRIPE = Export(
    "stripe.json",
    '{"object": "list", "data": [{"id": "in_1", "number": "A-1", "collection_method": "charge_automatically", "currency": "usd", "created": 1709593200, "due_date": null,'
    ' "amount_paid": 1250, "amount_remaining": 0, "total": 1250, "status": "paid", "customer_name": "Ash", "lines": {"has_more": false, "data": ['
    '{"amount": -750, "quantity": 1, "description": "Unused time on Basic"}, {"amount": 2000, "quantity": 1, "description": "Remaining time on Pro"}]}},'
    ' {"id": "in_2", "number": "A-2", "collection_method": "charge_automatically", "currency": "eur", "created": 1709593200, "amount_paid": 0,'
    ' "amount_remaining": 5355, "total": 5355, "status": "open", "customer_name": "Ash", "lines": {"has_more": false, "data": ['
    '{"amount": -1000, "quantity": 1, "description": "Credit", "taxes": [{"amount": -190, "tax_behavior": "exclusive"}]},'
    ' {"amount": 6000, "quantity": 3, "description": "Pro", "discount_amounts": [{"amount": 500}], "taxes": [{"amount": 1045, "tax_behavior": "exclusive"}]}]}}]}',
    ["12.50", "53.55"],
    profile="stripe",
    paid="12.50",
)  # fmt: skip


def opened(export: Export, folder: Path) -> OpenedSource:
    path = folder / export.name
    path.write_bytes(export.text.encode(export.encoding))
    ways: dict[str, Any] = {"profile": export.profile}
    for way, text in (("sql", export.sql), ("mapping", export.mapping)):
        if text:
            ways[way] = folder / f"way.{way}"
            ways[way].write_text(text, "utf-8")
            assert len(text.splitlines()) <= 40
    files: list[str | Path] = [path]
    if export.more:
        table, sign, name = export.more[0].rpartition("=")
        (folder / name).write_bytes(export.more[1].encode(export.encoding))
        files.append(f"{table}{sign}{folder / name}")
    return open_source(files, pairs=(CONTACT, *export.pairs), **ways)


@pytest.mark.parametrize(
    "export",
    [
        LEXOFFICE,
        XERO_SALES,
        ODOO,
        SELLSY,
        HARVEST,
        SQUARE,
        JOBBER,
        HOUSECALL,
        FRESHBOOKS,
        SHOPIFY,
        ZOHO,
        STRIPE,
        *FURTHER,
    ],
    ids=lambda one: one.name,
)
@pytest.mark.untraced
async def test_an_export_arrives_with_the_totals_it_states(
    export: Export, hl: HighLevel, tmp_path: Path
) -> None:
    source = await asyncio.to_thread(opened, export, tmp_path)
    report = await migrate(
        hl,
        source,
        journal=tmp_path / "run.hl.db",
        max_rejects="100%",
        payments=PaymentPolicy(allow_receipts=True),
    )
    assert (report.state, report.created, report.rejected) == ("done", len(export.totals), export.rejected)
    shop = hl.location()
    found = [
        one.total async for one in (shop.invoices if source.kind == "invoice" else shop.estimates).list()
    ]
    assert sorted(Decimal(str(one)) for one in found) == sorted(map(Decimal, export.totals))
