-- name: QuickBooks Online, Sales by Customer Detail
-- export: Reports, Sales by Customer Detail, all dates, Export to CSV or Excel. Invoice List adds taxes, totals and due dates: name it list=FILE.
-- kind: invoice
-- seen: public importers of this report hold its header, of the old and the new view, in their tests
-- table export: Date | Transaction Type | Num | Product/Service | Memo/Description | Qty | Sales Price | Amount
-- columns export: column1 | Customer | Balance
-- also export: Transaction date = Date | Product/Service full name = Product/Service | Description = Memo/Description | Quantity = Qty | Customer full name = Customer
-- optional table list: Transaction Type | Num | Amount
-- columns list: Due Date | Open Balance
-- set: thousands = ","
-- set: currency_sign = true
-- set: date_format = "%m/%d/%Y"
-- left out: sales tax and due dates unless the list is given, e-mail addresses; credit memos and refunds are skipped; the currency: --set currency=USD
WITH named AS (  -- a row with a name alone begins a customer, "Total for …" ends them
  SELECT *, coalesce(column1, Customer) AS head FROM export
), rows AS (
  SELECT *, CASE WHEN "Transaction Type" IS NOT NULL AND Customer IS NOT NULL THEN Customer ELSE
    last_value(CASE WHEN Date IS NULL AND NOT regexp_matches(head, '^(?i)total( for .*)?$') THEN head END IGNORE NULLS) OVER (ORDER BY _line) END AS who,
    sum(number_of(Amount)) OVER (PARTITION BY "Transaction Type", Num) AS lines_sum FROM named
), listed AS (  -- two documents of one number cannot be distinguished
  SELECT "Transaction Type" AS listed_type, Num AS listed_num, any_value(Amount) AS total, any_value("Due Date") AS due, any_value("Open Balance") AS open
  FROM list WHERE Num IS NOT NULL GROUP BY 1, 2 HAVING count(*) = 1
)
SELECT
  concat_ws(' ', "Transaction Type", coalesce(Num, Date || ' ' || who)) AS source_id, _line AS place, Num AS number,
  Date AS issue_date, listed.due AS due_date, who AS customer_name,
  CASE WHEN "Transaction Type" NOT IN ('Invoice', 'Sales Receipt') THEN 'a ' || lower("Transaction Type") || ', not a sale' END AS skip,
  coalesce("Product/Service", "Memo/Description", 'Item') AS line_name,
  CASE WHEN "Product/Service" IS NOT NULL THEN "Memo/Description" END AS line_description,
  Qty AS line_qty, "Sales Price" AS line_amount, Amount AS line_total,
  'Sales tax' AS tax_name, nullif(number_of(listed.total) - lines_sum, 0) AS tax_amount, listed.total AS total, listed.open AS amount_due,
  CASE WHEN listed_num IS NULL THEN 'the report has no sales tax: totals are before tax; the Invoice List has them (list=FILE)' END AS note
FROM rows LEFT JOIN listed ON listed_type = "Transaction Type" AND listed_num = Num
WHERE "Transaction Type" IS NOT NULL
ORDER BY _line
