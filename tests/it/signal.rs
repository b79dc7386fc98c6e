//! Signals as messages: in three eras, for several receivers, and with what was there before put back.

use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::util::*;
use wouldblock::process::Command;
use wouldblock::signal::{SIGALRM, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH, Signals, ctrl_c};
use wouldblock::{future, generator, green, tasks};

/// Signals are the process's: one of these tests at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sends this process a signal. It has been handled when this returns.
fn raise(signal: i32) {
    // SAFETY: calls the handler on this thread.
    assert_eq!(unsafe { libc::raise(signal) }, 0);
}

fn disposition(signal: i32) -> usize {
    // SAFETY: all-zero is a valid `sigaction`, which the operating system replaces.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        assert_eq!(libc::sigaction(signal, std::ptr::null(), &mut action), 0);
        action.sa_sigaction
    }
}

#[test]
fn signals_are_received_in_all_eras() {
    let _alone = alone();
    bounded(|| {
        let mut signals = Signals::new([SIGUSR1, SIGUSR2]).unwrap();
        let greenlet = green::spawn(move || (signals.recv().unwrap(), signals));
        green::yield_now();
        raise(SIGUSR1);
        let (signal, mut signals) = greenlet.join().unwrap();
        assert_eq!(signal, SIGUSR1);
        let generator = generator::spawn(move |y| (y.wait(signals.receiving()).unwrap(), signals));
        green::yield_now();
        raise(SIGUSR2);
        let (signal, mut signals) = generator.join().unwrap();
        assert_eq!(signal, SIGUSR2);
        let future = future::spawn(async move { (signals.receiving().await.unwrap(), signals) });
        green::yield_now();
        raise(SIGUSR1);
        let (signal, mut signals) = future.join().unwrap();
        assert_eq!(signal, SIGUSR1);
        assert_eq!(signals.try_recv().unwrap_err().kind(), ErrorKind::WouldBlock);
    });
}

#[test]
fn the_table_of_tasks_names_the_signals_that_are_waited_for() {
    let _alone = alone();
    strictly(|| {
        for (set, named) in [
            (vec![SIGUSR1], "waits for SIGUSR1"),
            (vec![SIGTERM, SIGINT], "waits for SIGINT or SIGTERM"),
            (vec![SIGUSR1, SIGUSR2, SIGALRM], "waits for SIGUSR1, SIGUSR2 or SIGALRM"),
            (vec![40, SIGUSR1], "waits for SIGUSR1 or signal 40"),
            (vec![], "waits for no signal"),
        ] {
            let mut signals = Signals::new(set).unwrap();
            let waiter = green::spawn(move || signals.recv().unwrap());
            green::yield_now();
            assert_eq!(tasks().tasks[1].state.to_string(), named);
            waiter.cancel();
            assert!(waiter.join().unwrap_err().is_cancelled());
        }
    });
}

#[test]
fn none_is_lost_before_a_task_waits_nor_by_a_cancelled_wait() {
    let _alone = alone();
    bounded(|| {
        let mut signals = Signals::new([SIGUSR1, SIGUSR2]).unwrap();
        raise(SIGUSR2);
        raise(SIGUSR1);
        for _ in 0..1000 {
            raise(SIGUSR2); // They become one.
        }
        assert_eq!([signals.recv().unwrap(), signals.recv().unwrap()], [SIGUSR1, SIGUSR2]);
        assert_eq!(signals.try_recv().unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(green::timeout(MS, || signals.recv()).is_err());
        let late = green::deadline(MS, || signals.recv());
        assert_eq!(late.unwrap_err().kind(), ErrorKind::TimedOut);
        raise(SIGUSR1);
        assert_eq!(signals.recv().unwrap(), SIGUSR1);
    });
}

#[test]
fn each_receiver_gets_each_signal_on_any_thread() {
    let _alone = alone();
    let (ready, is_ready) = std::sync::mpsc::channel();
    let other = std::thread::spawn(move || {
        bounded(|| {
            let mut signals = Signals::new([SIGWINCH]).unwrap();
            ready.send(()).unwrap();
            signals.recv().unwrap()
        })
    });
    receive(&is_ready);
    bounded(|| {
        let (mut one, mut two) =
            (Signals::new([SIGWINCH]).unwrap(), Signals::new([SIGWINCH]).unwrap());
        raise(SIGWINCH);
        assert_eq!([one.recv().unwrap(), two.recv().unwrap()], [SIGWINCH; 2]);
    });
    assert_eq!(other.join().unwrap(), SIGWINCH);
}

#[test]
fn outside_of_a_run_the_thread_waits() {
    let _alone = alone();
    let mut signals = Signals::new([SIGUSR1]).unwrap();
    raise(SIGUSR1);
    assert_eq!(signals.recv().unwrap(), SIGUSR1);
}

#[test]
fn the_handler_before_is_called_and_put_back() {
    let _alone = alone();
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn count(_: i32) {
        CALLS.fetch_add(1, SeqCst);
    }
    // SAFETY: the handler only counts.
    unsafe { libc::signal(SIGALRM, count as *const () as usize) };
    let before = disposition(SIGALRM);
    for round in 1..=3 {
        let mut one = Signals::new([SIGALRM]).unwrap();
        let two = Signals::new([SIGALRM, SIGALRM]).unwrap();
        assert_ne!(disposition(SIGALRM), before);
        raise(SIGALRM);
        assert_eq!(one.try_recv().unwrap(), SIGALRM);
        drop(one);
        assert_ne!(disposition(SIGALRM), before, "one is left");
        drop(two);
        assert_eq!((disposition(SIGALRM), CALLS.load(SeqCst)), (before, round));
    }
}

#[test]
fn what_no_program_can_handle_is_refused_and_leaves_nothing() {
    let _alone = alone();
    let before = disposition(SIGTERM);
    for signal in [libc::SIGKILL, libc::SIGSEGV, 0, -1, 65, 1000] {
        let error = Signals::new([SIGTERM, signal]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{signal}: {error}");
        assert_eq!(disposition(SIGTERM), before);
    }
}

#[test]
fn a_second_ctrl_c_ends_a_program_that_does_not() {
    let ended = in_child(|| {
        // A shell may have started the tests in the background, where Ctrl-C is ignored.
        // SAFETY: sets no handler.
        unsafe { libc::signal(SIGINT, libc::SIG_DFL) };
        bounded(|| {
            let mut ctrl_c = ctrl_c().unwrap();
            raise(SIGINT);
            assert_eq!(ctrl_c.recv().unwrap(), SIGINT);
            eprintln!("one is taken");
            drop(ctrl_c);
            raise(SIGINT);
        });
        unreachable!("the second has the default");
    });
    ended.assert_killed_by(SIGINT);
    ended.assert_says(&["one is taken"]);
}

#[test]
fn a_child_begins_with_the_defaults() {
    let _alone = alone();
    bounded(|| {
        let _ctrl_c = ctrl_c().unwrap();
        let status = Command::new("sh").args(["-c", "kill -INT $$"]).status().unwrap();
        assert_eq!(status.signal(), Some(SIGINT));
    });
}
