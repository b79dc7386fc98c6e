//! Who has the next turn, and when: round robin in three eras, fairness, seeds, and runtimes driven by hand.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use crate::util::*;
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::oneshot;
use wouldblock::net::TcpStream;
use wouldblock::{
    Builder, Runtime, Stats, future, generator, green, group::gather, stats, testing::explore, time,
};

// Round robin.

#[test]
fn three_eras_take_turns_in_one_queue() {
    let log = Log::new();
    strictly(|| {
        let (a, b, c) = (log.clone(), log.clone(), log.clone());
        let tasks = [
            generator::spawn(move |y| {
                for step in 1..=3 {
                    a.push(("generator", step));
                    y.yield_now();
                }
            }),
            green::spawn(move || {
                for step in 1..=3 {
                    b.push(("green", step));
                    green::yield_now();
                }
            }),
            future::spawn(async move {
                for step in 1..=3 {
                    c.push(("future", step));
                    future::yield_now().await;
                }
            }),
        ];
        green::wait(gather(tasks));
    });
    let expected = [
        [("generator", 1), ("green", 1), ("future", 1)],
        [("generator", 2), ("green", 2), ("future", 2)],
        [("generator", 3), ("green", 3), ("future", 3)],
    ];
    assert_eq!(log.take(), expected.concat());
}

#[test]
fn the_hello_of_the_front_page_prints_what_it_says() {
    let printed = Log::new();
    strictly(|| {
        for name in ["ann", "bob"] {
            let printed = printed.clone();
            drop(green::spawn(move || {
                for step in 1..=2 {
                    printed.push(format!("{name} {step}"));
                    green::yield_now();
                }
            }));
        }
        printed.push("both are queued".into());
        for _ in 0..3 {
            green::yield_now();
        }
    });
    assert_eq!(printed.take(), ["both are queued", "ann 1", "bob 1", "ann 2", "bob 2"]);
}

#[test]
fn tasks_begin_in_the_order_in_which_they_were_spawned() {
    let log = Log::new();
    strictly(|| {
        let tasks = (0..99).map(|n| {
            let log = log.clone();
            match n % 3 {
                0 => generator::spawn(move |_| log.push(n)),
                1 => green::spawn(move || log.push(n)),
                _ => future::spawn(async move { log.push(n) }),
            }
        });
        let tasks: Vec<_> = tasks.collect();
        assert_eq!(log.len(), 0, "a spawn gives nobody a turn");
        green::wait(gather(tasks));
    });
    assert_eq!(log.take(), (0..99).collect::<Vec<_>>());
}

#[test]
fn who_yields_goes_behind_all_that_are_ready() {
    let log = Log::new();
    strictly(|| {
        let inner = log.clone();
        let a = green::spawn(move || {
            inner.push("a spawns b");
            let out = inner.clone();
            let b = green::spawn(move || out.push("b"));
            green::yield_now();
            inner.push("a again");
            join(b);
        });
        green::yield_now();
        log.push("root");
        join(a);
    });
    assert_eq!(log.take(), ["a spawns b", "root", "b", "a again"]);
}

#[test]
fn who_is_woken_joins_at_the_back() {
    let log = Log::new();
    strictly(|| {
        let (x, w, y) = (log.clone(), log.clone(), log.clone());
        let ends = green::spawn(move || {
            x.push("x 1");
            green::yield_now();
            x.push("x 2");
        });
        let waits = future::spawn(async move {
            w.push("w 1");
            ends.await.unwrap();
            w.push("w 2");
        });
        let spins = green::spawn(move || {
            for line in ["y 1", "y 2", "y 3"] {
                y.push(line);
                green::yield_now();
            }
        });
        join(waits);
        join(spins);
    });
    assert_eq!(log.take(), ["x 1", "w 1", "y 1", "x 2", "y 2", "w 2", "y 3"]);
}

