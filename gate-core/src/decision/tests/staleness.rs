//! How old a replica may be and how unsure a clock, product by product: the ladder by which a gate's service degrades.
//! OPERATING tells it in words.

use super::*;
use crate::reason::Language;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// How old the replica may be, in the order of the table's letters; `None`: this gate never heard everything.
const AGES: [Option<i64>; 10] = [
    Some(0),
    Some(HOUR_MS),
    Some(HOUR_MS + 1),
    Some(DAY_MS),
    Some(3 * DAY_MS),
    Some(3 * DAY_MS + 1),
    Some(31 * DAY_MS),
    Some(31 * DAY_MS + 1),
    Some(240 * DAY_MS),
    None,
];

/// Each with its place in the table's rows.
const TRUSTS: [Trust; 4] = [Trust::Signed, Trust::Ntp, Trust::Continued, Trust::Unknown];

/// The products of the ladder.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// A visitor's single use.
    Visitor,
    /// A visitor's ticket of ten uses.
    Ten,
    /// A visitor's product that wants a replica of at most an hour.
    VisitorLimited,
    /// A visitor's daily pass.
    Daily,
    /// A visitor's pass for certain hours.
    Hours,
    /// A member whose use is not counted by days.
    Member,
    /// A member whose product says that a month is new enough.
    MemberPatient,
    /// A member with one entry a day.
    MemberDaily,
    /// A member, only at certain hours, whose product wants a replica of at most an hour.
    MemberStrict,
}

fn of_kind(i: &mut DecisionInput, kind: Kind) {
    let hours = Rule::Hours { weekdays: 0x7f, from_min: 0, to_min: 1440 };
    let (rules_of, kind, limit): (&[Rule], _, _) = match kind {
        Kind::Visitor => (&[Rule::Single], ProductKind::Visitor, None),
        Kind::Ten => (&[Rule::Times(10)], ProductKind::Visitor, None),
        Kind::VisitorLimited => (&[Rule::Single], ProductKind::Visitor, Some(3600)),
        Kind::Daily => (&[Rule::PerDay(1)], ProductKind::Visitor, None),
        Kind::Hours => (&[Rule::Single, hours], ProductKind::Visitor, None),
        Kind::MemberPatient => (&[Rule::Unlimited], ProductKind::Subscription, Some(31 * 24 * 3600)),
        Kind::Member => (&[Rule::Unlimited], ProductKind::Subscription, None),
        Kind::MemberDaily => (&[Rule::PerDay(1)], ProductKind::Subscription, None),
        Kind::MemberStrict => (&[Rule::Unlimited, hours], ProductKind::Subscription, Some(3600)),
    };
    rules(i, rules_of);
    let product = i.view.product.as_mut().unwrap();
    (product.kind, product.max_staleness_s) = (kind, limit);
    if kind == ProductKind::Subscription {
        standing(i, PassStanding::Live);
    }
}

