-- What proves afterwards what happened.

-- The first 64 bits of the SHA-256 of the content that a commit lets leave; NULL before the first.
ALTER TABLE delivery ADD COLUMN content_hash BIGINT;

-- How far this database has come. What was seen is kept beside it too, so that an old copy of it is noticed.
CREATE TABLE generation (
  only_row BIGINT NOT NULL PRIMARY KEY,   -- 1
  database_id TEXT NOT NULL,              -- random; goes with every copy
  number BIGINT NOT NULL                  -- grows while mail is sent
);
