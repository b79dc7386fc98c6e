//! The memory that a connection reads into and writes from, held only while there is something in it.
//!
//! ureq's own `LazyBuffers` are as large for an idle connection as for a busy one, and of a thousand connections, almost
//! all wait. Here the input is taken for a read that succeeds, and given back when ureq has consumed what came; the
//! output is taken for a request's head or a part of its body, and given back when that is sent.

use std::cell::RefCell;
use std::mem;

use ureq::unversioned::transport::Buffers;

/// Buffers that a thread keeps for the next connection: neither malloc nor zeros for each read.
const MOST_SPARES: usize = 4;

/// What ureq needs beside the output to read a part of a request's body into.
const LEAST_ROOM: usize = 10 << 10;

thread_local! {
    static SPARES: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// `size` bytes, whatever is in them.
fn take(size: usize) -> Vec<u8> {
    let spare = SPARES.try_with(|spares| {
        let mut spares = spares.borrow_mut();
        let found = spares.iter().position(|spare| spare.len() == size);
        found.map(|found| spares.swap_remove(found))
    });
    spare.ok().flatten().unwrap_or_else(|| vec![0; size])
}

fn give(memory: Vec<u8>) {
    // On a thread that is ending, it is freed.
    let _ = SPARES.try_with(|spares| {
        let mut spares = spares.borrow_mut();
        if !memory.is_empty() {
            spares.truncate(MOST_SPARES - 1);
            spares.insert(0, memory);
        }
    });
}

/// The buffers of one connection, of these sizes. Each is empty while it is given back.
pub(super) struct Lent {
    input_size: usize,
    output_size: usize,
    input: Vec<u8>,
    /// What ureq has not consumed is `input[consumed..filled]`.
    consumed: usize,
    filled: usize,
    output: Vec<u8>,
    /// The last call to `input_consume` has consumed something.
    progress: bool,
}

impl Lent {
    pub(super) fn new(input_size: usize, output_size: usize) -> Lent {
        let (input, output) = (Vec::new(), Vec::new());
        Lent { input_size, output_size, input, consumed: 0, filled: 0, output, progress: false }
    }

    /// Gives the output back.
    pub(super) fn sent(&mut self, output: Vec<u8>) {
        give(output);
        self.give_unused();
    }

    /// Takes the output away, to be sent.
    pub(super) fn take_output(&mut self) -> Vec<u8> {
        mem::take(&mut self.output)
    }

    /// Gives the input back, if nothing in it is left to consume.
    pub(super) fn give_unused(&mut self) {
        if self.consumed == self.filled {
            (self.consumed, self.filled) = (0, 0);
            give(mem::take(&mut self.input));
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        give(mem::take(&mut self.input));
        give(mem::take(&mut self.output));
    }
}

impl Buffers for Lent {
    fn output(&mut self) -> &mut [u8] {
        if self.output.is_empty() {
            self.output = take(self.output_size);
        }
        &mut self.output
    }

    fn input(&self) -> &[u8] {
        &self.input[self.consumed..self.filled]
    }

    fn input_append_buf(&mut self) -> &mut [u8] {
        if self.input.is_empty() {
            self.input = take(self.input_size);
        }
        if self.consumed > 0 {
            self.input.copy_within(self.consumed..self.filled, 0);
            self.filled -= mem::take(&mut self.consumed);
        }
        &mut self.input[self.filled..]
    }

    fn input_appended(&mut self, amount: usize) {
        self.filled += amount;
        assert!(self.filled <= self.input.len(), "appended more than there is room for");
    }

    fn input_consume(&mut self, amount: usize) {
        self.progress = amount > 0;
        self.consumed += amount;
        assert!(self.consumed <= self.filled, "consumed more than there is");
        self.give_unused();
    }

    fn tmp_and_output(&mut self) -> (&mut [u8], &mut [u8]) {
        self.output();
        if self.input_append_buf().len() < LEAST_ROOM {
            self.input.resize(self.filled + LEAST_ROOM, 0);
        }
        (&mut self.input[self.filled..], &mut self.output)
    }

    fn can_use_input(&self) -> bool {
        !self.input().is_empty() && self.progress
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_consumed_stays_and_an_empty_buffer_is_given_back() {
        let mut buffers = Lent::new(8, 4);
        buffers.input_append_buf()[..6].copy_from_slice(b"abcdef");
        buffers.input_appended(6);
        assert!(!buffers.can_use_input(), "nothing was consumed yet");
        buffers.input_consume(4);
        assert_eq!((buffers.input(), buffers.can_use_input()), (&b"ef"[..], true));
        assert_eq!(buffers.input_append_buf().len(), 6, "what is left has moved to the beginning");
        let (room, output) = buffers.tmp_and_output();
        assert_eq!((room.len(), output.len()), (LEAST_ROOM, 4));
        assert_eq!(buffers.input(), b"ef");
        buffers.input_consume(2);
        assert!(buffers.input.is_empty() && buffers.input().is_empty());
        let output = buffers.take_output();
        buffers.sent(output);
        assert_eq!(buffers.output().len(), 4);
    }

    #[test]
    fn a_thread_keeps_few_spares() {
        drop((0..10).map(|n| take(100 + n)).map(give).collect::<Vec<_>>());
        SPARES.with_borrow(|spares| assert_eq!(spares.len(), MOST_SPARES));
        assert_eq!(take(109).len(), 109);
        SPARES.with_borrow(|spares| assert_eq!(spares.len(), MOST_SPARES - 1));
    }
}
