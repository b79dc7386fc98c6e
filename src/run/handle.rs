//! How other threads spawn tasks in a run, wait for them, and cancel them.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::panic::{self, AssertUnwindSafe, Location};
use std::pin::Pin;
use std::ptr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};

use futures_lite::future::block_on;

use crate::eras::pep342::Yielder;
use crate::kernel::door;
use crate::kernel::edge::foreign::KeptWaker;
use crate::kernel::edge::inbox::Errand;
use crate::kernel::edge::waker;
use crate::kernel::here::in_task;
use crate::kernel::scheduler::Scheduler;
use crate::kernel::task::{Home, SharedTask};
use crate::kernel::wait;
use crate::kernel::wait::Wait;
use crate::run::join::{BareHandle, JoinError, JoinHandle};
use crate::run::runtime::Runtime;
use crate::task;

/// Spawns tasks in a run from other threads. The thread, or a task of another run or executor, can wait for such a task,
/// and cancel it.
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
/// While a run has a spawner, a deadlock is only suspected, since a new task may wake another. It is logged after ten
/// seconds in which nothing moved ([`Builder::deadlock_warning`](crate::Builder::deadlock_warning)). So drop a spawner
/// that is no longer needed. A spawner does not keep the run from ending, which it does when its root returns.
///
/// To send values between a task and another thread while both go on, use a channel that wakes a
/// [`Waker`](std::task::Waker), such as that of the crate `async-channel`.
pub struct Spawner(Arc<Home>);

impl Spawner {
    /// Returns a spawner of the run in which this is called.
    ///
    /// # Panics
    ///
    /// Panics outside of a run.
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

    /// Spawns a greenlet in the run: see [`green::spawn`](crate::green::spawn). The task begins when its turn comes; this
    /// does not wait for that.
    ///
    /// # Errors
    ///
    /// Returns [`RunEnded`], which has `body`, if the run is over. If the run ends after this call and before the task
    /// begins, `body` is dropped on the run's thread, and joining the task returns an error.
    #[track_caller]
    pub fn spawn<T: Send + 'static, F>(&self, body: F) -> Result<RemoteJoinHandle<T>, RunEnded<F>>
    where
        F: FnOnce() -> T + Send + 'static,
    {
        self.send(body, task::Builder::spawn)
    }

    /// Spawns a generator in the run: see [`generator::spawn`](crate::generator::spawn).
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
        self.send(body, task::Builder::spawn_generator)
    }

    /// Spawns the future that `make` returns: see [`future::spawn`](crate::future::spawn). The task calls `make`, on the
    /// run's thread, so the future need not be `Send`.
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
        self.send(make, |builder, make| builder.spawn_future(async move { make().await }))
    }

    #[track_caller]
    fn send<T: Send + 'static, F: Send + 'static>(
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
                    // The panic hook reports a panic of its destructor.
                    return drop(panic::catch_unwind(AssertUnwindSafe(|| drop(code))));
                }
                let handle = spawn(builder, code);
                let _ = started.set(handle.task.clone().into_shared());
                handle.at_end(move |done| there.settle(done.take()));
            })
        });
        match code {
            Some(code) => Err(RunEnded(code)),
            None => Ok(RemoteJoinHandle { remote, task, home: self.0.clone() }),
        }
    }
}

/// Puts the errand that `make` makes into the inbox of a run, and wakes its scheduler. If the run has ended, `make` is
/// not called.
fn put(home: &Home, make: impl FnOnce() -> Errand) {
    if home.errands.push_with(make) == Some(true) {
        home.reactor.ring();
    }
}

impl Runtime {
    /// Returns a spawner, with which other threads spawn tasks in this runtime. A spawn makes the
    /// [descriptor](Runtime::as_fd) of the runtime readable.
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

/// A handle to a task that was spawned from another thread, through a [`Spawner`]. It can be sent to any thread.
///
/// The handle is an operation, and a future for any executor. Dropping it detaches the task, which goes on.
///
/// # Cancellation
///
/// If you are cancelled while you wait for a handle, the handle is dropped. The task goes on, and its result is lost. To
/// keep the result, wait for `&mut handle`.
pub struct RemoteJoinHandle<T> {
    remote: Arc<Remote<T>>,
    /// Set when the run has spawned the task.
    task: Arc<OnceLock<SharedTask>>,
    home: Arc<Home>,
}

impl<T> RemoteJoinHandle<T> {
    /// Waits until the task is done.
    ///
    /// # Errors
    ///
    /// Returns an error if the task panicked, was cancelled, or never began because the run has ended.
    ///
    /// # Blocking
    ///
    /// In a task of any run, this suspends that task. Outside of a task, it blocks the thread.
    ///
    /// # Panics
    ///
    /// Panics on the thread of the task's own run, outside of a task: it would block the thread on which the task runs.
    #[track_caller]
    pub fn join(self) -> Result<T, JoinError> {
        if in_task() {
            return door::wait(self);
        }
        let at_home = Scheduler::entered(|home| ptr::eq(home, &*self.home), |_| ()).is_some();
        assert!(
            !at_home,
            "a join that blocks the thread on which the task would run: join it in a task, or on another thread"
        );
        block_on(self)
    }

    /// Cancels the task, as [`JoinHandle::cancel`] does: it stops where it waits now, or at its next wait. A task that has
    /// not begun never begins. This does nothing if the task is done.
    ///
    /// This may be called on any thread. It does not wait until the task has stopped: join it for that. Keep a
    /// [`Spawner`] as long as you may still cancel the task: without one, a task that waits for nothing else is a
    /// deadlock.
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
                    // SAFETY: an errand is carried out by the run to which the task belongs, on its thread.
                    BareHandle(unsafe { task.clone().at_home() }).cancel();
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
    /// Panics if it is polled again after it was ready.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        wait::poll_within_budget(cx, |cx| {
            // The clone and the destructor of a waker may be user code: neither is called under the lock.
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

/// The result of a task, on its way from its thread to another.
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

/// The error of a spawn in a run that is over. It has the code that was to be spawned.
pub struct RunEnded<F>(pub F);

impl<F> fmt::Display for RunEnded<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the run of this spawner has ended: no task can be spawned there any more")
    }
}

impl<F> fmt::Debug for RunEnded<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RunEnded")
    }
}

impl<F> Error for RunEnded<F> {}
