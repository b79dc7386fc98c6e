//! says: it is at the end of the stack

use wouldblock::generator::{Generator, GeneratorState::*};

/// What a routine returns, and what its caller is sent.
pub type Value = Result<u64, String>;

/// Code that may pause, however deep it was called.
pub type Routine = Generator<Step, Value, Value>;

/// What a routine asks of the trampoline.
pub enum Step {
    /// Run this to its end, and send me what it returns.
    Call(Routine),
    /// Let another task have a turn, then go on with me. What is sent then does not matter.
    Pause,
}

/// A routine, and those that it has called and that have not returned.
pub struct Task {
    /// The innermost is the last.
    calls: Vec<Routine>,
    /// What the innermost is sent next; one that has not begun is primed.
    value: Option<Value>,
}

impl Task {
    /// A task that has not begun.
    pub fn new(routine: Routine) -> Task {
        Task { calls: vec![routine], value: None }
    }

    /// Runs up to the next `Pause`: `None`. Or to the end: `Some`, with what the outermost routine returns.
    pub fn turn(&mut self) -> Option<Value> {
        loop {
            let innermost = self.calls.first_mut().expect("a task that has not ended");
            let state = match self.value.take() {
                None => innermost.prime(),
                Some(value) => innermost.send(value),
            };
            match state {
                Yielded(Step::Call(callee)) => self.calls.push(callee),
                Yielded(Step::Pause) => {
                    self.value = Some(Ok(0));
                    return None;
                }
                Complete(value) => {
                    self.calls.pop();
                    if self.calls.is_empty() {
                        return Some(value);
                    }
                    self.value = Some(value);
                }
            }
        }
    }
}
