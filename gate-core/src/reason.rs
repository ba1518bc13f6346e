//! Every reason a gate can give, and its words in English and Romanian.
//!
//! One list for the kiosk, the dashboard, the log and the staff scanner. A title has at most five words, the advice at
//! most twelve; both say something true that helps the person standing there.

use serde::{Deserialize, Serialize};

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal, [$en:literal, $en_do:literal], [$ro:literal, $ro_do:literal];)*) => {
        /// Why a gate asks or refuses. The order is the order in which `decide` looks; what it never says comes last.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        pub enum Reason {
            $($(#[$doc])* #[serde(rename = $code)] $name,)*
        }

        impl Reason {
            /// Every reason there is.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The stable code used in events, APIs and metrics.
            pub fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// What to tell the person at the gate.
            pub fn words(self, language: Language) -> Words {
                match (self, language) {
                    $((Self::$name, Language::En) => Words { title: $en, advice: $en_do },
                      (Self::$name, Language::Ro) => Words { title: $ro, advice: $ro_do },)*
                }
            }
        }
    };
}

/// The languages every text exists in.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Language {
    /// English.
    En,
    /// Romanian.
    Ro,
}

/// A title and what to do about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Words {
    /// At most five words.
    pub title: &'static str,
    /// At most twelve words.
    pub advice: &'static str,
}

