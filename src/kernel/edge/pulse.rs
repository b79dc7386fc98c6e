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
    /// How many `BoardGuard` there are.
    guards: Cell<u32>,
    /// Prints what a signal has requested through the board, between two turns.
    print: Cell<fn(i32)>,
}

/// The watchdog, once there is one.
pub(crate) static WATCHDOG: OnceLock<Thread> = OnceLock::new();

/// The thread shows its turns as long as one of these lives. It stays on its thread.
pub(crate) struct BoardGuard {
    pub(crate) board: &'static Board,
    pulse: &'static Pulse,
}

impl Pulse {
    pub(crate) const fn new() -> Pulse {
        Pulse { board: Cell::new(None), guards: Cell::new(0), print: Cell::new(drop) }
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
    pub(crate) fn serve_request(&self) {
        if let Some(board) = self.board.get().filter(|board| board.has_request()) {
            self.serve(board);
        }
    }

    #[cold]
    fn serve(&self, board: &Board) {
        if let Some(signal) = board.take_request() {
            self.print.get()(signal);
        }
    }

    /// What is called for each signal that has come, from now on.
    pub(crate) fn print_by(&self, print: fn(i32)) {
        self.print.set(print);
    }

    /// Shows the turns of this thread from now on.
    pub(crate) fn show(&'static self) -> BoardGuard {
        let board = self.board.get().unwrap_or_else(Board::claim);
        self.board.set(Some(board));
        self.guards.set(self.guards.get() + 1);
        BoardGuard { board, pulse: self }
    }
}

impl Drop for BoardGuard {
    fn drop(&mut self) {
        let left = self.pulse.guards.get() - 1;
        self.pulse.guards.set(left);
        if left == 0 {
            self.pulse.board.set(None);
            self.board.release();
        }
    }
}
