"""Promises of the profiles of ERPNext, Invoice2go, Invoicely, QuickBooks Desktop and QuickBooks' sales report."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hl_async.bulk.profiles import detected, profile_of
from hl_async.bulk.sources.nested_cells import cell_as_json
from hl_async.bulk.sources.opening import open_source
from hl_async.bulk.sources.readers import Reading
from hl_async.bulk.sources.records import SourceItem
from hl_async.errors import InvalidRequest, SourceError


def written(folder: Path, text: str, name: str = "export.csv", encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def read(path: Path, profile: str, *pairs: str) -> Reading:
    return open_source([path], profile=profile, pairs=("contact_id=c1", *pairs)).read()


def outcome(path: Path, profile: str, *pairs: str) -> dict[str, str]:
    return {
        one.source_id: f"{one.total} {one.currency}"
        if isinstance(one, SourceItem)
        else ("skip " if one.skipped else "") + one.reason
        for one in read(path, profile, *pairs)
    }


def body(path: Path, profile: str, source_id: str, *pairs: str) -> dict[str, Any]:
    found = next(one for one in read(path, profile, *pairs) if one.source_id == source_id)
    assert isinstance(found, SourceItem), found
    made: dict[str, Any] = msgspec.json.decode(found.body)
    return made


# ---------------------------------------------------------------------------------------- Invoicely

INVOICELY = '"Date","Due","Details","Client","Status","Total"\n'


def test_invoicely_dates_with_names_of_months_and_thousands(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        INVOICELY + '"Jan 28 2021","Feb 28 2021","INV-1","Robin Reed","Due","1,020.00"\n'
        '"Feb 1 2021","","INV-2","Acme, Inc.","Paid","$7.50"\n"","","","","","1,027.50"\n',
    )
    assert detected(path) is profile_of("invoicely")
    assert outcome(path, "invoicely", "currency=USD") == {"INV-1": "1020.00 USD", "INV-2": "7.50 USD"}
    made = body(path, "invoicely", "INV-1", "currency=USD")
    assert (made["issueDate"], made["dueDate"], made["invoiceNumber"]) == (
        "2021-01-28",
        "2021-02-28",
        "INV-1",
    )


def test_invoicely_cells_that_have_two_readings_are_refused(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        INVOICELY + '"01/02/2021","","INV-1","Robin","Due","5.00"\n"Jan 28 2021","","INV-2","Robin","Due","1.020,00"\n'
        '"Jan 28 2021","","INV-3","Robin","Due","(5.00)"\n',
    )  # fmt: skip
    found = outcome(path, "invoicely", "currency=USD")
    assert 'say which is which: date_format = "%d/%m/%Y" or "%m/%d/%Y"' in found["INV-1"]
    assert "'1.020,00' is not a number, with '.' as its decimal sign" in found["INV-2"]
    assert "set parentheses = true" in found["INV-3"]


# --------------------------------------------------------------------------------------- Invoice2go

I2G = (
    "Id,AccountId,State,LastUpdated,CreatedDate,DocumentDate,DocumentNumber,Comment,Name,EmailRecipient,DocumentStatus,OutputStatus,"
    "PartPayment,DocumentRecipientAddress,ShipDate,ShipAddress,ShipAmount,ShipTrackingNumber,ShipVia,ShipFob,StyleName,DatePaid,"
    "CustomField,DiscountType,Discount,DiscountValue,Taxes,WithholdingTaxName,WithholdingTaxRate,TermsOld,Payments,Items,CurrencyCode,"
    "TotalAmount,BalanceDueAmount,AmountPaidAmount,DiscountAmount,SubtotalAmount,TotalTaxAmount,WithholdingTaxAmount"
)
I2G_ITEMS = "code,description,qty,unit_type,withholding_tax_applies,applied_taxes,unit_price,discount_percentage,discount_type,discount_amount"


def i2g(*rows: dict[str, str]) -> str:
    text = io.StringIO()
    write = csv.DictWriter(text, I2G.split(","))
    write.writeheader()
    for row in rows:
        base = {
            "DocumentDate": "2024-03-04", "DocumentNumber": "7", "Name": "Robin", "EmailRecipient": "r@example.com", "CurrencyCode": "USD",
            "ShipAmount": "0", "DiscountAmount": "0", "WithholdingTaxAmount": "0", "StyleName": "invoice",
            "Taxes": 'name,auto_apply,inclusive,id,rates,accumulative_of;VAT,true,false,t1,"is_default,value;true,20",',
        }  # fmt: skip
        write.writerow(base | row)
    return text.getvalue()


def i2g_item(name: str, qty: str, price: str, tax: str = "20", off: str = "0,no_discount,0") -> str:
    taxes = f'"rate,tax_id;{tax},t1"' if tax else ""
    return f";,{name},{qty},parts,false,{taxes},{price},{off}"


def test_invoice2go_tables_in_cells_with_a_mark_and_several_currencies(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "\ufeff" + i2g(
            {"Id": "a", "Items": I2G_ITEMS + i2g_item("Door", "4", "35") + i2g_item('"Oak, ""best""; 2 m"', "1", "2.50"),
             "TotalAmount": "171", "BalanceDueAmount": "171", "AmountPaidAmount": "0"},
            {"Id": "b", "CurrencyCode": "EUR", "ShipAmount": "5", "Items": I2G_ITEMS + i2g_item("Door", "1", "100", off="10,percentage,0") + ";",
             "TotalAmount": "113", "BalanceDueAmount": "13", "AmountPaidAmount": "100"},
            {"Id": "c", "CurrencyCode": "GBP", "Items": I2G_ITEMS + i2g_item("Hour", "2", "10", ""), "DiscountAmount": "3", "TotalAmount": "17"},
        ),
    )  # fmt: skip
    assert detected(path) is profile_of("invoice2go")
    assert outcome(path, "invoice2go") == {"a": "171.00 USD", "b": "113.00 EUR", "c": "17.00 GBP"}
    made = body(path, "invoice2go", "a")
    assert [line["name"] for line in made["items"]] == ["Door", 'Oak, "best"; 2 m']
    assert {tax["name"] for line in made["items"] for tax in line["taxes"]} == {"VAT"}


def test_invoice2go_broken_tables_withheld_taxes_and_taxes_inside(tmp_path: Path) -> None:
    inside = 'name,auto_apply,inclusive,id,rates,accumulative_of;VAT,true,true,t1,"is_default,value;true,20",'
    path = written(
        tmp_path,
        i2g(
            {"Id": "a", "Items": I2G_ITEMS + ";,Door,4,parts,false", "TotalAmount": "1"},
            {"Id": "b", "Items": I2G_ITEMS + i2g_item("Door", "1", "10", ""), "TotalAmount": "8", "WithholdingTaxAmount": "2"},
            {"Id": "c", "Items": I2G_ITEMS + i2g_item("Door", "1", "120"), "Taxes": inside, "TotalAmount": "120"},
            {"Id": "d", "Items": I2G_ITEMS + i2g_item("Door", "1", "10", ""), "TotalAmount": "11"},
        ),
    )  # fmt: skip
    found = outcome(path, "invoice2go")
    assert found["a"] == (
        "line 2, column 'Items': row 1 of the table in this cell has 5 fields, its first row 10"
    )
    assert found["b"] == "a tax of 2 is withheld, which the API has no field for"
    assert found["c"] == "120.00 USD"
    assert found["d"] == "total: the source says 11.00 USD, the lines give 10.00 USD"


def test_a_table_inside_a_cell_becomes_json_and_a_broken_one_names_what_is_wrong() -> None:
    assert json.loads(cell_as_json("Items", 'a,t;1,"x,y;2,3"', ("t",))) == [
        {"a": "1", "t": [{"x": "2", "y": "3"}]}
    ]
    assert cell_as_json("Items", " ", ()) == ""
    with pytest.raises(InvalidRequest, match="never closed"):
        cell_as_json("Items", 'a;"1', ())


# ------------------------------------------------------------------------------- QuickBooks, sales

SALES = ",Date,Transaction Type,Num,Product/Service,Memo/Description,Qty,Sales Price,Amount,Balance\n"
TITLES = "Sales by Customer Detail\nOak & Co\nAll Dates\n\n"


def test_quickbooks_sales_report_with_titles_customers_and_sums_between(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        TITLES + SALES + "Robin Reed,,,,,,,,,\n"
        ',03/02/2024,Invoice,2001,Oak,Big oak,1,"2,000.00","2,000.00","2,000.00"\n'
        ",03/02/2024,Invoice,2001,Stump,Stump,2.5,160.00,400.00,2400.00\n"
        'Total for Robin Reed,,,,,,,,"$2,400.00",\nAlex Ash,,,,,,,,,\n'
        ",04/10/2024,Sales Receipt,2002,Pruning,,1,650.00,650.00,650.00\n"
        ",05/01/2024,Credit Memo,2003,Pruning,Refund,1,-50.00,-50.00,600.00\n"
        'Total for Alex Ash,,,,,,,,$600.00,\nTOTAL,,,,,,,,"$3,000.00",\n\n'
        '"Thursday, Apr 10, 2026 08:00:00 AM GMT-7 - Accrual Basis",,,,,,,,,\n',
    )
    assert profile_of("quickbooks", path).id == "quickbooks-sales"
    assert outcome(path, "quickbooks", "currency=USD") == {
        "Invoice 2001": "2400.00 USD",
        "Sales Receipt 2002": "650.00 USD",
        "Credit Memo 2003": "skip a credit memo, not a sale",
    }
    made = body(path, "quickbooks", "Sales Receipt 2002", "currency=USD")
    assert (made["contactDetails"]["name"], made["issueDate"]) == ("Alex Ash", "2024-04-10")


def test_quickbooks_sales_that_do_not_add_up_or_share_a_number(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        SALES + "Robin Reed,,,,,,,,,\n,03/02/2024,Invoice,1,Oak,,3,5.00,16.00,16.00\n"
        ",03/02/2024,Invoice,2,Oak,,1,5.00,5.00,21.00\nAlex Ash,,,,,,,,,\n,03/02/2024,Invoice,2,Oak,,1,5.00,5.00,5.00\n",
    )  # fmt: skip
    reading = read(path, "quickbooks-sales", "currency=USD")
    found = {one.source_id: getattr(one, "reason", "") for one in reading}
    assert "line 1 total: the source says 16.00, its price gives 15.00" in found["Invoice 1"]
    assert "customer_name: is 'Robin Reed' and 'Alex Ash' in rows of one document" in found["Invoice 2"]
    assert reading.facts.comparison == "equal to the plan (the source has no totals)"


# ----------------------------------------------------------------------------- QuickBooks Desktop

IIF_HEAD = (
    '!HDR\tPROD\nHDR\tQuickBooks Pro\n!CUST\tNAME\tEMAIL\tPHONE1\nCUST\t"Ash, Alex"\ta@example.com\t214-559-6993\n'
    "!TRNS\tTRNSID\tTRNSTYPE\tDATE\tACCNT\tNAME\tAMOUNT\tDOCNUM\tMEMO\tDUEDATE\tADDR1\tADDR2\n"
    "!SPL\tSPLID\tTRNSTYPE\tDATE\tACCNT\tNAME\tAMOUNT\tDOCNUM\tMEMO\tQNTY\tPRICE\tINVITEM\tTAXABLE\tEXTRA\n!ENDTRNS\t\t\t\n"
)  # fmt: skip


def trns(kind: str, number: str, total: str, *lines: str, who: str = '"Ash, Alex"', own: str = "") -> str:
    head = f"TRNS\t{own}\t{kind}\t7/16/98\tReceivable\t{who}\t{total}\t{number}\tOak job\t8/15/98\tAlex Ash\t1 Oak St\t\t\n"
    return head + "".join(f"SPL\t\t{kind}\t7/16/98\tSales\t\t{line}\n" for line in lines) + "ENDTRNS\t\n"


def test_quickbooks_desktop_signs_taxes_discounts_and_other_transactions(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        IIF_HEAD
        + trns("INVOICE", "42", "1083.50", "-1000.00\t\tBig door\t-4\t250\tDoor\tY\t", "-1.00\t\tPostage\t-1\t1\tPostage\tN\t",
               "-82.50\t\tSales tax\t\t8.25%\tState tax\tN\tAUTOSTAX")
        + trns("INVOICE", "43", "97.40", "-100\t\tWork\t-2\t50\tHours\tY\t", "10\t\t10% off\t\t-10%\tDiscount\tY\t",
               "-7.40\t\t\t\t8.22%\tTax\tN\tAUTOSTAX")
        + trns("PAYMENT", "", "1083.50", "-1083.50") + trns("ESTIMATE", "44", "10", "-10\t\tWork"),
        "books.iif", "cp1252",
    )  # fmt: skip
    assert outcome(path, "quickbooks-desktop", "currency=USD", "region=US") == {
        "42": "1083.50 USD", "43": "97.40 USD", "line 18": "skip a payment, not one of the invoices",
        "44": "skip an estimate: --from quickbooks-desktop-estimates",
    }  # fmt: skip
    made = body(path, "quickbooks-desktop", "42", "currency=USD", "region=US")
    assert (made["issueDate"], made["dueDate"], made["contactDetails"]["phoneNo"]) == (
        "1998-07-16", "1998-08-15", "+12145596993",
    )  # fmt: skip
    assert [line.get("taxes", [{}])[0].get("rate") for line in made["items"]] == [8.25, None]
    assert outcome(path, "quickbooks-desktop-estimates", "currency=USD")["44"] == "10.00 USD"


def test_quickbooks_desktop_totals_that_differ_and_ids_that_repeat(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        IIF_HEAD + trns("INVOICE", "1", "11", "-10\t\tWork") + trns("INVOICE", "2", "10", "-10\t\tWork")
        + trns("INVOICE", "2", "20", "-20\t\tWork", who="Robin") + trns("INVOICE", "3", "x", "-10\t\tWork"),
        "books.iif",
    )  # fmt: skip
    assert outcome(path, "quickbooks-desktop-invoices", "currency=USD") == {
        "1": "total: the source says 11.00 USD, the lines give 10.00 USD", "2 Ash, Alex 7/16/98": "10.00 USD",
        "2 Robin 7/16/98": "20.00 USD", "3": "total: 'x' is not a number",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("NAME\tx\n", "has no line !TRNS"),
        (IIF_HEAD + "SPL\t\tINVOICE\n", "line 8: SPL belongs to no TRNS"),
        (IIF_HEAD + "TRNS\t1\tINVOICE\nTRNS\t2\n", "the document that begins in line 8 has no ENDTRNS"),
        (IIF_HEAD + "TRNS\t1\tINVOICE\n", "ends inside the document that begins in line 8"),
        (IIF_HEAD + "TRNS" + "\tx" * 13 + "\n", "line 8 has 13 fields where !TRNS declares 11"),
        (IIF_HEAD + "EMP\tx\n", "line 8: no line !EMP above it declares the columns of EMP"),
        ("!TRNS\tDATE\nTRNS\t1/1/24\nENDTRNS\n", "lacks the columns TRNSTYPE, ACCNT, NAME, AMOUNT of !TRNS"),
    ],
)
def test_an_iif_file_that_breaks_its_own_rules_is_refused_whole(
    tmp_path: Path, text: str, reason: str
) -> None:
    with pytest.raises(SourceError) as caught:
        outcome(written(tmp_path, text, "books.iif"), "quickbooks-desktop-invoices", "currency=USD")
    assert reason in str(caught.value)


# ------------------------------------------------------------------------------------------ ERPNext


def quotation(name: str | None, grand: float, *items: dict[str, Any], **more: Any) -> dict[str, Any]:
    own = {} if name is None else {"name": name}
    return own | {
        "doctype": "Quotation", "quotation_to": "Customer", "party_name": "CUST-1", "customer_name": "Acme", "transaction_date": "2024-03-04",
        "currency": "EUR", "conversion_rate": 1.1, "grand_total": grand, "items": list(items),
    } | more  # fmt: skip


DOOR = {"item_code": "D", "item_name": "Door", "qty": 2.0, "rate": 100.0, "amount": 200.0}


def test_erpnext_discounts_freight_taxes_inside_and_payment_terms(tmp_path: Path) -> None:
    vat = {"charge_type": "On Net Total", "description": "VAT", "rate": 19.0, "tax_amount": 34.2}
    freight = {"charge_type": "Actual", "description": "Freight", "tax_amount": 7.0}
    terms = [
        {"due_date": "2024-03-10", "invoice_portion": 30.0},
        {"due_date": "2024-04-10", "invoice_portion": 70.0},
    ]
    inside = [{"charge_type": "On Net Total", "rate": 19, "tax_amount": 19.0, "included_in_print_rate": 1}]
    one = {"item_name": "Door", "qty": 1, "rate": 119.0, "amount": 119.0}
    path = written(
        tmp_path,
        json.dumps({"data": [
            quotation("Q-1", 221.2, DOOR, total=200.0, net_total=180.0, taxes=[vat, freight], payment_schedule=terms),
            quotation("Q-2", 119.0, one, total=119.0, net_total=100.0, taxes=inside),
            quotation(None, 200.0, DOOR), quotation("Q-3", 5, DOOR, docstatus=2),
        ]}),
        "export.json",
    )  # fmt: skip
    assert profile_of("erpnext", path).id == "erpnext-quotations"
    assert outcome(path, "erpnext") == {
        "Q-1": "221.20 EUR", "Q-2": "119.00 EUR", "record 3": "200.00 EUR", "Q-3": "skip cancelled in ERPNext",
    }  # fmt: skip
    made = body(path, "erpnext", "Q-1")
    assert made["items"][0]["taxes"][0]["rate"] == 19
    assert [one["value"] for one in made["paymentScheduleConfig"]["schedules"]] == [30, 70]


def test_erpnext_invoices_returns_and_totals_that_differ(tmp_path: Path) -> None:
    def invoice(name: str, total: float, **more: Any) -> dict[str, Any]:
        made = quotation(
            name, total, DOOR, customer="CUST-1", posting_date="2024-03-04", due_date="2024-04-04", **more
        )
        return {key: value for key, value in made.items() if key not in ("party_name", "quotation_to")}  # fmt: skip

    records = [
        invoice("S-1", 200.0, paid_amount=50.0, outstanding_amount=150.0),
        invoice("S-2", 201.0),
        invoice("S-3", -200.0, is_return=1),
    ]
    path = written(tmp_path, "\n".join(map(json.dumps, records)), "export.ndjson")
    assert profile_of("erpnext", path).id == "erpnext-invoices"
    assert outcome(path, "erpnext") == {
        "S-1": "200.00 EUR", "S-2": "total: the source says 201.00 EUR, the lines give 200.00 EUR",
        "S-3": "skip a return, not a sale",
    }  # fmt: skip
