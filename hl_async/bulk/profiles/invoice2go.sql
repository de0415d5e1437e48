-- name: Invoice2go, documents
-- export: Settings, Export data, Documents (CSV).
-- kind: invoice
-- seen: the import tests of Invoice Ninja hold one such file
-- table export: Id | DocumentDate | DocumentNumber | Name | EmailRecipient | Items | Taxes | CurrencyCode | TotalAmount | SubtotalAmount
-- columns export: StyleName | Comment | DocumentStatus | DocumentRecipientAddress | ShipAmount | DatePaid | DiscountType | DiscountAmount | Payments | BalanceDueAmount | AmountPaidAmount | WithholdingTaxAmount | TotalTaxAmount
-- nested export: Items | Taxes | applied_taxes | rates
-- key: Id
-- left out: withholding tax (a document with one is rejected), payments one by one, shipping addresses; quotes: --as estimate
WITH docs AS (
  SELECT *, (Items::JSON->'$[*]')::JSON[] AS rows, (Taxes::JSON->'$[*]')::JSON[] AS known,
    coalesce(number_of(ShipAmount), 0) AS shipped FROM export
)
SELECT
  Id AS source_id, _line AS place, DocumentNumber AS number, Comment AS terms_notes, CurrencyCode AS currency,
  concat_ws(', ', StyleName, DocumentStatus) AS status, DocumentDate AS issue_date,
  Name AS customer_name, EmailRecipient AS customer_email, DocumentRecipientAddress AS customer_line1,
  CASE WHEN coalesce(number_of(WithholdingTaxAmount), 0) <> 0
       THEN 'a tax of ' || WithholdingTaxAmount || ' is withheld, which the API has no field for' END AS reject,
  [{'name': coalesce(nullif(i->>'$.description', ''), nullif(i->>'$.code', ''), 'Item'), 'qty': i->>'$.qty', 'amount': i->>'$.unit_price',
    'discount_value': CASE WHEN i->>'$.discount_type' = 'percentage' THEN i->>'$.discount_percentage' ELSE i->>'$.discount_amount' END,
    'discount_type': CASE WHEN i->>'$.discount_type' = 'percentage' THEN 'percentage' ELSE 'fixed' END,
    'tax_inclusive': coalesce(len([k for k in known if k->>'$.inclusive' = 'true' AND list_contains((i->'$.applied_taxes[*].tax_id')::VARCHAR[], '"' || (k->>'$.id') || '"')]) > 0, false),
    'taxes': [{'name': coalesce([k->>'$.name' for k in known if k->>'$.id' = t->>'$.tax_id'][1], 'Tax'), 'rate': t->>'$.rate'}
              for t in (i->'$.applied_taxes[*]')::JSON[]]}
   for i in rows] AS lines,
  DiscountAmount AS discount_value, 'fixed' AS discount_type,
  'Shipping' AS charge_name, CASE WHEN shipped <> 0 THEN ShipAmount END AS charge_amount,
  TotalAmount AS total, AmountPaidAmount AS amount_paid, BalanceDueAmount AS amount_due
FROM docs
ORDER BY _line
