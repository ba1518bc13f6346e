//! How a gate decides: a pure, total function from what it knows to a verdict.
//!
//! The order is fixed and the first failing reason is the answer: readable, version, known key, signature, well-formed,
//! time window (with time trust), venue and zone, vendor, revoked or superseded, replica fresh enough, product rules,
//! used, capacity right, lane ready. Validity comes strictly before "already used": the other order once admitted a
//! revoked ticket as a harmless duplicate elsewhere.

mod allowance;
mod explain;
mod exposure;
mod replay;

use serde::{Deserialize, Serialize};

use crate::ids::{Direction, EventId, PassId, ZoneId};
use crate::mutant::{self, Mutant};
use crate::pass::{Claims, Defect, Finding, MalformedWhy, PassFlags, ScannedPass};
use crate::product::{OfflineScope, Product, ProductKind, Rule, SUBSCRIPTION_STALENESS_S, SecondScan};
use crate::reason::Reason;
use crate::time::{LocalMoment, Now, ServiceDay, Trust};
use crate::view::{Egress, LaneContext, LastUse, PassStanding, Readiness, ReplicaView, Unopened, Uses};

pub use allowance::Allowance;
pub use explain::{Check, Outcome, Step, circumstances, explain};
pub use exposure::{Exposure, exposure};
pub use replay::{Recorded, Replayed, replay};

/// Increased whenever the same input could give another verdict.
///
/// 2: an exit frees places only for somebody who can really have been inside (`places_freed`).
/// 3: a product that is good at its home gate only is refused at every other gate (`opens_here`); where staff stand by,
///    they are asked about a pass that seems to begin later while the date is not known (`check_window`). A text that is
///    longer than any pass has a reason of its own.
/// 4: whoever is let in again to make up for an opening of which nobody knows takes a place like everybody, and the first
///    one's is free: with a recount between the two nobody would have counted.
/// 5: how long ago something was here is told by the monotonic clock where that has been running since (`since_ms`). A vendor
///    who does not trade every day is not judged by a date that is not known: staff are asked, where there are any. Whoever
///    shows a used pass is told of the use, not of the way out since.
pub const RULES_VERSION: u16 = 5;

/// An authorised pass whose opening is unknown may be presented again for this long, milliseconds.
pub const REPRESENT_WINDOW_MS: i64 = 10 * 60 * 1000;

/// A replica that was brought up to date this short ago has heard of every use that other gates could report, milliseconds.
const HEARD_OF_ALL_MS: i64 = 5 * 60 * 1000;

/// With the clock unsure, a pass may begin at most this far after the earliest possible now, seconds.
const DOUBT_WINDOW_S: i64 = 24 * 3600;

/// Everything a decision was made from. Canonical, kept in the decision event, never holding the token itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DecisionInput {
    /// What the reader found.
    pub pass: ScannedPass,
    /// What the replica said.
    pub view: ReplicaView,
    /// The lane.
    pub lane: LaneContext,
    /// The moment.
    pub now: Now,
    /// [`RULES_VERSION`] of the software that decided.
    pub rules: u16,
}

impl DecisionInput {
    /// Decides again; equal to the verdict that was recorded if the rules version is the same.
    pub fn replay(&self) -> Verdict {
        decide(&self.pass, &self.view, &self.lane, self.now)
    }
}

/// What a gate answers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Let through.
    Admit(Admission),
    /// Staff decide; if they say yes, this is the admission.
    Ask(Question),
    /// Do not let through.
    Refuse(Refusal),
}

