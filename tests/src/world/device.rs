//! A gate's device without copper and light: the real replica, decision, sync engine and transport, in this process.
//!
//! For stories about sync, of which many gates are needed. What a lane adds (lamps, pulses) is left out: a presentation is
//! viewed, decided and recorded as the lane does it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use ed25519_dalek::SigningKey;
use gate_agent::config::Config;
use gate_agent::identity::Identity;
use gate_agent::replica::{Replica, ReplicaReader};
use gate_agent::sync::engine::SignedMoment;
use gate_agent::sync::transport::{HttpRoad, Limits, Road, SignedTransport, client_by};
use gate_agent::sync::{CloudUrl, Ears, Engine, Surroundings, ThisMachine, Wake, live};
use gate_agent::{daemon, enrol, identity};
use gate_core::decision::{DecisionInput, RULES_VERSION, Verdict, decide};
use gate_core::event::EventBody;
use gate_core::ids::{Cti, EventId, Hash, Kid, VendorCode};
use gate_core::pass::{Claims, Finding, PassFlags, ScannedPass};
use gate_core::sync::session::Link as Heard;
use gate_core::time::{Now, Trust};
use gate_core::view::Readiness;
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::{Office, text_at};
use crate::clock::Deadline;

/// How long something may take that must happen.
const PATIENCE: Duration = Duration::from_secs(120);

/// One enrolled device.
pub struct Device {
    /// What messages call it.
    pub name: String,
    /// The gate at the office.
    pub gate: String,
    /// Its memory.
    pub replica: Arc<Mutex<Replica>>,
    /// Its sync can be woken.
    pub wake: Arc<Wake>,
    /// What its sync said of the link, every change since the last start.
    heard: watch::Receiver<Vec<Heard>>,
    told: watch::Sender<Vec<Heard>>,
    reader: ReplicaReader,
    identity: Identity,
    key: SigningKey,
    dir: PathBuf,
    sync: Option<JoinHandle<()>>,
}

/// A gate to be made at the office.
#[derive(Clone, Copy, Debug)]
pub struct Post<'a> {
    /// What it is called.
    pub name: &'a str,
    /// The zone it leads into or out of.
    pub zone: &'a str,
    /// Leads in.
    pub entrance: bool,
}

fn config(dir: &Path, cloud: &str) -> anyhow::Result<Config> {
    let text = format!("data_dir = {dir:?}\ncloud_url = {cloud:?}\n");
    Config::parse(&text).map_err(|problems| anyhow::anyhow!("{problems:?}"))
}

impl Device {
    /// Makes a gate at the office and enrols this process as its device, by an address that works now.
    pub async fn enrol(office: &Office, post: Post<'_>, world: &Path, cloud: &str) -> anyhow::Result<Self> {
        let direction = if post.entrance { "in" } else { "out" };
        let plan = json!({"name": post.name, "direction": direction, "zone_id": post.zone, "egress": "scan"});
        let gate = text_at(&office.post("/gates", &plan).await?, "/id")?;
        let code = text_at(&office.post(&format!("/gates/{gate}/enrolment"), &json!({})).await?, "/code")?;
        let dir = world.join(post.name);
        enrol::enrol(&config(&dir, cloud)?, &code).await?;
        Self::open(post.name, &gate, dir)
    }

    /// Enrols a new card for the gate of another device, with a code from the office.
    pub async fn take_over(old: &Self, code: &str, world: &Path, cloud: &str) -> anyhow::Result<Self> {
        let name = format!("{} again", old.name);
        let dir = world.join(&name);
        enrol::enrol(&config(&dir, cloud)?, code).await?;
        Self::open(&name, &old.gate, dir)
    }

    /// Opens a device's data folder, as a start of the agent does.
    pub fn open(name: &str, gate: &str, dir: PathBuf) -> anyhow::Result<Self> {
        let mut config = config(&dir, "http://127.0.0.1:9")?;
        config.ntp_marker = dir.join("no-ntp");
        let replica = daemon::open_replica(&config)?;
        let identity = replica.identity().cloned().context("the device is not enrolled")?;
        let reader = replica.reader()?;
        let (told, heard) = watch::channel(Vec::new());
        Ok(Self {
            name: name.to_owned(),
            gate: gate.to_owned(),
            replica: Arc::new(Mutex::new(replica)),
            wake: Arc::new(Wake::default()),
            heard,
            told,
            reader,
            identity,
            key: identity::load_key(&dir)?,
            dir,
            sync: None,
        })
    }

    /// Its data folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Who it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Its memory.
    pub fn replica(&self) -> MutexGuard<'_, Replica> {
        self.replica.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An engine over any road.
    pub fn engine<R: Road>(&self, road: R, url: &CloudUrl) -> Engine<SignedTransport<R>, Arc<Mutex<Replica>>> {
        self.engine_in(road, url, Arc::new(ThisMachine::default()))
    }

