//! `gate-agent`: run a gate, or ask it something.
//!
//! Exit codes: 0 fine; 1 a check or action failed; 2 wrong usage; 3 fine with warnings; 69 the agent does not answer;
//! 74 a file can't be read or written; 78 the configuration has mistakes (sysexits numbers). `replay` besides: 1 the decision
//! differs; 65 the event is no decision; 66 there is no such event.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Parser, Subcommand};
use gate_agent::closing::Closing;
use gate_agent::config::{self, Config, ConfigError};
use gate_agent::replay::ReplayError;
use gate_agent::replica::{salvage, wish_resync};
use gate_agent::sync::maintenance;
use gate_agent::{daemon, doctor, enrol, identity, journal_check, replay};
use serde_json::json;
use tokio::sync::watch;

const _: () = assert!(
    !gate_core::mutant::COMPILED_IN,
    "deliberate faults are for the test programs: build this one without the feature `mutants`"
);

/// The brain of a gate: reads passes, decides, opens, records, and syncs when there is a network.
#[derive(Parser)]
#[command(
    version,
    propagate_version = true,
    after_help = "Example:\n  gate-agent doctor --config /etc/gate-agent.toml"
)]
struct Arguments {
    /// The configuration file.
    #[arg(long, global = true, env = "GATE_AGENT_CONFIG", default_value = "/etc/gate-agent.toml")]
    config: PathBuf,
    /// Print one JSON object instead of text.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the gate until SIGTERM.
    #[command(after_help = "Example:\n  gate-agent run --config /etc/gate-agent.toml")]
    Run,
    /// Check everything this gate needs and say how to mend what is wrong.
    #[command(after_help = "Examples:\n  gate-agent doctor\n  gate-agent doctor --only camera,gate_io --json")]
    Doctor {
        /// Only these checks, separated by commas.
        #[arg(long, value_delimiter = ',', value_parser = PossibleValuesParser::new(doctor::NAMES))]
        only: Vec<String>,
    },
    /// Look at the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Make this machine the device of a gate, with the one-time code from the dashboard.
    #[command(after_help = "Example:\n  gate-agent enrol ABCD-1234 --config /etc/gate-agent.toml")]
    Enrol {
        /// The code, as the dashboard shows it.
        code: String,
    },
    /// What the running agent shows and knows.
    #[command(after_help = "Example:\n  gate-agent status --json")]
    Status,
    /// The journal.
    #[command(subcommand)]
    Journal(JournalCommand),
    /// Begin a new database from a damaged one: the file is kept aside, every event whose chain holds is saved and delivered.
    #[command(after_help = "Example:\n  systemctl stop gate-agent && gate-agent salvage")]
    Salvage,
    /// Make a recorded decision again and explain it in English and Romanian. Exit code 0: the same, 1: it differs, 65: the event
    /// is no decision, 66: there is no such event.
    #[command(
        after_help = "Examples:\n  gate-agent replay 0190…/00a1…/17\n  gate-agent replay --file event.txt --json"
    )]
    Replay {
        /// The event, as the dashboard and the log name it. Not needed with --file.
        #[arg(required_unless_present = "file")]
        event: Option<String>,
        /// Take the event from this file instead of the journal: one per line, hexadecimal.
        #[arg(long)]
        file: Option<PathBuf>,
    },
    /// Fetch settings and passes anew. The gate goes on deciding from what it has until the new copy is complete.
    #[command(after_help = "Example:\n  gate-agent resync")]
    Resync,
    /// Keep away from the cloud for a while, for whoever works on the network. Deciding goes on; it ends by itself.
    #[command(after_help = "Example:\n  gate-agent offline --for 30m")]
    Offline {
        /// How long: 90s, 30m or 2h; 1 minute to 24 hours.
        #[arg(long = "for", value_parser = span)]
        span: Duration,
    },
    /// Close this gate's lane, or open it again. A closed lane stays closed over a restart; fire and the free way out still open.
    #[command(subcommand)]
    Lane(LaneCommand),
    /// End `offline` before its time.
    #[command(after_help = "Example:\n  gate-agent online")]
    Online,
}

