//! says: its caller got 0

use wouldblock::generator::{Generator, GeneratorState};

pub type Value = Result<u64, String>;
pub type Routine = Generator<Step, Value, Value>;

pub enum Step {
    Call(Routine),
    Pause,
}

pub struct Task {
    stack: Vec<(Routine, bool)>,
}

impl Task {
    pub fn new(routine: Routine) -> Task {
        Task { stack: vec![(routine, false)] }
    }

    pub fn turn(&mut self) -> Option<Value> {
        loop {
            let (top, begun) = self.stack.last_mut().unwrap();
            let state = if *begun { top.send(Ok(0)) } else { top.prime() };
            *begun = true;
            match state {
                GeneratorState::Yielded(Step::Call(routine)) => self.stack.push((routine, false)),
                GeneratorState::Yielded(Step::Pause) => return None,
                GeneratorState::Complete(value) => {
                    self.stack.pop();
                    if self.stack.is_empty() {
                        return Some(value);
                    }
                }
            }
        }
    }
}
