//! Tasks: who they are, where they were spawned, values of their own, the size of their stacks; and what
//! is said to whoever asks for what cannot be.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::panic::Location;
use std::rc::Rc;

use crate::util::{
    self, Defer, ERAS, HOUR, SECOND, Trace, assert_contains, in_child, let_others_run, logged,
    panic_text, run, run_in_order, spawn_running, spawn_waiting,
};
use wouldblock::{
    Builder, Era, JoinHandle, future, generator, green, group::Group, task, task_local, time,
};

fn me() -> task::Task {
    task::current().expect("a task runs")
}

fn builder_in<T: 'static>(
    era: Era,
    builder: task::Builder,
    body: impl FnOnce() -> T + 'static,
) -> JoinHandle<T> {
    match era {
        Era::Generator => builder.spawn_generator(|_| body()),
        Era::Green => builder.spawn(body),
        Era::Future => builder.spawn_future(async { body() }),
    }
}

// Names, sites, eras.

#[test]
fn outside_of_any_there_is_none() {
    assert!(task::current().is_none());
    let runtime = Builder::new().build().unwrap();
    assert!(runtime.enter(|| task::current().is_none()));
}

#[test]
fn the_root_is_task_1_and_is_named_root() {
    let line = line!() + 1;
    let root = run_here(|| wouldblock::run(me));
    assert_eq!((root.id(), root.name(), root.era()), (1, Some("root"), Era::Green));
    assert_eq!(root.spawned_at().file(), file!());
    assert_eq!(root.spawned_at().line(), line);
    let line = line!() + 1;
    let root = Builder::new().virtual_clock().run(me);
    assert_eq!(root.spawned_at().line(), line);
    let line = line!() + 1;
    let root = Builder::new().try_run(me).unwrap();
    assert_eq!(root.spawned_at().line(), line);
}

fn run_here<T>(f: impl FnOnce() -> T) -> T {
    f()
}

#[test]
fn each_knows_its_name_era_and_number() {
    run(|| {
        for (era, id) in ERAS.into_iter().zip(2..) {
            let named = task::Builder::new().name(format!("a {era} task"));
            let task = builder_in(era, named, me).join().unwrap();
            assert_eq!((task.id(), task.era()), (id, era));
            assert_eq!(task.name(), Some(&*format!("a {era} task")));
        }
        assert_eq!(spawn_running(Era::Green, me).join().unwrap().name(), None);
        assert_eq!(me().id(), 1, "and the root is itself again");
    });
}

#[test]
fn it_prints_as_the_documentation_says() {
    run(|| {
        let task = task::Builder::new().name("fetch").spawn(me);
        let line = line!() - 1;
        let task = task.join().unwrap();
        let text = task.to_string();
        let head = format!("task 2 \"fetch\" (green, spawned at tests/it/task.rs:{line}:");
        assert!(text.starts_with(&head) && text.ends_with(')'), "{text}");
        assert_eq!(format!("{task:?}"), format!("Task({text})"));
        let unnamed = future::spawn(async { me() }).join().unwrap().to_string();
        assert!(unnamed.starts_with("task 3 (future, spawned at tests/it/task.rs:"), "{unnamed}");
    });
}

#[test]
fn each_spawn_notes_the_line_of_whoever_calls_it() {
    run(|| {
        let sites: [(&str, JoinHandle<task::Task>, u32); 6] = [
            ("generator", generator::spawn(|_| me()), line!()),
            ("green", green::spawn(me), line!()),
            ("future", future::spawn(async { me() }), line!()),
            ("generator builder", task::Builder::new().spawn_generator(|_| me()), line!()),
            ("green builder", task::Builder::new().spawn(me), line!()),
            ("future builder", task::Builder::new().spawn_future(async { me() }), line!()),
        ];
        for (what, task, line) in sites {
            let site = task.join().unwrap().spawned_at();
            assert_eq!((site.file(), site.line()), (file!(), line), "{what}");
        }
    });
}