    fn engine_in<R: Road>(
        &self,
        road: R,
        url: &CloudUrl,
        surroundings: Arc<dyn Surroundings>,
    ) -> Engine<SignedTransport<R>, Arc<Mutex<Replica>>> {
        let who = (self.identity.device, self.key.clone());
        let transport = SignedTransport::over(road, url.clone(), who, surroundings.clone());
        // Nobody listens to the time here: what is sent falls out at the other end.
        let (signed, mut signed_heard) = mpsc::channel::<SignedMoment>(4);
        tokio::spawn(async move { while signed_heard.recv().await.is_some() {} });
        let told = self.told.clone();
        let link = Box::new(move |link, _failure| {
            told.send_if_modified(|all| {
                let news = all.last() != Some(&link);
                if news {
                    all.push(link);
                }
                news
            });
        });
        let ears = Ears { signed, changed: watch::Sender::new(0), link };
        let wake = self.wake.clone();
        self.replica().on_record(Box::new(move || wake.recorded()));
        Engine::new((transport, self.replica.clone()), self.key.clone(), surroundings, self.wake.clone(), ears)
    }

    /// Syncs from now on, with the held channel. `authority` is an authority of one's own to trust, as PEM.
    pub fn start(&mut self, url: &str, authority: Option<&str>) -> anyhow::Result<()> {
        let mut engine = self.engine_to(url, authority)?;
        let url = CloudUrl::parse(url)?;
        let (device, key, wake) = (self.identity.device, self.key.clone(), self.wake.clone());
        self.sync = Some(tokio::spawn(async move {
            let channel = live::listen(url, device, key, Arc::new(ThisMachine::default()), wake);
            tokio::select! {
                () = engine.run() => {}
                () = channel => {}
            }
        }));
        Ok(())
    }

    /// An engine over a real road, to be stepped by hand.
    pub fn engine_to(
        &self,
        url: &str,
        authority: Option<&str>,
    ) -> anyhow::Result<Engine<SignedTransport<HttpRoad>, Arc<Mutex<Replica>>>> {
        self.engine_by(url, authority, Arc::new(ThisMachine::default()))
    }

    /// The same, by another clock than this machine's.
    pub fn engine_by(
        &self,
        url: &str,
        authority: Option<&str>,
        surroundings: Arc<dyn Surroundings>,
    ) -> anyhow::Result<Engine<SignedTransport<HttpRoad>, Arc<Mutex<Replica>>>> {
        let url = CloudUrl::parse(url)?;
        let client = client_by(Limits::default(), surroundings.clone(), authority)?;
        Ok(self.engine_in(HttpRoad::new(client, url.clone()), &url, surroundings))
    }

    /// Stops syncing, wherever it is, and lets go of the memory.
    pub async fn stop(&mut self) {
        if let Some(sync) = self.sync.take() {
            sync.abort();
            // Ended by force: that is what was asked for.
            let _ended = sync.await;
        }
    }

    /// Forgets what was heard of the link.
    pub fn forget_link(&self) {
        self.told.send_modify(Vec::clear);
    }

    /// What was heard of the link since it was forgotten.
    pub fn links(&self) -> Vec<Heard> {
        self.heard.borrow().clone()
    }

    /// Waits until sync has said this of the link.
    pub async fn hears(&mut self, wanted: Heard) -> anyhow::Result<()> {
        let name = self.name.clone();
        let heard = self.heard.wait_for(|all| all.contains(&wanted));
        tokio::time::timeout(PATIENCE, heard)
            .await
            .with_context(|| format!("{name}: waited {PATIENCE:?} to hear that the link is {wanted:?}"))??;
        Ok(())
    }

    /// The moment, as a gate under NTP knows it.
    pub fn now() -> Now {
        Now { trust: Trust::Ntp, ..ThisMachine::default().now() }
    }

    /// What this gate would say to a pass, and the event it would write.
    pub fn judge(&mut self, pass: &ScannedPass, now: Now) -> anyhow::Result<(Verdict, Option<EventBody>)> {
        let gate = self.reader.gate()?.with_context(|| format!("{} does not know its gate", self.name))?;
        let view = self.reader.view(pass, &gate, now)?;
        let lane = gate.lane_context(Readiness::Ready);
        let verdict = decide(pass, &view, &lane, now);
        let mut generations: Vec<u64> = view.spaces.iter().map(|space| space.generation).collect();
        let input = Box::new(DecisionInput { pass: pass.clone(), view, lane, now, rules: RULES_VERSION });
        let body = match &verdict {
            Verdict::Admit(admission) => {
                generations.truncate(admission.zones.len());
                Some(EventBody::Authorised { input, admission: admission.clone(), generations, confirmed: None })
            }
            Verdict::Refuse(refusal) => Some(EventBody::Refused { input, reason: refusal.reason }),
            Verdict::Ask(_) => None,
        };
        Ok((verdict, body))
    }

