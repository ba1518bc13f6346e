//! Starting and stopping.

use std::future::Future;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::time::Duration;

use gate_core::ids::VenueId;
use tokio::net::TcpListener;

use crate::app::App;
use crate::config::{Config, ConfigError};
use crate::keys::{Master, MasterError};
use crate::store::{Db, DbError, Mode, Tx};

/// The database's file in the data folder.
const DATABASE: &str = "cloud.db";
/// Requests that are under way when the service is told to stop get this long.
const GRACE: Duration = Duration::from_millis(2500);

/// How often the service looks for what it does by itself.
const ROUND: Duration = Duration::from_secs(20);

/// Why the service can't start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data folder can't be used.
    #[error("{path}: {why}. Name a folder that this user may write to with --data")]
    Data {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        why: std::io::Error,
    },
    /// The master key can't be used.
    #[error(transparent)]
    Master(#[from] MasterError),
    /// The numbers could not be made anew from the events.
    #[error(
        "the numbers could not be made anew from the events ({0}); start with CLOUD_SYNC_LOG=debug and look at the log"
    )]
    Rebuild(String),
    /// The database can't be used.
    #[error("{path}: {why}")]
    Database {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: DbError,
    },
}

/// Why the service ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It could not start.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// What it was told can't be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The listening socket failed.
    #[error("the listening socket failed: {0}")]
    Socket(#[from] std::io::Error),
}

/// Opens the data folder: master key, database, schema. Makes what is not there yet.
pub async fn open(config: Config) -> Result<App, OpenError> {
    let data = config.data.clone();
    let failed = |why| OpenError::Data { path: data.clone(), why };
    // What lies there is for this user alone.
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&data).map_err(failed)?;
    let path = data.join(DATABASE);
    let exists = path.try_exists().map_err(failed)?;
    let mode = config.mode;
    let open = async || Db::open(&path, mode).await.map_err(|why| OpenError::Database { path: path.clone(), why });
    // A file that is not ours, or damaged, is said to be so before its key is missed; a new database is made only beside
    // its key.
    let (db, master) = if exists {
        let db = open().await?;
        (db, Master::open(&data, exists, &config.entropy)?)
    } else {
        let master = Master::open(&data, exists, &config.entropy)?;
        (open().await?, master)
    };
    let app = App::new(db, master, config);
    crate::ingest::rebuild_if_needed(&app).await.map_err(|error| OpenError::Rebuild(error.detail().to_owned()))?;
    Ok(app)
}

/// Makes everything that follows from the events anew, in every venue; gives a line for each.
pub async fn rebuild(app: &App) -> Result<Vec<String>, RebuildError> {
    let venues = crate::ingest::rebuild_all(app).await.map_err(|error| RebuildError(error.detail().to_owned()))?;
    let line = |(name, rebuilt): (String, crate::ingest::Rebuilt)| {
        let zones = rebuilt.zones.iter().map(|(zone, before, after)| format!("{zone} {before} -> {after}"));
        let zones = zones.collect::<Vec<_>>().join(", ");
        format!("{name}: {} events applied again; {zones}", rebuilt.events)
    };
    Ok(venues.into_iter().map(line).collect())
}

/// Says that the database was restored from a backup; gives the number of gates that will begin again.
pub async fn restored(app: &App) -> Result<usize, RebuildError> {
    let work = async |tx: &mut crate::store::Tx| {
        let mut gates = 0;
        for venue in venues(tx).await? {
            gates += crate::replica::restored(tx, venue).await?;
        }
        Ok::<_, DbError>(gates)
    };
    app.db().write(work).await.map_err(|error| RebuildError(error.to_string()))
}

/// Says that this machine's clock was wrong while it signed the time: gates forget what they were told and go on from now.
/// Gives that moment, Unix milliseconds.
pub async fn time_was_wrong(app: &App) -> Result<i64, RebuildError> {
    let floor_ms = app.now_ms();
    let work = async |tx: &mut crate::store::Tx| {
        for venue in venues(tx).await? {
            crate::replica::take_time_back(tx, app.master(), venue, floor_ms).await?;
        }
        Ok::<_, crate::problem::ApiError>(floor_ms)
    };
    app.db().write(work).await.map_err(|error| RebuildError(error.detail().to_owned()))
}

async fn venues(tx: &mut Tx) -> Result<Vec<VenueId>, DbError> {
    let rows = tx.query("SELECT venue_id FROM venues ORDER BY created_ms, venue_id", &[]).await?;
    rows.iter().map(|row| row.get(0)).collect()
}

/// Why a command over the whole database came to nothing. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[error("nothing was changed: {0}")]
pub struct RebuildError(String);

/// A service without a folder, for tests and simulations: its database is in memory, its master key drawn from its
/// randomness, and nothing in it runs on another thread.
pub async fn open_in_memory(mut config: Config) -> Result<App, OpenError> {
    config.mode = Mode::Inline;
    let master = Master::from_bytes(&config.entropy.bytes());
    let db = Db::in_memory().await.map_err(|why| OpenError::Database { path: PathBuf::new(), why })?;
    Ok(App::new(db, master, config))
}

/// Serves until `shutdown` is done, then ends within three seconds.
pub async fn run(
    listener: TcpListener,
    config: Config,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), RunError> {
    let address = listener.local_addr()?;
    config.check(address)?;
    if let Some(advice) = config.advice(address) {
        tracing::error!("{advice}");
    }
    let app = open(config).await?;
    tracing::info!(%address, public_url = %app.config().public_url, "serving");
    serve(listener, app, shutdown).await
}

/// What the service does by itself, every twenty seconds. What fails is said in the log and tried again at the next.
pub async fn make_rounds(app: &App) {
    if let Err(error) = crate::office::reset_zones(app).await {
        tracing::error!(error = error.detail(), "zones could not be reset; it is tried again");
    }
    if let Err(error) = crate::count_due::look(app).await {
        tracing::error!(error = error.detail(), "it could not be looked which zones to count; it is tried again");
    }
}

async fn serve(
    listener: TcpListener,
    app: App,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), RunError> {
    let making_rounds = app.clone();
    let service = app.router().into_make_service_with_connect_info::<SocketAddr>();
    // Under systemd: ready only now, when the database is open and the socket is bound. Elsewhere it says nothing.
    if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        tracing::warn!(%error, "systemd could not be told that the service is ready");
    }
    let (told, mut stopping) = tokio::sync::watch::channel(false);
    let graceful = async move {
        shutdown.await;
        tracing::info!("stopping");
        // The receiver lives until serving ends.
        let _ = told.send(true);
    };
    let serving = axum::serve(listener, service).with_graceful_shutdown(graceful);
    let overdue = async {
        if stopping.wait_for(|stop| *stop).await.is_ok() {
            tokio::time::sleep(GRACE).await;
        } else {
            std::future::pending::<()>().await;
        }
    };
    let rounds = async {
        loop {
            make_rounds(&making_rounds).await;
            tokio::time::sleep(ROUND).await;
        }
    };
    tokio::select! {
        ended = async { serving.await } => ended?,
        () = rounds => {}
        () = overdue => tracing::warn!("some requests were cut off"),
    }
    Ok(())
}
