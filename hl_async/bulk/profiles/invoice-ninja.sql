-- variant quotes: Document=Quote | kind=estimate | things=quotes | ends=expiry_date
-- variant invoices: Document=Invoice | kind=invoice | things=invoices | ends=due_date
-- name: Invoice Ninja, {things}
-- export: Reports, {Document}s report with details, Export CSV.
-- kind: {kind}
-- table export: Client | {Document} Number | Amount | {Document} Date | Item Product | Item Cost | Item Quantity
-- columns export: Email | Paid | PO Number | Status | Due Date | Discount | Public Notes | Private Notes | invoice surch 1 | invoice surch 2 | Item Notes | Item Tax Name#1 | Item Tax Rate#1 | Item Tax Name#2 | Item Tax Rate#2
-- key: {Document} Number
-- set: thousands = ","
-- set: currency_sign = true
-- left out: private notes; the currency is not in the report: --set currency=USD
SELECT
  "{Document} Number" AS source_id, _line AS place, "{Document} Number" AS number, "{Document} Date" AS issue_date,
  "Due Date" AS {ends}, "PO Number" AS po_number, Status AS status, "Public Notes" AS terms_notes,
  Client AS customer_name, Email AS customer_email,
  coalesce("Item Product", "Item Notes") AS line_name, "Item Notes" AS line_description,
  "Item Quantity" AS line_qty, "Item Cost" AS line_amount,
  "Item Tax Name#1" AS line_tax_name, "Item Tax Rate#1" AS line_tax_rate,
  "Item Tax Name#2" AS line_tax2_name, "Item Tax Rate#2" AS line_tax2_rate,
  Discount AS discount_value,
  CASE WHEN ends_with(trim(Discount), '%') THEN 'percentage' ELSE 'fixed' END AS discount_type,
  [{'name': 'Surcharge 1', 'amount': "invoice surch 1"}, {'name': 'Surcharge 2', 'amount': "invoice surch 2"}] AS charges,
  Amount AS total, Paid AS amount_paid
FROM export
WHERE NOT ("{Document} Number" IS NULL AND Client IS NULL)
ORDER BY _line
