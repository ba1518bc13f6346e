//! How old a replica may be and how unsure a clock, product by product: the ladder by which a gate's service degrades.

use super::*;
use crate::reason::Language;

const HOUR_MS: i64 = 3_600_000;

/// The products of the ladder.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// A visitor's single use.
    Visitor,
    /// A visitor's product that wants a replica of at most an hour.
    VisitorLimited,
    /// A visitor's daily pass.
    Daily,
    /// A member whose use is not counted by days.
    Member,
    /// A member with one entry a day.
    MemberDaily,
    /// A member, only at certain hours, whose product wants a replica of at most an hour.
    MemberStrict,
}

fn of_kind(i: &mut DecisionInput, kind: Kind) {
    let hours = Rule::Hours { weekdays: 0x7f, from_min: 0, to_min: 1440 };
    let (rules_of, kind, limit): (&[Rule], _, _) = match kind {
        Kind::Visitor => (&[Rule::Single], ProductKind::Visitor, None),
        Kind::VisitorLimited => (&[Rule::Single], ProductKind::Visitor, Some(3600)),
        Kind::Daily => (&[Rule::PerDay(1)], ProductKind::Visitor, None),
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
    let ages = [
        Some(0),
        Some(HOUR_MS),
        Some(HOUR_MS + 1),
        Some(72 * HOUR_MS),
        Some(72 * HOUR_MS + 1),
        Some(5760 * HOUR_MS),
        None,
    ];
    for (kind, trust, row) in [
        (Kind::Visitor, Trust::Signed, "AAAAAAA"),
        (Kind::Visitor, Trust::Ntp, "AAAAAAA"),
        (Kind::Visitor, Trust::Continued, "AAAAAAA"),
        (Kind::Visitor, Trust::Unknown, "AAAAAAA"),
        (Kind::VisitorLimited, Trust::Signed, "AASSSSS"),
        (Kind::VisitorLimited, Trust::Ntp, "AASSSSS"),
        (Kind::VisitorLimited, Trust::Continued, "AASSSSS"),
        (Kind::VisitorLimited, Trust::Unknown, "AASSSSS"),
        (Kind::Daily, Trust::Signed, "AAAAAAA"),
        (Kind::Daily, Trust::Ntp, "AAAAAAA"),
        (Kind::Daily, Trust::Continued, "CCCCCCC"),
        (Kind::Daily, Trust::Unknown, "CCCCCCC"),
        (Kind::Member, Trust::Signed, "AAAASSS"),
        (Kind::Member, Trust::Ntp, "AAAASSS"),
        (Kind::Member, Trust::Continued, "AAAASSS"),
        (Kind::Member, Trust::Unknown, "AAAASSS"),
        (Kind::MemberDaily, Trust::Signed, "AAAASSS"),
        (Kind::MemberDaily, Trust::Ntp, "AAAASSS"),
        (Kind::MemberDaily, Trust::Continued, "CCCCSSS"),
        (Kind::MemberDaily, Trust::Unknown, "CCCCSSS"),
        (Kind::MemberStrict, Trust::Signed, "AASSSSS"),
        (Kind::MemberStrict, Trust::Ntp, "AASSSSS"),
        (Kind::MemberStrict, Trust::Continued, "CCSSSSS"),
        (Kind::MemberStrict, Trust::Unknown, "CCSSSSS"),
    ] {
        for (age_ms, letter) in ages.into_iter().zip(row.chars()) {
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
                    _ => None,
                };
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
                    Some(ms) if ms < 100 * HOUR_MS => "3 d 0 h old",
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
}
