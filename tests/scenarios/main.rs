//! Stories with real processes. Each builds a world of its own; none sleeps to wait for something that can be seen.

mod apart;
mod backups;
mod bad_input;
mod clones;
mod faults;
mod hibernation;
mod kills;
mod merge;
mod replaced;
mod restored;
mod roads;
mod stolen_card;
mod switch;

use gate_tests::world::stock::Stock;
use gate_tests::world::{Gate, GatePlan, HOLD, fresh_folder};
use hardware::lines::simulated::ReleaseModel;

/// A gate with a filled replica and a cloud that does not answer.
pub(crate) struct Alone {
    pub(crate) gate: Gate,
    pub(crate) stock: Stock,
    pub(crate) world: std::path::PathBuf,
}

impl Alone {
    pub(crate) fn build(name: &str) -> anyhow::Result<Self> {
        let world = fresh_folder(&format!("gate-{name}"))?;
        let stock = Stock::new(gate_tests::clock::unix_ms());
        let cloud = gate_tests::world::free_address()?;
        let gate = Gate::build(&GatePlan { name, world: &world, cloud, release: ReleaseModel::Strict, hold: HOLD })?;
        drop(stock.fill(&gate.data_dir(), &format!("http://{cloud}"), 10)?);
        Ok(Self { gate, stock, world })
    }

    /// A frame with a pass nobody has used.
    pub(crate) fn frame(&self, number: u32) -> anyhow::Result<Vec<u8>> {
        use anyhow::Context;
        use hardware::compose::{Scene, code, compose};
        let picture = code(&self.stock.pass(number)?, 8)?;
        let frame = compose(&picture, &Scene::plain(u64::from(number), 330.0)).context("the code does not fit")?;
        Ok(frame.to_png()?)
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        self.gate.agent = None;
        self.gate.gate_io = None;
        let _left_behind = std::fs::remove_dir_all(&self.world);
    }
}