/// An authorised opening and what it charges.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Admission {
    /// The pass, if one was believed; free egress needs none.
    pub pass: Option<PassId>,
    /// Which way.
    pub direction: Direction,
    /// The service day that is charged.
    pub service_day: ServiceDay,
    /// Whether a use is taken.
    pub charges_use: bool,
    /// Uses left after this one, at most (other gates may have used some); `None`: not counted.
    pub remaining: Option<u32>,
    /// The zones in which a right is spent (in) or a place is freed (out). Empty on the way out: the gate opens, but
    /// nothing says that a place became free.
    pub zones: Vec<ZoneId>,
    /// The earlier admission that this one makes up for: no use is taken again, and its places are taken over
    /// ([`crate::event::takes_over`]).
    pub reopens: Option<EventId>,
    /// Decided although the clock was unsure.
    pub clock_doubt: bool,
    /// How long the gate opens, milliseconds; `None` is the lane's own.
    pub open_ms: Option<u32>,
    /// The holder's language is Romanian.
    pub romanian: bool,
}

/// Something only staff can decide.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Question {
    /// Why they are asked.
    pub reason: Reason,
    /// Further reasons why they would be asked; their yes covers these too.
    pub also: Vec<Reason>,
    /// What the product tells them.
    pub text: Option<String>,
    /// When and where it was used, where that is the question.
    pub last: Option<LastUse>,
    /// What happens if they say yes.
    pub admission: Admission,
}

/// No, and why.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Refusal {
    /// The first failing reason.
    pub reason: Reason,
    /// The pass, if one was believed.
    pub pass: Option<PassId>,
    /// When and where it was used, where that is the reason.
    pub last: Option<LastUse>,
    /// Gates that would take it, where that is the reason.
    pub right_gates: Vec<String>,
    /// The holder's language is Romanian.
    pub romanian: bool,
}

/// Decides about one presentation.
pub fn decide(pass: &ScannedPass, view: &ReplicaView, lane: &LaneContext, now: Now) -> Verdict {
    decide_before(&mut (), pass, view, lane, now)
}

/// Whoever wants to know what `decide` looks at, in its order.
trait Witness {
    /// The next check; all before it passed.
    fn looks_at(&mut self, check: Check);
    /// The present check is one that staff decide.
    fn asks(&mut self);
}

/// At the gate nobody asks.
impl Witness for () {
    fn looks_at(&mut self, _check: Check) {}

    fn asks(&mut self) {}
}

fn decide_before(
    witness: &mut impl Witness,
    pass: &ScannedPass,
    view: &ReplicaView,
    lane: &LaneContext,
    now: Now,
) -> Verdict {
    match lane.direction {
        Direction::In => decide_entry(witness, pass, view, lane, now),
        Direction::Out => decide_exit(witness, pass, view, lane, now),
    }
}

fn reason_of(defect: Defect) -> Reason {
    match defect {
        Defect::NotAPass => Reason::NotAPass,
        Defect::Unsupported => Reason::Unsupported,
        Defect::Malformed(MalformedWhy::TooLong) => Reason::TooLong,
        Defect::Malformed(MalformedWhy::Base45 | MalformedWhy::Envelope | MalformedWhy::Claims) => Reason::Malformed,
        Defect::UnknownKey(_) => Reason::UnknownKey,
        Defect::IssuerRevoked(_) => Reason::IssuerRevoked,
        Defect::BadSignature(_) | Defect::KeyMisused(_) => Reason::BadSignature,
    }
}

/// When and where the pass was used, where it helps to say so (A29).
fn use_told(reason: Reason, uses: &Uses) -> Option<&LastUse> {
    if reason == Reason::AlreadyUsed {
        uses.first_use()
    } else if matches!(reason, Reason::UsedToday | Reason::NoUsesLeft) {
        uses.newest_use()
    } else if matches!(reason, Reason::AlreadyInside | Reason::TooSoon) {
        uses.last.as_ref()
    } else {
        None
    }
}

/// Builds refusals of one presentation.
struct Refuser<'a> {
    claims: Option<&'a Claims>,
    view: &'a ReplicaView,
}

impl Refuser<'_> {
    fn refuse(&self, reason: Reason) -> Verdict {
        Verdict::Refuse(Refusal {
            reason,
            pass: self.claims.map(Claims::id),
            last: use_told(reason, &self.view.uses).cloned(),
            right_gates: if reason == Reason::WrongGate { self.view.right_gates.clone() } else { vec![] },
            romanian: self.claims.is_some_and(|c| c.flags.has(PassFlags::ROMANIAN)),
        })
    }
}

