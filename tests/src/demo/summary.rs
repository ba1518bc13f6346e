//! What was expected, what came out, and the table of it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::bail;
use serde_json::{Value, json};

use super::{Held, Venue, occupancy};
use crate::clock::Deadline;
use crate::world::Gate;

/// One thing that was expected.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was done or looked at.
    pub what: String,
    /// What should come out.
    pub expected: String,
    /// What came out.
    pub found: String,
}

/// The whole story's figures.
pub struct Summary {
    rows: Vec<Row>,
    presentations: u32,
    verdicts: BTreeMap<String, u32>,
    pulses: usize,
    /// From a frame being complete to the relay command, and to the relay's edge, microseconds.
    to_command_us: Vec<u64>,
    to_edge_us: Vec<u64>,
    events: u64,
    occupancy: Option<u64>,
    keep: bool,
    venue: Option<Venue>,
}

impl Summary {
    pub(super) fn new(keep: bool) -> Self {
        Self {
            rows: Vec::new(),
            presentations: 0,
            verdicts: BTreeMap::new(),
            pulses: 0,
            to_command_us: Vec::new(),
            to_edge_us: Vec::new(),
            events: 0,
            occupancy: None,
            keep,
            venue: None,
        }
    }

    /// Holds something up to a gate and notes what its screen and its relay do.
    pub(super) async fn show(
        &mut self,
        gate: &mut Gate,
        tell: &mut dyn FnMut(&str),
        what: &str,
        held: Held<'_>,
        expected: (&str, Option<&str>),
        pulses: usize,
    ) -> anyhow::Result<()> {
        let before = gate.status().await?["screen"]["presentation"].as_u64().unwrap_or(0);
        let edges = gate.pulses().len();
        gate.hold_up(&held.frame)?;
        let answered = |status: &Value| {
            status["screen"]["presentation"].as_u64().is_some_and(|n| n > before)
                && !["wait", "idle"].iter().any(|kind| status["screen"]["kind"] == *kind)
        };
        let status = gate.wait(&format!("it answers to {what}"), answered).await?;
        let kind = status["screen"]["kind"].as_str().unwrap_or("?").to_owned();
        let reason = status["screen"]["reason"].as_str().map(str::to_owned);
        let pulsed = self.wait_pulse(gate, edges, pulses)?;
        if pulses == 1 && pulsed == 1 {
            self.times(gate).await?;
        }
        self.presentations += 1;
        self.pulses += pulsed;
        *self.verdicts.entry(reason.clone().unwrap_or_else(|| "admitted".to_owned())).or_default() += 1;
        let word = |kind: &str, reason: Option<&str>, pulses: usize| {
            let reason = reason.map(|r| format!(" ({r})")).unwrap_or_default();
            format!("{kind}{reason}, {pulses} pulse(s)")
        };
        let row = Row {
            what: format!("{}: {what}", gate.name),
            expected: word(expected.0, expected.1, pulses),
            found: word(&kind, reason.as_deref(), pulsed),
        };
        tell(&format!("   {:<62} {}", row.what, row.found));
        self.rows.push(row);
        Ok(())
    }

    /// Presses the exit button and notes whether the gate opens.
    pub(super) async fn press_exit(&mut self, gate: &mut Gate, tell: &mut dyn FnMut(&str)) -> anyhow::Result<()> {
        gate.wait("the exit is at rest", |s| s["screen"]["kind"] == "free_exit").await?;
        let edges = gate.pulses().len();
        gate.board.drive("exit_button", true);
        let pulsed = self.wait_pulse(gate, edges, 1)?;
        gate.board.drive("exit_button", false);
        self.pulses += pulsed;
        let row = Row {
            what: format!("{}: the exit button", gate.name),
            expected: "1 pulse(s)".to_owned(),
            found: format!("{pulsed} pulse(s)"),
        };
        tell(&format!("   {:<62} {}", row.what, row.found));
        self.rows.push(row);
        Ok(())
    }

    /// How many pulses followed. Where one is wanted it is waited for; where none is, a refusal was on the screen for
    /// longer than an opening takes before anything else is shown, and the final count of edges tells.
    fn wait_pulse(&self, gate: &Gate, before: usize, wanted: usize) -> anyhow::Result<usize> {
        if wanted > 0 {
            let rose = |edges: &[hardware::lines::simulated::Edge]| {
                edges.iter().filter(|edge| edge.line == "relay" && edge.level).count() >= before + wanted
            };
            let _count_below_tells = gate.board.wait_edges(Duration::from_secs(10), rose);
        }
        Ok(gate.pulses().len() - before)
    }

    async fn times(&mut self, gate: &Gate) -> anyhow::Result<()> {
        let status = gate.status().await?;
        let at = |name: &str| status["opening"][name].as_u64();
        if let (Some(frame), Some(command), Some(edge)) = (at("frame_us"), at("command_us"), gate.pulses().last()) {
            self.to_command_us.push(command.saturating_sub(frame));
            self.to_edge_us.push(edge.mono_us.saturating_sub(frame));
        }
        Ok(())
    }

