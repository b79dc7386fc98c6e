//! Ctrl-C (and `kill`), once for all ways: the first closes a channel, the second kills.

use std::future::Future;
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use async_channel::Receiver;
use futures_lite::future::or;
use log::warn;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use wouldblock::group::Gather;

/// Nothing is ever sent. It is closed by the first Ctrl-C, which whoever receives then learns at once.
static CLOSED: OnceLock<Receiver<()>> = OnceLock::new();

static SIGNAL: AtomicI32 = AtomicI32::new(0);

/// How long the sequential way may wait before it looks whether it should stop.
pub const PATIENCE: Duration = Duration::from_millis(50);

/// Starts to listen, on a thread of its own: a signal handler may do next to nothing.
pub fn listen() -> io::Result<()> {
    let (sender, receiver) = async_channel::bounded(1);
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    CLOSED.get_or_init(|| receiver);
    thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in &mut signals {
            if sender.is_closed() {
                let _ = emulate_default_handler(signal); // It does not return.
            }
            SIGNAL.store(signal, Ordering::Relaxed);
            warn!("Interrupted: what is under way is cancelled; a second Ctrl-C kills at once");
            sender.close();
        }
    })?;
    Ok(())
}

pub fn has_come() -> bool {
    CLOSED.get().is_some_and(Receiver::is_closed)
}

/// The exit status that a shell knows it by: 128 and the signal.
pub fn exit_status() -> Option<u8> {
    has_come().then(|| 128 + SIGNAL.load(Ordering::Relaxed) as u8)
}

/// The operation of waiting for Ctrl-C.
pub async fn coming() {
    let closed = CLOSED.get().expect("`listen` comes first");
    let _ = closed.recv().await;
}

/// Waits for all the workers, or for Ctrl-C, and returns. The root of the run returns then too, and what it
/// leaves behind is cancelled: sockets are closed, and temporary files removed.
pub fn or_done(workers: Gather<()>) -> impl Future<Output = ()> {
    let done = async {
        for worker in workers.await {
            worker.expect("workers keep the errors of their downloads in place");
        }
    };
    or(done, coming())
}

/// Blocks the thread, though not for long after Ctrl-C.
pub fn sleep(pause: Duration) {
    let end = Instant::now() + pause;
    while !has_come() && Instant::now() < end {
        thread::sleep(PATIENCE.min(end.saturating_duration_since(Instant::now())));
    }
}
