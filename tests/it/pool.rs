//! Pools: room for so many and no more, `map` and its kin, laziness, deadlocks, and what is cancelled.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use crate::util::{
    Defer, ERAS, HOUR, MS, SECOND, Trace, assert_contains, caught, let_others_run, logged,
    panic_text, run, run_in_order, spawn_running, spawn_waiting, text,
};
use wouldblock::sync::channel;
use wouldblock::{
    Builder, JoinError, future, generator, green,
    group::{Imap, Pool},
    op, task, task_local,
    testing::explore,
    time,
};

/// How many are in at once, and the most there have been.
#[derive(Clone, Default)]
struct Crowd(Rc<(Cell<usize>, Cell<usize>)>);

impl Crowd {
    fn stay(&self, duration: Duration) {
        let (now, most) = &*self.0;
        now.set(now.get() + 1);
        most.set(most.get().max(now.get()));
        green::finally(|| green::sleep(duration), || now.set(now.get() - 1));
    }

    fn most(&self) -> usize {
        self.0.1.get()
    }
}

/// The inputs 0, 1, 2, .., counted as they are pulled.
fn counted(up_to: usize) -> (Rc<Cell<usize>>, impl Iterator<Item = usize>) {
    let pulled = Rc::new(Cell::new(0));
    let count = pulled.clone();
    (pulled, (0..up_to).inspect(move |_| count.set(count.get() + 1)))
}

fn values<T>(results: impl IntoIterator<Item = Result<T, JoinError>>) -> Vec<T> {
    results.into_iter().map(Result::unwrap).collect()
}

// reserve, spawn and join

#[test]
fn never_more_than_its_size_are_under_way_and_all_of_them_if_there_is_work() {
    for size in 1..5 {
        run(|| {
            let (pool, crowd) = (Pool::new(size), Crowd::default());
            for _ in 0..10 {
                let crowd = crowd.clone();
                pool.reserve().spawn(move || crowd.stay(SECOND));
            }
            assert_eq!((pool.size(), pool.len() + pool.free_count()), (size, size));
            pool.join();
            assert_eq!((crowd.most(), pool.len(), pool.free_count()), (size, 0, size));
            assert!(pool.is_empty());
        });
    }
}

#[test]
fn reserve_waits_when_it_is_full_and_gives_no_turn_away_when_it_is_not() {
    run(|| {
        let pool = Pool::new(2);
        let start = time::now();
        let handles = [3, 1, 1].map(|s| {
            let handle = pool.reserve().spawn(move || {
                green::sleep(s * SECOND);
                s
            });
            (handle, time::now() - start)
        });
        assert_eq!(handles.each_ref().map(|(_, at)| at.as_secs()), [0, 0, 1]);
        assert_eq!(handles.map(|(handle, _)| handle.join().unwrap()), [3, 1, 1]);
    });
}

#[test]
fn each_era_spawns_each_and_waits_for_room() {
    run(|| {
        for waiter in ERAS {
            for era in ERAS {
                let pool = Pool::new(1);
                pool.reserve().spawn(|| green::sleep(SECOND));
                let (same, start) = (pool.clone(), time::now());
                let spawning = async move {
                    let slot = same.reserving().await;
                    let task = match era {
                        wouldblock::Era::Generator => slot.spawn_generator(|y| {
                            y.wait(time::sleeping(SECOND));
                            task::current().unwrap().era()
                        }),
                        wouldblock::Era::Green => slot.spawn(|| {
                            green::sleep(SECOND);
                            task::current().unwrap().era()
                        }),
                        wouldblock::Era::Future => slot.spawn_future(async {
                            time::sleeping(SECOND).await;
                            task::current().unwrap().era()
                        }),
                    };
                    task.await.unwrap()
                };
                let found = spawn_waiting(waiter, spawning, ()).join().unwrap();
                assert_eq!((found, time::now() - start), (era, 2 * SECOND), "{waiter}");
                spawn_waiting(waiter, async move { pool.joining().await }, ()).join().unwrap();
            }
        }
    });
}

