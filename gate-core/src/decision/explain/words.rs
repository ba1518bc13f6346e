//! What each check found, in English and Romanian.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{Check, Outcome};
use crate::decision::{Allowance, DecisionInput, interrupted};
use crate::ids::Direction;
use crate::pass::{Claims, Defect, Finding, MalformedWhy};
use crate::product::{OfflineScope, Product, ProductKind, Rule, SUBSCRIPTION_STALENESS_S};
use crate::reason::{Language, Reason};
use crate::time::Trust;
use crate::view::{PassStanding, Readiness};

/// A sentence in both languages.
pub(super) type Pair = (String, String);

fn both(en: &str, ro: &str) -> Pair {
    (en.to_owned(), ro.to_owned())
}

/// What a check found in an input.
pub(super) fn found(check: Check, outcome: Outcome, input: &DecisionInput) -> Pair {
    match &input.pass.finding {
        Finding::Defective(defect) => match check {
            Check::FreeExit => free_exit(),
            Check::Prefix
            | Check::Version
            | Check::Form
            | Check::Key
            | Check::Signature
            | Check::Issuer
            | Check::Content
            | Check::Window
            | Check::Venue
            | Check::Gate
            | Check::Vendor
            | Check::Standing
            | Check::Product
            | Check::Row
            | Check::Freshness
            | Check::Rules
            | Check::Calendar
            | Check::Hours
            | Check::Exit
            | Check::Interval
            | Check::Child
            | Check::Uses
            | Check::Attention
            | Check::Capacity
            | Check::Lane => match outcome {
                Outcome::Failed(_) => defective(*defect),
                Outcome::Passed | Outcome::Asked => opened(check),
            },
        },
        Finding::Genuine { claims, .. } => genuine(check, outcome, claims, input),
    }
}

fn free_exit() -> Pair {
    both("The exit is free: it opens for everybody.", "Ieșirea este liberă: se deschide pentru oricine.")
}

/// What opening a text found before its defect, or all of it in a genuine pass.
fn opened(check: Check) -> Pair {
    match check {
        Check::Prefix => both("The text is a pass of this system.", "Textul este un permis al acestui sistem."),
        Check::Version => both("This gate knows its version.", "Bariera îi cunoaște versiunea."),
        Check::Form => both("It is built like a pass.", "Este construit ca un permis."),
        Check::Key => both("The key that it names is known here.", "Cheia pe care o numește este cunoscută aici."),
        Check::Signature => both("Its signature holds.", "Semnătura este valabilă."),
        Check::Issuer => both("The venue trusts that key.", "Locația are încredere în această cheie."),
        Check::FreeExit
        | Check::Content
        | Check::Window
        | Check::Venue
        | Check::Gate
        | Check::Vendor
        | Check::Standing
        | Check::Product
        | Check::Row
        | Check::Freshness
        | Check::Rules
        | Check::Calendar
        | Check::Hours
        | Check::Exit
        | Check::Interval
        | Check::Child
        | Check::Uses
        | Check::Attention
        | Check::Capacity
        | Check::Lane => both("It says what a pass may say.", "Conține ce poate conține un permis."),
    }
}

fn defective(defect: Defect) -> Pair {
    match defect {
        Defect::NotAPass => {
            both("The text is no pass: it does not begin with GP1:.", "Textul nu este un permis: nu începe cu GP1:.")
        }
        Defect::Unsupported => both(
            "It is a pass of a version that this gate does not know.",
            "Este un permis de o versiune pe care bariera nu o cunoaște.",
        ),
        Defect::Malformed(MalformedWhy::TooLong) => {
            both("The text is longer than any pass.", "Textul este mai lung decât orice permis.")
        }
        Defect::Malformed(MalformedWhy::Base45) => both(
            "The text is cut off or has characters that no pass has.",
            "Textul este trunchiat sau are caractere pe care niciun permis nu le are.",
        ),
        Defect::Malformed(MalformedWhy::Envelope) => both(
            "What the text holds is not built like a pass: cut off, or made by other software.",
            "Conținutul nu este construit ca un permis: este trunchiat sau făcut de alt program.",
        ),
        Defect::Malformed(MalformedWhy::Claims) => both(
            "It is signed, but what it says is not what a pass may say.",
            "Este semnat, dar conținutul nu este cel al unui permis.",
        ),
        Defect::UnknownKey(kid) => {
            (format!("No key {kid} is known here."), format!("Cheia {kid} nu este cunoscută aici."))
        }
        Defect::BadSignature(kid) => (
            format!("The signature does not hold under key {kid}: changed, or forged."),
            format!("Semnătura nu este valabilă cu cheia {kid}: modificat sau falsificat."),
        ),
        Defect::IssuerRevoked(kid) => {
            (format!("The venue withdrew key {kid}."), format!("Locația a retras cheia {kid}."))
        }
        Defect::KeyMisused(kid) => (
            format!("Key {kid} may not sign for this vendor, venue or time."),
            format!("Cheia {kid} nu poate semna pentru acest vânzător, această locație sau perioadă."),
        ),
    }
}

