//! Generators, with PEP 342 (`send`, `throw`, `close`) and PEP 380 (`yield from`) in hand.
//!
//! Most of these are driven by hand, with no scheduler: that is what a generator is.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;
use std::thread;

use crate::util::{
    self, HOUR, MS, SECOND, Trace, caught, in_child, logged, panic_text, run, run_in_order,
};
use wouldblock::generator::GeneratorState::{Complete, Yielded};
use wouldblock::generator::{self, Generator, Thrown, Yielder};
use wouldblock::{Builder, Wait, WaitFor, green, op, time};

/// Yields 1, 2, 3, then returns "done".
fn three() -> Generator<i32, (), &'static str> {
    Generator::new(|y: &Yielder<i32>| {
        for n in 1..=3 {
            y.yield_(n);
        }
        "done"
    })
}

// Beginning, resuming, finishing.

#[test]
fn nothing_runs_before_the_first_resume() {
    let trace = Trace::new();
    let inside = trace.clone();
    let mut generator = Generator::new(move |y: &Yielder<i32>| {
        inside.say("begun");
        y.yield_(1);
    });
    assert!(trace.take().is_empty());
    assert_eq!(generator.resume(), Yielded(1));
    assert_eq!(trace.take(), ["begun"]);
}

#[test]
fn resume_goes_from_yield_to_yield_and_then_gives_what_the_body_returns() {
    let mut generator = three();
    assert_eq!(generator.resume(), Yielded(1));
    assert_eq!(generator.resume(), Yielded(2));
    assert_eq!(generator.resume(), Yielded(3));
    assert!(!generator.is_finished());
    assert_eq!(generator.resume(), Complete("done"));
    assert!(generator.is_finished());
}

#[test]
fn prime_runs_to_the_first_yield() {
    let mut generator = three();
    assert_eq!(generator.prime(), Yielded(1));
    assert_eq!(generator.resume(), Yielded(2));
}

#[test]
fn prime_may_already_be_the_end() {
    let mut generator = Generator::new(|_: &Yielder<(), String>| 7);
    assert_eq!(generator.prime(), Complete(7));
    assert!(generator.is_finished());
}

#[test]
fn priming_one_that_has_begun_panics() {
    let mut generator = three();
    generator.prime();
    let text = panic_text(|| generator.prime());
    assert_eq!(text, "`prime` is for a generator that has not begun");
    assert_eq!(generator.resume(), Yielded(2), "it is none the worse for it");
}

#[test]
fn a_value_that_is_sent_is_what_the_yield_returns() {
    let mut echo = Generator::new(|y: &Yielder<String, &'static str>| {
        let mut answer = y.yield_(String::new());
        while answer != "stop" {
            answer = y.yield_(answer.to_uppercase());
        }
        answer.len()
    });
    echo.prime();
    assert_eq!(echo.send("one"), Yielded("ONE".into()));
    assert_eq!(echo.send("two"), Yielded("TWO".into()));
    assert_eq!(echo.send("stop"), Complete(4));
}

#[test]
fn sending_to_one_that_has_not_begun_says_to_prime_it() {
    let mut generator = Generator::new(|y: &Yielder<i32, i32>| y.yield_(1));
    let text = panic_text(|| generator.send(5));
    assert_eq!(text, "a value was sent to a generator that has not begun: `prime` it first");
    assert_eq!(generator.prime(), Yielded(1));
    assert_eq!(generator.send(5), Complete(5));
}

#[test]
fn resuming_one_that_has_finished_panics() {
    const FINISHED: &str = "a generator was resumed after it had finished";
    let mut generator = Generator::new(|_: &Yielder<()>| ());
    generator.resume();
    assert_eq!(panic_text(|| generator.resume()), FINISHED);
    assert_eq!(panic_text(|| generator.send(())), FINISHED);
    assert_eq!(panic_text(|| generator.throw(Box::new("late"))), FINISHED);
}

#[test]
fn it_yields_from_any_depth() {
    fn leaves(depth: u32, y: &Yielder<u32>) {
        match depth {
            0 => y.yield_(0),
            _ => {
                leaves(depth - 1, y);
                y.yield_(depth);
                leaves(depth - 1, y);
            }
        }
    }
    let ruler = Generator::new(|y: &Yielder<u32>| leaves(3, y));
    assert_eq!(ruler.collect::<Vec<_>>(), [0, 1, 0, 2, 0, 1, 0, 3, 0, 1, 0, 2, 0, 1, 0]);
}

