//! The database, as the rest of the service sees it: one text of SQL, transactions as closures.
//!
//! [`Db::write`] takes an async closure, runs it in one transaction and commits if it gives `Ok`. An error, a panic or a
//! dropped future rolls back. Only calls on the [`Tx`] may be awaited inside. SQL uses `$n` placeholders whose first uses
//! ascend, and the types BIGINT, TEXT and BLOB, so that the same text runs on SQLite and PostgreSQL; `venue_id` leads
//! every key, so that venues can be spread over machines. Ids and times come from the application, never from SQL.

mod migrations;
mod sqlite;
mod value;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Mutex, OwnedMutexGuard};

use sqlite::Connection;
pub use sqlite::Mode;
pub use value::{FromValue, Row, Value};

/// Makes the parameters of a statement.
macro_rules! params {
    ($($value:expr),* $(,)?) => { &[$($crate::store::Value::from($value)),*][..] };
}
pub(crate) use params;

/// Why the database did not do it.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// A key exists already, or a row it names does not.
    #[error("the database refused a duplicate or dangling key: {0}")]
    Conflict(String),
    /// No space, or the disk refused.
    #[error("the database could not be written ({0}); free some space on its disk and start again")]
    Storage(String),
    /// The file is no database, or is damaged.
    #[error("the database is damaged ({0}); restore it from a backup, the service never writes into a damaged file")]
    Damaged(String),
    /// The file is a database of something else.
    #[error("this is another program's database; name another folder with --data, or move the file away")]
    Foreign,
    /// A value had another type than the code expects.
    #[error("column {column} holds {found}, expected {expected}")]
    Type {
        /// Column, from 0.
        column: usize,
        /// What is there.
        found: String,
        /// What should be.
        expected: &'static str,
    },
    /// The database thread has ended.
    #[error("the database is closed")]
    Closed,
    /// Anything else; a mistake in a statement.
    #[error("database: {0}")]
    Statement(String),
    /// The database was written by a newer version.
    #[error("the database has schema {found}, this version knows {known}: start the newer version of cloud-sync")]
    Newer {
        /// Found.
        found: i64,
        /// Known.
        known: i64,
    },
}

/// A handle on the database; clones share it.
#[derive(Clone)]
pub struct Db {
    writer: Arc<Mutex<Connection>>,
    readers: Arc<Vec<Arc<Mutex<Connection>>>>,
    turn: Arc<AtomicUsize>,
}

/// Connections that read while the writer writes.
const READERS: usize = 2;

impl Db {
    /// Opens or creates the SQLite database, checks it and brings its schema up to date.
    ///
    /// [`Mode::Threads`] puts each connection on a thread of its own; [`Mode::Inline`] runs statements on the caller's,
    /// for simulations where a thread would destroy repeatability.
    pub async fn open(path: &Path, mode: Mode) -> Result<Self, DbError> {
        let writer = Arc::new(Mutex::new(Connection::open(Some(path), false, mode)?));
        let readers = match mode {
            Mode::Inline => vec![Arc::clone(&writer)],
            Mode::Threads => {
                let mut readers = Vec::new();
                for _ in 0..READERS {
                    readers.push(Arc::new(Mutex::new(Connection::open(Some(path), true, mode)?)));
                }
                readers
            }
        };
        Self::start(writer, readers).await
    }

    /// A database in memory, inline.
    pub async fn in_memory() -> Result<Self, DbError> {
        let writer = Arc::new(Mutex::new(Connection::open(None, false, Mode::Inline)?));
        let readers = vec![Arc::clone(&writer)];
        Self::start(writer, readers).await
    }

    async fn start(writer: Arc<Mutex<Connection>>, readers: Vec<Arc<Mutex<Connection>>>) -> Result<Self, DbError> {
        let db = Self { writer, readers: Arc::new(readers), turn: Arc::default() };
        migrations::run(&db).await?;
        Ok(db)
    }

    /// Runs a closure in a transaction that alone may write, and commits if it gives `Ok`.
    pub async fn write<T, E, F>(&self, work: F) -> Result<T, E>
    where
        E: From<DbError>,
        F: AsyncFnOnce(&mut Tx) -> Result<T, E>,
    {
        let mut tx = Tx::begin(Arc::clone(&self.writer), "BEGIN IMMEDIATE").await?;
        let value = work(&mut tx).await?;
        tx.commit().await?;
        Ok(value)
    }

    /// Runs a closure on one consistent state of the database.
    pub async fn read<T, E, F>(&self, work: F) -> Result<T, E>
    where
        E: From<DbError>,
        F: AsyncFnOnce(&mut Tx) -> Result<T, E>,
    {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.readers.len().max(1);
        let reader = self.readers.get(turn).unwrap_or(&self.writer);
        let mut tx = Tx::begin(Arc::clone(reader), "BEGIN").await?;
        let value = work(&mut tx).await?;
        tx.commit().await?;
        Ok(value)
    }
}

