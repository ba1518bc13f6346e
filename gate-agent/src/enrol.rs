//! Enrolment: how a new device becomes the eyes of a gate, with a one-time code that the installer types.
//!
//! The key is made and stored before anything is sent, and the identity is stored whole or not at all. The cloud gives the
//! same answer to the same code and key, so an enrolment that was cut off anywhere is simply done again.
//!
//! A card whose key is sealed for another machine becomes a new device: what the old one knew is kept aside, unsent events
//! included, and nothing is moved before the cloud has agreed.

use std::path::Path;
use std::sync::Arc;

use ed25519_dalek::SigningKey;
use gate_core::canonical;
use gate_core::ids::Hash;
use gate_core::keys::PublicKey;
use gate_core::statement::{Duty, Statement, StatementBody};
use gate_core::sync::v1::{ENROL_PATH, Enrol, Enrolled, MEDIA_TYPE, Signed};
use gate_core::time::{Now, Trust};
use reqwest::Client;
use reqwest::header::CONTENT_TYPE;

use crate::clock::Clock;
use crate::config::Config;
use crate::daemon;
use crate::identity::{self, Identity, IdentityError, IdentityFile, MachineFiles};
use crate::sync::transport::{CloudUrl, Limits, answer, client_by, describe, taken_in};
use crate::sync::{Surroundings, SyncError, ThisMachine};

/// Why a device could not be enrolled.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// The code is not one.
    #[error("{0:?} is not an enrolment code. Type it as the dashboard shows it, for example ABCD-EFGH")]
    Code(String),
    /// The road or the cloud.
    #[error(transparent)]
    Cloud(#[from] SyncError),
    /// The cloud does not know the code any more.
    #[error("the code is wrong, used or expired. Ask for a new one in the dashboard, at the gate's page")]
    Expired,
    /// This machine is a device already.
    #[error(
        "this machine is already device {device} of gate {gate}. To use it elsewhere, stop it, move its data folder away and enrol again"
    )]
    Already {
        /// Which.
        device: String,
        /// Of which gate.
        gate: String,
    },
    /// The agent of another machine's card runs.
    #[error("{0}. Run `systemctl stop gate-agent`, enrol, and start it again")]
    Running(String),
    /// Key or identity file.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The database.
    #[error(
        "the cloud enrolled this machine, but it can't be stored: {0}. Free the cause and run the same command again"
    )]
    Database(String),
    /// The answer does not hold together: something between here and the cloud changed it, or the cloud is broken.
    #[error("the cloud's answer is not believed: {0}. Nothing was stored")]
    Answer(String),
}

/// Where the cloud is, and what reaches it.
struct CloudAt {
    url: String,
    client: Client,
}

/// A machine that is no device yet, and so was never told the time. Its clock counts where NTP keeps it; elsewhere nobody
/// knows the date, and the dates of certificates say nothing ([`crate::sync::tls`]).
struct Unenrolled {
    machine: ThisMachine,
    clock: Clock,
}

impl Surroundings for Unenrolled {
    fn now(&self) -> Now {
        self.machine.now()
    }

    fn believed(&self) -> Now {
        let reading = self.clock.read();
        let trust = if reading.ntp { Trust::Ntp } else { Trust::Unknown };
        Now { wall_ms: reading.system_ms, trust, ..self.machine.now() }
    }

    fn random(&self) -> [u8; 32] {
        self.machine.random()
    }
}

/// Makes this machine the device of the gate that a one-time code belongs to.
///
/// Done again with the same code, it finishes what was cut off; a machine that is enrolled already refuses another code
/// before it is spent.
pub async fn enrol(config: &Config, typed_code: &str) -> Result<Identity, EnrolError> {
    let machine = MachineFiles::here();
    let clock = Arc::new(Unenrolled { machine: ThisMachine::default(), clock: Clock::new(&config.ntp_marker) });
    let cloud = CloudAt { url: config.cloud_url.clone(), client: client_by(Limits::default(), clock, None)? };
    enrol_into(&config.data_dir, &machine, &cloud, typed_code, |file| {
        let mut replica = daemon::open_replica(config).map_err(|e| format!("{e:#}"))?;
        let now = ThisMachine::default().now();
        replica.set_identity(&file.identity, &file.enrolled(), now).map_err(|e| e.to_string())
    })
    .await
}

/// Enrols, keeping key and identity in a folder; `store` puts the identity into the database.
async fn enrol_into(
    data_dir: &Path,
    machine: &MachineFiles,
    cloud: &CloudAt,
    typed_code: &str,
    store: impl FnOnce(&IdentityFile) -> Result<(), String>,
) -> Result<Identity, EnrolError> {
    let code = Hash::of("gateenrolcode/1", plain_code(typed_code)?.as_bytes());
    let of_another = identity::load_key_on(data_dir, machine).is_err_and(|error| error.is_other_machine());
    let file = if of_another {
        take_over(data_dir, machine, cloud, typed_code, code).await?
    } else {
        begin_or_finish(data_dir, machine, cloud, typed_code, code).await?
    };
    store(&file).map_err(EnrolError::Database)?;
    Ok(file.identity)
}

