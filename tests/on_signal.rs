//! The table of tasks on a signal: it is printed between two turns, who keeps the thread is named at once, and neither
//! disturbs anything.

#[path = "it/util/mod.rs"]
mod util;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::env;
use std::fs::File;
use std::hint;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::mem;
use std::os::fd::FromRawFd;
use std::process::{self, Child, ChildStderr, Stdio};
use std::ptr;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use crate::util::{Ended, HOUR, MS, again, assert_contains, in_child, let_others_run, panic_text};
use libc::{SIGUSR1, SIGUSR2};
use wouldblock::net::TcpListener;
use wouldblock::sync::Mutex;
use wouldblock::{Builder, future, green, offload, task, time};

/// Counts what this thread allocates, and, on demand, sends it a signal in the midst of that.
struct Interrupted;

thread_local! {
    static ALLOCATIONS: Cell<u32> = const { Cell::new(0) };
    static SIGNALS: Cell<u32> = const { Cell::new(0) };
    static SENDS: Cell<bool> = const { Cell::new(false) };
    static FORBIDDEN: Cell<u32> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Interrupted = Interrupted;

// SAFETY: it is the system's; what it does besides does not allocate.
unsafe impl GlobalAlloc for Interrupted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        let _ = FORBIDDEN.try_with(|count| count.set(count.get() + u32::from(is_blocked(SIGUSR1))));
        interrupt();
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        interrupt();
        // SAFETY: the caller's.
        unsafe { System.dealloc(at, layout) }
    }
}

fn interrupt() {
    if SENDS.try_with(Cell::get) == Ok(true) {
        SIGNALS.set(SIGNALS.get() + 1);
        raise(SIGUSR1);
    }
}

fn raise(signal: i32) {
    // SAFETY: sends this thread a signal.
    assert_eq!(unsafe { libc::raise(signal) }, 0);
}

fn is_blocked(signal: i32) -> bool {
    // SAFETY: asks which signals this thread has blocked.
    unsafe {
        let mut blocked = mem::zeroed();
        libc::pthread_sigmask(libc::SIG_BLOCK, ptr::null(), &mut blocked);
        libc::sigismember(&blocked, signal) == 1
    }
}

/// Blocks a signal on this thread, or lets it come again.
fn block(signal: i32, how: i32) {
    // SAFETY: the set has been emptied before.
    unsafe {
        let mut set = mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, signal);
        assert_eq!(libc::pthread_sigmask(how, &set, ptr::null_mut()), 0);
    }
}

/// Makes standard error a pipe with room for 4 KiB, and gives the other end of it.
fn pipe_of_stderr() -> File {
    let mut ends = [0; 2];
    // SAFETY: the descriptors are new; the second takes the place of standard error.
    unsafe {
        assert_eq!(libc::pipe(ends.as_mut_ptr()), 0);
        assert!(libc::fcntl(ends[1], libc::F_SETPIPE_SZ, 4096) > 0);
        assert_eq!(libc::dup2(ends[1], 2), 2);
        libc::close(ends[1]);
        File::from_raw_fd(ends[0])
    }
}

fn sleepers(n: u32) {
    (0..n).for_each(|_| drop(green::spawn(|| green::sleep(HOUR))));
    green::yield_now();
}

fn builder() -> Builder {
    Builder::new().round_robin().watchdog(None).tasks_on_signal(SIGUSR1)
}

fn named(name: &str) -> task::Builder {
    task::Builder::new().name(name)
}

/// This test's program, running, to be asked from outside. It ends when its standard input does.
struct Program {
    child: Child,
    says: BufReader<ChildStderr>,
}

const CHILD: &str = "WOULDBLOCK_TEST_PROGRAM";

/// Runs `program` as a process of its own, `test` once more; `None` in that process, when it is done.
fn start(test: &str, program: impl FnOnce()) -> Option<Program> {
    if env::var_os(CHILD).is_some() {
        program();
        return None;
    }
    let mut again = again(test);
    again.env(CHILD, "").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = again.spawn().expect("a test that starts");
    let says = BufReader::new(child.stderr.take().expect("it is piped"));
    let mut program = Program { child, says };
    program.until("ready");
    Some(program)
}

fn is_ready() {
    writeln!(io::stderr(), "ready").expect("the test listens");
}

fn wait_for_the_end_of_input() {
    io::stdin().read_to_end(&mut Vec::new()).expect("a pipe");
}

