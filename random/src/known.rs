//! Faults that once were there, as programs: `--known` runs each, which shows that the harness can express it, and
//! whether it is there again.

use crate::program::{
    Block, Era, HandEnd, Handle, Op, Part, Payload, Program, RunSetup, Spawn, Stack, Waker,
    Watching, What,
};

fn task(era: Era, handle: Handle, body: Block) -> Spawn {
    Spawn {
        era,
        handle,
        name: false,
        stack: Stack::OfTheRun,
        captured: Vec::new(),
        body,
        result: Vec::new(),
    }
}

fn spawn(era: Era, body: Block) -> Op {
    Op::Spawn(task(era, Handle::Drop, body))
}

fn run(body: Block) -> Vec<Part> {
    vec![Part::Run { setup: RunSetup { settle: true, ..RunSetup::default() }, body }]
}

fn limit(what: What) -> What {
    What::Limit(50, Box::new(what))
}

fn finally(cleanup: What) -> Op {
    Op::Finally { body: Vec::new(), cleanup: vec![Op::Wait(cleanup)] }
}

/// What each is about, and the program.
pub(crate) fn all() -> Vec<(&'static str, Program)> {
    let guarded = |stack, drop| {
        let mut task = task(Era::Green, Handle::Drop, Vec::new());
        (task.stack, task.captured) = (stack, vec![drop]);
        Op::Spawn(task)
    };
    let in_poll = |pend, body| Op::Wait(What::InPoll { pend, wakes: true, body });
    let resume = || Op::Resume { generator: 0, follow: false };
    // Which of the two is polled first is left to chance.
    let lossy = || {
        let inner = What::InPoll { pend: true, wakes: false, body: vec![Op::Wait(What::Ready)] };
        spawn(
            Era::Generator,
            vec![Op::Wait(What::Select(Box::new(What::Sleep(10)), Box::new(inner)))],
        )
    };
    let waiting = || spawn(Era::Green, vec![Op::Wait(limit(What::Never { keep: true }))]);
    let woken = RunSetup { observer: Watching::Wakes, ..RunSetup::default() };
    let nap = |waker| Op::Poll {
        what: What::Limit(1, Box::new(What::Never { keep: false })),
        waker,
        keep: true,
    };
    let offloads = |waker| Op::Poll { what: What::Offload { panics: false }, waker, keep: true };
    let by_hand = |end| Part::Hand {
        setup: RunSetup::default(),
        enter: vec![spawn(Era::Green, vec![Op::Wait(limit(What::Event))])],
        turns: 1,
        end,
    };
    let all: Vec<(&'static str, Vec<Part>)> = vec![
        ("U1: a root that cannot end its cleanup", run(vec![finally(What::Stuck { root: true })])),
        (
            "U2: a generator yields in a poll, and goes on elsewhere",
            vec![
                Part::Run {
                    setup: RunSetup::default(),
                    body: vec![
                        Op::NewGenerator(vec![in_poll(
                            false,
                            vec![Op::Wait(What::Ready), Op::Yield],
                        )]),
                        resume(),
                    ],
                },
                Part::Outside(vec![resume()]),
            ],
        ),
        (
            "U2: the same, out of a task that ends",
            run(vec![
                spawn(
                    Era::Green,
                    vec![
                        Op::NewGenerator(vec![in_poll(
                            false,
                            vec![Op::Wait(What::Ready), Op::Yield],
                        )]),
                        resume(),
                    ],
                ),
                Op::Yield,
                Op::Yield,
                resume(),
            ]),
        ),
        ("U2: a wait in a poll, and what was said before", run(vec![lossy(); 8])),
        (
            "U3: no stack, and a destructor that panics",
            run(vec![guarded(Stack::TooLarge, Op::Panic(Payload::Token)), Op::Yield]),
        ),
        (
            "U3: no stack, and a destructor that waits",
            run(vec![guarded(Stack::TooLarge, Op::Yield), Op::Yield]),
        ),
        (
            "U5: a leaked frame's waker",
            run(vec![
                spawn(
                    Era::Future,
                    vec![Op::Wait(What::Lends(vec![finally(What::Stuck { root: false })]))],
                ),
                Op::Yield,
                Op::Yield,
            ]),
        ),
        ("C2: a thousand obeyed limits", run(vec![Op::ManyLimits(1100)])),
        (
            "L1: an observer wakes at the end",
            vec![Part::Run {
                setup: woken,
                body: vec![
                    waiting(),
                    spawn(
                        Era::Green,
                        vec![Op::Finally {
                            body: vec![Op::Wait(limit(What::Never { keep: true }))],
                            cleanup: vec![Op::Wait(limit(What::Never { keep: true })), Op::Yield],
                        }],
                    ),
                    waiting(),
                    Op::Yield,
                    Op::Yield,
                ],
            }],
        ),
        (
            "L2: a timer's waker panics",
            run(vec![
                spawn(Era::Green, vec![Op::Wait(What::Sleep(10))]),
                nap(Waker::Panics),
                Op::Wait(What::Sleep(5)),
            ]),
        ),
        ("L2: a timer's waker waits", run(vec![nap(Waker::Waits), Op::Wait(What::Sleep(5))])),
        (
            "L2: a timer's waker panics when dropped",
            run(vec![nap(Waker::DropPanics), Op::Wait(What::Sleep(5))]),
        ),
        ("L2: the waker of work on another thread panics", run(vec![offloads(Waker::Panics)])),
        ("L2: the same, when it is dropped", run(vec![offloads(Waker::DropPanics)])),
        (
            "L2: a runtime is dropped with a timer whose waker panics then",
            vec![Part::Hand {
                setup: RunSetup::default(),
                enter: vec![nap(Waker::DropPanics)],
                turns: 0,
                end: HandEnd::Drop,
            }],
        ),
        (
            "L4: a runtime is dropped while the thread unwinds",
            vec![by_hand(HandEnd::DropWhileUnwinding)],
        ),
        (
            "L4: a runtime is dropped in a run",
            vec![
                by_hand(HandEnd::Keep),
                Part::Run { setup: RunSetup::default(), body: vec![Op::DropRuntime(0)] },
            ],
        ),
        (
            "A1: payloads whose destructors panic",
            run(vec![spawn(Era::Green, vec![Op::Panic(Payload::Bad(2))]), Op::Yield]),
        ),
        (
            "A2: a generator in a destructor while a stack unwinds",
            vec![Part::Outside(vec![Op::Guard {
                drops: vec![
                    Op::NewGenerator(vec![Op::Yield, Op::Yield]),
                    resume(),
                    resume(),
                    resume(),
                ],
                body: vec![Op::Panic(Payload::Token)],
            }])],
        ),
    ];
    all.into_iter()
        .map(|(says, parts)| {
            (says, Program { limited: true, on_thread: false, twice: false, parts })
        })
        .collect()
}
