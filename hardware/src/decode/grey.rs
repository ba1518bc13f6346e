//! Reads large symbols from grey levels instead of black and white.
//!
//! Other decoders first decide for every pixel whether it is black, and lose what lies between. Once three
//! finder patterns are known, the grid of modules follows, and each module can be measured in grey where it
//! lies. Blur then is a small sum of neighbours, which can be taken back on the grid itself. Only symbols
//! of version 6 and up are tried: their error correction is long enough that chance can't satisfy it.

use rxing::Point;
use rxing::common::BitMatrix;
use rxing::qrcode::cpp_port::decoder::Decode;
use rxing::qrcode::cpp_port::detector::FinderPatternSet;

use super::single::Found;
use crate::frame::LumaFrame;

/// Sides of version 6 and of the largest symbol tried, in modules.
const DIMENSIONS: std::ops::RangeInclusive<i32> = 41..=81;
/// Sets of finder patterns looked at, most plausible first.
const SETS: usize = 12;
/// Attempts to decode in one frame.
const ATTEMPTS: usize = 48;
/// How far the size of the finder patterns may mislead about the number of modules.
const SIZE_DOUBT: f32 = 0.25;
/// Grids tried for one set, the clearest timing first.
const GRIDS: usize = 4;
/// Grey levels between the light and the dark modules of a timing pattern.
const LEAST_CONTRAST: f32 = 3.0;
/// How much of the blur between neighbouring modules is taken back, across and down.
const SHARPENINGS: [(f32, f32); 5] = [(0.35, 0.35), (0.0, 0.0), (0.9, 0.9), (1.2, 0.2), (0.2, 1.2)];

/// Reads the symbols behind the most plausible sets of finder patterns, of all sets that were found.
pub(super) fn read_sets(frame: &LumaFrame, sets: &[FinderPatternSet]) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    let mut used: Vec<Point> = Vec::new();
    let mut attempts = ATTEMPTS;
    for set in sets.iter().take(SETS) {
        let corners = [set.tl.p, set.tr.p, set.bl.p];
        if corners.iter().any(|corner| used.contains(corner)) {
            continue;
        }
        if let Some(text) = read_symbol(frame, set, &mut attempts) {
            used.extend(corners);
            found.push(Found::at(text, &corners));
        }
    }
    found
}

fn read_symbol(frame: &LumaFrame, set: &FinderPatternSet, attempts: &mut usize) -> Option<String> {
    let module = (set.tl.size + set.tr.size + set.bl.size) as f32 / 21.0;
    let (across, down) = (set.tr.p - set.tl.p, set.bl.p - set.tl.p);
    let modules = (length(across) + length(down)) / 2.0 / module.max(0.5) + 7.0;
    let mut grids: Vec<(f32, Grid)> = Vec::new();
    for dimension in DIMENSIONS.step_by(4) {
        if (dimension as f32 - modules).abs() <= SIZE_DOUBT * modules {
            for alignment in alignments(frame, set, dimension) {
                let grid = Grid::over(set, dimension, alignment)?;
                grids.push((grid.timing(frame), grid));
            }
        }
    }
    grids.sort_by(|one, other| other.0.total_cmp(&one.0));
    // Without alternating modules between the finder patterns this is no symbol.
    for (_, grid) in grids.into_iter().take(GRIDS).take_while(|(contrast, _)| *contrast >= LEAST_CONTRAST) {
        let levels = grid.measure(frame);
        for sharpening in SHARPENINGS {
            *attempts = attempts.checked_sub(1)?;
            if let Some(text) = decode(&levels, grid.dimension, sharpening) {
                return Some(text);
            }
        }
    }
    None
}

/// Where the alignment pattern would be if the symbol were seen without perspective.
fn parallel(set: &FinderPatternSet, dimension: i32) -> Point {
    let part = (dimension - 10) as f32 / (dimension - 7) as f32;
    set.tl.p + (set.tr.p - set.tl.p) * part + (set.bl.p - set.tl.p) * part
}

/// The likeliest centres of the alignment pattern, best first.
fn alignments(frame: &LumaFrame, set: &FinderPatternSet, dimension: i32) -> Vec<Point> {
    let span = (dimension - 7) as f32;
    let (right, down) = ((set.tr.p - set.tl.p) / span, (set.bl.p - set.tl.p) / span);
    let middle = parallel(set, dimension);
    let reach = dimension / 4;
    let mut rated: Vec<(f32, Point)> = Vec::new();
    for x in -reach..=reach {
        for y in -reach..=reach {
            let centre = middle + right * (x as f32 * 0.5) + down * (y as f32 * 0.5);
            let mut contrast = 0.0;
            for (dx, dy) in (-2_i32..=2).flat_map(|dx| (-2_i32..=2).map(move |dy| (dx, dy))) {
                let ring = dx.abs().max(dy.abs());
                let at = centre + right * dx as f32 + down * dy as f32;
                let level = bilinear(frame, at.x, at.y);
                // 16 dark modules around 8 light ones around a dark one.
                contrast += if ring == 1 { level / 8.0 } else { -level / 17.0 };
            }
            // A little trust in what is near the expected place.
            rated.push((contrast - 0.15 * ((x * x + y * y) as f32).sqrt(), centre));
        }
    }
    rated.sort_by(|one, other| other.0.total_cmp(&one.0));
    let mut best: Vec<Point> = Vec::new();
    for (_, centre) in rated {
        let is_new = best.iter().all(|known| length(*known - centre) > 0.8 * length(right));
        if is_new {
            best.push(centre);
        }
        if best.len() == 3 {
            break;
        }
    }
    best
}