#[test]
fn a_task_that_is_woken_a_hundred_times_has_one_turn_for_it() {
    strictly(|| {
        let waker = Rc::new(Cell::new(None));
        let shared = waker.clone();
        let polls = Rc::new(Cell::new(0));
        let counted = polls.clone();
        let task = future::spawn(std::future::poll_fn(move |cx| {
            counted.set(counted.get() + 1);
            shared.set(Some(cx.waker().clone()));
            std::task::Poll::<()>::Pending
        }));
        green::yield_now();
        let waker = waker.take().expect("it was polled");
        (0..100).for_each(|_| waker.wake_by_ref());
        for _ in 0..5 {
            green::yield_now();
        }
        assert_eq!(polls.get(), 2);
        task.cancel();
        assert!(task.join().unwrap_err().is_cancelled());
    });
}

// Fairness.

/// Spins in all eras until the flag is set; whoever starves does not hang the test.
fn spinners(done: &Rc<Cell<bool>>) -> [wouldblock::JoinHandle<()>; 3] {
    let start = Instant::now();
    let done = [done.clone(), done.clone(), done.clone()];
    let spins = move |done: &Cell<bool>| {
        assert!(start.elapsed() < Duration::from_secs(30), "somebody starves");
        !done.get()
    };
    let [a, b, c] = done;
    [
        generator::spawn(move |y| {
            while spins(&a) {
                y.yield_now();
            }
        }),
        green::spawn(move || {
            while spins(&b) {
                green::yield_now();
            }
        }),
        future::spawn(async move {
            while spins(&c) {
                future::yield_now().await;
            }
        }),
    ]
}

#[test]
fn spinning_tasks_do_not_starve_timers() {
    Builder::new().run(|| {
        let done = Rc::new(Cell::new(false));
        let spinners = spinners(&done);
        in_each_era(|| time::sleeping(2 * MS));
        done.set(true);
        spinners.into_iter().for_each(join);
    });
}

#[test]
fn spinning_tasks_do_not_starve_sockets() {
    Builder::new().run(|| {
        let done = Rc::new(Cell::new(false));
        let spinners = spinners(&done);
        let (mut ours, mut theirs) = half_pair();
        let echo = thread::spawn(move || {
            let mut byte = [0];
            theirs.read_exact(&mut byte).unwrap();
            theirs.write_all(&byte).unwrap();
        });
        green::yield_now();
        ours.write_all(b"x").unwrap();
        let mut byte = [0];
        ours.read_exact(&mut byte).unwrap();
        done.set(true);
        spinners.into_iter().for_each(join);
        echo.join().unwrap();
    });
}

#[test]
fn spinning_tasks_do_not_starve_wakes_from_other_threads() {
    Builder::new().run(|| {
        let done = Rc::new(Cell::new(false));
        let spinners = spinners(&done);
        let (tx, rx) = oneshot::channel();
        let thread = thread::spawn(move || tx.send(7).unwrap());
        assert_eq!(green::wait(rx), Ok(7));
        done.set(true);
        spinners.into_iter().for_each(join);
        thread.join().unwrap();
    });
}

const BYTES: usize = 4096;

/// A connection from which `BYTES` bytes can be read without waiting, as soon as the kernel has told.
fn full() -> (TcpStream, std::net::TcpStream) {
    let (ours, mut theirs) = half_pair();
    theirs.write_all(&[b'x'; BYTES]).unwrap();
    (ours, theirs)
}

/// Runs `reader`, which reads `BYTES` bytes one by one and says how many it got, and gives the number of turns
/// that another task had in the meantime.
fn turns_of_others(reader: impl FnOnce(TcpStream) -> wouldblock::JoinHandle<usize>) -> usize {
    strictly(|| {
        let (ours, _theirs) = full();
        let turns = Rc::new(Cell::new(0));
        let reader = reader(ours);
        let counter = turns.clone();
        let other = green::spawn(move || {
            loop {
                counter.set(counter.get() + 1);
                green::yield_now();
            }
        });
        assert_eq!(join(reader), BYTES);
        other.cancel();
        turns.get()
    })
}

/// One turn for the others in as many reads at most.
const MOST_READS: usize = 128;

#[test]
fn a_generator_whose_reads_always_succeed_gives_up_its_turn() {
    let turns = turns_of_others(|stream| {
        generator::spawn(move |y| {
            let mut read = 0;
            while read < BYTES {
                match stream.try_read(&mut [0]) {
                    Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                        y.wait(stream.readable()).unwrap();
                    }
                    result => read += result.unwrap(),
                }
            }
            read
        })
    });
    assert!(turns >= BYTES / MOST_READS, "{turns} turns");
}

