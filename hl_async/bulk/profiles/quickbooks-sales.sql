-- name: QuickBooks Online, Sales by Customer Detail
-- export: Reports, Sales by Customer Detail, all dates, Export to CSV or Excel.
-- kind: invoice
-- seen: public importers of this report hold its header in their tests
-- table export: Date | Transaction Type | Num | Product/Service | Memo/Description | Qty | Sales Price | Amount
-- columns export: column1 | Customer | Balance
-- set: thousands = ","
-- set: currency_sign = true
-- set: date_format = "%m/%d/%Y"
-- left out: sales tax, discounts after tax, due dates and e-mail addresses (not in the report); credit memos and refunds are skipped; the currency: --set currency=USD
WITH named AS (  -- a row with a name alone begins a customer, "Total for …" ends them
  SELECT *, coalesce(Customer, last_value(CASE WHEN Date IS NULL AND column1 NOT ILIKE 'total%' THEN column1 END IGNORE NULLS)
    OVER (ORDER BY _line)) AS who FROM export
)
SELECT
  concat_ws(' ', "Transaction Type", coalesce(Num, Date || ' ' || who)) AS source_id, _line AS place, Num AS number,
  Date AS issue_date, who AS customer_name,
  CASE WHEN "Transaction Type" NOT IN ('Invoice', 'Sales Receipt') THEN 'a ' || lower("Transaction Type") || ', not a sale' END AS skip,
  coalesce("Product/Service", "Memo/Description", 'Item') AS line_name,
  CASE WHEN "Product/Service" IS NOT NULL THEN "Memo/Description" END AS line_description,
  Qty AS line_qty, "Sales Price" AS line_amount, Amount AS line_total,
  'the report has no sales tax: totals are before tax' AS note
FROM named
WHERE "Transaction Type" IS NOT NULL
ORDER BY _line
