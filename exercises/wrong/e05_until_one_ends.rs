//! says: had more to yield

use std::collections::VecDeque;

use wouldblock::generator::{Generator, GeneratorState::Yielded};

/// Gives each task one turn after the other, until all have ended. Returns what they yielded, in that order.
pub fn round_robin<Y: 'static>(tasks: Vec<Generator<Y>>) -> Vec<Y> {
    let mut queue = VecDeque::from(tasks);
    let mut yielded = Vec::new();
    while let Some(mut task) = queue.pop_front() {
        let Yielded(value) = task.resume() else { break };
        yielded.push(value);
        queue.push_back(task);
    }
    yielded
}
