//! How often a pass can be used too often while gates are apart, said in advance.
//!
//! A gate that hears of nobody still knows its own journal, so by itself it never lets a pass in more often than the pass
//! allows. Cut `n` gates off from each other, and each of them can do that once more for its own: together `n` times what
//! the pass allows, which is `n - 1` times too often. More can't happen, however long they stay apart and however they
//! are cut, because every use that a gate hears of from another only lessens what it still grants.
//!
//! - `home_gate`: one gate takes the pass, so none extra, as long as that gate's journal survives.
//! - `site` and `any`: `(entrances in scope - 1) x uses per period`; the period is a service day for a daily pass, its
//!   whole life for one with a number of uses. Where a pass has both limits, both bounds hold.
//! - no limit: nothing can be used too often.
//!
//! What staff confirm or override is their decision and not in these numbers. "While the journal survives" is meant
//! literally: a gate whose card was lost before it was heard counts as another gate.

use serde::Serialize;

use super::Allowance;
use crate::product::{OfflineScope, Product};

/// The worst that can happen to one pass of a product while gates are apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Exposure {
    /// Entrances that take the pass.
    pub gates: u32,
    /// Extra uses in the pass's whole life, at most; `None`: without a limit in all there is no extra one.
    pub extra_in_all: Option<u64>,
    /// Extra uses on one service day, at most; `None`: without a limit per day there is no extra one.
    pub extra_per_day: Option<u64>,
}

impl Exposure {
    /// Whether nothing can be used too often, however gates are apart.
    pub fn is_none(&self) -> bool {
        self.extra_in_all.unwrap_or(0) == 0 && self.extra_per_day.unwrap_or(0) == 0
    }
}

/// What a product's passes can be used too often. `entrances` is the number of entrances that lead into one of the
/// product's zones, or into any zone if it names none; `row_uses` is the number in a pass's own row, if it has one.
pub fn exposure(product: &Product, entrances: u32, row_uses: Option<u32>) -> Exposure {
    let gates = match product.offline_scope {
        OfflineScope::HomeGate => entrances.min(u32::from(product.home_gate.is_some())),
        OfflineScope::Site | OfflineScope::Any => entrances,
    };
    let others = u64::from(gates.saturating_sub(1));
    let allowance = Allowance::promised(Some(product), row_uses);
    let extra = |uses: Option<u32>| uses.map(|uses| others * u64::from(uses));
    Exposure { gates, extra_in_all: extra(allowance.in_all), extra_per_day: extra(allowance.per_day) }
}
