//! Brings the schema up to date. A migration carries its own SQL and never imports a type that may change.

use super::{Db, DbError, params};

/// In order; a migration that was ever released is never edited.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_first.sql"),
    include_str!("migrations/0002_rights.sql"),
    include_str!("migrations/0003_conflicts.sql"),
];

pub(super) async fn run(db: &Db) -> Result<(), DbError> {
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    db.write(async |tx| {
        tx.script("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL PRIMARY KEY)").await?;
        let found = tx.number("SELECT COALESCE(MAX(version), 0) FROM schema_version", &[]).await?;
        if found > known {
            return Err(DbError::Newer { found, known });
        }
        for (number, sql) in (1i64..).zip(MIGRATIONS) {
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
}