fn decide_exit(
    witness: &mut impl Witness,
    pass: &ScannedPass,
    view: &ReplicaView,
    lane: &LaneContext,
    now: Now,
) -> Verdict {
    let claims = match &pass.finding {
        Finding::Genuine { claims, .. } => Some(claims),
        Finding::Defective(_) => None,
    };
    let refuser = Refuser { claims, view };
    // Leaving charges nothing, so an unknown time zone costs no more than a day that is off.
    let service_day = view.day_rule.local(now.wall_ms).map_or(utc_day(now), |local| local.day);
    let leave = |claims: Option<&Claims>| {
        Verdict::Admit(Admission {
            pass: claims.map(Claims::id),
            direction: Direction::Out,
            service_day,
            charges_use: false,
            remaining: None,
            zones: places_freed(claims, view),
            reopens: None,
            clock_doubt: now.trust < Trust::Ntp,
            open_ms: None,
            romanian: claims.is_some_and(|c| c.flags.has(PassFlags::ROMANIAN)),
        })
    };
    match (lane.egress, &pass.finding) {
        // Fire practice: nobody is kept inside by a code, a clock or a fault.
        (Egress::Free, _) => {
            witness.looks_at(Check::FreeExit);
            leave(claims)
        }
        (Egress::Scan, Finding::Defective(defect)) => {
            witness.looks_at(Check::of(*defect));
            refuser.refuse(reason_of(*defect))
        }
        (Egress::Scan, Finding::Genuine { claims, .. }) => {
            witness.looks_at(Check::Content);
            witness.looks_at(Check::Venue);
            if claims.venue != view.venue {
                return refuser.refuse(Reason::WrongVenue);
            }
            witness.looks_at(Check::Lane);
            match lane.readiness {
                Readiness::Ready => leave(Some(claims)),
                Readiness::NoVehicle => refuser.refuse(Reason::NoVehicle),
                Readiness::OutOfOrder => refuser.refuse(Reason::OutOfOrder),
                Readiness::Fault => refuser.refuse(Reason::LaneFault),
            }
        }
    }
}

/// The zones in which an exit frees a place. Whether the gate opens does not depend on it.
///
/// A freed place is a capacity right that an entrance will spend, so it must come from somebody who really leaves:
///
/// - No pass of this venue: none. At a free exit any picture opens the gate, and any picture would mint a place. Who
///   leaves without a pass is counted by the exit button or by what sees the passage.
/// - The last that is known of the pass is that it left: none. It freed its place then.
/// - Nothing is known of it, and the replica is fresh: none. It never came in; a pass straight from the printer would
///   mint places. With an older replica, or one that never heard anything, the entry may be one that this gate has not
///   heard of yet, so the place is freed: counting too few inside is put right by the next recount, but a zone that
///   fills up with places which nobody gives back turns everybody away.
/// - It is known to be inside: one place in each zone.
///
/// Somebody whom staff let in by an override and who leaves with a pass was not counted with that pass: such a place
/// comes back with the next recount.
fn places_freed(claims: Option<&Claims>, view: &ReplicaView) -> Vec<ZoneId> {
    let leaves = claims.is_some_and(|claims| claims.venue == view.venue)
        && match &view.uses.last {
            Some(last) => last.direction == Direction::In,
            None => view.age_ms.is_none_or(|age_ms| age_ms > HEARD_OF_ALL_MS),
        };
    if leaves { view.spaces.iter().map(|space| space.zone).collect() } else { vec![] }
}

