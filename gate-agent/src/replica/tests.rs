//! What the database promises, as tables.

mod applying;
mod cost;
mod damage;
mod full_disk;
mod healing;
mod journal;
mod priorities;
mod resets;
mod views;
