//! Camera frames made from a drawing: a pass on a phone or on paper, held up in bad light.
//!
//! Benchmarks and demos need pictures whose contents are known and which look like what a gate sees. A
//! [`Scene`] says how the picture is held and how bad the light is; [`compose`] draws it into a frame. The
//! same scene gives the same bytes on every machine that rounds alike: nothing but its seed is random.

mod background;
mod chance;
mod draw;
mod optics;
mod plane;

pub use chance::Chance;
pub use draw::{DrawError, code, random_pass_text};

use crate::frame::LumaFrame;

/// How a picture stands before the camera, and what the camera makes of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Scene {
    /// Seed of everything that is random: background, noise, directions.
    pub seed: u64,
    /// Frame width in pixels, 16..=4096.
    pub width: u32,
    /// Frame height in pixels, 16..=4096.
    pub height: u32,
    /// Width of the whole picture in the frame, in pixels, as if it were held straight.
    pub picture_px: f32,
    /// Turned in its plane, in degrees.
    pub rotation_deg: f32,
    /// Leaning back, in degrees, -60..=60.
    pub tilt_deg: f32,
    /// Turned sideways, in degrees, -60..=60.
    pub pan_deg: f32,
    /// Grey of the black and the white of the picture, 0..=255.
    pub ink: (f32, f32),
    /// Clutter behind the picture instead of an even wall.
    pub clutter: bool,
    /// Brightness falls off across the frame by this part, 0..=1.
    pub gradient: f32,
    /// Strength of a bright spot near the picture, in grey levels; 0 = none.
    pub glare: f32,
    /// Strength of a screen's pixel pattern, in grey levels; 0 = none.
    pub moire: f32,
    /// Paper bent by this many pixels.
    pub curve_px: f32,
    /// Out of focus: standard deviation in pixels.
    pub defocus: f32,
    /// Moved during the exposure by this many pixels.
    pub motion_px: f32,
    /// Exposure; 1 = as drawn.
    pub exposure: f32,
    /// Noise in grey levels.
    pub noise: f32,
    /// JPEG quality of the camera, 1..=100; `None` = uncompressed.
    pub jpeg: Option<u8>,
}

impl Scene {
    /// A picture held well in good light: what a demo shows.
    #[must_use]
    pub fn friendly(seed: u64, picture_px: f32) -> Self {
        let mut chance = Chance::new(seed);
        Self {
            rotation_deg: chance.between(-6.0, 6.0),
            tilt_deg: chance.between(-8.0, 8.0),
            pan_deg: chance.between(-8.0, 8.0),
            gradient: 0.15,
            defocus: 0.5,
            noise: 2.5,
            ..Self::plain(seed, picture_px)
        }
    }

    /// A picture held straight before an even wall, without any loss.
    #[must_use]
    pub fn plain(seed: u64, picture_px: f32) -> Self {
        Self {
            seed,
            width: 1280,
            height: 720,
            picture_px,
            rotation_deg: 0.0,
            tilt_deg: 0.0,
            pan_deg: 0.0,
            ink: (20.0, 235.0),
            clutter: false,
            gradient: 0.0,
            glare: 0.0,
            moire: 0.0,
            curve_px: 0.0,
            defocus: 0.0,
            motion_px: 0.0,
            exposure: 1.0,
            noise: 0.0,
            jpeg: None,
        }
    }

    /// A random scene of a level of difficulty, 1 (easy) to 4 (very hard); `code_share` of the picture's width is code.
    #[must_use]
    pub fn random(level: u8, seed: u64, code_share: f32) -> Self {
        let mut chance = Chance::new(seed);
        let hard = Level::of(level);
        let screen = chance.happens(0.65);
        let code_px = 1280.0 * chance.between(hard.size.0, hard.size.1);
        let ink = if screen {
            (chance.between(8.0, 40.0), chance.between(150.0, 255.0))
        } else {
            (chance.between(20.0, 70.0), chance.between(170.0, 240.0))
        };
        let bent = !screen && chance.happens(hard.curve);
        Self {
            rotation_deg: chance.between(-hard.rotation, hard.rotation),
            tilt_deg: chance.between(-hard.tilt, hard.tilt),
            pan_deg: chance.between(-hard.tilt, hard.tilt),
            ink,
            clutter: true,
            gradient: chance.between(0.0, hard.gradient),
            glare: if chance.happens(hard.glare) { chance.between(60.0, 260.0) } else { 0.0 },
            moire: if screen && chance.happens(hard.moire) { chance.between(3.0, 14.0) } else { 0.0 },
            curve_px: if bent { chance.between(1.0, 4.0) * (code_px / 120.0).min(1.0) } else { 0.0 },
            defocus: chance.between(hard.defocus.0, hard.defocus.1),
            motion_px: chance.between(hard.motion.0, hard.motion.1),
            exposure: chance.between(hard.exposure.0, hard.exposure.1),
            noise: chance.between(hard.noise.0, hard.noise.1),
            jpeg: Some(chance.whole(hard.jpeg.0, hard.jpeg.1)),
            ..Self::plain(seed, code_px / code_share.clamp(0.05, 1.0))
        }
    }
}

