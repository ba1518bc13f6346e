//! Passwords: Argon2id with the usual parameters of the `argon2` crate (19 MiB, two passes).

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};

use crate::problem::ApiError;

/// A password as it is stored (PHC string).
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(pub String);

/// What is compared when there is no such person, so that a wrong address takes as long as a wrong password. It is the
/// hash of a random password nobody knows.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$Y2xvdWQtc3luYy1ub2JvZHk$ZwKzX0J5u0wP0mT2m4TzH3oGk8oI8mJmTn7Q2R5q1aM";

/// Hashes a new password.
pub fn make(password: &str, salt: [u8; 16]) -> Result<PasswordHash, ApiError> {
    let hash: argon2::PasswordHash = Argon2::default()
        .hash_password_with_salt(password.as_bytes(), &salt)
        .map_err(|error| ApiError::internal(&error))?;
    Ok(PasswordHash(hash.to_string()))
}

/// Whether this is the password. Without a stored one it takes as long and says no.
pub fn check(password: &str, stored: Option<&PasswordHash>) -> bool {
    let text = stored.map_or(NOBODY, |hash| hash.0.as_str());
    let Ok(hash) = argon2::PasswordHash::new(text) else {
        tracing::error!("a stored password can't be read");
        return false;
    };
    Argon2::default().verify_password(password.as_bytes(), &hash).is_ok() && stored.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_password_itself_is_right_and_nobody_has_none() {
        let hash = make("correct horse battery", [7; 16]).unwrap();
        assert!(hash.0.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", hash.0);
        assert!(check("correct horse battery", Some(&hash)));
        assert!(!check("correct horse batterz", Some(&hash)));
        assert!(!check("", Some(&hash)));
        assert!(argon2::PasswordHash::new(NOBODY).is_ok(), "it must cost the same time");
        assert!(!check("anything", None));
    }
}
