//! Makes a failing program smaller: parts are left out, and values made simpler, as long as it fails in the same
//! way.
//!
//! This is delta debugging on the tree itself and not the shrinking of a library of property tests: each
//! candidate costs a process, and any subtree may be left out of a program (numbers are taken modulo what there
//! is), so that whole halves can go at first. A recursive strategy of `proptest` simplifies value by value and
//! knows nothing of that: it tries thousands of candidates; and it would run each in a process started anew.

use std::time::{Duration, Instant};

use crate::program::{
    Block, Era, HandEnd, Handle, Op, Part, Program, RunSetup, Stack, Watching, What,
};

/// The smallest found within `limit` for which `fails` is true.
pub(crate) fn shrink(
    program: &Program,
    limit: Duration,
    fails: impl Fn(&Program) -> bool,
) -> Program {
    let end = Instant::now() + limit;
    let mut best = program.clone();
    loop {
        let mut smaller = false;
        let mut at = 0;
        // Each index is one way to make it smaller; where one succeeds, the ways are others from there on.
        while let Some(candidate) = candidate(&best, at) {
            if Instant::now() > end {
                return best;
            }
            if fails(&candidate) {
                best = candidate;
                smaller = true;
            } else {
                at += 1;
            }
        }
        if !smaller {
            return best;
        }
    }
}

/// The `at`th way to make the program smaller; `None` behind the last.
fn candidate(program: &Program, at: usize) -> Option<Program> {
    let mut cursor = Cursor(at);
    let mut copy = program.clone();
    let done = edit(&mut copy, &mut cursor);
    copy.tidy();
    done.then_some(copy)
}

/// Counts ways down to the one that is wanted.
struct Cursor(usize);

impl Cursor {
    fn is_here(&mut self) -> bool {
        match self.0 {
            0 => true,
            _ => {
                self.0 -= 1;
                false
            }
        }
    }
}

/// Makes the change at the cursor; `false` if there are fewer.
fn edit(program: &mut Program, cursor: &mut Cursor) -> bool {
    if program.on_thread && cursor.is_here() {
        return set(&mut program.on_thread, false);
    }
    if program.twice && cursor.is_here() {
        return set(&mut program.twice, false);
    }
    if shorten(&mut program.parts, cursor) {
        return true;
    }
    for part in &mut program.parts {
        let done = match part {
            Part::Run { setup, body } => edit_block(body, cursor) || edit_setup(setup, cursor),
            Part::Hand { setup, enter, turns, end } => {
                edit_block(enter, cursor)
                    || edit_setup(setup, cursor)
                    || *turns > 0 && cursor.is_here() && set(turns, 0)
                    || *end != HandEnd::Drop && cursor.is_here() && set(end, HandEnd::Drop)
            }
            Part::Outside(body) => edit_block(body, cursor),
        };
        if done {
            return true;
        }
    }
    false
}

fn set<T>(place: &mut T, value: T) -> bool {
    *place = value;
    true
}

/// Leaves out a half, a quarter, .. one of a list.
fn shorten<T>(list: &mut Vec<T>, cursor: &mut Cursor) -> bool {
    let mut size = list.len();
    while size > 0 {
        for start in (0..list.len()).step_by(size) {
            if cursor.is_here() {
                list.drain(start..(start + size).min(list.len()));
                return true;
            }
        }
        size /= 2;
    }
    false
}

fn edit_setup(setup: &mut RunSetup, cursor: &mut Cursor) -> bool {
    setup.seed.is_some() && cursor.is_here() && set(&mut setup.seed, None)
        || setup.watchdog && cursor.is_here() && set(&mut setup.watchdog, false)
        || setup.real_clock && cursor.is_here() && set(&mut setup.real_clock, false)
        || setup.clear && cursor.is_here() && set(&mut setup.clear, false)
        || setup.settle && cursor.is_here() && set(&mut setup.settle, false)
        || setup.observer != Watching::Nothing
            && cursor.is_here()
            && set(&mut setup.observer, Watching::Nothing)
}

fn edit_block(block: &mut Block, cursor: &mut Cursor) -> bool {
    if shorten(block, cursor) {
        return true;
    }
    for at in 0..block.len() {
        // An operation gives way to what is inside of it.
        let inner = block[at].blocks().len();
        for which in 0..inner {
            let is_empty = block[at].blocks()[which].is_empty();
            if !is_empty && cursor.is_here() {
                let hoisted = std::mem::take(block[at].blocks()[which]);
                block.splice(at..=at, hoisted);
                return true;
            }
        }
        if edit_op(&mut block[at], cursor)
            || block[at].blocks().into_iter().any(|b| edit_block(b, cursor))
        {
            return true;
        }
    }
    false
}

fn edit_op(op: &mut Op, cursor: &mut Cursor) -> bool {
    match op {
        Op::Spawn(spawn) => edit_spawn(spawn, cursor),
        Op::Group { children, .. } | Op::Pool { children, .. } => {
            shorten(children, cursor) || children.iter_mut().any(|child| edit_spawn(child, cursor))
        }
        Op::Scope { children, .. } | Op::AsyncScope { children, .. } => shorten(children, cursor),
        Op::Catch { resume, .. } => *resume && cursor.is_here() && set(resume, false),
        Op::Wait(what) | Op::Poll { what, .. } => edit_what(what, cursor),
        Op::Join(n) | Op::Cancel(n) | Op::DropHandle(n) | Op::OnDone(n, _) | Op::Timeout(n, _) => {
            *n > 0 && cursor.is_here() && set(n, 0)
        }
        Op::Wake { waker, thread, .. } => {
            *thread && cursor.is_here() && set(thread, false)
                || *waker > 0 && cursor.is_here() && set(waker, 0)
        }
        Op::Resume { generator, follow } => {
            *follow && cursor.is_here() && set(follow, false)
                || *generator > 0 && cursor.is_here() && set(generator, 0)
        }
        _ => false,
    }
}

fn edit_spawn(spawn: &mut crate::program::Spawn, cursor: &mut Cursor) -> bool {
    spawn.era != Era::Green && cursor.is_here() && set(&mut spawn.era, Era::Green)
        || spawn.handle != Handle::Drop && cursor.is_here() && set(&mut spawn.handle, Handle::Drop)
        || spawn.stack != Stack::OfTheRun
            && cursor.is_here()
            && set(&mut spawn.stack, Stack::OfTheRun)
        || spawn.name && cursor.is_here() && set(&mut spawn.name, false)
}

fn edit_what(what: &mut What, cursor: &mut Cursor) -> bool {
    if !matches!(what, What::Ready) && cursor.is_here() {
        return set(what, What::Ready);
    }
    // An operation gives way to what is inside of it, which keeps a limit if it needs one.
    let inner: Vec<What> = match what {
        What::Select(a, b) => vec![(**a).clone(), (**b).clone()],
        What::Limit(_, inner) if !inner.is_endless() => vec![(**inner).clone()],
        What::First(_, parts) => parts.clone(),
        _ => Vec::new(),
    };
    for inner in inner.into_iter().filter(|inner| !inner.is_endless()) {
        if cursor.is_here() {
            return set(what, inner);
        }
    }
    match what {
        What::First(_, parts) => {
            shorten(parts, cursor) || parts.iter_mut().any(|part| edit_what(part, cursor))
        }
        What::Select(a, b) => edit_what(a, cursor) || edit_what(b, cursor),
        What::Limit(_, inner) => edit_what(inner, cursor),
        What::Sleep(n) => *n > 1 && cursor.is_here() && set(n, 1),
        _ => false,
    }
}
