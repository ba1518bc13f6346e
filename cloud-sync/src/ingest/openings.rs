//! What became of everything that let somebody through: opened, taken back, gone through, in whatever order that is heard.

use gate_core::canonical;
use gate_core::ids::{DeviceId, Direction, EventId, GateId, VenueId, ZoneId};
use gate_core::time::ServiceDay;

use super::{News, Refusal, Source, apply, counts, late, uses};
use crate::conflict::{self, Kind};
use crate::store::{DbError, Tx, params};

/// An event that let somebody through.
#[derive(Clone, Debug)]
pub(super) struct Opening {
    pub(super) id: EventId,
    pub(super) gate: GateId,
    pub(super) at_ms: i64,
    pub(super) day: ServiceDay,
    pub(super) direction: Direction,
    /// The zones, and the recount generation each number rested on.
    pub(super) zones: Vec<(ZoneId, u64)>,
    opened: bool,
    /// Whether somebody goes through is seen there: until then it may be taken back.
    watched: bool,
    /// The least event that gives its places back: because it was taken back, or a later admission took them over.
    taken_by: Option<EventId>,
    passed_by: Option<EventId>,
}

/// What an event says about an opening.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Word {
    /// Its use and places are taken back.
    Taken,
    /// A later admission that makes up for it took its places over; its use stays.
    TakenOver,
    /// It was carried out.
    Opened,
    /// It was carried out, and whether somebody went through is seen later.
    Watched,
    /// Something went through.
    Passed,
}

impl Word {
    const ALL: [Self; 5] = [Self::Taken, Self::TakenOver, Self::Opened, Self::Watched, Self::Passed];

    fn name(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::TakenOver => "taken_over",
            Self::Opened => "opened",
            Self::Watched => "watched",
            Self::Passed => "passed",
        }
    }
}

impl Opening {
    /// A new one, of which nothing has been heard yet.
    pub(super) fn new(
        (id, gate, at_ms): (EventId, GateId, i64),
        (day, direction): (ServiceDay, Direction),
        zones: Vec<(ZoneId, u64)>,
    ) -> Self {
        Self { id, gate, at_ms, day, direction, zones, opened: false, watched: false, taken_by: None, passed_by: None }
    }

    fn unknown(&self) -> bool {
        !self.opened && self.taken_by.is_none()
    }

    /// How it counts in each of its zones.
    fn passages(&self) -> impl Iterator<Item = (ZoneId, counts::Passage)> {
        let Self { id, at_ms, direction, .. } = *self;
        let passage = move |generation| counts::Passage { event: id, generation, at_ms, direction };
        self.zones.iter().map(move |(zone, generation)| (*zone, passage(*generation)))
    }
}

