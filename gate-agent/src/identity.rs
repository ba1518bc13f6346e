//! Who this device is: its key, which never leaves the machine, and what the venue told it at enrolment.
//!
//! The key is 32 bytes in a file only its owner may read, made once from the operating system's randomness. It is never
//! logged, printed or sent. The rest is no secret; it is kept beside the key as well as in the database, so that a damaged
//! database does not cost the enrolment.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use gate_core::ids::{DeviceId, GateId, Hash, VenueCode, VenueId};
use gate_core::keys::PublicKey;
use gate_core::sync::v1::Enrolled;
use serde::{Deserialize, Serialize};

/// What the venue told this device at enrolment.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Identity {
    /// The venue.
    pub venue: VenueId,
    /// Its code in passes.
    pub venue_code: VenueCode,
    /// The gate this device watches.
    pub gate: GateId,
    /// This device.
    pub device: DeviceId,
    /// The venue's root key, pinned.
    pub root: PublicKey,
    /// Where the cloud is: scheme, host and port, without a path.
    pub cloud_url: String,
}

impl Identity {
    /// The identity that an enrolment gives.
    pub fn of(enrolled: &Enrolled, cloud_url: &str) -> Self {
        Self {
            venue: enrolled.venue,
            venue_code: enrolled.venue_code.clone(),
            gate: enrolled.gate,
            device: enrolled.device,
            root: enrolled.root,
            cloud_url: cloud_url.to_owned(),
        }
    }
}

/// Why the key or the identity can't be had.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file system refused.
    #[error("{}: {why}. The state folder must exist and belong to the user that gate-agent runs as", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What it said.
        why: io::Error,
    },
    /// Others may read the key.
    #[error("{} can be read by others (mode {mode:04o}); a device key must have mode 0400. If it may have been copied, delete it and enrol again", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Not 32 bytes.
    #[error("{} is not a device key ({found} bytes, 32 belong there). Put it back from where it was moved, or delete it and enrol again", path.display())]
    Length {
        /// The file.
        path: PathBuf,
        /// How long it is.
        found: usize,
    },
    /// No randomness to be had.
    #[error("the operating system gives no random bytes: {0}")]
    Random(String),
    /// The identity file is not what was written.
    #[error("{} can't be read ({why}). Delete it and enrol again", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

fn file_error(path: &Path) -> impl FnOnce(io::Error) -> IdentityError {
    let path = path.to_path_buf();
    move |why| IdentityError::File { path, why }
}

/// Where the device key is.
pub fn key_path(data_dir: &Path) -> PathBuf {
    data_dir.join("device.key")
}

/// Where the identity is kept beside the database.
pub fn identity_path(data_dir: &Path) -> PathBuf {
    data_dir.join("identity.json")
}

/// Reads the device key. There must be one: a device that lost its key must enrol again, not go on as a stranger.
pub fn load_key(data_dir: &Path) -> Result<SigningKey, IdentityError> {
    let path = key_path(data_dir);
    fs::metadata(&path).map_err(file_error(&path))?;
    device_key(&path)
}

/// Reads the device key, or makes it if there is none yet.
pub fn device_key(path: &Path) -> Result<SigningKey, IdentityError> {
    match fs::read(path) {
        Ok(bytes) => {
            let mode = fs::metadata(path).map_err(file_error(path))?.permissions().mode() & 0o7777;
            if mode & 0o077 != 0 {
                return Err(IdentityError::Exposed { path: path.to_path_buf(), mode });
            }
            let seed: [u8; 32] = bytes
                .as_slice()
                .try_into()
                .map_err(|_| IdentityError::Length { path: path.to_path_buf(), found: bytes.len() })?;
            Ok(SigningKey::from_bytes(&seed))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut seed = [0; 32];
            getrandom::fill(&mut seed).map_err(|e| IdentityError::Random(e.to_string()))?;
            write_whole(path, 0o400, &seed)?;
            Ok(SigningKey::from_bytes(&seed))
        }
        Err(error) => Err(file_error(path)(error)),
    }
}