#[test]
fn it_iterates_and_stays_at_its_end() {
    let mut generator = three();
    assert_eq!(generator.by_ref().collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!((generator.next(), generator.next()), (None, None));
    let naturals = Generator::new(|y: &Yielder<u64>| {
        for n in 0.. {
            y.yield_(n);
        }
    });
    assert_eq!(naturals.filter(|n| n % 3 == 0).skip(1).take(3).collect::<Vec<_>>(), [3, 6, 9]);
}

#[test]
fn it_says_in_which_state_it_is() {
    let mut generator = Generator::new(|y: &Yielder<()>| y.yield_(()));
    assert_eq!(format!("{generator:?}"), "Generator(not begun)");
    generator.resume();
    assert_eq!(format!("{generator:?}"), "Generator(suspended)");
    generator.resume();
    assert_eq!(format!("{generator:?}"), "Generator(finished)");
}

#[test]
fn a_thousand_are_suspended_at_once() {
    let mut all: Vec<_> = (0..1000)
        .map(|n| {
            Generator::new(move |y: &Yielder<usize>| {
                y.yield_(n);
                n
            })
        })
        .collect();
    assert!(all.iter_mut().enumerate().all(|(n, g)| g.resume() == Yielded(n)));
    assert!(all.iter_mut().enumerate().rev().all(|(n, g)| g.resume() == Complete(n)));
}

// Panics.

#[test]
fn a_panic_comes_out_of_resume_with_its_payload_and_finishes_it() {
    let trace = Trace::new();
    let guard = trace.at_drop("unwound");
    let mut generator = Generator::new(move |y: &Yielder<i32>| {
        let _guard = guard;
        y.yield_(1);
        panic::panic_any(42_u8);
    });
    generator.resume();
    let mut payload = None;
    let hooked = util::panics_hooked(|| payload = Some(caught(|| generator.resume())));
    assert_eq!(payload.unwrap().downcast_ref(), Some(&42_u8));
    assert_eq!(hooked, 1, "it is the same panic when it goes on in the caller");
    assert_eq!(trace.take(), ["unwound"]);
    assert!(generator.is_finished());
    assert_eq!(generator.next(), None);
}

#[test]
fn a_panic_before_the_first_yield_comes_out_of_prime() {
    let mut generator = Generator::new(|_: &Yielder<()>| panic!("at once"));
    assert_eq!(panic_text(|| generator.prime()), "at once");
    assert!(generator.is_finished());
}

// throw

#[test]
fn a_throw_unwinds_from_the_yield_and_comes_out_again() {
    let trace = Trace::new();
    let guards = (trace.at_drop("outer"), trace.at_drop("inner"));
    let after = trace.clone();
    let mut generator = Generator::new(move |y: &Yielder<i32>| {
        let _outer = guards.0;
        let _inner = guards.1;
        y.yield_(1);
        after.say("not reached");
    });
    generator.prime();
    let payload = caught(|| generator.throw(Box::new(7_i32)));
    assert_eq!(payload.downcast_ref(), Some(&7));
    assert_eq!(trace.take(), ["inner", "outer"]);
    assert!(generator.is_finished());
}

#[test]
fn a_throw_does_not_call_the_panic_hook() {
    let mut generator = three();
    generator.prime();
    assert_eq!(util::panics_hooked(|| drop(caught(|| generator.throw(Box::new(1))))), 0);
}

#[test]
fn try_yield_catches_a_throw_and_goes_on() {
    let mut generator = Generator::new(|y: &Yielder<String>| {
        let mut last = "nothing".to_owned();
        loop {
            match y.try_yield(format!("caught {last}")) {
                Ok(()) => return "resumed",
                Err(Thrown::Error(payload)) => last = util::text(&*payload),
                Err(Thrown::Exit) => return "closed",
            }
        }
    });
    assert_eq!(generator.prime(), Yielded("caught nothing".into()));
    assert_eq!(generator.throw(Box::new("one")), Yielded("caught one".into()));
    assert_eq!(generator.throw(Box::new("two")), Yielded("caught two".into()));
    assert_eq!(generator.resume(), Complete("resumed"));
}

#[test]
fn catch_unwind_catches_a_throw_as_well() {
    let mut generator = Generator::new(|y: &Yielder<i32>| {
        let thrown = panic::catch_unwind(AssertUnwindSafe(|| y.yield_(1))).unwrap_err();
        y.yield_(*thrown.downcast::<i32>().unwrap());
    });
    generator.prime();
    assert_eq!(generator.throw(Box::new(5)), Yielded(5));
    assert_eq!(generator.resume(), Complete(()));
}

#[test]
fn a_body_that_returns_on_a_throw_completes() {
    let mut generator = Generator::new(|y: &Yielder<i32>| y.try_yield(1).is_err());
    generator.prime();
    assert_eq!(generator.throw(Box::new("stop")), Complete(true));
}

#[test]
fn a_throw_into_one_that_has_not_begun_never_begins_it() {
    let trace = Trace::new();
    let (captured, begun) = (trace.at_drop("captures dropped"), trace.clone());
    let mut generator = Generator::new(move |_: &Yielder<()>| {
        let _captured = captured;
        begun.say("begun");
    });
    let payload = caught(|| generator.throw(Box::new("early")));
    assert_eq!(payload.downcast_ref(), Some(&"early"));
    assert_eq!(trace.take(), ["captures dropped"]);
    assert!(generator.is_finished());
}

// close

#[test]
fn close_runs_the_destructors_from_the_yield_outwards() {
    fn deeper(y: &Yielder<i32>, trace: &Trace) {
        let _guard = trace.at_drop("callee");
        y.yield_(1);
        trace.say("not reached");
    }
    let trace = Trace::new();
    let inside = trace.clone();
    let mut generator = Generator::new(move |y: &Yielder<i32>| {
        let _first = inside.at_drop("first");
        let _second = inside.at_drop("second");
        deeper(y, &inside);
    });
    generator.prime();
    let hooked = util::panics_hooked(|| {
        generator.close();
    });
    assert_eq!(trace.take(), ["callee", "second", "first"]);
    assert_eq!((generator.is_finished(), hooked), (true, 0));
    assert_eq!(generator.next(), None);
}

#[test]
fn closing_one_that_has_not_begun_only_drops_what_it_captured() {
    let trace = Trace::new();
    let (captured, begun) = (trace.at_drop("captures dropped"), trace.clone());
    let mut generator = Generator::new(move |_: &Yielder<()>| {
        let _captured = captured;
        begun.say("begun");
    });
    generator.close();
    assert_eq!(trace.take(), ["captures dropped"]);
    assert!(generator.is_finished());
}

#[test]
fn closing_twice_or_after_the_end_does_nothing() {
    let mut generator = three();
    generator.prime();
    generator.close();
    generator.close();
    let mut finished = Generator::new(|_: &Yielder<()>| ());
    finished.resume();
    finished.close();
    let mut panicked = Generator::new(|_: &Yielder<()>| panic!("expected"));
    caught(|| panicked.resume());
    panicked.close();
}

#[test]
fn try_yield_learns_that_it_is_being_closed() {
    let trace = Trace::new();
    let inside = trace.clone();
    let mut generator = Generator::new(move |y: &Yielder<i32>| match y.try_yield(1) {
        Err(Thrown::Exit) => inside.say("exit"),
        other => panic!("{other:?}"),
    });
    generator.prime();
    generator.close();
    assert_eq!(trace.take(), ["exit"]);
}

#[test]
fn yielding_while_being_closed_is_an_error() {
    let mut generator = Generator::new(|y: &Yielder<i32>| {
        assert!(y.try_yield(1).is_err());
        y.yield_(2);
    });
    generator.prime();
    let text = panic_text(|| generator.close());
    assert_eq!(text, "a generator yielded while it was being closed");
    assert!(!generator.is_finished(), "it is suspended at the second yield, as in Python");
    generator.close();
    assert!(generator.is_finished());
}

#[test]
fn a_body_may_swallow_its_closing_and_return() {
    let mut generator = Generator::new(|y: &Yielder<i32>| {
        assert!(panic::catch_unwind(AssertUnwindSafe(|| y.yield_(1))).is_err());
    });
    generator.prime();
    generator.close();
    assert!(generator.is_finished());
}

#[test]
fn a_panic_of_a_body_that_is_being_closed_comes_out_of_close() {
    let mut generator = Generator::new(|y: &Yielder<i32>| {
        assert!(y.try_yield(1).is_err());
        panic!("while closing");
    });
    generator.prime();
    assert_eq!(panic_text(|| generator.close()), "while closing");
    assert!(generator.is_finished());
}

// Dropping.

#[test]
fn dropping_closes() {
    let trace = Trace::new();
    let guard = trace.at_drop("closed");
    let mut generator = Generator::new(move |y: &Yielder<i32>| {
        let _guard = guard;
        y.yield_(1);
    });
    generator.prime();
    drop(generator);
    assert_eq!(trace.take(), ["closed"]);
}

#[test]
fn a_for_loop_that_is_left_closes_its_generator() {
    let trace = Trace::new();
    let guard = trace.at_drop("closed");
    let generator = Generator::new(move |y: &Yielder<i32>| {
        let _guard = guard;
        for n in 0.. {
            y.yield_(n);
        }
    });
    for n in generator {
        if n == 3 {
            trace.say("leaving");
            break;
        }
    }
    assert_eq!(trace.take(), ["leaving", "closed"]);
}

#[test]
fn one_that_swallows_its_closing_while_it_is_dropped_is_closed_at_its_next_yield() {
    let trace = Trace::new();
    let guard = trace.at_drop("closed");
    let mut generator = Generator::new(move |y: &Yielder<i32>| {
        let _guard = guard;
        for n in 0..3 {
            let _ = panic::catch_unwind(AssertUnwindSafe(|| y.yield_(n)));
        }
        y.yield_(3);
        unreachable!("it is closed");
    });
    generator.prime();
    let log = logged(|| drop(generator));
    assert_eq!((trace.take(), log.len()), (vec!["closed".into()], 0));
}

#[test]
fn one_that_never_ends_while_it_is_dropped_is_logged() {
    let mut generator = Generator::new(|y: &Yielder<i32>| while y.try_yield(1).is_err() {});
    generator.prime();
    let log = logged(|| drop(generator));
    assert_eq!(log.len(), 1, "{log:?}");
    assert_eq!(log[0].0, log::Level::Error);
    assert_eq!(
        log[0].1,
        "a generator yielded 1000 times while it was being dropped; its stack is leaked"
    );
}

#[test]
fn a_panic_of_one_that_is_being_dropped_is_logged() {
    let mut generator = Generator::new(|y: &Yielder<i32>| {
        drop(y.try_yield(1));
        panic!("while closing");
    });
    generator.prime();
    let log = logged(|| drop(generator));
    assert_eq!(log.len(), 1, "{log:?}");
    assert_eq!(log[0].1, "a generator panicked while it was being dropped: while closing");
}

#[test]
fn one_that_is_dropped_during_a_panic_is_closed() {
    let trace = Trace::new();
    let guard = trace.at_drop("closed");
    let mut generator = Generator::new(move |y: &Yielder<i32>| {
        let _guard = guard;
        y.yield_(1);
    });
    generator.prime();
    let text = panic_text(move || {
        let _generator = generator;
        panic!("of its owner");
    });
    assert_eq!(text, "of its owner");
    assert_eq!(trace.take(), ["closed"]);
}

#[test]
fn one_that_delegates_is_closed_during_a_panic_too() {
    let ended = in_child(|| {
        let trace = Trace::new();
        let guard = trace.at_drop("inner closed");
        let mut generator = Generator::new(move |y: &Yielder<i32>| {
            y.yield_from(Generator::new(move |y: &Yielder<i32>| {
                let _guard = guard;
                y.yield_(1);
            }));
        });
        generator.prime();
        let text = panic_text(move || {
            let _generator = generator;
            panic!("of its owner");
        });
        assert_eq!(text, "of its owner");
        assert_eq!(trace.take(), ["inner closed"]);
    });
    ended.assert_fine();
}

#[test]
fn one_in_a_thread_local_is_closed_at_the_end_of_its_thread() {
    thread_local!(static KEPT: RefCell<Option<Generator<i32>>> = const { RefCell::new(None) });
    let (closed, is_closed) = std::sync::mpsc::channel();
    let thread = thread::spawn(move || {
        let guard = util::Defer(move || closed.send(()).unwrap());
        let mut generator = Generator::new(move |y: &Yielder<i32>| {
            let _guard = guard;
            y.yield_(1);
        });
        generator.prime();
        KEPT.set(Some(generator));
    });
    thread.join().unwrap();
    is_closed.try_recv().expect("the destructors on its stack have run");
}

// yield_from

/// Yields what it is told, prefixed; ends when told to stop. Says what is thrown into it.
fn told(prefix: &'static str) -> Generator<String, &'static str, usize> {
    Generator::new(move |y: &Yielder<String, &'static str>| {
        let mut say = format!("{prefix} ready");
        let mut count = 0;
        loop {
            say = match y.try_yield(say) {
                Ok("stop") => return count,
                Ok(word) => format!("{prefix} {word}"),
                Err(Thrown::Error(payload)) if util::text(&*payload) == "fatal" => {
                    panic::resume_unwind(payload)
                }
                Err(Thrown::Error(payload)) => format!("{prefix} caught {}", util::text(&*payload)),
                Err(Thrown::Exit) => return count,
            };
            count += 1;
        }
    })
}

#[test]
fn yield_from_passes_values_out_and_in_and_gives_the_return_value() {
    let mut outer = Generator::new(|y: &Yielder<String, &'static str>| {
        let first = y.yield_from(told("a"));
        let second = y.yield_from(told("b"));
        (first, second)
    });
    assert_eq!(outer.prime(), Yielded("a ready".into()));
    assert_eq!(outer.send("x"), Yielded("a x".into()));
    assert_eq!(outer.send("stop"), Yielded("b ready".into()));
    assert_eq!(outer.send("y"), Yielded("b y".into()));
    assert_eq!(outer.send("z"), Yielded("b z".into()));
    assert_eq!(outer.send("stop"), Complete((1, 2)));
}

