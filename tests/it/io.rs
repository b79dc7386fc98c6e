//! Pipes, standard input and other descriptors, in three eras.

use std::env;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::util::*;
use wouldblock::io::{Descriptor, pipe, stdin};
use wouldblock::op::timeout;
use wouldblock::time::sleeping;
use wouldblock::{future, generator, green};

#[test]
fn a_pipe_is_read_and_written_in_all_eras() {
    bounded(|| {
        let (mut reader, mut writer) = pipe().unwrap();
        let greenlet = green::spawn(move || {
            let mut buf = [0; 5];
            reader.read_exact(&mut buf).unwrap();
            (reader, buf)
        });
        green::yield_now(); // It waits by now.
        writer.write_all(b"green").unwrap();
        let (reader, buf) = greenlet.join().unwrap();
        assert_eq!(&buf, b"green");

        let by_hand = generator::spawn(move |y| {
            let mut buf = [0; 64];
            loop {
                match reader.try_read_with(|mut pipe| pipe.read(&mut buf)) {
                    Err(e) if e.kind() == ErrorKind::WouldBlock => {
                        y.wait(reader.readable()).unwrap();
                    }
                    n => break (reader, buf[..n.unwrap()].to_vec()),
                }
            }
        });
        green::yield_now();
        writer.write_all(b"by hand").unwrap();
        let (mut reader, bytes) = by_hand.join().unwrap();
        assert_eq!(bytes, b"by hand");

        let future = future::spawn(async move {
            let mut text = String::new();
            futures::AsyncReadExt::read_to_string(&mut reader, &mut text).await.map(|_| text)
        });
        green::yield_now();
        writer.write_all(b"future").unwrap();
        drop(writer); // The end.
        assert_eq!(future.join().unwrap().unwrap(), "future");
    });
}

#[test]
fn a_full_pipe_suspends_its_writer_and_one_without_a_reader_fails() {
    bounded(|| {
        let (mut reader, mut writer) = pipe().unwrap();
        let writing = green::spawn(move || writer.write_all(&[7; 1 << 20]).map(|()| writer));
        green::yield_now();
        assert!(!writing.is_finished(), "a pipe holds less than a megabyte");
        let mut all = vec![0; 1 << 20];
        reader.read_exact(&mut all).unwrap();
        let mut writer = writing.join().unwrap().unwrap();

        let waiting = green::spawn(move || writer.write_all(&[7; 1 << 20]));
        green::yield_now();
        drop(reader);
        assert_eq!(waiting.join().unwrap().unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn a_cancelled_read_of_a_pipe_takes_nothing() {
    bounded(|| {
        let (reader, mut writer) = pipe().unwrap();
        let clone = reader.try_clone().unwrap();
        let cancelled = green::spawn(move || (&clone).read(&mut [0; 64]));
        green::yield_now();
        cancelled.cancel();
        assert!(cancelled.join().unwrap_err().is_cancelled());
        writer.write_all(b"kept").unwrap();
        let mut buf = [0; 64];
        assert_eq!((&reader).read(&mut buf).unwrap(), 4);
        let late = green::deadline(Duration::from_millis(1), || (&reader).read(&mut buf));
        assert_eq!(late.unwrap_err().kind(), ErrorKind::TimedOut);
    });
}

#[test]
fn a_closure_reads_what_std_has_no_type_for() {
    bounded(|| {
        // SAFETY: a new descriptor, which has no other owner.
        let counter = unsafe { OwnedFd::from_raw_fd(libc::eventfd(0, libc::EFD_CLOEXEC)) };
        let counter = Descriptor::new(File::from(counter)).unwrap();
        assert_eq!(
            counter.try_read_with(|mut c| c.read(&mut [0; 8])).unwrap_err().kind(),
            ErrorKind::WouldBlock
        );
        let mut writer = counter.get_ref().try_clone().unwrap();
        let task = future::spawn(async move {
            let mut number = [0; 8];
            counter.reading_with(|mut c| c.read(&mut number)).await.unwrap();
            u64::from_ne_bytes(number)
        });
        green::yield_now();
        writer.write_all(&42u64.to_ne_bytes()).unwrap();
        assert_eq!(task.join().unwrap(), 42);
    });
}

#[test]
fn readiness_goes_down_when_a_closure_meets_would_block() {
    bounded(|| {
        let (reader, mut writer) = pipe().unwrap();
        writer.write_all(b"x").unwrap();
        green::wait(reader.readable()).unwrap();
        assert_eq!(reader.read_with(|mut pipe| pipe.read(&mut [0; 8])).unwrap(), 1);
        assert!(reader.try_read_with(|mut pipe| pipe.read(&mut [0; 8])).is_err());
        let again = green::wait(timeout(Duration::from_millis(1), reader.readable()));
        assert!(again.is_err(), "nothing is left to read");
    });
}

#[test]
fn modes_are_given_back() {
    fn is_blocking(fd: &impl AsRawFd) -> bool {
        // SAFETY: reads a number.
        unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) & libc::O_NONBLOCK == 0 }
    }
    let (reader, writer) = std::io::pipe().unwrap();
    let kept = Descriptor::keeping_mode(reader.as_raw_fd());
    assert!(is_blocking(&reader));
    drop(kept); // It does not own the descriptor.
    let reader = Descriptor::new(reader).unwrap();
    assert!(!is_blocking(&reader));
    assert!(is_blocking(&reader.into_inner().unwrap()));

    let writer = Descriptor::new(writer).unwrap();
    let duplicate = writer.get_ref().try_clone().unwrap();
    let _stdio = Stdio::from(writer);
    assert!(is_blocking(&duplicate), "a child process expects it");
}

#[test]
fn a_regular_file_is_refused_where_it_would_wait() {
    bounded(|| {
        let file = Descriptor::new(File::open(env::current_exe().unwrap()).unwrap()).unwrap();
        assert_eq!((&file).read(&mut [0; 8]).unwrap(), 8); // It never does by itself.
        let error = green::wait(file.readable()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    });
}

#[test]
fn outside_of_a_run_a_pipe_blocks_the_thread() {
    let (mut reader, mut writer) = pipe().unwrap();
    let thread = std::thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).map(|_| text)
    });
    writer.write_all(b"hello").unwrap();
    drop(writer);
    assert_eq!(thread.join().unwrap().unwrap(), "hello");
}

