//! Opening the database file: which SQLite, which settings, which schema, and whether it is still what was written.

use std::io::Read;
use std::path::Path;

use gate_core::mutant::{self, Mutant};
use rusqlite::{Connection, OpenFlags};

use super::checked::{Checked, Sum};
use super::error::{ReplicaError, classify};

/// `GPA1`: this file belongs to a gate-agent.
const APPLICATION: i64 = 0x4750_4131;

/// One SQL file per schema version, in order. Each carries its own SQL and imports nothing that may change.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_first.sql"),
    include_str!("migrations/0002_takeovers.sql"),
    include_str!("migrations/0003_append_only.sql"),
];

/// Refuses a SQLite that can corrupt a WAL database: fixed in 3.51.3, and 3.52.0 was withdrawn.
fn check_version(version: i32, text: &str) -> Result<(), ReplicaError> {
    if version < 3_051_003 || version == 3_052_000 {
        return Err(ReplicaError::UnsafeSqlite(text.to_owned()));
    }
    Ok(())
}

/// Opens the writer's connection and sets what every writer needs.
pub(crate) fn connect_writer(path: &Path) -> Result<Connection, ReplicaError> {
    check_version(rusqlite::version_number(), rusqlite::version())?;
    let failed = |e| classify(path, e);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags).map_err(failed)?;
    // Readers never block a writer in WAL mode; only a recovery by another opener does, for a moment.
    db.busy_timeout(std::time::Duration::from_secs(2)).map_err(failed)?;
    // Small pages: a scan changes a few rows in several tables, and each page costs the card a write.
    db.pragma_update(None, "page_size", 1024).map_err(failed)?;
    let mode: String = db.query_row("PRAGMA journal_mode=WAL", [], |row| row.get(0)).map_err(failed)?;
    if mode != "wal" {
        return Err(ReplicaError::Io {
            path: path.to_path_buf(),
            why: format!("journal mode is {mode}, WAL is needed"),
        });
    }
    set(&db, path)?;
    // FULL: a commit that returned survives a power cut. NORMAL may lose the last scans.
    let synchronous = if mutant::active(Mutant::SynchronousNormal) { "NORMAL" } else { "FULL" };
    db.pragma_update(None, "synchronous", synchronous).map_err(failed)?;
    // 8 MB each: a first download of a million passes touches pages all over the file.
    db.pragma_update(None, "cache_size", -8192).map_err(failed)?;
    db.pragma_update(None, "wal_autocheckpoint", 8000).map_err(failed)?;
    db.pragma_update(None, "journal_size_limit", 8 * 1024 * 1024).map_err(failed)?;
    Ok(db)
}

/// Opens a connection that can't change anything.
pub(crate) fn connect_reader(path: &Path) -> Result<Connection, ReplicaError> {
    check_version(rusqlite::version_number(), rusqlite::version())?;
    let failed = |e| classify(path, e);
    super::log_check::first_page(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags).map_err(failed)?;
    db.busy_timeout(std::time::Duration::from_secs(1)).map_err(failed)?;
    set(&db, path)?;
    // A decision must find the upper pages of every table in memory, however large the tables are.
    db.pragma_update(None, "cache_size", -8192).map_err(failed)?;
    let version: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed)?;
    refuse_newer(path, version)?;
    Ok(db)
}

/// What both kinds of connection need.
fn set(db: &Connection, path: &Path) -> Result<(), ReplicaError> {
    let failed = |e| classify(path, e);
    db.pragma_update(None, "trusted_schema", "OFF").map_err(failed)?;
    db.pragma_update(None, "cell_size_check", "ON").map_err(failed)?;
    // Never memory-mapped: an I/O error would be a signal instead of an error.
    db.pragma_update(None, "mmap_size", 0).map_err(failed)?;
    db.pragma_update(None, "temp_store", "MEMORY").map_err(failed)?;
    db.set_prepared_statement_cache_capacity(128);
    Ok(())
}

/// Schema versions that far ahead were never written.
const ABSURD: i64 = 1000;

fn refuse_newer(path: &Path, found: i64) -> Result<(), ReplicaError> {
    let known = MIGRATIONS.len() as i64;
    // No software has so many: the number itself is damaged, and the check of the file says so.
    if found > known && found < known + ABSURD {
        Err(ReplicaError::NewerSchema { path: path.to_path_buf(), found, known })
    } else {
        Ok(())
    }
}

