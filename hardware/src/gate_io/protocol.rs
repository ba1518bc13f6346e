//! What the brain and the hand say to each other: JSON, one object per line, over a unix socket.
//!
//! The words are few on purpose. A command the hand does not understand is answered with `malformed`
//! and changes nothing. Lines longer than [`MAX_LINE`] end the connection, which is safe.

use serde::{Deserialize, Serialize};

use crate::lines::Input;

/// The longest line either side accepts, in bytes.
pub const MAX_LINE: usize = 8 * 1024;

/// The longest event id a pulse may carry, in bytes.
pub const MAX_EVENT: usize = 128;

/// What the brain asks of the hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// "The decision loop is alive": wanted four times a second.
    Heartbeat {
        /// Keeps a hold up; a heartbeat without it ends the hold.
        #[serde(default)]
        hold: bool,
    },
    /// Close the relay once for `ms` milliseconds on behalf of one recorded event.
    Pulse {
        /// The id of the event that authorises the opening, at most [`MAX_EVENT`] bytes.
        event: String,
        /// Length in milliseconds, 1 or more; cut to the configured maximum.
        ms: u32,
    },
    /// Keep the relay closed for as long as heartbeats carry `hold: true`.
    Hold {
        /// Why, for the log.
        reason: String,
    },
    /// Show a lamp pattern until told otherwise.
    Lamps {
        /// What to show.
        pattern: Pattern,
    },
    /// Go to the safe levels now: a pulse or hold ends. The next `lamps`, `pulse` or `hold` leaves them.
    Safe,
    /// Was the pulse of this event carried out?
    Query {
        /// The id the pulse carried.
        event: String,
    },
    /// Drop the latched fire state; refused silently while the fire input is still active.
    ResetFire,
}

/// What the lamps show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pattern {
    /// Red, steady: stop.
    Red,
    /// Yellow, steady: check, wait.
    Yellow,
    /// Green, steady: go.
    Green,
    /// Yellow and red in turn, 1 Hz: the gate is out of order.
    Fault,
    /// Nothing lit.
    Off,
    /// Red, yellow, green in turn, one second each.
    Test,
    /// Yellow blinking, 1 Hz.
    YellowFlash,
}

impl Pattern {
    /// Every pattern, for tables and tests.
    pub const ALL: [Self; 7] =
        [Self::Red, Self::Yellow, Self::Green, Self::Fault, Self::Off, Self::Test, Self::YellowFlash];
}

/// What became of a pulse command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PulseResult {
    /// The relay closed just now.
    Started,
    /// The relay opened again after the asked time, and rested: the next pulse may come.
    Done,
    /// This event already had its pulse; nothing moved.
    RefusedRepeat,
    /// Another pulse is running, the relay rests after one, or fire holds the gate open; nothing moved.
    RefusedBusy,
    /// No fresh heartbeat; nothing moved.
    RefusedNoHeartbeat,
    /// The relay opened before the asked time: safe, fire or a lost heartbeat.
    CutShort,
}

/// Whether the pulse of an event was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The relay closed for it (fully, in part, or right now).
    Done,
    /// The command arrived and was refused: the relay did not close for it.
    NotDone,
    /// Never seen since this gate-io started: it may have happened before.
    Unknown,
}

/// Why the outputs went to their safe levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SafeWhy {
    /// No heartbeat for the configured time.
    Heartbeat,
    /// The controlling connection closed or was taken over.
    Socket,
    /// Told so.
    Command,
}

/// One pulse gate-io still remembers, in `hello`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastPulse {
    /// The id the pulse carried.
    pub event: String,
    /// What is known about it.
    pub result: Answer,
}

/// How the hand stands when somebody connects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// gate-io's version.
    pub version: String,
    /// Fire is latched: the gate stands open.
    pub fire: bool,
    /// The inputs that are active now.
    pub active: Vec<Input>,
    /// The last pulses, oldest first.
    pub last_pulses: Vec<PastPulse>,
}

/// What the hand tells the brain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub enum Message {
    /// First line of every connection.
    Hello(Hello),
    /// A pulse command was judged, or a running pulse ended.
    Pulse {
        /// The id the pulse carried.
        event: String,
        /// What became of it.
        result: PulseResult,
    },
    /// The answer to `query`.
    Answer {
        /// The id asked about.
        event: String,
        /// What is known about it.
        result: Answer,
    },
    /// A debounced input changed.
    Input {
        /// Which one.
        input: Input,
        /// Its new state, after `active_low` is applied.
        active: bool,
        /// When the edge came, `CLOCK_MONOTONIC` microseconds (before debouncing).
        mono_us: u64,
    },
    /// The outputs went to their safe levels.
    Safe {
        /// Why.
        why: SafeWhy,
    },
    /// Fire was latched or reset.
    Fire {
        /// True: the gate stands open until `reset_fire`.
        latched: bool,
    },
    /// A line was not understood and changed nothing.
    Malformed {
        /// What was wrong with it.
        why: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wire_is_what_the_contract_says() {
        for (text, command) in [
            (r#"{"do":"heartbeat"}"#, Command::Heartbeat { hold: false }),
            (r#"{"do":"heartbeat","hold":true}"#, Command::Heartbeat { hold: true }),
            (r#"{"do":"pulse","event":"d1-7-3","ms":800}"#, Command::Pulse { event: "d1-7-3".into(), ms: 800 }),
            (r#"{"do":"lamps","pattern":"yellow_flash"}"#, Command::Lamps { pattern: Pattern::YellowFlash }),
            (r#"{"do":"safe"}"#, Command::Safe),
            (r#"{"do":"reset_fire"}"#, Command::ResetFire),
        ] {
            assert_eq!(serde_json::from_str::<Command>(text).unwrap(), command, "{text}");
        }
        for text in [
            "",
            "{}",
            r#"{"do":"open"}"#,
            r#"{"do":"pulse","event":"x"}"#,
            r#"{"do":"pulse","event":"x","ms":-1}"#,
            r#"{"do":"pulse","event":"x","ms":5000000000}"#,
            r#"{"do":"lamps","pattern":"red_green"}"#,
        ] {
            assert!(serde_json::from_str::<Command>(text).is_err(), "{text}");
        }
        let said = Message::Input { input: Input::ExitButton, active: true, mono_us: 5 };
        assert_eq!(
            serde_json::to_string(&said).unwrap(),
            r#"{"say":"input","input":"exit_button","active":true,"mono_us":5}"#
        );
        let said = Message::Hello(Hello {
            version: "1".into(),
            fire: false,
            active: vec![Input::Presence],
            last_pulses: vec![PastPulse { event: "e".into(), result: Answer::NotDone }],
        });
        let text = serde_json::to_string(&said).unwrap();
        assert_eq!(
            text,
            r#"{"say":"hello","version":"1","fire":false,"active":["presence"],"last_pulses":[{"event":"e","result":"not_done"}]}"#
        );
        assert_eq!(serde_json::from_str::<Message>(&text).unwrap(), said);
        let said = Message::Pulse { event: "e".into(), result: PulseResult::RefusedNoHeartbeat };
        assert_eq!(
            serde_json::to_string(&said).unwrap(),
            r#"{"say":"pulse","event":"e","result":"refused_no_heartbeat"}"#
        );
    }
}
