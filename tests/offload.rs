//! Work on other threads: its results, its panics, and what becomes of it when nobody wants it any more.
//!
//! (That it is no deadlock is in `tests/deadlock.rs`; how it and a virtual clock get along, in
//! `tests/timers.rs`.)

mod basics;
mod util;

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, ThreadId};

use util::{
    Defer, ERAS, HOUR, MS, caught, in_child, let_others_run, panics_hooked, run, spawn_running,
    spawn_waiting, text,
};
use wouldblock::{Builder, gather, generator, green, offload, time};

/// Work that returns what it is told to, and the one who tells.
fn told<T: Send + 'static>() -> (Teller<T>, impl FnOnce() -> T + Send + 'static) {
    let (teller, told) = mpsc::channel();
    let (signs, sign) = mpsc::channel();
    let work = move || {
        signs.send(thread::current().id()).expect("the teller listens");
        told.recv().expect("the teller tells")
    };
    (Teller { teller, sign }, work)
}

struct Teller<T> {
    teller: mpsc::Sender<T>,
    sign: mpsc::Receiver<ThreadId>,
}

impl<T> Teller<T> {
    /// Blocks the thread until the work has begun, and says where.
    fn await_begin(&self) -> ThreadId {
        self.sign.recv().expect("the work begins")
    }

    /// Tells the work what to return.
    fn tell(&self, value: T) {
        self.teller.send(value).expect("the work is still under way");
    }

    /// Blocks the thread until the work is over.
    fn await_end(&self) {
        while self.sign.recv().is_ok() {}
    }
}

#[test]
fn it_runs_on_another_thread() {
    let here = thread::current().id();
    for era in ERAS {
        run(|| {
            let work = offload(|| thread::current().id());
            assert_ne!(spawn_waiting(era, work, ()).join().unwrap(), here, "{era}");
        });
    }
}

/// The scheduler's thread itself waits for it here, and polls nothing.
#[test]
fn it_begins_at_once() {
    run(|| {
        let (teller, work) = told();
        let work = offload(work);
        teller.await_begin();
        teller.tell(7);
        assert_eq!(green::wait(work), 7);
    });
}

#[test]
fn a_thousand_at_once_are_done_in_the_order_of_asking() {
    for era in ERAS {
        run(|| {
            let tasks = (0..1000).map(|n| spawn_waiting(era, offload(move || n), ()));
            let values = green::wait(gather(tasks)).into_iter().map(Result::unwrap);
            assert!(values.eq(0..1000), "{era}");
        });
    }
}

/// The last is the first to be told, and to return.
#[test]
fn they_are_under_way_at_once() {
    run(|| {
        let (tellers, tasks): (Vec<_>, Vec<_>) = (0..50)
            .map(|_| {
                let (teller, work) = told();
                (teller, green::spawn(|| green::wait(offload(work))))
            })
            .unzip();
        for (teller, task) in tellers.into_iter().zip(tasks).rev() {
            teller.tell(7);
            assert_eq!(task.join().unwrap(), 7);
        }
    });
}

#[test]
fn a_panic_comes_out_of_the_wait_with_its_payload() {
    for era in ERAS {
        run(|| {
            let failing = offload(|| panic!("no {}", "disk"));
            let error = spawn_waiting::<wouldblock::Offload<()>>(era, failing, ()).join();
            let payload = error.unwrap_err().into_panic().unwrap();
            assert_eq!(text(&*payload), "no disk", "{era}");

            let failing = || green::wait(offload(|| std::panic::panic_any(7)));
            let caught = spawn_running(era, move || *caught(failing).downcast::<i32>().unwrap());
            assert_eq!(caught.join().unwrap(), 7, "{era}");
        });
    }
}

/// It is told of once, by the panic hook, on the thread where it happened.
#[test]
fn a_panic_is_not_reported_again_where_it_comes_out() {
    let hooked = panics_hooked(|| {
        run(|| drop(caught(|| green::wait(offload(|| panic!("once"))))));
    });
    assert_eq!(hooked, 0, "on this thread");
}