    /// Shows a pass, and records what comes of it: an admission is stored and, unless the power goes, carried out.
    pub fn present(&mut self, pass: &ScannedPass, power_goes: bool) -> anyhow::Result<(Verdict, Option<EventId>)> {
        self.present_at(pass, power_goes, Self::now())
    }

    /// The same at another moment.
    pub fn present_at(
        &mut self,
        pass: &ScannedPass,
        power_goes: bool,
        now: Now,
    ) -> anyhow::Result<(Verdict, Option<EventId>)> {
        let (verdict, body) = self.judge(pass, now)?;
        let lane = self.reader.gate()?.map(|gate| gate.lane);
        let mut replica = self.replica();
        let Some(body) = body else { return Ok((verdict, None)) };
        let of = replica.record(lane, now, body)?.event.id;
        if !matches!(verdict, Verdict::Admit(_)) {
            return Ok((verdict, None));
        }
        if !power_goes {
            replica.record(lane, now, EventBody::Opened { of, watched: false })?;
        }
        Ok((verdict, Some(of)))
    }

    /// Signs as it, over any road.
    pub fn transport<R: Road>(&self, road: R, url: &CloudUrl) -> SignedTransport<R> {
        let who = (self.identity.device, self.key.clone());
        SignedTransport::over(road, url.clone(), who, Arc::new(ThisMachine::default()))
    }

    /// Its key.
    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// How many events wait to be confirmed.
    pub fn pending(&self) -> anyhow::Result<u64> {
        Ok(self.replica().pending_count()?)
    }

    /// Events in its journal.
    pub fn events(&self) -> anyhow::Result<u64> {
        let report = gate_agent::journal_check::verify(&self.dir.join("replica.db"))?;
        if !report.ok {
            bail!("{}: its journal does not verify: {report}", self.name);
        }
        Ok(report.events)
    }

    /// Whether a vendor's passes are known here.
    pub fn knows_vendor(&self) -> anyhow::Result<bool> {
        let mut reader = self.replica().reader()?;
        Ok(reader.keyring()?.iter().next().is_some())
    }

    /// Whether this gate may let somebody in by itself.
    pub fn holds_rights(&self) -> anyhow::Result<bool> {
        let mut reader = self.replica().reader()?;
        let status = reader.status(Self::now())?;
        Ok(!status.zones.is_empty() && status.zones.iter().all(|zone| zone.rights_held > 0))
    }

    /// Its way to read.
    pub fn reader(&mut self) -> &mut ReplicaReader {
        &mut self.reader
    }

    /// Waits until nothing waits to be confirmed and the replica is as far as this.
    pub async fn settles(&self) -> anyhow::Result<()> {
        self.until("everything is delivered", |device| Ok(device.pending()? == 0)).await
    }

    /// Waits until something holds.
    pub async fn until(&self, what: &str, holds: impl Fn(&Self) -> anyhow::Result<bool>) -> anyhow::Result<()> {
        self.until_within(PATIENCE, what, holds).await
    }

    /// Waits until something holds, for so long.
    pub async fn until_within(
        &self,
        patience: Duration,
        what: &str,
        holds: impl Fn(&Self) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let deadline = Deadline::after(patience);
        while !holds(self)? {
            if deadline.is_over() {
                bail!("{}: waited {patience:?} until {what}; links {:?}", self.name, self.links());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if let Some(sync) = self.sync.take() {
            sync.abort();
        }
    }
}

/// Genuine visitor passes of one vendor, numbered. Their signature was checked elsewhere: sync never sees it.
#[derive(Clone, Debug)]
pub struct Passes {
    vendor: VendorCode,
    venue: gate_core::ids::VenueCode,
}

impl Passes {
    /// The passes of a vendor that is made at the office.
    pub async fn of_new_vendor(office: &Office, device: &Device, code: &str) -> anyhow::Result<Self> {
        office.post("/vendors", &json!({"name": format!("Vendor {code}"), "code": code})).await?;
        Self::of_vendor(device, code)
    }

    /// The passes of a vendor that is there.
    pub fn of_vendor(device: &Device, code: &str) -> anyhow::Result<Self> {
        Ok(Self { vendor: code.parse()?, venue: device.identity.venue_code.clone() })
    }

    /// One of them, of the product that every venue has.
    pub fn pass(&self, number: u64) -> ScannedPass {
        self.of_product(number, 1)
    }

    /// One of them, of any product.
    pub fn of_product(&self, number: u64, product: u16) -> ScannedPass {
        let now_s = Device::now().wall_ms / 1000;
        let hash = Hash::of("world-pass", &number.to_be_bytes());
        let mut cti = [0; 16];
        cti.copy_from_slice(&hash.0[..16]);
        let claims = Claims {
            vendor: self.vendor.clone(),
            venue: self.venue.clone(),
            not_before: now_s - 40 * 86_400,
            expires: now_s + 86_400,
            cti: Cti(cti),
            product,
            flags: PassFlags::default(),
            subject: None,
        };
        ScannedPass { token: hash, finding: Finding::Genuine { claims, kid: Kid(*b"wrld") } }
    }
}