#[test]
fn a_greenlet_whose_reads_always_succeed_gives_up_its_turn() {
    let turns = turns_of_others(|mut stream| {
        green::spawn(move || (0..BYTES).map(|_| stream.read(&mut [0]).unwrap()).sum())
    });
    assert!(turns >= BYTES / MOST_READS, "{turns} turns");
}

#[test]
fn a_future_whose_reads_always_succeed_gives_up_its_turn() {
    let turns = turns_of_others(|mut stream| {
        future::spawn(async move {
            let mut read = 0;
            for _ in 0..BYTES {
                read += futures_lite::AsyncReadExt::read(&mut stream, &mut [0]).await.unwrap();
            }
            read
        })
    });
    assert!(turns >= BYTES / MOST_READS, "{turns} turns");
}

#[test]
fn a_combinator_whose_reads_always_succeed_gives_up_its_turn() {
    let turns = turns_of_others(|mut stream| {
        let reads = async move {
            let mut read = 0;
            for _ in 0..BYTES {
                read += futures_lite::AsyncReadExt::read(&mut stream, &mut [0]).await.unwrap();
            }
            read
        };
        let mut unordered: FuturesUnordered<_> = [reads].into_iter().collect();
        future::spawn(async move { unordered.next().await.unwrap() })
    });
    assert!(turns >= BYTES / MOST_READS, "{turns} turns");
}

/// `try_read` says `WouldBlock` when the task has had its share of the turn: then `readable` may not say
/// "go on" within the same turn, whoever's waker it is polled with.
#[test]
fn try_read_and_readable_in_a_combinator_do_not_spin() {
    let turns = turns_of_others(|stream| {
        let reads = async move {
            let (mut read, mut in_a_row) = (0, 0);
            while read < BYTES {
                match stream.try_read(&mut [0]) {
                    Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                        in_a_row += 1;
                        assert!(in_a_row < 1000, "readable, WouldBlock, readable, WouldBlock, ..");
                        stream.readable().await.unwrap();
                    }
                    result => {
                        read += result.unwrap();
                        in_a_row = 0;
                    }
                }
            }
            read
        };
        let mut unordered: FuturesUnordered<_> = [reads].into_iter().collect();
        future::spawn(async move { unordered.next().await.unwrap() })
    });
    assert!(turns >= BYTES / MOST_READS, "{turns} turns");
}

#[test]
fn a_greenlet_whose_writes_always_succeed_gives_up_its_turn() {
    let turns = turns_of_others(|mut stream| {
        green::spawn(move || (0..BYTES).map(|_| stream.write(b"x").unwrap()).sum())
    });
    assert!(turns >= BYTES / MOST_READS, "{turns} turns");
}

/// Over loopback, a connection is there at once: whoever connects in a loop never has to wait for it.
#[test]
fn a_task_that_connects_in_a_loop_gives_up_its_turn() {
    strictly(|| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let turns = Rc::new(Cell::new(0));
        let counter = turns.clone();
        let client = green::spawn(move || {
            // Fewer than the backlog of std's listener, which nobody accepts from.
            (0..100).map(|_| TcpStream::connect(address).unwrap()).collect::<Vec<_>>().len()
        });
        let other = green::spawn(move || {
            loop {
                counter.set(counter.get() + 1);
                green::yield_now();
            }
        });
        assert_eq!(join(client), 100);
        other.cancel();
        assert!(turns.get() >= 1, "{} turns in 100 connections", turns.get());
    });
}

#[test]
fn an_acceptor_with_a_long_backlog_gives_up_its_turn() {
    strictly(|| {
        let (listener, address) = listener();
        let clients: Vec<_> =
            (0..100).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
        let turns = Rc::new(Cell::new(0));
        let counter = turns.clone();
        let acceptor = green::spawn(move || listener.incoming().take(100).flatten().count());
        let other = green::spawn(move || {
            loop {
                counter.set(counter.get() + 1);
                green::yield_now();
            }
        });
        assert_eq!(join(acceptor), clients.len());
        other.cancel();
        assert!(turns.get() >= 1, "no turn while 100 connections were accepted");
    });
}

