-- name: Shopify, orders
-- export: Orders, Export, plain CSV file.
-- kind: invoice
-- table export: Name | Financial Status | Currency | Subtotal | Shipping | Taxes | Total | Created at | Lineitem quantity | Lineitem name | Lineitem price
-- columns export: Email | Paid at | Discount Amount | Lineitem sku | Billing Name | Billing City | Billing Province Name | Billing Phone | Billing Country | Shipping Name | Notes | Payment Method | Payment Reference | Refunded Amount | Id | Tags | Lineitem discount | Discount Code | Tax 1 Name | Tax 1 Value | Tax 2 Value | Tax 3 Value | Tax 4 Value | Tax 5 Value | Lineitem compare at price | Duties | Outstanding Balance
-- key: Name
-- left out: refunds (kept as a custom field), fulfilment, risk level; voided orders are skipped
WITH filled AS (  -- facts stand on the first row of an order only
  SELECT *, coalesce(Name, last_value(Name IGNORE NULLS) OVER (ORDER BY _line)) AS order_name FROM export
), sums AS (
  -- in shops with taxes inside the prices, subtotal and shipping make the total without them
  SELECT order_name AS id, coalesce(any_value(number_of(Taxes)), 0) AS tax_sum,
    -- a discount of a line may be in that of the order already: the order's subtotal says which
    coalesce(any_value(number_of(Subtotal) + coalesce(number_of("Discount Amount"), 0))
      = sum(number_of("Lineitem quantity") * number_of("Lineitem price")) - sum(number_of("Lineitem discount")), false) AS is_line_off,
    coalesce(bool_or(number_of(Subtotal) + number_of(Shipping) + coalesce(number_of(Duties), 0) = number_of(Total)), false) AS inside
  FROM filled GROUP BY 1
)
SELECT
  order_name AS source_id, _line AS place, order_name AS number, Currency AS currency, "Created at" AS issue_date,
  "Financial Status" AS status, Notes AS terms_notes, CASE WHEN number_of("Refunded Amount") <> 0 THEN "Refunded Amount" END AS custom_refunded, Tags AS custom_tags,
  CASE WHEN "Financial Status" = 'voided' THEN 'voided in Shopify' END AS skip,
  Email AS customer_email, coalesce("Billing Name", "Shipping Name") AS customer_name,
  ltrim("Billing Phone", '''') AS customer_phone, "Billing Country" AS customer_region, "Billing City" AS customer_city,
  "Billing Province Name" AS customer_state,
  "Lineitem name" AS line_name, "Lineitem quantity" AS line_qty, "Lineitem price" AS line_amount,
  CASE WHEN is_line_off THEN "Lineitem discount" END AS line_discount_value, 'fixed' AS line_discount_type,
  sums.inside AND sums.tax_sum <> 0 AS line_tax_inclusive,
  'Tax' AS tax_name, Taxes AS tax_amount,
  "Discount Amount" AS discount_value, 'fixed' AS discount_type,
  [{'name': 'Shipping', 'amount': Shipping}, {'name': 'Duties', 'amount': Duties}] AS charges,
  CASE WHEN "Paid at" IS NOT NULL THEN number_of(Total) WHEN "Financial Status" = 'partially_paid' AND "Outstanding Balance" IS NOT NULL
    THEN number_of(Total) - number_of("Outstanding Balance") END AS payment_amount, "Paid at" AS payment_date,
  "Payment Method" AS payment_mode, "Payment Reference" AS payment_reference,
  Total AS total, "Outstanding Balance" AS amount_due
FROM filled JOIN sums ON sums.id IS NOT DISTINCT FROM order_name
ORDER BY _line
