-- Which loyalty tier each customer was seen in last, so that a crossing is noticed once.
CREATE TABLE loyalty_standing (
  bucket BIGINT NOT NULL,
  customer_id TEXT NOT NULL,
  tier TEXT NOT NULL,         -- empty: they were in one, and fell out of it
  changed_at BIGINT NOT NULL,
  at_risk_at BIGINT,          -- since when it would be lost soon; NULL: it would not
  PRIMARY KEY (bucket, customer_id)
) CLUSTERED;
