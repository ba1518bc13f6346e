//! What a gate makes of a card after a power cut: opened by the gate's own code and compared with what was promised.

use std::collections::{BTreeMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use gate_agent::journal_check;
use gate_agent::replica::{Replica, ReplicaError, ReplicaReader, Start};
use gate_core::decision::{Verdict, decide};
use gate_core::event::Event;
use gate_core::ids::{Hash, Kid, PassId};
use gate_core::pass::{Claims, Finding, PassFlags, ScannedPass};
use gate_core::time::Now;
use gate_core::view::Readiness;
use hardware::compose::Chance;

use super::card::Files;
use super::history::{DATABASE, Fact, History};
use crate::world::stock::Stock;

/// Of the newest events this many are looked at one by one, and as many of the others by chance.
const CLOSELY: usize = 12;

/// All passes that are shown here have ended this long after the venue's founding, milliseconds.
const OVER_MS: i64 = 2 * 86_400_000;

/// What was found on a card.
#[derive(Clone, PartialEq, Debug)]
pub enum Found {
    /// The gate runs, with the database as it was after this transaction.
    State(usize),
    /// The gate runs with what never was.
    NeverWas,
    /// Nothing is there: a gate with an empty database decides about nobody.
    Anew,
    /// The database calls itself damaged: the gate stands in FAULT until somebody salvages it.
    Damaged(String),
    /// It can't be opened for another reason.
    Refused(String),
    /// The gate's code panicked.
    Panicked(String),
}

/// A card that was looked at.
pub struct Examined {
    /// What was found on it.
    pub found: Found,
    /// The sum over its rows, where there were any.
    pub digest: Option<[u8; 16]>,
    /// How many used passes were shown a second time; one that is let in is a contradiction.
    pub shown_again: u64,
    /// What contradicts itself or the promise of all or nothing.
    pub contradictions: Vec<String>,
    /// The first event of the epoch that began with this opening.
    pub opening: Option<Event>,
}

/// Looks at cards in one folder.
pub struct Examiner<'h> {
    /// What the traced process did.
    pub history: &'h History,
    /// Whose passes they are.
    pub stock: &'h Stock,
    /// Where the card is laid out; in memory, for speed.
    pub folder: PathBuf,
}

