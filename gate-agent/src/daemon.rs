//! Starting up, as a parts list.
//!
//! Each part is made in order and handed to the next. Threads: the decision loop with its own small runtime, the storage
//! thread, and the shared runtime for screen and sync. Stopping goes the other way round.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use ed25519_dalek::SigningKey;
use gate_core::ids::BootId;
use gate_core::lane::StaffRequest;
use gate_core::sync::session::Link;
use gate_core::time::TimeKeeper;
use hardware::gate_io::GateIo;
use hardware::reader::{Reader, ReaderConfig};
use tokio::sync::{mpsc, watch};

use crate::clock::{self, Clock};
use crate::closing::Closing;
use crate::config::Config;
use crate::file_lock::FileLock;
use crate::health;
use crate::identity::{self, IdentityFile, MachineFiles};
use crate::lane_runner::{self, Parts};
use crate::replica::{Replica, ReplicaError, ReplicaReader, Round, Start, begin_anew, open_or_salvage};
use crate::screen::{self, Facts};
use crate::storage::Storage;
use crate::sync::engine;
use crate::sync::maintenance::Switch;
use crate::sync::transport::{CloudUrl, HttpTransport};
use crate::sync::{KeptTime, ThisMachine};

/// Name and version, as events and the cloud know it.
pub const SOFTWARE: &str = concat!("gate-agent ", env!("CARGO_PKG_VERSION"));

/// The latest moment that has certainly passed: nobody runs this software before it was released, Unix milliseconds
/// (2026-11-01).
pub const BUILD_FLOOR_MS: i64 = 1_793_491_200_000;

const NOT_ENROLLED: &str =
    "this gate is not enrolled: get a code from the dashboard and run `gate-agent enrol --config FILE CODE`";

/// How long stopping may take before the process ends anyway.
const STOP_LIMIT: std::time::Duration = std::time::Duration::from_millis(2500);

/// Opens the replica for writing, with what a start needs to know.
pub fn open_replica(config: &Config) -> anyhow::Result<Replica> {
    let clock = Clock::new(&config.ntp_marker);
    open_in_time(config, &clock, &mut time_keeper(&config.database(), clock::boot_id()))
}

/// Time as it goes on from what the database says has passed; from the software's release where there is none to read.
pub fn time_keeper(database: &Path, boot: BootId) -> TimeKeeper {
    // Of a new or a damaged database opening it for writing says what is wrong.
    let passed = ReplicaReader::open(database).and_then(|reader| reader.passed()).unwrap_or_default();
    TimeKeeper::resume(boot, passed.floor_ms.max(BUILD_FLOOR_MS), passed.newest).having_heeded(passed.reset)
}

fn open_in_time(config: &Config, clock: &Clock, time: &mut TimeKeeper) -> anyhow::Result<Replica> {
    std::fs::create_dir_all(&config.data_dir).with_context(|| {
        format!("can't create {}: check that its disk is mounted and writable", config.data_dir.display())
    })?;
    let (now, _) = time.now(clock.read());
    let start = Start { epoch: random_u64()? >> 1, now, software: SOFTWARE.to_owned() };
    // Only where the database turns out damaged does it matter whether this file can be read.
    let enrolment = IdentityFile::load(&identity::identity_path(&config.data_dir)).ok().flatten();
    Ok(open_or_salvage(&config.database(), start, enrolment.as_ref())?.0)
}

/// 64 bits from the operating system.
pub fn random_u64() -> anyhow::Result<u64> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|e| anyhow::anyhow!("the system has no randomness: {e}"))?;
    Ok(u64::from_le_bytes(bytes))
}

/// The gate-reader program: configured, or beside this one.
pub fn reader_program(config: &Config) -> anyhow::Result<PathBuf> {
    if let Some(path) = &config.camera.reader {
        return Ok(path.clone());
    }
    let own = std::env::current_exe().context("can't tell where this program is")?;
    Ok(own.with_file_name("gate-reader"))
}

/// Only one agent may use a data folder.
pub(crate) fn lock(data_dir: &Path) -> anyhow::Result<FileLock> {
    let path = data_dir.join("gate-agent.lock");
    FileLock::take(&path)
        .with_context(|| format!("can't lock {}", path.display()))?
        .with_context(|| format!("another gate-agent already runs with {}: stop it first", data_dir.display()))
}