/// Reads a length of time.
fn span(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no length of time: write for example 30m, 90s or 2h");
    let (number, seconds) = match text.char_indices().next_back() {
        Some((at, 's')) => (&text[..at], 1),
        Some((at, 'm')) => (&text[..at], 60),
        Some((at, 'h')) => (&text[..at], 3600),
        Some(_) | None => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(wrong)
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Name every mistake, with its line.
    #[command(after_help = "Example:\n  gate-agent config check --config /etc/gate-agent.toml")]
    Check,
    /// Print what is in force.
    #[command(after_help = "Example:\n  gate-agent config show --json")]
    Show,
    /// Print a commented file to start from.
    #[command(after_help = "Example:\n  gate-agent config default > /etc/gate-agent.toml")]
    Default,
}

#[derive(Subcommand)]
enum LaneCommand {
    /// Nobody is let in until it is opened again.
    #[command(after_help = "Example:\n  gate-agent lane close")]
    Close,
    /// Take passes again.
    #[command(after_help = "Example:\n  gate-agent lane open")]
    Open,
}

#[derive(Subcommand)]
enum JournalCommand {
    /// Check the chain of events from its start to its head, and name the first event that is wrong.
    #[command(after_help = "Example:\n  gate-agent journal verify --json")]
    Verify,
}

/// What a command wants the process to say with its exit code.
mod code {
    pub const FAILED: u8 = 1;
    pub const WARNINGS: u8 = 3;
    pub const NO_DECISION: u8 = 65;
    pub const NOT_FOUND: u8 = 66;
    pub const UNAVAILABLE: u8 = 69;
    pub const IO: u8 = 74;
    pub const CONFIG: u8 = 78;
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        say_error("another TLS provider was installed first");
        return ExitCode::from(code::FAILED);
    }
    match carry_out(&arguments) {
        Ok(exit) => ExitCode::from(exit),
        Err(error) => {
            // Each error says what was attempted and how to mend it; the chain says why.
            let text = in_words(&error);
            fail(arguments.json, &text);
            let exit = if error.downcast_ref::<ConfigError>().is_some() {
                code::CONFIG
            } else if let Some(error) = error.downcast_ref::<ReplayError>() {
                match error {
                    ReplayError::NotFound(_) => code::NOT_FOUND,
                    ReplayError::NotADecision(_) => code::NO_DECISION,
                    ReplayError::File { .. } => code::IO,
                    ReplayError::NotAnId(_) | ReplayError::Replica(_) => code::FAILED,
                }
            } else if error.downcast_ref::<std::io::Error>().is_some() {
                code::IO
            } else {
                code::FAILED
            };
            ExitCode::from(exit)
        }
    }
}

fn carry_out(arguments: &Arguments) -> anyhow::Result<u8> {
    let load = || Config::load(&arguments.config);
    match &arguments.command {
        Command::Run => {
            let config = load()?;
            start_log(&config);
            runtime()?.block_on(async {
                let stop = stop_signal()?;
                daemon::run(config, stop).await
            })?;
            Ok(0)
        }
        Command::Doctor { only } => {
            let report = runtime()?.block_on(doctor::examine(&arguments.config, only));
            say(arguments.json, &serde_json::to_value(&report)?, &report.to_string());
            Ok(match report.worst() {
                doctor::State::Pass | doctor::State::Skipped => 0,
                doctor::State::Warn => code::WARNINGS,
                doctor::State::Fail => code::FAILED,
            })
        }
        Command::Config(ConfigCommand::Check) => match load() {
            Ok(_) => {
                say(arguments.json, &json!({"ok": true, "problems": []}), "The configuration is good.");
                Ok(0)
            }
            Err(ConfigError::Invalid { path, problems }) if arguments.json => {
                let listed: Vec<_> = problems.iter().map(|p| json!({"line": p.line, "message": p.message})).collect();
                say(true, &json!({"ok": false, "file": path, "problems": listed}), "");
                Ok(code::CONFIG)
            }
            Err(error) => Err(error.into()),
        },
        Command::Config(ConfigCommand::Show) => {
            let value = serde_json::to_value(load()?)?;
            say(arguments.json, &value, &serde_json::to_string_pretty(&value)?);
            Ok(0)
        }
        Command::Config(ConfigCommand::Default) => {
            say(arguments.json, &json!({"text": config::DEFAULT}), config::DEFAULT.trim_end());
            Ok(0)
        }
        Command::Enrol { code } => {
            let config = load()?;
            let identity = runtime()?.block_on(enrol::enrol(&config, code))?;
            let text = format!(
                "This machine is now device {} of gate {}. Start it with `gate-agent run`.",
                identity.device, identity.gate
            );
            say(arguments.json, &serde_json::to_value(&identity)?, &text);
            Ok(0)
        }
        Command::Status => {
            let config = load()?;
            match runtime()?.block_on(ask_status(&config)) {
                Ok(status) => {
                    say(arguments.json, &status, &serde_json::to_string_pretty(&status)?);
                    Ok(0)
                }
                Err(error) => {
                    let why = in_words(&error);
                    let text =
                        format!("the agent does not answer on {}: {why}. Is `gate-agent run` running?", config.screen);
                    fail(arguments.json, &text);
                    Ok(code::UNAVAILABLE)
                }
            }
        }
        Command::Salvage => {
            let config = load()?;
            let file = identity::IdentityFile::load(&identity::identity_path(&config.data_dir))?;
            let saved = salvage(&config.database(), file.as_ref())?;
            let value = json!({
                "events": saved.events, "rejected": saved.rejected, "missing": saved.missing, "kept_aside": saved.kept_aside,
            });
            let text = format!(
                "{} events saved, {} rejected, {} missing. The damaged file is kept as {}.",
                saved.events,
                saved.rejected,
                saved.missing,
                saved.kept_aside.display()
            );
            say(arguments.json, &value, &text);
            Ok(if saved.rejected + saved.missing > 0 { code::WARNINGS } else { 0 })
        }
        Command::Replay { event, file } => {
            let id = event.as_deref().map(replay::read_id).transpose()?;
            let report = match (file, id) {
                (Some(file), id) => replay::from_file(file, id)?,
                (None, Some(id)) => replay::from_journal(&load()?.database(), id)?,
                // clap asks for one of the two.
                (None, None) => return Ok(code::NOT_FOUND),
            };
            say(arguments.json, &serde_json::to_value(&report)?, &report.to_string());
            Ok(if report.same { 0 } else { code::FAILED })
        }
        Command::Resync => {
            wish_resync(&load()?.database())?;
            let text = "Settings and passes are fetched anew as soon as the cloud is heard. Until the new copy is complete the \
                        gate decides from the one it has.";
            say(arguments.json, &json!({"ok": true}), text);
            Ok(0)
        }
        Command::Offline { span } => {
            maintenance::offline(&load()?.data_dir, *span)?;
            let text = format!(
                "No exchange with the cloud for {} minutes. End it with `gate-agent online`.",
                span.as_secs() / 60
            );
            say(arguments.json, &json!({"ok": true, "offline_s": span.as_secs()}), &text);
            Ok(0)
        }
        Command::Lane(wish) => {
            let (close, text) = match wish {
                LaneCommand::Close => {
                    (true, "The lane is closed within a second and stays so until `gate-agent lane open`.")
                }
                LaneCommand::Open => (false, "The lane is open within a second."),
            };
            Closing::at(&load()?.data_dir).set(close)?;
            say(arguments.json, &json!({"ok": true, "closed": close}), text);
            Ok(0)
        }
        Command::Online => {
            maintenance::online(&load()?.data_dir)?;
            say(arguments.json, &json!({"ok": true}), "The gate exchanges with the cloud again.");
            Ok(0)
        }
        Command::Journal(JournalCommand::Verify) => {
            let report = journal_check::verify(&load()?.database())?;
            say(arguments.json, &serde_json::to_value(&report)?, &report.to_string());
            Ok(if report.ok { 0 } else { code::FAILED })
        }
    }
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()
}

