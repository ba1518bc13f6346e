//! The decision loop's side of the database: one view per presentation, read in one moment.
//!
//! Every look-up goes by a key through a prepared statement, and the same look-ups are made whether a pass has rows or
//! not, so that a decision costs the same with a thousand passes and with a million.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gate_core::event::Event;
use gate_core::ids::{Direction, EventId, PassId, ZoneId};
use gate_core::mutant::{self, Mutant};
use gate_core::pass::{Claims, Finding, Keyring, ScannedPass};
use gate_core::product::{OfflineScope, Product};
use gate_core::statement::{Statement, StatementBody};
use gate_core::sync::v1::{GateRow, VendorRow, VenueRow, ZoneRow};
use gate_core::time::{DayRule, Now, ServiceDay};
use gate_core::view::{LastUse, PassRow, PassStanding, ReplicaView, Unopened, Uses, ZoneSpace};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::keys::Progress;
use super::record::{USE_COLUMNS, UseRow, direction_of};
use super::{Fault, ReplicaError, counts, keys, read_identity, schema, statements};
use crate::identity::Identity;

/// How deep zones may nest; a longer chain is a circle.
const NESTING: usize = 16;
/// A replica may be this much newer than the clock before the clock is what is wrong, milliseconds.
pub(super) const AHEAD_MS: i64 = 5 * 60 * 1000;

/// A read-only connection. It may live in another thread than the writer.
#[derive(Debug)]
pub struct ReplicaReader {
    db: Connection,
    path: PathBuf,
    identity: Option<Identity>,
    settings: Settings,
}

/// Settings that were read and decoded, as long as the replica stands at the change at which they were: applying is the
/// only way in which they become others.
#[derive(Debug, Default)]
struct Settings {
    stand: Option<(i64, u64)>,
    venue: Option<VenueRow>,
    zones: BTreeMap<ZoneId, ZoneRow>,
    vendors: BTreeMap<String, VendorRow>,
    products: BTreeMap<u16, Product>,
}

impl Settings {
    /// Forgets what may be old. Within the transaction in which the replica stands there.
    fn stand_at(&mut self, progress: &Progress) {
        let stand = Some((progress.side, progress.position));
        if self.stand != stand {
            *self = Self { stand, ..Self::default() };
        }
    }
}

/// What is known under a key, read once. What is not there is looked for again.
fn known<K: Ord, V: Clone>(
    rows: &mut BTreeMap<K, V>,
    key: K,
    read: impl FnOnce() -> rusqlite::Result<Option<V>>,
) -> rusqlite::Result<Option<V>> {
    if let Some(row) = rows.get(&key) {
        return Ok(Some(row.clone()));
    }
    let row = read()?;
    if let Some(row) = &row {
        rows.insert(key, row.clone());
    }
    Ok(row)
}

impl ReplicaReader {
    /// Opens a database for reading, also while a gate-agent writes it.
    pub fn open(path: &Path) -> Result<Self, ReplicaError> {
        let db = schema::connect_reader(path)?;
        let identity = read_identity(&db).map_err(|e| Fault::Sql(e).at(path))?;
        Ok(Self { db, path: path.to_path_buf(), identity, settings: Settings::default() })
    }

    /// Who this device is; `None` before enrolment.
    pub fn identity(&mut self) -> Result<Option<Identity>, ReplicaError> {
        if self.identity.is_none() {
            self.identity = self.moment(|db| Ok(read_identity(db)?))?;
        }
        Ok(self.identity.clone())
    }

    /// Grows whenever a statement was taken: read the key ring again only then.
    pub fn keyring_version(&self) -> Result<u64, ReplicaError> {
        self.moment(|db| Ok(keys::mark_integer(db, keys::KEYRING)?.unwrap_or(0).cast_unsigned()))
    }

