"""Promises of the profiles: two dirty exports of each system, right to the cent or refused with what to do."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hl_async.bulk.profiles import detected, fits_of, parse_profile, profile_of, profiles, unknown_header
from hl_async.bulk.sources.readers import Reading
from hl_async.bulk.sources.records import Reject, SourceItem
from hl_async.bulk.sources.rejects import reject_lines
from hl_async.bulk.sources.settings import SourceSettings
from hl_async.bulk.sources.sql import read_sql
from hl_async.errors import ConfigurationError, SourceError

BASE = SourceSettings(contact_id="c1")


def run(profile: str, path: Path, *pairs: str, **others: Path) -> Reading:
    found = profile_of(profile, path)
    return read_sql(found.query, {"export": path, **others}, found.settings(BASE).with_values(pairs))


def outcome(reading: Reading) -> dict[str, str]:
    return {
        one.source_id: f"{one.total} {one.currency}"
        if isinstance(one, SourceItem)
        else ("skip " if one.skipped else "") + one.reason
        for one in reading
    }


def table(
    folder: Path,
    header: str,
    *rows: dict[str, str],
    above: str = "",
    name: str = "export.csv",
    mark: str = "",
) -> Path:
    """A CSV with the system's header; a row gives only what matters. A key ``A#2`` is the second column ``A``."""
    names = next(csv.reader([header]))
    text = io.StringIO()
    write = csv.writer(text)
    write.writerow(names)
    for row in rows:
        left = dict(row)
        cells = []
        for index, column in enumerate(names):
            nth = names[: index + 1].count(column)
            cells.append(left.pop(f"{column}#{nth}" if nth > 1 else column, ""))
        assert not left, left
        write.writerow(cells)
    path = folder / name
    path.write_text(mark + above + text.getvalue(), "utf-8")
    return path


def document(folder: Path, value: Any, name: str = "export.json") -> Path:
    path = folder / name
    path.write_text(value if isinstance(value, str) else json.dumps(value), "utf-8")
    return path


def body(reading: Reading, source_id: str) -> dict[str, Any]:
    found = next(one for one in reading if one.source_id == source_id)
    assert isinstance(found, SourceItem), found
    made: dict[str, Any] = msgspec.json.decode(found.body)
    return made


FRESHBOOKS = (
    "Client Name,Invoice #,Date Issued,Invoice Status,Date Paid,Item Name,Item Description,Rate,Quantity,Discount Percentage,"
    "Line Subtotal,Tax 1 Type,Tax 1 Amount,Tax 2 Type,Tax 2 Amount,Line Total,Currency"
)


def fb(number: str, **more: str) -> dict[str, str]:
    return {
        "Client Name": "Acme", "Invoice #": number, "Date Issued": "2024-03-04", "Item Name": "Oak", "Rate": "100.00",
        "Quantity": "1.00000000", "Line Subtotal": "100.00", "Line Total": "100.00", "Currency": "USD",
    } | {name.replace("_", " "): value for name, value in more.items()}  # fmt: skip


def test_freshbooks_taxes_as_amounts_and_discounts_of_lines(tmp_path: Path) -> None:
    path = table(
        tmp_path, FRESHBOOKS,
        fb("00042", Rate="33.33", Quantity="7.00000000", Discount_Percentage="12.5", Line_Subtotal="204.15",
           Tax_1_Type="GST", Tax_1_Amount="10.21", Tax_2_Type="PST", Tax_2_Amount="14.29", Line_Total="228.65"),
        fb("00042"),
        fb("43", Rate="1e999"),
        mark="\ufeff",
    )  # fmt: skip
    clients = table(
        tmp_path, "Organization,Email", {"Organization": "Acme", "Email": "a@example.com"}, name="clients.csv"
    )
    found = outcome(run("freshbooks", path, clients=clients))
    assert found["00042"] == "328.65 USD"
    assert "line 1" in found["43"]
    assert (
        body(run("freshbooks", path, clients=clients), "00042")["contactDetails"]["email"] == "a@example.com"
    )


