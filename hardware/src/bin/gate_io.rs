//! The hand as a process: the only program of a gate that opens its lines.
//!
//! It has no network, no database and no camera. When anything about its lines is doubtful it ends,
//! which gives the lines back to the kernel; systemd starts it again with every output at its safe level.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use hardware::gate_io::HandConfig;
use hardware::gate_io::{failsafe, server};
use hardware::lines::{self, LinesAddress};

/// Owns the relay, the lamps and the inputs of one gate.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Where the agent connects.
    #[arg(long)]
    socket: PathBuf,
    /// chardev:/dev/gpiochipN, rppal or simulated:SOCKET.
    #[arg(long, required_unless_present = "safe")]
    lines: Option<LinesAddress>,
    /// The wiring, as TOML.
    #[arg(long, required_unless_present = "safe")]
    config: Option<PathBuf>,
    /// Command a running gate-io to its safe levels and end.
    #[arg(long)]
    safe: bool,
}

fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    let arguments = Arguments::parse();
    if arguments.safe {
        return match failsafe::command_safe(&arguments.socket) {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => {
                tracing::warn!(%why, "gate-io could not be asked to go safe");
                ExitCode::FAILURE
            }
        };
    }
    let (Some(address), Some(config)) = (arguments.lines, arguments.config) else {
        return ExitCode::FAILURE;
    };
    match serve(&arguments.socket, &address, &config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            tracing::error!(%why, "gate-io stops");
            ExitCode::FAILURE
        }
    }
}

fn serve(
    socket: &std::path::Path,
    address: &LinesAddress,
    config: &std::path::Path,
) -> Result<(), Box<dyn std::error::Error>> {
    let config = HandConfig::read(config)?;
    let listener = server::listen(socket)?;
    let lines = lines::open(address, &config)?;
    server::serve(listener, lines, config)?;
    Ok(())
}