fn genuine(check: Check, outcome: Outcome, claims: &Claims, input: &DecisionInput) -> Pair {
    let fine = outcome == Outcome::Passed;
    let view = &input.view;
    match check {
        Check::FreeExit => free_exit(),
        Check::Prefix | Check::Version | Check::Form | Check::Key | Check::Signature | Check::Issuer => opened(check),
        Check::Content => (
            format!("It is pass {} of vendor {}, product {}.", claims.id(), claims.vendor, claims.product),
            format!("Este permisul {} al vânzătorului {}, produsul {}.", claims.id(), claims.vendor, claims.product),
        ),
        Check::Window => window(outcome, claims, input),
        Check::Venue => (
            format!("It is for venue {}; this is {}.", claims.venue, view.venue),
            format!("Este pentru locația {}; aici este {}.", claims.venue, view.venue),
        ),
        Check::Gate => gate(fine, input),
        Check::Vendor => vendor(outcome, claims, input),
        Check::Standing => standing(input),
        Check::Product => match &view.product {
            Some(product) => (
                format!("Its product is {} ({}).", product.number, product.name),
                format!("Produsul este {} ({}).", product.number, product.name),
            ),
            None => (
                format!("Product {} is not known here.", claims.product),
                format!("Produsul {} nu este cunoscut aici.", claims.product),
            ),
        },
        Check::Row => row(input),
        Check::Freshness => freshness(fine, input),
        Check::Rules => rules(input),
        Check::Calendar => calendar(fine, input),
        Check::Hours => hours(fine, input),
        Check::Exit => exit(input),
        Check::Interval => last(input),
        Check::Child if fine => both("No adult has to be there.", "Nu este nevoie de un adult."),
        Check::Child => both(
            "It is a child's pass: somebody must see an adult.",
            "Este permisul unui copil: cineva trebuie să vadă un adult.",
        ),
        Check::Uses => uses(input),
        Check::Attention if fine => both("Staff need not look.", "Personalul nu trebuie să verifice."),
        Check::Attention => both("Staff were to look at it.", "Personalul trebuia să îl verifice."),
        Check::Capacity => capacity(input),
        Check::Lane => match input.lane.readiness {
            Readiness::Ready => both("The lane was ready.", "Banda era pregătită."),
            Readiness::NoVehicle => both("Nobody stood at the lane.", "Nu era nimeni la bandă."),
            Readiness::OutOfOrder => both("Staff had closed the lane.", "Personalul închisese banda."),
            Readiness::Fault => both("The lane had a fault.", "Banda avea o defecțiune."),
        },
    }
}

fn window(outcome: Outcome, claims: &Claims, input: &DecisionInput) -> Pair {
    let at = |seconds: i64| moment(seconds.saturating_mul(1000), input);
    let row = input.view.row.as_ref().and_then(|row| row.until).filter(|until| *until < claims.expires);
    let (from, until, now) =
        (at(claims.not_before), at(row.unwrap_or(claims.expires)), moment(input.now.wall_ms, input));
    let (mut en, mut ro) = (
        format!("It is good from {from} until {until}; it was {now}."),
        format!("Este valabil de la {from} până la {until}; era {now}."),
    );
    if row.is_some() {
        en.push_str(" The office ended it earlier than the code says.");
        ro.push_str(" Biroul l-a încheiat mai devreme decât scrie în cod.");
    }
    if matches!(outcome, Outcome::Asked | Outcome::Failed(Reason::ClockUnknown)) {
        en.push_str(" The date was not known, so it may have begun.");
        ro.push_str(" Data nu era cunoscută, deci poate că începuse.");
    }
    (en, ro)
}