def test_freshbooks_two_clients_of_one_name_double_no_line(tmp_path: Path) -> None:
    path = table(
        tmp_path, FRESHBOOKS, fb("1"), fb("2", Line_Total="90.00"), fb("3", Date_Issued="03/04/2024")
    )
    twice = [
        {"Organization": "Acme", "Email": "a@x.example"},
        {"Organization": "Acme", "Email": "b@x.example"},
    ]
    clients = table(tmp_path, "Organization,Email", *twice, name="clients.csv")
    found = outcome(run("freshbooks", path, clients=clients))
    assert found["1"] == "100.00 USD"
    assert found["2"] == "total: the source says 90.00 USD, the lines give 100.00 USD"
    assert 'date_format = "%d/%m/%Y" or "%m/%d/%Y"' in found["3"]


ZOHO = (
    "Invoice Date,Invoice ID,Invoice Number,Estimate Number,Invoice Status,Customer Name,Company Name,Customer ID,Due Date,PurchaseOrder,"
    "Currency Code,Discount Type,Is Discount Before Tax,Entity Discount Percent,Entity Discount Amount,Item Name,Item Desc,Quantity,"
    "Item Price,Discount,Discount Amount,Item Total,SubTotal,Total,Balance,Shipping Charge,Adjustment,Adjustment Description,Round Off,Notes,"
    "Terms & Conditions,Subject,LateFee Amount"
)


def zoho(invoice: str, **more: str) -> dict[str, str]:
    return {
        "Invoice ID": invoice, "Invoice Number": "INV-1", "Invoice Date": "2024-03-04", "Due Date": "2024-04-03", "Customer Name": "Acme",
        "Customer ID": "9000000000000000001", "Currency Code": "USD", "Invoice Status": "Sent", "Item Name": "Oak", "Quantity": "1.00",
        "Item Price": "100.000000", "Discount Type": "entity_level", "Is Discount Before Tax": "true",
    } | {name.replace("_", " "): value for name, value in more.items()}  # fmt: skip


def test_zoho_discount_of_the_document_shipping_and_adjustment(tmp_path: Path) -> None:
    long = "4815000000044131001"
    fees = {
        "Entity_Discount_Percent": "10.00",
        "Shipping_Charge": "15.00",
        "Total": "195.00",
        "Balance": "195.00",
    }
    path = table(
        tmp_path, ZOHO,
        zoho(long, **fees, Discount_Amount="10.00"), zoho(long, **fees, Item_Name="Elm", Discount_Amount="10.00"),
        zoho("4815000000044131002", Total="99.97", Round_Off="-0.03"),
        zoho("4815000000044131003", Total="100", Invoice_Status="Void"),
        zoho("4.815E+18", Total="100"),
    )  # fmt: skip
    contacts = table(
        tmp_path,
        "Customer ID,EmailID",
        {"Customer ID": "9000000000000000001", "EmailID": "z@example.com"},
        name="c.csv",
    )
    found = outcome(run("zoho-books", path, contacts=contacts))
    # the API's discount is taken off the whole document, shipping too: Zoho's is not
    assert found[long] == "195.00 USD"
    assert found["4815000000044131002"] == "99.97 USD"
    assert found["4815000000044131003"] == "skip void in Zoho Books"
    assert "a spreadsheet has shortened the number '4.815E+18'" in found["4.815E+18"]
    assert (
        body(run("zoho-books", path, contacts=contacts), "4815000000044131002")["contactDetails"]["email"]
        == "z@example.com"
    )


def test_zoho_discounts_of_lines_and_a_row_that_was_cut(tmp_path: Path) -> None:
    item = {"Discount_Type": "item_level", "Discount": "5.00", "Discount_Amount": "5.00", "Total": "95.00"}
    path = table(
        tmp_path,
        ZOHO,
        zoho("1", **item),
        zoho("2", Total="100.00"),
        zoho("2", Total="100.00"),
        zoho("3", Total="100"),
    )
    lines = path.read_text().splitlines()
    lines[3] = lines[3][: lines[3].index(",Acme")]
    path.write_text("\n".join(lines) + "\n")
    found = outcome(run("zoho-books", path))
    assert found["1"] == "95.00 USD"
    assert "line 4 has 5 fields where the header has" in found["2"]
    assert found["3"] == "100.00 USD"


NINJA = (
    "Client,Email,Quote Number,Amount,Paid,PO Number,Status,Quote Date,Due Date,Discount,Public Notes,Private Notes,invoice surch 1,"
    "invoice surch 2,invoice 1,invoice 2,Item Product,Item Notes,product field,product field2,Item Cost,Item Quantity,Item Tax Name,"
    "Item Tax Rate,Item Tax Name,Item Tax Rate"
)
TITLES = "Quote Report\nMarch 2024\n\n"


