//! A timeline of the sequential way, which has no tasks: each download is drawn as one that has the thread, and waits
//! while a system call keeps it.

use std::os::fd::RawFd;
use std::panic::Location;
use std::time::Instant;

use wouldblock::observe::{Actor, EventKind, Observer, Outcome, TaskEvent};
use wouldblock::timeline::Timeline;
use wouldblock::{Era, SourceId, Wait, WaitFor};

/// One download, until it is dropped.
pub struct Drawn {
    timeline: Timeline,
    task: u64,
}

impl Drawn {
    #[track_caller]
    pub fn new(timeline: &Timeline, task: u64, name: &str) -> Drawn {
        let drawn = Drawn { timeline: timeline.clone(), task };
        drawn.put(EventKind::spawned(Some(name), Era::Green, Location::caller(), None));
        drawn.put(EventKind::Turn);
        drawn
    }

    /// A call that blocks begins, on this descriptor.
    pub fn waits(&self, socket: RawFd) {
        let what = WaitFor::Readable(SourceId::unregistered(socket));
        self.put(EventKind::Waits(Wait::new(what)));
    }

    /// It is over.
    pub fn goes_on(&self) {
        self.put(EventKind::Woken(Actor::Socket));
        self.put(EventKind::Turn);
    }

    fn put(&self, kind: EventKind<'_>) {
        self.timeline.observe(&TaskEvent::new(Instant::now(), self.task, kind));
    }
}

impl Drop for Drawn {
    fn drop(&mut self) {
        self.put(EventKind::Ends(Outcome::Returned));
    }
}
