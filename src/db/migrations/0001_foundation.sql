-- The foundation: what the shop knows, what we derive, what we plan and send, what comes back.
--
-- One text for SQLite and Postgres. CLUSTERED marks tables whose rows lie in key order where the engine can
-- (SQLite: WITHOUT ROWID). bucket = stable hash of customer_id modulo 1024 and leads every key of a table that
-- grows with customers. Times are epoch milliseconds UTC, money is minor units, JSON is text.

-- Names and numbers of the project itself: its salt, cut points, progress marks.
CREATE TABLE meta (
  name TEXT NOT NULL PRIMARY KEY,
  value TEXT NOT NULL
);

-- A named claim that one process at a time may hold (the planner).
CREATE TABLE lease (
  name TEXT NOT NULL PRIMARY KEY,
  token TEXT NOT NULL,
  until_at BIGINT NOT NULL
);

---------------------------------------------------------------- what the shop knows (room: data)

CREATE TABLE customer (
  bucket BIGINT NOT NULL,
  customer_id TEXT NOT NULL,
  email TEXT,                 -- as imported
  address_key TEXT,           -- canonical form; NULL when there is no usable address
  first_name TEXT,
  last_name TEXT,
  locale TEXT,
  time_zone TEXT,
  country TEXT,
  attributes TEXT NOT NULL,   -- JSON object: every further column
  first_seen_at BIGINT NOT NULL,
  erased_at BIGINT,
  PRIMARY KEY (bucket, customer_id)
) CLUSTERED;
CREATE INDEX customer_by_address ON customer (address_key);

-- One primary customer per address: the first who had it. The only table keyed by address beside suppression.
CREATE TABLE address (
  address_key TEXT NOT NULL PRIMARY KEY,
  bucket BIGINT NOT NULL,
  customer_id TEXT NOT NULL
) CLUSTERED;

CREATE TABLE consent (
  bucket BIGINT NOT NULL,
  customer_id TEXT NOT NULL,
  topic TEXT NOT NULL,
  granted BOOLEAN NOT NULL,
  at BIGINT NOT NULL,
  source TEXT NOT NULL,
  PRIMARY KEY (bucket, customer_id, topic)
) CLUSTERED;

CREATE TABLE product (
  sku TEXT NOT NULL PRIMARY KEY,
  name TEXT,
  category TEXT,
  price BIGINT,
  url TEXT,
  image_url TEXT,
  attributes TEXT NOT NULL
) CLUSTERED;

-- status: placed (counts), returned (came back: counts for nothing, a negative total lowers revenue), cancelled (counts for nothing).
-- A negative total is a return under any status but cancelled.
CREATE TABLE customer_order (
  bucket BIGINT NOT NULL,
  customer_id TEXT NOT NULL,
  ordered_at BIGINT NOT NULL,
  order_id TEXT NOT NULL,
  total BIGINT NOT NULL,
  currency TEXT NOT NULL,
  status TEXT NOT NULL,
  PRIMARY KEY (bucket, customer_id, ordered_at, order_id)
) CLUSTERED;

-- Where an order lies; order lines and changed orders find it here.
CREATE TABLE order_ref (
  order_id TEXT NOT NULL PRIMARY KEY,
  bucket BIGINT NOT NULL,
  customer_id TEXT NOT NULL,
  ordered_at BIGINT NOT NULL
) CLUSTERED;

CREATE TABLE order_line (
  bucket BIGINT NOT NULL,
  customer_id TEXT NOT NULL,
  ordered_at BIGINT NOT NULL,
  order_id TEXT NOT NULL,
  line_no BIGINT NOT NULL,
  sku TEXT NOT NULL,
  category TEXT,              -- the product's at import time
  quantity BIGINT NOT NULL,
  amount BIGINT NOT NULL,
  PRIMARY KEY (bucket, customer_id, ordered_at, order_id, line_no)
) CLUSTERED;

CREATE TABLE event_name (
  name_id BIGINT NOT NULL PRIMARY KEY,
  name TEXT NOT NULL UNIQUE
);

-- sku, category, amount, score are the declared properties of common events, filled at import; the rest stays JSON.
CREATE TABLE event (
  bucket BIGINT NOT NULL,
  customer_id TEXT NOT NULL,
  at BIGINT NOT NULL,
  event_id TEXT NOT NULL,
  name_id BIGINT NOT NULL,
  sku TEXT,
  category TEXT,
  amount BIGINT,
  score DOUBLE PRECISION,
  properties TEXT NOT NULL,
  PRIMARY KEY (bucket, customer_id, at, event_id)
) CLUSTERED;