def ninja(number: str, **more: str) -> dict[str, str]:
    return {
        "Client": "Acme", "Quote Number": number, "Quote Date": "2024-03-04", "Due Date": "2024-04-04", "Item Product": "Oak",
        "Item Cost": "$1,000.00", "Item Quantity": "2", "Amount": "$2,000.00",
    } | {name.replace("__", "#").replace("_", " "): value for name, value in more.items()}  # fmt: skip


def test_invoice_ninja_title_rows_doubled_columns_and_surcharges(tmp_path: Path) -> None:
    path = table(
        tmp_path, NINJA,
        ninja("0001", Item_Tax_Name="VAT", Item_Tax_Rate="20", Item_Tax_Name__2="City", Item_Tax_Rate__2="1.5",
              invoice_surch_1="$12.50", Amount="$2,442.50"),
        ninja("0002", Due_Date="2024-02-01", Discount="10%", Amount="$1,800.00"),
        above=TITLES,
    )  # fmt: skip
    assert profile_of("invoice-ninja", path).id == "invoice-ninja-quotes"
    assert outcome(run("invoice-ninja", path, "currency=USD")) == {
        "0001": "2442.50 USD",
        "0002": "1800.00 USD",
    }
    assert body(run("invoice-ninja", path, "currency=USD"), "0002")["expiryDate"] == "2024-04-03"


def test_invoice_ninja_a_currency_that_is_not_given_or_contradicts(tmp_path: Path) -> None:
    path = table(tmp_path, NINJA, ninja("1"), ninja("2", Item_Cost="€5.00", Amount="€10.00"), above=TITLES)
    assert outcome(run("invoice-ninja-quotes", path))["1"] == "currency: is missing; give the run a currency"
    found = outcome(run("invoice-ninja-quotes", path, "currency=USD"))
    assert "line 6, column 'Amount': '€10.00' is not a number" in found["2"]
    invoices = table(
        tmp_path, NINJA.replace("Quote ", "Invoice "),
        {k.replace("Quote ", "Invoice "): v for k, v in ninja("7").items()}, name="invoices.csv",
    )  # fmt: skip
    assert outcome(run("invoice-ninja", invoices, "currency=USD")) == {"7": "2000.00 USD"}


JOBBER = (
    "Quote #,Client name,Client email,Client phone,Property,Title,Status,Created date,Sent date,Approved date,Converted date,Total ($),"
    "Salesperson"
)


def jobber(number: str, **more: str) -> dict[str, str]:
    return {
        "Quote #": number, "Client name": "Robin", "Client phone": "(214) 555-0100", "Title": "Deck", "Status": "Approved",
        "Created date": "Mar 04, 2024", "Total ($)": "$9,400.00",
    } | {name.replace("_", " "): value for name, value in more.items()}  # fmt: skip


def test_jobber_titles_become_lines_and_the_row_of_sums_is_none(tmp_path: Path) -> None:
    long = "Removal of the old deck, and a new one of cedar with stairs"
    sums = {"Title": "Total", "Total ($)": "$11,600.00"}
    path = table(
        tmp_path, JOBBER, jobber("1"), jobber("2", Title=long) | {"Total ($)": "2200"}, sums,
        above="Quotes report,,,,,,,,,,,,\nAll quotes,,,,,,,,,,,,\n",
    )  # fmt: skip
    assert detected(path) is profiles()["jobber"]
    # a title may be cut here, because the line has all of it
    cut = run("jobber", path, "currency=USD")
    assert outcome(cut) == {"1": "9400.00 USD", "2": "2200.00 USD"}
    assert "title is cut to 40 characters" in cut.facts.notes
    made = body(run("jobber", path, "currency=USD", "region=US"), "2")
    assert (made["items"][0]["name"], made["title"][-1], made["issueDate"]) == (long, "…", "2024-03-04")
    assert made["contactDetails"]["phoneNo"] == "+12145550100"
    assert made["meta"]["source"]["status"] == "Approved"


