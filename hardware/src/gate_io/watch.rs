//! Watches the inputs on a thread of its own, and heals what an edge that got lost left wrong.

use std::sync::mpsc::SyncSender;
use std::time::Duration;

use super::server::Arrival;
use crate::clock::mono_us;
use crate::lines::{Input, InputEdge, LineError, Lines};

/// How often the inputs are read even without an edge.
pub(super) const REREAD: Duration = Duration::from_millis(250);

/// Reports every change of an input until the lines fail or nobody listens; `known` are those active at the start.
pub(super) fn watch_inputs(lines: &dyn Lines, mut known: Vec<Input>, arrive: &SyncSender<Arrival>) {
    loop {
        let edges = match next_edges(lines, &known) {
            Ok(edges) => edges,
            Err(why) => return drop(arrive.send(Arrival::LinesFailed(why))),
        };
        for edge in edges {
            known.retain(|input| *input != edge.input);
            if edge.active {
                known.push(edge.input);
            }
            if arrive.send(Arrival::Edge(edge)).is_err() {
                return;
            }
        }
    }
}

fn next_edges(lines: &dyn Lines, known: &[Input]) -> Result<Vec<InputEdge>, LineError> {
    if let Some(edge) = lines.next_edge(REREAD)? {
        return Ok(vec![edge]);
    }
    let now = lines.active_inputs()?;
    let missed = Input::ALL.into_iter().filter(|input| now.contains(input) != known.contains(input));
    Ok(missed.map(|input| InputEdge { input, active: now.contains(&input), mono_us: mono_us() }).collect())
}