#[test]
fn a_function_that_tracks_its_caller_passes_the_site_on() {
    #[track_caller]
    fn helper() -> (JoinHandle<task::Task>, &'static Location<'static>) {
        (green::spawn(me), Location::caller())
    }
    run(|| {
        let (task, here) = helper();
        assert_eq!(task.join().unwrap().spawned_at(), here);
    });
}

#[test]
fn explore_says_the_line_of_whoever_calls_it() {
    let site = Cell::new(None);
    let line = line!() + 1;
    wouldblock::testing::explore(1, || site.set(Some(me().spawned_at())));
    let site = site.get().unwrap();
    assert_eq!((site.file(), site.line()), (file!(), line));
}

#[test]
fn the_current_task_changes_with_each_turn() {
    run(|| {
        let tasks: Vec<_> = ERAS
            .into_iter()
            .map(|era| {
                spawn_running(era, || {
                    let id = me().id();
                    for _ in 0..5 {
                        green::yield_now();
                        assert_eq!(me().id(), id);
                    }
                })
            })
            .collect();
        for task in tasks {
            task.join().unwrap();
        }
    });
}

#[test]
fn in_a_generator_by_hand_it_is_the_task_that_resumes_it() {
    run(|| {
        let mut ids = generator::Generator::new(|y: &generator::Yielder<u64>| {
            loop {
                y.yield_(me().id());
            }
        });
        assert_eq!(ids.next(), Some(1));
        let task = green::spawn(move || ids.next());
        assert_eq!(task.join().unwrap(), Some(2));
    });
}

#[test]
fn a_task_may_be_told_of_on_another_thread() {
    let text = run(|| {
        let task = green::spawn(me).join().unwrap();
        std::thread::spawn(move || (task.to_string(), task.stack_used())).join().unwrap()
    });
    assert_contains(&text.0, &["task 2 (green"]);
    assert_eq!(text.1, None, "only its own thread looks at its stack");
}

#[test]
fn a_handle_prints_its_task() {
    run(|| {
        let handle = task::Builder::new().name("fetch").spawn(|| ());
        assert_contains(&format!("{handle:?}"), &["JoinHandle(task 2 \"fetch\" (green"]);
    });
}

// Task-local values.

task_local! {
    static COUNT: Cell<u32> = Cell::new(10);
    static NAME: String = "nobody".to_owned();
}

#[test]
fn each_task_has_its_own_value() {
    run_in_order(|| {
        COUNT.with(|count| count.set(1));
        let tasks = ERAS.map(|era| {
            spawn_running(era, || {
                let first = COUNT.with(Cell::get);
                for _ in 0..5 {
                    COUNT.with(|count| count.set(count.get() + 1));
                    green::yield_now();
                }
                (first, COUNT.with(Cell::get))
            })
        });
        for task in tasks {
            assert_eq!(task.join().unwrap(), (10, 15));
        }
        assert_eq!(COUNT.with(Cell::get), 1);
    });
}

#[test]
fn a_future_keeps_its_values_between_its_polls() {
    run(|| {
        let task = future::spawn(async {
            NAME.set("ann".into());
            time::sleeping(SECOND).await;
            NAME.with(String::clone)
        });
        let other = future::spawn(async { NAME.with(String::clone) });
        assert_eq!((task.join().unwrap(), other.join().unwrap()), ("ann".into(), "nobody".into()));
    });
}

#[test]
fn in_a_generator_by_hand_they_are_those_of_the_task_that_resumes_it() {
    run(|| {
        let mut names = generator::Generator::new(|y: &generator::Yielder<String>| {
            loop {
                y.yield_(NAME.with(String::clone));
            }
        });
        NAME.set("root".into());
        assert_eq!(names.next().unwrap(), "root");
        assert_eq!(green::spawn(move || names.next()).join().unwrap().unwrap(), "nobody");
    });
}

