//! The owner of a blocking thing: one thread that makes the calls on it, one after the other.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::thread;

use crate::kernel::door;
use crate::kernel::edge::foreign::contain;
use crate::kernel::wait;
use crate::offload::Slot;

/// A value whose methods block (a connection to a database, a client of SSH), with a thread of its own that makes the
/// calls, while the tasks that want them wait.
///
/// Calls are made one at a time, in the order in which tasks ask for them. A task that is cancelled, or out of time,
/// takes its call back if that has not begun; one that has begun goes on to its end, the value stays, and the next call
/// follows. (One thread for one value, however many tasks wait; where [`offload`](crate::offload()) with a lock takes
/// one for each.)
///
/// ```
/// use std::io::{self, Seek, Write};
/// use wouldblock::{Blocking, green};
///
/// # fn main() -> io::Result<()> { wouldblock::run(|| {
/// // A journal on a slow disk; a connection to SQLite goes the same way.
/// let journal = Blocking::new(tempfile::tempfile()?);
/// let tasks = ["ann", "bob"].map(|name| {
///     let journal = journal.clone(); // another handle to the same
///     green::spawn(move || journal.with(move |file| writeln!(file, "{name}")))
/// });
/// for task in tasks {
///     task.join().unwrap()?;
/// }
/// let text = journal.with(|file| {
///     file.rewind()?;
///     io::read_to_string(file)
/// })?;
/// assert_eq!(text.lines().count(), 2);
/// # Ok(()) }) }
/// ```
///
/// When the last handle is dropped, the thread drops the value, after the calls that still wait, and ends. Nothing
/// waits for that; the end of `main` stops it where it is.
///
/// A call that blocks for ever keeps all later ones waiting, so give the value a time limit of its own (SQLite's
/// `busy_timeout`, a socket's `set_read_timeout`).
pub struct Blocking<T> {
    calls: Sender<Arc<Call<T>>>,
}

/// A call that waits for the thread; `None`: it was begun, or taken back.
struct Call<T>(Mutex<Option<CallOn<T>>>);

type CallOn<T> = Box<dyn FnOnce(&mut T) + Send>;

impl<T> Call<T> {
    fn take(&self) -> Option<CallOn<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl<T: Send + 'static> Blocking<T> {
    /// Starts the thread that owns `value`.
    ///
    /// # Panics
    ///
    /// The operating system starts no further thread (a limit on threads or memory, a sandbox).
    #[track_caller]
    pub fn new(value: T) -> Blocking<T> {
        let (calls, waiting) = mpsc::channel::<Arc<Call<T>>>();
        let mut value = value;
        let serve = move || {
            for call in waiting {
                if let Some(work) = call.take() {
                    contain(|| work(&mut value)); // Where the task is gone, the result is dropped here.
                }
            }
            contain(|| drop(value));
        };
        let thread = thread::Builder::new().name("wouldblock owner".into()).spawn(serve);
        if let Err(error) = thread {
            panic!("no thread for the owner of a blocking value: {error}");
        }
        Blocking { calls }
    }

    /// Makes a call on the value, on its thread, and waits for the result.
    ///
    /// # Panics
    ///
    /// Outside of a task. With what `call` panics with: the value stays as that leaves it, and later calls are made.
    ///
    /// # Blocking
    ///
    /// Suspends the task. `call` may block its thread. It must not wait for another call of the same value.
    ///
    /// # Cancellation
    ///
    /// A call that has not begun is never made. One that has begun goes on to its end, and its result is dropped:
    /// whether what it does has been done is then unknown.
    #[track_caller]
    pub fn with<R: Send + 'static>(&self, call: impl FnOnce(&mut T) -> R + Send + 'static) -> R {
        door::wait(self.calling(call))
    }

    /// [`with`](Blocking::with) as an operation: `y.wait(..)` or `.await` it. The call takes its place in the line at
    /// once.
    ///
    /// # Panics
    ///
    /// Waiting for it panics as [`with`](Blocking::with) does; so does polling it again after it was ready.
    ///
    /// # Cancellation
    ///
    /// As for [`with`](Blocking::with).
    #[track_caller]
    pub fn calling<R: Send + 'static>(
        &self,
        call: impl FnOnce(&mut T) -> R + Send + 'static,
    ) -> Calling<T, R> {
        let slot = Slot::new();
        let filled = Arc::clone(&slot);
        let work = move |value: &mut T| filled.fill(catch_unwind(AssertUnwindSafe(|| call(value))));
        let call = Arc::new(Call(Mutex::new(Some(Box::new(work) as CallOn<T>))));
        self.calls.send(call.clone()).expect("the thread lives as long as there are handles");
        Calling { slot, call, site: Location::caller() }
    }
}

/// Another handle to the same value.
impl<T> Clone for Blocking<T> {
    fn clone(&self) -> Blocking<T> {
        Blocking { calls: self.calls.clone() }
    }
}

impl<T> fmt::Debug for Blocking<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blocking").finish_non_exhaustive()
    }
}

/// See [`Blocking::calling`].
#[must_use = "dropping the operation takes the call back if it has not begun"]
pub struct Calling<T, R> {
    slot: Arc<Slot<R>>,
    call: Arc<Call<T>>,
    /// Where it was made.
    site: &'static Location<'static>,
}

impl<T, R> Future for Calling<T, R> {
    type Output = R;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<R> {
        let what = &["a call on another thread", "Blocking::calling"];
        wait::poll_within_budget(cx, |cx| self.slot.poll(cx, self.site, what))
    }
}

impl<T, R> Drop for Calling<T, R> {
    fn drop(&mut self) {
        drop(self.slot.give_up());
        if let Some(work) = self.call.take() {
            contain(|| drop(work));
        }
    }
}

impl<T, R> fmt::Debug for Calling<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Calling")
    }
}