#[test]
fn yield_from_hands_a_throw_to_the_innermost() {
    let mut outer = Generator::new(|y: &Yielder<String, &'static str>| {
        y.yield_from(Generator::new(|y: &Yielder<String, &'static str>| y.yield_from(told("c"))))
    });
    outer.prime();
    assert_eq!(outer.throw(Box::new("a ball")), Yielded("c caught a ball".into()));
    assert_eq!(outer.send("stop"), Complete(1));
}

#[test]
fn what_the_innermost_does_not_catch_the_next_one_may() {
    let mut outer = Generator::new(|y: &Yielder<String, &'static str>| {
        let inner = panic::catch_unwind(AssertUnwindSafe(|| y.yield_from(told("a"))));
        y.yield_(format!("outer caught {}", util::text(&*inner.unwrap_err())));
    });
    outer.prime();
    assert_eq!(outer.throw(Box::new("fatal")), Yielded("outer caught fatal".into()));
    assert_eq!(outer.send("x"), Complete(()));
}

#[test]
fn a_panic_of_the_inner_one_comes_out_of_yield_from() {
    let mut outer = Generator::new(|y: &Yielder<i32>| {
        let inner = Generator::new(|y: &Yielder<i32>| {
            y.yield_(1);
            panic!("inside");
        });
        let text = panic_text(|| y.yield_from(inner));
        y.yield_(2);
        text
    });
    assert_eq!(outer.resume(), Yielded(1));
    assert_eq!(outer.resume(), Yielded(2));
    assert_eq!(outer.resume(), Complete("inside".into()));
}

