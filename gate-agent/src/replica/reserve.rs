//! A full disk: what may still be written, and what is at least counted.
//!
//! A file beside the database holds space free. While it is there everything is recorded. When the disk is full and staff
//! or somebody who leaves needs a record, it is given up, and from then on only such records are written: automatic
//! admissions wait until there is room for a reserve again. An opening that needs no record and gets none (whoever may
//! leave freely does, and the exit button opens) is counted, in memory and in a small file that needs no new space, and
//! written down as one event once there is room. Such numbers are estimates and say so.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use gate_core::event::{EventBody, Part};
use gate_core::ids::Direction;
use gate_core::time::Now;
use gate_core::view::Egress;

use super::error::classify_io;
use super::{Replica, ReplicaError};

/// How much space a gate may use and must keep.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    /// Held free for staff and exits when the disk is full, bytes. 0: none.
    pub reserve_bytes: u64,
    /// The size of the database at which somebody should be alarmed when 90 % of it are reached, bytes. 0: any.
    pub journal_bytes: u64,
}

/// Free space beyond the reserve before it is held again, bytes: else it would come and go with every event.
const MARGIN: u64 = 4 * 1024 * 1024;

/// What is known about the reserve.
#[derive(Debug, Default)]
pub(crate) struct Reserve {
    pub(crate) limits: Limits,
    /// It was given up, or there never was room for it.
    gone: bool,
    unrecorded: Unrecorded,
    /// The alarm about the size was raised.
    alarmed: bool,
    /// Events since the size was looked at.
    unseen: u32,
}

/// Openings that nobody could write down.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Unrecorded {
    /// By the free way out.
    exits: u32,
    /// By the exit button.
    buttons: u32,
    first_ms: i64,
    last_ms: i64,
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn reserve_file(database: &Path) -> PathBuf {
    beside(database, ".reserve")
}

fn count_file(database: &Path) -> PathBuf {
    beside(database, ".unrecorded")
}

/// Gives the reserve up; whether there was one.
pub(crate) fn release(database: &Path) -> bool {
    std::fs::remove_file(reserve_file(database)).is_ok()
}

/// Whether the event opens for whoever leaves, record or not.
fn opens_anyway(body: &EventBody) -> bool {
    match body {
        EventBody::Authorised { input, .. } => {
            input.lane.direction == Direction::Out && input.lane.egress == Egress::Free
        }
        EventBody::ExitButton { .. } => true,
        EventBody::EpochOpened { .. }
        | EventBody::Opened { .. }
        | EventBody::NotOpened { .. }
        | EventBody::Passed { .. }
        | EventBody::Annulled { .. }
        | EventBody::Refused { .. }
        | EventBody::Noise { .. }
        | EventBody::Repeated { .. }
        | EventBody::Overridden { .. }
        | EventBody::Fire { .. }
        | EventBody::Recounted(_)
        | EventBody::Health { .. }
        | EventBody::ClockStepped(_)
        | EventBody::LaneClosed { .. } => false,
    }
}

/// Whether the reserve is there for this event: people decided it, it lets out, or it tells the end of what was recorded.
fn may_use_reserve(body: &EventBody) -> bool {
    match body {
        EventBody::Authorised { confirmed, .. } => confirmed.is_some() || opens_anyway(body),
        EventBody::EpochOpened { .. }
        | EventBody::Opened { .. }
        | EventBody::NotOpened { .. }
        | EventBody::Passed { .. }
        | EventBody::Annulled { .. }
        | EventBody::Overridden { .. }
        | EventBody::ExitButton { .. }
        | EventBody::Fire { .. }
        | EventBody::Recounted(_)
        | EventBody::LaneClosed { .. } => true,
        EventBody::Refused { .. }
        | EventBody::Noise { .. }
        | EventBody::Repeated { .. }
        | EventBody::Health { .. }
        | EventBody::ClockStepped(_) => false,
    }
}

impl Unrecorded {
    fn total(self) -> u32 {
        self.exits.saturating_add(self.buttons)
    }

    fn count(&mut self, body: &EventBody, now: Now) {
        let number = if matches!(body, EventBody::ExitButton { .. }) { &mut self.buttons } else { &mut self.exits };
        *number = number.saturating_add(1);
        if self.total() == 1 {
            self.first_ms = now.wall_ms;
        }
        self.last_ms = now.wall_ms;
    }

    fn words(self) -> String {
        format!(
            "{} openings could not be recorded (free exit {}, exit button {}) between {} and {} (Unix ms); an estimate",
            self.total(),
            self.exits,
            self.buttons,
            self.first_ms,
            self.last_ms
        )
    }

