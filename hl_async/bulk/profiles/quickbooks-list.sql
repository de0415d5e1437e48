-- name: QuickBooks Online, Invoice List
-- export: Reports, Invoice List, all dates, Export to CSV or Excel.
-- kind: invoice
-- seen: public importers of this report hold its header, of the old and the new view, in their tests
-- table export: Date | Transaction Type | Num | Due Date | Amount | Open Balance
-- columns export: Name | Customer | Memo/Description
-- also export: Transaction date = Date | Customer full name = Customer | Description = Memo/Description
-- set: thousands = ","
-- set: currency_sign = true
-- set: date_format = "%m/%d/%Y"
-- left out: line items and taxes (the list has none; each document becomes one line); credit memos are skipped; the currency: --set currency=USD
WITH rows AS (
  SELECT *, coalesce(Name, Customer) AS who FROM export WHERE "Transaction Type" IS NOT NULL  -- the others are headings and sums
)
SELECT
  concat_ws(' ', "Transaction Type", coalesce(Num, Date || ' ' || who)) AS source_id, _line AS place, Num AS number,
  Date AS issue_date, "Due Date" AS due_date, who AS customer_name,
  CASE WHEN "Transaction Type" NOT IN ('Invoice', 'Sales Receipt') THEN 'a ' || lower("Transaction Type") || ', not a sale' END AS skip,
  coalesce("Memo/Description", "Transaction Type" || ' ' || Num, 'Item') AS line_name, Amount AS line_amount, Amount AS total, "Open Balance" AS amount_due,
  CASE WHEN count(*) OVER (PARTITION BY "Transaction Type", Num) > 1 THEN 'two documents of the list have this number' END AS reject,
  'the list has no line items: the document has one line with its total' AS note
FROM rows
ORDER BY _line
