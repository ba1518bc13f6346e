//! What must hold: while a run goes on, and when everything was mended and all had time to agree.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::AddAssign;
use std::path::Path;

use anyhow::Context;
use gate_agent::replica::{KEEP_MS, ReplicaReader};
use gate_core::event::{self, Event, EventBody};
use gate_core::history::{History, fold};
use gate_core::ids::{DeviceId, Direction, EventId, ZoneId};
use gate_core::time::Trust;
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use super::cards::TwoCards;
use super::inside::Inside;
use super::world::World;
use crate::journal::journal_of;

/// Whoever was perhaps not let in may come again for so long, milliseconds.
const AGAIN_MS: i64 = 600_000;

/// What a run was worth.
#[derive(Clone, Copy, Default, Debug)]
pub struct Figures {
    /// Events in all journals.
    pub events: u64,
    /// Relay pulses.
    pub openings: u64,
    /// Admissions that count.
    pub admissions: u64,
    /// Uses beyond what a pass allows, each at another gate.
    pub extra_uses: u64,
    /// Admissions of which nobody knows whether the gate opened.
    pub unknown: u64,
    /// Zones that began anew at their hour.
    pub resets: u64,
    /// Comparisons of the dashboard's numbers with the journals.
    pub looks: u64,
    /// Agents that were started.
    pub lives: u64,
}

impl AddAssign for Figures {
    fn add_assign(&mut self, other: Self) {
        self.events += other.events;
        self.openings += other.openings;
        self.admissions += other.admissions;
        self.extra_uses += other.extra_uses;
        self.unknown += other.unknown;
        self.resets += other.resets;
        self.looks += other.looks;
        self.lives += other.lives;
    }
}

/// What was seen from outside while the run went on.
#[derive(Default)]
pub struct Watch {
    /// What must not have happened.
    pub violations: Vec<String>,
    /// What the run was worth.
    pub figures: Figures,
    /// Until when something was wrong at each gate, microseconds.
    pub troubled_us: Vec<u64>,
    /// Passes that were shown somewhere.
    pub shown: BTreeSet<usize>,
    /// Who is really inside each zone.
    pub inside: BTreeMap<ZoneId, Inside>,
    /// At which hour a zone must have begun anew, Unix milliseconds.
    pub begins: BTreeMap<ZoneId, i64>,
    /// Since when a zone's number must count everybody who came later: the last hour at which it begins anew.
    pub anew: BTreeMap<ZoneId, u64>,
    /// Since when a zone's number may have forgotten who was there before: somebody recorded that it begins anew.
    pub forgotten: BTreeMap<ZoneId, u64>,
    /// Who really went through: gate, and the pulse that let them.
    pub crossings: Vec<(usize, String)>,
    /// From which change on a pass is revoked.
    pub revoked: BTreeMap<String, u64>,
    /// Passes that were ever revoked, whatever a restored service still knows of it.
    pub revoked_ever: BTreeSet<String>,
    /// Moments from which on the next admission is cut off between record and pulse.
    pub ambushes: Vec<u64>,
    /// Moments from which on the agent stands still in the next opening.
    pub stalls: Vec<u64>,
    /// The gate whose card was set back, and whether the cloud must have noticed.
    pub set_back: Option<(usize, bool)>,
    /// A card that was copied, of the gate in `set_back`.
    pub two_cards: Option<TwoCards>,
    /// Cards were in each other's gates: what they said of their zones was not so.
    pub exchanged: bool,
    /// The office recounted, and a restored cloud has forgotten it: gates still rest on it.
    pub recount_lost: bool,
    /// Zones that begin anew by a rule which a restored cloud has forgotten: gates still go by it.
    pub rules_lost: BTreeSet<ZoneId>,
    /// Recounts of the office since the backup.
    pub recounts: u64,
    /// Zones that have had a rule since the backup.
    pub rules: BTreeSet<ZoneId>,
    /// Recounts of the office in all.
    pub recounts_ever: u64,
    /// Some clock was wrong at some time.
    pub clocks_lie: bool,
    /// Extra uses, by product.
    pub extra: [u64; 3],
    /// Gates whose device was withdrawn.
    pub withdrawn: BTreeSet<usize>,
    durable: BTreeSet<(usize, String)>,
    pulses: BTreeSet<(usize, String)>,
    at_backup: BTreeMap<String, u64>,
    /// Events that the cloud had when its backup was taken back.
    pub restores: u64,
}

