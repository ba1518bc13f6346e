//! What a pass is: claims signed by a vendor's key, as the text of a QR code.
//!
//! `GP1:` + Base45 (RFC 9285) of a COSE_Sign1 holding a CWT (RFC 8392). [`open`] is the only way in:
//! it gives a [`ScannedPass`] whose claims may be believed, or says why not.

mod claims;
mod keyring;
mod short_code;
mod token;

pub use claims::{Claims, ClaimsError, PassFlags, Subject};
pub use keyring::{IssuerKey, Keyring};
pub use short_code::{ShortCode, ShortCodeError};
pub use token::{Defect, Finding, MalformedWhy, PASS_LIMIT, ScannedPass, VISITOR_LIMIT, issue, open, token_hash};

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod tests;
