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
pub mod entropy;
mod extract;
mod ingest;
mod issuing;
mod keys;
mod live;
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
pub use serve::{OpenError, RunError, open, open_in_memory, run};
