//! What gates and cloud say to each other.
//!
//! [`v1`] is the wire, frozen by golden bytes; [`session`] decides what to say next, knowing neither sockets nor clocks;
//! [`request_signature`] proves which device speaks.

pub mod plausible;
pub mod request_signature;
pub mod session;
pub mod v1;
