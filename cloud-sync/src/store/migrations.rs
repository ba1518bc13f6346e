//! Brings the schema up to date. A migration carries its own SQL and never imports a type that may change.

use super::{Db, DbError, params};

/// In order; a migration that was ever released is never edited.
const MIGRATIONS: &[&str] = &[include_str!("migrations/0001_first.sql")];

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
