-- Which relay took a message.

-- The relay that gave the last answer; NULL: none was given yet, or by a version that did not write it down.
ALTER TABLE delivery ADD COLUMN relay TEXT;
