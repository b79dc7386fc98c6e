//! The memory of stacks: under limits on address space, where `madvise` does nothing, and after a peak.

use std::hint::black_box;
use std::io;

use crate::util::{self, SECOND, all, assert_contains, in_child, in_child_with};
use wouldblock::{Builder, green, stats, task};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

// Where `madvise` does nothing.

/// From now on, each `madvise` of this thread succeeds and does nothing, as under an emulator.
fn pretend_to_advise() {
    let statement = |code: u32, jt, jf, k: u32| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut filter = [
        // The number of the system call is the first field of `seccomp_data`.
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, libc::SYS_madvise as u32),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO), // error number 0
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: restricts this process, which the test has to itself; the kernel reads a program that lies on
    // this stack.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let installed = libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program);
        assert_eq!(installed, 0, "{}", io::Error::last_os_error());
        assert_eq!(libc::madvise(std::ptr::null_mut(), 1, -1), 0, "any advice is accepted");
    }
}

/// Recurses until its stack is full, or much deeper.
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 16]);
    if depth == 2_000 { 0 } else { recurse(depth + 1) + black_box(frame)[0] }
}

#[test]
fn an_overflow_is_reported_where_madvise_does_nothing() {
    let ended = in_child(|| {
        pretend_to_advise();
        util::run(|| {
            let deep = task::Builder::new().name("deep").stack_size(64 * KIB);
            drop(deep.spawn(|| recurse(0)).join());
        });
    });
    ended.assert_killed_by(libc::SIGABRT);
    ended.assert_says(&["wouldblock: stack overflow in task 2 \"deep\""]);
}

#[test]
fn stacks_are_used_again_where_madvise_does_nothing() {
    let ended = in_child(|| {
        pretend_to_advise();
        for _ in 0..3 {
            util::run(|| {
                let deep = |n: u8| {
                    green::spawn(move || {
                        green::yield_now();
                        black_box([n; 128 * KIB])[7]
                    })
                };
                let sum: u64 = all((0..100).map(deep)).into_iter().map(u64::from).sum();
                assert_eq!(sum, 99 * 100 / 2);
            });
        }
    });
    ended.assert_fine();
}

/// Makes a copy of this process inside of a run, lets it try to go on, and returns whether it was aborted for that.
fn is_copy_refused(copy: fn() -> i64) -> bool {
    let pid = util::run(|| {
        let pid = copy();
        assert!(pid >= 0, "{}", io::Error::last_os_error());
        green::sleep(SECOND);
        pid as i32
    });
    let mut status = 0;
    // SAFETY: `status` is this function's, for as long as the call lasts.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGABRT
}

#[test]
fn a_forked_copy_is_refused_where_madvise_does_nothing() {
    let ended = in_child(|| {
        pretend_to_advise();
        // SAFETY: the copy only computes, writes to standard error, and aborts.
        assert!(is_copy_refused(|| i64::from(unsafe { libc::fork() })));
    });
    ended.assert_fine();
    ended.assert_says(&["this process was forked off"]);
}

#[test]
fn a_copy_made_past_the_c_library_is_refused() {
    let ended = in_child(|| {
        // SAFETY: as for a `fork`, without the handlers that `pthread_atfork` has registered.
        let copy = || unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) };
        assert!(is_copy_refused(copy));
    });
    ended.assert_fine();
    ended.assert_says(&["this process was forked off"]);
}

// Limits on address space.

/// Leaves this process `room` bytes more than it has mapped.
fn limit(what: &str, room: usize) {
    let (resource, field) = match what {
        "-v" => (libc::RLIMIT_AS, "VmSize:"),
        "-d" => (libc::RLIMIT_DATA, "VmData:"),
        _ => unreachable!(),
    };
    let bytes = (in_status(field) + room) as u64;
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
    // SAFETY: lowers a limit of this process, and reads a struct on this stack.
    assert_eq!(unsafe { libc::setrlimit(resource, &limit) }, 0);
}

/// A figure of this process, in bytes.
fn in_status(field: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * KIB
}