// Counting.

#[test]
fn stats_count_turns_tasks_and_would_blocks() {
    assert_eq!(stats(), Stats::default(), "outside of a run");
    strictly(|| {
        let start = stats();
        assert_eq!((start.turns, start.spawned, start.finished), (1, 1, 0));
        let tasks = (0..10).map(|_| {
            green::spawn(|| {
                green::yield_now();
                green::yield_now();
            })
        });
        green::wait(gather(tasks));
        let now = stats();
        assert_eq!((now.spawned, now.finished), (11, 10));
        assert!((30..=41).contains(&(now.turns - start.turns)), "{now:?}");
        let (stream, _theirs) = half_pair();
        assert_eq!(now.would_block, 0);
        stream.try_read(&mut [0]).unwrap_err();
        assert_eq!(stats().would_block, 1);
    });
    assert_eq!(stats(), Stats::default(), "outside of a run");
}

#[test]
fn nobody_has_a_turn_while_all_wait() {
    strictly(|| {
        let (stream, _theirs) = half_pair();
        let (listener, _) = listener();
        let (tx, rx) = oneshot::channel::<()>();
        let waiting = [
            green::spawn(move || assert_eq!((&stream).read(&mut [0]).unwrap(), 1)),
            green::spawn(move || drop(listener.accept().unwrap())),
            future::spawn(async move { rx.await.unwrap() }),
            generator::spawn(|y| y.wait(time::sleeping(HOUR))),
        ];
        green::sleep(5 * MS);
        let before = stats().turns;
        green::sleep(20 * MS);
        assert_eq!(stats().turns - before, 1, "only that in which the sleep ended");
        waiting.iter().for_each(wouldblock::JoinHandle::cancel);
        drop(tx);
    });
}

// Many.

#[test]
fn a_hundred_thousand_tasks_of_each_era_run() {
    bounded(|| {
        const N: usize = 100_000;
        let sum = Rc::new(Cell::new(0));
        let add = |n: usize| {
            let sum = sum.clone();
            move || sum.set(sum.get() + n)
        };
        let generators: Vec<_> = (0..N).map(&add).map(|f| generator::spawn(move |_| f())).collect();
        let greenlets: Vec<_> = (0..N).map(|n| green::spawn(add(n))).collect();
        let futures: Vec<_> = (0..N).map(&add).map(|f| future::spawn(async move { f() })).collect();
        for tasks in [generators, greenlets, futures] {
            assert!(green::wait(gather(tasks)).iter().all(Result::is_ok));
        }
        assert_eq!(sum.get(), 3 * (N - 1) * N / 2);
    });
}

#[test]
fn ten_thousand_greenlets_wait_at_once() {
    bounded(|| {
        let (tx, rx) = async_channel::bounded::<()>(1);
        let tasks: Vec<_> = (0..10_000)
            .map(|n| {
                let rx = rx.clone();
                green::spawn(move || {
                    green::wait(rx.recv()).unwrap_err(); // closed
                    n
                })
            })
            .collect();
        settle();
        assert!(stats().stacks_used >= 10_000, "{:?}", stats());
        drop(tx);
        let results: Vec<_> = green::wait(gather(tasks)).into_iter().map(Result::unwrap).collect();
        assert_eq!(results, (0..10_000).collect::<Vec<_>>());
    });
}

#[test]
fn runs_on_several_threads_do_not_disturb_one_another() {
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            thread::spawn(move || {
                strictly(|| {
                    let log = Log::new();
                    let tasks = (0..50).map(|n| {
                        let log = log.clone();
                        green::spawn(move || {
                            green::sleep(n % 3 * MS);
                            log.push(n);
                            thread
                        })
                    });
                    let sum: u32 = green::wait(gather(tasks)).into_iter().map(Result::unwrap).sum();
                    assert_eq!(log.len(), 50);
                    sum
                })
            })
        })
        .collect();
    let sums: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert_eq!(sums, [0, 50, 100, 150]);
}