#[test]
fn a_value_is_made_when_it_is_first_asked_for() {
    thread_local!(static MADE: Cell<u32> = const { Cell::new(0) });
    task_local! { static LAZY: u32 = { MADE.set(MADE.get() + 1); MADE.get() }; }
    run_in_order(|| {
        green::spawn(|| ()).join().unwrap();
        assert_eq!(MADE.get(), 0);
        assert_eq!((LAZY.with(|v| *v), LAZY.with(|v| *v)), (1, 1));
        assert_eq!(green::spawn(|| LAZY.with(|v| *v)).join().unwrap(), 2);
    });
}

#[test]
fn values_are_dropped_when_their_task_ends_and_as_that_task() {
    task_local! { static KEPT: RefCell<Option<Defer<Box<dyn FnMut()>>>> = RefCell::default(); }
    for era in ERAS {
        run(|| {
            let trace = Trace::new();
            let (at_end, inside) = (trace.clone(), trace.clone());
            let task = spawn_running(era, move || {
                let said =
                    Defer(Box::new(move || at_end.say(format!("dropped in {}", me().id()))) as _);
                KEPT.set(RefCell::new(Some(said)));
                green::sleep(SECOND);
                inside.say("body done");
            });
            task.join().unwrap();
            assert_eq!(trace.take(), ["body done", "dropped in 2"], "{era}");
        });
    }
}

#[test]
fn a_join_waits_for_the_destructors_of_values() {
    task_local! { static KEPT: RefCell<Option<Defer<Box<dyn FnMut()>>>> = RefCell::default(); }
    for era in ERAS {
        run(|| {
            let trace = Trace::new();
            let inside = trace.clone();
            let task = spawn_running(era, move || {
                let slow = Defer(Box::new(move || {
                    green::sleep(SECOND);
                    inside.say("dropped");
                }) as _);
                KEPT.set(RefCell::new(Some(slow)));
            });
            let_others_run();
            assert!(!task.is_finished(), "{era}");
            task.join().unwrap();
            assert_eq!(trace.take(), ["dropped"], "{era}");
        });
    }
}

#[test]
fn values_of_a_cancelled_or_panicking_task_are_dropped_too() {
    task_local! { static KEPT: RefCell<Option<util::AtDrop>> = RefCell::default(); }
    for era in ERAS {
        run(|| {
            let trace = Trace::new();
            for panics in [false, true] {
                let guard = trace.at_drop(if panics { "panicked" } else { "cancelled" });
                let task = spawn_running(era, move || {
                    KEPT.set(RefCell::new(Some(guard)));
                    assert!(!panics, "expected");
                    green::sleep(HOUR);
                });
                let_others_run();
                task.cancel();
                assert!(task.join().is_err());
            }
            assert_eq!(trace.take(), ["cancelled", "panicked"], "{era}");
        });
    }
}

#[test]
fn setting_a_value_drops_the_one_before() {
    task_local! { static KEPT: RefCell<Option<util::AtDrop>> = RefCell::default(); }
    run(|| {
        let trace = Trace::new();
        KEPT.set(RefCell::new(Some(trace.at_drop("first"))));
        KEPT.set(RefCell::new(Some(trace.at_drop("second"))));
        assert_eq!(trace.take(), ["first"]);
    });
}

#[test]
fn a_value_may_be_set_while_the_old_one_is_looked_at() {
    run(|| {
        NAME.set("old".into());
        let seen = NAME.with(|name| {
            NAME.set("new".into());
            green::yield_now(); // and across a wait
            name.clone()
        });
        assert_eq!((seen, NAME.with(String::clone)), ("old".into(), "new".into()));
    });
}

#[test]
fn a_value_may_be_made_of_another() {
    task_local! { static GREETING: String = NAME.with(|name| format!("hello {name}")); }
    run(|| {
        NAME.set("ann".into());
        assert_eq!(GREETING.with(String::clone), "hello ann");
    });
}

