//! Everything that follows from the facts, as text: two services that hold the same facts hold the same text.

use gate_core::ids::VenueId;

use crate::store::{Tx, params};

/// What is made anew by a rebuild, table by table. Left out is what depends on when something came in.
const TABLES: &[(&str, &str)] = &[
    (
        "epochs",
        "SELECT device_id, epoch, upto, upto_hash, held, continues_epoch, continues_seq, continues_hash FROM epochs WHERE venue_id = $1 ORDER BY 1, 2",
    ),
    (
        "openings",
        "SELECT device_id, epoch, seq, gate_id, at_ms, service_day, direction, zones, opened, taken_by, passed_by FROM openings WHERE venue_id = $1 ORDER BY 1, 2, 3",
    ),
    (
        "waiting",
        "SELECT about, event, kind, amount FROM waiting WHERE venue_id = $1 AND kind <> 'repeated' ORDER BY 1, 2, 3",
    ),
    (
        "uses",
        "SELECT event, vendor_code, cti, product, gate_id, at_ms, service_day, direction, charged, annulled, limited_by, in_all, per_day, extra FROM uses WHERE venue_id = $1 ORDER BY 1",
    ),
    (
        "passages",
        "SELECT zone_id, device_id, epoch, seq, generation, at_ms, entries, exits, unknown FROM passages WHERE venue_id = $1 ORDER BY 1, 2, 3, 4",
    ),
    (
        "tallies",
        "SELECT zone_id, device_id, epoch, entries, exits FROM tallies WHERE venue_id = $1 AND (entries <> 0 OR exits <> 0) ORDER BY 1, 2, 3",
    ),
    (
        "doubts",
        "SELECT zone_id, entries, exits FROM doubts WHERE venue_id = $1 AND (entries <> 0 OR exits <> 0) ORDER BY 1",
    ),
    (
        "recounts",
        "SELECT zone_id, event, generation, observed, at_ms FROM recounts WHERE venue_id = $1 ORDER BY 1, 3, 2",
    ),
    (
        "zone_days",
        "SELECT zone_id, service_day, entries, exits FROM zone_days WHERE venue_id = $1 AND (entries <> 0 OR exits <> 0) ORDER BY 1, 2",
    ),
    (
        "rates",
        "SELECT bucket_ms, gate_id, entries, exits FROM rates WHERE venue_id = $1 AND (entries <> 0 OR exits <> 0) ORDER BY 1, 2",
    ),
    ("refusals", "SELECT service_day, gate_id, reason, times FROM refusals WHERE venue_id = $1 ORDER BY 1, 2, 3"),
    (
        "health",
        "SELECT gate_id, part, working, detail, at_ms, epoch, seq FROM health WHERE venue_id = $1 ORDER BY 1, 2",
    ),
    ("zones", "SELECT zone_id, basis, over_capacity FROM zones WHERE venue_id = $1 ORDER BY 1"),
    (
        "devices",
        "SELECT device_id, software, software_at_ms, clock_trust, clock_at_ms FROM devices WHERE venue_id = $1 ORDER BY 1",
    ),
    (
        "conflicts",
        "SELECT kind, conflict_id, gate_id, device_id, zone_id, cti, product, evidence, events, against, at_ms FROM conflicts WHERE venue_id = $1 AND derived = 1 AND standing = 1 AND kind <> 'drift' ORDER BY 1, 2",
    ),
    (
        "drift",
        "SELECT conflict_id, evidence, against FROM conflicts WHERE venue_id = $1 AND kind = 'drift' AND standing = 1 ORDER BY 1",
    ),
    ("figures", "SELECT events_in, applied FROM venues WHERE venue_id = $1"),
    ("facts", "SELECT device_id, epoch, seq, hash FROM events WHERE venue_id = $1 ORDER BY 1, 2, 3"),
];

/// One line per row.
pub(crate) async fn dump(tx: &mut Tx, venue: VenueId) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, sql) in TABLES {
        for row in tx.query(sql, params![venue]).await.unwrap() {
            lines.push(format!("{name} {row:?}"));
        }
    }
    lines
}