/// Starts this test's process again, where `IN_CHILD` is set, and feeds its standard input.
fn with_stdin(test: &str, feed: impl FnOnce(&mut std::process::ChildStdin)) {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", &format!("io::{test}"), "--nocapture"])
        .env("IN_CHILD", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    feed(child.stdin.as_mut().unwrap());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_cancelled_read_of_standard_input_loses_no_line() {
    const NAME: &str = "a_cancelled_read_of_standard_input_loses_no_line";
    if env::var_os("IN_CHILD").is_none() {
        return with_stdin(NAME, |stdin| stdin.write_all(b"one\ntwo\r\nthree").unwrap());
    }
    bounded(|| {
        let mut line = String::new();
        let cancelled = green::spawn(|| stdin().read_line(&mut String::new()));
        cancelled.cancel(); // Before it has begun: it takes nothing.
        assert!(cancelled.join().is_err());
        stdin().read_line(&mut line).unwrap();
        assert_eq!(line, "one\n");
        let second = generator::spawn(|y| {
            let mut line = String::new();
            y.wait(stdin().reading_line(&mut line)).unwrap();
            line
        });
        assert_eq!(second.join().unwrap(), "two\r\n");
        let rest: Vec<_> = stdin().lines().map(Result::unwrap).collect();
        assert_eq!(rest, ["three"]);
        assert_eq!(stdin().read_line(&mut line).unwrap(), 0);
    });
}

#[test]
fn a_part_of_a_line_stays_for_the_next_read() {
    const NAME: &str = "a_part_of_a_line_stays_for_the_next_read";
    if env::var_os("IN_CHILD").is_none() {
        // The child has this process's end of a second pipe as its way to ask for more: its standard output.
        let (mut asked, asks) = std::io::pipe().unwrap();
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", &format!("io::{NAME}"), "--nocapture"])
            .env("IN_CHILD", "1")
            .stdin(Stdio::piped())
            .stdout(asks)
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(b"half").unwrap();
        let mut said = String::new();
        let mut byte = [0];
        while !said.ends_with("more, please\n") {
            asked.read_exact(&mut byte).expect("the child asks for more");
            said.push(char::from(byte[0]));
        }
        input.write_all(b" whole\nlast\n").unwrap();
        let status = child.wait().unwrap();
        return assert!(status.success(), "{said}");
    }
    bounded(|| {
        let mut line = String::new();
        let late = green::timeout(Duration::from_millis(20), || stdin().read_line(&mut line));
        assert!(late.is_err(), "no whole line has come");
        let late = green::deadline(Duration::from_millis(1), || stdin().read_line(&mut line));
        assert_eq!(late.unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(stdin().try_read_line(&mut line).unwrap_err().kind(), ErrorKind::WouldBlock);
        // Two tasks wait; both lines come at once, and each task gets one.
        let tasks: Vec<_> =
            (0..2).map(|_| green::spawn(|| stdin().lines().next().unwrap().unwrap())).collect();
        green::wait(sleeping(Duration::ZERO));
        println!("more, please");
        let mut lines: Vec<_> = tasks.into_iter().map(|task| task.join().unwrap()).collect();
        lines.sort();
        assert_eq!(lines, ["half whole", "last"]);
    });
}
