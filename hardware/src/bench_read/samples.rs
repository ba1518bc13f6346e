//! The pictures: photographs with known contents, and passes drawn into scenes from a seed.

use std::path::{Path, PathBuf};

use crate::compose::{Chance, Scene, code, compose, random_pass_text};
use crate::decode::filter::shrink_to;
use crate::frame::LumaFrame;

/// The longest side a photograph is looked at with: that of the product's camera.
const LONGEST: u32 = 1280;

/// The sets below the photograph folder; the last holds pictures without any code.
const SETS: [&str; 4] = ["zxing", "zxingcpp", "jsqr", "falsepos"];

/// One picture and what is in it.
pub(super) struct Sample {
    pub(super) set: String,
    pub(super) frame: LumaFrame,
    /// `None`: there is no code in it.
    pub(super) text: Option<String>,
}

/// A photograph that is at hand.
pub(super) struct Photograph {
    set: &'static str,
    path: PathBuf,
}

/// The photographs below `folder`, and the sets that are absent.
pub(super) fn photographs(folder: Option<&Path>) -> (Vec<Photograph>, Vec<String>) {
    let mut found = Vec::new();
    let mut absent = Vec::new();
    for set in SETS {
        let entries = folder.and_then(|folder| std::fs::read_dir(folder.join(set)).ok());
        let Some(entries) = entries else {
            absent.push(set.to_owned());
            continue;
        };
        let mut paths: Vec<PathBuf> =
            entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| is_picture(path)).collect();
        paths.sort();
        found.extend(paths.into_iter().map(|path| Photograph { set, path }));
    }
    (found, absent)
}

/// Loads a photograph; `None` when it cannot be read or nobody knows what is in it.
pub(super) fn photograph(photograph: &Photograph) -> Option<Sample> {
    let Photograph { set, path } = photograph;
    let text = if *set == "falsepos" {
        None
    } else {
        let text = std::fs::read_to_string(path.with_extension("txt")).ok()?;
        Some(text).filter(|text| !text.is_empty()).map(Some)?
    };
    let frame = shrink_to(&LumaFrame::from_file(path).ok()?, LONGEST)?;
    Some(Sample { set: (*set).to_owned(), frame, text })
}

/// Frame `number` of a level of difficulty (1..=4): a pass on a phone or a card.
pub(super) fn drawn(seed: u64, level: u8, number: u32) -> Option<Sample> {
    let mut chance = Chance::new(seed ^ (u64::from(level) << 48) ^ (u64::from(number) << 16));
    let text = random_pass_text(&mut chance);
    let code = code(&text, MODULE_PX).ok()?;
    let card = card(&code, &mut chance)?;
    let code_modules = f32::from(u8::try_from(code.width() as usize / MODULE_PX).ok()? - 8);
    let card_modules = card.width() as f32 / MODULE_PX as f32;
    let scene = Scene::random(level, chance.bits(), code_modules / card_modules);
    let frame = compose(&card, &scene)?;
    Some(Sample { set: format!("synthetic {level}"), frame, text: Some(text) })
}

/// Pixels a module in the drawing, before the camera.
const MODULE_PX: usize = 12;

/// Puts the code on something: a margin light or dark, with more of it above and below, in a dark frame.
fn card(code: &LumaFrame, chance: &mut Chance) -> Option<LumaFrame> {
    let light = chance.happens(0.7);
    let grey = if light { chance.whole(200, 255) } else { chance.whole(10, 60) };
    let beside = MODULE_PX * (3 + chance.below(11));
    let above = MODULE_PX * (4 + chance.below(26));
    let bezel = MODULE_PX * (1 + chance.below(2));
    let side = code.width() as usize;
    let (width, height) = (side + 2 * (beside + bezel), side + 2 * (above + bezel));
    let mut luma = vec![0; width * height];
    for y in bezel..height - bezel {
        luma[y * width + bezel..(y + 1) * width - bezel].fill(grey);
    }
    for (y, row) in code.luma().chunks(side).enumerate() {
        let start = (above + bezel + y) * width + beside + bezel;
        luma[start..start + side].copy_from_slice(row);
    }
    LumaFrame::new(u32::try_from(width).ok()?, u32::try_from(height).ok()?, luma).ok()
}

fn is_picture(path: &Path) -> bool {
    let known = ["png", "jpg", "jpeg", "webp"];
    path.extension().is_some_and(|extension| known.iter().any(|known| extension == *known))
}
