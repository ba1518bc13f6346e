//! Recording an event: its bytes and what it means for uses, counts and openings, in one transaction. Everything else
//! this device knows about itself is derived from the events here, so that salvaged events give the same rows again.
//! That it waits to be sent needs no row of its own (`outbox.rs`).

use gate_core::event::{self, Event, EventBody};
use gate_core::ids::{Direction, EventId, LaneId, PassId};
use gate_core::journal::SealedEvent;
use gate_core::mutant::{self, Mutant};
use gate_core::occupancy::Basis;
use gate_core::pass::Finding;
use gate_core::time::Now;
use rusqlite::OptionalExtension;
use rusqlite::types::Value;

use super::checked::{Checked, EVENTS, USES};
use super::keys::{blob, event_key, pass_key, use_key};
use super::{Fault, Replica, ReplicaError, counts, keys};

/// gate-io was not asked yet what became of the opening, or has not answered.
pub(crate) const WAITS: i64 = 0;
/// gate-io can't tell.
pub(crate) const UNKNOWN: i64 = 1;
/// The barrier opened for an exit; whether somebody went out is seen later.
pub(crate) const OPEN: i64 = 2;

/// Goes up first: what happened at the lane, and what opens its chain.
const LANE: i64 = 0;
/// Goes up when nothing of the other class waits, and now and then beside it.
const NEWS: i64 = 1;

/// In which order events go up (`outbox.rs`).
fn class_of(body: &EventBody) -> i64 {
    match body {
        EventBody::EpochOpened { .. }
        | EventBody::Authorised { .. }
        | EventBody::Opened { .. }
        | EventBody::NotOpened { .. }
        | EventBody::Passed { .. }
        | EventBody::Annulled { .. }
        | EventBody::Overridden { .. }
        | EventBody::ExitButton { .. }
        | EventBody::Fire { .. }
        | EventBody::Recounted(_) => LANE,
        EventBody::Refused { .. }
        | EventBody::Noise { .. }
        | EventBody::Repeated { .. }
        | EventBody::Health { .. }
        | EventBody::ClockStepped(_)
        | EventBody::LaneClosed { .. } => NEWS,
    }
}

impl Replica {
    /// Writes down what happened. When this returned, a power cut can't undo it; when it failed, nothing was recorded and
    /// the journal goes on from where it was.
    ///
    /// On a full disk only staff and exits are recorded (`reserve.rs`).
    pub fn record(&mut self, lane: Option<LaneId>, now: Now, body: EventBody) -> Result<SealedEvent, ReplicaError> {
        self.record_within_limits(now, body, |replica, body| replica.record_event(lane, now, body))
    }

    /// Writes down what happened, if there is any room.
    fn record_event(&mut self, lane: Option<LaneId>, now: Now, body: EventBody) -> Result<SealedEvent, ReplicaError> {
        // A connection that was closed after a disk failure finds the journal's end first.
        self.connection()?;
        let Some(journal) = &self.journal else { return Err(ReplicaError::NotEnrolled) };
        let mut next = journal.clone();
        let sealed = next.append(lane, now, body);
        let position = keys::position_of(&self.epochs, sealed.event.id)
            .ok_or_else(|| self.damaged("the journal's epoch has no row"))?;
        let result = if mutant::active(Mutant::TwoTransactions) {
            self.write(|checked| keep(checked, position, &sealed))
                .and_then(|()| self.write(|checked| mean(checked, position, &sealed)))
        } else {
            self.write(|checked| store(checked, position, &sealed))
        };
        match result {
            Ok(()) => {
                self.journal = Some(next);
                self.doubt = None;
                if let Some(tell) = &self.recorded.0 {
                    tell();
                }
                Ok(sealed)
            }
            Err(error) => {
                self.doubt = Some(next);
                Err(error)
            }
        }
    }
}

/// Stores an event at its position with everything it means.
pub(crate) fn store(checked: &mut Checked<'_>, position: i64, sealed: &SealedEvent) -> Result<(), Fault> {
    keep(checked, position, sealed)?;
    mean(checked, position, sealed)
}

/// The event itself. That it waits to be sent follows from its position.
fn keep(checked: &mut Checked<'_>, position: i64, sealed: &SealedEvent) -> Result<(), Fault> {
    let class = class_of(&sealed.event.body);
    checked.put(&EVENTS, &[position.into(), class.into(), blob(&sealed.hash.0), blob(&sealed.bytes)])?;
    Ok(())
}

