//! What is behind the picture: clothing, walls, signs. Smooth noise, boxes and strokes.

use super::{Canvas, Chance, Scene};

/// Paints the background of a scene.
pub(super) fn paint(scene: &Scene, chance: &mut Chance) -> Canvas {
    let (width, height) = (scene.width as usize, scene.height as usize);
    let base = chance.between(60.0, 150.0);
    let mut canvas = Canvas { width, height, grey: vec![base; width * height] };
    if scene.clutter {
        noise(&mut canvas, 64, 28.0, chance);
        let fine = chance.between(2.0, 9.0);
        noise(&mut canvas, 8, fine, chance);
        for _ in 0..6 + chance.below(16) {
            stroke(&mut canvas, chance);
        }
    }
    canvas
}

/// Adds noise with details of about `cell` pixels.
fn noise(canvas: &mut Canvas, cell: usize, strength: f32, chance: &mut Chance) {
    let columns = canvas.width / cell + 2;
    let rows = canvas.height / cell + 2;
    let grid: Vec<f32> = (0..columns * rows).map(|_| chance.normal() * strength).collect();
    let step = cell as f32;
    for y in 0..canvas.height {
        let down = (y % cell) as f32 / step;
        let row = (y / cell) * columns;
        for x in 0..canvas.width {
            let right = (x % cell) as f32 / step;
            let at = row + x / cell;
            let upper = grid[at] + (grid[at + 1] - grid[at]) * right;
            let lower = grid[at + columns] + (grid[at + columns + 1] - grid[at + columns]) * right;
            canvas.grey[y * canvas.width + x] += upper + (lower - upper) * down;
        }
    }
}

/// A filled box or a slanted stroke of one grey.
fn stroke(canvas: &mut Canvas, chance: &mut Chance) {
    let (left, top) = (chance.below(canvas.width), chance.below(canvas.height));
    let (wide, high) = (10 + chance.below(250), 10 + chance.below(190));
    let grey = chance.between(10.0, 245.0);
    let is_box = chance.happens(0.6);
    let thickness = 1 + chance.below(8);
    for y in top..(top + high).min(canvas.height) {
        let (from, to) = if is_box {
            (left, left + wide)
        } else {
            let at = left + (y - top) * wide / high;
            (at, at + thickness)
        };
        for x in from.min(canvas.width)..to.min(canvas.width) {
            canvas.grey[y * canvas.width + x] = grey;
        }
    }
}
