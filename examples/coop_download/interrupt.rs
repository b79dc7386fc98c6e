//! Ctrl-C and the other signals that end a program, once for all ways: the first closes a channel, the second kills.

use std::future::Future;
use std::io;
use std::mem::MaybeUninit;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use async_channel::Receiver;
use futures_lite::future::or;
use log::warn;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use wouldblock::group::Gather;

/// Nothing is ever sent. The first signal closes it, of which every receiver learns at once.
static CLOSED: OnceLock<Receiver<()>> = OnceLock::new();

static SIGNAL: AtomicI32 = AtomicI32::new(0);

/// How long the sequential way may wait before it looks whether it should stop.
pub const PATIENCE: Duration = Duration::from_millis(50);

/// Starts to listen, on a thread of its own: a signal handler may do next to nothing. A signal that was ignored when the
/// program was started, as by `nohup` or by a shell in the background, is ignored still.
pub fn listen() -> io::Result<()> {
    let (sender, receiver) = async_channel::bounded(1);
    let ending =
        [SIGINT, SIGTERM, SIGHUP, SIGQUIT].into_iter().filter(|signal| !is_ignored(*signal));
    let mut signals = Signals::new(ending)?;
    CLOSED.get_or_init(|| receiver);
    thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in &mut signals {
            if sender.is_closed() {
                let _ = emulate_default_handler(signal); // It does not return.
            }
            SIGNAL.store(signal, Ordering::Relaxed);
            warn!("Interrupted: all is cancelled; a second Ctrl-C kills at once");
            sender.close();
        }
    })?;
    Ok(())
}

fn is_ignored(signal: i32) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: sets nothing; it is given a `sigaction` of this frame to write to.
    let known = unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) } == 0;
    // SAFETY: the call has written it, since it has succeeded.
    known && unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN
}

pub fn has_come() -> bool {
    CLOSED.get().is_some_and(Receiver::is_closed)
}

/// The exit status that a shell knows it by: 128 and the signal.
pub fn exit_status() -> Option<u8> {
    has_come().then(|| 128 + SIGNAL.load(Ordering::Relaxed) as u8)
}

/// The operation of waiting for a signal.
pub async fn coming() {
    let closed = CLOSED.get().expect("`listen` comes first");
    let _ = closed.recv().await;
}

/// Waits for all the workers, or for a signal, and returns. The root of the run returns then too, and what it
/// leaves behind is cancelled: sockets are closed, and temporary files removed.
pub fn or_done(workers: Gather<()>) -> impl Future<Output = ()> {
    let done = async {
        for worker in workers.await {
            worker.expect("workers keep the errors of their downloads in place");
        }
    };
    or(done, coming())
}

/// Blocks the thread, though not for long after a signal.
pub fn sleep(pause: Duration) {
    let end = Instant::now() + pause;
    while !has_come() && Instant::now() < end {
        thread::sleep(PATIENCE.min(end.saturating_duration_since(Instant::now())));
    }
}
