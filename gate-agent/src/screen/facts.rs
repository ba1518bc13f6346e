//! What a screen is told: everything, every time, so that a page that was away is right again with one message.

use gate_core::ids::Direction;
use gate_core::lane::LaneStatus;
use gate_core::reason::{Language, Words, screen_words};
use gate_core::signals::{Lamp, ScreenKind, Sound};
use gate_core::sync::session::Link;
use gate_core::time::{Now, Trust};
use serde::Serialize;

use crate::replica::{ALARM_PERCENT, ReplicaStatus};

/// What the parts of the agent know.
#[derive(Clone, Debug)]
pub struct Facts {
    /// What the lane shows.
    pub lane: Option<LaneStatus>,
    /// What the replica says.
    pub replica: Option<ReplicaStatus>,
    /// How the link to the cloud is.
    pub link: Link,
    /// The newest exchange with the cloud that came to nothing.
    pub sync_failure: Option<SyncFailure>,
    /// Whether the camera works; `None` before it was first opened.
    pub camera: Option<bool>,
    /// Whether gate-io is there.
    pub gate_io: bool,
    /// Why nothing can be stored.
    pub storage_fault: Option<String>,
    /// How much the database should use at most, bytes. 0: any.
    pub space_limit_bytes: u64,
    /// Why this gate does not decide; `None` while it does.
    pub not_deciding: Option<NotDeciding>,
    /// Staff took the lane out of use.
    pub closed: bool,
    /// How fast the newest opening was.
    pub opening: Option<OpeningTimes>,
    /// The moment, with its trust.
    pub now: Option<Now>,
    /// Grows with every change.
    pub version: u64,
}

impl Default for Facts {
    fn default() -> Self {
        Self {
            lane: None,
            replica: None,
            link: Link::Never,
            sync_failure: None,
            camera: None,
            gate_io: false,
            storage_fault: None,
            space_limit_bytes: 0,
            not_deciding: None,
            closed: false,
            opening: None,
            now: None,
            version: 0,
        }
    }
}

/// An exchange with the cloud that came to nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SyncFailure {
    /// Why, in words for the person on call.
    pub why: String,
    /// When, monotonic microseconds.
    pub mono_us: u64,
    /// How many came to nothing since the last one that succeeded.
    pub in_a_row: u64,
}

/// Why a gate does not decide.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NotDeciding {
    /// The name a page knows it by, and has words for.
    pub code: &'static str,
    /// One line for the person on call.
    pub why: String,
}

/// The stamps of one opening, monotonic microseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct OpeningTimes {
    /// The frame with the code was complete.
    pub frame_us: u64,
    /// How long the eye's decoders took with it, microseconds.
    pub decoding_us: u64,
    /// The code that was read in it arrived here.
    pub read_us: u64,
    /// The decision was handed to storage.
    pub decided_us: u64,
    /// gate-io was asked for the pulse.
    pub command_us: u64,
}

/// Ages on the screen move in steps of this many milliseconds: a page is told twelve times a minute, not four times a second.
const STEP_MS: i64 = 5_000;

impl Facts {
    /// Notes what came of an exchange with the cloud. True if a screen should be told.
    pub fn exchanged(&mut self, link: Link, failure: Option<String>, mono_us: u64) -> bool {
        let in_a_row = self.sync_failure.as_ref().map_or(0, |last| last.in_a_row);
        let news = self.link != link || (in_a_row > 0) != failure.is_some();
        match (failure, &mut self.sync_failure) {
            (Some(why), _) => self.sync_failure = Some(SyncFailure { why, mono_us, in_a_row: in_a_row + 1 }),
            (None, Some(last)) => last.in_a_row = 0,
            (None, None) => {}
        }
        self.link = link;
        self.version += u64::from(news);
        news
    }

    /// Notes the time. True if a screen should be told.
    pub fn moved_to(&mut self, now: Now) -> bool {
        let step = |now: Option<Now>| now.map(|now| (now.wall_ms.div_euclid(STEP_MS), now.trust));
        let changed = step(self.now) != step(Some(now));
        self.now = Some(now);
        self.version += u64::from(changed);
        changed
    }
}

/// One message to a screen.
#[derive(Serialize)]
pub struct ScreenMessage<'a> {
    seq: u64,
    gate: Gate<'a>,
    screen: Screen<'a>,
    zone: Option<Zone<'a>>,
    opening: Option<OpeningTimes>,
    status: Status<'a>,
}

