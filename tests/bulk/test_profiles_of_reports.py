"""Promises of the profiles of QuickBooks Online's reports and of Xero's CSV, and of names that a system has changed."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from hl_async.bulk.profiles import detected, profile_of
from hl_async.bulk.sources.opening import open_source
from hl_async.bulk.sources.records import SourceItem
from hl_async.errors import ConfigurationError, SourceError

TITLES = "{title}\nOak & Co\nAll dates\n\n"
SALES = (
    ",Transaction date,Transaction type,Num,Product/Service full name,Description,Quantity,Sales price,Amount,Balance\n"
    "Alex Ash\n"
    ',03/02/2024,Invoice,2001,Services:Oak,Big oak,1,"2,000.00","2,000.00","2,000.00"\n'
    ',03/02/2024,Invoice,2001,Stump,,2.5,160.00,400.00,"2,400.00"\n'
    'Total for Alex Ash,,,,,,3.5,,"$2,400.00",\n'
    "Total Wine & More\n"
    ",03/05/2024,Invoice,2002,Oak,,1,8.00,8.00,8.00\n"
    ",03/05/2024,Credit Memo,2003,Oak,,-1,8.00,-8.00,0.00\n"
    "Total for Total Wine & More,,,,,,,,$0.00,\n"
    'TOTAL,,,,,,,,"$2,400.00",\n\n"Thursday, Mar 7, 2024 10:06 AM GMT-7 - Accrual Basis"\n'
)
LIST = (
    ",Transaction date,Transaction type,Num,Customer,Due date,Amount,Open balance\n"
    ',03/02/2024,Invoice,2001,Alex Ash,04/01/2024,"2,598.00",598.00\n'
    ",03/05/2024,Invoice,2002,Total Wine & More,04/04/2024,8.00,0.00\n"
    ",03/05/2024,Credit Memo,2003,Total Wine & More,,-8.00,0.00\n"
    'TOTAL,,,,,,"$2,598.00",$598.00\n'
)
XERO = (
    "ContactName,EmailAddress,POAddressLine1,POAddressLine2,POAddressLine3,POAddressLine4,POCity,PORegion,POPostalCode,POCountry,"
    "SAAddressLine1,SAAddressLine2,SAAddressLine3,SAAddressLine4,SACity,SARegion,SAPostalCode,SACountry,InvoiceNumber,Reference,"
    "InvoiceDate,DueDate,PlannedDate,Total,TaxTotal,InvoiceAmountPaid,InvoiceAmountDue,InventoryItemCode,Description,Quantity,UnitAmount,"
    "Discount,LineAmount,AccountCode,TaxType,TaxAmount,TrackingName1,TrackingOption1,TrackingName2,TrackingOption2,Currency,Type,Sent,Status"
)


def written(folder: Path, text: str, name: str = "export.csv") -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def outcome(path: Path, profile: str, *pairs: str, more: tuple[str, ...] = ()) -> dict[str, str]:
    source = open_source([path, *more], profile=profile, pairs=("contact_id=c1", *pairs))
    return {
        one.source_id: f"{one.total} {one.currency}"
        if isinstance(one, SourceItem)
        else ("skip " if one.skipped else "") + one.reason
        for one in source.read()
    }


def xero(*rows: dict[str, str]) -> str:
    text = io.StringIO()
    write = csv.DictWriter(text, XERO.split(","))
    write.writeheader()
    base = {
        "ContactName": "Ash", "Currency": "GBP", "Type": "Sales invoice", "Status": "Paid", "InvoiceDate": "04/03/2024",
        "DueDate": "03/04/2024", "Description": "Oak", "Quantity": "1.0000", "TaxType": "20% (VAT on Income)",
    }  # fmt: skip
    for row in rows:
        write.writerow(base | row)
    return text.getvalue()


# -------------------------------------------------------------------------------------- QuickBooks


def test_the_new_view_of_quickbooks_sales_is_read_by_the_names_it_gives(tmp_path: Path) -> None:
    path = written(tmp_path, TITLES.format(title="Sales by Customer Detail") + SALES)
    assert detected(path) is profile_of("quickbooks-sales")
    source = open_source([path], profile="quickbooks", pairs=("contact_id=c1", "currency=USD"))
    found = {one.source_id: one for one in source.read()}
    second = found["Invoice 2002"]
    assert isinstance(second, SourceItem) and second.document is not None
    # a customer whose name begins like a sum is a customer
    assert (second.document.customer.name, str(second.total)) == ("Total Wine & More", "8.00")
    assert outcome(path, "quickbooks", "currency=USD") == {
        "Invoice 2001": "2400.00 USD",
        "Invoice 2002": "8.00 USD",
        "Credit Memo 2003": "skip a credit memo, not a sale",
    }


def test_the_invoice_list_adds_the_taxes_that_the_sales_report_lacks(tmp_path: Path) -> None:
    path = written(tmp_path, TITLES.format(title="Sales by Customer Detail") + SALES)
    listed = written(tmp_path, TITLES.format(title="Invoice List by Date") + LIST, "invoices.csv")
    source = open_source(
        [path, f"list={listed}"], profile="quickbooks", pairs=("contact_id=c1", "currency=USD")
    )
    reading = source.read()
    found = {one.source_id: one for one in reading}
    first = found["Invoice 2001"]
    assert isinstance(first, SourceItem) and first.document is not None
    assert (str(first.total), str(first.document.due_date), str(first.document.amount_due)) == (
        "2598.00",
        "2024-04-01",
        "598.00",
    )
    assert reading.facts.comparison == "equal to the source's totals"


def test_a_quickbooks_report_with_a_row_that_was_cut_is_refused_whole(tmp_path: Path) -> None:
    path = written(tmp_path, SALES.replace(",Stump,,2.5,160.00,400.00", ",Stump,,2.5"))
    with pytest.raises(SourceError, match="line 4 has 8 fields where the header has 10"):
        outcome(path, "quickbooks", "currency=USD")


def test_the_invoice_list_of_quickbooks_is_one_line_per_document(tmp_path: Path) -> None:
    path = written(tmp_path, TITLES.format(title="Invoice List by Date") + LIST)
    assert detected(path) is profile_of("quickbooks-list")
    assert outcome(path, "quickbooks", "currency=USD") == {
        "Invoice 2001": "2598.00 USD",
        "Invoice 2002": "8.00 USD",
        "Credit Memo 2003": "skip a credit memo, not a sale",
    }


def test_two_invoices_of_one_number_and_unreadable_amounts_of_a_list_are_refused(tmp_path: Path) -> None:
    rows = LIST.splitlines(keepends=True)
    text = (
        rows[0].replace("Transaction date", "Date") + rows[1] + rows[1] + rows[2].replace("8.00", '"8,00"', 1)
    )
    found = outcome(written(tmp_path, text), "quickbooks-list", "currency=USD")
    assert found["Invoice 2001"] == "two documents of the list have this number"
    assert found["Invoice 2002"].startswith("line 4, column 'Amount': '8,00' is not a number")


@pytest.mark.parametrize("amount", [100.0, 120.0])
def test_quickbooks_amounts_with_or_without_the_tax_inside_are_told_apart_by_their_sum(
    tmp_path: Path, amount: float
) -> None:
    record = {
        "Id": "1", "DocNumber": "1", "TxnDate": "2024-03-04", "CurrencyRef": {"value": "GBP"}, "CustomerRef": {"value": "3", "name": "Ash"},
        "TotalAmt": 120.0, "Balance": 120.0, "GlobalTaxCalculation": "TaxInclusive", "TxnTaxDetail": {"TotalTax": 20.0},
        "Line": [{"Amount": amount, "DetailType": "SalesItemLineDetail", "SalesItemLineDetail": {"ItemRef": {"name": "Oak"}, "Qty": 1}}],
    }  # fmt: skip
    path = written(tmp_path, json.dumps([record]), "invoices.json")
    assert outcome(path, "quickbooks") == {"1": "120.00 GBP"}


# -------------------------------------------------------------------------------------------- Xero


def test_xero_csv_with_taxes_inside_and_outside_notes_discounts_and_credit_notes(tmp_path: Path) -> None:
    totals = {
        "Total": "541.25",
        "TaxTotal": "90.21",
        "InvoiceAmountPaid": "0.00",
        "InvoiceAmountDue": "541.25",
    }
    inside = {
        "Total": "120.00",
        "TaxTotal": "20.00",
        "Quantity": "3.0000",
        "UnitAmount": "40.0000",
        "LineAmount": "120.00",
        "TaxAmount": "20.00",
    }
    path = written(
        tmp_path,
        xero(
            totals | {"InvoiceNumber": "INV-1", "UnitAmount": "500.0000", "Discount": "10.00", "LineAmount": "450.00", "TaxAmount": "90.00",
                      "Description": 'Half day "training"\nmorning'},
            totals | {"InvoiceNumber": "INV-1", "Description": "Bring a laptop", "Quantity": "", "TaxType": ""},
            totals | {"InvoiceNumber": "INV-1", "UnitAmount": "1.0400", "LineAmount": "1.04", "TaxAmount": "0.21"},
            inside | {"InvoiceNumber": "INV-2"},
            {"InvoiceNumber": "CN-1", "Total": "-50.00", "UnitAmount": "-50", "LineAmount": "-50", "Type": "Sales credit note"},
        ),
    )  # fmt: skip
    assert profile_of("xero", path).id == "xero-csv"
    assert outcome(path, "xero", "date_format=%d/%m/%Y") == {
        "INV-1": "541.25 GBP",
        "INV-2": "120.00 GBP",
        "CN-1": "skip a sales credit note, not a sale",
    }


def test_xero_csv_dates_of_two_readings_and_totals_that_differ(tmp_path: Path) -> None:
    line = {"UnitAmount": "100.0000", "LineAmount": "100.00", "TaxAmount": "20.00", "TaxTotal": "20.00"}
    path = written(
        tmp_path,
        xero(
            line | {"InvoiceNumber": "INV-1", "Total": "120.00"},
            line | {"InvoiceNumber": "INV-2", "Total": "121.00"},
        ),
    )
    assert 'date_format = "%d/%m/%Y" or "%m/%d/%Y"' in outcome(path, "xero")["INV-1"]
    found = outcome(path, "xero", "date_format=%d/%m/%Y")
    assert found == {
        "INV-1": "120.00 GBP",
        "INV-2": "total: the source says 121.00 GBP, the lines give 120.00 GBP",
    }


# ------------------------------------------------------------------------------------------- names


def test_a_file_of_another_form_is_no_export_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=r"x.csv is not an export of 'erpnext': erpnext-quotations \(Each"
    ):
        open_source([written(tmp_path, "a,b\n", "x.csv")], profile="erpnext")


@pytest.mark.parametrize(
    ("name", "text", "profile", "said"),
    [
        (
            "x.json",
            "[{}]",
            "jobber",
            "x.json is not an export of Jobber, quotes. Export there: Reports, Quotes report",
        ),
        (
            "x.csv",
            "a,b\n",
            "stripe",
            "x.csv is not an export of Stripe, invoices. Export there: The API's list",
        ),
        ("x.iif", "!TRNS\n", "jobber", "x.iif is not an export of Jobber, quotes"),
        (
            "x.json",
            '[{"Id": "1", "DocNumber": "2"}]',
            "quickbooks-invoices",
            "x.json lacks the keys TxnDate, CustomerRef, Line, TotalAmt, Balance of QuickBooks Online, invoices; x.json fits no profile",
        ),
    ],
)
def test_a_file_of_another_form_or_with_other_keys_says_what_to_export(
    tmp_path: Path, name: str, text: str, profile: str, said: str
) -> None:
    with pytest.raises(SourceError) as caught:
        open_source([written(tmp_path, text, name)], profile=profile)
    assert said in str(caught.value)


def test_capitals_of_a_header_do_not_matter(tmp_path: Path) -> None:
    text = "QUOTE #,Client Name,title,STATUS,Created Date,Total ($)\n1,Alex,Deck,Draft,2024-03-04,5.00\n"
    path = written(tmp_path, text)
    assert detected(path) is profile_of("jobber")
    assert outcome(path, "jobber", "currency=USD") == {"1": "5.00 USD"}


def test_a_broken_row_whose_document_has_another_id_stops_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "No,Item,Price\nA-1,Door,5.00\nA-1,Lock\nA-2,Door,1.00\n")
    query = "-- key: No\n-- set: currency = USD\nSELECT {} AS source_id, Item AS line_name, Price AS line_amount FROM export"
    sql = written(tmp_path, query.format("No"), "q.sql")
    pairs = ("contact_id=c1",)
    found = {one.source_id: one for one in open_source([path], sql=sql, pairs=pairs).read()}
    assert not isinstance(found["A-1"], SourceItem) and isinstance(found["A-2"], SourceItem)
    # under another id the document would be made from a part of its lines
    sql = written(tmp_path, query.format("'Q' || No"), "q.sql")
    with pytest.raises(SourceError, match="line 3 has 2 fields .* the query gives the document 'A-1'"):
        list(open_source([path], sql=sql, pairs=pairs).read())
