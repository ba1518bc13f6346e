//! Carries out what the session decides, one step at a time.
//!
//! A step may be cut off anywhere: events leave the outbox only in the transaction that stores their confirmation, and
//! changes are applied chunk by chunk, so doing a step again is always right.

use std::sync::Arc;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use gate_core::ids::EventId;
use gate_core::mutant::{self, Mutant};
use gate_core::statement::Duty;
use gate_core::sync::session::{Action, Link, Outcome, Session};
use gate_core::sync::v1::{
    Change, Chunk, JournalHead, PUSH_BYTES, PUSH_LIMIT, Pull, PullReply, Push, PushReply, Signed, SignedTime,
};
use serde_bytes::ByteBuf;
use tokio::sync::{mpsc, watch};

mod testimony;

use testimony::Told;

use super::maintenance::Switch;
use super::{HttpTransport, Store, StoreError, Surroundings, SyncError, Transport, Wake, carrier, number};
use crate::identity::Identity;
use crate::replica::{PendingEvent, Replica, ReplicaError};

/// After this many refusals of one event alone it is tried whether others pass; then it is put aside.
const POISON_TRIES: u32 = 3;
/// A push on a limited road takes no longer than this, milliseconds: whatever is urgent comes after it.
const LIMITED_PUSH_MS: u64 = 1000;
/// Smallest load of such a push, bytes: a few events.
const LIMITED_PUSH_BYTES: usize = 4096;
/// Signed time is asked for this often, microseconds.
const TIME_EVERY_US: u64 = 3600 * 1_000_000;
/// After a failure, sooner.
const TIME_AGAIN_US: u64 = 30 * 1_000_000;
/// A signed answer that took longer says too little about now, microseconds.
const TIME_LIMIT_US: u64 = 5 * 1_000_000;
/// Old events are looked for this often, microseconds.
const PRUNE_EVERY_US: u64 = 6 * 3600 * 1_000_000;

/// A moment that the venue's time key signed: for `TimeKeeper::hear_signed`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SignedMoment {
    /// The signed moment, Unix milliseconds.
    pub ms: i64,
    /// When it was heard, monotonic microseconds. It was signed at most five seconds earlier.
    pub heard_us: u64,
}

/// Who hears what from sync.
pub struct Ears {
    /// Signed time.
    pub signed: mpsc::Sender<SignedMoment>,
    /// Grows whenever the replica says something new, or the same with a newer date.
    pub changed: watch::Sender<u64>,
    /// How the link is, after every exchange, and why that came to nothing if it did.
    pub link: Box<dyn Fn(Link, Option<String>) + Send + Sync>,
}

/// How sync is meant to work at this gate.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Most kilobits a second that events and changes may take; 0 for no limit.
    pub limit_kbit_s: u32,
    /// The maintenance switch, where there is one.
    pub switch: Option<Switch>,
}

/// Syncs with the cloud until told to stop, and listens for its hints.
pub async fn run<S: Store>(
    transport: HttpTransport,
    store: S,
    ears: Ears,
    settings: Settings,
    mut stop: watch::Receiver<bool>,
) {
    let wake = Arc::new(Wake::default());
    let (url, device, key, surroundings) = transport.listener();
    let recorded = wake.clone();
    let listening = store.with(move |replica| {
        replica.on_record(Box::new(move || recorded.recorded()));
        Ok(())
    });
    if let Err(error) = listening.await {
        tracing::warn!(%error, "sync is not told of new events and looks for them every 15 s");
    }
    let mut engine = Engine::new((transport, store), key.clone(), surroundings.clone(), wake.clone(), ears)
        .limited(settings.limit_kbit_s);
    let switch = settings.switch.unwrap_or_default();
    let exchange = async {
        loop {
            switch.wait_until_on(surroundings.as_ref(), || engine.rest()).await;
            wake.link_up();
            let live = super::live::listen(url.clone(), device, key.clone(), surroundings.clone(), wake.clone());
            // All may be dropped at any await: whatever matters is in the database.
            tokio::select! {
                () = engine.run() => {}
                () = live => {}
                () = carrier::watch(&wake) => {}
                () = switch.wait_until_off(surroundings.as_ref()) => {}
            }
        }
    };
    tokio::select! {
        _ = stop.wait_for(|stop| *stop) => {}
        () = exchange => {}
    }
}