fn decide_entry(
    witness: &mut impl Witness,
    pass: &ScannedPass,
    view: &ReplicaView,
    lane: &LaneContext,
    now: Now,
) -> Verdict {
    let claims = match &pass.finding {
        Finding::Defective(defect) => {
            witness.looks_at(Check::of(*defect));
            return Refuser { claims: None, view }.refuse(reason_of(*defect));
        }
        Finding::Genuine { claims, .. } => claims,
    };
    let refuser = Refuser { claims: Some(claims), view };
    witness.looks_at(Check::Content);
    match judge_entry(witness, claims, view, lane, now) {
        Err(reason) => refuser.refuse(reason),
        Ok(Judged { admission, questions }) => match questions.split_first() {
            None => Verdict::Admit(admission),
            Some((reason, also)) => Verdict::Ask(Question {
                reason: *reason,
                also: also.to_vec(),
                text: view.product.as_ref().and_then(|product| product.attention.clone()),
                last: questions.iter().find_map(|reason| use_told(*reason, &view.uses)).cloned(),
                admission,
            }),
        },
    }
}

/// An entry that may happen, perhaps only if staff agree.
struct Judged {
    admission: Admission,
    questions: Vec<Reason>,
}

/// What staff would be asked. Where there are none, the first question is the answer.
struct Questions<'a, W> {
    staffed: bool,
    asked: Vec<Reason>,
    witness: &'a mut W,
}

impl<W: Witness> Questions<'_, W> {
    fn ask(&mut self, reason: Reason) -> Result<(), Reason> {
        if !self.staffed {
            return Err(reason);
        }
        self.witness.asks();
        if !self.asked.contains(&reason) {
            self.asked.push(reason);
        }
        Ok(())
    }

    fn looks_at(&mut self, check: Check) {
        self.witness.looks_at(check);
    }
}

