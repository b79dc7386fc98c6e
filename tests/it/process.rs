//! Child processes: waited for in three eras, cancelled, killed, and none left behind.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::process::ExitStatusExt;

use crate::util::*;
use wouldblock::process::{Child, Command, Stdio};
use wouldblock::{future, generator, green, group::gather, io::pipe, tasks};

/// A child that ends when its standard input does.
fn patient() -> Child {
    let mut command = Command::new("cat");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

/// Whether the process exists, as a zombie too.
fn exists(id: u32) -> bool {
    fs::exists(format!("/proc/{id}")).unwrap()
}

#[test]
fn a_child_is_waited_for_in_all_eras() {
    bounded(|| {
        let generator = generator::spawn(|y| {
            let mut child = patient();
            y.wait(child.waiting()).unwrap()
        });
        let greenlet = green::spawn(|| patient().wait().unwrap());
        let future = future::spawn(async { patient().waiting().await.unwrap() });
        for status in green::wait(gather([generator, greenlet, future])) {
            assert!(status.unwrap().success());
        }
    });
}

#[test]
fn other_tasks_run_while_a_child_does() {
    bounded(|| {
        let (reader, mut writer) = pipe().unwrap();
        // The child ends only when the other task has written.
        let child = green::spawn(move || Command::new("cat").stdin(reader).output());
        let other = green::spawn(move || writer.write_all(b"from the other"));
        let output = child.join().unwrap().unwrap();
        other.join().unwrap().unwrap();
        assert_eq!(output.stdout, b"from the other");
        assert!(output.status.success());
    });
}

#[test]
fn output_takes_both_pipes_at_once() {
    bounded(|| {
        let mut command = Command::new("sh");
        // More than a pipe holds, to each in turn: whoever reads only one of them waits for ever.
        let text = "for i in 1 2 3; do head -c 100000 /dev/zero; head -c 100000 /dev/zero >&2; done; exit 3";
        let output = command.args(["-c", text]).output().unwrap();
        assert_eq!((output.stdout.len(), output.stderr.len()), (300_000, 300_000));
        assert_eq!(output.status.code(), Some(3));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = command.spawn().unwrap().wait_with_output().unwrap();
        assert_eq!((output.stdout.len(), output.stderr.len()), (300_000, 300_000));
        let status = Command::new("sh").args(["-c", "exit 3"]).status().unwrap();
        assert_eq!(status.code(), Some(3));
    });
}

#[test]
fn defaults_are_those_of_std() {
    bounded(|| {
        let mut command = Command::new("cat");
        assert!(command.output().unwrap().stdout.is_empty(), "it has no input");
        let (mut reader, writer) = pipe().unwrap();
        let output = Command::new("echo").arg("elsewhere").stdout(writer).output().unwrap();
        assert!(output.stdout.is_empty());
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "elsewhere\n");
    });
}

#[test]
fn a_wait_that_times_out_leaves_the_child_to_be_killed() {
    bounded(|| {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        assert!(green::timeout(MS, || child.wait()).is_err());
        let late = green::deadline(MS, || child.wait());
        assert_eq!(late.unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(child.try_wait().unwrap(), None);
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL), "it is kept");
    });
}

/// As std's `kill`, and its `ChildExt::send_signal`.
#[test]
fn a_signal_to_a_child_that_has_ended_is_no_error() {
    bounded(|| {
        let mut command = Command::new("sh");
        let mut child = command.args(["-c", "exit 3"]).stdout(Stdio::piped()).spawn().unwrap();
        assert_eq!(child.stdout.take().unwrap().read(&mut [0]).unwrap(), 0); // It is ending, or has ended.
        child.send_signal(libc::SIGTERM).unwrap();
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(3));
        child.send_signal(libc::SIGTERM).unwrap();
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(3), "it is kept");
        let mut running = patient();
        assert_eq!(running.send_signal(1000).unwrap_err().kind(), ErrorKind::InvalidInput);
        running.send_signal(libc::SIGTERM).unwrap();
        assert_eq!(running.wait().unwrap().signal(), Some(libc::SIGTERM));
    });
}