impl Program {
    /// What it says, up to the line that begins so.
    #[track_caller]
    fn until(&mut self, start: &str) -> String {
        let mut text = String::new();
        loop {
            let before = text.len();
            let n = self.says.read_line(&mut text).expect("text");
            assert!(n > 0, "it has ended, and said:\n{text}");
            if text[before..].starts_with(start) {
                return text;
            }
        }
    }

    /// Sends the process the signal.
    #[track_caller]
    fn ask(&self) {
        let id = self.child.id().try_into().expect("a process");
        // SAFETY: sends a signal to our own child, which we have not waited for.
        assert_eq!(unsafe { libc::kill(id, SIGUSR1) }, 0);
    }

    /// Sends the process the signal, and gives its answer.
    #[track_caller]
    fn answer(&mut self) -> String {
        self.ask();
        // Before it comes the end of the last one.
        let head = self.until("wouldblock: on signal").lines().next_back().unwrap().to_owned();
        head + "\n" + &self.until("stacks") + &self.until("  tests/on_signal.rs")
    }

    #[track_caller]
    fn end(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().expect("our child").success());
    }
}

#[test]
fn it_is_printed_while_all_tasks_wait() {
    let program = start("it_is_printed_while_all_tasks_wait", || {
        builder().run(|| {
            let mutex = Rc::new(Mutex::new(()));
            let (held, wanted) = (mutex.clone(), mutex);
            let _holder = named("holder").spawn_generator(move |y| {
                let _guard = y.wait(held.locking());
                y.wait(time::sleeping(HOUR));
            });
            green::yield_now();
            let _parent = named("parent").spawn(move || {
                let child = async move { drop(wanted.locking().await) };
                let _child = named("child").spawn_future(child);
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let _acceptor = green::spawn(move || drop(listener.accept()));
                green::sleep(HOUR);
            });
            let_others_run();
            green::wait(offload(|| {
                is_ready();
                wait_for_the_end_of_input();
            }));
        });
    });
    let Some(mut program) = program else { return };
    for _ in 0..3 {
        let text = program.answer();
        let mut lines = text.lines();
        let name = "it_is_printed_while_all_tasks_wait";
        let head = format!("wouldblock: on signal 10, the 5 tasks of thread \"{name}\":");
        assert_eq!(lines.next(), Some(&*head), "{text}");
        let expected = [
            "task 1 \"root\" (green, spawned at tests/on_signal.rs:",
            "  task 2 \"holder\" (generator, spawned at tests/on_signal.rs:",
            "  task 3 \"parent\" (green, spawned at tests/on_signal.rs:",
            "    task 4 \"child\" (future, spawned at tests/on_signal.rs:",
            "    task 5 (green, spawned at tests/on_signal.rs:",
            "stacks, by where their tasks were spawned:",
            "  tests/on_signal.rs:",
        ];
        for start in expected {
            let line = lines.next().unwrap();
            assert!(line.starts_with(start), "{line:?} instead of {start:?} in\n{text}");
        }
        let parts = [
            ": waits for work on another thread for 0.",
            ": sleeps for 0.",
            ": waits for a mutex (held by task 2 \"holder\", tests/on_signal.rs:",
            ": waits for a connection on descriptor ",
            " turns, stack ",
            " KiB used, by ",
        ];
        assert_contains(&text, &parts);
    }
    program.end();
}

/// Until when the program goes on that keeps the thread.
fn until_the_end_of_input() -> (Arc<AtomicBool>, thread::JoinHandle<()>) {
    let end = Arc::new(AtomicBool::new(false));
    let ends = end.clone();
    let input = thread::spawn(move || {
        wait_for_the_end_of_input();
        ends.store(true, Ordering::Relaxed);
    });
    (end, input)
}

#[test]
fn who_keeps_the_thread_is_named_at_once_and_the_table_follows() {
    let program = start("who_keeps_the_thread_is_named_at_once_and_the_table_follows", || {
        let (end, input) = until_the_end_of_input();
        builder().watchdog(Some(20 * MS)).run(|| {
            let spinner = named("spinner").spawn(move || {
                is_ready();
                while !end.load(Ordering::Relaxed) {
                    hint::spin_loop();
                }
            });
            let bystander = future::spawn(async {});
            spinner.join().unwrap();
            bystander.join().unwrap();
        });
        input.join().unwrap();
    });
    let Some(mut program) = program else { return };
    program.until("wouldblock: task 2 \"spinner\""); // the watchdog's
    program.ask();
    let line = program.until("wouldblock: task 2 \"spinner\"");
    let start = "wouldblock: task 2 \"spinner\" (green, spawned at tests/on_signal.rs:";
    assert!(line.starts_with(start), "{line}");
    let end = " s. The table of tasks, for signal 10, follows when it gives it back\n";
    assert!(line.contains(") has had the thread for 0.") && line.ends_with(end), "{line}");
    drop(program.child.stdin.take());
    let head = program.until("wouldblock: on signal 10, the 2 tasks of thread");
    let text = head + &program.until("  task 3 (future");
    let row = |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap();
    assert!(row("task 1 \"root\"").contains(": is ready, 1 turn"), "{text}");
    assert!(row("  task 3 (future").ends_with(": is ready, 0 turns"), "{text}");
    program.end();
}

