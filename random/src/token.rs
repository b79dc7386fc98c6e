//! Counted values: each body, result, payload, message and captured value of a program holds one, and each is
//! to be dropped exactly once.

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering::SeqCst};

use crate::report;

/// Tokens of one program at most; further ones are not counted.
const MOST: usize = 1 << 16;

/// Which program's tokens are counted.
static PROGRAM: AtomicU32 = AtomicU32::new(0);
static MADE: AtomicU32 = AtomicU32::new(0);
static LIVE: AtomicU32 = AtomicU32::new(0);
static STATES: [AtomicU8; MOST] = [const { AtomicU8::new(0) }; MOST];
static KINDS: [AtomicU8; MOST] = [const { AtomicU8::new(0) }; MOST];

macro_rules! kinds {
    ($($name:ident),*) => {
        /// What a token is part of.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u8)]
        pub(crate) enum Kind { $($name),* }
        const ALL: &[Kind] = &[$(Kind::$name),*];
    };
}

kinds!(
    Frame, AsyncFrame, Captured, Result, Payload, Message, Operation, Callback, Waker, Guard,
    Borrowed, Generator
);

/// On the heap, so that a sanitizer notices a second drop, or a use after it.
#[derive(Debug)]
pub(crate) struct Token(Box<Number>);

#[derive(Clone, Copy, Debug)]
struct Number {
    program: u32,
    id: u32,
}

impl Token {
    pub(crate) fn new(kind: Kind) -> Token {
        let id = MADE.fetch_add(1, SeqCst);
        LIVE.fetch_add(1, SeqCst);
        if let Some(state) = STATES.get(id as usize) {
            state.store(1, SeqCst);
            KINDS[id as usize].store(kind as u8, SeqCst);
        }
        Token(Box::new(Number { program: PROGRAM.load(SeqCst), id }))
    }

    /// Looks whether it is there.
    pub(crate) fn check(&self) {
        let state = STATES.get(self.0.id as usize).map_or(1, |state| state.load(SeqCst));
        if state != 1 || self.0.program != PROGRAM.load(SeqCst) {
            report::fail(format_args!("used after drop: {:?}", self.0));
        }
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        if self.0.program != PROGRAM.load(SeqCst) {
            return report::fail(format_args!("dropped by a later program: {:?}", self.0));
        }
        LIVE.fetch_sub(1, SeqCst);
        let state = STATES.get(self.0.id as usize).map_or(1, |state| state.swap(2, SeqCst));
        if state != 1 {
            report::fail(format_args!("dropped twice: {:?}", self.0));
        }
    }
}

/// For another program.
pub(crate) fn reset() {
    PROGRAM.fetch_add(1, SeqCst);
    MADE.store(0, SeqCst);
    LIVE.store(0, SeqCst);
}

/// How many there are.
pub(crate) fn live() -> u32 {
    LIVE.load(SeqCst)
}

/// The kinds of those that are left.
pub(crate) fn left() -> Vec<Kind> {
    let made = (MADE.load(SeqCst) as usize).min(MOST);
    let left = (0..made).filter(|&id| STATES[id].load(SeqCst) == 1);
    left.map(|id| ALL[KINDS[id].load(SeqCst) as usize]).collect()
}