#[derive(Serialize)]
struct Gate<'a> {
    name: &'a str,
    direction: Direction,
    venue: Option<&'a str>,
    staffed: bool,
    closed: bool,
}

#[derive(Serialize)]
struct Screen<'a> {
    kind: &'static str,
    reason: Option<&'static str>,
    lamp: Lamp,
    sound: Option<Sound>,
    presentation: u64,
    /// The holder's language, where a pass says it; `null` shows both in turn.
    lang: Option<&'static str>,
    words: Languages,
    detail: Option<Detail<'a>>,
    question: Option<Question<'a>>,
}

#[derive(Serialize)]
struct Languages {
    en: Words,
    ro: Words,
}

#[derive(Serialize)]
struct Detail<'a> {
    used_at_ms: Option<i64>,
    used_at_gate: Option<&'a str>,
    right_gates: &'a [String],
}

#[derive(Serialize)]
struct Question<'a> {
    text: Option<&'a str>,
    /// Further things that one yes covers.
    also: Vec<Languages>,
}

#[derive(Serialize)]
struct Zone<'a> {
    name: &'a str,
    occupancy: u32,
    capacity: u32,
    near_full: bool,
}

#[derive(Serialize)]
struct Status<'a> {
    link: &'static str,
    synced_age_s: Option<i64>,
    /// The newest exchange that came to nothing; it stays when later ones succeed.
    sync_failure: Option<Failure<'a>>,
    pending: u64,
    quarantined: u64,
    position: u64,
    clock: Trust,
    camera: &'static str,
    gate_io: &'static str,
    storage: &'static str,
    storage_why: Option<&'a str>,
    /// How full the database's space is, percent; `null` without a limit or before it was looked at.
    space_percent: Option<u64>,
    /// That is so much that somebody should do something.
    space_alarm: bool,
    not_deciding: Option<&'static str>,
    not_deciding_why: Option<&'a str>,
}

#[derive(Serialize)]
struct Failure<'a> {
    why: &'a str,
    age_s: u64,
    in_a_row: u64,
}

/// The name a page knows a kind of screen by.
fn page_kind(kind: ScreenKind) -> &'static str {
    match kind {
        ScreenKind::Idle => "idle",
        ScreenKind::Wait => "wait",
        ScreenKind::Admit | ScreenKind::Goodbye | ScreenKind::Fire => "admit",
        ScreenKind::FreeExit => "free_exit",
        ScreenKind::Check => "check",
        ScreenKind::Deny => "deny",
        ScreenKind::Full => "full",
        ScreenKind::Closed => "closed",
        ScreenKind::Fault => "fault",
    }
}

impl Facts {
    /// Whether staff stand by at this gate.
    pub fn is_staffed(&self) -> bool {
        self.replica.as_ref().and_then(|replica| replica.gate.as_ref()).is_some_and(|gate| gate.staffed)
    }