#[test]
fn where_no_watchdog_knows_for_how_long_a_task_is_named_all_the_same() {
    let ended = in_child(|| {
        builder().run(|| {
            raise(SIGUSR1);
            eprintln!("after the handler");
            green::yield_now();
            eprintln!("in the next turn");
        });
    });
    ended.assert_fine();
    let lines = Vec::from_iter(ended.stderr.lines());
    assert!(lines[0].starts_with("wouldblock: task 1 \"root\" (green, spawned at "), "{lines:?}");
    let end = ") has the thread. The table of tasks, for signal 10, follows when it gives it back";
    assert!(lines[0].ends_with(end), "{lines:?}");
    assert_eq!(lines[1], "after the handler");
    assert!(lines[2].starts_with("wouldblock: on signal 10, the 1 task of thread"), "{lines:?}");
    assert!(lines[3].contains(": is ready, 1 turn, stack "), "{lines:?}");
    assert_eq!(lines.last(), Some(&"in the next turn"));
}

#[test]
fn signals_that_come_within_one_turn_have_one_answer_and_those_of_the_last_turn_too() {
    let ended = in_child(|| {
        builder().run(|| {
            (0..9).for_each(|_| raise(SIGUSR1));
            green::yield_now();
            raise(SIGUSR1);
        });
    });
    ended.assert_fine();
    let answers = Vec::from_iter(ended.stderr.lines().filter(|line| line.contains(": on signal")));
    assert!(answers[0].contains(": on signal 10, the 1 task of thread"), "{answers:?}");
    assert!(answers[1].contains(": on signal 10, the run of thread"), "{answers:?}");
    assert!(answers[1].ends_with(" is over") && answers.len() == 2, "{answers:?}");
}

#[test]
fn each_run_that_answers_prints_its_own() {
    let ended = in_child(|| {
        let asked = Arc::new(Barrier::new(4));
        let run = |name: &str, builder: fn() -> Builder| {
            let asked = asked.clone();
            let run = move || {
                builder().run(|| {
                    let first = asked.clone();
                    green::wait(offload(move || first.wait().is_leader()));
                    asked.wait();
                    green::yield_now();
                });
            };
            thread::Builder::new().name(name.into()).spawn(run).unwrap()
        };
        let runs = [run("one", builder), run("two", builder), run("none", Builder::new)];
        asked.wait();
        raise(SIGUSR1); // This thread has no run.
        asked.wait();
        for run in runs {
            run.join().unwrap();
        }
    });
    assert!(ended.status.success(), "{}", ended.stderr);
    assert_eq!(ended.stderr.matches("wouldblock: on signal").count(), 2, "{}", ended.stderr);
    ended.assert_says(&[
        "wouldblock: on signal 10, the 1 task of thread \"one\":\ntask 1 \"root\"",
        "wouldblock: on signal 10, the 1 task of thread \"two\":\ntask 1 \"root\"",
    ]);
}

#[test]
fn the_handler_allocates_nothing_and_leaves_errno_alone_on_the_smallest_stack() {
    let ended = in_child(|| {
        builder().run(|| {
            sleepers(200);
            let small = named("small").stack_size(32 << 10).spawn(|| {
                let before = ALLOCATIONS.get();
                raise(SIGUSR1);
                let allocated = ALLOCATIONS.get() - before;
                green::yield_now();
                // SAFETY: the second closes standard error, so that the handler's write fails.
                let errno = unsafe {
                    let copy = libc::dup(2);
                    libc::close(2);
                    assert_eq!(libc::rmdir(c"/".as_ptr()), -1);
                    let errno = io::Error::last_os_error().raw_os_error();
                    raise(SIGUSR1);
                    let after = io::Error::last_os_error().raw_os_error();
                    libc::dup2(copy, 2);
                    (errno, after)
                };
                (allocated, errno)
            });
            let (allocated, (errno, after)) = small.join().unwrap();
            assert_eq!((allocated, after), (0, errno));
        });
    });
    assert!(ended.status.success(), "{}", ended.stderr);
    ended.assert_says(&[
        "wouldblock: task 202 \"small\" (green, spawned at ",
        "the 202 tasks of thread",
        "\n  task 202 \"small\" (green, spawned at ",
        "\n  task 201 (green, spawned at ",
        " KiB used, by 200 tasks\n",
    ]);
}

