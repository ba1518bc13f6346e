//! A card as the power leaves it: what was synced is there, of the rest anything may be.
//!
//! Of each write that was not synced every sector may be there or not. Names of files change in the order in which
//! they were changed, as every journalling file system keeps it, up to some point that nobody chooses.

use std::collections::{BTreeMap, BTreeSet};

use hardware::compose::Chance;

use super::trace::Op;

/// Disks write whole sectors of this size, bytes.
const SECTOR: u64 = 512;

/// Files of a folder by name.
pub type Files = BTreeMap<String, Vec<u8>>;

/// What the disk holds for certain, and what only the kernel knows.
#[derive(Clone, Default)]
pub struct Card {
    inodes: Vec<Inode>,
    /// Names as processes see them.
    names: BTreeMap<String, usize>,
    /// Names as they are on the disk.
    kept: BTreeMap<String, usize>,
    moves: Vec<(usize, Move)>,
    done: usize,
}

#[derive(Clone, Default)]
struct Inode {
    durable: Vec<u8>,
    pending: Vec<(usize, Change)>,
}

#[derive(Clone)]
enum Change {
    Write(u64, Vec<u8>),
    Length(u64),
}

#[derive(Clone)]
enum Move {
    Is(String, usize),
    Gone(String),
}

/// How this power cut treats what was not synced.
struct Mood {
    /// A write is whole with this probability.
    whole: f32,
    /// If not, it is torn, sector by sector, with this one.
    torn: f32,
    /// What was never written in a file that has grown reads as noise instead of zeros.
    noise: bool,
    /// A file keeps the length that lost writes gave it.
    grown: bool,
}

impl Mood {
    fn draw(chance: &mut Chance) -> Self {
        let probability = |chance: &mut Chance| [0.0, 0.1, 0.5, 0.9, 1.0][chance.below(5)];
        Self {
            whole: probability(chance),
            torn: probability(chance),
            noise: chance.happens(0.5),
            grown: chance.happens(0.3),
        }
    }
}

impl Card {
    /// A card on which these files are safe.
    pub fn holding(files: &Files) -> Self {
        let mut card = Self::default();
        for (name, bytes) in files {
            card.names.insert(name.clone(), card.inodes.len());
            card.inodes.push(Inode { durable: bytes.clone(), pending: Vec::new() });
        }
        card.kept = card.names.clone();
        card
    }

    /// Does the next operation. A card that lies answers a sync and does nothing.
    pub fn take(&mut self, op: &Op, lies: bool) {
        let at = self.done;
        self.done += 1;
        match op {
            Op::Open { file, truncate } => {
                let known = self.names.contains_key(file);
                let inode = self.inode(file);
                if *truncate && known {
                    self.inodes[inode].pending.push((at, Change::Length(0)));
                }
            }
            Op::Write { file, offset, bytes } => {
                let inode = self.inode(file);
                self.inodes[inode].pending.push((at, Change::Write(*offset, bytes.clone())));
            }
            Op::Length { file, length } => {
                let inode = self.inode(file);
                self.inodes[inode].pending.push((at, Change::Length(*length)));
            }
            Op::Sync { file, before } if !lies => {
                let inode = self.inode(file);
                self.inodes[inode].settle(*before);
            }
            Op::SyncFolder { before } if !lies => {
                let settled = self.moves.partition_point(|(at, _)| at < before);
                for (_, change) in self.moves.drain(..settled) {
                    rename(&mut self.kept, change);
                }
            }
            Op::Remove { file } => {
                self.names.remove(file);
                self.moves.push((at, Move::Gone(file.clone())));
            }
            Op::Rename { from, to } => {
                let Some(inode) = self.names.remove(from) else { return };
                self.names.insert(to.clone(), inode);
                self.moves.push((at, Move::Is(to.clone(), inode)));
                self.moves.push((at, Move::Gone(from.clone())));
            }
            Op::Sync { .. } | Op::SyncFolder { .. } | Op::Pulse { .. } | Op::Stored | Op::Sent { .. } => {}
        }
    }

    /// The file of that name, made if there is none.
    fn inode(&mut self, file: &str) -> usize {
        if let Some(inode) = self.names.get(file) {
            return *inode;
        }
        let inode = self.inodes.len();
        self.inodes.push(Inode::default());
        self.names.insert(file.to_owned(), inode);
        self.moves.push((self.done.saturating_sub(1), Move::Is(file.to_owned(), inode)));
        inode
    }

    /// What a process would read now: nothing is lost.
    pub fn whole(&self) -> Files {
        self.names.iter().map(|(name, inode)| (name.clone(), self.inodes[*inode].whole())).collect()
    }

    /// Names of files that are not as they were found, to tell whether an account of what was written is whole.
    pub fn differs(&self, found: &Files) -> Vec<String> {
        let told = self.whole();
        let names: BTreeSet<&String> = told.keys().chain(found.keys()).collect();
        names.into_iter().filter(|name| told.get(*name) != found.get(*name)).cloned().collect()
    }

    /// What is found after the power went now.
    pub fn cut(&self, chance: &mut Chance) -> Files {
        let mood = Mood::draw(chance);
        let mut names = self.kept.clone();
        for (_, change) in self.moves.iter().take(chance.below(self.moves.len() + 1)) {
            rename(&mut names, change.clone());
        }
        names.into_iter().map(|(name, inode)| (name, self.inodes[inode].cut(&mood, chance))).collect()
    }