CREATE TABLE import_batch (
  batch_id TEXT NOT NULL PRIMARY KEY,
  kind TEXT NOT NULL,
  source TEXT NOT NULL,
  started_at BIGINT NOT NULL,
  finished_at BIGINT,
  read_rows BIGINT NOT NULL,
  written_rows BIGINT NOT NULL,
  unchanged_rows BIGINT NOT NULL,
  rejected_rows BIGINT NOT NULL
);

-- Customers whose data changed since their profile was computed.
CREATE TABLE dirty (
  bucket BIGINT NOT NULL,
  customer_id TEXT NOT NULL,
  PRIMARY KEY (bucket, customer_id)
) CLUSTERED;

---------------------------------------------------------------- what we derive (room: profile)

-- Facts that do not move with the clock. Days since, lifecycle and R·F·M are expressions over them with the instant bound.
-- A day is a number of days since 1970-01-01 in the project's time zone.
CREATE TABLE profile (
  bucket BIGINT NOT NULL,
  customer_id TEXT NOT NULL,
  orders BIGINT NOT NULL,            -- counted orders: placed, total 0 or more
  purchase_days BIGINT NOT NULL,     -- distinct local days with a counted order (frequency = purchase_days - 1)
  revenue BIGINT NOT NULL,           -- net of returns
  average_order BIGINT,              -- gross per counted order
  first_order_at BIGINT,
  last_order_at BIGINT,
  previous_order_at BIGINT,          -- the last order of the purchase day before the last
  first_order_day BIGINT,
  last_order_day BIGINT,
  last_gap_days BIGINT,              -- between the last two purchase days
  usual_gap_days DOUBLE PRECISION,   -- median days between purchase days
  earlier_gap_days DOUBLE PRECISION, -- the same without the last gap, where two or more are left
  top_category TEXT,
  affinity TEXT,                     -- JSON object: category -> share of the amount in thousandths, five at most
  last_viewed_at BIGINT,
  last_viewed_sku TEXT,
  open_tickets BIGINT NOT NULL,
  last_rating DOUBLE PRECISION,
  last_rating_at BIGINT,
  last_event_at BIGINT,
  computed_at BIGINT NOT NULL,       -- when a number above last changed
  PRIMARY KEY (bucket, customer_id)
) CLUSTERED;

-- The customers that a running refresh took out of dirty; empty outside of its transaction.
CREATE TABLE profile_due (
  bucket BIGINT NOT NULL,
  customer_id TEXT NOT NULL,
  PRIMARY KEY (bucket, customer_id)
) CLUSTERED;

---------------------------------------------------------------- who may be mailed (room: suppression)

-- scope: 'all' (nothing whatsoever), 'promotional', or 'topic:NAME'. Outlives the customer row and every import.
CREATE TABLE suppression (
  address_key TEXT NOT NULL,
  scope TEXT NOT NULL,
  reason TEXT NOT NULL,       -- hard_bounce, complaint, unsubscribe, manual, import
  at BIGINT NOT NULL,
  source TEXT NOT NULL,
  PRIMARY KEY (address_key, scope)
) CLUSTERED;

---------------------------------------------------------------- what we plan (room: plan)

CREATE TABLE template_snapshot (
  snapshot_id TEXT NOT NULL PRIMARY KEY,  -- SHA-256 of the content
  content TEXT NOT NULL,
  created_at BIGINT NOT NULL
);

CREATE TABLE run (
  run_id TEXT NOT NULL PRIMARY KEY,
  campaign TEXT NOT NULL,
  slot TEXT NOT NULL,
  state TEXT NOT NULL,        -- planned, enqueuing, ready, sending, paused, drained, closed, cancelled, missed
  reason TEXT,
  as_of BIGINT NOT NULL,      -- the planning instant: segments and windows are resolved at it
  due_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL, -- what is not accepted by then expires
  next_bucket BIGINT NOT NULL, -- enqueued so far: every bucket below
  audience BIGINT NOT NULL,
  snapshot_id TEXT NOT NULL,
  definition TEXT NOT NULL,   -- JSON: what of the campaign this run is bound to
  created_at BIGINT NOT NULL,
  changed_at BIGINT NOT NULL,
  UNIQUE (campaign, slot)
);

-- Verdicts of a run, counted.
CREATE TABLE run_verdict (
  run_id TEXT NOT NULL,
  verdict TEXT NOT NULL,      -- send, withheld, skip
  reason TEXT NOT NULL,
  people BIGINT NOT NULL,
  PRIMARY KEY (run_id, verdict, reason)
);

