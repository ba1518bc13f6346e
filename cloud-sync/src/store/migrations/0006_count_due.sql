-- The numbers of a conflict, as JSON, so that a page can tell it in any language.
ALTER TABLE conflicts ADD COLUMN details TEXT;
-- The page of every manager shows how many wait for somebody.
CREATE INDEX conflicts_open ON conflicts (venue_id, kind) WHERE resolved_ms IS NULL AND standing = 1;
-- The night in which it was last looked which zones should be counted anew, Unix milliseconds.
ALTER TABLE venues ADD COLUMN looked_ms BIGINT NOT NULL DEFAULT 0;