#[test]
fn who_waits_for_room_is_served_in_order() {
    run_in_order(|| {
        let (pool, trace) = (Pool::new(1), Trace::new());
        pool.reserve().spawn(|| green::sleep(SECOND));
        let waiters = ["a", "b", "c"].into_iter().zip(ERAS).map(|(name, era)| {
            let (pool, trace) = (pool.clone(), trace.clone());
            spawn_running(era, move || {
                pool.reserve().spawn(move || trace.say(name)).join().unwrap();
            })
        });
        let waiters: Vec<_> = waiters.collect();
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
        assert_eq!(trace.take(), ["a", "b", "c"]);
    });
}

#[test]
fn tasks_have_the_line_and_the_name_of_their_pool() {
    run(|| {
        let pool = Pool::named("fetch", 3);
        let me = || task::current().unwrap();
        let (a, line) = (pool.reserve().spawn(me), line!());
        let a = a.join().unwrap();
        assert_eq!((a.name(), a.spawned_at().file()), (Some("fetch"), file!()));
        assert_eq!(a.spawned_at().line(), line);
        let slot = green::wait(pool.reserving());
        let (b, line) = (slot.spawn_future(async move { me() }), line!());
        assert_eq!(b.join().unwrap().spawned_at().line(), line);
        let (mut imap, line) = (pool.imap([()], move |()| me()), line!());
        assert_eq!(imap.next().unwrap().unwrap().spawned_at().line(), line);
    });
}

#[test]
fn a_task_that_fails_or_is_cancelled_makes_room() {
    run(|| {
        let pool = Pool::new(1);
        assert!(pool.reserve().spawn(|| panic!("no")).join().unwrap_err().is_panic());
        let stuck = pool.reserve().spawn(|| green::wait(pending::<()>()));
        let_others_run();
        stuck.cancel();
        assert_eq!(pool.reserve().spawn(|| 7).join().unwrap(), 7);
        assert!(stuck.join().unwrap_err().is_cancelled());
        pool.join();
        assert_eq!(pool.free_count(), 1);
    });
}

#[test]
fn cancel_ends_those_that_are_in_it_and_those_that_wait_come_in() {
    run(|| {
        let (pool, trace) = (Pool::new(2), Trace::new());
        for _ in 0..2 {
            let held = trace.at_drop("ended");
            drop(pool.reserve().spawn(move || {
                let _held = held;
                green::wait(pending::<()>());
            }));
        }
        let same = pool.clone();
        let waits = green::spawn(move || same.reserve().spawn(|| 7).join().unwrap());
        let_others_run();
        pool.cancel();
        assert_eq!(waits.join().unwrap(), 7);
        assert_eq!(trace.take(), ["ended", "ended"]);
        pool.join();
    });
}

#[test]
fn several_join_it_in_each_era() {
    run(|| {
        let pool = Pool::new(2);
        pool.join();
        pool.reserve().spawn(|| green::sleep(SECOND));
        let start = time::now();
        let joiners = ERAS.map(|era| {
            let pool = pool.clone();
            spawn_waiting(era, async move { pool.joining().await }, ())
        });
        joiners.into_iter().for_each(|joiner| joiner.join().unwrap());
        assert_eq!(time::now() - start, SECOND);
    });
}

#[test]
fn its_tasks_run_on_when_it_is_dropped() {
    run(|| {
        let task = Pool::new(1).reserve().spawn(|| {
            green::sleep(SECOND);
            7
        });
        assert_eq!(task.join().unwrap(), 7);
    });
}

#[test]
fn a_result_that_nobody_wants_is_dropped_by_its_task_and_may_wait() {
    run(|| {
        let (pool, trace) = (Pool::new(1), Trace::new());
        let say = trace.clone();
        drop(pool.reserve().spawn(move || {
            Defer(move || {
                green::sleep(SECOND);
                say.say("dropped");
            })
        }));
        pool.join();
        assert_eq!(trace.take(), ["dropped"]);
    });
}

#[test]
fn a_slot_that_is_dropped_makes_room_for_the_next_in_line() {
    run(|| {
        let pool = Pool::new(1);
        let slot = pool.try_reserve().unwrap();
        assert_eq!((pool.len(), pool.free_count()), (0, 0), "reserved, and no task in it");
        assert!(pool.try_reserve().is_none());
        let same = pool.clone();
        let waits = green::spawn(move || same.reserve().spawn(|| 7).join().unwrap());
        let_others_run();
        assert!(!waits.is_finished());
        drop(slot);
        assert!(pool.try_reserve().is_none(), "it is for the one that waits");
        assert_eq!(waits.join().unwrap(), 7);
        pool.join();
        assert_eq!((pool.len(), pool.free_count()), (0, 1));
    });
}

