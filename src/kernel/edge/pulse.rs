//! The turns of this thread, shown on a [`Board`] where something outside of the thread looks at them.
//!
//! A run that is watched, or that answers a signal, has a board; others show nothing.

use std::cell::Cell;
use std::sync::OnceLock;
use std::thread::Thread;
use std::time::Duration;

use super::board::Board;
use crate::kernel::task::Task;

pub(crate) struct Pulse {
    board: Cell<Option<&'static Board>>,
    /// How many `Shown` there are.
    shown: Cell<u32>,
    /// Prints what a signal has requested through the board, between two turns.
    answer: Cell<fn(i32)>,
}

/// The watchdog, once there is one.
pub(crate) static WATCHDOG: OnceLock<Thread> = OnceLock::new();

/// The thread shows its turns as long as one of these lives. It stays on its thread.
pub(crate) struct Shown {
    pub(crate) board: &'static Board,
    pulse: &'static Pulse,
}

impl Pulse {
    pub(crate) const fn new() -> Pulse {
        Pulse { board: Cell::new(None), shown: Cell::new(0), answer: Cell::new(drop) }
    }

    /// The task's turn begins.
    #[inline]
    pub(crate) fn begins(&self, task: &Task) {
        if let Some(board) = self.board.get() {
            // SAFETY: a task has its turn on its home thread only.
            let left = unsafe { task.local() }.last_site.get();
            let name = task.name.as_ref().map(|name| &***name);
            board.begins((task.id, task.era), task.site, left, name);
        }
    }

    /// The turn is over.
    #[inline]
    pub(crate) fn ends(&self) {
        if let Some(board) = self.board.get() {
            board.ends();
        }
    }

    /// Calls `poll`, which may sleep in the operating system for up to `timeout`. Wakes the watchdog afterwards, if that has
    /// stopped looking.
    pub(crate) fn asleep<T>(&self, timeout: Option<Duration>, poll: impl FnOnce() -> T) -> T {
        let Some(board) = self.board.get().filter(|_| timeout != Some(Duration::ZERO)) else {
            return poll();
        };
        board.sleeps();
        let polled = poll();
        if board.wakes_up() {
            WATCHDOG.get().inspect(|watchdog| watchdog.unpark());
        }
        polled
    }

    /// Between two turns: answers the signal that has come, if one has.
    #[inline]
    pub(crate) fn answer(&self) {
        if let Some(board) = self.board.get().filter(|board| board.is_asked()) {
            self.answer_on(board);
        }
    }

    #[cold]
    fn answer_on(&self, board: &Board) {
        if let Some(signal) = board.take_question() {
            self.answer.get()(signal);
        }
    }

    /// What is called for each signal that has come, from now on.
    pub(crate) fn answer_by(&self, answer: fn(i32)) {
        self.answer.set(answer);
    }

    /// Shows the turns of this thread from now on.
    pub(crate) fn show(&'static self) -> Shown {
        let board = self.board.get().unwrap_or_else(Board::claim);
        self.board.set(Some(board));
        self.shown.set(self.shown.get() + 1);
        Shown { board, pulse: self }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        let left = self.pulse.shown.get() - 1;
        self.pulse.shown.set(left);
        if left == 0 {
            self.pulse.board.set(None);
            self.board.release();
        }
    }
}
