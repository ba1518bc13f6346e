//! A simulated board as a process, for demos and tests that start real programs.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use hardware::lines::simulated::{Board, ReleaseModel};

/// Serves simulated lines until it is ended.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Where gate-io connects, and where inputs are driven: {"drive":"fire","level":true}.
    #[arg(long)]
    socket: PathBuf,
    /// A file that gets one JSON line for every edge.
    #[arg(long)]
    edges: Option<PathBuf>,
    /// What the kernel does with the lines of a dead process: strict (back to input) or persist.
    #[arg(long, default_value = "strict")]
    model: ReleaseModel,
}

fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    let arguments = Arguments::parse();
    let board = match Board::listen(&arguments.socket, arguments.model, arguments.edges.as_deref()) {
        Ok(board) => board,
        Err(why) => {
            tracing::error!(%why, "the board cannot be served");
            return ExitCode::FAILURE;
        }
    };
    tracing::info!(socket = %board.socket().display(), "the board is there");
    loop {
        std::thread::park();
    }
}
