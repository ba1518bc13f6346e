//! Deliberate faults, each at the place where an honest programmer could make it, to prove that the proofs can fail.
//!
//! They exist only with the feature `mutants`, which nothing but the test programs turns on: without it
//! [`active`] is `false` at compile time and the programs of the product refuse to be built with it ([`COMPILED_IN`]).

/// Whether this build can switch faults on. The programs of the product assert that it can't.
pub const COMPILED_IN: bool = cfg!(feature = "mutants");

/// Who must notice a fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Catcher {
    /// The simulation.
    Simulate,
    /// The power cuts.
    Powercut,
}

macro_rules! mutants {
    ($($(#[doc = $what:literal])+ $name:ident = $text:literal by $catcher:ident,)+) => {
        /// A fault that can be switched on.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub enum Mutant { $($(#[doc = $what])+ $name,)+ }

        impl Mutant {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Its name on the command line.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// What it does wrong, in a sentence.
            pub const fn what(self) -> &'static str {
                match self { $(Self::$name => concat!($($what),+),)+ }
            }

            /// Who must catch it.
            pub const fn catcher(self) -> Catcher {
                match self { $(Self::$name => Catcher::$catcher,)+ }
            }
        }
    };
}

mutants! {
    /// The relay is asked to open before the admission is stored.
    RelayBeforeCommit = "relay-before-commit" by Simulate,
    /// The gate opens although the admission could not be stored.
    OpenUnrecorded = "open-unrecorded" by Simulate,
    /// After a restart a pulse is asked for again under a new name, so that gate-io can't refuse the repeat.
    RetryWithoutId = "retry-without-id" by Simulate,
    /// The heartbeat comes from a timer of its own, not from the loop that decides.
    WatchdogFedByTimer = "watchdog-fed-by-timer" by Simulate,
    /// NTP raises the persisted time floor.
    FloorFromNtp = "floor-from-ntp" by Simulate,
    /// A clock that steps back takes the events' time with it.
    TimeGoesBack = "time-goes-back" by Simulate,
    /// An event that the cloud could not take is deleted.
    DeleteOnRefusal = "delete-on-4xx" by Simulate,
    /// Everything that was sent leaves the outbox, answered or not.
    BelieveOwnPush = "believe-own-push" by Simulate,
    /// A cloud that lost events is not given them again.
    NeverRefill = "never-refill" by Simulate,
    /// The next event does not name the one before it.
    UnlinkedChain = "unlinked-chain" by Simulate,
    /// Use marks merge by union: an annulment is forgotten.
    AnnulByUnion = "annul-by-union" by Simulate,
    /// An exit gives its place back when it is authorised, not when it is made.
    ExitsCountAtOnce = "exits-count-at-once" by Simulate,
    /// A recount sets the number and forgets what passed beside it.
    RecountAsAbsolute = "recount-as-absolute" by Simulate,
    /// A daily reset is dated when somebody gets round to it, not at its hour.
    ResetDatedNow = "reset-dated-now" by Simulate,
    /// A daily reset that was made is made again.
    ResetAgain = "reset-again" by Simulate,
    /// Whoever is let in to make up for an admission takes a place, and the first one keeps its own.
    PlaceKept = "place-kept" by Simulate,
    /// An event that came twice counts twice.
    CountTwice = "count-twice" by Simulate,
    /// An event that can't be applied is dropped, not parked.
    DropPoison = "drop-poison" by Simulate,
    /// A second history of one device replaces nothing and tells nobody.
    SilentFork = "silent-fork" by Simulate,
    /// Nobody asks gate-io what became of the openings before a restart.
    ForgetUnsettled = "forget-unsettled" by Simulate,
    /// A pulse of whose end nothing was heard in time is called lost without asking.
    LostUnasked = "lost-unasked" by Simulate,
    /// Whoever was perhaps not let in is judged before that is stored.
    JudgeTooSoon = "judge-too-soon" by Simulate,
    /// "Nobody knows whether it opened" gives the use back.
    UnknownIsNotDone = "unknown-is-not-done" by Simulate,
    /// A pass whose opening is unknown may come again without end.
    RepresentForever = "represent-forever" by Simulate,
    /// Entries are let in without a capacity right.
    IgnoreRights = "ignore-rights" by Simulate,
    /// Entries at this gate spend no right.
    RightsNotSpent = "rights-not-spent" by Simulate,
    /// An annulled admission gives its place back twice.
    RefundTwice = "refund-twice" by Simulate,
    /// A revoked pass is good as long as its signature is.
    IgnoreRevocation = "ignore-revocation" by Simulate,
    /// Changes are applied although some before them are missing.
    SkipChunks = "skip-chunks" by Simulate,
    /// Uses that other gates report are not kept.
    ForgetOthersUses = "forget-others-uses" by Simulate,
    /// An own use that comes back from the cloud is written beside the one that is there.
    EchoCounts = "echo-counts" by Simulate,
    /// A device that was withdrawn goes on deciding.
    WithdrawnDecides = "withdrawn-decides" by Simulate,
    /// An exit is not counted.
    LoseExits = "lose-exits" by Simulate,
    /// After a failure nobody tries again until somebody restarts the gate.
    NeverRetry = "never-retry" by Simulate,
    /// Events are removed before the cloud acknowledged them.
    PruneUnsent = "prune-unsent" by Simulate,
    /// The database is told that the newest commits may be lost.
    SynchronousNormal = "synchronous-normal" by Powercut,
    /// The event and the use it charges are stored one after the other.
    TwoTransactions = "two-transactions" by Powercut,
    /// A damaged database is taken as it is.
    NoCheckAtStart = "no-check-at-start" by Powercut,
    /// A damaged database is replaced by an empty one.
    RecreateDamaged = "recreate-damaged" by Powercut,
}

impl std::str::FromStr for Mutant {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL.iter().copied().find(|mutant| mutant.name() == name).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|mutant| mutant.name()).collect();
            format!("no deliberate fault is called {name}; there are {}", names.join(", "))
        })
    }
}

#[cfg(feature = "mutants")]
static CURRENT: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(u8::MAX);

/// Switches one fault on, or all off.
#[cfg(feature = "mutants")]
pub fn switch(mutant: Option<Mutant>) {
    CURRENT.store(mutant.map_or(u8::MAX, |mutant| mutant as u8), std::sync::atomic::Ordering::Relaxed);
}

/// Whether this fault is switched on.
#[cfg(feature = "mutants")]
pub fn active(mutant: Mutant) -> bool {
    CURRENT.load(std::sync::atomic::Ordering::Relaxed) == mutant as u8
}

/// Whether this fault is switched on: never, in this build.
#[cfg(not(feature = "mutants"))]
#[inline(always)]
pub const fn active(_mutant: Mutant) -> bool {
    false
}