    /// The message a screen gets now.
    pub fn message(&self) -> ScreenMessage<'_> {
        let gate = self.replica.as_ref().and_then(|replica| replica.gate.as_ref());
        let kind = self.lane.as_ref().map_or(ScreenKind::Wait, |lane| lane.kind);
        let reason = self.lane.as_ref().and_then(|lane| lane.reason);
        let words = |language: Language| reason.map_or_else(|| screen_words(kind, language), |r| r.words(language));
        let signal = self.lane.as_ref().map_or_else(|| kind.signal(false), |lane| lane.signal);
        let refusal = self.lane.as_ref().and_then(|lane| lane.refusal.as_ref());
        let question = self.lane.as_ref().and_then(|lane| lane.question.as_ref());
        let last = refusal.and_then(|r| r.last.as_ref()).or(question.and_then(|q| q.last.as_ref()));
        let right_gates = refusal.map_or(&[][..], |refusal| &refusal.right_gates);
        let detail = (last.is_some() || !right_gates.is_empty()).then(|| Detail {
            used_at_ms: last.map(|last| last.at_ms),
            used_at_gate: last.map(|last| last.gate_name.as_str()),
            right_gates,
        });
        let zone = self.replica.as_ref().and_then(|replica| replica.zones.first()).map(|zone| Zone {
            name: &zone.row.name,
            occupancy: zone.occupancy,
            capacity: zone.row.capacity,
            near_full: self.lane.as_ref().is_some_and(|lane| lane.near_full),
        });
        let synced_age_s = self
            .replica
            .as_ref()
            .and_then(|replica| replica.as_of_ms)
            .zip(self.now)
            .map(|(as_of, now)| (now.wall_ms - as_of).max(0) / 1000);
        let space_percent = self
            .replica
            .as_ref()
            .and_then(|replica| replica.used_bytes.saturating_mul(100).checked_div(self.space_limit_bytes));
        ScreenMessage {
            seq: self.version,
            gate: Gate {
                name: gate.map_or("", |gate| gate.name.as_str()),
                direction: gate.map_or(Direction::In, |gate| gate.direction),
                venue: self.replica.as_ref().and_then(|replica| replica.venue_name.as_deref()),
                staffed: self.is_staffed(),
                closed: self.closed,
            },
            screen: Screen {
                kind: page_kind(kind),
                reason: reason.map(|reason| reason.code()),
                lamp: signal.lamp,
                sound: signal.sound,
                presentation: self.lane.as_ref().map_or(0, |lane| lane.presentation),
                lang: self.lane.as_ref().filter(|lane| lane.romanian).map(|_| "ro"),
                words: Languages { en: words(Language::En), ro: words(Language::Ro) },
                detail,
                // Staff texts are for lanes where staff stand by; the public screen shows none.
                question: question.filter(|_| self.is_staffed()).map(|q| Question {
                    text: q.text.as_deref(),
                    also: q
                        .also
                        .iter()
                        .map(|r| Languages { en: r.words(Language::En), ro: r.words(Language::Ro) })
                        .collect(),
                }),
            },
            zone,
            opening: self.opening,
            status: Status {
                link: match self.link {
                    Link::Never => "never",
                    Link::Online => "online",
                    Link::Offline => "offline",
                },
                synced_age_s,
                sync_failure: self.sync_failure.as_ref().map(|failure| Failure {
                    why: &failure.why,
                    age_s: self.now.map_or(0, |now| now.mono_us.saturating_sub(failure.mono_us) / 1_000_000),
                    in_a_row: failure.in_a_row,
                }),
                pending: self.replica.as_ref().map_or(0, |replica| replica.pending),
                quarantined: self.replica.as_ref().map_or(0, |replica| replica.quarantined),
                position: self.replica.as_ref().map_or(0, |replica| replica.position),
                clock: self.now.map_or(Trust::Unknown, |now| now.trust),
                camera: match self.camera {
                    Some(true) => "ok",
                    Some(false) => "stalled",
                    None => "missing",
                },
                gate_io: if self.gate_io { "ok" } else { "lost" },
                storage: if self.storage_fault.is_some() { "fault" } else { "ok" },
                storage_why: self.storage_fault.as_deref(),
                space_percent,
                space_alarm: space_percent.is_some_and(|percent| percent >= ALARM_PERCENT),
                not_deciding: self.not_deciding.as_ref().map(|not| not.code),
                not_deciding_why: self.not_deciding.as_ref().map(|not| not.why.as_str()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_failure_stays_and_says_how_many_came_since_a_success() {
        let mut facts = Facts::default();
        let now = |s: u64| Now {
            wall_ms: 0,
            mono_us: s * 1_000_000,
            boot: gate_core::ids::BootId(uuid::Uuid::nil()),
            trust: Trust::Ntp,
        };
        let told = |facts: &mut Facts, s: u64| {
            facts.moved_to(now(s));
            serde_json::to_value(facts.message()).unwrap()["status"]["sync_failure"].clone()
        };
        assert_eq!(told(&mut facts, 1), serde_json::Value::Null);
        // What happened at which second; whether a screen hears of it at once; and what is shown ten seconds later.
        for (s, link, why, news, shown) in [
            (10, Link::Online, None, true, None),
            (20, Link::Offline, Some("no route"), true, Some(("no route", 1))),
            (30, Link::Offline, Some("no name"), false, Some(("no name", 2))),
            (40, Link::Online, None, true, Some(("no name", 0))),
            (50, Link::Online, None, false, Some(("no name", 0))),
            (60, Link::Online, Some("refused: 429"), true, Some(("refused: 429", 1))),
        ] {
            let heard = facts.exchanged(link, why.map(str::to_owned), s * 1_000_000);
            assert_eq!(heard, news, "at {s} s");
            let failure = told(&mut facts, s + 10);
            let found = failure["why"].as_str().zip(failure["in_a_row"].as_u64());
            assert_eq!(found, shown, "at {s} s");
            if why.is_some() {
                assert_eq!(failure["age_s"], 10, "at {s} s");
            }
        }
    }
}
