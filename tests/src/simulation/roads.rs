//! Between gates and cloud: requests and answers on their way, lost, late or twice, and the cloud that takes them.

use std::path::Path;

use gate_agent::sync::{RoadAnswer, RoadRequest, SyncError};
use gate_core::event::Event;
use gate_core::sync::v1::{EVENTS_PATH, ItemOutcome, PullReply, Push, PushReply};

use super::cloud::Cloud;
use super::world::{What, World};

impl World<'_> {
    /// Lets the engine go on after a while.
    pub fn engine_soon(&mut self, gate: usize, after_us: u64) {
        let life = self.gates[gate].life;
        let Some(agent) = &mut self.gates[gate].agent else { return };
        agent.sync_ticket += 1;
        let ticket = agent.sync_ticket;
        self.later(after_us, What::Sync(gate, life, ticket));
    }

    /// Lets the engine run, and sends what it wants to send.
    pub(super) fn sync(&mut self, gate: usize, life: u64) {
        let (now_us, leap_ms) = (self.now_us, self.leap_ms);
        let one = &mut self.gates[gate];
        let reading = one.machine.reading(now_us, leap_ms);
        let mono_us = one.machine.mono_us(now_us);
        let Some(agent) = &mut one.agent else { return };
        agent.tick(reading);
        let requests = agent.run_engine();
        let hung = agent.hung_until > now_us;
        for (request, call) in requests {
            self.calls += 1;
            let number = self.calls;
            if let Some(agent) = &mut self.gates[gate].agent {
                agent.calls.insert(number, call);
            }
            self.send(gate, life, number, request);
        }
        if !hung {
            if let Some(agent) = &mut self.gates[gate].agent {
                agent.hear();
            }
            self.carry_out(gate);
        }
        if let Some(until) = self.gates[gate].agent.as_ref().and_then(super::gate::Agent::pauses_until) {
            self.engine_soon(gate, until.saturating_sub(mono_us).clamp(200, 60_000_000));
        }
    }

    /// Puts a request on the way.
    pub(super) fn send(&mut self, gate: usize, life: u64, call: u64, request: RoadRequest) {
        let way = self.gates[gate].way;
        let takes = 5_000 + self.below(60_000) + self.below(way.slow_ms * 1000 + 1);
        if way.up_cut || self.percent(way.loss) {
            // Nobody answers; the client gives up.
            let lost = Err(SyncError::Unreachable("no answer in time".to_owned()));
            self.later(3_000_000, What::Answered(gate, life, call, Box::new(lost)));
            return;
        }
        if self.percent(way.twice) {
            let again = takes + self.below(3_000_000);
            self.later(again, What::Arrive(gate, life, None, Box::new(request.clone())));
        }
        self.later(takes, What::Arrive(gate, life, Some(call), Box::new(request)));
    }

    /// A request reaches the cloud.
    pub(super) fn arrive(
        &mut self,
        gate: usize,
        life: u64,
        call: Option<u64>,
        request: RoadRequest,
    ) -> anyhow::Result<()> {
        let (way, true_ms) = (self.gates[gate].way, self.true_ms());
        let lost = || Box::new(Err(SyncError::Unreachable("no answer in time".to_owned())));
        if self.now_us < self.refusing_until && holds_a_thorn(&request) {
            self.tell(Some(gate), "something on the way refuses a push");
            if let Some(call) = call {
                let mut headers = axum::http::HeaderMap::new();
                headers.insert("content-type", axum::http::HeaderValue::from_static("application/problem+json"));
                let body = br#"{"code":"unprocessable","title":"Refused","status":422}"#.to_vec();
                let status = axum::http::StatusCode::UNPROCESSABLE_ENTITY;
                self.later(
                    20_000,
                    What::Answered(gate, life, call, Box::new(Ok(RoadAnswer { status, headers, body }))),
                );
            }
            return Ok(());
        }
        let pushed = gate_core::canonical::decode::<Push>(&request.body).ok().filter(|_| request.path == EVENTS_PATH);
        let Some(cloud) = &mut self.cloud else {
            if let Some(call) = call {
                self.later(20_000, What::Answered(gate, life, call, lost()));
            }
            return Ok(());
        };
        cloud.set_clock(true_ms);
        let path = if request.query.is_empty() {
            request.path.to_owned()
        } else {
            format!("{}?{}", request.path, request.query)
        };
        let headers: Vec<(&str, String)> = request.headers;
        let answer = cloud.send_raw(request.method.as_str(), &path, &headers, request.body)?;
        self.tell(Some(gate), &format!("{} -> {} ({} bytes)", request.path, answer.status.as_u16(), answer.body.len()));
        if answer.status.is_server_error() {
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            self.violated(Some(gate), &format!("the cloud failed: {} {text}", answer.status));
        }
        if let Ok(reply) = gate_core::canonical::decode::<PushReply>(&answer.body) {
            let ids = pushed.iter().flat_map(|push| &push.events).filter_map(|bytes| Event::decode(bytes).ok());
            let ids: Vec<String> = ids.map(|event| format!("{:x}/{}", event.id.epoch, event.id.seq)).collect();
            self.tell(Some(gate), &format!("pushed {ids:?}: {:?}", reply.outcomes));
            for outcome in reply.outcomes {
                if let ItemOutcome::Parked { reason } = outcome {
                    self.tell(Some(gate), &format!("parked: {reason}"));
                }
            }
        }
        if request.path.ends_with("/events") && answer.status.is_success() {
            for other in 0..self.gates.len() {
                let deaf = self.gates[other].way.down_cut || self.gates[other].way.up_cut;
                if !deaf && !self.percent(10) {
                    let takes = 5_000 + self.below(40_000);
                    self.later(takes, What::Hint(other));
                }
            }
        }
        let Some(call) = call else { return Ok(()) };
        if way.down_cut || self.percent(way.loss) {
            self.later(10_000_000, What::Answered(gate, life, call, lost()));
            return Ok(());
        }
        let mut answer = RoadAnswer { status: answer.status, headers: answer.headers, body: answer.body };
        if way.loss > 0
            && self.percent(50)
            && let Some(shorter) = without_its_first_chunk(&answer.body)
        {
            self.tell(Some(gate), "something on the way takes the first chunk out of the news");
            answer.body = shorter;
        }
        let takes = 5_000 + self.below(60_000) + self.below(way.slow_ms * 1000 + 1);
        self.later(takes, What::Answered(gate, life, call, Box::new(Ok(answer))));
        Ok(())
    }

    /// The cloud's process ends.
    pub fn stop_cloud(&mut self) {
        self.cloud = None;
    }

    /// The cloud's process starts, on whatever is in its folder.
    pub fn start_cloud(&mut self) -> anyhow::Result<()> {
        if self.cloud.is_none() {
            self.cloud_life += 1;
            let seed = self.plan.seed_of_cloud.wrapping_add(self.cloud_life);
            let now_ms = self.true_ms();
            self.cloud = Some(Cloud::open(&self.cloud_data, now_ms, seed, self.template.cookie.clone())?);
        }
        Ok(())
    }

    /// The cloud's folder.
    pub fn cloud_folder(&self) -> &Path {
        &self.cloud_data
    }
}

/// News that begin later than they did; `None` where they are too few for that.
fn without_its_first_chunk(body: &[u8]) -> Option<Vec<u8>> {
    let mut reply = gate_core::canonical::decode::<PullReply>(body).ok()?;
    if reply.chunks.len() < 2 {
        return None;
    }
    reply.chunks.remove(0);
    Some(gate_core::canonical::encode(&reply))
}

/// Whether a push holds one of the events that something on the way can't stand: one of eight.
fn holds_a_thorn(request: &RoadRequest) -> bool {
    let push = gate_core::canonical::decode::<Push>(&request.body);
    request.path == EVENTS_PATH
        && push.is_ok_and(|push| push.events.iter().any(|event| gate_core::event::hash(event).0[0].is_multiple_of(8)))
}