#[test]
fn one_thread_runs_again_and_again() {
    for n in 0..500 {
        let handle = Builder::new().run(|| join(green::spawn(move || n)));
        assert_eq!(handle, n);
    }
}

// Seeds.

const TASKS: u32 = 8;
const ROUNDS: usize = 5;

/// In which order eight tasks, of all eras, had their turns in five rounds.
fn order(builder: Builder) -> Vec<u32> {
    let log = Log::new();
    builder.run(|| {
        let tasks = (0..TASKS).map(|n| {
            let log = log.clone();
            let turn = move || log.push(n);
            match n % 3 {
                0 => generator::spawn(move |y| {
                    for _ in 0..ROUNDS {
                        turn();
                        y.yield_now();
                    }
                }),
                1 => green::spawn(move || {
                    for _ in 0..ROUNDS {
                        turn();
                        green::yield_now();
                    }
                }),
                _ => future::spawn(async move {
                    for _ in 0..ROUNDS {
                        turn();
                        future::yield_now().await;
                    }
                }),
            }
        });
        green::wait(gather(tasks));
    });
    log.take()
}

#[test]
fn the_same_seed_gives_the_same_order() {
    for seed in [0, 1, 42, u64::MAX] {
        assert_eq!(order(Builder::new().seed(seed)), order(Builder::new().seed(seed)), "{seed}");
    }
}

#[test]
fn other_seeds_give_other_orders() {
    let orders: BTreeSet<_> = (0..50).map(|seed| order(Builder::new().seed(seed))).collect();
    assert_eq!(orders.len(), 50, "of 50 seeds");
}

#[test]
fn in_each_round_each_ready_task_has_one_turn_whatever_the_seed() {
    for seed in 0..50 {
        let order = order(Builder::new().seed(seed));
        let mut rounds = Vec::new();
        for round in order.chunks(TASKS as usize) {
            let mut sorted = round.to_vec();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..TASKS).collect::<Vec<_>>(), "seed {seed}: {order:?}");
            rounds.push(round);
        }
        assert_eq!(rounds.len(), ROUNDS);
        rounds.dedup();
        assert!(rounds.len() > 1, "each round is shuffled anew; seed {seed}: {order:?}");
    }
}

#[test]
fn round_robin_overrides_the_environment() {
    let ended = in_child_with(&[("WOULDBLOCK_SEED", Some("7"))], || {
        let round = 0..TASKS;
        let rounds: Vec<_> = std::iter::repeat_n(round, ROUNDS).flatten().collect();
        assert_eq!(order(Builder::new().round_robin()), rounds);
        assert_eq!(order(Builder::new()), order(Builder::new().seed(7)));
        assert_eq!(order(Builder::new().seed(8)), order(Builder::new().seed(8)));
        assert_ne!(order(Builder::new().seed(8)), order(Builder::new()));
    });
    ended.assert_fine();
}

#[test]
fn a_seed_that_is_no_number_is_a_clear_error() {
    let lucky = [("WOULDBLOCK_SEED", Some("lucky"))];
    let ended = in_child_with(&lucky, || Builder::new().run(|| ()));
    ended.assert_failed();
    ended.assert_says(&["WOULDBLOCK_SEED=\"lucky\" is not a number"]);
}

/// Three tasks in some order; fails in one of the six.
fn fails_when_reversed() {
    let log = Log::new();
    let tasks = (0..3).map(|n| {
        let log = log.clone();
        green::spawn(move || log.push(n))
    });
    green::wait(gather(tasks));
    let order = log.take();
    assert_ne!(order, [2, 1, 0], "they came in reverse");
}

