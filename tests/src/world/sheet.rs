//! From a printed sheet to camera frames: poppler rasterises the PDF as a printer would, the codes are cut out, and a seeded
//! scene (`hardware::compose`) puts each in front of a lens.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};
use hardware::frame::LumaFrame;

/// Printing resolution of the check in features.md A14, dots per inch.
const DPI: u32 = 150;
/// The paper, millimetres.
const A4: (f32, f32) = (210.0, 297.0);
/// Left and top margin of the sheet, millimetres, as its cut marks show.
const MARGIN: (f32, f32) = (8.0, 12.0);
/// Passes beside and below each other.
const COLUMNS: usize = 4;
const ROWS: usize = 6;

/// Rasterises a PDF and gives its pages.
pub fn rasterise(pdf: &[u8], dir: &Path) -> anyhow::Result<Vec<LumaFrame>> {
    std::fs::create_dir_all(dir)?;
    let file = dir.join("sheet.pdf");
    std::fs::write(&file, pdf)?;
    let status = Command::new("pdftoppm")
        .args(["-r", &DPI.to_string(), "-gray", "-png"])
        .arg(&file)
        .arg(dir.join("page"))
        .status()
        .context("can't start pdftoppm: run `cargo xtask setup`, which installs poppler-utils")?;
    if !status.success() {
        bail!("pdftoppm failed on the sheet: {status}");
    }
    let mut pages: Vec<_> = std::fs::read_dir(dir)?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "png"))
        .collect();
    pages.sort();
    pages.iter().map(|path| Ok(LumaFrame::from_file(path)?)).collect()
}

/// Cuts every pass out of a sheet's pages along the cut marks: four by six on A4.
pub fn cut(pages: &[LumaFrame], count: usize) -> anyhow::Result<Vec<LumaFrame>> {
    let mut codes = Vec::with_capacity(count);
    for page in pages {
        for place in 0..COLUMNS * ROWS {
            if codes.len() == count {
                return Ok(codes);
            }
            codes.push(cell(page, place)?);
        }
    }
    if codes.len() < count {
        bail!("the sheet has {} codes, {count} were asked for", codes.len());
    }
    Ok(codes)
}

/// One cell's square, code and words below it.
fn cell(page: &LumaFrame, place: usize) -> anyhow::Result<LumaFrame> {
    let dots = DPI as f32 / 25.4;
    let (width, height) = ((A4.0 - 2.0 * MARGIN.0) / COLUMNS as f32, (A4.1 - 2.0 * MARGIN.1) / ROWS as f32);
    let side = width.min(height);
    let left = MARGIN.0 + width * (place % COLUMNS) as f32 + (width - side) / 2.0;
    let top = MARGIN.1 + height * (place / COLUMNS) as f32 + (height - side) / 2.0;
    window(page, left * dots, top * dots, side * dots)
}

fn window(page: &LumaFrame, left: f32, top: f32, side: f32) -> anyhow::Result<LumaFrame> {
    let (left, top, side) = (left.max(0.0) as u32, top.max(0.0) as u32, side as u32);
    let side = side.min(page.width() - left).min(page.height() - top);
    let mut luma = Vec::with_capacity((side * side) as usize);
    for row in top..top + side {
        let from = (row * page.width() + left) as usize;
        luma.extend_from_slice(&page.luma()[from..from + side as usize]);
    }
    Ok(LumaFrame::new(side, side, luma)?)
}
