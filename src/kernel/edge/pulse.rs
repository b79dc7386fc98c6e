//! How a thread writes its turns on a [`Board`], for the watchdog and for signal handlers.
//!
//! A thread has a board only while its run is watched, or prints its tasks on a signal.

use std::cell::Cell;
use std::sync::OnceLock;
use std::thread::Thread;
use std::time::Duration;

use super::board::Board;
use crate::kernel::task::TaskRef;

pub(crate) struct Pulse {
    board: Cell<Option<&'static Board>>,
    /// How many [`BoardGuard`]s there are.
    guards: Cell<u32>,
    /// Prints the table that a signal has requested; called with the signal.
    print: Cell<fn(i32)>,
}

/// The watchdog's thread, once there is one.
pub(crate) static WATCHDOG: OnceLock<Thread> = OnceLock::new();

/// Keeps the board of its thread. The last one that is dropped releases the board. (It is not `Send`: `Pulse` is not `Sync`.)
pub(crate) struct BoardGuard {
    pub(crate) board: &'static Board,
    pulse: &'static Pulse,
}

impl Pulse {
    pub(crate) const fn new() -> Pulse {
        Pulse { board: Cell::new(None), guards: Cell::new(0), print: Cell::new(|_| ()) }
    }

    /// The task's turn begins.
    #[inline]
    pub(crate) fn begins(&self, task: &TaskRef) {
        if let Some(board) = self.board.get() {
            let left = task.local().last_site.get();
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

    /// Calls `poll`, which may sleep in the operating system for up to `timeout`, and marks the thread asleep meanwhile.
    /// Afterwards wakes the watchdog, if it has stopped looking.
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

    /// Between two turns: prints the table, if a signal has requested it.
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

    /// Sets the function that prints the table.
    pub(crate) fn print_by(&self, print: fn(i32)) {
        self.print.set(print);
    }

    /// From now on, writes the turns of this thread on its board.
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
