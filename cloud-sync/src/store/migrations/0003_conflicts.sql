-- Contradictions become one inbox; every aggregate is rebuilt from the facts once after this migration.
CREATE TABLE conflicts (
    venue_id TEXT NOT NULL,
    conflict_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    -- Follows from the stored facts alone, so that a rebuild finds it again.
    derived BIGINT NOT NULL,
    -- What was found is still so.
    standing BIGINT NOT NULL,
    gate_id TEXT,
    device_id TEXT,
    zone_id TEXT,
    vendor_code TEXT,
    cti TEXT,
    product BIGINT,
    evidence TEXT NOT NULL,
    -- JSON lists of event ids (or hashes of parked items): what was found, and what it contradicts.
    events TEXT NOT NULL,
    against TEXT NOT NULL,
    -- When it happened, as far as that can be said.
    at_ms BIGINT NOT NULL,
    raised_ms BIGINT NOT NULL,
    -- Somebody it was given to; without one it is the owner's.
    assigned_to TEXT,
    resolved_ms BIGINT,
    resolved_by TEXT,
    note TEXT,
    PRIMARY KEY (venue_id, conflict_id)
);
CREATE INDEX conflicts_by_time ON conflicts (venue_id, raised_ms, conflict_id);
CREATE INDEX conflicts_by_kind ON conflicts (venue_id, kind, raised_ms, conflict_id);
INSERT INTO conflicts (venue_id, conflict_id, kind, derived, standing, gate_id, evidence, events, against, at_ms, raised_ms)
    SELECT venue_id, alert_id, kind, 0, 1, gate_id, evidence, '[]', '[]', raised_ms, raised_ms FROM alerts
    WHERE kind IN ('fork', 'journal_shorter', 'over_capacity');
DROP TABLE alerts;

-- Why a device's words are kept aside until a manager has looked.
ALTER TABLE devices ADD COLUMN fenced_ms BIGINT;
ALTER TABLE devices ADD COLUMN fenced_for TEXT;
-- The longest head it has shown, and when that request was signed, Unix seconds.
ALTER TABLE devices ADD COLUMN head_created_s BIGINT NOT NULL DEFAULT 0;
ALTER TABLE devices ADD COLUMN head_epoch BIGINT NOT NULL DEFAULT -1;
ALTER TABLE devices ADD COLUMN head_seq BIGINT NOT NULL DEFAULT -1;
-- The newest moments that the clock and software columns were told by.
ALTER TABLE devices ADD COLUMN clock_at_ms BIGINT NOT NULL DEFAULT 0;
ALTER TABLE devices ADD COLUMN software_at_ms BIGINT NOT NULL DEFAULT 0;
-- It must take the whole chain anew: the service was restored.
ALTER TABLE devices ADD COLUMN must_restart BIGINT NOT NULL DEFAULT 0;
-- The epoch whose loss it was asked to make good.
ALTER TABLE devices ADD COLUMN restart_for BIGINT;
ALTER TABLE devices ADD COLUMN cut_ms BIGINT NOT NULL DEFAULT 0;

-- Root-signed words that a gate's place in the chain is void.
CREATE TABLE cuts (
    venue_id TEXT NOT NULL,
    position BIGINT NOT NULL,
    head TEXT NOT NULL,
    bytes BLOB NOT NULL,
    made_ms BIGINT NOT NULL,
    PRIMARY KEY (venue_id, position, head)
);

-- Different items that ever came in; always applied + parked.
ALTER TABLE venues ADD COLUMN events_in BIGINT NOT NULL DEFAULT 0;
ALTER TABLE venues ADD COLUMN applied BIGINT NOT NULL DEFAULT 0;
UPDATE venues SET
    applied = (SELECT COUNT(*) FROM events e WHERE e.venue_id = venues.venue_id),
    events_in = (SELECT COUNT(*) FROM events e WHERE e.venue_id = venues.venue_id)
        + (SELECT COUNT(*) FROM parked p WHERE p.venue_id = venues.venue_id);
-- The office writes a journal of its own: the device and epoch it writes as.
ALTER TABLE venues ADD COLUMN office_device TEXT;
ALTER TABLE venues ADD COLUMN office_epoch BIGINT;

-- A parked item's place in its journal, where it can be read; it counts as held for receipts if `chained`.
ALTER TABLE parked ADD COLUMN epoch BIGINT;
ALTER TABLE parked ADD COLUMN seq BIGINT;
ALTER TABLE parked ADD COLUMN chained BIGINT NOT NULL DEFAULT 0;
ALTER TABLE parked ADD COLUMN conflict_id TEXT;
CREATE INDEX parked_by_place ON parked (venue_id, device_id, epoch, seq);
CREATE INDEX parked_by_time ON parked (venue_id, received_ms, hash);

-- From when on a pass had which standing.
CREATE TABLE standings (
    venue_id TEXT NOT NULL,
    cti TEXT NOT NULL,
    from_ms BIGINT NOT NULL,
    standing TEXT NOT NULL,
    PRIMARY KEY (venue_id, cti, from_ms)
);
-- Why the office counted; the number itself is an event.
CREATE TABLE recount_reasons (
    venue_id TEXT NOT NULL,
    event TEXT NOT NULL,
    person_id TEXT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (venue_id, event)
);

