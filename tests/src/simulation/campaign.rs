//! `cargo xtask simulate`: many seeds, one story for each that fails; and the deliberate faults that must fail.

#![expect(clippy::print_stdout, reason = "seeds, stories and figures are for the person who called it")]

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, bail};
use clap::Parser;
use gate_core::ids::Hash;
use gate_core::mutant::Mutant;
use hardware::clock::Stopwatch;
use serde_json::json;

use super::checks::Figures;
use super::template::Template;
use super::world::{Outcome, Run, run};

/// Runs seeds of the simulation and looks for what must not happen.
#[derive(Debug, Parser)]
#[command(name = "simulate", version)]
pub struct Options {
    /// How many seeds.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..))]
    pub seeds: u64,
    /// The first seed; with `--seeds 1` its story is told.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Switch on one deliberate fault after the other: each must be caught.
    #[arg(long)]
    pub mutants: bool,
    /// Only these deliberate faults, with commas between; a single one with `--seeds 1` tells its story.
    #[arg(long, value_delimiter = ',')]
    pub mutant: Vec<Mutant>,
    /// Go on after the last seed of the campaign before.
    #[arg(long)]
    pub resume: bool,
    /// Print only the closing line of JSON.
    #[arg(long)]
    pub json: bool,
}

/// Where a long campaign notes its next seed.
const NEXT_SEED: &str = "target/simulate.next";
/// Seeds whose runs are made twice, to show that they repeat.
const TWICE: u64 = 3;
/// Seeds that a deliberate fault may take to be noticed.
#[cfg(feature = "mutants")]
const MUTANT_SEEDS: u64 = 30;

/// Where the files of runs live: in memory where the system has it, because every commit is synced.
fn workplace() -> anyhow::Result<PathBuf> {
    let memory = Path::new("/dev/shm");
    let base = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
    let folder = base.join(format!("gate-simulation-{}", std::process::id()));
    std::fs::create_dir_all(&folder).with_context(|| format!("can't make {}", folder.display()))?;
    Ok(folder)
}

/// Does what the command line says; true if all went well.
pub fn main(options: &Options) -> anyhow::Result<bool> {
    let place = workplace()?;
    let result = campaign(options, &place);
    if options.seeds == 1 && matches!(result, Ok(false)) {
        return result;
    }
    // Only files that seeds make again.
    let _left = std::fs::remove_dir_all(&place);
    result
}

fn campaign(options: &Options, place: &Path) -> anyhow::Result<bool> {
    let template = Template::make(&place.join("template"))?;
    if options.mutants || !options.mutant.is_empty() {
        return mutants(options, &template, place);
    }
    let first = first_seed(options)?;
    if options.seeds == 1 {
        return one(&template, place, first);
    }
    seeds(options, &template, place, first)
}

/// The first seed: as asked for, after the last of an earlier campaign, or a fresh one.
fn first_seed(options: &Options) -> anyhow::Result<u64> {
    if let Some(seed) = options.seed {
        return Ok(seed);
    }
    if options.resume
        && let Ok(text) = std::fs::read_to_string(NEXT_SEED)
    {
        return text.trim().parse().with_context(|| format!("{NEXT_SEED} names no seed: delete it"));
    }
    Ok(crate::clock::unix_ms().cast_unsigned() / 1000 * 1_000)
}

fn play(template: &Template, place: &Path, seed: u64, tell: bool, turn: &str) -> anyhow::Result<Outcome> {
    run(&Run { template, seed, folder: place.join(format!("{turn}-{seed}")), tell })
        .with_context(|| format!("seed {seed}"))
}

/// One seed, with its story.
fn one(template: &Template, place: &Path, seed: u64) -> anyhow::Result<bool> {
    let outcome = play(template, place, seed, true, "one")?;
    for line in &outcome.story {
        println!("{line}");
    }
    report(seed, &outcome);
    if !outcome.violations.is_empty() {
        println!("what the gates and the cloud stored is in {}", place.display());
    }
    println!("{}", json!({"seed": seed, "trace": outcome.trace.to_string(), "ok": outcome.violations.is_empty()}));
    Ok(outcome.violations.is_empty())
}

fn report(seed: u64, outcome: &Outcome) {
    println!("seed {seed}  trace {}  {:?}", outcome.trace, outcome.figures);
    for violation in &outcome.violations {
        println!("  {violation}");
    }
}

#[derive(Default)]
struct Sum {
    failed: Vec<(u64, Vec<String>)>,
    figures: Figures,
    trace: Vec<(u64, Hash)>,
}