async fn find(tx: &mut Tx, source: &Source, id: EventId) -> Result<Option<Opening>, DbError> {
    let row = tx
        .first(
            "SELECT gate_id, at_ms, service_day, direction, zones, opened, watched, taken_by, passed_by FROM openings WHERE venue_id = $1 AND device_id = $2 AND epoch = $3 AND seq = $4",
            params![source.venue, id.device, id.epoch, id.seq],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let zones = canonical::decode(&row.get::<Vec<u8>>(4)?)
        .map_err(|error| DbError::Statement(format!("the zones of opening {id} can't be read: {error}")))?;
    Ok(Some(Opening {
        id,
        gate: row.get(0)?,
        at_ms: row.get(1)?,
        day: ServiceDay(row.get(2)?),
        direction: apply::direction(&row.get::<String>(3)?),
        zones,
        opened: row.get(5)?,
        watched: row.get(6)?,
        taken_by: row.get(7)?,
        passed_by: row.get(8)?,
    }))
}

/// Whether it was heard of a device's newest entry that the barrier opened, and not whether somebody went through: then it
/// may still be taken back. A lane takes one after the other, and after a start it takes nothing back that was opened before,
/// so it can only be the last one of the newest epoch.
pub async fn is_undecided(tx: &mut Tx, venue: VenueId, device: DeviceId) -> Result<bool, DbError> {
    let found = tx
        .number(
            "SELECT COUNT(*) FROM epochs e JOIN openings o ON o.venue_id = e.venue_id AND o.device_id = e.device_id AND o.epoch = e.epoch AND o.seq = (SELECT MAX(p.seq) FROM openings p WHERE p.venue_id = e.venue_id AND p.device_id = e.device_id AND p.epoch = e.epoch) WHERE e.venue_id = $1 AND e.device_id = $2 AND NOT EXISTS (SELECT 1 FROM epochs n WHERE n.venue_id = e.venue_id AND n.device_id = e.device_id AND n.continues_epoch = e.epoch) AND o.direction = 'in' AND o.watched = 1 AND o.opened = 1 AND o.passed_by IS NULL AND o.taken_by IS NULL",
            params![venue, device],
        )
        .await?;
    Ok(found > 0)
}

/// Takes in an opening, and everything that was said about it before it came.
pub(super) async fn add(tx: &mut Tx, source: &Source, opening: Opening, news: &mut News) -> Result<(), Refusal> {
    let id = opening.id;
    tx.execute(
        "INSERT INTO openings (venue_id, device_id, epoch, seq, gate_id, at_ms, service_day, direction, zones, opened) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0)",
        params![source.venue, id.device, id.epoch, id.seq, opening.gate, opening.at_ms, opening.day.0, apply::way(opening.direction), canonical::encode(&opening.zones)],
    )
    .await?;
    for (zone, passage) in opening.passages() {
        if !counts::add(tx, source, zone, &passage, news).await? {
            return Err(Refusal::Park("it names a zone that is not this venue's".to_owned()));
        }
        counts::on_day(tx, source, (zone, opening.day), opening.direction, 1).await?;
        news.zones.insert(zone);
    }
    apply::rate(tx, source, (opening.gate, opening.at_ms), opening.direction, 1).await?;
    late::look(tx, source, &opening).await?;
    let waiting = tx
        .query(
            "SELECT event, kind FROM waiting WHERE venue_id = $1 AND about = $2 ORDER BY event, kind",
            params![source.venue, id],
        )
        .await?;
    if waiting.is_empty() {
        return Ok(());
    }
    tx.execute("DELETE FROM waiting WHERE venue_id = $1 AND about = $2", params![source.venue, id]).await?;
    for row in waiting {
        let (by, kind): (EventId, String) = (row.get(0)?, row.get(1)?);
        if let Some(word) = Word::ALL.into_iter().find(|word| word.name() == kind) {
            hear(tx, source, id, by, word, news).await?;
        }
    }
    Ok(())
}

/// Hears something about an opening; keeps it until the opening comes.
pub(super) async fn hear(
    tx: &mut Tx,
    source: &Source,
    of: EventId,
    by: EventId,
    word: Word,
    news: &mut News,
) -> Result<(), Refusal> {
    if of.device != source.device {
        return Err(Refusal::Park("it is about an event of another device".to_owned()));
    }
    let Some(opening) = find(tx, source, of).await? else {
        tx.execute(
            "INSERT INTO waiting (venue_id, about, event, kind, amount) VALUES ($1, $2, $3, $4, 1) ON CONFLICT (venue_id, about, event, kind) DO NOTHING",
            params![source.venue, of, by, word.name()],
        )
        .await?;
        return Ok(());
    };
    let mut after = opening.clone();
    match word {
        Word::Opened => after.opened = true,
        Word::Watched => {
            after.opened |= opening.direction == Direction::In;
            after.watched = true;
        }
        Word::Passed => {
            after.opened |= opening.direction == Direction::Out;
            after.passed_by = Some(opening.passed_by.map_or(by, |known| known.min(by)));
        }
        // Of several the least is named, whichever came first.
        Word::Taken | Word::TakenOver => after.taken_by = Some(opening.taken_by.map_or(by, |known| known.min(by))),
    }
    tx.execute(
        "UPDATE openings SET opened = $1, watched = $2, taken_by = $3, passed_by = $4 WHERE venue_id = $5 AND device_id = $6 AND epoch = $7 AND seq = $8",
        params![after.opened, after.watched, after.taken_by, after.passed_by, source.venue, of.device, of.epoch, of.seq],
    )
    .await?;
    if opening.unknown() && !after.unknown() {
        for (zone, passage) in opening.passages() {
            counts::make_certain(tx, source, zone, &passage, news).await?;
            if opening.direction == Direction::Out {
                news.zones.insert(zone);
            }
        }
    }
    if opening.taken_by.is_none() && after.taken_by.is_some() {
        give_back(tx, source, &opening, news).await?;
    }
    if word == Word::Taken {
        conflict::withdraw(tx, source.venue, Kind::LateExit, &of.to_string()).await?;
        uses::annul(tx, source, of, news).await?;
    }
    if let (Some(taken), Some(passed)) = (after.taken_by, after.passed_by) {
        let text = format!("something went through for {of} ({passed}), although {taken} gave its place back");
        let mut finding = source.finding(Kind::LatePassage, of.to_string(), text);
        finding.derived = true;
        finding.gate = Some(after.gate);
        finding.events = vec![passed.to_string()];
        finding.against = vec![of.to_string(), taken.to_string()];
        finding.at_ms = after.at_ms;
        super::raise(tx, source, &finding).await?;
    }
    Ok(())
}

/// Counts an opening back, once.
async fn give_back(tx: &mut Tx, source: &Source, opening: &Opening, news: &mut News) -> Result<(), DbError> {
    for (zone, passage) in opening.passages() {
        counts::give_back(tx, source, zone, &passage, news).await?;
        counts::on_day(tx, source, (zone, opening.day), opening.direction, -1).await?;
        news.zones.insert(zone);
    }
    apply::rate(tx, source, (opening.gate, opening.at_ms), opening.direction, -1).await
}