fn gate(fine: bool, input: &DecisionInput) -> Pair {
    let Some(product) = &input.view.product else {
        return both("Nothing says that it is for other gates.", "Nimic nu spune că este pentru alte intrări.");
    };
    match (product.offline_scope, product.home_gate) {
        (OfflineScope::HomeGate, Some(home)) if home == input.lane.gate => {
            both("This is its home gate.", "Aceasta este intrarea lui.")
        }
        (OfflineScope::HomeGate, Some(home)) => (
            format!("It is good at its home gate {home} only; this is another."),
            format!("Este valabil doar la intrarea lui {home}; aceasta este alta."),
        ),
        (OfflineScope::HomeGate, None) => both(
            "Its product is good at one home gate only, and none was named.",
            "Produsul este valabil la o singură intrare și niciuna nu a fost numită.",
        ),
        (OfflineScope::Site | OfflineScope::Any, _) if fine => {
            both("It opens what lies behind this gate.", "Deschide zona din spatele acestei bariere.")
        }
        (OfflineScope::Site | OfflineScope::Any, _) => both(
            "None of the zones that it opens lies behind this gate.",
            "Niciuna dintre zonele pe care le deschide nu este în spatele acestei bariere.",
        ),
    }
}

fn vendor(outcome: Outcome, claims: &Claims, input: &DecisionInput) -> Pair {
    let code = &claims.vendor;
    match (&input.view.vendor, outcome) {
        (_, Outcome::Failed(Reason::ClockUnknown)) => (
            format!("The time zone {} is not known to this software.", input.view.day_rule.time_zone),
            format!("Fusul orar {} nu este cunoscut de acest program.", input.view.day_rule.time_zone),
        ),
        (Some(vendor), Outcome::Passed | Outcome::Asked)
            if !vendor.trades_daily() && input.now.trust == Trust::Unknown =>
        {
            (
                format!("Vendor {code} does not trade every day, and what day it is was not known."),
                format!("Vânzătorul {code} nu este activ zilnic, iar ziua nu era cunoscută."),
            )
        }
        (_, Outcome::Passed | Outcome::Asked) => {
            (format!("Vendor {code} trades on this day."), format!("Vânzătorul {code} este activ în această zi."))
        }
        (None, Outcome::Failed(_)) => {
            (format!("Vendor {code} is not known here."), format!("Vânzătorul {code} nu este cunoscut aici."))
        }
        (Some(vendor), Outcome::Failed(_)) if !vendor.active => {
            (format!("Vendor {code} is switched off."), format!("Vânzătorul {code} este dezactivat."))
        }
        (Some(_), Outcome::Failed(_)) => (
            format!("Vendor {code} does not trade on this day."),
            format!("Vânzătorul {code} nu este activ în această zi."),
        ),
    }
}

fn standing(input: &DecisionInput) -> Pair {
    match input.view.row.as_ref().map(|row| row.standing) {
        None => both("Nobody said anything against it.", "Nimeni nu a spus nimic împotriva lui."),
        Some(PassStanding::Live) => both("It is live.", "Este activ."),
        Some(PassStanding::Blocked) => both("It is on hold.", "Este blocat temporar."),
        Some(PassStanding::Revoked) => both("It was withdrawn.", "A fost retras."),
        Some(PassStanding::Superseded) => both("It was replaced by a newer one.", "A fost înlocuit de unul mai nou."),
    }
}

fn row(input: &DecisionInput) -> Pair {
    let kind = input.view.product.as_ref().map(|product| product.kind);
    match (kind, input.view.row.is_some()) {
        (Some(ProductKind::Subscription), true) => {
            both("It is a subscription, and this gate knows it.", "Este un abonament, iar bariera îl cunoaște.")
        }
        (Some(ProductKind::Subscription), false) => both(
            "It is a subscription that this gate has never heard of.",
            "Este un abonament de care bariera nu a auzit.",
        ),
        (Some(ProductKind::Visitor) | None, _) => {
            both("A visitor's pass need not be known here.", "Un permis de vizitator nu trebuie să fie cunoscut aici.")
        }
    }
}