/// A transaction. Rolls back when dropped.
pub struct Tx {
    connection: OwnedMutexGuard<Connection>,
    open: bool,
}

impl Tx {
    async fn begin(connection: Arc<Mutex<Connection>>, begin: &'static str) -> Result<Self, DbError> {
        let mut tx = Self { connection: connection.lock_owned().await, open: true };
        tx.execute(begin, &[]).await?;
        Ok(tx)
    }

    async fn commit(mut self) -> Result<(), DbError> {
        self.execute("COMMIT", &[]).await?;
        self.open = false;
        Ok(())
    }

    /// Runs a statement and says how many rows it changed.
    pub async fn execute(&mut self, sql: &str, params: &[Value]) -> Result<usize, DbError> {
        self.connection.call(sql, params).await.map(|answer| answer.changed)
    }

    /// Runs a statement and gives its rows.
    pub async fn query(&mut self, sql: &str, params: &[Value]) -> Result<Vec<Row>, DbError> {
        self.connection.call(sql, params).await.map(|answer| answer.rows)
    }

    /// Runs a statement and gives its first row, if there is one.
    pub async fn first(&mut self, sql: &str, params: &[Value]) -> Result<Option<Row>, DbError> {
        self.query(sql, params).await.map(|rows| rows.into_iter().next())
    }

    /// Runs a statement that gives one whole number, such as a count.
    pub async fn number(&mut self, sql: &str, params: &[Value]) -> Result<i64, DbError> {
        match self.first(sql, params).await? {
            Some(row) => row.get(0),
            None => Ok(0),
        }
    }

    /// Runs several statements that take no parameters.
    pub(crate) async fn script(&mut self, sql: &'static str) -> Result<(), DbError> {
        self.connection.script(sql).await
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        if self.open {
            self.connection.roll_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn count(db: &Db) -> i64 {
        db.read(async |tx| tx.number("SELECT COUNT(*) FROM settings", &[]).await).await.unwrap()
    }

    async fn insert(tx: &mut Tx, name: &str) -> Result<(), DbError> {
        tx.execute("INSERT INTO settings (name, value) VALUES ($1, $2)", params![name, "x"]).await.map(|_| ())
    }

    async fn check_transactions(db: Db) {
        db.write(async |tx| insert(tx, "kept").await).await.unwrap();
        let failed: Result<(), DbError> = db
            .write(async |tx| {
                insert(tx, "gone with the error").await?;
                insert(tx, "kept").await
            })
            .await;
        assert!(matches!(failed, Err(DbError::Conflict(_))), "{failed:?}");
        assert_eq!(count(&db).await, 1, "an error rolls back");

        let cancelled = db.write(async |tx| {
            insert(tx, "gone with the future").await?;
            std::future::pending::<()>().await;
            Ok::<(), DbError>(())
        });
        tokio::select! {
            biased;
            _ = cancelled => panic!("never ends"),
            () = async { for _ in 0..100 { tokio::task::yield_now().await } } => {}
        }
        assert_eq!(count(&db).await, 1, "a dropped future rolls back");

        let other = db.clone();
        let panicked = tokio::spawn(async move {
            other
                .write(async |tx| {
                    insert(tx, "gone with the panic").await?;
                    if tx.number("SELECT 1", &[]).await? == 1 {
                        panic!("on purpose");
                    }
                    Ok::<(), DbError>(())
                })
                .await
        })
        .await;
        assert!(panicked.is_err());
        assert_eq!(count(&db).await, 1, "a panic rolls back");
        db.write(async |tx| insert(tx, "still works").await).await.unwrap();
        assert_eq!(count(&db).await, 2);
    }

    #[tokio::test]
    async fn only_a_finished_closure_is_committed() {
        check_transactions(Db::in_memory().await.unwrap()).await;
        let folder = crate::testing::Folder::new("transactions");
        check_transactions(Db::open(&folder.path("cloud.db"), Mode::Threads).await.unwrap()).await;
    }

    #[tokio::test]
    async fn placeholders_must_ascend_so_that_one_text_means_the_same_on_both_engines() {
        let db = Db::in_memory().await.unwrap();
        let result: Result<i64, DbError> = db.read(async |tx| tx.number("SELECT $2 + $1", params![1, 2]).await).await;
        assert!(matches!(result, Err(DbError::Statement(_))));
        let sum: i64 = db
            .read(async |tx| tx.number("SELECT $1 + $2 + $1", params![1, 2]).await)
            .await
            .map_err(|e: DbError| e)
            .unwrap();
        assert_eq!(sum, 4);
    }

    #[tokio::test]
    async fn a_file_that_is_no_database_is_refused_with_a_cure() {
        let folder = crate::testing::Folder::new("damaged");
        let path = folder.path("cloud.db");
        std::fs::write(&path, b"this is not a database, it only looks like a file".repeat(100)).unwrap();
        let error = Db::open(&path, Mode::Threads).await.err().unwrap();
        assert!(error.to_string().contains("restore it from a backup"), "{error}");
    }
}