#[test]
fn a_value_may_ask_for_another_when_it_is_dropped() {
    task_local! {
        static LAST: RefCell<Option<util::AtDrop>> = RefCell::default();
        static FIRST: RefCell<Option<Defer<Box<dyn FnMut()>>>> = RefCell::default();
    }
    run(|| {
        let trace = Trace::new();
        let said = trace.clone();
        let task = green::spawn(move || {
            let uses_last = move || LAST.set(RefCell::new(Some(said.at_drop("last"))));
            FIRST.set(RefCell::new(Some(Defer(Box::new(uses_last) as _))));
        });
        task.join().unwrap();
        assert_eq!(trace.take(), ["last"]);
    });
}

task_local! {
    inherited static USER: String = "nobody".to_owned();
    /// Between two that are.
    static OWN: Cell<u32> = Cell::new(0);
    inherited static DEPTH: Cell<u32> = Cell::new(0);
}

#[test]
fn an_inherited_value_begins_as_a_copy_of_what_it_was_at_the_spawn() {
    run(|| {
        USER.set("ann".into());
        OWN.with(|own| own.set(7));
        for (era, depth) in ERAS.into_iter().zip(1..) {
            DEPTH.with(|own| own.set(depth));
            let child = spawn_running(era, || {
                let seen = (USER.with(String::clone), OWN.with(Cell::get), DEPTH.with(Cell::get));
                USER.set("child".into());
                DEPTH.with(|own| own.set(100));
                let grandchild = green::spawn(|| (USER.with(String::clone), DEPTH.with(Cell::get)));
                assert_eq!(grandchild.join().unwrap(), ("child".into(), 100));
                seen
            });
            USER.set("later".into());
            assert_eq!(child.join().unwrap(), ("ann".into(), 0, depth), "{era}");
            assert_eq!(USER.with(String::clone), "later");
            USER.set("ann".into());
        }
        assert_eq!(DEPTH.with(Cell::get), 3, "a copy, although it can be changed in place");
    });
}

#[test]
fn who_was_given_no_value_gives_none_on_and_outside_of_a_task_there_is_none_to_give() {
    run(|| {
        let child = green::spawn(|| USER.with(String::clone));
        assert_eq!(child.join().unwrap(), "nobody");
    });
    let runtime = Builder::new().build().unwrap();
    let seen = Rc::new(RefCell::new(String::new()));
    let see = seen.clone();
    drop(runtime.enter(|| green::spawn(move || see.replace(USER.with(String::clone)))));
    while runtime.turn() {}
    assert_eq!(*seen.borrow(), "nobody");
}

#[test]
fn scoped_tasks_and_those_of_a_group_inherit_too() {
    run(|| {
        USER.set("ann".into());
        let user = || USER.with(String::clone);
        assert_eq!(green::scope(|s| s.spawn(user).join().unwrap()), "ann");
        let group = Group::run(|g: &Group<wouldblock::JoinError>| {
            Ok(g.spawn_future(async move { Ok(user()) }).join().unwrap())
        });
        assert_eq!(group.unwrap(), "ann");
    });
}

/// Says how often it was copied, and asks for another value while it is.
struct Copied(Trace);

impl Clone for Copied {
    fn clone(&self) -> Copied {
        self.0.say(format!("copied for {}", USER.with(String::clone)));
        Copied(self.0.clone())
    }
}

#[test]
fn copies_are_made_by_the_task_that_spawns_and_dropped_with_theirs() {
    task_local! { inherited static KEPT: Option<(Copied, Rc<util::AtDrop>)> = None; }
    run(|| {
        let trace = Trace::new();
        USER.set("ann".into());
        KEPT.set(Some((Copied(trace.clone()), Rc::new(trace.at_drop("dropped")))));
        let never_begins = green::spawn(|| unreachable!("it is cancelled first"));
        assert_eq!(trace.take(), ["copied for ann"]);
        never_begins.cancel();
        assert!(never_begins.join().is_err_and(|e: wouldblock::JoinError| e.is_cancelled()));
        let copies = KEPT.with(|kept| Rc::strong_count(&kept.as_ref().unwrap().1));
        assert_eq!(copies, 1, "what was copied for it is gone with it");
    });
}

