-- name: FreshBooks, invoices
-- export: Reports, Invoice Details, Export for Excel (CSV). Clients, Export adds e-mail addresses: name it clients=FILE.
-- kind: invoice
-- table export: Client Name | Invoice # | Date Issued | Item Name | Rate | Quantity | Line Total | Currency
-- columns export: Invoice Status | Date Paid | Item Description | Discount Percentage | Line Subtotal | Tax 1 Type | Tax 1 Amount | Tax 2 Type | Tax 2 Amount
-- optional table clients: Organization
-- columns clients: Email | Phone | Country
-- key: Invoice #
-- set: thousands = ","
-- left out: payments have no amount in this export; due dates are not in it
WITH people AS (
  SELECT Organization, any_value(Email) AS email, any_value(Phone) AS phone, any_value(Country) AS country
  FROM clients GROUP BY Organization HAVING count(*) = 1  -- two clients of one name cannot be distinguished
)
SELECT
  "Invoice #" AS source_id, _line AS place, "Invoice #" AS number, "Currency" AS currency,
  "Date Issued" AS issue_date, "Invoice Status" AS status,
  "Client Name" AS customer_name, people.email AS customer_email, people.phone AS customer_phone,
  "Item Name" AS line_name, "Item Description" AS line_description, Quantity AS line_qty, Rate AS line_amount,
  "Discount Percentage" AS line_discount_value, "Line Subtotal" AS line_total,
  "Tax 1 Type" AS line_tax_name, "Tax 1 Amount" AS line_tax_amount,
  "Tax 2 Type" AS line_tax2_name, "Tax 2 Amount" AS line_tax2_amount,
  sum(number_of("Line Total")) OVER (PARTITION BY "Invoice #") AS total
FROM export LEFT JOIN people ON people.Organization = "Client Name"
ORDER BY _line
