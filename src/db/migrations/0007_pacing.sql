-- How fast mail leaves: what all processes that send share.

-- The pace of a lane (relay/family), or of a whole relay (its name alone).
CREATE TABLE pace (
  lane TEXT NOT NULL PRIMARY KEY,
  free_at BIGINT NOT NULL,              -- until then the time is reserved
  slow_steps BIGINT NOT NULL,           -- so often its rate was halved; one step is taken back at a time
  slow_from DOUBLE PRECISION NOT NULL,  -- messages a second before, where the settings name no rate
  slowed_at BIGINT NOT NULL,
  slow_reason TEXT NOT NULL             -- the answer that halved it last
);

-- The warm-up of a relay: the day it is at, counted in days on which it sent.
CREATE TABLE warm_up (
  relay TEXT NOT NULL PRIMARY KEY,
  day_no BIGINT NOT NULL,               -- from 1
  day_from_at BIGINT NOT NULL,          -- its first message
  messages BIGINT NOT NULL              -- reserved on this day
);