impl Examiner<'_> {
    /// The database on the card.
    pub fn database(&self) -> PathBuf {
        self.folder.join(DATABASE)
    }

    /// Lays a card out and lets the gate open it. `deep` also runs SQLite's whole integrity check.
    pub fn examine(&self, files: &Files, chance: &mut Chance, deep: bool) -> anyhow::Result<Examined> {
        super::lay_out(&self.folder, files)?;
        // Shared memory is a file too, and holds anything after a power cut.
        if chance.happens(0.5) {
            let noise: Vec<u8> = (0..4096).flat_map(|_| chance.bits().to_le_bytes()).collect();
            std::fs::write(self.folder.join("replica.db-shm"), noise)?;
        }
        let epoch = chance.bits() >> 1;
        let looked = catch_unwind(AssertUnwindSafe(|| self.look(epoch, chance, deep)));
        Ok(looked.unwrap_or_else(|panic| Examined {
            found: Found::Panicked(said(panic.as_ref())),
            digest: None,
            shown_again: 0,
            contradictions: vec![],
            opening: None,
        }))
    }

    fn look(&self, epoch: u64, chance: &mut Chance, deep: bool) -> Examined {
        let mut examined =
            Examined { found: Found::NeverWas, digest: None, shown_again: 0, contradictions: vec![], opening: None };
        if let Err(error) = self.open(epoch, chance, deep, &mut examined) {
            examined.found = if let ReplicaError::Damaged { why, .. } = error {
                Found::Damaged(why)
            } else {
                Found::Refused(error.to_string())
            };
        }
        examined
    }

    fn open(&self, epoch: u64, chance: &mut Chance, deep: bool, examined: &mut Examined) -> Result<(), ReplicaError> {
        let path = self.database();
        // Before the opening writes its own event.
        let digest = ReplicaReader::open(&path).and_then(|reader| reader.digest()).ok();
        let now = self.stock.now();
        let mut replica = Replica::open(&path, Start { epoch, now, software: "after the power cut".to_owned() })?;
        examined.digest = digest;
        let Some(digest) = digest else {
            examined.found = Found::Anew;
            return Ok(());
        };
        let state = self.history.by_digest.get(&digest).copied();
        let Some(state) = state else { return Ok(()) };
        examined.found = Found::State(state);
        let expected = &self.history.states[state];
        let mut reader = replica.reader()?;
        let enrolled = u64::from(replica.identity().is_some());
        let mut differ = |what: &str, is: i128, should: i128| {
            if is != should {
                examined.contradictions.push(format!("{what} is {is}, it was {should}"));
            }
        };
        differ("the replica's position", replica.position()?.0.into(), expected.position.into());
        differ("the time floor", replica.floor_ms()?.into(), expected.floor_ms.into());
        differ("the outbox", replica.pending_count()?.into(), (expected.pending + enrolled).into());
        let report = journal_check::check(&reader)?;
        if let Some(problem) = report.problem {
            examined.contradictions.push(format!("the journal: {problem}"));
        }
        if deep {
            examined.contradictions.extend(integrity(&path));
        }
        self.all_or_none(state, &mut reader, chance, examined)
    }

    /// Of every event: there with its use, or not there and without.
    fn all_or_none(
        &self,
        state: usize,
        reader: &mut ReplicaReader,
        chance: &mut Chance,
        examined: &mut Examined,
    ) -> Result<(), ReplicaError> {
        let mut here: HashSet<Hash> = HashSet::new();
        let mut last = Vec::new();
        let walked: Result<(), ()> = reader.journal(|bytes| {
            here.insert(gate_core::event::hash(bytes));
            last = bytes.to_vec();
            Ok(())
        })?;
        debug_assert!(walked.is_ok());
        examined.opening = Event::decode(&last).ok();
        let Some(gate) = reader.gate()? else { return Ok(()) };
        // Uses of passes that ended long ago are let go of together with their events.
        if self.history.states[state].floor_ms > self.stock.now().wall_ms + OVER_MS {
            return Ok(());
        }
        let facts = &self.history.facts;
        // Around the state that was found, where something could be there by half.
        let newest = facts.partition_point(|fact| fact.state <= state);
        let around = newest.saturating_sub(CLOSELY)..facts.len().min(newest + CLOSELY / 2);
        let mut looked_at: BTreeMap<&PassId, ()> =
            around.clone().filter_map(|at| Some((facts[at].charges()?, ()))).collect();
        for _ in 0..CLOSELY {
            if let Some(fact) = facts.get(chance.below(newest)) {
                looked_at.extend(fact.charges().map(|pass| (pass, ())));
            }
        }
        for (pass, ()) in looked_at {
            let (shown, now) = (scanned(pass, self.stock.now()), self.stock.now());
            let view = reader.view(&shown, &gate, now)?;
            let charged = facts.iter().filter(|fact| fact.charges() == Some(pass) && is_here(fact, &here, state));
            let uses = charged
                .filter(|charge| !facts.iter().any(|fact| gives_back(fact, charge) && is_here(fact, &here, state)));
            let (is, should) = (view.uses.total as usize, uses.count());
            if is != should {
                examined.contradictions.push(format!("pass {pass} has {is} uses, its events say {should}"));
            }
            if should > 0 {
                examined.shown_again += 1;
                if let Verdict::Admit(admission) = decide(&shown, &view, &gate.lane_context(Readiness::Ready), now)
                    && admission.charges_use
                {
                    examined.contradictions.push(format!("pass {pass} is used and would be let in again"));
                }
            }
        }
        Ok(())
    }
}

/// Pruned events are not here any more; what they meant is.
fn is_here(fact: &Fact, here: &HashSet<Hash>, state: usize) -> bool {
    fact.state <= state || here.contains(&fact.hash)
}

fn gives_back(fact: &Fact, charge: &Fact) -> bool {
    fact.gives_back() == Some(charge.event.id)
}

/// The pass as a reader saw it; that its signature holds was found out long ago.
pub fn scanned(pass: &PassId, now: Now) -> ScannedPass {
    let claims = Claims {
        vendor: pass.vendor.clone(),
        venue: "PK".parse().unwrap_or_else(|_| unreachable!("two capitals are a venue code")),
        not_before: now.wall_ms / 1000 - 3600,
        expires: now.wall_ms / 1000 + 86_400,
        cti: pass.cti,
        product: 1,
        flags: PassFlags::default(),
        subject: None,
    };
    ScannedPass { token: Hash::of("powercut", &pass.cti.0), finding: Finding::Genuine { claims, kid: Kid(*b"iss1") } }
}

/// What SQLite's whole check finds wrong.
fn integrity(path: &Path) -> Vec<String> {
    let check = || -> rusqlite::Result<String> {
        let db = rusqlite::Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        db.query_row("PRAGMA integrity_check(3)", [], |row| row.get(0))
    };
    match check() {
        Ok(verdict) if verdict == "ok" => vec![],
        Ok(verdict) => vec![format!("integrity_check: {verdict}")],
        Err(error) => vec![format!("integrity_check: {error}")],
    }
}

/// What a panic said.
pub fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without words").to_owned()
}
