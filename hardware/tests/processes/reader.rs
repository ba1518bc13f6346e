//! The eye and its client: what is read, and how it comes back after everything that can happen to it.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use hardware::clock::mono_us;
use hardware::compose::{Chance, Scene, code, compose, random_pass_text};
use hardware::frame::LumaFrame;
use hardware::reader::{Reader, ReaderConfig, ReaderEvent};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use tokio::time::timeout;

use crate::{SOON, gate_reader};

/// Limits no machine misses, for tests about something else.
fn patient(camera: &Path) -> ReaderConfig {
    let mut config = ReaderConfig::new(gate_reader(), format!("replay:{}", camera.display()));
    config.deadline = Duration::from_secs(5);
    config.stall_after = SOON;
    config.decode_limit = SOON;
    config.backoff_min = Duration::from_millis(1);
    config
}

/// Writes a pass as a camera frame, whole at once; returns its text.
fn show(folder: &Path, name: &str, seed: u64) -> String {
    let text = random_pass_text(&mut Chance::new(seed));
    let frame = compose(&code(&text, 6).unwrap(), &Scene::friendly(seed, 400.0)).unwrap();
    put(folder, name, &frame);
    text
}

fn put(folder: &Path, name: &str, frame: &LumaFrame) {
    let hidden = folder.join(format!(".{name}"));
    std::fs::write(&hidden, frame.to_png().unwrap()).unwrap();
    std::fs::rename(hidden, folder.join(name)).unwrap();
}

async fn wait_for<T>(reader: &mut Reader, what: &str, mut wanted: impl FnMut(ReaderEvent) -> Option<T>) -> T {
    let waiting = async {
        loop {
            if let Some(found) = wanted(reader.next().await) {
                return found;
            }
        }
    };
    timeout(SOON, waiting).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

async fn text(reader: &mut Reader) -> String {
    wait_for(reader, "a text", |event| match event {
        ReaderEvent::Seen { mut texts, .. } => texts.pop(),
        _ => None,
    })
    .await
}

async fn empty_view(reader: &mut Reader) {
    wait_for(reader, "an empty view", |event| match event {
        ReaderEvent::Seen { texts, .. } if texts.is_empty() => Some(()),
        _ => None,
    })
    .await;
}

async fn camera_up(reader: &mut Reader) {
    wait_for(reader, "the camera", |event| matches!(event, ReaderEvent::CameraUp { .. }).then_some(())).await;
}

async fn restarted(reader: &mut Reader) -> String {
    wait_for(reader, "a restart", |event| match event {
        ReaderEvent::Restarted { why } => Some(why),
        _ => None,
    })
    .await
}

#[tokio::test]
async fn passes_are_read_as_they_are_held_up() {
    let folder = tempfile::tempdir().unwrap();
    let first = show(folder.path(), "1.png", 1);
    let mut reader = Reader::spawn(patient(folder.path()));
    camera_up(&mut reader).await;
    assert_eq!(text(&mut reader).await, first);
    empty_view(&mut reader).await;
    let second = show(folder.path(), "2.png", 2);
    assert_eq!(text(&mut reader).await, second);
}

#[tokio::test]
async fn a_stalled_camera_is_killed_and_comes_back_behind_the_stall() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("1.stall-600000ms"), "").unwrap();
    let after = show(folder.path(), "2.png", 3);
    let mut reader = Reader::spawn(ReaderConfig { stall_after: Duration::from_secs(2), ..patient(folder.path()) });
    camera_up(&mut reader).await;
    let why = restarted(&mut reader).await;
    assert!(why.contains("the camera gave nothing"), "{why}");
    camera_up(&mut reader).await;
    assert_eq!(text(&mut reader).await, after);
}

#[tokio::test]
async fn a_stall_of_three_seconds_is_over_in_five() {
    // The product's limit restarts the eye; a client that waits longer sees the same eye go on.
    for (stall_after, restarts) in [(Duration::from_secs(2), true), (SOON, false)] {
        let folder = tempfile::tempdir().unwrap();
        let before = show(folder.path(), "1.png", 8);
        std::fs::write(folder.path().join("2.stall-3000ms"), "").unwrap();
        let after = show(folder.path(), "3.png", 9);
        let mut reader = Reader::spawn(ReaderConfig { stall_after, ..patient(folder.path()) });
        camera_up(&mut reader).await;
        assert_eq!(text(&mut reader).await, before);
        let mut restarted = false;
        let mut last_us = mono_us();
        let gap_us = loop {
            let event = timeout(SOON, reader.next()).await.unwrap();
            match event {
                ReaderEvent::Restarted { .. } => restarted = true,
                ReaderEvent::Seen { texts, .. } if texts.contains(&after) => break mono_us() - last_us,
                ReaderEvent::Seen { .. } => last_us = mono_us(),
                _ => {}
            }
        };
        assert_eq!(restarted, restarts, "with a limit of {stall_after:?}");
        assert!(gap_us <= 5_000_000, "{gap_us} us from the last frame to the next, with a limit of {stall_after:?}");
    }
}