def test_jobber_refuses_what_it_cannot_read(tmp_path: Path) -> None:
    path = table(
        tmp_path, JOBBER,
        jobber("1") | {"Total ($)": "9.400,00"}, jobber("2", Created_date="04/03/2024"), jobber("3") | {"Total ($)": ""}, jobber("4"),
    )  # fmt: skip
    found = outcome(run("jobber", path, "currency=USD"))
    assert "'9.400,00' is not a number" in found["1"]
    assert 'date_format = "%d/%m/%Y"' in found["2"]
    assert found["3"] == "line 1 amount: is missing"
    assert outcome(run("jobber", path, "currency=USD", "date_format=%m/%d/%Y"))["2"] == "9400.00 USD"
    # the reject file has the export's own form, and is read by the same profile once it is put right
    rejects = [one for one in run("jobber", path, "currency=USD") if isinstance(one, Reject)]
    again = tmp_path / "again.csv"
    again.write_bytes(
        b"".join(reject_lines(next(csv.reader([JOBBER])), ((one.raw, one.reason) for one in rejects)))
    )
    again.write_text(again.read_text().replace('"9.400,00"', "9400.00"))
    assert outcome(run("jobber", again, "currency=USD"))["1"] == "9400.00 USD"


HOUSECALL = (
    "Estimate #,Options count,Customer name,Employees,Estimate status,Created date,Scheduled date,Outcome,Open value,Won value,Lost value,"
    "Estimate lead source,Estimate tags,Location name"
)


def test_housecall_numbers_in_formulas_and_the_value_of_the_outcome(tmp_path: Path) -> None:
    row = {"Customer name": "Robin", "Created date": "2024-03-04", "Estimate status": "sent"}
    path = table(
        tmp_path, HOUSECALL,
        row | {"Estimate #": '="5001"', "Outcome": "Won", "Open value": "$0.00", "Won value": "$1,250.50", "Lost value": "$0.00"},
        row | {"Estimate #": '="5002"', "Outcome": "open", "Open value": "$80.00", "Won value": "$0.00", "Lost value": ""},
    )  # fmt: skip
    assert outcome(run("housecall-pro", path, "currency=USD")) == {"5001": "1250.50 USD", "5002": "80.00 USD"}


def test_housecall_an_unknown_outcome_and_a_zero_value(tmp_path: Path) -> None:
    row = {
        "Customer name": "Robin",
        "Created date": "2024-03-04",
        "Open value": "$0.00",
        "Won value": "$5.00",
    }
    path = table(
        tmp_path, HOUSECALL, row | {"Estimate #": '="1"'}, row | {"Estimate #": '="2"', "Outcome": "Open"}
    )
    found = outcome(run("housecall-pro", path, "currency=USD"))
    assert found["1"] == "Outcome is empty: which of Open, Won and Lost value counts is unknown"
    assert found["2"] == "total: is zero; set allow_zero_total = true to create the document all the same"


SHOPIFY = (
    "Name,Email,Financial Status,Paid at,Fulfillment Status,Fulfilled at,Currency,Subtotal,Shipping,Taxes,Total,Discount Amount,Created at,"
    "Lineitem quantity,Lineitem name,Lineitem price,Lineitem sku,Billing Name,Billing City,Billing Province Name,Billing Phone,Shipping Name,"
    "Shipping City,Shipping Province Name,Shipping Phone,Notes,Payment Method,Payment Reference,Refunded Amount,Id,Tags,Risk Level,Source"
)


def shopify(name: str, **more: str) -> dict[str, str]:
    return {
        "Name": name, "Email": "s@example.com", "Financial Status": "paid", "Paid at": "2024-03-04 23:10:00 -0500", "Currency": "USD",
        "Subtotal": "30.00", "Shipping": "5.00", "Taxes": "0.00", "Total": "35.00", "Discount Amount": "0.00",
        "Created at": "2024-03-04 23:00:00 -0500", "Lineitem quantity": "1", "Lineitem name": "Mug", "Lineitem price": "10.00",
        "Refunded Amount": "0.00",
    } | {name.replace("_", " "): value for name, value in more.items()}  # fmt: skip


