//! Pictures from a folder instead of a lens: what demos and tests stand in front of the gate with.
//!
//! Every file is shown for some frames and followed by an empty view, as if somebody held up a pass and
//! took it away. New files are picked up while it runs. File names may carry directives, so that a demo
//! can stall or unplug the camera: `NAME.stall-3000ms`, `NAME.unplug`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Camera, CameraError, Delivery, Shot};
use crate::clock::mono_us;
use crate::frame::LumaFrame;

/// How pictures are shown.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Frames a second, 1..=1000.
    pub fps: u32,
    /// For how many frames a file is shown.
    pub hold: u32,
    /// For how many frames the view is empty after it.
    pub gap: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self { fps: 15, hold: 3, gap: 3 }
    }
}

/// The longest stall a file name may ask for.
const MAX_STALL_MS: u64 = 600_000;

/// A camera that shows files.
pub struct Replay {
    source: Source,
    pace: Pace,
    next_at_us: u64,
    view: View,
    blank: LumaFrame,
}

enum Source {
    /// One picture, shown for ever.
    Picture(LumaFrame),
    Folder(Folder),
}

struct Folder {
    path: PathBuf,
    shown: BTreeSet<String>,
    /// The last file shown before a restart: it and everything named before it count as shown.
    after: Option<String>,
}

/// What stands before the lens of a folder.
enum View {
    Empty,
    /// Announced, not yet looked at.
    Next(String, Kind),
    Showing(LumaFrame, u32),
    Gap(u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Picture,
    Stall(Duration),
    Unplug,
}

impl Replay {
    /// Opens a picture or a folder. Files named up to and including `after` count as shown.
    ///
    /// # Errors
    /// [`CameraError::Open`] when the path is neither a folder nor a readable picture.
    pub fn open(path: &Path, pace: Pace, after: Option<String>) -> Result<Self, CameraError> {
        let refused = |why: String| CameraError::Open(format!("{}: {why}", path.display()));
        let blank = LumaFrame::flat(1280, 720, 128).map_err(|why| refused(why.to_string()))?;
        let is_folder = std::fs::metadata(path).map_err(|why| refused(why.to_string()))?.is_dir();
        let source = if is_folder {
            Source::Folder(Folder { path: path.to_owned(), shown: BTreeSet::new(), after })
        } else {
            Source::Picture(LumaFrame::from_file(path).map_err(|why| refused(why.to_string()))?)
        };
        let pace = Pace { fps: pace.fps.clamp(1, 1000), hold: pace.hold.max(1), gap: pace.gap };
        Ok(Self { source, pace, next_at_us: mono_us(), view: View::Empty, blank })
    }

    /// Hands over a frame when its time has come.
    fn shot(&mut self, frame: LumaFrame) -> Delivery {
        let now = mono_us();
        if let Some(early) = self.next_at_us.checked_sub(now) {
            std::thread::sleep(Duration::from_micros(early));
        }
        // After a long decode the rhythm starts anew: a lens does not catch up either.
        self.next_at_us = self.next_at_us.max(now) + 1_000_000 / u64::from(self.pace.fps);
        Delivery::Shot(Shot { frame, captured_mono_us: mono_us() })
    }
}

impl Camera for Replay {
    fn next_frame(&mut self) -> Result<Delivery, CameraError> {
        let folder = match &mut self.source {
            Source::Picture(picture) => {
                let picture = picture.clone();
                return Ok(self.shot(picture));
            }
            Source::Folder(folder) => folder,
        };
        loop {
            match std::mem::replace(&mut self.view, View::Empty) {
                View::Empty => {
                    let Some((name, kind)) = folder.next() else {
                        let blank = self.blank.clone();
                        return Ok(self.shot(blank));
                    };
                    // Said before it is looked at: whatever it does to this process, it does once.
                    self.view = View::Next(name.clone(), kind);
                    return Ok(Delivery::Showing(name));
                }
                View::Next(name, Kind::Picture) => match LumaFrame::from_file(&folder.path.join(&name)) {
                    Ok(frame) => self.view = View::Showing(frame, self.pace.hold),
                    Err(why) => return Ok(Delivery::Skipped(format!("{name}: {why}"))),
                },
                View::Next(_, Kind::Stall(stall)) => std::thread::sleep(stall),
                View::Next(name, Kind::Unplug) => return Err(CameraError::Lost(name)),
                View::Showing(frame, left) => {
                    self.view = match left - 1 {
                        0 => View::Gap(self.pace.gap),
                        left => View::Showing(frame.clone(), left),
                    };
                    return Ok(self.shot(frame));
                }
                View::Gap(0) => {}
                View::Gap(left) => {
                    self.view = View::Gap(left - 1);
                    let blank = self.blank.clone();
                    return Ok(self.shot(blank));
                }
            }
        }
    }

