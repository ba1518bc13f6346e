//! A thousand decisions, so that another compiler or a newer dependency can't decide otherwise without anybody noticing.
//!
//! Each is made from its seed alone, by dice of our own: a library's generator may change with the library. Kept are the
//! first eight bytes of two hashes, of the canonical input and of the canonical verdict. A change of the rules on purpose
//! raises [`RULES_VERSION`] and writes the file anew; nothing else may.

use uuid::Uuid;

use super::File;
use crate::canonical;
use crate::decision::{DecisionInput, RULES_VERSION, Verdict};
use crate::examples::*;
use crate::ids::{Cti, Direction, Hash, ZoneId};
use crate::pass::{Defect, Finding, MalformedWhy, PassFlags};
use crate::product::{OfflineScope, Product, ProductKind, Rule, RuleText, SecondScan};
use crate::time::{DayRule, ServiceDay, Trust};
use crate::view::{Egress, LastUse, PassRow, PassStanding, Readiness, Unopened, Uses, Vendor, ZoneSpace};

/// Most things are as they should be, so that every depth of a decision is reached.
fn rarely(dice: &mut Dice) -> bool {
    dice.below(12) == 0
}

fn rule(dice: &mut Dice) -> RuleText {
    let few = 1 + dice.below(4) as u32;
    let minutes = [0, 360, 719, 720, 721, 1080, 1439];
    let hours = Rule::Hours {
        weekdays: dice.below(128) as u8,
        from_min: dice.one_of(&minutes),
        to_min: dice.one_of(&minutes) + 1,
    };
    match dice.below(16) {
        0..3 => Rule::Single.text(),
        3..6 => Rule::Times(few).text(),
        6..9 => Rule::PerDay(few).text(),
        9 => Rule::Unlimited.text(),
        10 => hours.text(),
        11 | 12 => Rule::ReentryAfterExit.text(),
        13 => Rule::MinInterval(60 * few).text(),
        14 => Rule::ChildWithAdult.text(),
        _ => RuleText { name: "moon_phase".into(), args: vec![i64::from(few)] },
    }
}

fn product_of(dice: &mut Dice) -> Product {
    let scope = dice.one_of(&[OfflineScope::Site, OfflineScope::Any, OfflineScope::Any, OfflineScope::HomeGate]);
    Product {
        kind: dice.one_of(&[ProductKind::Visitor, ProductKind::Visitor, ProductKind::Subscription]),
        rules: (0..dice.below(3)).map(|_| rule(dice)).collect(),
        zones: if rarely(dice) { vec![ZoneId(Uuid::from_u128(99))] } else { vec![] },
        second_scan: dice.one_of(&[SecondScan::Hard, SecondScan::Soft]),
        offline_scope: scope,
        max_staleness_s: (dice.below(4) == 0).then(|| dice.below(7200) as u32),
        attention: rarely(dice).then(|| "Look at the band".into()),
        open_ms: rarely(dice).then_some(1500),
        home_gate: (scope == OfflineScope::HomeGate).then(|| dice.one_of(&[ENTRANCE, ENTRANCE, OTHER_GATE])),
        ..product(&[])
    }
}

