//! Long searches for what a short test can't find. Each prints its seed, and the same seed does the same again.

pub mod kill;