impl Watch {
    /// Of so many gates.
    pub fn new(gates: usize) -> Self {
        Self { troubled_us: vec![0; gates], ..Self::default() }
    }

    /// An event is on the disk.
    pub fn durable(&mut self, gate: usize, event: &str) {
        self.durable.insert((gate, event.to_owned()));
    }

    /// Whether it is.
    pub fn is_durable(&self, gate: usize, event: &str) -> bool {
        self.durable.contains(&(gate, event.to_owned()))
    }

    /// The relay closed for this; false if it did before.
    pub fn pulsed(&mut self, gate: usize, name: &str) -> bool {
        name.starts_with("free/") || self.pulses.insert((gate, name.to_owned()))
    }

    /// The cloud was copied away.
    pub fn backed_up(&mut self) {
        self.at_backup.clone_from(&self.revoked);
        self.recounts = 0;
        self.rules.clear();
    }

    /// The cloud was put back: what it said since then nobody has heard from it.
    pub fn restored(&mut self) {
        self.revoked.clone_from(&self.at_backup);
        self.recount_lost |= self.recounts > 0;
        self.rules_lost.append(&mut self.rules);
        self.begins.clear();
        self.restores += 1;
    }
}

/// Up to which change the cloud's chain goes.
pub fn position(database: &Path) -> anyhow::Result<u64> {
    let db = look_into(database)?;
    let to: i64 = db.query_row("SELECT COALESCE(MAX(to_position), 0) FROM chunks", [], |row| row.get(0))?;
    Ok(to.cast_unsigned())
}

/// How many events a gate has ever written, with those that it has let go of.
pub fn written_by(database: &Path) -> anyhow::Result<i64> {
    let db = look_into(database)?;
    Ok(db.query_row("SELECT COALESCE(MAX(position), 0) FROM events", [], |row| row.get(0))?)
}

/// How many events of a device the cloud holds.
pub fn count_of(database: &Path, device: DeviceId) -> anyhow::Result<i64> {
    let db = look_into(database)?;
    let sql = "SELECT COUNT(*) FROM events WHERE device_id = ?1";
    Ok(db.query_row(sql, [device.to_string()], |row| row.get(0))?)
}

/// All events that the cloud holds, as they were written, by device, epoch and number.
pub(super) fn held_by(database: &Path) -> anyhow::Result<Vec<(Event, Vec<u8>)>> {
    let db = look_into(database)?;
    let held: Vec<Vec<u8>> = db
        .prepare("SELECT bytes FROM events ORDER BY device_id, epoch, seq")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    held.into_iter().map(|bytes| Ok((Event::decode(&bytes)?, bytes))).collect()
}

/// What the dashboard says of a zone.
pub(super) fn shown_of(overview: &Value, zone: ZoneId) -> Option<&Value> {
    let id = zone.to_string();
    overview["zones"].as_array()?.iter().find(|one| one["id"] == id.as_str())
}

pub(super) fn look_into(database: &Path) -> anyhow::Result<Connection> {
    Ok(Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY)?)
}

