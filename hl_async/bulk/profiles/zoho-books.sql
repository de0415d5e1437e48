-- name: Zoho Books, invoices
-- export: Sales, Invoices, Export Invoices (CSV). Contacts, Export adds e-mail addresses: name it contacts=FILE.
-- kind: invoice
-- table export: Invoice Date | Invoice ID | Invoice Number | Customer Name | Currency Code | Item Name | Quantity | Item Price | Total | Balance
-- columns export: Invoice Status | Company Name | Customer ID | Due Date | PurchaseOrder | Discount Type | Is Discount Before Tax | Entity Discount Percent | Entity Discount Amount | Item Desc | Discount | Discount Amount | Item Total | SubTotal | Shipping Charge | Adjustment | Adjustment Description | Round Off | Notes | Terms & Conditions | Subject | Item Tax | Item Tax % | Item Tax Amount | Is Inclusive Tax | Billing Address | Billing City | Billing State | Billing Country | Billing Code | Billing Phone | Last Payment Date
-- optional table contacts: Customer ID
-- columns contacts: EmailID
-- key: Invoice ID
-- set: thousands = ","
-- left out: late fees, write-offs, exchange rates; void invoices are skipped
WITH people AS (
  SELECT "Customer ID" AS id, any_value(EmailID) AS email FROM contacts GROUP BY 1
)
SELECT
  "Invoice ID" AS source_id, _line AS place, "Invoice Number" AS number, Subject AS title, "Currency Code" AS currency,
  "Invoice Date" AS issue_date, "Due Date" AS due_date, PurchaseOrder AS po_number, "Invoice Status" AS status,
  nullif(concat_ws(chr(10), Notes, "Terms & Conditions"), '') AS terms_notes,
  CASE WHEN lower("Invoice Status") = 'void' THEN 'void in Zoho Books' END AS skip,
  "Customer ID" AS customer_external_id, "Customer Name" AS customer_name, "Company Name" AS customer_company,
  people.email AS customer_email, "Billing Phone" AS customer_phone, "Billing Address" AS customer_line1,
  "Billing City" AS customer_city, "Billing State" AS customer_state, "Billing Code" AS customer_postal_code,
  "Billing Country" AS customer_country,
  "Item Name" AS line_name, "Item Desc" AS line_description, Quantity AS line_qty, "Item Price" AS line_amount,
  -- a discount of the document stands on its lines too, as their share of it
  CASE WHEN lower("Discount Type") = 'item_level' THEN "Discount Amount" END AS line_discount_value,
  CASE WHEN lower("Discount Type") = 'item_level' THEN 'fixed' END AS line_discount_type,
  "Item Tax" AS line_tax_name, "Item Tax %" AS line_tax_rate, "Item Tax Amount" AS line_tax_amount,
  coalesce("Is Inclusive Tax", 'false') AS line_tax_inclusive,
  CASE WHEN lower("Discount Type") = 'item_level' THEN NULL
       WHEN coalesce(number_of(rtrim("Entity Discount Percent", '% ')), 0) <> 0 THEN "Entity Discount Percent"
       ELSE "Entity Discount Amount" END AS discount_value,
  CASE WHEN coalesce(number_of(rtrim("Entity Discount Percent", '% ')), 0) <> 0 THEN 'percentage' ELSE 'fixed' END AS discount_type,
  CASE WHEN lower("Is Discount Before Tax") = 'false' THEN 'true' ELSE 'false' END AS discount_after_tax,
  [{'name': 'Shipping', 'amount': "Shipping Charge"},
   {'name': coalesce("Adjustment Description", 'Adjustment'), 'amount': Adjustment},
   {'name': 'Round Off', 'amount': "Round Off"}] AS charges,
  Total AS total, Balance AS amount_due
FROM export LEFT JOIN people ON people.id = "Customer ID"
ORDER BY _line
