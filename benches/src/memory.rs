//! memory: what a task costs that only waits.
//!
//! Tasks that wait for something that never comes. When all of them have got there, the growth of the
//! resident set and of the page tables (`VmRSS` and `VmPTE`) is shared out among them. Stacks have the
//! default size of whoever makes them, but in `wouldblock-green-64`, where they have 64 KiB.

use std::future::pending;
use std::sync::atomic::{AtomicU64, Ordering};

use async_executor::LocalExecutor;
use wouldblock::{Builder, future, generator, green};

use crate::child::{Clock, Sample, become_python, one_may_worker, status_bytes};
use crate::{Bench, Case};

pub(crate) const BENCH: Bench = Bench {
    name: "memory",
    what: "a task that waits for ever: bytes (resident + page tables)",
    figure: "bytes_per_op",
    reference: "wouldblock-green",
    contenders: &[
        "wouldblock-green",
        "wouldblock-green-64",
        "wouldblock-generator",
        "wouldblock-future",
        "tokio",
        "smol",
        "may",
        "asyncio",
        "gevent",
    ],
    cases: &[
        Case { name: "10 000 tasks", size: 10_000, big: false },
        Case { name: "100 000 tasks", size: 100_000, big: false },
        Case { name: "1 000 000 tasks", size: 1_000_000, big: true },
    ],
    columns: &[("cpu_ns_per_op", "CPU ns to get there")],
    run,
};

fn run(contender: &str, tasks: u64) -> Sample {
    match contender {
        "wouldblock-green" => wouldblock::run(|| greenlets(tasks)),
        "wouldblock-green-64" => Builder::new().stack_size(64 << 10).run(|| greenlets(tasks)),
        "wouldblock-generator" => wouldblock::run(|| {
            let before = Before::now();
            for _ in 0..tasks {
                drop(generator::spawn(|y| {
                    arrived();
                    y.wait(pending::<()>());
                }));
            }
            while !all_arrived(tasks) {
                green::yield_now();
            }
            before.finish(tasks)
        }),
        "wouldblock-future" => wouldblock::run(|| {
            let before = Before::now();
            for _ in 0..tasks {
                drop(future::spawn(wait_for_ever()));
            }
            while !all_arrived(tasks) {
                green::yield_now();
            }
            before.finish(tasks)
        }),
        "tokio" => {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let before = Before::now();
                for _ in 0..tasks {
                    drop(tokio::spawn(wait_for_ever()));
                }
                while !all_arrived(tasks) {
                    tokio::task::yield_now().await;
                }
                before.finish(tasks)
            })
        }
        "smol" => {
            let executor = LocalExecutor::new();
            futures_lite::future::block_on(executor.run(async {
                let before = Before::now();
                for _ in 0..tasks {
                    executor.spawn(wait_for_ever()).detach();
                }
                while !all_arrived(tasks) {
                    futures_lite::future::yield_now().await;
                }
                before.finish(tasks)
            }))
        }
        "may" => {
            one_may_worker();
            let root = may::go!(move || {
                let before = Before::now();
                for _ in 0..tasks {
                    drop(may::go!(|| {
                        arrived();
                        may::coroutine::park();
                    }));
                }
                while !all_arrived(tasks) {
                    // Not `yield_now`, with which it would only give the turn to itself, for ever.
                    may::coroutine::sleep(std::time::Duration::from_millis(1));
                }
                before.finish(tasks)
            });
            root.join().unwrap()
        }
        other => become_python(other, "memory", tasks),
    }
}

fn greenlets(tasks: u64) -> ! {
    let before = Before::now();
    for _ in 0..tasks {
        drop(green::spawn(|| {
            arrived();
            green::wait(pending::<()>());
        }));
    }
    while !all_arrived(tasks) {
        green::yield_now();
    }
    before.finish(tasks)
}

async fn wait_for_ever() {
    arrived();
    pending::<()>().await;
}

static ARRIVED: AtomicU64 = AtomicU64::new(0);

fn arrived() {
    ARRIVED.fetch_add(1, Ordering::Relaxed);
}

fn all_arrived(tasks: u64) -> bool {
    ARRIVED.load(Ordering::Relaxed) == tasks
}

struct Before {
    rss: f64,
    page_tables: f64,
    clock: Clock,
}

impl Before {
    fn now() -> Before {
        let pid = std::process::id();
        let (rss, page_tables) = (status_bytes(pid, "VmRSS"), status_bytes(pid, "VmPTE"));
        Before { rss, page_tables, clock: Clock::start() }
    }

    /// Prints the sample and ends the process: ending the tasks is not measured.
    fn finish(self, tasks: u64) -> ! {
        let pid = std::process::id();
        let sample = self.clock.stop(tasks);
        let rss = (status_bytes(pid, "VmRSS") - self.rss) / tasks as f64;
        let page_tables = (status_bytes(pid, "VmPTE") - self.page_tables) / tasks as f64;
        let sample = sample.with("rss_bytes_per_op", rss).with("pte_bytes_per_op", page_tables);
        sample.with("bytes_per_op", rss + page_tables).print();
        std::process::exit(0)
    }
}
