-- variant quotes: Document=Quote | kind=estimate | things=quotes | Ends=ExpiryDate | ends=expiry_date | how=GET /Quotes
-- variant invoices: Document=Invoice | kind=invoice | things=invoices | Ends=DueDate | ends=due_date | how=GET /Invoices?page=1 and on; without a page the lines are missing
-- name: Xero, {things}
-- export: The Accounting API's {Document}s ({how}), as JSON.
-- kind: {kind}
-- json export: {Document}ID | Contact | LineAmountTypes | SubTotal | Total | CurrencyCode
-- records: {Document}s
-- key: {Document}ID
-- set: cut_names = true
-- left out: tracking categories, branding, phone numbers; voided and deleted documents are skipped
SELECT
  record->>'$.{Document}ID' AS source_id, 'record ' || _line AS place, record AS raw, record->>'$.{Document}Number' AS number,
  record->>'$.CurrencyCode' AS currency, record->>'$.Status' AS status, record->>'$.Reference' AS po_number,
  record->>'$.Title' AS title, CASE WHEN length(record->>'$.Title') > 40 THEN record->>'$.Title' END AS custom_title, nullif(concat_ws(chr(10), record->>'$.Summary', record->>'$.Terms'), '') AS terms_notes,
  coalesce(record->>'$.DateString', epoch_ms(regexp_extract(record->>'$.Date', '-?[0-9]+')::BIGINT)::DATE::VARCHAR) AS issue_date,
  coalesce(record->>'$.{Ends}String', epoch_ms(nullif(regexp_extract(record->>'$.{Ends}', '-?[0-9]+'), '')::BIGINT)::DATE::VARCHAR) AS {ends},
  CASE WHEN upper(record->>'$.Status') IN ('VOIDED', 'DELETED') THEN lower(record->>'$.Status') || ' in Xero'
       WHEN record->>'$.Type' = 'ACCPAY' THEN 'a bill, not a sale' END AS skip,
  CASE WHEN coalesce(json_array_length(record->'$.LineItems'), 0) = 0
       THEN 'the answer holds no lines; list with page=1, or fetch each document by its id' END AS reject,
  record->>'$.Contact.ContactID' AS customer_external_id, record->>'$.Contact.Name' AS customer_name,
  record->>'$.Contact.EmailAddress' AS customer_email,
  [{'name': split_part(coalesce(nullif(l->>'$.Description', ''), l->>'$.ItemCode', 'Item'), chr(10), 1),
    'description': CASE WHEN contains(l->>'$.Description', chr(10)) THEN l->>'$.Description' END,
    'qty': l->>'$.Quantity', 'amount': l->>'$.UnitAmount', 'discount_value': l->>'$.DiscountRate', 'total': l->>'$.LineAmount',
    'tax_name': l->>'$.TaxType',
    'tax_amount': CASE WHEN upper(record->>'$.LineAmountTypes') = 'NOTAX' THEN NULL ELSE l->>'$.TaxAmount' END,
    'tax_inclusive': coalesce(upper(record->>'$.LineAmountTypes') = 'INCLUSIVE', false)}
   for l in (record->'$.LineItems[*]')::JSON[] if l->>'$.UnitAmount' IS NOT NULL OR l->>'$.LineAmount' IS NOT NULL] AS lines,
  [{'amount': p->>'$.Amount', 'date': epoch_ms(nullif(regexp_extract(p->>'$.Date', '-?[0-9]+'), '')::BIGINT)::DATE::VARCHAR, 'reference': p->>'$.Reference'}
   for p in (record->'$.Payments[*]')::JSON[]] AS payments,
  record->>'$.Total' AS total, record->>'$.AmountPaid' AS amount_paid, record->>'$.AmountDue' AS amount_due
FROM export
