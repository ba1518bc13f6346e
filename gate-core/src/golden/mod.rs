//! The bytes that may never change: passes in people's hands, journals on cards, gates that update later than the cloud.
//!
//! Each file in this folder maps a name to the bytes (hex) or the text of one value made of [`crate::examples`]. The
//! test writes every value again and compares, and reads the stored bytes back into the value. A difference means
//! that a gate in the field could no longer be understood: take the change back, or give it a new version.
//! New values are added with `GOLDEN=write cargo test -p gate-core golden`, which must only ever add lines.

mod decisions;
mod values;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::canonical;

/// One golden file.
struct File {
    name: &'static str,
    entries: BTreeMap<String, String>,
}

impl File {
    fn new(name: &'static str) -> Self {
        Self { name, entries: BTreeMap::new() }
    }

    fn text(&mut self, name: &str, text: impl Into<String>) {
        let before = self.entries.insert(name.to_owned(), text.into());
        assert!(before.is_none(), "{}: {name} twice", self.name);
    }

    fn bytes(&mut self, name: &str, bytes: &[u8]) {
        self.text(name, hex::encode(bytes));
    }

    /// A value whose canonical bytes must also be readable.
    fn value<T: Serialize + DeserializeOwned + PartialEq + Debug>(&mut self, name: &str, value: &T) {
        let bytes = canonical::encode(value);
        assert_eq!(canonical::decode::<T>(&bytes).as_ref(), Ok(value), "{}: {name}", self.name);
        self.bytes(name, &bytes);
    }

    fn path(&self) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/golden").join(format!("{}.json", self.name))
    }

    fn compare(&self) {
        let path = self.path();
        if std::env::var("GOLDEN").is_ok_and(|what| what == "write") {
            let json = serde_json::to_string_pretty(&self.entries).unwrap();
            std::fs::write(&path, json + "\n").unwrap();
        }
        let stored = std::fs::read_to_string(&path).unwrap_or_default();
        let stored: BTreeMap<String, String> = serde_json::from_str(&stored).unwrap_or_default();
        for (name, text) in &self.entries {
            match stored.get(name) {
                Some(known) => assert_eq!(
                    known, text,
                    "{}.json: {name} is written otherwise than it was frozen; see golden/mod.rs",
                    self.name
                ),
                None => panic!(
                    "{}.json knows no {name}: if it is new, add it with GOLDEN=write cargo test -p gate-core golden",
                    self.name
                ),
            }
        }
        let gone: Vec<_> = stored.keys().filter(|name| !self.entries.contains_key(*name)).collect();
        assert!(gone.is_empty(), "{}.json: nothing makes {gone:?} any more", self.name);
    }
}

/// a newer compiler or dependency decides as before, bit for bit.
#[test]
fn golden_decisions() {
    decisions::decisions().compare();
}

#[test]
fn golden_passes() {
    values::passes().compare();
}

#[test]
fn golden_statements() {
    values::statements().compare();
}

#[test]
fn golden_events() {
    values::events().compare();
}

#[test]
fn golden_counts() {
    values::counts().compare();
}

#[test]
fn golden_sync_v1() {
    values::sync_v1().compare();
}

#[test]
fn golden_request_signature() {
    values::request_signature().compare();
}
