//! The eye and the hand of a gate.
//!
//! Everything that touches the outside world physically lives in this crate, in two small processes
//! and the clients the brain talks to them with. `gate-reader` owns the camera and the decoders:
//! what a lens sees is hostile, so it runs in a process that can be killed at any time. `gate-io`
//! owns the GPIO lines: it drives a relay only for a bounded time and only while the brain is alive.
//! Nothing here knows what a pass is: frames come in, text goes out; commands come in, levels go out.

pub mod bench_read;
pub mod camera;
pub mod clock;
pub mod compose;
pub mod contract;
pub mod decode;
pub mod frame;
pub mod gate_io;
pub mod lines;
pub mod reader;
pub mod sandbox;
pub mod socket;
