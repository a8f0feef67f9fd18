-- Kept baskets: what each customer had bought, as recommendations last read it. Who ordered since stands in basket_due; of the others nothing has to be
-- read from orders again.

CREATE TABLE basket (
  bucket BIGINT NOT NULL,
  customer_id TEXT NOT NULL,
  body TEXT NOT NULL,         -- products by their number, with how often and when: src/offer/recommend/body.rs
  PRIMARY KEY (bucket, customer_id)
) CLUSTERED;

-- Customers whose orders or lines changed since their basket was read. Imports write it in the transaction that changes them.
CREATE TABLE basket_due (
  bucket BIGINT NOT NULL,
  customer_id TEXT NOT NULL,
  noted_at BIGINT NOT NULL,   -- when that was first noted
  PRIMARY KEY (bucket, customer_id)
) CLUSTERED;

-- The numbers of products in baskets; only added to, until all baskets are made anew.
CREATE TABLE basket_product (
  number BIGINT NOT NULL PRIMARY KEY,
  sku TEXT NOT NULL
) CLUSTERED;

-- One row while the baskets are whole, none before and while all are made anew.
CREATE TABLE basket_state (
  layout BIGINT NOT NULL PRIMARY KEY, -- how bodies are written
  as_of BIGINT NOT NULL,      -- orders until then; whoever has later ones is in basket_due
  buckets BIGINT NOT NULL     -- baskets of the customers of so many buckets are kept
) CLUSTERED;

-- Customers whose lines were read for the fit; the others' baskets had been kept.
ALTER TABLE recommend_fit ADD COLUMN read_anew BIGINT NOT NULL DEFAULT 0;

-- The few who were erased, found without reading the others: nothing is learnt from them.
CREATE INDEX customer_erased ON customer (bucket, customer_id) WHERE erased_at IS NOT NULL;