impl World<'_> {
    /// Looks at everything once more.
    pub fn check_end(&mut self) -> anyhow::Result<()> {
        let mut journals = BTreeMap::new();
        self.check_two_cards()?;
        self.watch.withdrawn.extend(self.watch.two_cards.map(|two| two.copy));
        if let Some((gate, _)) = self.watch.set_back {
            // Its history is evidence, not truth.
            self.watch.withdrawn.insert(gate);
        }
        for gate in 0..self.gates.len() {
            self.watch.figures.lives += self.gates[gate].life;
            self.check_gate(gate, &mut journals)?;
        }
        let held = self.check_cloud(&journals)?;
        let history = fold(&held);
        self.check_numbers(&history)?;
        self.check_resets(&history, &held);
        self.check_passes(&history, &held);
        let back: BTreeSet<EventId> = held.iter().filter_map(|event| event::taken_back(&event.body)).collect();
        self.check_known_uses(&held, &back)?;
        self.check_agreed_uses(&history, &held)?;
        self.check_rights_are_spent(&held);
        self.check_answers(&held)?;
        self.check_reports()?;
        self.watch.figures.events = journals.len() as u64;
        Ok(())
    }

    /// The gate's own journal, and that nothing of it is still to be sent.
    fn check_gate(&mut self, gate: usize, journals: &mut BTreeMap<EventId, Vec<u8>>) -> anyhow::Result<()> {
        let reader = ReplicaReader::open(&self.gates[gate].database())?;
        let report = gate_agent::journal_check::check(&reader)?;
        if let Some(problem) = report.problem
            && !self.is_evidence(gate)
        {
            self.violated(Some(gate), &format!("I9: the journal does not hold: {problem}"));
        }
        let events = journal_of(&reader)?;
        for pair in events.windows(2) {
            let (before, after) = (&pair[0].0, &pair[1].0);
            // Signed time alone may say that it is earlier than an unsigned clock made believe.
            let corrected = after.at.trust == Trust::Signed && before.at.trust != Trust::Signed;
            if before.at.boot == after.at.boot && after.at.wall_ms < before.at.wall_ms && !corrected {
                self.violated(Some(gate), &format!("I8: {} is earlier than {}", after.id, before.id));
            }
        }
        for (event, bytes) in events {
            // Two copies of one card begin alike.
            let alike = journals.get(&event.id) == Some(&bytes) && self.is_evidence(gate);
            if journals.insert(event.id, bytes).is_some() && !alike {
                self.violated(Some(gate), &format!("I2: {} was given twice", event.id));
            }
        }
        let Some(agent) = &self.gates[gate].agent else {
            self.violated(Some(gate), "I11: the agent does not run although everything was mended");
            return Ok(());
        };
        let (pending, floor) = agent.with_writer(|replica| (replica.pending_count(), replica.floor_ms()));
        let (pending, floor) = (pending?, floor?);
        let withdrawn = self.watch.withdrawn.contains(&gate);
        if withdrawn {
            if !self.is_evidence(gate) {
                self.check_withdrawn(gate);
            }
        } else if pending != 0 {
            self.violated(Some(gate), &format!("I3: {pending} events were never taken by the cloud"));
        }
        let true_ms = self.true_ms();
        if floor > true_ms + 1_000 {
            self.violated(Some(gate), &format!("I8: the time floor is {} ms ahead of the time", floor - true_ms));
        }
        let aside = reader.quarantined()?;
        if let Some((event, why)) = aside.first()
            && !withdrawn
        {
            self.violated(Some(gate), &format!("I3: {event} was put aside: {why}"));
        }
        Ok(())
    }

    /// A withdrawn device has heard of it, and lets nobody in.
    fn check_withdrawn(&mut self, gate: usize) {
        let decides = self.gates[gate].agent.as_ref().is_some_and(|agent| agent.facts.borrow().not_deciding.is_none());
        let free = self.gates[gate].made.free_exit;
        if decides && !free && self.watch.restores == 0 {
            self.violated(Some(gate), "A-68: the device was withdrawn and still decides");
        }
    }

    /// What this device says is evidence, not truth: it was withdrawn, or its card was set back.
    pub(super) fn is_withdrawn(&self, device: DeviceId) -> bool {
        self.watch.withdrawn.iter().any(|gate| self.gates[*gate].made.enrolled.device == device)
    }

    /// The cloud holds exactly what the gates wrote.
    fn check_cloud(&mut self, journals: &BTreeMap<EventId, Vec<u8>>) -> anyhow::Result<Vec<Event>> {
        let database = self.cloud.as_ref().context("the cloud runs at the end")?.database();
        let held = held_by(&database)?;
        let parked: i64 = look_into(&database)?.query_row("SELECT COUNT(*) FROM parked", [], |row| row.get(0))?;
        if parked != 0 && self.watch.withdrawn.is_empty() {
            self.violated(None, &format!("I3: the cloud parked {parked} events of honest gates"));
        }
        let mut events = Vec::new();
        let mut missing: BTreeSet<EventId> = journals.keys().copied().collect();
        self.check_chains(&held);
        for (event, bytes) in held {
            match journals.get(&event.id) {
                Some(written) if *written == bytes => {}
                Some(_) if self.is_withdrawn(event.id.device) => {}
                Some(_) => self.violated(None, &format!("I3: the cloud has another {} than the gate", event.id)),
                None if self.is_withdrawn(event.id.device) => {}
                // The office writes a journal of its own.
                None if self.gates.iter().all(|gate| gate.made.enrolled.device != event.id.device) => {}
                // A gate lets go of what was acknowledged a season ago.
                None if self.leap_ms >= KEEP_MS => {}
                None => self.violated(None, &format!("I3: the cloud has {}, which no gate has", event.id)),
            }
            missing.remove(&event.id);
            events.push(event);
        }
        missing.retain(|event| !self.is_withdrawn(event.device));
        if let Some(first) = missing.first() {
            let count = missing.len();
            self.violated(None, &format!("I3: the cloud misses {count} events, the first is {first}"));
        }
        Ok(events)
    }

    /// What the dashboard shows now; nothing while the cloud is away.
    pub(super) fn overview(&mut self) -> anyhow::Result<Option<Value>> {
        let (path, true_ms) = (format!("/v1/venues/{}/overview", self.template.venue), self.true_ms());
        let Some(cloud) = &mut self.cloud else { return Ok(None) };
        cloud.set_clock(true_ms);
        Ok(Some(cloud.send_json("GET", &path, None)?.body))
    }

    /// All say the same number for every zone, and it is the one that follows from the events.
    fn check_numbers(&mut self, history: &History) -> anyhow::Result<()> {
        let overview = self.overview()?.context("the cloud runs at the end")?;
        let pool = history.zones.get(&self.template.pool);
        let counted = pool.map_or(0, |zone| i64::from(zone.count.occupancy()));
        let since = self.watch.anew.get(&self.template.pool).copied().unwrap_or(0);
        let (came, left) = self.watch.inside.get(&self.template.pool).map_or((0, 0), |inside| inside.since(since));
        let really = i64::try_from(came)? - i64::try_from(left)?;
        let told_right = self.watch.withdrawn.is_empty() && !self.watch.exchanged;
        let fair = !self.watch.clocks_lie && self.watch.restores == 0 && told_right;
        if fair && counted < really {
            self.violated(None, &format!("E13: {really} are in the pool, {counted} are counted"));
        }
        for (name, zone) in self.template.zones() {
            let follows = history.zones.get(&zone).map_or(0, |zone| zone.count.occupancy());
            let said = shown_of(&overview, zone);
            let shown = said.and_then(|one| one["occupancy"].as_u64());
            if shown != Some(u64::from(follows)) {
                self.violated(
                    None,
                    &format!("I4: the cloud shows {shown:?} in {name}, {follows} follow from the events"),
                );
            }
            let exact = history.zones.get(&zone).map(|zone| zone.estimate());
            let bounds = said.map(|one| (one["low"].as_u64(), one["high"].as_u64()));
            let follow = exact.map_or((0, 0), |exact| (u64::from(exact.low), u64::from(exact.high)));
            // A fenced device is not heard until somebody has looked.
            let heard = self.watch.set_back.is_none();
            if heard && bounds != Some((Some(follow.0), Some(follow.1))) {
                self.violated(
                    None,
                    &format!("E13: all are heard, the cloud says {bounds:?} in {name}, {follow:?} follow"),
                );
            }
            for gate in 0..self.gates.len() {
                let known = self.gate_counts(gate, zone);
                // What an older backup and an older card have both lost, or only a device that was withdrawn since could
                // say again, nobody but the other gates' counts remembers.
                let both_lost = !self.watch.withdrawn.is_empty() && self.watch.restores > 0;
                let exempt = self.watch.withdrawn.contains(&gate) || self.watch.recount_lost || both_lost;
                if known.is_some_and(|known| known != follows) && !exempt {
                    self.violated(
                        Some(gate),
                        &format!("I4: this gate says {known:?} in {name}, {follows} follow from the events"),
                    );
                }
            }
        }
        Ok(())
    }

    /// Nothing came in that is neither applied nor parked, and every extra use was found by the cloud too.
    fn check_reports(&mut self) -> anyhow::Result<()> {
        let path = format!("/v1/venues/{}/figures", self.template.venue);
        let cloud = self.cloud.as_mut().context("the cloud runs at the end")?;
        let said = cloud.send_json("GET", &path, None)?.body;
        if said["balanced"] != true {
            self.violated(None, &format!("E11: events in are not applied plus parked: {said}"));
        }
        let open = |kind: &str| said["open"][kind].as_u64().unwrap_or(0);
        if let Some((gate, true)) = self.watch.set_back
            && self.watch.restores == 0
            && open("fork") + open("journal_shorter") == 0
        {
            self.violated(Some(gate), &format!("E07: an older card was put back and nobody was told: {said}"));
        }
        let sum = |product: u16| {
            let found = said["double_uses"].as_array().into_iter().flatten();
            let of = found.filter(|one| one["product_id"].as_u64() == Some(product.into()));
            of.filter_map(|one| one["extra_uses"].as_u64()).sum::<u64>()
        };
        let reported = [sum(1), sum(2), sum(3)];
        if reported != self.watch.extra && self.watch.set_back.is_none() {
            let counted = self.watch.extra;
            self.violated(None, &format!("I5: {counted:?} extra uses of the products, the cloud reports {reported:?}"));
        }
        Ok(())
    }

    /// Every zone that begins anew each day did so at its hour, and nobody did it twice.
    fn check_resets(&mut self, history: &History, events: &[Event]) {
        for (zone, at_ms) in self.watch.begins.clone() {
            // What a gate with an older card says is kept aside until somebody has looked.
            if self.watch.set_back.is_some() {
                break;
            }
            let rests = history.zones.get(&zone).map(|zone| zone.count.basis().at_ms);
            if rests.is_none_or(|rests| rests < at_ms) {
                self.violated(None, &format!("D54: {zone} was to begin anew at {at_ms}, it rests on {rests:?}"));
            }
        }
        // Each count by people may win over a reset that had not heard of it, which is made once more then.
        let mut made: BTreeMap<_, u64> = BTreeMap::new();
        for event in events {
            if let EventBody::Recounted(recount) = &event.body
                && recount.before.is_some()
            {
                let times = made.entry((event.id.device, recount.zone, recount.at_ms)).or_default();
                *times += 1;
                if recount.at_ms % 60_000 != 0 {
                    self.violated(None, &format!("D54: {} lets a zone begin anew between two minutes", event.id));
                }
                if *times > 1 + self.watch.recounts_ever {
                    self.violated(None, &format!("D54: {} lets a zone begin anew again, {times} times", event.id));
                }
            }
        }
    }

    fn gate_counts(&self, gate: usize, zone: ZoneId) -> Option<u32> {
        let facts = self.gates[gate].agent.as_ref()?.facts.borrow();
        let status = facts.replica.as_ref()?;
        status.zones.iter().find(|one| one.row.id == zone).map(|one| one.occupancy)
    }

    /// What became of each pass and of everybody who went through.
    fn check_passes(&mut self, history: &History, events: &[Event]) {
        let by_id: BTreeMap<String, &Event> = events.iter().map(|event| (event.id.to_string(), event)).collect();
        let back: BTreeSet<EventId> = events.iter().filter_map(|event| event::taken_back(&event.body)).collect();
        for (gate, name) in std::mem::take(&mut self.watch.crossings) {
            if name.starts_with("free/") || self.watch.withdrawn.contains(&gate) {
                continue;
            }
            match by_id.get(&name) {
                // A backup from before a season has lost what gates have let go since.
                None if self.watch.restores > 0 && self.leap_ms >= KEEP_MS => {}
                None => {
                    self.violated(Some(gate), &format!("somebody went through by {name}, which nobody has recorded"))
                }
                Some(event) if back.contains(&event.id) => {
                    self.violated(Some(gate), &format!("somebody went through by {name}, and it was taken back"));
                }
                Some(_) => {}
            }
        }
        let told: BTreeSet<EventId> = events.iter().filter_map(about).collect();
        for event in events {
            let EventBody::Authorised { input, admission, .. } = &event.body else { continue };
            let gate = self.gates.iter().position(|gate| gate.made.gate == event.gate).unwrap_or(0);
            let pulsed = !self.watch.pulsed(gate, &event.id.to_string());
            if !pulsed && !told.contains(&event.id) && !self.watch.withdrawn.contains(&gate) {
                self.violated(Some(gate), &format!("{} took a use, did not open, and nobody was told", event.id));
            }
            let Some(pass) = &admission.pass else { continue };
            if let Some(first) = admission.reopens.and_then(|first| by_id.get(&first.to_string())) {
                let ran_ms = (input.now.mono_us.cast_signed() - first.at.mono_us.cast_signed()) / 1000;
                let same_boot = input.now.boot == first.at.boot;
                let ago_ms = if same_boot { ran_ms } else { input.now.wall_ms - first.at.wall_ms };
                let again =
                    matches!(&first.body, EventBody::Authorised { admission, .. } if admission.reopens.is_some());
                if again || !(0..=AGAIN_MS).contains(&ago_ms) {
                    let (id, first) = (event.id, first.id);
                    self.violated(Some(gate), &format!("E05: {id} makes up for {first} after {ago_ms} ms"));
                }
            }
            let revoked = self.watch.revoked.get(&pass.cti.to_string());
            if admission.direction == Direction::In && revoked.is_some_and(|from| input.view.position >= *from) {
                let (id, at) = (event.id, input.view.position);
                self.violated(
                    Some(gate),
                    &format!("I6: {id} let a revoked pass in at change {at}, revoked at {revoked:?}"),
                );
            }
        }
        for (pass, history) in &history.passes {
            let cti = pass.cti.to_string();
            let Some(made) = self.template.passes.iter().find(|one| one.cti == cti) else { continue };
            // What is allowed is allowed in all, or on each day.
            let (allowed, per_day) = made.allowed();
            let mut on_days: BTreeMap<i32, BTreeMap<_, u64>> = BTreeMap::new();
            for used in history.admissions.values().filter(|used| used.charged && !used.taken_back) {
                let day = if per_day { used.service_day.0 } else { 0 };
                *on_days.entry(day).or_default().entry(used.gate).or_default() += 1;
            }
            for by_gate in on_days.values() {
                let total: u64 = by_gate.values().sum();
                let extra = total.saturating_sub(allowed);
                self.watch.figures.admissions += total;
                self.watch.figures.extra_uses += extra;
                self.watch.extra[usize::from(made.product - 1).min(2)] += extra;
                let most = by_gate.values().copied().max().unwrap_or(0);
                if most > allowed && self.watch.set_back.is_none() {
                    self.violated(
                        None,
                        &format!("I5: pass {cti} was used {most} times at one gate, {allowed} are allowed"),
                    );
                }
            }
        }
        self.watch.figures.unknown =
            events.iter().filter(|e| matches!(e.body, EventBody::NotOpened { unknown: true, .. })).count() as u64;
    }
}

/// Which admission an event tells the outcome of.
fn about(event: &Event) -> Option<EventId> {
    let (EventBody::Opened { of, .. } | EventBody::NotOpened { of, .. } | EventBody::Annulled { of }) = &event.body
    else {
        return None;
    };
    Some(*of)
}