#[test]
fn closing_closes_from_the_inside_out() {
    fn nested(depth: usize, trace: Trace) -> Generator<usize> {
        Generator::new(move |y: &Yielder<usize>| {
            let _guard = trace.at_drop(format!("level {depth}"));
            match depth {
                0 => y.yield_(0),
                _ => y.yield_from(nested(depth - 1, trace.clone())),
            }
            trace.say("not reached");
        })
    }
    let levels = ["level 0", "level 1", "level 2", "level 3"];
    let trace = Trace::new();
    let mut generator = nested(3, trace.clone());
    assert_eq!(generator.resume(), Yielded(0));
    generator.close();
    assert_eq!(trace.take(), levels);

    let mut generator = nested(3, trace.clone());
    generator.resume();
    drop(generator);
    assert_eq!(trace.take(), levels);
}

#[test]
fn an_inner_one_that_yields_while_being_closed_fails_the_close() {
    let mut outer = Generator::new(|y: &Yielder<i32>| {
        y.yield_from(Generator::new(|y: &Yielder<i32>| {
            drop(y.try_yield(1));
            drop(y.try_yield(2));
        }));
    });
    outer.prime();
    let text = panic_text(|| outer.close());
    assert_eq!(text, "a generator yielded while it was being closed");
    assert!(outer.is_finished());
}

