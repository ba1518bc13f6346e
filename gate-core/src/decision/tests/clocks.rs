//! From clocks to verdicts: whatever the clocks of a gate do, who is let in, and who is not.

use serde_bytes::ByteBuf;

use super::*;
use crate::ids::BootId;
use crate::keys::PublicKey;
use crate::sync::v1::{Signed, SignedTime};
use crate::time::{ClockReading, TimeKeeper};

const DAY_MS: i64 = DAY * 1000;
const YEARS: i64 = 3650 * DAY_MS;
/// An answer may be this late; the transport gives up then.
const LATE_MS: i64 = 15_000;
/// How far the gate's time may be off when it was signed.
const SLACK_S: i64 = 17;

/// What clocks lie in a script.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lies {
    /// Clocks stop, fall back and forget, but none runs ahead.
    Behind,
    /// Some are ten years ahead.
    Absurd,
    /// Anything.
    Any,
}

/// A gate with its clocks, its floor and its journal, and the time that really is.
struct Gate {
    true_ms: i64,
    system_ms: i64,
    ntp: bool,
    mono_us: u64,
    boot: u128,
    keeper: TimeKeeper,
    floor_ms: i64,
    newest: Option<Now>,
    /// Signed time was heard in this boot.
    anchored: bool,
    /// Answers that somebody has kept.
    kept: Vec<Vec<u8>>,
    nonce: u8,
}

impl Gate {
    fn new(dice: &mut Dice) -> Self {
        let true_ms = NOON * 1000;
        // The software was built at some time before.
        let floor_ms = true_ms - dice.below(30) as i64 * DAY_MS;
        let keeper = TimeKeeper::new(BootId(Uuid::from_u128(1)), floor_ms);
        let (newest, kept) = (None, vec![]);
        let (mono_us, boot) = (1_000_000, 1);
        Self {
            true_ms,
            system_ms: true_ms,
            ntp: false,
            mono_us,
            boot,
            keeper,
            floor_ms,
            newest,
            anchored: false,
            kept,
            nonce: 0,
        }
    }

    fn wait(&mut self, ms: i64) {
        self.true_ms += ms;
        self.system_ms = self.system_ms.saturating_add(ms);
        self.mono_us += u64::try_from(ms).unwrap() * 1000;
    }

    /// The machine was off for a while, and its clock is what it is.
    fn reboot(&mut self, off_ms: i64, system_ms: i64) {
        self.true_ms += off_ms;
        self.system_ms = system_ms;
        (self.ntp, self.mono_us, self.anchored) = (false, 1_000_000, false);
        self.boot += 1;
        self.keeper = TimeKeeper::resume(BootId(Uuid::from_u128(self.boot)), self.floor_ms, self.newest);
    }

    fn answer(&mut self, nonce: u8, by: u8) -> Vec<u8> {
        SignedTime { venue: VENUE, nonce: ByteBuf::from(vec![nonce; 16]), now_ms: self.true_ms }.sign(&key(by))
    }

    /// Hears an answer to the question with this nonce; whether it was believed.
    fn hear(&mut self, bytes: &[u8], nonce: u8) -> bool {
        let Ok(time) = SignedTime::open(bytes, &PublicKey::from(&key(6))) else { return false };
        if time.nonce != vec![nonce; 16] {
            return false;
        }
        self.keeper.hear_signed(time.now_ms, self.mono_us);
        self.floor_ms = self.floor_ms.max(self.keeper.floor_ms());
        self.anchored = true;
        true
    }

    fn now(&mut self) -> Now {
        let reading = ClockReading { system_ms: self.system_ms, mono_us: self.mono_us, ntp: self.ntp };
        self.keeper.now(reading).0
    }
}

