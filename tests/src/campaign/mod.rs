//! Long searches for what a short test can't find. Each prints its seed, and the same seed does the same again.

mod figures;
pub mod hand;
pub mod hang;
pub mod kill;
pub mod unplug;

pub use figures::Figures;
