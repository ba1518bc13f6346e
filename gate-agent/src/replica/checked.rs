//! Rows that can't rot unseen.
//!
//! SQLite notices a damaged page only where its structure breaks; a flipped bit in a row's content would be served as
//! truth, and one in a key would make a revoked pass look unused. So every row counts into one sum of truncated
//! SHA-256 digests, changed in the transaction that changes the row and recomputed when the database is opened.

use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, Result, params_from_iter};
use sha2::{Digest, Sha256};

/// A table whose rows are checked.
pub(crate) struct Table {
    pub(crate) name: &'static str,
    /// Columns that enter the digest, the key first.
    columns: &'static [&'static str],
    /// How many of them are the key.
    key: usize,
    /// Columns stored but covered by another one (an event's bytes by its hash).
    extra: &'static [&'static str],
    insert: &'static str,
    replace: &'static str,
    select: &'static str,
    delete: &'static str,
}

macro_rules! table {
    ($id:ident, $name:literal, [$($key:literal),+], $where:literal, [$($column:literal),*], [$($extra:literal),*], $marks:literal) => {
        pub(crate) const $id: Table = Table {
            name: $name,
            columns: &[$($key,)+ $($column,)*],
            key: [$($key),+].len(),
            extra: &[$($extra),*],
            insert: concat!("INSERT OR IGNORE INTO ", $name, " VALUES (", $marks, ")"),
            replace: concat!("INSERT OR REPLACE INTO ", $name, " VALUES (", $marks, ")"),
            select: concat!("SELECT * FROM ", $name, " WHERE ", $where),
            delete: concat!("DELETE FROM ", $name, " WHERE ", $where),
        };
    };
}

table!(IDENTITY, "identity", ["only_one"], "only_one = ?1", ["value"], [], "?1,?2");
table!(STATE, "state", ["kind", "name"], "kind = ?1 AND name = ?2", ["one", "two", "value"], [], "?1,?2,?3,?4,?5");
table!(EPOCHS, "epochs", ["ordinal"], "ordinal = ?1", ["device", "epoch", "first"], [], "?1,?2,?3,?4");
table!(EVENTS, "events", ["position"], "position = ?1", ["class", "hash"], ["bytes"], "?1,?2,?3,?4");
table!(DELIVERED, "delivered", ["position"], "position = ?1", [], [], "?1");
table!(OUTBOX, "outbox", ["position"], "position = ?1", [], [], "?1");
table!(
    QUARANTINE,
    "quarantine",
    ["position"],
    "position = ?1",
    ["reason", "at_ms", "held", "bytes"],
    [],
    "?1,?2,?3,?4,?5"
);
table!(
    RECEIPTS,
    "receipts",
    ["ordinal", "day"],
    "ordinal = ?1 AND day = ?2",
    ["seq", "hash", "heard_ms", "bytes"],
    [],
    "?1,?2,?3,?4,?5,?6"
);
table!(STRANGERS, "strangers", ["epoch"], "epoch = ?1", ["seq", "hash", "bytes"], [], "?1,?2,?3,?4");
table!(
    USES,
    "uses",
    ["pass", "event"],
    "pass = ?1 AND event = ?2",
    ["own", "gate", "at_ms", "day", "direction", "charged", "annulled", "ends_s", "reopens"],
    [],
    "?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11"
);
table!(
    MOVEMENTS,
    "movements",
    ["position", "zone"],
    "position = ?1 AND zone = ?2",
    ["generation", "at_ms", "entries", "exits"],
    [],
    "?1,?2,?3,?4,?5,?6"
);
table!(STATEMENTS, "statements", ["subject"], "subject = ?1", ["number", "value"], [], "?1,?2,?3");
table!(
    SETTINGS,
    "settings",
    ["side", "kind", "name"],
    "side = ?1 AND kind = ?2 AND name = ?3",
    ["value"],
    [],
    "?1,?2,?3,?4"
);
table!(PASSES, "passes", ["side", "pass"], "side = ?1 AND pass = ?2", ["value"], [], "?1,?2,?3");

/// All checked tables.
const ALL: &[Table] = &[
    IDENTITY, STATE, EPOCHS, EVENTS, DELIVERED, OUTBOX, QUARANTINE, RECEIPTS, STRANGERS, USES, MOVEMENTS, STATEMENTS,
    SETTINGS, PASSES,
];

/// The row of the table `state` that holds the sum; it does not count itself.
const OWN_ROW: &str = "kind = 0";

/// The sum over all rows, as it stands after the changes made so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Sum(u128);