/// Writes a file so that it is there whole or not at all, also after a power cut.
fn write_whole(path: &Path, mode: u32, bytes: &[u8]) -> Result<(), IdentityError> {
    let fresh = path.with_extension("new");
    match fs::remove_file(&fresh) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(file_error(&fresh)(error)),
    }
    let mut file =
        fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&fresh).map_err(file_error(&fresh))?;
    file.write_all(bytes).map_err(file_error(&fresh))?;
    file.sync_all().map_err(file_error(&fresh))?;
    fs::rename(&fresh, path).map_err(file_error(path))?;
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(file_error(folder))
}

/// The identity file: the identity and the signed statements that came with it, so that a new database can be begun.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct IdentityFile {
    /// Who the device is.
    pub identity: Identity,
    /// Hash of the one-time code, so that the same enrolment can be finished after it was cut off.
    pub code: Hash,
    /// Statements signed by the root, as hexadecimal text.
    pub statements: Vec<String>,
}

impl IdentityFile {
    /// What to write after an enrolment.
    pub fn of(identity: &Identity, enrolled: &Enrolled, code: Hash) -> Self {
        Self { identity: identity.clone(), code, statements: enrolled.statements.iter().map(hex::encode).collect() }
    }

    /// The enrolment again, as a database wants it.
    pub fn enrolled(&self) -> Enrolled {
        let identity = &self.identity;
        Enrolled {
            venue: identity.venue,
            venue_code: identity.venue_code.clone(),
            root: identity.root,
            device: identity.device,
            gate: identity.gate,
            // A damaged one is left out here and missed where it is needed; all are verified under the root there.
            statements: self.statements.iter().filter_map(|text| hex::decode(text).ok()).map(Into::into).collect(),
        }
    }

    /// Reads the file; `None` if there is none: not enrolled yet.
    pub fn load(path: &Path) -> Result<Option<Self>, IdentityError> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(file_error(path)(error)),
        };
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|e| IdentityError::Unreadable { path: path.to_path_buf(), why: e.to_string() })
    }

    /// Writes the file, whole or not at all.
    pub fn save(&self, path: &Path) -> Result<(), IdentityError> {
        let text = serde_json::to_vec_pretty(self)
            .map_err(|e| IdentityError::Unreadable { path: path.to_path_buf(), why: e.to_string() })?;
        write_whole(path, 0o644, &text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::testing::{Folder, Venue};

    #[test]
    fn a_key_is_made_once_and_others_may_not_read_it() {
        let folder = Folder::new("key");
        let path = folder.path().join("device.key");
        let key = device_key(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o400);
        assert_eq!(fs::metadata(&path).unwrap().len(), 32);
        assert_eq!(device_key(&path).unwrap().to_bytes(), key.to_bytes());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o440)).unwrap();
        assert!(matches!(device_key(&path), Err(IdentityError::Exposed { mode: 0o440, .. })));
        let short = folder.path().join("short.key");
        fs::write(&short, [1; 31]).unwrap();
        fs::set_permissions(&short, fs::Permissions::from_mode(0o400)).unwrap();
        assert!(matches!(device_key(&short), Err(IdentityError::Length { found: 31, .. })));
        let nowhere = folder.path().join("missing/device.key");
        let error = device_key(&nowhere).unwrap_err().to_string();
        assert!(error.contains("missing") && !error.contains(&hex::encode(key.to_bytes())), "{error}");
    }

    #[test]
    fn an_interrupted_write_leaves_no_half_key() {
        let folder = Folder::new("half-key");
        let path = folder.path().join("device.key");
        fs::write(path.with_extension("new"), [9; 7]).unwrap();
        device_key(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap().len(), 32);
    }

    #[test]
    fn an_identity_is_read_back_and_a_damaged_one_says_so() {
        let folder = Folder::new("identity");
        let path = folder.path().join("identity.json");
        assert_eq!(IdentityFile::load(&path).unwrap(), None);
        let venue = Venue::new();
        let file = IdentityFile::of(&venue.identity(), &venue.enrolled(), Hash::ZERO);
        file.save(&path).unwrap();
        let read = IdentityFile::load(&path).unwrap().unwrap();
        assert_eq!(read, file);
        assert_eq!(read.enrolled(), venue.enrolled());
        fs::write(&path, "{").unwrap();
        assert!(IdentityFile::load(&path).unwrap_err().to_string().contains("identity.json"));
    }
}