/// A value that the task would inherit a copy of, and that cannot be copied.
#[test]
fn a_spawn_that_panics_gives_the_slot_back() {
    #[derive(Default)]
    struct NoCopy(bool);
    impl Clone for NoCopy {
        fn clone(&self) -> NoCopy {
            assert!(!self.0, "no copy");
            NoCopy(false)
        }
    }
    task_local! { inherited static VALUE: NoCopy = NoCopy::default(); }
    run(|| {
        let pool = Pool::new(1);
        VALUE.set(NoCopy(true));
        assert_contains(&panic_text(|| pool.reserve().spawn(|| ())), &["no copy"]);
        assert_eq!((pool.len(), pool.free_count()), (0, 1));
        VALUE.set(NoCopy(false));
        pool.reserve().spawn(|| ()).join().unwrap();
    });
}

/// The report of a deadlock names the task that keeps a place and spawns into none.
#[test]
fn who_keeps_a_slot_is_named() {
    let deadlock = Builder::new().try_run(|| {
        let pool = Pool::new(1);
        let _slot = pool.reserve();
        pool.reserve().spawn(|| ());
    });
    let report = deadlock.unwrap_err().to_string();
    assert_contains(
        &report,
        &["waits for room in a pool (last taken by task 1 \"root\", tests/it/pool.rs:"],
    );
}

#[test]
fn a_pool_of_no_size_is_refused() {
    assert_contains(&panic_text(|| Pool::new(0)), &["room for no task"]);
}

#[test]
fn room_is_conserved_whoever_gives_up_at_whatever_point() {
    explore(200, || {
        let (pool, crowd) = (Pool::new(2), Crowd::default());
        let spawners: Vec<_> = (0..12)
            .map(|n| {
                let (pool, crowd) = (pool.clone(), crowd.clone());
                let spawning = async move {
                    let slot = pool.reserving().await;
                    slot.spawn(move || crowd.stay(u32::from(n % 3 != 0) * MS)).await
                };
                spawn_waiting(ERAS[n % 3], op::timeout((n as u32 % 5) * MS, spawning), ())
            })
            .collect();
        for (n, spawner) in spawners.into_iter().enumerate() {
            if n % 4 == 1 {
                green::yield_now();
                spawner.cancel();
            }
            let _ = spawner.join();
        }
        pool.join();
        assert_eq!((pool.free_count(), pool.len()), (2, 0));
        assert!(crowd.most() <= 2, "{}", crowd.most());
    });
}

// Deadlocks

#[test]
fn a_nested_spawn_in_a_full_pool_is_reported_as_the_deadlock_it_is() {
    let deadlock = Builder::new().try_run(|| {
        let pool = Pool::named("fetch", 1);
        let same = pool.clone();
        pool.reserve().spawn(move || same.reserve().spawn(|| ()).join().unwrap()).join().unwrap();
    });
    let report = deadlock.unwrap_err().to_string();
    let lines: Vec<_> = report.lines().collect();
    assert_eq!(lines.len(), 4, "{report}");
    let room = "room in a pool (last taken by task 2 \"fetch\", tests/it/pool.rs:";
    assert_contains(lines[1], &["task 1 \"root\"", "waits for task 2"]);
    assert_contains(
        lines[2],
        &["task 2 \"fetch\" (green, spawned at tests/it/pool.rs:", "waits for ", room],
    );
    assert_contains(lines[3], &["cycle: task 2 → ", room, " → task 2"]);
}

#[test]
fn so_is_a_nested_map_and_a_join_from_within() {
    let deadlock = Builder::new().try_run(|| {
        let pool = Pool::new(1);
        let same = pool.clone();
        pool.map([()], move |()| same.map(0..3, |n| n).len());
    });
    assert_contains(
        &deadlock.unwrap_err().to_string(),
        &["waits for room in a pool (last taken by"],
    );
    let deadlock = Builder::new().try_run(|| {
        let pool = Pool::new(1);
        let same = pool.clone();
        pool.reserve().spawn(move || same.join());
        pool.join();
    });
    assert_contains(&deadlock.unwrap_err().to_string(), &["waits for the tasks of a pool"]);
}

