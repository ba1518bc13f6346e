//! The human fallback under a printed code: seven Crockford base32 characters of the pass id and a check character.
//!
//! It finds a pass in a list; it never admits anybody by itself. 35 bits keep 5,000-pass batches free of
//! confusion, and the check character (modulo 37, Crockford's scheme) catches every single wrong character
//! and every swap of neighbours.

use std::fmt;
use std::str::FromStr;

use crate::ids::{Hash, PassId};

const DIGITS: &[u8; 37] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ*~$=U";

/// Eight characters, the last of which is a check character.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ShortCode(String);

/// Why a typed text is not a short code.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ShortCodeError {
    /// Not eight characters of the alphabet.
    #[error("a short code has eight letters and digits")]
    Shape,
    /// The check character does not fit: a character was mistyped.
    #[error("one of the characters is wrong")]
    Check,
}

impl ShortCode {
    /// The short code of a pass.
    pub fn of(pass: &PassId) -> Self {
        let hash = Hash::of("gateshortcode/1", pass.to_string().as_bytes());
        let mut bits = hash.0.iter().take(5).fold(0u64, |acc, byte| acc << 8 | u64::from(*byte)) & 0x7_ffff_ffff;
        let check = DIGITS[(bits % 37) as usize];
        let mut text = [0u8; 8];
        text[7] = check;
        for place in (0..7).rev() {
            text[place] = DIGITS[(bits % 32) as usize];
            bits /= 32;
        }
        Self(text.iter().map(|b| char::from(*b)).collect())
    }

    /// The eight characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ShortCode {
    /// As printed: `ABCD-EFG5`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (a, b) = self.0.split_at(4);
        write!(f, "{a}-{b}")
    }
}

impl FromStr for ShortCode {
    type Err = ShortCodeError;

    /// Reads what a person typed: any case, spaces and hyphens ignored, O as 0, I and L as 1.
    fn from_str(text: &str) -> Result<Self, ShortCodeError> {
        let mut values = Vec::with_capacity(8);
        for c in text.chars().filter(|c| !matches!(c, ' ' | '-')) {
            let c = match c.to_ascii_uppercase() {
                'O' => '0',
                'I' | 'L' => '1',
                c => c,
            };
            let value = DIGITS.iter().position(|d| char::from(*d) == c).ok_or(ShortCodeError::Shape)?;
            values.push(value as u64);
        }
        let [digits @ .., check] = values.as_slice() else {
            return Err(ShortCodeError::Shape);
        };
        if digits.len() != 7 || digits.iter().any(|v| *v > 31) {
            return Err(ShortCodeError::Shape);
        }
        if digits.iter().fold(0, |acc, v| acc * 32 + v) % 37 != *check {
            return Err(ShortCodeError::Check);
        }
        Ok(Self(values.iter().map(|v| char::from(DIGITS[*v as usize])).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Cti;

    #[test]
    fn a_short_code_is_read_back_and_a_wrong_character_is_noticed() {
        for n in 0..200u8 {
            let code = ShortCode::of(&PassId { vendor: "V1".parse().unwrap(), cti: Cti([n; 16]) });
            assert_eq!(code.to_string().to_lowercase().parse(), Ok(code.clone()));
            let text = code.as_str();
            for at in 0..7 {
                let other = if &text[at..=at] == "7" { "8" } else { "7" };
                let wrong = format!("{}{}{}", &text[..at], other, &text[at + 1..]);
                assert_eq!(wrong.parse::<ShortCode>(), Err(ShortCodeError::Check), "{text} {wrong}");
            }
        }
        for bad in ["", "ABC", "ABCDEFGHI", "!!!!!!!!"] {
            assert_eq!(bad.parse::<ShortCode>(), Err(ShortCodeError::Shape), "{bad}");
        }
    }
}