reasons! {
    /// The text is no pass of ours.
    NotAPass = "not_a_pass", ["NOT A PASS", "Show the code of your pass for this place."],
        ["NU ESTE UN PERMIS", "Arătați codul permisului pentru acest loc."];
    /// A pass of a version this gate does not know.
    Unsupported = "unsupported", ["NOT SUPPORTED HERE", "This gate does not know this kind of pass. Call staff."],
        ["FORMAT NECUNOSCUT", "Bariera nu cunoaște acest tip de permis. Chemați personalul."];
    /// Built unlike any pass.
    Malformed = "malformed", ["DAMAGED CODE", "Ask whoever gave you the pass for a new one."],
        ["COD DETERIORAT", "Cereți un permis nou de la cine vi l-a dat."];
    /// Longer than any pass.
    TooLong = "too_long", ["CODE TOO LONG", "No pass is that long. Show the code of your pass."],
        ["COD PREA LUNG", "Niciun permis nu este atât de lung. Arătați codul permisului."];
    /// Signed by a key that is not known here.
    UnknownKey = "unknown_key", ["UNKNOWN ISSUER", "This pass was not issued for this place."],
        ["EMITENT NECUNOSCUT", "Permisul nu a fost emis pentru acest loc."];
    /// The signature does not hold, or the key may not sign this.
    BadSignature = "bad_signature", ["NOT GENUINE", "This code was not issued by this venue."],
        ["COD FALS", "Codul nu a fost emis de această locație."];
    /// Signed by a key that the venue withdrew.
    IssuerRevoked = "issuer_revoked", ["ISSUER WITHDRAWN", "Passes of this issuer are no longer accepted. Call staff."],
        ["EMITENT RETRAS", "Permisele acestui emitent nu mai sunt acceptate. Chemați personalul."];
    /// Its time is over.
    Expired = "expired", ["EXPIRED", "This pass is no longer valid. Ask for a new one."],
        ["EXPIRAT", "Permisul nu mai este valabil. Cereți unul nou."];
    /// Its time has not come.
    NotYetValid = "not_yet_valid", ["NOT VALID YET", "Come back when your pass begins."],
        ["ÎNCĂ NU ESTE VALABIL", "Reveniți când începe valabilitatea permisului."];
    /// The clock can't say whether the pass is valid.
    ClockUnknown = "clock_unknown", ["TIME NOT KNOWN", "The gate is not sure of the time. Call staff."],
        ["ORA NU ESTE SIGURĂ", "Bariera nu este sigură de oră. Chemați personalul."];
    /// Good at another venue.
    WrongVenue = "wrong_venue", ["WRONG PLACE", "This pass is for another venue."],
        ["ALT LOC", "Permisul este pentru o altă locație."];
    /// Good at another gate or zone of this venue.
    WrongGate = "wrong_gate", ["WRONG GATE", "Use the gate that your pass is for."],
        ["ALTĂ INTRARE", "Folosiți intrarea pentru care este permisul."];
    /// The vendor is switched off or closed today.
    VendorInactive = "vendor_inactive", ["VENDOR NOT ACTIVE", "The vendor of this pass is not active today."],
        ["VÂNZĂTOR INACTIV", "Vânzătorul acestui permis nu este activ astăzi."];
    /// Withdrawn for good.
    Revoked = "revoked", ["PASS WITHDRAWN", "This pass was withdrawn. Ask whoever issued it."],
        ["PERMIS RETRAS", "Permisul a fost retras. Întrebați emitentul."];
    /// Replaced by a newer pass.
    Superseded = "superseded", ["USE YOUR NEW PASS", "This pass was replaced. Show the newer one."],
        ["FOLOSIȚI PERMISUL NOU", "Acest permis a fost înlocuit. Arătați-l pe cel nou."];
    /// Blocked for a time.
    Blocked = "blocked", ["PASS ON HOLD", "This pass is on hold. Ask the office."],
        ["PERMIS BLOCAT", "Permisul este blocat temporar. Întrebați la birou."];
    /// The product is not known at this gate.
    UnknownProduct = "unknown_product", ["UNKNOWN PASS TYPE", "This gate does not know the pass type yet. Call staff."],
        ["TIP NECUNOSCUT", "Bariera nu cunoaște încă tipul permisului. Chemați personalul."];
    /// A subscription that this gate has never heard of.
    UnknownPass = "unknown_pass", ["NOT KNOWN HERE", "This gate does not know the subscription yet. Call staff."],
        ["ABONAMENT NECUNOSCUT", "Bariera nu cunoaște încă abonamentul. Chemați personalul."];
    /// The replica is too old to decide on this product.
    ReplicaStale = "replica_stale", ["GATE NEEDS NETWORK", "The gate has been offline too long for this pass. Call staff."],
        ["BARIERA ESTE OFFLINE", "Bariera este offline de prea mult timp. Chemați personalul."];
    /// A rule this software does not understand.
    UnknownRule = "unknown_rule", ["RULE NOT KNOWN", "The gate needs an update for this pass. Call staff."],
        ["REGULĂ NECUNOSCUTĂ", "Bariera are nevoie de o actualizare. Chemați personalul."];
    /// Outside the product's hours.
    OutsideHours = "outside_hours", ["NOT AT THIS HOUR", "Your pass is for other days or hours."],
        ["NU LA ACEASTĂ ORĂ", "Permisul este pentru alte zile sau ore."];
    /// Inside already, no exit was seen.
    AlreadyInside = "already_inside", ["ALREADY INSIDE", "No exit was seen since the last entry. Call staff."],
        ["DEJA ÎNĂUNTRU", "Nu s-a văzut ieșirea după ultima intrare. Chemați personalul."];
    /// Too soon after the last admission.
    TooSoon = "too_soon", ["WAIT A LITTLE", "This pass was used a short time ago."],
        ["MAI AȘTEPTAȚI", "Permisul a fost folosit cu puțin timp în urmă."];
    /// A child's pass: an adult must be there.
    ChildNeedsAdult = "child_needs_adult", ["CHILD WITH ADULT ONLY", "A child may enter only with an adult. Call staff."],
        ["COPIL DOAR CU ADULT", "Copilul intră doar însoțit de un adult. Chemați personalul."];
    /// Used before.
    AlreadyUsed = "already_used", ["ALREADY USED", "This pass was used before. Ask for a new one."],
        ["DEJA FOLOSIT", "Permisul a fost folosit. Cereți unul nou."];
    /// No uses are left.
    NoUsesLeft = "no_uses_left", ["NO ENTRIES LEFT", "All entries of this pass are used."],
        ["FĂRĂ INTRĂRI RĂMASE", "Toate intrările acestui permis au fost folosite."];
    /// Used on this service day.
    UsedToday = "used_today", ["USED TODAY", "This pass is good again tomorrow."],
        ["FOLOSIT ASTĂZI", "Permisul este valabil din nou mâine."];
    /// Staff are asked to look.
    Attention = "attention", ["PLEASE WAIT", "Staff will check this pass."],
        ["VĂ RUGĂM AȘTEPTAȚI", "Personalul va verifica acest permis."];
    /// No free place.
    LotFull = "lot_full", ["LOT FULL", "No free place now. Your pass stays valid."],
        ["PARCARE PLINĂ", "Niciun loc liber acum. Permisul rămâne valabil."];
    /// Nobody stands at the lane.
    NoVehicle = "no_vehicle", ["DRIVE UP FIRST", "Drive up to the gate, then show your code."],
        ["APROPIAȚI-VĂ", "Veniți la barieră, apoi arătați codul."];
    /// Closed by staff.
    OutOfOrder = "out_of_order", ["LANE CLOSED", "Please use another gate or call staff."],
        ["BANDĂ ÎNCHISĂ", "Folosiți altă intrare sau chemați personalul."];
    /// The lane has a fault.
    LaneFault = "lane_fault", ["CALL STAFF", "The gate has a fault. Your pass stays valid."],
        ["CHEMAȚI PERSONALUL", "Bariera are o defecțiune. Permisul rămâne valabil."];
    /// Somebody stood at the lane and left, and no code was read. `decide` never says so: there was nothing to decide.
    Unreadable = "unreadable", ["NO CODE READ", "Hold your code still in front of the camera."],
        ["NICIUN COD CITIT", "Țineți codul nemișcat în fața camerei."];
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.code())
    }
}