#[test]
fn a_feeder_that_nobody_takes_results_from_is_said_to_wait_for_that() {
    let deadlock = Builder::new().try_run(|| {
        let _imap = Pool::new(1).imap(0.., |n| n);
        green::wait(pending::<()>());
    });
    let report = deadlock.unwrap_err().to_string();
    assert_contains(&report, &["\"imap\"", "waits for a task to take the results of its imap"]);
    assert!(!report.contains("cycle"), "{report}");
}

// map, imap, imap_unordered

#[test]
fn results_come_in_the_order_of_the_inputs_or_of_the_ends() {
    run(|| {
        let pool = Pool::new(3);
        let nap = |s: u32| {
            green::sleep(s * SECOND);
            s
        };
        assert_eq!(values(pool.map([3, 1, 2], nap)), [3, 1, 2]);
        assert_eq!(values(pool.imap([3, 1, 2], nap)), [3, 1, 2]);
        assert_eq!(values(pool.imap_unordered([3, 1, 2], nap)), [1, 2, 3]);
        assert_eq!(values(pool.imap(Vec::new(), nap)), [0; 0]);
        assert_eq!(values(pool.imap_unordered(Vec::new(), nap)), [0; 0]);
    });
}

#[test]
fn each_era_takes_them() {
    run(|| {
        for era in ERAS {
            let pool = Pool::new(2);
            let all = spawn_waiting(era, pool.mapping(0..5, |n| n * n), ());
            assert_eq!(values(all.join().unwrap()), [0, 1, 4, 9, 16], "{era}");
        }
        let by_hand = generator::spawn(|y| {
            let mut imap = Pool::new(2).imap_unordered([2, 1], |s| {
                green::sleep(s * SECOND);
                s
            });
            let mut got = Vec::new();
            while let Some(result) = y.wait(imap.next_result()) {
                got.push(result.unwrap());
            }
            got
        });
        assert_eq!(by_hand.join().unwrap(), [1, 2]);
        let awaited = future::spawn(async {
            let mut imap = Pool::new(2).imap([2, 1], |s| green::wait(async move { s }));
            (imap.next_result().await.unwrap().unwrap(), imap.next_result().await.unwrap().unwrap())
        });
        assert_eq!(awaited.join().unwrap(), (2, 1));
    });
}

#[test]
fn inputs_are_never_pulled_further_ahead_than_the_pool_is_large() {
    for size in 1..4 {
        for in_order in [true, false] {
            explore(30, || {
                let (pulled, inputs) = counted(usize::MAX);
                let (pool, crowd) = (Pool::new(size), Crowd::default());
                let work = {
                    let crowd = crowd.clone();
                    move |n: usize| {
                        crowd.stay((n as u32 % 3 + 1) * MS);
                        n
                    }
                };
                assert_eq!(pulled.get(), 0);
                let mut imap: Imap<usize> = match in_order {
                    true => pool.imap(inputs, work),
                    false => pool.imap_unordered(inputs, work),
                };
                for taken in 0..20 {
                    green::sleep(10 * MS);
                    assert_eq!(pulled.get(), taken + size, "as far as it may, and no further");
                    assert_eq!(pool.len(), 0);
                    imap.next().unwrap().unwrap();
                }
                assert_eq!(crowd.most(), size);
            });
        }
    }
}

#[test]
fn a_pool_that_others_use_too_is_never_overfull() {
    run(|| {
        let (pool, crowd) = (Pool::new(2), Crowd::default());
        let stay = || {
            let crowd = crowd.clone();
            move |n: u32| {
                crowd.stay(SECOND);
                n
            }
        };
        let (a, b) = (pool.imap(0..5, stay()), pool.imap_unordered(10..15, stay()));
        let single = stay();
        pool.reserve().spawn(move || single(0));
        assert_eq!(values(a), [0, 1, 2, 3, 4]);
        let mut b = values(b);
        b.sort_unstable();
        assert_eq!(b, [10, 11, 12, 13, 14]);
        pool.join();
        assert_eq!(crowd.most(), 2);
    });
}

