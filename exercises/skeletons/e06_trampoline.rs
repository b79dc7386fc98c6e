//! 06 trampoline: calls as data.

use wouldblock::generator::Generator;

/// What a routine returns, and what its caller is sent.
pub type Value = Result<u64, String>;

/// Code that may pause, however deep it was called.
pub type Routine = Generator<Step, Value, Value>;

/// What a routine asks of the trampoline.
#[allow(dead_code)] // until `turn` looks into it
pub enum Step {
    /// Run this to its end, and send me what it returns.
    Call(Routine),
    /// Let another task have a turn, then go on with me. What is sent then does not matter.
    Pause,
}

/// A routine, and those that it has called and that have not returned.
pub struct Task {}

impl Task {
    /// A task that has not begun.
    pub fn new(routine: Routine) -> Task {
        todo!("Task::new: keep the {routine:?}")
    }

    /// Runs up to the next `Pause`: `None`. Or to the end: `Some`, with what the outermost routine returns.
    pub fn turn(&mut self) -> Option<Value> {
        todo!("Task::turn: resume the routine that was called last")
    }
}