    fn size(&self) -> (u32, u32) {
        (0, 0)
    }
}

impl Folder {
    /// The first file by name that was not shown; an unreadable folder is an empty view.
    fn next(&mut self) -> Option<(String, Kind)> {
        let entries = std::fs::read_dir(&self.path).ok()?;
        let waiting = entries.filter_map(|entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            let kind = kind(&name)?;
            let before_restart = self.after.as_ref().is_some_and(|after| name <= *after);
            (!before_restart && !self.shown.contains(&name)).then_some((name, kind))
        });
        let next = waiting.min_by(|one, other| one.0.cmp(&other.0))?;
        self.shown.insert(next.0.clone());
        Some(next)
    }
}

/// What a file name asks for; `None` for files that are not for the camera.
fn kind(name: &str) -> Option<Kind> {
    if name.starts_with('.') {
        return None;
    }
    let (_, extension) = name.rsplit_once('.')?;
    match extension {
        "png" | "jpg" | "jpeg" | "webp" => Some(Kind::Picture),
        "unplug" => Some(Kind::Unplug),
        _ => {
            let ms: u64 = extension.strip_prefix("stall-")?.strip_suffix("ms")?.parse().ok()?;
            Some(Kind::Stall(Duration::from_millis(ms.min(MAX_STALL_MS))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Pace = Pace { fps: 1000, hold: 2, gap: 1 };

    fn put(folder: &Path, name: &str, grey: u8) {
        let png = LumaFrame::flat(4, 4, grey).unwrap().to_png().unwrap();
        std::fs::write(folder.join(name), png).unwrap();
    }

    /// What the camera delivers, in words: `a.png`, `shot 10`, `skipped`, `lost`.
    fn deliveries(camera: &mut Replay, count: usize) -> Vec<String> {
        (0..count)
            .map(|_| match camera.next_frame() {
                Ok(Delivery::Shot(shot)) => format!("shot {}", shot.frame.mean()),
                Ok(Delivery::Showing(name)) => name,
                Ok(Delivery::Skipped(_)) => "skipped".to_owned(),
                Err(_) => "lost".to_owned(),
            })
            .collect()
    }

    #[test]
    fn files_are_shown_by_name_and_later_ones_are_picked_up() {
        let folder = tempfile::tempdir().unwrap();
        put(folder.path(), "b.png", 20);
        put(folder.path(), "a.png", 10);
        std::fs::write(folder.path().join("notes.txt"), "not for the camera").unwrap();
        let mut camera = Replay::open(folder.path(), QUICK, None).unwrap();
        assert_eq!(
            deliveries(&mut camera, 10),
            [
                "a.png", "shot 10", "shot 10", "shot 128", "b.png", "shot 20", "shot 20", "shot 128", "shot 128",
                "shot 128"
            ]
        );
        put(folder.path(), "c.png", 30);
        assert_eq!(deliveries(&mut camera, 2), ["c.png", "shot 30"]);
    }

    #[test]
    fn directives_and_torn_pictures() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("1.png"), b"\x89PNG torn").unwrap();
        std::fs::write(folder.path().join("2.stall-1ms"), "").unwrap();
        std::fs::write(folder.path().join("3.unplug"), "").unwrap();
        let mut camera = Replay::open(folder.path(), QUICK, None).unwrap();
        assert_eq!(deliveries(&mut camera, 5), ["1.png", "skipped", "2.stall-1ms", "3.unplug", "lost"]);
    }

    #[test]
    fn a_restart_goes_on_behind_the_file_that_was_shown_last() {
        let folder = tempfile::tempdir().unwrap();
        put(folder.path(), "a.png", 10);
        std::fs::write(folder.path().join("b.unplug"), "").unwrap();
        put(folder.path(), "c.png", 30);
        let mut camera = Replay::open(folder.path(), QUICK, Some("b.unplug".to_owned())).unwrap();
        assert_eq!(deliveries(&mut camera, 2), ["c.png", "shot 30"]);
    }

    #[test]
    fn one_picture_is_shown_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        put(folder.path(), "a.png", 10);
        let mut camera = Replay::open(&folder.path().join("a.png"), QUICK, None).unwrap();
        assert_eq!(deliveries(&mut camera, 3), ["shot 10", "shot 10", "shot 10"]);
        assert!(Replay::open(&folder.path().join("absent"), QUICK, None).is_err());
    }

    #[test]
    fn names() {
        for (name, expected) in [
            ("a.png", Some(Kind::Picture)),
            ("a.b.webp", Some(Kind::Picture)),
            (".a.png", None),
            ("a.png.tmp", None),
            ("png", None),
            ("x.stall-3000ms", Some(Kind::Stall(Duration::from_secs(3)))),
            ("x.stall-ms", None),
            ("x.unplug", Some(Kind::Unplug)),
        ] {
            assert_eq!(kind(name), expected, "{name}");
        }
    }
}