#[test]
fn a_failure_stays_at_its_place_and_the_others_go_on() {
    run(|| {
        let pool = Pool::new(2);
        let odd_ones_panic = |n: u32| if n.is_multiple_of(2) { n } else { panic!("odd: {n}") };
        let results: Vec<_> = pool.map(0..4, odd_ones_panic);
        let texts: Vec<_> = results.into_iter().map(|r| r.map_err(|e| e.to_string())).collect();
        assert_eq!((&texts[0], &texts[2]), (&Ok(0), &Ok(2)));
        assert_contains(texts[1].as_ref().unwrap_err(), &["panicked: odd: 1"]);
        assert_contains(texts[3].as_ref().unwrap_err(), &["panicked: odd: 3"]);
        let first: Result<Vec<_>, _> = pool.imap(0..4, odd_ones_panic).collect();
        assert!(first.unwrap_err().is_panic());
    });
}

#[test]
fn inputs_may_wait_and_results_come_meanwhile() {
    run(|| {
        let (sender, receiver) = channel::unbounded();
        let mut imap = Pool::new(3).imap_unordered(receiver, |n: u32| n * 2);
        for n in 0..5 {
            sender.send(n).unwrap();
            assert_eq!(imap.next().unwrap().unwrap(), n * 2, "while the input waits for more");
        }
        drop(sender);
        assert!(imap.next().is_none() && imap.next().is_none());
    });
}

#[test]
fn inputs_that_panic_do_so_for_whoever_takes_the_results_after_those_before() {
    run(|| {
        for in_order in [true, false] {
            let inputs = (0..).inspect(|n| assert!(*n < 3, "no more inputs"));
            let pool = Pool::new(2);
            let mut imap = match in_order {
                true => pool.imap(inputs, |n| n),
                false => pool.imap_unordered(inputs, |n| n),
            };
            let mut before = values(imap.by_ref().take(3));
            before.sort_unstable();
            assert_eq!(before, [0, 1, 2]);
            assert_contains(&text(&*caught(|| imap.next())), &["no more inputs"]);
            assert!(imap.next().is_none());
        }
    });
}

#[test]
fn dropping_it_early_cancels_what_is_under_way_and_pulls_no_more() {
    explore(50, || {
        for in_order in [true, false] {
            let (pulled, inputs) = counted(100);
            let (pool, trace) = (Pool::new(3), Trace::new());
            let say = trace.clone();
            let work = move |n| {
                let _held = say.at_drop("ended");
                green::sleep(if n == 0 { SECOND } else { HOUR });
            };
            let mut imap = match in_order {
                true => pool.imap(inputs, work),
                false => pool.imap_unordered(inputs, work),
            };
            let start = time::now();
            imap.next().unwrap().unwrap();
            drop(imap); // Before the feeder could pull a fourth.
            pool.join();
            assert_eq!(time::now() - start, SECOND);
            assert_eq!((pulled.get(), trace.take().len()), (3, 3));
            assert_eq!(pool.free_count(), 3);
        }
    });
}

#[test]
fn a_time_limit_on_the_next_result_loses_none_and_doubles_none() {
    explore(100, || {
        for in_order in [true, false] {
            let pool = Pool::new(3);
            let work = |n: u32| {
                green::sleep((n * 7 % 5) * MS);
                n
            };
            let mut imap = match in_order {
                true => pool.imap(0..20, work),
                false => pool.imap_unordered(0..20, work),
            };
            let mut got = Vec::new();
            loop {
                match green::timeout(MS, || imap.next()) {
                    Ok(Some(result)) => got.push(result.unwrap()),
                    Ok(None) => break,
                    Err(_) => {}
                }
            }
            if !in_order {
                got.sort_unstable();
            }
            assert_eq!(got, (0..20).collect::<Vec<_>>());
        }
    });
}

