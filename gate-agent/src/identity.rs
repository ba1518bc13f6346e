//! Who this device is: its key, which never leaves the machine, and what the venue told it at enrolment.
//!
//! The key is made once from the operating system's randomness and kept in a file that only its owner may read, sealed under
//! what names this machine (`sealed`, `machine`): a card that is moved or copied to another machine is no device there. It is
//! never logged, printed or sent. The rest is no secret; it is kept beside the key as well as in the database, so that a damaged
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

pub use machine::{MachineFiles, Source};

mod machine;
mod sealed;

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
    /// A sealed key whose check sum does not fit.
    #[error("{} is damaged. Stop the agent, move its data folder away and enrol again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The key is sealed for another machine.
    #[error("this card belongs to another machine ({}: {why}): enrol it again, or put it back", path.display())]
    OtherMachine {
        /// The file.
        path: PathBuf,
        /// What is different.
        why: String,
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

impl IdentityError {
    /// Whether the card is well and only in a machine that it does not belong to.
    pub fn is_other_machine(&self) -> bool {
        matches!(self, Self::OtherMachine { .. })
    }
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

/// Reads the device key on this machine. There must be one: a device that lost its key must enrol again, not go on as a
/// stranger.
pub fn load_key(data_dir: &Path) -> Result<SigningKey, IdentityError> {
    load_key_on(data_dir, &MachineFiles::here())
}

/// Reads the device key on a machine, and changes nothing.
pub fn load_key_on(data_dir: &Path, machine: &MachineFiles) -> Result<SigningKey, IdentityError> {
    read_key(&key_path(data_dir), machine)?.ok_or_else(|| {
        file_error(&key_path(data_dir))(io::Error::new(io::ErrorKind::NotFound, "there is no device key"))
    })
}

/// Reads the device key on this machine, or makes it if there is none yet.
pub fn device_key(path: &Path) -> Result<SigningKey, IdentityError> {
    device_key_on(path, &MachineFiles::here())
}

/// Reads the device key on a machine, or makes it if there is none yet.
pub fn device_key_on(path: &Path, machine: &MachineFiles) -> Result<SigningKey, IdentityError> {
    if let Some(key) = read_key(path, machine)? {
        return Ok(key);
    }
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|e| IdentityError::Random(e.to_string()))?;
    let key = SigningKey::from_bytes(&seed);
    // Where nothing names the machine the key is kept as it is.
    let bytes = sealed::seal(&key, machine)?.unwrap_or_else(|| seed.to_vec());
    write_whole(path, 0o400, &bytes)?;
    Ok(key)
}

/// The key of the device that this card is to become on a machine, beside the one that belongs to another machine. The same
/// one again until [`set_aside`] puts it in that one's place.
pub fn next_key(data_dir: &Path, machine: &MachineFiles) -> Result<SigningKey, IdentityError> {
    let path = next_path(data_dir);
    match device_key_on(&path, machine) {
        // Nobody was ever told of it: the card has moved once more.
        Err(error) if error.is_other_machine() => {
            fs::remove_file(&path).map_err(file_error(&path))?;
            device_key_on(&path, machine)
        }
        key => key,
    }
}

fn next_path(data_dir: &Path) -> PathBuf {
    data_dir.join("device.next-key")
}

/// Moves what another machine's device left on this card into a folder of its own, and puts [`next_key`] in place of its key.
/// The key changes last and at once, so that this can be done again wherever it was cut off. Gives the folder.
pub fn set_aside(data_dir: &Path) -> Result<PathBuf, IdentityError> {
    let key = key_path(data_dir);
    let bytes = fs::read(&key).map_err(file_error(&key))?;
    // Named after the key, so that doing it again finds the same folder, and the next time another one.
    let name = hex::encode(&Hash::of("gatecardaside/1", &bytes).0[..4]);
    let aside = data_dir.join(format!("other-machine-{name}"));
    fs::create_dir_all(&aside).map_err(file_error(&aside))?;
    write_whole(&aside.join("device.key"), 0o400, &bytes)?;
    let entries = fs::read_dir(data_dir).map_err(file_error(data_dir))?;
    for entry in entries {
        let entry = entry.map_err(file_error(data_dir))?;
        let name = entry.file_name();
        let text = name.to_string_lossy();
        if text.starts_with("replica.db") || text == "identity.json" {
            fs::rename(entry.path(), aside.join(&name)).map_err(file_error(&entry.path()))?;
        }
    }
    sync_folder_of(&aside.join("device.key"))?;
    sync_folder_of(&key)?;
    fs::rename(next_path(data_dir), &key).map_err(file_error(&key))?;
    sync_folder_of(&key)?;
    Ok(aside)
}

/// Whether the key lies sealed under what names a machine. Gates that were enrolled before that was so have a plain one.
pub fn is_bound(data_dir: &Path) -> bool {
    fs::read(key_path(data_dir)).is_ok_and(|bytes| sealed::is_sealed(&bytes))
}

/// Seals a key that lies there plain. True if it did; false if it was sealed already, or nothing names the machine.
pub fn bind_key(data_dir: &Path, machine: &MachineFiles) -> Result<bool, IdentityError> {
    if is_bound(data_dir) {
        return Ok(false);
    }
    let key = load_key_on(data_dir, machine)?;
    let Some(bytes) = sealed::seal(&key, machine)? else { return Ok(false) };
    write_whole(&key_path(data_dir), 0o400, &bytes)?;
    Ok(true)
}

fn read_key(path: &Path, machine: &MachineFiles) -> Result<Option<SigningKey>, IdentityError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(file_error(path)(error)),
    };
    let mode = fs::metadata(path).map_err(file_error(path))?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(IdentityError::Exposed { path: path.to_path_buf(), mode });
    }
    if sealed::is_sealed(&bytes) {
        return sealed::open(&bytes, machine, path).map(Some);
    }
    let seed: [u8; 32] = bytes
        .as_slice()
        .try_into()
        .map_err(|_| IdentityError::Length { path: path.to_path_buf(), found: bytes.len() })?;
    Ok(Some(SigningKey::from_bytes(&seed)))
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
    sync_folder_of(path)
}

/// Makes sure that what was renamed in the folder of a file stays so after a power cut.
fn sync_folder_of(path: &Path) -> Result<(), IdentityError> {
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
pub(crate) mod tests;