#[test]
fn a_result_that_nobody_wants_still_sees_the_tasks_values_when_it_is_dropped() {
    for era in ERAS {
        run(|| {
            let trace = Trace::new();
            let said = trace.clone();
            drop(spawn_running(era, move || {
                NAME.set("ann".into());
                Defer(move || said.say(NAME.with(String::clone)))
            }));
            let_others_run();
            assert_eq!(trace.take(), ["ann"], "{era}");
        });
    }
}

#[test]
fn outside_of_any_task_there_are_no_values() {
    let text = panic_text(|| NAME.with(String::clone));
    assert_eq!(
        text,
        "a task-local value was asked for outside of any task: do so inside `wouldblock::run(|| ..)`"
    );
    assert!(panic_text(|| NAME.set("ann".into())).contains("outside of any task"));
}

// Stacks.

#[test]
fn a_task_has_the_stack_it_asks_for() {
    run(|| {
        for era in ERAS {
            let small = task::Builder::new().stack_size(32 << 10);
            assert_eq!(builder_in(era, small, || me().stack_size()).join().unwrap(), 32 << 10);
            let large = task::Builder::new().stack_size(8 << 20);
            let used = builder_in(era, large, || {
                std::hint::black_box([1_u8; 2 << 20]);
                me().stack_used()
            });
            assert!(used.join().unwrap().is_some_and(|used| used >= 2 << 20), "{era}");
        }
    });
}

#[test]
fn a_task_that_does_not_ask_has_the_runs() {
    Builder::new().stack_size(192 << 10).run(|| {
        assert_eq!(me().stack_size(), 192 << 10);
        for era in ERAS {
            assert_eq!(spawn_running(era, || me().stack_size()).join().unwrap(), 192 << 10);
        }
    });
}

#[test]
fn a_stack_without_room_is_refused_where_it_is_asked_for() {
    for bytes in [0, 1, 4096, (32 << 10) - 1] {
        let text = panic_text(|| task::Builder::new().stack_size(bytes));
        assert_contains(&text, &[&format!("a stack of {bytes} bytes"), "32768"]);
        assert_eq!(text, panic_text(|| Builder::new().stack_size(bytes)));
    }
}

#[test]
fn a_stack_beyond_all_bounds_is_refused_where_it_is_asked_for() {
    for bytes in [usize::MAX, isize::MAX as usize, 1 << 47] {
        let text = panic_text(|| task::Builder::new().stack_size(bytes));
        assert_contains(&text, &[&format!("a stack of {bytes} bytes")]);
        assert_eq!(text, panic_text(|| Builder::new().stack_size(bytes)));
    }
}

#[test]
fn an_odd_size_is_rounded_up() {
    run(|| {
        for era in ERAS {
            for bytes in [(32 << 10) + 1, 100_001] {
                let odd = task::Builder::new().stack_size(bytes);
                let task = builder_in(era, odd, || std::hint::black_box([7_u8; 4 << 10])[1]);
                assert_eq!(task.join().unwrap(), 7, "{era}");
            }
        }
    });
}

/// Leaves this process so little address space that no more stacks fit: nor would the watchdog's thread.
fn limit_address_space() {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = status.split(' ').next().unwrap().parse().unwrap();
    let bytes = pages * 4096 + (64 << 20);
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
    // SAFETY: lowers a limit of this process, and reads a struct on this stack.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) }, 0);
}

fn unwatched() -> Builder {
    Builder::new().watchdog(None)
}

#[test]
fn a_stack_that_cannot_be_mapped_is_the_joiners_error() {
    let ended = in_child(|| {
        unwatched().run(|| {
            limit_address_space();
            for era in ERAS {
                let trace = Trace::new();
                let (captured, began) = (trace.at_drop("captures dropped"), trace.clone());
                let huge = task::Builder::new().name("huge").stack_size(1 << 30);
                let task = builder_in(era, huge, move || {
                    let _captured = captured;
                    began.say("began");
                });
                let error = task.join().unwrap_err();
                assert!(!error.is_panic() && !error.is_cancelled());
                let site = format!("\"huge\" ({era}, spawned at tests/it/task.rs:");
                assert_contains(&error.to_string(), &[&site, "could not run: cannot map", "stack"]);
                assert_eq!(trace.take(), ["captures dropped"], "{era}");
            }
            assert_eq!(green::spawn(|| 7).join().unwrap(), 7, "others still run");
        });
    });
    ended.assert_fine();
}

