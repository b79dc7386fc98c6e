//! A run, as other threads see it: they can spawn tasks there, wait for them, and cancel them.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::panic::{self, AssertUnwindSafe, Location};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};

use futures_lite::future::block_on;

use crate::eras::pep342::Yielder;
use crate::kernel::door;
use crate::kernel::edge::foreign::KeptWaker;
use crate::kernel::edge::inbox::Order;
use crate::kernel::edge::waker;
use crate::kernel::here::in_task;
use crate::kernel::scheduler::Scheduler;
use crate::kernel::task::{Home, TaskRef};
use crate::kernel::wait;
use crate::kernel::wait::Wait;
use crate::run::join::{Canceller, JoinError, JoinHandle};
use crate::run::runtime::Runtime;
use crate::task;

/// A run, for other threads: they spawn tasks in it, and wait for these as a thread does, or as a task of
/// another run or executor, or cancel them.
///
/// ```
/// use std::thread;
/// use wouldblock::{Spawner, green, offload};
///
/// wouldblock::run(|| {
///     let spawner = Spawner::current();
///     let sum = offload(move || {
///         // On another thread:
///         let ann = spawner.spawn(|| { green::yield_now(); 1 }).unwrap();
///         let bob = spawner.spawn_future(async || 2).unwrap();
///         ann.join().unwrap() + bob.join().unwrap()
///     });
///     assert_eq!(green::wait(sum), 3);
/// });
/// ```
///
/// While there is a spawner, it may yet spawn a task that wakes another: a deadlock is only
/// suspected then, and logged after ten seconds in which nothing moved
/// ([`Builder::deadlock_warning`](crate::Builder::deadlock_warning)). So drop spawners that are not needed.
/// A spawner does not keep the run going: that ends when its root has returned.
///
/// What is sent from thread to thread, while both go on, a channel carries: any that wakes a
/// [`Waker`](std::task::Waker) does, such as that of the crate `async-channel`.
pub struct Spawner(Arc<Home>);

impl Spawner {
    /// Of the run that this is called in.
    ///
    /// # Panics
    ///
    /// Outside of a run.
    #[track_caller]
    pub fn current() -> Spawner {
        let home = Scheduler::with(|scheduler| Some(scheduler?.home.clone()));
        Spawner::of(
            home.expect(
                "`Spawner::current` outside of a run: call it inside `wouldblock::run(|| ..)`",
            ),
        )
    }

    fn of(home: Arc<Home>) -> Spawner {
        home.wakers.fetch_add(1, Ordering::Relaxed);
        Spawner(home)
    }

    /// Starts a greenlet in the run: see [`green::spawn`](crate::green::spawn). It begins there when the
    /// turns before it have been given; this does not wait for it.
    ///
    /// # Errors
    ///
    /// [`RunEnded`], if the run is over; it gives `body` back. Should the run end after this and before the task
    /// begins, `body` is dropped on the run's thread, and joining returns an error.
    #[track_caller]
    pub fn spawn<T: Send + 'static, F>(&self, body: F) -> Result<RemoteJoinHandle<T>, RunEnded<F>>
    where
        F: FnOnce() -> T + Send + 'static,
    {
        self.order(body, task::Builder::spawn)
    }

    /// Starts a generator in the run: see [`generator::spawn`](crate::generator::spawn).
    ///
    /// # Errors
    ///
    /// As [`spawn`](Spawner::spawn).
    #[track_caller]
    pub fn spawn_generator<T: Send + 'static, F>(
        &self,
        body: F,
    ) -> Result<RemoteJoinHandle<T>, RunEnded<F>>
    where
        F: FnOnce(&Yielder<Wait>) -> T + Send + 'static,
    {
        self.order(body, task::Builder::spawn_generator)
    }

    /// Starts the future that `make` returns, which need not be `Send`: see
    /// [`future::spawn`](crate::future::spawn). `make` is called in the task.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Spawner::spawn).
    #[track_caller]
    pub fn spawn_future<T: Send + 'static, F, M>(
        &self,
        make: M,
    ) -> Result<RemoteJoinHandle<T>, RunEnded<M>>
    where
        F: Future<Output = T> + 'static,
        M: FnOnce() -> F + Send + 'static,
    {
        self.order(make, |builder, make| builder.spawn_future(async move { make().await }))
    }

    #[track_caller]
    fn order<T: Send + 'static, F: Send + 'static>(
        &self,
        code: F,
        spawn: fn(task::Builder, F) -> JoinHandle<T>,
    ) -> Result<RemoteJoinHandle<T>, RunEnded<F>> {
        let builder = task::Builder::new().at(Location::caller());
        let there = Arc::new(Remote(Mutex::new(Slot::Running(None))));
        let (remote, task) = (there.clone(), Arc::new(OnceLock::new()));
        let (mut code, started) = (Some(code), task.clone());
        put(&self.0, || {
            let code = code.take().expect("this is called once");
            Box::new(move |open| {
                if !open {
                    there.settle(Err(JoinError::never_began()));
                    // A panic in its destructor has been reported by the hook.
                    return drop(panic::catch_unwind(AssertUnwindSafe(|| drop(code))));
                }
                let handle = spawn(builder, code);
                let _ = started.set(handle.task.clone());
                handle.at_end(move |done| there.settle(done.take()));
            })
        });
        match code {
            Some(code) => Err(RunEnded(code)),
            None => Ok(RemoteJoinHandle { remote, task, home: self.0.clone() }),
        }
    }
}

