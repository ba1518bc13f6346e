//! Databases that rotted while they were in use: each ends in the right data or is refused as damaged, and nobody is let in
//! on rows that are not what was written.
//!
//! One thing no file can know of itself is that its end is gone: a log that is cut off, or whose newest transaction is
//! unreadable, leaves the database as it was a moment earlier. Such cards are counted for themselves; the cloud finds them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use gate_agent::identity::{IdentityFile, identity_path};
use gate_agent::journal_check;
use gate_agent::replica::{Replica, ReplicaReader, Start, salvage};
use gate_core::ids::Hash;
use gate_core::view::PassStanding;
use hardware::clock::Stopwatch;
use hardware::compose::Chance;
use rusqlite::types::ValueRef;

use super::card::{Card, Files};
use super::examine::{Examiner, Found, said, scanned};
use super::history::DATABASE;
use super::{Known, Shelf, threads};

const LOG: &str = "replica.db-wal";
const PAGE: usize = 1024;
/// The column of the table `events` that holds an event itself; its hash is another one.
const BYTES: usize = 3;
/// Moments of the traced work whose database is injured.
const MOMENTS: usize = 6;
/// Every so many damaged databases one is salvaged and fetched again.
const SALVAGED: usize = 4;

/// What injuries did.
#[derive(Clone, Default, Debug)]
pub struct Tally {
    /// How many.
    pub injuries: u64,
    /// The right data came out.
    pub right: u64,
    /// The right data came out, but an event that the cloud has is found damaged when it is read: nothing is decided on it.
    pub on_read: u64,
    /// Refused as damaged.
    pub damaged: u64,
    /// Refused in other words.
    pub refused: u64,
    /// The database as it was earlier, because the end of its log is gone.
    pub earlier: u64,
    /// Most events missing then.
    pub earlier_worst: usize,
    /// Damaged databases that were salvaged.
    pub salvaged: u64,
    /// Events that came out of them, and that had been in them.
    pub saved: (u64, u64),
    /// The longest that saving one took, milliseconds.
    pub slowest_ms: u64,
    /// Panics.
    pub panics: u64,
    /// Cards on which the gate would decide on what was never written, or that could not be salvaged.
    pub wrong: u64,
    /// Some of those in words.
    pub examples: Vec<String>,
}

impl Tally {
    /// Whether every injury ended well.
    pub fn clean(&self) -> bool {
        self.injuries > 0 && self.panics + self.wrong == 0
    }

    fn add(&mut self, other: Self) {
        self.injuries += other.injuries;
        self.right += other.right;
        self.on_read += other.on_read;
        self.damaged += other.damaged;
        self.refused += other.refused;
        self.earlier += other.earlier;
        self.earlier_worst = self.earlier_worst.max(other.earlier_worst);
        self.salvaged += other.salvaged;
        self.saved = (self.saved.0 + other.saved.0, self.saved.1 + other.saved.1);
        self.slowest_ms = self.slowest_ms.max(other.slowest_ms);
        self.panics += other.panics;
        self.wrong += other.wrong;
        self.examples.extend(other.examples);
        self.examples.truncate(5);
    }

    fn wrong(&mut self, example: String) {
        self.wrong += 1;
        self.examples.push(example);
        self.examples.truncate(5);
    }
}

/// A database in use that will be injured.
struct Patient<'k> {
    known: &'k Known,
    files: Files,
    state: usize,
    /// All its rows.
    rows: Rows,
}

/// Injures databases this often.
pub fn run(known: &[Known], count: u32, seed: u64, shelf: &Shelf) -> anyhow::Result<Tally> {
    let patients = patients(known, seed, shelf)?;
    let workers = threads();
    let mut tally = Tally::default();
    std::thread::scope(|scope| -> anyhow::Result<()> {
        let running: Vec<_> = (0..workers)
            .map(|worker| {
                let folder = shelf.folder(&format!("injury-{worker}"));
                let patients = &patients;
                scope.spawn(move || -> anyhow::Result<Tally> {
                    let mut own = Tally::default();
                    for number in (0..count as usize).skip(worker).step_by(workers) {
                        let patient = &patients[number % patients.len()];
                        injure(patient, number, seed, &folder, &mut own)?;
                    }
                    Ok(own)
                })
            })
            .collect();
        for worker in running {
            tally.add(worker.join().map_err(|_| anyhow::anyhow!("a worker died"))??);
        }
        Ok(())
    })?;
    Ok(tally)
}

/// The databases as a killed process leaves them at some moments.
fn patients<'k>(known: &'k [Known], seed: u64, shelf: &Shelf) -> anyhow::Result<Vec<Patient<'k>>> {
    let mut patients = Vec::new();
    let folder = shelf.folder("patient");
    for known in known {
        let (mut chance, states) = (Chance::new(seed), &known.history.states);
        let mut chosen: Vec<usize> =
            (0..MOMENTS).map(|_| states.len() / 4 + chance.below(states.len() * 3 / 4)).collect();
        chosen.sort_unstable();
        chosen.dedup();
        let mut card = Card::holding(&known.work.base);
        let mut done = 0;
        for state in chosen {
            for op in &known.work.ops[done..states[state].done] {
                card.take(op, false);
            }
            done = states[state].done;
            let files = card.whole();
            super::lay_out(&folder, &files)?;
            let rows = rows_of(&folder.join(DATABASE))?;
            patients.push(Patient { known, files, state, rows });
        }
    }
    Ok(patients)
}