/// Enrols for the first time, or gives what a time before got that was cut off.
async fn begin_or_finish(
    data_dir: &Path,
    machine: &MachineFiles,
    cloud: &CloudAt,
    typed_code: &str,
    code: Hash,
) -> Result<IdentityFile, EnrolError> {
    match IdentityFile::load(&identity::identity_path(data_dir))? {
        Some(file) if file.code == code => Ok(file),
        Some(file) => {
            Err(EnrolError::Already { device: file.identity.device.to_string(), gate: file.identity.gate.to_string() })
        }
        None => {
            std::fs::create_dir_all(data_dir)
                .map_err(|why| IdentityError::File { path: data_dir.to_path_buf(), why })?;
            let key = identity::device_key_on(&identity::key_path(data_dir), machine)?;
            let (identity, enrolled) = ask(cloud, typed_code, &key, &model(), daemon::SOFTWARE).await?;
            keep(data_dir, &identity, &enrolled, code)
        }
    }
}

/// Makes a card of another machine this one's: first the cloud's word, then the old device's files go aside, last of all the
/// key changes. Cut off anywhere before that it begins again with the same new key; after it, it is an ordinary enrolment.
async fn take_over(
    data_dir: &Path,
    machine: &MachineFiles,
    cloud: &CloudAt,
    typed_code: &str,
    code: Hash,
) -> Result<IdentityFile, EnrolError> {
    let _lock = daemon::lock(data_dir).map_err(|error| EnrolError::Running(format!("{error:#}")))?;
    let key = identity::next_key(data_dir, machine)?;
    let (identity, enrolled) = ask(cloud, typed_code, &key, &model(), daemon::SOFTWARE).await?;
    let aside = identity::set_aside(data_dir)?;
    tracing::warn!(folder = %aside.display(), "what the card's other machine knew is kept aside");
    keep(data_dir, &identity, &enrolled, code)
}

/// Writes down what the cloud said.
fn keep(data_dir: &Path, identity: &Identity, enrolled: &Enrolled, code: Hash) -> Result<IdentityFile, EnrolError> {
    let file = IdentityFile::of(identity, enrolled, code);
    file.save(&identity::identity_path(data_dir))?;
    Ok(file)
}

/// What machine this is, as its device tree says.
fn model() -> String {
    let text = std::fs::read_to_string("/proc/device-tree/model").unwrap_or_default();
    let text = text.trim_end_matches('\0').trim();
    if text.is_empty() { std::env::consts::ARCH.to_owned() } else { text.chars().take(100).collect() }
}

/// The code as it travels: upper case, without the hyphens and spaces that people type.
pub fn plain_code(typed: &str) -> Result<String, EnrolError> {
    let code: String = typed.chars().filter(|c| !matches!(c, '-' | ' ')).map(|c| c.to_ascii_uppercase()).collect();
    let good = (6..=64).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_alphanumeric());
    if good { Ok(code) } else { Err(EnrolError::Code(typed.to_owned())) }
}

/// Asks the cloud to enrol this key, and believes the answer only if it holds together.
async fn ask(
    cloud: &CloudAt,
    typed_code: &str,
    key: &SigningKey,
    model: &str,
    software: &str,
) -> Result<(Identity, Enrolled), EnrolError> {
    let url = CloudUrl::parse(&cloud.url)?;
    let code = plain_code(typed_code)?;
    let body =
        Enrol { code, key: PublicKey::from(key), model: model.to_owned(), software: software.to_owned() }.sign(key);
    let asked = cloud.client.post(url.http(ENROL_PATH)).header(CONTENT_TYPE, MEDIA_TYPE).body(body);
    let sent = asked.send().await;
    let response = sent.map_err(|error| SyncError::Unreachable(describe(&error)))?;
    let bytes = match answer(taken_in(response).await?) {
        Ok(bytes) => bytes,
        Err(error) if error.code() == Some("enrolment_code") => return Err(EnrolError::Expired),
        Err(error) => return Err(error.into()),
    };
    let enrolled: Enrolled = canonical::decode(&bytes).map_err(|e| EnrolError::Answer(e.to_string()))?;
    check(&enrolled, &PublicKey::from(key))?;
    Ok((Identity::of(&enrolled, &cloud.url), enrolled))
}

/// Whether an answer holds together: every statement is the root's, one names our key as the device of our gate, and the
/// keys without which nothing can be synced are named.
pub fn check(enrolled: &Enrolled, own: &PublicKey) -> Result<(), EnrolError> {
    let mut named = false;
    let mut duties = Vec::new();
    for bytes in &enrolled.statements {
        let statement =
            Statement::open(bytes, enrolled.venue, &enrolled.root).map_err(|e| EnrolError::Answer(e.to_string()))?;
        match statement.body {
            StatementBody::Device(device) => {
                named |= device.device == enrolled.device
                    && device.gate == enrolled.gate
                    && device.key == *own
                    && !device.revoked;
            }
            StatementBody::Duty(duty) => duties.push(duty.duty),
            StatementBody::Issuer(_) | StatementBody::Chain(_) | StatementBody::Time(_) => {}
        }
    }
    if !named {
        return Err(EnrolError::Answer("no statement names this device's key".to_owned()));
    }
    for (duty, what) in [(Duty::Settings, "settings"), (Duty::Time, "time"), (Duty::Server, "server's")] {
        if !duties.contains(&duty) {
            return Err(EnrolError::Answer(format!("no statement names the venue's {what} key")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
