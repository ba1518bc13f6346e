//! What is held up after each boot, what must come out, and the table of what did.

use std::fmt;

use serde_json::{Value, json};

use super::enrolled::Heard;
use super::machine::Told;
use crate::demo::{Row, write_rows};

/// From power on to serving, seconds.
const LIMIT_S: f64 = 45.0;

/// One boot.
pub struct Story {
    /// The machine is told this name, and finds its pictures by it.
    pub name: &'static str,
    /// What its clock does.
    pub what: &'static str,
    /// How far it believes its clock.
    trust: &'static str,
    /// What is held up, and what the screen and the relay must say to it: kind, reason, pulses.
    shown: &'static [(&'static str, &'static str, Option<&'static str>, u64)],
}

/// The clock shows when the machine was switched off.
pub const SAVED: Story = Story {
    name: "saved",
    what: "the clock says when it was switched off",
    trust: "continued",
    shown: &[("1-good", "admit", None, 1), ("2-revoked", "deny", Some("revoked"), 0)],
};

/// The clock's battery is dead, and the power was cut.
pub const LOST: Story = Story {
    name: "lost",
    what: "after a power cut, the clock says 1970",
    trust: "unknown",
    shown: &[
        ("1-copy", "deny", Some("already_used"), 0),
        ("2-good", "admit", None, 1),
        ("3-revoked", "deny", Some("revoked"), 0),
    ],
};

/// What was expected and what came out.
#[derive(Default)]
pub struct Report {
    rows: Vec<Row>,
    boots: Vec<Value>,
}

impl Report {
    /// Compares what a machine told with its story.
    pub fn add(&mut self, story: &Story, heard: &Heard, told: &[Told]) {
        let find = |about: &str, first: &str| {
            let matches = |line: &&Told| line.about == about && line.rest.starts_with(first);
            told.iter().find(matches)
        };
        let rest = |about: &str| find(about, "").map_or("nothing", |line| line.rest.as_str());
        let about = |line: Option<&Told>, skip: &str| {
            let text = line.map_or("", |line| line.rest.strip_prefix(skip).unwrap_or(&line.rest));
            serde_json::from_str::<Value>(text.trim()).unwrap_or(Value::Null)
        };
        let ready = find("ready", "");
        let status = about(ready, "")["status"].clone();
        let (host_s, guest_s) = ready.map_or((f64::INFINITY, f64::INFINITY), |line| (line.host_s, line.guest_s));
        self.row(story, "networks of the machine", "lo", rest("networks"));
        self.row(story, "a time service", "none", rest("time-service"));
        self.row(story, "serving within 45 s of power on", "yes", if host_s <= LIMIT_S { "yes" } else { "no" });
        self.row(story, "how far the clock is believed", story.trust, &word(&status["clock"]));
        self.row(story, "the link to the cloud since", "never", &word(&status["link"]));
        self.row(story, "the last change it had heard", &heard.position.to_string(), &word(&status["position"]));
        let mut opened_s = Value::Null;
        for (name, kind, reason, pulses) in story.shown {
            let screen = about(find("answer", name), name)["screen"].clone();
            let pulsed = find("pulses", name).and_then(|line| line.rest.split(' ').nth(1)).unwrap_or("?");
            let said = |kind: &str, reason: &str, pulses: &str| format!("{kind} ({reason}), relay pulses: {pulses}");
            let expected = said(kind, reason.unwrap_or("null"), &pulses.to_string());
            let found = said(&word(&screen["kind"]), &word(&screen["reason"]), pulsed);
            self.row(story, name, &expected, &found);
            if *pulses == 1 {
                let edge = about(find("edge", name), name);
                opened_s = json!(edge["mono_us"].as_f64().map(|us| us / 1_000_000.0));
            }
        }
        let journal = about(find("journal", ""), "");
        self.row(story, "journal verify", "true", &word(&journal["ok"]));
        self.row(story, "units, and how often they started anew", "active active, restarts 0 0", rest("units"));
        self.boots.push(json!({
            "clock": story.name,
            "serving_s_since_power_on": rounded(host_s),
            "serving_s_since_kernel": rounded(guest_s),
            "relay_s_since_kernel": opened_s,
            "trust": status["clock"],
            "synced_age_s": status["synced_age_s"],
            "system_date_s": rest("date").parse::<i64>().ok(),
        }));
    }

