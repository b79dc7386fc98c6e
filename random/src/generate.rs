//! A program from a seed: by chance, within a set of features, and so that what the crate documents as the end
//! of the process does not happen.
//!
//! Excluded by construction: waits while a stack unwinds (the interpreter skips them), a thousand swallowed
//! cancellations (a program has less fuel), and waits for ever where a waker is kept (the run would rightly go
//! on for ever).

use fastrand::Rng;

use crate::features::Feature::{self, *};
use crate::features::Features;
use crate::program::{
    Block, Era, HandEnd, Handle, Op, Part, Payload, Program, RunSetup, Spawn, Stack, Wake, Waker,
    Watching, What,
};

/// The program of a seed.
pub(crate) fn program(seed: u64, allowed: Features) -> Program {
    let mut random = Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5eed);
    let mut features = allowed.some(&mut random);
    let rare = [
        (StuckCleanup, 5),
        (StuckRoot, 20),
        (Deadlocks, 4),
        (Threads, 4),
        (Offload, 2),
        (RealClock, 30),
        (ManyLimits, 20),
        (Lends, 2),
        (NoStack, 2),
        (OnThread, 6),
        (Twice, 4),
    ];
    for (feature, one_in) in rare {
        if random.u32(..one_in) != 0 {
            features = features.without(feature);
        }
    }
    let limited = !features.has(Deadlocks);
    let stuck = features.has(StuckCleanup) || features.has(StuckRoot);
    if stuck || !limited {
        // With a waker outside, a run waits for ever, and rightly so.
        for keeps in
            [KeptWakers, Threads, AsyncScopes, OwnCombinators, HandPolls, Sockets, RealClock]
        {
            features = features.without(keeps);
        }
    }
    if features.has(Twice) {
        for chance in [Threads, Offload, Sockets, RealClock, Lends] {
            features = features.without(chance);
        }
    }
    let size = *random.choice(&[6, 12, 25, 50]).expect("not empty");
    let mut generator = Generator { random, features, limited, left: size };
    let parts = generator.parts();
    // Wakes that come from one runtime to another come to it when it next polls, which goes by the machine's clock.
    let keeps = parts.iter().any(|part| matches!(part, Part::Hand { end: HandEnd::Keep, .. }));
    let (on_thread, twice) = (features.has(OnThread), features.has(Twice) && !keeps);
    let mut program = Program { limited, on_thread, twice, parts };
    program.tidy();
    program
}

struct Generator {
    random: Rng,
    features: Features,
    limited: bool,
    /// How many more operations.
    left: usize,
}

/// Where an operation stands.
#[derive(Clone, Copy, Default)]
struct Place {
    depth: u8,
    /// In a destructor, or a callback.
    drop: bool,
    cleanup: bool,
    /// If this never ends, the root does not.
    root: bool,
    /// Whatever resumes a generator by hand, the root perhaps, waits for this.
    held: bool,
}

impl Place {
    fn deeper(self) -> Place {
        Place { depth: self.depth + 1, ..self }
    }

    fn in_drop(self) -> Place {
        Place { drop: true, ..self.deeper() }
    }

    fn in_task(self) -> Place {
        Place { depth: self.depth + 1, ..Place::default() }
    }
}

impl Generator {
    fn has(&self, feature: Feature) -> bool {
        self.features.has(feature)
    }

    fn chance(&mut self, one_in: u32) -> bool {
        self.random.u32(..one_in) == 0
    }

    fn number(&mut self) -> u8 {
        self.random.u8(..8)
    }

    fn ms(&mut self) -> u8 {
        *self.random.choice(&[0, 0, 1, 1, 2, 3, 5, 10]).expect("not empty")
    }

    fn parts(&mut self) -> Vec<Part> {
        let count = if self.has(SeveralRuns) { self.random.usize(1..4) } else { 1 };
        let mut parts = Vec::new();
        for _ in 0..count {
            self.left = self.left.max(4);
            let by_hand = self.has(Runtimes) && self.chance(2);
            if by_hand {
                parts.push(self.by_hand());
                if self.has(RuntimesInRuns) || self.chance(2) {
                    parts.push(self.run());
                }
            } else {
                parts.push(self.run());
            }
            if self.has(SeveralRuns) && self.chance(3) {
                let block = self.block(Place { drop: true, depth: 2, ..Place::default() });
                parts.push(Part::Outside(block));
            }
        }
        parts
    }

    fn run(&mut self) -> Part {
        let setup = self.setup();
        let body = self.block(Place { root: true, ..Place::default() });
        Part::Run { setup, body }
    }

