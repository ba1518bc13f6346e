//! What a pass is, how a gate decides, what is recorded, and how copies merge.
//!
//! No I/O, no clock, no async: everything here is a value or a function of values, so that the gate, the cloud and the
//! staff scanner give the same answer, and a decision can be replayed bit for bit.

#![forbid(unsafe_code)]

pub mod canonical;
pub mod cose;
pub mod decision;
pub mod event;
#[cfg(test)]
mod examples;
#[cfg(test)]
mod golden;
pub mod history;
pub mod ids;
pub mod journal;
pub mod keys;
pub mod lane;
pub mod mutant;
pub mod occupancy;
pub mod pass;
pub mod product;
pub mod reason;
pub mod reset;
pub mod signals;
pub mod statement;
pub mod sync;
pub mod time;
pub mod view;
