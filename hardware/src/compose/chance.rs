//! Randomness that repeats: a small generator whose every number follows from its seed.

/// SplitMix64: enough for pictures, never for keys.
#[derive(Debug, Clone)]
pub struct Chance {
    state: u64,
}

impl Chance {
    /// Starts from a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Evenly distributed in `low..high`.
    pub fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// Evenly distributed in `low..=high`.
    pub fn whole(&mut self, low: u8, high: u8) -> u8 {
        let span = u64::from(high.saturating_sub(low)) + 1;
        low + u8::try_from(self.bits() % span).unwrap_or(0)
    }

    /// An index below `count`, which must not be 0.
    pub fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.bits() % (count.max(1) as u64)).unwrap_or(0)
    }

    /// True with the given probability.
    pub fn happens(&mut self, probability: f32) -> bool {
        self.unit() < probability
    }

    /// Normally distributed around 0 with standard deviation 1 (sum of twelve, cut at 6).
    pub fn normal(&mut self) -> f32 {
        let mut sum = 0.0;
        for _ in 0..3 {
            let bits = self.bits();
            for shift in [0, 16, 32, 48] {
                sum += f32::from((bits >> shift) as u16) / 65_536.0;
            }
        }
        sum - 6.0
    }

    /// Evenly distributed in 0..1, 24 bits of it.
    #[expect(clippy::cast_precision_loss, reason = "24 bits fit a f32 exactly")]
    fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / 16_777_216.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_in_range_and_spread() {
        let mut chance = Chance::new(1);
        let (mut low, mut high, mut sum) = (f32::MAX, f32::MIN, 0.0);
        for _ in 0..10_000 {
            let x = chance.between(-2.0, 3.0);
            assert!((-2.0..3.0).contains(&x));
            (low, high) = (low.min(x), high.max(x));
            assert!((7..=9).contains(&chance.whole(7, 9)));
            assert!(chance.below(5) < 5);
            sum += chance.normal();
        }
        assert!(low < -1.9 && high > 2.9);
        assert!((sum / 10_000.0).abs() < 0.1);
    }
}