/// E09, A-58 to: a thousand scripts from clock steps to verdicts.
#[test]
fn a_thousand_random_clock_scripts_end_in_the_right_verdicts() {
    let (mut admitted, mut expired, mut doubted, mut remembered, mut early) = (0, 0, 0, 0, 0);
    let (example, daily) = (input(), with(|i| rules(i, &[Rule::PerDay(1)])));
    for seed in 0..1000u64 {
        let mut dice = Dice::new(seed);
        let lies = [Lies::Behind, Lies::Absurd, Lies::Any][(seed % 3) as usize];
        let mut gate = Gate::new(&mut dice);
        let mut refused_for_good: Vec<i64> = vec![];
        let mut last: Option<Now> = None;
        for step in 0..40 {
            let told = format!("seed {seed} ({lies:?}), step {step}");
            let floor = gate.floor_ms;
            let mut corrected = false;
            gate.wait(dice.one_of(&[200, 5000, 60_000, 3_600_000, DAY_MS / 2]) + dice.below(900) as i64);
            let behind = [0, gate.floor_ms - DAY_MS, gate.floor_ms, gate.true_ms - 365 * DAY_MS, gate.true_ms - DAY_MS];
            let ahead = match lies {
                Lies::Behind => gate.true_ms,
                Lies::Absurd => gate.true_ms + YEARS,
                Lies::Any => gate.true_ms + dice.one_of(&[3600, 86_400, 30 * 86_400, 365 * 86_400]) * 1000,
            };
            match dice.below(12) {
                0 => gate.system_ms = dice.one_of(&behind),
                1 => gate.system_ms = ahead,
                2 => {
                    let off = dice.one_of(&[20_000, 3_600_000, DAY_MS, 30 * DAY_MS, 240 * DAY_MS]);
                    let clock = match dice.below(4) {
                        0 => gate.true_ms + off,
                        1 => gate.system_ms.min(gate.true_ms),
                        2 => dice.one_of(&behind),
                        _ => {
                            if lies == Lies::Behind {
                                0
                            } else {
                                ahead + off
                            }
                        }
                    };
                    let remembers = gate.newest.is_some_and(|newest| {
                        newest.trust == Trust::Signed || newest.wall_ms <= gate.floor_ms + 200 * DAY_MS
                    });
                    if !remembers {
                        refused_for_good.clear();
                    }
                    gate.reboot(off, clock);
                    last = None;
                }
                // NTP as it should be, and as somebody who owns the network wants it.
                3 => (gate.system_ms, gate.ntp) = (gate.true_ms, true),
                4 => (gate.system_ms, gate.ntp) = (dice.one_of(&[ahead, behind[2], behind[4]]), true),
                5 => gate.ntp = false,
                6 | 7 => {
                    gate.nonce = gate.nonce.wrapping_add(1);
                    let nonce = gate.nonce;
                    let bytes = gate.answer(nonce, 6);
                    gate.wait(dice.below(LATE_MS as u64) as i64);
                    assert!(gate.hear(&bytes, nonce), "{told}");
                    gate.kept.push(bytes);
                    corrected = true;
                }
                8 => {
                    // A kept answer, and one by somebody else's key: neither is believed.
                    let nonce = gate.nonce.wrapping_add(1);
                    if !gate.kept.is_empty() {
                        let at = dice.below(gate.kept.len() as u64) as usize;
                        let old = gate.kept[at].clone();
                        assert!(!gate.hear(&old, nonce), "{told}: replayed");
                    }
                    let forged = gate.answer(nonce, 9);
                    assert!(!gate.hear(&forged, nonce), "{told}: another key");
                }
                _ => {}
            }
            let now = gate.now();
            assert!(gate.floor_ms >= floor, "{told}: the floor fell");
            assert!(gate.floor_ms <= gate.true_ms, "{told}: the floor is poisoned");
            assert!(now.wall_ms >= gate.floor_ms, "{told}: below the floor");
            if let Some(last) = last
                && !corrected
            {
                assert!(now.wall_ms >= last.wall_ms, "{told}: events' time went back");
            }
            last = Some(now);
            let true_s = gate.true_ms.div_euclid(1000);
            // A pass of some days around now, or one that ended, or one that begins.
            let begins = true_s + dice.one_of(&[-100, -30, -1, 0, 1, 10]) * DAY + dice.below(7200) as i64 - 3600;
            let ends = begins + dice.one_of(&[2 * 3600, DAY, 31 * DAY]);
            let shown = |example: &DecisionInput, begins: i64, ends: i64| {
                let mut input = example.clone();
                input.now = now;
                (claim(&mut input).not_before, claim(&mut input).expires) = (begins, ends);
                says(&input)
            };
            let said = shown(&example, begins, ends);
            let good = begins + SLACK_S <= true_s && true_s + SLACK_S < ends;
            let over = true_s >= ends + SLACK_S;
            if gate.anchored {
                if good {
                    assert_eq!(said, Says::Admit, "{told}: signed time knows");
                }
                if over {
                    assert_eq!(said, Says::Refuse(Reason::Expired), "{told}: signed time knows");
                }
            }
            if ends * 1000 <= gate.floor_ms {
                assert_eq!(said, Says::Refuse(Reason::Expired), "{told}: it ended before the floor");
            }
            match said {
                Says::Admit => {
                    admitted += 1;
                    assert!(now.wall_ms.div_euclid(1000) < ends, "{told}");
                    doubted += u32::from(now.trust < Trust::Ntp);
                }
                Says::Refuse(Reason::Expired) => {
                    expired += 1;
                    assert!(
                        over || lies == Lies::Any || true_s + SLACK_S >= ends,
                        "{told}: a lock-out that no policy allows"
                    );
                    if over {
                        refused_for_good.push(ends);
                    }
                }
                Says::Refuse(Reason::NotYetValid) => {
                    early += 1;
                    assert!(now.trust > Trust::Unknown && now.wall_ms.div_euclid(1000) < begins, "{told}");
                }
                Says::Refuse(Reason::ClockUnknown) => {
                    assert!(now.trust == Trust::Unknown && now.wall_ms.div_euclid(1000) + DAY < begins, "{told}");
                }
                Says::Ask(_) | Says::Refuse(_) => panic!("{told}: {said:?}"),
            }
            // Whatever was refused because it was over, and written down, is over for good.
            for ends in refused_for_good.iter().rev().take(4) {
                let again = shown(&example, ends - 3600, *ends);
                assert_eq!(again, Says::Refuse(Reason::Expired), "{told}: it came back");
                remembered += 1;
            }
            // Days are charged only by a clock that somebody confirms.
            if shown(&daily, begins, ends) == Says::Admit {
                assert!(now.trust >= Trust::Ntp, "{told}: a day charged at {:?}", now.trust);
            }
            gate.newest = Some(now);
        }
    }
    assert!(
        admitted > 5000 && expired > 2000 && doubted > 1000 && remembered > 10_000 && early > 100,
        "{admitted} admitted, {expired} expired, {doubted} doubted, {remembered} remembered, {early} early"
    );
}

