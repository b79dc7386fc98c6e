//! Tasks that are waited for together; results come in the order in which they end.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use slab::Slab;

use crate::kernel::door;
use crate::kernel::edge::waker;
use crate::kernel::task::Waiter;
use crate::kernel::wait::{self, Wait, WaitFor};
use crate::run::join::{JoinError, JoinHandle};

pub(crate) struct TaskSet<T> {
    handles: Slab<JoinHandle<T>>,
    ended_tasks: Rc<Ended>,
}

/// Which tasks have ended: each adds its key when it ends. (To look at each of a thousand tasks at each end of one
/// would be a million looks.)
#[derive(Default)]
struct Ended {
    /// The keys of the tasks that have ended, and whose results have not been taken.
    keys: RefCell<VecDeque<usize>>,
    waiter: Cell<Option<Waiter>>,
}

impl Ended {
    fn announce(&self, key: usize) {
        self.keys.borrow_mut().push_back(key);
        if let Some(waiter) = self.waiter.take() {
            waker::wake_waiter(waiter);
        }
    }
}

impl<T: 'static> TaskSet<T> {
    pub(crate) fn new(handles: impl IntoIterator<Item = JoinHandle<T>>) -> TaskSet<T> {
        let mut tasks = TaskSet { handles: Slab::new(), ended_tasks: Rc::default() };
        handles.into_iter().for_each(|handle| tasks.add(handle));
        tasks
    }

    /// The keys are 0, 1, 2, .. as long as no result has been taken.
    pub(crate) fn add(&mut self, handle: JoinHandle<T>) {
        let (ended_tasks, entry) = (self.ended_tasks.clone(), self.handles.vacant_entry());
        let key = entry.key();
        match handle.is_elsewhere() {
            true => ended_tasks.announce(key), // Its result is an error that says so.
            false => handle.bare().at_end(move || ended_tasks.announce(key)),
        }
        entry.insert(handle);
    }

    /// Ready with the key and the result of the next task that ends; with `None` if no task is left.
    pub(crate) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<(usize, Result<T, JoinError>)>> {
        wait::poll_within_budget(cx, |cx| {
            let first = self.ended_tasks.keys.borrow().front().copied();
            if let Some(key) = first {
                let result = ready!(self.handles[key].poll_by_ref(cx));
                self.ended_tasks.keys.borrow_mut().pop_front();
                drop(self.handles.remove(key));
                return Poll::Ready(Some((key, result)));
            }
            let wait = match self.handles.iter().next() {
                None => return Poll::Ready(None),
                Some((_, last)) if self.handles.len() == 1 => {
                    Wait::new(WaitFor::Task(last.task.id))
                }
                Some(_) => Wait::named(&"the next of its tasks to end"),
            };
            self.ended_tasks.waiter.set(Some(door::waiter(cx)));
            wait::record(cx, wait);
            Poll::Pending
        })
    }
}

impl<T> TaskSet<T> {
    pub(crate) fn len(&self) -> usize {
        self.handles.len()
    }

    pub(crate) fn cancel(&self) {
        self.handles.iter().for_each(|(_, handle)| handle.cancel());
    }
}