/// In the midst of spawning, waiting, passing a lock on, ending, and of all that the user does.
#[test]
fn it_may_come_at_any_moment() {
    let ended = in_child(|| {
        builder().run(|| {
            let mutexes = Vec::from_iter((0..9).map(|_| Rc::new(Mutex::new(0))));
            let adds = |mutex: &Rc<Mutex<u32>>| {
                let mutex = mutex.clone();
                named("adds").spawn_generator(move |y| {
                    let mut guard = y.wait(mutex.locking());
                    y.yield_now();
                    *guard += 1;
                })
            };
            SENDS.set(true);
            let tasks = Vec::from_iter(mutexes.iter().chain(&mutexes).chain(&mutexes).map(adds));
            tasks.into_iter().for_each(|task| task.join().unwrap());
            SENDS.set(false);
            assert!(mutexes.iter().all(|mutex| *mutex.try_lock().unwrap() == 3));
        });
        eprintln!("wouldblock: {} signals", SIGNALS.get());
    });
    // Of those that come within one turn, there is one answer.
    let (tables, signals) = whole_tables(&ended);
    assert!(30 < tables && tables <= signals, "{tables} tables on {signals} signals");
}

/// How many tables have been printed, each of them whole; and how many signals were sent, as was said in the end.
#[track_caller]
fn whole_tables(ended: &Ended) -> (usize, usize) {
    assert!(ended.status.success(), "{}", ended.stderr);
    let mut tables = Vec::from_iter(ended.stderr.split("wouldblock: ").skip(1));
    let signals = tables.pop().unwrap().split(' ').next().unwrap().parse().unwrap();
    tables.retain(|text| text.contains("on signal 10, the ") && !text.contains("is over"));
    for table in &tables {
        let tasks = table.split(", the ").nth(1).unwrap().split(' ').next().unwrap();
        let rows = table.lines().skip(1).take_while(|line| !line.starts_with("stacks"));
        let rows = Vec::from_iter(rows);
        assert_eq!(rows.len().to_string(), tasks, "{table}");
        for row in rows {
            let (who, does) = row.split_once("): ").unwrap_or_else(|| panic!("{row:?} in {table}"));
            assert!(who.trim_start().starts_with("task "), "{row:?} in {table}");
            let known = ["runs, ", "is ready", "ends", "sleeps for ", "waits for ", "waits to "];
            assert!(known.iter().any(|start| does.starts_with(start)), "{row:?} in {table}");
        }
    }
    (tables.len(), signals)
}

