//! Brings the schema up to date. A migration carries its own SQL and never imports a type that may change.

use super::{Db, DbError, params};

/// In order; a migration that was ever released is never edited.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_first.sql"),
    include_str!("migrations/0002_rights.sql"),
    include_str!("migrations/0003_conflicts.sql"),
    include_str!("migrations/0004_resets.sql"),
    include_str!("migrations/0005_exits.sql"),
    include_str!("migrations/0006_count_due.sql"),
    include_str!("migrations/0007_takeovers.sql"),
    include_str!("migrations/0008_shown.sql"),
];

pub(super) async fn run(db: &Db) -> Result<(), DbError> {
    run_all(db, MIGRATIONS).await
}

async fn run_all(db: &Db, migrations: &'static [&'static str]) -> Result<(), DbError> {
    let known = i64::try_from(migrations.len()).unwrap_or(i64::MAX);
    db.write(async |tx| {
        tx.script("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL PRIMARY KEY)").await?;
        let found = tx.number("SELECT COALESCE(MAX(version), 0) FROM schema_version", &[]).await?;
        if found > known {
            return Err(DbError::Newer { found, known });
        }
        for (number, sql) in (1i64..).zip(migrations) {
            if number > found {
                tx.script(sql).await?;
                tx.execute("INSERT INTO schema_version (version) VALUES ($1)", params![number]).await?;
            }
        }
        Ok(())
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Mode;

    #[tokio::test]
    async fn a_database_of_the_first_version_is_brought_up_to_date_with_what_is_in_it() {
        let folder = crate::testing::Folder::new("migrations");
        let path = folder.path("cloud.db");
        let old = rusqlite::Connection::open(&path).unwrap();
        old.execute_batch(
            "CREATE TABLE schema_version (version BIGINT NOT NULL PRIMARY KEY); INSERT INTO schema_version VALUES (1);",
        )
        .unwrap();
        old.execute_batch(MIGRATIONS[0]).unwrap();
        old.execute_batch("INSERT INTO zones VALUES ('v', 'z', 'Lot', NULL, 220, 90, 0, 'g', 'open', x'', 0)").unwrap();
        drop(old);
        for _ in 0..2 {
            let db = Db::open(&path, Mode::Inline).await.unwrap();
            let row = db
                .read(async |tx| {
                    let sql = "SELECT capacity, rights_holder, released_by, released_at, over_capacity FROM zones";
                    tx.first(sql, &[]).await
                })
                .await
                .map_err(|error: DbError| error)
                .unwrap()
                .unwrap();
            assert_eq!((row.get(0).unwrap(), row.get(1).unwrap()), (220i64, "g".to_owned()));
            assert_eq!((row.get(2).unwrap(), row.get(3).unwrap(), row.get(4).unwrap()), (None::<String>, 0i64, false));
        }
    }

    /// What managers were alarmed of stays, what follows from events is found again, and that is asked for.
    #[tokio::test]
    async fn alerts_become_conflicts_and_numbers_are_made_anew_if_there_are_events() {
        for events in [false, true] {
            let folder = crate::testing::Folder::new("inbox");
            let path = folder.path("cloud.db");
            let old = rusqlite::Connection::open(&path).unwrap();
            old.execute_batch(
                "CREATE TABLE schema_version (version BIGINT NOT NULL PRIMARY KEY); INSERT INTO schema_version VALUES (1), (2);",
            )
            .unwrap();
            old.execute_batch(MIGRATIONS[0]).unwrap();
            old.execute_batch(MIGRATIONS[1]).unwrap();
            old.execute_batch("INSERT INTO alerts VALUES ('v', 'a', 'fork', 'g', 'two of them', 5), ('v', 'b', 'double_use', 'g', 'twice', 6)")
                .unwrap();
            if events {
                old.execute_batch("INSERT INTO events VALUES ('v', 'd', 1, 0, 'h', 'p', 'g', 1, 1, 'noise', x'00')")
                    .unwrap();
            }
            drop(old);
            let db = Db::open(&path, Mode::Inline).await.unwrap();
            let (kept, asked) = db
                .read(async |tx| {
                    let kept = tx.query("SELECT kind, evidence, raised_ms, standing FROM conflicts", &[]).await?;
                    Ok((kept, tx.number("SELECT COUNT(*) FROM settings WHERE name = 'rebuild'", &[]).await?))
                })
                .await
                .map_err(|error: DbError| error)
                .unwrap();
            assert_eq!(kept.len(), 1);
            assert_eq!(
                (kept[0].get::<String>(0).unwrap(), kept[0].get::<String>(1).unwrap()),
                ("fork".into(), "two of them".into())
            );
            assert_eq!(asked, i64::from(events));
        }
    }

    /// Tables that the third migration made anew: they follow from the events, of which a rebuild makes them again, but for
    /// the alerts, which became conflicts (they have a test of their own).
    const MADE_ANEW: &[&str] = &["alerts", "epochs", "followups", "health", "passages", "uses"];

    /// Columns that a later migration took away, because nothing rests on them any more.
    const GONE: &[(&str, &str)] =
        &[("openings", "reopens"), ("openings", "completed"), ("passages", "of_epoch"), ("passages", "of_seq")];

    type Rows = std::collections::BTreeSet<String>;

    /// Tables with their columns, each with its type.
    fn tables(db: &rusqlite::Connection) -> std::collections::BTreeMap<String, Vec<(String, String)>> {
        const TABLES: &str = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name <> 'schema_version'";
        let names = |sql: &str| -> Vec<(String, String)> {
            let mut statement = db.prepare(sql).unwrap();
            let width = statement.column_count();
            let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(width - 1)?));
            statement.query_map([], row).unwrap().map(Result::unwrap).collect()
        };
        let columns = |table: &str| names(&format!("SELECT name, type FROM pragma_table_info('{table}')"));
        names(TABLES).into_iter().map(|(table, _)| (table.clone(), columns(&table))).collect()
    }

    /// All rows of a table in these columns, in words.
    fn rows(db: &rusqlite::Connection, table: &str, columns: &[(String, String)]) -> Rows {
        let list = columns.iter().map(|(name, _)| format!("quote({name})")).collect::<Vec<_>>().join(" || ',' || ");
        let mut statement = db.prepare(&format!("SELECT {list} FROM {table}")).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    /// A database as the software of a version made it, with rows in every table that it had.
    fn of_version(path: &std::path::Path, version: usize) -> rusqlite::Connection {
        let db = rusqlite::Connection::open(path).unwrap();
        // The rows are made up: what they refer to is not there.
        db.execute_batch(
            "PRAGMA foreign_keys = OFF; CREATE TABLE schema_version (version BIGINT NOT NULL PRIMARY KEY)",
        )
        .unwrap();
        for (number, sql) in (1..=version).zip(MIGRATIONS) {
            db.execute_batch(sql).unwrap();
            db.execute("INSERT INTO schema_version VALUES (?1)", [number as i64]).unwrap();
        }
        for (table, columns) in tables(&db) {
            for n in 0..3 {
                let value = |at: usize, kind: &str| match kind {
                    "TEXT" => format!("'{table} {at} {n}'"),
                    "BLOB" => format!("x'{:02x}{n:02x}'", at),
                    _ => (1_000 + at * 10 + n).to_string(),
                };
                let values = columns.iter().enumerate().map(|(at, (_, kind))| value(at, kind)).collect::<Vec<_>>();
                db.execute_batch(&format!("INSERT INTO {table} VALUES ({})", values.join(", "))).unwrap();
            }
        }
        db
    }

    /// each earlier schema there was, with rows in every table, comes up to date without losing one; and the
    /// software of each earlier schema leaves what a later one wrote alone, and says so.
    #[tokio::test]
    async fn every_earlier_schema_comes_up_to_date_whole_and_leaves_a_later_one_alone() {
        for version in 1..=MIGRATIONS.len() {
            let folder = crate::testing::Folder::new("matrix");
            let path = folder.path("cloud.db");
            let old = of_version(&path, version);
            let before: Vec<_> = tables(&old)
                .into_iter()
                .map(|(table, mut columns)| {
                    columns.retain(|(column, _)| !GONE.contains(&(table.as_str(), column.as_str())));
                    (rows(&old, &table, &columns), table, columns)
                })
                .collect();
            assert!(before.len() > 15 && before.iter().all(|(rows, ..)| rows.len() == 3), "version {version}");
            drop(old);
            drop(Db::open(&path, Mode::Inline).await.unwrap());
            let now = rusqlite::Connection::open(&path).unwrap();
            let known = tables(&now);
            for (rows_before, table, columns) in before {
                if version >= 3 || !MADE_ANEW.contains(&table.as_str()) {
                    assert!(known.contains_key(&table), "version {version}: {table} is gone");
                    let kept = rows(&now, &table, &columns);
                    assert!(
                        kept.is_superset(&rows_before),
                        "version {version}: {table} lost {:?}",
                        rows_before.difference(&kept)
                    );
                }
            }
            drop(now);

            // And back: today's file under the software of that version.
            let bytes = std::fs::read(&path).unwrap();
            let db = Db::open(&path, Mode::Inline).await.unwrap();
            let refused = run_all(&db, &MIGRATIONS[..version]).await;
            if version < MIGRATIONS.len() {
                let why = refused.unwrap_err();
                let (found, knows) = (MIGRATIONS.len() as i64, version as i64);
                assert!(matches!(why, DbError::Newer { found: f, known: k } if (f, k) == (found, knows)), "{why}");
            } else {
                refused.unwrap();
            }
            drop(db);
            assert!(std::fs::read(&path).unwrap() == bytes, "version {version}: the file is as it was, to the byte");
        }
    }
}