/// The replica's age and what the product tolerates.
fn freshness(fine: bool, input: &DecisionInput) -> Pair {
    let limit = |product: &Product| match (product.max_staleness_s, product.kind) {
        (Some(limit), _) => Some(limit),
        (None, ProductKind::Subscription) => Some(SUBSCRIPTION_STALENESS_S),
        (None, ProductKind::Visitor) => None,
    };
    let (en, ro) = age(input.view.age_ms);
    match input.view.product.as_ref().and_then(limit) {
        None => (
            format!("The replica was {en}; any age will do for this product."),
            format!("Copia locală era {ro}; pentru acest produs orice vechime este bună."),
        ),
        Some(limit) => {
            let limit = span(i64::from(limit) * 1000);
            let (verdict_en, verdict_ro) =
                if fine { ("fresh enough", "destul de nouă") } else { ("too old", "prea veche") };
            (
                format!("The replica was {en}, at most {} will do: {verdict_en}.", limit.0),
                format!("Copia locală era {ro}, se acceptă cel mult {}: {verdict_ro}.", limit.1),
            )
        }
    }
}

fn rules(input: &DecisionInput) -> Pair {
    let texts = input.view.product.iter().flat_map(|product| &product.rules);
    let (known, unknown): (Vec<_>, Vec<_>) = texts.partition(|text| Rule::read(text).is_some());
    let names = |texts: &[&crate::product::RuleText]| {
        let name = |text: &&crate::product::RuleText| {
            let args: Vec<_> = text.args.iter().map(ToString::to_string).collect();
            if args.is_empty() { text.name.clone() } else { format!("{}({})", text.name, args.join(", ")) }
        };
        texts.iter().map(name).collect::<Vec<_>>().join(", ")
    };
    if !unknown.is_empty() {
        let names = names(&unknown);
        return (
            format!("This software does not understand the rule {names}."),
            format!("Acest program nu înțelege regula {names}."),
        );
    }
    if known.is_empty() {
        return both("Its product has no rule: it is good once.", "Produsul nu are reguli: este valabil o dată.");
    }
    let names = names(&known);
    (format!("Its rules are understood: {names}."), format!("Regulile sunt înțelese: {names}."))
}

fn calendar(fine: bool, input: &DecisionInput) -> Pair {
    let (en, ro) = trust(input.now.trust);
    if fine {
        (
            format!("The clock ({en}) is good enough for its rules."),
            format!("Ceasul ({ro}) este destul de bun pentru reguli."),
        )
    } else {
        (
            format!("Days and hours need a clock that NTP or the venue confirms; this one was {en}."),
            format!("Zilele și orele cer un ceas confirmat de NTP sau de locație; acesta era {ro}."),
        )
    }
}

fn hours(fine: bool, input: &DecisionInput) -> Pair {
    let now = moment(input.now.wall_ms, input);
    if fine {
        (format!("{now} is not outside its hours."), format!("{now} nu este în afara orelor."))
    } else {
        (format!("{now} is outside its hours."), format!("{now} este în afara orelor."))
    }
}

fn exit(input: &DecisionInput) -> Pair {
    let uses = &input.view.uses;
    if let Some(again) = interrupted(&input.view, input.now) {
        return (
            format!(
                "Nobody knows whether the gate opened for admission {}: this makes up for it, and takes no further use.",
                again.event
            ),
            format!(
                "Nu se știe dacă bariera s-a deschis pentru admiterea {}: aceasta o înlocuiește, fără a consuma încă o utilizare.",
                again.event
            ),
        );
    }
    if uses.inside {
        both("By what is known it is inside.", "După ce se știe, este înăuntru.")
    } else {
        both("By what is known it is not inside.", "După ce se știe, nu este înăuntru.")
    }
}

fn last(input: &DecisionInput) -> Pair {
    let Some(last) = &input.view.uses.last else {
        return both("No earlier admission is known.", "Nu se cunoaște nicio admitere anterioară.");
    };
    let at = moment(last.at_ms, input);
    let name = if last.gate_name.is_empty() { last.gate.to_string() } else { last.gate_name.clone() };
    // What the clock said then and what it says now may be further apart or nearer.
    let (ago, acum) = last.elapsed_ms.map(|ms| ms / 1000).map_or_else(Default::default, |seconds| {
        (
            format!(", {seconds} s before by the clock that can't be set"),
            format!(", cu {seconds} s înainte după ceasul care nu se reglează"),
        )
    });
    match last.direction {
        Direction::In => {
            (format!("It last came in at {at}, {name}{ago}."), format!("A intrat ultima dată la {at}, {name}{acum}."))
        }
        Direction::Out => {
            (format!("It last went out at {at}, {name}{ago}."), format!("A ieșit ultima dată la {at}, {name}{acum}."))
        }
    }
}

