//! Virtual time for a student's scheduler: it says what is wrong with the way in which it sleeps.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

use wouldblock::Wait;
use wouldblock::net::unix::UnixStream;

use crate::check::{MOST, fail, grouped, stop_if_failed};
use crate::job::{Id, Outside, trace};

/// The job whose socket is ready in a `sleep`, and the other end of this socket; or nothing but the time.
pub type Event = Option<(&'static str, UnixStream)>;

/// A clock that stands still while jobs run, unless one of them takes time, and jumps when the scheduler sleeps. It counts.
#[derive(Clone, Default)]
pub struct VirtualTime {
    sleeps: Rc<RefCell<Vec<u64>>>,
    sockets: Rc<RefCell<VecDeque<Event>>>,
    late: Rc<Cell<u64>>,
}

impl VirtualTime {
    /// A clock at 0.
    pub fn new() -> VirtualTime {
        trace(|t| t.clock_begins());
        VirtualTime::default()
    }

    /// From now on, in each `sleep` the socket is ready for which the next of these jobs waits, because a byte is written into
    /// its other end, and no time passes. With `None`, and after that, time passes.
    pub fn sockets_are_ready(&self, jobs: impl IntoIterator<Item = Event>) {
        self.sockets.borrow_mut().extend(jobs);
    }

    /// From now on, each `sleep` in which time passes returns so many milliseconds late, as that of a busy machine does.
    pub fn sleeps_late(&self, ms: u64) {
        self.late.set(ms);
    }

    /// So many milliseconds pass now, while the job runs that calls this, as they do in one that computes.
    pub fn passes(&self, ms: u64) {
        trace(|t| t.time_passes(ms));
    }

    /// Until when the scheduler has slept, each time that it did, and time passed.
    pub fn sleeps(&self) -> Vec<u64> {
        self.sleeps.borrow().clone()
    }
}

impl Outside for VirtualTime {
    fn now(&self) -> u64 {
        let (now, asked) = trace(|t| (t.clock(), t.time_is_asked()));
        stop_if_failed();
        if asked == MOST {
            let all = trace(|t| t.all());
            fail(format!(
                "your scheduler asked the time {} times, and no job had a turn meanwhile ({all}). Time stands still until \
                 the thread sleeps: when the queue is empty, call `outside.sleep` with the earliest time instead",
                grouped(MOST)
            ));
        }
        now
    }

    #[track_caller]
    fn sleep(&mut self, until: Option<u64>, waits: &[(Id, Wait)]) -> io::Result<Vec<Id>> {
        stop_if_failed();
        trace(|t| t.sleep_is_called());
        if let Some((name, why)) = trace(|t| t.ready()) {
            fail(format!("`sleep` was called while `{name}` was ready: {why}"));
        }
        let given = until.map_or("None".to_owned(), |until| format!("Some({until})"));
        same_waits(waits);
        match trace(|t| (t.earliest(), t.clock())) {
            (Some((name, earliest)), _) if until.is_none_or(|until| until > earliest) => {
                fail(format!(
                    "`sleep({given}, ..)` sleeps past `{name}`'s deadline, {earliest} ms: sleep until the EARLIEST deadline"
                ))
            }
            (Some((name, earliest)), now)
                if now > 0 && until.is_some_and(|until| until + now == earliest) =>
            {
                fail(format!(
                    "`sleep({given}, ..)` at {now} ms, and the first that is due is `{name}`, at {earliest} ms: `until` is a \
                     point in time, and not how long to sleep from now on"
                ))
            }
            (Some((name, earliest)), now)
                if until.is_some_and(|until| until < earliest) && trace(|t| t.has_passed()) =>
            {
                fail(format!(
                    "`sleep({given}, ..)` at {now} ms, and the first that is due is `{name}`, at {earliest} ms. Time goes on \
                     while a job runs: where it yields `Sleep(ms)`, ask `outside.now()` then, after the resume"
                ))
            }
            (Some((name, earliest)), now) if until.is_some_and(|until| until < earliest) => {
                fail(format!(
                    "`sleep({given}, ..)` at {now} ms, and no job is due then: the first is `{name}`, at {earliest} ms. \
                 `Sleep(ms)` counts from the time at which it is asked"
                ))
            }
            (None, _) if until.is_some() => fail(format!(
                "`sleep({given}, ..)`, and no job sleeps any more: take a sleeper out of the set when it is due"
            )),
            _ => {}
        }
        let next = self.sockets.borrow_mut().pop_front();
        if let Some(Some((job, other_end))) = next {
            other_end.try_write(b"x")?;
            return Ok(trace(|t| t.socket_is_ready(job)).into_iter().collect());
        }
        let Some(until) = until else {
            let (all, left) = trace(|t| (t.all(), t.waiting().len()));
            fail(match () {
                () if all.is_empty() => "`sleep(None, [])` never returns, and no job is left: this is where `run` returns \
                                         `Ok(())`"
                    .to_owned(),
                () if left > 0 => format!("`sleep` was called once more than there are sockets ({all})"),
                () => format!(
                    "`sleep(None, [])` never returns: nothing is ready, no job sleeps, none waits for a socket ({all}). This \
                     is where `run` returns `Err(Stuck ..)`"
                ),
            });
        };
        self.sleeps.borrow_mut().push(until);
        if self.sleeps.borrow().len() == MOST {
            fail(format!(
                "your scheduler slept {} times: is the job taken out that is due?",
                grouped(MOST)
            ));
        }
        trace(|t| t.time_is(t.clock().max(until) + self.late.get(), until));
        Ok(Vec::new())
    }
}

/// The waits that `sleep` is given are those of the jobs that wait for a socket.
#[track_caller]
fn same_waits(waits: &[(Id, Wait)]) {
    let waiting = trace(|t| t.waiting());
    for (id, _) in waits {
        if !waiting.iter().any(|(_, other, _)| *other == Some(*id)) {
            let name = trace(|t| t.name(*id)).unwrap_or("?");
            fail(format!(
                "`sleep` was given a wait of `{name}`, which waits for no socket now: only jobs that yielded `Op::Wait` have \
                 one, until `sleep` has returned their number; then take it out of the list"
            ));
        }
    }
    let is_missing =
        |(_, id, _): &&(_, Option<Id>, _)| !waits.iter().any(|(other, _)| Some(*other) == *id);
    if let Some((name, ..)) = waiting.iter().find(is_missing) {
        fail(format!(
            "`{name}` waits for a socket, and `sleep` was not given its wait: it is given the waits of ALL jobs that wait, \
             each time, until it has returned their numbers"
        ));
    }
}