#[test]
fn a_time_limit_ends_the_wait_and_not_the_work() {
    for era in ERAS {
        wouldblock::run(|| {
            let (teller, work) = told();
            let limited = time::timeout(MS, offload(work));
            teller.await_begin();
            assert!(spawn_waiting(era, limited, ()).join().unwrap().is_err(), "{era}");
            teller.tell(());
            teller.await_end();
        });
    }
}

#[test]
fn work_in_time_beats_its_limit() {
    for era in ERAS {
        run(|| {
            let limited = time::timeout(HOUR, offload(|| 7));
            assert_eq!(spawn_waiting(era, limited, ()).join().unwrap().unwrap(), 7, "{era}");
            let limited = || green::timeout(HOUR, || green::wait(offload(|| 7)));
            assert_eq!(spawn_running(era, limited).join().unwrap().unwrap(), 7, "{era}");
        });
    }
}

#[test]
fn what_is_given_up_drops_its_result_or_its_panic_on_its_thread() {
    for panics in [false, true] {
        run(|| {
            let (teller, work) = told();
            let (dropped, was_dropped) = mpsc::channel();
            let work = offload(move || {
                work();
                let result = Defer(move || dropped.send(thread::current().id()).unwrap());
                match panics {
                    true => std::panic::panic_any(result),
                    false => result,
                }
            });
            let worker = teller.await_begin();
            drop(work);
            teller.tell(());
            assert_eq!(was_dropped.recv().unwrap(), worker);
        });
    }
}

#[test]
fn what_is_given_up_before_it_begins_never_does() {
    in_child(|| {
        blocking::set_max_blocking_threads(NonZeroUsize::MIN);
        run(|| {
            let (teller, work) = told();
            let first = offload(work);
            let has_begun = Arc::new(AtomicBool::new(false));
            let begins = Arc::clone(&has_begun);
            drop(offload(move || begins.store(true, Ordering::Relaxed)));
            let last = offload(|| ());
            teller.tell(());
            green::wait(first);
            green::wait(last); // With one thread, they come one after the other.
            assert!(!has_begun.load(Ordering::Relaxed));
            assert_eq!(Arc::strong_count(&has_begun), 1, "it is dropped all the same");
        });
    })
    .assert_fine();
}

#[test]
fn a_run_ends_while_work_is_under_way() {
    for era in ERAS {
        for builder in [Builder::new(), Builder::new().virtual_clock()] {
            let (teller, work) = told();
            builder.run(|| {
                drop(spawn_waiting(era, offload(work), ()));
                let_others_run();
                teller.await_begin();
            });
            teller.tell(());
            teller.await_end();
        }
    }
}

#[test]
fn the_work_may_be_a_run_of_its_own() {
    run(|| {
        let work = || Builder::new().virtual_clock().run(|| green::spawn(|| 7).join().unwrap());
        assert_eq!(green::wait(offload(work)), 7);
    });
}

#[test]
fn it_needs_no_scheduler() {
    assert_eq!(futures_lite::future::block_on(offload(|| 7)), 7);
}

#[test]
fn a_generator_that_is_resumed_by_hand_says_that_it_waits_to_be_woken() {
    use generator::{Generator, GeneratorState, Yielder};
    run(|| {
        let (teller, work) = told();
        let mut body = Generator::new(move |y: &Yielder<wouldblock::Wait>| y.wait(offload(work)));
        let GeneratorState::Yielded(mut wait) = body.resume() else { panic!("nobody has told it") };
        assert_eq!(wait.kind, wouldblock::WaitKind::Parked);
        teller.tell(7);
        let value = loop {
            green::wait(wait);
            match body.resume() {
                GeneratorState::Yielded(again) => wait = again,
                GeneratorState::Complete(value) => break value,
            }
        };
        assert_eq!(value, 7);
    });
}