fn judge_entry(
    witness: &mut impl Witness,
    claims: &Claims,
    view: &ReplicaView,
    lane: &LaneContext,
    now: Now,
) -> Result<Judged, Reason> {
    let mut questions = Questions { staffed: lane.staffed, asked: vec![], witness };

    questions.looks_at(Check::Window);
    if check_window(claims, view, now)? == Window::Doubtful {
        questions.ask(Reason::ClockUnknown)?;
    }
    questions.looks_at(Check::Venue);
    if claims.venue != view.venue {
        return Err(Reason::WrongVenue);
    }
    questions.looks_at(Check::Gate);
    let product = view.product.as_ref();
    if product.is_some_and(|product| !opens_here(product, view, lane)) {
        return Err(Reason::WrongGate);
    }
    questions.looks_at(Check::Vendor);
    let local = view.day_rule.local(now.wall_ms).map_err(|_| Reason::ClockUnknown)?;
    match view.vendor.as_ref().filter(|vendor| vendor.active) {
        None => return Err(Reason::VendorInactive),
        Some(vendor) if vendor.trades_daily() => {}
        // A day that nobody knows turns nobody away; where staff stand by, they know it.
        Some(_) if now.trust == Trust::Unknown => {
            if lane.staffed {
                questions.ask(Reason::ClockUnknown)?;
            }
        }
        Some(vendor) if vendor.trades_on(local.day) => {}
        Some(_) => return Err(Reason::VendorInactive),
    }
    questions.looks_at(Check::Standing);
    let row = view.row.as_ref().filter(|_| !mutant::active(Mutant::IgnoreRevocation));
    match row.map(|row| row.standing) {
        Some(PassStanding::Revoked) => return Err(Reason::Revoked),
        Some(PassStanding::Superseded) => return Err(Reason::Superseded),
        Some(PassStanding::Blocked) => return Err(Reason::Blocked),
        Some(PassStanding::Live) | None => {}
    }
    questions.looks_at(Check::Product);
    let product = product.ok_or(Reason::UnknownProduct)?;
    questions.looks_at(Check::Row);
    if product.kind == ProductKind::Subscription && view.row.is_none() {
        return Err(Reason::UnknownPass);
    }
    questions.looks_at(Check::Freshness);
    if is_stale(product, view) {
        questions.ask(Reason::ReplicaStale)?;
    }
    questions.looks_at(Check::Rules);
    let rules =
        product.rules.iter().map(|text| Rule::read(text).ok_or(Reason::UnknownRule)).collect::<Result<Vec<_>, _>>()?;
    let allowance = Allowance::of(&rules, view.row.as_ref().and_then(|row| row.uses));

    questions.looks_at(Check::Calendar);
    if allowance.needs_calendar(&rules) && now.trust < Trust::Ntp {
        questions.ask(Reason::ClockUnknown)?;
    }
    questions.looks_at(Check::Hours);
    if !within_hours(&rules, local) {
        return Err(Reason::OutsideHours);
    }
    // The presentation that completes an interrupted admission was judged by the rules already.
    let interrupted = interrupted(view, now);
    let reopens = interrupted.map(|unopened| unopened.event);
    let mut charges_use = reopens.is_none();
    questions.looks_at(Check::Exit);
    if reopens.is_none() {
        let reentry = rules.contains(&Rule::ReentryAfterExit);
        if reentry && view.uses.inside {
            return Err(Reason::AlreadyInside);
        }
        if reentry && view.uses.today > 0 && !view.uses.inside {
            // Out again since the last entry of this day: that entry is still paid for.
            charges_use = false;
        }
        questions.looks_at(Check::Interval);
        for rule in &rules {
            if let (Rule::MinInterval(seconds), Some(last)) = (rule, &view.uses.last)
                && since_ms(last.at_ms, last.elapsed_ms, now) < i64::from(*seconds) * 1000
            {
                return Err(Reason::TooSoon);
            }
        }
    }
    questions.looks_at(Check::Child);
    if rules.contains(&Rule::ChildWithAdult) && claims.flags.has(PassFlags::CHILD) {
        questions.ask(Reason::ChildNeedsAdult)?;
    }
    questions.looks_at(Check::Uses);
    let remaining = allowance.after(&view.uses, charges_use);
    if charges_use && let Some(reason) = allowance.refuses(&view.uses) {
        match product.second_scan {
            SecondScan::Soft => questions.ask(reason)?,
            SecondScan::Hard => return Err(reason),
        }
    }
    questions.looks_at(Check::Attention);
    // At an unattended lane there is nobody to look, and the flag is not the holder's fault.
    if lane.staffed && (claims.flags.has(PassFlags::ATTENTION) || product.attention.is_some()) {
        questions.ask(Reason::Attention)?;
    }
    questions.looks_at(Check::Capacity);
    // The place that the interrupted admission took, if it still does.
    let kept = |zone| interrupted.is_some_and(|unopened| unopened.places.contains(&zone));
    let full = view.spaces.iter().any(|space| space.rights_held == 0 && !space.best_effort && !kept(space.zone));
    if full && !mutant::active(Mutant::IgnoreRights) {
        return Err(Reason::LotFull);
    }
    // No zone is known yet, so there is no right that could be spent: the gate is not set up.
    if view.spaces.is_empty() {
        return Err(Reason::LaneFault);
    }
    questions.looks_at(Check::Lane);
    match lane.readiness {
        Readiness::Ready => {}
        Readiness::NoVehicle => return Err(Reason::NoVehicle),
        Readiness::OutOfOrder => return Err(Reason::OutOfOrder),
        Readiness::Fault => return Err(Reason::LaneFault),
    }
    let admission = Admission {
        pass: Some(claims.id()),
        direction: Direction::In,
        service_day: local.day,
        charges_use,
        remaining,
        zones: view.spaces.iter().map(|space| space.zone).collect(),
        reopens,
        clock_doubt: now.trust < Trust::Ntp,
        open_ms: product.open_ms,
        romanian: claims.flags.has(PassFlags::ROMANIAN),
    };
    Ok(Judged { admission, questions: questions.asked })
}

/// The admission of which nobody knows whether the gate opened, if it may still be made up for.
fn interrupted(view: &ReplicaView, now: Now) -> Option<&Unopened> {
    view.uses.unopened.as_ref().filter(|unopened| {
        let ago_ms = since_ms(unopened.at_ms, unopened.elapsed_ms, now);
        (0..=REPRESENT_WINDOW_MS).contains(&ago_ms) || mutant::active(Mutant::RepresentForever)
    })
}