/// Refuses a file that a newer software wrote, by its first bytes: opening it, even for reading, could already change it.
pub(crate) fn refuse_newer_file(path: &Path) -> Result<(), ReplicaError> {
    let mut header = [0; 100];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut header));
    // No file, a short one or one that can't be read: opening it says what is wrong.
    if read.is_err() {
        return Ok(());
    }
    let number = |at: usize| header[at..at + 4].iter().fold(0i64, |sum, byte| sum << 8 | i64::from(*byte));
    if number(68) == APPLICATION { refuse_newer(path, number(60)) } else { Ok(()) }
}

/// What is wrong with a database of a known schema: its structure, or a row that is not the one that was written.
pub(crate) fn find_damage(db: &Connection) -> rusqlite::Result<Option<String>> {
    // Not `quick_check`: that one passes over two pages that changed places, and then rows are there and not found.
    let verdict: String = db.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Ok(Some(verdict));
    }
    let version: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    // The sum is over the current schema's columns; an older file is summed up again when it is migrated.
    if version == MIGRATIONS.len() as i64 && Sum::stored(db)? != Sum::counted(db)? {
        return Ok(Some("the rows are not those that were written".to_owned()));
    }
    Ok(None)
}

/// Brings a database to the current schema and checks that nothing in it rotted.
pub(crate) fn prepare(db: &Connection, path: &Path) -> Result<(), ReplicaError> {
    migrate(db, path, MIGRATIONS)
}

