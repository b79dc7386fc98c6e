//! Inboxes: queues of work that other threads put there for the scheduler's thread.
//!
//! A push returns `true` if the inbox was empty before. The pushing thread then rings the bell, which ends the
//! scheduler's sleep in the operating system. A bell rung before the scheduler sleeps ends that sleep at once, so no wake is
//! lost between "the inbox is empty" and "sleep".

use std::collections::VecDeque;
use std::mem;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

// The types of the model checker `loom`, for the tests at the end of this file.
#[cfg(wouldblock_loom)]
use loom::sync::{Mutex, MutexGuard, atomic::AtomicBool};
#[cfg(not(wouldblock_loom))]
use std::sync::{Mutex, MutexGuard, atomic::AtomicBool};

/// How many items the scheduler takes at a time: without a limit, threads that push without end would keep it from
/// sockets and timers.
const MOST: usize = 1000;

/// A closure that another thread sends to a run (by a `Spawner`, `run/handle.rs`). The run's thread calls it: with `true`, or, if the run ends first,
/// with `false`.
pub(crate) type Errand = Box<dyn FnOnce(bool) + Send>;

#[derive(Debug)]
pub(crate) struct Inbox<T>(Mutex<State<T>>);

#[derive(Debug)]
struct State<T> {
    items: VecDeque<T>,
    closed: bool,
}

impl<T> Inbox<T> {
    pub(crate) fn new() -> Inbox<T> {
        Inbox(Mutex::new(State { items: VecDeque::new(), closed: false }))
    }

    /// Puts `item` into the inbox. Returns `true` if the caller must ring the bell. If the inbox is closed, drops `item`.
    pub(crate) fn push(&self, item: T) -> bool {
        self.push_with(|| item) == Some(true)
    }

    /// As [`push`](Inbox::push), for the item that `make` returns, which is called under the lock. Returns `None`, without
    /// calling `make`, if the inbox is closed.
    pub(crate) fn push_with(&self, make: impl FnOnce() -> T) -> Option<bool> {
        let mut state = self.lock();
        if state.closed {
            return None;
        }
        state.items.push_back(make());
        Some(state.items.len() == 1)
    }

    /// Takes up to [`MOST`] items, the oldest first. If items are left, the caller must look again without a bell: no push
    /// rings until the inbox is empty.
    pub(crate) fn drain(&self) -> Vec<T> {
        let mut state = self.lock();
        let most = state.items.len().min(MOST);
        state.items.drain(..most).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().items.is_empty()
    }

    /// Refuses further items, and takes those that are there.
    pub(crate) fn close(&self) -> VecDeque<T> {
        let mut state = self.lock();
        state.closed = true;
        mem::take(&mut state.items)
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // No user code runs under this lock, so a poisoned lock protects nothing that is broken.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an item is in the inbox: keeps it from being pushed a second time.
#[derive(Debug)]
pub(crate) struct Flag(AtomicBool);

impl Flag {
    pub(crate) fn new() -> Flag {
        Flag(AtomicBool::new(false))
    }

    /// Call before a push. Returns `false` if the item is in the inbox already: do not push it. When the scheduler takes it
    /// out, it sees all that this thread has written before this call.
    pub(crate) fn set(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }

    /// Call when the item has been taken out, before reading what the pushing threads have written.
    pub(crate) fn clear(&self) {
        // A swap, not a store: it also *acquires* what was done before a `set` that found the flag set.
        self.0.swap(false, Ordering::AcqRel);
    }
}

/// Run by `RUSTFLAGS="--cfg wouldblock_loom" cargo test --release -p models`.
#[cfg(all(test, wouldblock_loom))]
mod model {
    use super::*;
    use loom::sync::atomic::AtomicUsize;
    use loom::sync::{Arc, Condvar};
    use loom::thread;

    /// The eventfd: a ring before the sleep ends the sleep at once.
    struct Bell(Mutex<bool>, Condvar);

    impl Bell {
        fn ring(&self) {
            *self.0.lock().unwrap() = true;
            self.1.notify_one();
        }

        fn sleep(&self) {
            let mut rung = self.0.lock().unwrap();
            while !*rung {
                rung = self.1.wait(rung).unwrap();
            }
            *rung = false;
        }
    }

    /// Two threads each do something and wake a task; the scheduler sleeps until it has seen both.
    #[test]
    fn no_wake_is_lost() {
        loom::model(|| {
            let inbox =
                Arc::new((Inbox::new(), Flag::new(), Bell(Mutex::new(false), Condvar::new())));
            let work = Arc::new(AtomicUsize::new(0));
            let wakers: Vec<_> = (0..2)
                .map(|_| {
                    let (inbox, work) = (inbox.clone(), work.clone());
                    thread::spawn(move || {
                        work.fetch_add(1, Ordering::Relaxed);
                        if inbox.1.set() && inbox.0.push(()) {
                            inbox.2.ring();
                        }
                    })
                })
                .collect();
            let mut seen = 0;
            while seen < 2 {
                inbox.2.sleep();
                for () in inbox.0.drain() {
                    inbox.1.clear();
                    seen = work.load(Ordering::Relaxed);
                }
            }
            wakers.into_iter().for_each(|thread| thread.join().unwrap());
        });
    }

    /// What is pushed is drained, or refused, once the box is closed: one of the two, and it never stays
    /// inside.
    #[test]
    fn a_closed_box_stays_empty() {
        loom::model(|| {
            let inbox = Arc::new(Inbox::new());
            let pusher = {
                let inbox = inbox.clone();
                thread::spawn(move || inbox.push_with(|| 1).is_some())
            };
            let drained = inbox.close();
            let pushed = pusher.join().unwrap();
            assert_eq!(drained.len(), usize::from(pushed));
            assert!(inbox.drain().is_empty());
        });
    }

    /// A thread leaves an errand, and then drops the handle that allowed it. A scheduler that finds no handle left,
    /// and then an empty box, has taken that errand: no other will come.
    #[test]
    fn nobody_gives_up_before_the_last_errand() {
        loom::model(|| {
            let inbox = Arc::new((Inbox::new(), Bell(Mutex::new(false), Condvar::new())));
            let handles = Arc::new(AtomicUsize::new(1));
            let thread = {
                let (inbox, handles) = (inbox.clone(), handles.clone());
                thread::spawn(move || {
                    if inbox.0.push_with(|| ()) == Some(true) {
                        inbox.1.ring();
                    }
                    if handles.fetch_sub(1, Ordering::Release) == 1 {
                        inbox.1.ring();
                    }
                })
            };
            let mut seen = 0;
            loop {
                let left = handles.load(Ordering::Acquire);
                match (left, inbox.0.is_empty()) {
                    (0, true) => break,
                    (_, true) => inbox.1.sleep(),
                    (_, false) => seen += inbox.0.drain().len(),
                }
            }
            assert_eq!(seen, 1);
            thread.join().unwrap();
        });
    }
}