fn decode(levels: &[f32], dimension: i32, (across, down): (f32, f32)) -> Option<String> {
    let side = usize::try_from(dimension).ok()?;
    let at = |x: usize, y: usize| levels[y * side + x];
    let near = |at: usize, by: isize| at.saturating_add_signed(by).min(side - 1);
    let mut sharp = Vec::with_capacity(levels.len());
    for y in 0..side {
        for x in 0..side {
            let here = at(x, y);
            let beside = (at(near(x, -1), y) + at(near(x, 1), y)) / 2.0;
            let above = (at(x, near(y, -1)) + at(x, near(y, 1))) / 2.0;
            sharp.push(here + across * (here - beside) + down * (here - above));
        }
    }
    let mut bits = BitMatrix::new(u32::try_from(side).ok()?, u32::try_from(side).ok()?).ok()?;
    const REACH: usize = 5;
    for y in 0..side {
        for x in 0..side {
            // A symbol is masked to be half dark wherever one looks: the mean around a module is its threshold.
            let rows = y.saturating_sub(REACH)..(y + REACH + 1).min(side);
            let columns = x.saturating_sub(REACH)..(x + REACH + 1).min(side);
            let count = (rows.len() * columns.len()) as f32;
            let sum: f32 = rows.map(|row| sharp[row * side..][columns.clone()].iter().sum::<f32>()).sum();
            if sharp[y * side + x] < sum / count {
                bits.set(u32::try_from(x).ok()?, u32::try_from(y).ok()?);
            }
        }
    }
    let result = Decode(&bits).ok()?;
    result.isValid().then(|| result.text())
}

/// Maps module coordinates to pixels.
struct Grid {
    /// Rows of a homography whose last entry is 1.
    map: [f32; 8],
    dimension: i32,
}

impl Grid {
    /// The grid through three finder patterns and the centre of the alignment pattern.
    fn over(set: &FinderPatternSet, dimension: i32, alignment: Point) -> Option<Self> {
        let far = dimension as f32 - 3.5;
        let inner = dimension as f32 - 6.5;
        let pairs =
            [((3.5, 3.5), set.tl.p), ((far, 3.5), set.tr.p), ((3.5, far), set.bl.p), ((inner, inner), alignment)];
        let mut rows = [[0.0_f64; 9]; 8];
        for (at, ((u, v), point)) in pairs.into_iter().enumerate() {
            let (u, v, x, y) = (f64::from(u), f64::from(v), f64::from(point.x), f64::from(point.y));
            rows[2 * at] = [u, v, 1.0, 0.0, 0.0, 0.0, -u * x, -v * x, x];
            rows[2 * at + 1] = [0.0, 0.0, 0.0, u, v, 1.0, -u * y, -v * y, y];
        }
        let map = solve(rows)?;
        Some(Self { map, dimension })
    }

    /// The grey level around a point given in modules.
    fn level(&self, frame: &LumaFrame, u: f32, v: f32) -> f32 {
        let m = &self.map;
        let w = m[6] * u + m[7] * v + 1.0;
        bilinear(frame, (m[0] * u + m[1] * v + m[2]) / w, (m[3] * u + m[4] * v + m[5]) / w)
    }

    /// How clearly the timing patterns between the finder patterns alternate, in grey levels.
    fn timing(&self, frame: &LumaFrame) -> f32 {
        let mut sum = 0.0;
        for at in 8..self.dimension - 8 {
            let sign = if at % 2 == 0 { -1.0 } else { 1.0 };
            let at = at as f32 + 0.5;
            sum += sign * (self.level(frame, at, 6.5) + self.level(frame, 6.5, at));
        }
        sum / (self.dimension - 16) as f32
    }

    /// The grey level of every module: the mean of five points in it.
    fn measure(&self, frame: &LumaFrame) -> Vec<f32> {
        const OFFSETS: [(f32, f32); 5] = [(0.5, 0.5), (0.3, 0.5), (0.7, 0.5), (0.5, 0.3), (0.5, 0.7)];
        let mut levels = Vec::new();
        for y in 0..self.dimension {
            for x in 0..self.dimension {
                let sum: f32 = OFFSETS.iter().map(|(u, v)| self.level(frame, x as f32 + u, y as f32 + v)).sum();
                levels.push(sum / OFFSETS.len() as f32);
            }
        }
        levels
    }
}