def test_shopify_facts_on_the_first_row_taxes_on_top_and_inside(tmp_path: Path) -> None:
    second = {"Lineitem quantity": "2", "Lineitem name": "Jar", "Lineitem price": "10.00"}
    path = table(
        tmp_path, SHOPIFY,
        shopify("#1001", Taxes="2.48", Total="37.48"), {"Name": "#1001"} | second,
        shopify("#1002", Taxes="5.00", Subtotal="30.00"), second,
        shopify("#1003", Financial_Status="voided"), second,
    )  # fmt: skip
    found = outcome(run("shopify", path))
    assert found == {"#1001": "37.48 USD", "#1002": "35.00 USD", "#1003": "skip voided in Shopify"}
    made = body(run("shopify", path), "#1002")
    # taxes of 5.00 inside a subtotal of 30.00 are 20 %
    assert {tax["rate"] for line in made["items"] for tax in line.get("taxes", [])} == {20}
    assert made["issueDate"] == "2024-03-04"


def test_shopify_discounts_and_a_total_that_cannot_be(tmp_path: Path) -> None:
    path = table(
        tmp_path, SHOPIFY,
        shopify("#1", Lineitem_quantity="4", Discount_Amount="10.00"),
        shopify("#2", Lineitem_quantity="4", Total="36.00"),
        shopify("#3", Lineitem_quantity="3", Billing_Phone="'+1 214-555-0100", Refunded_Amount="5.00"),
    )  # fmt: skip
    found = outcome(run("shopify", path))
    assert found["#1"] == "35.00 USD"
    assert found["#2"] == "total: the source says 36.00 USD, the lines give 45.00 USD"
    made = body(run("shopify", path), "#3")
    assert made["contactDetails"]["phoneNo"] == "+12145550100"


WAVE = (
    "Transaction ID,Transaction Date,Account Name,Transaction Description,Transaction Line Description,Amount (One column), ,"
    "Debit Amount (Two Column Approach),Credit Amount (Two Column Approach),Other Accounts for this Transaction,Customer,Vendor,"
    "Invoice Number,Bill Number,Notes / Memo,Amount Before Sales Tax,Sales Tax Amount,Sales Tax Name,Transaction Date Added,"
    "Transaction Date Last Modified,Account Group,Account Type,Account ID"
)
DEBIT, CREDIT = "Debit Amount (Two Column Approach)", "Credit Amount (Two Column Approach)"


def wave(number: str, group: str, kind: str, **more: str) -> dict[str, str]:
    return {
        "Invoice Number": number, "Transaction Date": "2024-03-04", "Account Group": group, "Account Type": kind, "Customer": "Acme",
        "Account Name": "Sales",
    } | {{"debit": DEBIT, "credit": CREDIT}.get(name, name.replace("_", " ")): value for name, value in more.items()}  # fmt: skip


def test_wave_double_entry_gives_lines_taxes_and_payments_once(tmp_path: Path) -> None:
    path = table(
        tmp_path, WAVE,
        wave("7", "Asset", "Accounts Receivable", debit="1,080.00"),
        wave("7", "Income", "Income", credit="1,000.00", Transaction_Line_Description="Design", Sales_Tax_Name="GST"),
        wave("7", "Liability", "Sales Tax on Sales and Purchases", credit="50.00", Account_Name="GST"),
        wave("7", "Income", "Income", credit="30.00", Transaction_Line_Description="Postage"),
        wave("7", "Asset", "Accounts Receivable", credit="500.00", Transaction_Date="2024-03-20"),
        wave("7", "Asset", "Cash and Bank", debit="500.00", Transaction_Date="2024-03-20"),
        wave("", "Expense", "Operating Expense", debit="12.00"),
    )  # fmt: skip
    (found,) = run("wave", path, "currency=USD")
    assert isinstance(found, SourceItem), found
    assert (str(found.total), found.document is not None and found.document.payments[0].amount) == (
        "1080.00",
        500,
    )


def test_wave_books_that_do_not_add_up(tmp_path: Path) -> None:
    path = table(
        tmp_path, WAVE,
        wave("1", "Asset", "Accounts Receivable", debit="90.00"), wave("1", "Income", "Income", credit="100.00"),
        wave("2", "Income", "Income", credit="100.00"),
    )  # fmt: skip
    found = outcome(run("wave", path, "currency=USD"))
    assert found["1"] == "total: the source says 90.00 USD, the lines give 100.00 USD"
    assert found["2"] == "no receivable row states the sum of this invoice"


