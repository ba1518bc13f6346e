-- The first schema of a gate's database.
--
-- Every key grows in the order of writing, except those of passes and uses, which must be found by pass.
-- `position` counts the journal's events over all its epochs: an event (epoch, seq) stands at epochs.first + seq.
-- Blobs named `value` are canonical CBOR of sync v1 rows, which never change.

CREATE TABLE identity (
    only_one INTEGER PRIMARY KEY CHECK (only_one = 1),
    value BLOB NOT NULL
);

-- What almost every transaction changes lies together, so that a scan writes one page for it and not five.
-- kind 0: the sum over all other rows (see checked.rs). 1: an opening whose end is not known (name: position, one: what
-- is known, value: lane). 2: a zone's number (one: recount generation, two: demand). 3: what an actor counted in a zone
-- (one: entries, two: exits). 4: marks: how far the replica and the outbox are, the time floor. 5: the recount a zone
-- rests on.
CREATE TABLE state (
    kind INTEGER NOT NULL,
    name BLOB NOT NULL,
    one INTEGER NOT NULL,
    two INTEGER NOT NULL,
    value BLOB,
    PRIMARY KEY (kind, name)
) WITHOUT ROWID;

CREATE TABLE epochs (
    ordinal INTEGER PRIMARY KEY,
    device BLOB NOT NULL,
    epoch INTEGER NOT NULL,
    first INTEGER NOT NULL
);

-- class 0 goes up before class 1. The hash stands before the bytes, so that reading it does not read the pages behind.
CREATE TABLE events (
    position INTEGER PRIMARY KEY,
    class INTEGER NOT NULL,
    hash BLOB NOT NULL,
    bytes BLOB NOT NULL
);

-- Every event behind the mark `sent` waits to be sent, except those in `delivered` and in `quarantine`. Before the mark
-- only those wait that are in `outbox`: the cloud lost them. So nothing needs to be written for an event that waits.
CREATE TABLE delivered (
    position INTEGER PRIMARY KEY
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

-- Receipts for events of this device that this journal does not hold: somebody else writes as this device, or this card
-- was set back.
CREATE TABLE strangers (
    epoch INTEGER PRIMARY KEY,
    seq INTEGER NOT NULL,
    hash BLOB NOT NULL,
    bytes BLOB NOT NULL
);

-- own: position in this journal, 0 for what others reported. ends_s: when the pass ends, Unix seconds; 0 if not known.
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
    ends_s INTEGER NOT NULL,
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

CREATE TABLE statements (
    subject TEXT PRIMARY KEY,
    number INTEGER NOT NULL,
    value BLOB NOT NULL
) WITHOUT ROWID;

-- side: which copy of the replica. While it is fetched anew the new copy grows beside the one that decides.
-- kind: 1 venue, 2 zone, 3 gate, 4 vendor, 5 product.
CREATE TABLE settings (
    side INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    name BLOB NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (side, kind, name)
) WITHOUT ROWID;

CREATE TABLE passes (
    side INTEGER NOT NULL,
    pass BLOB NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (side, pass)
) WITHOUT ROWID;