#[tokio::test]
async fn an_unplugged_camera_is_told_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("1.unplug"), "").unwrap();
    let after = show(folder.path(), "2.png", 4);
    let mut reader = Reader::spawn(patient(folder.path()));
    camera_up(&mut reader).await;
    let why = wait_for(&mut reader, "the loss", |event| match event {
        ReaderEvent::CameraLost { why } => Some(why),
        _ => None,
    })
    .await;
    assert!(why.contains("1.unplug"), "{why}");
    camera_up(&mut reader).await;
    assert_eq!(text(&mut reader).await, after);
}

#[tokio::test]
async fn a_killed_reader_is_started_again() {
    let folder = tempfile::tempdir().unwrap();
    let shown = show(folder.path(), "1.png", 5);
    let mut reader = Reader::spawn(patient(&folder.path().join("1.png")));
    for _ in 0..3 {
        assert_eq!(text(&mut reader).await, shown);
        kill_process(pid(&reader), Signal::KILL).unwrap();
        let why = restarted(&mut reader).await;
        assert!(why.contains("ended"), "{why}");
        camera_up(&mut reader).await;
    }
    assert_eq!(text(&mut reader).await, shown);
}

#[tokio::test]
async fn a_decode_that_takes_too_long_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    show(folder.path(), "1.png", 6);
    let camera = folder.path().join("1.png");
    let mut reader = Reader::spawn(ReaderConfig { decode_limit: Duration::from_micros(1), ..patient(&camera) });
    for _ in 0..2 {
        let why = restarted(&mut reader).await;
        assert!(why.contains("a decode took longer"), "{why}");
    }
}

#[tokio::test]
async fn a_reader_that_was_taken_over_is_not_believed() {
    for (name, script) in [
        ("garbage", "echo garbage; exec cat"),
        ("an endless line", "exec yes | tr -d '\\n'"),
        ("silence and the end", "exit 0"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("gate-reader");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
        let mut config = patient(folder.path());
        config.program = program;
        let mut reader = Reader::spawn(config);
        timeout(SOON, restarted(&mut reader)).await.unwrap_or_else(|_| panic!("{name} was believed"));
    }
}

#[tokio::test]
async fn what_cannot_be_started_or_opened_is_a_lost_camera() {
    let folder = tempfile::tempdir().unwrap();
    let absent = folder.path().join("absent");
    let no_program = ReaderConfig { program: absent.clone(), ..patient(folder.path()) };
    let no_device = ReaderConfig { camera: format!("v4l2:{}", absent.display()), ..patient(folder.path()) };
    for config in [no_program, no_device, patient(&absent)] {
        let mut reader = Reader::spawn(config);
        wait_for(&mut reader, "the loss", |event| matches!(event, ReaderEvent::CameraLost { .. }).then_some(())).await;
    }
}

#[tokio::test]
async fn hostile_and_broken_frames_do_not_end_the_reader() {
    let folder = tempfile::tempdir().unwrap();
    let flat = |width, height, grey| LumaFrame::flat(width, height, grey).unwrap();
    put(folder.path(), "1-black.png", &flat(1280, 720, 0));
    put(folder.path(), "2-white.png", &flat(1280, 720, 255));
    put(folder.path(), "3-pixel.png", &flat(1, 1, 7));
    put(folder.path(), "4-largest.png", &flat(4096, 4096, 90));
    std::fs::write(folder.path().join("5-torn.png"), &flat(64, 64, 9).to_png().unwrap()[..40]).unwrap();
    std::fs::write(folder.path().join("6-bomb.png"), png_that_claims(60_000)).unwrap();
    let last = show(folder.path(), "9.png", 7);
    let mut reader = Reader::spawn(patient(folder.path()));
    camera_up(&mut reader).await;
    let before = reader.pid();
    assert_eq!(text(&mut reader).await, last);
    assert_eq!(reader.pid(), before, "the reader was restarted on the way");
}

#[tokio::test]
async fn dropping_the_client_ends_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let mut reader = Reader::spawn(patient(folder.path()));
    camera_up(&mut reader).await;
    let handle = pidfd_open(pid(&reader), PidfdFlags::empty()).unwrap();
    drop(reader);
    let ended = tokio::task::spawn_blocking(move || {
        let limit = Timespec { tv_sec: 30, tv_nsec: 0 };
        poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&limit)).unwrap()
    });
    assert_eq!(ended.await.unwrap(), 1, "gate-reader outlived its client");
}

fn pid(reader: &Reader) -> Pid {
    Pid::from_raw(i32::try_from(reader.pid().unwrap()).unwrap()).unwrap()
}

/// A PNG whose header claims `side` x `side` pixels and whose data ends there.
fn png_that_claims(side: u32) -> Vec<u8> {
    let mut png = LumaFrame::flat(1, 1, 0).unwrap().to_png().unwrap();
    // Signature 8, length 4, "IHDR" 4, then width and height.
    png[16..20].copy_from_slice(&side.to_be_bytes());
    png[20..24].copy_from_slice(&side.to_be_bytes());
    let checksum = crc32(&png[12..29]);
    png[29..33].copy_from_slice(&checksum.to_be_bytes());
    png
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    !crc
}
