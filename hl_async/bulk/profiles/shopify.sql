-- name: Shopify, orders
-- export: Orders, Export, plain CSV file.
-- kind: invoice
-- table export: Name | Financial Status | Currency | Subtotal | Shipping | Taxes | Total | Created at | Lineitem quantity | Lineitem name | Lineitem price
-- columns export: Email | Paid at | Discount Amount | Lineitem sku | Billing Name | Billing City | Billing Province Name | Billing Phone | Billing Country | Shipping Name | Notes | Payment Method | Payment Reference | Refunded Amount | Id | Tags | Lineitem discount | Discount Code | Tax 1 Name | Tax 1 Value | Tax 2 Value | Tax 3 Value | Tax 4 Value | Tax 5 Value | Lineitem compare at price
-- key: Name
-- left out: refunds (kept as a custom field), fulfilment, risk level; voided orders are skipped
WITH filled AS (  -- facts stand on the first row of an order only
  SELECT *, coalesce(Name, last_value(Name IGNORE NULLS) OVER (ORDER BY _line)) AS order_name FROM export
), sums AS (
  -- in shops with taxes inside the prices, subtotal and shipping make the total without them
  SELECT order_name AS id, any_value(trim(Taxes)) AS tax_sum,
    -- a discount of a line may be in that of the order already: the order's subtotal says which
    coalesce(any_value(try_cast(Subtotal AS DECIMAL(18, 4)) + coalesce(try_cast("Discount Amount" AS DECIMAL(18, 4)), 0))
      = sum(try_cast("Lineitem quantity" AS DECIMAL(18, 4)) * try_cast("Lineitem price" AS DECIMAL(18, 4)))
      - sum(try_cast("Lineitem discount" AS DECIMAL(18, 4))), false) AS is_line_off,
    coalesce(bool_or(try_cast(Subtotal AS DECIMAL(18, 4)) + try_cast(Shipping AS DECIMAL(18, 4)) = try_cast(Total AS DECIMAL(18, 4))), false) AS inside
  FROM filled GROUP BY 1
)
SELECT
  order_name AS source_id, _line AS place, order_name AS number, Currency AS currency, "Created at" AS issue_date,
  "Financial Status" AS status, Notes AS terms_notes, nullif("Refunded Amount", '0.00') AS custom_refunded, Tags AS custom_tags,
  CASE WHEN "Financial Status" = 'voided' THEN 'voided in Shopify' END AS skip,
  Email AS customer_email, coalesce("Billing Name", "Shipping Name") AS customer_name,
  ltrim("Billing Phone", '''') AS customer_phone, "Billing Country" AS customer_region, "Billing City" AS customer_city,
  "Billing Province Name" AS customer_state,
  "Lineitem name" AS line_name, "Lineitem quantity" AS line_qty, "Lineitem price" AS line_amount,
  CASE WHEN is_line_off THEN "Lineitem discount" END AS line_discount_value, 'fixed' AS line_discount_type,
  sums.inside AND sums.tax_sum NOT IN ('0', '0.00') AS line_tax_inclusive,
  'Tax' AS tax_name, Taxes AS tax_amount,
  "Discount Amount" AS discount_value, 'fixed' AS discount_type,
  'Shipping' AS charge_name, Shipping AS charge_amount,
  CASE WHEN "Paid at" IS NOT NULL THEN Total END AS payment_amount, "Paid at" AS payment_date,
  "Payment Method" AS payment_mode, "Payment Reference" AS payment_reference,
  Total AS total
FROM filled JOIN sums ON sums.id IS NOT DISTINCT FROM order_name
ORDER BY _line
