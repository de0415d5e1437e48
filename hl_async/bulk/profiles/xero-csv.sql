-- name: Xero, sales invoices as CSV
-- export: Business, Invoices, Export (CSV).
-- kind: invoice
-- seen: public programs that read or write this export hold its header
-- table export: ContactName | InvoiceNumber | InvoiceDate | DueDate | Total | TaxTotal | Description | Quantity | UnitAmount | LineAmount | TaxType | TaxAmount | Currency
-- columns export: EmailAddress | POAddressLine1 | POAddressLine2 | POCity | PORegion | POPostalCode | Reference | InvoiceAmountPaid | InvoiceAmountDue | InventoryItemCode | Discount | Type | Status
-- key: InvoiceNumber
-- set: thousands = ","
-- left out: tracking categories, accounts, payments one by one; credit notes, bills, voided and deleted documents are skipped; dates are written as the organisation's country does: --set date_format=%d/%m/%Y
WITH sums AS (  -- line amounts contain the tax where they make the total without it
  SELECT InvoiceNumber AS id, coalesce(sum(number_of(LineAmount)) = any_value(number_of(Total)) AND any_value(number_of(TaxTotal)) <> 0, false) AS inside
  FROM export GROUP BY 1
)
SELECT
  InvoiceNumber AS source_id, _line AS place, InvoiceNumber AS number, Currency AS currency, InvoiceDate AS issue_date, DueDate AS due_date,
  Status AS status, Reference AS po_number,
  CASE WHEN lower(Type) NOT IN ('sales invoice', 'accrec') THEN 'a ' || lower(Type) || ', not a sale'
       WHEN lower(Status) IN ('voided', 'deleted') THEN lower(Status) || ' in Xero' END AS skip,
  ContactName AS customer_name, EmailAddress AS customer_email, POAddressLine1 AS customer_line1, POAddressLine2 AS customer_line2,
  POCity AS customer_city, PORegion AS customer_state, POPostalCode AS customer_postal_code,
  -- a line without a price is a note
  CASE WHEN UnitAmount IS NOT NULL OR LineAmount IS NOT NULL THEN coalesce(split_part(Description, chr(10), 1), InventoryItemCode, 'Item') END AS line_name,
  CASE WHEN contains(Description, chr(10)) THEN Description END AS line_description,
  Quantity AS line_qty, UnitAmount AS line_amount, Discount AS line_discount_value, LineAmount AS line_total,
  TaxType AS line_tax_name, TaxAmount AS line_tax_amount, inside AS line_tax_inclusive,
  Total AS total, InvoiceAmountPaid AS amount_paid, InvoiceAmountDue AS amount_due
FROM export JOIN sums ON sums.id IS NOT DISTINCT FROM InvoiceNumber
ORDER BY _line
