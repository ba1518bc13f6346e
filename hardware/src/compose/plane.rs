//! Holds a flat picture before a pinhole camera.

use super::{Canvas, Chance, Scene};
use crate::frame::LumaFrame;

/// Focal length in frame widths: about that of a webcam.
const FOCAL: f32 = 0.86;
/// Samples a pixel in each direction.
const SAMPLES: usize = 3;

/// Draws `picture` into the canvas, inside the frame where it fits; returns its centre.
pub(super) fn place(canvas: &mut Canvas, picture: &LumaFrame, scene: &Scene, chance: &mut Chance) -> (f32, f32) {
    let view = View::of(picture, scene);
    let corners = view.corners();
    let (left, right) = span(corners.iter().map(|corner| corner.0));
    let (top, bottom) = span(corners.iter().map(|corner| corner.1));
    let centre =
        (somewhere(left, right, canvas.width as f32, chance), somewhere(top, bottom, canvas.height as f32, chance));
    let columns = pixels(centre.0 + left, centre.0 + right, canvas.width);
    let rows = pixels(centre.1 + top, centre.1 + bottom, canvas.height);
    let (dark, bright) = scene.ink;
    let step = 1.0 / SAMPLES as f32;
    for y in rows {
        for x in columns.clone() {
            let (mut sum, mut hits) = (0.0, 0);
            for sub in 0..SAMPLES * SAMPLES {
                let px = x as f32 + ((sub % SAMPLES) as f32 + 0.5) * step - centre.0;
                let py = y as f32 + ((sub / SAMPLES) as f32 + 0.5) * step - centre.1;
                let py = py + scene.curve_px * (px / view.size.0 * std::f32::consts::PI).sin();
                if let Some(grey) = view.look(px, py).and_then(|(u, v)| sample(picture, u, v)) {
                    sum += dark + grey / 255.0 * (bright - dark);
                    hits += 1;
                }
            }
            let pixel = &mut canvas.grey[y * canvas.width + x];
            let missed = (SAMPLES * SAMPLES - hits) as f32;
            *pixel = (sum + *pixel * missed) / (SAMPLES * SAMPLES) as f32;
        }
    }
    centre
}

/// The plane of a picture in front of the camera.
struct View {
    /// Unit vectors along the picture's width and height, in camera axes.
    right: [f32; 3],
    down: [f32; 3],
    /// Size in frame pixels at the distance of the centre.
    size: (f32, f32),
    focal: f32,
}

impl View {
    fn of(picture: &LumaFrame, scene: &Scene) -> Self {
        let radians = |degrees: f32| degrees.to_radians();
        let (turn, tilt, pan) = (radians(scene.rotation_deg), radians(scene.tilt_deg), radians(scene.pan_deg));
        let rotate = |[x, y, z]: [f32; 3]| {
            let (x, y) = (x * turn.cos() - y * turn.sin(), x * turn.sin() + y * turn.cos());
            let (y, z) = (y * tilt.cos() - z * tilt.sin(), y * tilt.sin() + z * tilt.cos());
            let (x, z) = (x * pan.cos() + z * pan.sin(), z * pan.cos() - x * pan.sin());
            [x, y, z]
        };
        let wide = scene.picture_px.max(1.0);
        Self {
            right: rotate([1.0, 0.0, 0.0]),
            down: rotate([0.0, 1.0, 0.0]),
            size: (wide, wide * picture.height() as f32 / picture.width() as f32),
            focal: FOCAL * scene.width as f32,
        }
    }

    /// Where the picture's corners fall, relative to its centre, in pixels.
    fn corners(&self) -> [(f32, f32); 4] {
        [(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)].map(|(u, v)| {
            let (u, v) = (u * self.size.0, v * self.size.1);
            let at = |axis: usize| u * self.right[axis] + v * self.down[axis];
            // A corner behind the lens is cut off at a tenth of the distance.
            let depth = (1.0 + at(2) / self.focal).max(0.1);
            (at(0) / depth, at(1) / depth)
        })
    }

    /// Which point of the picture (0..1 in both directions) a pixel sees.
    fn look(&self, x: f32, y: f32) -> Option<(f32, f32)> {
        // Ray (x, y, focal) * t meets centre (0, 0, focal) + u * right + v * down: solve for u and v.
        let (x, y) = (x / self.focal, y / self.focal);
        let (r, d) = (self.right, self.down);
        let (a, b) = (r[0] - x * r[2], d[0] - x * d[2]);
        let (c, e) = (r[1] - y * r[2], d[1] - y * d[2]);
        let determinant = a * e - b * c;
        if determinant.abs() < 1e-6 {
            return None;
        }
        let (x, y) = (x * self.focal, y * self.focal);
        let u = (x * e - b * y) / determinant / self.size.0 + 0.5;
        let v = (a * y - x * c) / determinant / self.size.1 + 0.5;
        let inside = (0.0..1.0).contains(&u) && (0.0..1.0).contains(&v);
        inside.then_some((u, v))
    }
}

fn sample(picture: &LumaFrame, u: f32, v: f32) -> Option<f32> {
    let x = index(u * picture.width() as f32);
    let y = index(v * picture.height() as f32);
    picture.luma().get(y * picture.width() as usize + x).map(|grey| f32::from(*grey))
}

fn span(values: impl Iterator<Item = f32> + Clone) -> (f32, f32) {
    (values.clone().fold(f32::INFINITY, f32::min), values.fold(f32::NEG_INFINITY, f32::max))
}

/// A centre that keeps `low..high` around it inside `0..size`, or the middle when it is too large for that.
fn somewhere(low: f32, high: f32, size: f32, chance: &mut Chance) -> f32 {
    if high - low >= size {
        chance.between(0.0, 1.0);
        return size / 2.0;
    }
    chance.between(-low, size - high)
}

fn pixels(from: f32, to: f32, size: usize) -> std::ops::Range<usize> {
    index(from.floor())..index(to.ceil() + 1.0).min(size)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates at 0, which is the edge")]
fn index(at: f32) -> usize {
    at as usize
}