    fn bytes(self) -> [u8; 24] {
        let mut bytes = [0; 24];
        bytes[..4].copy_from_slice(&self.exits.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.buttons.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.first_ms.to_be_bytes());
        bytes[16..].copy_from_slice(&self.last_ms.to_be_bytes());
        bytes
    }

    fn read(path: &Path) -> Self {
        let Ok(bytes) = std::fs::read(path) else { return Self::default() };
        let Ok(bytes) = <[u8; 24]>::try_from(bytes.as_slice()) else { return Self::default() };
        let small = |at: usize| bytes[at..at + 4].iter().fold(0u32, |sum, byte| sum << 8 | u32::from(*byte));
        let large = |at: usize| bytes[at..at + 8].iter().fold(0i64, |sum, byte| sum << 8 | i64::from(*byte));
        Self { exits: small(0), buttons: small(4), first_ms: large(8), last_ms: large(16) }
    }

    /// Writes over what stands there, so that no space is needed. Best effort: the number in memory counts.
    fn keep(self, path: &Path) {
        let kept = File::options()
            .create(true)
            .write(true)
            .truncate(false)
            .open(path)
            .and_then(|file| file.write_all_at(&self.bytes(), 0).and_then(|()| file.sync_data()));
        if let Err(error) = kept {
            tracing::warn!(%error, "the number of openings that could not be recorded is only in memory");
        }
    }
}

impl Replica {
    /// Sets how much space the gate may use and must keep, and holds the reserve if there is room for it.
    pub fn set_limits(&mut self, limits: Limits) -> Result<(), ReplicaError> {
        self.reserve.limits = limits;
        if limits.reserve_bytes == 0 {
            return Ok(());
        }
        let counted = count_file(&self.path);
        self.reserve.unrecorded = Unrecorded::read(&counted);
        self.reserve.unrecorded.keep(&counted);
        self.reserve.gone = !self.hold_reserve()?;
        if self.reserve.gone {
            tracing::error!(
                "there is no room for the reserve of {} MB beside {}: nobody is let in automatically until there is",
                limits.reserve_bytes / 1_000_000,
                self.path.display()
            );
        }
        Ok(())
    }

    /// Whether the disk is so full that only staff and exits are recorded.
    pub fn reserve_in_use(&self) -> bool {
        self.reserve.gone
    }

    /// How many openings could not be recorded and are not in an event yet.
    pub fn unrecorded(&self) -> u32 {
        self.reserve.unrecorded.total()
    }