#[test]
fn the_table_of_tasks_names_the_child_that_is_waited_for() {
    strictly(|| {
        let mut child = patient();
        let (id, stdin) = (child.id(), child.stdin.take());
        let waiter = green::spawn(move || child.wait().unwrap());
        green::yield_now();
        let state = || tasks().tasks[1].state.to_string();
        assert_eq!(state(), format!("waits for child {id} to end"));
        drop(stdin);
        assert!(waiter.join().unwrap().success());
        // The number of its descriptor may be that of this one now.
        let (mut reader, writer) = pipe().unwrap();
        let waiter = green::spawn(move || reader.read(&mut [0]).unwrap());
        green::yield_now();
        assert!(state().starts_with("waits to read from descriptor "), "{}", state());
        drop(writer);
        assert_eq!(waiter.join().unwrap(), 0);
    });
}

#[test]
fn a_child_ends_in_good_order_by_a_signal() {
    bounded(|| {
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "trap 'echo goodbye; exit 7' TERM; echo ready; while :; do read line; done",
        ]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut ready = [0; 6];
        stdout.read_exact(&mut ready).unwrap();
        child.send_signal(libc::SIGTERM).unwrap();
        // Some shells look at signals between two commands only. Others have ended by now: the pipe is broken.
        let _ = stdin.write_all(b"\n");
        assert_eq!(child.wait().unwrap().code(), Some(7));
        let mut rest = String::new();
        stdout.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "goodbye\n");
    });
}

#[test]
fn a_cancelled_output_kills_its_child() {
    bounded(|| {
        let (mut reader, writer) = pipe().unwrap();
        let text = "echo $$; exec sleep 1000";
        let task =
            green::spawn(move || Command::new("sh").args(["-c", text]).stdout(writer).output());
        let mut id = String::new();
        while !id.ends_with('\n') {
            let mut byte = [0];
            reader.read_exact(&mut byte).unwrap();
            id.push(char::from(byte[0]));
        }
        let id: u32 = id.trim().parse().unwrap();
        assert!(exists(id));
        task.cancel();
        assert!(task.join().unwrap_err().is_cancelled());
        assert_eq!(reader.read(&mut [0]).unwrap(), 0, "its end of the pipe is closed");
        drop(patient().wait()); // Reaps what the cancelled task has left, if it has.
        assert!(!exists(id), "no zombie");
    });
}

#[test]
fn a_dropped_child_goes_on_and_is_reaped_later() {
    bounded(|| {
        let mut child = patient();
        let (id, stdin) = (child.id(), child.stdin.take());
        let mut stdout = child.stdout.take().unwrap();
        drop(child);
        stdin.as_ref().unwrap().write_all(b"still here").unwrap();
        drop(stdin);
        let mut text = String::new();
        stdout.read_to_string(&mut text).unwrap();
        assert_eq!(text, "still here");
        while exists(id) {
            patient().wait().unwrap();
        }
        let killed = Command::new("sleep").arg("1000").kill_on_drop(true).spawn().unwrap();
        let id = killed.id();
        drop(killed);
        while exists(id) {
            patient().wait().unwrap();
        }
    });
}

#[test]
fn outside_of_a_run_the_thread_waits() {
    assert_eq!(Command::new("echo").arg("hello").output().unwrap().stdout, b"hello\n");
    assert!(Command::new("true").status().unwrap().success());
    assert!(patient().wait().unwrap().success());
    let child = Command::new("echo").arg("hello").stdout(Stdio::piped()).spawn().unwrap();
    assert_eq!(child.wait_with_output().unwrap().stdout, b"hello\n");
    let missing = Command::new("no such program").spawn().unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
}

#[test]
fn many_children_run_at_once_and_leave_no_descriptor() {
    let ended = in_child(|| {
        bounded(|| {
            let open = || fs::read_dir("/proc/self/fd").unwrap().count();
            patient().wait().unwrap();
            let before = open();
            let tasks = (0..30).map(|n| {
                green::spawn(move || {
                    Command::new("echo").arg(n.to_string()).output().unwrap().stdout
                })
            });
            let outputs = green::wait(gather(tasks));
            for (n, output) in outputs.into_iter().enumerate() {
                assert_eq!(output.unwrap(), format!("{n}\n").as_bytes());
            }
            assert_eq!(open(), before);
        });
    });
    ended.assert_fine();
}
