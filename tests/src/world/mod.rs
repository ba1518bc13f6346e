//! The parts of a world, and a small venue in it.

mod gate;
mod link;
mod office;
mod process;
pub mod sheet;
pub mod stock;

pub use gate::{Gate, GatePlan, HOLD, free_address};
pub use link::Link;
pub use office::{Office, text_at};
pub use process::{Process, child_of, program};

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
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
        let data = world.join("cloud");
        std::fs::create_dir_all(&data)?;
        let arguments = [
            "serve".into(),
            "--data".into(),
            data.into_os_string(),
            "--listen".into(),
            address.to_string().into(),
            "--authority".into(),
            link.address().to_string().into(),
        ];
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
        Ok(Self { process, address, link })
    }
}

/// A client that asks this machine and nobody else.
pub fn http_client(timeout: Duration) -> reqwest::Result<reqwest::Client> {
    // The first caller installs the provider; to the others it is there already.
    let _already = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().timeout(timeout).no_proxy().build()
}

/// A folder for a world, emptied first.
pub fn fresh_folder(name: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
    if path.exists() {
        std::fs::remove_dir_all(&path)?;
    }
    std::fs::create_dir_all(&path)?;
    Ok(path)
}