    /// Whether everything is as expected.
    pub fn ok(&self) -> bool {
        !self.rows.is_empty() && self.rows.iter().all(|row| row.expected == row.found)
    }

    /// For machines.
    pub fn json(&self) -> Value {
        json!({"boots": self.boots, "limit_s": LIMIT_S, "rows": self.rows.len(), "ok": self.ok()})
    }

    fn row(&mut self, story: &Story, what: &str, expected: &str, found: &str) {
        let what = format!("{}: {what}", story.name);
        self.rows.push(Row { what, expected: expected.to_owned(), found: found.to_owned() });
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_rows(f, &self.rows)?;
        for boot in &self.boots {
            let seconds = |key: &str| boot[key].as_f64().map_or_else(|| "?".to_owned(), |s| format!("{s:.1}"));
            write!(
                f,
                "\n{:<6} serving {} s after power on",
                word(&boot["clock"]),
                seconds("serving_s_since_power_on")
            )?;
            write!(f, " ({} s after its kernel started)", seconds("serving_s_since_kernel"))?;
            write!(f, ", first opening at {} s", seconds("relay_s_since_kernel"))?;
        }
        Ok(())
    }
}

/// A value as one word.
fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn rounded(seconds: f64) -> Option<f64> {
    seconds.is_finite().then(|| (seconds * 10.0).round() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(lines: &[(f64, &str, &str)]) -> Vec<Told> {
        let line = |(host_s, about, rest): &(f64, &str, &str)| Told {
            host_s: *host_s,
            guest_s: host_s - 1.0,
            about: (*about).to_owned(),
            rest: (*rest).to_owned(),
        };
        lines.iter().map(line).collect()
    }

    #[test]
    fn a_boot_holds_only_if_everything_does() {
        let ready = r#"{"status":{"clock":"continued","link":"never","position":9,"synced_age_s":30}}"#;
        let good = [
            (18.0, "networks", "lo"),
            (18.0, "time-service", "none"),
            (25.0, "ready", ready),
            (30.0, "answer", r#"1-good {"screen":{"kind":"admit","reason":null}}"#),
            (32.0, "pulses", "1-good 1"),
            (32.0, "edge", r#"1-good {"mono_us":29500000,"line":"relay"}"#),
            (40.0, "answer", r#"2-revoked {"screen":{"kind":"deny","reason":"revoked"}}"#),
            (42.0, "pulses", "2-revoked 0"),
            (50.0, "journal", r#"{"ok":true}"#),
            (51.0, "units", "active active, restarts 0 0"),
        ];
        let heard = Heard { position: 9 };
        let holds = |lines: &[(f64, &str, &str)]| {
            let mut report = Report::default();
            report.add(&SAVED, &heard, &told(lines));
            (report.ok(), report.to_string())
        };
        let (ok, table) = holds(&good);
        assert!(ok && table.contains("serving 25.0 s after power on (24.0 s"), "{table}");
        for (at, line) in [
            (0, (18.0, "networks", "eth0 lo")),
            (1, (18.0, "time-service", "there")),
            (2, (45.1, "ready", ready)),
            (4, (32.0, "pulses", "1-good 0")),
            (7, (42.0, "pulses", "2-revoked 1")),
            (9, (51.0, "units", "active active, restarts 1 0")),
        ] {
            let mut lines = good;
            lines[at] = line;
            assert!(!holds(&lines).0, "{line:?}");
        }
        assert!(!holds(&[]).0 && !Report::default().ok());
    }
}
