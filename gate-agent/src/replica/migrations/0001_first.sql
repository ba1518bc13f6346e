-- The first schema of a gate's database.
--
-- Every key grows in the order of writing, except those of passes and uses, which must be found by pass.
-- `position` counts the journal's events over all its epochs: an event (epoch, seq) stands at epochs.first + seq.
-- Blobs named `value` are canonical CBOR of sync v1 rows, which never change.

CREATE TABLE identity (
    only_one INTEGER PRIMARY KEY CHECK (only_one = 1),
    value BLOB NOT NULL
);

-- What changes together with almost every transaction. `digest` is the sum over all other rows, see checked.rs.
CREATE TABLE progress (
    only_one INTEGER PRIMARY KEY CHECK (only_one = 1),
    digest BLOB NOT NULL
);

-- Position, head and as-of of the replica; time floor; version of the key ring.
CREATE TABLE marks (
    name TEXT PRIMARY KEY,
    value NOT NULL
) WITHOUT ROWID;

CREATE TABLE epochs (
    ordinal INTEGER PRIMARY KEY,
    device BLOB NOT NULL,
    epoch INTEGER NOT NULL,
    first INTEGER NOT NULL
);

-- The hash stands before the bytes, so that reading it does not read the pages behind.
CREATE TABLE events (
    position INTEGER PRIMARY KEY,
    hash BLOB NOT NULL,
    bytes BLOB NOT NULL
);

CREATE TABLE outbox (
    position INTEGER PRIMARY KEY
);

CREATE TABLE quarantine (
    position INTEGER PRIMARY KEY,
    reason TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    held INTEGER NOT NULL,
    bytes BLOB NOT NULL
);

-- The newest receipt of each epoch and day: enough to prove what was acknowledged and to know when it was.
CREATE TABLE receipts (
    ordinal INTEGER NOT NULL,
    day INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    hash BLOB NOT NULL,
    heard_ms INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (ordinal, day)
) WITHOUT ROWID;

-- Admissions whose opening is not known yet.
CREATE TABLE unsettled (
    position INTEGER PRIMARY KEY,
    lane BLOB
);

CREATE TABLE uses (
    pass BLOB NOT NULL,
    event BLOB NOT NULL,
    own INTEGER NOT NULL,
    gate BLOB NOT NULL,
    at_ms INTEGER NOT NULL,
    day INTEGER NOT NULL,
    direction INTEGER NOT NULL,
    charged INTEGER NOT NULL,
    annulled INTEGER NOT NULL,
    outcome INTEGER NOT NULL,
    reopens BLOB,
    PRIMARY KEY (pass, event)
) WITHOUT ROWID;

-- What this device's own events added to zones, so that a recount can be applied to them later. `of` is the event whose
-- place before or after a recount decides: itself, or the one that is taken back; `at_ms` is when that one happened.
CREATE TABLE movements (
    position INTEGER NOT NULL,
    zone BLOB NOT NULL,
    of INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    entries INTEGER NOT NULL,
    exits INTEGER NOT NULL,
    PRIMARY KEY (position, zone)
) WITHOUT ROWID;

-- Whether an event was taken back already.
CREATE INDEX taken_back ON movements (of) WHERE of <> position;

CREATE TABLE zone_bases (
    zone BLOB PRIMARY KEY,
    generation INTEGER NOT NULL,
    demand INTEGER NOT NULL,
    value BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE zone_counts (
    zone BLOB NOT NULL,
    device BLOB NOT NULL,
    epoch INTEGER NOT NULL,
    entries INTEGER NOT NULL,
    exits INTEGER NOT NULL,
    PRIMARY KEY (zone, device, epoch)
) WITHOUT ROWID;

CREATE TABLE statements (
    subject TEXT PRIMARY KEY,
    number INTEGER NOT NULL,
    value BLOB NOT NULL
) WITHOUT ROWID;

-- kind: 1 venue, 2 zone, 3 gate, 4 vendor, 5 product.
CREATE TABLE settings (
    kind INTEGER NOT NULL,
    name BLOB NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (kind, name)
) WITHOUT ROWID;

CREATE TABLE passes (
    pass BLOB PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;
