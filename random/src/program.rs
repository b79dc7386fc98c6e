//! What a random program is made of: a small syntax tree, and how it prints.
//!
//! Operations name tasks, generators, channels and wakers by number, and a number is taken modulo how many
//! there are when the operation runs. So each part of a program can be left out, and the rest still means
//! something: that is what makes shrinking simple.

use std::fmt;

/// A whole program: its parts run one after the other on one thread.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    /// Each wait has a time limit, so that a deadlock is a fault of the crate's.
    pub(crate) limited: bool,
    /// On a thread of its own, which ends with it.
    pub(crate) on_thread: bool,
    /// It has no source of chance, so that it takes the same course twice.
    pub(crate) twice: bool,
    pub(crate) parts: Vec<Part>,
}

pub(crate) type Block = Vec<Op>;

#[derive(Clone, Debug)]
pub(crate) enum Part {
    /// `Builder::try_run`.
    Run { setup: RunSetup, body: Block },
    /// A `Runtime` that is driven by hand.
    Hand { setup: RunSetup, enter: Block, turns: u8, end: HandEnd },
    /// Code outside of any run.
    Outside(Block),
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct RunSetup {
    pub(crate) seed: Option<u8>,
    pub(crate) real_clock: bool,
    pub(crate) watchdog: bool,
    pub(crate) observer: Watching,
    /// Handles, generators and operations are dropped by the root, and not behind the run.
    pub(crate) clear: bool,
    /// The root waits until no other task is left, and looks at `stats`.
    pub(crate) settle: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Watching {
    #[default]
    Nothing,
    Counts,
    /// A `Timeline`, which is drawn at the end.
    Draws,
    /// Wakes by all wakers that are kept, when a task is cancelled.
    Wakes,
    /// The same at each so-and-so-many-th event.
    WakesOften(u8),
    /// Panics at so many events.
    PanicsAt(u8),
    /// The same, with a payload that has to be dropped.
    PanicsWith(u8),
    /// Tries to wait and to spawn, which panics.
    Misbehaves,
}

/// What becomes of a runtime that is driven by hand.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum HandEnd {
    Drop,
    DropWhileUnwinding,
    /// For `Op::DropRuntime`, or the end of the program.
    Keep,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Era {
    Generator,
    Green,
    Future,
}

/// What becomes of a task's handle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Handle {
    Keep,
    Drop,
    Join,
    Cancel,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Stack {
    OfTheRun,
    Small,
    /// There is no room for it.
    TooLarge,
}

#[derive(Clone, Debug)]
pub(crate) struct Spawn {
    pub(crate) era: Era,
    pub(crate) handle: Handle,
    pub(crate) name: bool,
    pub(crate) stack: Stack,
    /// Run by a destructor of what the body has captured.
    pub(crate) captured: Block,
    pub(crate) body: Block,
    /// Run by the destructor of the result.
    pub(crate) result: Block,
}

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Yield,
    Wait(What),
    Spawn(Spawn),
    Join(u8),
    Cancel(u8),
    DropHandle(u8),
    OnDone(u8, Block),
    Timeout(u8, Block),
    /// So many time limits, each of them obeyed by code that catches panics.
    ManyLimits(u16),
    Catch {
        resume: bool,
        body: Block,
    },
    Finally {
        body: Block,
        cleanup: Block,
    },
    /// The destructor of a value runs `drops`, when the body has ended.
    Guard {
        drops: Block,
        body: Block,
    },
    Panic(Payload),
    Scope {
        children: Vec<Block>,
        handles: Handle,
        body: Block,
    },
    AsyncScope {
        children: Vec<Block>,
        body: Block,
    },
    Group {
        children: Vec<Spawn>,
        fails: bool,
        body: Block,
    },
    Pool {
        size: u8,
        children: Vec<Spawn>,
        cancel: bool,
        join: bool,
    },
    /// In a task of green or generator, runs the body as async code; and the other way round.
    Switch(Block),
    /// A task-local value whose destructor runs the block.
    Local(Block),
    SetEvent(bool),
    TrySend(u8),
    DropChannel(u8),
    /// By a waker that is kept.
    Wake {
        waker: u8,
        how: Wake,
        thread: bool,
    },
    /// Polls an operation once by hand with a waker of the program's own.
    Poll {
        what: What,
        waker: Waker,
        keep: bool,
    },
    DropOperation(u8),
    NewGenerator(Block),
    Resume {
        generator: u8,
        follow: bool,
    },
    CloseGenerator(u8),
    ThrowInto(u8),
    DropGenerator(u8),
    Remote {
        era: Era,
        body: Block,
        cancel: bool,
        join: bool,
    },
    DropRuntime(u8),
    /// A turn of a runtime that is kept; in a task, that panics.
    TurnRuntime(u8),
    /// Through its handle.
    SpawnInRuntime(u8, Block),
    /// Prints tasks and counts.
    Look,
    NotifyCondvar(bool),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Payload {
    Text,
    Token,
    /// Its destructor panics, with one whose destructor panics so many times.
    Bad(u8),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Wake {
    ByRef,
    ByValue,
    Drop,
    Clone,
}

/// What a waker of the program's own does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Waker {
    Nothing,
    Passes,
    Panics,
    Waits,
    Spawns,
    Cancels(u8),
    DropPanics,
    DropWaits,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    Ready,
    /// For ever; the waker is kept if so said.
    Never {
        keep: bool,
    },
    /// In cleanup, without any limit: that never ends.
    Stuck {
        root: bool,
    },
    Sleep(u8),
    Turn,
    Receive(u8),
    Send(u8),
    /// Locks the mutex, and holds it so long.
    Lock(u8, u8),
    Permit(u8),
    Event,
    Task(u8),
    /// For so many tasks.
    Gather(u8),
    Race(u8),
    Completed(u8),
    Condvar,
    Barrier,
    Offload {
        panics: bool,
    },
    Read(u8),
    Write(u8),
    Select(Box<What>, Box<What>),
    Limit(u8, Box<What>),
    /// Each is polled with a waker of its own; ready when the first is.
    First(Waker, Vec<What>),
    /// A poll that runs a block, and may wake itself by its waker afterwards; it may have to be polled twice.
    InPoll {
        pend: bool,
        wakes: bool,
        body: Block,
    },
    /// The same, while another thread, which is waited for, borrows the waker.
    Lends(Block),
}

impl Op {
    /// Whether it may give up the turn, which a destructor must not while a stack unwinds.
    pub(crate) fn may_suspend(&self) -> bool {
        !matches!(
            self,
            Op::Spawn(Spawn { handle: Handle::Keep | Handle::Drop | Handle::Cancel, .. })
                | Op::Cancel(_)
                | Op::DropHandle(_)
                | Op::OnDone(..)
                | Op::SetEvent(_)
                | Op::TrySend(_)
                | Op::DropChannel(_)
                | Op::Wake { .. }
                | Op::DropOperation(_)
                | Op::NewGenerator(_)
                | Op::Resume { follow: false, .. }
                | Op::DropGenerator(_)
                | Op::SpawnInRuntime(..)
                | Op::Look
                | Op::NotifyCondvar(_)
                | Op::Guard { .. }
        )
    }

    pub(crate) fn blocks(&mut self) -> Vec<&mut Block> {
        match self {
            Op::Spawn(spawn) => spawn.blocks(),
            Op::OnDone(_, block)
            | Op::Timeout(_, block)
            | Op::Catch { body: block, .. }
            | Op::Switch(block)
            | Op::Local(block)
            | Op::NewGenerator(block)
            | Op::SpawnInRuntime(_, block)
            | Op::Remote { body: block, .. } => vec![block],
            Op::Finally { body, cleanup } => vec![body, cleanup],
            Op::Guard { drops, body } => vec![drops, body],
            Op::Scope { children, body, .. } | Op::AsyncScope { children, body } => {
                children.iter_mut().chain([body]).collect()
            }
            Op::Group { children, body, .. } => {
                children.iter_mut().flat_map(Spawn::blocks).chain([body]).collect()
            }
            Op::Pool { children, .. } => children.iter_mut().flat_map(Spawn::blocks).collect(),
            Op::Wait(what) | Op::Poll { what, .. } => what.blocks(),
            _ => Vec::new(),
        }
    }
}

impl Spawn {
    pub(crate) fn blocks(&mut self) -> Vec<&mut Block> {
        vec![&mut self.captured, &mut self.body, &mut self.result]
    }
}

impl What {
    pub(crate) fn blocks(&mut self) -> Vec<&mut Block> {
        match self {
            What::Select(a, b) => [a.blocks(), b.blocks()].into_iter().flatten().collect(),
            What::Limit(_, what) => what.blocks(),
            What::First(_, parts) => parts.iter_mut().flat_map(What::blocks).collect(),
            What::InPoll { body, .. } | What::Lends(body) => vec![body],
            _ => Vec::new(),
        }
    }

    /// Whether it may wait for ever.
    pub(crate) fn is_endless(&self) -> bool {
        match self {
            What::Ready
            | What::Stuck { .. }
            | What::Sleep(_)
            | What::Turn
            | What::Offload { .. }
            | What::Lends(_)
            | What::Limit(..) => false,
            What::InPoll { pend, wakes, .. } => *pend && !*wakes,
            What::Select(a, b) => a.is_endless() && b.is_endless(),
            _ => true,
        }
    }
}

impl Program {
    /// Makes it one that the generator could have made, after parts of it have moved: cleanup that never ends is
    /// the end of a `finally`, where it does not hold the root.
    pub(crate) fn tidy(&mut self) {
        for part in &mut self.parts {
            match part {
                Part::Run { body, .. } => tidy(body, false, Hold { root: true, by_hand: false }),
                Part::Hand { enter: body, .. } | Part::Outside(body) => {
                    tidy(body, false, Hold::default());
                }
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.to_string().lines().count()
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (is, says) in [
            (!self.limited, "waits without limits"),
            (self.on_thread, "on a thread of its own"),
            (self.twice, "twice"),
        ] {
            if is {
                writeln!(f, "// {says}")?;
            }
        }
        for part in &self.parts {
            match part {
                Part::Run { setup, body } => {
                    write!(f, "try_run({setup}, || ")?;
                    braces(f, 0, body)?;
                    writeln!(f, ");")?;
                }
                Part::Hand { setup, enter, turns, end } => {
                    write!(f, "let runtime = build({setup}); runtime.enter(|| ")?;
                    braces(f, 0, enter)?;
                    writeln!(f, "); {turns} turns; {end:?};")?;
                }
                Part::Outside(body) => {
                    write!(f, "outside ")?;
                    braces(f, 0, body)?;
                    writeln!(f)?;
                }
            }
        }
        Ok(())
    }
}

impl fmt::Display for RunSetup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.real_clock { "real_clock" } else { "virtual_clock" })?;
        if let Some(seed) = self.seed {
            write!(f, ", seed {seed}")?;
        }
        if self.observer != Watching::Nothing {
            write!(f, ", observer {:?}", self.observer)?;
        }
        for (is, name) in
            [(self.watchdog, "watchdog"), (self.clear, "clear"), (self.settle, "settle")]
        {
            if is {
                write!(f, ", {name}")?;
            }
        }
        Ok(())
    }
}

fn braces(f: &mut fmt::Formatter<'_>, level: usize, block: &[Op]) -> fmt::Result {
    if block.is_empty() {
        return f.write_str("{}");
    }
    writeln!(f, "{{")?;
    for op in block {
        write!(f, "{:1$}", "", 4 * (level + 1))?;
        print(f, level + 1, op)?;
        writeln!(f)?;
    }
    write!(f, "{:1$}}}", "", 4 * level)
}

fn spawn(f: &mut fmt::Formatter<'_>, level: usize, spawn: &Spawn) -> fmt::Result {
    let Spawn { era, handle, name, stack, captured, body, result } = spawn;
    write!(f, "{handle:?} spawn_{era:?}(")?;
    if *name {
        write!(f, "named, ")?;
    }
    if *stack != Stack::OfTheRun {
        write!(f, "stack {stack:?}, ")?;
    }
    if !captured.is_empty() {
        write!(f, "captures Drop ")?;
        braces(f, level, captured)?;
        write!(f, ", ")?;
    }
    write!(f, "|| ")?;
    braces(f, level, body)?;
    if !result.is_empty() {
        write!(f, " -> Drop ")?;
        braces(f, level, result)?;
    }
    write!(f, ");")
}

fn print(f: &mut fmt::Formatter<'_>, level: usize, op: &Op) -> fmt::Result {
    match op {
        Op::Wait(what) => {
            write!(f, "wait(")?;
            print_what(f, level, what)?;
            write!(f, ");")
        }
        Op::Spawn(task) => spawn(f, level, task),
        Op::OnDone(task, block) => {
            write!(f, "task({task}).on_done(|_| ")?;
            braces(f, level, block)?;
            write!(f, ");")
        }
        Op::Timeout(ms, body) => {
            write!(f, "timeout({ms} ms, || ")?;
            braces(f, level, body)?;
            write!(f, ");")
        }
        Op::Catch { resume, body } => {
            write!(f, "catch_unwind(|| ")?;
            braces(f, level, body)?;
            write!(f, "){};", if *resume { ".unwrap_or_else(resume_unwind)" } else { "" })
        }
        Op::Finally { body, cleanup } => {
            write!(f, "finally(|| ")?;
            braces(f, level, body)?;
            write!(f, ", || ")?;
            braces(f, level, cleanup)?;
            write!(f, ");")
        }
        Op::Guard { drops, body } => {
            write!(f, "{{ let _guard = Drop ")?;
            braces(f, level, drops)?;
            write!(f, "; ")?;
            braces(f, level, body)?;
            write!(f, " }}")
        }
        Op::Scope { children, handles, body } => {
            write!(f, "green::scope(|s| ")?;
            for (n, child) in children.iter().enumerate() {
                let spawn = ["spawn(|| ", "spawn_generator(|y| ", "spawn_future(async "][n % 3];
                write!(f, "{handles:?} s.{spawn}")?;
                braces(f, level, child)?;
                write!(f, "); ")?;
            }
            braces(f, level, body)?;
            write!(f, ");")
        }
        Op::AsyncScope { children, body } => {
            write!(f, "future::scope(async |s| ")?;
            for child in children {
                write!(f, "s.spawn_future(async ")?;
                braces(f, level, child)?;
                write!(f, "); ")?;
            }
            braces(f, level, body)?;
            write!(f, ");")
        }
        Op::Group { children, fails, body } => {
            write!(f, "Group::run(|g| ")?;
            for child in children {
                write!(f, "g.")?;
                spawn(f, level, child)?;
                write!(f, " ")?;
            }
            braces(f, level, body)?;
            write!(f, " -> {});", if *fails { "Err" } else { "Ok" })
        }
        Op::Pool { size, children, cancel, join } => {
            write!(f, "Pool::new({size}): ")?;
            for child in children {
                write!(f, "pool.reserve().")?;
                spawn(f, level, child)?;
                write!(f, " ")?;
            }
            write!(f, "cancel: {cancel}, join: {join};")
        }
        Op::Switch(body) => {
            write!(f, "in the other colour ")?;
            braces(f, level, body)
        }
        Op::Local(body) => {
            write!(f, "LOCAL.set(Drop ")?;
            braces(f, level, body)?;
            write!(f, ");")
        }
        Op::Poll { what, waker, keep } => {
            write!(f, "poll(")?;
            print_what(f, level, what)?;
            write!(f, ", waker {waker:?}){};", if *keep { " and keep it" } else { "" })
        }
        Op::NewGenerator(body) => {
            write!(f, "generators.push(|y| ")?;
            braces(f, level, body)?;
            write!(f, ");")
        }
        Op::SpawnInRuntime(number, body) => {
            write!(f, "runtime({number}).spawner().spawn(|| ")?;
            braces(f, level, body)?;
            write!(f, ");")
        }
        Op::Remote { era, body, cancel, join } => {
            write!(f, "on another thread: spawn_{era:?}(|| ")?;
            braces(f, level, body)?;
            write!(f, "), cancel: {cancel}, join: {join};")
        }
        op => write!(f, "{op:?};"),
    }
}

fn print_what(f: &mut fmt::Formatter<'_>, level: usize, what: &What) -> fmt::Result {
    match what {
        What::Select(a, b) => {
            write!(f, "select(")?;
            print_what(f, level, a)?;
            write!(f, ", ")?;
            print_what(f, level, b)?;
            write!(f, ")")
        }
        What::Limit(ms, what) => {
            write!(f, "timeout({ms} ms, ")?;
            print_what(f, level, what)?;
            write!(f, ")")
        }
        What::First(waker, parts) => {
            write!(f, "first of (wakers {waker:?}")?;
            for part in parts {
                write!(f, ", ")?;
                print_what(f, level, part)?;
            }
            write!(f, ")")
        }
        What::InPoll { pend, wakes, body } => {
            write!(f, "poll_fn(|cx| ")?;
            braces(f, level, body)?;
            let wake = if *wakes { " wake_by_ref();" } else { "" };
            write!(f, "{wake} {})", if *pend { "Pending, once" } else { "Ready" })
        }
        What::Lends(body) => {
            write!(f, "poll_fn(|cx| with a scoped thread that wakes by it at the end: ")?;
            braces(f, level, body)?;
            write!(f, ")")
        }
        what => write!(f, "{what:?}"),
    }
}

/// What waits for a block to end.
#[derive(Clone, Copy, Default)]
struct Hold {
    root: bool,
    by_hand: bool,
}

fn tidy(block: &mut Block, is_cleanup: bool, hold: Hold) {
    for op in block {
        match op {
            Op::Wait(what @ What::Stuck { .. }) => {
                let may = is_cleanup && !hold.by_hand;
                *what = if may { What::Stuck { root: hold.root } } else { What::Ready };
            }
            Op::Spawn(spawn) => tidy_spawn(spawn, Hold::default()),
            Op::Pool { children, .. } => {
                children.iter_mut().for_each(|child| tidy_spawn(child, Hold::default()));
            }
            Op::Group { children, body, .. } => {
                children.iter_mut().for_each(|child| tidy_spawn(child, hold));
                tidy(body, false, hold);
            }
            Op::NewGenerator(body) => tidy(body, false, Hold { root: false, by_hand: true }),
            // A future that is dropped does not wait for its group.
            Op::Switch(body) => tidy(body, false, Hold { root: false, ..hold }),
            Op::Remote { body, .. } | Op::SpawnInRuntime(_, body) => {
                tidy(body, false, Hold::default());
            }
            Op::Finally { body, cleanup } => {
                tidy(body, false, hold);
                tidy(cleanup, true, hold);
            }
            Op::Wait(what) | Op::Poll { what, .. } => {
                tidy_what(what);
                what.blocks().into_iter().for_each(|block| tidy(block, false, hold));
            }
            op => op.blocks().into_iter().for_each(|block| tidy(block, false, hold)),
        }
    }
}

fn tidy_spawn(spawn: &mut Spawn, hold: Hold) {
    spawn.blocks().into_iter().for_each(|block| tidy(block, false, hold));
}

fn tidy_what(what: &mut What) {
    match what {
        What::Stuck { .. } => *what = What::Ready,
        What::Select(a, b) => {
            tidy_what(a);
            tidy_what(b);
        }
        What::Limit(_, inner) => tidy_what(inner),
        What::First(_, parts) => parts.iter_mut().for_each(tidy_what),
        _ => {}
    }
}