impl Sum {
    /// Reads the sum that was stored with the last transaction.
    pub(crate) fn stored(db: &Connection) -> Result<Self> {
        let bytes: [u8; 16] = db
            .prepare_cached("SELECT value FROM state WHERE kind = 0 AND name = x''")?
            .query_row([], |row| row.get(0))?;
        Ok(Self(u128::from_be_bytes(bytes)))
    }

    /// Stores the sum.
    pub(crate) fn store(self, db: &Connection) -> Result<()> {
        db.prepare_cached("INSERT OR REPLACE INTO state VALUES (0, x'', 0, 0, ?1)")?
            .execute([self.0.to_be_bytes()])
            .map(|_| ())
    }

    /// As it is stored.
    pub(crate) fn bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// Adds up what really stands in the tables.
    pub(crate) fn counted(db: &Connection) -> Result<Self> {
        let mut sum = Self::default();
        for table in ALL {
            let mut sql = format!("SELECT {} FROM {}", table.columns.join(","), table.name);
            if table.name == STATE.name {
                sql.push_str(&format!(" WHERE NOT {OWN_ROW}"));
            }
            let mut statement = db.prepare(&sql)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let mut digest = RowDigest::new(table.name);
                for at in 0..table.columns.len() {
                    digest.take(row.get_ref(at)?);
                }
                sum.0 = sum.0.wrapping_add(digest.finish());
            }
        }
        Ok(sum)
    }
}

/// Changes rows and keeps the sum. Lives as long as one transaction.
pub(crate) struct Checked<'t> {
    db: &'t Connection,
    sum: Sum,
}

impl<'t> Checked<'t> {
    /// Begins with the stored sum. `db` must be inside a transaction.
    pub(crate) fn begin(db: &'t Connection) -> Result<Self> {
        Ok(Self { db, sum: Sum::stored(db)? })
    }

    /// Begins in an empty database.
    pub(crate) fn begin_empty(db: &'t Connection) -> Self {
        Self { db, sum: Sum::default() }
    }

    /// The connection, for reading.
    pub(crate) fn db(&self) -> &'t Connection {
        self.db
    }

    /// Writes a row, in place of the one with its key if there is one.
    pub(crate) fn put(&mut self, table: &Table, row: &[Value]) -> Result<()> {
        debug_assert_eq!(row.len(), table.columns.len() + table.extra.len(), "{}", table.name);
        let fresh = self.db.prepare_cached(table.insert)?.execute(params_from_iter(row))? == 1;
        if !fresh {
            self.take_out(table, &row[..table.key])?;
            self.db.prepare_cached(table.replace)?.execute(params_from_iter(row))?;
        }
        let mut digest = RowDigest::new(table.name);
        for value in &row[..table.columns.len()] {
            digest.take(value.into());
        }
        self.sum.0 = self.sum.0.wrapping_add(digest.finish());
        Ok(())
    }

    /// Removes a row; says whether it was there.
    pub(crate) fn remove(&mut self, table: &Table, key: &[Value]) -> Result<bool> {
        let there = self.take_out(table, key)?;
        if there {
            self.db.prepare_cached(table.delete)?.execute(params_from_iter(key))?;
        }
        Ok(there)
    }

    /// Takes the row with this key out of the sum.
    fn take_out(&mut self, table: &Table, key: &[Value]) -> Result<bool> {
        let mut statement = self.db.prepare_cached(table.select)?;
        let mut rows = statement.query(params_from_iter(key))?;
        let Some(row) = rows.next()? else { return Ok(false) };
        let mut digest = RowDigest::new(table.name);
        for at in 0..table.columns.len() {
            digest.take(row.get_ref(at)?);
        }
        self.sum.0 = self.sum.0.wrapping_sub(digest.finish());
        Ok(true)
    }

    /// Stores the sum: the last thing before the commit.
    pub(crate) fn finish(self) -> Result<()> {
        self.sum.store(self.db)
    }
}

/// The digest of one row: table, then each value with its type and length.
struct RowDigest(Sha256);

impl RowDigest {
    fn new(table: &str) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(table.as_bytes());
        Self(hasher)
    }

    fn take(&mut self, value: ValueRef<'_>) {
        let (kind, bytes): (u8, &[u8]) = match value {
            ValueRef::Null => (0, &[]),
            ValueRef::Integer(n) => {
                self.0.update([1]);
                self.0.update(n.to_be_bytes());
                return;
            }
            ValueRef::Real(n) => {
                self.0.update([2]);
                self.0.update(n.to_be_bytes());
                return;
            }
            ValueRef::Text(bytes) => (3, bytes),
            ValueRef::Blob(bytes) => (4, bytes),
        };
        self.0.update([kind]);
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }

    fn finish(self) -> u128 {
        let hash: [u8; 32] = self.0.finalize().into();
        hash.iter().take(16).fold(0, |sum, byte| sum << 8 | u128::from(*byte))
    }
}
