//! What breaks, and how it is mended.

use hardware::gate_io::IoEvent;
use hardware::reader::ReaderEvent;

use super::gate::{Machine, Way};
use super::world::{What, World};
use crate::world::copy_folder;

/// Something breaks, or is mended.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// The way to the cloud becomes like this for so long, microseconds.
    Way(usize, Way, u64),
    /// gate-agent is killed and comes back after so long, microseconds.
    KillAgent(usize, u64),
    /// gate-agent starts.
    StartAgent(usize, u64),
    /// gate-io is killed and comes back after so long, microseconds.
    KillHand(usize, u64),
    /// gate-io starts.
    StartHand(usize, u64),
    /// The power goes for so long, microseconds, and the clock then reads what the last number says.
    PowerCut(usize, u64, Wakes),
    /// The power is back, with this clock error, milliseconds.
    PowerBack(usize, i64),
    /// The system clock steps, milliseconds.
    Clock(usize, i64),
    /// Somebody who calls himself NTP says the time, wrong by so many milliseconds.
    Ntp(usize, i64),
    /// The camera goes for so long, microseconds.
    Camera(usize, u64),
    /// The camera is back.
    CameraBack(usize, u64),
    /// The disk takes nothing for so long, microseconds.
    Disk(usize, u64),
    /// The disk works again.
    DiskBack(usize),
    /// The decision loop stands still for so long, microseconds.
    Hang(usize, u64),
    /// The cloud is away for so long, microseconds.
    Cloud(u64),
    /// The cloud is back.
    CloudBack,
    /// For so long, microseconds, something on the way refuses pushes that hold certain events.
    Refusing(u64),
    /// A gate's card is copied.
    KeepCopy(usize),
    /// The copy is put in the place of the card.
    SetBack(usize),
    /// A gate's card is copied, and the copy runs in another machine beside it.
    Clone(usize),
    /// Two gates' cards are exchanged for so long, microseconds; whether their keys are bound to their boards.
    Swap(usize, usize, u64, bool),
    /// They are put back.
    SwapBack,
    /// Everything is switched off for so many days; the clocks then read what the last value says.
    Season(i64, Wakes),
    /// The cloud's data is copied away.
    Backup,
    /// The cloud's data is put back.
    Restore,
}

/// What the clock reads after the power was away.
#[derive(Clone, Copy, Debug)]
pub enum Wakes {
    /// The right time.
    Right,
    /// When the power went.
    AtTheCut,
    /// 1 January 1970.
    In1970,
}

const YEAR_MS: i64 = 31_557_600_000;

