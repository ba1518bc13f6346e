//! What the cascade promises: never a wrong text, never a panic, no stage after the deadline.

use super::*;
use crate::compose::{Chance, Scene, code, compose, random_pass_text};

/// A deadline no machine misses: these tests are about what is read, not about speed.
const PATIENT: Duration = Duration::from_secs(60);

fn cascade() -> Cascade {
    Cascade::new(PATIENT)
}

fn pass(seed: u64, picture_px: f32) -> (String, LumaFrame) {
    let text = random_pass_text(&mut Chance::new(seed));
    let frame = compose(&code(&text, 6).unwrap(), &Scene::friendly(seed, picture_px)).unwrap();
    (text, frame)
}

/// Pastes `top` into `frame` at a position.
fn paste(frame: &LumaFrame, top: &LumaFrame, at: (usize, usize)) -> LumaFrame {
    let mut luma = frame.luma().to_vec();
    for (y, row) in top.luma().chunks(top.width() as usize).enumerate() {
        let start = (at.1 + y) * frame.width() as usize + at.0;
        luma[start..start + row.len()].copy_from_slice(row);
    }
    LumaFrame::new(frame.width(), frame.height(), luma).unwrap()
}

#[test]
fn a_pass_is_read_at_many_distances() {
    for (seed, picture_px) in [(1, 180.0), (2, 260.0), (3, 400.0), (4, 650.0)] {
        let (text, frame) = pass(seed, picture_px);
        assert_eq!(cascade().read(&frame).texts, [text], "{picture_px} px");
    }
}

#[test]
fn light_on_dark_is_read() {
    let (text, frame) = pass(5, 400.0);
    let frame = filter::invert(&frame).unwrap();
    let reading = cascade().read(&frame);
    assert_eq!(reading.texts, [text]);
    assert_eq!(reading.stage, "inverted");
}

#[test]
fn all_codes_in_view_are_told_in_the_order_of_their_place() {
    let wall = LumaFrame::flat(1280, 720, 255).unwrap();
    let codes = ["RIGHT", "LEFT", "BELOW", "LEFT"].map(|text| code(text, 5).unwrap());
    let mut frame = wall;
    for (code, at) in codes.iter().zip([(800, 50), (100, 60), (400, 400), (900, 420)]) {
        frame = paste(&frame, code, at);
    }
    let texts = cascade().read(&frame).texts;
    let row_of_right_and_left: Vec<&str> = texts.iter().map(String::as_str).collect();
    assert_eq!(row_of_right_and_left, ["RIGHT", "LEFT", "BELOW"]);
    assert_eq!(cascade().read(&frame).texts, texts);
}

#[test]
fn frames_without_a_code_give_nothing_and_kill_nothing() {
    let flat = |width, height, grey| LumaFrame::flat(width, height, grey).unwrap();
    let clutter = |seed| compose(&flat(2, 2, 90), &Scene { clutter: true, ..Scene::random(4, seed, 1.0) }).unwrap();
    for (name, frame) in [
        ("black", flat(1280, 720, 0)),
        ("white", flat(1280, 720, 255)),
        ("one pixel", flat(1, 1, 128)),
        ("one row", flat(1280, 1, 9)),
        ("one column", flat(1, 720, 9)),
        ("tiny", flat(7, 5, 40)),
        ("the largest", flat(4096, 4096, 200)),
        ("clutter", clutter(11)),
        ("more clutter", clutter(12)),
        ("noise", noise(1280, 720)),
        ("stripes", stripes()),
    ] {
        let reading = cascade().read(&frame);
        assert!(reading.texts.is_empty(), "{name}: {:?}", reading.texts);
    }
}

#[test]
fn a_poster_full_of_finder_patterns_is_survived() {
    let frame = finder_patterns(448);
    let reading = Cascade::timed_by(Duration::from_millis(20), clock::thread_cpu_us).read(&frame);
    assert!(reading.texts.is_empty());
    assert!(reading.elapsed_us < 2_000_000, "{} us of processor time", reading.elapsed_us);
}

