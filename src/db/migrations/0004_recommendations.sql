-- Recommendations: what was learnt from the orders of all customers. Replaced as a whole by the next fit. Small: the products that most people buy,
-- and a few neighbours of each.

-- One row: the newest fit.
CREATE TABLE recommend_fit (
  fit_id TEXT NOT NULL PRIMARY KEY,
  fitted_at BIGINT NOT NULL,
  as_of BIGINT NOT NULL,      -- orders until then
  seen TEXT NOT NULL,         -- digest of what had been imported: while it is the same, there is nothing new to learn
  buckets BIGINT NOT NULL,    -- learnt from the customers of so many buckets
  customers BIGINT NOT NULL,
  products BIGINT NOT NULL,
  pairs BIGINT NOT NULL
);

CREATE TABLE product_sold (
  sku TEXT NOT NULL PRIMARY KEY,
  buyers BIGINT NOT NULL,     -- customers who ever bought it
  recent_buyers BIGINT NOT NULL, -- who did in the 90 days before as_of
  orders BIGINT NOT NULL      -- orders that had it
) CLUSTERED;

-- Whoever bought sku also bought other_sku: the nearest of each product.
CREATE TABLE product_pair (
  sku TEXT NOT NULL,
  other_sku TEXT NOT NULL,
  customers BIGINT NOT NULL,  -- who bought both
  cosine DOUBLE PRECISION NOT NULL, -- customers / sqrt(buyers of one * buyers of the other)
  PRIMARY KEY (sku, other_sku)
) CLUSTERED;