/// Gauss elimination with pivots; `None` when three points lie on a line.
fn solve(mut rows: [[f64; 9]; 8]) -> Option<[f32; 8]> {
    for column in 0..8 {
        let pivot = (column..8).max_by(|a, b| rows[*a][column].abs().total_cmp(&rows[*b][column].abs()))?;
        if rows[pivot][column].abs() < 1e-9 {
            return None;
        }
        rows.swap(column, pivot);
        let chosen = rows[column];
        for (at, row) in rows.iter_mut().enumerate() {
            if at != column {
                let factor = row[column] / chosen[column];
                row.iter_mut().zip(chosen).for_each(|(value, other)| *value -= factor * other);
            }
        }
    }
    #[expect(clippy::cast_possible_truncation, reason = "pixels need no more")]
    Some(std::array::from_fn(|at| (rows[at][8] / rows[at][at]) as f32))
}

/// The grey level at a point of the frame; edges repeat.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the frame before")]
fn bilinear(frame: &LumaFrame, x: f32, y: f32) -> f32 {
    let (width, height) = (frame.width() as usize, frame.height() as usize);
    let x = (x - 0.5).clamp(0.0, (width - 1) as f32);
    let y = (y - 0.5).clamp(0.0, (height - 1) as f32);
    let (left, top) = (x as usize, y as usize);
    let (right, below) = ((left + 1).min(width - 1), (top + 1).min(height - 1));
    let (dx, dy) = (x - left as f32, y - top as f32);
    let at = |x: usize, y: usize| f32::from(frame.luma()[y * width + x]);
    let upper = at(left, top) + (at(right, top) - at(left, top)) * dx;
    let lower = at(left, below) + (at(right, below) - at(left, below)) * dx;
    upper + (lower - upper) * dy
}

fn length(vector: Point) -> f32 {
    vector.x.hypot(vector.y)
}

#[cfg(test)]
mod tests {
    use rxing::common::HybridBinarizer;
    use rxing::qrcode::cpp_port::QrReader;
    use rxing::{BinaryBitmap, Luma8Source, Reader};

    use super::*;
    use crate::compose::{Chance, Scene, code, compose, random_pass_text};
    use crate::decode::single;

    fn in_black_and_white(frame: &LumaFrame) -> bool {
        let source = Luma8Source::new_with_slice(frame.luma(), frame.width(), frame.height()).unwrap();
        QrReader.decode(&mut BinaryBitmap::new(HybridBinarizer::new(source))).is_ok()
    }

    #[test]
    fn blurred_passes_are_read_that_black_and_white_loses() {
        let (mut plain, mut grey) = (0, 0);
        for seed in 0..12 {
            let text = random_pass_text(&mut Chance::new(seed));
            let scene = Scene { defocus: 1.6, tilt_deg: 20.0, noise: 3.0, ..Scene::friendly(seed, 190.0) };
            let frame = compose(&code(&text, 8).unwrap(), &scene).unwrap();
            plain += usize::from(in_black_and_white(&frame));
            let read = single::read(&frame);
            assert!(read.iter().all(|found| found.text == text), "seed {seed}: {read:?}");
            grey += usize::from(!read.is_empty());
        }
        assert!(grey >= plain + 4, "{grey} in grey, {plain} in black and white");
    }

    #[test]
    fn a_grid_goes_through_its_four_points() {
        let rows = |pairs: [((f64, f64), (f64, f64)); 4]| {
            let mut rows = [[0.0; 9]; 8];
            for (at, ((u, v), (x, y))) in pairs.into_iter().enumerate() {
                rows[2 * at] = [u, v, 1.0, 0.0, 0.0, 0.0, -u * x, -v * x, x];
                rows[2 * at + 1] = [0.0, 0.0, 0.0, u, v, 1.0, -u * y, -v * y, y];
            }
            rows
        };
        let square = [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)];
        let seen = [(10.0, 20.0), (110.0, 30.0), (15.0, 90.0), (90.0, 80.0)];
        let pairs = std::array::from_fn(|at| (square[at], seen[at]));
        let m = solve(rows(pairs)).unwrap().map(f64::from);
        for ((u, v), (x, y)) in pairs {
            let w = m[6] * u + m[7] * v + 1.0;
            assert!(((m[0] * u + m[1] * v + m[2]) / w - x).abs() < 1e-3);
            assert!(((m[3] * u + m[4] * v + m[5]) / w - y).abs() < 1e-3);
        }
        let on_a_line = [(0.0, 0.0), (1.0, 1.0), (2.0, 2.0), (3.0, 3.0)];
        assert!(solve(rows(std::array::from_fn(|at| (square[at], on_a_line[at])))).is_none());
    }
}
