//! Stack overflow: what is said before the process aborts, and that no other fault is taken for one.

use std::hint::black_box;

use crate::util::{self, Ended, in_child, run};
use wouldblock::generator::{Generator, Yielder};
use wouldblock::observe::{EventKind, Observer, TaskEvent};
use wouldblock::{Builder, green, task};

const SIZE: usize = 64 << 10;

/// Recurses until its stack is full.
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 16]);
    if depth == u64::MAX { 0 } else { recurse(depth + 1) + black_box(frame)[0] }
}

/// Touches far more stack than there is in one step, and than the guard is wide.
fn large_local() -> u8 {
    let frame = [1_u8; 8 << 20];
    black_box(&frame)[black_box(4 << 20)]
}

fn builder() -> task::Builder {
    task::Builder::new().name("deep").stack_size(SIZE)
}

#[track_caller]
fn assert_explained(ended: &Ended, era: &str) {
    ended.assert_killed_by(libc::SIGABRT);
    let task = format!(
        "\nwouldblock: stack overflow in task 2 \"deep\" ({era}, spawned at tests/it/overflow.rs:"
    );
    ended.assert_says(&[
        &task,
        "on a stack of 65536 bytes. Give it more with `task::Builder::stack_size`, or all tasks with \
         `Builder::stack_size`; or recurse less deeply, and box large locals.\n",
    ]);
}

#[test]
fn of_a_greenlet() {
    let ended = in_child(|| run(|| drop(builder().spawn(|| recurse(0)).join())));
    assert_explained(&ended, "green");
}

#[test]
fn of_a_future() {
    let ended = in_child(|| run(|| drop(builder().spawn_future(async { recurse(0) }).join())));
    assert_explained(&ended, "future");
}

#[test]
fn of_a_generator() {
    let ended = in_child(|| run(|| drop(builder().spawn_generator(|_| recurse(0)).join())));
    assert_explained(&ended, "generator");
}

#[test]
fn by_a_large_local() {
    let ended = in_child(|| run(|| drop(builder().spawn(large_local).join())));
    assert_explained(&ended, "green");
}

#[test]
fn after_the_task_has_waited() {
    let ended = in_child(|| {
        run(|| {
            let task = builder().spawn(|| {
                for _ in 0..10 {
                    green::yield_now();
                }
                recurse(0)
            });
            for _ in 0..3 {
                drop(green::spawn(|| green::sleep(util::SECOND)));
            }
            drop(task.join());
        });
    });
    assert_explained(&ended, "green");
}

#[test]
fn of_the_root_says_the_line_of_run() {
    let ended = in_child(|| {
        black_box(run(|| recurse(0)));
    });
    ended.assert_killed_by(libc::SIGABRT);
    ended.assert_says(&[
        "stack overflow in task 1 \"root\" (green, spawned at tests/it/overflow.rs:",
        &format!("on a stack of {} bytes, the default (1 MiB in a debug build", default_size()),
    ]);
}

fn default_size() -> usize {
    run(|| task::current().unwrap().stack_size())
}

#[test]
fn of_a_stack_of_the_default_size_says_that_builds_differ() {
    let ended = in_child(|| run(|| drop(green::spawn(|| recurse(0)).join())));
    ended.assert_killed_by(libc::SIGABRT);
    let size = format!(
        ", on a stack of {} bytes, the default (1 MiB in a debug build, 256 KiB in a release build). Give it more \
         with `task::Builder::stack_size`, or all tasks with `Builder::stack_size`; or",
        default_size()
    );
    ended.assert_says(&[&size]);
}

/// It runs on the stack of the task that does what it observes.
struct Deep;

impl Observer for Deep {
    fn observe(&self, event: &TaskEvent<'_>) {
        if matches!(event.kind, EventKind::Spawned { parent: Some(2), .. }) {
            black_box(recurse(0));
        }
    }
}

#[test]
fn of_an_observer_says_in_whose_turn_it_was() {
    let ended = in_child(|| {
        Builder::new().observe(Deep).run(|| {
            let task = builder().spawn(|| drop(green::spawn(|| ())));
            drop(task.join());
        });
    });
    ended.assert_killed_by(libc::SIGABRT);
    ended.assert_says(&[
        "\nwouldblock: stack overflow in an observer or a callback, in the turn of task 2 \"deep\" (green, spawned at",
        ", on a stack of 65536 bytes. Give it more with `task::Builder::stack_size`, or all tasks with",
    ]);
}

#[test]
fn of_a_run_with_stacks_of_its_own_size() {
    let ended = in_child(|| {
        Builder::new().stack_size(100_000).run(|| {
            drop(green::spawn(|| recurse(0)).join());
        });
    });
    ended.assert_killed_by(libc::SIGABRT);
    ended.assert_says(&["task 2 (green", "on a stack of 102400 bytes"]);
}

