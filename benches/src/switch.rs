//! switch: one resume of a coroutine and the suspend that ends it, driven by hand, with no scheduler.
//!
//! A generator yields numbers for ever, and its caller takes ten million of them. `wouldblock-kernel` is what
//! a task's turn is made of, without the scheduler around it: the kernel's lowest files, compiled into
//! this program once more, since no public call is that alone.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use corosensei::{Coroutine, CoroutineResult};
use generator::Gn;
use wouldblock::generator::{Generator, GeneratorState, Yielder};

use crate::child::{Clock, Sample};
use crate::{Bench, Case};

#[allow(dead_code, reason = "a task's turn needs a part of it")]
#[path = "../../src/kernel"]
mod kernel {
    pub(crate) mod coroutine;
    pub(crate) mod edge {
        pub(crate) mod forever;
        pub(crate) mod mapping;
        pub(crate) mod open;
        pub(crate) mod pool;
        pub(crate) mod running;
        pub(crate) mod signal;
        pub(crate) mod warn;
    }
    pub(crate) mod stack;
}
use kernel::coroutine::{Fiber, suspend_base};

pub(crate) const BENCH: Bench = Bench {
    name: "switch",
    what: "one resume + suspend of a coroutine: CPU ns",
    figure: "cpu_ns_per_op",
    reference: "wouldblock-generator",
    contenders: &["wouldblock-generator", "wouldblock-kernel", "corosensei", "generator"],
    cases: &[Case { name: "by hand", size: 10_000_000, big: false }],
    columns: &[("wall_ns_per_op", "wall ns")],
    run,
};

fn run(contender: &str, switches: u64) -> Sample {
    match contender {
        "wouldblock-generator" => {
            let mut numbers = Generator::<u64>::new(|y: &Yielder<u64>| {
                for n in 0.. {
                    y.yield_(n);
                }
            });
            count(switches, || match numbers.resume() {
                GeneratorState::Yielded(n) => n,
                GeneratorState::Complete(()) => unreachable!("it goes on for ever"),
            })
        }
        "wouldblock-kernel" => {
            static NUMBER: AtomicU64 = AtomicU64::new(0);
            let mut fiber = Fiber::take(64 << 10).expect("room for a stack");
            fiber.start(|| {
                for n in 0.. {
                    NUMBER.store(n, Ordering::Relaxed);
                    suspend_base();
                }
            });
            count(switches, || {
                fiber.resume();
                NUMBER.load(Ordering::Relaxed)
            })
        }
        "corosensei" => {
            let mut numbers = Coroutine::<(), u64, ()>::new(|yielder, ()| {
                for n in 0.. {
                    yielder.suspend(n);
                }
            });
            count(switches, || match numbers.resume(()) {
                CoroutineResult::Yield(n) => n,
                CoroutineResult::Return(()) => unreachable!("it goes on for ever"),
            })
        }
        "generator" => {
            let mut numbers = Gn::<()>::new_scoped(|mut scope| {
                for n in 0u64.. {
                    scope.yield_(n);
                }
                generator::done!()
            });
            count(switches, || numbers.resume().expect("it goes on for ever"))
        }
        other => panic!("{other} does not take part in switch"),
    }
}

fn count(switches: u64, mut resume: impl FnMut() -> u64) -> Sample {
    for _ in 0..switches / 10 {
        black_box(resume());
    }
    let clock = Clock::start();
    for _ in 0..switches {
        black_box(resume());
    }
    let sample = clock.stop(switches);
    sample.print();
    // Not torn down: a generator that goes on for ever would be unwound.
    std::process::exit(0)
}
