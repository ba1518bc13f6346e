-- Zones that begin each day with nobody in them: minutes after local midnight, and since when that holds, Unix
-- milliseconds.
ALTER TABLE zones ADD COLUMN reset_min BIGINT;
ALTER TABLE zones ADD COLUMN reset_since_ms BIGINT NOT NULL DEFAULT 0;
-- What was done is read newest first.
CREATE INDEX audit_by_time ON audit (venue_id, at_ms, audit_id);
