//! The parts of a world, and a small venue in it.

mod address;
pub mod device;
mod gate;
mod inline;
mod link;
mod office;
mod process;
pub mod sheet;
pub mod stock;

pub use address::free_address;
pub use gate::{Gate, GatePlan, HOLD};
pub use inline::Inline;
pub use link::{Certificates, Link, Mode, NAME};
pub use office::{Office, text_at};
pub use process::{Process, child_of, program};

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::bail;

use crate::clock::Deadline;

/// The cloud as a process, and the road to it.
pub struct Cloud {
    /// The program.
    pub process: Process,
    /// Where the office reaches it.
    pub address: SocketAddr,
    /// The road that gates take.
    pub link: Link,
}

impl Cloud {
    /// Starts a cloud with an empty data folder, and a road to it.
    pub async fn start(world: &Path) -> anyhow::Result<Self> {
        let address = free_address()?;
        let link = Link::open(address).await?;
        let authority = link.address().to_string();
        Self::start_at(world, address, link, &[authority]).await
    }

    /// Starts a cloud at an address that is free, reached by the road and under further authorities.
    pub async fn start_at(
        world: &Path,
        address: SocketAddr,
        link: Link,
        authorities: &[String],
    ) -> anyhow::Result<Self> {
        let process = Self::serve(world, address, authorities).await?;
        Ok(Self { process, address, link })
    }

    /// Runs the program over the world's data folder, until it answers.
    pub async fn serve(world: &Path, address: SocketAddr, authorities: &[String]) -> anyhow::Result<Process> {
        let data = world.join("cloud");
        std::fs::create_dir_all(&data)?;
        let mut arguments: Vec<OsString> =
            vec!["serve".into(), "--data".into(), data.into_os_string(), "--listen".into(), address.to_string().into()];
        for authority in authorities {
            arguments.extend(["--authority".into(), authority.into()]);
        }
        let mut process = Process::start("cloud-sync", "cloud-sync", arguments, world)?;
        let client = http_client(Duration::from_secs(2))?;
        let deadline = Deadline::after(Duration::from_secs(30));
        while client.get(format!("http://{address}/health")).send().await.is_err() {
            process.must_run()?;
            if deadline.is_over() {
                bail!("the cloud does not answer; it said:\n{}", process.said());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(process)
    }
}

/// A client that asks this machine and nobody else.
pub fn http_client(timeout: Duration) -> reqwest::Result<reqwest::Client> {
    // The first caller installs the provider; to the others it is there already.
    let _already = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().timeout(timeout).no_proxy().build()
}

/// A folder for a world in memory, where there is such a place: for stories in which the disk's speed says nothing.
pub fn memory_folder(name: &str) -> anyhow::Result<PathBuf> {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { folder_in(memory, name) } else { fresh_folder(name) }
}

/// A folder for a world, emptied first.
pub fn fresh_folder(name: &str) -> anyhow::Result<PathBuf> {
    folder_in(&std::env::temp_dir(), name)
}

/// Copies the files of a folder; whatever was at the other place is gone.
pub fn copy_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    if to.exists() {
        std::fs::remove_dir_all(to)?;
    }
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        std::fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

/// One of its own each time: tests of one program run beside each other.
fn folder_in(place: &Path, name: &str) -> anyhow::Result<PathBuf> {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    let path = place.join(format!("{name}-{}-{number}", std::process::id()));
    if path.exists() {
        std::fs::remove_dir_all(&path)?;
    }
    std::fs::create_dir_all(&path)?;
    Ok(path)
}