#[test]
fn a_stack_that_cannot_be_mapped_is_logged_if_nobody_joins() {
    let ended = in_child(|| {
        let log = logged(|| {
            unwatched().run(|| {
                limit_address_space();
                drop(task::Builder::new().name("huge").stack_size(1 << 30).spawn(|| ()));
                let_others_run();
            });
        });
        assert_eq!(log.len(), 1, "{log:?}");
        assert_contains(&log[0].1, &["\"huge\" (green", "cannot map", "no task joined"]);
    });
    ended.assert_fine();
}

#[test]
fn a_root_whose_stack_cannot_be_mapped_panics_clearly() {
    let ended = in_child(|| {
        limit_address_space();
        let text = panic_text(|| unwatched().stack_size(1 << 30).run(|| ()));
        assert_contains(&text, &["task 1 \"root\" (green", "could not run: cannot map"]);
        assert_eq!(unwatched().stack_size(64 << 10).run(|| 7), 7, "and then a smaller one runs");
    });
    ended.assert_fine();
}

#[test]
fn a_generator_whose_stack_cannot_be_mapped_panics_clearly() {
    let ended = in_child(|| {
        limit_address_space();
        let mut all = Vec::new();
        let text = panic_text(|| {
            loop {
                let mut generator =
                    generator::Generator::new(|y: &generator::Yielder<()>| y.yield_(()));
                generator.resume();
                all.push(generator);
                assert!(all.len() < 100_000, "there is no end to the address space");
            }
        });
        assert_contains(&text, &["a generator: cannot map", "stack"]);
    });
    ended.assert_fine();
}

// What cannot be.

#[test]
fn a_wait_outside_of_any_task_panics_clearly() {
    const TEXT: &str = "a wait outside of any task: there is nothing to suspend. \
        Call it inside `wouldblock::run(|| ..)` or in a task spawned there; on another thread, and in `offload`ed code, use \
        std's call, which blocks the thread";
    assert_eq!(panic_text(|| green::wait(pending::<()>())), TEXT);
    assert_eq!(panic_text(|| green::sleep(SECOND)), TEXT);
    assert_eq!(panic_text(green::yield_now), TEXT);
    let runtime = Builder::new().build().unwrap();
    let inside = panic_text(|| runtime.enter(green::yield_now));
    assert_contains(&inside, &["in code of a run that belongs to none: in `Runtime::enter`"]);
    let handle = runtime.enter(|| green::spawn(|| ()));
    assert_eq!(panic_text(|| runtime.enter(|| handle.join())), inside);
}

#[test]
fn a_spawn_outside_of_a_run_panics_clearly() {
    for era in ERAS {
        let text = panic_text(|| spawn_running(era, || ()));
        assert_eq!(text, "spawn outside of a run: call it inside `wouldblock::run(|| ..)`");
    }
}

#[test]
fn a_spawn_that_fails_drops_what_was_captured() {
    for era in ERAS {
        let trace = Trace::new();
        let guard = trace.at_drop("dropped");
        assert!(panic_text(|| spawn_running(era, || drop(guard))).contains("spawn outside"));
        assert_eq!(trace.take(), ["dropped"], "{era}");
    }
}