def stripe(invoice: str, amounts: list[int], total: int, **more: Any) -> dict[str, Any]:
    lines = [
        {
            "id": "il",
            "amount": one,
            "quantity": 1,
            "description": "Plan",
            "discount_amounts": [],
            "taxes": None,
        }
        for one in amounts
    ]
    return {
        "id": invoice, "object": "invoice", "number": None, "collection_method": "send_invoice", "currency": "usd", "created": 1709593200,
        "due_date": 1712185200, "amount_paid": 0, "amount_remaining": total, "amount_due": total, "total": total, "status": "open",
        "customer": "cus_1", "customer_name": "Acme", "customer_email": "s@example.com", "customer_phone": None, "customer_address": None,
        "lines": {"object": "list", "has_more": False, "data": lines},
    } | more  # fmt: skip


def test_stripe_minor_units_epochs_and_yen(tmp_path: Path) -> None:
    yen = stripe("in_2", [1500], 1500, currency="jpy", status="paid", amount_paid=1500)
    void = stripe("in_3", [1], 1, status="void")
    path = document(tmp_path, {"object": "list", "data": [stripe("in_1", [1999, 1], 2000), yen, void]})
    assert outcome(run("stripe", path)) == {
        "in_1": "20.00 USD",
        "in_2": "1500 JPY",
        "in_3": "skip void in Stripe",
    }
    made = body(run("stripe", path), "in_1")
    assert (made["issueDate"], made["dueDate"], made["invoiceNumber"]) == ("2024-03-04", "2024-04-03", "in_1")


def test_stripe_taxes_discounts_and_lines_that_are_missing(tmp_path: Path) -> None:
    taxed = stripe("in_1", [1000], 972)
    taxed["lines"]["data"][0] |= {
        "discount_amounts": [{"amount": 100}],
        "taxes": [{"amount": 72, "tax_behavior": "exclusive"}],
    }
    more = stripe("in_2", [1000], 5000)
    more["lines"]["has_more"] = True
    path = document(
        tmp_path,
        "\n".join(json.dumps(one) for one in (taxed, more, stripe("in_3", [500], 600))),
        "export.ndjson",
    )
    found = outcome(run("stripe", path))
    assert found["in_1"] == "9.72 USD"
    assert "has more lines than the export holds" in found["in_2"]
    assert found["in_3"] == "total: the source says 6.00 USD, the lines give 5.00 USD"


def woo(order: int, total: str, **more: Any) -> dict[str, Any]:
    return {
        "id": order, "order_key": "wc_x", "number": str(order), "status": "completed", "currency": "USD", "date_created": "2024-03-04T23:59:00",
        "prices_include_tax": True, "total": total, "total_tax": "0.00", "customer_id": 0, "customer_note": "", "date_paid": None,
        "billing": {"first_name": "Robin", "last_name": "Reed", "phone": "0171 1234567", "country": "DE", "email": "w@example.com"},
        "line_items": [{"name": "Mug", "quantity": 3, "subtotal": "25.00", "total": "20.00", "total_tax": "3.80", "sku": "M1", "price": 6.6667}],
        "tax_lines": [{"label": "MwSt."}], "shipping_lines": [], "fee_lines": [], "coupon_lines": [], "refunds": [],
    } | more  # fmt: skip


def test_woocommerce_lines_after_discounts_and_shipping_with_tax(tmp_path: Path) -> None:
    shipping = [{"method_title": "DHL", "total": "4.12", "total_tax": "0.78"}]
    path = document(tmp_path, [woo(1, "28.70", shipping_lines=shipping), woo(2, "23.80", status="cancelled")])
    assert outcome(run("woocommerce", path)) == {"1": "28.70 USD", "2": "skip cancelled in WooCommerce"}
    made = body(run("woocommerce", path), "1")
    assert [line["name"] for line in made["items"]] == ["Mug", "DHL"]
    assert made["items"][0]["taxes"][0]["name"] == "MwSt."
    assert made["contactDetails"]["phoneNo"] == "+491711234567"


def test_woocommerce_fees_refunds_and_totals_that_differ(tmp_path: Path) -> None:
    fee = [{"name": "Gift wrap", "total": "2.00", "total_tax": "0.00"}]
    path = document(
        tmp_path,
        [woo(1, "25.80", fee_lines=fee, refunds=[{"total": "-5.00"}]), woo(2, "23.81"), woo(3, "1", line_items=[])],
    )  # fmt: skip
    found = outcome(run("woocommerce", path))
    assert found["1"] == "25.80 USD"
    assert found["2"] == "total: the source says 23.81 USD, the lines give 23.80 USD"
    assert found["3"] == "lines: the document has no lines"