    fn by_hand(&mut self) -> Part {
        let setup = self.setup();
        let enter = (0..self.random.u32(1..4)).map(|_| self.spawn_op(Place::default())).collect();
        let end = match self.random.u32(..3) {
            0 if self.has(RuntimesUnwinding) => HandEnd::DropWhileUnwinding,
            1 => HandEnd::Keep,
            _ => HandEnd::Drop,
        };
        Part::Hand { setup, enter, turns: self.random.u8(..12), end }
    }

    fn setup(&mut self) -> RunSetup {
        let mut watching = vec![Watching::Nothing];
        if self.has(Observers) {
            let at = self.random.u8(..40);
            watching.extend([Watching::Counts, Watching::PanicsAt(at), Watching::Misbehaves]);
        }
        if self.has(Look) {
            watching.push(Watching::Draws);
        }
        if self.has(ObserverPayloads) {
            watching.push(Watching::PanicsWith(self.random.u8(..40)));
        }
        if self.has(WakingObservers) {
            let every = self.random.u8(1..20);
            watching.extend([Watching::Wakes, Watching::Wakes, Watching::WakesOften(every)]);
        }
        RunSetup {
            seed: self.random.bool().then(|| self.random.u8(..)),
            real_clock: self.has(RealClock),
            watchdog: self.chance(8),
            observer: *self.random.choice(&watching).expect("not empty"),
            clear: self.random.bool(),
            settle: self.limited && !self.has(RealClock) && self.random.bool(),
        }
    }

    fn block(&mut self, place: Place) -> Block {
        let most = if place.depth == 0 { 12 } else { 4 };
        let count = self.random.usize(if place.depth == 0 { 1 } else { 0 }..=most);
        let mut block = Block::new();
        for _ in 0..count {
            if self.left == 0 {
                break;
            }
            self.left -= 1;
            let op = self.op(place);
            let is_generator = matches!(op, Op::NewGenerator(_));
            block.push(op);
            if is_generator && self.random.bool() {
                // One that has begun is the one to take elsewhere.
                block.push(Op::Resume { generator: u8::MAX, follow: false });
            }
        }
        block
    }

    /// What a destructor runs.
    fn drops(&mut self, place: Place) -> Block {
        self.block(place.in_drop())
    }

    fn op(&mut self, place: Place) -> Op {
        loop {
            let found = if place.drop { self.op_of_drop(place) } else { self.any_op(place) };
            if let Some(op) = found {
                return op;
            }
        }
    }

    /// One attempt: `None` where the features do not allow it.
    fn op_of_drop(&mut self, place: Place) -> Option<Op> {
        let op = match self.random.u32(..14) {
            0 if self.has(PanickingDrops) => Op::Panic(self.payload()),
            1 | 2 if self.has(WaitingDrops) => Op::Wait(self.what(place)),
            3 if self.has(WaitingDrops) => Op::Yield,
            4 if self.has(SpawningDrops) && place.depth < 4 => self.spawn_op(place),
            5 if self.has(Cancel) => Op::Cancel(self.number()),
            6 if self.has(KeptWakers) => self.wake(),
            7 | 8 if self.has(GeneratorsInDrops) => self.generator_op(place)?,
            9 if self.has(Sync) => Op::SetEvent(true),
            10 if self.has(Sync) => Op::TrySend(self.number()),
            11 => Op::DropHandle(self.number()),
            12 if self.has(HandPolls) => Op::DropOperation(self.number()),
            12 if self.has(Look) => Op::Look,
            13 if self.has(RuntimesInRuns) => Op::DropRuntime(self.number()),
            _ => return None.or_else(|| self.chance(4).then_some(Op::SetEvent(true))),
        };
        Some(op)
    }

