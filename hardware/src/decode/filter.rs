//! The few picture operations that help a decoder, on 8-bit grey.
//!
//! Measured on photographs: a light blur and a change of scale help, sharpening and local thresholds hurt.

use crate::frame::LumaFrame;

/// Half the size, every pixel the mean of four; `None` when a side would vanish.
#[must_use]
pub fn half(frame: &LumaFrame) -> Option<LumaFrame> {
    let (width, height) = (frame.width() as usize / 2, frame.height() as usize / 2);
    if width == 0 || height == 0 {
        return None;
    }
    let stride = frame.width() as usize;
    let mut out = Vec::with_capacity(width * height);
    for rows in frame.luma().chunks_exact(2 * stride).take(height) {
        let (upper, lower) = rows.split_at(stride);
        for (a, b) in upper.chunks_exact(2).zip(lower.chunks_exact(2)) {
            let sum = u16::from(a[0]) + u16::from(a[1]) + u16::from(b[0]) + u16::from(b[1]);
            out.push(low_byte((sum + 2) / 4));
        }
    }
    sized(width, height, out)
}

/// A 3x3 Gaussian blur (1 2 1 in both directions); edges repeat.
#[must_use]
pub fn blur(frame: &LumaFrame) -> Option<LumaFrame> {
    let (width, height) = (frame.width() as usize, frame.height() as usize);
    let luma = frame.luma();
    let mut out = Vec::with_capacity(luma.len());
    let mut column = vec![0_u16; width];
    for y in 0..height {
        let above = &luma[y.saturating_sub(1) * width..][..width];
        let here = &luma[y * width..][..width];
        let below = &luma[(y + 1).min(height - 1) * width..][..width];
        for (sum, ((a, b), c)) in column.iter_mut().zip(above.iter().zip(here).zip(below)) {
            *sum = u16::from(*a) + 2 * u16::from(*b) + u16::from(*c);
        }
        let (first, last) = (column[0], column[width - 1]);
        if width == 1 {
            out.push(low_byte((4 * first + 8) / 16));
            continue;
        }
        out.push(low_byte((3 * first + column[1] + 8) / 16));
        out.extend(column.windows(3).map(|w| low_byte((w[0] + 2 * w[1] + w[2] + 8) / 16)));
        out.push(low_byte((column[width - 2] + 3 * last + 8) / 16));
    }
    sized(width, height, out)
}

/// One and a half times the size, bilinear; `None` when that would exceed the largest frame.
#[must_use]
pub fn enlarge(frame: &LumaFrame) -> Option<LumaFrame> {
    let (width, height) = (frame.width() as usize, frame.height() as usize);
    let (wide, high) = (width * 3 / 2, height * 3 / 2);
    if wide > crate::frame::MAX_SIDE as usize || high > crate::frame::MAX_SIDE as usize {
        return None;
    }
    // Output pixel i lies at (i + 0.5) * 2/3 - 0.5 of the input: in sixths, 4i - 1.
    let taps = |out: usize, size: usize| -> Vec<(usize, usize, u16)> {
        (0..out)
            .map(|i| {
                let sixths = (4 * i).saturating_sub(1);
                let at = (sixths / 6).min(size - 1);
                let part = u16::try_from(sixths % 6).unwrap_or(0);
                (at, (at + 1).min(size - 1), part)
            })
            .collect()
    };
    let columns = taps(wide, width);
    let mut out = Vec::with_capacity(wide * high);
    for (upper, lower, part) in taps(high, height) {
        let upper = &frame.luma()[upper * width..][..width];
        let lower = &frame.luma()[lower * width..][..width];
        let mixed: Vec<u16> =
            upper.iter().zip(lower).map(|(a, b)| u16::from(*a) * (6 - part) + u16::from(*b) * part).collect();
        out.extend(columns.iter().map(|&(a, b, part)| low_byte((mixed[a] * (6 - part) + mixed[b] * part + 18) / 36)));
    }
    sized(wide, high, out)
}

/// Black for white: codes printed light on dark.
#[must_use]
pub fn invert(frame: &LumaFrame) -> Option<LumaFrame> {
    let out = frame.luma().iter().map(|p| 255 - p).collect();
    sized(frame.width() as usize, frame.height() as usize, out)
}

/// `factor` times smaller by averaging blocks, so that the longest side is at most `longest` pixels.
#[must_use]
pub fn shrink_to(frame: &LumaFrame, longest: u32) -> Option<LumaFrame> {
    let side = frame.width().max(frame.height());
    if side <= longest {
        return Some(frame.clone());
    }
    let size = |side_px: u32| ((u64::from(side_px) * u64::from(longest) / u64::from(side)) as usize).max(1);
    let (width, height) = (size(frame.width()), size(frame.height()));
    let (from_width, from_height) = (frame.width() as usize, frame.height() as usize);
    let mut out = Vec::with_capacity(width * height);
    for y in 0..height {
        let rows = (y * from_height / height)..((y + 1) * from_height).div_ceil(height);
        for x in 0..width {
            let columns = (x * from_width / width)..((x + 1) * from_width).div_ceil(width);
            let count = (rows.len() * columns.len()) as u32;
            let sum: u32 = rows
                .clone()
                .flat_map(|row| &frame.luma()[row * from_width..][columns.clone()])
                .map(|p| u32::from(*p))
                .sum();
            out.push(u8::try_from((sum + count / 2) / count).unwrap_or(u8::MAX));
        }
    }
    sized(width, height, out)
}

fn sized(width: usize, height: usize, luma: Vec<u8>) -> Option<LumaFrame> {
    LumaFrame::new(u32::try_from(width).ok()?, u32::try_from(height).ok()?, luma).ok()
}

/// The sums above never exceed a byte.
#[expect(clippy::cast_possible_truncation, reason = "a weighted mean of bytes is a byte")]
fn low_byte(value: u16) -> u8 {
    value as u8
}
