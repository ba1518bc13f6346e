//! Brings the schema up to date. A migration carries its own SQL and never imports a type that may change.

use super::{Db, DbError, params};

/// In order; a migration that was ever released is never edited.
const MIGRATIONS: &[&str] = &[include_str!("migrations/0001_first.sql"), include_str!("migrations/0002_rights.sql")];

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
}
