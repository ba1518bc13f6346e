//! A long life of a gate's memory in one process: enrolment, admissions, changes and answers from a cloud, pruning. The
//! gate's own code does all of it; the process says `POWERCUT stored` after each call that returned.
//!
//! It is run under `strace`, so that what it says stands between what it wrote.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;

use anyhow::Context;
use gate_agent::identity::{self, Identity, IdentityFile};
use gate_agent::replica::{Replica, ReplicaReader, Start};
use gate_core::decision::{DecisionInput, RULES_VERSION, Verdict, decide};
use gate_core::event::{Event, EventBody, Head};
use gate_core::ids::{EventId, Hash};
use gate_core::keys::PublicKey;
use gate_core::pass::{self, Keyring};
use gate_core::sync::v1::{ItemOutcome, PushReply};
use gate_core::time::Now;
use gate_core::view::{PassStanding, Readiness};
use hardware::compose::Chance;

use super::history::DATABASE;
use crate::world::stock::{Road, Stock};

/// Passes that the cloud tells about.
const TOLD: usize = 1500;
/// Passes told of in one chunk.
const CHUNK: usize = 300;
/// Passes shown in one phase are numbered from its number times this.
const PHASE: u32 = 100_000;
const DAY_MS: i64 = 86_400_000;
/// Phases of a life: the first ends with the power, the second by itself, the third with pruning and the power.
pub const PHASES: u32 = 3;

/// What one phase does.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The moment of the venue's founding, Unix milliseconds.
    pub wall_ms: i64,
    /// Seed of what happens.
    pub seed: u64,
    /// Which phase.
    pub phase: u32,
    /// How many things happen.
    pub steps: u32,
}

struct Life {
    plan: Plan,
    chance: Chance,
    stock: Stock,
    path: std::path::PathBuf,
    replica: Option<Replica>,
    reader: ReplicaReader,
    keys: Keyring,
    road: Road,
    cloud: Cloud,
    step: i64,
    shown: u32,
}

/// Lives one phase in a folder. The process should end at once when this returns: `Replica`s that are still open are left
/// to the kernel, as at a power cut.
pub fn live(folder: &Path, plan: Plan) -> anyhow::Result<()> {
    let mut chance = Chance::new(plan.seed ^ (u64::from(plan.phase) << 32));
    let stock = Stock::new(plan.wall_ms);
    let path = folder.join(DATABASE);
    let now = Now { wall_ms: plan.wall_ms + i64::from(plan.phase) * 3_600_000, ..stock.now() };
    let mut replica = Replica::open(&path, Start { epoch: chance.bits() >> 1, now, software: "life".to_owned() })?;
    if plan.phase == 0 {
        let key = identity::device_key(&identity::key_path(folder))?;
        let enrolled = stock.enrolled(PublicKey::from(&key));
        let who = Identity::of(&enrolled, "http://127.0.0.1:9");
        IdentityFile::of(&who, &enrolled, Hash::ZERO).save(&identity::identity_path(folder))?;
        replica.set_identity(&who, &enrolled, now)?;
        stored();
        let mut road = stock.road(0, Hash::ZERO);
        replica.apply(&road.reply(stock.settings(), Some(now.wall_ms)), now)?;
    }
    stored();
    let (position, head) = replica.position()?;
    let mut reader = replica.reader()?;
    let keys = reader.keyring()?;
    let cloud = Cloud::holding(&reader, &mut replica)?;
    let road = stock.road(position, head);
    let shown = plan.phase * PHASE;
    let mut life =
        Life { plan, chance, stock, path, replica: Some(replica), reader, keys, road, cloud, step: 0, shown };
    for _ in 0..plan.steps {
        life.step()?;
        stored();
    }
    if plan.phase + 1 == PHASES {
        life.grow_old()?;
    }
    match plan.phase {
        // As the power does it: nothing is closed.
        0 | 2 => std::mem::forget(life),
        _ => drop(life),
    }
    Ok(())
}

impl Life {
    fn now(&self) -> Now {
        let ms = i64::from(self.plan.phase) * 3_600_000 + self.step * 1000;
        Now { wall_ms: self.plan.wall_ms + ms, mono_us: u64::try_from(ms * 1000).unwrap_or(0), ..self.stock.now() }
    }

    fn replica(&mut self) -> anyhow::Result<&mut Replica> {
        self.replica.as_mut().context("the database is open")
    }

    fn step(&mut self) -> anyhow::Result<()> {
        self.step += 1;
        let now = self.now();
        match self.chance.below(100) {
            0..50 => self.admit(),
            50..60 => {
                let first = self.plan.phase * PHASE;
                let again = first + u32::try_from(self.chance.below((self.shown - first) as usize))?;
                self.present(again).map(|_| ())
            }
            60..72 => self.hear_changes(),
            72..77 => {
                let floor = now.wall_ms - 5_000;
                Ok(self.replica()?.set_floor_ms(floor)?)
            }
            77..97 => self.push(),
            _ => self.reopen(),
        }
    }

    /// A new pass, and what becomes of its opening.
    fn admit(&mut self) -> anyhow::Result<()> {
        let number = self.shown;
        self.shown += 1;
        let Some(of) = self.present(number)? else { return Ok(()) };
        // The relay would move now.
        stored();
        let body = match self.chance.below(20) {
            0..16 => EventBody::Opened { of, watched: false },
            16 => EventBody::NotOpened { of, unknown: true },
            17 => EventBody::Annulled { of },
            _ => return Ok(()),
        };
        let (lane, now) = (self.stock.gate_row().lane, self.now());
        self.replica()?.record(Some(lane), now, body)?;
        Ok(())
    }

