//! Light, lens and sensor: everything that goes wrong between a picture and its pixels.

use super::{Canvas, Chance, Scene};
use crate::frame::LumaFrame;

/// Uneven light, a bright spot near the picture, the pixel pattern of a screen.
pub(super) fn light(canvas: &mut Canvas, scene: &Scene, centre: (f32, f32), chance: &mut Chance) {
    let (fall_sin, fall_cos) = chance.between(0.0, std::f32::consts::TAU).sin_cos();
    let spot =
        (centre.0 + chance.normal() * scene.picture_px * 0.4, centre.1 + chance.normal() * scene.picture_px * 0.4);
    let radius = (scene.picture_px * chance.between(0.07, 0.3)).max(1.0);
    let (wave_sin, wave_cos) = chance.between(0.0, std::f32::consts::PI).sin_cos();
    let wave = std::f32::consts::TAU / chance.between(2.2, 6.0);
    let (half_width, half_height) = (canvas.width as f32 / 2.0, canvas.height as f32 / 2.0);
    for (at, grey) in canvas.grey.iter_mut().enumerate() {
        let (x, y) = ((at % canvas.width) as f32, (at / canvas.width) as f32);
        let slope = fall_cos * (x / half_width - 1.0) + fall_sin * (y / half_height - 1.0);
        *grey *= 1.0 + scene.gradient * slope / 1.4;
        if scene.glare > 0.0 {
            let (dx, dy) = ((x - spot.0) / radius, (y - spot.1) / radius);
            *grey += scene.glare * (-(dx * dx + dy * dy)).exp();
        }
        if scene.moire > 0.0 {
            *grey += scene.moire * (wave * (x * wave_cos + y * wave_sin)).sin();
        }
    }
}

/// Defocus and motion.
pub(super) fn lens(canvas: &mut Canvas, scene: &Scene, chance: &mut Chance) {
    for grey in &mut canvas.grey {
        *grey = grey.clamp(0.0, 255.0);
    }
    if scene.defocus > 0.25 {
        let kernel = gaussian(scene.defocus);
        along(canvas, &kernel, (1.0, 0.0));
        along(canvas, &kernel, (0.0, 1.0));
    }
    let (sin, cos) = chance.between(0.0, std::f32::consts::PI).sin_cos();
    if scene.motion_px > 1.2 {
        // A streak as long as the motion, one tap a pixel.
        let taps = scene.motion_px.round().clamp(2.0, 64.0);
        let kernel = vec![1.0 / taps; whole(taps)];
        along(canvas, &kernel, (cos, sin));
    }
}

/// Exposure, noise, eight bits, JPEG.
pub(super) fn sensor(canvas: Canvas, scene: &Scene, chance: &mut Chance) -> Option<LumaFrame> {
    let floor = if scene.noise > 0.0 { chance.between(0.0, 8.0) } else { 0.0 };
    let luma: Vec<u8> = canvas
        .grey
        .iter()
        .map(|grey| {
            let exposed = grey * scene.exposure + floor;
            let shot = scene.noise * scene.noise + exposed.clamp(0.0, 255.0) * scene.noise * 0.02;
            let noise = if scene.noise > 0.0 { chance.normal() * shot.sqrt() } else { 0.0 };
            byte(exposed + noise)
        })
        .collect();
    let frame = LumaFrame::new(scene.width, scene.height, luma).ok()?;
    let Some(quality) = scene.jpeg else {
        return Some(frame);
    };
    let mut jpeg = Vec::new();
    image::codecs::jpeg::JpegEncoder::new_with_quality(&mut jpeg, quality.clamp(1, 100))
        .encode(frame.luma(), scene.width, scene.height, image::ExtendedColorType::L8)
        .ok()?;
    LumaFrame::from_encoded(&jpeg).ok()
}

fn gaussian(deviation: f32) -> Vec<f32> {
    let reach = (deviation * 3.0).ceil();
    let weights = (0..=2 * whole(reach)).map(|tap| {
        let x = (tap as f32 - reach) / deviation;
        (-x * x / 2.0).exp()
    });
    let weights: Vec<f32> = weights.collect();
    let sum: f32 = weights.iter().sum();
    weights.iter().map(|weight| weight / sum).collect()
}

/// Blurs along a direction of length 1 with a centred kernel, bilinear between pixels; edges repeat.
fn along(canvas: &mut Canvas, kernel: &[f32], direction: (f32, f32)) {
    let (width, height) = (canvas.width, canvas.height);
    let mut out = vec![0.0; canvas.grey.len()];
    for (tap, weight) in kernel.iter().enumerate() {
        let at = tap as f32 - (kernel.len() as f32 - 1.0) / 2.0;
        let (dx, dy) = (at * direction.0, at * direction.1);
        let (right, down) = (dx - dx.floor(), dy - dy.floor());
        let (dx, dy) = (signed(dx.floor()), signed(dy.floor()));
        let corners = [
            (dx, dy, weight * (1.0 - right) * (1.0 - down)),
            (dx + 1, dy, weight * right * (1.0 - down)),
            (dx, dy + 1, weight * (1.0 - right) * down),
            (dx + 1, dy + 1, weight * right * down),
        ];
        for (dx, dy, weight) in corners {
            if weight > 1e-4 {
                add_shifted(&mut out, &canvas.grey, (width, height), (dx, dy), weight);
            }
        }
    }
    canvas.grey = out;
}

fn add_shifted(out: &mut [f32], from: &[f32], (width, height): (usize, usize), (dx, dy): (isize, isize), weight: f32) {
    let edge = |at: usize, by: isize, size: usize| at.saturating_add_signed(by).min(size - 1);
    for y in 0..height {
        let row = &from[edge(y, dy, height) * width..][..width];
        let out = &mut out[y * width..][..width];
        // The columns whose source lies inside the row are a plain slice; the edges repeat a pixel.
        let first = (-dx).clamp(0, width as isize).unsigned_abs();
        let last = width - dx.clamp(0, width as isize).unsigned_abs();
        for (x, sum) in out.iter_mut().enumerate().take(first) {
            *sum += weight * row[edge(x, dx, width)];
        }
        for (x, sum) in out.iter_mut().enumerate().skip(last.max(first)) {
            *sum += weight * row[edge(x, dx, width)];
        }
        if first < last {
            let source = &row[edge(first, dx, width)..];
            for (sum, grey) in out[first..last].iter_mut().zip(source) {
                *sum += weight * grey;
            }
        }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped by the cast itself")]
fn byte(grey: f32) -> u8 {
    grey.round() as u8
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small and positive")]
fn whole(value: f32) -> usize {
    value as usize
}

#[expect(clippy::cast_possible_truncation, reason = "a few pixels")]
fn signed(value: f32) -> isize {
    value as isize
}