fn injure(patient: &Patient<'_>, number: usize, seed: u64, folder: &Path, tally: &mut Tally) -> anyhow::Result<()> {
    let mut chance = Chance::new(seed ^ (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut files = patient.files.clone();
    let how = damage(&mut files, &mut chance);
    let what = format!("injury {number} ({}, state {}: {how})", patient.known.work.name, patient.state);
    let history = &patient.known.history;
    let examiner = Examiner { history, stock: &patient.known.work.stock, folder: folder.to_path_buf() };
    super::lay_out(folder, &files)?;
    // SQLite would throw the log of an empty file away, also where it only reads.
    let there = files.get(DATABASE).is_some_and(|bytes| bytes.len() >= PAGE);
    let rows = there.then(|| rows_of(&examiner.database()).ok()).flatten();
    let examined = examiner.examine(&files, &mut chance, false)?;
    tally.injuries += 1;
    // Bytes of an event that waits to be sent are checked at the start; those of others when they are read.
    let on_read = examined.found == Found::State(patient.state)
        && rows.is_some_and(|rows| rows.all != patient.rows.all && rows.but_bytes == patient.rows.but_bytes)
        && !examined.contradictions.is_empty()
        && examined.contradictions.iter().all(|contradiction| contradiction.starts_with("the journal:"));
    if on_read {
        tally.on_read += 1;
        return Ok(());
    }
    for contradiction in &examined.contradictions {
        tally.wrong(format!("{what}: {contradiction}"));
    }
    match &examined.found {
        Found::Anew => tally.wrong(format!("{what}: it began anew")),
        Found::State(state) if *state == patient.state && rows == Some(patient.rows) => tally.right += 1,
        Found::State(state) if *state == patient.state => tally.wrong(format!("{what}: rows are not what was written")),
        Found::State(state) if *state < patient.state => {
            tally.earlier += 1;
            tally.earlier_worst = tally.earlier_worst.max(history.events_between(*state, patient.state).count());
        }
        Found::State(state) => tally.wrong(format!("{what}: state {state}, which is still to come")),
        Found::NeverWas
            if examined.digest.is_some() && examined.digest == before_the_break(patient, &files, folder)? =>
        {
            tally.earlier += 1;
            tally.earlier_worst = tally.earlier_worst.max(history.events_between(0, patient.state).count());
        }
        Found::NeverWas => tally.wrong(format!("{what}: rows that never were")),
        Found::Damaged(_) => {
            tally.damaged += 1;
            if (tally.damaged as usize).is_multiple_of(SALVAGED) {
                super::lay_out(folder, &files)?;
                let saving = catch_unwind(AssertUnwindSafe(|| save(patient, &examiner, tally)));
                match saving {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tally.wrong(format!("{what}: salvage: {error:#}")),
                    Err(panic) => {
                        tally.panics += 1;
                        tally.wrong(format!("{what}: salvage panicked: {}", said(panic.as_ref())));
                    }
                }
            }
        }
        Found::Refused(_) => tally.refused += 1,
        Found::Panicked(why) => {
            tally.panics += 1;
            tally.wrong(format!("{what}: {why}"));
        }
    }
    Ok(())
}

/// What a log says as far as it was not damaged, if only the log was: the trace tells no state from before it began.
fn before_the_break(patient: &Patient<'_>, injured: &Files, folder: &Path) -> anyhow::Result<Option<[u8; 16]>> {
    let mut files = patient.files.clone();
    let (Some(log), Some(broken)) = (files.get_mut(LOG), injured.get(LOG)) else { return Ok(None) };
    let same = log.iter().zip(broken).take_while(|(one, other)| one == other).count();
    log.truncate(same);
    if files.iter().any(|(name, bytes)| name != LOG && injured.get(name) != Some(bytes)) {
        return Ok(None);
    }
    super::lay_out(folder, &files)?;
    Ok(ReplicaReader::open(&folder.join(DATABASE)).and_then(|reader| reader.digest()).ok())
}

/// Damages the database or its log; says how.
fn damage(files: &mut Files, chance: &mut Chance) -> String {
    let log = files.get(LOG).is_some_and(|log| log.len() > PAGE) && chance.happens(0.5);
    let name = if log { LOG } else { DATABASE };
    let Some(bytes) = files.get_mut(name) else { return "no file".to_owned() };
    let length = bytes.len();
    let page = |chance: &mut Chance| chance.below(length / PAGE) * PAGE;
    let how = match chance.below(5) {
        0 => {
            let flips = 1 + chance.below(64);
            for _ in 0..flips {
                bytes[chance.below(length)] ^= 1 << chance.below(8);
            }
            format!("{flips} bits flipped")
        }
        1 => {
            let (at, noise) = (chance.below(length), 1 + chance.below(64));
            let end = length.min(at + noise);
            for byte in &mut bytes[at..end] {
                *byte = chance.bits() as u8;
            }
            format!("{} bytes of noise at {at}", end - at)
        }
        2 => {
            let left = 1 + chance.below(length - 1);
            bytes.truncate(left);
            format!("cut from {length} to {left} bytes")
        }
        3 => {
            let at = page(chance);
            bytes[at..(at + PAGE).min(length)].fill(0);
            format!("page at {at} zeroed")
        }
        _ => {
            let (one, other) = (page(chance), page(chance));
            for offset in 0..PAGE {
                bytes.swap(one + offset, other + offset);
            }
            format!("pages at {one} and {other} swapped")
        }
    };
    format!("{name}: {how}")
}

/// Salvages a damaged database, fetches the rest again, and looks whether it is a good one now.
fn save(patient: &Patient<'_>, examiner: &Examiner<'_>, tally: &mut Tally) -> anyhow::Result<()> {
    let stock = &patient.known.work.stock;
    let (path, now) = (examiner.database(), stock.now());
    let file = IdentityFile::load(&identity_path(&examiner.folder))?;
    let watch = Stopwatch::start();
    let saved = salvage(&path, file.as_ref())?;
    let mut replica = Replica::open(&path, Start { epoch: 1 << 60, now, software: "after the salvage".to_owned() })?;
    tally.slowest_ms = tally.slowest_ms.max(watch.elapsed_us() / 1000);
    let facts = &patient.known.history.facts;
    let mut strange = 0;
    let mut reader = replica.reader()?;
    let walked: Result<(), ()> = reader.journal(|bytes| {
        let hash = gate_core::event::hash(bytes);
        strange += usize::from(!facts.iter().any(|fact| fact.hash == hash));
        Ok(())
    })?;
    debug_assert!(walked.is_ok());
    // The epoch that this opening began is the one that nobody wrote before.
    anyhow::ensure!(strange == 1, "{} events were saved that nobody wrote", strange.saturating_sub(1));
    anyhow::ensure!(replica.position()?.0 == 0, "rows of a damaged file were kept");
    let mut road = stock.road(0, Hash::ZERO);
    replica.apply(&road.reply(stock.settings(), None), now)?;
    let rows = (0..50).map(|number| stock.told(number, PassStanding::Revoked)).collect();
    replica.apply(&road.reply(rows, Some(now.wall_ms)), now)?;
    let gate = reader.gate()?.ok_or_else(|| anyhow::anyhow!("the gate does not know itself"))?;
    let saved_uses = facts.iter().filter(|fact| fact.state <= patient.state).filter_map(|fact| fact.charges());
    for pass in saved_uses.take(20) {
        reader.view(&scanned(pass, now), &gate, now)?;
    }
    let told = scanned(&stock.told_id(7), now);
    let view = reader.view(&told, &gate, now)?;
    anyhow::ensure!(
        view.row.is_some_and(|row| row.standing == PassStanding::Revoked),
        "what was fetched again is not there"
    );
    reader.check_whole()?;
    let report = journal_check::check(&reader)?;
    anyhow::ensure!(
        report.ok || saved.missing + saved.rejected > 0 || saved.events == 0 || report.problem.is_some(),
        "{report}"
    );
    tally.salvaged += 1;
    tally.saved.0 += saved.events;
    tally.saved.1 += facts.iter().filter(|fact| fact.state <= patient.state).count() as u64;
    Ok(())
}

/// All rows of all tables.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Rows {
    all: Hash,
    /// Without the bytes of events, whose hashes are rows too.
    but_bytes: Hash,
}

fn rows_of(database: &Path) -> rusqlite::Result<Rows> {
    let db = rusqlite::Connection::open_with_flags(database, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let tables: Vec<String> = db
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let (mut all, mut but_bytes) = (Vec::new(), Vec::new());
    for table in tables {
        all.extend_from_slice(table.as_bytes());
        but_bytes.extend_from_slice(table.as_bytes());
        let mut statement = db.prepare(&format!("SELECT * FROM {table}"))?;
        let columns = statement.column_count();
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            for column in 0..columns {
                let (kind, bytes) = match row.get_ref(column)? {
                    ValueRef::Null => (0, vec![]),
                    ValueRef::Integer(number) => (1, number.to_be_bytes().to_vec()),
                    ValueRef::Real(number) => (2, number.to_be_bytes().to_vec()),
                    ValueRef::Text(bytes) => (3, bytes.to_vec()),
                    ValueRef::Blob(bytes) => (4, bytes.to_vec()),
                };
                let mut value = vec![kind];
                value.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
                value.extend(bytes);
                if !(table == "events" && column == BYTES) {
                    but_bytes.extend_from_slice(&value);
                }
                all.extend(value);
            }
        }
    }
    Ok(Rows { all: Hash::of("rows", &all), but_bytes: Hash::of("rows", &but_bytes) })
}