    /// Decides about a pass and records it; gives the event if it was let in.
    fn present(&mut self, number: u32) -> anyhow::Result<Option<EventId>> {
        let (now, gate) = (self.now(), self.stock.gate_row());
        let pass = pass::open(&self.stock.pass(number)?, &self.keys);
        let view = self.reader.view(&pass, &gate, now)?;
        let lane = gate.lane_context(Readiness::Ready);
        let verdict = decide(&pass, &view, &lane, now);
        let generations: Vec<u64> = view.spaces.iter().map(|space| space.generation).collect();
        let input = Box::new(DecisionInput { pass, view, lane, now, rules: RULES_VERSION });
        let body = match verdict {
            Verdict::Admit(admission) => EventBody::Authorised {
                input,
                generations: generations.into_iter().take(admission.zones.len()).collect(),
                admission,
                confirmed: None,
            },
            Verdict::Refuse(refusal) => EventBody::Refused { input, reason: refusal.reason },
            Verdict::Ask(_) => return Ok(None),
        };
        let admitted = matches!(body, EventBody::Authorised { .. });
        let sealed = self.replica()?.record(Some(gate.lane), now, body)?;
        Ok(admitted.then_some(sealed.event.id))
    }

    fn hear_changes(&mut self) -> anyhow::Result<()> {
        let (now, at) = (self.now(), self.chance.below(TOLD));
        let standing = if self.chance.happens(0.5) { PassStanding::Revoked } else { PassStanding::Live };
        let rows = (at..at + CHUNK)
            .map(|number| Ok(self.stock.told(u32::try_from(number % TOLD)?, standing)))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let reply = self.road.reply(rows, Some(now.wall_ms));
        self.replica()?.apply(&reply, now)?;
        Ok(())
    }

    fn push(&mut self) -> anyhow::Result<()> {
        let now = self.now();
        let events = self.replica()?.pending(50, usize::MAX)?;
        let sent: Vec<EventId> = events.iter().map(|event| event.id).collect();
        for id in &sent {
            say(&format!("sent {id}"));
        }
        let bodies: Vec<&[u8]> = events.iter().map(|event| event.bytes.as_slice()).collect();
        let reply = self.cloud.take(&self.stock, &bodies)?;
        self.replica()?.acknowledge(&sent, &reply, now)?;
        Ok(())
    }

    /// Closes the database and opens it again, as an update of the software does.
    fn reopen(&mut self) -> anyhow::Result<()> {
        let (epoch, now) = (self.chance.bits() >> 1, self.now());
        drop(self.replica.take());
        self.replica = Some(Replica::open(&self.path, Start { epoch, now, software: "life".to_owned() })?);
        self.reader = self.replica()?.reader()?;
        Ok(())
    }

    /// A hundred days later everything that the cloud signed for may go.
    fn grow_old(&mut self) -> anyhow::Result<()> {
        while self.replica()?.pending_count()? > 0 {
            self.push()?;
            stored();
        }
        let floor = self.now().wall_ms + 100 * DAY_MS;
        self.replica()?.set_floor_ms(floor)?;
        stored();
        while self.replica()?.prune()?.more {
            stored();
        }
        stored();
        for _ in 0..10 {
            self.admit_later(floor)?;
            stored();
        }
        Ok(())
    }

    fn admit_later(&mut self, wall_ms: i64) -> anyhow::Result<()> {
        let lane = self.stock.gate_row().lane;
        let now = Now { wall_ms, ..self.now() };
        self.replica()?.record(Some(lane), now, EventBody::LaneClosed { closed: true, staff: None })?;
        Ok(())
    }
}

/// What the cloud holds: it signs for each epoch as far as there is no gap.
#[derive(Default)]
struct Cloud {
    held: BTreeMap<(u64, u64), Head>,
}

impl Cloud {
    /// Everything that does not wait any more.
    fn holding(reader: &ReplicaReader, replica: &mut Replica) -> anyhow::Result<Self> {
        let waits: BTreeSet<EventId> =
            replica.pending(usize::MAX >> 1, usize::MAX)?.into_iter().map(|event| event.id).collect();
        let mut cloud = Self::default();
        let walked = reader.journal(|bytes| -> anyhow::Result<()> {
            let event = Event::decode(bytes)?;
            if !waits.contains(&event.id) {
                cloud.hold(event.id, bytes);
            }
            Ok(())
        })?;
        walked.map(|()| cloud)
    }

    fn hold(&mut self, event: EventId, bytes: &[u8]) {
        self.held.insert((event.epoch, event.seq), Head { event, hash: gate_core::event::hash(bytes) });
    }

    fn take(&mut self, stock: &Stock, events: &[&[u8]]) -> anyhow::Result<PushReply> {
        let mut epochs: BTreeSet<u64> = BTreeSet::new();
        for bytes in events {
            let event = Event::decode(bytes)?;
            self.hold(event.id, bytes);
            epochs.insert(event.id.epoch);
        }
        let receipts =
            epochs.iter().filter_map(|epoch| self.contiguous(*epoch)).map(|head| stock.receipt(head)).collect();
        Ok(PushReply { outcomes: vec![ItemOutcome::Created; events.len()], receipts })
    }

    /// The last event of an epoch before the first gap.
    fn contiguous(&self, epoch: u64) -> Option<Head> {
        let events = self.held.range((epoch, 0)..=(epoch, u64::MAX));
        events.zip(0..).take_while(|(((_, seq), _), next)| seq == next).last().map(|((_, head), _)| *head)
    }
}

/// Everything up to here is stored: what is lost after this was lost after it was promised.
fn stored() {
    say("stored");
}

fn say(what: &str) {
    let mut out = std::io::stdout().lock();
    let _closed = writeln!(out, "POWERCUT {what}");
    let _closed = out.flush();
}
