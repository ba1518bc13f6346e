//! One look at one frame, without a deadline or a panic boundary.

use rxing::common::{DetectorRXingResult, HybridBinarizer};
use rxing::qrcode::cpp_port::decoder::Decode;
use rxing::qrcode::cpp_port::detector::{FindFinderPatterns, GenerateFinderPatternSets, SampleQR};
use rxing::{BinaryBitmap, Luma8Source, Point};

use super::grey::read_sets;
use crate::frame::LumaFrame;

/// The most sets of finder patterns that are looked at: a page of codes has a few dozen, a hostile poster thousands.
const SETS: usize = 400;

/// A code that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its text.
    pub text: String,
    /// Top of its corners, in pixels of the frame it was read from.
    pub top: i32,
    /// Left of its corners, in pixels of the frame it was read from.
    pub left: i32,
}

impl Found {
    #[expect(clippy::cast_possible_truncation, reason = "saturates, and order is all that is asked of it")]
    pub(super) fn at(text: String, corners: &[Point]) -> Self {
        let least = |of: fn(&Point) -> f32| corners.iter().map(of).fold(f32::INFINITY, f32::min);
        Self { text, top: least(|point| point.y) as i32, left: least(|point| point.x) as i32 }
    }
}

/// All codes of a frame: found and sampled in black and white by rxing's port of the zxing-cpp detector;
/// where that reads nothing, large symbols are measured in grey. May panic.
#[must_use]
pub fn read(frame: &LumaFrame) -> Vec<Found> {
    let Ok(source) = Luma8Source::new_with_slice(frame.luma(), frame.width(), frame.height()) else {
        return Vec::new();
    };
    let bitmap = BinaryBitmap::new(HybridBinarizer::new(source));
    let black = bitmap.get_black_matrix();
    let mut patterns = FindFinderPatterns(black, true, 0);
    let mut sets = GenerateFinderPatternSets(&mut patterns);
    sets.truncate(SETS);
    let mut found: Vec<Found> = Vec::new();
    let mut used: Vec<Point> = Vec::new();
    for set in &sets {
        let patterns = [set.bl.p, set.tl.p, set.tr.p];
        if patterns.iter().any(|pattern| used.contains(pattern)) {
            continue;
        }
        let Ok(symbol) = SampleQR(black, set) else { continue };
        if let Some(read) = Decode(symbol.getBits()).ok().filter(|read| read.isValid()) {
            used.extend(patterns);
            found.push(Found::at(read.text(), symbol.getPoints()));
        }
    }
    if found.is_empty() { read_sets(frame, &sets) } else { found }
}

/// rqrr reads a few that rxing does not. It panics on some photographs and can be slow.
#[must_use]
pub fn rqrr(frame: &LumaFrame) -> Vec<Found> {
    let width = frame.width() as usize;
    let grey = |x: usize, y: usize| frame.luma()[y * width + x];
    let mut picture = rqrr::PreparedImage::prepare_from_greyscale(width, frame.height() as usize, grey);
    let found = picture.detect_grids().into_iter().filter_map(|grid| {
        let (_, text) = grid.decode().ok()?;
        let top = grid.bounds.iter().map(|point| point.y).min().unwrap_or(0);
        let left = grid.bounds.iter().map(|point| point.x).min().unwrap_or(0);
        Some(Found { text, top, left })
    });
    found.collect()
}

/// The texts rqrr reads.
#[must_use]
pub fn rqrr_texts(frame: &LumaFrame) -> Vec<String> {
    rqrr(frame).into_iter().map(|found| found.text).collect()
}
