//! The attempts of the cascade and what they cost.
//!
//! The order was measured on photographs and synthetic frames. Half scale is nearly free and reads close
//! codes and screens. A light blur reads more than the raw frame. One and a half times the size reads most
//! of all, yet costs as much as all before it. The rest reads the few that are left.

use super::filter::{blur, enlarge, half, invert};
use super::single::{Found, read, rqrr};
use crate::frame::LumaFrame;

/// One attempt.
#[derive(Debug)]
pub struct Stage {
    /// For logs and reports.
    pub name: &'static str,
    /// What it costs at most, relative to the others: quarters of a pass over the raw frame.
    pub cost: u32,
    /// Reads every code it can find. May panic, may be slow.
    pub read: fn(&LumaFrame) -> Vec<Found>,
}

/// How many of [`ALL`] always come first, in this order; the others take turns.
pub(super) const FIRST: usize = 2;

/// Every stage, in the order of a first look.
pub(super) static ALL: [Stage; 7] = [
    Stage { name: "half", cost: 1, read: |frame| half(frame).map_or_else(Vec::new, |frame| read(&frame)) },
    Stage { name: "blur", cost: 4, read: |frame| blur(frame).map_or_else(Vec::new, |frame| read(&frame)) },
    Stage { name: "enlarged", cost: 10, read: |frame| enlarge(frame).map_or_else(Vec::new, |frame| read(&frame)) },
    Stage { name: "raw", cost: 4, read },
    Stage {
        name: "blurred half",
        cost: 2,
        read: |frame| blur(frame).and_then(|frame| half(&frame)).map_or_else(Vec::new, |frame| read(&frame)),
    },
    Stage { name: "inverted", cost: 4, read: |frame| invert(frame).map_or_else(Vec::new, |frame| read(&frame)) },
    Stage { name: "rqrr", cost: 16, read: rqrr },
];
