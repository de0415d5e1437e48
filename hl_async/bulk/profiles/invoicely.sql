-- name: Invoicely, list
-- export: Invoices, Export (CSV).
-- kind: invoice
-- seen: the import tests of Invoice Ninja hold one such file
-- table export: Date | Due | Details | Client | Status | Total
-- key: Details
-- set: thousands = ","
-- set: currency_sign = true
-- left out: line items, taxes and addresses (the list has none; each document becomes one line); the currency: --set currency=USD
SELECT
  Details AS source_id, _line AS place, Details AS number, Status AS status, Date AS issue_date, Due AS due_date,
  Client AS customer_name, Details AS line_name, Total AS line_amount, Total AS total,
  'the list has no line items: the document has one line with its total' AS note
FROM export
WHERE NOT (Details IS NULL AND Client IS NULL)  -- a list may end with a row of sums
ORDER BY _line
