-- variant quotations: things=quotations | doctype=Quotation | kind=estimate | Party=party_name | date=transaction_date | Ends=valid_till | ends=expiry_date | Proof=quotation_to
-- variant invoices: things=sales invoices | doctype=Sales Invoice | kind=invoice | Party=customer | date=posting_date | Ends=due_date | ends=due_date | Proof=posting_date
-- name: ERPNext, {things}
-- export: Each document of the REST API (GET /api/resource/{doctype}/NAME; the list lacks the items), as JSON or one record per line.
-- kind: {kind}
-- seen: the doctypes of the public erpnext repository name these fields
-- json export: {Party} | currency | grand_total | items | {date} | {Proof}
-- records: data | message
-- key: name
-- left out: margins and exchange rates (prices are in the document's currency), rounding to whole amounts, addresses; cancelled documents and returns are skipped
WITH docs AS (
  SELECT *, (record->'$.taxes[*]')::JSON[] AS taxes, (record->>'$.total')::DECIMAL(18, 6) AS gross,
    (record->>'$.net_total')::DECIMAL(18, 6) AS net, (record->>'$.grand_total')::DECIMAL(18, 6) AS grand FROM export
), parts AS (
  SELECT *, [t for t in taxes if coalesce(t->>'$.charge_type', '') <> 'Actual'] AS rated,
    coalesce(len([t for t in taxes if t->>'$.included_in_print_rate' IN ('1', 'true')]) > 0, false) AS inside FROM docs
)
SELECT
  coalesce(record->>'$.name', 'record ' || _line) AS source_id, 'record ' || _line AS place, record AS raw, record->>'$.name' AS number,
  record->>'$.currency' AS currency, record->>'$.status' AS status, record->>'$.{date}' AS issue_date, record->>'$.{Ends}' AS {ends},
  record->>'$.terms' AS terms_notes, record->>'$.po_no' AS po_number,
  CASE WHEN record->>'$.docstatus' = '2' THEN 'cancelled in ERPNext' WHEN record->>'$.is_return' = '1' THEN 'a return, not a sale' END AS skip,
  record->>'$.{Party}' AS customer_external_id, coalesce(record->>'$.customer_name', record->>'$.{Party}') AS customer_name,
  record->>'$.contact_email' AS customer_email, record->>'$.contact_mobile' AS customer_phone,
  [{'name': coalesce(i->>'$.item_name', i->>'$.item_code', 'Item'), 'description': nullif(i->>'$.description', i->>'$.item_name'),
    'qty': i->>'$.qty', 'amount': i->>'$.rate', 'total': i->>'$.amount', 'tax_inclusive': inside}
   for i in (record->'$.items[*]')::JSON[]] AS lines,
  -- taxes follow the discount: what it took off is the difference of two sums of the document
  CASE WHEN inside THEN nullif(gross - grand, 0) ELSE nullif(gross - net, 0) END AS discount_value, 'fixed' AS discount_type,
  [{'name': coalesce(t->>'$.description', 'Tax'), 'rate': CASE WHEN t->>'$.charge_type' = 'On Net Total' AND NOT inside THEN t->>'$.rate' END,
    'amount': coalesce(t->>'$.tax_amount_after_discount_amount', t->>'$.tax_amount')} for t in rated] AS taxes,
  [{'name': coalesce(t->>'$.description', 'Charge'), 'amount': t->>'$.tax_amount'} for t in taxes if t->>'$.charge_type' = 'Actual'] AS charges,
  [{'value': p->>'$.invoice_portion', 'due': p->>'$.due_date'} for p in (record->'$.payment_schedule[*]')::JSON[]] AS schedule,
  record->>'$.grand_total' AS total, record->>'$.paid_amount' AS amount_paid, record->>'$.outstanding_amount' AS amount_due
FROM parts
