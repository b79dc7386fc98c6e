//! What `watch` and `broadcast` have in common: senders that are counted, and receivers that are all woken for each item
//! and then look for themselves.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::mpsc::{RecvError, TryRecvError};
use std::task::{Context, Poll, ready};

use super::event::Event;
use crate::kernel::wait;

pub(super) struct Feed {
    senders: Cell<usize>,
    arrived: Event,
}

impl Feed {
    /// With one sender. Reports call what receivers wait for by the name `what`.
    pub(super) fn new(what: &'static &'static str) -> Feed {
        Feed { senders: Cell::new(1), arrived: Event::of(what) }
    }

    pub(super) fn add_sender(&self) {
        self.senders.set(self.senders.get() + 1);
    }

    /// After the last sender, nothing comes any more.
    pub(super) fn remove_sender(&self) {
        self.senders.set(self.senders.get() - 1);
        if self.senders.get() == 0 {
            self.wake();
        }
    }

    /// To be called when an item has been sent: all receivers that wait look again.
    pub(super) fn wake(&self) {
        self.arrived.pulse();
    }

    /// Why a receiver finds nothing: nothing has come, or nothing will.
    pub(super) fn nothing(&self) -> TryRecvError {
        match self.senders.get() {
            0 => TryRecvError::Disconnected,
            _ => TryRecvError::Empty,
        }
    }

    /// Waits until `try_recv` has an item, or none will come.
    pub(super) async fn receiving<T>(
        &self,
        mut try_recv: impl FnMut() -> Result<T, TryRecvError>,
    ) -> Result<T, RecvError> {
        let mut waiting = self.arrived.waiting();
        let mut received = |cx: &mut Context<'_>| {
            loop {
                match try_recv() {
                    Ok(item) => return Poll::Ready(Ok(item)),
                    Err(TryRecvError::Disconnected) => return Poll::Ready(Err(RecvError)),
                    // Without a turn in between, in which something might come.
                    Err(TryRecvError::Empty) => ready!(Pin::new(&mut waiting).poll(cx)),
                }
                waiting = self.arrived.waiting();
            }
        };
        poll_fn(|cx| wait::poll_within_budget(cx, &mut received)).await
    }
}