/// How long ago something was, milliseconds: by the monotonic clock where that was running, else by the wall clock, below
/// zero if that was set back since.
fn since_ms(at_ms: i64, elapsed_ms: Option<u64>, now: Now) -> i64 {
    match elapsed_ms {
        Some(elapsed) => i64::try_from(elapsed).unwrap_or(i64::MAX),
        None => now.wall_ms.saturating_sub(at_ms),
    }
}

/// Whether the present moment lies in a pass's window.
#[derive(PartialEq, Eq)]
enum Window {
    /// Yes, or nothing says otherwise.
    Within,
    /// It seems to begin later, but the date is not known: it may have begun long ago.
    Doubtful,
}

fn check_window(claims: &Claims, view: &ReplicaView, now: Now) -> Result<Window, Reason> {
    let seconds = now.wall_ms.div_euclid(1000);
    let until = view.row.as_ref().and_then(|row| row.until).map_or(claims.expires, |until| until.min(claims.expires));
    // Whatever the trust, the true time is not earlier than this.
    if seconds >= until {
        return Err(Reason::Expired);
    }
    if seconds < claims.not_before {
        return match now.trust {
            Trust::Signed | Trust::Ntp | Trust::Continued => Err(Reason::NotYetValid),
            Trust::Unknown if claims.not_before - seconds > DOUBT_WINDOW_S => Ok(Window::Doubtful),
            Trust::Unknown => Ok(Window::Within),
        };
    }
    Ok(Window::Within)
}

/// Whether a product is good at this gate: one of its zones lies behind it, and if the product is good at its home gate
/// only, this is it. Another gate can never know whether the home gate has admitted the pass a moment ago, however fresh
/// its replica is; and where no home gate is named, no gate is home.
fn opens_here(product: &Product, view: &ReplicaView, lane: &LaneContext) -> bool {
    let leads_there = product.zones.is_empty() || view.spaces.iter().any(|space| product.zones.contains(&space.zone));
    let at_home = match product.offline_scope {
        OfflineScope::HomeGate => product.home_gate == Some(lane.gate),
        OfflineScope::Site | OfflineScope::Any => true,
    };
    leads_there && at_home
}

fn is_stale(product: &Product, view: &ReplicaView) -> bool {
    let limit = match (product.max_staleness_s, product.kind) {
        (Some(limit), _) => limit,
        (None, ProductKind::Subscription) => SUBSCRIPTION_STALENESS_S,
        (None, ProductKind::Visitor) => return false,
    };
    view.age_ms.is_none_or(|age| age > i64::from(limit) * 1000)
}

fn within_hours(rules: &[Rule], local: LocalMoment) -> bool {
    let mut windows = rules.iter().filter_map(|rule| match rule {
        Rule::Hours { weekdays, from_min, to_min } => Some((*weekdays, *from_min, *to_min)),
        Rule::Single
        | Rule::Times(_)
        | Rule::PerDay(_)
        | Rule::Unlimited
        | Rule::ReentryAfterExit
        | Rule::MinInterval(_)
        | Rule::ChildWithAdult => None,
    });
    let open = |(weekdays, from, to): (u8, u16, u16)| {
        let on = |weekday: u8| weekdays & (1 << weekday) != 0;
        let minute = local.minute;
        if from < to {
            on(local.weekday) && (from..to).contains(&minute)
        } else {
            // Over midnight: the evening part belongs to this weekday, the morning part to the one before.
            (on(local.weekday) && minute >= from) || (on((local.weekday + 6) % 7) && minute < to)
        }
    };
    match windows.next() {
        None => true,
        Some(first) => open(first) || windows.any(open),
    }
}

/// The UTC day, where no better calendar can be had.
fn utc_day(now: Now) -> ServiceDay {
    ServiceDay(i32::try_from(now.wall_ms.div_euclid(86_400_000)).unwrap_or(0))
}

#[cfg(test)]
mod tests;