/// The words for a screen that refuses nobody.
pub fn screen_words(state: crate::signals::ScreenKind, language: Language) -> Words {
    use crate::signals::ScreenKind as Kind;
    let (en, ro) = match state {
        Kind::Idle => (
            ("SHOW YOUR CODE", "Hold it still in front of the camera."),
            ("ARĂTAȚI CODUL", "Țineți-l nemișcat în fața camerei."),
        ),
        Kind::Wait => (("ONE MOMENT", "Please wait."), ("UN MOMENT", "Vă rugăm așteptați.")),
        Kind::Admit => (("WELCOME", "You may go in."), ("BINE AȚI VENIT", "Puteți intra.")),
        Kind::Goodbye => (("GOODBYE", "Drive safely."), ("LA REVEDERE", "Drum bun.")),
        Kind::FreeExit => (
            ("FREE TO LEAVE", "The gate opens for everybody who leaves."),
            ("IEȘIRE LIBERĂ", "Bariera se deschide pentru oricine iese."),
        ),
        Kind::Check => (("PLEASE WAIT", "Staff will help you."), ("AȘTEPTAȚI", "Personalul vă va ajuta.")),
        Kind::Deny => (("NO ENTRY", "Please call staff."), ("ACCES REFUZAT", "Chemați personalul.")),
        Kind::Full => (Words::pair(Reason::LotFull, Language::En), Words::pair(Reason::LotFull, Language::Ro)),
        Kind::Closed => (Words::pair(Reason::OutOfOrder, Language::En), Words::pair(Reason::OutOfOrder, Language::Ro)),
        Kind::Fault => (Words::pair(Reason::LaneFault, Language::En), Words::pair(Reason::LaneFault, Language::Ro)),
        Kind::Fire => (("GATE IS OPEN", "Emergency: leave now."), ("BARIERA ESTE DESCHISĂ", "Urgență: ieșiți acum.")),
    };
    let (title, advice) = match language {
        Language::En => en,
        Language::Ro => ro,
    };
    Words { title, advice }
}

impl Words {
    fn pair(reason: Reason, language: Language) -> (&'static str, &'static str) {
        let words = reason.words(language);
        (words.title, words.advice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_short_words_in_both_languages() {
        for reason in Reason::ALL {
            for language in [Language::En, Language::Ro] {
                let words = reason.words(language);
                let count = |text: &str| text.split_whitespace().count();
                assert!((1..=5).contains(&count(words.title)), "{reason} {language:?}: {}", words.title);
                assert!((1..=12).contains(&count(words.advice)), "{reason} {language:?}: {}", words.advice);
                let cedilla = ['\u{15e}', '\u{15f}', '\u{162}', '\u{163}'];
                assert!(
                    !words.title.contains(cedilla) && !words.advice.contains(cedilla),
                    "{reason}: comma below, not cedilla"
                );
            }
        }
    }

    #[test]
    fn codes_are_unique() {
        let mut codes: Vec<_> = Reason::ALL.iter().map(|r| r.code()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Reason::ALL.len());
    }
}
