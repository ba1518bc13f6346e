//! Where things are, and which files are the project's own.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

/// The checkout this xtask works on.
#[derive(Debug, Clone)]
pub struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// The checkout cargo called us from; a binary run by hand uses the one it was built in.
    ///
    /// # Errors
    /// When that folder holds no Cargo.toml.
    pub fn find() -> anyhow::Result<Self> {
        let own = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = own.parent().context("xtask is not inside a workspace")?.to_path_buf();
        if !root.join("Cargo.toml").is_file() {
            bail!("{} holds no Cargo.toml: call this as `cargo xtask`", root.display());
        }
        Ok(Self { root })
    }

    /// A path inside the checkout.
    pub fn path(&self, inside: impl AsRef<Path>) -> PathBuf {
        self.root.join(inside)
    }

    /// A path for xtask's own notes (stamps, logs, unpacked archives), created when missing.
    ///
    /// # Errors
    /// When the folder cannot be created.
    pub fn notes(&self, inside: &str) -> anyhow::Result<PathBuf> {
        let folder = self.path("target/xtask").join(inside);
        std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        Ok(folder)
    }

    /// Where tools built for this checkout are kept; a CI cache of `target` keeps them.
    pub fn tools(&self) -> PathBuf {
        self.path("target/tools")
    }

    /// A program in the checkout's root.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root);
        command
    }

    /// The cargo that called us.
    pub fn cargo(&self) -> Command {
        self.command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
    }
}
