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
        #[command(subcommand)]
        name: Campaign,
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
}

impl Bench {
    /// The name as typed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Decide => "decide",
        }
    }
}

/// Harm that can be done.
#[derive(Debug, Subcommand)]
pub enum Campaign {
    /// kill -9 of agent, reader or gate-io at random moments of the demo.
    Kill {
        /// How many kills.
        #[arg(long, default_value_t = 200)]
        times: u32,
        /// Handed on to the campaign.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        further: Vec<String>,
    },
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
}