-- What follows from the facts, made anew.
DROP TABLE followups;
DROP TABLE uses;
DROP TABLE passages;
DROP TABLE health;
DROP TABLE epochs;
CREATE TABLE epochs (
    venue_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    -- The last event of the contiguous prefix, or -1.
    upto BIGINT NOT NULL,
    upto_hash TEXT NOT NULL,
    held BIGINT NOT NULL,
    -- The head that its opening names, once it came; -1 in both for none, -2 for another device's.
    continues_epoch BIGINT,
    continues_seq BIGINT,
    continues_hash TEXT,
    PRIMARY KEY (venue_id, device_id, epoch)
);
CREATE INDEX epochs_by_parent ON epochs (venue_id, device_id, continues_epoch, continues_seq);
-- Every event that let somebody through, and what became of it.
CREATE TABLE openings (
    venue_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    gate_id TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    service_day BIGINT NOT NULL,
    direction TEXT NOT NULL,
    -- Canonical list of (zone, recount generation).
    zones BLOB NOT NULL,
    reopens TEXT,
    opened BIGINT NOT NULL,
    -- One that completed it was opened.
    completed BIGINT NOT NULL,
    taken_by TEXT,
    -- The first event that says that something went through for it.
    passed_by TEXT,
    PRIMARY KEY (venue_id, device_id, epoch, seq)
);
-- What was said about an event that had not come yet.
CREATE TABLE waiting (
    venue_id TEXT NOT NULL,
    about TEXT NOT NULL,
    event TEXT NOT NULL,
    kind TEXT NOT NULL,
    amount BIGINT NOT NULL,
    PRIMARY KEY (venue_id, about, event, kind)
);
CREATE TABLE uses (
    venue_id TEXT NOT NULL,
    event TEXT NOT NULL,
    vendor_code TEXT NOT NULL,
    cti TEXT NOT NULL,
    product BIGINT NOT NULL,
    gate_id TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    received_ms BIGINT NOT NULL,
    service_day BIGINT NOT NULL,
    direction TEXT NOT NULL,
    charged BIGINT NOT NULL,
    annulled BIGINT NOT NULL,
    -- What limits its number: 0 nothing, 1 the day, 2 a number in all.
    limited_by BIGINT NOT NULL,
    in_all BIGINT,
    per_day BIGINT,
    -- One more than the pass has.
    extra BIGINT NOT NULL,
    PRIMARY KEY (venue_id, event)
);
CREATE INDEX uses_by_pass ON uses (venue_id, cti, limited_by, service_day, at_ms);
-- What each counted event adds to a zone.
CREATE TABLE passages (
    venue_id TEXT NOT NULL,
    zone_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    -- The event whose recount decides: itself, or for an annulment the admission it takes back.
    of_epoch BIGINT NOT NULL,
    of_seq BIGINT NOT NULL,
    generation BIGINT NOT NULL,
    at_ms BIGINT NOT NULL,
    entries BIGINT NOT NULL,
    exits BIGINT NOT NULL,
    -- Nobody knows whether it happened.
    unknown BIGINT NOT NULL,
    PRIMARY KEY (venue_id, zone_id, device_id, epoch, seq)
);
CREATE INDEX passages_by_generation ON passages (venue_id, zone_id, generation, at_ms);
-- How many of what a zone counts may not have happened.
CREATE TABLE doubts (
    venue_id TEXT NOT NULL,
    zone_id TEXT NOT NULL,
    entries BIGINT NOT NULL,
    exits BIGINT NOT NULL,
    PRIMARY KEY (venue_id, zone_id)
);
-- Every recount of a zone.
CREATE TABLE recounts (
    venue_id TEXT NOT NULL,
    zone_id TEXT NOT NULL,
    event TEXT NOT NULL,
    generation BIGINT NOT NULL,
    observed BIGINT NOT NULL,
    at_ms BIGINT NOT NULL,
    received_ms BIGINT NOT NULL,
    PRIMARY KEY (venue_id, zone_id, generation, event)
);
CREATE INDEX recounts_by_time ON recounts (venue_id, zone_id, at_ms);
-- Who came and went on each day of the venue, by when it happened.
CREATE TABLE zone_days (
    venue_id TEXT NOT NULL,
    zone_id TEXT NOT NULL,
    service_day BIGINT NOT NULL,
    entries BIGINT NOT NULL,
    exits BIGINT NOT NULL,
    PRIMARY KEY (venue_id, zone_id, service_day)
);
CREATE TABLE health (
    venue_id TEXT NOT NULL,
    gate_id TEXT NOT NULL,
    part TEXT NOT NULL,
    working BIGINT NOT NULL,
    detail TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    PRIMARY KEY (venue_id, gate_id, part)
);
INSERT INTO settings (name, value) SELECT 'rebuild', 'needed' WHERE EXISTS (SELECT 1 FROM events);