#[test]
fn whoever_maps_is_cancelled_and_what_is_under_way_with_it() {
    run(|| {
        let (pool, trace) = (Pool::new(2), Trace::new());
        for era in ERAS {
            let held = trace.clone();
            let mapping = pool.mapping(0..10, move |_| {
                let _held = held.at_drop("ended");
                green::sleep(HOUR);
            });
            let maps = spawn_waiting(era, mapping, ());
            green::sleep(SECOND);
            maps.cancel();
            assert!(maps.join().unwrap_err().is_cancelled());
            pool.join();
            assert_eq!(trace.take(), ["ended", "ended"], "{era}");
        }
    });
}

#[test]
fn the_end_of_the_run_stops_the_feeder() {
    let (pulled, inputs) = counted(usize::MAX);
    let logs = logged(|| {
        run(|| {
            let imap = Pool::new(2).imap(inputs, |n| n);
            green::sleep(SECOND);
            std::mem::forget(imap);
        });
    });
    assert_eq!((pulled.get(), logs.len()), (2, 0), "{logs:?}");
}

#[test]
fn a_panic_whose_result_is_not_taken_is_logged() {
    for in_order in [true, false] {
        let logs = logged(|| {
            run(|| {
                let pool = Pool::new(1);
                let work = |_| -> () { panic!("not taken") };
                let imap = match in_order {
                    true => pool.imap([()], work),
                    false => pool.imap_unordered([()], work),
                };
                green::sleep(SECOND);
                drop(imap);
            });
        });
        assert_eq!(logs.len(), 1, "{logs:?}");
        assert_contains(&logs[0].1, &["panicked: not taken", "no task joined it"]);
    }
}

/// Some take all results, others give up or are cancelled at any point; two share the pool, and others spawn there.
#[test]
fn nothing_is_lost_and_no_room_either_whoever_gives_up_at_whatever_point() {
    explore(1000, || {
        let (pool, crowd, held) = (Pool::new(3), Crowd::default(), Rc::new(()));
        let takers: Vec<_> = (0..6_usize)
            .map(|n| {
                let (pool, crowd, held) = (pool.clone(), crowd.clone(), held.clone());
                let take = async move {
                    let inputs = (0..5_u32).map(move |n| {
                        green::yield_now(); // They may wait.
                        (n, held.clone())
                    });
                    let work = move |(n, held): (u32, Rc<()>)| {
                        crowd.stay(n % 2 * MS);
                        drop(held);
                        n
                    };
                    let mut imap = match n % 2 {
                        0 => pool.imap(inputs, work),
                        _ => pool.imap_unordered(inputs, work),
                    };
                    let mut taken = Vec::new();
                    loop {
                        match op::timeout((n as u32 % 3) * MS, imap.next_result()).await {
                            Ok(Some(result)) => taken.push(result.unwrap()),
                            Ok(None) => break,
                            Err(_) if n == 4 => return None,
                            Err(_) => time::sleeping(MS).await,
                        }
                    }
                    taken.sort_unstable();
                    Some(taken)
                };
                spawn_waiting(ERAS[n / 2], take, ())
            })
            .collect();
        pool.reserve().spawn(|| green::sleep(MS));
        takers[1].cancel();
        green::sleep(MS);
        takers[2].cancel();
        for (n, taker) in takers.into_iter().enumerate() {
            match taker.join() {
                Ok(Some(taken)) => assert_eq!(taken, [0, 1, 2, 3, 4], "{n}"),
                Ok(None) => assert_eq!(n, 4),
                Err(error) => assert!(error.is_cancelled() && [1, 2].contains(&n), "{n}: {error}"),
            }
        }
        pool.join();
        let_others_run();
        assert_eq!((pool.free_count(), pool.len(), Rc::strong_count(&held)), (3, 0, 1));
        assert!(crowd.most() <= 3);
    });
}

#[test]
fn a_thousand_inputs_whatever_the_order() {
    explore(10, || {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let see = seen.clone();
        let pool = Pool::new(10);
        let results = pool.imap(0..1000_u32, move |n| {
            green::sleep((n * 13 % 7) * MS);
            see.borrow_mut().push(n);
            n
        });
        assert_eq!(values(results), (0..1000).collect::<Vec<_>>());
        let mut seen = seen.take();
        assert!(!seen.is_sorted());
        seen.sort_unstable();
        assert_eq!(seen, (0..1000).collect::<Vec<_>>());
    });
}
