//! Work on other threads: its results, its panics, and what becomes of it when nobody wants it any more.
//!
//! (That it is no deadlock is in `tests/it/deadlock.rs`; how it and a virtual clock get along, in
//! `tests/it/timers.rs`.)

use std::io;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, ThreadId};

use crate::util::{
    Defer, ERAS, HOUR, MS, SECOND, assert_contains, caught, in_child, let_others_run, logged,
    panic_text, panics_hooked, run, spawn_running, spawn_waiting, text,
};
use wouldblock::{Builder, fs, generator, green, group::gather, net, offload, op};

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

/// A file that is there for every user.
const FILE: &str = "/proc/version";

/// For this process, a [`in_child`].
fn set_max_threads(number: &str) {
    // SAFETY: the only other thread of this process, libtest's, waits for this one.
    unsafe { std::env::set_var("WOULDBLOCK_MAX_THREADS", number) };
}

/// What the system says of a thread that [`refuse_threads`] refuses.
const REFUSED: &str = "no thread can be started: Operation not permitted (os error 1)";

/// From now on, this thread can start no other: the kernel refuses `clone` and `clone3`, as a sandbox would.
fn refuse_threads() {
    fn op(code: u32, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
        libc::sock_filter { code: u16::try_from(code).unwrap(), jt, jf, k }
    }
    fn number(call: libc::c_long) -> u32 {
        u32::try_from(call).unwrap()
    }
    let equals = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let refused = libc::SECCOMP_RET_ERRNO | u32::try_from(libc::EPERM).unwrap();
    let mut filter = [
        op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0), // the number of the system call
        op(equals, number(libc::SYS_clone), 2, 0),
        op(equals, number(libc::SYS_clone3), 1, 0),
        op(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0, 0),
        op(libc::BPF_RET | libc::BPF_K, refused, 0, 0),
    ];
    let program = libc::sock_fprog { len: 5, filter: filter.as_mut_ptr() };
    // SAFETY: the program and its filter live until the kernel has copied them.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let mode = libc::SECCOMP_MODE_FILTER;
        let result = libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program);
        assert_eq!(result, 0, "{}", io::Error::last_os_error());
    }
}

/// The bytes of memory that this process has mapped.
fn memory() -> libc::rlim_t {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: libc::rlim_t = pages.split(' ').next().unwrap().parse().unwrap();
    // SAFETY: always possible.
    pages * libc::rlim_t::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap()
}

/// Limits the memory that this process may map. Returns the limit before.
fn limit_memory(bytes: libc::rlim_t) -> libc::rlim_t {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both read or write a struct on this stack.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_AS, &raw mut limit), 0);
        let before = std::mem::replace(&mut limit.rlim_cur, bytes);
        assert_eq!(libc::setrlimit(libc::RLIMIT_AS, &raw const limit), 0);
        before
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
            let limited = op::timeout(MS, offload(work));
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
            let limited = op::timeout(HOUR, offload(|| 7));
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
        set_max_threads("1");
        run(|| {
            let (teller, work) = told();
            let first = offload(work);
            let has_begun = Arc::new(AtomicBool::new(false));
            let begins = Arc::clone(&has_begun);
            drop(offload(move || begins.store(true, Ordering::Relaxed)));
            assert_eq!(Arc::strong_count(&has_begun), 1, "it is dropped at once");
            let last = offload(|| ());
            teller.tell(());
            green::wait(first);
            green::wait(last); // With one thread, they come one after the other.
            assert!(!has_begun.load(Ordering::Relaxed));
        });
    })
    .assert_fine();
}

