//! The device key as it lies on the card: sealed under what names this machine, so that the card is no device elsewhere.
//!
//! Two lines: what is needed to open it, and a check sum over that. The sum tells a damaged file from another machine. The
//! names of the sources are in the file, because what a machine lets this user read may grow: a key is opened with what it
//! was sealed with. They are guessed slowly (Argon2id), because a serial number has few unknown bits.

use std::path::Path;

use argon2::Argon2;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use ed25519_dalek::SigningKey;
use gate_core::ids::Hash;
use serde::{Deserialize, Serialize};

use super::IdentityError;
use super::machine::{MachineFiles, Source};

const SUM: &str = "gatekeyfile/1";
const PLACE: &[u8] = b"gate device key/1";
const NONCE: usize = 24;

/// What a sealed key file says.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    /// The version of this format.
    sealed: u8,
    bound_to: Vec<Source>,
    salt: String,
    nonce: String,
    key: String,
}

/// Whether a file's bytes are a sealed key. A plain one is 32 bytes of randomness.
pub(super) fn is_sealed(bytes: &[u8]) -> bool {
    bytes.len() != 32 && bytes.first() == Some(&b'{')
}

/// Seals a key for a machine. `None` if nothing names it.
pub(super) fn seal(key: &SigningKey, machine: &MachineFiles) -> Result<Option<Vec<u8>>, IdentityError> {
    let bound_to = machine.sources();
    let mut random = [0; 16 + NONCE];
    getrandom::fill(&mut random).map_err(|e| IdentityError::Random(e.to_string()))?;
    let (salt, nonce) = random.split_at(16);
    let Some(cipher) = cipher(&bound_to, machine, salt) else { return Ok(None) };
    let nonce: [u8; NONCE] = nonce.try_into().map_err(|_| IdentityError::Random("too few".to_owned()))?;
    let payload = Payload { msg: key.as_bytes(), aad: PLACE };
    let Ok(sealed) = cipher.encrypt(&XNonce::from(nonce), payload) else { return Ok(None) };
    let said =
        Sealed { sealed: 1, bound_to, salt: hex::encode(salt), nonce: hex::encode(nonce), key: hex::encode(sealed) };
    let Ok(mut text) = serde_json::to_string(&said) else { return Ok(None) };
    let sum = Hash::of(SUM, text.as_bytes());
    text.push('\n');
    text.push_str(&hex::encode(sum.0));
    text.push('\n');
    Ok(Some(text.into_bytes()))
}

/// Opens a sealed key file on a machine.
pub(super) fn open(bytes: &[u8], machine: &MachineFiles, path: &Path) -> Result<SigningKey, IdentityError> {
    let damaged = || IdentityError::Damaged { path: path.to_path_buf() };
    let other = |why: String| IdentityError::OtherMachine { path: path.to_path_buf(), why };
    let text = std::str::from_utf8(bytes).map_err(|_| damaged())?;
    let (said, sum) = text.strip_suffix('\n').and_then(|text| text.split_once('\n')).ok_or_else(damaged)?;
    if hex::decode(sum).ok().as_deref() != Some(&Hash::of(SUM, said.as_bytes()).0[..]) {
        return Err(damaged());
    }
    let said: Sealed = serde_json::from_str(said).map_err(|_| damaged())?;
    let part = |text: &str| hex::decode(text).map_err(|_| damaged());
    let (salt, nonce, sealed) = (part(&said.salt)?, part(&said.nonce)?, part(&said.key)?);
    let nonce: [u8; NONCE] = nonce.try_into().map_err(|_| damaged())?;
    if let Some(missing) = said.bound_to.iter().find(|source| machine.read(**source).is_none()) {
        return Err(other(format!("{missing} can't be read here")));
    }
    let cipher = cipher(&said.bound_to, machine, &salt).ok_or_else(damaged)?;
    let plain = cipher.decrypt(&XNonce::from(nonce), Payload { msg: &sealed, aad: PLACE }).map_err(|_| {
        other(said.bound_to.iter().map(|source| format!("{source} is another")).collect::<Vec<_>>().join(", or "))
    })?;
    let seed: [u8; 32] = plain.try_into().map_err(|_| damaged())?;
    Ok(SigningKey::from_bytes(&seed))
}

/// The cipher that these sources of this machine make; `None` if there are none.
fn cipher(sources: &[Source], machine: &MachineFiles, salt: &[u8]) -> Option<XChaCha20Poly1305> {
    let mut named = Vec::new();
    for source in sources {
        let value = machine.read(*source)?;
        named.extend_from_slice(Hash::of("gatemachine/1", format!("{source:?}").as_bytes()).0.as_slice());
        named.extend_from_slice(Hash::of("gatemachine/1", &value).0.as_slice());
    }
    if named.is_empty() {
        return None;
    }
    let mut key = [0; 32];
    Argon2::default().hash_password_into(&named, salt, &mut key).ok()?;
    Some(XChaCha20Poly1305::new(&key.into()))
}
