//! How often a pass may charge.

use crate::product::{Product, Rule};
use crate::reason::Reason;
use crate::view::Uses;

/// How often a pass may charge. All rules must hold, so the smallest number counts; a product that does not say how
/// often means once; the number in the pass's own row goes before the product's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Allowance {
    /// In all; `None`: as often as the days allow.
    pub in_all: Option<u32>,
    /// On each service day; `None`: the days make no difference.
    pub per_day: Option<u32>,
}

impl Allowance {
    /// What rules and the number in the pass's row (`PassRow::uses`) allow.
    pub fn of(rules: &[Rule], row_uses: Option<u32>) -> Self {
        let mut found = Self { in_all: None, per_day: None };
        let mut named = false;
        let least = |known: Option<u32>, n: u32| Some(known.map_or(n, |known| known.min(n)));
        for rule in rules {
            match *rule {
                Rule::Single => found.in_all = least(found.in_all, 1),
                Rule::Times(n) => found.in_all = least(found.in_all, n),
                Rule::PerDay(n) => found.per_day = least(found.per_day, n),
                Rule::Unlimited => {}
                Rule::Hours { .. } | Rule::ReentryAfterExit | Rule::MinInterval(_) | Rule::ChildWithAdult => continue,
            }
            named = true;
        }
        if !named {
            found.in_all = Some(1);
        }
        if row_uses.is_some() {
            found.in_all = row_uses;
        }
        found
    }

    /// What a product promised, for whoever looks at uses afterwards. A rule that this software does not understand is
    /// left out: no gate that did not understand it admitted anybody by it. No product at all means once.
    pub fn promised(product: Option<&Product>, row_uses: Option<u32>) -> Self {
        let rules = product.iter().flat_map(|product| &product.rules).filter_map(Rule::read).collect::<Vec<_>>();
        Self::of(&rules, row_uses)
    }

    /// How many more uses were taken than this allows: in all, and beyond that on single days. `days` are the uses of
    /// each service day.
    pub fn exceeded(&self, days: impl IntoIterator<Item = usize>) -> u64 {
        let (mut total, mut over_days) = (0u64, 0u64);
        for used in days {
            let used = used as u64;
            total += used;
            over_days += self.per_day.map_or(0, |limit| used.saturating_sub(limit.into()));
        }
        let over_all = self.in_all.map_or(0, |limit| total.saturating_sub(limit.into()));
        over_all.max(over_days)
    }

    /// Whether days or hours matter, so that the clock must be believed.
    pub(super) fn needs_calendar(&self, rules: &[Rule]) -> bool {
        self.per_day.is_some() || rules.iter().any(|rule| matches!(rule, Rule::Hours { .. }))
    }

    pub(super) fn refuses(&self, uses: &Uses) -> Option<Reason> {
        if let Some(limit) = self.in_all
            && uses.total >= limit
        {
            return Some(if limit == 1 { Reason::AlreadyUsed } else { Reason::NoUsesLeft });
        }
        self.per_day.filter(|limit| uses.today >= *limit).map(|_| Reason::UsedToday)
    }

    pub(super) fn after(&self, uses: &Uses, charges: bool) -> Option<u32> {
        self.in_all.map(|limit| limit.saturating_sub(uses.total).saturating_sub(u32::from(charges)))
    }
}
