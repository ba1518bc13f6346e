//! Keeps rows that a decision may need in the operating system's memory.
//!
//! A pass is looked up at a random place of its tables. Whatever was not read for a while is the first thing a system
//! short of memory lets go of, and then the next driver waits for the card, page by page. So a thread of its own goes
//! through these tables again and again, a little at a time. Once a week it checks the whole file, as a start does: most
//! gates are not started for months.

use std::path::Path;

use rusqlite::OptionalExtension;

use super::{Fault, ReplicaError, ReplicaReader, keys};

/// Rows of each table that one step goes through.
const ROWS: u32 = 4096;
/// Steps between two checks of the whole file: a week, at one a second.
const CHECK: u64 = 7 * 86_400;
/// Memory of its own that the round takes, KB: the pages are to stay with the operating system.
const CACHE_KB: i64 = 256;

/// A round through what is looked up by pass.
#[derive(Debug)]
pub struct Round {
    reader: ReplicaReader,
    passes: Option<Vec<u8>>,
    uses: Option<Vec<u8>>,
    until_check: u64,
}

impl Round {
    /// Opens a connection of its own.
    pub fn open(path: &Path) -> Result<Self, ReplicaError> {
        let reader = ReplicaReader::open(path)?;
        reader.moment(|db| db.pragma_update(None, "cache_size", -CACHE_KB).map_err(Fault::Sql))?;
        Ok(Self { reader, passes: None, uses: None, until_check: CHECK })
    }

    /// Goes through the next rows of each table; after the last ones it begins anew. Once a week it fails with
    /// [`ReplicaError::Damaged`] if anything in the file is not what was written.
    pub fn step(&mut self) -> Result<(), ReplicaError> {
        self.until_check -= 1;
        if self.until_check == 0 {
            self.until_check = CHECK;
            self.reader.check_whole()?;
        }
        let next = |sql: &str, from: &Option<Vec<u8>>| {
            let from = from.as_deref().unwrap_or_default();
            self.reader.moment(|db| {
                let side = keys::progress(db)?.side;
                let mut statement = db.prepare_cached(sql)?;
                Ok(statement.query_row(rusqlite::params![from, ROWS - 1, side], |row| row.get(0)).optional()?)
            })
        };
        let passes = next(
            "SELECT pass FROM passes WHERE side = ?3 AND pass > ?1 ORDER BY pass LIMIT 1 OFFSET ?2",
            &self.passes,
        )?;
        let uses =
            next("SELECT pass FROM uses WHERE pass > ?1 AND ?3 = ?3 ORDER BY pass LIMIT 1 OFFSET ?2", &self.uses)?;
        (self.passes, self.uses) = (passes, uses);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use gate_core::view::PassStanding;

    use super::*;
    use crate::replica::testing::{Folder, T0, Venue, at, pass_change};

    #[test]
    fn once_a_week_the_whole_file_is_checked() {
        let folder = Folder::new("weekly");
        let mut venue = Venue::new();
        let mut replica = venue.gate(&folder.db());
        let rows = (0..200).map(|n| pass_change(n, PassStanding::Revoked)).collect();
        let reply = venue.reply(rows, T0 + 5);
        replica.apply(&reply, at(5)).unwrap();
        drop(replica);
        let due = |round: &mut Round| {
            round.until_check = 1;
            round.step()
        };
        due(&mut Round::open(&folder.db()).unwrap()).unwrap();
        let mut bytes = std::fs::read(folder.db()).unwrap();
        let last = bytes.len() - 10;
        bytes[last] ^= 1;
        std::fs::write(folder.db(), &bytes).unwrap();
        let mut round = Round::open(&folder.db()).unwrap();
        round.step().unwrap();
        assert!(matches!(due(&mut round), Err(ReplicaError::Damaged { .. })));
    }

    #[test]
    fn every_row_has_its_turn_and_the_round_begins_anew() {
        let folder = Folder::new("warm");
        let mut venue = Venue::new();
        let mut replica = venue.gate(&folder.db());
        let mut round = Round::open(&folder.db()).unwrap();
        round.step().unwrap();
        assert_eq!((&round.passes, &round.uses), (&None, &None), "nothing is there yet");
        for from in (0..10_000).step_by(500) {
            let changes = (from..from + 500).map(|n| pass_change(n, PassStanding::Live)).collect();
            let reply = venue.reply(changes, T0);
            replica.apply(&reply, at(0)).unwrap();
        }
        let mut seen = vec![];
        for _ in 0..6 {
            round.step().unwrap();
            seen.push(round.passes.clone());
        }
        let turns: Vec<_> = seen.iter().map(Option::is_some).collect();
        assert_eq!(turns, [true, true, false, true, true, false], "10,000 rows in three steps, twice");
        assert!(seen[0] < seen[1] && seen[0] == seen[3] && seen[1] == seen[4]);
    }
}
