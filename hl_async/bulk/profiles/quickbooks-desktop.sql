-- variant invoices: kind=invoice | things=invoices | mine=^(INVOICE|CASH SALE)$ | other=ESTIMATE | ends=due_date | hint=an estimate: --from quickbooks-desktop-estimates
-- variant estimates: kind=estimate | things=estimates | mine=^ESTIMATE | other=INVOICE | ends=expiry_date | hint=an invoice: --from quickbooks-desktop-invoices
-- name: QuickBooks Desktop, {things}
-- export: File, Utilities, Export, or a tool that writes transactions as IIF. Add the customer list for addresses.
-- kind: {kind}
-- seen: QuickBooks' own guide to IIF and public programs that write it name these columns
-- iif trns: TRNSTYPE | DATE | ACCNT | NAME | AMOUNT
-- columns trns: TRNSID | DOCNUM | MEMO | INVMEMO | DUEDATE | PONUM | TERMS | PAID | ADDR1 | ADDR2 | ADDR3 | ADDR4 | ADDR5
-- iif spl: AMOUNT
-- columns spl: ACCNT | MEMO | QNTY | PRICE | INVITEM | TAXABLE | EXTRA
-- optional table cust: NAME
-- columns cust: EMAIL | PHONE1 | COMPANYNAME
-- key: TRNSID
-- set: thousands = ","
-- set: date_format = "%m/%d/%Y"
-- set: cut_names = true
-- left out: payments and other transactions; classes, sales reps; the currency: --set currency=USD
WITH heads AS (  -- an id of its own if the file gives one, else the number
  SELECT _document AS doc, TRNSTYPE AS type, "DATE" AS day, DUEDATE AS due, NAME AS who, AMOUNT AS total, DOCNUM AS number, MEMO AS memo,
    INVMEMO AS message, PONUM AS po, ADDR1, ADDR2, ADDR3, ADDR4, ADDR5, coalesce(TRNSID, DOCNUM, 'line ' || _document) AS id,
    count(*) OVER (PARTITION BY TRNSTYPE, coalesce(TRNSID, DOCNUM, 'line ' || _document)) AS same FROM trns
), people AS (
  SELECT NAME AS who, any_value(EMAIL) AS email, any_value(PHONE1) AS phone, any_value(COMPANYNAME) AS company FROM cust GROUP BY 1 HAVING count(*) = 1
), rows AS (
  SELECT _document AS doc, _line AS line, INVITEM AS item, MEMO AS memo, ACCNT AS account, TAXABLE AS taxable, AMOUNT AS amount,
    coalesce(EXTRA = 'AUTOSTAX', false) AS is_tax, number_of(AMOUNT) AS money, number_of(QNTY) AS pieces FROM spl
), sums AS (
  SELECT doc, -sum(money) FILTER (WHERE is_tax) AS tax, any_value(coalesce(item, memo)) FILTER (WHERE is_tax) AS tax_name,
    sum(money) FILTER (WHERE NOT is_tax AND money > 0) AS off FROM rows GROUP BY 1
)
SELECT
  -- customer and day distinguish an id that stands twice
  CASE WHEN same = 1 THEN id ELSE concat_ws(' ', id, heads.who, day) END AS source_id, line AS place, number,
  heads.memo AS title, CASE WHEN length(heads.memo) > 40 THEN heads.memo END AS custom_memo, message AS terms_notes, po AS po_number,
  CASE WHEN regexp_matches(type, '{mine}') THEN NULL WHEN type LIKE '{other}%' THEN '{hint}' ELSE 'a ' || lower(type) || ', not one of the {things}' END AS skip,
  -- QuickBooks writes two digits of a year
  regexp_replace(regexp_replace(day, '/([0-6][0-9])$', '/20\1'), '/([7-9][0-9])$', '/19\1') AS issue_date,
  regexp_replace(regexp_replace(due, '/([0-6][0-9])$', '/20\1'), '/([7-9][0-9])$', '/19\1') AS {ends},
  heads.who AS customer_name, people.company AS customer_company, people.email AS customer_email, people.phone AS customer_phone,
  coalesce(ADDR2, ADDR1) AS customer_line1, nullif(concat_ws(', ', CASE WHEN ADDR2 IS NOT NULL THEN ADDR3 END, ADDR4, ADDR5), '') AS customer_line2,
  -- lines are negative, discounts positive; a price in percent belongs to another line
  CASE WHEN NOT is_tax AND coalesce(money, -1) <= 0 AND (coalesce(money, -1) <> 0 OR item IS NOT NULL) THEN coalesce(item, rows.memo, account, 'Item') END AS line_name,
  CASE WHEN item IS NOT NULL THEN rows.memo END AS line_description,
  CASE WHEN coalesce(pieces, 0) <> 0 AND money < 0 THEN (-pieces)::VARCHAR END AS line_qty,
  CASE WHEN money IS NULL THEN amount WHEN NOT is_tax AND money <= 0 AND (money <> 0 OR item IS NOT NULL) THEN (-money)::VARCHAR END AS line_total,
  coalesce(taxable, 'Y') <> 'N' AS line_taxable, coalesce(tax_name, 'Tax') AS tax_name, nullif(tax, 0)::VARCHAR AS tax_amount,
  off::VARCHAR AS discount_value, 'fixed' AS discount_type, total
FROM heads LEFT JOIN rows ON rows.doc = heads.doc LEFT JOIN sums ON sums.doc = heads.doc LEFT JOIN people ON people.who = heads.who
ORDER BY line
