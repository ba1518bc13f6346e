-- Ids are text (UUIDs, codes, hex), times Unix milliseconds unless a name ends in _s. One text for SQLite and PostgreSQL.

CREATE TABLE settings (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

-- People may belong to several venues.
CREATE TABLE people (
    id TEXT NOT NULL PRIMARY KEY,
    email TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    password TEXT NOT NULL,
    created_ms BIGINT NOT NULL
);
CREATE TABLE sessions (
    token TEXT NOT NULL PRIMARY KEY,
    person_id TEXT NOT NULL REFERENCES people (id),
    created_ms BIGINT NOT NULL,
    seen_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL
);
-- Failed attempts within a window, by what was tried and from where.
CREATE TABLE throttle (
    subject TEXT NOT NULL PRIMARY KEY,
    failures BIGINT NOT NULL,
    since_ms BIGINT NOT NULL
);

CREATE TABLE venues (
    venue_id TEXT NOT NULL PRIMARY KEY,
    code TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    time_zone TEXT NOT NULL,
    boundary_min BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    -- Raised with everything a dashboard shows.
    live_seq BIGINT NOT NULL
);
CREATE TABLE members (
    venue_id TEXT NOT NULL REFERENCES venues (venue_id),
    person_id TEXT NOT NULL REFERENCES people (id),
    role TEXT NOT NULL,
    PRIMARY KEY (venue_id, person_id)
);
CREATE INDEX members_by_person ON members (person_id);

-- Root, settings, time and server key; the private half is sealed under the master key.
CREATE TABLE venue_keys (
    venue_id TEXT NOT NULL,
    duty TEXT NOT NULL,
    public_key BLOB NOT NULL,
    sealed BLOB NOT NULL,
    PRIMARY KEY (venue_id, duty)
);
CREATE TABLE statements (
    venue_id TEXT NOT NULL,
    number BIGINT NOT NULL,
    subject TEXT NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (venue_id, number)
);
-- The signed changes that gates pull.
CREATE TABLE chunks (
    venue_id TEXT NOT NULL,
    from_position BIGINT NOT NULL,
    to_position BIGINT NOT NULL,
    hash TEXT NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (venue_id, from_position)
);
CREATE UNIQUE INDEX chunks_by_end ON chunks (venue_id, to_position);

CREATE TABLE zones (
    venue_id TEXT NOT NULL,
    zone_id TEXT NOT NULL,
    name TEXT NOT NULL,
    parent_id TEXT,
    capacity BIGINT NOT NULL,
    warn_percent BIGINT NOT NULL,
    best_effort BIGINT NOT NULL,
    rights_holder TEXT,
    -- The last word people saw, for its hysteresis.
    fullness TEXT NOT NULL,
    basis BLOB NOT NULL,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (venue_id, zone_id)
);
CREATE TABLE gates (
    venue_id TEXT NOT NULL,
    gate_id TEXT NOT NULL,
    lane_id TEXT NOT NULL,
    zone_id TEXT NOT NULL,
    name TEXT NOT NULL,
    direction TEXT NOT NULL,
    staffed BIGINT NOT NULL,
    egress TEXT NOT NULL,
    open_ms BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (venue_id, gate_id)
);
CREATE TABLE enrolments (
    code TEXT NOT NULL PRIMARY KEY,
    venue_id TEXT NOT NULL,
    gate_id TEXT NOT NULL,
    expires_ms BIGINT NOT NULL,
    -- The device that used it.
    device_id TEXT
);
CREATE TABLE devices (
    venue_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    gate_id TEXT NOT NULL,
    public_key BLOB NOT NULL,
    model TEXT NOT NULL,
    software TEXT NOT NULL,
    enrolled_ms BIGINT NOT NULL,
    revoked_ms BIGINT,
    seen_ms BIGINT,
    pending BIGINT NOT NULL,
    clock_trust TEXT,
    PRIMARY KEY (venue_id, device_id)
);
CREATE UNIQUE INDEX devices_by_id ON devices (device_id);
CREATE TABLE nonces (
    venue_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    nonce TEXT NOT NULL,
    -- Offered by the service to a device whose clock is wrong, and not yet used.
    offered BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL,
    PRIMARY KEY (venue_id, device_id, nonce)
);

CREATE TABLE products (
    venue_id TEXT NOT NULL,
    number BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (venue_id, number)
);
CREATE TABLE vendors (
    venue_id TEXT NOT NULL,
    vendor_id TEXT NOT NULL,
    code TEXT NOT NULL,
    name TEXT NOT NULL,
    active BIGINT NOT NULL,
    weekdays BIGINT NOT NULL,
    closed_days TEXT NOT NULL,
    daily_quota BIGINT,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (venue_id, vendor_id)
);
CREATE UNIQUE INDEX vendors_by_code ON vendors (venue_id, code);
CREATE TABLE issuers (
    venue_id TEXT NOT NULL,
    kid TEXT NOT NULL,
    vendor_id TEXT NOT NULL,
    public_key BLOB NOT NULL,
    sealed BLOB NOT NULL,
    from_s BIGINT NOT NULL,
    until_s BIGINT NOT NULL,
    revoked BIGINT NOT NULL,
    PRIMARY KEY (venue_id, kid)
);
CREATE INDEX issuers_by_vendor ON issuers (venue_id, vendor_id);
CREATE TABLE batches (
    venue_id TEXT NOT NULL,
    batch_id TEXT NOT NULL,
    vendor_id TEXT NOT NULL,
    product BIGINT NOT NULL,
    pass_count BIGINT NOT NULL,
    not_before_s BIGINT NOT NULL,
    expires_s BIGINT NOT NULL,
    issued_ms BIGINT NOT NULL,
    issued_by TEXT NOT NULL,
    PRIMARY KEY (venue_id, batch_id)
);
-- The issue log. A token is never stored: it is signed again from these values when it is printed.
CREATE TABLE passes (
    venue_id TEXT NOT NULL,
    cti TEXT NOT NULL,
    vendor_id TEXT NOT NULL,
    vendor_code TEXT NOT NULL,
    batch_id TEXT NOT NULL,
    place BIGINT NOT NULL,
    kid TEXT NOT NULL,
    product BIGINT NOT NULL,
    flags BIGINT NOT NULL,
    not_before_s BIGINT NOT NULL,
    expires_s BIGINT NOT NULL,
    short_code TEXT NOT NULL,
    standing TEXT NOT NULL,
    superseded_by TEXT,
    -- What the vendor wants to remember; erasable, never in the pass.
    reference TEXT,
    issued_ms BIGINT NOT NULL,
    PRIMARY KEY (venue_id, cti)
);
CREATE INDEX passes_by_batch ON passes (venue_id, batch_id, place);
CREATE INDEX passes_by_short_code ON passes (venue_id, short_code);
CREATE INDEX passes_by_vendor ON passes (venue_id, vendor_id, issued_ms);
CREATE TABLE idempotency (
    venue_id TEXT NOT NULL,
    principal TEXT NOT NULL,
    request_key TEXT NOT NULL,
    request_hash TEXT NOT NULL,
    answer TEXT NOT NULL,
    made_ms BIGINT NOT NULL,
    PRIMARY KEY (venue_id, principal, request_key)
);

-- Facts from gates. Only ever added.
CREATE TABLE events (
    venue_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    hash TEXT NOT NULL,
    previous TEXT NOT NULL,
    gate_id TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    received_ms BIGINT NOT NULL,
    kind TEXT NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (venue_id, device_id, epoch, seq)
);
CREATE TRIGGER events_keep BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'events are facts: they are never deleted'); END;
CREATE TRIGGER events_stay BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'events are facts: they are never changed'); END;
-- How far each epoch is held without a gap.
CREATE TABLE epochs (
    venue_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    -- The last event of the contiguous prefix, or -1.
    upto BIGINT NOT NULL,
    upto_hash TEXT NOT NULL,
    held BIGINT NOT NULL,
    -- What the first event says it continues, once it came.
    continues TEXT,
    PRIMARY KEY (venue_id, device_id, epoch)
);
-- Items that could not be applied, kept for a person.
CREATE TABLE parked (
    venue_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    hash TEXT NOT NULL,
    reason TEXT NOT NULL,
    bytes BLOB NOT NULL,
    received_ms BIGINT NOT NULL,
    PRIMARY KEY (venue_id, device_id, hash)
);
-- Contradictions, with their evidence.
CREATE TABLE alerts (
    venue_id TEXT NOT NULL,
    alert_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    gate_id TEXT,
    evidence TEXT NOT NULL,
    raised_ms BIGINT NOT NULL,
    PRIMARY KEY (venue_id, alert_id)
);
-- Events about an earlier event of the same device, in whichever order they came.
CREATE TABLE followups (
    venue_id TEXT NOT NULL,
    about TEXT NOT NULL,
    event TEXT NOT NULL,
    kind TEXT NOT NULL,
    amount BIGINT NOT NULL,
    PRIMARY KEY (venue_id, about, event)
);
CREATE TABLE uses (
    venue_id TEXT NOT NULL,
    event TEXT NOT NULL,
    vendor_code TEXT NOT NULL,
    cti TEXT NOT NULL,
    gate_id TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    service_day BIGINT NOT NULL,
    direction TEXT NOT NULL,
    charged BIGINT NOT NULL,
    annulled BIGINT NOT NULL,
    PRIMARY KEY (venue_id, event)
);
CREATE INDEX uses_by_pass ON uses (venue_id, cti);
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
    PRIMARY KEY (venue_id, zone_id, device_id, epoch, seq)
);
-- Their sums per actor since the zone's recount.
CREATE TABLE tallies (
    venue_id TEXT NOT NULL,
    zone_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    entries BIGINT NOT NULL,
    exits BIGINT NOT NULL,
    PRIMARY KEY (venue_id, zone_id, device_id, epoch)
);
CREATE TABLE rates (
    venue_id TEXT NOT NULL,
    bucket_ms BIGINT NOT NULL,
    gate_id TEXT NOT NULL,
    entries BIGINT NOT NULL,
    exits BIGINT NOT NULL,
    PRIMARY KEY (venue_id, bucket_ms, gate_id)
);
CREATE TABLE refusals (
    venue_id TEXT NOT NULL,
    service_day BIGINT NOT NULL,
    gate_id TEXT NOT NULL,
    reason TEXT NOT NULL,
    times BIGINT NOT NULL,
    PRIMARY KEY (venue_id, service_day, gate_id, reason)
);
CREATE TABLE health (
    venue_id TEXT NOT NULL,
    gate_id TEXT NOT NULL,
    part TEXT NOT NULL,
    working BIGINT NOT NULL,
    detail TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (venue_id, gate_id, part)
);
-- What managers did.
CREATE TABLE audit (
    venue_id TEXT NOT NULL,
    audit_id TEXT NOT NULL,
    person_id TEXT NOT NULL,
    action TEXT NOT NULL,
    before_value TEXT,
    after_value TEXT,
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (venue_id, audit_id)
);
CREATE TRIGGER audit_keep BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'what was done is never deleted'); END;
CREATE TRIGGER audit_stay BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'what was done is never changed'); END;