-- One person's stay in a campaign; every step hangs on it. Written for mailed and withheld alike.
CREATE TABLE entry (
  bucket BIGINT NOT NULL,
  customer_id TEXT NOT NULL,
  campaign TEXT NOT NULL,
  slot TEXT NOT NULL,
  run_id TEXT NOT NULL,
  arm TEXT NOT NULL,
  entered_at BIGINT NOT NULL,
  due_at BIGINT NOT NULL,     -- outcome windows start here, in every arm
  PRIMARY KEY (bucket, customer_id, campaign, slot)
) CLUSTERED;

CREATE INDEX entry_by_run ON entry (run_id);

-- Who was passed over and why.
CREATE TABLE skip (
  bucket BIGINT NOT NULL,
  customer_id TEXT NOT NULL,
  run_id TEXT NOT NULL,
  reason TEXT NOT NULL,
  PRIMARY KEY (bucket, customer_id, run_id)
) CLUSTERED;

---------------------------------------------------------------- what we send (room: queue)

-- What workers claim: up to 500 messages of one lane and one quarter-hour, bucket … bucket_to.
CREATE TABLE chunk (
  bucket BIGINT NOT NULL,
  chunk_id BIGINT NOT NULL,
  bucket_to BIGINT NOT NULL,
  run_id TEXT NOT NULL,
  lane TEXT NOT NULL,
  state TEXT NOT NULL,        -- open, leased, done
  due_at BIGINT NOT NULL,
  lease_token TEXT,
  lease_until_at BIGINT,
  messages BIGINT NOT NULL,
  changed_at BIGINT NOT NULL,
  PRIMARY KEY (bucket, chunk_id)
) CLUSTERED;
CREATE INDEX chunk_by_run ON chunk (run_id, state, due_at);

-- The ledger row of a message: written once, before any network call.
CREATE TABLE message (
  bucket BIGINT NOT NULL,
  customer_id TEXT NOT NULL,
  campaign TEXT NOT NULL,
  step TEXT NOT NULL,
  slot TEXT NOT NULL,
  run_id TEXT NOT NULL,
  chunk_id BIGINT NOT NULL,
  seq BIGINT NOT NULL,
  topic TEXT NOT NULL,
  kind TEXT NOT NULL,         -- promotional or service
  arm TEXT NOT NULL,
  message_id TEXT NOT NULL,   -- left side of the Message-ID: a keyed hash of campaign, step, slot, customer
  address TEXT,
  address_key TEXT,
  locale TEXT NOT NULL,
  payload TEXT NOT NULL,      -- JSON: the fields its templates use
  due_at BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (bucket, customer_id, campaign, step, slot)
);

-- The moving part of a message, narrow on purpose.
CREATE TABLE delivery (
  bucket BIGINT NOT NULL,
  chunk_id BIGINT NOT NULL,
  seq BIGINT NOT NULL,
  customer_id TEXT NOT NULL,
  run_id TEXT NOT NULL,
  state TEXT NOT NULL,        -- pending, committed, accepted, deferred, failed, unknown, withheld, suppressed, expired, cancelled, bounced, complained, closed_unknown
  due_at BIGINT NOT NULL,
  attempts BIGINT NOT NULL,
  date_at BIGINT,             -- the Date header, set by the first commit and kept
  commit_token TEXT,
  code BIGINT,                -- last SMTP reply code
  reply TEXT,                 -- last reply, or why it ended
  changed_at BIGINT NOT NULL,
  PRIMARY KEY (bucket, chunk_id, seq)
) CLUSTERED;

-- Rows of a run, for its status and report. state is in no index: updates of it stay cheap on every engine.
CREATE INDEX delivery_by_run ON delivery (run_id);

-- Every try that did not end in plain acceptance.
CREATE TABLE attempt (
  bucket BIGINT NOT NULL,
  chunk_id BIGINT NOT NULL,
  seq BIGINT NOT NULL,
  attempt_no BIGINT NOT NULL,
  at BIGINT NOT NULL,
  stage TEXT NOT NULL,
  state TEXT NOT NULL,
  code BIGINT,
  enhanced TEXT,
  reply TEXT NOT NULL,
  PRIMARY KEY (bucket, chunk_id, seq, attempt_no)
) CLUSTERED;

---------------------------------------------------------------- what comes back (room: feedback)

-- Recorded once, in any order, any number of times: fact_id names the fact, not the report of it.
CREATE TABLE fact (
  bucket BIGINT NOT NULL,
  customer_id TEXT NOT NULL,
  fact_id TEXT NOT NULL,
  kind TEXT NOT NULL,         -- bounce, complaint, unsubscribe, resubscribe, open, click, reply
  at BIGINT NOT NULL,
  campaign TEXT NOT NULL,
  step TEXT NOT NULL,
  slot TEXT NOT NULL,
  detail TEXT NOT NULL,
  recorded_at BIGINT NOT NULL,
  PRIMARY KEY (bucket, customer_id, fact_id)
) CLUSTERED;