def xero(
    key: str, number: str, total: float | str, lines: list[dict[str, Any]] | None, **more: Any
) -> dict[str, Any]:
    return {
        f"{key}ID": number, f"{key}Number": "QU-1", "Contact": {"ContactID": "x", "Name": "Acme"}, "Date": "/Date(1571875200000)/",
        "Status": "SENT", "LineAmountTypes": "EXCLUSIVE", "SubTotal": 1, "Total": total, "CurrencyCode": "NZD", "LineItems": lines or [],
    } | more  # fmt: skip


def test_xero_quotes_with_discounts_taxes_and_dates_as_milliseconds(tmp_path: Path) -> None:
    line = {
        "Description": "Oak\nlong text",
        "UnitAmount": 33.33,
        "Quantity": 7,
        "DiscountRate": 12.5,
        "LineAmount": 204.15,
        "TaxAmount": 30.62,
    }
    inclusive = {
        "Description": "Elm",
        "UnitAmount": 115.0,
        "Quantity": 1,
        "LineAmount": 115.0,
        "TaxAmount": 15.0,
    }
    path = document(
        tmp_path,
        {"Status": "OK", "Quotes": [
            xero("Quote", "q1", 234.77, [line]), xero("Quote", "q2", 115.0, [inclusive], LineAmountTypes="INCLUSIVE"),
            xero("Quote", "q3", 1, [inclusive], Status="DELETED"),
        ]},
    )  # fmt: skip
    assert profile_of("xero", path).id == "xero-quotes"
    assert outcome(run("xero", path)) == {
        "q1": "234.77 NZD",
        "q2": "115.00 NZD",
        "q3": "skip deleted in Xero",
    }
    made = body(run("xero", path), "q1")
    assert (made["issueDate"], made["items"][0]["name"]) == ("2019-10-24", "Oak")
    assert body(run("xero", path), "q2")["items"][0]["taxes"][0]["rate"] == 15


def test_xero_invoices_of_a_list_without_lines(tmp_path: Path) -> None:
    good = xero(
        "Invoice",
        "i2",
        "12345678901234.89",
        [{"Description": "Oak", "UnitAmount": 1, "Quantity": 1, "LineAmount": 1}],
        Type="ACCREC",
    )
    text = json.dumps(
        {"Invoices": [xero("Invoice", "i1", 5, None), good, xero("Invoice", "i3", 5, None, Type="ACCPAY")]}
    )
    path = document(tmp_path, text.replace('"12345678901234.89"', "12345678901234.89"))
    found = outcome(run("xero", path))
    assert "the answer holds no lines" in found["i1"]
    # the text of the file reaches the comparison, not a double of it
    assert found["i2"] == "total: the source says 12345678901234.89 NZD, the lines give 1.00 NZD"
    assert found["i3"] == "skip a bill, not a sale"


def qb(number: str, total: str, *lines: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "Id": number, "SyncToken": "0", "DocNumber": "1001", "TxnDate": "2024-03-04", "TxnStatus": "Pending", "CurrencyRef": {"value": "USD"},
        "CustomerRef": {"value": "3", "name": "Acme"}, "TotalAmt": total, "Line": [*lines, {"Amount": 1, "DetailType": "SubTotalLineDetail"}],
        "TxnTaxDetail": {"TotalTax": 0}, "ApplyTaxAfterDiscount": False,
    } | more  # fmt: skip


def sale(
    amount: float, qty: float | None = 1, price: float | None = None, code: str = "TAX"
) -> dict[str, Any]:
    detail: dict[str, Any] = {"ItemRef": {"name": "Oak"}, "TaxCodeRef": {"value": code}}
    detail |= {} if qty is None else {"Qty": qty, "UnitPrice": amount if price is None else price}
    return {"Id": "1", "Amount": amount, "DetailType": "SalesItemLineDetail", "SalesItemLineDetail": detail}


