//! Recording an event: its bytes, its place in the outbox, and what it means for uses, counts and openings, in one
//! transaction. Everything else this device knows about itself is derived from the events here, so that salvaged
//! events give the same rows again.

use gate_core::event::{self, Counted, Event, EventBody};
use gate_core::ids::{Direction, EventId, LaneId, PassId};
use gate_core::journal::SealedEvent;
use gate_core::occupancy::Basis;
use gate_core::time::Now;
use rusqlite::OptionalExtension;
use rusqlite::types::Value;

use super::checked::{Checked, EVENTS, OUTBOX, UNSETTLED, USES};
use super::counts::Passage;
use super::keys::{blob, event_key, pass_key};
use super::{Fault, Replica, ReplicaError, counts, keys};

/// Nothing is known about the opening.
pub(crate) const OUTCOME_NONE: i64 = 0;
/// The gate opened.
pub(crate) const OUTCOME_OPENED: i64 = 1;
/// The gate did not open.
pub(crate) const OUTCOME_NOT_OPENED: i64 = 2;
/// gate-io can't tell.
pub(crate) const OUTCOME_UNKNOWN: i64 = 3;

impl Replica {
    /// Writes down what happened. When this returned, a power cut can't undo it; when it failed, nothing was recorded and
    /// the journal goes on from where it was.
    pub fn record(&mut self, lane: Option<LaneId>, now: Now, body: EventBody) -> Result<SealedEvent, ReplicaError> {
        // A connection that was closed after a disk failure finds the journal's end first.
        self.connection()?;
        let Some(journal) = &self.journal else { return Err(ReplicaError::NotEnrolled) };
        let mut next = journal.clone();
        let sealed = next.append(lane, now, body);
        let position = keys::position_of(&self.epochs, sealed.event.id)
            .ok_or_else(|| self.damaged("the journal's epoch has no row"))?;
        let result = self.write(|checked| store(checked, position, &sealed));
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
    let event = &sealed.event;
    checked.put(&EVENTS, &[position.into(), blob(&sealed.hash.0), blob(&sealed.bytes)])?;
    checked.put(&OUTBOX, &[position.into()])?;
    match &event.body {
        EventBody::Authorised { admission, .. } => {
            if let Some(pass) = &admission.pass {
                let row = UseRow {
                    own: position,
                    gate: *event.gate.0.as_bytes(),
                    at_ms: event.at.wall_ms,
                    day: i64::from(admission.service_day.0),
                    direction: direction_number(admission.direction),
                    charged: admission.charges_use,
                    annulled: false,
                    outcome: OUTCOME_NONE,
                    reopens: admission.reopens.map(event_key),
                };
                row.put(checked, pass, event.id)?;
            }
            checked.put(&UNSETTLED, &[position.into(), keys::lane_value(event.lane)])?;
        }
        EventBody::Overridden { .. } => {
            checked.put(&UNSETTLED, &[position.into(), keys::lane_value(event.lane)])?;
        }
        EventBody::Opened { of } => settle(checked, *of, OUTCOME_OPENED)?,
        EventBody::NotOpened { of, unknown } => {
            settle(checked, *of, if *unknown { OUTCOME_UNKNOWN } else { OUTCOME_NOT_OPENED })?;
        }
        EventBody::Recounted(recount) => counts::rest_on(checked, recount.zone, &Basis::of(event.id, recount), &[])?,
        EventBody::Annulled { .. }
        | EventBody::ExitButton { .. }
        | EventBody::EpochOpened { .. }
        | EventBody::Passed { .. }
        | EventBody::Refused { .. }
        | EventBody::Noise { .. }
        | EventBody::Repeated { .. }
        | EventBody::Fire { .. }
        | EventBody::Health { .. }
        | EventBody::ClockStepped(_)
        | EventBody::LaneClosed { .. } => {}
    }
    if let Some(counted) = event::counts_of(&event.body) {
        let of = (position, event.id);
        let passage = Passage { position, by: event.id, of, at_ms: event.at.wall_ms, counted };
        counts::move_through(checked, &passage)?;
    }
    match event::taken_back(&event.body) {
        Some(of) => take_back(checked, position, event.id, of),
        None => Ok(()),
    }
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
    pub(crate) outcome: i64,
    pub(crate) reopens: Option<[u8; 32]>,
}

/// The columns of [`UseRow`] in its order.
pub(crate) const USE_COLUMNS: &str = "own, gate, at_ms, day, direction, charged, annulled, outcome, reopens";

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
            outcome: row.get(from + 7)?,
            reopens: row.get(from + 8)?,
        })
    }

    /// The row about one pass and event, if there is one.
    pub(crate) fn find(checked: &Checked<'_>, pass: &PassId, event: EventId) -> rusqlite::Result<Option<Self>> {
        checked
            .db()
            .prepare_cached(
                "SELECT own, gate, at_ms, day, direction, charged, annulled, outcome, reopens FROM uses WHERE pass = ?1 AND event = ?2",
            )?
            .query_row(rusqlite::params![pass_key(pass), event_key(event)], |row| Self::read(row, 0))
            .optional()
    }

    /// Writes the row.
    pub(crate) fn put(&self, checked: &mut Checked<'_>, pass: &PassId, event: EventId) -> rusqlite::Result<()> {
        checked.put(
            &USES,
            &[
                Value::Blob(pass_key(pass)),
                blob(&event_key(event)),
                self.own.into(),
                blob(&self.gate),
                self.at_ms.into(),
                self.day.into(),
                self.direction.into(),
                self.charged.into(),
                self.annulled.into(),
                self.outcome.into(),
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

/// An earlier event of this journal. `None` if it is not here: a fact about it is recorded all the same.
fn earlier(checked: &Checked<'_>, of: EventId) -> Result<Option<(i64, Event)>, Fault> {
    let epochs = keys::read_epochs(checked.db())?;
    let Some(position) = keys::position_of(&epochs, of) else { return Ok(None) };
    let bytes: Option<Vec<u8>> = checked
        .db()
        .prepare_cached("SELECT bytes FROM events WHERE position = ?1")?
        .query_row([position], |row| row.get(0))
        .optional()?;
    match bytes {
        None => Ok(None),
        Some(bytes) => Ok(Some((position, keys::decode(&bytes)?))),
    }
}

fn pass_of(event: &Event) -> Option<&PassId> {
    match &event.body {
        EventBody::Authorised { admission, .. } => admission.pass.as_ref(),
        EventBody::EpochOpened { .. }
        | EventBody::Opened { .. }
        | EventBody::NotOpened { .. }
        | EventBody::Passed { .. }
        | EventBody::Annulled { .. }
        | EventBody::Refused { .. }
        | EventBody::Noise { .. }
        | EventBody::Repeated { .. }
        | EventBody::Overridden { .. }
        | EventBody::ExitButton { .. }
        | EventBody::Fire { .. }
        | EventBody::Recounted(_)
        | EventBody::Health { .. }
        | EventBody::ClockStepped(_)
        | EventBody::LaneClosed { .. } => None,
    }
}

/// Notes what became of an opening.
fn settle(checked: &mut Checked<'_>, of: EventId, outcome: i64) -> Result<(), Fault> {
    let Some((position, event)) = earlier(checked, of)? else { return Ok(()) };
    checked.remove(&UNSETTLED, &[position.into()])?;
    if let Some(pass) = pass_of(&event)
        && let Some(mut row) = UseRow::find(checked, pass, of)?
        // What is known to have opened stays so, whatever is said later.
        && row.outcome != OUTCOME_OPENED
    {
        row.outcome = outcome;
        row.put(checked, pass, of)?;
    }
    Ok(())
}

/// Takes an event back: its use is free again and its zones are counted back, exactly where they were counted. Once: an
/// annulment after a pulse that never came, or the other way round, says what is known already.
fn take_back(checked: &mut Checked<'_>, position: i64, by: EventId, of: EventId) -> Result<(), Fault> {
    let Some((taken_at, taken)) = earlier(checked, of)? else { return Ok(()) };
    checked.remove(&UNSETTLED, &[taken_at.into()])?;
    if let Some(pass) = pass_of(&taken)
        && let Some(mut row) = UseRow::find(checked, pass, of)?
        && !row.annulled
    {
        row.annulled = true;
        row.put(checked, pass, of)?;
    }
    if let Some(counted) = event::counts_of(&taken.body)
        && !counts::is_taken_back(checked, taken_at)?
    {
        let direction = match counted.direction {
            Direction::In => Direction::Out,
            Direction::Out => Direction::In,
        };
        let counted = Counted { direction, ..counted };
        let passage = Passage { position, by, of: (taken_at, of), at_ms: taken.at.wall_ms, counted };
        counts::move_through(checked, &passage)?;
    }
    Ok(())
}
