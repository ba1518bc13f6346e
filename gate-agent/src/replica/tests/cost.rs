//! What an admission costs the card, and what a million events take.

use gate_core::event::EventBody;

use crate::replica::testing::*;

/// Bytes this thread handed to the kernel for writing, and those that must reach a disk (whole 4 kB blocks).
fn written() -> (u64, u64) {
    let text = std::fs::read_to_string("/proc/thread-self/io").unwrap();
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|number| number.trim().parse().ok()).unwrap()
    };
    (field("wchar:"), field("write_bytes:"))
}

/// Two thousand admissions at a gate that has a day behind it, each with its opening.
#[test]
#[expect(clippy::print_stderr, reason = "the figure is wanted, not only the limit")]
fn an_admission_writes_at_most_sixteen_kilobytes() {
    const ADMISSIONS: u64 = 2000;
    let folder = Folder::on_disk("cost");
    let mut venue = Venue::new();
    let mut replica = venue.gate(&folder.db());
    for n in 0..500 {
        let id = admit(&mut replica, n, 0, n as i64);
        replica.record(Some(LANE), at(n as i64), EventBody::Opened { of: id, watched: false }).unwrap();
    }
    let before = written();
    let begun = crate::clock::mono_us();
    let mut size = 0;
    for n in 500..500 + ADMISSIONS {
        let id = admit(&mut replica, n, 0, n as i64);
        let opened = replica.record(Some(LANE), at(n as i64), EventBody::Opened { of: id, watched: false }).unwrap();
        size += opened.bytes.len();
    }
    let took_us = crate::clock::mono_us() - begun;
    // What still waits in the log is this much work's too.
    drop(replica);
    let after = written();
    let (bytes, blocks) = ((after.0 - before.0) / ADMISSIONS, (after.1 - before.1) / ADMISSIONS);
    let file = std::fs::metadata(folder.db()).unwrap().len() / (500 + ADMISSIONS);
    eprintln!(
        "per admission: {bytes} bytes written, {blocks} in whole blocks, {} us; {file} bytes kept; an opening is {} bytes",
        took_us / ADMISSIONS,
        size as u64 / ADMISSIONS
    );
    assert!(bytes <= 16_000, "{bytes} bytes per admission");
}