/// The device key, if this machine is the one it belongs to. On another one the gate runs without: it decides nothing, says so,
/// and lets out whoever may leave.
fn own_key(data_dir: &Path, machine: &MachineFiles) -> anyhow::Result<Option<SigningKey>> {
    let key = match identity::load_key_on(data_dir, machine) {
        Err(error) if error.is_other_machine() => {
            tracing::error!(%error, "this gate decides nothing here and hears no cloud");
            return Ok(None);
        }
        found => found?,
    };
    if !identity::is_bound(data_dir) {
        match identity::bind_key(data_dir, machine) {
            Ok(true) => tracing::info!("the device key is sealed now: this card is no device in another machine"),
            Ok(false) => tracing::warn!("nothing names this machine: whoever copies its disk copies the device key"),
            // It works as it did; the next start tries again.
            Err(error) => tracing::warn!(%error, "the device key could not be sealed"),
        }
    }
    Ok(Some(key))
}

/// Runs a gate until `stop` says true.
pub async fn run(config: Config, stop: watch::Receiver<bool>) -> anyhow::Result<()> {
    run_on(config, &MachineFiles::here(), stop).await
}

/// Runs a gate on a machine that is known by these files, until `stop` says true.
pub async fn run_on(config: Config, machine: &MachineFiles, stop: watch::Receiver<bool>) -> anyhow::Result<()> {
    std::fs::create_dir_all(&config.data_dir).with_context(|| {
        format!("can't create {}: check that its disk is mounted and writable", config.data_dir.display())
    })?;
    let _lock = lock(&config.data_dir)?;
    let clock = Clock::new(&config.ntp_marker);

    // Whatever can keep the gate from running comes before the replica: each opening of it writes an event, and a process
    // that is started again and again must not fill the card.
    if !identity::key_path(&config.data_dir).exists() {
        bail!(NOT_ENROLLED);
    }
    let key = own_key(&config.data_dir, machine)?;
    CloudUrl::parse(&config.cloud_url)?;
    let program = reader_program(&config)?;
    let listener = screen::bind(config.screen).await?;
    tracing::info!(address = %listener.local_addr()?, "the touchscreen page is served");

    // What the gate remembers.
    let mut time = time_keeper(&config.database(), clock::boot_id());
    let mut replica = open_in_time(&config, &clock, &mut time)?;
    replica.set_limits(config.limits())?;
    if replica.identity().is_none()
        && let Some(file) = IdentityFile::load(&identity::identity_path(&config.data_dir))?
    {
        begin_anew(&mut replica, &file, time.now(clock.read()).0)?;
    }
    let Some(identity) = replica.identity().cloned() else { bail!(NOT_ENROLLED) };
    let reader_connection = replica.reader()?;
    let (storage, storage_thread) = Storage::start(replica)?;

    // What people see.
    let (facts, facts_seen) =
        watch::channel(Facts { space_limit_bytes: config.limits().journal_bytes, ..Facts::default() });
    let (staff, staff_heard) = mpsc::channel(8);
    let closing = Closing::at(&config.data_dir);
    let screen = tokio::spawn(screen::serve(listener, facts_seen, staff.clone(), closing.clone(), stop.clone()));

    // The cloud, when there is one to hear.
    let (signed, signed_heard) = mpsc::channel(4);
    let (changed, changed_seen) = watch::channel(0u64);
    let tell_link = facts.clone();
    let ears = engine::Ears {
        signed,
        changed,
        link: Box::new(move |link: Link, failure: Option<String>| {
            tell_link.send_if_modified(|facts| facts.exchanged(link, failure, crate::clock::mono_us()));
        }),
    };
    let other_machine = key.is_none();
    let sync = match key {
        Some(key) => {
            let surroundings = Arc::new(KeptTime { machine: ThisMachine::default(), facts: facts.subscribe() });
            let transport = HttpTransport::new(&config.cloud_url, (identity.device, key), surroundings)?;
            let settings =
                engine::Settings { limit_kbit_s: config.limit_kbit_s, switch: Some(Switch::at(&config.data_dir)) };
            tokio::spawn(engine::run(transport, storage.clone(), ears, settings, stop.clone()))
        }
        None => tokio::spawn(hear_nothing(ears, stop.clone())),
    };

    // What a decision may look up stays in memory.
    let memory = tokio::spawn(keep_in_memory(Round::open(&config.database())?, stop.clone()));

    // The lane, on a thread that nothing else can hold up.
    let lane_storage = storage.clone();
    let lane_clock = clock.clone();
    let lane_stop = stop.clone();
    let lane_thread = std::thread::Builder::new().name("lane".to_owned()).spawn(move || -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async move {
            let mut reader = ReaderConfig::new(program, &config.camera.source);
            reader.width = config.camera.width;
            reader.height = config.camera.height;
            reader.decode_limit = std::time::Duration::from_millis(config.camera.decode_limit_ms.into());
            reader.arguments = config.camera.arguments;
            let parts = Parts {
                reader: Reader::spawn(reader),
                gate_io: GateIo::connect(config.gate_io),
                storage: lane_storage,
                replica: reader_connection,
                clock: lane_clock,
                inputs: config.lane,
                time,
                signed_time: signed_heard,
                changed: changed_seen,
                staff: staff_heard,
                facts,
                other_machine,
            };
            lane_runner::run(parts, lane_stop).await
        })
    })?;
    health::ready();

    // Until told to stop; a part that ends by itself takes the process with it, and systemd starts it again.
    let mut stopping = stop.clone();
    let mut slow = tokio::time::interval(std::time::Duration::from_secs(1));
    let mut is_closed = false;
    let ended = loop {
        tokio::select! {
            // Parts that end because they were told to are no news.
            biased;
            _ = stopping.wait_for(|stop| *stop) => break Ok(()),
            _ = slow.tick() => {
                clock.look_for_ntp();
                let closed = closing.is_closed();
                if closed != is_closed && staff.try_send(StaffRequest::Close { closed, staff: None }).is_ok() {
                    is_closed = closed;
                }
                if lane_thread.is_finished() {
                    break Err(anyhow::anyhow!("the decision loop ended by itself"));
                }
                if storage_thread.is_finished() {
                    break Err(anyhow::anyhow!("the storage thread ended by itself: nothing can be recorded"));
                }
                if screen.is_finished() || sync.is_finished() || memory.is_finished() {
                    break Err(anyhow::anyhow!("the screen, sync or memory's round ended by itself"));
                }
            }
        }
    };
    health::stopping();
    storage.stop();
    let finish = tokio::task::spawn_blocking(move || {
        let lane = lane_thread.join();
        let storage = storage_thread.join();
        (lane, storage)
    });
    match tokio::time::timeout(STOP_LIMIT, finish).await {
        Ok(Ok((Ok(Ok(())), Ok(())))) => {}
        Ok(Ok((Ok(Err(error)), _))) => return Err(error),
        Ok(_) => tracing::error!("a thread panicked while stopping"),
        Err(_) => tracing::warn!("not everything stopped in time"),
    }
    ended
}

/// Where there is no key there is no cloud: nobody can be told who asks.
async fn hear_nothing(ears: engine::Ears, mut stop: watch::Receiver<bool>) {
    let _stopped = stop.wait_for(|stop| *stop).await;
    drop(ears);
}

/// Goes through the replica a little at a time, until told to stop. A disk that fails is the lane's to tell of; damage ends
/// the program, and its next start heals it.
async fn keep_in_memory(mut round: Round, mut stop: watch::Receiver<bool>) {
    let mut pace = tokio::time::interval(std::time::Duration::from_secs(1));
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            _ = pace.tick() => {}
        }
        let step = tokio::task::spawn_blocking(move || match round.step() {
            Ok(()) => Some(round),
            Err(error) if matches!(error, ReplicaError::Damaged { .. }) => {
                tracing::error!(%error, "this gate starts again to heal its database");
                None
            }
            Err(error) => {
                tracing::debug!(%error, "the replica could not be gone through");
                Some(round)
            }
        });
        let Ok(Some(stepped)) = step.await else { return };
        round = stepped;
    }
}

#[cfg(test)]
mod tests;