/// The presentation of a seed.
fn presentation(example: &DecisionInput, seed: u64) -> DecisionInput {
    let dice = &mut Dice::new(seed);
    let mut input = example.clone();
    input.rules = RULES_VERSION;
    // Over the night when clocks change, and over the day boundary.
    let offset_s = dice.one_of(&[0, 0, 0, 43_200, 54_000, 54_001, -262 * 86_400, 137 * 86_400 + 45_000]);
    input.now.wall_ms = (NOON + offset_s) * 1000 + dice.below(3_600_000) as i64;
    input.now.trust = dice.one_of(&[Trust::Signed, Trust::Ntp, Trust::Ntp, Trust::Continued, Trust::Unknown]);
    let zones = ["Europe/Bucharest", "Europe/Bucharest", "America/St_Johns", "Asia/Kolkata", "Mars/Olympus"];
    let zone = if rarely(dice) { dice.one_of(&zones) } else { zones[0] };
    input.view.day_rule = DayRule { time_zone: zone.into(), boundary_min: dice.one_of(&[0, 90, 180]) };
    if let Finding::Genuine { claims, .. } = &mut input.pass.finding {
        let now_s = input.now.wall_ms / 1000;
        claims.not_before = now_s - dice.one_of(&[3600, 86_400, 3600, 60, -60, -90_000]);
        claims.expires = claims.not_before + dice.one_of(&[30, 7200, 86_400 * 30]);
        claims.flags = PassFlags(dice.below(8) as u8);
        claims.cti = Cti([dice.below(256) as u8; 16]);
        if rarely(dice) {
            claims.venue = "P2".parse().unwrap();
        }
    }
    let defects = [
        Defect::NotAPass,
        Defect::Unsupported,
        Defect::Malformed(MalformedWhy::Base45),
        Defect::UnknownKey(KID),
        Defect::BadSignature(KID),
        Defect::IssuerRevoked(KID),
        Defect::KeyMisused(KID),
    ];
    if rarely(dice) {
        input.pass.finding = Finding::Defective(dice.one_of(&defects));
    }
    let view = &mut input.view;
    view.age_ms = dice.one_of(&[Some(0), Some(60_000), Some(400_000), Some(73 * 3_600_000), None]);
    let closed_days = if rarely(dice) { vec![ServiceDay(20_614)] } else { vec![] };
    let vendor = Vendor { active: !rarely(dice), weekdays: if rarely(dice) { 0x55 } else { 0x7f }, closed_days };
    view.vendor = (!rarely(dice)).then_some(vendor);
    let standings = [PassStanding::Revoked, PassStanding::Superseded, PassStanding::Blocked];
    let standing = if rarely(dice) { dice.one_of(&standings) } else { PassStanding::Live };
    let until = rarely(dice).then(|| input.now.wall_ms / 1000 + dice.below(200) as i64 - 100);
    let uses = rarely(dice).then(|| dice.below(4) as u32);
    view.row = (dice.below(3) > 0).then_some(PassRow { standing, until, uses });
    view.product = (!rarely(dice)).then(|| product_of(dice));
    let last = dice.one_of(&[None, Some(Direction::In), Some(Direction::Out)]);
    view.uses = Uses {
        total: dice.one_of(&[0, 0, 0, 1, 2, 5]),
        today: dice.one_of(&[0, 0, 1, 3]),
        last: last.map(last_use),
        first_charged: rarely(dice).then(|| LastUse { at_ms: NOON * 1000 - 90_000, ..last_use(Direction::In) }),
        newest_charged: rarely(dice).then(|| LastUse { at_ms: NOON * 1000 - 80_000, ..last_use(Direction::In) }),
        inside: last == Some(Direction::In),
        unopened: rarely(dice).then(|| {
            let ago_ms = dice.below(700_000) as i64;
            let places = if ago_ms % 2 == 0 { vec![LOT] } else { vec![] };
            let elapsed_ms = (dice.below(2) == 0).then(|| dice.below(700_000));
            Unopened { event: event_id(8), at_ms: input.now.wall_ms - ago_ms, places, elapsed_ms }
        }),
    };
    if let Some(last) = &mut view.uses.last {
        last.elapsed_ms = (dice.below(2) == 0).then(|| dice.below(300_000));
    }
    let rights = [0, 1, 5, 5, 5, 5];
    view.spaces = (0..dice.one_of(&[1, 1, 1, 2, 2, 0]))
        .map(|n| ZoneSpace {
            zone: ZoneId(Uuid::from_u128(4 + n)),
            rights_held: dice.one_of(&rights),
            best_effort: rarely(dice),
            generation: dice.below(9),
        })
        .collect();
    view.right_gates = vec!["South entrance".into()];
    input.lane.direction = dice.one_of(&[Direction::In, Direction::In, Direction::In, Direction::Out]);
    input.lane.egress = dice.one_of(&[Egress::Scan, Egress::Free]);
    input.lane.staffed = dice.below(2) == 0;
    if rarely(dice) {
        input.lane.readiness = dice.one_of(&[Readiness::NoVehicle, Readiness::OutOfOrder, Readiness::Fault]);
    }
    input
}

pub(super) fn decisions() -> File {
    let mut file = File::new("decisions");
    file.text("rules", RULES_VERSION.to_string());
    let example = input();
    let short = |bytes: &[u8]| hex::encode(&Hash::of("golden", bytes).0[..8]);
    let (mut admitted, mut asked, mut refused) = (0, 0, std::collections::BTreeSet::new());
    for seed in 0..1000 {
        let input = presentation(&example, seed);
        let verdict = input.replay();
        match &verdict {
            Verdict::Admit(_) => admitted += 1,
            Verdict::Ask(_) => asked += 1,
            Verdict::Refuse(refusal) => {
                refused.insert(refusal.reason);
            }
        }
        let kept = format!("{} {}", short(&canonical::encode(&input)), short(&canonical::encode(&verdict)));
        file.text(&format!("{seed:03}"), kept);
    }
    // They would prove little if they were all alike.
    assert!(admitted > 150 && asked > 15 && refused.len() > 25, "{admitted} {asked} {refused:?}");
    file
}
