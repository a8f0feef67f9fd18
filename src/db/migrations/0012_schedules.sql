-- Up to when the schedule of a live campaign was looked at: slots that opened before are runs, sent or missed.
CREATE TABLE schedule_mark (
  campaign TEXT NOT NULL PRIMARY KEY,
  looked_until_at BIGINT NOT NULL
);
