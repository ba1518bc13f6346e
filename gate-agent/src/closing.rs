//! Whether staff took the lane out of use, as a file in the data folder.
//!
//! A lane that was closed because its barrier is bent must still be closed after a power cut, and the touchscreen, an
//! operator's command and a restart must agree. So the file alone says it: whoever wants a change changes the file, and
//! the running agent follows within a second.

use std::fs::File;
use std::path::{Path, PathBuf};

/// Name of the file in the data folder.
const FILE: &str = "lane-closed";

/// The word could not be kept.
#[derive(Debug, thiserror::Error)]
#[error("can't change {}: {why}. Is the data folder there, and yours to write to?", path.display())]
pub struct ClosingError {
    path: PathBuf,
    why: std::io::Error,
}

/// The switch of one data folder.
#[derive(Clone, Debug)]
pub struct Closing(PathBuf);

impl Closing {
    /// The switch of a data folder.
    pub fn at(data_dir: &Path) -> Self {
        Self(data_dir.join(FILE))
    }

    /// Whether the lane is out of use.
    pub fn is_closed(&self) -> bool {
        self.0.exists()
    }

    /// Takes the lane out of use, or into use again. It is no mistake if it was so already.
    pub fn set(&self, closed: bool) -> Result<(), ClosingError> {
        let done = if closed {
            File::create(&self.0).and_then(|file| file.sync_all())
        } else {
            match std::fs::remove_file(&self.0) {
                Err(why) if why.kind() != std::io::ErrorKind::NotFound => Err(why),
                Ok(()) | Err(_) => Ok(()),
            }
        };
        // The folder too, so that a power cut can't bring the old word back.
        let kept = done.and_then(|()| File::open(self.0.parent().unwrap_or(Path::new(".")))?.sync_all());
        kept.map_err(|why| ClosingError { path: self.0.clone(), why })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::testing::Folder;

    #[test]
    fn the_word_stays_until_it_is_taken_back() {
        let folder = Folder::new("closing");
        let closing = Closing::at(folder.path());
        for closed in [false, true, true, false, false] {
            closing.set(closed).unwrap();
            assert_eq!(Closing::at(folder.path()).is_closed(), closed);
        }
        let nowhere = Closing::at(&folder.path().join("absent"));
        let said = nowhere.set(true).unwrap_err().to_string();
        assert!(said.contains("absent/lane-closed") && said.contains("data folder"), "{said}");
    }
}
