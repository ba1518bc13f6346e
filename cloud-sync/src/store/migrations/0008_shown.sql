-- It was carried out where the passage is watched, so that it may still be taken back.
ALTER TABLE openings ADD COLUMN watched BIGINT NOT NULL DEFAULT 0;
-- When it last showed an end up to which everything is held.
ALTER TABLE devices ADD COLUMN whole_ms BIGINT;
-- Numbers are made anew from the events once.
INSERT INTO settings (name, value) SELECT 'rebuild', 'needed'
WHERE EXISTS (SELECT 1 FROM events) AND NOT EXISTS (SELECT 1 FROM settings WHERE name = 'rebuild');
-- The furthest end of each epoch that its device has shown, whether or not that much has come.
CREATE TABLE shown (
    venue_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    PRIMARY KEY (venue_id, device_id, epoch)
);
