//! 07 scheduler: system calls, time, and a deadlock that is reported.

use kit::{Id, Job, Outside};

/// Runs jobs in turn, and does what they ask.
pub struct Scheduler {}

/// All jobs that are left wait for one another.
#[derive(Debug, PartialEq)]
pub struct Stuck {
    /// Each job that is left, by name, and the job whose end it waits for.
    pub joins: Vec<(&'static str, &'static str)>,
}

impl Scheduler {
    /// A scheduler without jobs.
    pub fn new() -> Scheduler {
        todo!("Scheduler::new")
    }

    /// Puts a job at the back of the queue. The first has the number 0, the next 1, and so on.
    pub fn spawn(&mut self, name: &'static str, job: Job) -> Id {
        todo!("Scheduler::spawn: keep {name}, {job:?}")
    }

    /// Runs until all jobs have ended, or can never go on.
    pub fn run(&mut self, outside: &mut dyn Outside) -> Result<(), Stuck> {
        todo!("Scheduler::run: at {} ms, give each job a turn", outside.now())
    }
}