/// PEP 380: the first thing that `yield from` does is `next(iter)`, wherever that stands.
#[test]
fn yield_from_goes_on_with_one_that_has_begun() {
    let mut inner = three();
    assert_eq!(inner.next(), Some(1));
    let outer = Generator::new(move |y: &Yielder<i32>| y.yield_from(inner));
    assert_eq!(outer.collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn yield_from_one_that_takes_values_and_has_begun_panics_clearly() {
    let mut inner = told("a");
    inner.prime();
    let mut outer = Generator::new(move |y: &Yielder<String, &'static str>| y.yield_from(inner));
    let text = panic_text(|| outer.prime());
    util::assert_contains(&text, &["yield_from", "begun"]);
}

#[test]
fn recursion_by_yield_from_goes_fifty_deep() {
    fn count(n: u32) -> Generator<u32, (), u32> {
        Generator::new(move |y: &Yielder<u32>| {
            y.yield_(n);
            if n == 0 { 0 } else { 1 + y.yield_from(count(n - 1)) }
        })
    }
    let mut generator = count(50);
    assert_eq!(generator.by_ref().take(51).last(), Some(0));
    assert_eq!(generator.resume(), Complete(50));
}

// Waiting, with no scheduler in sight.

#[test]
fn by_hand_a_sleep_yields_when_to_come_back() {
    let mut generator = Generator::new(|y: &Yielder<Wait>| y.wait(time::sleeping(MS)));
    let Yielded(Wait { what: WaitFor::Time, deadline: Some(deadline), .. }) = generator.resume()
    else {
        panic!("it yields the time to wait for")
    };
    while time::now() < deadline {
        assert!(!generator.is_finished());
    }
    assert_eq!(generator.resume(), Complete(()));
}

#[test]
fn by_hand_resuming_too_soon_yields_the_same_again() {
    let mut generator = Generator::new(|y: &Yielder<Wait>| y.wait(time::sleeping(HOUR)));
    let first = generator.resume();
    assert_eq!(generator.resume(), first);
}

#[test]
fn by_hand_a_time_limit_is_the_earlier_deadline() {
    let start = time::now();
    let mut generator =
        Generator::new(|y: &Yielder<Wait>| y.wait(op::timeout(SECOND, time::sleeping(HOUR))));
    let Yielded(Wait { what: WaitFor::Time, deadline: Some(limit), .. }) = generator.resume()
    else {
        panic!("it yields the earlier time")
    };
    assert!(start + SECOND <= limit && limit < start + HOUR);
}

#[test]
fn by_hand_other_waits_say_what_they_are() {
    let mut generator = Generator::new(|y: &Yielder<Wait>| {
        y.yield_now();
        y.wait(pending::<()>());
    });
    assert!(matches!(generator.resume(), Yielded(Wait { what: WaitFor::Turn, .. })));
    assert!(matches!(generator.resume(), Yielded(Wait { what: WaitFor::Waker, .. })));
}

#[test]
fn by_hand_a_socket_is_waited_for_by_whoever_drives() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    let stream = wouldblock::net::TcpStream::from_std(client).unwrap();
    let fd = stream.as_raw_fd();
    let mut generator = Generator::new(move |y: &Yielder<Wait>| {
        let mut buf = [0; 8];
        loop {
            match stream.try_read(&mut buf) {
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                    y.wait(stream.readable()).unwrap();
                }
                read => return buf[..read.unwrap()].to_vec(),
            }
        }
    });
    let Yielded(Wait { what: WaitFor::Readable(id), .. }) = generator.resume() else {
        panic!("nothing was sent yet")
    };
    assert_eq!(id.fd(), fd);
    server.write_all(b"hello").unwrap();
    let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: one entry, on this stack, for a descriptor that the generator keeps open.
    assert_eq!(unsafe { libc::poll(&mut poll, 1, -1) }, 1);
    let mut state = generator.resume();
    while let Yielded(_) = state {
        state = generator.resume();
    }
    assert_eq!(state, Complete(b"hello".to_vec()));
    assert_eq!(server.read(&mut [0]).unwrap(), 0, "the stream went with the body");
}

/// A trampoline of three lines: what a generator yields is an operation for whoever drives it.
#[test]
fn by_hand_in_a_greenlet_every_wait_can_be_waited_for() {
    wouldblock::run(|| {
        let listener = wouldblock::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client =
            wouldblock::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        let mut reader = Generator::new(move |y: &Yielder<Wait>| {
            y.yield_now();
            y.wait(time::sleeping(MS));
            y.wait(green::spawn(|| green::sleep(MS))).unwrap();
            let mut buf = [0; 8];
            loop {
                match server.try_read(&mut buf) {
                    Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                        y.wait(server.readable()).unwrap();
                    }
                    read => return read.unwrap(),
                }
            }
        });
        let writer = green::spawn(move || {
            green::sleep(5 * MS);
            client.write_all(b"hello").unwrap();
        });
        let read = loop {
            match reader.resume() {
                Yielded(wait) => green::wait(wait),
                Complete(read) => break read,
            }
        };
        writer.join().unwrap();
        assert_eq!(read, 5);
    });
}