impl World<'_> {
    /// Draws the run's faults.
    pub fn plan_faults(&mut self) -> anyhow::Result<()> {
        let chaos_us = self.plan.chaos_us;
        for _ in 0..self.plan.faults {
            let at = 3_000_000 + self.below(chaos_us - 3_000_000);
            let gate = usize::try_from(self.below(self.gates.len() as u64)).unwrap_or(0);
            let short = 200_000 + self.below(4_000_000);
            let long = 2_000_000 + self.below(90_000_000);
            let fault = match self.below(16) {
                0 => Fault::Way(gate, Way { up_cut: true, down_cut: true, ..Way::default() }, long),
                1 => Fault::Way(gate, Way { up_cut: true, ..Way::default() }, long),
                2 => Fault::Way(gate, Way { down_cut: true, ..Way::default() }, long),
                3 => {
                    let (loss, twice, slow_ms) = (self.below(60), self.below(40), self.below(2_500));
                    Fault::Way(gate, Way { loss, twice, slow_ms, ..Way::default() }, long)
                }
                4..=6 => Fault::KillAgent(gate, short),
                7 => Fault::KillHand(gate, short),
                8 | 9 => {
                    let wakes = [Wakes::Right, Wakes::AtTheCut, Wakes::In1970];
                    Fault::PowerCut(gate, 2_000_000 + long / 8, wakes[usize::try_from(self.below(3)).unwrap_or(0)])
                }
                10 => {
                    let steps = [-86_400_000, -3_600_000, -1_500, 900, 3_600_000, 40 * 86_400_000, -YEAR_MS];
                    Fault::Clock(gate, steps[usize::try_from(self.below(7)).unwrap_or(0)])
                }
                11 => {
                    let lies = [10 * YEAR_MS, -10 * YEAR_MS, 0, 7_200_000];
                    Fault::Ntp(gate, lies[usize::try_from(self.below(4)).unwrap_or(0)])
                }
                12 => Fault::Camera(gate, short),
                13 => Fault::Disk(gate, 2_000_000 + long / 8),
                14 => Fault::Hang(gate, 900_000 + self.below(4_000_000)),
                _ => Fault::Cloud(long / 2),
            };
            self.at(at, What::Fault(fault));
        }
        // A fault that aims: the agent dies just when the relay was asked to open.
        for _ in 0..self.plan.faults / 6 {
            let at = 3_000_000 + self.below(chaos_us - 3_000_000);
            self.watch.ambushes.push(at);
        }
        // Another one: the agent stands still while the relay is on, or just after.
        for _ in 0..self.plan.faults / 4 {
            let at = 3_000_000 + self.below(chaos_us - 3_000_000);
            self.watch.stalls.push(at);
        }
        // A backup from before a season is more than the 90 days promise.
        let mut first_backup = 5_000_000;
        let mut room = chaos_us / 2;
        if let Some(days) = self.plan.season_days {
            let at = chaos_us / 4 + self.below(chaos_us / 2);
            (first_backup, room) = (at + 500_000, chaos_us / 10);
            let wakes = [Wakes::Right, Wakes::AtTheCut, Wakes::In1970];
            let wakes = wakes[usize::try_from(self.below(3)).unwrap_or(0)];
            self.at(at, What::Fault(Fault::Season(days, wakes)));
        }
        if self.percent(30) {
            let at = 3_000_000 + self.below(chaos_us - 3_000_000);
            self.at(at, What::Fault(Fault::Refusing(20_000_000)));
        }
        self.plan_cards()?;
        if self.plan.restore {
            let backup = first_backup + self.below(room);
            let restore = backup + 5_000_000 + self.below(room);
            self.at(backup, What::Fault(Fault::Backup));
            self.at(restore, What::Fault(Fault::Restore));
        }
        Ok(())
    }

    /// Something breaks, or is mended.
    pub fn fault(&mut self, fault: Fault) -> anyhow::Result<()> {
        if self.healed {
            return Ok(());
        }
        self.tell(None, &format!("{fault:?}"));
        match fault {
            Fault::Way(gate, way, for_us) => {
                let good = !way.up_cut && !way.down_cut && way.loss == 0 && way.slow_ms == 0;
                self.gates[gate].way = way;
                if good {
                    self.link_up(gate);
                } else {
                    self.later(for_us, What::Fault(Fault::Way(gate, Way::default(), 0)));
                }
            }
            Fault::KillAgent(gate, for_us) => {
                self.trouble(gate);
                self.kill_agent(gate);
                let life = self.gates[gate].life;
                self.later(for_us, What::Fault(Fault::StartAgent(gate, life)));
            }
            Fault::StartAgent(gate, life) => {
                if self.gates[gate].life == life && self.gates[gate].agent.is_none() && self.gates[gate].powered {
                    self.trouble(gate);
                    self.start_agent(gate)?;
                    self.look_again(gate);
                }
            }
            Fault::KillHand(gate, for_us) => {
                self.trouble(gate);
                self.kill_hand(gate);
                let hand = self.gates[gate].hand_life;
                self.later(for_us, What::Fault(Fault::StartHand(gate, hand)));
            }
            Fault::StartHand(gate, hand) => {
                let one = &self.gates[gate];
                if one.hand_life == hand && one.hand.is_none() && one.powered {
                    self.trouble(gate);
                    self.start_hand(gate);
                }
            }
            Fault::PowerCut(gate, for_us, wakes) => {
                if !self.gates[gate].powered {
                    return Ok(());
                }
                self.trouble(gate);
                self.kill_agent(gate);
                self.kill_hand(gate);
                self.gates[gate].powered = false;
                self.watch.clocks_lie |= !matches!(wakes, Wakes::Right);
                let true_ms = self.true_ms();
                let offset = match wakes {
                    Wakes::Right => 0,
                    Wakes::AtTheCut => self.gates[gate].machine.offset_ms - (for_us / 1000).cast_signed(),
                    Wakes::In1970 => -true_ms - (for_us / 1000).cast_signed(),
                };
                self.later(for_us, What::Fault(Fault::PowerBack(gate, offset)));
            }
            Fault::PowerBack(gate, offset) => self.power_back(gate, offset)?,
            Fault::Clock(gate, step) => {
                self.watch.clocks_lie = true;
                self.gates[gate].machine.offset_ms += step;
                self.gates[gate].machine.ntp = false;
            }
            Fault::Ntp(gate, lie) => {
                self.watch.clocks_lie = true;
                let machine = &mut self.gates[gate].machine;
                (machine.offset_ms, machine.ntp) = (lie, true);
            }
            Fault::Camera(gate, for_us) => {
                self.trouble(gate);
                self.gates[gate].camera = false;
                let life = self.gates[gate].life;
                let why = "unplugged".to_owned();
                self.later(1_000, What::Eye(gate, life, ReaderEvent::CameraLost { why }));
                self.later(for_us, What::Fault(Fault::CameraBack(gate, 0)));
            }
            Fault::CameraBack(gate, _) => {
                self.trouble(gate);
                self.gates[gate].camera = true;
                self.camera_up(gate, 1_000);
                self.look_again(gate);
            }
            Fault::Disk(gate, for_us) => {
                self.trouble(gate);
                self.gates[gate].disk_fails = true;
                self.later(for_us, What::Fault(Fault::DiskBack(gate)));
            }
            Fault::DiskBack(gate) => {
                // The gate finds out by itself, after a growing pause.
                self.watch.troubled_us[gate] = self.now_us + 31_000_000;
                self.gates[gate].disk_fails = false;
            }
            Fault::Hang(gate, for_us) => {
                let (hand, mut until) = (self.gates[gate].hand_life, self.now_us + for_us);
                let mut deaf_until = until + self.below(3_000);
                // One within another ends with the longer one.
                if let Some(agent) = &self.gates[gate].agent {
                    (until, deaf_until) = (until.max(agent.hung_until), deaf_until.max(agent.deaf_until));
                }
                let troubled_us = &mut self.watch.troubled_us[gate];
                *troubled_us = (*troubled_us).max(until);
                if let Some(agent) = &mut self.gates[gate].agent {
                    agent.hung_until = until;
                    agent.deaf_until = deaf_until;
                    let (life, after) = (self.gates[gate].life, deaf_until + 1 + self.below(2_000));
                    // The eye went on looking: its newest picture waits.
                    self.at(after, What::Glance(gate, life));
                    if for_us > 1_300_000 {
                        self.later(1_200_000, What::MustBeSafe(gate, hand));
                    }
                }
            }
            Fault::Cloud(for_us) => {
                if self.cloud.is_some() {
                    self.stop_cloud();
                    self.later(for_us, What::Fault(Fault::CloudBack));
                }
            }
            Fault::CloudBack => self.start_cloud()?,
            Fault::Refusing(for_us) => self.refusing_until = self.now_us + for_us,
            Fault::KeepCopy(gate) => self.keep_copy(gate)?,
            Fault::SetBack(gate) => self.set_back(gate)?,
            Fault::Clone(gate) => self.clone_card(gate)?,
            Fault::Swap(one, other, for_us, bound) => self.swap_cards((one, other), for_us, bound),
            Fault::SwapBack => self.swap_back(),
            Fault::Season(days, wakes) => self.season(days, wakes),
            Fault::Backup => {
                self.stop_cloud();
                copy_folder(&self.cloud_data.clone(), &self.backup.clone())?;
                self.watch.backed_up();
                self.start_cloud()?;
            }
            Fault::Restore => {
                self.stop_cloud();
                copy_folder(&self.backup.clone(), &self.cloud_data.clone())?;
                self.watch.restored();
                self.start_cloud()?;
            }
        }
        Ok(())
    }

    /// The venue closes and opens again months later.
    fn season(&mut self, days: i64, wakes: Wakes) {
        let slept_ms = days * 86_400_000;
        self.watch.clocks_lie = true;
        for gate in 0..self.gates.len() {
            self.trouble(gate);
            self.kill_agent(gate);
            self.kill_hand(gate);
            self.gates[gate].powered = false;
            let offset_ms = match wakes {
                Wakes::Right => 0,
                Wakes::AtTheCut => self.gates[gate].machine.offset_ms - slept_ms,
                Wakes::In1970 => -self.true_ms() - slept_ms,
            };
            let after = 1_000_000 + self.below(4_000_000);
            self.later(after, What::Fault(Fault::PowerBack(gate, offset_ms)));
        }
        self.leap_ms += slept_ms;
        // The hour at which zones begin anew has gone by, many times.
        for zone in [self.template.lot, self.template.pool] {
            self.watch.anew.insert(zone, self.now_us);
        }
    }

    fn power_back(&mut self, gate: usize, offset_ms: i64) -> anyhow::Result<()> {
        if self.gates[gate].powered {
            return Ok(());
        }
        self.trouble(gate);
        let machine = Machine::boot(self.now_us, offset_ms, &mut self.chance);
        let one = &mut self.gates[gate];
        one.powered = true;
        one.machine = machine;
        one.last_io_us = [0; 2];
        self.start_hand(gate);
        self.start_agent(gate)?;
        self.look_again(gate);
        Ok(())
    }

    /// Something is wrong at a gate: nobody is owed a quick answer there for a while.
    pub fn trouble(&mut self, gate: usize) {
        self.watch.troubled_us[gate] = self.watch.troubled_us[gate].max(self.now_us);
    }

    /// gate-agent dies; what it had stored stays, what it was about to store does not.
    pub fn kill_agent(&mut self, gate: usize) {
        let one = &mut self.gates[gate];
        let (life, hand) = (one.life, one.hand_life);
        if one.agent.take().is_none() {
            return;
        }
        self.tell(Some(gate), "gate-agent dies");
        let notices = 400 + self.below(30_000);
        self.later(notices, What::Gone(gate, hand, life));
    }

    /// gate-io dies; the kernel lets its lines go.
    pub fn kill_hand(&mut self, gate: usize) {
        let one = &mut self.gates[gate];
        let mono_us = one.machine.mono_us(self.now_us);
        let life = one.life;
        let Some(hand) = one.hand.take() else { return };
        self.tell(Some(gate), "gate-io dies");
        if let Some(edge) = hand.kill(mono_us) {
            self.edge(gate, &edge);
        }
        let notices = 400 + self.below(30_000);
        self.later(notices, What::ToBrain(gate, life, IoEvent::Lost { why: "gate-io died".to_owned() }));
        self.later(notices + 100_000, What::Connect(gate, life));
    }

    fn link_up(&mut self, gate: usize) {
        let told = self.percent(70);
        if let Some(agent) = &self.gates[gate].agent
            && told
        {
            agent.wake.link_up();
        }
        self.engine_soon(gate, 10_000);
    }

    /// Everything is mended, and stays so.
    pub fn heal(&mut self) -> anyhow::Result<()> {
        self.tell(None, "everything is mended");
        self.swap_back();
        self.start_cloud()?;
        for gate in 0..self.gates.len() {
            self.gates[gate].way = Way::default();
            self.gates[gate].camera = true;
            self.gates[gate].disk_fails = false;
            if !self.gates[gate].powered {
                self.power_back(gate, 0)?;
            }
            self.watch.troubled_us[gate] = self.now_us + 31_000_000;
            (self.gates[gate].machine.offset_ms, self.gates[gate].machine.ntp) = (0, true);
            if self.gates[gate].hand.is_none() {
                self.start_hand(gate);
            }
            if self.gates[gate].agent.is_none() {
                self.start_agent(gate)?;
            }
            self.camera_up(gate, 1_000);
            self.look_again(gate);
            self.link_up(gate);
            // One that stands still hears of it when it goes on.
            let life = self.gates[gate].life;
            self.later(0, What::Wake(gate, life));
        }
        // The operator lets go what was put aside, so that it is tried again.
        for gate in 0..self.gates.len() {
            self.later(5_000_000, What::Release(gate));
        }
        self.refusing_until = 0;
        self.healed = true;
        Ok(())
    }
}