/// What the event means for uses, counts and openings.
fn mean(checked: &mut Checked<'_>, position: i64, sealed: &SealedEvent) -> Result<(), Fault> {
    let event = &sealed.event;
    match &event.body {
        EventBody::Authorised { admission, input, .. } => {
            if let Some(pass) = &admission.pass {
                let row = UseRow {
                    own: position,
                    gate: *event.gate.0.as_bytes(),
                    at_ms: event.at.wall_ms,
                    day: i64::from(admission.service_day.0),
                    direction: direction_number(admission.direction),
                    charged: admission.charges_use,
                    annulled: false,
                    ends_s: ends_s(&input.pass.finding),
                    reopens: admission.reopens.map(event_key),
                };
                row.put(checked, pass, event.id)?;
            }
        }
        EventBody::Opened { of, .. } | EventBody::Passed { of: Some(of), .. } => {
            complete(checked, &event.body, *of, event.lane)?;
        }
        EventBody::NotOpened { of, unknown: true } => {
            // What is known to have opened stays so, whatever is said later.
            if let Some(asked) = position_here(checked, *of)?
                && let Some((outcome, direction)) = keys::numbers(checked.db(), keys::UNSETTLED, &asked.to_be_bytes())?
                && outcome != OPEN
            {
                put_unsettled(checked, asked, (UNKNOWN, direction), event.lane)?;
            }
        }
        EventBody::Recounted(recount) => counts::rest_on(checked, recount.zone, &Basis::of(event.id, recount), &[])?,
        EventBody::NotOpened { unknown: false, .. }
        | EventBody::Annulled { .. }
        | EventBody::Overridden { .. }
        | EventBody::ExitButton { .. }
        | EventBody::EpochOpened { .. }
        | EventBody::Passed { of: None, .. }
        | EventBody::Refused { .. }
        | EventBody::Noise { .. }
        | EventBody::Repeated { .. }
        | EventBody::Fire { .. }
        | EventBody::Health { .. }
        | EventBody::ClockStepped(_)
        | EventBody::LaneClosed { .. } => {}
    }
    if let Some(counted) = event::counts_of(&event.body) {
        let direction = counted.direction;
        put_unsettled(checked, position, (WAITS, direction_number(direction)), event.lane)?;
        let at_once = match direction {
            Direction::In => !mutant::active(Mutant::RightsNotSpent),
            Direction::Out => mutant::active(Mutant::ExitsCountAtOnce),
        };
        if at_once {
            counts::move_through(checked, position, event)?;
        }
    }
    if let Some(first) = event::takes_over(event)
        && !mutant::active(Mutant::PlaceKept)
        && let Some(first_at) = position_here(checked, first)?
    {
        counts::move_back(checked, first_at, first)?;
    }
    match event::taken_back(&event.body) {
        Some(of) => take_back(checked, of),
        None => Ok(()),
    }
}

/// Counts an exit that did not count yet.
fn count_exit(checked: &mut Checked<'_>, position: i64, event: &Event) -> Result<(), Fault> {
    let leads_out = event::counts_of(&event.body).is_some_and(|counted| counted.direction == Direction::Out);
    if leads_out && !counts::is_counted(checked, position)? {
        counts::move_through(checked, position, event)?;
    }
    Ok(())
}

/// Something opened, or went through. An exit counts from now on if it is known to have been made.
fn complete(checked: &mut Checked<'_>, body: &EventBody, of: EventId, lane: Option<LaneId>) -> Result<(), Fault> {
    let Some(position) = position_here(checked, of)? else { return Ok(()) };
    let name = position.to_be_bytes();
    let Some((_, number)) = keys::numbers(checked.db(), keys::UNSETTLED, &name)? else { return Ok(()) };
    let direction = direction_of(number);
    if event::completes(body, direction).is_none() {
        // An entry is complete by whatever opened; only an exit waits for more.
        if direction == Direction::Out {
            put_unsettled(checked, position, (OPEN, number), lane)?;
        }
        return Ok(());
    }
    keys::remove_state(checked, keys::UNSETTLED, &name)?;
    if direction == Direction::Out
        && let Some((_, opening)) = earlier(checked, of)?
    {
        count_exit(checked, position, &opening)?;
    }
    Ok(())
}

/// When a pass ends, Unix seconds; 0 if it is none.
fn ends_s(finding: &Finding) -> i64 {
    match finding {
        Finding::Genuine { claims, .. } => claims.expires,
        Finding::Defective(_) => 0,
    }
}

