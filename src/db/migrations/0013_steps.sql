-- Later steps of campaigns.

-- When somebody left before the last step (exit_on); NULL: they did not.
ALTER TABLE entry ADD COLUMN exited_at BIGINT;
CREATE INDEX entry_by_time ON entry (campaign, entered_at);

-- A step somebody did not get, and why: unless, only_if, missed, exit, or the guard that barred it.
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
