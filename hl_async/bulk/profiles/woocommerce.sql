-- name: WooCommerce, orders
-- export: The REST API's list of orders (GET /wp-json/wc/v3/orders, every page), as JSON or one order per line.
-- kind: invoice
-- json export: order_key | line_items | shipping_lines | billing | prices_include_tax | total_tax
-- key: id
-- left out: refunds (kept as a custom field), meta data, coupons (they are inside the prices); failed and cancelled orders are skipped
SELECT
  record->>'$.id' AS source_id, 'record ' || _line AS place, record AS raw, record->>'$.number' AS number,
  record->>'$.currency' AS currency, record->>'$.date_created' AS issue_date, record->>'$.status' AS status,
  record->>'$.customer_note' AS terms_notes,
  CASE WHEN record->>'$.status' IN ('cancelled', 'failed', 'trash') THEN record->>'$.status' || ' in WooCommerce' END AS skip,
  nullif(array_to_string([r->>'$.total' for r in (record->'$.refunds[*]')::JSON[]], ', '), '') AS custom_refunds,
  nullif(record->>'$.customer_id', '0') AS customer_external_id,
  trim(concat_ws(' ', record->>'$.billing.first_name', record->>'$.billing.last_name')) AS customer_name,
  record->>'$.billing.company' AS customer_company, record->>'$.billing.email' AS customer_email,
  record->>'$.billing.phone' AS customer_phone, record->>'$.billing.country' AS customer_region,
  record->>'$.billing.address_1' AS customer_line1, record->>'$.billing.address_2' AS customer_line2,
  record->>'$.billing.city' AS customer_city, record->>'$.billing.state' AS customer_state,
  record->>'$.billing.postcode' AS customer_postal_code, record->>'$.billing.country' AS customer_country,
  [{'name': l->>'$.name', 'description': nullif(l->>'$.sku', ''), 'qty': l->>'$.quantity', 'total': l->>'$.total',
    'tax_name': record->>'$.tax_lines[0].label', 'tax_amount': l->>'$.total_tax'}
   for l in (record->'$.line_items[*]')::JSON[]] AS lines,
  [{'name': coalesce(nullif(c->>'$.method_title', ''), c->>'$.name', 'Charge'), 'amount': c->>'$.total',
    'tax_name': record->>'$.tax_lines[0].label', 'tax_amount': c->>'$.total_tax'}
   for c in list_concat((record->'$.shipping_lines[*]')::JSON[], (record->'$.fee_lines[*]')::JSON[])] AS charges,
  CASE WHEN record->>'$.date_paid' IS NOT NULL THEN record->>'$.total' END AS payment_amount,
  record->>'$.date_paid' AS payment_date, record->>'$.payment_method_title' AS payment_mode,
  record->>'$.transaction_id' AS payment_reference, record->>'$.total' AS total
FROM export