/// With a destructor that panics, and in the middle of a panic, where a second one would abort.
#[test]
fn what_is_given_up_before_it_begins_is_dropped_where_the_operation_is() {
    in_child(|| {
        set_max_threads("1");
        run(|| {
            let (teller, work) = told();
            let first = offload(work);
            let (dropped, was_dropped) = mpsc::channel();
            let held = Defer(move || {
                dropped.send(thread::current().id()).unwrap();
                panic!("the destructor");
            });
            let second = offload(move || drop(held));
            assert_eq!(
                panic_text(move || {
                    let _second = second;
                    panic!("the task");
                }),
                "the task"
            );
            assert_eq!(was_dropped.recv().unwrap(), thread::current().id());
            teller.tell(());
            green::wait(first);
        });
    })
    .assert_fine();
}

/// The result's destructor panics, and so does that of its panic's payload.
#[test]
fn a_destructor_that_panics_on_the_other_thread_harms_no_other_work() {
    in_child(|| {
        set_max_threads("1");
        run(|| {
            let (teller, work) = told();
            let work = offload(move || {
                work();
                Defer(|| std::panic::panic_any(Defer(|| panic!("the payload's destructor"))))
            });
            teller.await_begin();
            drop(work);
            teller.tell(());
            assert_eq!(green::wait(offload(|| 7)), 7);
        });
    })
    .assert_fine();
}

#[test]
fn it_may_be_sent_and_moved() {
    fn is<T: Send + Sync + Unpin + UnwindSafe + RefUnwindSafe>(_: &T) {}
    is(&offload(|| std::cell::Cell::new(7)));
    is(&offload(std::marker::PhantomPinned::default));
}

#[test]
fn slow_work_does_not_hold_up_files_and_look_ups() {
    in_child(|| {
        set_max_threads("2");
        run(|| {
            let (tellers, works): (Vec<_>, Vec<_>) = (0..600)
                .map(|_| {
                    let (teller, work) = told();
                    (teller, offload(work))
                })
                .unzip();
            assert!(!fs::read(FILE).unwrap().is_empty());
            assert!(!green::wait(net::looking_up("localhost:80")).unwrap().is_empty());
            for (teller, work) in tellers.into_iter().zip(works) {
                teller.tell(());
                green::wait(work);
            }
        });
    })
    .assert_fine();
}

#[test]
fn a_maximum_that_is_no_number_is_refused() {
    in_child(|| {
        set_max_threads("many");
        for _ in 0..2 {
            let text = panic_text(|| drop(offload(|| ())));
            let expected = r#"WOULDBLOCK_MAX_THREADS="many" is not a positive number: "#;
            assert!(text.starts_with(expected), "{text}");
        }
    })
    .assert_fine();
}

#[test]
fn where_no_thread_can_be_started_the_wait_for_work_panics_with_the_reason() {
    in_child(|| {
        refuse_threads();
        for era in ERAS {
            run(|| {
                let held = Arc::new(());
                let holds = Arc::clone(&held);
                let work = offload(move || drop(holds));
                assert_eq!(Arc::strong_count(&held), 1, "the work is dropped");
                let limited = op::timeout(SECOND, work);
                let error = spawn_waiting(era, limited, ()).join().unwrap_err();
                let text = text(&*error.into_panic().unwrap());
                assert_contains(&text, &["offloaded work was not done", REFUSED, "ulimit -u"]);
            });
        }
        let outside = panic_text(|| futures_lite::future::block_on(offload(|| ())));
        assert_contains(&outside, &[REFUSED]);
    })
    .assert_fine();
}

#[test]
fn where_no_thread_can_be_started_a_look_up_fails_with_the_reason() {
    in_child(|| {
        refuse_threads();
        for era in ERAS {
            run(|| {
                let look_up = op::timeout(SECOND, net::looking_up("localhost:80"));
                let error = spawn_waiting(era, look_up, ()).join().unwrap().unwrap().unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::Other, "{era}: not `WouldBlock`");
                let text = error.to_string();
                assert_contains(&text, &["cannot look up the host \"localhost\"", REFUSED]);
                // What is an address needs no thread.
                assert!(green::wait(net::looking_up("127.0.0.1:80")).is_ok());
            });
        }
        assert!(net::TcpStream::connect("localhost:80").is_err());
    })
    .assert_fine();
}