async fn ask_status(config: &Config) -> anyhow::Result<serde_json::Value> {
    let client = reqwest::Client::builder().timeout(std::time::Duration::from_secs(3)).no_proxy().build()?;
    let answer = client.get(format!("http://{}/v1/status", config.screen)).send().await?.error_for_status()?;
    Ok(answer.json().await?)
}

/// Turns true at SIGTERM or Ctrl-C.
fn stop_signal() -> anyhow::Result<watch::Receiver<bool>> {
    let (tell, told) = watch::channel(false);
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        tracing::info!("stopping");
        tell.send_replace(true);
        // Keeps the channel open until everybody has seen it.
        tell.closed().await;
    });
    Ok(told)
}

fn start_log(config: &Config) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(&config.log.level));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if config.log.json { log.json().init() } else { log.init() }
}

/// Data goes to stdout.
fn say(json: bool, value: &serde_json::Value, text: &str) {
    let mut out = std::io::stdout().lock();
    let written = if json { writeln!(out, "{value}") } else { writeln!(out, "{text}") };
    if written.is_err() {
        // The reader has closed the pipe: nobody is there to be told.
        std::process::exit(0);
    }
}

/// A command failed: the message for people, and for programs the object that they asked for.
fn fail(json: bool, text: &str) {
    say_error(text);
    if json {
        say(true, &json!({"ok": false, "error": text}), "");
    }
}

/// An error with its causes, each said once: many errors carry their cause's words in their own.
fn in_words(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// Messages go to stderr.
fn say_error(text: &str) {
    let _closed = writeln!(std::io::stderr(), "gate-agent: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_named_once() {
        let io = || std::io::Error::other("no such device");
        for (error, says) in [
            (anyhow::Error::from(io()), "no such device"),
            (anyhow::Error::from(io()).context("can't open the camera"), "can't open the camera: no such device"),
            (anyhow::Error::from(io()).context("camera: no such device"), "camera: no such device"),
        ] {
            assert_eq!(in_words(&error), says);
        }
    }

    #[test]
    fn lengths_of_time_are_read_as_people_write_them() {
        for (text, seconds) in [
            ("90s", Some(90)),
            ("30m", Some(1800)),
            ("2h", Some(7200)),
            ("30", None),
            ("m", None),
            ("", None),
            ("-1h", None),
            ("99999999999999999999h", None),
            ("18446744073709551615h", None),
        ] {
            assert_eq!(span(text).ok().map(|span| span.as_secs()), seconds, "{text}");
        }
    }

    #[test]
    fn an_unknown_check_is_wrong_usage_and_the_names_are_listed() {
        let parse = |only: &str| Arguments::try_parse_from(["gate-agent", "doctor", "--only", only]);
        assert!(parse("camera,gate_io").is_ok());
        let error = parse("camera,moon").err().unwrap();
        assert_eq!(error.exit_code(), 2);
        let said = error.to_string();
        assert!(doctor::NAMES.iter().all(|name| said.contains(name)), "{said}");
    }
}
