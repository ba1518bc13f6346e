//! Short codes that people type or that passes carry.

use crate::entropy::Entropy;

/// Crockford's alphabet: no letter that looks like a digit.
const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// The two characters that a name suggests: its first two letters or digits.
pub fn from_name(name: &str) -> String {
    let mut code: String =
        name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).take(2).collect();
    while code.len() < 2 {
        code.push('1');
    }
    code
}

/// Two random characters.
pub fn random(entropy: &Entropy) -> String {
    crockford(&entropy.bytes::<2>())
}

/// An enrolment code: eight characters, 40 random bits.
pub fn enrolment(entropy: &Entropy) -> String {
    crockford(&entropy.bytes::<8>())
}

/// What somebody typed as an enrolment code, in its one spelling: upper case, no hyphens, O as 0, I and L as 1.
pub fn normal(typed: &str) -> String {
    let plain = typed.chars().filter(|c| !matches!(c, ' ' | '-')).map(|c| match c.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        c => c,
    });
    plain.collect()
}

fn crockford(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(CROCKFORD[usize::from(byte & 31)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_gives_two_characters() {
        for (name, code) in [("Lot Nord", "LO"), ("Ș p", "P1"), ("", "11"), ("7 Hills", "7H")] {
            assert_eq!(from_name(name), code, "{name}");
        }
    }

    #[test]
    fn a_typed_code_is_the_printed_one() {
        let code = enrolment(&Entropy::seeded(3));
        assert_eq!(code.len(), 8);
        assert_eq!(normal(&format!("{}-{}", &code[..4].to_lowercase(), &code[4..])), code);
        assert_eq!(normal("oil-0"), "0110");
    }
}