/// Plays seeds from `first` on two threads.
fn many(template: &Template, place: &Path, first: u64, count: u64, stop_at_first: bool) -> anyhow::Result<Sum> {
    let next = AtomicU64::new(0);
    let sum = Mutex::new(Sum::default());
    let lock = || sum.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let work = |worker: &str| -> anyhow::Result<()> {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= count || (stop_at_first && !lock().failed.is_empty()) {
                return Ok(());
            }
            let seed = first + at;
            let played = play(template, place, seed, false, worker);
            let mut sum = lock();
            let outcome = match played {
                Ok(outcome) => outcome,
                Err(error) => {
                    sum.failed.push((seed, vec![format!("the run could not go on: {error:#}")]));
                    continue;
                }
            };
            sum.figures += outcome.figures;
            sum.trace.push((seed, outcome.trace));
            if !outcome.violations.is_empty() {
                sum.failed.push((seed, outcome.violations));
            }
        }
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(|| work("b"));
        let own = work("a");
        let other = other.join().map_err(|_| anyhow::anyhow!("a run panicked"))?;
        own.and(other)
    })?;
    Ok(sum.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
}

fn seeds(options: &Options, template: &Template, place: &Path, first: u64) -> anyhow::Result<bool> {
    let watch = Stopwatch::start();
    let mut sum = many(template, place, first, options.seeds, false)?;
    let took_s = watch.elapsed_us() as f64 / 1e6;
    sum.trace.sort();
    let mut repeats = true;
    for (seed, trace) in sum.trace.iter().take(usize::try_from(TWICE).unwrap_or(0)) {
        repeats &= play(template, place, *seed, false, "again")?.trace == *trace;
    }
    sum.failed.sort();
    for (seed, violations) in sum.failed.iter().take(5) {
        println!("seed {seed}: tell its story with: cargo xtask simulate --seeds 1 --seed {seed}");
        for violation in violations.iter().take(5) {
            println!("  {violation}");
        }
    }
    if options.resume {
        std::fs::create_dir_all("target")?;
        std::fs::write(NEXT_SEED, format!("{}\n", first + options.seeds))?;
    }
    let all: Vec<u8> = sum.trace.iter().flat_map(|(_, trace)| trace.0).collect();
    let trace = Hash::of("gatetrace/1", &all);
    let ok = sum.failed.is_empty() && repeats;
    let rate = options.seeds as f64 / took_s;
    println!("seeds {first} to {}: {} failed, {rate:.2} seeds/s", first + options.seeds - 1, sum.failed.len());
    let Figures { events, openings, extra_uses, unknown, resets, looks, lives, .. } = sum.figures;
    println!("{events} events, {openings} openings, {lives} starts of agents, {unknown} openings nobody knows of");
    println!("{extra_uses} extra uses of passes, {resets} daily resets, {looks} looks at the dashboard");
    println!("trace of all {trace}; the first {TWICE} repeat: {repeats}");
    println!(
        "{}",
        json!({"simulate": {"first": first, "seeds": options.seeds, "failed": sum.failed.len(), "per_second": rate,
            "events": events, "openings": openings, "extra_uses": extra_uses, "resets": resets, "looks": looks,
            "trace": trace.to_string(), "repeats": repeats}, "ok": ok})
    );
    Ok(ok)
}

#[cfg(not(feature = "mutants"))]
fn mutants(_options: &Options, _template: &Template, _place: &Path) -> anyhow::Result<bool> {
    bail!("this build knows no deliberate faults: cargo xtask simulate --mutants builds one that does")
}

#[cfg(feature = "mutants")]
fn mutants(options: &Options, template: &Template, place: &Path) -> anyhow::Result<bool> {
    use gate_core::mutant::{Catcher, switch};
    let first = options.seed.unwrap_or(1);
    let wanted: Vec<Mutant> = Mutant::ALL
        .iter()
        .copied()
        .filter(|mutant| mutant.catcher() == Catcher::Simulate)
        .filter(|mutant| options.mutant.is_empty() || options.mutant.contains(mutant))
        .collect();
    if let Some(other) = options.mutant.iter().find(|mutant| mutant.catcher() != Catcher::Simulate) {
        bail!("{} is for the power cuts to catch: cargo xtask powercut --mutants", other.name());
    }
    if let ([mutant], 1) = (&wanted[..], options.seeds) {
        switch(Some(*mutant));
        return one(template, place, first);
    }
    // What already fails without a fault would prove nothing.
    let honest = many(template, place, first, MUTANT_SEEDS, false)?;
    if let Some((seed, violations)) = honest.failed.first() {
        bail!("seed {seed} fails without any deliberate fault: {violations:?}");
    }
    let mut missed = Vec::new();
    for mutant in &wanted {
        switch(Some(*mutant));
        let sum = many(template, place, first, MUTANT_SEEDS, true);
        switch(None);
        match sum?.failed.first() {
            Some((seed, violations)) => {
                println!(
                    "{:<24} caught by seed {seed}: {}",
                    mutant.name(),
                    violations.first().map_or("", String::as_str)
                );
            }
            None => {
                println!("{:<24} NOT CAUGHT in {MUTANT_SEEDS} seeds: {}", mutant.name(), mutant.what());
                missed.push(mutant.name());
            }
        }
    }
    let ok = missed.is_empty();
    println!("{}", json!({"mutants": wanted.len(), "missed": missed, "ok": ok}));
    Ok(ok)
}