#[test]
fn explore_names_the_seed_that_fails_and_the_environment_replays_it() {
    let body = || {
        let runs = Cell::new(0);
        let result = catch_unwind(AssertUnwindSafe(|| {
            explore(1000, || {
                runs.set(runs.get() + 1);
                fails_when_reversed();
            });
        }));
        eprintln!("it was run {} times", runs.get());
        result.unwrap_or_else(|payload| std::panic::resume_unwind(payload));
    };
    let with_seed = |seed: Option<&str>| in_child_with(&[("WOULDBLOCK_SEED", seed)], body);
    let explored = with_seed(None);
    explored.assert_failed();
    let text = &explored.stderr;
    assert!(text.contains("they came in reverse"), "the panic itself:\n{text}");
    let advice = text.lines().find_map(|line| line.strip_prefix("wouldblock: it fails with seed "));
    let advice = advice.unwrap_or_else(|| panic!("the seed:\n{text}"));
    let (seed, replay) = advice.split_once("; ").expect("the seed, and what to do");
    assert_eq!(replay, format!("WOULDBLOCK_SEED={seed} runs that alone"));
    let seed: u64 = seed.parse().expect("a number");
    assert!(text.contains(&format!("it was run {} times", seed + 1)), "from 0 up:\n{text}");

    let again = with_seed(Some(&seed.to_string()));
    again.assert_failed();
    again.assert_says(&["they came in reverse"]);
    again.assert_says(&["it was run 1 times"]); // that seed alone
    if seed > 0 {
        with_seed(Some(&(seed - 1).to_string())).assert_fine();
    }
}

#[test]
fn explore_visits_every_order_of_three_tasks() {
    let ended = in_child_with(&[("WOULDBLOCK_SEED", None)], || {
        let orders = std::cell::RefCell::new(BTreeSet::new());
        explore(200, || {
            let log = Log::new();
            let tasks = (0..3).map(|n| {
                let log = log.clone();
                green::spawn(move || log.push(n))
            });
            green::wait(gather(tasks));
            orders.borrow_mut().insert(log.take());
        });
        assert_eq!(orders.into_inner().len(), 6);
    });
    ended.assert_fine();
}

// Runtimes driven by hand.

fn by_hand() -> Runtime {
    Builder::new().round_robin().build().unwrap()
}

#[test]
fn turn_gives_one_turn_to_one_task() {
    let runtime = by_hand();
    let log = Log::new();
    let tasks = runtime.enter(|| {
        [0, 1].map(|n| {
            let log = log.clone();
            green::spawn(move || {
                log.push(n);
                green::yield_now();
                log.push(n);
                n
            })
        })
    });
    assert_eq!(log.len(), 0, "`enter` gives nobody a turn");
    for done in 1..=4 {
        assert!(runtime.turn());
        assert_eq!(log.len(), done);
    }
    assert_eq!(log.take(), [0, 1, 0, 1]);
    assert!(tasks.iter().all(wouldblock::JoinHandle::is_finished));
    assert!(!runtime.turn(), "nobody is left");
    let results = tasks.map(|mut task| match poll_once(&mut task) {
        std::task::Poll::Ready(result) => result.unwrap(),
        std::task::Poll::Pending => panic!("it is finished"),
    });
    assert_eq!(results, [0, 1]);
}

#[test]
fn waiting_outside_of_a_task_is_a_clear_error() {
    let runtime = by_hand();
    type Attempt = fn();
    let attempts: [Attempt; 3] =
        [|| green::wait(time::sleeping(MS)), green::yield_now, || green::sleep(MS)];
    for attempt in attempts {
        for text in [panic_text(attempt), panic_text(|| runtime.enter(attempt))] {
            assert!(text.contains("a wait outside of any task"), "{text:?}");
            assert!(text.contains("wouldblock::run"), "what to do: {text:?}");
        }
    }
}

#[test]
fn turn_looks_for_timers_and_sockets_itself() {
    let runtime = by_hand();
    let (mut ours, mut theirs) = half_pair();
    let (sleeper, reader) = runtime.enter(|| {
        let sleeper = green::spawn(|| green::sleep(2 * MS));
        (sleeper, green::spawn(move || ours.read(&mut [0; 8]).unwrap()))
    });
    theirs.write_all(b"hello").unwrap();
    let start = Instant::now();
    while !(sleeper.is_finished() && reader.is_finished()) {
        runtime.turn();
        assert!(start.elapsed() < Duration::from_secs(30));
    }
    assert!(start.elapsed() >= MS, "not early");
}