#[test]
fn one_may_yield_waits_among_values_of_its_own() {
    #[derive(Debug, PartialEq)]
    enum Step {
        Wait,
        Item(i32),
    }
    impl From<Wait> for Step {
        fn from(_: Wait) -> Step {
            Step::Wait
        }
    }
    let steps = Generator::new(|y: &Yielder<Step>| {
        y.yield_(Step::Item(1));
        y.yield_now();
        y.yield_(Step::Item(2));
    });
    assert_eq!(steps.collect::<Vec<_>>(), [Step::Item(1), Step::Wait, Step::Item(2)]);
}

#[test]
fn waiting_the_green_way_outside_of_any_task_panics_clearly() {
    let mut generator = Generator::new(|_: &Yielder<i32>| green::sleep(MS));
    let text = panic_text(|| generator.resume());
    util::assert_contains(&text, &["a wait outside of any task", "wouldblock::run"]);
}

#[test]
fn a_body_may_run_a_scheduler_between_two_yields() {
    let mut generator = Generator::new(|y: &Yielder<i32>| {
        y.yield_(1);
        let two = run(|| {
            green::sleep(SECOND);
            green::spawn(|| 2).join().unwrap()
        });
        y.yield_(two);
    });
    assert_eq!(generator.by_ref().collect::<Vec<_>>(), [1, 2]);
}

// In tasks.

