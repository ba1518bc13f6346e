//! The service: issuing, people, ingest, reports and the live dashboard API.
//!
//! [`run`] is the one door: the program and the tests both go through it.

#![forbid(unsafe_code)]

pub mod app;
mod audit;
mod auth;
pub mod clock;
mod codes;
pub mod config;
mod conflict;
mod count_due;
pub mod entropy;
mod extract;
mod fence;
mod ingest;
mod issuing;
mod keys;
mod limits;
mod live;
mod office;
mod page;
mod problem;
mod replica;
mod routes;
mod serve;
pub mod store;
#[cfg(test)]
mod testing;

pub use app::{App, openapi};
pub use config::{Config, ConfigError, PublicUrl};
pub use serve::{
    OpenError, RebuildError, RunError, make_rounds, open, open_in_memory, rebuild, restored, run, time_was_wrong,
};