/// E08: product x age x clock, where nobody stands by. `A` admits, `S` is refused as stale, `C` for the clock. Where staff
/// stand by they are asked for the same reason instead.
#[test]
fn the_ladder_of_product_age_and_clock() {
    // A row for each product, and in it a word for each clock: signed, NTP, continued, unknown.
    let ladder = [
        (Kind::Visitor, ["AAAAAAAAAA", "AAAAAAAAAA", "AAAAAAAAAA", "AAAAAAAAAA"]),
        (Kind::Ten, ["AAAAAAAAAA", "AAAAAAAAAA", "AAAAAAAAAA", "AAAAAAAAAA"]),
        (Kind::VisitorLimited, ["AASSSSSSSS", "AASSSSSSSS", "AASSSSSSSS", "AASSSSSSSS"]),
        (Kind::Daily, ["AAAAAAAAAA", "AAAAAAAAAA", "CCCCCCCCCC", "CCCCCCCCCC"]),
        (Kind::Hours, ["AAAAAAAAAA", "AAAAAAAAAA", "CCCCCCCCCC", "CCCCCCCCCC"]),
        (Kind::Member, ["AAAAASSSSS", "AAAAASSSSS", "AAAAASSSSS", "AAAAASSSSS"]),
        (Kind::MemberPatient, ["AAAAAAASSS", "AAAAAAASSS", "AAAAAAASSS", "AAAAAAASSS"]),
        (Kind::MemberDaily, ["AAAAASSSSS", "AAAAASSSSS", "CCCCCSSSSS", "CCCCCSSSSS"]),
        (Kind::MemberStrict, ["AASSSSSSSS", "AASSSSSSSS", "CCSSSSSSSS", "CCSSSSSSSS"]),
    ];
    let rows = ladder.into_iter().flat_map(|(kind, rows)| TRUSTS.into_iter().zip(rows).map(move |row| (kind, row)));
    let mut told_of = 0;
    for (kind, (trust, row)) in rows {
        assert_eq!(row.len(), AGES.len(), "{kind:?} {trust:?}");
        for (age_ms, letter) in AGES.into_iter().zip(row.chars()) {
            for staffed in [false, true] {
                let input = with(|i| {
                    of_kind(i, kind);
                    i.view.age_ms = age_ms;
                    i.now.trust = trust;
                    i.lane.staffed = staffed;
                });
                let why = match letter {
                    'S' => Some(Reason::ReplicaStale),
                    'C' => Some(Reason::ClockUnknown),
                    'A' => None,
                    other => panic!("{other} is no answer"),
                };
                told_of += 1;
                let expected = match (why, staffed) {
                    (None, _) => Says::Admit,
                    (Some(reason), true) => Says::Ask(reason),
                    (Some(reason), false) => Says::Refuse(reason),
                };
                let told = format!("{kind:?}, {age_ms:?} ms, {trust:?}, staffed {staffed}");
                assert_eq!(says(&input), expected, "{told}");
                // The event that is written holds age and trust, and both are told when it is explained.
                let bytes = crate::canonical::encode(&input);
                let kept: DecisionInput = crate::canonical::decode(&bytes).unwrap();
                assert_eq!((kept.view.age_ms, kept.now.trust), (age_ms, trust), "{told}");
                let words = circumstances(&kept, Language::En);
                let age = match age_ms {
                    None => "never brought up to date",
                    Some(0) => "0 s old",
                    Some(ms) if ms < 2 * HOUR_MS => "1 h 0 min old",
                    Some(DAY_MS) => "1 d 0 h old",
                    Some(ms) if ms < 4 * DAY_MS => "3 d 0 h old",
                    Some(ms) if ms < 32 * DAY_MS => "31 d 0 h old",
                    Some(_) => "240 d 0 h old",
                };
                assert!(words.contains(age), "{told}: {words}");
                let clock = match trust {
                    Trust::Signed => "signed by the venue",
                    Trust::Ntp => "disciplined by NTP",
                    Trust::Continued => "running on",
                    Trust::Unknown => "not knowing the date",
                };
                assert!(words.contains(clock), "{told}: {words}");
            }
        }
    }
    assert_eq!(told_of, 9 * TRUSTS.len() * AGES.len() * 2, "every combination has a letter");
}

/// Whoever leaves is let out whatever the replica and the clock: age and trust belong to the way in.
#[test]
fn nobody_is_kept_inside_by_an_old_replica_or_a_clock() {
    for (age_ms, trust) in AGES.into_iter().flat_map(|age_ms| TRUSTS.map(|trust| (age_ms, trust))) {
        for egress in [Egress::Scan, Egress::Free] {
            let input = with(|i| {
                of_kind(i, Kind::MemberStrict);
                (i.lane.direction, i.lane.egress) = (Direction::Out, egress);
                (i.view.age_ms, i.now.trust) = (age_ms, trust);
            });
            assert_eq!(says(&input), Says::Admit, "{age_ms:?} ms, {trust:?}, {egress:?}");
        }
    }
}
