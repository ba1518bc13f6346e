//! Cards that are put back to an older image, copied, or put into another gate's machine.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use anyhow::Context;
use gate_agent::identity::{MachineFiles, bind_key, key_path, load_key_on};
use gate_agent::replica::ReplicaReader;
use gate_core::ids::EventId;

use super::checks::{count_of, look_into, written_by};
use super::faults::Fault;
use super::gate::{Gate, Machine};
use super::world::{What, World};
use crate::journal::journal_of;
use crate::world::copy_folder;

/// Two gates whose cards were exchanged.
#[derive(Clone, Copy)]
pub struct Exchange {
    gates: (usize, usize),
    bound: bool,
}

/// A card of which there are two.
#[derive(Clone, Copy)]
pub struct TwoCards {
    /// The gate that runs with the copy.
    pub copy: usize,
    /// How many events were on the card when it was copied.
    shared: i64,
}

impl World<'_> {
    /// Draws what happens to cards.
    pub(super) fn plan_cards(&mut self) -> anyhow::Result<()> {
        let chaos_us = self.plan.chaos_us;
        let any = |world: &mut Self| usize::try_from(world.below(world.gates.len() as u64)).unwrap_or(0);
        if self.plan.set_back {
            let gate = any(self);
            let copied = 5_000_000 + self.below(chaos_us / 2);
            let back = copied + 20_000_000 + self.below(chaos_us / 3);
            self.at(copied, What::Fault(Fault::KeepCopy(gate)));
            self.at(back, What::Fault(Fault::SetBack(gate)));
        }
        if self.plan.clone {
            let gate = any(self);
            let at = 5_000_000 + self.below(chaos_us / 2);
            self.at(at, What::Fault(Fault::Clone(gate)));
        }
        if self.plan.swap {
            let one = any(self);
            // A card knows what is wired at its gate: only gates of one kind can be taken for each other.
            let alike = |at: &usize| *at != one && self.gates[*at].inputs == self.gates[one].inputs;
            let others: Vec<usize> = (0..self.gates.len()).filter(alike).collect();
            let at = 5_000_000 + self.below(chaos_us / 2);
            let (for_us, bound) = (10_000_000 + self.below(chaos_us / 3), self.percent(50));
            let other = usize::try_from(self.below(others.len() as u64)).unwrap_or(0);
            if let Some(other) = others.get(other) {
                if bound {
                    self.bind(one)?;
                    self.bind(*other)?;
                }
                self.at(at, What::Fault(Fault::Swap(one, *other, for_us, bound)));
            }
        }
        Ok(())
    }

    /// Seals a gate's key for a board of its own, as it is from the day of its enrolment.
    fn bind(&mut self, gate: usize) -> anyhow::Result<()> {
        let one = &mut self.gates[gate];
        let board = one.folder.with_extension("board");
        let serial = board.join("proc/device-tree/serial-number");
        fs::create_dir_all(serial.parent().context("the serial number lies in a folder")?)?;
        fs::write(&serial, one.made.enrolled.device.to_string())?;
        let key = key_path(&one.folder);
        fs::write(&key, one.made.key.to_bytes())?;
        fs::set_permissions(&key, fs::Permissions::from_mode(0o400))?;
        anyhow::ensure!(bind_key(&one.folder, &MachineFiles::below(&board))?, "a key can be bound to a board");
        one.board = Some(board);
        Ok(())
    }

    fn copy_of(&self, gate: usize) -> PathBuf {
        self.gates[gate].folder.with_extension("copy")
    }

    /// A gate's card is copied while it runs.
    pub(super) fn keep_copy(&mut self, gate: usize) -> anyhow::Result<()> {
        copy_folder(&self.gates[gate].folder.clone(), &self.copy_of(gate))
    }

    /// An older image of a gate's card is put back.
    pub(super) fn set_back(&mut self, gate: usize) -> anyhow::Result<()> {
        self.trouble(gate);
        self.kill_agent(gate);
        let folder = self.gates[gate].folder.clone();
        copy_folder(&self.copy_of(gate), &folder)?;
        let device = self.gates[gate].made.enrolled.device;
        let kept = written_by(&self.gates[gate].database())?;
        let held = count_of(&self.cloud_data.join("cloud.db"), device)?;
        // Of a device that was withdrawn nothing is believed, so nobody asks how old its card is.
        self.watch.set_back = Some((gate, held > kept && !self.watch.withdrawn.contains(&gate)));
        self.tell(Some(gate), &format!("an older card: {kept} events, the cloud holds {held}"));
        let life = self.gates[gate].life;
        self.later(2_000_000, What::Fault(Fault::StartAgent(gate, life)));
        Ok(())
    }

    /// A copy of a gate's card runs beside it, in a machine that names itself as the first does.
    pub(super) fn clone_card(&mut self, gate: usize) -> anyhow::Result<()> {
        let folder = self.copy_of(gate);
        copy_folder(&self.gates[gate].folder.clone(), &folder)?;
        let (made, inputs) = (self.gates[gate].made.clone(), self.gates[gate].inputs);
        let machine = Machine::boot(self.now_us, 0, &mut self.chance);
        let copy = self.gates.len();
        self.gates.push(Gate::new(made, inputs, folder, machine));
        self.watch.troubled_us.push(self.now_us);
        let shared = written_by(&self.gates[copy].database())?;
        self.watch.set_back = Some((gate, false));
        self.watch.two_cards = Some(TwoCards { copy, shared });
        self.tell(Some(copy), &format!("a copy of the card: {shared} events"));
        self.start_hand(copy);
        self.start_agent(copy)?;
        self.later(3_000_000, What::Visit(copy));
        Ok(())
    }

    /// Two gates' cards are exchanged: where a key is bound to its board, neither gate goes on; where it is not, each takes
    /// itself for the other.
    pub(super) fn swap_cards(&mut self, gates: (usize, usize), for_us: u64, bound: bool) {
        self.tell(Some(gates.0), &format!("its card and that of {} are exchanged", self.gates[gates.1].made.name));
        self.watch.exchanged |= !bound;
        self.exchange = Some(Exchange { gates, bound });
        self.trade(gates, true);
        self.later(for_us, What::Fault(Fault::SwapBack));
    }

    /// The cards are put back, if they are not.
    pub(super) fn swap_back(&mut self) {
        if let Some(Exchange { gates, bound }) = self.exchange.take() {
            let how = if bound { "after neither of them ran" } else { "after each ran in the other's place" };
            self.tell(Some(gates.0), &format!("its card and the other are put back, {how}"));
            self.trade(gates, false);
        }
    }

    /// Two machines go off, and on again with the other's card. What is counted by a card's number here is that card: so the
    /// board and what lies behind the barrier change places.
    fn trade(&mut self, (one, other): (usize, usize), astray: bool) {
        for gate in [one, other] {
            self.trouble(gate);
            self.kill_agent(gate);
            self.kill_hand(gate);
            self.gates[gate].powered = false;
            self.gates[gate].astray = astray;
            self.gates[gate].place.texts.clear();
            self.gates[gate].place.again = None;
            self.gates[gate].active.clear();
            if self.gates[gate].place.visit.take().is_some() {
                self.later(4_000_000, What::Visit(gate));
            }
        }
        let (board, behind) = (self.gates[one].board.take(), self.gates[one].behind);
        self.gates[one].board = self.gates[other].board.take();
        self.gates[one].behind = self.gates[other].behind;
        (self.gates[other].board, self.gates[other].behind) = (board, behind);
        for gate in [one, other] {
            self.later(2_000_000, What::Fault(Fault::PowerBack(gate, 0)));
        }
    }

    /// Whether the card lets itself be used in the machine that it is in. A card that another machine takes is a fault.
    pub(super) fn card_fits(&mut self, gate: usize) -> bool {
        let one = &self.gates[gate];
        let Some(board) = &one.board else { return true };
        match (load_key_on(&one.folder, &MachineFiles::below(board)), one.astray) {
            (Ok(_), false) => true,
            (Err(error), true) if error.is_other_machine() => {
                self.tell(Some(gate), "the card belongs to another machine");
                false
            }
            (Ok(_), true) => {
                self.violated(Some(gate), "A-67: the card's key opens in another gate's machine");
                true
            }
            (Err(error), _) => {
                self.violated(Some(gate), &format!("the card's key does not open in its own machine: {error}"));
                false
            }
        }
    }

    /// Whether this gate's history is evidence and not truth: its card was set back, or there are two of it.
    pub(super) fn is_evidence(&self, gate: usize) -> bool {
        let copy = self.watch.two_cards.is_some_and(|two| two.copy == gate);
        copy || self.watch.set_back.is_some_and(|(back, _)| back == gate)
    }

    /// Of a card that ran twice, both histories were seen and are kept, applied or aside.
    pub(super) fn check_two_cards(&mut self) -> anyhow::Result<()> {
        let (Some(TwoCards { copy, shared }), Some((gate, _))) = (self.watch.two_cards, self.watch.set_back) else {
            return Ok(());
        };
        if self.watch.withdrawn.contains(&gate) || self.watch.restores > 0 {
            return Ok(());
        }
        let went_on = written_by(&self.gates[gate].database())? > shared;
        self.watch.set_back = Some((gate, went_on));
        let database = self.cloud.as_ref().context("the cloud runs at the end")?.database();
        let held: BTreeSet<Vec<u8>> = look_into(&database)?
            .prepare("SELECT bytes FROM events UNION ALL SELECT bytes FROM parked")?
            .query_map([], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        for side in [gate, copy] {
            let reader = ReplicaReader::open(&self.gates[side].database())?;
            let journal = journal_of(&reader)?;
            let lost: Vec<EventId> =
                journal.iter().filter(|(_, bytes)| !held.contains(bytes)).map(|(event, _)| event.id).collect();
            if let Some(first) = lost.first() {
                let (lost, all) = (lost.len(), journal.len());
                self.violated(
                    Some(side),
                    &format!("E07: of {all} events of one of two cards {lost} are kept nowhere, the first is {first}"),
                );
            }
        }
        Ok(())
    }
}
