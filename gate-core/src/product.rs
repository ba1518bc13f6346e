//! The kinds of pass a venue offers, and their rules.
//!
//! Rules travel as a name and whole numbers, so that a gate can carry a rule it does not know yet: it then refuses
//! with `unknown_rule` instead of guessing. [`Rule::read`] gives the typed form that [`crate::decision::decide`] uses.

use serde::{Deserialize, Serialize};

use crate::ids::{GateId, ZoneId};

/// Whether a pass of this kind needs a row in the replica.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProductKind {
    /// Needs none: absence means unused and not revoked.
    Visitor,
    /// Needs one: its status is read from the replica, never from the code.
    Subscription,
}

/// Where a pass may be used while gates can't hear each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OfflineScope {
    /// At its [`Product::home_gate`] only, so that it can never be used twice.
    HomeGate,
    /// At any gate of its zone.
    Site,
    /// At any gate of the venue.
    Any,
}

/// What a second presentation does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecondScan {
    /// It is refused.
    Hard,
    /// Staff are warned and may confirm; at an unattended lane it is refused.
    Soft,
}

/// A rule as it travels: a name and whole numbers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RuleText {
    /// The rule's name.
    pub name: String,
    /// Its numbers, as the name defines them.
    pub args: Vec<i64>,
}

/// A rule this software understands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Rule {
    /// `single`: one admission.
    Single,
    /// `times [n]`: n admissions.
    Times(u32),
    /// `per_day [n]`: n admissions per service day.
    PerDay(u32),
    /// `unlimited`.
    Unlimited,
    /// `hours [weekdays, from, to]`: only on these weekdays (bit 0 = Monday) between these minutes of the day.
    /// `to` less than or equal to `from` reaches into the next morning. Several windows: any one suffices.
    Hours {
        /// Bit 0 is Monday.
        weekdays: u8,
        /// First minute of the day, 0 to 1439.
        from_min: u16,
        /// First minute no longer in it, 0 to 1440.
        to_min: u16,
    },
    /// `reentry_after_exit`: in again only after a seen exit; the re-entry charges nothing on the same service day.
    ReentryAfterExit,
    /// `min_interval [seconds]`: not again sooner.
    MinInterval(u32),
    /// `child_with_adult`: a child's pass makes staff confirm an adult; unattended lanes refuse.
    ChildWithAdult,
}

impl Rule {
    /// Understands a rule, or gives `None`.
    pub fn read(text: &RuleText) -> Option<Self> {
        let number = |at: usize| text.args.get(at).copied();
        let small = |at: usize| number(at).and_then(|n| u32::try_from(n).ok());
        let (rule, count) = match text.name.as_str() {
            "single" => (Self::Single, 0),
            "times" => (Self::Times(small(0).filter(|n| *n > 0)?), 1),
            "per_day" => (Self::PerDay(small(0).filter(|n| *n > 0)?), 1),
            "unlimited" => (Self::Unlimited, 0),
            "hours" => {
                let weekdays = number(0).and_then(|n| u8::try_from(n).ok()).filter(|n| *n < 128)?;
                let from_min = number(1).and_then(|n| u16::try_from(n).ok()).filter(|n| *n < 1440)?;
                let to_min = number(2).and_then(|n| u16::try_from(n).ok()).filter(|n| *n <= 1440)?;
                (Self::Hours { weekdays, from_min, to_min }, 3)
            }
            "reentry_after_exit" => (Self::ReentryAfterExit, 0),
            "min_interval" => (Self::MinInterval(small(0)?), 1),
            "child_with_adult" => (Self::ChildWithAdult, 0),
            _ => return None,
        };
        (text.args.len() == count).then_some(rule)
    }

    /// The rule as it travels.
    pub fn text(&self) -> RuleText {
        let (name, args) = match *self {
            Self::Single => ("single", vec![]),
            Self::Times(n) => ("times", vec![n.into()]),
            Self::PerDay(n) => ("per_day", vec![n.into()]),
            Self::Unlimited => ("unlimited", vec![]),
            Self::Hours { weekdays, from_min, to_min } => {
                ("hours", vec![weekdays.into(), from_min.into(), to_min.into()])
            }
            Self::ReentryAfterExit => ("reentry_after_exit", vec![]),
            Self::MinInterval(s) => ("min_interval", vec![s.into()]),
            Self::ChildWithAdult => ("child_with_adult", vec![]),
        };
        RuleText { name: name.to_owned(), args }
    }
}

/// A kind of pass.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Product {
    /// Its number within the venue; visitor products have 0 to 23.
    pub number: u16,
    /// What staff call it.
    pub name: String,
    /// Visitor or subscription.
    pub kind: ProductKind,
    /// Its rules; all must hold.
    pub rules: Vec<RuleText>,
    /// The zones it opens; empty means all of the venue.
    pub zones: Vec<ZoneId>,
    /// What a second presentation does.
    pub second_scan: SecondScan,
    /// Where it may be used while gates are apart.
    pub offline_scope: OfflineScope,
    /// The oldest replica it may be decided on, seconds; `None` is any age.
    pub max_staleness_s: Option<u32>,
    /// What staff are told when it is shown.
    pub attention: Option<String>,
    /// How long the gate opens, milliseconds; `None` is the lane's own.
    pub open_ms: Option<u32>,
    /// The only entrance that takes it, for [`OfflineScope::HomeGate`]; without one none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home_gate: Option<GateId>,
}

/// The staleness that a subscription tolerates unless its product says otherwise, seconds (72 h).
pub const SUBSCRIPTION_STALENESS_S: u32 = 72 * 3600;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_is_read_back_and_anything_else_is_not_understood() {
        let rules = [
            Rule::Single,
            Rule::Times(10),
            Rule::PerDay(1),
            Rule::Unlimited,
            Rule::Hours { weekdays: 127, from_min: 1320, to_min: 360 },
            Rule::ReentryAfterExit,
            Rule::MinInterval(60),
            Rule::ChildWithAdult,
        ];
        for rule in rules {
            assert_eq!(Rule::read(&rule.text()), Some(rule));
        }
        let bad = |name: &str, args: &[i64]| RuleText { name: name.into(), args: args.to_vec() };
        for text in [
            bad("moon_phase", &[]),
            bad("single", &[1]),
            bad("times", &[]),
            bad("times", &[0]),
            bad("times", &[-1]),
            bad("per_day", &[i64::MAX]),
            bad("hours", &[200, 0, 10]),
            bad("hours", &[1, 1440, 10]),
        ] {
            assert_eq!(Rule::read(&text), None, "{text:?}");
        }
    }
}
