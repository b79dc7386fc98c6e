//! says: no job is due then

use std::collections::VecDeque;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

use kit::{Answer, Id, Job, Op, Outside, text_of};
use wouldblock::generator::GeneratorState::{Complete, Yielded};

/// Runs jobs in turn. None of them has a socket.
pub struct Scheduler {
    queue: VecDeque<Id>,
    slots: Vec<Slot>,
}

/// A job, and what it does.
struct Slot {
    job: Job,
    state: State,
    /// What it is sent next; nothing, before it has begun.
    answer: Option<Answer>,
    joiners: Vec<Id>,
}

enum State {
    Ready,
    Sleeps(u64),
    Joins,
    Ended(Result<(), String>),
}

impl Scheduler {
    /// A scheduler without jobs.
    pub fn new() -> Scheduler {
        Scheduler { queue: VecDeque::new(), slots: Vec::new() }
    }

    /// Puts a job into the queue.
    pub fn spawn(&mut self, job: Job) -> Id {
        let id = Id(self.slots.len());
        self.slots.push(Slot { job, state: State::Ready, answer: None, joiners: Vec::new() });
        self.queue.push_back(id);
        id
    }

    /// Runs until no job can go on. Returns how many are left.
    pub fn run(&mut self, outside: &mut dyn Outside) -> usize {
        loop {
            while let Some(id) = self.queue.pop_front() {
                self.turn(id, outside.now());
            }
            let times = self.slots.iter().filter_map(|slot| match slot.state {
                State::Sleeps(until) => Some(until),
                _ => None,
            });
            let Some(until) = times.min() else { break };
            let until = until.min(outside.now() + 1);
            outside.sleep(Some(until), &[]).expect("the system sleeps");
            for id in (0..self.slots.len()).map(Id) {
                if matches!(self.slots[id.0].state, State::Sleeps(due) if due <= outside.now()) {
                    self.ready(id, Answer::Nothing);
                }
            }
        }
        self.slots.iter().filter(|slot| !matches!(slot.state, State::Ended(_))).count()
    }

    /// Resumes a job, and does what it asks.
    fn turn(&mut self, id: Id, now: u64) {
        let slot = &mut self.slots[id.0];
        let resumed = catch_unwind(AssertUnwindSafe(|| match slot.answer.take() {
            Some(answer) => slot.job.send(answer),
            None => slot.job.prime(),
        }));
        match resumed {
            Ok(Complete(())) => self.ended(id, Ok(())),
            Err(payload) => self.ended(id, Err(text_of(&*payload))),
            Ok(Yielded(Op::Turn)) => self.ready(id, Answer::Nothing),
            Ok(Yielded(Op::Sleep(ms))) => self.slots[id.0].state = State::Sleeps(now + ms),
            Ok(Yielded(Op::Spawn(_, job))) => {
                let new = self.spawn(job);
                self.ready(id, Answer::Spawned(new));
            }
            Ok(Yielded(Op::Join(other))) => {
                self.slots[id.0].state = State::Joins;
                match &self.slots[other.0].state {
                    State::Ended(result) => self.ready(id, Answer::Ended(result.clone())),
                    _ => self.slots[other.0].joiners.push(id),
                }
            }
            Ok(Yielded(Op::Wait(_))) => unreachable!("no job here has a socket"),
        }
    }

    /// Puts a job at the back of the queue, with what it is sent then.
    fn ready(&mut self, id: Id, answer: Answer) {
        self.slots[id.0].answer = Some(answer);
        self.slots[id.0].state = State::Ready;
        self.queue.push_back(id);
    }

    fn ended(&mut self, id: Id, result: Result<(), String>) {
        self.slots[id.0].state = State::Ended(result.clone());
        for joiner in mem::take(&mut self.slots[id.0].joiners) {
            self.ready(joiner, Answer::Ended(result.clone()));
        }
    }
}
