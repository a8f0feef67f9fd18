-- Later steps of campaigns.

-- When a person's stay ended before or after its last step; NULL: steps may come.
ALTER TABLE entry ADD COLUMN ended_at BIGINT;
-- exit (exit_on) or done (nothing is left to come).
ALTER TABLE entry ADD COLUMN end_reason TEXT;
CREATE INDEX entry_by_time ON entry (campaign, entered_at);

-- A step somebody did not get, and why: unless, only_if, missed, or the guard that barred it.
CREATE TABLE step_pass (
  bucket BIGINT NOT NULL,
  customer_id TEXT NOT NULL,
  campaign TEXT NOT NULL,
  slot TEXT NOT NULL,
  step TEXT NOT NULL,
  run_id TEXT NOT NULL,
  reason TEXT NOT NULL,
  at BIGINT NOT NULL,
  PRIMARY KEY (bucket, customer_id, campaign, slot, step)
) CLUSTERED;
CREATE INDEX step_pass_by_run ON step_pass (run_id);
