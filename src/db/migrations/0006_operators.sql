-- What operators do to messages, and what the breaker counts.

-- A message's own end of life, when an operator sent it on its way again; NULL: its run's.
ALTER TABLE delivery ADD COLUMN expires_at BIGINT;

-- What a refusal was about: mailbox, policy or message; NULL when nothing was refused.
ALTER TABLE attempt ADD COLUMN about TEXT;

-- The breaker counts answers since then: moved when a run is resumed.
ALTER TABLE run ADD COLUMN watched_from_at BIGINT NOT NULL DEFAULT 0;

-- What an operator decided about a message. Written once, in the transaction that moves it.
CREATE TABLE decision (
  bucket BIGINT NOT NULL,
  chunk_id BIGINT NOT NULL,
  seq BIGINT NOT NULL,
  at BIGINT NOT NULL,
  decided TEXT NOT NULL,      -- retry, accepted, failed, resend, closed
  decided_by TEXT NOT NULL,
  evidence TEXT NOT NULL,     -- why; empty for a retry without a word
  PRIMARY KEY (bucket, chunk_id, seq, at)
) CLUSTERED;

-- Somebody holds a Message-ID from a mail server's log and asks what it was.
CREATE INDEX message_by_id ON message (message_id);