    /// Makes the file that holds space free. False if there is no room.
    fn hold_reserve(&self) -> Result<bool, ReplicaError> {
        let (path, bytes) = (reserve_file(&self.path), self.reserve.limits.reserve_bytes);
        let held = std::fs::metadata(&path).map_or(0, |found| found.len());
        if held == bytes {
            return Ok(true);
        }
        let hold = || {
            let file = File::options().create(true).write(true).truncate(true).open(&path)?;
            rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes)?;
            file.sync_all()
        };
        match hold() {
            Ok(()) => Ok(true),
            Err(error) => {
                let _gone = std::fs::remove_file(&path);
                let error = classify_io(&path, &error);
                if matches!(error, ReplicaError::Full { .. }) { Ok(false) } else { Err(error) }
            }
        }
    }

    /// Records, with the reserve where that is needed and allowed. `write` records an event as if there were no limits.
    pub(super) fn record_within_limits<T>(
        &mut self,
        now: Now,
        body: EventBody,
        mut write: impl FnMut(&mut Self, EventBody) -> Result<T, ReplicaError>,
    ) -> Result<T, ReplicaError> {
        let (anyway, allowed) = (opens_anyway(&body), may_use_reserve(&body));
        // Known before the body is given away.
        let kind = if anyway { Some(body.clone()) } else { None };
        let returned = self.reserve.gone && self.space_returned()?;
        let result = if self.reserve.gone && !returned && !allowed {
            Err(ReplicaError::Full { path: self.path.clone() })
        } else if allowed && !self.reserve.gone && self.reserve.limits.reserve_bytes > 0 {
            match write(self, body.clone()) {
                Err(ReplicaError::Full { .. }) if release(&self.path) => {
                    self.reserve.gone = true;
                    tracing::error!("the disk is full: the reserve is in use, for staff and exits only");
                    write(self, body)
                }
                other => other,
            }
        } else {
            write(self, body)
        };
        match &result {
            Ok(_) => {
                self.tell_of_space(returned, &mut write);
                self.look_at_size(now);
            }
            Err(error) if error.is_fault() => {
                if let Some(body) = &kind {
                    self.reserve.unrecorded.count(body, now);
                    tracing::error!(unrecorded = self.unrecorded(), "somebody leaves without a record");
                    if self.reserve.limits.reserve_bytes > 0 {
                        self.reserve.unrecorded.keep(&count_file(&self.path));
                    }
                }
            }
            Err(_) => {}
        }
        result
    }

    /// Whether there is room for the reserve again, and holds it if so.
    fn space_returned(&mut self) -> Result<bool, ReplicaError> {
        let folder = self.path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        let free = rustix::fs::statvfs(folder).map_or(0, |stat| stat.f_bavail.saturating_mul(stat.f_frsize));
        let wanted = self.reserve.limits.reserve_bytes;
        if free < wanted.saturating_add(MARGIN.min(wanted)) || !self.hold_reserve()? {
            return Ok(false);
        }
        self.reserve.gone = false;
        tracing::info!("there is room on the disk again: the reserve is held");
        Ok(true)
    }

    /// Once something could be recorded: what the journal should say about the time when it could not. Best effort, behind
    /// an event that is stored already.
    fn tell_of_space<T>(
        &mut self,
        returned: bool,
        write: &mut impl FnMut(&mut Self, EventBody) -> Result<T, ReplicaError>,
    ) {
        let health = |working: bool, detail: String| EventBody::Health { part: Part::Storage, working, detail };
        let mut tell = |replica: &mut Self, body| {
            let told = write(replica, body).map(drop);
            told.inspect_err(|error| tracing::warn!(%error, "what happened on the full disk is told later")).is_ok()
        };
        if returned {
            tell(self, health(true, "there is room on the disk again; the reserve is held".to_owned()));
        }
        let counted = self.reserve.unrecorded;
        if counted.total() > 0 && tell(self, health(true, counted.words())) {
            self.reserve.unrecorded = Unrecorded::default();
            if self.reserve.limits.reserve_bytes > 0 {
                Unrecorded::default().keep(&count_file(&self.path));
            }
        }
    }

    /// Now and then looks at the size. Best effort: the event that was asked for is stored.
    fn look_at_size(&mut self, now: Now) {
        self.reserve.unseen += 1;
        if self.reserve.unseen >= LOOK_EVERY {
            self.reserve.unseen = 0;
            if let Err(error) = self.watch_size(now) {
                tracing::warn!(%error, "the size of the database is not known");
            }
        }
    }

    /// Looks how much of its space the database uses. An event is written when 90 % are reached, and one when it is well
    /// below again. Gives the share in percent; `None` without a limit.
    pub fn watch_size(&mut self, now: Now) -> Result<Option<u64>, ReplicaError> {
        let limit = self.reserve.limits.journal_bytes;
        if limit == 0 {
            return Ok(None);
        }
        let percent = self.read(used_bytes)?.saturating_mul(100) / limit;
        let waiting = self.pending_count()?;
        let told = match (self.reserve.alarmed, percent) {
            (false, ALARM_PERCENT..) => Some((
                false,
                format!(
                    "the database has reached {percent} % of {} MB, {waiting} events wait to be sent: let this gate reach the cloud, or give it a larger card",
                    limit / 1_000_000
                ),
            )),
            (true, ..CALM_PERCENT) => Some((true, format!("the database uses {percent} % of its space"))),
            (true | false, _) => None,
        };
        if let Some((working, detail)) = told {
            self.reserve.alarmed = !working;
            self.record(None, now, EventBody::Health { part: Part::Storage, working, detail })?;
        }
        Ok(Some(percent))
    }
}

/// How much of the file is in use, bytes.
pub(crate) fn used_bytes(db: &rusqlite::Connection) -> rusqlite::Result<u64> {
    const USED: &str = "SELECT (page_count - freelist_count) * page_size FROM pragma_page_count(), pragma_freelist_count(), pragma_page_size()";
    db.prepare_cached(USED)?.query_row([], |row| row.get::<_, i64>(0)).map(i64::cast_unsigned)
}

/// The size is looked at each time so many events were recorded.
const LOOK_EVERY: u32 = 256;
/// From this share of the space an alarm is raised.
pub(crate) const ALARM_PERCENT: u64 = 90;
/// Below this share it ends.
const CALM_PERCENT: u64 = 80;
