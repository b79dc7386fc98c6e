//! yield: tasks that do nothing but give up their turn, in rotation.
//!
//! The clock starts when the last of the tasks has begun and stops when the last of them has had all its
//! turns; a task that has had its turns waits for ever, and the process ends with the clock. So neither
//! making nor ending a task, nor the first touch of its stack, is measured: only turns.
//!
//! `bare-queue` is the floor: coroutines of corosensei in a `VecDeque`, and nothing else.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use async_executor::LocalExecutor;
use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult};
use wouldblock::{future, generator, green};

use crate::child::{Clock, Sample, become_python, one_may_worker};
use crate::{Bench, Case};

pub(crate) const BENCH: Bench = Bench {
    name: "yield",
    what: "one turn of a task that yields at once: CPU ns",
    figure: "cpu_ns_per_op",
    reference: "wouldblock-green",
    contenders: &[
        "wouldblock-green",
        "wouldblock-generator",
        "wouldblock-future",
        "bare-queue",
        "tokio",
        "smol",
        "may",
        "asyncio",
        "gevent",
    ],
    cases: &[
        Case { name: "1 task", size: 1, big: false },
        Case { name: "10 tasks", size: 10, big: false },
        Case { name: "1 000 tasks", size: 1_000, big: false },
        Case { name: "10 000 tasks", size: 10_000, big: false },
    ],
    columns: &[("wall_ns_per_op", "wall ns")],
    run,
};

/// Turns of all tasks together.
const TURNS: u64 = 8_000_000;

fn run(contender: &str, tasks: u64) -> Sample {
    let turns = TURNS / tasks;
    match contender {
        "wouldblock-green" => wouldblock::run(|| {
            for _ in 0..tasks {
                drop(green::spawn(move || {
                    begun(tasks);
                    (0..turns).for_each(|_| green::yield_now());
                    ended(tasks);
                    green::wait(pending::<()>());
                }));
            }
            green::wait(pending())
        }),
        "wouldblock-generator" => wouldblock::run(|| {
            for _ in 0..tasks {
                drop(generator::spawn(move |y| {
                    begun(tasks);
                    (0..turns).for_each(|_| y.yield_now());
                    ended(tasks);
                    y.wait(pending::<()>());
                }));
            }
            green::wait(pending())
        }),
        "wouldblock-future" => wouldblock::run(|| {
            for _ in 0..tasks {
                drop(future::spawn(async move {
                    begun(tasks);
                    for _ in 0..turns {
                        future::yield_now().await;
                    }
                    ended(tasks);
                    pending::<()>().await;
                }));
            }
            green::wait(pending())
        }),
        "bare-queue" => bare_queue(tasks, turns),
        "tokio" => {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                for _ in 0..tasks {
                    drop(tokio::spawn(async move {
                        begun(tasks);
                        for _ in 0..turns {
                            tokio::task::yield_now().await;
                        }
                        ended(tasks);
                        pending::<()>().await;
                    }));
                }
                pending().await
            })
        }
        "smol" => {
            let executor = LocalExecutor::new();
            for _ in 0..tasks {
                let task = executor.spawn(async move {
                    begun(tasks);
                    for _ in 0..turns {
                        futures_lite::future::yield_now().await;
                    }
                    ended(tasks);
                    pending::<()>().await;
                });
                task.detach();
            }
            futures_lite::future::block_on(executor.run(pending()))
        }
        "may" => {
            one_may_worker();
            let root = may::go!(move || for _ in 0..tasks {
                drop(may::go!(move || {
                    begun(tasks);
                    (0..turns).for_each(|_| may::coroutine::yield_now());
                    ended(tasks);
                    may::coroutine::park();
                }));
            });
            root.join().unwrap();
            loop {
                std::thread::park();
            }
        }
        other => become_python(other, "yield", tasks),
    }
}

fn bare_queue(tasks: u64, turns: u64) -> ! {
    let mut queue: VecDeque<_> = (0..tasks)
        .map(|_| {
            let stack = DefaultStack::new(64 << 10).expect("a stack");
            Coroutine::<(), (), (), _>::with_stack(stack, move |yielder, ()| {
                begun(tasks);
                for _ in 0..turns {
                    yielder.suspend(());
                }
                ended(tasks);
            })
        })
        .collect();
    let mut over = Vec::with_capacity(tasks as usize);
    while let Some(mut coroutine) = queue.pop_front() {
        match coroutine.resume(()) {
            CoroutineResult::Yield(()) => queue.push_back(coroutine),
            CoroutineResult::Return(()) => over.push(coroutine),
        }
    }
    unreachable!("the last to end ends the process")
}

static BEGUN: AtomicU64 = AtomicU64::new(0);
static ENDED: AtomicU64 = AtomicU64::new(0);
static CLOCK: OnceLock<Clock> = OnceLock::new();

/// A task has begun; with the last one, the clock starts.
fn begun(tasks: u64) {
    if BEGUN.fetch_add(1, Ordering::Relaxed) + 1 == tasks {
        CLOCK.set(Clock::start()).expect("started once");
    }
}

/// A task has had its turns; with the last one, the clock stops, and the process ends.
fn ended(tasks: u64) {
    if ENDED.fetch_add(1, Ordering::Relaxed) + 1 == tasks {
        CLOCK.get().expect("all have begun").stop(TURNS / tasks * tasks).print();
        std::process::exit(0);
    }
}
