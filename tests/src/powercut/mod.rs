//! Power cuts: what the real programs wrote, torn, lost and reordered as a card may leave it, and opened by the real gate.
//!
//! A process is traced while it works. Its writes and syncs are then replayed up to a moment drawn by chance, where the power
//! goes: what was synced is there, of everything else any sector may be or not. The gate's own code opens what is left,
//! and everything that had been promised by then must be there: whatever moved a relay, and whatever a caller was told.
//! With `synchronous=NORMAL` the same work must lose something, or this harness proves nothing.

pub mod card;
pub mod cuts;
pub mod drive;
pub mod examine;
pub mod gates;
pub mod history;
pub mod injuries;
pub mod lying;
pub mod mutants;
pub mod report;
pub mod trace;

use std::path::{Path, PathBuf};

use gate_core::mutant::Mutant;
use hardware::clock::Stopwatch;

use self::card::Files;
use self::history::History;
use self::report::Report;
use self::trace::Op;
use crate::world::stock::Stock;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Power cuts of an honest card.
    pub cuts: u32,
    /// Power cuts of a card that ignores some syncs.
    pub lying: u32,
    /// Damaged databases.
    pub injuries: u32,
    /// Passes held up in front of the traced gate.
    pub scans: u32,
    /// Things that happen in each phase of a traced life.
    pub steps: u32,
    /// Whether the deliberate faults are tried too.
    pub mutants: bool,
    /// Seed of everything drawn by chance.
    pub seed: u64,
}

/// Work that was traced.
pub struct Workload {
    /// What it is called.
    pub name: &'static str,
    /// What was on the card before.
    pub base: Files,
    /// What was done.
    pub ops: Vec<Op>,
    /// Whose passes they are.
    pub stock: Stock,
}

/// Work that was traced and understood.
pub struct Known {
    /// The work.
    pub work: Workload,
    /// What it amounts to.
    pub history: History,
}

impl Workload {
    /// Reads every state of the database out of the trace.
    pub fn understand(self, shelf: &Shelf) -> anyhow::Result<Known> {
        let history = History::of(&self.base, &self.ops, shelf)?;
        Ok(Known { work: self, history })
    }
}

/// A folder in memory, gone with this value: what is tried here is not the speed of a disk.
pub struct Shelf(PathBuf);

impl Shelf {
    /// A folder of its own.
    pub fn new() -> anyhow::Result<Self> {
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
        let path = place.join(format!("gate-powercut-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    /// A folder in it. It is made when files are laid out there.
    pub fn folder(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}

/// How many cards are looked at at once.
pub fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(8)
}

/// Makes a folder hold these files and no others.
pub fn lay_out(folder: &Path, files: &Files) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if !entry.file_name().to_str().is_some_and(|name| files.contains_key(name)) {
            std::fs::remove_file(entry.path())?;
        }
    }
    for (name, bytes) in files {
        std::fs::write(folder.join(name), bytes)?;
    }
    Ok(())
}

/// The files of a folder.
pub fn pick_up(folder: &Path) -> anyhow::Result<Files> {
    let mut files = Files::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if entry.file_type()?.is_file() && !trace::is_nothing(&name) {
            files.insert(name, std::fs::read(entry.path())?);
        }
    }
    Ok(files)
}

/// Does all that is asked for.
pub fn run(options: Options, tell: &mut dyn FnMut(&str)) -> anyhow::Result<Report> {
    let shelf = Shelf::new()?;
    let mut report = Report::new(options);
    let runtime = tokio::runtime::Runtime::new()?;
    let watch = Stopwatch::start();

    let mut known = Vec::new();
    if options.scans > 0 {
        tell(&format!("{} passes in front of the real gate-agent, gate-reader and gate-io, traced …", options.scans));
        let scans = runtime.block_on(gates::scans(options.scans, options.seed, None, &shelf))?;
        known.push(scans.understand(&shelf)?);
    }
    tell(&format!("a life of {} things, from enrolment to pruning, traced …", options.steps * drive::PHASES));
    known.push(life(options, None)?.understand(&shelf)?);
    for known in &known {
        report.traced(known);
    }
    report.seconds.tracing = seconds(watch);

    let watch = Stopwatch::start();
    if options.cuts > 0 {
        tell(&format!("{} power cuts …", options.cuts));
        let share = options.cuts.div_ceil(u32::try_from(known.len())?);
        for known in &known {
            report.cuts.push((known.work.name, cuts::run(known, share, options.seed, &shelf)?));
        }
        report.seconds.cuts = seconds(watch);
        tell("the control: the same with synchronous=NORMAL …");
        report.control = Some(control(options, &shelf)?);
    }
    let watch = Stopwatch::start();
    if options.lying > 0 {
        tell(&format!("{} power cuts of a card that lies about syncs …", options.lying));
        let share = options.lying.div_ceil(u32::try_from(known.len())?);
        for known in &known {
            report.lying.push((known.work.name, lying::run(known, share, options.seed, &shelf)?));
        }
    }
    report.seconds.lying = seconds(watch);
    let watch = Stopwatch::start();
    if options.injuries > 0 {
        tell(&format!("{} damaged databases …", options.injuries));
        report.injuries = Some(injuries::run(&known, options.injuries, options.seed, &shelf)?);
    }
    report.seconds.injuries = seconds(watch);
    if options.mutants {
        for mutant in mutants::all() {
            tell(&format!("mutant {} …", mutant.name()));
            let caught = mutants::try_one(mutant, &known, options, &shelf)?;
            report.mutants.extend(caught.into_iter().map(|caught| (mutant, caught)));
        }
    }
    Ok(report)
}

/// A traced life, with a deliberate fault or without.
fn life(options: Options, fault: Option<Mutant>) -> anyhow::Result<Workload> {
    gates::life(options.steps, options.seed, fault)
}

/// The same work with commits that are not synced.
fn control(options: Options, shelf: &Shelf) -> anyhow::Result<cuts::Tally> {
    let known = life(options, Some(Mutant::SynchronousNormal))?.understand(shelf)?;
    cuts::run(&known, options.cuts.clamp(1, 1000), options.seed, shelf)
}

/// Switches a deliberate fault on, or all off. Without the feature `mutants` there are none to switch.
pub fn switch(fault: Option<Mutant>) {
    #[cfg(feature = "mutants")]
    gate_core::mutant::switch(fault);
    #[cfg(not(feature = "mutants"))]
    let _none = fault;
}

fn seconds(watch: Stopwatch) -> f64 {
    watch.elapsed_us() as f64 / 1e6
}
