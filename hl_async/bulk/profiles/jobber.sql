-- name: Jobber, quotes
-- export: Reports, Quotes report, Export (CSV).
-- kind: estimate
-- table export: Quote # | Client name | Title | Status | Created date | Total ($)
-- columns export: Client email | Client phone | Property | Sent date | Approved date | Converted date | Salesperson
-- key: Quote #
-- set: thousands = ","
-- set: currency_sign = true
-- set: cut_names = true
-- left out: line items (the report has none; the title becomes one line); the currency: --set currency=USD
SELECT
  "Quote #" AS source_id, _line AS place, "Quote #" AS number, Title AS title, Status AS status,
  "Created date" AS issue_date, Salesperson AS custom_salesperson, "Approved date" AS custom_approved,
  "Converted date" AS custom_converted, "Sent date" AS custom_sent,
  "Client name" AS customer_name, "Client email" AS customer_email, "Client phone" AS customer_phone,
  Property AS customer_line1,
  coalesce(Title, 'Quote ' || "Quote #") AS line_name, "Total ($)" AS line_amount, "Total ($)" AS total
FROM export
WHERE NOT ("Quote #" IS NULL AND "Client name" IS NULL)  -- the report ends with a row of sums
ORDER BY _line