    /// How many writes are not synced.
    pub fn pending(&self) -> usize {
        self.inodes.iter().map(|inode| inode.pending.len()).sum::<usize>() + self.moves.len()
    }
}

fn rename(names: &mut BTreeMap<String, usize>, change: Move) {
    match change {
        Move::Is(name, inode) => names.insert(name, inode),
        Move::Gone(name) => names.remove(&name),
    };
}

impl Inode {
    fn settle(&mut self, before: usize) {
        let settled = self.pending.partition_point(|(at, _)| *at < before);
        for (_, change) in self.pending.drain(..settled) {
            apply(&mut self.durable, &change);
        }
    }

    fn whole(&self) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        for (_, change) in &self.pending {
            apply(&mut bytes, change);
        }
        bytes
    }

    fn cut(&self, mood: &Mood, chance: &mut Chance) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        for (_, change) in &self.pending {
            if chance.happens(mood.whole) {
                let before = bytes.len();
                apply(&mut bytes, change);
                if mood.noise
                    && let Change::Write(offset, _) = change
                {
                    noise(&mut bytes, before, usize_of(*offset), chance);
                }
                continue;
            }
            let Change::Write(offset, written) = change else { continue };
            let torn = chance.happens(mood.torn);
            if !torn && !mood.grown {
                continue;
            }
            let (from, to) = (*offset, *offset + written.len() as u64);
            let before = bytes.len();
            if bytes.len() < usize_of(to) {
                bytes.resize(usize_of(to), 0);
                if mood.noise {
                    noise(&mut bytes, before, usize_of(to), chance);
                }
            }
            let mut at = from;
            while torn && at < to {
                let end = to.min((at / SECTOR + 1) * SECTOR);
                if chance.happens(0.5) {
                    let (start, stop) = (usize_of(at - from), usize_of(end - from));
                    bytes[usize_of(at)..usize_of(end)].copy_from_slice(&written[start..stop]);
                }
                at = end;
            }
        }
        bytes
    }
}

/// Fills what nobody has written with anything.
fn noise(bytes: &mut [u8], from: usize, to: usize, chance: &mut Chance) {
    let to = to.min(bytes.len());
    if from < to {
        for piece in bytes[from..to].chunks_mut(8) {
            piece.copy_from_slice(&chance.bits().to_le_bytes()[..piece.len()]);
        }
    }
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Length(length) => bytes.resize(usize_of(*length), 0),
        Change::Write(offset, written) => {
            let (from, to) = (usize_of(*offset), usize_of(*offset) + written.len());
            if bytes.len() < to {
                bytes.resize(to, 0);
            }
            bytes[from..to].copy_from_slice(written);
        }
    }
}

fn usize_of(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(file: &str, offset: u64, byte: u8, length: usize) -> Op {
        Op::Write { file: file.to_owned(), offset, bytes: vec![byte; length] }
    }

    fn sync(file: &str, before: usize) -> Op {
        Op::Sync { file: file.to_owned(), before }
    }

    fn card(ops: &[Op], lies: bool) -> Card {
        let mut card = Card::holding(&Files::from([("a".to_owned(), vec![0; 2048])]));
        for op in ops {
            card.take(op, lies);
        }
        card
    }

    #[test]
    fn what_was_synced_is_always_there() {
        let honest = card(&[write("a", 0, 1, 2048), sync("a", 1), write("a", 0, 2, 2048)], false);
        let (mut old, mut new, mut torn) = (0, 0, 0);
        for seed in 0..300 {
            let found = honest.cut(&mut Chance::new(seed)).remove("a").unwrap();
            assert!(found.iter().all(|byte| matches!(byte, 1 | 2)), "seed {seed}: something that was never written");
            for sector in found.chunks(512) {
                assert!(sector.iter().all(|byte| *byte == sector[0]), "seed {seed}: half a sector");
            }
            match (found.contains(&1), found.contains(&2)) {
                (true, false) => old += 1,
                (false, true) => new += 1,
                _ => torn += 1,
            }
        }
        assert!(old > 30 && new > 30 && torn > 30, "{old} lost, {new} whole, {torn} torn");
        assert_eq!(honest.whole()["a"], vec![2; 2048]);
    }

    #[test]
    fn a_card_that_lies_keeps_nothing_for_certain() {
        let liar = card(&[write("a", 0, 1, 2048), sync("a", 1)], true);
        assert!((0..100).any(|seed| liar.cut(&mut Chance::new(seed))["a"] == vec![0; 2048]));
        assert_eq!(liar.pending(), 1);
    }

    #[test]
    fn a_name_is_safe_when_the_folder_was_synced() {
        let ops = [
            Op::Open { file: "b".to_owned(), truncate: true },
            write("b", 0, 7, 512),
            sync("b", 2),
            Op::Rename { from: "b".to_owned(), to: "a".to_owned() },
        ];
        let seen = |card: &Card| {
            (0..200)
                .map(|seed| card.cut(&mut Chance::new(seed)))
                .map(|files| (files.contains_key("b"), files.get("a").map(|bytes| bytes[0])))
                .collect::<std::collections::BTreeSet<_>>()
        };
        let before = seen(&card(&ops, false));
        // Nothing, the new file under its first name, both names in the moment between, and the end.
        assert_eq!(before, [(false, Some(0)), (false, Some(7)), (true, Some(0)), (true, Some(7))].into());
        let synced = [&ops[..], &[Op::SyncFolder { before: 4 }]].concat();
        assert_eq!(seen(&card(&synced, false)), [(false, Some(7))].into());
    }
}
