//! What the tests share.
#![allow(dead_code, unused_imports, reason = "each test binary uses a part of it")]

mod child;
pub mod examples;
mod record;
mod runs;
#[cfg(feature = "ureq")]
pub mod server;
mod sockets;

use std::any::Any;
use std::fmt::Debug;
use std::panic::{self, AssertUnwindSafe, resume_unwind};
use std::pin::Pin;
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

pub use child::*;
pub use record::*;
pub use runs::*;
pub use sockets::*;

pub const MS: Duration = Duration::from_millis(1);
pub const SECOND: Duration = Duration::from_secs(1);
pub const HOUR: Duration = Duration::from_secs(3600);

/// Polls once, with a waker that wakes nobody.
pub fn poll_once<F: Future + Unpin>(operation: &mut F) -> Poll<F::Output> {
    Pin::new(operation).poll(&mut Context::from_waker(Waker::noop()))
}

/// What `f` panics with.
#[track_caller]
pub fn caught<T>(f: impl FnOnce() -> T) -> Box<dyn Any + Send> {
    match panic::catch_unwind(AssertUnwindSafe(f)) {
        Ok(_) => panic!("this was to panic"),
        Err(payload) => payload,
    }
}

/// The text that `f` panics with.
#[track_caller]
pub fn panic_text<T>(f: impl FnOnce() -> T) -> String {
    text(&*caught(f))
}

/// The text in the payload of a panic.
#[track_caller]
pub fn text(payload: &(dyn Any + Send)) -> String {
    let str = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    str.or_else(|| payload.downcast_ref::<String>().cloned()).expect("a payload that is text")
}

#[track_caller]
pub fn assert_contains(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
}

/// Calls a closure when it is dropped.
pub struct Defer<F: FnMut()>(pub F);

impl<F: FnMut()> Drop for Defer<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Work for another thread, whose result is given back when the thread is done.
pub fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    thread::spawn(work).join().unwrap_or_else(|payload| resume_unwind(payload))
}

/// The next message, or a failure instead of a hang.
#[track_caller]
pub fn receive<T: Debug>(messages: &mpsc::Receiver<T>) -> T {
    messages.recv_timeout(Duration::from_secs(30)).expect("a message")
}
