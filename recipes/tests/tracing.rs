//! tracing: each greenlet's events are recorded in its own span, though greenlets take turns inside of theirs.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tracing::Dispatch;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use wouldblock::{green, group::gather};

/// Handles a request: each line that it logs has the request's number, whatever runs in between.
fn handle(id: u32) {
    let _span = tracing::info_span!("request", id).entered();
    tracing::info!("begins");
    green::sleep(Duration::from_millis(u64::from(5 - id)));
    tracing::info!("ends");
}

#[test]
fn events_are_in_the_span_of_their_greenlet() {
    let log = Log::default();
    let lines =
        tracing_subscriber::fmt::layer().without_time().with_ansi(false).with_writer(log.clone());
    let subscriber = tracing_subscriber::registry().with(lines).with(wouldblock::tracing::layer());
    // In a program: `tracing::subscriber::set_global_default(subscriber)`, first thing in `main`.
    tracing::subscriber::with_default(subscriber, || {
        wouldblock::run(|| {
            green::wait(gather((0..5).map(|id| green::spawn(move || handle(id)))));
            tracing::info!("all have ended");
        });
    });
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    for id in 0..5 {
        for what in ["begins", "ends"] {
            let line = format!(" INFO request{{id={id}}}: tracing: {what}\n");
            assert_eq!(log.matches(&line).count(), 1, "{log}");
        }
    }
    assert!(log.ends_with(" INFO tracing: all have ended\n"), "{log}");
}

/// What is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Log;

    fn make_writer(&self) -> Log {
        self.clone()
    }
}

#[test]
fn cost_beside_threads() {
    const TASKS: u32 = 20;
    const EVENTS: u32 = 50;
    fn events(yield_now: fn()) {
        for id in 0..EVENTS {
            let _span = tracing::info_span!("request", id).entered();
            tracing::info!("begins");
            yield_now();
            tracing::info!("ends");
        }
    }
    // Each way has the subscriber that it needs.
    let ours = Dispatch::new(
        tracing_subscriber::registry()
            .with(tracing_subscriber::fmt::layer().with_writer(io::sink))
            .with(wouldblock::tracing::layer()),
    );
    let usual = Dispatch::new(
        tracing_subscriber::registry().with(tracing_subscriber::fmt::layer().with_writer(io::sink)),
    );
    tracing::dispatcher::with_default(&ours, || {
        wouldblock::run(|| {
            let ours = || {
                green::scope(|scope| {
                    for _ in 0..TASKS {
                        scope.spawn(|| events(green::yield_now));
                    }
                });
            };
            let theirs = move || {
                std::thread::scope(|scope| {
                    for _ in 0..TASKS {
                        let (events, usual) = (|| events(std::thread::yield_now), &usual);
                        scope.spawn(move || tracing::dispatcher::with_default(usual, events));
                    }
                });
            };
            let what = "tracing, a span with two events";
            recipes::beside(what, TASKS * EVENTS, ours, "threads", theirs);
        });
    });
}
