//! The green scope: tasks on stacks of their own that borrow from the stack of whoever opened it.
//!
//! No safe code can leave [`scope`] while one of its tasks lives: it returns or unwinds only when all are
//! done. A task that waits in it may be leaked with its stack, but then what was borrowed is leaked too.

use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;

use super::members::Members;
use crate::join::{JoinError, JoinHandle};
use crate::kernel::cancel;
use crate::kernel::door;
use crate::kernel::foreign::Unwind;

/// Where tasks are spawned that may borrow whatever outlives the call of [`scope`].
pub struct Scope<'scope, 'env: 'scope> {
    pub(crate) members: Rc<Members>,
    /// As std's: neither lifetime may shrink or grow.
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

/// Opens a scope for tasks that borrow, and waits for all of them before it returns.
///
/// ```
/// use wouldblock::green;
///
/// wouldblock::run(|| {
///     let words = ["a", "few", "words"];
///     let total: usize = green::scope(|s| {
///         let tasks: Vec<_> = words.iter().map(|word| s.spawn(move || word.len())).collect();
///         tasks.into_iter().map(|task| task.join().unwrap()).sum()
///     });
///     assert_eq!(total, 9);
/// });
/// ```
///
/// # Panics
///
/// With whatever `body` panics with, after its tasks were cancelled and have ended; when one of the tasks
/// panicked and nobody joined it; outside of a task.
///
/// # Cancellation
///
/// When the calling task is cancelled, or a time limit around the scope passes, all tasks of the scope are
/// cancelled; the stack unwinds from here when they have ended.
#[track_caller]
pub fn scope<'env, F, T>(body: F) -> T
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
{
    let members = Rc::new(Members::of(&"the tasks of its scope"));
    let scope = Scope { members, scope: PhantomData, env: PhantomData };
    let value = scope.members.enclose(|| body(&scope));
    assert!(scope.members.panicked.get() == 0, "a scoped task panicked");
    value
}

impl Scope<'_, '_> {
    /// Cancels all tasks of the scope, those to come as well.
    pub fn cancel(&self) {
        self.members.cancel();
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scope({} tasks)", self.members.len())
    }
}

/// Where a task leaves its value for its handle.
type Value<T> = Rc<Cell<Option<T>>>;

/// The code of a scoped task. The order of the fields is that in which they are dropped: the scope may
/// end as soon as `presence` is gone, and by then nothing is left that borrows from it.
pub(crate) struct Child<T, F> {
    body: F,
    value: Value<T>,
    presence: Presence,
}

struct Presence {
    members: Rc<Members>,
    begun: bool,
}

impl Drop for Presence {
    fn drop(&mut self) {
        let members = &self.members;
        if !self.begun && !cancel::is_cancelled() {
            members.panicked.set(members.panicked.get() + 1); // There was no stack for it.
        }
        members.leave();
    }
}

impl<T, F: FnOnce() -> T> Child<T, F> {
    fn run(self) {
        let Child { body, value, presence } = self;
        // Dropped in reverse: the value, if nobody holds its handle, before the presence.
        let mut presence = presence;
        presence.begun = true;
        let value = value;
        match panic::catch_unwind(AssertUnwindSafe(body)) {
            Ok(result) => value.set(Some(result)),
            Err(payload) => {
                if !payload.is::<Unwind>() {
                    presence.members.panicked.set(presence.members.panicked.get() + 1);
                }
                panic::resume_unwind(payload);
            }
        }
    }
}

impl<'scope> Scope<'scope, '_> {
    /// The code of a task of the scope, with a lifetime that it forgets, and where it leaves its value.
    pub(crate) fn code<T: 'scope, F: FnOnce() -> T + 'scope>(
        &'scope self,
        body: F,
    ) -> (Box<dyn FnOnce()>, Value<T>) {
        let value = Rc::new(Cell::new(None));
        self.members.enter();
        let presence = Presence { members: self.members.clone(), begun: false };
        let child = Child { body, value: value.clone(), presence };
        let code: Box<dyn FnOnce() + 'scope> = Box::new(move || child.run());
        // SAFETY: only the lifetime changes. `scope` does not return or unwind before every `Presence` is
        // gone, which is the last part of a child to be dropped, whether it has run or not.
        (
            unsafe { std::mem::transmute::<Box<dyn FnOnce() + 'scope>, Box<dyn FnOnce()>>(code) },
            value,
        )
    }

    /// Takes in a task that was spawned with such code.
    pub(crate) fn adopt<T: 'scope>(
        &'scope self,
        handle: JoinHandle<()>,
        value: Value<T>,
    ) -> ScopedJoinHandle<'scope, T> {
        self.members.keep(handle.canceller());
        ScopedJoinHandle { handle, value, members: self.members.clone(), scope: PhantomData }
    }
}

/// A task of a [`Scope`]. Dropping it detaches the task, which the scope still waits for.
pub struct ScopedJoinHandle<'scope, T> {
    handle: JoinHandle<()>,
    value: Value<T>,
    members: Rc<Members>,
    scope: PhantomData<&'scope ()>,
}

impl<T> ScopedJoinHandle<'_, T> {
    /// Waits until the task is done.
    ///
    /// # Errors
    ///
    /// The task panicked, was cancelled, or is the one that calls.
    ///
    /// # Panics
    ///
    /// Outside of a task.
    ///
    /// # Cancellation
    ///
    /// The result is lost; the scope still waits for the task.
    #[track_caller]
    pub fn join(self) -> Result<T, JoinError> {
        let done = door::wait(poll_fn(|cx| self.handle.poll_shared(cx)));
        match (done, self.value.take()) {
            (Ok(()), Some(value)) => Ok(value),
            (Ok(()), None) => unreachable!("a task that returned has left its value"),
            (Err(error), _) => {
                if error.is_panic() {
                    self.members.panicked.set(self.members.panicked.get() - 1);
                }
                Err(error)
            }
        }
    }

    /// Asks the task to stop: see [`JoinHandle::cancel`].
    pub fn cancel(&self) {
        self.handle.cancel();
    }

    /// Whether the task is done.
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }
}

impl<T> fmt::Debug for ScopedJoinHandle<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scoped{:?}", self.handle)
    }
}
