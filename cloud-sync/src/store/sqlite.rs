//! SQLite behind [`super::Db`]: a connection on a thread of its own, or on the caller's.

use std::path::Path;
use std::sync::mpsc;

use rusqlite::types::ValueRef;
use rusqlite::{ErrorCode, OpenFlags};
use tokio::sync::oneshot;

use super::DbError;
use super::value::{Row, Value};

/// Where statements run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// On one thread per connection: a slow disk stops no request that needs no disk.
    Threads,
    /// On the caller's thread: nothing happens that the caller did not ask for.
    Inline,
}

/// What a statement gave.
pub(super) struct Answer {
    pub(super) changed: usize,
    pub(super) rows: Vec<Row>,
}

type Job = Box<dyn FnOnce(&rusqlite::Connection) + Send>;

/// One connection. The owner of its lock is inside a transaction.
pub(super) enum Connection {
    Here(rusqlite::Connection),
    Elsewhere(mpsc::Sender<Job>),
}

impl Connection {
    /// Opens the file, or a database in memory, and checks that it can be relied on.
    pub(super) fn open(path: Option<&Path>, reads_only: bool, mode: Mode) -> Result<Self, DbError> {
        let connection = connect(path, reads_only)?;
        match mode {
            Mode::Inline => Ok(Self::Here(connection)),
            Mode::Threads => {
                // Whoever holds the connection's lock waits for each answer, so at most one job and a rollback wait.
                let (jobs, inbox) = mpsc::channel::<Job>();
                let name = if reads_only { "sqlite-read" } else { "sqlite-write" };
                std::thread::Builder::new()
                    .name(name.to_owned())
                    .spawn(move || {
                        for job in inbox {
                            job(&connection);
                        }
                    })
                    .map_err(|e| DbError::Statement(format!("no thread for the database: {e}")))?;
                Ok(Self::Elsewhere(jobs))
            }
        }
    }

    pub(super) async fn call(&mut self, sql: &str, params: &[Value]) -> Result<Answer, DbError> {
        let answer = match self {
            Self::Here(connection) => return run(connection, sql, params),
            Self::Elsewhere(jobs) => {
                let (reply, answer) = oneshot::channel();
                let (sql, params) = (sql.to_owned(), params.to_vec());
                let job: Job = Box::new(move |connection| {
                    // Nobody waits any more if the asking future was dropped; the rollback follows.
                    let _ = reply.send(run(connection, &sql, &params));
                });
                jobs.send(job).map_err(|_| DbError::Closed)?;
                answer
            }
        };
        answer.await.map_err(|_| DbError::Closed)?
    }

    pub(super) async fn script(&mut self, sql: &'static str) -> Result<(), DbError> {
        let answer = match self {
            Self::Here(connection) => return connection.execute_batch(sql).map_err(translate),
            Self::Elsewhere(jobs) => {
                let (reply, answer) = oneshot::channel();
                let job: Job = Box::new(move |connection| {
                    let _ = reply.send(connection.execute_batch(sql).map_err(translate));
                });
                jobs.send(job).map_err(|_| DbError::Closed)?;
                answer
            }
        };
        answer.await.map_err(|_| DbError::Closed)?
    }

    /// Rolls back without waiting; the thread does it before any later job.
    pub(super) fn roll_back(&mut self) {
        let roll_back = |connection: &rusqlite::Connection| {
            if !connection.is_autocommit()
                && let Err(error) = connection.execute_batch("ROLLBACK")
            {
                tracing::error!(%error, "the database could not roll back");
            }
        };
        match self {
            Self::Here(connection) => roll_back(connection),
            Self::Elsewhere(jobs) => {
                // A closed channel means that the thread and its connection are gone, which rolls back too.
                let _ = jobs.send(Box::new(roll_back));
            }
        }
    }
}

fn connect(path: Option<&Path>, reads_only: bool) -> Result<rusqlite::Connection, DbError> {
    let connection = match path {
        None => rusqlite::Connection::open_in_memory(),
        Some(path) => rusqlite::Connection::open_with_flags(
            path,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        ),
    }
    .map_err(translate)?;
    connection.busy_timeout(std::time::Duration::from_secs(10)).map_err(translate)?;
    connection.set_prepared_statement_cache_capacity(128);
    if is_foreign(&connection)? {
        return Err(DbError::Foreign);
    }
    // 64 MiB of pages: with a million events the inner pages of every index must stay in memory.
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; PRAGMA cache_size = -65536;",
        )
        .map_err(translate)?;
    if reads_only {
        connection.execute_batch("PRAGMA query_only = ON;").map_err(translate)?;
    } else {
        let health: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(translate)?;
        if health != "ok" {
            return Err(DbError::Damaged(health));
        }
    }
    Ok(connection)
}

/// Whether the file holds tables, but not ours. Asked before anything is written into it.
fn is_foreign(connection: &rusqlite::Connection) -> Result<bool, DbError> {
    let count = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(translate);
    let tables = count("SELECT COUNT(*) FROM sqlite_master WHERE type = 'table'")?;
    let ours = count(
        "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name IN ('schema_version', 'venue_keys', 'throttle')",
    )?;
    Ok(tables > 0 && ours < 3)
}

fn run(connection: &rusqlite::Connection, sql: &str, params: &[Value]) -> Result<Answer, DbError> {
    let mut statement = connection.prepare_cached(sql).map_err(translate)?;
    let count = statement.parameter_count();
    if count != params.len() {
        return Err(DbError::Statement(format!("{count} placeholders, {} values: {sql}", params.len())));
    }
    for (at, value) in params.iter().enumerate() {
        // SQLite numbers `$n` by first use, PostgreSQL by n: only where both agree does the text mean one thing.
        if statement.parameter_name(at + 1) != Some(format!("${}", at + 1).as_str()) {
            return Err(DbError::Statement(format!("placeholders do not ascend: {sql}")));
        }
        let bound = match value {
            Value::Null => statement.raw_bind_parameter(at + 1, rusqlite::types::Null),
            Value::Integer(n) => statement.raw_bind_parameter(at + 1, n),
            Value::Text(text) => statement.raw_bind_parameter(at + 1, text),
            Value::Bytes(bytes) => statement.raw_bind_parameter(at + 1, bytes),
        };
        bound.map_err(translate)?;
    }
    let columns = statement.column_count();
    let mut rows = Vec::new();
    let mut found = statement.raw_query();
    while let Some(row) = found.next().map_err(translate)? {
        let mut values = Vec::with_capacity(columns);
        for column in 0..columns {
            values.push(match row.get_ref(column).map_err(translate)? {
                ValueRef::Null => Value::Null,
                ValueRef::Integer(n) => Value::Integer(n),
                ValueRef::Real(_) => return Err(DbError::Statement(format!("a fraction in {sql}"))),
                ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
                ValueRef::Blob(bytes) => Value::Bytes(bytes.to_vec()),
            });
        }
        rows.push(Row(values));
    }
    drop(found);
    drop(statement);
    let changed = usize::try_from(connection.changes()).unwrap_or(usize::MAX);
    Ok(Answer { changed, rows })
}

fn translate(error: rusqlite::Error) -> DbError {
    let text = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::ConstraintViolation) => DbError::Conflict(text),
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => DbError::Damaged(text),
        Some(
            ErrorCode::DiskFull
            | ErrorCode::SystemIoFailure
            | ErrorCode::ReadOnly
            | ErrorCode::CannotOpen
            | ErrorCode::PermissionDenied,
        ) => DbError::Storage(text),
        _ => DbError::Statement(text),
    }
}