/// What a gate does on the first morning after eight months in a box.
#[test]
fn a_cold_start_after_eight_months() {
    use Says::{Admit, Refuse};
    let season_end = NOON * 1000 - 240 * DAY_MS;
    let boot = |n| BootId(Uuid::from_u128(n));
    let newest = Now { wall_ms: season_end, mono_us: 77, boot: boot(1), trust: Trust::Signed };
    const EARLY: Says = Refuse(Reason::NotYetValid);
    const DATE: Says = Refuse(Reason::ClockUnknown);
    const STALE: Says = Refuse(Reason::ReplicaStale);
    const OVER: Says = Refuse(Reason::Expired);
    // The degraded service at once, without network: today's visitor, a member of this season, last season's pass that
    // ended after the gate went to sleep, and one that ended before.
    for (name, system_ms, ntp, trust, visitor, daily, member, last_season, ended) in [
        ("battery dead, 1970", 0, false, Trust::Unknown, DATE, DATE, DATE, Admit, OVER),
        (
            "time saved at the last shutdown",
            season_end - 60_000,
            false,
            Trust::Continued,
            EARLY,
            EARLY,
            EARLY,
            Admit,
            OVER,
        ),
        ("clock went on", NOON * 1000, false, Trust::Continued, Admit, DATE, STALE, OVER, OVER),
        ("NTP before the cloud", NOON * 1000, true, Trust::Ntp, Admit, Admit, STALE, OVER, OVER),
        ("clock ten years ahead", NOON * 1000 + YEARS, true, Trust::Unknown, DATE, DATE, DATE, Admit, OVER),
    ] {
        for staffed in [false, true] {
            let mut keeper = TimeKeeper::resume(boot(2), season_end, Some(newest));
            let (now, _) = keeper.now(ClockReading { system_ms, mono_us: 30_000_000, ntp });
            assert_eq!(now.trust, trust, "{name}");
            let view_at = |i: &mut DecisionInput, now: Now| {
                i.now = now;
                i.lane.staffed = staffed;
                // The replica was last heard of in the evening of the last day.
                i.view.age_ms = Some(now.wall_ms - season_end);
            };
            let expected = |says: Says| match says {
                // Staff are asked what the gate can't know by itself.
                Refuse(reason @ (Reason::ClockUnknown | Reason::ReplicaStale)) if staffed => Says::Ask(reason),
                other @ (Admit | Refuse(_) | Says::Ask(_)) => other,
            };
            let subscription = |i: &mut DecisionInput| {
                i.view.product.as_mut().unwrap().kind = ProductKind::Subscription;
                standing(i, PassStanding::Live);
            };
            let told = |what: &str| format!("{name}, {what}, staffed {staffed}");
            check(&told("visitor of today"), |i| view_at(i, now), expected(visitor));
            check(
                &told("daily pass"),
                |i| {
                    rules(i, &[Rule::PerDay(1)]);
                    view_at(i, now)
                },
                expected(daily),
            );
            check(
                &told("member"),
                |i| {
                    subscription(i);
                    view_at(i, now)
                },
                expected(member),
            );
            let last = |ends_ms: i64| {
                move |i: &mut DecisionInput| {
                    (claim(i).not_before, claim(i).expires) = (ends_ms / 1000 - 90 * DAY, ends_ms / 1000);
                }
            };
            check(
                &told("last season's, a week left"),
                |i| {
                    last(season_end + 7 * DAY_MS)(i);
                    view_at(i, now)
                },
                expected(last_season),
            );
            check(
                &told("ended in season"),
                |i| {
                    last(season_end - DAY_MS)(i);
                    view_at(i, now)
                },
                expected(ended),
            );
            // Full service by itself, as soon as time was signed and the changes came: nobody touches the gate.
            keeper.hear_signed(NOON * 1000, 31_000_000);
            let (now, _) = keeper.now(ClockReading { system_ms, mono_us: 31_000_000, ntp });
            assert_eq!((now.wall_ms, now.trust), (NOON * 1000, Trust::Signed), "{name}");
            let fresh = |i: &mut DecisionInput| {
                view_at(i, now);
                i.view.age_ms = Some(2000);
            };
            check(&told("visitor, full service"), fresh, Admit);
            check(
                &told("daily, full service"),
                |i| {
                    rules(i, &[Rule::PerDay(1)]);
                    fresh(i)
                },
                Admit,
            );
            check(
                &told("member, full service"),
                |i| {
                    subscription(i);
                    fresh(i)
                },
                Admit,
            );
            check(
                &told("last season's, full service"),
                |i| {
                    last(season_end + 7 * DAY_MS)(i);
                    fresh(i)
                },
                OVER,
            );
        }
    }
}

/// The keys of last season, and those that came meanwhile.
#[test]
fn rotated_keys_after_a_winter_are_unknown_until_they_are_told() {
    let this_season = crate::pass::IssuerKey {
        kid: crate::ids::Kid([9; 4]),
        key: crate::keys::PublicKey::from(&key(8)),
        ..issuer_key()
    };
    let text = crate::pass::issue(&claims(), this_season.kid, &key(8), crate::pass::VISITOR_LIMIT).unwrap();
    let before = crate::pass::open(&text, &keyring());
    check("the gate has not heard of the key", |i| i.pass = before, Says::Refuse(Reason::UnknownKey));
    let mut ring = keyring();
    ring.insert(this_season);
    ring.insert(crate::pass::IssuerKey { revoked: true, ..issuer_key() });
    let after = crate::pass::open(&text, &ring);
    check("it heard", |i| i.pass = after, Says::Admit);
    let old = crate::pass::open(&pass_text(), &ring);
    check("the old key is withdrawn", |i| i.pass = old, Says::Refuse(Reason::IssuerRevoked));
}
