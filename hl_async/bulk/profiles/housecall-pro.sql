-- name: Housecall Pro, estimates
-- export: Estimates, Export (CSV).
-- kind: estimate
-- table export: Estimate # | Customer name | Estimate status | Created date | Outcome | Open value | Won value | Lost value
-- columns export: Options count | Employees | Scheduled date | Estimate lead source | Estimate tags | Location name
-- key: Estimate #
-- set: formula_text = true
-- set: thousands = ","
-- set: currency_sign = true
-- left out: line items and e-mail addresses (not in the export); the currency: --set currency=USD
SELECT
  "Estimate #" AS source_id, _line AS place, "Estimate #" AS number, 'Estimate ' || "Estimate #" AS title,
  concat_ws(', ', "Estimate status", Outcome) AS status, "Created date" AS issue_date,
  "Customer name" AS customer_name, "Estimate lead source" AS custom_lead_source, "Estimate tags" AS custom_tags,
  "Options count" AS custom_options, Employees AS custom_employees,
  'Estimate ' || "Estimate #" AS line_name,
  CASE lower(Outcome) WHEN 'open' THEN "Open value" WHEN 'won' THEN "Won value" WHEN 'lost' THEN "Lost value" END AS line_amount,
  CASE WHEN Outcome IS NULL OR lower(Outcome) NOT IN ('open', 'won', 'lost')
       THEN 'Outcome ' || coalesce('''' || Outcome || '''', 'is empty') || ': which of Open, Won and Lost value counts is unknown' END AS reject
FROM export
WHERE NOT ("Estimate #" IS NULL AND "Customer name" IS NULL)
ORDER BY _line