#[test]
fn where_no_thread_can_be_started_files_are_read_all_the_same_with_one_warning() {
    in_child(|| {
        refuse_threads();
        let warnings = logged(|| {
            for era in ERAS {
                run(|| {
                    let read = || green::timeout(SECOND, || fs::read(FILE));
                    for _ in 0..2 {
                        let bytes = spawn_running(era, read).join().unwrap().unwrap().unwrap();
                        assert!(!bytes.is_empty(), "{era}");
                    }
                });
            }
        });
        let of_fs: Vec<_> =
            warnings.iter().filter(|(_, text)| !text.contains("watchdog")).collect();
        let [(_, text)] = &of_fs[..] else { panic!("one warning: {warnings:?}") };
        assert_contains(text, &["calls of `fs` are made on the scheduler's thread", REFUSED]);
    })
    .assert_fine();
}

/// One reads for ever, on the scheduler's thread. The clock is the real one.
#[test]
fn where_no_thread_can_be_started_a_reader_lets_others_run_and_ends_at_its_limit() {
    in_child(|| {
        refuse_threads();
        wouldblock::run(|| {
            let sleeper = green::spawn(|| green::sleep(MS));
            let reads = || {
                loop {
                    fs::read(FILE).unwrap();
                }
            };
            let limited = green::spawn(move || green::timeout(2 * MS, reads));
            assert!(limited.join().unwrap().is_err());
            sleeper.join().unwrap();
            let reader = green::spawn(reads);
            green::sleep(MS);
            reader.cancel();
            assert!(reader.join().unwrap_err().is_cancelled());
        });
    })
    .assert_fine();
}

#[test]
fn where_no_thread_can_be_started_a_signal_still_ends_the_process() {
    in_child(|| {
        refuse_threads();
        wouldblock::run(|| {
            drop(green::spawn(|| {
                green::sleep(MS);
                // SAFETY: sends this process a signal that nothing handles.
                unsafe { libc::kill(libc::getpid(), libc::SIGINT) };
            }));
            loop {
                fs::read(FILE).unwrap();
            }
        });
    })
    .assert_killed_by(libc::SIGINT);
}

#[test]
fn work_waits_for_the_one_thread_where_no_other_can_be_started() {
    in_child(|| {
        wouldblock::run(|| {
            let (teller, work) = told();
            let first = offload(work);
            teller.await_begin();
            refuse_threads();
            let tasks: Vec<_> =
                (0..10).map(|n| green::spawn(move || green::wait(offload(move || n)))).collect();
            // It is no deadlock, and a time limit ends the wait.
            assert!(green::timeout(MS, || green::wait(offload(|| ()))).is_err());
            teller.tell(());
            green::wait(first);
            let values = green::wait(gather(tasks)).into_iter().map(Result::unwrap);
            assert!(values.eq(0..10));
        });
    })
    .assert_fine();
}

/// The limit is one on memory: it holds for root too.
#[test]
fn a_thread_is_started_as_soon_as_one_can_be() {
    in_child(|| {
        // No thread of the crate's own begins while there is no memory for one: std aborts there.
        Builder::new().virtual_clock().watchdog(None).run(|| {
            let before = limit_memory(memory() + (1 << 20)); // less than a thread's stack
            for _ in 0..3 {
                let text = panic_text(|| green::wait(offload(|| ())));
                assert_contains(&text, &["no thread can be started: ", "ulimit -v"]);
            }
            limit_memory(before);
            assert_eq!(green::wait(offload(|| 7)), 7);
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
fn a_generator_that_is_resumed_by_hand_yields_that_it_waits_for_a_thread() {
    use generator::{Generator, GeneratorState, Yielder};
    run(|| {
        let (teller, work) = told();
        let mut body = Generator::new(move |y: &Yielder<wouldblock::Wait>| y.wait(offload(work)));
        let GeneratorState::Yielded(mut wait) = body.resume() else { panic!("nobody has told it") };
        assert_eq!(wait.what.to_string(), "waits for work on another thread");
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