/// Notes an opening whose end is not known: what is known, and which way it leads. One without a row opened or was taken
/// back.
fn put_unsettled(
    checked: &mut Checked<'_>,
    position: i64,
    outcome_and_direction: (i64, i64),
    lane: Option<LaneId>,
) -> rusqlite::Result<()> {
    let name = position.to_be_bytes();
    keys::put_state(checked, keys::UNSETTLED, &name, outcome_and_direction, keys::lane_value(lane))
}

/// A row of the table `uses`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct UseRow {
    /// Position in this device's journal; 0 for what others reported.
    pub(crate) own: i64,
    pub(crate) gate: [u8; 16],
    pub(crate) at_ms: i64,
    pub(crate) day: i64,
    pub(crate) direction: i64,
    pub(crate) charged: bool,
    pub(crate) annulled: bool,
    /// When the pass ends, Unix seconds; 0 if that is not known.
    pub(crate) ends_s: i64,
    pub(crate) reopens: Option<[u8; 32]>,
}

/// The columns of [`UseRow`] in its order.
pub(crate) const USE_COLUMNS: &str = "own, gate, at_ms, day, direction, charged, annulled, ends_s, reopens";

impl UseRow {
    /// Reads the columns that begin at `from`.
    pub(crate) fn read(row: &rusqlite::Row<'_>, from: usize) -> rusqlite::Result<Self> {
        Ok(Self {
            own: row.get(from)?,
            gate: row.get(from + 1)?,
            at_ms: row.get(from + 2)?,
            day: row.get(from + 3)?,
            direction: row.get(from + 4)?,
            charged: row.get(from + 5)?,
            annulled: row.get(from + 6)?,
            ends_s: row.get(from + 7)?,
            reopens: row.get(from + 8)?,
        })
    }

    /// The row about one pass and event, if there is one.
    pub(crate) fn find(checked: &Checked<'_>, pass: &PassId, event: EventId) -> rusqlite::Result<Option<Self>> {
        checked
            .db()
            .prepare_cached(
                "SELECT own, gate, at_ms, day, direction, charged, annulled, ends_s, reopens FROM uses WHERE pass = ?1 AND event = ?2",
            )?
            .query_row(rusqlite::params![pass_key(pass), use_key(checked.db(), event)?], |row| Self::read(row, 0))
            .optional()
    }

    /// Writes the row.
    pub(crate) fn put(&self, checked: &mut Checked<'_>, pass: &PassId, event: EventId) -> rusqlite::Result<()> {
        let key = use_key(checked.db(), event)?;
        checked.put(
            &USES,
            &[
                Value::Blob(pass_key(pass)),
                Value::Blob(key),
                self.own.into(),
                blob(&self.gate),
                self.at_ms.into(),
                self.day.into(),
                self.direction.into(),
                self.charged.into(),
                self.annulled.into(),
                self.ends_s.into(),
                self.reopens.map_or(Value::Null, |key| blob(&key)),
            ],
        )
    }
}

/// How a direction stands in the database.
pub(crate) fn direction_number(direction: Direction) -> i64 {
    match direction {
        Direction::In => 0,
        Direction::Out => 1,
    }
}

/// A direction as it stands in the database.
pub(crate) fn direction_of(number: i64) -> Direction {
    if number == 0 { Direction::In } else { Direction::Out }
}

/// The position of an event of this journal, whether it is still here or not.
fn position_here(checked: &Checked<'_>, of: EventId) -> rusqlite::Result<Option<i64>> {
    Ok(keys::position_of(&keys::read_epochs(checked.db())?, of))
}

/// An earlier event of this journal. `None` if it is not here: a fact about it is recorded all the same.
fn earlier(checked: &Checked<'_>, of: EventId) -> Result<Option<(i64, Event)>, Fault> {
    let Some(position) = position_here(checked, of)? else { return Ok(None) };
    Ok(keys::event_at(checked.db(), position)?.map(|event| (position, event)))
}

/// Takes an event back: its use is free again and its zones are counted back, exactly where they were counted. Once: an
/// annulment after a pulse that never came, or the other way round, says what is known already.
fn take_back(checked: &mut Checked<'_>, of: EventId) -> Result<(), Fault> {
    let Some((position, taken)) = earlier(checked, of)? else { return Ok(()) };
    keys::remove_state(checked, keys::UNSETTLED, &position.to_be_bytes())?;
    // An exit that did not count yet counts and is taken back, so that numbers only grow.
    count_exit(checked, position, &taken)?;
    if let Some(pass) = event::pass_of(&taken.body)
        && let Some(mut row) = UseRow::find(checked, pass, of)?
        && !row.annulled
    {
        row.annulled = true;
        row.put(checked, pass, of)?;
    }
    counts::move_back(checked, position, of)
}
