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

/// What whoever owns the machine can do before changing events.
const WITHOUT_GUARDS: &str = "DROP TRIGGER events_stay; DROP TRIGGER events_once; DROP TRIGGER events_keep;";
