//! The one source of randomness: the operating system's, or a seeded one in a simulation.

use std::sync::Arc;

use gate_core::ids::Hash;
use uuid::Uuid;

type Fill = dyn Fn(&mut [u8]) + Send + Sync;

/// Gives random bytes.
#[derive(Clone)]
pub struct Entropy(Arc<Fill>);

impl Entropy {
    /// Any source, for example a seeded generator.
    pub fn from_fn(fill: impl Fn(&mut [u8]) + Send + Sync + 'static) -> Self {
        Self(Arc::new(fill))
    }

    /// The operating system's.
    pub fn system() -> Self {
        Self::from_fn(|bytes| {
            #[expect(clippy::expect_used, reason = "keys and tokens must never be made without randomness")]
            getrandom::fill(bytes).expect("the operating system gives random bytes");
        })
    }

    /// A repeatable stream for tests and simulations; never for keys that matter.
    pub fn seeded(seed: u64) -> Self {
        let drawn = std::sync::atomic::AtomicU64::new(0);
        Self::from_fn(move |bytes| {
            for piece in bytes.chunks_mut(32) {
                let count = drawn.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let mut input = seed.to_be_bytes().to_vec();
                input.extend_from_slice(&count.to_be_bytes());
                piece.copy_from_slice(&Hash::of("gateseed/1", &input).0[..piece.len()]);
            }
        })
    }

    /// As many random bytes as asked for.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        (self.0)(&mut bytes);
        bytes
    }

    /// A new id: a UUIDv7 of this moment.
    pub fn id(&self, now_ms: i64) -> Uuid {
        uuid::Builder::from_unix_timestamp_millis(u64::try_from(now_ms).unwrap_or(0), &self.bytes()).into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_ids_of_one_moment_are_a_million_ids() {
        let entropy = Entropy::system();
        let mut ids: Vec<u128> = (0..1_000_000).map(|_| entropy.id(1_795_178_400_000).as_u128()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 1_000_000);
    }
}
