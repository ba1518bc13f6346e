//! A decision in words: what was looked at, in order, and what was found.

mod words;

use super::{DecisionInput, Verdict, Witness, decide_before};
use crate::pass::{Defect, MalformedWhy};
use crate::reason::{Language, Reason};

/// What is looked at, in the order of `decide`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Check {
    /// Whether the exit opens for everybody.
    FreeExit,
    /// Whether the text is a pass of ours.
    Prefix,
    /// Whether this gate knows passes of its version.
    Version,
    /// Whether it is built like a pass.
    Form,
    /// Whether the key that it names is known.
    Key,
    /// Whether the signature holds.
    Signature,
    /// Whether the venue still trusts the key.
    Issuer,
    /// Whether what it says is what a pass may say, and what its key may sign.
    Content,
    /// Whether the present moment lies in its window.
    Window,
    /// Whether it is for this venue.
    Venue,
    /// Whether it is for this gate.
    Gate,
    /// Whether its vendor trades today.
    Vendor,
    /// Whether it was revoked, replaced or blocked.
    Standing,
    /// Whether its product is known.
    Product,
    /// Whether it needs a row in the replica and has one.
    Row,
    /// Whether the replica is fresh enough for the product.
    Freshness,
    /// Whether all rules of the product are understood.
    Rules,
    /// Whether the clock is good enough for days and hours.
    Calendar,
    /// Whether this is one of its hours.
    Hours,
    /// Whether an exit was seen since the last entry.
    Exit,
    /// Whether the last admission is long enough ago.
    Interval,
    /// Whether an adult must be there.
    Child,
    /// Whether uses are left.
    Uses,
    /// Whether staff must look.
    Attention,
    /// Whether there is a right to a place.
    Capacity,
    /// Whether the lane can let anybody through.
    Lane,
}

impl Check {
    pub(super) fn of(defect: Defect) -> Self {
        match defect {
            Defect::NotAPass => Self::Prefix,
            Defect::Unsupported => Self::Version,
            Defect::Malformed(MalformedWhy::Claims) => Self::Content,
            Defect::Malformed(MalformedWhy::TooLong | MalformedWhy::Base45 | MalformedWhy::Envelope) => Self::Form,
            Defect::UnknownKey(_) => Self::Key,
            Defect::BadSignature(_) => Self::Signature,
            Defect::IssuerRevoked(_) => Self::Issuer,
            Defect::KeyMisused(_) => Self::Content,
        }
    }
}

/// What a check came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Nothing against it.
    Passed,
    /// Staff had to decide.
    Asked,
    /// No, for this reason; nothing further was looked at.
    Failed(Reason),
}

/// One check of a decision.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// What was looked at.
    pub check: Check,
    /// What it came to.
    pub outcome: Outcome,
    /// What was found, in English.
    pub en: String,
    /// The same in Romanian.
    pub ro: String,
}

impl Step {
    /// The step as one line: `[ok]`, `[staff]` or `[NO]`, what was found, and where it failed what the holder was told.
    pub fn words(&self, language: Language) -> String {
        let (found, marks) = match language {
            Language::En => (&self.en, ["[ok]", "[staff]", "[NO]"]),
            Language::Ro => (&self.ro, ["[da]", "[personal]", "[NU]"]),
        };
        match self.outcome {
            Outcome::Passed => format!("{} {found}", marks[0]),
            Outcome::Asked => format!("{} {found}", marks[1]),
            Outcome::Failed(reason) => format!("{} {found} {}", marks[2], reason.words(language).title),
        }
    }
}

#[derive(Default)]
struct Seen(Vec<(Check, bool)>);

impl Witness for Seen {
    fn looks_at(&mut self, check: Check) {
        self.0.push((check, false));
    }

    fn asks(&mut self) {
        if let Some(last) = self.0.last_mut() {
            last.1 = true;
        }
    }
}

/// Decides again and tells what was looked at, in order, up to the first reason to refuse.
pub fn explain(input: &DecisionInput) -> Vec<Step> {
    let mut seen = Seen::default();
    let verdict = decide_before(&mut seen, &input.pass, &input.view, &input.lane, input.now);
    // Opening a text finds its first defect: what comes before it in the list was fine.
    let first = seen.0.first().map_or(Check::FreeExit, |(check, _)| *check);
    let before = OPENING.iter().take_while(|check| **check != first && first != Check::FreeExit);
    let seen: Vec<(Check, bool)> = before.map(|check| (*check, false)).chain(seen.0).collect();
    let last = seen.len().saturating_sub(1);
    let step = |(at, (check, asked)): (usize, (Check, bool))| {
        let outcome = match &verdict {
            Verdict::Refuse(refusal) if at == last => Outcome::Failed(refusal.reason),
            Verdict::Refuse(_) | Verdict::Ask(_) | Verdict::Admit(_) if asked => Outcome::Asked,
            Verdict::Refuse(_) | Verdict::Ask(_) | Verdict::Admit(_) => Outcome::Passed,
        };
        let (en, ro) = words::found(check, outcome, input);
        Step { check, outcome, en, ro }
    };
    seen.into_iter().enumerate().map(step).collect()
}

/// When, with what clock, on how old a replica and where it was decided, in one line.
pub fn circumstances(input: &DecisionInput, language: Language) -> String {
    words::circumstances(input, language)
}

/// What opening a text looks at, in its order.
const OPENING: [Check; 7] =
    [Check::Prefix, Check::Version, Check::Form, Check::Key, Check::Signature, Check::Issuer, Check::Content];