#[test]
fn of_a_generator_outside_of_any_task() {
    let ended = in_child(|| {
        run(|| ()); // installs the handler, as any program has before it drives one by hand
        let mut generator = Generator::new(|y: &Yielder<u64>| y.yield_(recurse(0)));
        generator.resume();
    });
    ended.assert_killed_by(libc::SIGABRT);
    ended.assert_says(&[
        "wouldblock: stack overflow in a generator outside of any task, on a stack",
    ]);
}

#[test]
fn of_a_generator_in_a_program_without_any_scheduler() {
    let ended = in_child(|| {
        let mut generator = Generator::new(|y: &Yielder<u64>| y.yield_(recurse(0)));
        generator.resume();
    });
    ended.assert_killed_by(libc::SIGABRT);
    ended.assert_says(&[
        "wouldblock: stack overflow in a generator outside of any task, on a stack",
    ]);
}

#[test]
fn of_a_generator_that_a_task_drives_by_hand() {
    let ended = in_child(|| {
        run(|| {
            let task = builder().spawn(|| {
                let mut generator = Generator::new(|y: &Yielder<u64>| y.yield_(recurse(0)));
                generator.resume();
            });
            drop(task.join());
        });
    });
    ended.assert_killed_by(libc::SIGABRT);
    ended.assert_says(&["wouldblock: stack overflow in ", "task 2 \"deep\"", "generator"]);
}

#[test]
fn on_another_thread() {
    let ended = in_child(|| {
        let thread = std::thread::spawn(|| {
            run(|| drop(builder().spawn(|| recurse(0)).join()));
        });
        drop(thread.join());
    });
    assert_explained(&ended, "green");
}

#[test]
fn a_stack_that_is_used_again_is_still_guarded() {
    let ended = in_child(|| {
        run(|| {
            for _ in 0..100 {
                builder().spawn(|| black_box([1_u8; 4 << 10])[5]).join().unwrap();
            }
            let deep = task::Builder::new().stack_size(SIZE).spawn(|| recurse(0));
            drop(deep.join());
        });
    });
    ended.assert_killed_by(libc::SIGABRT);
    ended.assert_says(&["stack overflow in task 102 (green"]);
}

// What is not an overflow of ours.

#[test]
fn a_null_pointer_is_an_ordinary_fault() {
    let ended = in_child(|| {
        run(|| {
            let task = builder().spawn(|| {
                let nowhere: *mut u32 = black_box(std::ptr::null_mut());
                // SAFETY: none: this is the fault to be tested, in a process of its own.
                unsafe { nowhere.write_volatile(1) };
            });
            drop(task.join());
        });
    });
    ended.assert_killed_by(libc::SIGSEGV);
    assert!(!ended.stderr.contains("overflow"), "{}", ended.stderr);
}

#[test]
fn a_fault_outside_of_any_coroutine_is_an_ordinary_fault() {
    let ended = in_child(|| {
        run(|| ());
        let nowhere: *mut u32 = black_box(std::ptr::null_mut());
        // SAFETY: none: this is the fault to be tested, in a process of its own.
        unsafe { nowhere.write_volatile(1) };
    });
    ended.assert_killed_by(libc::SIGSEGV);
    assert!(!ended.stderr.contains("overflow"), "{}", ended.stderr);
}

#[test]
fn the_threads_own_stack_is_explained_by_rust() {
    let ended = in_child(|| {
        run(|| ());
        black_box(recurse(0));
    });
    ended.assert_killed_by(libc::SIGABRT);
    ended.assert_says(&["has overflowed its stack"]);
    assert!(!ended.stderr.contains("wouldblock: stack overflow"), "{}", ended.stderr);
}

#[test]
fn another_threads_own_stack_is_explained_by_rust() {
    let ended = in_child(|| {
        run(|| {
            let thread = std::thread::Builder::new().name("its own".into()).stack_size(SIZE);
            drop(thread.spawn(|| black_box(recurse(0))).unwrap().join());
        });
    });
    ended.assert_killed_by(libc::SIGABRT);
    ended.assert_says(&["thread 'its own'", "has overflowed its stack"]);
}

#[test]
fn a_deep_recursion_that_fits_is_none() {
    fn depth(left: u64) -> u64 {
        let frame = black_box([left; 8]);
        if left == 0 { 0 } else { depth(left - 1) + black_box(frame)[0] / left }
    }
    run(|| {
        let task = task::Builder::new().stack_size(16 << 20).spawn(|| depth(20_000));
        assert_eq!(task.join().unwrap(), 20_000);
    });
}
