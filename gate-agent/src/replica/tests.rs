//! What the database promises, as tables.

mod applying;
mod damage;
mod full_disk;
mod journal;
mod views;