    fn any_op(&mut self, place: Place) -> Option<Op> {
        let nests = place.depth < 5;
        let deeper = place.deeper();
        let mut roll = self.random.u32(..49);
        if roll < 15 && self.random.bool() {
            roll = self.random.u32(15..49); // What has no feature of its own would else be most of it.
        }
        let op = match roll {
            0..3 => Op::Yield,
            3..9 => Op::Wait(self.what(place)),
            9..15 if nests => self.spawn_op(place),
            15..17 => Op::Join(self.number()),
            17..19 if self.has(Cancel) => Op::Cancel(self.number()),
            19 => Op::DropHandle(self.number()),
            20 if self.has(OnDone) => Op::OnDone(self.number(), self.drops(place)),
            21 | 22 if nests && self.has(Timeouts) => Op::Timeout(self.ms(), self.block(deeper)),
            23 if self.has(ManyLimits) && self.chance(3) => Op::ManyLimits(1100),
            24 | 25 if nests && self.has(Panics) => {
                Op::Catch { resume: self.random.bool(), body: self.block(deeper) }
            }
            26 if nests && self.has(Finally) => {
                let body = self.block(deeper);
                let mut cleanup = self.block(Place { cleanup: true, ..deeper });
                let may = if place.root { StuckRoot } else { StuckCleanup };
                if self.has(may) && !place.held && self.random.bool() {
                    cleanup.push(Op::Wait(What::Stuck { root: place.root }));
                }
                Op::Finally { body, cleanup }
            }
            27 | 28 if nests && self.has(Guards) => {
                let drops = self.drops(place);
                Op::Guard { drops, body: self.block(deeper) }
            }
            29 if self.has(Panics) => Op::Panic(self.payload()),
            30 if nests && self.has(Scopes) => {
                let children = (0..self.random.u32(1..3)).map(|_| self.block(deeper)).collect();
                Op::Scope { children, handles: self.handle(), body: self.block(deeper) }
            }
            31 if nests && self.has(AsyncScopes) => {
                let children = (0..self.random.u32(1..3)).map(|_| self.block(deeper)).collect();
                Op::AsyncScope { children, body: self.block(deeper) }
            }
            32 if nests && self.has(Groups) => {
                let children = (0..self.random.u32(1..3)).map(|_| self.spawn(place)).collect();
                let fails = self.chance(3);
                Op::Group { children, fails, body: self.block(deeper) }
            }
            33 if nests && self.has(Groups) => {
                let children =
                    (0..self.random.u32(1..4)).map(|_| self.spawn(place.in_task())).collect();
                let (size, cancel, join) =
                    (self.random.u8(1..3), self.random.bool(), self.random.bool());
                Op::Pool { size, children, cancel, join }
            }
            34 if nests => Op::Switch(self.block(deeper)),
            35 if self.has(Locals) => Op::Local(self.drops(place)),
            36 if self.has(Sync) => match self.random.u32(..4) {
                0 => Op::SetEvent(self.random.bool()),
                1 | 2 => Op::TrySend(self.number()),
                _ => Op::DropChannel(self.number()),
            },
            37 | 38 if self.has(KeptWakers) => self.wake(),
            39 if self.has(HandPolls) => match self.random.u32(..4) {
                0 => Op::DropOperation(self.number()),
                _ => Op::Poll {
                    what: self.what(place),
                    waker: self.waker(),
                    keep: self.random.bool(),
                },
            },
            40 | 41 if self.has(Generators) => self.generator_op(place)?,
            42 if nests && self.has(Threads) => Op::Remote {
                era: self.era(),
                body: self.block(place.in_task()),
                cancel: self.random.bool(),
                join: self.random.bool(),
            },
            43 if self.has(RuntimesInRuns) => Op::DropRuntime(self.number()),
            44 if self.has(Look) => Op::Look,
            45 if self.has(Runtimes) => Op::TurnRuntime(self.number()),
            46 if nests && self.has(Runtimes) => {
                Op::SpawnInRuntime(self.number(), self.block(place.in_task()))
            }
            47 if self.has(Sync) => Op::NotifyCondvar(self.random.bool()),
            _ => return None,
        };
        Some(op)
    }

    fn generator_op(&mut self, place: Place) -> Option<Op> {
        Some(match self.random.u32(..12) {
            0..3 if place.depth < 5 => {
                let place = Place { held: true, drop: false, ..place.in_task() };
                Op::NewGenerator(self.block(place))
            }
            3..9 => {
                Op::Resume { generator: self.number(), follow: !place.drop && self.random.bool() }
            }
            9 if !place.drop => Op::CloseGenerator(self.number()),
            10 if !place.drop => Op::ThrowInto(self.number()),
            11 => Op::DropGenerator(self.number()),
            _ => return None,
        })
    }

    fn wake(&mut self) -> Op {
        let how = [Wake::ByRef, Wake::ByRef, Wake::ByValue, Wake::Drop, Wake::Clone];
        Op::Wake {
            waker: self.number(),
            how: *self.random.choice(&how).expect("not empty"),
            thread: self.has(Threads) && self.chance(3),
        }
    }

    fn payload(&mut self) -> Payload {
        match self.random.u32(..4) {
            0 => Payload::Text,
            1 | 2 if self.has(BadPayloads) => Payload::Bad(self.random.u8(..3)),
            _ => Payload::Token,
        }
    }

    fn era(&mut self) -> Era {
        *self.random.choice(&[Era::Generator, Era::Green, Era::Future]).expect("not empty")
    }

    fn handle(&mut self) -> Handle {
        let all =
            [Handle::Keep, Handle::Keep, Handle::Keep, Handle::Drop, Handle::Join, Handle::Cancel];
        match *self.random.choice(&all).expect("not empty") {
            Handle::Cancel if !self.has(Cancel) => Handle::Keep,
            handle => handle,
        }
    }