#[test]
fn no_stage_starts_after_the_deadline_but_one_always_does() {
    thread_local!(static NOW: std::cell::Cell<u64> = const { std::cell::Cell::new(0) });
    // Every look at this clock costs 7 ms: after three stages 20 ms are over.
    fn slow() -> u64 {
        NOW.with(|now| now.replace(now.get() + 7_000))
    }
    let frame = noise(64, 64);
    for (deadline_ms, last_stage) in [(0, "half"), (7, "half"), (8, "blur"), (20, "enlarged"), (60_000, "rqrr")] {
        let reading = Cascade::timed_by(Duration::from_millis(deadline_ms), slow).read(&frame);
        assert_eq!(reading.stage, last_stage, "{deadline_ms} ms");
    }
}

#[test]
fn a_stage_that_would_end_too_late_is_left_out() {
    thread_local!(static NOW: std::cell::Cell<u64> = const { std::cell::Cell::new(0) });
    fn slower() -> u64 {
        NOW.with(|now| now.replace(now.get() + 15_000))
    }
    // half 15 ms, blur 30 ms; enlarged would end at 180 ms; raw 45 ms, blurred half 60 ms.
    let reading = Cascade::timed_by(Duration::from_millis(50), slower).read(&noise(64, 64));
    assert_eq!((reading.stage, reading.elapsed_us), ("blurred half", 60_000));
}

#[test]
fn the_stages_take_turns_over_frames_that_gave_nothing() {
    let mut seen = std::collections::BTreeSet::new();
    let mut cascade = Cascade::timed_by(Duration::from_millis(8), || 0);
    let frame = noise(64, 64);
    for _ in 0..stages::ALL.len() {
        let (_, later) = stages::ALL.split_at(stages::FIRST);
        seen.insert(later[cascade.misses % later.len()].name);
        cascade.read(&frame);
    }
    assert_eq!(seen.len(), stages::ALL.len() - stages::FIRST);
}

#[test]
fn a_panic_in_a_stage_stays_in_that_stage() {
    let stages = [
        Stage { name: "panics", cost: 1, read: |_| panic!("hostile picture") },
        Stage { name: "reads", cost: 1, read: |_| vec![Found { text: "X".into(), top: 0, left: 0 }] },
    ];
    let reading = cascade().run(&noise(8, 8), stages.iter());
    assert_eq!((reading.texts, reading.panics, reading.stage), (vec!["X".to_owned()], 1, "reads"));
}

/// A symbol as a grid of modules (`true` = dark), to be spoilt and drawn.
struct Symbol {
    side: usize,
    dark: Vec<bool>,
}

impl Symbol {
    fn of(text: &str, version: fast_qr::Version) -> Self {
        let code = fast_qr::QRBuilder::new(text).ecl(fast_qr::ECL::L).version(version).build().unwrap();
        let dark = (0..code.size * code.size).map(|at| code[at / code.size][at % code.size].value()).collect();
        Self { side: code.size, dark }
    }

    fn flip(&mut self, x: usize, y: usize) {
        self.dark[y * self.side + x] ^= true;
    }

    /// Both copies of the fifteen bits that say level and mask, each bit turned by chance.
    fn spoil_format(&mut self, chance: &mut Chance) {
        let far = self.side - 8;
        let near = (0..9).filter(|at| *at != 6).flat_map(|at| [(at, 8), (8, at)]);
        let copies = near.chain((far..self.side).flat_map(|at| [(at, 8), (8, at)])).collect::<Vec<_>>();
        self.spoil(&copies, chance);
    }

    /// Both copies of the eighteen bits that say the version; version 7 and larger have them.
    fn spoil_version(&mut self, chance: &mut Chance) {
        let far = self.side - 11;
        let copies = (0..6).flat_map(|at| (far..far + 3).flat_map(move |to| [(at, to), (to, at)])).collect::<Vec<_>>();
        self.spoil(&copies, chance);
    }

