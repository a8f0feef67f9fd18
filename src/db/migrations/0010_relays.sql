-- Relays that stand in for each other, the first wave of a run, complaints that hold one.

-- A relay that takes no mail; the row goes when it does again.
CREATE TABLE relay_outage (
  relay TEXT NOT NULL PRIMARY KEY,
  since_at BIGINT NOT NULL,
  again_at BIGINT NOT NULL,             -- when it is tried again
  outages BIGINT NOT NULL,              -- tries that failed since it last worked
  reason TEXT NOT NULL
);

-- Which relay was tried.
ALTER TABLE attempt ADD COLUMN relay TEXT;

-- The chunk waits until the first wave of its run is through.
ALTER TABLE chunk ADD COLUMN after_wave BOOLEAN NOT NULL DEFAULT FALSE;

-- Until when the rest waits after its first wave; NULL: that has not left yet, or there is none.
ALTER TABLE run ADD COLUMN wave_until_at BIGINT;
-- From when the rest may leave; NULL: not decided yet, or there is none.
ALTER TABLE run ADD COLUMN rest_from_at BIGINT;

-- Complaints are few and looked for often.
CREATE INDEX fact_complaints ON fact (campaign, at) WHERE kind = 'complaint';