#[test]
fn a_generator_in_a_greenlet_waits_the_green_way_with_both_stacks_intact() {
    run(|| {
        let tasks = (0..10_u64).map(|n| {
            green::spawn(move || {
                let inner = move |y: &Yielder<u64>| {
                    for k in 0..5 {
                        let mark = n * 100 + k;
                        green::sleep(MS * (1 + ((n + k) % 3) as u32));
                        y.yield_(std::hint::black_box(mark));
                    }
                };
                let outer = Generator::new(move |y: &Yielder<u64>| {
                    let here = n;
                    y.yield_from(Generator::new(inner));
                    green::yield_now();
                    y.yield_(here);
                });
                let mut seen = Vec::new();
                for value in outer {
                    green::sleep(MS);
                    seen.push(value);
                }
                let expected = (0..5).map(|k| n * 100 + k).chain([n]);
                assert!(seen.iter().copied().eq(expected), "{seen:?}");
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.join().unwrap();
        }
    });
}

#[test]
fn one_may_begin_in_one_task_and_go_on_in_others() {
    let trace = Trace::new();
    let (inside, guard) = (trace.clone(), trace.at_drop("closed"));
    let mut generator = Generator::new(move |y: &Yielder<i32>| {
        let _guard = guard;
        for n in 0.. {
            if wouldblock::task::current().is_some() {
                green::sleep(SECOND);
            }
            inside.say(format!("{n}"));
            y.yield_(n);
        }
    });
    generator.resume(); // outside of any
    let generator = run(|| {
        let first = green::spawn(move || {
            generator.resume();
            generator
        });
        let second = generator::spawn(move |y| {
            let mut generator = y.wait(first).unwrap();
            generator.resume();
            generator
        });
        second.join().unwrap()
    });
    assert_eq!(trace.take(), ["0", "1", "2"]);
    drop(generator);
    assert_eq!(trace.take(), ["closed"]);
}

#[test]
fn resuming_one_that_is_running_panics_and_does_it_no_harm() {
    type Shared = Rc<RefCell<Option<Generator<i32>>>>;
    let shared: Shared = Rc::default();
    let inside = shared.clone();
    let generator = Generator::new(move |y: &Yielder<i32>| {
        let text = panic_text(|| inside.borrow_mut().as_mut().unwrap().resume());
        assert!(text.contains("borrowed"), "{text}");
        y.yield_(1);
        y.yield_(2);
    });
    *shared.borrow_mut() = Some(generator);
    let next = || shared.borrow_mut().as_mut().unwrap().next();
    assert_eq!((next(), next(), next()), (Some(1), Some(2), None));
}

#[test]
fn resuming_one_that_waits_in_another_task_panics() {
    run(|| {
        let generator = Generator::new(|y: &Yielder<i32>| {
            green::sleep(SECOND);
            y.yield_(1);
        });
        let shared = Rc::new(RefCell::new(generator));
        let its = shared.clone();
        let owner = green::spawn(move || its.borrow_mut().resume());
        util::let_others_run();
        let text = panic_text(|| shared.borrow_mut().resume());
        assert!(text.contains("borrowed"), "{text}");
        assert_eq!(owner.join().unwrap(), Yielded(1));
    });
}

#[test]
fn y_in_another_task_panics_clearly() {
    run(|| {
        let mut generator = Generator::new(|y: &Yielder<i32>| {
            let text = green::scope(|s| s.spawn(|| panic_text(|| y.yield_(13))).join().unwrap());
            y.yield_(1);
            text
        });
        assert_eq!(generator.resume(), Yielded(1), "and not what the other task tried to yield");
        let Complete(text) = generator.resume() else { panic!("it yields once") };
        assert_eq!(
            text,
            "a generator's `y` was used outside of the generator's own body, where it cannot yield"
        );
    });
}

#[test]
fn y_inside_of_a_run_in_its_body_panics_clearly() {
    let mut generator = Generator::new(|y: &Yielder<i32>| run(|| panic_text(|| y.yield_(1))));
    let Complete(text) = generator.resume() else { panic!("it cannot yield there") };
    util::assert_contains(&text, &["`y` was used outside of the generator's own body"]);
}

#[test]
fn a_yield_that_failed_in_another_task_is_not_what_this_task_waits_for() {
    let waited = run_in_order(|| {
        let start = time::now();
        let task = generator::spawn(|y| {
            green::scope(|s| {
                drop(s.spawn(|| {
                    assert!(panic_text(|| y.wait(time::sleeping(HOUR))).contains("`y`"));
                    green::sleep(SECOND);
                }));
            });
        });
        task.join().unwrap();
        time::now() - start
    });
    assert_eq!(waited, SECOND);
}

#[test]
fn a_yield_inside_of_a_time_limit_panics_clearly() {
    const TEXT: &str =
        "a generator cannot yield inside of `green::timeout`; use `y.wait(timeout(..))`";
    run(|| {
        let task = generator::spawn(|y| green::timeout(SECOND, || y.wait(time::sleeping(MS))));
        assert_eq!(util::text(&*task.join().unwrap_err().into_panic().unwrap()), TEXT);

        let mut generator = Generator::new(|y: &Yielder<i32>| {
            let text = panic_text(|| green::timeout(SECOND, || y.yield_(1)));
            y.yield_(2);
            green::sleep(HOUR); // the limit is gone
            text
        });
        assert_eq!(generator.resume(), Yielded(2));
        assert_eq!(generator.resume(), Complete(TEXT.to_owned()));
    });
}

#[test]
fn a_time_limit_around_the_resumes_is_fine_and_may_differ_each_time() {
    run(|| {
        let mut generator = Generator::new(|y: &Yielder<i32>| {
            for n in 0.. {
                y.yield_(n);
                green::sleep(2 * SECOND);
            }
        });
        assert_eq!(green::timeout(SECOND, || generator.resume()), Ok(Yielded(0)));
        assert_eq!(green::timeout(HOUR, || generator.resume()), Ok(Yielded(1)));
        assert_eq!(generator.resume(), Yielded(2));
        assert!(green::timeout(SECOND, || generator.resume()).is_err());
        assert!(generator.is_finished(), "it was unwound on the way to the limit");
    });
}

#[test]
fn a_task_may_close_any_number_of_generators() {
    let ended = in_child(|| {
        run(|| {
            for _ in 0..3000 {
                assert_eq!(three().take(1).sum::<i32>(), 1); // dropped where it is suspended
            }
            green::sleep(SECOND);
        });
    });
    ended.assert_fine();
}

#[test]
fn cancelling_a_greenlet_closes_the_generator_that_it_drives() {
    let ended = in_child(|| {
        run(|| {
            let trace = Trace::new();
            let inside = trace.clone();
            let task = green::spawn(move || {
                let (outer, inner) = (inside.at_drop("outer"), inside.at_drop("inner"));
                let generator = Generator::new(move |y: &Yielder<i32>| {
                    let _guard = outer;
                    y.yield_from(Generator::new(move |y: &Yielder<i32>| {
                        let _guard = inner;
                        y.yield_(1);
                    }));
                });
                for _ in generator {
                    green::sleep(HOUR);
                }
            });
            util::let_others_run();
            task.cancel();
            assert!(task.join().unwrap_err().is_cancelled());
            assert_eq!(trace.take(), ["inner", "outer"]);
        });
    });
    ended.assert_fine();
}

#[test]
fn cancelling_a_greenlet_unwinds_the_generator_in_which_it_waits() {
    run(|| {
        let trace = Trace::new();
        let inside = trace.clone();
        let task = green::spawn(move || {
            let _greenlet = inside.at_drop("greenlet");
            let guard = inside.at_drop("generator");
            let mut generator = Generator::new(move |y: &Yielder<i32>| {
                let _guard = guard;
                green::sleep(HOUR);
                y.yield_(1);
            });
            generator.resume();
        });
        util::let_others_run();
        task.cancel();
        assert!(task.join().unwrap_err().is_cancelled());
        assert_eq!(trace.take(), ["generator", "greenlet"]);
    });
}

/// As PEP 789 has it of time limits: what holds cancellation off may not go on for whoever resumed it.
#[test]
fn a_cleanup_that_yields_does_not_shield_whoever_resumed_it() {
    run(|| {
        let task = green::spawn(|| {
            let mut generator = Generator::new(|y: &Yielder<i32>| {
                green::finally(|| (), || y.yield_(1));
            });
            // It yields, or it may not: in neither case is this task shielded afterwards.
            let _state = panic::catch_unwind(AssertUnwindSafe(|| generator.resume()));
            green::sleep(HOUR);
            "not cancelled"
        });
        util::let_others_run();
        task.cancel();
        assert!(task.join().is_err_and(|error| error.is_cancelled()));
    });
}

// Sizes.

#[test]
fn values_of_any_size_are_yielded_sent_and_returned() {
    type Large = [u8; 32 << 10];
    let mut generator = Generator::new(|y: &Yielder<Large, Large>| {
        let sent = y.yield_([1; 32 << 10]);
        [sent[sent.len() - 1] + 1; 32 << 10]
    });
    let Yielded(first) = generator.prime() else { panic!("it yields once") };
    assert_eq!(first, [1; 32 << 10]);
    let Complete(last) = generator.send([2; 32 << 10]) else { panic!("it yields once") };
    assert_eq!(last, [3; 32 << 10]);
}

#[test]
fn a_body_may_capture_more_than_a_kilobyte() {
    let captured = [7_u8; 32 << 10];
    let sum = |bytes: &[u8]| bytes.iter().map(|&b| u64::from(b)).sum::<u64>();
    let mut generator = Generator::new(move |y: &Yielder<u64>| {
        y.yield_(sum(&captured));
        captured
    });
    assert_eq!(generator.resume(), Yielded(7 << 15));
    assert_eq!(generator.resume(), Complete(captured));
    run(|| {
        let task = generator::spawn(move |y| {
            y.yield_now();
            sum(&captured)
        });
        assert_eq!(task.join().unwrap(), 7 << 15);
    });
}

#[test]
fn a_task_sees_a_send_of_nothing_at_each_turn() {
    Builder::new().round_robin().run(|| {
        let turns = Rc::new(Cell::new(0));
        let counted = turns.clone();
        let task = generator::spawn(move |y| {
            while counted.get() < 3 {
                counted.set(counted.get() + 1);
                y.yield_now();
            }
        });
        task.join().unwrap();
        assert_eq!(turns.get(), 3);
    });
}

/// Python 3.13: `close()` returns what the generator returns.
#[test]
fn close_returns_what_the_body_returns() {
    let averager = || {
        Generator::<(), u32, u32>::new(|y| {
            let mut sum = 0;
            while let Ok(number) = y.try_yield(()) {
                sum += number;
            }
            sum
        })
    };
    let mut sums = averager();
    assert_eq!(averager().close(), None, "it has not begun");
    sums.prime();
    sums.send(3);
    sums.send(4);
    assert_eq!((sums.close(), sums.close()), (Some(7), None));
    let mut unwound = Generator::<u32>::new(|y| y.yield_(1));
    unwound.resume();
    assert_eq!(unwound.close(), None);
}

#[test]
fn yield_from_a_borrowed_generator_leaves_it_to_go_on() {
    let inner = Rc::new(RefCell::new(Generator::<u32>::new(|y| y.yield_each(1..=4))));
    let same = inner.clone();
    let mut outer = Generator::<u32, (), ()>::new(move |y| {
        y.yield_(0);
        let mut inner = same.borrow_mut();
        y.yield_from(&mut *inner);
        y.yield_each([10, 20]);
    });
    assert_eq!(outer.by_ref().collect::<Vec<_>>(), [0, 1, 2, 3, 4, 10, 20]);
    drop(outer);
    assert!(inner.borrow().is_finished());
}
