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

pub(crate) struct Tasks<T> {
    handles: Slab<JoinHandle<T>>,
    news: Rc<News>,
}

/// What a task leaves when it ends. (To ask each of a thousand tasks at each end of one would be a million
/// questions.)
#[derive(Default)]
struct News {
    /// The keys of those that have ended and were not given back yet.
    ended: RefCell<VecDeque<usize>>,
    waiter: Cell<Option<Waiter>>,
}

impl News {
    fn announce(&self, key: usize) {
        self.ended.borrow_mut().push_back(key);
        if let Some(waiter) = self.waiter.take() {
            waker::wake_waiter(waiter);
        }
    }
}

impl<T: 'static> Tasks<T> {
    pub(crate) fn new(handles: impl IntoIterator<Item = JoinHandle<T>>) -> Tasks<T> {
        let mut tasks = Tasks { handles: Slab::new(), news: Rc::default() };
        handles.into_iter().for_each(|handle| tasks.add(handle));
        tasks
    }

    /// The keys are 0, 1, 2, .. as long as no task has been given back.
    pub(crate) fn add(&mut self, handle: JoinHandle<T>) {
        let (news, entry) = (self.news.clone(), self.handles.vacant_entry());
        let key = entry.key();
        match handle.is_elsewhere() {
            true => news.announce(key), // Asked, it says so.
            false => handle.canceller().at_end(move || news.announce(key)),
        }
        entry.insert(handle);
    }

    /// The next that ends, its key and its result; `None`: none is left.
    pub(crate) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<(usize, Result<T, JoinError>)>> {
        wait::poll_within_budget(cx, |cx| {
            let first = self.news.ended.borrow().front().copied();
            if let Some(key) = first {
                let result = ready!(self.handles[key].poll_shared(cx));
                self.news.ended.borrow_mut().pop_front();
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
            self.news.waiter.set(Some(door::waiter(cx)));
            wait::record(cx, wait);
            Poll::Pending
        })
    }
}

impl<T> Tasks<T> {
    pub(crate) fn len(&self) -> usize {
        self.handles.len()
    }

    pub(crate) fn cancel(&self) {
        self.handles.iter().for_each(|(_, handle)| handle.cancel());
    }
}