    fn spoil(&mut self, places: &[(usize, usize)], chance: &mut Chance) {
        for (x, y) in places {
            if chance.happens(0.5) {
                self.flip(*x, *y);
            }
        }
    }

    fn spoil_modules(&mut self, chance: &mut Chance) {
        // From one module to half of all.
        for _ in 0..1_usize << chance.below(10) {
            let (x, y) = (chance.below(self.side), chance.below(self.side));
            self.flip(x, y);
        }
    }

    fn draw(&self) -> LumaFrame {
        let (module_px, quiet) = (3, 4);
        let side = (self.side + 2 * quiet) * module_px;
        let dark = |x: usize, y: usize| {
            let module = |at: usize| (at / module_px).checked_sub(quiet).filter(|at| *at < self.side);
            module(x).zip(module(y)).is_some_and(|(x, y)| self.dark[y * self.side + x])
        };
        let luma = (0..side * side).map(|at| if dark(at % side, at / side) { 0 } else { 255 }).collect();
        let side = u32::try_from(side).unwrap();
        LumaFrame::new(side, side, luma).unwrap()
    }
}

#[test]
fn five_hundred_spoilt_symbols_give_no_panic_and_no_wrong_text() {
    use fast_qr::Version;
    let (mut read, mut caught) = (0, 0);
    let mut cascade = cascade();
    for seed in 0..500 {
        let mut chance = Chance::new(seed);
        let version = [Version::V06, Version::V07, Version::V10][chance.below(3)];
        let text: String = random_pass_text(&mut chance).chars().take(130).collect();
        let mut symbol = Symbol::of(&text, version);
        let kind = seed % 4;
        if kind == 0 || kind == 3 {
            symbol.spoil_modules(&mut chance);
        }
        if kind == 1 || kind == 3 {
            symbol.spoil_format(&mut chance);
        }
        if kind == 2 || kind == 3 {
            symbol.spoil_version(&mut chance);
        }
        let reading = cascade.read(&symbol.draw());
        // A panic in a decoder is caught; one that left the cascade would have ended this test.
        caught += reading.panics;
        read += reading.texts.len();
        assert!(reading.texts.iter().all(|read| *read == text), "seed {seed}: {:?}", reading.texts);
    }
    // Neither were all beyond repair nor all untouched: the middle, where decoders err, was looked at.
    assert!((50..450).contains(&read), "{read} of 500 were read, {caught} panics were caught");
}

fn noise(width: u32, height: u32) -> LumaFrame {
    let mut chance = Chance::new(99);
    let luma = (0..width * height).map(|_| chance.whole(0, 255)).collect();
    LumaFrame::new(width, height, luma).unwrap()
}

fn stripes() -> LumaFrame {
    let luma = (0..1280 * 720).map(|at| if (at / 7) % 2 == 0 { 0 } else { 255 }).collect();
    LumaFrame::new(1280, 720, luma).unwrap()
}

/// A frame with `count` finder patterns and nothing else.
fn finder_patterns(count: usize) -> LumaFrame {
    const RINGS: [&[u8; 7]; 7] = [b"#######", b"#.....#", b"#.###.#", b"#.###.#", b"#.###.#", b"#.....#", b"#######"];
    let mut frame = LumaFrame::flat(1280, 720, 255).unwrap();
    let (module, step) = (4, 40);
    let pattern: Vec<u8> = (0..7 * module)
        .flat_map(|y| (0..7 * module).map(move |x| if RINGS[y / module][x / module] == b'#' { 0 } else { 255 }))
        .collect();
    let side = u32::try_from(7 * module).unwrap();
    let pattern = LumaFrame::new(side, side, pattern).unwrap();
    for at in 0..count {
        frame = paste(&frame, &pattern, ((at % 31) * step + 5, (at / 31) * step + 5));
    }
    frame
}
