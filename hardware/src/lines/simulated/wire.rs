//! What a board and its clients say to each other: JSON, one object per line.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One output as a client requests it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct WantedOutput {
    pub(super) name: String,
    /// The level to drive from the first moment.
    pub(super) level: bool,
    /// The level the pull resistor gives when nobody drives the line.
    pub(super) rest: bool,
}

/// One input as a client requests it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct WantedInput {
    pub(super) name: String,
    /// The level while nothing is connected.
    pub(super) rest: bool,
}

/// Client to board.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub(super) enum Ask {
    /// Take lines; answered with `granted` or `refused`.
    Request { outputs: Vec<WantedOutput>, inputs: Vec<WantedInput> },
    /// Drive held outputs; answered with `done`.
    Set { levels: BTreeMap<String, bool> },
    /// The levels of every line; answered with `levels`.
    Levels,
}

/// The world outside moves an input: `{"drive":"fire","level":true}`; answered with `done`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Drive {
    pub(super) drive: String,
    pub(super) level: bool,
}

/// Anything a client may send.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Line {
    Ask(Ask),
    Drive(Drive),
}

/// Board to client.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "tell", rename_all = "snake_case")]
pub(super) enum Tell {
    Granted,
    Refused {
        why: String,
    },
    Done,
    Levels {
        levels: BTreeMap<String, bool>,
    },
    /// A held input changed.
    Edge {
        line: String,
        level: bool,
        mono_us: u64,
    },
}
