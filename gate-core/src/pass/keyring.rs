//! The issuing keys a reader knows, each bound by a signed statement to one vendor and one venue.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::{Kid, VendorCode, VenueCode};
use crate::keys::PublicKey;

/// One vendor's issuing key, as the venue's root stated it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct IssuerKey {
    /// The name passes call it by.
    pub kid: Kid,
    /// The only vendor it may sign for.
    pub vendor: VendorCode,
    /// The only venue it may sign for.
    pub venue: VenueCode,
    /// The key.
    pub key: PublicKey,
    /// Passes that begin before this Unix second are not believed from this key.
    pub from: i64,
    /// Passes that expire after this Unix second are not believed from this key: rotation bounds what a lost key is worth.
    pub until: i64,
    /// The venue withdrew it: nothing it signed is believed.
    pub revoked: bool,
}

/// All issuing keys. Several may share a kid (four random bytes): a reader tries each.
#[derive(Clone, Debug, Default)]
pub struct Keyring {
    keys: BTreeMap<Kid, Vec<IssuerKey>>,
}

impl Keyring {
    /// Adds a key, or replaces what was known of the same key.
    pub fn insert(&mut self, key: IssuerKey) {
        let known = self.keys.entry(key.kid).or_default();
        known.retain(|k| k.key != key.key);
        known.push(key);
    }

    /// All keys that go by this name.
    pub fn named(&self, kid: Kid) -> &[IssuerKey] {
        self.keys.get(&kid).map_or(&[], Vec::as_slice)
    }

    /// All keys.
    pub fn iter(&self) -> impl Iterator<Item = &IssuerKey> {
        self.keys.values().flatten()
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.keys.values().map(Vec::len).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

impl FromIterator<IssuerKey> for Keyring {
    fn from_iter<I: IntoIterator<Item = IssuerKey>>(keys: I) -> Self {
        let mut ring = Self::default();
        for key in keys {
            ring.insert(key);
        }
        ring
    }
}
