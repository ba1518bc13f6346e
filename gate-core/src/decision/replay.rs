//! A recorded decision made again, bit for bit, and explained.

use super::{Admission, DecisionInput, RULES_VERSION, Step, Verdict, circumstances, explain};
use crate::canonical;
use crate::event::{Confirmation, Event, EventBody};
use crate::reason::{Language, Reason};

/// What a decision event says was decided.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Recorded {
    /// Somebody was let through.
    Admitted {
        /// What was granted.
        admission: Admission,
        /// The question that staff answered with yes, if there was one.
        confirmed: Option<Confirmation>,
    },
    /// Somebody was turned away.
    Refused(Reason),
}

/// A decision made again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Replayed {
    /// What the event says.
    pub recorded: Recorded,
    /// What the same input gives now.
    pub again: Verdict,
    /// Whether the two are the same, by the canonical bytes of what was granted, or by the reason.
    pub same: bool,
    /// The rules by which it was decided, and those of this software ([`RULES_VERSION`]). Where they differ, `same` may be
    /// false without anything being wrong.
    pub rules: (u16, u16),
    /// What it was decided from.
    pub input: DecisionInput,
    /// What was looked at, in order, from the recorded input.
    pub steps: Vec<Step>,
}

/// Makes the decision of an event again. `None` if the event is no decision about a pass.
///
/// Staff may have answered: a question is the same decision as an admission that they confirmed, and as a refusal for
/// its first reason, which is what their no, or their silence, leads to.
pub fn replay(event: &Event) -> Option<Replayed> {
    let (input, recorded) = match &event.body {
        EventBody::Authorised { input, admission, confirmed, .. } => {
            (input, Recorded::Admitted { admission: admission.clone(), confirmed: *confirmed })
        }
        EventBody::Refused { input, reason } => (input, Recorded::Refused(*reason)),
        EventBody::EpochOpened { .. }
        | EventBody::Opened { .. }
        | EventBody::NotOpened { .. }
        | EventBody::Passed { .. }
        | EventBody::Annulled { .. }
        | EventBody::Noise { .. }
        | EventBody::Repeated { .. }
        | EventBody::Overridden { .. }
        | EventBody::ExitButton { .. }
        | EventBody::Fire { .. }
        | EventBody::Recounted(_)
        | EventBody::Health { .. }
        | EventBody::ClockStepped(_)
        | EventBody::LaneClosed { .. } => return None,
    };
    let again = input.replay();
    let equal = |one: &Admission, other: &Admission| canonical::encode(one) == canonical::encode(other);
    let same = match (&recorded, &again) {
        (Recorded::Admitted { admission, confirmed: None }, Verdict::Admit(granted)) => equal(admission, granted),
        (Recorded::Admitted { admission, confirmed: Some(yes) }, Verdict::Ask(question)) => {
            equal(admission, &question.admission) && yes.reason == question.reason
        }
        (Recorded::Refused(reason), Verdict::Refuse(refusal)) => *reason == refusal.reason,
        (Recorded::Refused(reason), Verdict::Ask(question)) => *reason == question.reason,
        (Recorded::Admitted { confirmed: None, .. }, Verdict::Ask(_) | Verdict::Refuse(_))
        | (Recorded::Admitted { confirmed: Some(_), .. }, Verdict::Admit(_) | Verdict::Refuse(_))
        | (Recorded::Refused(_), Verdict::Admit(_)) => false,
    };
    Some(Replayed {
        recorded,
        again,
        same,
        rules: (input.rules, RULES_VERSION),
        input: (**input).clone(),
        steps: explain(input),
    })
}

impl Replayed {
    /// The whole decision in words: a line about when and where, one for each check, one for the verdict, and one that
    /// says whether deciding again gives the same.
    pub fn words(&self, language: Language) -> Vec<String> {
        let mut lines = vec![circumstances(&self.input, language)];
        lines.extend(self.steps.iter().map(|step| step.words(language)));
        lines.push(self.verdict(language));
        lines.push(self.conclusion(language));
        lines
    }

    /// What was recorded, in one sentence.
    pub fn verdict(&self, language: Language) -> String {
        match (&self.recorded, language) {
            (Recorded::Admitted { confirmed: None, .. }, Language::En) => "Let through by the gate.".to_owned(),
            (Recorded::Admitted { confirmed: None, .. }, Language::Ro) => "Lăsat să treacă de barieră.".to_owned(),
            (Recorded::Admitted { confirmed: Some(yes), .. }, Language::En) => {
                format!("Let through by staff, who were asked: {}.", yes.reason.words(language).title)
            }
            (Recorded::Admitted { confirmed: Some(yes), .. }, Language::Ro) => {
                format!("Lăsat să treacă de personal, care a fost întrebat: {}.", yes.reason.words(language).title)
            }
            (Recorded::Refused(reason), Language::En) => {
                format!("Turned away: {} ({reason}).", reason.words(language).title)
            }
            (Recorded::Refused(reason), Language::Ro) => {
                format!("Refuzat: {} ({reason}).", reason.words(language).title)
            }
        }
    }

    /// Whether deciding again gives what was recorded, in one sentence.
    pub fn conclusion(&self, language: Language) -> String {
        let (then, now) = self.rules;
        match (self.same, then == now, language) {
            (true, _, Language::En) => "Decided again from the recorded input: the same, bit for bit.".to_owned(),
            (true, _, Language::Ro) => {
                "Decizia refăcută din datele înregistrate este aceeași, bit cu bit.".to_owned()
            }
            (false, true, Language::En) => {
                "Decided again from the recorded input: NOT the same. The record or this software was changed.".to_owned()
            }
            (false, true, Language::Ro) => {
                "Decizia refăcută din datele înregistrate NU este aceeași. Înregistrarea sau programul a fost modificat."
                    .to_owned()
            }
            (false, false, Language::En) => format!(
                "Decided again: not the same, because it was decided by rules {then} and this software has rules {now}."
            ),
            (false, false, Language::Ro) => format!(
                "Decizia refăcută diferă: s-a decis după regulile {then}, iar acest program are regulile {now}."
            ),
        }
    }
}
