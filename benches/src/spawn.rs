//! spawn: making a task that does nothing, and joining it, in waves of a thousand.
//!
//! `wouldblock-green-alone` runs without the watchdog, whose thread makes malloc take its locks: glibc takes
//! none as long as a process has one thread, which the peers here have.
//!
//! A root task of the same kind spawns a thousand tasks, joins them in order, and does that again. The
//! first twenty waves do not count: stacks and allocator are warm.

use std::hint::black_box;

use async_executor::LocalExecutor;
use wouldblock::{Builder, future, generator, green};

use crate::child::{Clock, Sample, become_python, one_may_worker};
use crate::{Bench, Case};

pub(crate) const BENCH: Bench = Bench {
    name: "spawn",
    what: "spawn and join of a task that returns a number: CPU ns",
    figure: "cpu_ns_per_op",
    reference: "wouldblock-green",
    contenders: &[
        "wouldblock-green",
        "wouldblock-green-alone",
        "wouldblock-generator",
        "wouldblock-future",
        "tokio",
        "smol",
        "may",
        "std-thread",
        "asyncio",
        "gevent",
    ],
    cases: &[Case { name: "waves of 1 000", size: WAVE, big: false }],
    columns: &[("wall_ns_per_op", "wall ns")],
    run,
};

const WAVE: u64 = 1_000;
const WARM_UP: u64 = 20;

fn run(contender: &str, wave: u64) -> Sample {
    match contender {
        "wouldblock-green" => wouldblock::run(|| green_waves(wave)),
        "wouldblock-green-alone" => Builder::new().watchdog(None).run(|| green_waves(wave)),
        "wouldblock-generator" => wouldblock::run(|| {
            let root = generator::spawn(move |y| {
                let mut handles = Vec::new();
                waves(1_000, || {
                    handles.extend((0..wave).map(|n| generator::spawn(move |_| n)));
                    handles.drain(..).map(|handle| y.wait(handle).unwrap()).sum()
                })
            });
            root.join().unwrap()
        }),
        "wouldblock-future" => wouldblock::run(|| {
            let root = future::spawn(async_waves(
                wave,
                |n| future::spawn(async move { n }),
                |handle| async move { handle.await.unwrap() },
            ));
            root.join().unwrap()
        }),
        "tokio" => {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async_waves(
                wave,
                |n| tokio::spawn(async move { n }),
                |handle| async move { handle.await.unwrap() },
            ))
        }
        "smol" => {
            let executor = LocalExecutor::new();
            let root = async_waves(wave, |n| executor.spawn(async move { n }), |handle| handle);
            futures_lite::future::block_on(executor.run(root))
        }
        "may" => {
            one_may_worker();
            let root = may::go!(move || {
                let mut handles = Vec::new();
                waves(200, || {
                    handles.extend((0..wave).map(|n| may::go!(move || n)));
                    handles.drain(..).map(|handle| handle.join().unwrap()).sum()
                })
            });
            root.join().unwrap()
        }
        "std-thread" => {
            let mut handles = Vec::new();
            waves(10, || {
                handles.extend((0..wave).map(|n| std::thread::spawn(move || n)));
                handles.drain(..).map(|handle| handle.join().unwrap()).sum()
            })
        }
        other => become_python(other, "spawn", wave),
    }
}

fn waves(count: u64, mut wave: impl FnMut() -> u64) -> Sample {
    for _ in 0..WARM_UP.min(count) {
        black_box(wave());
    }
    let clock = Clock::start();
    for _ in 0..count {
        black_box(wave());
    }
    clock.stop(count * WAVE)
}

/// [`waves`], of a thousand of whatever `spawn` makes, where joining is awaiting.
fn green_waves(wave: u64) -> Sample {
    let mut handles = Vec::new();
    waves(1_000, || {
        handles.extend((0..wave).map(|n| green::spawn(move || n)));
        handles.drain(..).map(|handle| handle.join().unwrap()).sum()
    })
}

async fn async_waves<H, J: Future>(
    wave: u64,
    spawn: impl Fn(u64) -> H,
    join: impl Fn(H) -> J,
) -> Sample {
    let count = 1_000;
    let mut handles = Vec::new();
    let mut clock = Clock::start();
    for n in 0..WARM_UP + count {
        if n == WARM_UP {
            clock = Clock::start();
        }
        handles.extend((0..wave).map(&spawn));
        for handle in handles.drain(..) {
            black_box(join(handle).await);
        }
    }
    clock.stop(count * WAVE)
}