fn uses(input: &DecisionInput) -> Pair {
    let rules: Vec<Rule> =
        input.view.product.iter().flat_map(|product| &product.rules).filter_map(Rule::read).collect();
    let allowed = Allowance::of(&rules, input.view.row.as_ref().and_then(|row| row.uses));
    let uses = &input.view.uses;
    let of = |limit: Option<u32>, en: &str, ro: &str| match limit {
        Some(limit) => (format!(" of {limit}"), format!(" din {limit}")),
        None => (en.to_owned(), ro.to_owned()),
    };
    let (all, day) =
        (of(allowed.in_all, " (no limit)", " (fără limită)"), of(allowed.per_day, " (no limit)", " (fără limită)"));
    (
        format!("It was used {}{} times in all and {}{} on this day.", uses.total, all.0, uses.today, day.0),
        format!(
            "A fost folosit de {}{} ori în total și de {}{} ori în această zi.",
            uses.total, all.1, uses.today, day.1
        ),
    )
}

fn capacity(input: &DecisionInput) -> Pair {
    if input.view.spaces.is_empty() {
        return both("No zone is known behind this gate.", "Nu se cunoaște nicio zonă în spatele barierei.");
    }
    let (mut en, mut ro) = (vec![], vec![]);
    for space in &input.view.spaces {
        let zone = space.zone.to_string();
        let zone = zone.get(zone.len().saturating_sub(4)..).unwrap_or("");
        let kept = interrupted(&input.view, input.now).is_some_and(|first| first.places.contains(&space.zone));
        let (why_en, why_ro) = match (space.best_effort, kept) {
            (true, _) => (" (needs none)", " (nu sunt necesare)"),
            (false, true) => (" (and the interrupted admission's own)", " (și cel al admiterii întrerupte)"),
            (false, false) => ("", ""),
        };
        en.push(format!("{} in zone …{zone}{why_en}", space.rights_held));
        ro.push(format!("{} în zona …{zone}{why_ro}", space.rights_held));
    }
    (
        format!("Rights to a place held at this gate: {}.", en.join(", ")),
        format!("Drepturi de loc deținute la această barieră: {}.", ro.join(", ")),
    )
}

/// When, with what clock, on how old a replica, and where it was decided: one line.
pub(super) fn circumstances(input: &DecisionInput, language: Language) -> String {
    let (at, position) = (moment(input.now.wall_ms, input), input.view.position);
    let (trust, age, gate) = (trust(input.now.trust), age(input.view.age_ms), input.lane.gate);
    match language {
        Language::En => format!(
            "Decided {at} at gate {gate}; clock {}; replica {}, at change {position}; rules {}.",
            trust.0, age.0, input.rules
        ),
        Language::Ro => format!(
            "Decis {at} la bariera {gate}; ceas {}; copia locală {}, la modificarea {position}; regulile {}.",
            trust.1, age.1, input.rules
        ),
    }
}

fn trust(trust: Trust) -> (&'static str, &'static str) {
    match trust {
        Trust::Signed => ("signed by the venue", "semnat de locație"),
        Trust::Ntp => ("disciplined by NTP", "ținut de NTP"),
        Trust::Continued => ("running on, confirmed by nobody", "a mers mai departe, neconfirmat"),
        Trust::Unknown => ("not knowing the date", "fără dată cunoscută"),
    }
}

fn age(age_ms: Option<i64>) -> Pair {
    match age_ms {
        None => both("never brought up to date", "niciodată adusă la zi"),
        Some(age_ms) => {
            let (en, ro) = span(age_ms);
            (format!("{en} old"), format!("veche de {ro}"))
        }
    }
}

/// A duration in its two largest units.
fn span(ms: i64) -> Pair {
    let seconds = ms.max(0) / 1000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    let text = |day: &str| {
        if days > 0 {
            format!("{days} {day} {hours} h")
        } else if hours > 0 {
            format!("{hours} h {minutes} min")
        } else if minutes > 0 {
            format!("{minutes} min {} s", seconds % 60)
        } else {
            format!("{seconds} s")
        }
    };
    (text("d"), text("zile"))
}

/// A moment in the venue's time zone, or in UTC where that is not known.
fn moment(ms: i64, input: &DecisionInput) -> String {
    let zone = TimeZone::get(&input.view.day_rule.time_zone).unwrap_or(TimeZone::UTC);
    match Timestamp::from_millisecond(ms) {
        Ok(at) => at.to_zoned(zone).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => format!("{ms} ms"),
    }
}