fn migrate(db: &Connection, path: &Path, migrations: &[&str]) -> Result<(), ReplicaError> {
    let failed = |e| classify(path, e);
    let damaged = |why: String| ReplicaError::Damaged { path: path.to_path_buf(), why };
    let version: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed)?;
    let application: i64 = db.query_row("PRAGMA application_id", [], |row| row.get(0)).map_err(failed)?;
    let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(failed)?;
    let empty = version == 0 && application == 0 && tables == 0;
    if !empty {
        if application != APPLICATION {
            return Err(damaged(format!("application id {application:08x} is not a gate-agent's")));
        }
        refuse_newer(path, version)?;
        if !mutant::active(Mutant::NoCheckAtStart)
            && let Some(why) = find_damage(db).map_err(failed)?
        {
            return Err(damaged(why));
        }
    }
    let done = usize::try_from(version).map_err(|_| damaged(format!("schema version {version}")))?;
    if done < migrations.len() {
        let tx = rusqlite::Transaction::new_unchecked(db, rusqlite::TransactionBehavior::Immediate).map_err(failed)?;
        for sql in &migrations[done..] {
            tx.execute_batch(sql).map_err(failed)?;
        }
        if empty {
            Checked::begin_empty(&tx).finish().map_err(failed)?;
        } else {
            Sum::counted(&tx).and_then(|sum| sum.store(&tx)).map_err(failed)?;
        }
        tx.pragma_update(None, "application_id", APPLICATION).map_err(failed)?;
        tx.pragma_update(None, "user_version", migrations.len() as i64).map_err(failed)?;
        tx.commit().map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::testing::Folder;

    #[test]
    fn a_sqlite_with_the_wal_fault_is_refused() {
        for (version, good) in [
            (3_040_001, false),
            (3_051_002, false),
            (3_051_003, true),
            (3_052_000, false),
            (3_053_000, true),
            (3_054_001, true),
        ] {
            assert_eq!(check_version(version, "").is_ok(), good, "{version}");
        }
        assert!(check_version(rusqlite::version_number(), "").is_ok(), "the bundled one");
    }

    #[test]
    fn a_foreign_and_a_newer_file_are_named_and_left_alone() {
        let folder = Folder::new("schema");
        let foreign = folder.path().join("foreign.db");
        Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE t (a); INSERT INTO t VALUES (1)").unwrap();
        let db = connect_writer(&foreign).unwrap();
        assert!(matches!(prepare(&db, &foreign), Err(ReplicaError::Damaged { .. })));
        let newer = folder.path().join("newer.db");
        let db = connect_writer(&newer).unwrap();
        prepare(&db, &newer).unwrap();
        db.pragma_update(None, "user_version", 99).unwrap();
        assert!(matches!(prepare(&db, &newer), Err(ReplicaError::NewerSchema { found: 99, .. })));
        assert!(matches!(connect_reader(&newer), Err(ReplicaError::NewerSchema { found: 99, .. })));
    }

    #[test]
    fn every_earlier_schema_comes_up_to_date_with_its_rows_and_counts_them() {
        for version in 1..MIGRATIONS.len() {
            let folder = Folder::new("earlier");
            let path = folder.path().join("gate.db");
            let db = connect_writer(&path).unwrap();
            migrate(&db, &path, &MIGRATIONS[..1]).unwrap();
            // One that stayed, one that was taken back, and what took it back.
            db.execute_batch(
                "INSERT INTO movements VALUES (7, x'0102', 7, 1, 5, 1, 0), (8, x'0102', 8, 1, 6, 0, 1), (9, x'0102', 8, 1, 6, 1, 0)",
            )
            .unwrap();
            Sum::counted(&db).unwrap().store(&db).unwrap();
            migrate(&db, &path, &MIGRATIONS[..version]).unwrap();
            drop(db);
            let db = connect_writer(&path).unwrap();
            prepare(&db, &path).unwrap();
            let rows: Vec<(i64, i64, i64)> = db
                .prepare("SELECT position, entries, exits FROM movements ORDER BY position")
                .unwrap()
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
                .unwrap()
                .map(Result::unwrap)
                .collect();
            assert_eq!(rows, [(7, 1, 0), (8, 1, 1)], "version {version}");
            assert_eq!(Sum::stored(&db).unwrap(), Sum::counted(&db).unwrap(), "version {version}");
        }
    }

    #[test]
    fn an_older_schema_is_migrated_whole_or_not_at_all_and_keeps_its_rows() {
        let folder = Folder::new("migrate");
        let path = folder.path().join("gate.db");
        // A schema to come: a column more, and a table more.
        let with = |sql| MIGRATIONS.iter().copied().chain([sql]).collect::<Vec<&str>>();
        let next = with("ALTER TABLE uses ADD COLUMN note TEXT; CREATE TABLE extra (n INTEGER PRIMARY KEY);");
        let broken = with("CREATE TABLE extra (n INTEGER PRIMARY KEY); INSERT INTO nowhere VALUES (1);");
        let (known, later) = (MIGRATIONS.len() as i64, next.len() as i64);
        let mut venue = crate::replica::testing::Venue::new();
        let mut replica = venue.gate(&path);
        let id = crate::replica::testing::admit(&mut replica, 1, 0, 0);
        drop(replica);
        let before = std::fs::read(&path).unwrap();
        let db = connect_writer(&path).unwrap();
        assert!(migrate(&db, &path, &broken).is_err());
        drop(db);
        assert_eq!(std::fs::read(&path).unwrap(), before, "a migration that fails changes nothing");
        let db = connect_writer(&path).unwrap();
        migrate(&db, &path, &next).unwrap();
        let version: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
        assert_eq!(version, later);
        let kept: (i64, Option<String>) =
            db.query_row("SELECT own, note FROM uses", [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        assert_eq!(kept, (id.seq.cast_signed() + 1, None));
        assert_eq!(Sum::stored(&db).unwrap(), Sum::counted(&db).unwrap(), "every row still counts");
        drop(db);
        // And back: this software leaves the newer file alone, to the byte.
        let newer = std::fs::read(&path).unwrap();
        let refused = crate::replica::Replica::open(&path, crate::replica::testing::start(9)).unwrap_err();
        let newer_schema =
            matches!(refused, ReplicaError::NewerSchema { found: f, known: k, .. } if (f, k) == (later, known));
        assert!(newer_schema, "{refused}");
        assert!(refused.to_string().contains("Install the newer software again"));
        assert_eq!(std::fs::read(&path).unwrap(), newer);
        assert!(!folder.path().join("gate.db-wal").exists());
    }

    #[test]
    fn commits_are_synced_and_pages_are_small() {
        let folder = Folder::new("pragmas");
        let path = folder.path().join("gate.db");
        let db = connect_writer(&path).unwrap();
        prepare(&db, &path).unwrap();
        let pragma = |name: &str| {
            db.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, rusqlite::types::Value>(0)).unwrap()
        };
        assert_eq!(pragma("synchronous"), 2.into());
        assert_eq!(pragma("page_size"), 1024.into());
        assert_eq!(pragma("journal_mode"), "wal".to_owned().into());
    }
}