#[test]
fn next_deadline_is_when_the_first_sleeper_wakes() {
    let runtime = Builder::new().virtual_clock().round_robin().build().unwrap();
    assert_eq!(runtime.next_deadline(), None);
    let start = runtime.enter(time::now);
    let log = Log::new();
    runtime.enter(|| {
        for ms in [50, 30, 40] {
            let log = log.clone();
            drop(green::spawn(move || {
                green::sleep(ms * MS);
                log.push(ms);
            }));
        }
    });
    assert!(runtime.turn() && runtime.turn());
    assert_eq!(runtime.next_deadline(), Some(start + 30 * MS));
    assert!(runtime.turn());
    assert_eq!(log.len(), 0);
    while runtime.turn() {}
    assert_eq!((log.take(), runtime.next_deadline()), (vec![30, 40, 50], None));
}

/// Whether the descriptor to be watched from another event loop is readable, now or (for one that must become
/// so) soon.
fn is_readable(runtime: &Runtime, wait_ms: i32) -> bool {
    let fd = runtime.as_fd().as_raw_fd();
    let mut fds = [libc::pollfd { fd, events: libc::POLLIN, revents: 0 }];
    // SAFETY: one `pollfd`, on this stack, for as long as the call lasts.
    let ready = unsafe { libc::poll(fds.as_mut_ptr(), 1, wait_ms) };
    ready == 1
}

#[test]
fn the_descriptor_is_readable_when_a_socket_is() {
    let runtime = by_hand();
    let (mut ours, mut theirs) = half_pair();
    let reader = runtime.enter(|| green::spawn(move || ours.read(&mut [0; 8]).unwrap()));
    while runtime.turn() {}
    assert!(!is_readable(&runtime, 0), "nothing has come yet");
    theirs.write_all(b"hello").unwrap();
    assert!(is_readable(&runtime, 30_000));
    while runtime.turn() {}
    assert!(reader.is_finished());
    assert!(!is_readable(&runtime, 0), "all is done");
}

#[test]
fn the_descriptor_is_readable_when_another_thread_wakes() {
    let runtime = by_hand();
    let (tx, rx) = oneshot::channel();
    let task = runtime.enter(|| green::spawn(|| green::wait(rx).unwrap()));
    while runtime.turn() {}
    assert!(!is_readable(&runtime, 0));
    on_a_thread(move || tx.send(()).unwrap());
    assert!(is_readable(&runtime, 30_000));
    while runtime.turn() {}
    assert!(task.is_finished());
    assert!(!is_readable(&runtime, 0), "all is done");
}

#[test]
fn a_panic_of_a_task_does_not_leave_turn() {
    let runtime = by_hand();
    let task = runtime.enter(|| green::spawn(|| panic!("only this task")));
    assert!(runtime.turn() && task.is_finished());
    let error = runtime.enter(|| green::spawn(|| task.join().map(|()| 0).unwrap_err().to_string()));
    while runtime.turn() {}
    let mut error = error;
    let std::task::Poll::Ready(Ok(text)) = poll_once(&mut error) else { panic!("it is done") };
    assert!(text.contains("panicked: only this task"), "{text}");
}

#[test]
fn a_dropped_runtime_cancels_its_tasks_the_newest_first() {
    let log = Log::new();
    let runtime = by_hand();
    runtime.enter(|| {
        let guard = |name| OnDrop(log.clone(), name);
        let (a, b, c, d) =
            (guard("generator"), guard("green"), guard("future"), guard("not begun"));
        drop(generator::spawn(move |y| {
            let _guard = a;
            y.wait(time::sleeping(HOUR));
        }));
        drop(green::spawn(move || {
            let _guard = b;
            green::sleep(HOUR);
        }));
        drop(future::spawn(async move {
            let _guard = c;
            time::sleeping(HOUR).await;
        }));
        drop(green::spawn(move || drop(d)));
    });
    for _ in 0..3 {
        assert!(runtime.turn()); // of all but the last
    }
    assert_eq!(log.len(), 0);
    drop(runtime);
    assert_eq!(log.take(), ["not begun", "future", "green", "generator"]);
}

#[test]
fn what_the_root_leaves_is_cancelled_the_newest_first() {
    let log = Log::new();
    let inside = log.clone();
    Builder::new().round_robin().run(move || {
        for n in 0..5 {
            let guard = OnDrop(inside.clone(), n);
            drop(green::spawn(move || {
                let _guard = guard;
                green::sleep(HOUR);
            }));
        }
        green::yield_now();
    });
    assert_eq!(log.take(), [4, 3, 2, 1, 0]);
}

