-- Rewards: the codes of pools, and which message carries what.

-- A code, whichever pool it belongs to: one row, so nobody can be given it twice. Its bucket is that of code_key, not of a person.
CREATE TABLE reward_code (
  bucket BIGINT NOT NULL,
  code_key TEXT NOT NULL,     -- the code in capitals: two that differ in case alone are one to most shops
  pool TEXT NOT NULL,
  code TEXT NOT NULL,
  expires_at BIGINT,          -- of its own, beside the pool's
  added_at BIGINT NOT NULL,
  issued_at BIGINT,           -- NULL: it may be given
  PRIMARY KEY (bucket, code_key)
) CLUSTERED;
CREATE INDEX reward_code_free ON reward_code (pool, bucket, code_key) WHERE issued_at IS NULL;

-- What a message carries; written with it. It names no person: the message does.
CREATE TABLE reward_issue (
  bucket BIGINT NOT NULL,
  chunk_id BIGINT NOT NULL,
  seq BIGINT NOT NULL,
  run_id TEXT NOT NULL,
  pool TEXT NOT NULL,
  code_bucket BIGINT,         -- where its code lies; NULL, as are the next two, where the pool has none
  code_key TEXT,
  code TEXT,
  cost BIGINT NOT NULL,       -- minor units, as the pool said when it was given
  expires_at BIGINT,
  issued_at BIGINT NOT NULL,
  returned_at BIGINT,         -- its message ended before anything of it had left
  PRIMARY KEY (bucket, chunk_id, seq)
) CLUSTERED;
CREATE INDEX reward_issue_by_pool ON reward_issue (pool);
CREATE INDEX reward_issue_by_run ON reward_issue (run_id);
