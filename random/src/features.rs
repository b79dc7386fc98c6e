//! What may occur in programs: named features, each of which can be switched off.

/// A set of features.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Features(u64);

macro_rules! features {
    ($($name:ident $text:literal $says:literal,)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Feature { $($name),* }

        /// Name and meaning of each.
        pub(crate) const ALL: &[(Feature, &str, &str)] = &[$((Feature::$name, $text, $says)),*];
    };
}

features! {
    Cancel "cancel" "tasks cancel tasks",
    Timeouts "timeouts" "time limits on blocks of code",
    ManyLimits "many-limits" "a thousand time limits in one task",
    Panics "panics" "code that panics, catch_unwind that swallows or resumes",
    BadPayloads "bad-payloads" "payloads of panics whose destructors panic",
    Guards "guards" "destructors that run code",
    PanickingDrops "panicking-drops" "destructors that panic",
    WaitingDrops "waiting-drops" "destructors that wait (not while a stack unwinds)",
    SpawningDrops "spawning-drops" "destructors that spawn",
    GeneratorsInDrops "generators-in-drops" "destructors that resume generators, also while a stack unwinds",
    Results "results" "results whose destructors run code",
    OnDone "on-done" "callbacks at the end of tasks",
    Finally "finally" "cleanup that waits",
    StuckCleanup "stuck-cleanup" "cleanup that never ends, of tasks",
    StuckRoot "stuck-root" "cleanup that never ends, of the root",
    Sync "sync" "channels, locks, semaphores, events",
    Offload "offload" "work on other threads",
    Sockets "sockets" "pairs of sockets",
    Combinators "combinators" "select, timeout on operations",
    OwnCombinators "own-combinators" "operations polled with wakers of a combinator of the program's own",
    InPolls "in-polls" "code that runs in the middle of a poll",
    Lends "lends" "threads that borrow the waker of a poll",
    KeptWakers "kept-wakers" "wakers that are kept and used anywhere",
    HandPolls "hand-polls" "operations polled by hand",
    PanickingWakers "panicking-wakers" "wakers whose wake or drop panics",
    WaitingWakers "waiting-wakers" "wakers whose wake or drop waits or spawns",
    Observers "observers" "observers that count or misbehave",
    ObserverPayloads "observer-payloads" "observers that panic with a payload that has to be dropped",
    WakingObservers "waking-observers" "observers that wake tasks",
    Generators "generators" "generators that are resumed by hand",
    Scopes "scopes" "green::scope",
    AsyncScopes "async-scopes" "future::scope",
    Groups "groups" "Group and Pool",
    Locals "locals" "task-local values",
    NoStack "no-stack" "tasks for whose stacks there is no room",
    Threads "threads" "spawns, cancels and wakes from other threads",
    Runtimes "runtimes" "runtimes that are driven by hand",
    RuntimesUnwinding "runtimes-unwinding" "runtimes that are dropped while the thread unwinds",
    RuntimesInRuns "runtimes-in-runs" "runtimes that are dropped inside of a run",
    Deadlocks "deadlocks" "programs whose waits have no limits",
    RealClock "real-clock" "runs by the machine's clock",
    Look "look" "tables of tasks, counts and timelines are drawn",
    OnThread "on-thread" "programs on a thread of their own, which ends with them",
    Twice "twice" "programs that run twice and have to take the same course",
    SeveralRuns "several-runs" "several runs in one program",
}

impl Features {
    pub(crate) fn all() -> Features {
        Features((1 << ALL.len()) - 1)
    }

    pub(crate) fn has(self, feature: Feature) -> bool {
        self.0 & 1 << feature as u32 != 0
    }

    pub(crate) fn without(self, feature: Feature) -> Features {
        Features(self.0 & !(1 << feature as u32))
    }

    /// Those of a list of names, with commas in between.
    pub(crate) fn named(names: &str) -> Result<Features, String> {
        let mut set = 0;
        for name in names.split(',').filter(|name| !name.is_empty()) {
            let found = ALL.iter().find(|(_, text, _)| *text == name);
            let (feature, ..) =
                found.ok_or_else(|| format!("no feature is named {name:?}: see --features"))?;
            set |= 1 << *feature as u32;
        }
        Ok(Features(set))
    }

    pub(crate) fn minus(self, other: Features) -> Features {
        Features(self.0 & !other.0)
    }

    /// Some of them, so that programs differ in what they are about.
    pub(crate) fn some(self, random: &mut fastrand::Rng) -> Features {
        let chosen = random.u64(..) | if random.bool() { random.u64(..) } else { 0 };
        Features(self.0 & chosen)
    }
}
