//! Real photographs, where they are at hand: what is read is right, and what holds no code reads as nothing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hardware::clock;
use hardware::decode::{Cascade, filter};
use hardware::frame::LumaFrame;

use crate::skipped;

fn photos(set: &str) -> Option<Vec<PathBuf>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/qr").join(set);
    let Ok(entries) = std::fs::read_dir(&folder) else {
        skipped(&format!("no photographs at ../shared/qr/{set}"));
        return None;
    };
    let is_picture = |path: &PathBuf| {
        path.extension().is_some_and(|extension| ["png", "jpg", "webp"].iter().any(|known| extension == *known))
    };
    let mut photos: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).filter(is_picture).collect();
    photos.sort();
    Some(photos)
}

fn read(photo: &Path) -> Vec<String> {
    let frame = filter::shrink_to(&LumaFrame::from_file(photo).unwrap(), 1280).unwrap();
    Cascade::timed_by(Duration::from_millis(20), clock::thread_cpu_us).read(&frame).texts
}

#[test]
fn pictures_without_a_code_read_as_nothing() {
    for photo in photos("falsepos").unwrap_or_default() {
        assert!(read(&photo).is_empty(), "{}", photo.display());
    }
}

#[test]
fn most_photographs_are_read_and_rightly() {
    for (set, least_percent) in [("zxing", 90), ("zxingcpp", 85), ("jsqr", 85)] {
        let Some(photos) = photos(set) else { continue };
        let (mut known, mut right, mut wrong) = (0, 0, Vec::new());
        for photo in &photos {
            let texts = read(photo);
            let Ok(text) = std::fs::read_to_string(photo.with_extension("txt")) else {
                continue;
            };
            // An empty text means that the contents are not known.
            if text.is_empty() {
                continue;
            }
            known += 1;
            if texts.contains(&text) {
                right += 1;
            // Where a set's reference holds a part only (one character set of several), more is not wrong.
            } else if !texts.is_empty() && !texts.iter().any(|read| read.contains(&text)) {
                wrong.push((photo.clone(), texts));
            }
        }
        assert!(wrong.is_empty(), "{wrong:?}");
        assert!(right * 100 >= known * least_percent, "{set}: {right} of {known}");
    }
}
