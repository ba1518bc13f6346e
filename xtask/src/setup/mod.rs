//! Makes a fresh Debian machine ready, and does nothing on one that is.

pub mod fonts;
pub mod node;
mod stamp;
pub mod system;
pub mod web;

use crate::shell::Shell;
use crate::workspace::Workspace;

/// System packages, fonts, the web pages.
///
/// # Errors
/// When something is missing and could not be brought; the text says what and how to help.
pub fn everything(workspace: &Workspace, shell: &Shell) -> anyhow::Result<()> {
    system::ready(workspace, shell)?;
    fonts::ready(workspace, shell)?;
    web::ready(workspace, shell)
}