#[test]
fn a_run_inside_of_a_run_panics_clearly_and_the_outer_one_goes_on() {
    const TEXT: &str =
        "`run` inside of `run`: this thread has a scheduler already; spawn a task instead";
    run(|| {
        assert_eq!(panic_text(|| wouldblock::run(|| ())), TEXT);
        for era in ERAS {
            let text = spawn_running(era, || panic_text(|| wouldblock::run(|| ())));
            assert_eq!(text.join().unwrap(), TEXT);
        }
        assert_eq!(panic_text(|| Builder::new().try_run(|| ())), TEXT);
        green::sleep(SECOND);
    });
    let (outer, inner) = (Builder::new().build().unwrap(), Builder::new().build().unwrap());
    let text = panic_text(|| assert!(outer.enter(|| inner.turn())));
    assert!(
        text.starts_with("a runtime is entered inside of a run, or of another runtime"),
        "{text}"
    );
    assert_eq!(panic_text(|| outer.enter(|| wouldblock::run(|| ()))), TEXT);
}

#[test]
fn runs_follow_one_another_and_stand_side_by_side_on_threads() {
    assert_eq!(run(|| 1) + run(|| 2), 3);
    let threads: Vec<_> = (0..4)
        .map(|n| {
            std::thread::spawn(move || {
                run(|| {
                    green::sleep(SECOND);
                    green::spawn(move || n).join().unwrap()
                })
            })
        })
        .collect();
    assert_eq!(threads.into_iter().map(|t| t.join().unwrap()).sum::<i32>(), 6);
}

#[test]
fn a_handle_that_is_joined_in_another_runtime_is_an_error() {
    for era in ERAS {
        let home = Builder::new().build().unwrap();
        let stranger = home.enter(|| spawn_waiting(Era::Green, pending::<()>(), ()));
        assert!(home.turn());
        let text = run(|| {
            let joined = spawn_waiting(era, stranger, ()).join().unwrap();
            joined.unwrap_err().to_string()
        });
        assert_contains(&text, &["task 1 (green", "another runtime"]);
    }
}

#[test]
fn a_result_may_be_fetched_in_another_runtime_when_it_is_there() {
    let home = Builder::new().build().unwrap();
    let task = home.enter(|| green::spawn(|| 7));
    while home.turn() {}
    assert!(task.is_finished());
    assert_eq!(run(|| task.join().unwrap()), 7);
}

#[test]
fn a_handle_may_outlive_its_run() {
    let (done, left) = run(|| {
        let done = green::spawn(|| 7);
        let left = green::spawn(|| green::sleep(HOUR));
        let_others_run();
        (done, left)
    });
    assert!(done.is_finished() && left.is_finished());
    left.cancel(); // of no effect
    assert_eq!(run(|| done.join().unwrap()), 7);
    assert!(run(|| left.join().unwrap_err().is_cancelled()));
}

/// Timers are the runtime's that they were set in; another's are none of their business.
#[test]
fn a_sleep_that_is_dropped_in_another_runtime_disturbs_nobody_there() {
    use std::task::{Context, Wake, Waker};
    struct Foreign;
    impl Wake for Foreign {
        fn wake(self: std::sync::Arc<Self>) {}
    }
    let build = || Builder::new().virtual_clock().build().unwrap();
    let (home, other) = (build(), build());
    let sleep_with_foreign_waker = || {
        let mut sleep = Box::pin(time::sleeping(SECOND));
        let waker = Waker::from(std::sync::Arc::new(Foreign));
        assert!(sleep.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        sleep
    };
    let stranger = home.enter(sleep_with_foreign_waker);
    let sleeper = other.enter(|| spawn_waiting(Era::Green, time::sleeping(SECOND), ()));
    assert!(other.turn());
    other.enter(|| drop(stranger));
    while other.turn() {}
    assert!(sleeper.is_finished(), "its timer was taken away");
}

#[test]
fn a_task_that_is_spawned_by_hand_runs_by_hand() {
    let runtime = Builder::new().round_robin().build().unwrap();
    let done = Rc::new(Cell::new(0));
    let tasks = runtime.enter(|| {
        ERAS.map(|era| {
            let done = done.clone();
            spawn_running(era, move || {
                green::yield_now();
                done.set(done.get() + 1);
            })
        })
    });
    assert_eq!(done.get(), 0, "nothing runs before the first turn");
    while runtime.turn() {}
    assert_eq!(done.get(), 3);
    assert!(tasks.iter().all(JoinHandle::is_finished));
}
