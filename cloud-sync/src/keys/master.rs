//! The master key: seals private keys, peppers short secrets.

use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use ed25519_dalek::SigningKey;
use gate_core::ids::Hash;

use super::KeyError;
use crate::entropy::Entropy;

/// The name of its file in the data folder.
const FILE: &str = "master.key";
const NONCE: usize = 24;

/// The key over all keys.
#[derive(Clone)]
pub struct Master {
    cipher: XChaCha20Poly1305,
    pepper: Hash,
}

/// Why there is no master key.
#[derive(Debug, thiserror::Error)]
pub enum MasterError {
    /// The file can't be read or written.
    #[error("{path}: {why}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        why: std::io::Error,
    },
    /// It is not 64 hexadecimal digits.
    #[error("{0} is damaged: it must hold 64 hexadecimal digits; restore it from its backup")]
    Damaged(PathBuf),
    /// Others may read it.
    #[error("{0} can be read by other users of this machine: run `chmod 600` on it")]
    Open(PathBuf),
    /// The database has keys but the master key is gone.
    #[error("{0} is missing, and the database can't be used without it: restore it from its backup")]
    Missing(PathBuf),
}

impl Master {
    /// Reads the master key, or makes one where no database is yet.
    pub fn open(data: &Path, database_exists: bool, entropy: &Entropy) -> Result<Self, MasterError> {
        let path = data.join(FILE);
        let failed = |why| MasterError::File { path: path.clone(), why };
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                let mode = std::fs::metadata(&path).map_err(failed)?.permissions().mode();
                if mode & 0o077 != 0 {
                    return Err(MasterError::Open(path));
                }
                let mut key = [0; 32];
                hex::decode_to_slice(text.trim(), &mut key).map_err(|_| MasterError::Damaged(path))?;
                Ok(Self::from_bytes(&key))
            }
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => {
                if database_exists {
                    return Err(MasterError::Missing(path));
                }
                let key = entropy.bytes::<32>();
                let mut file =
                    std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
                file.write_all(hex::encode(key).as_bytes()).map_err(failed)?;
                file.sync_all().map_err(failed)?;
                Ok(Self::from_bytes(&key))
            }
            Err(why) => Err(failed(why)),
        }
    }

    /// A master key made of these bytes.
    pub fn from_bytes(key: &[u8; 32]) -> Self {
        // One key, two uses: the cipher gets a key of its own, so that neither says anything about the other.
        let sealing = Hash::of("gatemaster/seal/1", key);
        let pepper = Hash::of("gatemaster/pepper/1", key);
        Self { cipher: XChaCha20Poly1305::new(&sealing.0.into()), pepper }
    }

    /// Seals a private key for one place; it opens nowhere else.
    pub fn seal(&self, key: &SigningKey, place: &str, entropy: &Entropy) -> Result<Vec<u8>, KeyError> {
        let nonce = entropy.bytes::<NONCE>();
        let payload = Payload { msg: key.as_bytes(), aad: place.as_bytes() };
        let mut sealed = nonce.to_vec();
        sealed.extend(self.cipher.encrypt(&XNonce::from(nonce), payload).map_err(|_| KeyError::Sealed)?);
        Ok(sealed)
    }

    /// Opens what was sealed for this place.
    pub fn unseal(&self, sealed: &[u8], place: &str) -> Result<SigningKey, KeyError> {
        let (nonce, cipher_text) = sealed.split_at_checked(NONCE).ok_or(KeyError::Sealed)?;
        let nonce: [u8; NONCE] = nonce.try_into().map_err(|_| KeyError::Sealed)?;
        let payload = Payload { msg: cipher_text, aad: place.as_bytes() };
        let plain = self.cipher.decrypt(&XNonce::from(nonce), payload).map_err(|_| KeyError::Sealed)?;
        let bytes: [u8; 32] = plain.try_into().map_err(|_| KeyError::Sealed)?;
        Ok(SigningKey::from_bytes(&bytes))
    }

    /// The hash under which a short secret is kept: useless without the master key.
    pub fn peppered(&self, purpose: &str, secret: &str) -> Hash {
        let mut bytes = self.pepper.0.to_vec();
        bytes.extend_from_slice(secret.as_bytes());
        Hash::of(purpose, &bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_key_opens_in_its_place_only() {
        let entropy = Entropy::seeded(1);
        let master = Master::from_bytes(&[1; 32]);
        let key = SigningKey::from_bytes(&entropy.bytes());
        let sealed = master.seal(&key, "venue/root", &entropy).unwrap();
        assert_eq!(master.unseal(&sealed, "venue/root").unwrap().to_bytes(), key.to_bytes());
        assert!(master.unseal(&sealed, "venue/time").is_err(), "another place");
        assert!(Master::from_bytes(&[2; 32]).unseal(&sealed, "venue/root").is_err(), "another master key");
        let mut changed = sealed.clone();
        changed[40] ^= 1;
        assert!(master.unseal(&changed, "venue/root").is_err(), "a changed byte");
        assert!(master.unseal(&sealed[..10], "venue/root").is_err(), "cut short");
        assert!(!sealed.windows(8).any(|w| key.to_bytes().windows(8).any(|k| k == w)), "nothing of it is readable");
    }

    #[test]
    fn the_file_is_private_and_never_made_anew_beside_a_database() {
        let folder = crate::testing::Folder::new("master");
        let entropy = Entropy::seeded(2);
        let first = Master::open(folder.root(), false, &entropy).unwrap();
        let path = folder.path(FILE);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let again = Master::open(folder.root(), true, &entropy).unwrap();
        assert_eq!(first.peppered("p", "x"), again.peppered("p", "x"));

        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(Master::open(folder.root(), true, &entropy), Err(MasterError::Open(_))));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, "not a key").unwrap();
        assert!(matches!(Master::open(folder.root(), true, &entropy), Err(MasterError::Damaged(_))));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(Master::open(folder.root(), true, &entropy), Err(MasterError::Missing(_))));
    }
}