    /// All issuing keys, each from a statement that is verified under the pinned root again.
    pub fn keyring(&mut self) -> Result<Keyring, ReplicaError> {
        let Some(identity) = self.identity()? else { return Ok(Keyring::default()) };
        self.moment(|db| {
            let mut statement =
                db.prepare_cached("SELECT value FROM statements WHERE subject >= 'issuer/' AND subject < 'issuer0'")?;
            let mut rows = statement.query([])?;
            let mut ring = Keyring::default();
            while let Some(row) = rows.next()? {
                let stated = Statement::open(
                    row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?,
                    identity.venue,
                    &identity.root,
                )
                .map_err(|e| ReplicaError::Refused(e.to_string()))?;
                match stated.body {
                    StatementBody::Issuer(issuer) => ring.insert(issuer),
                    StatementBody::Device(_)
                    | StatementBody::Duty(_)
                    | StatementBody::Chain(_)
                    | StatementBody::Time(_) => {}
                }
            }
            Ok(ring)
        })
    }

    /// Whether the venue withdrew this device's key.
    pub fn device_revoked(&mut self) -> Result<bool, ReplicaError> {
        let Some(identity) = self.identity()? else { return Ok(false) };
        self.moment(|db| statements::withdraws(db, &identity))
    }

    /// This gate's row; `None` before the first changes arrived.
    pub fn gate(&mut self) -> Result<Option<GateRow>, ReplicaError> {
        let Some(identity) = self.identity()? else { return Ok(None) };
        self.moment(|db| {
            let side = keys::progress(db)?.side;
            Ok(keys::setting(db, side, keys::GATE, identity.gate.0.as_bytes())?)
        })
    }

    /// What the replica says that matters for one presentation.
    pub fn view(&mut self, pass: &ScannedPass, gate: &GateRow, now: Now) -> Result<ReplicaView, ReplicaError> {
        let identity = self.identity()?.ok_or(ReplicaError::NotEnrolled)?;
        let claims = match &pass.finding {
            Finding::Genuine { claims, .. } => Some(claims),
            Finding::Defective(_) => None,
        };
        let mut settings = std::mem::take(&mut self.settings);
        let view = self.moment(|db| Ok(read_view(db, &identity, &mut settings, claims, gate, now)?))?;
        self.settings = settings;
        Ok(view)
    }

    /// Checks the whole file as opening it for writing does: structure and content.
    pub fn check_whole(&self) -> Result<(), ReplicaError> {
        let why = self.moment(|db| Ok(schema::find_damage(db)?))?;
        match why {
            None => Ok(()),
            Some(why) => Err(ReplicaError::Damaged { path: self.path.clone(), why }),
        }
    }

    /// The sum over all rows, as the last transaction left it: two databases with the same sum hold the same rows.
    pub fn digest(&self) -> Result<[u8; 16], ReplicaError> {
        self.moment(|db| Ok(super::checked::Sum::stored(db)?.bytes()))
    }

