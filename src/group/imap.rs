//! A function applied to each of many inputs by the tasks of a pool.
//!
//! ```text
//!            pulls, when the window lets it             at its spawn (imap), at its end (imap_unordered)
//!   inputs ──────────────────────────▶ feeder ──spawn──▶ task ──handle──▶ channel ──▶ next_result
//!                 ▲                                                                        │
//!                 └──────────────────── one more, for each result taken ───────────────────┘
//! ```

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::rc::Rc;

use super::pool::Pool;
use crate::eras::scope::members::Members;
use crate::inspect::holders::Kind;
use crate::kernel::cancel;
use crate::kernel::door;
use crate::kernel::edge::unwinding;
use crate::run::join::{JoinError, JoinHandle};
use crate::sync::Semaphore;
use crate::sync::channel::{self, Receiver};
use crate::task;

const WINDOW: Kind = Kind { what: "a task to take the results of its imap", how: "" };

impl Pool {
    /// Calls `f` with each of `inputs`, in tasks of the pool, and waits for all the results: the green era's
    /// way. They come in the order of the inputs, a panic at its place like a value. (Python raises the first
    /// exception; here, `collect::<Result<Vec<_>, _>>()` does.)
    ///
    /// # Panics
    ///
    /// Outside of a task; and with whatever `inputs` panics with.
    ///
    /// # Cancellation
    ///
    /// What is under way is cancelled; no further input is pulled.
    #[track_caller]
    pub fn map<I, T>(
        &self,
        inputs: I,
        f: impl Fn(I::Item) -> T + 'static,
    ) -> Vec<Result<T, JoinError>>
    where
        I: IntoIterator<IntoIter: 'static, Item: 'static>,
        T: 'static,
    {
        let mut results = Vec::new();
        for result in self.imap(inputs, f) {
            results.push(result); // Not `collect`, of which a report would have no line of the caller's.
        }
        results
    }

    /// The operation behind [`map`](Pool::map): `y.wait(pool.mapping(..))`, `pool.mapping(..).await`. It
    /// begins at once.
    ///
    /// # Cancellation
    ///
    /// As [`map`](Pool::map).
    #[track_caller]
    pub fn mapping<I, T, F>(
        &self,
        inputs: I,
        f: F,
    ) -> impl Future<Output = Vec<Result<T, JoinError>>> + use<I, T, F>
    where
        I: IntoIterator<IntoIter: 'static, Item: 'static>,
        T: 'static,
        F: Fn(I::Item) -> T + 'static,
    {
        let mut imap = self.imap(inputs, f);
        async move {
            let mut results = Vec::new();
            while let Some(result) = imap.next_result().await {
                results.push(result);
            }
            results
        }
    }