// Two runtimes on one thread.

#[test]
fn two_runtimes_are_driven_in_turn() {
    let (a, b) = (by_hand(), by_hand());
    let log = Log::new();
    let counts = |runtime: &Runtime, name: &'static str| {
        let log = log.clone();
        runtime.enter(|| {
            green::spawn(move || {
                for n in 0..3 {
                    log.push((name, n, wouldblock::task::current().unwrap().id()));
                    green::yield_now();
                }
            })
        })
    };
    let tasks = [counts(&a, "a"), counts(&b, "b")];
    while a.turn() | b.turn() {}
    assert!(tasks.iter().all(wouldblock::JoinHandle::is_finished));
    let expected = (0..3).flat_map(|n| [("a", n, 1), ("b", n, 1)]);
    assert_eq!(log.take(), expected.collect::<Vec<_>>());
}

#[test]
fn a_task_of_one_runtime_wakes_one_of_another() {
    let (a, b) = (by_hand(), by_hand());
    let (tx, rx) = oneshot::channel();
    let waits = a.enter(|| future::spawn(rx));
    while a.turn() {}
    let sends = b.enter(|| green::spawn(move || tx.send("from b").unwrap()));
    while b.turn() {}
    assert!(sends.is_finished() && !waits.is_finished());
    while a.turn() {}
    assert!(waits.is_finished());
}

#[test]
fn joining_a_task_of_another_runtime_is_a_clear_error() {
    let (a, b) = (by_hand(), by_hand());
    let task = a.enter(|| green::spawn(|| green::sleep(HOUR)));
    let mut error = b.enter(|| green::spawn(move || task.join().unwrap_err().to_string()));
    while b.turn() {}
    let std::task::Poll::Ready(Ok(text)) = poll_once(&mut error) else { panic!("it is done") };
    assert!(text.contains("belongs to another runtime"), "{text}");
    assert!(text.contains("tests/it/scheduling.rs"), "which task: {text}");
}

#[test]
fn cancelling_a_task_from_another_runtime_stops_it_in_its_own() {
    let (a, b) = (by_hand(), by_hand());
    let log = Log::new();
    let guard = OnDrop(log.clone(), "dropped");
    let task = a.enter(|| {
        green::spawn(move || {
            let _guard = guard;
            green::sleep(HOUR);
        })
    });
    while a.turn() {}
    b.enter(|| task.cancel());
    assert!(!b.turn(), "a task of `a` had a turn in `b`");
    assert_eq!(log.len(), 0);
    while a.turn() {}
    assert_eq!((log.take(), task.is_finished()), (vec!["dropped"], true));
}

#[test]
fn cancelling_works_between_the_turns_too() {
    let runtime = by_hand();
    let task = runtime.enter(|| green::spawn(|| green::sleep(HOUR)));
    while runtime.turn() {}
    task.cancel(); // by whoever drives the runtime, outside of it
    while runtime.turn() {}
    assert!(task.is_finished());
}

#[test]
fn a_runtime_inside_of_a_run_can_be_made_but_not_driven() {
    bounded(|| {
        let inner = by_hand();
        for (text, what) in [
            (panic_text(|| inner.turn()), "a runtime is entered inside of a run"),
            (panic_text(|| wouldblock::run(|| true)), "`run` inside of `run`"),
        ] {
            assert!(text.contains(what), "{text:?}");
            assert!(text.contains("spawn a task instead"), "what to do: {text:?}");
        }
    });
}

#[test]
fn spawning_outside_of_a_run_is_a_clear_error() {
    type Attempt = fn();
    let attempts: [Attempt; 3] = [
        || drop(generator::spawn(|_| ())),
        || drop(green::spawn(|| ())),
        || drop(future::spawn(async {})),
    ];
    for attempt in attempts {
        let text = panic_text(attempt);
        assert!(text.contains("spawn outside of a run"), "{text:?}");
        assert!(text.contains("wouldblock::run"), "what to do: {text:?}");
    }
}