/// The ranges of one level of difficulty.
struct Level {
    rotation: f32,
    tilt: f32,
    gradient: f32,
    glare: f32,
    moire: f32,
    curve: f32,
    defocus: (f32, f32),
    motion: (f32, f32),
    exposure: (f32, f32),
    noise: (f32, f32),
    jpeg: (u8, u8),
    size: (f32, f32),
}

impl Level {
    #[rustfmt::skip]
    fn of(level: u8) -> Self {
        match level {
            0 | 1 => Self { rotation: 20.0, tilt: 15.0, gradient: 0.2, glare: 0.05, moire: 0.1, curve: 0.1, defocus: (0.0, 0.7),
                motion: (0.0, 1.5), exposure: (0.7, 1.05), noise: (1.0, 4.0), jpeg: (80, 95), size: (0.10, 0.25) },
            2 => Self { rotation: 180.0, tilt: 30.0, gradient: 0.4, glare: 0.2, moire: 0.25, curve: 0.3, defocus: (0.3, 1.1),
                motion: (0.0, 3.0), exposure: (0.4, 1.1), noise: (2.0, 8.0), jpeg: (65, 91), size: (0.08, 0.25) },
            3 => Self { rotation: 180.0, tilt: 42.0, gradient: 0.6, glare: 0.4, moire: 0.4, curve: 0.4, defocus: (0.4, 1.5),
                motion: (2.0, 5.5), exposure: (0.2, 1.2), noise: (3.0, 12.0), jpeg: (50, 87), size: (0.06, 0.25) },
            _ => Self { rotation: 180.0, tilt: 50.0, gradient: 0.8, glare: 0.5, moire: 0.5, curve: 0.5, defocus: (0.5, 2.0),
                motion: (2.0, 9.0), exposure: (0.08, 1.4), noise: (4.0, 16.0), jpeg: (35, 79), size: (0.03, 0.25) },
        }
    }
}

/// The frame a camera would take of `picture` in `scene`. `None` when the scene's frame size is refused.
#[must_use]
pub fn compose(picture: &LumaFrame, scene: &Scene) -> Option<LumaFrame> {
    if !(16..=crate::frame::MAX_SIDE).contains(&scene.width) || !(16..=crate::frame::MAX_SIDE).contains(&scene.height) {
        return None;
    }
    let mut chance = Chance::new(scene.seed ^ 0x5eed_5eed_5eed_5eed);
    let mut canvas = background::paint(scene, &mut chance);
    let centre = plane::place(&mut canvas, picture, scene, &mut chance);
    optics::light(&mut canvas, scene, centre, &mut chance);
    optics::lens(&mut canvas, scene, &mut chance);
    optics::sensor(canvas, scene, &mut chance)
}

/// A picture in the making: grey levels that may leave 0..=255 until the sensor clips them.
struct Canvas {
    width: usize,
    height: usize,
    grey: Vec<f32>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::Cascade;
    use std::time::Duration;

    #[test]
    fn the_same_scene_gives_the_same_frame_and_another_seed_another() {
        let picture = code("GP1:HELLO", 6).unwrap();
        let scene = Scene::random(3, 7, 0.8);
        let frame = compose(&picture, &scene).unwrap();
        assert_eq!(frame, compose(&picture, &scene).unwrap());
        assert_ne!(frame, compose(&picture, &Scene { seed: 8, ..scene }).unwrap());
    }

    #[test]
    fn a_friendly_scene_is_read() {
        for seed in 0..5 {
            let text = random_pass_text(&mut Chance::new(seed));
            let frame = compose(&code(&text, 8).unwrap(), &Scene::friendly(seed, 400.0)).unwrap();
            let reading = Cascade::new(Duration::from_secs(60)).read(&frame);
            assert_eq!(reading.texts, [text], "seed {seed}");
        }
    }

    #[test]
    fn frames_no_camera_gives_are_refused() {
        let picture = code("X", 2).unwrap();
        assert!(compose(&picture, &Scene { width: 0, ..Scene::plain(1, 10.0) }).is_none());
        assert!(compose(&picture, &Scene { height: 5000, ..Scene::plain(1, 10.0) }).is_none());
        // A picture larger than the frame is cut off, not refused.
        assert!(compose(&picture, &Scene::plain(1, 100_000.0)).is_some());
    }
}
