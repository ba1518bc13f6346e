//! What managers do meanwhile, through the cloud's own API.

use gate_core::ids::ZoneId;
use serde_json::json;

use super::inside::Inside;
use super::template::BEGIN_MS;
use super::world::{What, World};

/// The minute of the day at which every run begins, in the venue's time.
const BEGIN_MINUTE: u64 = 14 * 60 + 40;

/// An act of the office.
#[derive(Clone, Copy, Debug)]
pub enum Office {
    /// Revokes a pass, by its place in the template's list.
    Revoke(usize),
    /// Changes the lot's name: a change that concerns every gate.
    Rename(u64),
    /// People count who is really in the pool.
    Recount,
    /// Withdraws the device of a gate.
    Withdraw(usize),
    /// Lets a zone begin anew each day at a minute of the day.
    BeginAnew(ZoneId, u64),
}

impl World<'_> {
    /// Draws what the office does.
    pub fn plan_office(&mut self) {
        for number in 0..self.plan.office {
            let at = 2_000_000 + self.below(self.plan.chaos_us);
            let act = match self.below(10) {
                0..=6 => Office::Revoke(usize::try_from(self.below(self.template.passes.len() as u64)).unwrap_or(0)),
                7 => Office::Rename(number),
                _ => Office::Recount,
            };
            self.at(at, What::Office(act));
        }
        if self.percent(40) {
            let zone = if self.percent(50) { self.template.lot } else { self.template.pool };
            let minutes = 1 + self.below(self.plan.chaos_us / 60_000_000);
            let told = 1_000_000 + self.below(minutes * 60_000_000 - 2_000_000);
            self.at(told, What::Office(Office::BeginAnew(zone, BEGIN_MINUTE + minutes)));
            self.at(minutes * 60_000_000, What::Anew(zone));
        }
        if self.percent(25) {
            let at = 2_000_000 + self.below(self.plan.chaos_us);
            let gate = usize::try_from(self.below(self.gates.len() as u64)).unwrap_or(0);
            self.at(at, What::Office(Office::Withdraw(gate)));
        }
    }

    /// The office acts; while the cloud is away it can't.
    pub fn office(&mut self, act: Office) -> anyhow::Result<()> {
        let (venue, true_ms) = (&self.template.venue, self.true_ms());
        let Some(cloud) = &mut self.cloud else { return Ok(()) };
        cloud.set_clock(true_ms);
        match act {
            Office::Revoke(pass) => {
                let cti = &self.template.passes[pass].cti;
                cloud.send_json("POST", &format!("/v1/venues/{venue}/passes/{cti}/revoke"), Some(&json!({})))?;
                let position = super::checks::position(&cloud.database())?;
                // After a restore the same numbers name other changes, and gates let people in by the old ones.
                if self.watch.restores == 0 {
                    self.watch.revoked.entry(cti.clone()).or_insert(position);
                }
                self.watch.revoked_ever.insert(cti.clone());
                self.tell(None, &format!("the office revokes pass {pass}: change {position}"));
            }
            Office::Rename(number) => {
                let lot = self.template.lot;
                let name = json!({"name": format!("Lot {number}")});
                cloud.send_json("PATCH", &format!("/v1/venues/{venue}/zones/{lot}"), Some(&name))?;
                self.tell(None, "the office renames the lot");
            }
            Office::Recount => {
                let pool = self.template.pool;
                let at_pool: Vec<usize> =
                    (0..self.gates.len()).filter(|one| self.gates[*one].made.zone == pool).collect();
                if at_pool.iter().any(|one| self.gates[*one].place.visit.is_some()) {
                    // People count while nobody is on the way in or out.
                    self.later(700_000, What::Office(act));
                    return Ok(());
                }
                // While a gate of the pool hears nothing: what passes there meanwhile counts beside the recount.
                if let Some(deaf) = at_pool.first() {
                    let cut = super::gate::Way { up_cut: true, down_cut: true, ..super::gate::Way::default() };
                    self.at(self.now_us, What::Fault(super::faults::Fault::Way(*deaf, cut, 45_000_000)));
                }
                let Some(cloud) = &mut self.cloud else { return Ok(()) };
                let observed = self.watch.inside.get(&pool).map_or(0, Inside::count);
                let said = json!({"observed": observed, "reason": "counted by hand"});
                cloud.send_json("POST", &format!("/v1/venues/{venue}/zones/{pool}/recount"), Some(&said))?;
                self.watch.recounts += 1;
                self.watch.recounts_ever += 1;
                self.watch.anew.remove(&pool);
                self.tell(None, &format!("the office counts {observed} in the pool"));
            }
            Office::BeginAnew(zone, minute) => {
                let body = json!({"daily_reset_min": minute});
                cloud.send_json("PATCH", &format!("/v1/venues/{venue}/zones/{zone}"), Some(&body))?;
                self.watch.rules.insert(zone);
                // Months later the venue's clock may show another hour.
                if self.watch.restores == 0 && self.leap_ms == 0 {
                    let at_ms = BEGIN_MS + (minute - BEGIN_MINUTE).cast_signed() * 60_000;
                    self.watch.begins.insert(zone, at_ms);
                }
                self.tell(None, &format!("the office lets {zone} begin anew each day at minute {minute}"));
            }
            Office::Withdraw(gate) => {
                let device = self.gates[gate].made.enrolled.device;
                cloud.send_json("POST", &format!("/v1/venues/{venue}/devices/{device}/revoke"), Some(&json!({})))?;
                self.watch.withdrawn.insert(gate);
                self.watch.set_back = self.watch.set_back.map(|(back, told)| (back, told && back != gate));
                self.tell(Some(gate), "the office withdraws the device");
            }
        }
        self.hint();
        Ok(())
    }

    /// The cloud says to those whom it reaches that there is news.
    fn hint(&mut self) {
        for gate in 0..self.gates.len() {
            let way = self.gates[gate].way;
            if !way.up_cut && !way.down_cut {
                let takes = 5_000 + self.below(40_000);
                self.later(takes, What::Hint(gate));
            }
        }
    }

    /// The cloud does what it does by itself.
    pub(super) fn rounds(&mut self) -> anyhow::Result<()> {
        self.later(20_000_000, What::Rounds);
        let (now_us, true_ms) = (self.now_us, self.true_ms());
        let Some(cloud) = &self.cloud else { return Ok(()) };
        cloud.set_clock(true_ms);
        let before = super::checks::position(&cloud.database())?;
        cloud.make_rounds();
        if super::checks::position(&cloud.database())? > before {
            self.watch.figures.resets += 1;
            self.tell(None, "the cloud lets a zone begin anew");
            for zone in [self.template.lot, self.template.pool] {
                self.watch.forgotten.insert(zone, now_us);
            }
            self.hint();
        }
        Ok(())
    }
}
