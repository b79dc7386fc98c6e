//! says: `outside.sleep` returned an error, and `run` returned

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

use kit::{Answer, Id, Job, Op, Outside, text_of};
use wouldblock::Wait;
use wouldblock::generator::GeneratorState::{Complete, Yielded};

/// Runs jobs in turn, and does what they ask.
pub struct Scheduler {
    /// All jobs that there ever were, by number.
    jobs: Vec<(&'static str, State)>,
    /// Whose turn is next, and what it is sent; nothing, if it has not begun.
    ready: VecDeque<(Id, Option<Answer>)>,
    /// Who is due when: the earliest first, and of one time, who went to sleep earlier.
    sleeping: Vec<(u64, Id)>,
    waiting: Vec<(Id, Wait)>,
    /// Who waits for the end of whom.
    joining: Vec<(Id, Id)>,
}

enum State {
    Lives(Job),
    Ended(Result<(), String>),
}

/// All jobs that are left wait for one another.
#[derive(Debug, PartialEq)]
pub struct Stuck {
    /// Each job that is left, by name, and the job whose end it waits for.
    pub joins: Vec<(&'static str, &'static str)>,
}

impl Scheduler {
    /// A scheduler without jobs.
    pub fn new() -> Scheduler {
        let (jobs, waiting, joining) = (Vec::new(), Vec::new(), Vec::new());
        Scheduler { jobs, ready: VecDeque::new(), sleeping: Vec::new(), waiting, joining }
    }

    /// Puts a job at the back of the queue. The first has the number 0, the next 1, and so on.
    pub fn spawn(&mut self, name: &'static str, job: Job) -> Id {
        let id = Id(self.jobs.len());
        self.jobs.push((name, State::Lives(job)));
        self.ready.push_back((id, None));
        id
    }

    /// Runs until all jobs have ended, or can never go on.
    pub fn run(&mut self, outside: &mut dyn Outside) -> Result<(), Stuck> {
        loop {
            while let Some((id, answer)) = self.ready.pop_front() {
                self.turn(id, answer, outside);
            }
            let until = self.sleeping.first().map(|(until, _)| *until);
            if until.is_none() && self.waiting.is_empty() {
                let name = |id: &Id| self.jobs[id.0].0;
                let joins = self.joining.iter().map(|(id, other)| (name(id), name(other)));
                let joins: Vec<_> = joins.collect();
                return if joins.is_empty() { Ok(()) } else { Err(Stuck { joins }) };
            }
            let Ok(sockets) = outside.sleep(until, &self.waiting) else { return Ok(()) };
            self.waiting.retain(|(id, _)| !sockets.contains(id));
            let due = self.sleeping.partition_point(|(until, _)| *until <= outside.now());
            let woken = self.sleeping.drain(..due).map(|(_, id)| id).chain(sockets);
            self.ready.extend(woken.map(|id| (id, Some(Answer::Nothing))));
        }
    }

    /// Resumes a job, and does what it asks.
    fn turn(&mut self, id: Id, answer: Option<Answer>, outside: &dyn Outside) {
        let State::Lives(job) = &mut self.jobs[id.0].1 else { return };
        let result = match catch_unwind(AssertUnwindSafe(|| match answer {
            None => job.prime(),
            Some(answer) => job.send(answer),
        })) {
            Ok(Yielded(op)) => return self.ask(id, op, outside),
            Ok(Complete(())) => Ok(()),
            Err(payload) => Err(text_of(&*payload)),
        };
        for (joiner, _) in self.joining.extract_if(.., |(_, joined)| *joined == id) {
            self.ready.push_back((joiner, Some(Answer::Ended(result.clone()))));
        }
        self.jobs[id.0].1 = State::Ended(result);
    }

    fn ask(&mut self, id: Id, op: Op, outside: &dyn Outside) {
        let answer = match op {
            Op::Turn => Answer::Nothing,
            Op::Spawn(name, job) => Answer::Spawned(self.spawn(name, job)),
            Op::Join(other) => match &self.jobs[other.0].1 {
                State::Ended(result) => Answer::Ended(result.clone()),
                State::Lives(_) => return self.joining.push((id, other)),
            },
            Op::Sleep(ms) => {
                let due = outside.now() + ms;
                let place = self.sleeping.partition_point(|(until, _)| *until <= due);
                return self.sleeping.insert(place, (due, id));
            }
            Op::Wait(wait) => return self.waiting.push((id, wait)),
        };
        self.ready.push_back((id, Some(answer)));
    }
}
