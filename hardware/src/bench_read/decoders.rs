//! Who is compared: the cascade, and each decoder by itself as a program would first use it.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use rxing::{BarcodeFormat, DecodeHints, RXingResult, helpers};

use crate::clock::thread_cpu_us;
use crate::decode::{Cascade, single};
use crate::frame::LumaFrame;

/// The single decoder whose cost is the yardstick.
pub(super) const FILTERED: &str = "rxing filtered";

/// One decoder.
pub(super) struct Contestant {
    pub(super) name: &'static str,
    pub(super) read: fn(&LumaFrame) -> Vec<String>,
}

/// The cascade first.
pub(super) static ALL: [Contestant; 4] = [
    Contestant { name: "cascade", read: cascade },
    Contestant { name: FILTERED, read: filtered },
    Contestant { name: "rxing fast", read: fast },
    Contestant { name: "rqrr", read: single::rqrr_texts },
];

/// What came of one look.
pub(super) struct Outcome {
    /// `None`: it panicked.
    pub(super) texts: Option<Vec<String>>,
    pub(super) cpu_us: u64,
}

pub(super) fn measure(read: fn(&LumaFrame) -> Vec<String>, frame: &LumaFrame) -> Outcome {
    let started = thread_cpu_us();
    let texts = catch_unwind(AssertUnwindSafe(|| read(frame))).ok();
    Outcome { texts, cpu_us: thread_cpu_us().saturating_sub(started) }
}

/// The cascade as the product runs it, its deadline in processor time so that a busy machine changes nothing.
fn cascade(frame: &LumaFrame) -> Vec<String> {
    Cascade::timed_by(Duration::from_millis(20), thread_cpu_us).read(frame).texts
}

fn filtered(frame: &LumaFrame) -> Vec<String> {
    texts(helpers::detect_in_luma_filtered_with_hints(
        frame.luma().to_vec(),
        frame.width(),
        frame.height(),
        Some(BarcodeFormat::QR_CODE),
        &mut DecodeHints::default(),
    ))
}

fn fast(frame: &LumaFrame) -> Vec<String> {
    let mut hints = DecodeHints {
        PossibleFormats: Some(HashSet::from([BarcodeFormat::QR_CODE])),
        TryHarder: Some(false),
        ..DecodeHints::default()
    };
    texts(helpers::detect_in_luma_with_hints(
        frame.luma().to_vec(),
        frame.width(),
        frame.height(),
        Some(BarcodeFormat::QR_CODE),
        &mut hints,
    ))
}

fn texts(result: rxing::common::Result<RXingResult>) -> Vec<String> {
    result.map(|result| result.getText().to_owned()).into_iter().collect()
}
