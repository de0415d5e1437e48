-- name: Wave, invoices from the accounting transactions
-- export: Reports, Account Transactions, Export CSV.
-- kind: invoice
-- table export: Transaction Date | Account Name | Debit Amount (Two Column Approach) | Credit Amount (Two Column Approach) | Customer | Invoice Number | Account Group | Account Type
-- columns export: Transaction ID | Transaction Description | Transaction Line Description | Amount (One column) | Notes / Memo | Amount Before Sales Tax | Sales Tax Amount | Sales Tax Name
-- key: Invoice Number
-- set: thousands = ","
-- set: currency_sign = true
-- left out: quantities (every line has one); due dates; bills and other bookings; the currency: --set currency=USD
WITH rows AS (
  SELECT *, "Account Group" = 'Income' AS is_line, "Account Type" ILIKE '%receivable%' AS is_receivable,
    "Account Type" ILIKE '%tax%' AS is_tax,
    number_of("Debit Amount (Two Column Approach)") AS debit, number_of("Credit Amount (Two Column Approach)") AS credit
  FROM export WHERE "Invoice Number" IS NOT NULL
), sums AS (
  SELECT "Invoice Number" AS id, sum(debit) FILTER (WHERE is_receivable) AS total, sum(credit) FILTER (WHERE is_tax) AS tax,
    sum(credit) FILTER (WHERE is_receivable) AS paid, min("Transaction Date") FILTER (WHERE is_line) AS issued,
    bool_or(is_line AND "Sales Tax Name" IS NOT NULL) AS names_taxes, any_value("Sales Tax Name") AS tax_name
  FROM rows GROUP BY 1
)
SELECT
  "Invoice Number" AS source_id, _line AS place, "Invoice Number" AS number, issued AS issue_date, Customer AS customer_name,
  CASE WHEN is_line THEN coalesce("Transaction Line Description", "Account Name") END AS line_name,
  CASE WHEN is_line THEN coalesce("Amount Before Sales Tax", "Credit Amount (Two Column Approach)") END AS line_amount,
  NOT names_taxes OR "Sales Tax Name" IS NOT NULL AS line_taxable,
  sums.tax_name AS tax_name, sums.tax AS tax_amount, sums.total AS total, sums.paid AS amount_paid,
  CASE WHEN is_receivable AND credit > 0 THEN credit END AS payment_amount, "Transaction Date" AS payment_date,
  CASE WHEN sums.total IS NULL THEN 'no receivable row states the sum of this invoice' END AS reject
FROM rows JOIN sums ON sums.id = "Invoice Number"
ORDER BY _line