def test_quickbooks_through_an_elt_tool_with_taxes_of_the_document(tmp_path: Path) -> None:
    tax = {"TotalTax": 8.25, "TaxLine": [{"Amount": 8.25, "TaxLineDetail": {"TaxPercent": 8.25}}]}
    records = [
        qb("11", "188.25", sale(100), sale(80, code="NON"), TxnTaxDetail=tax),
        qb("12", "5", sale(5)),
        qb("12", "7", sale(7), SyncToken="1"),
        qb("13", "30.30", sale(30.30, qty=None)),
    ]
    path = document(
        tmp_path,
        "\n".join(json.dumps({"stream": "estimates", "data": one, "emitted_at": 1}) for one in records),
        "q.ndjson",
    )
    assert profile_of("quickbooks", path).id == "quickbooks-estimates"
    assert outcome(run("quickbooks", path)) == {"11": "188.25 USD", "12": "7.00 USD", "13": "30.30 USD"}
    rates = [line.get("taxes", [{}])[0].get("rate") for line in body(run("quickbooks", path), "11")["items"]]
    assert rates == [8.25, None]


def test_quickbooks_discounts_bundles_and_a_broken_line(tmp_path: Path) -> None:
    off = {
        "DetailType": "DiscountLineDetail",
        "Amount": 10,
        "DiscountLineDetail": {"PercentBased": True, "DiscountPercent": 10},
    }
    bundle = {"DetailType": "GroupLineDetail", "GroupLineDetail": {}}
    invoice = {"Balance": 90, "DueDate": "2024-04-01"}
    records = [
        qb("1", "90", sale(100), off, **invoice),
        qb("2", "100", sale(100), bundle, **invoice),
        qb("3", "99", sale(100), **invoice),
    ]
    path = document(
        tmp_path, "\n".join([*(json.dumps(one) for one in records), '{"Id": "4", "Line": [']), "q.ndjson"
    )
    reading = run("quickbooks-invoices", path)
    found = outcome(reading)
    assert found["1"] == "90.00 USD"
    assert found["2"] == "a line is a bundle; split it in QuickBooks"
    assert found["3"] == "total: the source says 99.00 USD, the lines give 100.00 USD"
    assert "line 4 is not JSON" in found["line 4"]
    rejects = [
        one for one in run("quickbooks-invoices", path) if isinstance(one, Reject) and one.source_id == "3"
    ]
    again = document(tmp_path, rejects[0].raw.decode().replace('"99"', '"100"'), "again.ndjson")
    assert outcome(run("quickbooks-invoices", again)) == {"3": "100.00 USD"}


# ---------------------------------------------------------------------------------------- detection


def test_an_unknown_header_says_which_profiles_were_tried_and_how_far_they_fit(tmp_path: Path) -> None:
    path = table(tmp_path, JOBBER.replace("Quote #", "No").replace("Total ($)", "Sum"))
    assert detected(path) is None
    assert unknown_header(path).startswith(
        "export.csv fits no profile; the closest are jobber (4 of 6; without Quote #, Total ($))"
    )
    assert "fits none of the profiles" in unknown_header(table(tmp_path, "a,b", name="x.csv"))
    assert fits_of(path)[0].profile == "jobber"


def test_a_missing_column_names_the_header_that_was_found(tmp_path: Path) -> None:
    path = table(tmp_path, "a,b,c")
    with pytest.raises(SourceError, match=r"lacks the columns Quote #, Client name"):
        list(run("jobber", path))


def test_unknown_profiles_and_header_lines_are_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match="did you mean jobber"):
        profile_of("jober")
    with pytest.raises(ConfigurationError, match="several exports: xero-csv, xero-quotes, xero-invoices"):
        profile_of("xero")
    with pytest.raises(SourceError, match="unknown header line"):
        parse_profile("mine", "-- nmae: x\nSELECT 1")


@pytest.mark.parametrize("name", sorted(profiles()))
def test_every_profile_says_what_to_export_and_what_is_left_out(name: str) -> None:
    profile = profiles()[name]
    assert profile.name
    assert profile.export.endswith(".") or "CSV" in profile.export
    assert profile.left_out
    assert len(profile.main.columns) >= 5
    assert len([line for line in profile.query.text.splitlines() if line and not line.startswith("--")]) <= 45


def test_a_reject_keeps_rows_whose_key_stands_above(tmp_path: Path) -> None:
    path = table(
        tmp_path, SHOPIFY,
        shopify("#1", Total="99.00", Subtotal="99.00"), {"Lineitem name": "Cup", "Lineitem quantity": "1", "Lineitem price": "5.00"},
    )  # fmt: skip
    (bad,) = run("shopify", path)
    assert isinstance(bad, Reject)
    assert b"Cup" in bad.raw and len(bad.raw.splitlines()) == 2