    /// One event of this journal, as it was written; `None` if it is not here.
    pub fn event(&self, id: EventId) -> Result<Option<Event>, ReplicaError> {
        self.moment(|db| {
            let Some(position) = keys::position_of(&keys::read_epochs(db)?, id) else { return Ok(None) };
            Ok(keys::event_at(db, position)?)
        })
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads in one transaction: everything as it stood at one moment.
    pub(crate) fn moment<T>(&self, read: impl FnOnce(&Connection) -> Result<T, Fault>) -> Result<T, ReplicaError> {
        let read = || {
            let tx = Transaction::new_unchecked(&self.db, TransactionBehavior::Deferred)?;
            let value = read(&tx)?;
            tx.commit()?;
            Ok(value)
        };
        read().map_err(|fault: Fault| fault.at(&self.path))
    }
}

fn read_view(
    db: &Connection,
    identity: &Identity,
    settings: &mut Settings,
    claims: Option<&Claims>,
    gate: &GateRow,
    now: Now,
) -> rusqlite::Result<ReplicaView> {
    let progress = keys::progress(db)?;
    let Progress { position, side, .. } = progress;
    settings.stand_at(&progress);
    if settings.venue.is_none() {
        settings.venue = keys::setting(db, side, keys::VENUE, &[])?;
    }
    let day_rule = settings
        .venue
        .as_ref()
        .map_or_else(|| DayRule { time_zone: "UTC".to_owned(), boundary_min: 0 }, |venue| venue.day_rule.clone());
    let zones = &mut settings.zones;
    let spaces =
        spaces_of(db, gate, |zone| known(zones, zone, || keys::setting(db, side, keys::ZONE, zone.0.as_bytes())))?;
    let mut view = ReplicaView {
        venue: identity.venue_code.clone(),
        day_rule,
        age_ms: age_ms(db, now)?,
        position,
        vendor: None,
        row: None,
        product: None,
        uses: Uses::default(),
        spaces: spaces.into_iter().map(|(_, space)| space).collect(),
        right_gates: Vec::new(),
    };
    let Some(claims) = claims else { return Ok(view) };
    let code = claims.vendor.as_str();
    let vendor =
        known(&mut settings.vendors, code.to_owned(), || keys::setting(db, side, keys::VENDOR, code.as_bytes()))?;
    view.vendor = vendor.map(|vendor| vendor.standing);
    view.product = known(&mut settings.products, claims.product, || {
        keys::setting(db, side, keys::PRODUCT, &claims.product.to_be_bytes())
    })?;
    let id = claims.id();
    view.row = pass_row(db, side, &id)?;
    if mutant::active(Mutant::IgnoreRevocation) {
        view.row.iter_mut().for_each(|row| row.standing = PassStanding::Live);
    }
    let today = view.day_rule.local(now.wall_ms).ok().map(|local| local.day);
    view.uses = uses(db, side, &id, today, now)?;
    if let Some(product) = &view.product {
        let elsewhere = product.offline_scope == OfflineScope::HomeGate && product.home_gate != Some(gate.id);
        if elsewhere || !leads_to(product, view.spaces.iter().map(|space| space.zone)) {
            view.right_gates = right_gates(db, side, product)?;
        }
    }
    Ok(view)
}

/// How old the replica is. Unknown if nothing signed was ever heard, or if the clock stands before what was heard.
pub(crate) fn age_ms(db: &Connection, now: Now) -> rusqlite::Result<Option<i64>> {
    let as_of = keys::mark_integer(db, keys::AS_OF)?;
    Ok(as_of.map(|as_of| now.wall_ms.saturating_sub(as_of)).filter(|age| *age >= -AHEAD_MS).map(|age| age.max(0)))
}

fn pass_row(db: &Connection, side: i64, pass: &PassId) -> rusqlite::Result<Option<PassRow>> {
    let mut statement = db.prepare_cached("SELECT value FROM passes WHERE side = ?1 AND pass = ?2")?;
    let mut rows = statement.query(rusqlite::params![side, keys::pass_key(pass)])?;
    match rows.next()? {
        None => Ok(None),
        Some(row) => keys::decode(row.get_ref(0)?.as_blob()?).map(Some),
    }
}

/// The zones a gate leads through, its own first, with their room.
pub(crate) fn spaces(db: &Connection, side: i64, gate: &GateRow) -> rusqlite::Result<Vec<(ZoneRow, ZoneSpace)>> {
    spaces_of(db, gate, |zone| keys::setting(db, side, keys::ZONE, zone.0.as_bytes()))
}

/// The same, with zones' rows from wherever they are.
fn spaces_of(
    db: &Connection,
    gate: &GateRow,
    mut row_of: impl FnMut(ZoneId) -> rusqlite::Result<Option<ZoneRow>>,
) -> rusqlite::Result<Vec<(ZoneRow, ZoneSpace)>> {
    let mut found = Vec::new();
    let mut next = Some(gate.zone);
    while let Some(zone) = next.filter(|_| found.len() < NESTING) {
        let Some(row) = row_of(zone)? else { break };
        let (generation, demand) = zone_count(db, zone)?;
        let held = row.rights_holder == Some(gate.id);
        let rights_held = if held { row.capacity.saturating_sub(occupancy(demand)) } else { 0 };
        let space = ZoneSpace { zone, rights_held, best_effort: row.best_effort, generation };
        next = row.parent;
        found.push((row, space));
    }
    Ok(found)
}

/// A zone's recount generation and its number.
pub(crate) fn zone_count(db: &Connection, zone: ZoneId) -> rusqlite::Result<(u64, i64)> {
    let row = keys::numbers(db, keys::ZONE_NUMBER, zone.0.as_bytes())?;
    Ok(row.map_or((0, 0), |(generation, demand)| (generation.cast_unsigned(), demand)))
}

/// What is in a zone, never below zero.
pub(crate) fn occupancy(demand: i64) -> u32 {
    u32::try_from(demand.max(0)).unwrap_or(u32::MAX)
}

fn leads_to(product: &Product, mut zones: impl Iterator<Item = ZoneId>) -> bool {
    product.zones.is_empty() || zones.any(|zone| product.zones.contains(&zone))
}

/// Names of the entrances that would take a product.
fn right_gates(db: &Connection, side: i64, product: &Product) -> rusqlite::Result<Vec<String>> {
    let mut names = Vec::new();
    for gate in keys::settings::<GateRow>(db, side, keys::GATE)? {
        let zones = spaces(db, side, &gate)?;
        let home = product.offline_scope != OfflineScope::HomeGate || product.home_gate == Some(gate.id);
        if home && gate.direction == Direction::In && leads_to(product, zones.iter().map(|(row, _)| row.id)) {
            names.push(gate.name);
        }
    }
    names.sort();
    Ok(names)
}

/// A use in the order in which uses happened.
struct Seen {
    event: Vec<u8>,
    row: UseRow,
    /// This device's own uses never stand before an earlier one of its own, whatever the clock said.
    order_ms: i64,
}

impl Seen {
    fn rank(&self) -> (i64, i64, i64, &[u8]) {
        (self.order_ms, self.row.own, self.row.at_ms, &self.event)
    }
}

fn uses(db: &Connection, side: i64, pass: &PassId, today: Option<ServiceDay>, now: Now) -> rusqlite::Result<Uses> {
    let mut statement = db.prepare_cached(&format!("SELECT event, {USE_COLUMNS} FROM uses WHERE pass = ?1"))?;
    let mut rows = statement.query([keys::pass_key(pass)])?;
    let dated = super::time_reset::dated(db, now)?;
    let mut seen = Vec::new();
    while let Some(row) = rows.next()? {
        let use_row = UseRow::read(row, 1)?;
        if !use_row.annulled {
            seen.push(Seen { event: row.get(0)?, order_ms: dated(use_row.at_ms), row: use_row });
        }
    }
    seen.sort_by_key(|seen| seen.row.own);
    let mut latest = i64::MIN;
    for own in seen.iter_mut().filter(|seen| seen.row.own > 0) {
        latest = latest.max(own.order_ms);
        own.order_ms = latest;
    }
    let charged = seen.iter().filter(|seen| seen.row.charged);
    let today = today.map(|day| i64::from(day.0));
    let newest = seen.iter().max_by_key(|seen| seen.rank());
    let told = |seen: &Seen| -> rusqlite::Result<LastUse> {
        let row: Option<GateRow> = keys::setting(db, side, keys::GATE, &seen.row.gate)?;
        Ok(LastUse {
            at_ms: dated(seen.row.at_ms),
            gate: keys::gate_of(seen.row.gate),
            gate_name: row.map_or_else(String::new, |row| row.name),
            direction: direction_of(seen.row.direction),
            elapsed_ms: elapsed_ms(db, seen.row.own, now)?,
        })
    };
    let last = newest.map(told).transpose()?;
    // Nearly always it is the newest one that charged the pass: it is said once.
    let unless_last = |one: Option<&Seen>| {
        one.filter(|one| newest.is_some_and(|newest| newest.event != one.event)).map(told).transpose()
    };
    let first_charged = unless_last(charged.clone().min_by_key(|seen| seen.rank()))?;
    let newest_charged = unless_last(charged.clone().max_by_key(|seen| seen.rank()))?;
    Ok(Uses {
        total: count(charged.clone().count()),
        today: count(charged.filter(|seen| Some(seen.row.day) == today).count()),
        inside: last.as_ref().is_some_and(|last| last.direction == Direction::In),
        last,
        first_charged,
        newest_charged,
        unopened: unopened(db, &seen, now)?,
    })
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// This device's newest admission of the pass, if nobody can know whether the gate opened for it and it was not presented
/// again. While gate-io has still to say so, the use stands: if it then says that nothing opened, the use is free again, and
/// whoever had made up for it meanwhile would have used none.
fn unopened(db: &Connection, seen: &[Seen], now: Now) -> rusqlite::Result<Option<Unopened>> {
    let Some(newest) = seen.iter().filter(|seen| seen.row.own > 0).max_by_key(|seen| seen.row.own) else {
        return Ok(None);
    };
    let outcome = keys::numbers(db, keys::UNSETTLED, &newest.row.own.to_be_bytes())?.map(|(outcome, _)| outcome);
    let unsettled = outcome == Some(super::record::UNKNOWN);
    let again = newest.row.reopens.is_some() && !mutant::active(Mutant::RepresentForever);
    if again || !unsettled {
        return Ok(None);
    }
    let epochs = keys::read_epochs(db)?;
    let Some(event) = keys::id_at(&epochs, newest.row.own) else { return Ok(None) };
    // What another device counted, this one can't give back.
    let ours = epochs.last().is_some_and(|now| now.device == event.device);
    let places = if ours { counts::places(db, newest.row.own, event)? } else { vec![] };
    let elapsed_ms = elapsed_ms(db, newest.row.own, now)?;
    let at_ms = super::time_reset::dated(db, now)?(newest.row.at_ms);
    Ok(Some(Unopened { event, at_ms, places, elapsed_ms }))
}

/// How long ago by the monotonic clock the event at a position of this journal was; `None` for another device's (position 0),
/// for one of another boot, and for one that this journal has let go of.
fn elapsed_ms(db: &Connection, position: i64, now: Now) -> rusqlite::Result<Option<u64>> {
    let at = keys::event_at(db, position)?.map(|event| event.at);
    Ok(at.filter(|at| at.boot == now.boot).map(|at| now.mono_us.saturating_sub(at.mono_us) / 1000))
}

/// Canonical events of a journal in order, one at a time.
impl ReplicaReader {
    /// Calls `each` with every event's canonical bytes in the journal's order, until it says stop.
    pub fn journal<E>(&self, mut each: impl FnMut(&[u8]) -> Result<(), E>) -> Result<Result<(), E>, ReplicaError> {
        self.moment(|db| {
            let mut statement = db.prepare("SELECT bytes FROM events ORDER BY position")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let bytes = match row.get_ref(0)? {
                    ValueRef::Blob(bytes) => bytes,
                    ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) | ValueRef::Text(_) => &[],
                };
                if let Err(stop) = each(bytes) {
                    return Ok(Err(stop));
                }
            }
            Ok(Ok(()))
        })
    }

    /// Heads of this device that the cloud signed for and that are not this journal's: each id, and whether the journal
    /// holds another event of that name.
    pub fn strangers(&self) -> Result<Vec<(EventId, bool)>, ReplicaError> {
        let device = self.identity.as_ref().map(|identity| identity.device);
        self.moment(|db| {
            let epochs = keys::read_epochs(db)?;
            let mut statement = db.prepare("SELECT epoch, seq FROM strangers ORDER BY epoch")?;
            let rows = statement.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
            let mut found = Vec::new();
            for row in rows {
                let (epoch, seq) = row?;
                if let Some(device) = device {
                    let id = EventId { device, epoch: epoch.cast_unsigned(), seq: seq.cast_unsigned() };
                    found.push((id, keys::position_of(&epochs, id).is_some()));
                }
            }
            Ok(found)
        })
    }

    /// The head after which the journal begins since it was pruned, and every head that the cloud signed for.
    pub fn acknowledged(&self) -> Result<(Option<gate_core::event::Head>, Vec<gate_core::event::Head>), ReplicaError> {
        self.moment(super::prune::acknowledged)
    }
}
