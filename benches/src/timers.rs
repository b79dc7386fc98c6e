//! timers: a hundred thousand tasks that sleep at the same time, for 1 to 100 ms each; and a thousand.
//!
//! With one sleep each, the price of making the task, and of the first touch of its stack if it has one,
//! is part of the figure; with ten, it is a tenth of it. Lateness is how long after the end of its sleep
//! a task runs again; it holds the time in which other tasks are served, all on one core.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_executor::LocalExecutor;
use wouldblock::{future, generator, green, time};

use crate::child::{Clock, Sample, become_python};
use crate::{Bench, Case};

pub(crate) const BENCH: Bench = Bench {
    name: "timers",
    what: "one sleep of 1 to 100 ms, with 100 000 tasks asleep, or 1 000: CPU ns",
    figure: "cpu_ns_per_op",
    reference: "wouldblock-green",
    contenders: &[
        "wouldblock-green",
        "wouldblock-generator",
        "wouldblock-future",
        "tokio",
        "smol",
        "asyncio",
        "gevent",
    ],
    cases: &[
        Case { name: "1 sleep each", size: 1, big: false },
        Case { name: "10 sleeps each", size: 10, big: false },
        Case { name: "1 000 tasks, 20 sleeps each", size: OF_FEW, big: false },
    ],
    columns: &[("late_mean_us", "late, mean us"), ("late_max_us", "max us")],
    run,
};

/// How often each of a thousand tasks sleeps.
const OF_FEW: u64 = 20;

fn run(contender: &str, sleeps: u64) -> Sample {
    let tasks = if sleeps == OF_FEW { 1_000 } else { 100_000 };
    let clock = Clock::start();
    match contender {
        "wouldblock-green" => wouldblock::run(|| {
            let body = move |n| {
                for nap in naps(n, sleeps) {
                    let start = Instant::now();
                    green::sleep(nap);
                    woke(start, nap);
                }
            };
            let tasks: Vec<_> = (0..tasks).map(|n| green::spawn(move || body(n))).collect();
            tasks.into_iter().for_each(|task| task.join().unwrap());
        }),
        "wouldblock-generator" => wouldblock::run(|| {
            let spawn = |n| {
                generator::spawn(move |y| {
                    for nap in naps(n, sleeps) {
                        let start = Instant::now();
                        y.wait(time::sleeping(nap));
                        woke(start, nap);
                    }
                })
            };
            let tasks: Vec<_> = (0..tasks).map(spawn).collect();
            tasks.into_iter().for_each(|task| task.join().unwrap());
        }),
        "wouldblock-future" => wouldblock::run(|| {
            let body = move |n| nap_away(n, sleeps, time::sleeping);
            let tasks: Vec<_> = (0..tasks).map(|n| future::spawn(body(n))).collect();
            tasks.into_iter().for_each(|task| task.join().unwrap());
        }),
        "tokio" => {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            builder.enable_time().build().unwrap().block_on(async {
                let body = move |n| nap_away(n, sleeps, tokio::time::sleep);
                let tasks: Vec<_> = (0..tasks).map(|n| tokio::spawn(body(n))).collect();
                for task in tasks {
                    task.await.unwrap();
                }
            });
        }
        "smol" => {
            let executor = LocalExecutor::new();
            async_io::block_on(executor.run(async {
                let body = move |n| nap_away(n, sleeps, async_io::Timer::after);
                let tasks: Vec<_> = (0..tasks).map(|n| executor.spawn(body(n))).collect();
                for task in tasks {
                    task.await;
                }
            }));
        }
        other => become_python(other, "timers", sleeps),
    }
    let sleeps = tasks * sleeps;
    let late_us = |ns: &AtomicU64| ns.load(Ordering::Relaxed) as f64 / 1e3;
    let sample = clock.stop(sleeps).with("late_max_us", late_us(&LATEST_NS));
    sample.with("late_mean_us", late_us(&LATE_NS) / sleeps as f64)
}

async fn nap_away<F: Future>(n: u64, sleeps: u64, sleep: impl Fn(Duration) -> F) {
    for nap in naps(n, sleeps) {
        let start = Instant::now();
        sleep(nap).await;
        woke(start, nap);
    }
}

/// How long task `n` sleeps each time: 1 to 100 ms, evenly spread, the same in each run.
fn naps(n: u64, sleeps: u64) -> impl Iterator<Item = Duration> {
    (n * sleeps..(n + 1) * sleeps).map(|n| {
        let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let (mixed, range) = ((mixed >> 32) * 99_001, 32);
        Duration::from_micros(1_000 + (mixed >> range))
    })
}

static LATE_NS: AtomicU64 = AtomicU64::new(0);
static LATEST_NS: AtomicU64 = AtomicU64::new(0);

fn woke(start: Instant, nap: Duration) {
    let late = start.elapsed().saturating_sub(nap).as_nanos() as u64;
    LATE_NS.fetch_add(late, Ordering::Relaxed);
    LATEST_NS.fetch_max(late, Ordering::Relaxed);
}
