//! The verbs, as typed. `features` parses the commands named in docs/features.md with the same definitions.

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Every command a developer or CI runs.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Install what is missing (apt, npm, fonts) and build the web pages. Does nothing when nothing is missing.
    Setup,
    /// Build the touchscreen and the dashboard.
    Web,
    /// Tell the whole story with real processes, then keep serving its pages.
    ///
    /// Example: cargo xtask demo --once --json
    Demo(Demo),
    /// Format, lints, documentation, dependencies, web lint and types, units, tidy rules, feature table.
    Check,
    /// `check` and every test.
    ///
    /// Example: cargo xtask test --fast
    Test {
        /// Leave out what takes minutes: documentation, dependencies, browser and demo.
        #[arg(long)]
        fast: bool,
    },
    /// Measure, print a table, and as the last line one JSON object; fails where a figure falls short.
    ///
    /// Example: cargo xtask bench decide
    Bench {
        /// What to measure.
        name: Bench,
        /// Handed on to the bench.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        further: Vec<String>,
    },
    /// Long runs that do harm on purpose.
    ///
    /// Example: cargo xtask campaign kill --times 200
    Campaign {
        /// Which harm.
        name: Campaign,
        /// How often.
        #[arg(long)]
        times: Option<u32>,
        /// Handed on to the campaign.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        further: Vec<String>,
    },
    /// Cut the power at random moments of traced work, and open what is left with the gate's own code.
    ///
    /// Example: cargo xtask powercut --cuts 20000
    Powercut(Powercut),
    /// Gates, people and a cloud in one process, with every fault that a seed draws.
    ///
    /// Example: cargo xtask simulate --seeds 200
    Simulate(Simulate),
    /// Boot a gate's machine (virtual, emulated) without a network, twice, and hold passes up to it. Needs root and QEMU.
    ///
    /// Example: cargo xtask coldboot
    Coldboot {
        /// Handed on.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        further: Vec<String>,
    },
    /// Everything that looks for faults by chance, on fresh seeds, one after the other; writes docs/night.md.
    ///
    /// Example: cargo xtask night --seeds 1000
    Night {
        /// Seeds of the simulation; each night goes on after the last one.
        #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
        seeds: u64,
    },
    /// Check docs/features.md against the tests it names and the specification, and count.
    Features,
}

/// Options of the demo that are known here; the rest is handed on.
#[derive(Debug, Args)]
pub struct Demo {
    /// End after the story; exit 0 only if every figure is as expected.
    #[arg(long)]
    pub once: bool,
    /// Print the closing table as JSON.
    #[arg(long)]
    pub json: bool,
    /// Handed on to the demo.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub further: Vec<String>,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Bench {
    /// Recall and CPU of the decoder cascade.
    Read,
    /// Decision and frame-to-relay times.
    Decide,
    /// Sync: ingest, upload after a long time offline, how fast a revocation is known, what an admission writes.
    Sync,
}

impl Bench {
    /// The name as typed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Decide => "decide",
            Self::Sync => "sync",
        }
    }
}

/// Harm that can be done.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Campaign {
    /// kill -9 of agent, reader or gate-io at random moments of the demo.
    Kill,
    /// SIGSTOP of agent, reader or gate-io.
    Hang,
    /// The camera goes and comes back.
    Unplug,
    /// gate-io dies in the middle of a pulse.
    Hand,
}

impl Campaign {
    /// The name as typed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Hang => "hang",
            Self::Unplug => "unplug",
            Self::Hand => "hand",
        }
    }
}

/// What is known here of power cuts; the rest is handed on.
#[derive(Debug, Args)]
pub struct Powercut {
    /// Power cuts of an honest card; 1000 if nothing else is asked for.
    #[arg(long)]
    pub cuts: Option<u32>,
    /// Power cuts of a card that ignores 1 to 20 % of the syncs.
    #[arg(long)]
    pub lying: Option<u32>,
    /// Databases to damage.
    #[arg(long)]
    pub injuries: Option<u32>,
    /// Try the deliberate faults: each must be caught.
    #[arg(long)]
    pub mutants: bool,
    /// Seed of everything drawn by chance.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Print only the JSON object.
    #[arg(long)]
    pub json: bool,
    /// Handed on.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub further: Vec<String>,
}

impl Powercut {
    /// As the program takes them.
    pub fn arguments(&self) -> Vec<String> {
        let mut words = Vec::new();
        number(&mut words, "--cuts", self.cuts.map(u64::from));
        number(&mut words, "--lying", self.lying.map(u64::from));
        number(&mut words, "--injuries", self.injuries.map(u64::from));
        number(&mut words, "--seed", self.seed);
        words.extend(self.mutants.then(|| "--mutants".to_owned()));
        words.extend(self.json.then(|| "--json".to_owned()));
        words.extend(self.further.iter().cloned());
        words
    }
}

/// What is known here of the simulation; the rest is handed on.
#[derive(Debug, Args)]
pub struct Simulate {
    /// How many seeds.
    #[arg(long)]
    pub seeds: Option<u64>,
    /// One seed, told as a story if it fails; with `--seeds`, the first one.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Try the deliberate faults: each must be caught.
    #[arg(long)]
    pub mutants: bool,
    /// Go on after the last seed of the campaign before.
    #[arg(long)]
    pub resume: bool,
    /// Handed on.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub further: Vec<String>,
}

impl Simulate {
    /// As the program takes them.
    pub fn arguments(&self) -> Vec<String> {
        let mut words = Vec::new();
        number(&mut words, "--seeds", self.seeds);
        number(&mut words, "--seed", self.seed);
        words.extend(self.mutants.then(|| "--mutants".to_owned()));
        words.extend(self.resume.then(|| "--resume".to_owned()));
        words.extend(self.further.iter().cloned());
        words
    }
}

fn number(words: &mut Vec<String>, name: &str, value: Option<u64>) {
    if let Some(value) = value {
        words.extend([name.to_owned(), value.to_string()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn demo_hands_on_what_it_does_not_know() {
        let cli = Cli::try_parse_from(["cargo xtask", "demo", "--once", "--json", "--seed", "7"]).unwrap();
        let Verb::Demo(demo) = cli.verb else { panic!("not the demo: {cli:?}") };
        assert!(demo.once && demo.json);
        assert_eq!(demo.further, ["--seed", "7"]);
    }

    #[test]
    fn numbers_and_the_unknown_are_handed_on() {
        let words = |line: &[&str]| {
            let cli = Cli::try_parse_from(["cargo xtask"].iter().chain(line)).unwrap();
            if let Verb::Powercut(powercut) = &cli.verb {
                return powercut.arguments();
            }
            let Verb::Simulate(simulate) = &cli.verb else { panic!("{cli:?}") };
            simulate.arguments()
        };
        for (typed, handed_on) in [
            (&["powercut"][..], &[][..]),
            (&["powercut", "--injuries", "9", "--cuts", "5", "--json"], &["--cuts", "5", "--injuries", "9", "--json"]),
            (&["powercut", "--mutants", "--scans", "7"], &["--mutants", "--scans", "7"]),
            (&["simulate", "--seed", "7", "--resume"], &["--seed", "7", "--resume"]),
            (&["simulate", "--seeds", "3", "--mutants", "--story"], &["--seeds", "3", "--mutants", "--story"]),
        ] {
            assert_eq!(words(typed), handed_on, "{typed:?}");
        }
    }
}
