//! What a hostile text makes the gate allocate, counted by an allocator that watches.
//!
//! A test program of its own, because the allocator is the whole program's.

#![expect(unsafe_code, reason = "an allocator can't be written without")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use ed25519_dalek::SigningKey;
use gate_core::cose::{self, Purpose};
use gate_core::ids::Kid;
use gate_core::keys::PublicKey;
use gate_core::pass::{self, Finding, IssuerKey, Keyring};

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
    static SUM: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, which notes what this thread asks for.
struct Watching;

fn note(size: usize) {
    // A thread that is ending has no cell any more, and asks for nothing of interest.
    let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(size)));
    let _ = SUM.try_with(|sum| sum.set(sum.get().saturating_add(size)));
}

// SAFETY: every call is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller's promise about the layout is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `alloc` with this layout.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size);
        // SAFETY: the caller's promise about pointer and layout is passed on.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Watching = Watching;

/// The largest single allocation, and the sum of all, while something runs.
fn watched<T>(run: impl FnOnce() -> T) -> (T, usize, usize) {
    LARGEST.with(|largest| largest.set(0));
    SUM.with(|sum| sum.set(0));
    let value = run();
    (value, LARGEST.with(Cell::get), SUM.with(Cell::get))
}

const KID: Kid = Kid([1, 2, 3, 4]);

#[expect(clippy::unwrap_used, reason = "a test")]
fn ring(key: &SigningKey) -> Keyring {
    Keyring::from_iter([IssuerKey {
        kid: KID,
        vendor: "V1".parse().unwrap(),
        venue: "P1".parse().unwrap(),
        key: PublicKey::from(key),
        from: 0,
        until: i64::MAX,
        revoked: false,
    }])
}

/// A CBOR item's head with its length written in 1, 2, 4 or 8 bytes.
fn heads(major: u8, n: u64) -> Vec<Vec<u8>> {
    let mut found = vec![];
    let head = |more: u8, bytes: &[u8]| [&[major << 5 | more], bytes].concat();
    found.push(head(27, &n.to_be_bytes()));
    if let Ok(n) = u32::try_from(n) {
        found.push(head(26, &n.to_be_bytes()));
    }
    if let Ok(n) = u16::try_from(n) {
        found.push(head(25, &n.to_be_bytes()));
    }
    found
}

/// whatever length a text claims, nothing is allocated for it beyond 4 KiB; a good pass needs far less.
#[test]
fn no_claimed_length_makes_the_gate_allocate_more_than_4_kib() {
    let key = SigningKey::from_bytes(&[7; 32]);
    let ring = ring(&key);
    let lengths = [24, 100, 300, 1000, 1023, 1024, 4096, 65_535, u64::from(u32::MAX), u64::MAX >> 1, u64::MAX];
    let mut texts = vec![];
    for length in lengths {
        // Byte strings, texts, arrays and maps.
        for major in 2..=5u8 {
            for head in heads(major, length) {
                // Alone, as every part of the envelope, nested, and as what a believed key signed.
                let mut tokens = vec![
                    head.clone(),
                    [&[0x84], &head[..]].concat(),
                    [&[0x84, 0x43, 0xa1, 0x01, 0x27], &head[..]].concat(),
                ];
                tokens.push([&[0x84, 0x4a, 0xa2, 0x01, 0x27, 0x04, 0x44, 1, 2, 3, 4, 0xa0], &head[..]].concat());
                tokens.push([&[0x81; 12], &head[..]].concat());
                tokens.push([&head[..], &[0x01; 40]].concat());
                tokens.push(head.repeat(12));
                for payload in [
                    head.clone(),
                    [&[0xa1, 0x01], &head[..]].concat(),
                    [&head[..], &[0x00; 30]].concat(),
                    head.repeat(8),
                ] {
                    tokens.push(cose::sign(Purpose::Pass, KID, payload, &key));
                }
                texts.extend(tokens.iter().map(|token| format!("GP1:{}", base45::encode(token))));
            }
        }
    }
    for text in &texts {
        let (found, largest, sum) = watched(|| pass::open(text, &ring));
        assert!(matches!(found.finding, Finding::Defective(_)), "{text}");
        assert!(largest <= 4096, "{text}: {largest} bytes at once");
        assert!(sum <= 64 * 1024, "{text}: {sum} bytes in all");
    }
    // Texts that are long themselves are turned away before they are looked into.
    for (name, text) in [
        ("a megabyte", format!("GP1:{}", "0".repeat(1 << 20))),
        ("a megabyte of something else", "x".repeat(1 << 20)),
        ("the longest that is looked into", format!("GP1:{}", "0".repeat(396))),
        ("empty", String::new()),
    ] {
        let (found, largest, _) = watched(|| pass::open(&text, &ring));
        assert!(matches!(found.finding, Finding::Defective(_)), "{name}");
        assert!(largest <= 4096, "{name}: {largest} bytes at once");
    }
    // The allocator does watch.
    let (_, largest, sum) = watched(|| vec![0u8; 5000]);
    assert!(largest == 5000 && sum >= 5000);
}