#[test]
fn as_many_tasks_run_as_the_address_space_has_room_for() {
    const ROW: &str = "WOULDBLOCK_TEST_ROW";
    // A limit, the room it leaves, the size of a stack; how many tasks run at least.
    let rows = [
        ("-v", 12 * MIB, MIB, 1), // one mapping of 64 does not fit
        ("-v", 32 * MIB, MIB, 16),
        ("-v", 200 * MIB, 256 * KIB, 570), // 64, 128 and 256 fit, and 512 do not
        ("-d", 20 * MIB, MIB, 8),
        ("-d", 100 * MIB, 32 * KIB, 900),
    ];
    let body = || {
        let row = std::env::var(ROW).unwrap();
        let (what, room, stack, least) = rows[row.parse::<usize>().unwrap()];
        limit(what, room);
        Builder::new().watchdog(None).stack_size(stack).run(|| {
            let tasks: Vec<_> = (0..room / stack).map(|_| green::spawn(green::yield_now)).collect();
            let errors: Vec<_> = tasks.into_iter().filter_map(|task| task.join().err()).collect();
            let ran = room / stack - errors.len();
            assert!(ran >= least, "{ran} tasks ran, of at least {least}: {:?}", errors.first());
            let text = errors.first().expect("one is too many").to_string();
            let stack = format!("cannot map a coroutine's stack of {stack} bytes");
            let hints = ["`ulimit -v`", "`ulimit -d`", "`vm.max_map_count`", "overcommit"];
            assert_contains(&text, &hints);
            assert_contains(&text, &[&*stack]);
            // There is room left for the heap.
            black_box(vec![1_u8; 2 * MIB]);
        });
    };
    for (row, case) in rows.iter().enumerate() {
        let ended = in_child_with(&[(ROW, Some(&row.to_string()))], body);
        assert!(ended.status.success(), "{case:?}: {}\n{}", ended.status, ended.stderr);
    }
}

// What is kept.

/// So many tasks at once, each of which touches at least so many bytes of its stack.
fn wave(tasks: usize, touched: usize) {
    fn touch(bytes: usize) {
        black_box([1_u8; KIB]);
        if task::current().unwrap().stack_used().unwrap() < bytes {
            touch(bytes);
            black_box(());
        }
    }
    let task = |_| {
        green::spawn(move || {
            touch(touched);
            green::yield_now();
        })
    };
    all((0..tasks).map(task));
}

#[test]
fn waves_of_tasks_find_the_stacks_of_the_wave_before() {
    util::run(|| {
        for tasks in [3000, 3000, 2000, 3000, 1500, 3000] {
            wave(tasks, 0);
            assert_eq!((stats().stacks_kept, stats().stacks_cold), (3000, 0), "after {tasks}");
        }
    });
}

#[test]
fn after_a_peak_the_stacks_that_are_not_needed_give_their_memory_back() {
    util::run(|| {
        wave(3000, 0);
        let period = 2 * 3001;
        (0..3 * period / 10).for_each(|_| wave(10, 0));
        let stats = stats();
        assert!(stats.stacks_kept <= 20, "{stats:?}");
        assert!(stats.stacks_kept + stats.stacks_cold >= 3000, "{stats:?}");
    });
}

#[test]
fn after_a_run_its_stacks_keep_little_memory() {
    let ended = in_child(|| {
        let run = |tasks, touched| {
            Builder::new().stack_size(256 * KIB).run(|| wave(tasks, touched));
            util::run(|| stats().stacks_kept)
        };
        run(10, 0);
        let before = in_status("VmRSS:");
        run(300, 200 * KIB);
        let more = in_status("VmRSS:").saturating_sub(before);
        assert!(more < 16 * MIB, "{} KiB are left of 60 MiB", more / KIB);
    });
    ended.assert_fine();
}

#[test]
fn stacks_that_were_hardly_touched_serve_the_next_run() {
    let run = |tasks| {
        util::run(|| {
            let kept = stats().stacks_kept;
            wave(tasks, 0);
            kept
        })
    };
    run(100);
    assert!(run(100) >= 99);
}

// The smallest stack.

#[test]
fn a_panic_with_a_backtrace_fits_on_the_smallest_stack() {
    for verbosity in ["1", "full"] {
        let ended = in_child_with(&[("RUST_BACKTRACE", Some(verbosity))], || {
            util::run(|| {
                let smallest = task::Builder::new().stack_size(32 * KIB);
                let task = smallest.spawn(|| panic!("{} in the smallest", black_box("a panic")));
                let error = task.join().unwrap_err();
                assert!(error.is_panic());
            });
        });
        ended.assert_fine();
        assert_contains(&ended.stderr, &["a panic in the smallest", "stack backtrace:"]);
    }
}
