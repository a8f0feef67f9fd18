-- Segments: who is in which, kept and brought up to date; percentiles as they were drawn; scores of models.

-- What models predict of a customer; a row only where a model was fitted. Each number with a low and a high of its interval.
CREATE TABLE score (
  bucket BIGINT NOT NULL,
  customer_id TEXT NOT NULL,
  orders_90d DOUBLE PRECISION,
  orders_90d_low DOUBLE PRECISION,
  orders_90d_high DOUBLE PRECISION,
  orders_12m DOUBLE PRECISION,
  orders_12m_low DOUBLE PRECISION,
  orders_12m_high DOUBLE PRECISION,
  ltv_12m BIGINT,             -- minor units, discounted
  ltv_12m_low BIGINT,
  ltv_12m_high BIGINT,
  alive DOUBLE PRECISION,
  alive_low DOUBLE PRECISION,
  alive_high DOUBLE PRECISION,
  churn_90d DOUBLE PRECISION,
  churn_90d_low DOUBLE PRECISION,
  churn_90d_high DOUBLE PRECISION,
  next_order_at BIGINT,
  next_order_low_at BIGINT,
  next_order_high_at BIGINT,
  fit_id TEXT NOT NULL,
  computed_at BIGINT NOT NULL,
  PRIMARY KEY (bucket, customer_id)
) CLUSTERED;

-- The value at a percentile of all buyers, as drawn on a local day; redrawn when the day or more than a twentieth of the profiles changed.
CREATE TABLE percentile (
  field TEXT NOT NULL,        -- name in the catalogue of fields; scores with their prefix
  rank_of TEXT NOT NULL,      -- low: the value that at least so many lie at or below; high: the last value of that share
  percent DOUBLE PRECISION NOT NULL,
  day BIGINT NOT NULL,
  value DOUBLE PRECISION,     -- NULL: nobody has bought
  buyers BIGINT NOT NULL,
  profile_changes BIGINT NOT NULL, -- the count of changed profiles at that time
  PRIMARY KEY (field, rank_of, percent)
);

-- Segments whose members are kept, by what their rule says: another rule of the same name has another bit.
CREATE TABLE segment_rule (
  digest TEXT NOT NULL PRIMARY KEY, -- SHA-256 of the rule with all it refers to and the settings it hangs on
  segment TEXT NOT NULL,
  bit BIGINT NOT NULL UNIQUE,       -- 62 in a word
  as_of BIGINT,                     -- members are those at this instant; NULL: not yet, or being worked on
  people BIGINT NOT NULL,           -- how many
  revenue BIGINT NOT NULL,
  used_at BIGINT NOT NULL
);

-- Members: a row for each customer and word. A bit whose segment_rule has no as_of means nothing.
CREATE TABLE segment_bits (
  bucket BIGINT NOT NULL,
  customer_id TEXT NOT NULL,
  word BIGINT NOT NULL,
  bits BIGINT NOT NULL,
  revenue BIGINT NOT NULL,          -- the customer's, when they were looked at
  PRIMARY KEY (bucket, customer_id, word)
) CLUSTERED;

-- Customers whose membership must be looked at again: a profile was computed, or a fact came back.
CREATE TABLE segment_due (
  bucket BIGINT NOT NULL,
  customer_id TEXT NOT NULL,
  PRIMARY KEY (bucket, customer_id)
) CLUSTERED;

-- Those whom a running refresh took out of segment_due; empty outside of its transaction.
CREATE TABLE segment_now (
  bucket BIGINT NOT NULL,
  customer_id TEXT NOT NULL,
  PRIMARY KEY (bucket, customer_id)
) CLUSTERED;

-- When somebody last sent something back: an order with status returned or a negative total. Profiles are computed anew for it.
ALTER TABLE profile ADD COLUMN last_return_at BIGINT;
DELETE FROM meta WHERE name = 'profile_zone';

-- How large segments were; one row a local day, the last look of the day.
CREATE TABLE segment_size (
  segment TEXT NOT NULL,
  day BIGINT NOT NULL,
  as_of BIGINT NOT NULL,
  digest TEXT NOT NULL,
  people BIGINT NOT NULL,
  revenue BIGINT NOT NULL,
  everyone BIGINT NOT NULL,
  PRIMARY KEY (segment, day)
);