    /// Notes something that was waited for.
    pub(super) fn note(&mut self, what: &str, held: bool) {
        let found = if held { "yes" } else { "no" };
        self.rows.push(Row { what: what.to_owned(), expected: "yes".to_owned(), found: found.to_owned() });
    }

    /// Compares two values.
    pub(super) fn check(&mut self, what: &str, expected: &Value, found: &Value) {
        self.rows.push(Row { what: what.to_owned(), expected: expected.to_string(), found: found.to_string() });
    }

    /// Collects the figures at the end and keeps what runs.
    pub(super) async fn finish(&mut self, mut venue: Venue) -> anyhow::Result<()> {
        for gate in [&mut venue.entrance, &mut venue.exit] {
            let deadline = Deadline::after(Duration::from_secs(30));
            while gate.status().await?["status"]["pending"] != 0 {
                if deadline.is_over() {
                    bail!("{} still has events to deliver", gate.name);
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let verified: Value = serde_json::from_str(&gate.command(&["--json", "journal", "verify"])?)?;
            self.check(&format!("{}: journal verify", gate.name), &json!(true), &verified["ok"]);
            self.events += verified["events"].as_u64().unwrap_or(0);
        }
        // A pulse nobody was told of would show here.
        let edges = venue.entrance.pulses().len() + venue.exit.pulses().len();
        self.check("edges of both relays in all", &json!(self.pulses), &json!(edges));
        let overview = venue.office.overview().await?;
        self.occupancy = occupancy(&overview);
        let refused: BTreeMap<_, _> =
            self.verdicts.iter().filter(|(reason, _)| *reason != "admitted").map(|(r, n)| (r.clone(), *n)).collect();
        let listed: BTreeMap<_, _> = overview["refusals"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|row| Some((row["reason"].as_str()?.to_owned(), row["count"].as_u64()?)))
            .collect();
        self.check("the office lists every refusal by its reason", &json!(refused), &json!(listed));
        self.venue = Some(venue);
        Ok(())
    }

    /// Whether every figure is as expected.
    pub fn ok(&self) -> bool {
        self.rows.iter().all(|row| row.expected == row.found)
    }

    /// The table as JSON.
    pub fn json(&self) -> Value {
        let rows: Vec<_> = self
            .rows
            .iter()
            .map(|row| json!({"what": row.what, "expected": row.expected, "found": row.found, "ok": row.expected == row.found}))
            .collect();
        json!({
            "rows": rows,
            "presentations": self.presentations,
            "verdicts": self.verdicts,
            "pulses": self.pulses,
            "frame_to_command_ms": spread(&self.to_command_us),
            "frame_to_relay_edge_ms": spread(&self.to_edge_us),
            "events_synced": self.events,
            "occupancy": self.occupancy,
            "ok": self.ok(),
        })
    }

    /// Keeps serving until Ctrl-C.
    pub async fn serve(&self) -> anyhow::Result<()> {
        tokio::signal::ctrl_c().await?;
        Ok(())
    }
}

/// Median and largest in milliseconds.
fn spread(values: &[u64]) -> Value {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let ms = |us: Option<&u64>| us.map(|us| *us as f64 / 1000.0);
    json!({"median": ms(sorted.get(sorted.len() / 2)), "max": ms(sorted.last())})
}

/// Writes a table of what was expected and what came out.
pub(crate) fn write_rows(f: &mut fmt::Formatter<'_>, rows: &[Row]) -> fmt::Result {
    writeln!(f)?;
    let width = rows.iter().map(|row| row.what.chars().count()).max().unwrap_or(0);
    for row in rows {
        if row.expected == row.found {
            writeln!(f, "ok    {:<width$}  {}", row.what, row.found)?;
        } else {
            writeln!(f, "WRONG {:<width$}  {} where {} was expected", row.what, row.found, row.expected)?;
        }
    }
    Ok(())
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_rows(f, &self.rows)?;
        writeln!(f)?;
        writeln!(f, "presentations           {}", self.presentations)?;
        for (reason, count) in &self.verdicts {
            writeln!(f, "  {reason:<22}{count}")?;
        }
        writeln!(f, "pulses on the lines     {}", self.pulses)?;
        let figures = self.json();
        for (name, key) in
            [("frame to relay command", "frame_to_command_ms"), ("frame to relay edge", "frame_to_relay_edge_ms")]
        {
            writeln!(f, "{name:<24}median {} ms, most {} ms", figures[key]["median"], figures[key]["max"])?;
        }
        writeln!(f, "events synced           {}", self.events)?;
        writeln!(f, "cars in the lot         {} at the cloud and at both gates", self.occupancy.unwrap_or(0))?;
        if let Some(venue) = &self.venue {
            writeln!(f)?;
            writeln!(
                f,
                "dashboard   http://{}   owner@venue.example / correct horse battery staple",
                venue.cloud.address
            )?;
            writeln!(f, "entrance    http://{}", venue.entrance.screen)?;
            write!(f, "exit        http://{}", venue.exit.screen)?;
        }
        Ok(())
    }
}

impl Drop for Summary {
    fn drop(&mut self) {
        if let Some(venue) = self.venue.take()
            && !self.keep
        {
            let world = venue.world.clone();
            drop(venue);
            let _left_behind = std::fs::remove_dir_all(world);
        }
    }
}
