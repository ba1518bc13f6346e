//! Remembers what a step was done for, so that it is done again only when that changed.
//!
//! A stamp holds a hash of names and contents; time stamps say nothing after a fresh clone.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::workspace::Workspace;

/// What one step was last done for.
pub struct Stamp {
    file: PathBuf,
    wanted: String,
}

impl Stamp {
    /// The stamp `name` for the present contents of the given files and folders.
    ///
    /// # Errors
    /// When one of them cannot be read.
    pub fn of(workspace: &Workspace, name: &str, inputs: &[PathBuf]) -> anyhow::Result<Self> {
        let mut hasher = DefaultHasher::new();
        for input in inputs {
            hash_tree(input, &mut hasher)?;
        }
        let file = workspace.notes("stamps")?.join(name);
        Ok(Self { file, wanted: format!("{:016x}", hasher.finish()) })
    }

    /// Whether the step was done for these contents.
    pub fn holds(&self) -> bool {
        std::fs::read_to_string(&self.file).is_ok_and(|found| found == self.wanted)
    }

    /// The step was done for these contents.
    ///
    /// # Errors
    /// When the stamp cannot be written.
    pub fn set(&self) -> anyhow::Result<()> {
        std::fs::write(&self.file, &self.wanted).with_context(|| format!("write {}", self.file.display()))
    }
}

fn hash_tree(path: &Path, hasher: &mut DefaultHasher) -> anyhow::Result<()> {
    if path.is_dir() {
        let mut children = std::fs::read_dir(path)
            .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>())
            .with_context(|| format!("read {}", path.display()))?;
        children.sort();
        for child in children.iter().filter(|child| !is_output(child)) {
            hash_tree(child, hasher)?;
        }
        return Ok(());
    }
    path.to_string_lossy().hash(hasher);
    std::fs::read(path).with_context(|| format!("read {}", path.display()))?.hash(hasher);
    Ok(())
}

/// What the build writes, and what it does not read.
fn is_output(path: &Path) -> bool {
    path.file_name().is_some_and(|name| {
        let name = name.to_string_lossy();
        matches!(name.as_ref(), "node_modules" | "dist" | "browser" | "mock") || name.starts_with('.')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(path: &Path) -> u64 {
        let mut hasher = DefaultHasher::new();
        hash_tree(path, &mut hasher).unwrap();
        hasher.finish()
    }

    #[test]
    fn a_stamp_follows_sources_and_not_output() {
        let folder = std::env::temp_dir().join(format!("xtask-stamp-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("src")).unwrap();
        std::fs::create_dir_all(folder.join("dist")).unwrap();
        std::fs::write(folder.join("src/a.ts"), "1").unwrap();
        let first = hash(&folder);
        std::fs::write(folder.join("dist/a.js"), "built").unwrap();
        assert_eq!(hash(&folder), first, "output does not count");
        std::fs::write(folder.join("src/a.ts"), "2").unwrap();
        let changed = hash(&folder);
        assert_ne!(changed, first, "a changed source counts");
        std::fs::rename(folder.join("src/a.ts"), folder.join("src/b.ts")).unwrap();
        assert_ne!(hash(&folder), changed, "a renamed source counts");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
