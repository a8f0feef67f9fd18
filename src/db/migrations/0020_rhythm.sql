-- How far a customer's gaps scatter around their usual one, in quarters of what is ordinary: 4 is an ordinary customer. NULL without two
-- gaps. Profiles are computed anew for it.
ALTER TABLE profile ADD COLUMN gap_scatter BIGINT;
ALTER TABLE profile ADD COLUMN earlier_gap_scatter BIGINT; -- the same without the last gap
DELETE FROM meta WHERE name = 'profile_zone';