/// Puts the order that `make` makes into the queue of a run, and wakes its scheduler. If the run has ended, `make` is
/// not called.
fn put(home: &Home, make: impl FnOnce() -> Order) {
    if home.orders.push_with(make) == Some(true) {
        home.reactor.ring();
    }
}

impl Runtime {
    /// For other threads, to spawn tasks in this runtime. They make its
    /// [descriptor](Runtime::as_fd) readable.
    pub fn spawner(&self) -> Spawner {
        Spawner::of(self.scheduler.home.clone())
    }
}

impl Clone for Spawner {
    fn clone(&self) -> Spawner {
        Spawner::of(self.0.clone())
    }
}

impl Drop for Spawner {
    fn drop(&mut self) {
        waker::give_up(&self.0);
    }
}

impl fmt::Debug for Spawner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spawner")
    }
}

/// A task that was spawned from another thread through a [`Spawner`]. It can be sent anywhere.
///
/// It is an operation, and a future for any executor. Dropping it detaches the task, which runs on.
///
/// # Cancellation
///
/// If you are cancelled while you wait for it, the task runs on, its result is lost. Keep the handle, and
/// wait for `&mut handle`, where that matters.
pub struct RemoteJoinHandle<T> {
    remote: Arc<Remote<T>>,
    /// Once the order to spawn it has been carried out.
    task: Arc<OnceLock<TaskRef>>,
    home: Arc<Home>,
}

impl<T> RemoteJoinHandle<T> {
    /// Waits until the task is done.
    ///
    /// # Errors
    ///
    /// The task panicked, was cancelled, or never began because the run has ended.
    ///
    /// # Blocking
    ///
    /// In a task, of whichever run, this suspends it; elsewhere it blocks the thread.
    ///
    /// # Panics
    ///
    /// On the thread of the task's own run, outside of its tasks: it would block what it waits for.
    #[track_caller]
    pub fn join(self) -> Result<T, JoinError> {
        if in_task() {
            return door::wait(self);
        }
        let at_home = Scheduler::at(Arc::as_ptr(&self.home), |here| here.is_some());
        assert!(
            !at_home,
            "a join that blocks the thread on which the task would run: join it in a task, or on another thread"
        );
        block_on(self)
    }

    /// Asks the task to stop where it waits, now or next, as [`JoinHandle::cancel`] does. If it has not begun, it
    /// never does. A task that is done stays done.
    ///
    /// This may be called on any thread, and does not wait for the task to have stopped; join it for that. Keep
    /// a [`Spawner`] as long as you may yet call it: without one, the run takes a task that waits for nothing else
    /// for a deadlock.
    ///
    /// ```
    /// use std::future::pending;
    /// use wouldblock::{Spawner, green, offload};
    ///
    /// wouldblock::run(|| {
    ///     let spawner = Spawner::current();
    ///     let error = offload(move || {
    ///         let endless = spawner.spawn_future(pending::<()>).unwrap();
    ///         endless.cancel();
    ///         endless.join().unwrap_err()
    ///     });
    ///     assert!(green::wait(error).is_cancelled());
    /// });
    /// ```
    pub fn cancel(&self) {
        let task = self.task.clone();
        put(&self.home, || {
            Box::new(move |open| {
                if let (true, Some(task)) = (open, task.get()) {
                    // SAFETY: an order is carried out by the run to which the task belongs, on its thread.
                    unsafe { Canceller::of(task.clone()) }.cancel();
                }
            })
        });
    }

    /// Whether the task is done, so that waiting for it would return at once.
    pub fn is_finished(&self) -> bool {
        !matches!(*self.remote.lock(), Slot::Running(_))
    }
}

impl<T> Future for RemoteJoinHandle<T> {
    type Output = Result<T, JoinError>;

    /// # Panics
    ///
    /// When it is polled again after it was ready.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        wait::poll_within_budget(cx, |cx| {
            // A waker's clone and destructor may be code of the user's: not under the lock.
            let waker = KeptWaker::of(cx);
            let mut slot = self.remote.lock();
            let before = std::mem::replace(&mut *slot, Slot::Taken);
            if let Slot::Running(_) = before {
                *slot = Slot::Running(Some(waker));
            }
            drop(slot);
            match before {
                Slot::Running(_) => Poll::Pending,
                Slot::Done(result) => Poll::Ready(result),
                Slot::Taken => panic!("a remote handle was polled after it was ready"),
            }
        })
    }
}

impl<T> fmt::Debug for RemoteJoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RemoteJoinHandle")
    }
}

/// Where a task's result crosses from its thread to another.
struct Remote<T>(Mutex<Slot<T>>);

enum Slot<T> {
    Running(Option<KeptWaker>),
    Done(Result<T, JoinError>),
    Taken,
}

impl<T> Remote<T> {
    fn settle(&self, result: Result<T, JoinError>) {
        let before = std::mem::replace(&mut *self.lock(), Slot::Done(result));
        if let Slot::Running(Some(waker)) = before {
            waker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Slot<T>> {
        // No user code runs under this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Drop for Remote<T> {
    fn drop(&mut self) {
        if let Slot::Done(Err(error)) = self.0.get_mut().unwrap_or_else(PoisonError::into_inner) {
            error.log_if_lost();
        }
    }
}

/// The run is over, so that nothing can be spawned there any more. It holds what was to be spawned.
pub struct RunEnded<F>(pub F);

impl<F> fmt::Display for RunEnded<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the run of this handle has ended: no task can be spawned there any more")
    }
}

impl<F> fmt::Debug for RunEnded<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RunEnded")
    }
}

impl<F> Error for RunEnded<F> {}
