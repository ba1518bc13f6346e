-- A zone's capacity rights are given up by one gate before another gets them.
ALTER TABLE devices ADD COLUMN pulled BIGINT NOT NULL DEFAULT 0;
-- Up to which change the device had applied when it last handed over its whole journal.
ALTER TABLE devices ADD COLUMN settled BIGINT NOT NULL DEFAULT 0;
-- The gate that gave the rights up last, and the position of the chain from which every gate knows it.
ALTER TABLE zones ADD COLUMN released_by TEXT;
ALTER TABLE zones ADD COLUMN released_at BIGINT NOT NULL DEFAULT 0;
-- More are in it than it holds, and somebody was told.
ALTER TABLE zones ADD COLUMN over_capacity BIGINT NOT NULL DEFAULT 0;
