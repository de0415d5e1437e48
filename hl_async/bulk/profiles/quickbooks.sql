-- variant estimates: Document=Estimate | kind=estimate | Ends=ExpirationDate | ends=expiry_date | Proof=TxnStatus
-- variant invoices: Document=Invoice | kind=invoice | Ends=DueDate | ends=due_date | Proof=Balance
-- name: QuickBooks Online, {kind}s
-- export: The API's query (select * from {Document}), or an ELT tool's stream of it, as JSON or one record per line.
-- kind: {kind}
-- json export: Id | DocNumber | TxnDate | CustomerRef | Line | TotalAmt | {Proof}
-- records: data | QueryResponse.{Document} | {Document}
-- key: Id
-- left out: the currency where the company has one only (--set currency=USD); attachments, classes, text-only lines; bundles are rejected
WITH docs AS (  -- an ELT tool repeats a record when it changes
  SELECT * FROM export
  QUALIFY row_number() OVER (PARTITION BY record->>'$.Id' ORDER BY (record->>'$.SyncToken')::BIGINT DESC NULLS LAST, _line DESC) = 1
), parts AS (
  SELECT *, (record->'$.TxnTaxDetail.TaxLine[*]')::JSON[] AS tax_lines,
    [l for l in (record->'$.Line[*]')::JSON[] if l->>'$.DetailType' = 'DiscountLineDetail'][1] AS off,
    list_sum([number_of(l->>'$.Amount') for l in (record->'$.Line[*]')::JSON[] if l->>'$.DetailType' = 'SalesItemLineDetail']) AS sold FROM docs
), inner_taxes AS (  -- amounts may be without the tax although the prices contain it: the sums say which
  SELECT *, coalesce(record->>'$.GlobalTaxCalculation' = 'TaxInclusive', false)
    AND coalesce(sold - coalesce(number_of(off->>'$.Amount'), 0) + number_of(record->>'$.TxnTaxDetail.TotalTax') <> number_of(record->>'$.TotalAmt'), true)
    AS inside FROM parts
)
SELECT
  record->>'$.Id' AS source_id, 'record ' || _line AS place, record AS raw, record->>'$.DocNumber' AS number,
  record->>'$.CurrencyRef.value' AS currency, record->>'$.TxnDate' AS issue_date,
  record->>'$.{Ends}' AS {ends}, record->>'$.TxnStatus' AS status, record->>'$.CustomerMemo.value' AS terms_notes,
  CASE WHEN len([l for l in (record->'$.Line[*]')::JSON[] if l->>'$.DetailType' = 'GroupLineDetail']) > 0 THEN 'a line is a bundle; split it in QuickBooks' END AS reject,
  record->>'$.CustomerRef.value' AS customer_external_id, record->>'$.CustomerRef.name' AS customer_name,
  record->>'$.BillEmail.Address' AS customer_email, record->>'$.BillAddr.Line1' AS customer_line1,
  nullif(concat_ws(', ', record->>'$.BillAddr.Line2', record->>'$.BillAddr.Line3', record->>'$.BillAddr.Line4', record->>'$.BillAddr.Line5'), '') AS customer_line2,
  record->>'$.BillAddr.City' AS customer_city, record->>'$.BillAddr.CountrySubDivisionCode' AS customer_state,
  record->>'$.BillAddr.PostalCode' AS customer_postal_code,
  [{'name': coalesce(l->>'$.SalesItemLineDetail.ItemRef.name', l->>'$.Description', 'Item'), 'description': l->>'$.Description',
    'qty': coalesce(l->>'$.SalesItemLineDetail.Qty', '1'), 'amount': l->>'$.SalesItemLineDetail.UnitPrice', 'total': l->>'$.Amount',
    'taxable': coalesce(l->>'$.SalesItemLineDetail.TaxCodeRef.value', 'TAX') <> 'NON',
    'tax_inclusive': inside}
   for l in (record->'$.Line[*]')::JSON[] if l->>'$.DetailType' = 'SalesItemLineDetail'] AS lines,
  coalesce(off->>'$.DiscountLineDetail.DiscountPercent', off->>'$.Amount') AS discount_value,
  CASE WHEN off->>'$.DiscountLineDetail.DiscountPercent' IS NULL THEN 'fixed' ELSE 'percentage' END AS discount_type,
  coalesce(record->>'$.ApplyTaxAfterDiscount' = 'false', false) AS discount_after_tax,
  'Tax' AS tax_name, nullif(record->>'$.TxnTaxDetail.TotalTax', '0') AS tax_amount,
  CASE WHEN len(tax_lines) = 1 THEN tax_lines[1]->>'$.TaxLineDetail.TaxPercent' END AS tax_rate,
  record->>'$.TotalAmt' AS total, record->>'$.Balance' AS amount_due
FROM inner_taxes