#[test]
fn a_handler_that_was_there_before_is_called_once() {
    let ended = in_child(|| {
        let count = Arc::new(AtomicU32::new(0));
        let called = count.clone();
        let count_it = move || called.store(called.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        // SAFETY: what is called in the handler adds to a number.
        unsafe { signal_hook::low_level::register(SIGUSR1, count_it) }.unwrap();
        builder().run(|| raise(SIGUSR1));
        assert_eq!(count.load(Ordering::Relaxed), 1);
        raise(SIGUSR1);
        assert_eq!(count.load(Ordering::Relaxed), 2, "with no run to answer");
    });
    assert!(ended.status.success(), "{}", ended.stderr);
    assert_eq!(ended.stderr.matches("wouldblock: on signal").count(), 1, "{}", ended.stderr);
}

#[test]
fn nothing_is_printed_where_no_run_answers() {
    let ended = in_child(|| {
        builder().tasks_on_signal(SIGUSR2).run(|| ()); // From here on there is a handler.
        raise(SIGUSR2);
        let runtime = builder().tasks_on_signal(SIGUSR2).build().unwrap();
        runtime.enter(|| raise(SIGUSR2));
        builder().run(|| raise(SIGUSR2));
        builder().run(|| {
            // SAFETY: the copy only sends itself a signal, and exits.
            match unsafe { libc::fork() } {
                0 => {
                    raise(SIGUSR1);
                    // SAFETY: ends this process at once.
                    unsafe { libc::_exit(7) }
                }
                copy => {
                    let mut status = 0;
                    // SAFETY: waits for our own child.
                    unsafe { libc::waitpid(copy, &mut status, 0) };
                    assert_eq!(libc::WEXITSTATUS(status), 7);
                }
            }
        });
    });
    assert!(ended.status.success(), "{}", ended.stderr);
    assert!(!ended.stderr.contains("on signal"), "{}", ended.stderr);
}

/// A handler does not wait for room.
#[test]
fn the_line_is_left_out_where_standard_error_takes_nothing() {
    let ended = in_child(|| {
        let _unread = pipe_of_stderr();
        let copies = thread::spawn(|| {
            builder().run(|| {
                // SAFETY: writes from a buffer until the pipe is full; then it may block again.
                unsafe {
                    libc::fcntl(2, libc::F_SETFL, libc::O_NONBLOCK);
                    while libc::write(2, [b'x'; 512].as_ptr().cast(), 512) > 0 {}
                    libc::fcntl(2, libc::F_SETFL, 0);
                }
                raise(SIGUSR1);
                process::exit(7);
            });
        });
        copies.join().unwrap();
    });
    assert_eq!(ended.status.code(), Some(7));
}

#[test]
fn a_run_in_a_copy_of_the_process_answers() {
    let ended = in_child(|| {
        builder().run(|| ());
        // SAFETY: the copy has this thread only, and exits.
        match unsafe { libc::fork() } {
            0 => {
                builder().run(|| raise(SIGUSR1));
                // SAFETY: ends this process at once.
                unsafe { libc::_exit(0) }
            }
            copy => {
                let mut status = 0;
                // SAFETY: waits for our own child.
                unsafe { libc::waitpid(copy, &mut status, 0) };
                assert_eq!(status, 0);
            }
        }
    });
    assert!(ended.status.success(), "{}", ended.stderr);
    assert_eq!(ended.stderr.matches("wouldblock: on signal").count(), 1, "{}", ended.stderr);
}

/// Else a program whose standard error nobody reads could not be ended. Those that are answered wait for one another.
#[test]
fn no_signal_that_is_not_answered_is_held_up_by_it() {
    static HELD_UP: AtomicBool = AtomicBool::new(true);
    extern "C" fn before(_: i32) {
        let waits = is_blocked(SIGUSR2) && is_blocked(libc::SIGALRM) && is_blocked(libc::SIGHUP);
        HELD_UP.store(is_blocked(libc::SIGTERM) || !waits, Ordering::Relaxed);
    }
    let ended = in_child(|| {
        // SAFETY: a handler that asks and stores; it wants another signal blocked meanwhile.
        unsafe {
            let mut action = mem::zeroed::<libc::sigaction>();
            action.sa_sigaction = before as *const () as usize;
            libc::sigaddset(&mut action.sa_mask, SIGUSR2);
            assert_eq!(libc::sigaction(SIGUSR1, &action, ptr::null_mut()), 0);
        }
        for earlier_and_later in [libc::SIGALRM, SIGUSR1, libc::SIGHUP] {
            builder().tasks_on_signal(earlier_and_later).run(|| ());
        }
        builder().run(|| raise(SIGUSR1));
        assert!(!HELD_UP.load(Ordering::Relaxed));
    });
    assert!(ended.status.success(), "{}", ended.stderr);
}

/// The program itself may be who reads its standard error.
#[test]
fn other_runs_begin_and_end_while_a_table_is_being_written() {
    let ended = in_child(|| {
        let mut pipe = pipe_of_stderr();
        let long = thread::spawn(|| {
            builder().run(|| {
                sleepers(100);
                raise(SIGUSR1);
            });
        });
        pipe.read_exact(&mut [0]).unwrap(); // From here on it waits for a reader.
        builder().run(|| ());
        let mut text = Vec::new();
        while !text.ends_with(b"100 tasks\n") {
            let mut byte = [0];
            pipe.read_exact(&mut byte).unwrap();
            text.extend(byte);
        }
        long.join().unwrap();
    });
    assert!(ended.status.success(), "{}", ended.stderr);
}

/// Of those from `SIGRTMIN` on, each that is sent arrives.
#[test]
fn signals_that_are_queued_do_not_breed() {
    let ended = in_child(|| {
        let signal = libc::SIGRTMIN();
        let raised = Arc::new(Barrier::new(3));
        let run = || {
            let raised = raised.clone();
            thread::spawn(move || {
                Builder::new().watchdog(None).tasks_on_signal(signal).run(|| {
                    block(signal, libc::SIG_BLOCK);
                    raised.wait();
                    raised.wait();
                    block(signal, libc::SIG_UNBLOCK);
                    raised.wait();
                });
            })
        };
        let runs = [run(), run()];
        raised.wait();
        (0..3).for_each(|_| raise(signal));
        raised.wait();
        raised.wait();
        runs.into_iter().for_each(|run| run.join().unwrap());
    });
    assert!(ended.status.success(), "{}", ended.stderr);
    let answers = ended.stderr.matches("wouldblock: on signal").count();
    assert!((2..=8).contains(&answers), "{}", ended.stderr);
}

#[test]
fn a_stack_for_handlers_that_the_program_sets_up_stays() {
    let now = || {
        // SAFETY: asks what there is.
        unsafe {
            let mut now = mem::zeroed::<libc::stack_t>();
            assert_eq!(libc::sigaltstack(ptr::null(), &mut now), 0);
            now.ss_sp
        }
    };
    let ended = in_child(|| {
        let before = now();
        builder().run(|| assert_eq!(now(), before));
        let own = Box::leak(vec![0_u8; 1 << 20].into_boxed_slice());
        let own = own.as_mut_ptr().cast();
        builder().run(|| {
            let new = libc::stack_t { ss_sp: own, ss_flags: 0, ss_size: 1 << 20 };
            // SAFETY: the memory is never freed.
            assert_eq!(unsafe { libc::sigaltstack(&new, ptr::null_mut()) }, 0);
            raise(SIGUSR1);
        });
        assert_eq!(now(), own);
    });
    assert!(ended.status.success(), "{}", ended.stderr);
}

#[test]
fn a_stack_overflow_is_explained_all_the_same() {
    let ended = in_child(|| {
        fn endless(n: u64) -> u64 {
            if hint::black_box(n) == u64::MAX { 0 } else { endless(n + 1) + 1 }
        }
        builder().run(|| {
            raise(SIGUSR1);
            named("deep").spawn(|| endless(0)).join().unwrap()
        });
    });
    assert!(!ended.status.success());
    ended.assert_says(&["wouldblock: stack overflow in task 2 \"deep\""]);
}

/// As they come from outside: of two kinds, on any thread, also such as have a small stack for handlers and no run, at
/// any time, while runs begin and end.
#[test]
fn a_rain_of_signals_disturbs_no_run() {
    let ended = in_child(|| {
        let signals = [SIGUSR1, SIGUSR2];
        for signal in signals {
            builder().tasks_on_signal(signal).run(|| ()); // From here on there is a handler.
        }
        let done = AtomicBool::new(false);
        let done = &done;
        thread::scope(|scope| {
            let runs = Vec::from_iter((0..4).map(|n| {
                scope.spawn(move || {
                    for _ in 0..50 {
                        builder().tasks_on_signal(signals[n % 2]).run(|| {
                            let tasks = Vec::from_iter((0..5).map(|n| {
                                green::spawn(move || {
                                    green::yield_now();
                                    vec![n; 100]
                                })
                            }));
                            for (n, task) in tasks.into_iter().enumerate() {
                                assert_eq!(task.join().unwrap(), vec![n; 100]);
                            }
                        });
                    }
                })
            }));
            for signal in signals {
                scope.spawn(move || {
                    while !done.load(Ordering::Relaxed) {
                        // SAFETY: sends this process a signal that has a handler.
                        unsafe { libc::kill(libc::getpid(), signal) };
                        thread::yield_now();
                    }
                });
            }
            runs.into_iter().for_each(|run| run.join().unwrap());
            done.store(true, Ordering::Relaxed);
        });
    });
    ended.assert_fine();
}

#[test]
fn a_signal_that_cannot_be_answered_is_refused() {
    for (signal, why) in [
        (libc::SIGKILL, "one that no program can handle"),
        (libc::SIGSTOP, "one that no program can handle"),
        (libc::SIGPIPE, "one that printing may lead to, which would be without end"),
        (libc::SIGSEGV, "that of a fault, after which nothing can go on"),
        (0, "no signal that a program may handle"),
        (-1, "no signal that a program may handle"),
        (65, "no signal that a program may handle"),
        (i32::MAX, "no signal that a program may handle"),
    ] {
        let text = panic_text(|| Builder::new().tasks_on_signal(signal));
        let expected = format!(
            "signal {signal} cannot be answered with the table of tasks: it is {why}. Choose another, such as \
             SIGUSR1 (10)"
        );
        assert_eq!(text, expected);
    }
}
