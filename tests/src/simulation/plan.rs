//! What kind of run a seed is.

use gate_agent::config::LaneInputs;
use hardware::compose::Chance;

/// A run's size and temper.
pub struct Plan {
    /// How many gates, three to eight.
    pub gates: usize,
    /// What is wired at each.
    pub inputs: Vec<LaneInputs>,
    /// How long things break, microseconds.
    pub chaos_us: u64,
    /// How long nothing breaks any more, microseconds.
    pub calm_us: u64,
    /// How many faults there are.
    pub faults: u64,
    /// How often the office does something.
    pub office: u64,
    /// The cloud is put back to an older backup once.
    pub restore: bool,
    /// A gate's card is put back to an older image once.
    pub set_back: bool,
    /// A gate's card is copied once, and both run.
    pub clone: bool,
    /// Two gates' cards are exchanged for a while.
    pub swap: bool,
    /// Everything is switched off once for so many days.
    pub season_days: Option<i64>,
    /// Seeds the cloud's randomness anew at each start.
    pub seed_of_cloud: u64,
}

impl Plan {
    /// Draws one.
    pub fn draw(chance: &mut Chance) -> Self {
        let mut below = |n: u64| chance.bits() % n;
        let gates = 3 + usize::try_from(below(6)).unwrap_or(0);
        let inputs = (0..gates)
            .map(|_| {
                let watched = below(2) == 0;
                LaneInputs { presence: watched, barrier: watched }
            })
            .collect();
        let mut plan = Self {
            gates,
            inputs,
            chaos_us: (120 + below(240)) * 1_000_000,
            calm_us: 150_000_000,
            faults: 6 + below(26),
            office: below(5),
            restore: below(6) == 0,
            set_back: below(9) == 0,
            clone: false,
            swap: false,
            season_days: [Some(100 + below(140).cast_signed()), None][usize::from(below(7) != 0)],
            seed_of_cloud: below(u64::MAX),
        };
        plan.swap = below(6) == 0;
        // One gate at a time has two histories.
        plan.clone = !plan.set_back && below(8) == 0;
        plan
    }
}