    fn spawn_op(&mut self, place: Place) -> Op {
        Op::Spawn(self.spawn(place.in_task()))
    }

    fn spawn(&mut self, place: Place) -> Spawn {
        let stack = match self.random.u32(..8) {
            0 => Stack::Small,
            1 if self.has(NoStack) => Stack::TooLarge,
            _ => Stack::OfTheRun,
        };
        let drops = self.has(Guards) && self.chance(4);
        let captured = if drops { self.drops(place) } else { Block::new() };
        let result = self.has(Results) && self.chance(4);
        let result = if result { self.drops(place) } else { Block::new() };
        let (era, handle) = (self.era(), self.handle());
        Spawn {
            era,
            handle,
            name: self.chance(4),
            stack,
            captured,
            body: self.block(place.deeper()),
            result,
        }
    }

    fn waker(&mut self) -> Waker {
        match self.random.u32(..9) {
            0 => Waker::Nothing,
            1 | 2 if self.has(PanickingWakers) => Waker::Panics,
            3 if self.has(PanickingWakers) => Waker::DropPanics,
            4 if self.has(WaitingWakers) => Waker::Waits,
            5 if self.has(WaitingWakers) => Waker::DropWaits,
            6 if self.has(WaitingWakers) => Waker::Spawns,
            7 if self.has(Cancel) => Waker::Cancels(self.number()),
            _ => Waker::Passes,
        }
    }

    fn what(&mut self, place: Place) -> What {
        let what = self.part(place);
        // In cleanup, a wait without a limit would never end, where nothing else ends it.
        match what.is_endless() && (self.limited || place.cleanup || place.drop) {
            true => What::Limit(50, Box::new(what)),
            false => what,
        }
    }

    /// A part of an operation, which needs no limit where the whole has one.
    fn part(&mut self, place: Place) -> What {
        loop {
            if let Some(what) = self.any_what(place) {
                return what;
            }
        }
    }

    fn any_what(&mut self, place: Place) -> Option<What> {
        let nests = place.depth < 6;
        let mut roll = self.random.u32(..31);
        if roll < 9 && self.random.bool() {
            roll = self.random.u32(9..31);
        }
        Some(match roll {
            0..2 => What::Ready,
            2..4 => What::Never { keep: self.has(KeptWakers) },
            4..8 => What::Sleep(self.ms()),
            8 => What::Turn,
            9 | 10 if self.has(Sync) => What::Receive(self.number()),
            11 if self.has(Sync) => What::Send(self.number()),
            12 | 13 if self.has(Sync) => What::Lock(self.number(), self.ms()),
            14 if self.has(Sync) => What::Permit(self.ms()),
            15 if self.has(Sync) => What::Event,
            16 => What::Task(self.number()),
            17 if self.has(Offload) => What::Offload { panics: self.has(Panics) && self.chance(4) },
            18 if self.has(Sockets) => What::Read(self.number()),
            19 if self.has(Sockets) => What::Write(self.number()),
            20 if nests && self.has(Combinators) => {
                let (a, b) = (self.part(place.deeper()), self.part(place.deeper()));
                What::Select(Box::new(a), Box::new(b))
            }
            21 if nests && self.has(Combinators) => {
                What::Limit(self.ms(), Box::new(self.part(place.deeper())))
            }
            22 if nests && self.has(OwnCombinators) => {
                let parts = (0..self.random.u32(1..4)).map(|_| self.part(place.deeper())).collect();
                What::First(self.waker(), parts)
            }
            23 | 24 if nests && !place.drop && self.has(InPolls) => {
                let (pend, wakes) = (self.random.bool(), self.random.bool());
                What::InPoll { pend, wakes, body: self.body_in_poll(place) }
            }
            25 if nests && !place.drop && self.has(Lends) => What::Lends(self.body_in_poll(place)),
            26 => What::Gather(self.random.u8(..4)),
            27 => What::Race(self.random.u8(..4)),
            28 => What::Completed(self.random.u8(..4)),
            29 if self.has(Sync) => What::Condvar,
            30 if self.has(Sync) => What::Barrier,
            _ => return None,
        })
    }

    /// What runs in the middle of a poll often waits there.
    fn body_in_poll(&mut self, place: Place) -> Block {
        let mut body = self.block(place.deeper());
        if self.random.bool() {
            body.insert(0, Op::Wait(What::Ready));
        }
        if self.has(StuckCleanup) && !place.root && !place.held && self.chance(3) {
            let cleanup = vec![Op::Wait(What::Stuck { root: false })];
            body.push(Op::Finally { body: Block::new(), cleanup });
        }
        body
    }
}