    /// Calls `f` with each of `inputs`, in tasks of the pool, and gives the results in the order of the inputs,
    /// each as soon as it and those before it are there.
    ///
    /// It is an iterator, which waits the green way; in the other eras,
    /// [`next_result`](Imap::next_result) is the operation. It begins at once. The inputs are pulled as there
    /// is need, by a greenlet, so that they may themselves wait: at most as many are pulled and not yet given
    /// back as results as the pool is large. They may be endless.
    ///
    /// `f` runs in greenlets; to have it wait for a future, let it `green::wait`.
    ///
    /// # Panics
    ///
    /// Outside of a run. When `inputs` panics, the results until then come first, and then the panic.
    #[track_caller]
    pub fn imap<I, T>(&self, inputs: I, f: impl Fn(I::Item) -> T + 'static) -> Imap<T>
    where
        I: IntoIterator<IntoIter: 'static, Item: 'static>,
        T: 'static,
    {
        let (bound, inputs) = (self.size(), inputs.into_iter());
        Imap::begin(self.clone(), bound, Location::caller(), inputs, f, true)
    }

    /// As [`imap`](Pool::imap), with `bound` in place of the size of the pool: so many inputs at most are pulled and not yet
    /// given back as results. A greater one keeps the pool busy where one task takes long and the results after its own
    /// have to wait; a smaller one keeps less in memory. (gevent's `imap(maxsize)`.)
    ///
    /// # Panics
    ///
    /// As [`imap`](Pool::imap); and for a bound of 0.
    #[track_caller]
    pub fn imap_within<I, T>(
        &self,
        bound: usize,
        inputs: I,
        f: impl Fn(I::Item) -> T + 'static,
    ) -> Imap<T>
    where
        I: IntoIterator<IntoIter: 'static, Item: 'static>,
        T: 'static,
    {
        assert!(bound > 0, "an imap with a bound of 0, which would never pull an input");
        Imap::begin(self.clone(), bound, Location::caller(), inputs.into_iter(), f, true)
    }

    /// As [`imap`](Pool::imap), with the results in the order in which the tasks end.
    ///
    /// # Panics
    ///
    /// As [`imap`](Pool::imap).
    #[track_caller]
    pub fn imap_unordered<I, T>(&self, inputs: I, f: impl Fn(I::Item) -> T + 'static) -> Imap<T>
    where
        I: IntoIterator<IntoIter: 'static, Item: 'static>,
        T: 'static,
    {
        let (bound, inputs) = (self.size(), inputs.into_iter());
        Imap::begin(self.clone(), bound, Location::caller(), inputs, f, false)
    }
}

/// See [`Pool::imap`] and [`Pool::imap_unordered`].
///
/// # Cancellation
///
/// A task that is cancelled, or runs out of time, while it waits for the next result loses none. When this is
/// dropped, what is under way is cancelled, and no further input is pulled.
#[must_use = "dropping it cancels what is under way"]
pub struct Imap<T> {
    handles: Receiver<JoinHandle<T>>,
    /// The task whose result is next.
    now: Option<JoinHandle<T>>,
    /// A permit for each input that may be pulled.
    window: Rc<Semaphore>,
    under_way: Rc<Members>,
    /// `None`: it has ended, and its end was reported.
    feeder: Option<JoinHandle<()>>,
}

impl<T: 'static> Imap<T> {
    #[track_caller]
    fn begin<A: 'static>(
        pool: Pool,
        bound: usize,
        site: &'static Location<'static>,
        mut inputs: impl Iterator<Item = A> + 'static,
        f: impl Fn(A) -> T + 'static,
        in_order: bool,
    ) -> Imap<T> {
        let (sender, handles) = channel::unbounded();
        let window = Rc::new(Semaphore::of(bound, &WINDOW));
        let under_way = Rc::new(Members::of(&"the tasks of its imap"));
        let (may_pull, started) = (window.clone(), under_way.clone());
        let feeder = task::Builder::new().name("imap").at(site).spawn(move || {
            let f = Rc::new(f);
            loop {
                may_pull.acquire().forget();
                may_pull.is_held_by(None, site);
                stop_if_cancelled(); // It may have been given what it waited for all the same.
                let Some(input) = inputs.next() else { return };
                let (f, slot) = (f.clone(), pool.reserve());
                stop_if_cancelled();
                let handle = slot.start(site, |task| task.spawn(move || f(input)));
                started.keep(handle.bare());
                if in_order {
                    drop(sender.try_send(handle));
                    continue;
                }
                let (sender, task) = (sender.clone(), handle.bare());
                task.at_end(move || drop(sender.try_send(handle)));
            }
        });
        Imap { handles, now: None, window, under_way, feeder: Some(feeder) }
    }

    /// An operation that gives the next result; `None` after the last.
    ///
    /// # Panics
    ///
    /// With whatever the inputs panicked with, when the results until then have been given.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost.
    pub async fn next_result(&mut self) -> Option<Result<T, JoinError>> {
        if self.now.is_none() {
            self.now = self.handles.receiving().await.ok();
        }
        let Some(now) = &mut self.now else {
            self.end().await;
            return None;
        };
        let result = now.await;
        self.now = None;
        self.window.release(1);
        Some(result)
    }

    /// Waits for the feeder, and panics if it did.
    async fn end(&mut self) {
        let Some(feeder) = &mut self.feeder else { return };
        let end = feeder.await;
        self.feeder = None;
        if let Err(Ok(payload)) = end.map_err(JoinError::into_panic) {
            unwinding::unwind_with(payload);
        }
    }
}

impl<T: 'static> Iterator for Imap<T> {
    type Item = Result<T, JoinError>;

    /// Waits for the next result.
    ///
    /// # Panics
    ///
    /// Outside of a task; and as [`next_result`](Imap::next_result).
    #[track_caller]
    fn next(&mut self) -> Option<Self::Item> {
        door::wait(self.next_result())
    }
}

impl<T> Drop for Imap<T> {
    fn drop(&mut self) {
        self.under_way.cancel();
        self.feeder.iter().for_each(JoinHandle::cancel);
    }
}

impl<T> fmt::Debug for Imap<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Imap")
    }
}

/// Unwinds if the running task is to stop.
fn stop_if_cancelled() {
    if cancel::is_cancelled() {
        cancel::raise_cancelled();
    }
}
