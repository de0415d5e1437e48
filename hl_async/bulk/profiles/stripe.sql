-- name: Stripe, invoices
-- export: The API's list of invoices (GET /v1/invoices, every page), as JSON or one invoice per line.
-- kind: invoice
-- json export: amount_remaining | amount_paid | collection_method | currency | lines
-- records: data
-- key: id
-- set: minor_units = true
-- left out: credit notes, balances of the customer; void invoices are skipped
SELECT
  record->>'$.id' AS source_id, 'record ' || _line AS place, record AS raw, coalesce(record->>'$.number', record->>'$.id') AS number,
  upper(record->>'$.currency') AS currency, record->>'$.description' AS terms_notes, record->>'$.status' AS status,
  epoch_ms(1000 * (record->>'$.created')::BIGINT)::DATE AS issue_date,
  epoch_ms(1000 * (record->>'$.due_date')::BIGINT)::DATE AS due_date,
  CASE WHEN record->>'$.status' = 'void' THEN 'void in Stripe' END AS skip,
  CASE WHEN record->>'$.lines.has_more' = 'true'
       THEN 'the invoice has more lines than the export holds; fetch them all (GET /v1/invoices/ID/lines)' END AS reject,
  record->>'$.customer' AS customer_external_id, record->>'$.customer_name' AS customer_name,
  record->>'$.customer_email' AS customer_email, record->>'$.customer_phone' AS customer_phone,
  record->>'$.customer_address.country' AS customer_region, record->>'$.customer_address.line1' AS customer_line1,
  record->>'$.customer_address.line2' AS customer_line2, record->>'$.customer_address.city' AS customer_city,
  record->>'$.customer_address.state' AS customer_state, record->>'$.customer_address.postal_code' AS customer_postal_code,
  record->>'$.customer_address.country' AS customer_country,
  [{'name': coalesce(l->>'$.description', 'Item'), 'qty': coalesce(nullif(l->>'$.quantity', '0'), '1'),
    -- a line's amount is before its discounts and without exclusive tax
    'total': (l->>'$.amount')::BIGINT - coalesce(list_sum([(d->>'$.amount')::BIGINT for d in (l->'$.discount_amounts[*]')::JSON[]]), 0),
    'tax_amount': coalesce(list_sum([(t->>'$.amount')::BIGINT for t in (l->'$.taxes[*]')::JSON[]]),
                           list_sum([(t->>'$.amount')::BIGINT for t in (l->'$.tax_amounts[*]')::JSON[]]), 0),
    'tax_inclusive': coalesce(l->>'$.taxes[0].tax_behavior' = 'inclusive', (l->>'$.tax_amounts[0].inclusive') = 'true', false)}
   for l in (record->'$.lines.data[*]')::JSON[]] AS lines,
  'Shipping' AS charge_name, nullif(record->>'$.shipping_cost.amount_subtotal', '0') AS charge_amount,
  nullif(record->>'$.shipping_cost.amount_tax', '0') AS charge_tax_amount,
  nullif(record->>'$.amount_paid', '0') AS payment_amount,
  epoch_ms(1000 * (record->>'$.status_transitions.paid_at')::BIGINT)::DATE AS payment_date,
  record->>'$.total' AS total, record->>'$.amount_paid' AS amount_paid, record->>'$.amount_remaining' AS amount_due
FROM export