/// What a step did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Something was exchanged or tried; there may be more to do.
    Did,
    /// Nothing to do until this monotonic stamp, microseconds, or until the engine is woken.
    WaitUntil(u64),
}

/// Drives one gate's conversation with the cloud.
pub struct Engine<T, S> {
    transport: T,
    store: S,
    key: SigningKey,
    surroundings: Arc<dyn Surroundings>,
    wake: Arc<Wake>,
    ears: Ears,
    session: Session,
    time_due_us: u64,
    /// The venue's last word that signed time was wrong, as it was after the last pull.
    time_reset: Option<Option<i64>>,
    prune_due_us: u64,
    /// How many events go into one push; smaller while the cloud refuses batches.
    window: usize,
    /// The oldest event, if the cloud refused it alone, and how often.
    suspect: Option<(EventId, u32)>,
    /// What the cloud was told although it believes nothing that this device says.
    told: Told,
    /// Most bytes a second; 0 for no limit.
    limit_bytes_s: u64,
    /// How much the current step carried, bytes.
    carried: usize,
}

/// Why a step came to nothing.
enum Trouble {
    Road(SyncError),
    Store(StoreError),
}

impl Trouble {
    /// Whether the cloud is there and only its news can't be had: it refuses the question, or what it sent does not hold.
    fn is_about_news(&self) -> bool {
        match self {
            Self::Road(SyncError::Unbelievable(_) | SyncError::TooLong(_)) => true,
            Self::Road(error) => {
                matches!(error, SyncError::Refused { status: 400..=499, .. })
                    && error.is_a_verdict()
                    && error.code() != Some("device_revoked")
            }
            Self::Store(StoreError::Replica(ReplicaError::Refused(_))) => true,
            Self::Store(_) => false,
        }
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Road(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl From<SyncError> for Trouble {
    fn from(error: SyncError) -> Self {
        Self::Road(error)
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl<T: Transport, S: Store> Engine<T, S> {
    /// Prepares the conversation.
    pub fn new(
        (transport, store): (T, S),
        key: SigningKey,
        surroundings: Arc<dyn Surroundings>,
        wake: Arc<Wake>,
        ears: Ears,
    ) -> Self {
        Self {
            transport,
            store,
            key,
            surroundings,
            wake,
            ears,
            session: Session::default(),
            time_due_us: 0,
            time_reset: None,
            prune_due_us: 0,
            window: PUSH_LIMIT,
            suspect: None,
            told: Told::default(),
            limit_bytes_s: 0,
            carried: 0,
        }
    }

    /// Lets events and changes take no more than this many kilobits a second; 0 for no limit.
    pub fn limited(self, kbit_s: u32) -> Self {
        Self { limit_bytes_s: u64::from(kbit_s) * 125, ..self }
    }

    /// How the link is.
    pub fn link(&self) -> Link {
        self.session.link()
    }

    /// The switch was thrown: nothing is exchanged until it is back.
    pub fn rest(&mut self) {
        (self.ears.link)(Link::Offline, None);
    }

    /// Goes on until dropped.
    pub async fn run(&mut self) {
        loop {
            match self.step().await {
                // Give others their turn: a fast cloud must not starve this task's neighbours.
                Step::Did => tokio::task::yield_now().await,
                Step::WaitUntil(until_us) => {
                    let pause = Duration::from_micros(until_us.saturating_sub(self.surroundings.now().mono_us));
                    // Either way the next step looks at everything again.
                    let _woken_or_due = tokio::time::timeout(pause, self.wake.woken()).await;
                }
            }
        }
    }

    /// Does the next thing.
    pub async fn step(&mut self) -> Step {
        if self.wake.take_link_up() {
            self.session.link_up();
        }
        if self.wake.take_hinted() {
            self.session.hinted();
        }
        let pending = match self.store.with(Replica::pending_count).await {
            Ok(pending) => pending,
            Err(error) => return self.failed(&Trouble::Store(error)),
        };
        let now_us = self.surroundings.now().mono_us;
        let action = self.session.next(now_us, pending);
        if let Action::WaitUntil(until) = action {
            // While offline the session alone says when to try; the rest would fail the same way.
            let online = self.session.link() == Link::Online;
            let due = if online { until.min(self.time_due_us).min(self.prune_due_us) } else { until };
            if !online || due > now_us {
                return Step::WaitUntil(due);
            }
        }
        if now_us >= self.time_due_us
            && let Err(trouble) = self.ask_time().await
        {
            self.time_due_us = self.surroundings.now().mono_us.saturating_add(TIME_AGAIN_US);
            // Only the road's trouble is the link's; a time that can't be believed must not stop the events.
            match trouble {
                Trouble::Road(SyncError::Unbelievable(why)) => tracing::warn!(why, "the signed time was refused"),
                Trouble::Store(error) => tracing::warn!(%error, "the time key can't be read"),
                Trouble::Road(error) => return self.failed(&Trouble::Road(error)),
            }
        }
        self.carried = 0;
        let mut confirm = false;
        let outcome = match action {
            Action::Push => self.push().await.map(|head_only| Outcome::Pushed { head_only }),
            Action::Pull => self.pull().await.map(|(more, told)| {
                confirm = told;
                Outcome::Pulled { more }
            }),
            Action::WaitUntil(_) => {
                self.prune().await;
                return Step::Did;
            }
        };
        match outcome {
            Ok(outcome) => {
                self.pace();
                let did = self.conclude(outcome, None);
                if confirm {
                    self.session.confirm();
                }
                did
            }
            Err(Trouble::Road(error)) if error.code() == Some("replica_ahead") => {
                let did = self.conclude(Outcome::CloudBehind, Some(error.to_string()));
                self.cut_off(error.reset().map(<[u8]>::to_vec)).await;
                did
            }
            Err(Trouble::Road(error))
                if action == Action::Push
                    && error.is_a_verdict()
                    && error.withdrawal().is_none()
                    // While a poison item is being looked for, the pauses stay short.
                    && (self.window == 1 || !error.blames_content()) =>
            {
                tracing::debug!(%error, "the cloud did not take the events");
                if error.code() == Some("device_fenced") {
                    tracing::warn!(
                        "the cloud keeps aside what this device sends, because another copy of it is in use or its card was set back; a manager decides"
                    );
                    self.testify().await;
                }
                self.pace();
                self.conclude(Outcome::NotTaken, Some(error.to_string()))
            }
            Err(trouble) if action == Action::Pull && trouble.is_about_news() => {
                tracing::warn!(%trouble, "what the cloud says about changes can't be taken; events still go up");
                self.pace();
                self.conclude(Outcome::NotTold, Some(trouble.to_string()))
            }
            Err(trouble) => {
                if let Trouble::Road(error) = &trouble
                    && let Some(statement) = error.withdrawal()
                {
                    self.withdrawn(statement.to_vec()).await;
                }
                self.pace();
                self.failed(&trouble)
            }
        }
    }

    /// The cloud does not know the changes that this gate has, and shows the venue's word that their chain was cut: if it
    /// holds, everything is fetched again, while what was known goes on deciding. Without it nobody is set back.
    async fn cut_off(&mut self, statement: Option<Vec<u8>>) {
        let Some(statement) = statement else {
            tracing::warn!("the cloud knows less than this gate: was it restored from a backup?");
            return;
        };
        match self.store.with(move |replica| replica.hear_reset(&statement)).await {
            Ok(true) => {
                tracing::warn!("the cloud was restored from a backup: everything is fetched and offered again");
                self.session.hinted();
            }
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "the cloud's word that it was restored is not believed"),
        }
    }

    /// On a limited road, rests as long as what the step carried takes.
    fn pace(&mut self) {
        if let Some(us) = (self.carried as u64 * 1_000_000).checked_div(self.limit_bytes_s) {
            self.session.pace(self.surroundings.now().mono_us.saturating_add(us));
        }
    }

    /// Notes that a step came to nothing; the session says when to try again.
    fn failed(&mut self, trouble: &Trouble) -> Step {
        let retry_after_s = match trouble {
            Trouble::Road(error) => {
                match error.code() {
                    Some("device_revoked") => tracing::warn!("the cloud says that this device's key was withdrawn"),
                    Some(_) | None => tracing::debug!(%error, "sync step failed"),
                }
                error.retry_after_s()
            }
            Trouble::Store(error) => {
                tracing::warn!(%error, "sync could not use the database");
                None
            }
        };
        self.conclude(Outcome::Failed { retry_after_s }, Some(trouble.to_string()))
    }

    /// Tells the session and whoever watches the link what came of a step, and why it was nothing.
    fn conclude(&mut self, outcome: Outcome, failure: Option<String>) -> Step {
        self.session.done(outcome, self.surroundings.now().mono_us, number(self.surroundings.random()));
        (self.ears.link)(self.session.link(), failure);
        Step::Did
    }

    /// Lets go of events that the cloud acknowledged long ago, a few at a time.
    async fn prune(&mut self) {
        let now_us = self.surroundings.now().mono_us;
        if now_us < self.prune_due_us {
            return;
        }
        match self.store.with(Replica::prune).await {
            Ok(pruned) if pruned.more => {}
            Ok(_) => self.prune_due_us = now_us.saturating_add(PRUNE_EVERY_US),
            Err(error) => {
                tracing::warn!(%error, "old events could not be removed");
                self.prune_due_us = now_us.saturating_add(PRUNE_EVERY_US);
            }
        }
    }

    async fn identity(&self) -> Result<Identity, StoreError> {
        self.store.with(|replica| replica.identity().cloned().ok_or(ReplicaError::NotEnrolled)).await
    }

    async fn ask_time(&mut self) -> Result<(), Trouble> {
        let nonce = self.surroundings.random();
        let venue = self.identity().await?.venue;
        let key = self.store.with(|replica| replica.duty_key(Duty::Time)).await?;
        let asked_us = self.surroundings.now().mono_us;
        let bytes = self.transport.time(venue, &nonce).await?;
        let heard_us = self.surroundings.now().mono_us;
        let time = SignedTime::open(&bytes, &key).map_err(|e| SyncError::Unbelievable(format!("signed time: {e}")))?;
        if time.venue != venue || time.nonce.as_slice() != nonce {
            return Err(SyncError::Unbelievable("signed time: it answers another question".to_owned()).into());
        }
        if heard_us.saturating_sub(asked_us) > TIME_LIMIT_US {
            return Err(SyncError::Unbelievable("signed time: the answer took too long".to_owned()).into());
        }
        self.time_due_us = heard_us.saturating_add(TIME_EVERY_US);
        // Nobody listens any more: the agent is stopping.
        let _stopping = self.ears.signed.send(SignedMoment { ms: time.now_ms, heard_us }).await;
        Ok(())
    }

    /// Pulls once. Says whether there is more, and whether what came must be confirmed.
    async fn pull(&mut self) -> Result<(bool, bool), Trouble> {
        let ((position, head), before_as_of) =
            self.store.with(|replica| Ok((replica.position()?, replica.as_of_ms()?))).await?;
        let reply = self.transport.pull(&Pull { position, head }).await?;
        self.carried = reply.chunks.iter().map(|chunk| chunk.len()).sum();
        let now = self.surroundings.now();
        let more = reply.more;
        let told = self.tells_of_rights(&reply).await?;
        let applied = self.store.with(move |replica| replica.apply(&reply, now)).await;
        // What came before a chunk that is refused stays applied.
        let reset = self.store.with(|replica| replica.time_reset()).await?;
        if self.time_reset.replace(reset).is_some_and(|known| known != reset) {
            tracing::warn!("the venue says that the time it had signed was wrong: it is asked for anew");
            self.time_due_us = 0;
        }
        let applied = applied.inspect_err(|_| self.ears.changed.send_modify(|version| *version += 1))?;
        if more && applied.position == position {
            return Err(SyncError::Unbelievable("it promises more changes and sends none".to_owned()).into());
        }
        if applied.changes > 0 || applied.as_of_ms != before_as_of {
            self.ears.changed.send_modify(|version| *version += 1);
        }
        Ok((more, told && applied.changes > 0))
    }

    /// Whether there is a zone among the changes: then the cloud waits to hear that this gate knows who holds its rights.
    /// Believed only as far as `apply` believes it; a wrong guess costs two small requests.
    async fn tells_of_rights(&self, reply: &PullReply) -> Result<bool, StoreError> {
        if reply.chunks.is_empty() {
            return Ok(false);
        }
        let key = self.store.with(|replica| replica.duty_key(Duty::Settings)).await?;
        Ok(reply
            .chunks
            .iter()
            .filter_map(|bytes| Chunk::open(bytes, &key).ok())
            .any(|chunk| chunk.changes.iter().any(|change| matches!(change, Change::Zone(_)))))
    }

    /// Sends what waits, or shows the journal's head if nothing does, which it then says.
    async fn push(&mut self) -> Result<bool, Trouble> {
        // Whoever is not believed asks with one event whether somebody has looked.
        let window = if self.told.is_something() { 1 } else { self.window };
        let most = self.most_bytes();
        let events = self.store.with(move |replica| replica.pending(window, most)).await?;
        if events.is_empty() {
            return self.show_head().await.map(|()| true);
        }
        let asked = self.ask(&events).await;
        if asked.is_err() && mutant::active(Mutant::BelieveOwnPush) {
            for event in &events {
                let (id, now) = (event.id, self.surroundings.now());
                self.store.with(move |replica| replica.quarantine(id, "sent", now)).await?;
            }
        }
        match asked {
            Ok(reply) => {
                self.note(&events, reply).await?;
                self.told = Told::default();
                self.window = (self.window * 2).min(PUSH_LIMIT);
                self.suspect = None;
                Ok(false)
            }
            // Also on a road so slow that a whole page is never through in time.
            Err(Trouble::Road(error))
                if events.len() > 1 && (error.blames_content() || matches!(error, SyncError::Unreachable(_))) =>
            {
                self.window = events.len() / 2;
                Err(error.into())
            }
            Err(Trouble::Road(error)) if error.blames_content() => self.suspect_of(events, error).await.map(|()| false),
            Err(other) => Err(other),
        }
    }

    /// Most bytes of one push.
    fn most_bytes(&self) -> usize {
        match self.limit_bytes_s {
            0 => PUSH_BYTES,
            limit => usize::try_from(limit * LIMITED_PUSH_MS / 1000)
                .unwrap_or(PUSH_BYTES)
                .clamp(LIMITED_PUSH_BYTES, PUSH_BYTES),
        }
    }

    /// Shows the cloud the journal's head and nothing else; its receipts tell what it holds.
    async fn show_head(&mut self) -> Result<(), Trouble> {
        let reply = self.ask(&[]).await?;
        let now = self.surroundings.now();
        self.store.with(move |replica| replica.acknowledge(&[], &reply, now)).await?;
        Ok(())
    }

    /// The cloud refuses one event alone. After some tries the next one is sent by itself: if that passes, the first is
    /// poison and is put aside; if not, the server is in trouble and everything stays where it is.
    async fn suspect_of(&mut self, events: Vec<PendingEvent>, error: SyncError) -> Result<(), Trouble> {
        let Some(first) = events.into_iter().next() else { return Err(error.into()) };
        let tries = match self.suspect {
            Some((id, tries)) if id == first.id => tries + 1,
            Some(_) | None => 1,
        };
        self.suspect = Some((first.id, tries));
        if tries < POISON_TRIES {
            return Err(error.into());
        }
        let next = self.store.with(|replica| replica.pending(2, PUSH_BYTES)).await?;
        let others: Vec<_> = next.into_iter().filter(|event| event.id != first.id).take(1).collect();
        if others.is_empty() {
            return Err(error.into());
        }
        // The next one passes: the first is what the cloud can't take. It is put aside before the answer is noted, because
        // receipts can't reach beyond it.
        let reply = self.ask(&others).await?;
        let (now, reason) = (self.surroundings.now(), error.to_string());
        tracing::warn!(event.id = %first.id, reason, "the cloud can't take an event; it is kept in quarantine");
        self.store.with(move |replica| replica.quarantine(first.id, &reason, now)).await?;
        self.suspect = None;
        self.note(&others, reply).await
    }

    /// Sends events and gives the answer, not yet noted.
    async fn ask(&mut self, events: &[PendingEvent]) -> Result<PushReply, Trouble> {
        let venue = self.identity().await?.venue;
        let head = self.store.with(|replica| replica.journal_head().ok_or(ReplicaError::NotEnrolled)).await?;
        let head = JournalHead { venue, head }.sign(&self.key);
        self.carried = events.iter().map(|event| event.bytes.len()).sum();
        let events = events.iter().map(|event| ByteBuf::from(event.bytes.clone())).collect();
        Ok(self.transport.push(&Push { head: ByteBuf::from(head), events }).await?)
    }

    /// Stores what became of events.
    async fn note(&mut self, events: &[PendingEvent], reply: PushReply) -> Result<(), Trouble> {
        let sent: Vec<EventId> = events.iter().map(|event| event.id).collect();
        let now = self.surroundings.now();
        let done = self.store.with(move |replica| replica.acknowledge(&sent, &reply, now)).await?;
        if done.confirmed + done.parked == 0 {
            return Err(SyncError::Unbelievable(
                "the answer confirms none of the events: it belongs to another request".to_owned(),
            )
            .into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
